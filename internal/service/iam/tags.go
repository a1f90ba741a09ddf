package iam

import (
	"context"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

type tag struct {
	Folded string `db:"folded"`
	Key    string `db:"name"`
	Value  string `db:"value"`
}

const (
	listTags = `SELECT folded, name, value FROM iam_tag WHERE owner_id = $1 ORDER BY folded`
	putTag   = `INSERT INTO iam_tag (owner_id, folded, name, value) VALUES ($1, $2, $3, $4)
		ON CONFLICT (owner_id, folded) DO UPDATE SET name = excluded.name, value = excluded.value`
	deleteTag = `DELETE FROM iam_tag WHERE owner_id = $1 AND folded = $2`
)

func tagsOf(ctx context.Context, tx *state.Tx, id string) ([]tag, error) {
	return state.List[tag](ctx, tx, listTags, id)
}

// shownTags are the tags of a thing as its own description shows them: left out
// when there are none.
func shownTags(tags []tag) []api.Tag {
	if len(tags) == 0 {
		return nil
	}
	return apiTags(tags)
}

func apiTags(tags []tag) []api.Tag {
	out := make([]api.Tag, len(tags))
	for i, t := range tags {
		out[i] = api.Tag{Key: t.Key, Value: t.Value}
	}
	return out
}

// checkTags refuses tags that AWS refuses, before anything is read.
func checkTags(tags []api.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		folded := strings.ToLower(t.Key)
		if strings.HasPrefix(folded, "aws:") {
			return invalid("System tags cannot be added/updated/deleted.")
		}
		if seen[folded] {
			return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[folded] = true
	}
	return nil
}

// addTags tags a thing.
func addTags(ctx context.Context, tx *state.Tx, id string, tags []api.Tag) error {
	for _, t := range tags {
		if _, err := tx.Exec(ctx, putTag, id, strings.ToLower(t.Key), t.Key, t.Value); err != nil {
			return err
		}
	}
	n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_tag WHERE owner_id = $1`, id)
	if err == nil && n > maxTags {
		return limit("The number of tags has reached the maximum limit.")
	}
	return err
}

func removeTags(ctx context.Context, tx *state.Tx, id string, keys []string) error {
	for _, k := range keys {
		if _, err := tx.Exec(ctx, deleteTag, id, strings.ToLower(k)); err != nil {
			return err
		}
	}
	return nil
}

// owner finds the unique id of what is tagged.
func owner(ctx context.Context, tx *state.Tx, account string, k kind, name string) (string, error) {
	if k == managed {
		p, err := ownPolicy(ctx, tx, account, name)
		return p.ID, err
	}
	if o, ok := objectOf(k); ok {
		_, id, err := o.find(ctx, tx, account, name)
		return id, err
	}
	e, err := find(ctx, tx, account, k, name)
	return e.ID, err
}

func (s *Service) tag(ctx context.Context, c *call.Call, k kind, name string, tags []api.Tag) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		id, err := owner(ctx, tx, c.Account(), k, name)
		if err != nil {
			return err
		}
		return addTags(ctx, tx, id, tags)
	})
}

func (s *Service) untag(ctx context.Context, c *call.Call, k kind, name string, keys []string) error {
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		id, err := owner(ctx, tx, c.Account(), k, name)
		if err != nil {
			return err
		}
		return removeTags(ctx, tx, id, keys)
	})
}

func (s *Service) tags(ctx context.Context, c *call.Call, k kind, name, marker string, maxItems *int64) (list []api.Tag, truncated *bool, next string, err error) {
	p, err := pageOf(marker, maxItems)
	if err != nil {
		return nil, nil, "", err
	}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		id, err := owner(ctx, tx, c.Account(), k, name)
		if err != nil {
			return err
		}
		all, err := tagsOf(ctx, tx, id)
		var rows []tag
		rows, truncated, next = pageThrough(p, all, func(t tag) string { return t.Folded })
		list = apiTags(rows)
		return err
	})
	return list, truncated, next, err
}

func (s *Service) tagUser(ctx context.Context, c *call.Call, in *api.TagUserInput) (*api.TagUserOutput, error) {
	return nil, s.tag(ctx, c, user, in.UserName, in.Tags)
}

func (s *Service) untagUser(ctx context.Context, c *call.Call, in *api.UntagUserInput) (*api.UntagUserOutput, error) {
	return nil, s.untag(ctx, c, user, in.UserName, in.TagKeys)
}

func (s *Service) listUserTags(ctx context.Context, c *call.Call, in *api.ListUserTagsInput) (*api.ListUserTagsOutput, error) {
	list, truncated, next, err := s.tags(ctx, c, user, in.UserName, in.Marker, in.MaxItems)
	return &api.ListUserTagsOutput{Tags: list, IsTruncated: truncated, Marker: next}, err
}

func (s *Service) tagRole(ctx context.Context, c *call.Call, in *api.TagRoleInput) (*api.TagRoleOutput, error) {
	return nil, s.tag(ctx, c, role, in.RoleName, in.Tags)
}

func (s *Service) untagRole(ctx context.Context, c *call.Call, in *api.UntagRoleInput) (*api.UntagRoleOutput, error) {
	return nil, s.untag(ctx, c, role, in.RoleName, in.TagKeys)
}

func (s *Service) listRoleTags(ctx context.Context, c *call.Call, in *api.ListRoleTagsInput) (*api.ListRoleTagsOutput, error) {
	list, truncated, next, err := s.tags(ctx, c, role, in.RoleName, in.Marker, in.MaxItems)
	return &api.ListRoleTagsOutput{Tags: list, IsTruncated: truncated, Marker: next}, err
}

func (s *Service) tagPolicy(ctx context.Context, c *call.Call, in *api.TagPolicyInput) (*api.TagPolicyOutput, error) {
	return nil, s.tag(ctx, c, managed, in.PolicyArn, in.Tags)
}

func (s *Service) untagPolicy(ctx context.Context, c *call.Call, in *api.UntagPolicyInput) (*api.UntagPolicyOutput, error) {
	return nil, s.untag(ctx, c, managed, in.PolicyArn, in.TagKeys)
}

func (s *Service) listPolicyTags(ctx context.Context, c *call.Call, in *api.ListPolicyTagsInput) (*api.ListPolicyTagsOutput, error) {
	list, truncated, next, err := s.tags(ctx, c, managed, in.PolicyArn, in.Marker, in.MaxItems)
	return &api.ListPolicyTagsOutput{Tags: list, IsTruncated: truncated, Marker: next}, err
}

// untagKeys are the condition keys of an untagging request.
func untagKeys(keys []string) policy.Keys {
	if len(keys) == 0 {
		return nil
	}
	return policy.Keys{"aws:tagkeys": keys}
}
