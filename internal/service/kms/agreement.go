package kms

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

func (s *Service) deriveSharedSecretNeeds(ctx context.Context, c *call.Call, in *api.DeriveSharedSecretInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:DeriveSharedSecret", in.KeyId, nil, policy.Keys{"kms:keyagreementalgorithm": {in.KeyAgreementAlgorithm}}, in.GrantTokens)
}

// deriveSharedSecret agrees with the holder of another key of the same curve.
func (s *Service) deriveSharedSecret(ctx context.Context, c *call.Call, in *api.DeriveSharedSecretInput) (*api.DeriveSharedSecretOutput, error) {
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	k, err := s.useKey(ctx, c, in.KeyId, keyAgreement)
	if err != nil {
		return nil, err
	}
	if err := k.checkAlgorithm(in.KeyAgreementAlgorithm); err != nil {
		return nil, err
	}
	signer, err := s.pair(ctx, k)
	if err != nil {
		return nil, err
	}
	private, ok := signer.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not on a curve", k.arn())
	}
	secret, ok := agree(private, in.PublicKey)
	if !ok {
		return nil, aws.Errorf("ValidationException", "The public key is not a DER-encoded public key of key spec %s.", k.Spec)
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	return &api.DeriveSharedSecretOutput{KeyId: k.arn(), SharedSecret: secret, KeyAgreementAlgorithm: in.KeyAgreementAlgorithm, KeyOrigin: k.Origin}, nil
}

// agree is ECDH with a public key in DER, which anybody may have made up.
func agree(private *ecdsa.PrivateKey, der []byte) ([]byte, bool) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, false
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok || public.Curve != private.Curve {
		return nil, false
	}
	theirs, err := public.ECDH()
	if err != nil {
		return nil, false
	}
	ours, err := private.ECDH()
	if err != nil {
		return nil, false
	}
	secret, err := ours.ECDH(theirs)
	return secret, err == nil
}
