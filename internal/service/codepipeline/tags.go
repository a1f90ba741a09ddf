package codepipeline

import (
	"context"
	"encoding/json"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

const maxTags = 50

func decode(text json.RawMessage, v any) error { return json.Unmarshal(text, v) }

// requestTags are the condition keys of tags that a request brings.
func requestTags(tags []api.Tag) policy.Keys {
	if len(tags) == 0 {
		return nil
	}
	keys := policy.Keys{}
	for _, t := range tags {
		keys.AddRequestTag(t.Key, t.Value)
	}
	return keys
}

// checkTags refuses tags that a pipeline with some tags cannot get.
func checkTags(has, more []api.Tag) error {
	all := map[string]bool{}
	for _, t := range has {
		all[t.Key] = true
	}
	twice := map[string]bool{}
	for _, t := range more {
		if strings.HasPrefix(lower(t.Key), "aws:") {
			return aws.Errorf("InvalidTagsException", "Tag key '%s' is reserved: it begins with aws:", t.Key)
		}
		if twice[t.Key] {
			return aws.Errorf("InvalidTagsException", "Tag key '%s' is given twice", t.Key)
		}
		twice[t.Key], all[t.Key] = true, true
	}
	if len(all) > maxTags {
		return aws.Errorf("TooManyTagsException", "The tags limit for a resource has been exceeded: %d", maxTags)
	}
	return nil
}

func (p ref) putTags(ctx context.Context, tx *state.Tx, tags []api.Tag) error {
	for _, t := range tags {
		_, err := tx.Exec(ctx, `
			INSERT INTO codepipeline_tag (account, region, pipeline, key, value) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (account, region, pipeline, key) DO UPDATE SET value = excluded.value`, p.Account, p.Region, p.Name, t.Key, t.Value)
		if err != nil {
			return err
		}
	}
	return nil
}

// tagged names the pipeline that an ARN names.
func tagged(arn string) (ref, error) {
	a, ok := aws.ParseARN(arn)
	if !ok || a.Service != "codepipeline" || a.Region == "" || !aws.IsAccountID(a.Account) || strings.ContainsAny(a.Resource, ":/") {
		return ref{}, aws.Errorf("InvalidArnException", "The resource ARN '%s' is not the ARN of a pipeline", arn)
	}
	return ref{a.Account, a.Region, a.Resource}, nil
}

// tagNeed is one permission on the pipeline an ARN names, with the keys of
// the request's tags.
func (s *Service) tagNeed(ctx context.Context, arn, operation string, request policy.Keys) ([]call.Need, error) {
	p, err := tagged(arn)
	if err != nil {
		return nil, err
	}
	needs, err := s.need(ctx, p, operation, "")
	if err != nil {
		return nil, err
	}
	for name, values := range request {
		if needs[0].Keys == nil {
			needs[0].Keys = policy.Keys{}
		}
		needs[0].Keys[name] = values
	}
	return needs, nil
}

func errNoResource(arn string) *aws.Error {
	return aws.Errorf("ResourceNotFoundException", "The resource '%s' does not exist", arn)
}

// existing names the pipeline an ARN names, if there is one.
func existing(ctx context.Context, tx *state.Tx, arn string) (ref, error) {
	p, err := tagged(arn)
	if err != nil {
		return p, err
	}
	_, err = state.Get[int64](ctx, tx, `SELECT version FROM codepipeline_pipeline WHERE account = $1 AND region = $2 AND name = $3`,
		p.Account, p.Region, p.Name)
	return p, notFound(err, errNoResource(arn))
}

func (s *Service) tagResourceNeeds(ctx context.Context, _ *call.Call, in *api.TagResourceInput) ([]call.Need, error) {
	return s.tagNeed(ctx, in.ResourceArn, "TagResource", requestTags(in.Tags))
}

func (s *Service) tagResource(ctx context.Context, _ *call.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		p, err := existing(ctx, tx, in.ResourceArn)
		if err != nil {
			return err
		}
		has, err := p.tags(ctx, tx)
		if err != nil {
			return err
		}
		if err := checkTags(has, in.Tags); err != nil {
			return err
		}
		return p.putTags(ctx, tx, in.Tags)
	})
}

func (s *Service) untagResourceNeeds(ctx context.Context, _ *call.Call, in *api.UntagResourceInput) ([]call.Need, error) {
	return s.tagNeed(ctx, in.ResourceArn, "UntagResource", policy.Keys{"aws:tagkeys": in.TagKeys})
}

func (s *Service) untagResource(ctx context.Context, _ *call.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		p, err := existing(ctx, tx, in.ResourceArn)
		if err != nil {
			return err
		}
		for _, key := range in.TagKeys {
			_, err := tx.Exec(ctx, `DELETE FROM codepipeline_tag WHERE account = $1 AND region = $2 AND pipeline = $3 AND key = $4`,
				p.Account, p.Region, p.Name, key)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) listTagsForResourceNeeds(ctx context.Context, _ *call.Call, in *api.ListTagsForResourceInput) ([]call.Need, error) {
	return s.tagNeed(ctx, in.ResourceArn, "ListTagsForResource", nil)
}

func (s *Service) listTagsForResource(ctx context.Context, _ *call.Call, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	after, err := openToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	out := &api.ListTagsForResourceOutput{Tags: []api.Tag{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		p, err := existing(ctx, tx, in.ResourceArn)
		if err != nil {
			return err
		}
		tags, err := p.tags(ctx, tx)
		for _, t := range tags {
			if t.Key <= after {
				continue
			}
			if len(out.Tags) == limit {
				out.NextToken = sealToken(out.Tags[limit-1].Key)
				break
			}
			out.Tags = append(out.Tags, t)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
