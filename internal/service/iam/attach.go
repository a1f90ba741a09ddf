package iam

import (
	"context"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

type attachment struct {
	ARN  string `db:"arn"`
	Name string `db:"name"`
}

const (
	insertAttachment = `INSERT INTO iam_attachment (entity_id, arn, account, name) VALUES ($1, $2, $3, $4)
		ON CONFLICT (entity_id, arn) DO NOTHING`
	deleteAttachment = `DELETE FROM iam_attachment WHERE entity_id = $1 AND arn = $2`
	listAttachments  = `SELECT arn, name FROM iam_attachment WHERE entity_id = $1 ORDER BY name, arn`
	listUsing        = `SELECT ` + entityColumns + ` FROM iam_entity
		WHERE account = $1 AND (
			$3 <> 'PermissionsBoundary' AND id IN (SELECT entity_id FROM iam_attachment WHERE account = $1 AND arn = $2)
			OR $3 <> 'PermissionsPolicy' AND boundary = $2)
		ORDER BY kind, folded`
)

func (s *Service) attach(ctx context.Context, c *call.Call, k kind, name, arn string) error {
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := changeable(ctx, tx, c.Account(), k, name)
		if err != nil {
			return err
		}
		p, err := findPolicy(ctx, tx, c.Account(), arn)
		if isNoSuch(err) {
			return noSuch("Policy %s does not exist or is not attachable.", arn)
		}
		if err != nil {
			return err
		}
		if p.Account == awsOwned && strings.HasPrefix(p.Path, linkedPath) {
			return aws.Errorf("PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Role.")
		}
		if _, err := tx.Exec(ctx, insertAttachment, e.ID, p.ARN, c.Account(), p.Name); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_attachment WHERE entity_id = $1`, e.ID)
		if err == nil && n > maxAttached {
			return limit("Cannot exceed quota for PoliciesPer%s: %d", title(k), maxAttached)
		}
		return err
	})
}

func (s *Service) detach(ctx context.Context, c *call.Call, k kind, name, arn string) error {
	if err := checkARN(arn); err != nil {
		return err
	}
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := changeable(ctx, tx, c.Account(), k, name)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, deleteAttachment, e.ID, arn)
		if err == nil && n == 0 {
			return noSuch("Policy %s was not found.", arn)
		}
		return err
	})
}

func (s *Service) attached(ctx context.Context, c *call.Call, k kind, name, prefix, marker string, maxItems *int64) (list []api.AttachedPolicy, truncated *bool, next string, err error) {
	p, err := pageOf(marker, maxItems)
	if err != nil {
		return nil, nil, "", err
	}
	list = []api.AttachedPolicy{}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), k, name)
		if err != nil {
			return err
		}
		all, err := state.List[attachment](ctx, tx, listAttachments, e.ID)
		rows := make([]attachment, 0, len(all))
		for _, a := range all {
			if strings.HasPrefix(policyPath(a), orSlash(prefix)) {
				rows = append(rows, a)
			}
		}
		rows, truncated, next = pageThrough(p, rows, func(a attachment) string { return a.Name + " " + a.ARN })
		for _, a := range rows {
			list = append(list, api.AttachedPolicy{PolicyName: a.Name, PolicyArn: a.ARN})
		}
		return err
	})
	return list, truncated, next, err
}

// policyPath is the path in a policy's ARN.
func policyPath(a attachment) string {
	_, rest, _ := strings.Cut(a.ARN, ":policy")
	return strings.TrimSuffix(rest, a.Name)
}

func (s *Service) listEntitiesForPolicy(ctx context.Context, c *call.Call, in *api.ListEntitiesForPolicyInput) (*api.ListEntitiesForPolicyOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListEntitiesForPolicyOutput{PolicyGroups: []api.PolicyGroup{}, PolicyUsers: []api.PolicyUser{}, PolicyRoles: []api.PolicyRole{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		if _, err := findPolicy(ctx, tx, c.Account(), in.PolicyArn); err != nil {
			return err
		}
		all, err := state.List[entity](ctx, tx, listUsing, c.Account(), in.PolicyArn, in.PolicyUsageFilter)
		rows := make([]entity, 0, len(all))
		for _, e := range all {
			if strings.HasPrefix(e.Path, orSlash(in.PathPrefix)) && (in.EntityFilter == "" || strings.EqualFold(in.EntityFilter, e.Kind)) {
				rows = append(rows, e)
			}
		}
		rows, out.IsTruncated, out.Marker = pageThrough(p, rows, func(e entity) string { return e.Kind + "/" + e.Folded })
		for _, e := range rows {
			switch kind(e.Kind) {
			case group:
				out.PolicyGroups = append(out.PolicyGroups, api.PolicyGroup{GroupName: e.Name, GroupId: e.ID})
			case user:
				out.PolicyUsers = append(out.PolicyUsers, api.PolicyUser{UserName: e.Name, UserId: e.ID})
			default:
				out.PolicyRoles = append(out.PolicyRoles, api.PolicyRole{RoleName: e.Name, RoleId: e.ID})
			}
		}
		return err
	})
	return out, err
}

func (s *Service) attachUserPolicy(ctx context.Context, c *call.Call, in *api.AttachUserPolicyInput) (*api.AttachUserPolicyOutput, error) {
	return nil, s.attach(ctx, c, user, in.UserName, in.PolicyArn)
}

func (s *Service) detachUserPolicy(ctx context.Context, c *call.Call, in *api.DetachUserPolicyInput) (*api.DetachUserPolicyOutput, error) {
	return nil, s.detach(ctx, c, user, in.UserName, in.PolicyArn)
}

func (s *Service) listAttachedUserPolicies(ctx context.Context, c *call.Call, in *api.ListAttachedUserPoliciesInput) (*api.ListAttachedUserPoliciesOutput, error) {
	list, truncated, next, err := s.attached(ctx, c, user, in.UserName, in.PathPrefix, in.Marker, in.MaxItems)
	return &api.ListAttachedUserPoliciesOutput{AttachedPolicies: list, IsTruncated: truncated, Marker: next}, err
}

func (s *Service) attachGroupPolicy(ctx context.Context, c *call.Call, in *api.AttachGroupPolicyInput) (*api.AttachGroupPolicyOutput, error) {
	return nil, s.attach(ctx, c, group, in.GroupName, in.PolicyArn)
}

func (s *Service) detachGroupPolicy(ctx context.Context, c *call.Call, in *api.DetachGroupPolicyInput) (*api.DetachGroupPolicyOutput, error) {
	return nil, s.detach(ctx, c, group, in.GroupName, in.PolicyArn)
}

func (s *Service) listAttachedGroupPolicies(ctx context.Context, c *call.Call, in *api.ListAttachedGroupPoliciesInput) (*api.ListAttachedGroupPoliciesOutput, error) {
	list, truncated, next, err := s.attached(ctx, c, group, in.GroupName, in.PathPrefix, in.Marker, in.MaxItems)
	return &api.ListAttachedGroupPoliciesOutput{AttachedPolicies: list, IsTruncated: truncated, Marker: next}, err
}

func (s *Service) attachRolePolicy(ctx context.Context, c *call.Call, in *api.AttachRolePolicyInput) (*api.AttachRolePolicyOutput, error) {
	return nil, s.attach(ctx, c, role, in.RoleName, in.PolicyArn)
}

func (s *Service) detachRolePolicy(ctx context.Context, c *call.Call, in *api.DetachRolePolicyInput) (*api.DetachRolePolicyOutput, error) {
	return nil, s.detach(ctx, c, role, in.RoleName, in.PolicyArn)
}

func (s *Service) listAttachedRolePolicies(ctx context.Context, c *call.Call, in *api.ListAttachedRolePoliciesInput) (*api.ListAttachedRolePoliciesOutput, error) {
	list, truncated, next, err := s.attached(ctx, c, role, in.RoleName, in.PathPrefix, in.Marker, in.MaxItems)
	return &api.ListAttachedRolePoliciesOutput{AttachedPolicies: list, IsTruncated: truncated, Marker: next}, err
}
