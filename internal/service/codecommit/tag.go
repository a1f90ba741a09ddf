package codecommit

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
)

type tag struct {
	Key   string `db:"key"`
	Value string `db:"value"`
}

// requestTags are the condition keys of the tags a request brings.
func requestTags(tags map[string]string) policy.Keys {
	keys := policy.Keys{}
	for k, v := range tags {
		keys.AddRequestTag(k, v)
	}
	return keys
}

func checkTags(tags map[string]string) error {
	if len(tags) > 50 {
		return errTooManyTags
	}
	for k, v := range tags {
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return errSystemTag
		}
		if k == "" || utf8.RuneCountInString(k) > 128 || utf8.RuneCountInString(v) > 256 {
			return errBadTags
		}
	}
	return nil
}

func putTags(ctx context.Context, tx *state.Tx, repository string, tags map[string]string) error {
	for k, v := range tags {
		_, err := tx.Exec(ctx, `
			INSERT INTO codecommit_tag (repository, key, value) VALUES ($1, $2, $3)
			ON CONFLICT (repository, key) DO UPDATE SET value = excluded.value`, repository, k, v)
		if err != nil {
			return err
		}
	}
	return nil
}

// tagged takes the ARN of a repository apart.
func tagged(arn string) (aws.ARN, error) {
	if arn == "" {
		return aws.ARN{}, errARNRequired
	}
	a, ok := aws.ParseARN(arn)
	if !ok || a.Service != "codecommit" || !aws.IsAccountID(a.Account) || checkName(a.Resource) != nil {
		return aws.ARN{}, errBadARN
	}
	return a, nil
}

func (s *Service) tagNeeds(ctx context.Context, action, arn string, keys policy.Keys) ([]call.Need, error) {
	a, err := tagged(arn)
	if err != nil {
		return nil, err
	}
	n, err := s.need(ctx, action, a)
	for k, v := range keys {
		n.Keys[k] = v
	}
	return []call.Need{n}, err
}

// findTagged reads the repository an ARN names.
func findTagged(ctx context.Context, tx *state.Tx, arn string) (*repository, error) {
	a, err := tagged(arn)
	if err != nil {
		return nil, err
	}
	return findIn(ctx, tx, a.Account, a.Region, a.Resource)
}

func (s *Service) tagResourceNeeds(ctx context.Context, _ *call.Call, in *api.TagResourceInput) ([]call.Need, error) {
	return s.tagNeeds(ctx, "TagResource", in.ResourceArn, requestTags(in.Tags))
}

func (s *Service) tagResource(ctx context.Context, _ *call.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	if in.Tags == nil {
		return nil, errTagsRequired
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		r, err := findTagged(ctx, tx, in.ResourceArn)
		if err != nil {
			return err
		}
		if err := putTags(ctx, tx, r.ID, in.Tags); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM codecommit_tag WHERE repository = $1`, r.ID)
		if err == nil && n > 50 {
			return errTooManyTags
		}
		return err
	})
}

func (s *Service) untagResourceNeeds(ctx context.Context, _ *call.Call, in *api.UntagResourceInput) ([]call.Need, error) {
	return s.tagNeeds(ctx, "UntagResource", in.ResourceArn, policy.Keys{"aws:tagkeys": in.TagKeys})
}

func (s *Service) untagResource(ctx context.Context, _ *call.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	if len(in.TagKeys) == 0 {
		return nil, errTagKeysRequired
	}
	for _, k := range in.TagKeys {
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return nil, errSystemTag
		}
	}
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		r, err := findTagged(ctx, tx, in.ResourceArn)
		if err != nil {
			return err
		}
		for _, k := range in.TagKeys {
			if _, err := tx.Exec(ctx, `DELETE FROM codecommit_tag WHERE repository = $1 AND key = $2`, r.ID, k); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) listTagsForResourceNeeds(ctx context.Context, _ *call.Call, in *api.ListTagsForResourceInput) ([]call.Need, error) {
	return s.tagNeeds(ctx, "ListTagsForResource", in.ResourceArn, nil)
}

// listTagsForResource answers with all tags at once: there are at most 50.
func (s *Service) listTagsForResource(ctx context.Context, _ *call.Call, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	out := &api.ListTagsForResourceOutput{Tags: map[string]string{}}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		r, err := findTagged(ctx, tx, in.ResourceArn)
		if err != nil {
			return err
		}
		tags, err := state.List[tag](ctx, tx, `SELECT key, value FROM codecommit_tag WHERE repository = $1`, r.ID)
		for _, t := range tags {
			out.Tags[t.Key] = t.Value
		}
		return err
	})
	return out, err
}
