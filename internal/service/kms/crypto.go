package kms

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// plaintextLimit is how many bytes Encrypt takes.
const plaintextLimit = 4096

// useNeeds are the needs of a cryptographic operation on a key that the
// request names.
func (s *Service) useNeeds(ctx context.Context, c *call.Call, action, keyID string, context map[string]string, tokens []string) ([]call.Need, error) {
	if err := s.checkTokens(tokens); err != nil {
		return nil, err
	}
	t, err := s.anyTarget(ctx, c, keyID)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.granted(c, action, context, contextKeys(context))}, nil
}

// useKey returns a key that may encrypt, with its current material.
func (s *Service) useKey(ctx context.Context, c *call.Call, keyID string) (key, material, error) {
	r, err := anyRef(c, keyID)
	if err != nil {
		return key{}, material{}, err
	}
	var k key
	if err := s.read(ctx, r, func(_ *state.Tx, found key) error { k = found; return found.usable() }); err != nil {
		return key{}, material{}, err
	}
	m, err := s.material(ctx, k.ref(), k.Version)
	return k, m, err
}

// checkAlgorithm refuses algorithms a symmetric key does not have.
func checkAlgorithm(algorithm string) error {
	if algorithm == "" || algorithm == symmetric {
		return nil
	}
	return aws.Errorf("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec %s.", algorithm, symmetric)
}

// checkRecipient refuses attested recipients: there are no enclaves here.
func checkRecipient(r *api.RecipientInfo) error {
	if r == nil {
		return nil
	}
	return aws.Errorf("UnsupportedOperationException", "Recipient (an attestation document of a Nitro enclave) is not implemented by sekisho.")
}

// checkDryRun refuses the options of a dry run: each means to judge a request
// without the ciphertext that says which key it is about.
func checkDryRun(modifiers []string) error {
	if len(modifiers) == 0 {
		return nil
	}
	return aws.Errorf("UnsupportedOperationException", "DryRunModifiers is not implemented by sekisho.")
}

func (s *Service) encryptNeeds(ctx context.Context, c *call.Call, in *api.EncryptInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:Encrypt", in.KeyId, in.EncryptionContext, in.GrantTokens)
}

func (s *Service) encrypt(ctx context.Context, c *call.Call, in *api.EncryptInput) (*api.EncryptOutput, error) {
	if n := len(in.Plaintext); n < 1 || n > plaintextLimit {
		return nil, aws.Errorf("ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length between 1 and %d", plaintextLimit)
	}
	k, m, err := s.useKey(ctx, c, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	b, err := encryptWith(m, k.ref(), in.Plaintext, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &api.EncryptOutput{CiphertextBlob: b, KeyId: k.arn(), EncryptionAlgorithm: symmetric}, nil
}

// sourceTarget is the key of a ciphertext, or the one the request names.
func (s *Service) sourceTarget(ctx context.Context, c *call.Call, ciphertext []byte, keyID string) (target, error) {
	b, err := readBlob(c.Region, ciphertext)
	if err != nil {
		return target{}, err
	}
	if keyID != "" {
		return s.anyTarget(ctx, c, keyID)
	}
	return s.target(ctx, c, b.ref)
}

func (s *Service) decryptNeeds(ctx context.Context, c *call.Call, in *api.DecryptInput) ([]call.Need, error) {
	if err := s.checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	t, err := s.sourceTarget(ctx, c, in.CiphertextBlob, in.KeyId)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.granted(c, "kms:Decrypt", in.EncryptionContext, contextKeys(in.EncryptionContext))}, nil
}

func (s *Service) decrypt(ctx context.Context, c *call.Call, in *api.DecryptInput) (*api.DecryptOutput, error) {
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	if err := checkDryRun(in.DryRunModifiers); err != nil {
		return nil, err
	}
	k, m, plain, err := s.open(ctx, c, in.CiphertextBlob, in.KeyId, in.EncryptionAlgorithm, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	return &api.DecryptOutput{KeyId: k.arn(), Plaintext: plain, EncryptionAlgorithm: symmetric, KeyMaterialId: m.id}, nil
}

// open decrypts a ciphertext under the key that it names, which has to be the
// one the request names, if it names one.
func (s *Service) open(ctx context.Context, c *call.Call, ciphertext []byte, keyID, algorithm string, context map[string]string) (key, material, []byte, error) {
	none := func(err error) (key, material, []byte, error) { return key{}, material{}, nil, err }
	b, err := readBlob(c.Region, ciphertext)
	if err != nil {
		return none(err)
	}
	k, err := s.sourceKey(ctx, c, b, keyID)
	if err != nil {
		return none(err)
	}
	if err := k.usable(); err != nil {
		return none(err)
	}
	if err := checkAlgorithm(algorithm); err != nil {
		return none(err)
	}
	m, err := s.material(ctx, k.ref(), b.version)
	if errors.Is(err, state.ErrNotFound) {
		return none(errCiphertext())
	}
	if err != nil {
		return none(err)
	}
	plain, err := decryptWith(m, b, context)
	return k, m, plain, err
}

// sourceKey finds the key of a ciphertext.
func (s *Service) sourceKey(ctx context.Context, c *call.Call, b blob, keyID string) (found key, err error) {
	r := b.ref
	if keyID != "" {
		if r, err = anyRef(c, keyID); err != nil {
			return key{}, err
		}
	}
	err = s.read(ctx, r, func(_ *state.Tx, k key) error { found = k; return nil })
	if _, absent := errors.AsType[*aws.Error](err); absent && keyID == "" {
		return key{}, aws.Errorf("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	}
	if err != nil {
		return key{}, err
	}
	if found.ID != b.id || found.Account != b.account {
		return key{}, aws.Errorf("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	}
	return found, nil
}

// reEncryptNeeds asks for leave to read under one key and to write under
// another, which may be the same.
func (s *Service) reEncryptNeeds(ctx context.Context, c *call.Call, in *api.ReEncryptInput) ([]call.Need, error) {
	if err := s.checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	from, err := s.sourceTarget(ctx, c, in.CiphertextBlob, in.SourceKeyId)
	if err != nil {
		return nil, err
	}
	to, err := s.anyTarget(ctx, c, in.DestinationKeyId)
	if err != nil {
		return nil, err
	}
	same := []string{strconv.FormatBool(from.keyARN() == to.keyARN())}
	fromKeys, toKeys := contextKeys(in.SourceEncryptionContext), contextKeys(in.DestinationEncryptionContext)
	fromKeys["kms:reencryptonsamekey"], toKeys["kms:reencryptonsamekey"] = same, same
	return []call.Need{
		from.granted(c, "kms:ReEncryptFrom", in.SourceEncryptionContext, fromKeys),
		to.granted(c, "kms:ReEncryptTo", in.DestinationEncryptionContext, toKeys),
	}, nil
}

func (s *Service) reEncrypt(ctx context.Context, c *call.Call, in *api.ReEncryptInput) (*api.ReEncryptOutput, error) {
	if err := checkDryRun(in.DryRunModifiers); err != nil {
		return nil, err
	}
	from, fromMaterial, plain, err := s.open(ctx, c, in.CiphertextBlob, in.SourceKeyId, in.SourceEncryptionAlgorithm, in.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	to, toMaterial, err := s.useKey(ctx, c, in.DestinationKeyId)
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(in.DestinationEncryptionAlgorithm); err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	b, err := encryptWith(toMaterial, to.ref(), plain, in.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	return &api.ReEncryptOutput{
		CiphertextBlob: b, SourceKeyId: from.arn(), KeyId: to.arn(),
		SourceEncryptionAlgorithm: symmetric, DestinationEncryptionAlgorithm: symmetric,
		SourceKeyMaterialId: fromMaterial.id, DestinationKeyMaterialId: toMaterial.id,
	}, nil
}

func (s *Service) generateDataKeyNeeds(ctx context.Context, c *call.Call, in *api.GenerateDataKeyInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:GenerateDataKey", in.KeyId, in.EncryptionContext, in.GrantTokens)
}

func (s *Service) generateDataKey(ctx context.Context, c *call.Call, in *api.GenerateDataKeyInput) (*api.GenerateDataKeyOutput, error) {
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	plain, k, m, b, err := s.dataKey(ctx, c, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, isTrue(in.DryRun))
	if err != nil {
		return nil, err
	}
	return &api.GenerateDataKeyOutput{CiphertextBlob: b, Plaintext: plain, KeyId: k.arn(), KeyMaterialId: m.id}, nil
}

// dataKey makes a key for data, in clear and encrypted.
func (s *Service) dataKey(ctx context.Context, c *call.Call, keyID, spec string, size *int64, context map[string]string, dryRun bool) (plain []byte, k key, m material, b []byte, err error) {
	n, err := dataKeySize(spec, size)
	if err != nil {
		return nil, k, m, nil, err
	}
	if k, m, err = s.useKey(ctx, c, keyID); err != nil {
		return nil, k, m, nil, err
	}
	if dryRun {
		return nil, k, m, nil, errDryRun()
	}
	plain = make([]byte, n)
	rand.Read(plain)
	b, err = encryptWith(m, k.ref(), plain, context)
	return plain, k, m, b, err
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
	return s.useNeeds(ctx, c, "kms:GenerateDataKeyWithoutPlaintext", in.KeyId, in.EncryptionContext, in.GrantTokens)
}

func (s *Service) generateDataKeyWithoutPlaintext(ctx context.Context, c *call.Call, in *api.GenerateDataKeyWithoutPlaintextInput) (*api.GenerateDataKeyWithoutPlaintextOutput, error) {
	_, k, m, b, err := s.dataKey(ctx, c, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext, isTrue(in.DryRun))
	if err != nil {
		return nil, err
	}
	return &api.GenerateDataKeyWithoutPlaintextOutput{CiphertextBlob: b, KeyId: k.arn(), KeyMaterialId: m.id}, nil
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
