package kms

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
)

const admin = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`

func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) {
		e.Door.Serve("kms", New(e.DB, e.Jobs, e.Master, e, Options{Now: e.Now}).Operations())
	}, Schema())
}

// world is an Env with the service and an administrator, alice.
func world(e *servicetest.Env) (*Service, api.Client) {
	s := New(e.DB, e.Jobs, e.Master, e, Options{Now: e.Now})
	e.Door.Serve("kms", s.Operations())
	e.Grant("alice@111111111111", admin)
	return s, api.Client{Invoker: e.As("alice@111111111111")}
}

func newKey(t *testing.T, c api.Client) string {
	t.Helper()
	out, err := c.CreateKey(context.Background(), &api.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	return out.KeyMetadata.Arn
}

func code(err error) string {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e.Code
	}
	return ""
}

// every operation of the table, as its permission and an input that reaches
// the check.
func everyOperation(arn string, blob []byte, token string) map[string]any {
	n := int64(16)
	return map[string]any{
		"CreateKey":                           &api.CreateKeyInput{},
		"DescribeKey":                         &api.DescribeKeyInput{KeyId: arn},
		"ListKeys":                            &api.ListKeysInput{},
		"UpdateKeyDescription":                &api.UpdateKeyDescriptionInput{KeyId: arn},
		"EnableKey":                           &api.EnableKeyInput{KeyId: arn},
		"DisableKey":                          &api.DisableKeyInput{KeyId: arn},
		"ScheduleKeyDeletion":                 &api.ScheduleKeyDeletionInput{KeyId: arn},
		"CancelKeyDeletion":                   &api.CancelKeyDeletionInput{KeyId: arn},
		"ListKeyPolicies":                     &api.ListKeyPoliciesInput{KeyId: arn},
		"GetKeyPolicy":                        &api.GetKeyPolicyInput{KeyId: arn},
		"PutKeyPolicy":                        &api.PutKeyPolicyInput{KeyId: arn},
		"CreateAlias":                         &api.CreateAliasInput{AliasName: "alias/new", TargetKeyId: arn},
		"UpdateAlias":                         &api.UpdateAliasInput{AliasName: "alias/old", TargetKeyId: arn},
		"DeleteAlias":                         &api.DeleteAliasInput{AliasName: "alias/old"},
		"ListAliases":                         &api.ListAliasesInput{},
		"Encrypt":                             &api.EncryptInput{KeyId: arn, Plaintext: []byte("x")},
		"Decrypt":                             &api.DecryptInput{CiphertextBlob: blob},
		"ReEncryptFrom":                       &api.ReEncryptInput{CiphertextBlob: blob, DestinationKeyId: arn},
		"ReEncryptTo":                         &api.ReEncryptInput{CiphertextBlob: blob, DestinationKeyId: arn},
		"GenerateDataKey":                     &api.GenerateDataKeyInput{KeyId: arn, KeySpec: "AES_256"},
		"GenerateDataKeyWithoutPlaintext":     &api.GenerateDataKeyWithoutPlaintextInput{KeyId: arn, KeySpec: "AES_256"},
		"GenerateRandom":                      &api.GenerateRandomInput{NumberOfBytes: &n},
		"GenerateDataKeyPair":                 &api.GenerateDataKeyPairInput{KeyId: arn, KeyPairSpec: "ECC_NIST_P256"},
		"GenerateDataKeyPairWithoutPlaintext": &api.GenerateDataKeyPairWithoutPlaintextInput{KeyId: arn, KeyPairSpec: "ECC_NIST_P256"},
		"Sign":                                &api.SignInput{KeyId: arn, Message: []byte("x"), SigningAlgorithm: "ECDSA_SHA_256"},
		"Verify":                              &api.VerifyInput{KeyId: arn, Message: []byte("x"), Signature: []byte("x"), SigningAlgorithm: "ECDSA_SHA_256"},
		"GetPublicKey":                        &api.GetPublicKeyInput{KeyId: arn},
		"GenerateMac":                         &api.GenerateMacInput{KeyId: arn, Message: []byte("x"), MacAlgorithm: "HMAC_SHA_256"},
		"VerifyMac":                           &api.VerifyMacInput{KeyId: arn, Message: []byte("x"), Mac: []byte("x"), MacAlgorithm: "HMAC_SHA_256"},
		"DeriveSharedSecret":                  &api.DeriveSharedSecretInput{KeyId: arn, KeyAgreementAlgorithm: "ECDH", PublicKey: []byte("x")},
		"GetParametersForImport":              &api.GetParametersForImportInput{KeyId: arn, WrappingAlgorithm: "RSAES_OAEP_SHA_256", WrappingKeySpec: "RSA_2048"},
		"ImportKeyMaterial":                   &api.ImportKeyMaterialInput{KeyId: arn, ImportToken: []byte("x"), EncryptedKeyMaterial: []byte("x")},
		"DeleteImportedKeyMaterial":           &api.DeleteImportedKeyMaterialInput{KeyId: arn},
		"ReplicateKey":                        &api.ReplicateKeyInput{KeyId: arn, ReplicaRegion: "eu-west-1"},
		"UpdatePrimaryRegion":                 &api.UpdatePrimaryRegionInput{KeyId: arn, PrimaryRegion: "eu-west-1"},
		"CreateGrant":                         &api.CreateGrantInput{KeyId: arn, GranteePrincipal: "arn:aws:iam::111111111111:user/carol", Operations: []string{"Encrypt"}},
		"ListGrants":                          &api.ListGrantsInput{KeyId: arn},
		"ListRetirableGrants":                 &api.ListRetirableGrantsInput{RetiringPrincipal: "arn:aws:iam::111111111111:user/carol"},
		"RevokeGrant":                         &api.RevokeGrantInput{KeyId: arn, GrantId: "g"},
		"RetireGrant":                         &api.RetireGrantInput{GrantToken: token},
		"TagResource":                         &api.TagResourceInput{KeyId: arn, Tags: []api.Tag{{TagKey: "a", TagValue: "b"}}},
		"UntagResource":                       &api.UntagResourceInput{KeyId: arn, TagKeys: []string{"a"}},
		"ListResourceTags":                    &api.ListResourceTagsInput{KeyId: arn},
		"GetKeyRotationStatus":                &api.GetKeyRotationStatusInput{KeyId: arn},
		"EnableKeyRotation":                   &api.EnableKeyRotationInput{KeyId: arn},
		"DisableKeyRotation":                  &api.DisableKeyRotationInput{KeyId: arn},
		"RotateKeyOnDemand":                   &api.RotateKeyOnDemandInput{KeyId: arn},
		"ListKeyRotations":                    &api.ListKeyRotationsInput{KeyId: arn},
	}
}

// TestEachPermissionMissing gives a caller every permission but one.
func TestEachPermissionMissing(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		ctx := context.Background()
		s, alice := world(e)
		arn := newKey(t, alice)
		enc, err := alice.Encrypt(ctx, &api.EncryptInput{KeyId: arn, Plaintext: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.CreateAlias(ctx, &api.CreateAliasInput{AliasName: "alias/old", TargetKeyId: arn}); err != nil {
			t.Fatal(err)
		}
		grant, err := alice.CreateGrant(ctx, &api.CreateGrantInput{KeyId: arn, GranteePrincipal: "arn:aws:iam::111111111111:user/carol", Operations: []string{"Encrypt"}})
		if err != nil {
			t.Fatal(err)
		}
		cases := everyOperation(arn, enc.CiphertextBlob, grant.GrantToken)
		for _, op := range s.Operations() {
			if _, ok := cases[op.Name]; !ok && op.Name != "ReEncrypt" {
				t.Errorf("%s is not tried", op.Name)
			}
		}
		for permission, in := range cases {
			operation := permission
			if strings.HasPrefix(operation, "ReEncrypt") {
				operation = "ReEncrypt"
			}
			e.Forget("bob@111111111111")
			e.Grant("bob@111111111111", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"kms:`+permission+`","Resource":"*"}]}`)
			_, err := e.As("bob@111111111111").Invoke(ctx, "kms", operation, in)
			if code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "kms:"+permission) {
				t.Errorf("without kms:%s: %v", permission, err)
			}
			// From another account, whose own policies allow everything, the
			// default key policy allows nothing.
			e.Forget("eve@222222222222")
			e.Grant("eve@222222222222", admin)
			if _, err := e.As("eve@222222222222").Invoke(ctx, "kms", operation, in); keyed(in) && code(err) != "AccessDeniedException" {
				t.Errorf("%s from another account: %v", operation, err)
			}
		}
	}, Schema())
}

// keyed reports whether an input names the key by its ARN.
func keyed(in any) bool {
	switch in.(type) {
	case *api.CreateKeyInput, *api.ListKeysInput, *api.ListAliasesInput, *api.GenerateRandomInput, *api.ListRetirableGrantsInput, *api.DeleteAliasInput:
		return false
	}
	return true
}

func TestCiphertext(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		ctx := context.Background()
		_, alice := world(e)
		arn := newKey(t, alice)
		with := map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k", "b": "c"}
		enc, err := alice.Encrypt(ctx, &api.EncryptInput{KeyId: arn, Plaintext: []byte("secret text"), EncryptionContext: with})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(enc.CiphertextBlob, []byte("secret")) {
			t.Error("the ciphertext shows the plaintext")
		}
		decrypt := func(blob []byte, with map[string]string) (*api.DecryptOutput, error) {
			return alice.Decrypt(ctx, &api.DecryptInput{CiphertextBlob: blob, EncryptionContext: with})
		}
		got, err := decrypt(enc.CiphertextBlob, with)
		if err != nil || string(got.Plaintext) != "secret text" || got.KeyId != arn {
			t.Fatalf("decrypt: %v %v", got, err)
		}
		for name, with := range map[string]map[string]string{
			"none":       nil,
			"less":       {"b": "c"},
			"more":       {"aws:s3:arn": "arn:aws:s3:::b/k", "b": "c", "d": ""},
			"other case": {"aws:s3:arn": "arn:aws:s3:::b/k", "b": "C"},
			"shifted":    {"aws:s3:arn": "arn:aws:s3:::b/kb", "": "c"},
		} {
			if _, err := decrypt(enc.CiphertextBlob, with); code(err) != "InvalidCiphertextException" {
				t.Errorf("context %s: %v", name, err)
			}
		}
		for i := range enc.CiphertextBlob {
			broken := bytes.Clone(enc.CiphertextBlob)
			broken[i] ^= 1
			if _, err := decrypt(broken, with); err == nil {
				t.Fatalf("byte %d altered, and it opens", i)
			}
		}
		for n := range 100 {
			if _, err := decrypt(enc.CiphertextBlob[:min(n, len(enc.CiphertextBlob))], with); code(err) != "InvalidCiphertextException" {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
		other := newKey(t, alice)
		if _, err := alice.Decrypt(ctx, &api.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: with, KeyId: other}); code(err) != "IncorrectKeyException" {
			t.Errorf("another key: %v", err)
		}
		re, err := alice.ReEncrypt(ctx, &api.ReEncryptInput{CiphertextBlob: enc.CiphertextBlob, SourceEncryptionContext: with, DestinationKeyId: other})
		if err != nil || re.KeyId != other || re.SourceKeyId != arn {
			t.Fatalf("re-encrypt: %v %v", re, err)
		}
		if got, err := decrypt(re.CiphertextBlob, nil); err != nil || string(got.Plaintext) != "secret text" || got.KeyId != other {
			t.Errorf("after re-encryption: %v %v", got, err)
		}
	}, Schema())
}

// TestMaterialAtRest looks for keys' material, secrets and private keys, in the
// files of the database.
func TestMaterialAtRest(t *testing.T) {
	dir := t.TempDir()
	db := statetest.Open(t, filepath.Join(dir, "sekisho.db"), Schema(), job.Schema())
	e := servicetest.New(t, db)
	s, alice := world(e)
	var m material
	for name, usage := range map[string]string{symmetric: encryptDecrypt, "HMAC_512": generateVerifyMAC, "ECC_NIST_P256": signVerify, "RSA_2048": signVerify} {
		out, err := alice.CreateKey(context.Background(), &api.CreateKeyInput{KeySpec: name, KeyUsage: usage})
		if err != nil {
			t.Fatal(err)
		}
		parsed, _ := aws.ParseARN(out.KeyMetadata.Arn)
		m, err = s.material(context.Background(), ref{parsed.Account, parsed.Region, strings.TrimPrefix(parsed.Resource, "key/"), ""}, 1)
		if err != nil {
			t.Fatal(err)
		}
		secret := m.secret.Reveal()
		secret = secret[len(secret)/3:][:16] // of a private key, which is no constant and not public
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, secret) || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString(m.secret.Reveal()))) {
				t.Errorf("%s holds the material of a key of spec %s in clear", f.Name(), name)
			}
		}
	}
	// Another master key opens none of it.
	stranger, err := seal.NewMaster(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	other := New(db, job.NewQueue(db, job.Options{}), stranger, e, Options{})
	if _, err := other.material(context.Background(), m.ref(), 1); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("under another master key: %v", err)
	}
}

func (m material) ref() ref {
	a, _ := aws.ParseARN(m.key)
	return ref{account: a.Account, region: a.Region, id: strings.TrimPrefix(a.Resource, "key/")}
}

func TestDeletionAndRotation(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		ctx := context.Background()
		s, alice := world(e)
		e.Start()
		doomed, spared, rotating := newKey(t, alice), newKey(t, alice), newKey(t, alice)
		for _, arn := range []string{doomed, spared} {
			if _, err := alice.ScheduleKeyDeletion(ctx, &api.ScheduleKeyDeletionInput{KeyId: arn, PendingWindowInDays: new(int64(7))}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := alice.CancelKeyDeletion(ctx, &api.CancelKeyDeletionInput{KeyId: spared}); err != nil {
			t.Fatal(err)
		}
		enc, err := alice.Encrypt(ctx, &api.EncryptInput{KeyId: rotating, Plaintext: []byte("before")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.EnableKeyRotation(ctx, &api.EnableKeyRotationInput{KeyId: rotating, RotationPeriodInDays: new(int64(90))}); err != nil {
			t.Fatal(err)
		}
		e.Advance(91 * day)
		due(t, s, doomed, deleteJob)
		due(t, s, spared, deleteJob)
		due(t, s, rotating, rotateJob)
		eventually(t, "the key is deleted", func() bool {
			_, err := alice.DescribeKey(ctx, &api.DescribeKeyInput{KeyId: doomed})
			return code(err) == "NotFoundException"
		})
		if out, err := alice.DescribeKey(ctx, &api.DescribeKeyInput{KeyId: spared}); err != nil || out.KeyMetadata.KeyState != disabled {
			t.Errorf("the spared key: %v %v", out, err)
		}
		eventually(t, "the key rotates", func() bool {
			out, err := alice.ListKeyRotations(ctx, &api.ListKeyRotationsInput{KeyId: rotating})
			return err == nil && len(out.Rotations) == 1 && out.Rotations[0].RotationType == "AUTOMATIC"
		})
		if got, err := alice.Decrypt(ctx, &api.DecryptInput{CiphertextBlob: enc.CiphertextBlob}); err != nil || string(got.Plaintext) != "before" {
			t.Errorf("old ciphertext after rotation: %v %v", got, err)
		}
		again, err := alice.Encrypt(ctx, &api.EncryptInput{KeyId: rotating, Plaintext: []byte("after")})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := readBlob("us-east-1", again.CiphertextBlob); err != nil || b.version != 2 {
			t.Errorf("new ciphertext has version %d, %v", b.version, err)
		}
		status, err := alice.GetKeyRotationStatus(ctx, &api.GetKeyRotationStatusInput{KeyId: rotating})
		if err != nil || !*status.KeyRotationEnabled || !status.NextRotationDate.After(e.Now().Add(89*day)) {
			t.Errorf("status: %+v %v", status, err)
		}
	}, Schema())
}

// due pulls a key's job to now: the queue's clock is the real one.
func due(t *testing.T, s *Service, arn, kind string) {
	t.Helper()
	a, _ := aws.ParseARN(arn)
	err := s.db.Update(context.Background(), func(tx *state.Tx) error {
		return enqueue(context.Background(), tx, kind, key{Account: a.Account, Region: a.Region, ID: strings.TrimPrefix(a.Resource, "key/")}, time.Time{})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func benchmark(b *testing.B, run func(c api.Client, arn string) error) {
	db := statetest.Open(b, statetest.SQLite(b), Schema(), job.Schema())
	t := &testing.T{}
	e := servicetest.New(t, db)
	_, alice := world(e)
	out, err := alice.CreateKey(context.Background(), &api.CreateKeyInput{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := run(alice, out.KeyMetadata.Arn); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	in := &api.EncryptInput{Plaintext: make([]byte, 32), EncryptionContext: map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k"}}
	benchmark(b, func(c api.Client, arn string) error {
		in.KeyId = arn
		_, err := c.Encrypt(context.Background(), in)
		return err
	})
}

func BenchmarkGenerateDataKey(b *testing.B) {
	in := &api.GenerateDataKeyInput{KeySpec: "AES_256", EncryptionContext: map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k"}}
	benchmark(b, func(c api.Client, arn string) error {
		in.KeyId = arn
		_, err := c.GenerateDataKey(context.Background(), in)
		return err
	})
}

func FuzzBlob(f *testing.F) {
	f.Add([]byte(magic + "123456789012"))
	r := ref{"111111111111", "us-east-1", "01234567-89ab-cdef-0123-456789abcdef", ""}
	m := material{materialRef{r.keyARN(), 1}, "", seal.NewSecret(make([]byte, 32))}
	good, err := encryptWith(m, r, []byte("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, err := readBlob("us-east-1", b)
		if err != nil {
			return
		}
		// The seeds were made by another process: they open, and nothing else does.
		if plain, err := decryptWith(m, parsed, nil); err == nil && string(plain) != "x" {
			t.Error("a made-up ciphertext opens")
		}
	})
}
