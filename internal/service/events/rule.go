package events

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/eventpattern"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/events"
)

const (
	enabled  = "ENABLED"
	disabled = "DISABLED"
	maxRules = 300 // on a bus
)

// rule is a rule as it is stored.
type rule struct {
	Account     string `db:"account"`
	Region      string `db:"region"`
	Bus         string `db:"bus"`
	Name        string `db:"name"`
	Pattern     string `db:"pattern"`
	State       string `db:"state"`
	Description string `db:"description"`
	Role        string `db:"role"`
	CreatedBy   string `db:"created_by"`
}

func (r rule) ref() ruleRef { return ruleRef{busRef{r.Account, r.Region, r.Bus}, r.Name} }

const (
	ruleColumns = `account, region, bus, name, pattern, state, description, role, created_by`
	ofRule      = `account = $1 AND region = $2 AND bus = $3 AND rule = $4`
)

// findRule reads a rule of a bus that exists.
func findRule(ctx context.Context, tx *state.Tx, ref ruleRef) (rule, error) {
	if _, err := findBus(ctx, tx, ref.bus); err != nil {
		return rule{}, err
	}
	r, err := state.Get[rule](ctx, tx, `SELECT `+ruleColumns+` FROM events_rule WHERE account = $1 AND region = $2 AND bus = $3 AND name = $4`, ref.args()...)
	if errors.Is(err, state.ErrNotFound) {
		return rule{}, noRule(ref)
	}
	return r, err
}

func (r rule) save(ctx context.Context, tx *state.Tx) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO events_rule (`+ruleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (account, region, bus, name) DO UPDATE
		SET pattern = excluded.pattern, state = excluded.state, description = excluded.description, role = excluded.role`,
		r.Account, r.Region, r.Bus, r.Name, r.Pattern, r.State, r.Description, r.Role, r.CreatedBy)
	return err
}

// ruleNeed is the permission for an action on a rule. The bus's policy may
// let other accounts manage rules.
func (s *Service) ruleNeed(ctx context.Context, c *call.Call, action, bus, name string, keys policy.Keys) (call.Need, error) {
	ref, err := ruleOf(c, bus, name)
	if err != nil {
		return call.Need{}, err
	}
	p, _, err := s.policyOf(ctx, ref.bus)
	if err != nil {
		return call.Need{}, err
	}
	creator, err := s.creator(ctx, c, ref)
	if err != nil {
		return call.Need{}, err
	}
	n := call.Need{Action: action, Resource: ref.arn(), Policy: p, Keys: policy.Keys{"events:creatoraccount": {creator}}}
	maps.Copy(n.Keys, keys)
	return n, s.addResourceTags(ctx, &n)
}

// creator is the account that made a rule, or would.
func (s *Service) creator(ctx context.Context, c *call.Call, ref ruleRef) (string, error) {
	var r rule
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		r, err = findRule(ctx, tx, ref)
		return err
	})
	if _, isMissing := errors.AsType[*aws.Error](err); isMissing {
		return c.Account(), nil
	}
	return r.CreatedBy, err
}

// passRole is the permission to hand a role to EventBridge.
func passRole(role string, of ruleRef) call.Need {
	return call.Need{Action: "iam:PassRole", Resource: role, Keys: policy.Keys{
		"iam:passedtoservice":       {principal},
		"iam:associatedresourcearn": {of.arn()},
	}}
}

func (s *Service) putRuleNeeds(ctx context.Context, c *call.Call, in *api.PutRuleInput) ([]call.Need, error) {
	keys := patternKeys(in.EventPattern)
	for k, v := range tagKeys(in.Tags) {
		keys[k] = v
	}
	put, err := s.ruleNeed(ctx, c, "events:PutRule", in.EventBusName, in.Name, keys)
	if err != nil {
		return nil, err
	}
	needs := []call.Need{put}
	if len(in.Tags) > 0 {
		tagging := put
		tagging.Action = "events:TagResource"
		needs = append(needs, tagging)
	}
	if in.RoleArn != "" {
		ref, _ := ruleOf(c, in.EventBusName, in.Name)
		needs = append(needs, passRole(in.RoleArn, ref))
	}
	return needs, nil
}

// patternKeys are the condition keys that a pattern fills: what it demands of
// a field exactly. A pattern that leaves a field open leaves its key absent.
func patternKeys(text string) policy.Keys {
	keys := policy.Keys{}
	p, err := eventpattern.Parse(text)
	if err != nil {
		return keys // the handler refuses it
	}
	for key, path := range map[string]string{
		"events:source":                          "source",
		"events:detail-type":                     "detail-type",
		"events:detail.service":                  "detail.service",
		"events:detail.eventtypecode":            "detail.eventTypeCode",
		"events:detail.useridentity.principalid": "detail.userIdentity.principalId",
	} {
		if values, ok := p.Strings(strings.Split(path, ".")...); ok {
			keys[key] = values
		}
	}
	return keys
}

// putRule makes a rule, or replaces everything about one but its targets and
// tags: an argument left out is emptied, not kept.
func (s *Service) putRule(ctx context.Context, c *call.Call, in *api.PutRuleInput) (*api.PutRuleOutput, error) {
	ref, err := ruleOf(c, in.EventBusName, in.Name)
	if err != nil {
		return nil, err
	}
	if err := s.checkRule(ctx, c, ref, in); err != nil {
		return nil, err
	}
	r := rule{
		Account: ref.bus.account, Region: ref.bus.region, Bus: ref.bus.name, Name: ref.name,
		Pattern: in.EventPattern, State: in.State, Description: in.Description, Role: in.RoleArn, CreatedBy: c.Account(),
	}
	if r.State == "" {
		r.State = enabled
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error { return r.put(ctx, tx, in.Tags) })
	if err != nil {
		return nil, err
	}
	return &api.PutRuleOutput{RuleArn: ref.arn()}, nil
}

func (s *Service) checkRule(ctx context.Context, c *call.Call, ref ruleRef, in *api.PutRuleInput) error {
	if in.Name == "" {
		return invalid("Parameter Name must be specified.")
	}
	if in.State == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" {
		return notImplemented("State " + in.State + " of a rule")
	}
	if in.ScheduleExpression != "" {
		return notImplemented("ScheduleExpression of a rule")
	}
	if in.EventPattern == "" {
		return invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	if _, err := s.patterns.get(in.EventPattern); err != nil {
		return err
	}
	if err := checkTags(in.Tags); err != nil {
		return err
	}
	if in.RoleArn != "" {
		return s.checkRole(ctx, c, in.RoleArn, ref)
	}
	return nil
}

// put stores a rule; a new one gets tags.
func (r rule) put(ctx context.Context, tx *state.Tx, tags []api.Tag) error {
	_, err := findRule(ctx, tx, r.ref())
	if err == nil {
		return r.save(ctx, tx)
	}
	missing, is := errors.AsType[*aws.Error](err)
	if !is || missing.Message != noRule(r.ref()).Message {
		return err
	}
	n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM events_rule WHERE account = $1 AND region = $2 AND bus = $3`, r.Account, r.Region, r.Bus)
	if err != nil {
		return err
	}
	if n >= maxRules {
		return errLimit
	}
	if err := r.save(ctx, tx); err != nil {
		return err
	}
	return putTags(ctx, tx, r.ref().arn(), tags)
}

func (s *Service) deleteRuleNeeds(ctx context.Context, c *call.Call, in *api.DeleteRuleInput) ([]call.Need, error) {
	n, err := s.ruleNeed(ctx, c, "events:DeleteRule", in.EventBusName, in.Name, nil)
	return []call.Need{n}, err
}

// deleteRule removes a rule without targets. A rule that is not there is as
// good as deleted.
func (s *Service) deleteRule(ctx context.Context, c *call.Call, in *api.DeleteRuleInput) (*api.DeleteRuleOutput, error) {
	ref, err := ruleOf(c, in.EventBusName, in.Name)
	if err != nil {
		return nil, err
	}
	return nil, s.db.Update(ctx, func(tx *state.Tx) error {
		if _, err := findBus(ctx, tx, ref.bus); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM events_target WHERE `+ofRule, ref.args()...)
		if err != nil {
			return err
		}
		if n > 0 {
			return invalid("Rule can't be deleted since it has targets.")
		}
		if _, err := tx.Exec(ctx, `DELETE FROM events_rule WHERE account = $1 AND region = $2 AND bus = $3 AND name = $4`, ref.args()...); err != nil {
			return err
		}
		return dropTags(ctx, tx, ref.arn())
	})
}

func (s *Service) describeRuleNeeds(ctx context.Context, c *call.Call, in *api.DescribeRuleInput) ([]call.Need, error) {
	n, err := s.ruleNeed(ctx, c, "events:DescribeRule", in.EventBusName, in.Name, nil)
	return []call.Need{n}, err
}

func (s *Service) describeRule(ctx context.Context, c *call.Call, in *api.DescribeRuleInput) (*api.DescribeRuleOutput, error) {
	ref, err := ruleOf(c, in.EventBusName, in.Name)
	if err != nil {
		return nil, err
	}
	var r rule
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		r, err = findRule(ctx, tx, ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.DescribeRuleOutput{
		Name: r.Name, Arn: ref.arn(), EventPattern: r.Pattern, State: r.State, Description: r.Description,
		RoleArn: r.Role, EventBusName: r.Bus, CreatedBy: r.CreatedBy,
	}, nil
}

func (s *Service) enableRuleNeeds(ctx context.Context, c *call.Call, in *api.EnableRuleInput) ([]call.Need, error) {
	n, err := s.ruleNeed(ctx, c, "events:EnableRule", in.EventBusName, in.Name, nil)
	return []call.Need{n}, err
}

func (s *Service) enableRule(ctx context.Context, c *call.Call, in *api.EnableRuleInput) (*api.EnableRuleOutput, error) {
	return nil, s.setState(ctx, c, in.EventBusName, in.Name, enabled)
}

func (s *Service) disableRuleNeeds(ctx context.Context, c *call.Call, in *api.DisableRuleInput) ([]call.Need, error) {
	n, err := s.ruleNeed(ctx, c, "events:DisableRule", in.EventBusName, in.Name, nil)
	return []call.Need{n}, err
}

func (s *Service) disableRule(ctx context.Context, c *call.Call, in *api.DisableRuleInput) (*api.DisableRuleOutput, error) {
	return nil, s.setState(ctx, c, in.EventBusName, in.Name, disabled)
}

func (s *Service) setState(ctx context.Context, c *call.Call, bus, name, to string) error {
	ref, err := ruleOf(c, bus, name)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(tx *state.Tx) error {
		r, err := findRule(ctx, tx, ref)
		if err != nil {
			return err
		}
		r.State = to
		return r.save(ctx, tx)
	})
}

// rulesNeed is the permission for an action on the rules of a bus.
func (s *Service) rulesNeed(ctx context.Context, c *call.Call, action, bus string) ([]call.Need, error) {
	ref, err := busOf(c, bus)
	if err != nil {
		return nil, err
	}
	p, _, err := s.policyOf(ctx, ref)
	return []call.Need{{Action: action, Resource: ref.rules(), Policy: p}}, err
}

func (s *Service) listRulesNeeds(ctx context.Context, c *call.Call, in *api.ListRulesInput) ([]call.Need, error) {
	return s.rulesNeed(ctx, c, "events:ListRules", in.EventBusName)
}

func (s *Service) listRules(ctx context.Context, c *call.Call, in *api.ListRulesInput) (*api.ListRulesOutput, error) {
	ref, err := busOf(c, in.EventBusName)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(in.NextToken, in.Limit)
	if err != nil {
		return nil, err
	}
	var list []rule
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		if _, err := findBus(ctx, tx, ref); err != nil {
			return err
		}
		list, err = state.List[rule](ctx, tx, `
			SELECT `+ruleColumns+` FROM events_rule
			WHERE account = $1 AND region = $2 AND bus = $3 AND name > $4 AND name >= $5 AND name < $6 ORDER BY name LIMIT $7`,
			ref.account, ref.region, ref.name, p.after, in.NamePrefix, prefixEnd(in.NamePrefix), p.limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	list, token := cut(p, list, func(r rule) string { return r.Name })
	out := &api.ListRulesOutput{Rules: []api.Rule{}, NextToken: token}
	for _, r := range list {
		out.Rules = append(out.Rules, api.Rule{
			Name: r.Name, Arn: r.ref().arn(), EventPattern: r.Pattern, State: r.State, Description: r.Description,
			RoleArn: r.Role, EventBusName: r.Bus,
		})
	}
	return out, nil
}

func (s *Service) listRuleNamesByTargetNeeds(ctx context.Context, c *call.Call, in *api.ListRuleNamesByTargetInput) ([]call.Need, error) {
	return s.rulesNeed(ctx, c, "events:ListRuleNamesByTarget", in.EventBusName)
}

func (s *Service) listRuleNamesByTarget(ctx context.Context, c *call.Call, in *api.ListRuleNamesByTargetInput) (*api.ListRuleNamesByTargetOutput, error) {
	ref, err := busOf(c, in.EventBusName)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(in.NextToken, in.Limit)
	if err != nil {
		return nil, err
	}
	var names []string
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		if _, err := findBus(ctx, tx, ref); err != nil {
			return err
		}
		names, err = state.List[string](ctx, tx, `
			SELECT DISTINCT rule FROM events_target
			WHERE account = $1 AND region = $2 AND bus = $3 AND arn = $4 AND rule > $5 ORDER BY rule LIMIT $6`,
			ref.account, ref.region, ref.name, in.TargetArn, p.after, p.limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	names, token := cut(p, names, func(n string) string { return n })
	return &api.ListRuleNamesByTargetOutput{RuleNames: names, NextToken: token}, nil
}
