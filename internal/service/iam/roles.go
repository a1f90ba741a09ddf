package iam

import (
	"cmp"
	"context"
	"errors"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

func (s *Service) createRole(ctx context.Context, c *call.Call, in *api.CreateRoleInput) (*api.CreateRoleOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if strings.HasPrefix(in.Path, linkedPath) {
		return nil, invalid("The path %s is reserved for service-linked roles.", linkedPath)
	}
	trust, err := trustDocument(in.AssumeRolePolicyDocument)
	if err != nil {
		return nil, err
	}
	e := newEntity(c.Account(), role, in.Path, in.RoleName, c.Time)
	e.Description, e.Boundary = in.Description, in.PermissionsBoundary
	if e.MaxSession = 3600; in.MaxSessionDuration != nil {
		e.MaxSession = *in.MaxSessionDuration
	}
	err = s.write(ctx, c.Account(), func(tx *state.Tx) error {
		var err error
		if e.Trust, err = keptTrust(ctx, tx, trust); err != nil {
			return err
		}
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
	e.Trust = trust.String()
	r := e.role()
	r.MaxSessionDuration = in.MaxSessionDuration
	r.PermissionsBoundary, r.Tags = e.boundary(), in.Tags
	return &api.CreateRoleOutput{Role: &r}, nil
}

// trustDocument checks a trust policy that is to be saved.
func trustDocument(text string) (*policy.Document, error) {
	d, err := document(text, policy.Trust)
	if err == nil && size(text) > maxTrustPolicy {
		return nil, limit("Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	}
	return d, err
}

// keptTrust is a trust policy as it is kept. A policy that names a user or role
// that is not there is refused.
func keptTrust(ctx context.Context, tx *state.Tx, trust *policy.Document) (string, error) {
	text, err := policy.Bind(ctx, trust, directory{tx})
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return "", aws.Errorf("MalformedPolicyDocument", "%s", e.Message)
	}
	return text, err
}

func (s *Service) getRole(ctx context.Context, c *call.Call, in *api.GetRoleInput) (*api.GetRoleOutput, error) {
	var r api.Role
	err := s.db.View(ctx, func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), role, in.RoleName)
		if err != nil {
			return err
		}
		if e, err = e.shown(ctx, directory{tx}); err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, e.ID)
		r = e.role()
		r.PermissionsBoundary, r.Tags = e.boundary(), shownTags(tags)
		return err
	})
	if err == nil {
		r.RoleLastUsed, err = s.lastUsed(ctx, r.RoleId)
	}
	return &api.GetRoleOutput{Role: &r}, err
}

func (s *Service) listRoles(ctx context.Context, c *call.Call, in *api.ListRolesInput) (*api.ListRolesOutput, error) {
	rows, truncated, next, err := s.list(ctx, c, role, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListRolesOutput{Roles: []api.Role{}, IsTruncated: truncated, Marker: next}
	for _, e := range rows {
		if e, err = e.shown(ctx, s); err != nil {
			return nil, err
		}
		out.Roles = append(out.Roles, e.role())
	}
	return out, nil
}

// changeRole finds a role, lets change alter it, and saves it.
func (s *Service) changeRole(ctx context.Context, c *call.Call, name string, change func(tx *state.Tx, e *entity) error) (entity, error) {
	var e entity
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		var err error
		if e, err = find(ctx, tx, c.Account(), role, name); err != nil {
			return err
		}
		if err := change(tx, &e); err != nil {
			return err
		}
		return e.save(ctx, tx)
	})
	return e, err
}

// updateRole changes what is given. An empty description, which cannot be told
// from none here, leaves the old one: UpdateRoleDescription takes it away.
func (s *Service) updateRole(ctx context.Context, c *call.Call, in *api.UpdateRoleInput) (*api.UpdateRoleOutput, error) {
	_, err := s.changeRole(ctx, c, in.RoleName, func(_ *state.Tx, e *entity) error {
		if e.linked() && in.MaxSessionDuration != nil {
			return errProtected(*e) // its description may be changed
		}
		e.Description, e.MaxSession = cmp.Or(in.Description, e.Description), or(in.MaxSessionDuration, e.MaxSession)
		return nil
	})
	return nil, err
}

func (s *Service) updateRoleDescription(ctx context.Context, c *call.Call, in *api.UpdateRoleDescriptionInput) (*api.UpdateRoleDescriptionOutput, error) {
	e, err := s.changeRole(ctx, c, in.RoleName, func(_ *state.Tx, e *entity) error {
		e.Description = in.Description
		return nil
	})
	if err != nil {
		return nil, err
	}
	e, err = e.shown(ctx, s)
	r := e.role()
	return &api.UpdateRoleDescriptionOutput{Role: &r}, err
}

func (s *Service) updateAssumeRolePolicy(ctx context.Context, c *call.Call, in *api.UpdateAssumeRolePolicyInput) (*api.UpdateAssumeRolePolicyOutput, error) {
	trust, err := trustDocument(in.PolicyDocument)
	if err != nil {
		return nil, err
	}
	_, err = s.changeRole(ctx, c, in.RoleName, func(tx *state.Tx, e *entity) error {
		if e.linked() {
			return errProtected(*e)
		}
		e.Trust, err = keptTrust(ctx, tx, trust)
		return err
	})
	return nil, err
}

func (s *Service) deleteRole(ctx context.Context, c *call.Call, in *api.DeleteRoleInput) (*api.DeleteRoleOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := changeable(ctx, tx, c.Account(), role, in.RoleName)
		if err != nil {
			return err
		}
		if any, err := has(ctx, tx, `SELECT 1 FROM iam_profile WHERE role_id = $1 LIMIT 1`, e.ID); any || err != nil {
			return orConflict(err, "Cannot delete entity, must remove roles from instance profile first.")
		}
		if err := deletable(ctx, tx, e); err != nil {
			return err
		}
		return e.remove(ctx, tx)
	})
}

func (s *Service) putRolePermissionsBoundary(ctx context.Context, c *call.Call, in *api.PutRolePermissionsBoundaryInput) (*api.PutRolePermissionsBoundaryOutput, error) {
	return nil, s.bound(ctx, c, role, in.RoleName, in.PermissionsBoundary)
}

func (s *Service) deleteRolePermissionsBoundary(ctx context.Context, c *call.Call, in *api.DeleteRolePermissionsBoundaryInput) (*api.DeleteRolePermissionsBoundaryOutput, error) {
	return nil, s.bound(ctx, c, role, in.RoleName, "")
}
