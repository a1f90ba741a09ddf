package iam

import (
	"context"
	"errors"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

type inline struct {
	Name     string `db:"name"`
	Document string `db:"document"`
}

const (
	putInline = `INSERT INTO iam_inline (entity_id, name, document) VALUES ($1, $2, $3)
		ON CONFLICT (entity_id, name) DO UPDATE SET document = excluded.document`
	getInline    = `SELECT document FROM iam_inline WHERE entity_id = $1 AND name = $2`
	deleteInline = `DELETE FROM iam_inline WHERE entity_id = $1 AND name = $2`
	listInline   = `SELECT name, document FROM iam_inline WHERE entity_id = $1 ORDER BY name`
	pageInline   = `SELECT name FROM iam_inline WHERE entity_id = $1 AND name > $2 ORDER BY name LIMIT $3`
)

// putPolicy writes an inline policy. All inline policies of an entity share
// one quota.
func (s *Service) putPolicy(ctx context.Context, c *call.Call, k kind, entityName, name, text string) error {
	if _, err := document(text, policy.Identity); err != nil {
		return err
	}
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := changeable(ctx, tx, c.Account(), k, entityName)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, putInline, e.ID, name, text); err != nil {
			return err
		}
		all, err := state.List[inline](ctx, tx, listInline, e.ID)
		total := 0
		for _, p := range all {
			total += size(p.Document)
		}
		if err == nil && total > inlineQuota(k) {
			return limit("Maximum policy size of %d bytes exceeded for %s %s", inlineQuota(k), k, e.Name)
		}
		return err
	})
}

func (s *Service) getPolicyOf(ctx context.Context, c *call.Call, k kind, entityName, name string) (text string, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), k, entityName)
		if err != nil {
			return err
		}
		text, err = state.Get[string](ctx, tx, getInline, e.ID, name)
		if errors.Is(err, state.ErrNotFound) {
			return noSuch("The %s policy with name %s cannot be found.", k, name)
		}
		return err
	})
	return encoded(text), err
}

func (s *Service) deletePolicyOf(ctx context.Context, c *call.Call, k kind, entityName, name string) error {
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := changeable(ctx, tx, c.Account(), k, entityName)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, deleteInline, e.ID, name)
		if err == nil && n == 0 {
			return noSuch("The %s policy with name %s cannot be found.", k, name)
		}
		return err
	})
}

func (s *Service) listPoliciesOf(ctx context.Context, c *call.Call, k kind, entityName, marker string, maxItems *int64) (names []string, truncated *bool, next string, err error) {
	p, err := pageOf(marker, maxItems)
	if err != nil {
		return nil, nil, "", err
	}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), k, entityName)
		if err != nil {
			return err
		}
		names, err = state.List[string](ctx, tx, pageInline, e.ID, p.after, p.limit+1)
		names, truncated, next = cut(p, names, func(s string) string { return s })
		return err
	})
	return names, truncated, next, err
}

func (s *Service) putUserPolicy(ctx context.Context, c *call.Call, in *api.PutUserPolicyInput) (*api.PutUserPolicyOutput, error) {
	return nil, s.putPolicy(ctx, c, user, in.UserName, in.PolicyName, in.PolicyDocument)
}

func (s *Service) getUserPolicy(ctx context.Context, c *call.Call, in *api.GetUserPolicyInput) (*api.GetUserPolicyOutput, error) {
	text, err := s.getPolicyOf(ctx, c, user, in.UserName, in.PolicyName)
	return &api.GetUserPolicyOutput{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: text}, err
}

func (s *Service) deleteUserPolicy(ctx context.Context, c *call.Call, in *api.DeleteUserPolicyInput) (*api.DeleteUserPolicyOutput, error) {
	return nil, s.deletePolicyOf(ctx, c, user, in.UserName, in.PolicyName)
}

func (s *Service) listUserPolicies(ctx context.Context, c *call.Call, in *api.ListUserPoliciesInput) (*api.ListUserPoliciesOutput, error) {
	names, truncated, next, err := s.listPoliciesOf(ctx, c, user, in.UserName, in.Marker, in.MaxItems)
	return &api.ListUserPoliciesOutput{PolicyNames: names, IsTruncated: truncated, Marker: next}, err
}

func (s *Service) putGroupPolicy(ctx context.Context, c *call.Call, in *api.PutGroupPolicyInput) (*api.PutGroupPolicyOutput, error) {
	return nil, s.putPolicy(ctx, c, group, in.GroupName, in.PolicyName, in.PolicyDocument)
}

func (s *Service) getGroupPolicy(ctx context.Context, c *call.Call, in *api.GetGroupPolicyInput) (*api.GetGroupPolicyOutput, error) {
	text, err := s.getPolicyOf(ctx, c, group, in.GroupName, in.PolicyName)
	return &api.GetGroupPolicyOutput{GroupName: in.GroupName, PolicyName: in.PolicyName, PolicyDocument: text}, err
}

func (s *Service) deleteGroupPolicy(ctx context.Context, c *call.Call, in *api.DeleteGroupPolicyInput) (*api.DeleteGroupPolicyOutput, error) {
	return nil, s.deletePolicyOf(ctx, c, group, in.GroupName, in.PolicyName)
}

func (s *Service) listGroupPolicies(ctx context.Context, c *call.Call, in *api.ListGroupPoliciesInput) (*api.ListGroupPoliciesOutput, error) {
	names, truncated, next, err := s.listPoliciesOf(ctx, c, group, in.GroupName, in.Marker, in.MaxItems)
	return &api.ListGroupPoliciesOutput{PolicyNames: names, IsTruncated: truncated, Marker: next}, err
}

func (s *Service) putRolePolicy(ctx context.Context, c *call.Call, in *api.PutRolePolicyInput) (*api.PutRolePolicyOutput, error) {
	return nil, s.putPolicy(ctx, c, role, in.RoleName, in.PolicyName, in.PolicyDocument)
}

func (s *Service) getRolePolicy(ctx context.Context, c *call.Call, in *api.GetRolePolicyInput) (*api.GetRolePolicyOutput, error) {
	text, err := s.getPolicyOf(ctx, c, role, in.RoleName, in.PolicyName)
	return &api.GetRolePolicyOutput{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: text}, err
}

func (s *Service) deleteRolePolicy(ctx context.Context, c *call.Call, in *api.DeleteRolePolicyInput) (*api.DeleteRolePolicyOutput, error) {
	return nil, s.deletePolicyOf(ctx, c, role, in.RoleName, in.PolicyName)
}

func (s *Service) listRolePolicies(ctx context.Context, c *call.Call, in *api.ListRolePoliciesInput) (*api.ListRolePoliciesOutput, error) {
	names, truncated, next, err := s.listPoliciesOf(ctx, c, role, in.RoleName, in.Marker, in.MaxItems)
	return &api.ListRolePoliciesOutput{PolicyNames: names, IsTruncated: truncated, Marker: next}, err
}
