package events

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/events"
)

const maxTargets = 5 // of a rule

// target is a target as it is stored.
type target struct {
	ID          string
	ARN         string
	Role        string            `json:",omitempty"`
	Input       string            `json:",omitempty"`
	InputPath   string            `json:",omitempty"`
	Paths       map[string]string `json:",omitempty"`
	Template    string            `json:",omitempty"`
	MaxAttempts *int64            `json:",omitempty"`
	MaxAge      *int64            `json:",omitempty"` // seconds
}

type targetRow struct {
	ID     string `db:"id"`
	Target []byte `db:"target"`
}

func (t target) save(ctx context.Context, tx *state.Tx, of ruleRef) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO events_target (account, region, bus, rule, id, arn, target) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (account, region, bus, rule, id) DO UPDATE SET arn = excluded.arn, target = excluded.target`,
		of.args(t.ID, t.ARN, json.RawMessage(text))...)
	return err
}

// targetsOf reads the targets of a rule by their ids.
func targetsOf(ctx context.Context, tx *state.Tx, of ruleRef) (map[string]target, error) {
	rows, err := state.List[targetRow](ctx, tx, `SELECT id, target FROM events_target WHERE `+ofRule, of.args()...)
	if err != nil {
		return nil, err
	}
	out := map[string]target{}
	for _, r := range rows {
		var t target
		if err := json.Unmarshal(r.Target, &t); err != nil {
			return nil, err
		}
		out[r.ID] = t
	}
	return out, nil
}

func newTarget(in api.Target) target {
	t := target{ID: in.Id, ARN: in.Arn, Role: in.RoleArn, Input: in.Input, InputPath: in.InputPath}
	if x := in.InputTransformer; x != nil {
		t.Paths, t.Template = x.InputPathsMap, x.InputTemplate
	}
	if p := in.RetryPolicy; p != nil {
		t.MaxAttempts, t.MaxAge = p.MaximumRetryAttempts, p.MaximumEventAgeInSeconds
	}
	return t
}

func (t target) answer() api.Target {
	out := api.Target{Id: t.ID, Arn: t.ARN, RoleArn: t.Role, Input: t.Input, InputPath: t.InputPath}
	if t.Template != "" {
		out.InputTransformer = &api.InputTransformer{InputPathsMap: t.Paths, InputTemplate: t.Template}
	}
	if t.MaxAttempts != nil || t.MaxAge != nil {
		out.RetryPolicy = &api.RetryPolicy{MaximumRetryAttempts: t.MaxAttempts, MaximumEventAgeInSeconds: t.MaxAge}
	}
	return out
}

func (s *Service) putTargetsNeeds(ctx context.Context, c *call.Call, in *api.PutTargetsInput) ([]call.Need, error) {
	ref, err := ruleOf(c, in.EventBusName, in.Rule)
	if err != nil {
		return nil, err
	}
	keys := policy.Keys{}
	roles := map[string]bool{}
	var passes []call.Need
	for _, t := range in.Targets {
		keys["events:targetarn"] = append(keys["events:targetarn"], t.Arn)
		if t.RoleArn != "" && !roles[t.RoleArn] {
			roles[t.RoleArn] = true
			passes = append(passes, passRole(t.RoleArn, ref))
		}
	}
	put, err := s.ruleNeed(ctx, c, "events:PutTargets", in.EventBusName, in.Rule, keys)
	return append([]call.Need{put}, passes...), err
}

func (s *Service) putTargets(ctx context.Context, c *call.Call, in *api.PutTargetsInput) (*api.PutTargetsOutput, error) {
	ref, err := ruleOf(c, in.EventBusName, in.Rule)
	if err != nil {
		return nil, err
	}
	if err := s.checkRoles(ctx, c, ref, in.Targets); err != nil {
		return nil, err
	}
	var failed []api.PutTargetsResultEntry
	err = s.db.Update(ctx, func(tx *state.Tx) (err error) {
		failed, err = saveTargets(ctx, tx, ref, in.Targets)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.PutTargetsOutput{FailedEntryCount: new(int64(len(failed))), FailedEntries: failed}, nil
}

// checkRoles asks of each role once whether EventBridge may assume it.
func (s *Service) checkRoles(ctx context.Context, c *call.Call, ref ruleRef, targets []api.Target) error {
	asked := map[string]bool{}
	for _, t := range targets {
		if t.RoleArn == "" || asked[t.RoleArn] {
			continue
		}
		asked[t.RoleArn] = true
		if err := s.checkRole(ctx, c, t.RoleArn, ref); err != nil {
			return err
		}
	}
	return nil
}

// checkRole asks whether EventBridge may assume a role for a rule.
func (s *Service) checkRole(ctx context.Context, c *call.Call, role string, of ruleRef) error {
	_, err := s.assume(ctx, call.AsService(principal, of.bus.region, of.arn()).Within(c.Trace, c.Scope), role)
	if e, ok := errors.AsType[*aws.Error](err); ok && e.Status < 500 {
		return invalid("Provided role '%s' cannot be assumed by principal '%s'.", role, principal)
	}
	return err
}

// saveTargets stores the targets that sekisho can deliver to, and returns the
// others.
func saveTargets(ctx context.Context, tx *state.Tx, ref ruleRef, in []api.Target) ([]api.PutTargetsResultEntry, error) {
	if _, err := findRule(ctx, tx, ref); err != nil {
		return nil, err
	}
	have, err := targetsOf(ctx, tx, ref)
	if err != nil {
		return nil, err
	}
	failed := []api.PutTargetsResultEntry{}
	for _, asked := range in {
		t := newTarget(asked)
		if old, ok := have[t.ID]; ok && old.ARN == t.ARN && t.Role == "" {
			t.Role = old.Role // AWS keeps it, too
		}
		if err := t.check(ref); err != nil {
			return nil, err
		}
		if refusal := undeliverable(ref, asked); refusal != nil {
			failed = append(failed, api.PutTargetsResultEntry{TargetId: t.ID, ErrorCode: refusal.Code, ErrorMessage: refusal.Message})
			continue
		}
		have[t.ID] = t
		if len(have) > maxTargets {
			return nil, errLimit
		}
		if err := t.save(ctx, tx, ref); err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// check refuses what makes AWS refuse the whole request.
func (t target) check(of ruleRef) error {
	a, ok := aws.ParseARN(t.ARN)
	if !ok {
		return invalid("Parameter %s is not valid. Reason: Provided Arn is not in correct format.", t.ARN)
	}
	shapes := 0
	for _, s := range []string{t.Input, t.InputPath, t.Template} {
		if s != "" {
			shapes++
		}
	}
	switch {
	case shapes > 1:
		return invalid("Only one of Input, InputPath, or InputTransformer must be provided for target %s.", t.ID)
	case t.Input != "" && !json.Valid([]byte(t.Input)):
		return invalid("JSON syntax error in input for target %s.", t.ID)
	case t.Role == "" && t.needsRole(of, a):
		return invalid("RoleArn is required for target %s.", t.ARN)
	}
	if t.InputPath != "" {
		if _, ok := parsePath(t.InputPath); !ok {
			return invalid("Invalid InputPath for target %s.", t.ID)
		}
	}
	if t.Template != "" {
		return t.checkTemplate()
	}
	return nil
}

// needsRole reports whether EventBridge reaches a target only in a role.
func (t target) needsRole(of ruleRef, a aws.ARN) bool {
	switch a.Service {
	case "codepipeline":
		return true
	case "events":
		return a.Account != of.bus.account || a.Region != of.bus.region
	}
	return false
}

// undeliverable says why sekisho, or AWS, cannot deliver to a target.
func undeliverable(of ruleRef, t api.Target) *aws.Error {
	a, _ := aws.ParseARN(t.Arn)
	shaped := t.Input != "" || t.InputPath != "" || t.InputTransformer != nil
	_, isBus := busFromARN(t.Arn)
	switch {
	case t.DeadLetterConfig != nil && t.DeadLetterConfig.Arn != "":
		return aws.Errorf("NotImplemented", "sekisho has no SQS, so target %s cannot have the dead-letter queue %s. sekisho keeps undeliverable events itself.", t.Id, t.DeadLetterConfig.Arn)
	case t.KinesisParameters != nil, t.RunCommandParameters != nil, t.EcsParameters != nil, t.BatchParameters != nil,
		t.SqsParameters != nil, t.HttpParameters != nil, t.RedshiftDataParameters != nil, t.SageMakerPipelineParameters != nil, t.AppSyncParameters != nil:
		return invalid("Parameters of another type of target are not valid for target %s.", t.Arn)
	case isBus && shaped && a.Account != of.bus.account:
		return invalid("Input, InputPath and InputTransformer are not available if the target is an event bus of a different AWS account.")
	case isBus && shaped:
		return aws.Errorf("NotImplemented", "sekisho does not shape the input of an event bus (target %s) yet.", t.Id)
	case isBus:
		return nil
	case a.Service == "codepipeline" && !strings.ContainsAny(a.Resource, ":/"):
		if a.Account != of.bus.account || a.Region != of.bus.region {
			return aws.Errorf("AccessDeniedException", "Access to the resource %s is denied. Reason: Adding cross-account target is not permitted.", t.Arn)
		}
		return checkPipelineInput(t, a.Resource)
	}
	return aws.Errorf("NotImplemented", "sekisho does not deliver events to %s targets (%s) yet.", a.Service, t.Arn)
}

// checkPipelineInput refuses constant input that could never start the
// pipeline.
func checkPipelineInput(t api.Target, pipeline string) *aws.Error {
	if t.Input == "" {
		return nil
	}
	_, err := pipelineRequest(pipeline, json.RawMessage(t.Input))
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e
	}
	return nil
}

func (s *Service) removeTargetsNeeds(ctx context.Context, c *call.Call, in *api.RemoveTargetsInput) ([]call.Need, error) {
	n, err := s.ruleNeed(ctx, c, "events:RemoveTargets", in.EventBusName, in.Rule, nil)
	return []call.Need{n}, err
}

// removeTargets removes targets by their ids; an id that is not there is as
// good as removed.
func (s *Service) removeTargets(ctx context.Context, c *call.Call, in *api.RemoveTargetsInput) (*api.RemoveTargetsOutput, error) {
	ref, err := ruleOf(c, in.EventBusName, in.Rule)
	if err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		if _, err := findRule(ctx, tx, ref); err != nil {
			return err
		}
		for _, id := range in.Ids {
			if _, err := tx.Exec(ctx, `DELETE FROM events_target WHERE `+ofRule+` AND id = $5`, ref.args(id)...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.RemoveTargetsOutput{FailedEntryCount: new(int64(0)), FailedEntries: []api.RemoveTargetsResultEntry{}}, nil
}

func (s *Service) listTargetsByRuleNeeds(ctx context.Context, c *call.Call, in *api.ListTargetsByRuleInput) ([]call.Need, error) {
	n, err := s.ruleNeed(ctx, c, "events:ListTargetsByRule", in.EventBusName, in.Rule, nil)
	return []call.Need{n}, err
}

func (s *Service) listTargetsByRule(ctx context.Context, c *call.Call, in *api.ListTargetsByRuleInput) (*api.ListTargetsByRuleOutput, error) {
	ref, err := ruleOf(c, in.EventBusName, in.Rule)
	if err != nil {
		return nil, err
	}
	p, err := pageOf(in.NextToken, in.Limit)
	if err != nil {
		return nil, err
	}
	var rows []targetRow
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		if _, err := findRule(ctx, tx, ref); err != nil {
			return err
		}
		rows, err = state.List[targetRow](ctx, tx, `SELECT id, target FROM events_target WHERE `+ofRule+` AND id > $5 ORDER BY id LIMIT $6`,
			ref.args(p.after, p.limit+1)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	rows, token := cut(p, rows, func(r targetRow) string { return r.ID })
	out := &api.ListTargetsByRuleOutput{Targets: []api.Target{}, NextToken: token}
	for _, r := range rows {
		var t target
		if err := json.Unmarshal(r.Target, &t); err != nil {
			return nil, err
		}
		out.Targets = append(out.Targets, t.answer())
	}
	return out, nil
}
