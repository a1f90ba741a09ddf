package iam_test

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
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
