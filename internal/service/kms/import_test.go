package kms

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/servicetest"
)

// wrapAES is AES key wrap with padding, as a customer does it.
func wrapAES(t testing.TB, kek, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	padded := append([]byte(nil), plain...)
	for len(padded)%8 != 0 {
		padded = append(padded, 0)
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, wrapIV), uint32(len(plain)))
	out := append(head, padded...)
	if len(out) == 16 {
		block.Encrypt(out, out)
		return out
	}
	n := len(padded) / 8
	var buf [16]byte
	copy(buf[:8], head)
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(buf[8:], out[8*i:8*i+8])
			block.Encrypt(buf[:], buf[:])
			binary.BigEndian.PutUint64(buf[:8], binary.BigEndian.Uint64(buf[:8])^uint64(n*j+i))
			copy(out[8*i:], buf[8:])
		}
	}
	copy(out, buf[:8])
	return out
}

// wrapFor wraps material as GetParametersForImport's answer asks for.
func wrapFor(t testing.TB, public []byte, algorithm string, plain []byte) []byte {
	t.Helper()
	parsed, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := parsed.(*rsa.PublicKey)
	seal := func(b []byte) []byte {
		sealed, err := rsa.EncryptOAEP(oaepHash(algorithm), rand.Reader, key, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	if len(algorithm) < len(wrapWithAES) || algorithm[:len(wrapWithAES)] != wrapWithAES {
		return seal(plain)
	}
	kek := make([]byte, 32)
	rand.Read(kek)
	return append(seal(kek), wrapAES(t, kek, plain)...)
}

// TestUnwrapAES has the examples of RFC 5649, section 6.
func TestUnwrapAES(t *testing.T) {
	for _, tt := range []struct{ plain, wrapped string }{
		{"c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
		{"466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
	} {
		kek, _ := hex.DecodeString("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
		wrapped, _ := hex.DecodeString(tt.wrapped)
		got, err := unwrapAES(kek, wrapped)
		if err != nil || hex.EncodeToString(got) != tt.plain {
			t.Errorf("unwrapAES = %x, %v, want %s", got, err, tt.plain)
		}
		for i := range wrapped {
			broken := bytes.Clone(wrapped)
			broken[i] ^= 0x10
			if got, err := unwrapAES(kek, broken); err == nil {
				t.Errorf("byte %d altered, and it opens: %x", i, got)
			}
		}
	}
}

func FuzzUnwrapAES(f *testing.F) {
	kek := make([]byte, 32)
	f.Add(wrapAES(f, kek, []byte("x")))
	f.Add(wrapAES(f, kek, make([]byte, 40)))
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		plain, err := unwrapAES(kek, wrapped)
		if err == nil && !bytes.Equal(wrapAES(t, kek, plain), wrapped) {
			t.Errorf("%x opens as %x, which wraps otherwise", wrapped, plain)
		}
	})
}

// importer is a key that waits for material, and the way to import it.
type importer struct {
	*testing.T
	api.Client
	arn string
}

func newImporter(t *testing.T, c api.Client, in *api.CreateKeyInput) importer {
	t.Helper()
	in.Origin = originExternal
	out, err := c.CreateKey(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if m := out.KeyMetadata; m.KeyState != pendingImport || m.Origin != originExternal || *m.Enabled || m.ExpirationModel != "" || m.CurrentKeyMaterialId != "" {
		t.Errorf("new key: %+v", m)
	}
	return importer{t, c, out.KeyMetadata.Arn}
}

// bring imports material; more changes the request.
func (i importer) bring(algorithm string, plain []byte, more func(*api.ImportKeyMaterialInput)) (*api.ImportKeyMaterialOutput, error) {
	i.Helper()
	p, err := i.GetParametersForImport(context.Background(), &api.GetParametersForImportInput{KeyId: i.arn, WrappingAlgorithm: algorithm, WrappingKeySpec: "RSA_2048"})
	if err != nil {
		i.Fatal(err)
	}
	in := &api.ImportKeyMaterialInput{
		KeyId: i.arn, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrapFor(i, p.PublicKey, algorithm, plain), ExpirationModel: neverExpires,
	}
	if more != nil {
		more(in)
	}
	return i.ImportKeyMaterial(context.Background(), in)
}

func (i importer) mustBring(plain []byte, more func(*api.ImportKeyMaterialInput)) string {
	i.Helper()
	out, err := i.bring(oaepSHA2, plain, more)
	if err != nil {
		i.Fatal(err)
	}
	return out.KeyMaterialId
}

func (i importer) describe() *api.KeyMetadata {
	i.Helper()
	out, err := i.DescribeKey(context.Background(), &api.DescribeKeyInput{KeyId: i.arn})
	if err != nil {
		i.Fatal(err)
	}
	return out.KeyMetadata
}

// states are the states of a key's materials, oldest first.
func (i importer) states() (list []string) {
	i.Helper()
	out, err := i.ListKeyRotations(context.Background(), &api.ListKeyRotationsInput{KeyId: i.arn, IncludeKeyMaterial: "ALL_KEY_MATERIAL"})
	if err != nil {
		i.Fatal(err)
	}
	for _, r := range out.Rotations {
		list = append(list, r.ImportState+" "+r.KeyMaterialState)
	}
	return list
}

func isNew(in *api.ImportKeyMaterialInput) { in.ImportType = "NEW_KEY_MATERIAL" }

func wantCode(t *testing.T, what string, err error, want string) {
	t.Helper()
	if code(err) != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestImport(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		t, ctx := e.T, context.Background()
		_, alice := world(e)
		k := newImporter(t, alice, &api.CreateKeyInput{})
		secret := bytes.Repeat([]byte{7}, 32)
		_, err := k.Encrypt(ctx, &api.EncryptInput{KeyId: k.arn, Plaintext: []byte("x")})
		wantCode(t, "encrypt before the import", err, "KMSInvalidStateException")
		_, err = k.EnableKey(ctx, &api.EnableKeyInput{KeyId: k.arn})
		wantCode(t, "enable before the import", err, "KMSInvalidStateException")
		_, err = k.EnableKeyRotation(ctx, &api.EnableKeyRotationInput{KeyId: k.arn})
		wantCode(t, "rotation of imported material", err, "UnsupportedOperationException")

		_, err = k.bring(oaepSHA2, secret[1:], nil)
		wantCode(t, "material of 31 bytes", err, "IncorrectKeyMaterialException")
		_, err = k.bring(oaepSHA2, secret, func(in *api.ImportKeyMaterialInput) { in.EncryptedKeyMaterial[9] ^= 1 })
		wantCode(t, "altered material", err, "InvalidCiphertextException")
		_, err = k.bring(oaepSHA2, secret, func(in *api.ImportKeyMaterialInput) { in.ImportToken[9] ^= 1 })
		wantCode(t, "altered token", err, "InvalidImportTokenException")
		_, err = k.bring(oaepSHA2, secret, func(in *api.ImportKeyMaterialInput) { in.ExpirationModel = "" })
		wantCode(t, "no expiry", err, "ValidationException")
		_, err = k.bring(oaepSHA2, secret, func(in *api.ImportKeyMaterialInput) { in.ValidTo = new(e.Now().Add(day)) })
		wantCode(t, "an expiry of what does not expire", err, "ValidationException")
		for _, at := range []time.Duration{-time.Hour, 366 * day} {
			_, err = k.bring(oaepSHA2, secret, func(in *api.ImportKeyMaterialInput) {
				in.ExpirationModel, in.ValidTo = expires, new(e.Now().Add(at))
			})
			wantCode(t, "expiry after "+at.String(), err, "ValidationException")
		}
		other := newImporter(t, alice, &api.CreateKeyInput{})
		_, err = k.bring(oaepSHA2, secret, func(in *api.ImportKeyMaterialInput) { in.KeyId = other.arn })
		wantCode(t, "another key's token", err, "InvalidImportTokenException")
		_, err = k.bring(oaepSHA2, secret, func(*api.ImportKeyMaterialInput) { e.Advance(25 * time.Hour) })
		wantCode(t, "token of yesterday", err, "ExpiredImportTokenException")

		id := k.mustBring(secret, func(in *api.ImportKeyMaterialInput) { in.KeyMaterialDescription = "first" })
		if m := k.describe(); m.KeyState != enabled || m.ExpirationModel != neverExpires || m.CurrentKeyMaterialId != id {
			t.Errorf("after the import: %+v", m)
		}
		enc, err := k.Encrypt(ctx, &api.EncryptInput{KeyId: k.arn, Plaintext: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.bring(oaepSHA2, bytes.Repeat([]byte{8}, 32), nil)
		wantCode(t, "other material", err, "IncorrectKeyMaterialException")
		_, err = k.bring(oaepSHA2, secret, isNew)
		wantCode(t, "the same material as new", err, "IncorrectKeyMaterialException")

		// New material waits for its rotation; the old goes on opening.
		second := k.mustBring(bytes.Repeat([]byte{8}, 32), isNew)
		_, err = k.bring(oaepSHA2, bytes.Repeat([]byte{9}, 32), isNew)
		wantCode(t, "a third one while one waits", err, "KMSInvalidStateException")
		if got := k.states(); len(got) != 2 || got[1] != "IMPORTED PENDING_ROTATION" {
			t.Errorf("materials: %q", got)
		}
		if _, err := k.RotateKeyOnDemand(ctx, &api.RotateKeyOnDemandInput{KeyId: k.arn}); err != nil {
			t.Fatal(err)
		}
		_, err = k.RotateKeyOnDemand(ctx, &api.RotateKeyOnDemandInput{KeyId: k.arn})
		wantCode(t, "rotation to nothing", err, "KMSInvalidStateException")
		if m := k.describe(); m.CurrentKeyMaterialId != second {
			t.Errorf("current material is %s, want %s", m.CurrentKeyMaterialId, second)
		}
		decrypts := func(want string) {
			t.Helper()
			_, err := k.Decrypt(ctx, &api.DecryptInput{CiphertextBlob: enc.CiphertextBlob})
			wantCode(t, "decrypt", err, want)
		}
		decrypts("")

		// Without any of its materials a key waits; the same brings it back.
		if _, err := k.DeleteImportedKeyMaterial(ctx, &api.DeleteImportedKeyMaterialInput{KeyId: k.arn, KeyMaterialId: id}); err != nil {
			t.Fatal(err)
		}
		decrypts("KMSInvalidStateException")
		if _, err := k.DeleteImportedKeyMaterial(ctx, &api.DeleteImportedKeyMaterialInput{KeyId: k.arn}); err != nil {
			t.Fatal(err)
		}
		if got := k.states(); len(got) != 2 || got[0] != "PENDING_IMPORT NON_CURRENT" || got[1] != "PENDING_IMPORT CURRENT" {
			t.Errorf("materials: %q", got)
		}
		k.mustBring(secret, func(in *api.ImportKeyMaterialInput) { in.KeyMaterialId = id })
		decrypts("KMSInvalidStateException")
		_, err = k.bring(oaepSHA2, secret, func(in *api.ImportKeyMaterialInput) { in.KeyMaterialId = second })
		wantCode(t, "another material's id", err, "IncorrectKeyMaterialException")
		k.mustBring(bytes.Repeat([]byte{8}, 32), nil)
		decrypts("")
		_, err = k.DeleteImportedKeyMaterial(ctx, &api.DeleteImportedKeyMaterialInput{KeyId: k.arn, KeyMaterialId: hex.EncodeToString(make([]byte, 32))})
		wantCode(t, "material that is not there", err, "NotFoundException")

		// What waits for its rotation is forgotten when it is deleted.
		third := k.mustBring(bytes.Repeat([]byte{9}, 32), isNew)
		if _, err := k.DeleteImportedKeyMaterial(ctx, &api.DeleteImportedKeyMaterialInput{KeyId: k.arn, KeyMaterialId: third}); err != nil {
			t.Fatal(err)
		}
		if got := k.states(); len(got) != 2 || k.describe().KeyState != enabled {
			t.Errorf("after the deletion of what waits: %q, %s", got, k.describe().KeyState)
		}
	}, Schema())
}

// TestImportKinds imports every kind of material in every way of wrapping it.
func TestImportKinds(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		t, ctx := e.T, context.Background()
		_, alice := world(e)
		for name, usage := range map[string]string{"RSA_2048": signVerify, "ECC_NIST_P256": keyAgreement, "ECC_NIST_P521": signVerify, "ECC_NIST_EDWARDS25519": signVerify, "HMAC_512": generateVerifyMAC, symmetric: encryptDecrypt} {
			secret, err := specs[name].generate()
			if err != nil {
				t.Fatal(err)
			}
			for _, algorithm := range []string{oaepSHA1, oaepSHA2, wrapWithAES + "SHA_1", wrapWithAES + "SHA_256"} {
				k := newImporter(t, alice, &api.CreateKeyInput{KeySpec: name, KeyUsage: usage})
				if checkWrapping(key{Spec: name}, algorithm, "RSA_2048") != nil {
					_, err := k.GetParametersForImport(ctx, &api.GetParametersForImportInput{KeyId: k.arn, WrappingAlgorithm: algorithm, WrappingKeySpec: "RSA_2048"})
					wantCode(t, name+" with "+algorithm, err, "UnsupportedOperationException")
					continue
				}
				if _, err := k.bring(algorithm, secret, nil); err != nil {
					t.Errorf("%s with %s: %v", name, algorithm, err)
				}
			}
		}
		for _, way := range [][2]string{{"RSAES_PKCS1_V1_5", "RSA_2048"}, {oaepSHA2, "SM2"}, {"SM2PKE", "SM2"}} {
			k := newImporter(t, alice, &api.CreateKeyInput{})
			_, err := k.GetParametersForImport(ctx, &api.GetParametersForImportInput{KeyId: k.arn, WrappingAlgorithm: way[0], WrappingKeySpec: way[1]})
			wantCode(t, way[0]+" with "+way[1], err, "UnsupportedOperationException")
		}
		// A key signs with the private key that was brought, and takes no other.
		pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(pair)
		if err != nil {
			t.Fatal(err)
		}
		k := newImporter(t, alice, &api.CreateKeyInput{KeySpec: "ECC_NIST_P256", KeyUsage: signVerify})
		if out, err := k.bring(oaepSHA2, der, nil); err != nil || out.KeyMaterialId != "" {
			t.Fatalf("import: %+v %v", out, err)
		}
		digest := make([]byte, 32)
		signed, err := k.Sign(ctx, &api.SignInput{KeyId: k.arn, Message: digest, MessageType: "DIGEST", SigningAlgorithm: "ECDSA_SHA_256"})
		if err != nil || !ecdsa.VerifyASN1(&pair.PublicKey, digest, signed.Signature) {
			t.Errorf("signature of the imported key: %v", err)
		}
		stranger, err := specs["ECC_NIST_P256"].generate()
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.bring(oaepSHA2, stranger, nil)
		wantCode(t, "another private key", err, "IncorrectKeyMaterialException")
		_, err = k.bring(oaepSHA2, der, isNew)
		wantCode(t, "an import type", err, "ValidationException")
		curve, err := specs["ECC_NIST_P384"].generate()
		if err != nil {
			t.Fatal(err)
		}
		_, err = newImporter(t, alice, &api.CreateKeyInput{KeySpec: "ECC_NIST_P256", KeyUsage: signVerify}).bring(oaepSHA2, curve, nil)
		wantCode(t, "a key of another curve", err, "IncorrectKeyMaterialException")
		if _, err := k.DeleteImportedKeyMaterial(ctx, &api.DeleteImportedKeyMaterialInput{KeyId: k.arn}); err != nil {
			t.Fatal(err)
		}
		_, err = k.GetPublicKey(ctx, &api.GetPublicKeyInput{KeyId: k.arn})
		wantCode(t, "public key of no pair", err, "KMSInvalidStateException")
	}, Schema())
}

func TestImportedMaterialExpires(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		t, ctx := e.T, context.Background()
		s, alice := world(e)
		e.Start()
		k := newImporter(t, alice, &api.CreateKeyInput{})
		secret := bytes.Repeat([]byte{7}, 32)
		until := e.Now().Add(10 * day)
		id := k.mustBring(secret, func(in *api.ImportKeyMaterialInput) { in.ExpirationModel, in.ValidTo = "", &until })
		if m := k.describe(); m.ExpirationModel != expires || m.ValidTo == nil || m.ValidTo.Sub(until).Abs() > time.Second {
			t.Errorf("after the import: %+v", m)
		}
		due(t, s, k.arn, expireJob) // too early: nothing happens
		e.Advance(11 * day)
		due(t, s, k.arn, expireJob)
		eventually(t, "the material expires", func() bool { return k.describe().KeyState == pendingImport })
		_, err := k.GenerateDataKey(ctx, &api.GenerateDataKeyInput{KeyId: k.arn, KeySpec: "AES_256"})
		wantCode(t, "use after the expiry", err, "KMSInvalidStateException")
		if got := k.mustBring(secret, nil); got != id {
			t.Errorf("the same material has id %s, and had %s", got, id)
		}
		if m := k.describe(); m.KeyState != enabled || m.ValidTo != nil {
			t.Errorf("after it was brought again: %+v", m)
		}
		// While a key waits for its deletion, its material's going changes no state.
		if _, err := k.ScheduleKeyDeletion(ctx, &api.ScheduleKeyDeletionInput{KeyId: k.arn}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.DeleteImportedKeyMaterial(ctx, &api.DeleteImportedKeyMaterialInput{KeyId: k.arn}); err != nil {
			t.Fatal(err)
		}
		if m := k.describe(); m.KeyState != pendingDeletion {
			t.Errorf("state is %s", m.KeyState)
		}
		if _, err := k.CancelKeyDeletion(ctx, &api.CancelKeyDeletionInput{KeyId: k.arn}); err != nil {
			t.Fatal(err)
		}
		if m := k.describe(); m.KeyState != pendingImport {
			t.Errorf("state is %s", m.KeyState)
		}
	}, Schema())
}

// TestImportIntoRegions follows the steps that AWS asks for: the primary key
// first, then every replica, then the rotation.
func TestImportIntoRegions(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		t, ctx := e.T, context.Background()
		_, alice := world(e)
		k := newImporter(t, alice, &api.CreateKeyInput{MultiRegion: new(true)})
		one, two := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
		k.mustBring(one, nil)
		made, err := k.ReplicateKey(ctx, &api.ReplicateKeyInput{KeyId: k.arn, ReplicaRegion: "eu-west-1"})
		if err != nil || made.ReplicaKeyMetadata.KeyState != pendingImport {
			t.Fatalf("replica: %+v %v", made, err)
		}
		there := importer{t, api.Client{Invoker: e.As("alice@111111111111 in eu-west-1")}, made.ReplicaKeyMetadata.Arn}
		_, err = there.bring(oaepSHA2, two, nil)
		wantCode(t, "material that the primary key has not", err, "IncorrectKeyMaterialException")
		_, err = there.bring(oaepSHA2, two, isNew)
		wantCode(t, "new material for a replica", err, "UnsupportedOperationException")
		there.mustBring(one, nil)
		enc, err := k.Encrypt(ctx, &api.EncryptInput{KeyId: k.arn, Plaintext: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := there.Decrypt(ctx, &api.DecryptInput{CiphertextBlob: enc.CiphertextBlob}); err != nil {
			t.Error(err)
		}
		second := k.mustBring(two, isNew)
		if got := k.states(); got[1] != "IMPORTED PENDING_MULTI_REGION_IMPORT_AND_ROTATION" {
			t.Errorf("before the replica has it: %q", got)
		}
		_, err = k.RotateKeyOnDemand(ctx, &api.RotateKeyOnDemandInput{KeyId: k.arn})
		wantCode(t, "rotation before the replica has it", err, "KMSInvalidStateException")
		there.mustBring(two, func(in *api.ImportKeyMaterialInput) { in.ImportType = "EXISTING_KEY_MATERIAL" })
		if got := k.states(); got[1] != "IMPORTED PENDING_ROTATION" {
			t.Errorf("when the replica has it: %q", got)
		}
		if _, err := k.RotateKeyOnDemand(ctx, &api.RotateKeyOnDemandInput{KeyId: k.arn}); err != nil {
			t.Fatal(err)
		}
		if got := there.describe().CurrentKeyMaterialId; got != second {
			t.Errorf("the replica's material is %s, want %s", got, second)
		}
		// What goes from a replica stays in the primary key.
		if _, err := there.DeleteImportedKeyMaterial(ctx, &api.DeleteImportedKeyMaterialInput{KeyId: there.arn}); err != nil {
			t.Fatal(err)
		}
		if there.describe().KeyState != pendingImport || k.describe().KeyState != enabled {
			t.Errorf("states: %s, %s", there.describe().KeyState, k.describe().KeyState)
		}
		there.mustBring(two, nil)
		// What waits goes from all.
		waiting := k.mustBring(bytes.Repeat([]byte{3}, 32), isNew)
		there.mustBring(bytes.Repeat([]byte{3}, 32), nil)
		if _, err := k.DeleteImportedKeyMaterial(ctx, &api.DeleteImportedKeyMaterialInput{KeyId: k.arn, KeyMaterialId: waiting}); err != nil {
			t.Fatal(err)
		}
		if got := there.states(); len(got) != 2 {
			t.Errorf("the replica has %q", got)
		}
	}, Schema())
}
