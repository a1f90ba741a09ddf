package iam

import (
	"context"
	"errors"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// profileOperations are those about instance profiles.
func (s *Service) profileOperations() []call.Operation {
	return []call.Operation{
		on(s, "CreateInstanceProfile", func(in *api.CreateInstanceProfileInput) subject {
			return subject{kind: profile, name: in.InstanceProfileName, path: in.Path, keys: tagKeys(in.Tags), tagged: len(in.Tags) > 0}
		}, s.createInstanceProfile),
		on(s, "GetInstanceProfile", func(in *api.GetInstanceProfileInput) subject {
			return subject{kind: profile, name: in.InstanceProfileName}
		}, s.getInstanceProfile),
		across("ListInstanceProfiles", profile, func(in *api.ListInstanceProfilesInput) string { return in.PathPrefix }, s.listInstanceProfiles),
		on(s, "ListInstanceProfilesForRole", func(in *api.ListInstanceProfilesForRoleInput) subject { return subject{kind: role, name: in.RoleName} }, s.listInstanceProfilesForRole),
		on(s, "DeleteInstanceProfile", func(in *api.DeleteInstanceProfileInput) subject {
			return subject{kind: profile, name: in.InstanceProfileName}
		}, s.deleteInstanceProfile),
		call.Op("AddRoleToInstanceProfile", s.addRoleToInstanceProfileNeeds, s.addRoleToInstanceProfile),
		on(s, "RemoveRoleFromInstanceProfile", func(in *api.RemoveRoleFromInstanceProfileInput) subject {
			return subject{kind: profile, name: in.InstanceProfileName}
		}, s.removeRoleFromInstanceProfile),
		on(s, "TagInstanceProfile", func(in *api.TagInstanceProfileInput) subject {
			return subject{kind: profile, name: in.InstanceProfileName, keys: tagKeys(in.Tags)}
		}, s.tagInstanceProfile),
		on(s, "UntagInstanceProfile", func(in *api.UntagInstanceProfileInput) subject {
			return subject{kind: profile, name: in.InstanceProfileName, keys: untagKeys(in.TagKeys)}
		}, s.untagInstanceProfile),
		on(s, "ListInstanceProfileTags", func(in *api.ListInstanceProfileTagsInput) subject {
			return subject{kind: profile, name: in.InstanceProfileName}
		}, s.listInstanceProfileTags),
	}
}

// instanceProfile is what a machine wears its role by. It holds one role at
// most.
type instanceProfile struct {
	Account string    `db:"account"`
	Folded  string    `db:"folded"`
	Name    string    `db:"name"`
	Path    string    `db:"path"`
	ID      string    `db:"id"`
	Created time.Time `db:"created"`
	RoleID  string    `db:"role_id"`
}

const profileColumns = `account, folded, name, path, id, created, role_id`

const (
	findProfileByName = `SELECT ` + profileColumns + ` FROM iam_profile WHERE account = $1 AND folded = $2`
	listProfiles      = `SELECT ` + profileColumns + ` FROM iam_profile
		WHERE account = $1 AND folded > $2 AND substr(path, 1, length($3)) = $3 ORDER BY folded LIMIT $4`
	listProfilesOf = `SELECT ` + profileColumns + ` FROM iam_profile WHERE role_id = $1 AND folded > $2 ORDER BY folded LIMIT $3`
	insertProfile  = `INSERT INTO iam_profile (` + profileColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, folded) DO NOTHING`
	setProfileRole = `UPDATE iam_profile SET role_id = $2 WHERE id = $1`
)

func findProfile(ctx context.Context, tx *state.Tx, account, name string) (instanceProfile, error) {
	p, err := state.Get[instanceProfile](ctx, tx, findProfileByName, account, strings.ToLower(name))
	if errors.Is(err, state.ErrNotFound) {
		return p, noSuch("Instance Profile %s cannot be found.", name)
	}
	return p, err
}

func (p instanceProfile) arn() string { return entityARN(p.Account, profile, p.Path, p.Name) }

// api is the profile as answers show it, with its role.
func (p instanceProfile) api(ctx context.Context, tx *state.Tx) (api.InstanceProfile, error) {
	out := api.InstanceProfile{
		Path: p.Path, InstanceProfileName: p.Name, InstanceProfileId: p.ID, Arn: p.arn(), CreateDate: &p.Created, Roles: []api.Role{},
	}
	if p.RoleID == "" {
		return out, nil
	}
	e, err := state.Get[entity](ctx, tx, findEntityByID, p.RoleID)
	if err == nil {
		e, err = e.shown(ctx, directory{tx})
		r := e.role()
		r.Description, r.MaxSessionDuration = "", nil // AWS leaves them out here
		out.Roles = append(out.Roles, r)
	}
	return out, err
}

func (s *Service) createInstanceProfile(ctx context.Context, c *call.Call, in *api.CreateInstanceProfileInput) (*api.CreateInstanceProfileOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	p := instanceProfile{
		Account: c.Account(), Folded: strings.ToLower(in.InstanceProfileName), Name: in.InstanceProfileName, Path: orSlash(in.Path),
		ID: newID("AIPA"), Created: c.Time.Truncate(time.Second),
	}
	var out api.InstanceProfile
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, insertProfile, p.Account, p.Folded, p.Name, p.Path, p.ID, p.Created, p.RoleID)
		if err == nil && n == 0 {
			err = exists("Instance Profile %s already exists.", p.Name)
		}
		if err != nil {
			return err
		}
		if err := profileQuota.check(ctx, tx, c.Account()); err != nil {
			return err
		}
		if out, err = p.api(ctx, tx); err != nil {
			return err
		}
		out.Tags = in.Tags
		return addTags(ctx, tx, p.ID, in.Tags)
	})
	return &api.CreateInstanceProfileOutput{InstanceProfile: &out}, err
}

func (s *Service) getInstanceProfile(ctx context.Context, c *call.Call, in *api.GetInstanceProfileInput) (*api.GetInstanceProfileOutput, error) {
	var out api.InstanceProfile
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findProfile(ctx, tx, c.Account(), in.InstanceProfileName)
		if err != nil {
			return err
		}
		if out, err = p.api(ctx, tx); err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, p.ID)
		out.Tags = shownTags(tags)
		return err
	})
	return &api.GetInstanceProfileOutput{InstanceProfile: &out}, err
}

// pageOfProfiles is one page out of rows of which one more than the page holds
// was asked for.
func pageOfProfiles(ctx context.Context, tx *state.Tx, p page, rows []instanceProfile) (list []api.InstanceProfile, truncated *bool, next string, err error) {
	rows, truncated, next = cut(p, rows, func(p instanceProfile) string { return p.Folded })
	list = []api.InstanceProfile{}
	for _, r := range rows {
		one, err := r.api(ctx, tx)
		if err != nil {
			return nil, nil, "", err
		}
		list = append(list, one)
	}
	return list, truncated, next, nil
}

func (s *Service) listInstanceProfiles(ctx context.Context, c *call.Call, in *api.ListInstanceProfilesInput) (*api.ListInstanceProfilesOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListInstanceProfilesOutput{}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err := state.List[instanceProfile](ctx, tx, listProfiles, c.Account(), p.after, in.PathPrefix, p.limit+1)
		if err != nil {
			return err
		}
		out.InstanceProfiles, out.IsTruncated, out.Marker, err = pageOfProfiles(ctx, tx, p, rows)
		return err
	})
	return out, err
}

func (s *Service) listInstanceProfilesForRole(ctx context.Context, c *call.Call, in *api.ListInstanceProfilesForRoleInput) (*api.ListInstanceProfilesForRoleOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListInstanceProfilesForRoleOutput{}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), role, in.RoleName)
		if err != nil {
			return err
		}
		rows, err := state.List[instanceProfile](ctx, tx, listProfilesOf, e.ID, p.after, p.limit+1)
		if err != nil {
			return err
		}
		out.InstanceProfiles, out.IsTruncated, out.Marker, err = pageOfProfiles(ctx, tx, p, rows)
		return err
	})
	return out, err
}

func (s *Service) deleteInstanceProfile(ctx context.Context, c *call.Call, in *api.DeleteInstanceProfileInput) (*api.DeleteInstanceProfileOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findProfile(ctx, tx, c.Account(), in.InstanceProfileName)
		if err != nil {
			return err
		}
		if p.RoleID != "" {
			return conflict("Cannot delete entity, must remove roles from instance profile first.")
		}
		return deleteAll(ctx, tx, p.ID, `DELETE FROM iam_tag WHERE owner_id = $1`, `DELETE FROM iam_profile WHERE id = $1`)
	})
}

// addRoleToInstanceProfileNeeds asks, besides, for the permission to hand the
// role to EC2, whose machines will wear it.
func (s *Service) addRoleToInstanceProfileNeeds(ctx context.Context, c *call.Call, in *api.AddRoleToInstanceProfileInput) ([]call.Need, error) {
	if err := barred(c); err != nil {
		return nil, err
	}
	add, err := s.target(ctx, c, subject{kind: profile, name: in.InstanceProfileName})
	if err != nil {
		return nil, err
	}
	pass, err := s.target(ctx, c, subject{kind: role, name: in.RoleName, keys: policy.Keys{"iam:passedtoservice": {"ec2.amazonaws.com"}}})
	add.Action, pass.Action = "iam:AddRoleToInstanceProfile", "iam:PassRole"
	return []call.Need{add, pass}, err
}

func (s *Service) addRoleToInstanceProfile(ctx context.Context, c *call.Call, in *api.AddRoleToInstanceProfileInput) (*api.AddRoleToInstanceProfileOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findProfile(ctx, tx, c.Account(), in.InstanceProfileName)
		if err != nil {
			return err
		}
		e, err := changeable(ctx, tx, c.Account(), role, in.RoleName)
		if err != nil {
			return err
		}
		if p.RoleID != "" {
			return limit("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
		}
		_, err = tx.Exec(ctx, setProfileRole, p.ID, e.ID)
		return err
	})
}

func (s *Service) removeRoleFromInstanceProfile(ctx context.Context, c *call.Call, in *api.RemoveRoleFromInstanceProfileInput) (*api.RemoveRoleFromInstanceProfileOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findProfile(ctx, tx, c.Account(), in.InstanceProfileName)
		if err != nil {
			return err
		}
		e, err := find(ctx, tx, c.Account(), role, in.RoleName)
		if err != nil {
			return err
		}
		if p.RoleID != e.ID {
			return noSuch("The role with name %s cannot be found.", in.RoleName)
		}
		_, err = tx.Exec(ctx, setProfileRole, p.ID, "")
		return err
	})
}

func (s *Service) tagInstanceProfile(ctx context.Context, c *call.Call, in *api.TagInstanceProfileInput) (*api.TagInstanceProfileOutput, error) {
	return nil, s.tag(ctx, c, profile, in.InstanceProfileName, in.Tags)
}

func (s *Service) untagInstanceProfile(ctx context.Context, c *call.Call, in *api.UntagInstanceProfileInput) (*api.UntagInstanceProfileOutput, error) {
	return nil, s.untag(ctx, c, profile, in.InstanceProfileName, in.TagKeys)
}

func (s *Service) listInstanceProfileTags(ctx context.Context, c *call.Call, in *api.ListInstanceProfileTagsInput) (*api.ListInstanceProfileTagsOutput, error) {
	list, truncated, next, err := s.tags(ctx, c, profile, in.InstanceProfileName, in.Marker, in.MaxItems)
	return &api.ListInstanceProfileTagsOutput{Tags: list, IsTruncated: truncated, Marker: next}, err
}
