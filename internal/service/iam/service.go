// Package iam is AWS Identity and Access Management: users, groups, roles,
// policies and keys. It also knows who may do what: the checkpoint and STS ask
// it.
package iam

import (
	"context"
	"embed"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema are IAM's tables.
func Schema() state.Schema { return state.Schema{Name: "iam", Migrations: migrations} }

// Service is IAM.
type Service struct {
	db      *state.DB
	secrets *seal.Box // of access keys
	seeds   *seal.Box // of MFA devices
	private *seal.Box // keys of certificates and SAML providers
	tokens  *seal.Box // of sessions
	now     func() time.Time
	dev     bool
	uses    Uses
	rounds  int // of the hashes of passwords
	// organizations is nil until Bind.
	organizations Organizations
	cache         cache
}

// Uses is the record of calls, as far as IAM asks it: CloudTrail keeps it.
type Uses interface {
	// KeyUse returns the last use of an access key, and whether there is one.
	KeyUse(ctx context.Context, keyID string) (call.Use, bool, error)
	// UsesOf returns what users, roles and roots, given by their unique ids
	// (the account for a root), have used: each action's last use.
	UsesOf(ctx context.Context, ids []string) ([]call.Use, error)
}

// unused is the record of a world in which nothing is recorded.
type unused struct{}

func (unused) KeyUse(context.Context, string) (call.Use, bool, error) { return call.Use{}, false, nil }
func (unused) UsesOf(context.Context, []string) ([]call.Use, error)   { return nil, nil }

// Options are the optional parts of IAM.
type Options struct {
	// Now is the clock for the expiry of sessions; nil means time.Now.
	Now func() time.Time
	// DevCredentials lets unknown access keys act as root; see Stranger.
	DevCredentials bool
	// Uses tells when something was last used; nil means that nothing was.
	Uses Uses
}

// TokenPurpose is the purpose for which the master key seals session tokens.
const TokenPurpose = "sts/token"

// New returns IAM over a database that has its Schema.
func New(db *state.DB, master *seal.Master, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Uses == nil {
		o.Uses = unused{}
	}
	return &Service{
		db:      db,
		secrets: master.For("iam/access-key"),
		seeds:   master.For("iam/mfa"),
		private: master.For("iam/private-key"),
		uses:    o.Uses,
		tokens:  master.For(TokenPurpose),
		now:     o.Now,
		dev:     o.DevCredentials,
		rounds:  hashRounds,
	}
}

const bumpVersion = `UPDATE iam_account SET version = version + 1 WHERE id = $1 RETURNING version`

// write runs fn in a transaction that changes an account. Whatever is cached
// of the account is out of date once the transaction is on disk.
func (s *Service) write(ctx context.Context, account string, fn func(tx *state.Tx) error) error {
	return s.db.Update(ctx, func(tx *state.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return s.changed(ctx, tx, account)
	})
}

// changed notes in a transaction that an account has changed.
func (s *Service) changed(ctx context.Context, tx *state.Tx, account string) error {
	version, err := state.Get[int64](ctx, tx, bumpVersion, account)
	if err == state.ErrNotFound {
		return aws.Errorf("AccessDenied", "There is no account %s.", account).WithStatus(403)
	}
	if err != nil {
		return err
	}
	tx.AfterCommit(func() { s.cache.outdate(account, version) })
	return nil
}
