package iam

import (
	"context"
	"errors"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// passwordPolicy is what an account asks of its users' passwords.
type passwordPolicy struct {
	Account     string `db:"account"`
	MinLength   int64  `db:"min_length"`
	Symbols     bool   `db:"symbols"`
	Numbers     bool   `db:"numbers"`
	Uppercase   bool   `db:"uppercase"`
	Lowercase   bool   `db:"lowercase"`
	AllowChange bool   `db:"allow_change"`
	MaxAge      int64  `db:"max_age"` // days
	Reuse       int64  `db:"reuse"`
	HardExpiry  bool   `db:"hard_expiry"`
}

const passwordPolicyColumns = `account, min_length, symbols, numbers, uppercase, lowercase, allow_change, max_age, reuse, hard_expiry`

const (
	findPasswordPolicy = `SELECT ` + passwordPolicyColumns + ` FROM iam_password_policy WHERE account = $1`
	putPasswordPolicy  = `INSERT INTO iam_password_policy (` + passwordPolicyColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (account) DO UPDATE SET
		min_length = excluded.min_length, symbols = excluded.symbols, numbers = excluded.numbers, uppercase = excluded.uppercase,
		lowercase = excluded.lowercase, allow_change = excluded.allow_change, max_age = excluded.max_age, reuse = excluded.reuse,
		hard_expiry = excluded.hard_expiry`
)

// passwordPolicyOf is an account's own policy; nil means that AWS's default
// holds.
func passwordPolicyOf(ctx context.Context, tx *state.Tx, account string) (*passwordPolicy, error) {
	p, err := state.Get[passwordPolicy](ctx, tx, findPasswordPolicy, account)
	if errors.Is(err, state.ErrNotFound) {
		return nil, nil
	}
	return &p, err
}

func violation(format string, args ...any) error {
	return aws.Errorf("PasswordPolicyViolation", format, args...)
}

// Characters as the password policy sorts them. The symbols are AWS's list.
const (
	lowers  = "abcdefghijklmnopqrstuvwxyz"
	uppers  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	symbols = "!@#$%^&*()_+-=[]{}|'"
)

// check refuses a password that the policy does not allow. Without a policy of
// the account's own AWS asks for eight characters of three of the four sorts,
// and for another text than the account's name. (The wording of the refusals
// is not documented.)
func (p *passwordPolicy) check(password, accountName string) error {
	has := func(sort string) bool { return strings.ContainsAny(password, sort) }
	if p == nil {
		sorts := 0
		for _, sort := range []string{lowers, uppers, digits, symbols} {
			if has(sort) {
				sorts++
			}
		}
		if len(password) < 8 || sorts < 3 || strings.EqualFold(password, accountName) {
			return violation("Password does not conform to the account password policy.")
		}
		return nil
	}
	switch {
	case int64(len(password)) < p.MinLength:
		return violation("Password should have a minimum length of %d", p.MinLength)
	case p.Uppercase && !has(uppers):
		return violation("Password should have at least one uppercase letter")
	case p.Lowercase && !has(lowers):
		return violation("Password should have at least one lowercase letter")
	case p.Numbers && !has(digits):
		return violation("Password should have at least one number")
	case p.Symbols && !has(symbols):
		return violation("Password should have at least one symbol")
	}
	return nil
}

// getAccountPasswordPolicyNeeds lets users see the policy who may change their
// passwords by it.
func (s *Service) getAccountPasswordPolicyNeeds(ctx context.Context, c *call.Call, _ *api.GetAccountPasswordPolicyInput) ([]call.Need, error) {
	if err := barred(c); err != nil {
		return nil, err
	}
	n := call.Need{Action: "iam:GetAccountPasswordPolicy", Resource: "*"}
	var err error
	n.Policy, err = s.ownPasswords(ctx, c, n.Action)
	return []call.Need{n}, err
}

// ownPasswords is what the password policy's AllowUsersToChangePassword
// amounts to: every user may do the action, whatever its own policies leave
// out. It is nil where the account does not allow it.
func (s *Service) ownPasswords(ctx context.Context, c *call.Call, action string) (*policy.Source, error) {
	if c.Principal.Kind != aws.User {
		return nil, nil
	}
	var p *passwordPolicy
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		p, err = passwordPolicyOf(ctx, tx, c.Account())
		return err
	})
	if err != nil || p == nil || !p.AllowChange {
		return nil, err
	}
	doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"`+c.Principal.ID+
		`"},"Action":"`+action+`","Resource":"*"}}`, policy.Resource)
	return &policy.Source{Kind: policy.Resource, Name: "account password policy", On: aws.RootPrincipal(c.Account()).ARN, Doc: doc, Fixed: true}, err
}

func (s *Service) getAccountPasswordPolicy(ctx context.Context, c *call.Call, _ *api.GetAccountPasswordPolicyInput) (*api.GetAccountPasswordPolicyOutput, error) {
	out := &api.GetAccountPasswordPolicyOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := passwordPolicyOf(ctx, tx, c.Account())
		if err == nil && p == nil {
			return noSuch("The Password Policy with domain name %s cannot be found.", c.Account())
		}
		if err == nil {
			out.PasswordPolicy = p.api()
		}
		return err
	})
	return out, err
}

// api leaves out, as AWS does, what is not set.
func (p *passwordPolicy) api() *api.PasswordPolicy {
	out := &api.PasswordPolicy{
		MinimumPasswordLength: &p.MinLength, RequireSymbols: &p.Symbols, RequireNumbers: &p.Numbers,
		RequireUppercaseCharacters: &p.Uppercase, RequireLowercaseCharacters: &p.Lowercase,
		AllowUsersToChangePassword: &p.AllowChange, ExpirePasswords: new(p.MaxAge > 0),
	}
	if p.MaxAge > 0 {
		out.MaxPasswordAge, out.HardExpiry = &p.MaxAge, &p.HardExpiry
	}
	if p.Reuse > 0 {
		out.PasswordReusePrevention = &p.Reuse
	}
	return out
}

// or is what a pointer points to, or a default.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// updateAccountPasswordPolicy sets the whole policy: what is left out gets its
// default, not what it was.
func (s *Service) updateAccountPasswordPolicy(ctx context.Context, c *call.Call, in *api.UpdateAccountPasswordPolicyInput) (*api.UpdateAccountPasswordPolicyOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		_, err := tx.Exec(ctx, putPasswordPolicy, c.Account(), or(in.MinimumPasswordLength, 6), or(in.RequireSymbols, false),
			or(in.RequireNumbers, false), or(in.RequireUppercaseCharacters, false), or(in.RequireLowercaseCharacters, false),
			or(in.AllowUsersToChangePassword, false), or(in.MaxPasswordAge, 0), or(in.PasswordReusePrevention, 0), or(in.HardExpiry, false))
		return err
	})
}

func (s *Service) deleteAccountPasswordPolicy(ctx context.Context, c *call.Call, _ *api.DeleteAccountPasswordPolicyInput) (*api.DeleteAccountPasswordPolicyOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, `DELETE FROM iam_password_policy WHERE account = $1`, c.Account())
		if err == nil && n == 0 {
			return noSuch("The account policy with name PasswordPolicy cannot be found.")
		}
		return err
	})
}
