package events

import (
	"context"
	"maps"
	"strings"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/events"
)

const maxTags = 50

// tagKeys are the condition keys of a request that sets tags.
func tagKeys(tags []api.Tag) policy.Keys {
	if len(tags) == 0 {
		return nil
	}
	keys := policy.Keys{}
	for _, t := range tags {
		keys.AddRequestTag(t.Key, t.Value)
	}
	return keys
}

// addResourceTags adds the condition keys of a bus's or rule's tags.
func (s *Service) addResourceTags(ctx context.Context, n *call.Need) error {
	var tags []tag
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		tags, err = tagsOf(ctx, tx, n.Resource)
		return err
	})
	if err != nil || len(tags) == 0 {
		return err
	}
	keys := policy.Keys{}
	maps.Copy(keys, n.Keys)
	for _, t := range tags {
		keys["aws:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
	}
	n.Keys = keys
	return nil
}

// tag is a tag as it is stored.
type tag struct {
	Key   string `db:"key"`
	Value string `db:"value"`
}

func tagsOf(ctx context.Context, tx *state.Tx, arn string) ([]tag, error) {
	return state.List[tag](ctx, tx, `SELECT key, value FROM events_tag WHERE arn = $1 ORDER BY key`, arn)
}

func checkTags(tags []api.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return invalid("Tag keys that begin with aws: are reserved.")
		}
		if seen[t.Key] {
			return invalid("Duplicate tag key %s.", t.Key)
		}
		seen[t.Key] = true
	}
	if len(tags) > maxTags {
		return errLimit
	}
	return nil
}

func putTags(ctx context.Context, tx *state.Tx, arn string, tags []api.Tag) error {
	for _, t := range tags {
		if _, err := tx.Exec(ctx, `
			INSERT INTO events_tag (arn, key, value) VALUES ($1, $2, $3)
			ON CONFLICT (arn, key) DO UPDATE SET value = excluded.value`, arn, t.Key, t.Value); err != nil {
			return err
		}
	}
	return nil
}

func dropTags(ctx context.Context, tx *state.Tx, arn string) error {
	_, err := tx.Exec(ctx, `DELETE FROM events_tag WHERE arn = $1`, arn)
	return err
}

// taggable is a bus or rule, by its ARN.
type taggable struct {
	bus  busRef
	rule *ruleRef
	arn  string
}

func taggableOf(arn string) (taggable, error) {
	if b, ok := busFromARN(arn); ok {
		return taggable{bus: b, arn: b.arn()}, nil
	}
	if r, ok := ruleFromARN(arn); ok {
		return taggable{bus: r.bus, rule: &r, arn: r.arn()}, nil
	}
	return taggable{}, invalid("Parameter ResourceARN is not valid. Reason: Provided Arn is not in correct format.")
}

func (t taggable) check(ctx context.Context, tx *state.Tx) error {
	if t.rule != nil {
		_, err := findRule(ctx, tx, *t.rule)
		return err
	}
	_, err := findBus(ctx, tx, t.bus)
	return err
}

// tagNeed is the permission for an action on the tags of a bus or rule.
func (s *Service) tagNeed(ctx context.Context, c *call.Call, action, arn string, keys policy.Keys) ([]call.Need, error) {
	t, err := taggableOf(arn)
	if err != nil {
		return nil, err
	}
	if t.rule == nil {
		return s.busNeed(ctx, c, action, t.arn, keys)
	}
	n, err := s.ruleNeed(ctx, c, action, t.bus.arn(), t.rule.name, keys)
	return []call.Need{n}, err
}

func (s *Service) tagResourceNeeds(ctx context.Context, c *call.Call, in *api.TagResourceInput) ([]call.Need, error) {
	return s.tagNeed(ctx, c, "events:TagResource", in.ResourceARN, tagKeys(in.Tags))
}

func (s *Service) tagResource(ctx context.Context, _ *call.Call, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	t, err := taggableOf(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		if err := t.check(ctx, tx); err != nil {
			return err
		}
		if err := putTags(ctx, tx, t.arn, in.Tags); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM events_tag WHERE arn = $1`, t.arn)
		if err == nil && n > maxTags {
			return errLimit
		}
		return err
	})
}

func (s *Service) untagResourceNeeds(ctx context.Context, c *call.Call, in *api.UntagResourceInput) ([]call.Need, error) {
	return s.tagNeed(ctx, c, "events:UntagResource", in.ResourceARN, policy.Keys{"aws:tagkeys": in.TagKeys})
}

func (s *Service) untagResource(ctx context.Context, _ *call.Call, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	t, err := taggableOf(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		if err := t.check(ctx, tx); err != nil {
			return err
		}
		for _, key := range in.TagKeys {
			if _, err := tx.Exec(ctx, `DELETE FROM events_tag WHERE arn = $1 AND key = $2`, t.arn, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) listTagsForResourceNeeds(ctx context.Context, c *call.Call, in *api.ListTagsForResourceInput) ([]call.Need, error) {
	return s.tagNeed(ctx, c, "events:ListTagsForResource", in.ResourceARN, nil)
}

func (s *Service) listTagsForResource(ctx context.Context, _ *call.Call, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	t, err := taggableOf(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	var rows []tag
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		if err := t.check(ctx, tx); err != nil {
			return err
		}
		rows, err = tagsOf(ctx, tx, t.arn)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListTagsForResourceOutput{Tags: []api.Tag{}}
	for _, r := range rows {
		out.Tags = append(out.Tags, api.Tag(r))
	}
	return out, nil
}
