package kms

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strconv"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// plaintextLimit is how many bytes Encrypt takes.
const plaintextLimit = 4096

// useNeeds are the needs of a cryptographic operation on a key that the
// request names. context is the encryption context, which a grant can demand,
// and keys are the condition keys of the operation.
func (s *Service) useNeeds(ctx context.Context, c *call.Call, action, keyID string, context map[string]string, keys policy.Keys, tokens []string) ([]call.Need, error) {
	if err := s.checkTokens(tokens); err != nil {
		return nil, err
	}
	t, err := s.anyTarget(ctx, c, keyID)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.granted(c, action, context, keys)}, nil
}

// useKey returns the key of a cryptographic operation, whose usage has to be
// the operation's.
func (s *Service) useKey(ctx context.Context, c *call.Call, keyID, usage string) (k key, err error) {
	r, err := anyRef(c, keyID)
	if err != nil {
		return key{}, err
	}
	err = s.read(ctx, r, func(_ *state.Tx, found key) error {
		k = found
		if err := k.usable(); err != nil {
			return err
		}
		return k.checkUsage(usage, c.Operation)
	})
	return k, err
}

// checkContext refuses an encryption context with an algorithm that has no
// room for it.
func checkContext(algorithm string, context map[string]string) error {
	if algorithm == symmetric || len(context) == 0 {
		return nil
	}
	return aws.Errorf("ValidationException", "EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs.")
}

// checkRecipient refuses attested recipients: there are no enclaves here.
func checkRecipient(r *api.RecipientInfo) error {
	if r == nil {
		return nil
	}
	return aws.Errorf("UnsupportedOperationException", "Recipient (an attestation document of a Nitro enclave) is not implemented by sekisho.")
}

func (s *Service) encryptNeeds(ctx context.Context, c *call.Call, in *api.EncryptInput) ([]call.Need, error) {
	return s.useNeeds(ctx, c, "kms:Encrypt", in.KeyId, in.EncryptionContext, contextKeys(in.EncryptionAlgorithm, in.EncryptionContext), in.GrantTokens)
}

func (s *Service) encrypt(ctx context.Context, c *call.Call, in *api.EncryptInput) (*api.EncryptOutput, error) {
	if n := len(in.Plaintext); n < 1 || n > plaintextLimit {
		return nil, aws.Errorf("ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length between 1 and %d", plaintextLimit)
	}
	k, err := s.useKey(ctx, c, in.KeyId, encryptDecrypt)
	if err != nil {
		return nil, err
	}
	algorithm := cmp.Or(in.EncryptionAlgorithm, symmetric)
	b, _, err := s.seal(ctx, k, algorithm, in.Plaintext, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	return &api.EncryptOutput{CiphertextBlob: b, KeyId: k.arn(), EncryptionAlgorithm: algorithm}, nil
}

// seal encrypts under a key. It returns the id of the key's material, too,
// which pairs of keys do not show.
func (s *Service) seal(ctx context.Context, k key, algorithm string, plain []byte, context map[string]string) (b []byte, materialID string, err error) {
	if err := k.checkAlgorithm(algorithm); err != nil {
		return nil, "", err
	}
	if err := checkContext(algorithm, context); err != nil {
		return nil, "", err
	}
	if algorithm != symmetric {
		b, err := s.sealOAEP(ctx, k, algorithm, plain)
		return b, "", err
	}
	m, err := s.material(ctx, k.ref(), k.Version)
	if err != nil {
		return nil, "", err
	}
	b, err = encryptWith(m, k.ref(), plain, context)
	return b, m.id, err
}

func (s *Service) sealOAEP(ctx context.Context, k key, algorithm string, plain []byte) ([]byte, error) {
	signer, err := s.pair(ctx, k)
	if err != nil {
		return nil, err
	}
	public, ok := signer.Public().(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an RSA key", k.arn())
	}
	h := oaepHash(algorithm)
	if most := public.Size() - 2*h.Size() - 2; len(plain) > most {
		return nil, aws.Errorf("ValidationException", "Algorithm %s and key spec %s cannot encrypt data larger than %d bytes.", algorithm, k.Spec, most)
	}
	return rsa.EncryptOAEP(h, rand.Reader, public, plain, nil)
}

// sourceTarget is the key of a ciphertext, or the one the request names. Of an
// asymmetric algorithm's ciphertext only the request can tell it.
func (s *Service) sourceTarget(ctx context.Context, c *call.Call, in source) (target, error) {
	if in.ignored && !in.dryRun {
		return target{}, aws.Errorf("ValidationException", "DryRunModifiers is for requests with DryRun only.")
	}
	if !in.names() {
		if in.keyID == "" {
			return target{}, errNoSourceKey(in)
		}
		return s.anyTarget(ctx, c, in.keyID)
	}
	b, err := readBlob(c.Region, in.ciphertext)
	if err != nil {
		return target{}, err
	}
	if in.keyID != "" {
		return s.anyTarget(ctx, c, in.keyID)
	}
	return s.target(ctx, c, b.ref)
}

// source is what a request says of a ciphertext.
type source struct {
	ciphertext       []byte
	keyID, algorithm string
	context          map[string]string
	// ignored says that a dry run is to judge without the ciphertext.
	dryRun, ignored bool
}

// names reports whether the ciphertext names its key.
func (in source) names() bool { return in.algorithm == symmetric && !in.ignored }

func errNoSourceKey(in source) *aws.Error {
	if in.ignored {
		return aws.Errorf("ValidationException", "A key ID is required for a dry run that ignores the ciphertext.")
	}
	return aws.Errorf("ValidationException", "A key ID is required to decrypt a ciphertext of algorithm %s.", in.algorithm)
}

// ignores reports whether a dry run is to ignore the ciphertext, the one
// modifier there is.
func ignores(modifiers []string) bool { return slices.Contains(modifiers, "IGNORE_CIPHERTEXT") }

func decryptSource(in *api.DecryptInput) source {
	return source{in.CiphertextBlob, in.KeyId, cmp.Or(in.EncryptionAlgorithm, symmetric), in.EncryptionContext, isTrue(in.DryRun), ignores(in.DryRunModifiers)}
}

func (s *Service) decryptNeeds(ctx context.Context, c *call.Call, in *api.DecryptInput) ([]call.Need, error) {
	if err := s.checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	t, err := s.sourceTarget(ctx, c, decryptSource(in))
	if err != nil {
		return nil, err
	}
	return []call.Need{t.granted(c, "kms:Decrypt", in.EncryptionContext, contextKeys(in.EncryptionAlgorithm, in.EncryptionContext))}, nil
}

func (s *Service) decrypt(ctx context.Context, c *call.Call, in *api.DecryptInput) (*api.DecryptOutput, error) {
	if err := checkRecipient(in.Recipient); err != nil {
		return nil, err
	}
	k, materialID, plain, err := s.open(ctx, c, decryptSource(in))
	if err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	return &api.DecryptOutput{KeyId: k.arn(), Plaintext: plain, EncryptionAlgorithm: cmp.Or(in.EncryptionAlgorithm, symmetric), KeyMaterialId: materialID}, nil
}

// open decrypts a ciphertext. The key that it names has to be the one the
// request names, if it names one.
func (s *Service) open(ctx context.Context, c *call.Call, in source) (k key, materialID string, plain []byte, err error) {
	if !in.names() {
		k, plain, err = s.openNamed(ctx, c, in)
		return k, "", plain, err
	}
	b, err := readBlob(c.Region, in.ciphertext)
	if err != nil {
		return k, "", nil, err
	}
	if k, err = s.sourceKey(ctx, c, b, in.keyID); err != nil {
		return k, "", nil, err
	}
	if err := k.usable(); err != nil {
		return k, "", nil, err
	}
	if err := k.checkAlgorithm(symmetric); err != nil {
		return k, "", nil, err
	}
	m, err := s.material(ctx, k.ref(), b.version)
	if errors.Is(err, state.ErrNotFound) {
		return k, "", nil, errCiphertext()
	}
	if err != nil {
		return k, "", nil, err
	}
	plain, err = decryptWith(m, b, in.context)
	return k, m.id, plain, err
}

// openNamed decrypts under the key that the request names: a private key, or
// nothing at all when the ciphertext is to be ignored.
func (s *Service) openNamed(ctx context.Context, c *call.Call, in source) (key, []byte, error) {
	if in.keyID == "" {
		return key{}, nil, errNoSourceKey(in)
	}
	k, err := s.useKey(ctx, c, in.keyID, encryptDecrypt)
	if err != nil {
		return k, nil, err
	}
	if err := k.checkAlgorithm(in.algorithm); err != nil {
		return k, nil, err
	}
	if err := checkContext(in.algorithm, in.context); err != nil || in.ignored {
		return k, nil, err
	}
	signer, err := s.pair(ctx, k)
	if err != nil {
		return k, nil, err
	}
	private, ok := signer.(*rsa.PrivateKey)
	if !ok {
		return k, nil, fmt.Errorf("%s is not an RSA key", k.arn())
	}
	plain, err := openOAEP(private, in.algorithm, in.ciphertext)
	if err != nil {
		return k, nil, errCiphertext()
	}
	return k, plain, nil
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

func reEncryptSource(in *api.ReEncryptInput) source {
	return source{in.CiphertextBlob, in.SourceKeyId, cmp.Or(in.SourceEncryptionAlgorithm, symmetric), in.SourceEncryptionContext, isTrue(in.DryRun), ignores(in.DryRunModifiers)}
}

// reEncryptNeeds asks for leave to read under one key and to write under
// another, which may be the same.
func (s *Service) reEncryptNeeds(ctx context.Context, c *call.Call, in *api.ReEncryptInput) ([]call.Need, error) {
	if err := s.checkTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	from, err := s.sourceTarget(ctx, c, reEncryptSource(in))
	if err != nil {
		return nil, err
	}
	to, err := s.anyTarget(ctx, c, in.DestinationKeyId)
	if err != nil {
		return nil, err
	}
	same := []string{strconv.FormatBool(from.keyARN() == to.keyARN())}
	fromKeys := contextKeys(in.SourceEncryptionAlgorithm, in.SourceEncryptionContext)
	toKeys := contextKeys(in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext)
	fromKeys["kms:reencryptonsamekey"], toKeys["kms:reencryptonsamekey"] = same, same
	return []call.Need{
		from.granted(c, "kms:ReEncryptFrom", in.SourceEncryptionContext, fromKeys),
		to.granted(c, "kms:ReEncryptTo", in.DestinationEncryptionContext, toKeys),
	}, nil
}

func (s *Service) reEncrypt(ctx context.Context, c *call.Call, in *api.ReEncryptInput) (*api.ReEncryptOutput, error) {
	from, fromMaterial, plain, err := s.open(ctx, c, reEncryptSource(in))
	if err != nil {
		return nil, err
	}
	to, err := s.useKey(ctx, c, in.DestinationKeyId, encryptDecrypt)
	if err != nil {
		return nil, err
	}
	algorithm := cmp.Or(in.DestinationEncryptionAlgorithm, symmetric)
	b, toMaterial, err := s.seal(ctx, to, algorithm, plain, in.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	if isTrue(in.DryRun) {
		return nil, errDryRun()
	}
	return &api.ReEncryptOutput{
		CiphertextBlob: b, SourceKeyId: from.arn(), KeyId: to.arn(),
		SourceEncryptionAlgorithm: cmp.Or(in.SourceEncryptionAlgorithm, symmetric), DestinationEncryptionAlgorithm: algorithm,
		SourceKeyMaterialId: fromMaterial, DestinationKeyMaterialId: toMaterial,
	}, nil
}
