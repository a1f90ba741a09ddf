package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// aliasLimit is how many aliases a key may have.
const aliasLimit = 50

// checkAlias refuses names that no customer may use.
func checkAlias(name string) error {
	switch {
	case !strings.HasPrefix(name, aliasPrefix):
		return aws.Errorf("ValidationException", `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case len(name) == len(aliasPrefix):
		return aws.Errorf("InvalidAliasNameException", "An alias needs a name after the prefix alias/.")
	case strings.HasPrefix(name, aliasPrefix+"aws/"):
		return aws.Errorf("NotAuthorizedException", "Names that begin with alias/aws/ are reserved for AWS managed keys.")
	}
	return nil
}

// aliasNeed is the permission on an alias itself. No policy stands on it: the
// account's IAM policies decide.
func aliasNeed(c *call.Call, action, name string) call.Need {
	return call.Need{Action: action, Resource: ref{account: c.Account(), region: c.Region, alias: name}.aliasARN()}
}

// aliasTarget reads the key that an alias is to stand for.
func (s *Service) aliasTarget(ctx context.Context, c *call.Call, keyID string) (target, error) {
	r, err := anyRef(c, keyID)
	switch {
	case err != nil:
		return target{}, err
	case r.alias != "":
		return target{}, aws.Errorf("ValidationException", "Aliases must refer to keys. Not aliases")
	case r.account != c.Account():
		return target{}, errInvisible(c, "kms:"+c.Operation)
	}
	return s.target(ctx, c, r)
}

func (s *Service) createAliasNeeds(ctx context.Context, c *call.Call, in *api.CreateAliasInput) ([]call.Need, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	t, err := s.aliasTarget(ctx, c, in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	return []call.Need{aliasNeed(c, "kms:CreateAlias", in.AliasName), t.need(c, "kms:CreateAlias", nil)}, nil
}

func (s *Service) createAlias(ctx context.Context, c *call.Call, in *api.CreateAliasInput) (*api.CreateAliasOutput, error) {
	return nil, s.change(ctx, c, in.TargetKeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		if err := k.roomForAlias(ctx, tx); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `
			INSERT INTO kms_alias (account, region, name, key_id, created, updated) VALUES ($1, $2, $3, $4, $5, $5)
			ON CONFLICT DO NOTHING`,
			k.Account, k.Region, in.AliasName, k.ID, c.Time)
		if err != nil {
			return fmt.Errorf("store %s: %w", in.AliasName, err)
		}
		if n == 0 {
			return aws.Errorf("AlreadyExistsException", "An alias with the name %s already exists",
				ref{account: k.Account, region: k.Region, alias: in.AliasName}.aliasARN())
		}
		return nil
	})
}

func (k key) roomForAlias(ctx context.Context, tx *state.Tx) error {
	n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM kms_alias WHERE account = $1 AND region = $2 AND key_id = $3`, k.Account, k.Region, k.ID)
	if err != nil {
		return fmt.Errorf("count aliases of %s: %w", k.arn(), err)
	}
	if n >= aliasLimit {
		return aws.Errorf("LimitExceededException", "A key has at most %d aliases.", aliasLimit)
	}
	return nil
}

// updateAliasNeeds asks on the alias, on the key it stands for and on the one
// it is to stand for.
func (s *Service) updateAliasNeeds(ctx context.Context, c *call.Call, in *api.UpdateAliasInput) ([]call.Need, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	t, err := s.aliasTarget(ctx, c, in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	needs, err := s.aliasNeeds(ctx, c, "kms:UpdateAlias", in.AliasName)
	if err != nil {
		return nil, err
	}
	return append(needs, t.need(c, "kms:UpdateAlias", nil)), nil
}

// aliasNeeds are the needs of a deed on an alias: on itself, and on its key if
// it stands for one.
func (s *Service) aliasNeeds(ctx context.Context, c *call.Call, action, name string) ([]call.Need, error) {
	needs := []call.Need{aliasNeed(c, action, name)}
	t, err := s.target(ctx, c, ref{account: c.Account(), region: c.Region, alias: name})
	if _, absent := errors.AsType[*aws.Error](err); absent {
		return needs, nil // the handler says so, to whoever may ask
	}
	if err != nil {
		return nil, err
	}
	t.alias = "" // the request does not use the key by its alias
	return append(needs, t.need(c, action, nil)), nil
}

func (s *Service) updateAlias(ctx context.Context, c *call.Call, in *api.UpdateAliasInput) (*api.UpdateAliasOutput, error) {
	return nil, s.change(ctx, c, in.TargetKeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		if err := k.sameKind(ctx, tx, in.AliasName); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `UPDATE kms_alias SET key_id = $4, updated = $5 WHERE account = $1 AND region = $2 AND name = $3`,
			k.Account, k.Region, in.AliasName, k.ID, c.Time)
		if err != nil {
			return fmt.Errorf("change %s: %w", in.AliasName, err)
		}
		if n == 0 {
			return errNoAlias(ref{account: k.Account, region: k.Region, alias: in.AliasName}.aliasARN())
		}
		return nil
	})
}

// sameKind refuses to have an alias stand for a key of another kind than the
// one it stands for.
func (k key) sameKind(ctx context.Context, tx *state.Tx, name string) error {
	old, err := findKey(ctx, tx, ref{account: k.Account, region: k.Region, alias: name})
	if err != nil {
		return err
	}
	if old.Usage != k.Usage || old.symmetric() != k.symmetric() {
		return aws.Errorf("ValidationException", "The alias stands for a key of key usage %s and key spec %s, which is another kind than %s and %s.",
			old.Usage, old.Spec, k.Usage, k.Spec)
	}
	return nil
}

func (s *Service) deleteAliasNeeds(ctx context.Context, c *call.Call, in *api.DeleteAliasInput) ([]call.Need, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	return s.aliasNeeds(ctx, c, "kms:DeleteAlias", in.AliasName)
}

// deleteAlias removes an alias. The key it stands for is untouched.
func (s *Service) deleteAlias(ctx context.Context, c *call.Call, in *api.DeleteAliasInput) (*api.DeleteAliasOutput, error) {
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, `DELETE FROM kms_alias WHERE account = $1 AND region = $2 AND name = $3`, c.Account(), c.Region, in.AliasName)
		if err != nil {
			return fmt.Errorf("delete %s: %w", in.AliasName, err)
		}
		if n == 0 {
			return errNoAlias(ref{account: c.Account(), region: c.Region, alias: in.AliasName}.aliasARN())
		}
		return nil
	})
}

func (s *Service) listAliasesNeeds(context.Context, *call.Call, *api.ListAliasesInput) ([]call.Need, error) {
	return everywhere("kms:ListAliases", nil), nil
}

type alias struct {
	Name    string `db:"name"`
	KeyID   string `db:"key_id"`
	Created int64  `db:"created"`
	Updated int64  `db:"updated"`
}

func (s *Service) listAliases(ctx context.Context, c *call.Call, in *api.ListAliasesInput) (*api.ListAliasesOutput, error) {
	p, err := newPage(in.Limit, in.Marker, 50, 100)
	if err != nil {
		return nil, err
	}
	only := ""
	if in.KeyId != "" {
		r, err := keyRef(c, in.KeyId)
		if err != nil {
			return nil, err
		}
		if r.account != c.Account() {
			return nil, errNoKey(r.keyARN())
		}
		if err := s.read(ctx, r, func(*state.Tx, key) error { return nil }); err != nil {
			return nil, err
		}
		only = r.id
	}
	var list []alias
	err = s.db.View(ctx, func(tx *state.Tx) error {
		list, err = state.List[alias](ctx, tx, `
			SELECT name, key_id, created, updated FROM kms_alias
			WHERE account = $1 AND region = $2 AND name > $3 AND ($4 = '' OR key_id = $4) ORDER BY name LIMIT $5`,
			c.Account(), c.Region, p.after, only, p.limit+1)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list aliases: %w", err)
	}
	out := &api.ListAliasesOutput{Aliases: []api.AliasListEntry{}}
	list, out.NextMarker, out.Truncated = cut(p, list, func(a alias) string { return a.Name })
	for _, a := range list {
		out.Aliases = append(out.Aliases, api.AliasListEntry{
			AliasName: a.Name, AliasArn: ref{account: c.Account(), region: c.Region, alias: a.Name}.aliasARN(),
			TargetKeyId: a.KeyID, CreationDate: new(state.Time(a.Created)), LastUpdatedDate: new(state.Time(a.Updated)),
		})
	}
	return out, nil
}
