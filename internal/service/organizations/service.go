// Package organizations is AWS Organizations: organizations of accounts, their
// units, the accounts that are made in them or invited to them, and the
// service and resource control policies that bind them. The checkpoint asks
// it, through Current, what binds an account (member.go).
//
// What it does is what AWS documents; the wording of errors is AWS's where it
// could be found out. Not confirmed are: the wording of quotas of units, of
// policies and of their sizes, of DuplicatePolicyAttachmentException,
// PolicyInUseException and of handshakes; that names of policies are unique
// within their type only; whether a customer's resource control policy may
// name all actions by a lone asterisk; which error MoveAccount gives for a
// source that is not the account's parent; and that its permission is asked on
// both parents too.
package organizations

import (
	"context"
	"embed"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema are the service's tables.
func Schema() state.Schema { return state.Schema{Name: "organizations", Migrations: migrations} }

// Accounts makes accounts and knows the ones there are: IAM does.
type Accounts interface {
	// AccountName returns what an account is called; ok is false when there is
	// no such account.
	AccountName(ctx context.Context, id string) (name string, ok bool, err error)
	// MakeAccount makes the account of an id, once, however often it is
	// called. name is what it is called, if nobody else is called so.
	MakeAccount(ctx context.Context, name, id string) error
}

// Service is AWS Organizations.
type Service struct {
	db       *state.DB
	door     call.Door
	accounts Accounts
	now      func() time.Time
	cache    cache
}

// Options are the optional parts; the zero value works.
type Options struct {
	// Now is the clock of the job that makes accounts; nil means time.Now.
	Now func() time.Time
}

// New returns the service over a database that has its Schema. It makes
// accounts by a job of the queue, and the role in them through door.
func New(db *state.DB, door call.Door, jobs *job.Queue, accounts Accounts, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Service{db: db, door: door, accounts: accounts, now: o.Now}
	jobs.Handle(createJob, s.makeAccount)
	return s
}

// look runs fn on a snapshot, with the organization that the caller's account
// manages.
func (s *Service) look(ctx context.Context, c *call.Call, fn func(tx *state.Tx, o organization) error) error {
	return s.db.View(ctx, func(tx *state.Tx) error { return managing(ctx, tx, c, fn) })
}

// change runs fn in a transaction, with the organization that the caller's
// account manages. What is cached of organizations is out of date afterwards.
func (s *Service) change(ctx context.Context, c *call.Call, fn func(tx *state.Tx, o organization) error) error {
	return s.write(ctx, func(tx *state.Tx) error { return managing(ctx, tx, c, fn) })
}

// managing refuses accounts that are in no organization, and those that are
// in one that they do not manage.
func managing(ctx context.Context, tx *state.Tx, c *call.Call, fn func(tx *state.Tx, o organization) error) error {
	o, err := organizationOf(ctx, tx, c.Account())
	if err != nil {
		return err
	}
	if o.Management != c.Account() {
		return errNotManagement
	}
	return fn(tx, o)
}

// newID returns an identifier: its prefix, and n small letters and digits.
func newID(prefix string, n int) string {
	return prefix + aws.RandomText(n, "abcdefghijklmnopqrstuvwxyz0123456789")
}
