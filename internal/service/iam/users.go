package iam

import (
	"context"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

func (s *Service) createUser(ctx context.Context, c *call.Call, in *api.CreateUserInput) (*api.CreateUserOutput, error) {
	if in.UserName == "" {
		return nil, missingName(user)
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	e := newEntity(c.Account(), user, in.Path, in.UserName, c.Time)
	e.Boundary = in.PermissionsBoundary
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		if err := boundaryExists(ctx, tx, c.Account(), e.Boundary); err != nil {
			return err
		}
		if err := insert(ctx, tx, e); err != nil {
			return err
		}
		return addTags(ctx, tx, e.ID, in.Tags)
	})
	if err != nil {
		return nil, err
	}
	u := e.user()
	u.PermissionsBoundary, u.Tags = e.boundary(), in.Tags
	return &api.CreateUserOutput{User: &u}, nil
}

func (s *Service) getUser(ctx context.Context, c *call.Call, in *api.GetUserInput) (*api.GetUserOutput, error) {
	name, err := nameOr(c, in.UserName)
	if err != nil {
		return nil, err
	}
	var u api.User
	err = s.db.View(ctx, func(tx *state.Tx) error {
		if name == "" {
			u, err = rootUser(ctx, tx, c.Account())
			return err
		}
		e, err := find(ctx, tx, c.Account(), user, name)
		if err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, e.ID)
		u = e.user()
		u.PermissionsBoundary, u.Tags = e.boundary(), shownTags(tags)
		return err
	})
	return &api.GetUserOutput{User: &u}, err
}

// rootUser shows the account's root as AWS does: without a path, its name the
// account's.
func rootUser(ctx context.Context, tx *state.Tx, account string) (api.User, error) {
	a, err := state.Get[accountRow](ctx, tx, findAccount, account)
	return api.User{UserName: a.Name, UserId: account, Arn: aws.RootPrincipal(account).ARN, CreateDate: &a.Created}, err
}

func (s *Service) listUsers(ctx context.Context, c *call.Call, in *api.ListUsersInput) (*api.ListUsersOutput, error) {
	rows, truncated, next, err := s.list(ctx, c, user, in.PathPrefix, in.Marker, in.MaxItems)
	out := &api.ListUsersOutput{Users: []api.User{}, IsTruncated: truncated, Marker: next}
	for _, e := range rows {
		out.Users = append(out.Users, e.user())
	}
	return out, err
}

// list is one page of the entities of a kind.
func (s *Service) list(ctx context.Context, c *call.Call, k kind, prefix, marker string, maxItems *int64) (rows []entity, truncated *bool, next string, err error) {
	p, err := pageOf(marker, maxItems)
	if err != nil {
		return nil, nil, "", err
	}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err = state.List[entity](ctx, tx, listEntities, c.Account(), string(k), p.after, prefix, p.limit+1)
		rows, truncated, next = cut(p, rows, func(e entity) string { return e.Folded })
		return err
	})
	return rows, truncated, next, err
}

func (s *Service) updateUser(ctx context.Context, c *call.Call, in *api.UpdateUserInput) (*api.UpdateUserOutput, error) {
	return nil, s.rename(ctx, c, user, in.UserName, in.NewUserName, in.NewPath)
}

// rename gives an entity another name or path, which changes its ARN.
func (s *Service) rename(ctx context.Context, c *call.Call, k kind, name, newName, newPath string) error {
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), k, name)
		if err != nil {
			return err
		}
		if newName != "" && !strings.EqualFold(newName, e.Name) {
			taken, err := has(ctx, tx, `SELECT 1 FROM iam_entity WHERE account = $1 AND kind = $2 AND folded = $3`, c.Account(), string(k), strings.ToLower(newName))
			if err != nil {
				return err
			}
			if taken {
				return exists("%s with name %s already exists.", title(k), newName)
			}
		}
		if newName != "" {
			e.Name = newName
		}
		if newPath != "" {
			e.Path = newPath
		}
		return e.save(ctx, tx)
	})
}

func (s *Service) deleteUser(ctx context.Context, c *call.Call, in *api.DeleteUserInput) (*api.DeleteUserOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), user, in.UserName)
		if err != nil {
			return err
		}
		for _, dependent := range []struct{ query, message string }{
			{`SELECT 1 FROM iam_login WHERE user_id = $1`, "Cannot delete entity, must delete login profile first."},
			{`SELECT 1 FROM iam_access_key WHERE user_id = $1 LIMIT 1`, "Cannot delete entity, must delete access keys first."},
			{`SELECT 1 FROM iam_mfa WHERE user_id = $1 LIMIT 1`, "Cannot delete entity, must delete MFA device first."},
			{`SELECT 1 FROM iam_signing_certificate WHERE user_id = $1 LIMIT 1`, "Cannot delete entity, must delete signing certificates first."},
			{`SELECT 1 FROM iam_ssh_key WHERE user_id = $1 LIMIT 1`, "Cannot delete entity, must delete SSH public keys first."},
			{`SELECT 1 FROM iam_credential WHERE user_id = $1 LIMIT 1`, "Cannot delete entity, must delete service specific credentials first."},
			{`SELECT 1 FROM iam_member WHERE user_id = $1 LIMIT 1`, "Cannot delete entity, must remove users from group first."},
		} {
			if any, err := has(ctx, tx, dependent.query, e.ID); any || err != nil {
				return orConflict(err, dependent.message)
			}
		}
		if err := deletable(ctx, tx, e); err != nil {
			return err
		}
		return e.remove(ctx, tx)
	})
}

func (s *Service) putUserPermissionsBoundary(ctx context.Context, c *call.Call, in *api.PutUserPermissionsBoundaryInput) (*api.PutUserPermissionsBoundaryOutput, error) {
	return nil, s.bound(ctx, c, user, in.UserName, in.PermissionsBoundary)
}

func (s *Service) deleteUserPermissionsBoundary(ctx context.Context, c *call.Call, in *api.DeleteUserPermissionsBoundaryInput) (*api.DeleteUserPermissionsBoundaryOutput, error) {
	return nil, s.bound(ctx, c, user, in.UserName, "")
}

// bound sets an entity's permissions boundary; an empty ARN takes it away.
func (s *Service) bound(ctx context.Context, c *call.Call, k kind, name, arn string) error {
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := changeable(ctx, tx, c.Account(), k, name)
		if err != nil {
			return err
		}
		if arn == "" && e.Boundary == "" {
			return noSuch("%s with name %s does not have a permissions boundary set.", title(k), e.Name)
		}
		if err := boundaryExists(ctx, tx, c.Account(), arn); err != nil {
			return err
		}
		e.Boundary = arn
		return e.save(ctx, tx)
	})
}

// boundaryExists refuses a boundary that is no policy of the account.
func boundaryExists(ctx context.Context, tx *state.Tx, account, arn string) error {
	if arn == "" {
		return nil
	}
	_, err := findPolicy(ctx, tx, account, arn)
	if isNoSuch(err) {
		return noSuch("Scope ARN: %s does not exist or is not attachable.", arn)
	}
	return err
}
