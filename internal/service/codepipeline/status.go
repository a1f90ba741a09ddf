package codepipeline

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// Types of transitions.
const (
	inbound  = "Inbound"
	outbound = "Outbound"
)

// openSeq opens a token of a list that runs from the newest down.
func openSeq(token string) (int64, error) {
	text, err := openToken(token)
	if err != nil || text == "" {
		return math.MaxInt64, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errToken
	}
	return n, nil
}

func sealSeq(n int64) string { return sealToken(strconv.FormatInt(n, 10)) }

func (s *Service) getPipelineStateNeeds(ctx context.Context, c *call.Call, in *api.GetPipelineStateInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.Name), "GetPipelineState", "")
}

func (s *Service) getPipelineState(ctx context.Context, c *call.Call, in *api.GetPipelineStateInput) (*api.GetPipelineStateOutput, error) {
	out := &api.GetPipelineStateOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.Name).find(ctx, tx)
		if err != nil {
			return err
		}
		out.PipelineName, out.PipelineVersion, out.Created, out.Updated = p.Name, &p.Version, &p.Created, &p.Updated
		out.StageStates = make([]api.StageState, len(p.Declared.Stages))
		for i := range p.Declared.Stages {
			if out.StageStates[i], err = p.stageState(ctx, tx, i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (p *pipeline) stageState(ctx context.Context, tx *state.Tx, index int) (api.StageState, error) {
	declared := &p.Declared.Stages[index]
	st := api.StageState{StageName: declared.Name, ActionStates: []api.ActionState{}}
	latest, err := state.Get[stageRow](ctx, tx, `
		SELECT `+stageColumns+` FROM codepipeline_stage
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND stage = $4 ORDER BY seq DESC LIMIT 1`, p.Account, p.Region, p.Name, declared.Name)
	switch {
	case err == nil:
		st.LatestExecution = &api.StageExecution{PipelineExecutionId: latest.Execution, Status: latest.Status, Type: standard}
		if latest.Attempt > 1 {
			st.RetryStageMetadata = &api.RetryStageMetadata{ManualStageRetryAttempt: new(latest.Attempt - 1), LatestRetryTrigger: "ManualStageRetry"}
		}
	case !errors.Is(err, state.ErrNotFound):
		return st, err
	}
	if err := p.transitionState(ctx, tx, index, &st); err != nil {
		return st, err
	}
	for i := range declared.Actions {
		a, err := p.actionState(ctx, tx, declared, &declared.Actions[i])
		if err != nil {
			return st, err
		}
		st.ActionStates = append(st.ActionStates, a)
	}
	return st, nil
}

// transitionState fills in the entrance of a stage: open or shut, and who
// waits in front of it. The first stage has no transition.
func (p *pipeline) transitionState(ctx context.Context, tx *state.Tx, index int, st *api.StageState) error {
	waiting, err := state.List[string](ctx, tx, `
		SELECT e.id FROM codepipeline_execution e
		WHERE e.account = $1 AND e.region = $2 AND e.pipeline = $3 AND e.status IN ('InProgress', 'Stopping') AND e.stage = $4 AND e.inside = 0
		ORDER BY e.arrived`, p.Account, p.Region, p.Name, index)
	if err != nil {
		return err
	}
	for _, id := range waiting {
		st.InboundExecutions = append(st.InboundExecutions, api.StageExecution{PipelineExecutionId: id, Status: inProgress, Type: standard})
	}
	if len(waiting) > 0 {
		st.InboundExecution = &st.InboundExecutions[len(waiting)-1]
	}
	if index == 0 {
		return nil
	}
	type row struct {
		Enabled   bool      `db:"enabled"`
		Reason    string    `db:"reason"`
		ChangedBy string    `db:"changed_by"`
		Changed   time.Time `db:"changed"`
	}
	t, err := state.Get[row](ctx, tx, `
		SELECT enabled, reason, changed_by, changed FROM codepipeline_transition
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND stage = $4 AND type = $5`, p.Account, p.Region, p.Name, st.StageName, inbound)
	switch {
	case errors.Is(err, state.ErrNotFound):
		st.InboundTransitionState = &api.TransitionState{Enabled: new(true)}
	case err != nil:
		return err
	default:
		st.InboundTransitionState = &api.TransitionState{
			Enabled: &t.Enabled, LastChangedBy: t.ChangedBy, LastChangedAt: &t.Changed, DisabledReason: t.Reason,
		}
	}
	return nil
}

func (p *pipeline) actionState(ctx context.Context, tx *state.Tx, s *api.StageDeclaration, declared *api.ActionDeclaration) (api.ActionState, error) {
	st := api.ActionState{ActionName: declared.Name, EntityUrl: entityURL(p.ref, declared)}
	a, err := state.Get[actionRow](ctx, tx, `
		SELECT `+actionColumns+` FROM codepipeline_action
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND stage = $4 AND action = $5 ORDER BY seq DESC LIMIT 1`,
		p.Account, p.Region, p.Name, s.Name, declared.Name)
	if errors.Is(err, state.ErrNotFound) {
		return st, nil
	}
	if err != nil {
		return st, err
	}
	out, err := a.outcome()
	if err != nil {
		return st, err
	}
	st.LatestExecution = &api.ActionExecution{
		ActionExecutionId: a.ID, Status: a.Status, Summary: cut(out.Summary, 2048), LastStatusChange: &a.Updated, Token: a.Token,
		ExternalExecutionId: out.ExternalID, ExternalExecutionUrl: out.URL, ErrorDetails: out.Error,
	}
	if a.UpdatedBy != p.arn() {
		st.LatestExecution.LastUpdatedBy = a.UpdatedBy
	}
	if r := out.Revision; r != nil {
		st.CurrentRevision = &api.ActionRevision{RevisionId: r.ID, RevisionChangeId: r.ChangeID, Created: new(a.Updated)}
		if !r.Created.IsZero() {
			st.CurrentRevision.Created = &r.Created
		}
		st.RevisionUrl = r.URL
	}
	return st, nil
}

func (s *Service) enableStageTransitionNeeds(ctx context.Context, c *call.Call, in *api.EnableStageTransitionInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.PipelineName), "EnableStageTransition", "/"+in.StageName)
}

func (s *Service) enableStageTransition(ctx context.Context, c *call.Call, in *api.EnableStageTransitionInput) (*api.EnableStageTransitionOutput, error) {
	return nil, s.setTransition(ctx, c, in.PipelineName, in.StageName, in.TransitionType, true, "")
}

func (s *Service) disableStageTransitionNeeds(ctx context.Context, c *call.Call, in *api.DisableStageTransitionInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.PipelineName), "DisableStageTransition", "/"+in.StageName)
}

func (s *Service) disableStageTransition(ctx context.Context, c *call.Call, in *api.DisableStageTransitionInput) (*api.DisableStageTransitionOutput, error) {
	return nil, s.setTransition(ctx, c, in.PipelineName, in.StageName, in.TransitionType, false, in.Reason)
}

func (s *Service) setTransition(ctx context.Context, c *call.Call, name, stage, kind string, enabled bool, reason string) error {
	return s.db.Update(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, name).find(ctx, tx)
		if err != nil {
			return err
		}
		if stageNamed(p.Declared, stage) == nil {
			return errNoStage(p.ref, stage)
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO codepipeline_transition (account, region, pipeline, stage, type, enabled, reason, changed_by, changed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (account, region, pipeline, stage, type) DO UPDATE
			SET enabled = excluded.enabled, reason = excluded.reason, changed_by = excluded.changed_by, changed = excluded.changed`,
			p.Account, p.Region, p.Name, stage, kind, enabled, reason, c.Principal.ARN, c.Time)
		if err != nil {
			return err
		}
		return p.advance(ctx, tx, c.Time)
	})
}

func (s *Service) putApprovalResultNeeds(ctx context.Context, c *call.Call, in *api.PutApprovalResultInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.PipelineName), "PutApprovalResult", "/"+in.StageName+"/"+in.ActionName)
}

func (s *Service) putApprovalResult(ctx context.Context, c *call.Call, in *api.PutApprovalResultInput) (*api.PutApprovalResultOutput, error) {
	if in.Result == nil {
		return nil, aws.Errorf("ValidationException", "The result of the approval is missing")
	}
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.PipelineName).find(ctx, tx)
		if err != nil {
			return err
		}
		st := stageNamed(p.Declared, in.StageName)
		if st == nil {
			return errNoStage(p.ref, in.StageName)
		}
		if a := actionNamed(st, in.ActionName); a == nil || a.ActionTypeId.Category != "Approval" {
			return aws.Errorf("ActionNotFoundException", "Approval action '%s' does not exist in stage '%s' of pipeline '%s'", in.ActionName, in.StageName, p.Name)
		}
		a, err := p.approval(ctx, tx, in)
		if err != nil {
			return err
		}
		status, out := succeeded, actionOutput{Summary: in.Result.Summary}
		if in.Result.Status == "Rejected" {
			status = failed
			out.Error = &api.ErrorDetails{Code: "JobFailed", Message: "The approval was rejected. " + in.Result.Summary}
		}
		return p.finish(ctx, tx, a, status, c.Principal.ARN, out, c.Time)
	})
	if err != nil {
		return nil, err
	}
	return &api.PutApprovalResultOutput{ApprovedAt: &c.Time}, nil
}

// approval finds the action execution that waits for this answer.
func (p ref) approval(ctx context.Context, tx *state.Tx, in *api.PutApprovalResultInput) (*actionRow, error) {
	rows, err := state.List[actionRow](ctx, tx, `
		SELECT `+actionColumns+` FROM codepipeline_action
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND stage = $4 AND action = $5 AND token = $6 AND token <> ''`,
		p.Account, p.Region, p.Name, in.StageName, in.ActionName, in.Token)
	if err != nil {
		return nil, err
	}
	if len(rows) == 1 {
		return &rows[0], nil
	}
	waits, err := state.Get[int](ctx, tx, `
		SELECT COUNT(*) FROM codepipeline_action
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND stage = $4 AND action = $5 AND status = 'InProgress'`,
		p.Account, p.Region, p.Name, in.StageName, in.ActionName)
	if err != nil {
		return nil, err
	}
	if waits == 0 {
		return nil, aws.Errorf("ApprovalAlreadyCompletedException", "Approval action '%s' in stage '%s' of pipeline '%s' is not waiting for an approval: it was already approved, rejected or ended",
			in.ActionName, in.StageName, in.PipelineName)
	}
	return nil, aws.Errorf("InvalidApprovalTokenException", "The approval token is not the one of the approval that waits")
}

// finish records the end of an action that is in progress and goes on from
// there.
func (p ref) finish(ctx context.Context, tx *state.Tx, a *actionRow, status, by string, out actionOutput, now time.Time) error {
	e, err := p.execution(ctx, tx, a.Execution)
	if err != nil {
		return err
	}
	r := &recorder{ref: p, tx: tx, now: now}
	if err := r.endAction(ctx, e, a, status, by, out); err != nil {
		return err
	}
	return p.advance(ctx, tx, now)
}
