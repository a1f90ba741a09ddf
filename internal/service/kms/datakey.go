package kms

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

func (s *Service) generateDataKeyNeeds(ctx context.Context, c *call.Call, in *api.GenerateDataKeyInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:GenerateDataKey", in.KeyId, in.EncryptionContext, contextKeys("", in.EncryptionContext), in.GrantTokens)
}

func (s *Service) generateDataKey(ctx context.Context, c *call.Call, in *api.GenerateDataKeyInput) (*api.GenerateDataKeyOutput, error) {
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	n, err := dataKeySize(in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	d, err := s.dataKey(ctx, c, in.KeyId, random(n), in.EncryptionContext, isTrue(in.DryRun))
	if err != nil {
		return nil, err
	}
	return &api.GenerateDataKeyOutput{CiphertextBlob: d.sealed, Plaintext: d.plain, KeyId: d.key.arn(), KeyMaterialId: d.materialID}, nil
}

// dataKey is a key for data, in clear and encrypted.
type dataKey struct {
	key           key // that encrypts it
	materialID    string
	plain, sealed []byte
}

func random(n int64) func() ([]byte, error) {
	return func() ([]byte, error) {
		b := make([]byte, n)
		rand.Read(b)
		return b, nil
	}
}

// dataKey makes a key for data. What is expensive to make is not made for
// nothing.
func (s *Service) dataKey(ctx context.Context, c *call.Call, keyID string, generate func() ([]byte, error), context map[string]string, dryRun bool) (d dataKey, err error) {
	if d.key, err = s.useKey(ctx, c, keyID, encryptDecrypt); err != nil {
		return d, err
	}
	if !d.key.symmetric() {
		return d, aws.Errorf("InvalidKeyUsageException", "You cannot generate a data key with an asymmetric CMK")
	}
	if dryRun {
		return d, errDryRun()
	}
	if d.plain, err = generate(); err != nil {
		return d, err
	}
	d.sealed, d.materialID, err = s.seal(ctx, d.key, symmetric, d.plain, context)
	return d, err
}

func dataKeySize(spec string, size *int64) (int64, error) {
	switch {
	case (spec == "") == (size == nil):
		return 0, aws.Errorf("ValidationException", "Please specify either number of bytes or key spec.")
	case spec == "AES_128":
		return 16, nil
	case spec == "AES_256":
		return 32, nil
	case spec != "":
		return 0, aws.Errorf("ValidationException", "%s is not a data key spec: it is AES_128 or AES_256.", spec)
	case *size < 1 || *size > 1024:
		return 0, errSize(*size)
	}
	return *size, nil
}

func errSize(n int64) *aws.Error {
	return aws.Errorf("ValidationException", "1 validation error detected: Value '%d' at 'numberOfBytes' failed to satisfy constraint: Member must have value between 1 and 1024", n)
}

func (s *Service) generateDataKeyWithoutPlaintextNeeds(ctx context.Context, c *call.Call, in *api.GenerateDataKeyWithoutPlaintextInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:GenerateDataKeyWithoutPlaintext", in.KeyId, in.EncryptionContext, contextKeys("", in.EncryptionContext), in.GrantTokens)
}

func (s *Service) generateDataKeyWithoutPlaintext(ctx context.Context, c *call.Call, in *api.GenerateDataKeyWithoutPlaintextInput) (*api.GenerateDataKeyWithoutPlaintextOutput, error) {
	n, err := dataKeySize(in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	d, err := s.dataKey(ctx, c, in.KeyId, random(n), in.EncryptionContext, isTrue(in.DryRun))
	if err != nil {
		return nil, err
	}
	return &api.GenerateDataKeyWithoutPlaintextOutput{CiphertextBlob: d.sealed, KeyId: d.key.arn(), KeyMaterialId: d.materialID}, nil
}

func (s *Service) pairNeeds(ctx context.Context, c *call.Call, action, keyID, pairSpec string, context map[string]string, tokens []string) ([]call.Need, error) {
	keys := contextKeys("", context)
	keys["kms:datakeypairspec"] = []string{pairSpec}
	return s.useNeeds(ctx, c, action, keyID, context, keys, tokens)
}

func (s *Service) generateDataKeyPairNeeds(ctx context.Context, c *call.Call, in *api.GenerateDataKeyPairInput) ([]call.Need, error) {
	return s.pairNeeds(ctx, c, "kms:GenerateDataKeyPair", in.KeyId, in.KeyPairSpec, in.EncryptionContext, in.GrantTokens)
}

func (s *Service) generateDataKeyPair(ctx context.Context, c *call.Call, in *api.GenerateDataKeyPairInput) (*api.GenerateDataKeyPairOutput, error) {
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	d, public, err := s.dataKeyPair(ctx, c, in.KeyId, in.KeyPairSpec, in.EncryptionContext, isTrue(in.DryRun))
	if err != nil {
		return nil, err
	}
	return &api.GenerateDataKeyPairOutput{
		PrivateKeyCiphertextBlob: d.sealed, PrivateKeyPlaintext: d.plain, PublicKey: public,
		KeyId: d.key.arn(), KeyPairSpec: in.KeyPairSpec, KeyMaterialId: d.materialID,
	}, nil
}

// dataKeyPair makes a pair of keys for data: the private one as PKCS #8, in
// clear and encrypted, and the public one as SubjectPublicKeyInfo.
func (s *Service) dataKeyPair(ctx context.Context, c *call.Call, keyID, pairSpec string, context map[string]string, dryRun bool) (dataKey, []byte, error) {
	sp, ok := specs[pairSpec]
	if !ok || !sp.pair() {
		return dataKey{}, nil, aws.Errorf("UnsupportedOperationException", "KeyPairSpec %s is not implemented by sekisho.", pairSpec)
	}
	var public []byte
	d, err := s.dataKey(ctx, c, keyID, func() ([]byte, error) {
		pair, err := sp.generatePair()
		if err != nil {
			return nil, fmt.Errorf("generate a pair of keys: %w", err)
		}
		if public, err = x509.MarshalPKIXPublicKey(pair.Public()); err != nil {
			return nil, fmt.Errorf("encode a public key: %w", err)
		}
		return x509.MarshalPKCS8PrivateKey(pair)
	}, context, dryRun)
	return d, public, err
}

func (s *Service) generateDataKeyPairWithoutPlaintextNeeds(ctx context.Context, c *call.Call, in *api.GenerateDataKeyPairWithoutPlaintextInput) ([]call.Need, error) {
	return s.pairNeeds(ctx, c, "kms:GenerateDataKeyPairWithoutPlaintext", in.KeyId, in.KeyPairSpec, in.EncryptionContext, in.GrantTokens)
}

func (s *Service) generateDataKeyPairWithoutPlaintext(ctx context.Context, c *call.Call, in *api.GenerateDataKeyPairWithoutPlaintextInput) (*api.GenerateDataKeyPairWithoutPlaintextOutput, error) {
	d, public, err := s.dataKeyPair(ctx, c, in.KeyId, in.KeyPairSpec, in.EncryptionContext, isTrue(in.DryRun))
	if err != nil {
		return nil, err
	}
	return &api.GenerateDataKeyPairWithoutPlaintextOutput{
		PrivateKeyCiphertextBlob: d.sealed, PublicKey: public, KeyId: d.key.arn(), KeyPairSpec: in.KeyPairSpec, KeyMaterialId: d.materialID,
	}, nil
}

func (s *Service) generateRandomNeeds(context.Context, *call.Call, *api.GenerateRandomInput) ([]call.Need, error) {
	return everywhere("kms:GenerateRandom", nil), nil
}

func (s *Service) generateRandom(_ context.Context, _ *call.Call, in *api.GenerateRandomInput) (*api.GenerateRandomOutput, error) {
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	switch {
	case in.CustomKeyStoreId != "":
		return nil, aws.Errorf("UnsupportedOperationException", "A custom key store is not implemented by sekisho.")
	case in.NumberOfBytes == nil:
		return nil, aws.Errorf("ValidationException", "NumberOfBytes is required.")
	case *in.NumberOfBytes < 1 || *in.NumberOfBytes > 1024:
		return nil, errSize(*in.NumberOfBytes)
	}
	b := make([]byte, *in.NumberOfBytes)
	rand.Read(b)
	return &api.GenerateRandomOutput{Plaintext: b}, nil
}
