package iam_test

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
)

// TestPasswordsAreHashedSlowly holds what is kept of a password against PBKDF2
// with the rounds that OWASP asks for. All other tests hash with fewer.
func TestPasswordsAreHashedSlowly(t *testing.T) {
	servicetest.Each(t, func(e *servicetest.Env) {
		e.Door.Serve("iam", fullIAM(e, iam.Options{}).Operations())
		root := api.Client{Invoker: e.As("root@" + one)}
		must(root.CreateUser(ctx(), &api.CreateUserInput{UserName: "alice"}))(e.T)
		must(root.CreateLoginProfile(ctx(), &api.CreateLoginProfileInput{UserName: "alice", Password: "Secret-12"}))(e.T)
		type kept struct {
			Salt []byte `db:"salt"`
			Hash []byte `db:"hash"`
		}
		err := e.DB.View(ctx(), func(tx *state.Tx) error {
			k, err := state.Get[kept](ctx(), tx, `SELECT salt, hash FROM iam_login`)
			if err != nil {
				return err
			}
			want, err := pbkdf2.Key(sha256.New, "Secret-12", k.Salt, 600_000, sha256.Size)
			if !bytes.Equal(k.Hash, want) || len(k.Salt) < 16 {
				e.T.Errorf("hash %x with salt %x, want %x", k.Hash, k.Salt, want)
			}
			return err
		})
		if err != nil {
			e.T.Fatal(err)
		}
	}, iam.Schema())
}

// TestNothingSecretInTheFile holds that no secret that IAM was given or gave out
// can be read in the database's files.
func TestNothingSecretInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db, err := state.Open(ctx(), path, iam.Schema())
	if err != nil {
		t.Fatal(err)
	}
	e := servicetest.New(t, db)
	s := newIAM(e, iam.Options{})
	e.Door.Serve("iam", s.Operations())
	root := api.Client{Invoker: e.As("root@" + one)}
	key := iam.Files(t, "certificates.txtar", "key")
	const password = "Secret-12-of-alice"
	must(root.CreateUser(ctx(), &api.CreateUserInput{UserName: "alice"}))(t)
	must(root.CreateLoginProfile(ctx(), &api.CreateLoginProfileInput{UserName: "alice", Password: password}))(t)
	access := must(root.CreateAccessKey(ctx(), &api.CreateAccessKeyInput{UserName: "alice"}))(t).AccessKey
	git := must(root.CreateServiceSpecificCredential(ctx(), &api.CreateServiceSpecificCredentialInput{UserName: "alice", ServiceName: "codecommit.amazonaws.com"}))(t).ServiceSpecificCredential
	again := must(root.ResetServiceSpecificCredential(ctx(), &api.ResetServiceSpecificCredentialInput{UserName: "alice", ServiceSpecificCredentialId: git.ServiceSpecificCredentialId}))(t).ServiceSpecificCredential
	phone := must(root.CreateVirtualMFADevice(ctx(), &api.CreateVirtualMFADeviceInput{VirtualMFADeviceName: "phone"}))(t).VirtualMFADevice
	seed, err := base32.StdEncoding.DecodeString(string(phone.Base32StringSeed))
	if err != nil {
		t.Fatal(err)
	}
	must(root.UploadServerCertificate(ctx(), &api.UploadServerCertificateInput{
		ServerCertificateName: "c", CertificateBody: iam.Files(t, "certificates.txtar", "cert"), PrivateKey: key,
	}))(t)
	must(root.CreateSAMLProvider(ctx(), &api.CreateSAMLProviderInput{
		Name: "Corp", SAMLMetadataDocument: iam.Files(t, "saml.txtar", "metadata"), AddPrivateKey: key, AssertionEncryptionMode: "Allowed",
	}))(t)
	must(root.DeleteServiceSpecificCredential(ctx(), &api.DeleteServiceSpecificCredentialInput{UserName: "alice", ServiceSpecificCredentialId: git.ServiceSpecificCredentialId}))(t)

	var all []byte
	for _, file := range []string{path, path + "-wal"} {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	if !bytes.Contains(all, []byte(access.AccessKeyId)) {
		t.Fatal("the files lack what they should have")
	}
	for name, secret := range map[string]string{
		"password": password, "access key": access.SecretAccessKey, "credential": git.ServicePassword, "credential, reset": again.ServicePassword,
		"seed": string(seed), "seed, as text": string(phone.Base32StringSeed), "private key": strings.Split(key, "\n")[1],
	} {
		if len(secret) < 16 || bytes.Contains(all, []byte(secret)) {
			t.Errorf("%s can be read", name)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
