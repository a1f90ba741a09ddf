package iam

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// loginOperations are those about users' passwords.
func (s *Service) loginOperations() []call.Operation {
	return []call.Operation{
		on(s, "CreateLoginProfile", func(in *api.CreateLoginProfileInput) subject { return subject{kind: user, name: in.UserName} }, s.createLoginProfile),
		on(s, "GetLoginProfile", func(in *api.GetLoginProfileInput) subject { return subject{kind: user, name: in.UserName} }, s.getLoginProfile),
		on(s, "UpdateLoginProfile", func(in *api.UpdateLoginProfileInput) subject { return subject{kind: user, name: in.UserName} }, s.updateLoginProfile),
		on(s, "DeleteLoginProfile", func(in *api.DeleteLoginProfileInput) subject { return subject{kind: user, name: in.UserName} }, s.deleteLoginProfile),
		call.Op("ChangePassword", s.changePasswordNeeds, s.changePassword),
	}
}

// login is a user's password.
type login struct {
	UserID  string    `db:"user_id"`
	Account string    `db:"account"`
	Salt    []byte    `db:"salt"`
	Hash    []byte    `db:"hash"`
	Reset   bool      `db:"reset"`
	Created time.Time `db:"created"`
	Changed time.Time `db:"changed"`
}

const loginColumns = `user_id, account, salt, hash, reset, created, changed`

const (
	findLogin   = `SELECT ` + loginColumns + ` FROM iam_login WHERE user_id = $1`
	insertLogin = `INSERT INTO iam_login (` + loginColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (user_id) DO NOTHING`
	updateLogin = `UPDATE iam_login SET hash = $2, reset = $3, changed = $4 WHERE user_id = $1`

	insertOldPassword = `INSERT INTO iam_old_password (user_id, number, hash)
		SELECT $1, COALESCE(MAX(number), 0) + 1, $2 FROM iam_old_password WHERE user_id = $1`
	listOldPasswords  = `SELECT hash FROM iam_old_password WHERE user_id = $1 ORDER BY number DESC LIMIT $2`
	pruneOldPasswords = `DELETE FROM iam_old_password WHERE user_id = $1
		AND number <= (SELECT MAX(number) FROM iam_old_password WHERE user_id = $1) - $2`
)

// maxRemembered is how many old passwords are kept: the most that a password
// policy bars.
const maxRemembered = 24

// hashRounds makes one guess at a password cost a tenth of a second: what
// OWASP asks of PBKDF2 with SHA-256.
const hashRounds = 600_000

// slowHash hashes a password. It is not called inside a transaction.
func (s *Service) slowHash(password string, salt []byte) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, salt, s.rounds, sha256.Size)
}

// loginOf finds a user with its password.
func loginOf(ctx context.Context, tx *state.Tx, account, name string) (entity, login, error) {
	if name == "" {
		return entity{}, login{}, aws.Errorf("ValidationError", "Must specify userName when calling with non-User credentials")
	}
	e, err := find(ctx, tx, account, user, name)
	if err != nil {
		return e, login{}, err
	}
	l, err := state.Get[login](ctx, tx, findLogin, e.ID)
	if errors.Is(err, state.ErrNotFound) {
		return e, l, noSuch("Login Profile for User %s cannot be found.", e.Name)
	}
	return e, l, err
}

// passwordAllowed refuses a password that the account's policy does not allow.
func (s *Service) passwordAllowed(ctx context.Context, account, password string) error {
	return s.db.View(ctx, func(tx *state.Tx) error {
		p, err := passwordPolicyOf(ctx, tx, account)
		if err != nil {
			return err
		}
		name, err := alias(ctx, tx, account)
		if err != nil {
			return err
		}
		return p.check(password, name)
	})
}

func (l login) api(name string) *api.LoginProfile {
	return &api.LoginProfile{UserName: name, CreateDate: &l.Created, PasswordResetRequired: &l.Reset}
}

// createLoginProfile hashes the password before it knows whether the user
// exists: the time it takes tells nobody.
func (s *Service) createLoginProfile(ctx context.Context, c *call.Call, in *api.CreateLoginProfileInput) (*api.CreateLoginProfileOutput, error) {
	name, err := nameOr(c, in.UserName)
	if err != nil {
		return nil, err
	}
	if in.Password == "" {
		return nil, aws.Errorf("ValidationError", "1 validation error detected: Value null at 'password' failed to satisfy constraint: Member must not be null")
	}
	if err := s.passwordAllowed(ctx, c.Account(), in.Password); err != nil {
		return nil, err
	}
	now := c.Time.Truncate(time.Second)
	l := login{Account: c.Account(), Salt: make([]byte, 16), Reset: or(in.PasswordResetRequired, false), Created: now, Changed: now}
	rand.Read(l.Salt) // never fails, by its documentation
	if l.Hash, err = s.slowHash(in.Password, l.Salt); err != nil {
		return nil, err
	}
	out := &api.CreateLoginProfileOutput{}
	err = s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, _, err := loginOf(ctx, tx, c.Account(), name)
		if err != nil && !isNoSuch(err) || e.ID == "" {
			return err
		}
		n, err := tx.Exec(ctx, insertLogin, e.ID, l.Account, l.Salt, l.Hash, l.Reset, l.Created, l.Changed)
		if err == nil && n == 0 {
			return exists("Login Profile for user %s already exists.", e.Name)
		}
		out.LoginProfile = l.api(e.Name)
		return err
	})
	return out, err
}

func (s *Service) getLoginProfile(ctx context.Context, c *call.Call, in *api.GetLoginProfileInput) (*api.GetLoginProfileOutput, error) {
	name, err := nameOr(c, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &api.GetLoginProfileOutput{}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		e, l, err := loginOf(ctx, tx, c.Account(), name)
		out.LoginProfile = l.api(e.Name)
		return err
	})
	return out, err
}

// updateLoginProfile sets a password, whether it must be changed, or both. Old
// passwords are barred to users, not to those who set passwords for them.
func (s *Service) updateLoginProfile(ctx context.Context, c *call.Call, in *api.UpdateLoginProfileInput) (*api.UpdateLoginProfileOutput, error) {
	name, err := nameOr(c, in.UserName)
	if err != nil {
		return nil, err
	}
	var was login
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		_, was, err = loginOf(ctx, tx, c.Account(), name)
		return err
	})
	if err != nil {
		return nil, err
	}
	is := was
	is.Reset = or(in.PasswordResetRequired, was.Reset)
	if in.Password != "" {
		if err := s.passwordAllowed(ctx, c.Account(), in.Password); err != nil {
			return nil, err
		}
		if is.Hash, err = s.slowHash(in.Password, was.Salt); err != nil {
			return nil, err
		}
		is.Changed = c.Time.Truncate(time.Second)
	}
	return nil, s.saveLogin(ctx, was, is, 0)
}

// saveLogin replaces a user's password, unless somebody else did so since it
// was read, or it is one of the last ones, as many as barred says.
func (s *Service) saveLogin(ctx context.Context, was, is login, barred int64) error {
	return s.write(ctx, was.Account, func(tx *state.Tx) error {
		now, err := state.Get[login](ctx, tx, findLogin, was.UserID)
		if errors.Is(err, state.ErrNotFound) || err == nil && subtle.ConstantTimeCompare(now.Hash, was.Hash) != 1 {
			return aws.Errorf("EntityTemporarilyUnmodifiable", "The login profile is being changed by another request. Try again.")
		}
		if err != nil {
			return err
		}
		if subtle.ConstantTimeCompare(is.Hash, was.Hash) != 1 {
			if err := remember(ctx, tx, was, is.Hash, barred); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, updateLogin, is.UserID, is.Hash, is.Reset, is.Changed)
		return err
	})
}

// remember puts a user's password among its old ones, and refuses the new one
// when it is one of the last.
func remember(ctx context.Context, tx *state.Tx, was login, hash []byte, barred int64) error {
	if _, err := tx.Exec(ctx, insertOldPassword, was.UserID, was.Hash); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, pruneOldPasswords, was.UserID, maxRemembered); err != nil {
		return err
	}
	old, err := state.List[[]byte](ctx, tx, listOldPasswords, was.UserID, barred)
	for _, h := range old {
		if subtle.ConstantTimeCompare(h, hash) == 1 {
			return errReused
		}
	}
	return err
}

// errReused is a password that a user has had. (AWS's wording is not
// documented.)
var errReused = violation("Password has been used before. Please choose a different password.")

func (s *Service) deleteLoginProfile(ctx context.Context, c *call.Call, in *api.DeleteLoginProfileInput) (*api.DeleteLoginProfileOutput, error) {
	name, err := nameOr(c, in.UserName)
	if err != nil {
		return nil, err
	}
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, _, err := loginOf(ctx, tx, c.Account(), name)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM iam_old_password WHERE user_id = $1`, e.ID); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM iam_login WHERE user_id = $1`, e.ID)
		return err
	})
}

// changePasswordNeeds asks a user for the permission to change its own
// password, which the account's password policy may have given to all users.
func (s *Service) changePasswordNeeds(ctx context.Context, c *call.Call, _ *api.ChangePasswordInput) ([]call.Need, error) {
	if err := barred(c); err != nil {
		return nil, err
	}
	if c.Principal.Kind != aws.User {
		return nil, aws.Errorf("InvalidUserType", "Only IAM Users can change their own password")
	}
	n, err := s.target(ctx, c, subject{kind: user})
	if err != nil {
		return nil, err
	}
	n.Action = "iam:ChangePassword"
	n.Policy, err = s.ownPasswords(ctx, c, n.Action)
	return []call.Need{n}, err
}

func (s *Service) changePassword(ctx context.Context, c *call.Call, in *api.ChangePasswordInput) (*api.ChangePasswordOutput, error) {
	var was login
	var rules *passwordPolicy
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		if _, was, err = loginOf(ctx, tx, c.Account(), c.Principal.Name()); err != nil {
			return err
		}
		rules, err = passwordPolicyOf(ctx, tx, c.Account())
		return err
	})
	if err != nil {
		return nil, err
	}
	given, err := s.slowHash(in.OldPassword, was.Salt)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(given, was.Hash) != 1 {
		return nil, aws.Errorf("AccessDenied", "The old password was incorrect.").WithStatus(403)
	}
	if err := s.passwordAllowed(ctx, c.Account(), in.NewPassword); err != nil {
		return nil, err
	}
	is := was
	is.Reset, is.Changed = false, c.Time.Truncate(time.Second)
	if is.Hash, err = s.slowHash(in.NewPassword, was.Salt); err != nil {
		return nil, err
	}
	barred := int64(0)
	if rules != nil {
		barred = rules.Reuse
	}
	if barred > 0 && subtle.ConstantTimeCompare(is.Hash, was.Hash) == 1 {
		return nil, errReused
	}
	return nil, s.saveLogin(ctx, was, is, barred)
}
