package kms

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

var macHashes = map[string]func() hash.Hash{
	"HMAC_SHA_224": sha256.New224,
	"HMAC_SHA_256": sha256.New,
	"HMAC_SHA_384": sha512.New384,
	"HMAC_SHA_512": sha512.New,
}

func (s *Service) generateMacNeeds(ctx context.Context, c *call.Call, in *api.GenerateMacInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:GenerateMac", in.KeyId, nil, policy.Keys{"kms:macalgorithm": {in.MacAlgorithm}}, in.GrantTokens)
}

func (s *Service) generateMac(ctx context.Context, c *call.Call, in *api.GenerateMacInput) (*api.GenerateMacOutput, error) {
	k, mac, err := s.mac(ctx, c, in.KeyId, in.MacAlgorithm, in.Message)
	if err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	return &api.GenerateMacOutput{KeyId: k.arn(), Mac: mac, MacAlgorithm: in.MacAlgorithm}, nil
}

func (s *Service) mac(ctx context.Context, c *call.Call, keyID, algorithm string, message []byte) (key, []byte, error) {
	k, err := s.useKey(ctx, c, keyID, generateVerifyMAC)
	if err != nil {
		return k, nil, err
	}
	if err := k.checkAlgorithm(algorithm); err != nil {
		return k, nil, err
	}
	m, err := s.material(ctx, k.ref(), k.Version)
	if err != nil {
		return k, nil, err
	}
	mac := hmac.New(macHashes[algorithm], m.secret.Reveal())
	mac.Write(message)
	return k, mac.Sum(nil), nil
}

func (s *Service) verifyMacNeeds(ctx context.Context, c *call.Call, in *api.VerifyMacInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:VerifyMac", in.KeyId, nil, policy.Keys{"kms:macalgorithm": {in.MacAlgorithm}}, in.GrantTokens)
}

func (s *Service) verifyMac(ctx context.Context, c *call.Call, in *api.VerifyMacInput) (*api.VerifyMacOutput, error) {
	k, mac, err := s.mac(ctx, c, in.KeyId, in.MacAlgorithm, in.Message)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(mac, in.Mac) {
		return nil, &aws.Error{Code: "KMSInvalidMacException"}
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	return &api.VerifyMacOutput{KeyId: k.arn(), MacValid: new(true), MacAlgorithm: in.MacAlgorithm}, nil
}
