package kms

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/servicetest"
	"pgregory.net/rapid"
)

// TestSigning signs with every algorithm of every key spec, and no altered
// signature, message or algorithm verifies.
func TestSigning(t *testing.T) {
	for name, sp := range specs {
		for _, algorithm := range sp.algorithms[signVerify] {
			if strings.HasPrefix(name, "RSA_") && name != "RSA_2048" {
				continue // the same code, and slow to make
			}
			secret, err := sp.generate()
			if err != nil {
				t.Fatal(err)
			}
			signer, ok := sp.parse(secret)
			if !ok {
				t.Fatalf("%s: what is generated does not parse", name)
			}
			k := key{Spec: name, Usage: signVerify}
			kind := raw
			if algorithm == ed25519Prehash {
				kind = digest
			}
			message := make([]byte, 64)
			signed, opts, err := k.signing(algorithm, kind, message)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := signer.Sign(rand.Reader, signed, opts)
			if err != nil {
				t.Fatalf("%s: %v", algorithm, err)
			}
			if !verified(signer.Public(), signed, signature, opts) {
				t.Errorf("%s does not verify", algorithm)
			}
			for i := range signature {
				signature[i] ^= 0x40
				if verified(signer.Public(), signed, signature, opts) {
					t.Errorf("%s verifies with byte %d altered", algorithm, i)
				}
				signature[i] ^= 0x40
			}
			message[63] = 1
			other, _, err := k.signing(algorithm, kind, message)
			if err != nil {
				t.Fatal(err)
			}
			if verified(signer.Public(), other, signature, opts) {
				t.Errorf("%s verifies another message", algorithm)
			}
		}
	}
}

// TestPrivateKeysDoNotPrint prints one every way there is.
func TestPrivateKeysDoNotPrint(t *testing.T) {
	for _, name := range []string{"RSA_2048", "ECC_NIST_P256", "ECC_NIST_EDWARDS25519"} {
		secret, err := specs[name].generate()
		if err != nil {
			t.Fatal(err)
		}
		signer, _ := specs[name].parse(secret)
		p := private{func() crypto.Signer { return signer }}
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			if text := fmt.Sprintf(format, p) + fmt.Sprintf(format, &p); len(text) > 200 {
				t.Errorf("%s with %s prints %d characters: %s", name, format, len(text), text)
			}
		}
	}
}

// TestFlippedBits alters each bit of a ciphertext, one at a time: none opens.
func TestFlippedBits(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		t, ctx := e.T, context.Background()
		_, alice := world(e)
		arn := newKey(t, alice)
		rapid.Check(t, func(r *rapid.T) {
			plain := rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(r, "plain")
			with := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,8}`), rapid.StringMatching(`[a-z]{0,8}`), 0, 3).Draw(r, "context")
			enc, err := alice.Encrypt(ctx, &api.EncryptInput{KeyId: arn, Plaintext: plain, EncryptionContext: with})
			if err != nil {
				r.Fatal(err)
			}
			bit := rapid.IntRange(0, 8*len(enc.CiphertextBlob)-1).Draw(r, "bit")
			open := func() error {
				_, err := alice.Decrypt(ctx, &api.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: with, KeyId: arn})
				return err
			}
			if err := open(); err != nil {
				r.Fatal(err)
			}
			enc.CiphertextBlob[bit/8] ^= 1 << (bit % 8)
			// With the bit in the account or the id, it is another key's.
			if c := code(open()); c != "InvalidCiphertextException" && c != "IncorrectKeyException" {
				r.Fatalf("bit %d altered: %q", bit, c)
			}
		})
	}, Schema())
}

// TestReplicasGoFirst deletes a set of keys: the primary key begins to wait
// when its last replica is gone.
func TestReplicasGoFirst(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		t, ctx := e.T, context.Background()
		s, alice := world(e)
		e.Start()
		made, err := alice.CreateKey(ctx, &api.CreateKeyInput{MultiRegion: new(true)})
		if err != nil {
			t.Fatal(err)
		}
		arn := made.KeyMetadata.Arn
		state := func() string {
			out, err := alice.DescribeKey(ctx, &api.DescribeKeyInput{KeyId: arn})
			if err != nil {
				return code(err)
			}
			return out.KeyMetadata.KeyState
		}
		var replicas []string
		for _, region := range []string{"eu-west-1", "eu-west-2"} {
			out, err := alice.ReplicateKey(ctx, &api.ReplicateKeyInput{KeyId: arn, ReplicaRegion: region})
			if err != nil {
				t.Fatal(err)
			}
			replicas = append(replicas, out.ReplicaKeyMetadata.Arn)
			there := api.Client{Invoker: e.As("alice@111111111111 in " + region)}
			if _, err := there.ScheduleKeyDeletion(ctx, &api.ScheduleKeyDeletionInput{KeyId: out.ReplicaKeyMetadata.Arn, PendingWindowInDays: new(int64(7))}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := alice.ScheduleKeyDeletion(ctx, &api.ScheduleKeyDeletionInput{KeyId: arn, PendingWindowInDays: new(int64(10))}); err != nil {
			t.Fatal(err)
		}
		e.Advance(8 * day)
		due(t, s, replicas[0], deleteJob)
		eventually(t, "the first replica goes", func() bool {
			out, err := alice.DescribeKey(ctx, &api.DescribeKeyInput{KeyId: arn})
			return err == nil && len(out.KeyMetadata.MultiRegionConfiguration.ReplicaKeys) == 1
		})
		if got := state(); got != pendingReplicaDeletion {
			t.Errorf("with one replica left the primary key is %s", got)
		}
		due(t, s, replicas[1], deleteJob)
		eventually(t, "the primary key waits", func() bool { return state() == pendingDeletion })
		out, err := alice.DescribeKey(ctx, &api.DescribeKeyInput{KeyId: arn})
		if err != nil || out.KeyMetadata.DeletionDate.Sub(e.Now().Add(10*day)).Abs() > time.Minute {
			t.Errorf("it waits until %v, %v", out.KeyMetadata.DeletionDate, err)
		}
		e.Advance(11 * day)
		due(t, s, arn, deleteJob)
		eventually(t, "the primary key goes", func() bool { return state() == "NotFoundException" })
	}, Schema())
}

// TestReplicasRotate has a schedule rotate a set of keys.
func TestReplicasRotate(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		t, ctx := e.T, context.Background()
		s, alice := world(e)
		e.Start()
		made, err := alice.CreateKey(ctx, &api.CreateKeyInput{MultiRegion: new(true)})
		if err != nil {
			t.Fatal(err)
		}
		arn := made.KeyMetadata.Arn
		replicated, err := alice.ReplicateKey(ctx, &api.ReplicateKeyInput{KeyId: arn, ReplicaRegion: "eu-west-1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.EnableKeyRotation(ctx, &api.EnableKeyRotationInput{KeyId: arn, RotationPeriodInDays: new(int64(90))}); err != nil {
			t.Fatal(err)
		}
		e.Advance(90*day - 10*time.Minute)
		_, err = alice.RotateKeyOnDemand(ctx, &api.RotateKeyOnDemandInput{KeyId: arn})
		wantCode(t, "rotation by hand just before the schedule's", err, "ConflictException")
		e.Advance(time.Hour)
		due(t, s, replicated.ReplicaKeyMetadata.Arn, rotateJob) // which is not the replica's
		due(t, s, arn, rotateJob)
		there := api.Client{Invoker: e.As("alice@111111111111 in eu-west-1")}
		eventually(t, "the replica has the new material", func() bool {
			here, err := alice.ListKeyRotations(ctx, &api.ListKeyRotationsInput{KeyId: arn})
			if err != nil || len(here.Rotations) != 1 {
				return false
			}
			out, err := there.ListKeyRotations(ctx, &api.ListKeyRotationsInput{KeyId: replicated.ReplicaKeyMetadata.Arn})
			return err == nil && len(out.Rotations) == 1 && out.Rotations[0].KeyMaterialId == here.Rotations[0].KeyMaterialId
		})
		enc, err := there.Encrypt(ctx, &api.EncryptInput{KeyId: replicated.ReplicaKeyMetadata.Arn, Plaintext: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := readBlob("us-east-1", enc.CiphertextBlob); err != nil || b.version != 2 {
			t.Errorf("the replica encrypts with version %d, %v", b.version, err)
		}
		if _, err := alice.Decrypt(ctx, &api.DecryptInput{CiphertextBlob: enc.CiphertextBlob}); err != nil {
			t.Error(err)
		}
	}, Schema())
}

// FuzzAgree gives key agreement public keys that anybody may have made up.
func FuzzAgree(f *testing.F) {
	pair, err := specs["ECC_NIST_P256"].generatePair()
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(pair.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	private := pair.(*ecdsa.PrivateKey)
	f.Fuzz(func(t *testing.T, der []byte) {
		if secret, ok := agree(private, der); ok && len(secret) != 32 {
			t.Errorf("a secret of %d bytes", len(secret))
		}
	})
}

func BenchmarkDecrypt(b *testing.B) {
	in := &api.DecryptInput{EncryptionContext: map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k"}}
	benchmark(b, func(c api.Client, arn string) error {
		if in.CiphertextBlob == nil {
			enc, err := c.Encrypt(context.Background(), &api.EncryptInput{KeyId: arn, Plaintext: make([]byte, 32), EncryptionContext: in.EncryptionContext})
			if err != nil {
				return err
			}
			in.CiphertextBlob = enc.CiphertextBlob
		}
		_, err := c.Decrypt(context.Background(), in)
		return err
	})
}

func BenchmarkSign(b *testing.B) {
	for name, algorithm := range map[string]string{"ECC_NIST_P256": "ECDSA_SHA_256", "ECC_NIST_EDWARDS25519": ed25519Pure, "RSA_2048": "RSASSA_PSS_SHA_256"} {
		b.Run(name, func(b *testing.B) {
			id := ""
			benchmark(b, func(c api.Client, _ string) error {
				if id == "" {
					out, err := c.CreateKey(context.Background(), &api.CreateKeyInput{KeySpec: name, KeyUsage: signVerify})
					if err != nil {
						return err
					}
					id = out.KeyMetadata.Arn
				}
				_, err := c.Sign(context.Background(), &api.SignInput{KeyId: id, Message: []byte("message"), SigningAlgorithm: algorithm})
				return err
			})
		})
	}
}

func BenchmarkGenerateMac(b *testing.B) {
	id := ""
	benchmark(b, func(c api.Client, _ string) error {
		if id == "" {
			out, err := c.CreateKey(context.Background(), &api.CreateKeyInput{KeySpec: "HMAC_256", KeyUsage: generateVerifyMAC})
			if err != nil {
				return err
			}
			id = out.KeyMetadata.Arn
		}
		_, err := c.GenerateMac(context.Background(), &api.GenerateMacInput{KeyId: id, Message: []byte("message"), MacAlgorithm: "HMAC_SHA_256"})
		return err
	})
}
