package kms

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// What a message to sign is.
const (
	raw    = "RAW"
	digest = "DIGEST"
)

const (
	ed25519Pure    = "ED25519_SHA_512"
	ed25519Prehash = "ED25519_PH_SHA_512"
)

func (s *Service) signingNeeds(ctx context.Context, c *call.Call, action, keyID, algorithm, messageType string, tokens []string) ([]call.Need, error) {
	return s.useNeeds(ctx, c, action, keyID, nil, policy.Keys{
		"kms:signingalgorithm": {algorithm}, "kms:messagetype": {cmp.Or(messageType, raw)},
	}, tokens)
}

func (s *Service) signNeeds(ctx context.Context, c *call.Call, in *api.SignInput) ([]call.Need, error) {
	return s.signingNeeds(ctx, c, "kms:Sign", in.KeyId, in.SigningAlgorithm, in.MessageType, in.GrantTokens)
}

func (s *Service) sign(ctx context.Context, c *call.Call, in *api.SignInput) (*api.SignOutput, error) {
	k, err := s.useKey(ctx, c, in.KeyId, signVerify)
	if err != nil {
		return nil, err
	}
	signed, opts, err := k.signing(in.SigningAlgorithm, in.MessageType, in.Message)
	if err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	signer, err := s.pair(ctx, k)
	if err != nil {
		return nil, err
	}
	signature, err := signer.Sign(rand.Reader, signed, opts)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k.arn(), err)
	}
	return &api.SignOutput{KeyId: k.arn(), Signature: signature, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// signing is what the private key signs for a message, and how.
func (k key) signing(algorithm, messageType string, message []byte) (signed []byte, opts crypto.SignerOpts, err error) {
	if err := k.checkAlgorithm(algorithm); err != nil {
		return nil, nil, err
	}
	messageType = cmp.Or(messageType, raw)
	if messageType != raw && messageType != digest { // EXTERNAL_MU, which is ML-DSA's
		return nil, nil, aws.Errorf("ValidationException", "Message type %s is incompatible with key spec %s.", messageType, k.Spec)
	}
	if algorithm == ed25519Pure || algorithm == ed25519Prehash {
		return signingEd25519(algorithm, messageType, message)
	}
	h := signingHash(algorithm)
	switch {
	case messageType == raw:
		sum := h.New()
		sum.Write(message)
		message = sum.Sum(nil)
	case len(message) != h.Size():
		return nil, nil, errDigest(algorithm)
	}
	if strings.HasPrefix(algorithm, "RSASSA_PSS_") {
		return message, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}, nil
	}
	return message, h, nil
}

func errDigest(algorithm string) *aws.Error {
	return aws.Errorf("ValidationException", "Digest is invalid length for algorithm %s.", algorithm)
}

// signingEd25519 is signing for Ed25519, of which each algorithm takes one type
// of message. What AWS is given as a digest it hashes once more, as Ed25519ph
// says.
func signingEd25519(algorithm, messageType string, message []byte) ([]byte, crypto.SignerOpts, error) {
	switch {
	case (algorithm == ed25519Pure) != (messageType == raw):
		return nil, nil, aws.Errorf("ValidationException", "Message type %s is incompatible with algorithm %s.", messageType, algorithm)
	case algorithm == ed25519Pure:
		return message, &ed25519.Options{}, nil
	case len(message) != sha512.Size:
		return nil, nil, errDigest(algorithm)
	}
	sum := sha512.Sum512(message)
	return sum[:], &ed25519.Options{Hash: crypto.SHA512}, nil
}

// signingHash is the hash that the name of a signing algorithm ends in.
func signingHash(algorithm string) crypto.Hash {
	switch algorithm[strings.LastIndexByte(algorithm, '_')+1:] {
	case "384":
		return crypto.SHA384
	case "512":
		return crypto.SHA512
	}
	return crypto.SHA256
}

func (s *Service) verifyNeeds(ctx context.Context, c *call.Call, in *api.VerifyInput) ([]call.Need, error) {
	return s.signingNeeds(ctx, c, "kms:Verify", in.KeyId, in.SigningAlgorithm, in.MessageType, in.GrantTokens)
}

func (s *Service) verify(ctx context.Context, c *call.Call, in *api.VerifyInput) (*api.VerifyOutput, error) {
	k, err := s.useKey(ctx, c, in.KeyId, signVerify)
	if err != nil {
		return nil, err
	}
	signed, opts, err := k.signing(in.SigningAlgorithm, in.MessageType, in.Message)
	if err != nil {
		return nil, err
	}
	signer, err := s.pair(ctx, k)
	if err != nil {
		return nil, err
	}
	if !verified(signer.Public(), signed, in.Signature, opts) {
		return nil, &aws.Error{Code: "KMSInvalidSignatureException"}
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	return &api.VerifyOutput{KeyId: k.arn(), SignatureValid: new(true), SigningAlgorithm: in.SigningAlgorithm}, nil
}

// verified reports whether a signature is one of what key.signing returned.
func verified(public crypto.PublicKey, signed, signature []byte, opts crypto.SignerOpts) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(public, pss.Hash, signed, signature, pss) == nil
		}
		return rsa.VerifyPKCS1v15(public, opts.HashFunc(), signed, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, signed, signature)
	case ed25519.PublicKey:
		options, ok := opts.(*ed25519.Options)
		return ok && ed25519.VerifyWithOptions(public, signed, signature, options) == nil
	}
	return false
}

func (s *Service) getPublicKeyNeeds(ctx context.Context, c *call.Call, in *api.GetPublicKeyInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:GetPublicKey", in.KeyId, nil, nil, in.GrantTokens)
}

func (s *Service) getPublicKey(ctx context.Context, c *call.Call, in *api.GetPublicKeyInput) (*api.GetPublicKeyOutput, error) {
	r, err := anyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	var k key
	err = s.read(ctx, r, func(_ *state.Tx, found key) error {
		k = found
		return k.usable()
	})
	if err != nil {
		return nil, err
	}
	if !specs[k.Spec].pair() {
		return nil, aws.Errorf("UnsupportedOperationException", "%s is of key spec %s, which has no public key.", k.arn(), k.Spec)
	}
	signer, err := s.pair(ctx, k)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, fmt.Errorf("encode the public key of %s: %w", k.arn(), err)
	}
	out := &api.GetPublicKeyOutput{KeyId: k.arn(), PublicKey: public, CustomerMasterKeySpec: k.Spec, KeySpec: k.Spec, KeyUsage: k.Usage}
	algorithms := specs[k.Spec].algorithms[k.Usage]
	switch k.Usage {
	case encryptDecrypt:
		out.EncryptionAlgorithms = algorithms
	case signVerify:
		out.SigningAlgorithms = algorithms
	case keyAgreement:
		out.KeyAgreementAlgorithms = algorithms
	}
	return out, nil
}
