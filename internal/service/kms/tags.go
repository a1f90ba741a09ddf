package kms

import (
	"context"
	"fmt"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

const tagLimit = 50

// checkTags refuses tags that AWS refuses.
func checkTags(in []api.Tag) ([]tag, error) {
	var tags []tag
	for _, t := range in {
		switch {
		case t.TagKey == "":
			return nil, aws.Errorf("TagException", "Tag keys must not be empty.")
		case strings.HasPrefix(strings.ToLower(t.TagKey), "aws:"):
			return nil, aws.Errorf("TagException", "Tag keys must not begin with aws:, which is reserved.")
		case slices.ContainsFunc(tags, func(o tag) bool { return o.Name == t.TagKey }):
			return nil, aws.Errorf("TagException", "Duplicate tag keys")
		}
		tags = append(tags, tag{t.TagKey, t.TagValue})
	}
	if len(tags) > tagLimit {
		return nil, errTooManyTags()
	}
	return tags, nil
}

func errTooManyTags() *aws.Error {
	return aws.Errorf("LimitExceededException", "A key has at most %d tags.", tagLimit)
}

// addTagKeys adds the condition keys of tags in a request.
func addTagKeys(keys policy.Keys, tags []api.Tag) {
	for _, t := range tags {
		keys.AddRequestTag(t.TagKey, t.TagValue)
	}
}

func putTags(ctx context.Context, tx *state.Tx, k key, tags []tag) error {
	for _, t := range tags {
		if _, err := tx.Exec(ctx, `
			INSERT INTO kms_tag (account, region, key_id, name, value) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (account, region, key_id, name) DO UPDATE SET value = excluded.value`,
			k.Account, k.Region, k.ID, t.Name, t.Value); err != nil {
			return fmt.Errorf("tag key %s: %w", k.arn(), err)
		}
	}
	return nil
}

func (s *Service) tagResourceNeeds(ctx context.Context, c *call.Call, in *api.TagResourceInput) ([]call.Need, error) {
	keys := policy.Keys{}
	addTagKeys(keys, in.Tags)
	return s.homeNeeds(ctx, c, "kms:TagResource", in.KeyId, keys)
}

func (s *Service) tagResource(ctx context.Context, c *call.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	tags, err := checkTags(in.Tags)
	if err != nil {
		return nil, err
	}
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		if err := putTags(ctx, tx, k, tags); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM kms_tag WHERE account = $1 AND region = $2 AND key_id = $3`, k.Account, k.Region, k.ID)
		if err != nil {
			return fmt.Errorf("count tags of %s: %w", k.arn(), err)
		}
		if n > tagLimit {
			return errTooManyTags()
		}
		return nil
	})
}

func (s *Service) untagResourceNeeds(ctx context.Context, c *call.Call, in *api.UntagResourceInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:UntagResource", in.KeyId, policy.Keys{"aws:tagkeys": in.TagKeys})
}

func (s *Service) untagResource(ctx context.Context, c *call.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		for _, name := range in.TagKeys {
			if _, err := tx.Exec(ctx, `DELETE FROM kms_tag WHERE account = $1 AND region = $2 AND key_id = $3 AND name = $4`,
				k.Account, k.Region, k.ID, name); err != nil {
				return fmt.Errorf("untag key %s: %w", k.arn(), err)
			}
		}
		return nil
	})
}

func (s *Service) listResourceTagsNeeds(ctx context.Context, c *call.Call, in *api.ListResourceTagsInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:ListResourceTags", in.KeyId, nil)
}

func (s *Service) listResourceTags(ctx context.Context, c *call.Call, in *api.ListResourceTagsInput) (*api.ListResourceTagsOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	p, err := newPage(in.Limit, in.Marker, 50, 50)
	if err != nil {
		return nil, err
	}
	var tags []tag
	err = s.read(ctx, r, func(tx *state.Tx, k key) error {
		tags, err = state.List[tag](ctx, tx, `
			SELECT name, value FROM kms_tag WHERE account = $1 AND region = $2 AND key_id = $3 AND name > $4 ORDER BY name LIMIT $5`,
			k.Account, k.Region, k.ID, p.after, p.limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListResourceTagsOutput{Tags: []api.Tag{}}
	tags, out.NextMarker, out.Truncated = cut(p, tags, func(t tag) string { return t.Name })
	for _, t := range tags {
		out.Tags = append(out.Tags, api.Tag{TagKey: t.Name, TagValue: t.Value})
	}
	return out, nil
}
