package iam

import (
	"context"
	"errors"
	"regexp"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// none is the prefix of operations that are about the account as a whole.
func none[In any](*In) string { return "" }

// accountOperations are those about the account as a whole: its alias, its
// password policy, its reports.
func (s *Service) accountOperations() []call.Operation {
	return []call.Operation{
		across("CreateAccountAlias", "", none[api.CreateAccountAliasInput], s.createAccountAlias),
		across("DeleteAccountAlias", "", none[api.DeleteAccountAliasInput], s.deleteAccountAlias),
		across("ListAccountAliases", "", none[api.ListAccountAliasesInput], s.listAccountAliases),
		across("GetAccountSummary", "", none[api.GetAccountSummaryInput], s.getAccountSummary),
		call.Op("GetAccountPasswordPolicy", s.getAccountPasswordPolicyNeeds, s.getAccountPasswordPolicy),
		across("UpdateAccountPasswordPolicy", "", none[api.UpdateAccountPasswordPolicyInput], s.updateAccountPasswordPolicy),
		across("DeleteAccountPasswordPolicy", "", none[api.DeleteAccountPasswordPolicyInput], s.deleteAccountPasswordPolicy),
		across("GenerateCredentialReport", "", none[api.GenerateCredentialReportInput], s.generateCredentialReport),
		across("GetCredentialReport", "", none[api.GetCredentialReportInput], s.getCredentialReport),
	}
}

// aliasPattern is the part of the model's pattern that RE2 can say; two
// hyphens may not follow each other besides.
var aliasPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

func checkAlias(alias string) error {
	if aliasPattern.MatchString(alias) && !strings.Contains(alias, "--") {
		return nil
	}
	return aws.Errorf("ValidationError", "1 validation error detected: Value '%s' at 'accountAlias' failed to satisfy constraint: "+
		"Member must satisfy regular expression pattern: ^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$", alias)
}

// createAccountAlias gives the account its one alias, which takes the place of
// the one it had.
func (s *Service) createAccountAlias(ctx context.Context, c *call.Call, in *api.CreateAccountAliasInput) (*api.CreateAccountAliasOutput, error) {
	if err := checkAlias(in.AccountAlias); err != nil {
		return nil, err
	}
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		taken, err := has(ctx, tx, `SELECT 1 FROM iam_alias WHERE alias = $1`, in.AccountAlias)
		if err != nil {
			return err
		}
		if taken {
			return exists("The account alias %s already exists.", in.AccountAlias)
		}
		_, err = tx.Exec(ctx, `INSERT INTO iam_alias (account, alias) VALUES ($1, $2)
			ON CONFLICT (account) DO UPDATE SET alias = excluded.alias`, c.Account(), in.AccountAlias)
		if state.IsUnique(err) { // another account was faster
			return exists("The account alias %s already exists.", in.AccountAlias)
		}
		return err
	})
}

func (s *Service) deleteAccountAlias(ctx context.Context, c *call.Call, in *api.DeleteAccountAliasInput) (*api.DeleteAccountAliasOutput, error) {
	if err := checkAlias(in.AccountAlias); err != nil {
		return nil, err
	}
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, `DELETE FROM iam_alias WHERE account = $1 AND alias = $2`, c.Account(), in.AccountAlias)
		if err == nil && n == 0 {
			return noSuch("The account alias %s cannot be found.", in.AccountAlias)
		}
		return err
	})
}

// alias is the account's alias; empty means that it has none.
func alias(ctx context.Context, tx *state.Tx, account string) (string, error) {
	name, err := state.Get[string](ctx, tx, `SELECT alias FROM iam_alias WHERE account = $1`, account)
	if errors.Is(err, state.ErrNotFound) {
		return "", nil
	}
	return name, err
}

func (s *Service) listAccountAliases(ctx context.Context, c *call.Call, in *api.ListAccountAliasesInput) (*api.ListAccountAliasesOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListAccountAliasesOutput{IsTruncated: new(false), AccountAliases: []string{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		name, err := alias(ctx, tx, c.Account())
		if name > p.after {
			out.AccountAliases = []string{name}
		}
		return err
	})
	return out, err
}
