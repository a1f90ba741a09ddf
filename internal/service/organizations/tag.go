package organizations

import (
	"context"
	"maps"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

const maxTags = 50

type tag struct {
	Key   string `db:"key"`
	Value string `db:"value"`
}

const (
	putTag = `INSERT INTO organizations_tag (org, resource, key, value) VALUES ($1, $2, $3, $4)
		ON CONFLICT (resource, key) DO UPDATE SET value = excluded.value`
	listTags = `SELECT key, value FROM organizations_tag WHERE org = $1 AND resource = $2 AND key > $3 ORDER BY key LIMIT $4`
)

// checkTags refuses tags that AWS refuses, before anything is read.
func checkTags(tags []api.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if seen[t.Key] {
			return invalid("DUPLICATE_TAG_KEY", "You specified duplicate tag keys. Tag keys must be unique among the tags attached to the same entity.")
		}
		seen[t.Key] = true
		if err := checkKey(t.Key); err != nil {
			return err
		}
	}
	if len(tags) > maxTags {
		return errTooManyTags()
	}
	return nil
}

func checkKey(key string) error {
	if strings.HasPrefix(strings.ToLower(key), "aws:") {
		return invalid("INVALID_SYSTEM_TAGS_PARAMETER", "You specified a tag key that is a system tag. You can't add, edit, or delete system tag keys because they're reserved for AWS use.")
	}
	return nil
}

func errTooManyTags() error {
	return constraint("MAX_TAG_LIMIT_EXCEEDED", "You have exceeded the number of tags allowed on this resource.")
}

// putTags tags a node or policy.
func (o organization) putTags(ctx context.Context, tx *state.Tx, resource string, tags []api.Tag) error {
	for _, t := range tags {
		if _, err := tx.Exec(ctx, putTag, o.ID, resource, t.Key, t.Value); err != nil {
			return err
		}
	}
	n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM organizations_tag WHERE org = $1 AND resource = $2`, o.ID, resource)
	if err == nil && n > maxTags {
		return errTooManyTags()
	}
	return err
}

// taggable refuses what cannot have tags: what is not there, and AWS's own
// policies.
func (o organization) taggable(ctx context.Context, tx *state.Tx, id string) error {
	if strings.HasPrefix(id, "p-") {
		p, err := o.policy(ctx, tx, id)
		if err == nil && p.managed() {
			return invalid("TARGET_NOT_SUPPORTED", "You can't perform the specified operation on that target entity.")
		}
		if err == errNoPolicy {
			return errNoTarget
		}
		return err
	}
	_, err := o.find(ctx, tx, id, errNoTarget)
	return err
}

func (s *Service) tagResource(ctx context.Context, c *call.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		if err := o.taggable(ctx, tx, in.ResourceId); err != nil {
			return err
		}
		return o.putTags(ctx, tx, in.ResourceId, in.Tags)
	})
}

func (s *Service) untagResource(ctx context.Context, c *call.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	for _, key := range in.TagKeys {
		if err := checkKey(key); err != nil {
			return nil, err
		}
	}
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		if err := o.taggable(ctx, tx, in.ResourceId); err != nil {
			return err
		}
		for _, key := range in.TagKeys {
			if _, err := tx.Exec(ctx, `DELETE FROM organizations_tag WHERE org = $1 AND resource = $2 AND key = $3`, o.ID, in.ResourceId, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) listTagsForResource(ctx context.Context, c *call.Call, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	p, err := pageOf(in.NextToken, nil)
	if err != nil {
		return nil, err
	}
	p.limit = maxTags // AWS gives all at once
	out := &api.ListTagsForResourceOutput{Tags: []api.Tag{}}
	err = s.look(ctx, c, func(tx *state.Tx, o organization) error {
		if err := o.taggable(ctx, tx, in.ResourceId); err != nil {
			return err
		}
		list, err := state.List[tag](ctx, tx, listTags, o.ID, in.ResourceId, p.after, p.limit+1)
		if err != nil {
			return err
		}
		list, out.NextToken = cut(p, list, func(t tag) string { return t.Key })
		for _, t := range list {
			out.Tags = append(out.Tags, api.Tag{Key: t.Key, Value: t.Value})
		}
		return nil
	})
	return out, err
}

// requestTags are the condition keys of the tags that a request brings.
func requestTags(tags []api.Tag) policy.Keys {
	keys := policy.Keys{}
	for _, t := range tags {
		keys.AddRequestTag(t.Key, t.Value)
	}
	return keys
}

// resourceTags adds the tags of a node or policy to the keys of a request.
func (o organization) resourceTags(ctx context.Context, tx *state.Tx, id string, keys policy.Keys) (policy.Keys, error) {
	out := policy.Keys{}
	maps.Copy(out, keys)
	tags, err := state.List[tag](ctx, tx, listTags, o.ID, id, "", maxTags)
	for _, t := range tags {
		out["aws:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
	}
	return out, err
}
