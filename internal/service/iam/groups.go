package iam

import (
	"context"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

func (s *Service) createGroup(ctx context.Context, c *call.Call, in *api.CreateGroupInput) (*api.CreateGroupOutput, error) {
	e := newEntity(c.Account(), group, in.Path, in.GroupName, c.Time)
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error { return insert(ctx, tx, e) })
	if err != nil {
		return nil, err
	}
	g := e.group()
	return &api.CreateGroupOutput{Group: &g}, nil
}

const listMembers = `SELECT ` + entityColumns + ` FROM iam_entity
	WHERE kind = 'user' AND folded > $2 AND id IN (SELECT user_id FROM iam_member WHERE group_id = $1)
	ORDER BY folded LIMIT $3`

func (s *Service) getGroup(ctx context.Context, c *call.Call, in *api.GetGroupInput) (*api.GetGroupOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.GetGroupOutput{Users: []api.User{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), group, in.GroupName)
		if err != nil {
			return err
		}
		g := e.group()
		out.Group = &g
		rows, err := state.List[entity](ctx, tx, listMembers, e.ID, p.after, p.limit+1)
		rows, out.IsTruncated, out.Marker = cut(p, rows, func(e entity) string { return e.Folded })
		for _, u := range rows {
			out.Users = append(out.Users, u.user())
		}
		return err
	})
	return out, err
}

func (s *Service) listGroups(ctx context.Context, c *call.Call, in *api.ListGroupsInput) (*api.ListGroupsOutput, error) {
	rows, truncated, next, err := s.list(ctx, c, group, in.PathPrefix, in.Marker, in.MaxItems)
	out := &api.ListGroupsOutput{Groups: []api.Group{}, IsTruncated: truncated, Marker: next}
	for _, e := range rows {
		out.Groups = append(out.Groups, e.group())
	}
	return out, err
}

func (s *Service) updateGroup(ctx context.Context, c *call.Call, in *api.UpdateGroupInput) (*api.UpdateGroupOutput, error) {
	return nil, s.rename(ctx, c, group, in.GroupName, in.NewGroupName, in.NewPath)
}

func (s *Service) deleteGroup(ctx context.Context, c *call.Call, in *api.DeleteGroupInput) (*api.DeleteGroupOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), group, in.GroupName)
		if err != nil {
			return err
		}
		if any, err := has(ctx, tx, `SELECT 1 FROM iam_member WHERE group_id = $1 LIMIT 1`, e.ID); any || err != nil {
			return orConflict(err, "Cannot delete entity, must remove users from group first.")
		}
		if err := deletable(ctx, tx, e); err != nil {
			return err
		}
		return e.remove(ctx, tx)
	})
}

// both finds a group and a user.
func both(ctx context.Context, tx *state.Tx, account, groupName, userName string) (g, u entity, err error) {
	if g, err = find(ctx, tx, account, group, groupName); err != nil {
		return g, u, err
	}
	u, err = find(ctx, tx, account, user, userName)
	return g, u, err
}

func (s *Service) addUserToGroup(ctx context.Context, c *call.Call, in *api.AddUserToGroupInput) (*api.AddUserToGroupOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		g, u, err := both(ctx, tx, c.Account(), in.GroupName, in.UserName)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO iam_member (group_id, user_id) VALUES ($1, $2) ON CONFLICT (group_id, user_id) DO NOTHING`, g.ID, u.ID); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_member WHERE user_id = $1`, u.ID)
		if err == nil && n > maxGroups {
			return limit("Cannot exceed quota for GroupsPerUser: %d", maxGroups)
		}
		return err
	})
}

func (s *Service) removeUserFromGroup(ctx context.Context, c *call.Call, in *api.RemoveUserFromGroupInput) (*api.RemoveUserFromGroupOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		g, u, err := both(ctx, tx, c.Account(), in.GroupName, in.UserName)
		if err != nil {
			return err
		}
		// A user that is not in the group is no error, as on AWS.
		_, err = tx.Exec(ctx, `DELETE FROM iam_member WHERE group_id = $1 AND user_id = $2`, g.ID, u.ID)
		return err
	})
}

const listGroupsOf = `SELECT ` + entityColumns + ` FROM iam_entity
	WHERE kind = 'group' AND folded > $2 AND id IN (SELECT group_id FROM iam_member WHERE user_id = $1)
	ORDER BY folded LIMIT $3`

func (s *Service) listGroupsForUser(ctx context.Context, c *call.Call, in *api.ListGroupsForUserInput) (*api.ListGroupsForUserOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListGroupsForUserOutput{Groups: []api.Group{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		u, err := find(ctx, tx, c.Account(), user, in.UserName)
		if err != nil {
			return err
		}
		rows, err := state.List[entity](ctx, tx, listGroupsOf, u.ID, p.after, p.limit+1)
		rows, out.IsTruncated, out.Marker = cut(p, rows, func(e entity) string { return e.Folded })
		for _, g := range rows {
			out.Groups = append(out.Groups, g.group())
		}
		return err
	})
	return out, err
}
