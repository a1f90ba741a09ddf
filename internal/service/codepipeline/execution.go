package codepipeline

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// maxConcurrent is AWS's quota of executions under way in modes QUEUED and
// PARALLEL.
const maxConcurrent = 50

// startRequest is what an execution begins with.
type startRequest struct {
	id            string
	at            time.Time
	triggerType   string
	triggerDetail string
	token         string
	variables     []api.PipelineVariable
	overrides     []api.SourceRevisionOverride
	trace         string
	baseURL       string
}

func (s *Service) startPipelineExecutionNeeds(ctx context.Context, c *call.Call, in *api.StartPipelineExecutionInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.Name), "StartPipelineExecution", "")
}

func (s *Service) startPipelineExecution(ctx context.Context, c *call.Call, in *api.StartPipelineExecutionInput) (*api.StartPipelineExecutionOutput, error) {
	r := startRequest{
		id: c.NewID(), at: c.Time, token: in.ClientRequestToken, variables: in.Variables, overrides: in.SourceRevisions,
		triggerType: "StartPipelineExecution", triggerDetail: c.Principal.ARN, trace: c.Trace, baseURL: c.BaseURL,
	}
	if rule, ok := aws.ParseARN(c.SourceARN); ok && rule.Service == "events" && strings.HasPrefix(rule.Resource, "rule/") {
		r.triggerType, r.triggerDetail = "CloudWatchEvent", c.SourceARN
	}
	var id string
	// Soon enough: the record of the call waits for the disk, and so for this.
	err := s.db.UpdateSoon(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.Name).find(ctx, tx)
		if err != nil {
			return err
		}
		id, err = p.start(ctx, tx, p.Declared, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.StartPipelineExecutionOutput{PipelineExecutionId: id}, nil
}

// start begins an execution and returns its id: the earlier one's when the
// request's token was seen before.
func (p ref) start(ctx context.Context, tx *state.Tx, d *api.PipelineDeclaration, r startRequest) (string, error) {
	if r.token != "" {
		id, err := state.Get[string](ctx, tx, `
			SELECT id FROM codepipeline_execution WHERE account = $1 AND region = $2 AND pipeline = $3 AND token = $4`,
			p.Account, p.Region, p.Name, r.token)
		if !errors.Is(err, state.ErrNotFound) {
			return id, err
		}
	}
	variables, err := resolveVariables(d, r.variables)
	if err != nil {
		return "", err
	}
	if err := checkOverrides(d, r.overrides); err != nil {
		return "", err
	}
	if err := p.room(ctx, tx, d.ExecutionMode); err != nil {
		return "", err
	}
	seq, err := p.next(ctx, tx, "codepipeline_execution")
	if err != nil {
		return "", err
	}
	arrived, err := state.Get[int64](ctx, tx, `
		SELECT COALESCE(MAX(arrived), 0) + 1 FROM codepipeline_execution
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND status IN ('InProgress', 'Stopping')`, p.Account, p.Region, p.Name)
	if err != nil {
		return "", err
	}
	e := &execution{
		ID: r.id, Seq: seq, Version: *d.Version, Mode: d.ExecutionMode, Status: inProgress, Attempt: 1, Arrived: arrived,
		TriggerType: r.triggerType, TriggerDetail: r.triggerDetail, Trace: r.trace, Started: r.at,
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO codepipeline_execution (account, region, pipeline, id, seq, version, mode, status, summary, attempt, stage, inside, arrived,
			stop, stop_reason, trigger_type, trigger_detail, token, variables, overrides, trace, base_url, started, updated)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 'InProgress', '', 1, 0, 0, $8, '', '', $9, $10, $11, $12, $13, $14, $15, $16, $16)`,
		p.Account, p.Region, p.Name, e.ID, e.Seq, e.Version, e.Mode, e.Arrived, e.TriggerType, e.TriggerDetail, r.token,
		encode(variables), encode(r.overrides), e.Trace, r.baseURL, r.at)
	if err != nil {
		return "", err
	}
	rec := &recorder{ref: p, tx: tx, now: r.at}
	err = rec.emitPipeline(ctx, e, inProgress, map[string]any{
		"execution-trigger": map[string]string{"trigger-type": e.TriggerType, "trigger-detail": e.TriggerDetail},
	})
	if err != nil {
		return "", err
	}
	return e.ID, p.advance(ctx, tx, r.at)
}

// room refuses an execution beyond the quota of the modes in which many run at
// once.
func (p ref) room(ctx context.Context, tx *state.Tx, mode string) error {
	if mode == superseded {
		return nil
	}
	n, err := state.Get[int](ctx, tx, `
		SELECT COUNT(*) FROM codepipeline_execution
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND status IN ('InProgress', 'Stopping')`, p.Account, p.Region, p.Name)
	if err == nil && n >= maxConcurrent {
		return aws.Errorf("ConcurrentPipelineExecutionsLimitExceededException",
			"The pipeline '%s' has reached the limit of %d concurrent executions", p.Name, maxConcurrent)
	}
	return err
}

// resolveVariables gives every declared variable a value.
func resolveVariables(d *api.PipelineDeclaration, given []api.PipelineVariable) ([]api.ResolvedPipelineVariable, error) {
	values := map[string]string{}
	for _, v := range given {
		if !slices.ContainsFunc(d.Variables, func(x api.PipelineVariableDeclaration) bool { return x.Name == v.Name }) {
			return nil, aws.Errorf("ValidationException", "Pipeline variable '%s' is not declared in pipeline '%s'", v.Name, d.Name)
		}
		values[v.Name] = v.Value
	}
	var list []api.ResolvedPipelineVariable
	for _, v := range d.Variables {
		value, ok := values[v.Name]
		if !ok {
			value = v.DefaultValue
		}
		if value == "" {
			return nil, aws.Errorf("ValidationException", "Pipeline variable '%s' has no default value and no value was given", v.Name)
		}
		list = append(list, api.ResolvedPipelineVariable{Name: v.Name, ResolvedValue: value})
	}
	return list, nil
}

// checkOverrides refuses source revisions that name no source action or are
// not of its kind.
func checkOverrides(d *api.PipelineDeclaration, list []api.SourceRevisionOverride) error {
	if len(list) > 0 && d.PipelineType != "V2" {
		return aws.Errorf("ValidationException", "Source revision overrides are not supported for pipeline type V1")
	}
	for _, o := range list {
		a := actionNamed(&d.Stages[0], o.ActionName)
		if a == nil {
			return aws.Errorf("ValidationException", "Source revision override names the action '%s', which is no source action of the pipeline", o.ActionName)
		}
		ok := false
		switch o.RevisionType {
		case "COMMIT_ID":
			ok = a.ActionTypeId.Provider == "CodeCommit"
		case "S3_OBJECT_VERSION_ID":
			ok = a.ActionTypeId.Provider == "S3"
		case "S3_OBJECT_KEY":
			ok = a.ActionTypeId.Provider == "S3" && a.Configuration["AllowOverrideForS3ObjectKey"] == "true"
		}
		if !ok {
			return aws.Errorf("ValidationException", "Source action '%s' does not support source revision overrides of type %s", o.ActionName, o.RevisionType)
		}
	}
	return nil
}

func (s *Service) stopPipelineExecutionNeeds(ctx context.Context, c *call.Call, in *api.StopPipelineExecutionInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.PipelineName), "StopPipelineExecution", "")
}

func (s *Service) stopPipelineExecution(ctx context.Context, c *call.Call, in *api.StopPipelineExecutionInput) (*api.StopPipelineExecutionOutput, error) {
	how := stopWait
	if in.Abandon != nil && *in.Abandon {
		how = stopAbandon
	}
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.PipelineName).find(ctx, tx)
		if err != nil {
			return err
		}
		e, err := p.execution(ctx, tx, in.PipelineExecutionId)
		if _, answer := asError(err); answer {
			return aws.Errorf("PipelineExecutionNotStoppableException", "Pipeline execution '%s' of pipeline '%s' does not exist", in.PipelineExecutionId, p.Name)
		}
		if err != nil {
			return err
		}
		switch {
		case e.over():
			return aws.Errorf("PipelineExecutionNotStoppableException",
				"Pipeline execution with id '%s' cannot be stopped because it is not in progress: its status is '%s'", e.ID, e.Status)
		case e.Stop == how || e.Stop == stopAbandon:
			return aws.Errorf("DuplicatedStopRequestException",
				"Pipeline execution with id '%s' is already stopping. Wait for it to stop, or abandon its actions", e.ID)
		}
		r := &recorder{ref: p.ref, tx: tx, now: c.Time}
		first := e.Status == inProgress
		e.Stop, e.StopReason, e.Summary, e.Status = how, in.Reason, in.Reason, stopping
		if err := r.save(ctx, e); err != nil {
			return err
		}
		if first {
			if err := r.emitStopping(ctx, e); err != nil {
				return err
			}
		}
		return p.advance(ctx, tx, c.Time)
	})
	if err != nil {
		return nil, err
	}
	return &api.StopPipelineExecutionOutput{PipelineExecutionId: in.PipelineExecutionId}, nil
}

// emitStopping tells of an execution that stops and of the stage it is in.
func (r *recorder) emitStopping(ctx context.Context, e *execution) error {
	if err := r.emitPipeline(ctx, e, stopping, map[string]any{"stop-execution-comments": e.StopReason}); err != nil || !e.Inside {
		return err
	}
	d, err := r.definition(ctx, r.tx, e.Version)
	if err != nil {
		return err
	}
	name := d.Stages[e.Stage].Name
	_, err = r.tx.Exec(ctx, `
		UPDATE codepipeline_stage SET status = 'Stopping', updated = $1
		WHERE account = $2 AND region = $3 AND pipeline = $4 AND execution = $5 AND stage = $6`, r.now, r.Account, r.Region, r.Name, e.ID, name)
	if err != nil {
		return err
	}
	return r.emitStage(ctx, e, name, stopping, nil)
}

func (s *Service) retryStageExecutionNeeds(ctx context.Context, c *call.Call, in *api.RetryStageExecutionInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.PipelineName), "RetryStageExecution", "/"+in.StageName)
}

// retryStageExecution runs the failed actions of a stage, or all of them,
// again: the same execution goes on.
func (s *Service) retryStageExecution(ctx context.Context, c *call.Call, in *api.RetryStageExecutionInput) (*api.RetryStageExecutionOutput, error) {
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.PipelineName).find(ctx, tx)
		if err != nil {
			return err
		}
		if stageNamed(p.Declared, in.StageName) == nil {
			return errNoStage(p.ref, in.StageName)
		}
		e, err := p.execution(ctx, tx, in.PipelineExecutionId)
		if _, answer := asError(err); answer {
			return notRetryable(in, "the pipeline has no such execution")
		}
		if err != nil {
			return err
		}
		if err := p.retryable(ctx, tx, e, in); err != nil {
			return err
		}
		return p.retry(ctx, tx, e, in, c)
	})
	if err != nil {
		return nil, err
	}
	return &api.RetryStageExecutionOutput{PipelineExecutionId: in.PipelineExecutionId}, nil
}

func notRetryable(in *api.RetryStageExecutionInput, why string) *aws.Error {
	return aws.Errorf("StageNotRetryableException", "Unable to retry. The stage %s of pipeline execution %s cannot be retried: %s", in.StageName, in.PipelineExecutionId, why)
}

// retryable refuses executions that AWS does not retry.
func (p *pipeline) retryable(ctx context.Context, tx *state.Tx, e *execution, in *api.RetryStageExecutionInput) error {
	old, err := p.definition(ctx, tx, e.Version)
	if err != nil {
		return err
	}
	st := stageNamed(old, in.StageName)
	switch {
	case st == nil || old.Stages[e.Stage].Name != in.StageName:
		return notRetryable(in, "the execution did not fail in this stage")
	case e.Status != failed && e.Status != stopped:
		return notRetryable(in, "the execution's status is "+e.Status)
	case !sameStages(old, p.Declared):
		return notRetryable(in, "the structure of the pipeline has changed")
	}
	if _, err := p.stageRow(ctx, tx, e.ID, in.StageName); errors.Is(err, state.ErrNotFound) {
		return notRetryable(in, "the execution did not enter it")
	} else if err != nil {
		return err
	}
	if e.Mode == parallel {
		return nil
	}
	busy, err := state.Get[int](ctx, tx, `
		SELECT COUNT(*) FROM codepipeline_execution
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND status IN ('InProgress', 'Stopping') AND stage = $4 AND inside = 1`,
		p.Account, p.Region, p.Name, e.Stage)
	if err != nil {
		return err
	}
	if busy > 0 {
		return aws.Errorf("ConflictException", "Unable to retry. Another pipeline execution is in stage '%s'", in.StageName)
	}
	newer, err := state.Get[int](ctx, tx, `
		SELECT COUNT(*) FROM codepipeline_stage WHERE account = $1 AND region = $2 AND pipeline = $3 AND stage = $4 AND seq > $5`,
		p.Account, p.Region, p.Name, in.StageName, e.Seq)
	if err == nil && newer > 0 {
		return aws.Errorf("NotLatestPipelineExecutionException",
			"Unable to retry. The pipeline execution '%s' is not the latest one in stage '%s'", e.ID, in.StageName)
	}
	return err
}

func sameStages(a, b *api.PipelineDeclaration) bool {
	return slices.EqualFunc(stagesOf(a), stagesOf(b), func(x, y stage) bool {
		return x.name == y.name && slices.Equal(x.actions, y.actions)
	})
}

func (p ref) stageRow(ctx context.Context, tx *state.Tx, execution, stage string) (stageRow, error) {
	return state.Get[stageRow](ctx, tx, `
		SELECT `+stageColumns+` FROM codepipeline_stage
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND execution = $4 AND stage = $5`, p.Account, p.Region, p.Name, execution, stage)
}

// retry clears the way for actions to run again, and goes on.
func (p *pipeline) retry(ctx context.Context, tx *state.Tx, e *execution, in *api.RetryStageExecutionInput, c *call.Call) error {
	which := ` AND status IN ('Failed', 'Abandoned')`
	if in.RetryMode == "ALL_ACTIONS" {
		which = ""
	}
	n, err := tx.Exec(ctx, `
		UPDATE codepipeline_action SET retried = 1
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND execution = $4 AND stage = $5 AND retried = 0`+which,
		p.Account, p.Region, p.Name, e.ID, in.StageName)
	if err != nil {
		return err
	}
	if n == 0 && e.Status == failed {
		return notRetryable(in, "it has no failed actions")
	}
	_, err = tx.Exec(ctx, `
		UPDATE codepipeline_stage SET status = 'InProgress', attempt = attempt + 1, updated = $1
		WHERE account = $2 AND region = $3 AND pipeline = $4 AND execution = $5 AND stage = $6`,
		c.Time, p.Account, p.Region, p.Name, e.ID, in.StageName)
	if err != nil {
		return err
	}
	r := &recorder{ref: p.ref, tx: tx, now: c.Time}
	e.Status, e.Inside, e.Stop, e.StopReason, e.Summary = inProgress, true, "", "", ""
	e.Attempt++
	if err := r.save(ctx, e); err != nil {
		return err
	}
	if err := r.emitPipeline(ctx, e, resumed, nil); err != nil {
		return err
	}
	if err := r.emitStage(ctx, e, in.StageName, resumed, map[string]any{"stage-last-retry-attempt-time": eventTime(c.Time)}); err != nil {
		return err
	}
	return p.advance(ctx, tx, c.Time)
}

func (s *Service) getPipelineExecutionNeeds(ctx context.Context, c *call.Call, in *api.GetPipelineExecutionInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.PipelineName), "GetPipelineExecution", "")
}

func (s *Service) getPipelineExecution(ctx context.Context, c *call.Call, in *api.GetPipelineExecutionInput) (*api.GetPipelineExecutionOutput, error) {
	var out *api.PipelineExecution
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.PipelineName).find(ctx, tx)
		if err != nil {
			return err
		}
		e, err := p.execution(ctx, tx, in.PipelineExecutionId)
		if err != nil {
			return err
		}
		vars, err := e.resolved()
		if err != nil {
			return err
		}
		out = &api.PipelineExecution{
			PipelineName: p.Name, PipelineVersion: new(e.Version), PipelineExecutionId: e.ID, Status: e.Status, StatusSummary: e.Summary,
			Variables: vars, Trigger: &api.ExecutionTrigger{TriggerType: e.TriggerType, TriggerDetail: e.TriggerDetail},
			ExecutionMode: e.Mode, ExecutionType: standard,
		}
		out.ArtifactRevisions, err = p.artifactRevisions(ctx, tx, e.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.GetPipelineExecutionOutput{PipelineExecution: out}, nil
}

// standard is the type of executions that are no rollback.
const standard = "STANDARD"

// artifactRevisions are the revisions that the sources of an execution took.
func (p ref) artifactRevisions(ctx context.Context, tx *state.Tx, execution string) ([]api.ArtifactRevision, error) {
	list := []api.ArtifactRevision{}
	err := p.eachRevision(ctx, tx, execution, func(a *actionRow, out actionOutput) {
		r := api.ArtifactRevision{
			RevisionId: out.Revision.ID, RevisionChangeIdentifier: out.Revision.ChangeID, RevisionSummary: cut(out.Revision.Summary, 2048),
			RevisionUrl: out.Revision.URL,
		}
		if !out.Revision.Created.IsZero() {
			r.Created = &out.Revision.Created
		}
		for _, artifact := range out.Artifacts {
			r.Name = artifact.Name
			list = append(list, r)
		}
	})
	return list, err
}

func (p ref) eachRevision(ctx context.Context, tx *state.Tx, execution string, do func(*actionRow, actionOutput)) error {
	rows, err := p.actionsOf(ctx, tx, execution)
	if err != nil {
		return err
	}
	for i := range rows {
		out, err := rows[i].outcome()
		if err != nil {
			return err
		}
		if out.Revision != nil && !rows[i].Retried {
			do(&rows[i], out)
		}
	}
	return nil
}

// cut shortens text to n bytes at a character's edge.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

func (s *Service) listPipelineExecutionsNeeds(ctx context.Context, c *call.Call, in *api.ListPipelineExecutionsInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.PipelineName), "ListPipelineExecutions", "")
}

func (s *Service) listPipelineExecutions(ctx context.Context, c *call.Call, in *api.ListPipelineExecutionsInput) (*api.ListPipelineExecutionsOutput, error) {
	before, err := openSeq(in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	stage := ""
	if in.Filter != nil && in.Filter.SucceededInStage != nil {
		stage = in.Filter.SucceededInStage.StageName
	}
	out := &api.ListPipelineExecutionsOutput{PipelineExecutionSummaries: []api.PipelineExecutionSummary{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.PipelineName).find(ctx, tx)
		if err != nil {
			return err
		}
		rows, err := state.List[execution](ctx, tx, `
			SELECT `+executionColumns+` FROM codepipeline_execution e
			WHERE account = $1 AND region = $2 AND pipeline = $3 AND seq < $4
			AND ($5 = '' OR EXISTS (SELECT 1 FROM codepipeline_stage s
				WHERE s.account = e.account AND s.region = e.region AND s.pipeline = e.pipeline AND s.execution = e.id AND s.stage = $5 AND s.status = 'Succeeded'))
			ORDER BY seq DESC LIMIT $6`, p.Account, p.Region, p.Name, before, stage, limit+1)
		if err != nil {
			return err
		}
		for i := range rows {
			if i == limit {
				out.NextToken = sealSeq(rows[i-1].Seq)
				break
			}
			summary, err := p.summary(ctx, tx, &rows[i])
			if err != nil {
				return err
			}
			out.PipelineExecutionSummaries = append(out.PipelineExecutionSummaries, summary)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (p ref) summary(ctx context.Context, tx *state.Tx, e *execution) (api.PipelineExecutionSummary, error) {
	s := api.PipelineExecutionSummary{
		PipelineExecutionId: e.ID, Status: e.Status, StatusSummary: e.Summary, StartTime: &e.Started, LastUpdateTime: &e.Updated,
		SourceRevisions: []api.SourceRevision{}, ExecutionMode: e.Mode, ExecutionType: standard,
		Trigger: &api.ExecutionTrigger{TriggerType: e.TriggerType, TriggerDetail: e.TriggerDetail},
	}
	if e.Stop == stopWait || e.Stop == stopAbandon {
		s.StopTrigger = &api.StopExecutionTrigger{Reason: e.StopReason}
	}
	err := p.eachRevision(ctx, tx, e.ID, func(a *actionRow, out actionOutput) {
		s.SourceRevisions = append(s.SourceRevisions, api.SourceRevision{
			ActionName: a.Action, RevisionId: out.Revision.ID, RevisionSummary: cut(out.Revision.Summary, 2048), RevisionUrl: out.Revision.URL,
		})
	})
	return s, err
}

func (s *Service) listActionExecutionsNeeds(ctx context.Context, c *call.Call, in *api.ListActionExecutionsInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.PipelineName), "ListActionExecutions", "")
}

func (s *Service) listActionExecutions(ctx context.Context, c *call.Call, in *api.ListActionExecutionsInput) (*api.ListActionExecutionsOutput, error) {
	before, err := openSeq(in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	one, onlyLatest, err := actionFilter(in.Filter)
	if err != nil {
		return nil, err
	}
	out := &api.ListActionExecutionsOutput{ActionExecutionDetails: []api.ActionExecutionDetail{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.PipelineName).find(ctx, tx)
		if err != nil {
			return err
		}
		if one != "" {
			if _, err := p.execution(ctx, tx, one); err != nil {
				return err
			}
		}
		rows, err := state.List[actionRow](ctx, tx, `
			SELECT `+actionColumns+` FROM codepipeline_action
			WHERE account = $1 AND region = $2 AND pipeline = $3 AND seq < $4 AND ($5 = '' OR execution = $5) AND retried <= $6
			ORDER BY seq DESC LIMIT $7`, p.Account, p.Region, p.Name, before, one, !onlyLatest, limit+1)
		if err != nil {
			return err
		}
		for i := range rows {
			if i == limit {
				out.NextToken = sealSeq(rows[i-1].Seq)
				break
			}
			d, err := rows[i].detail(p.Region)
			if err != nil {
				return err
			}
			out.ActionExecutionDetails = append(out.ActionExecutionDetails, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// actionFilter takes a filter apart: one execution, and whether only what no
// retry replaced is wanted.
func actionFilter(f *api.ActionExecutionFilter) (execution string, latest bool, err error) {
	switch {
	case f == nil:
		return "", false, nil
	case f.LatestInPipelineExecution == nil:
		return f.PipelineExecutionId, false, nil
	case f.PipelineExecutionId != "":
		return "", false, aws.Errorf("ValidationException", "The filter takes one of pipelineExecutionId and latestInPipelineExecution")
	}
	l := f.LatestInPipelineExecution
	return l.PipelineExecutionId, l.StartTimeRange == "Latest", nil
}

func (a *actionRow) detail(region string) (api.ActionExecutionDetail, error) {
	in, err := a.input()
	if err != nil {
		return api.ActionExecutionDetail{}, err
	}
	out, err := a.outcome()
	if err != nil {
		return api.ActionExecutionDetail{}, err
	}
	if in.Declared.Region != "" {
		region = in.Declared.Region
	}
	d := api.ActionExecutionDetail{
		PipelineExecutionId: a.Execution, ActionExecutionId: a.ID, PipelineVersion: new(a.Version), StageName: a.Stage, ActionName: a.Action,
		StartTime: &a.Started, LastUpdateTime: &a.Updated, UpdatedBy: a.UpdatedBy, Status: a.Status,
		Input: &api.ActionExecutionInput{
			ActionTypeId: in.Declared.ActionTypeId, Configuration: in.Declared.Configuration, ResolvedConfiguration: in.Resolved,
			RoleArn: in.Declared.RoleArn, Region: region, InputArtifacts: nonNil(in.Inputs), Namespace: in.Declared.Namespace,
		},
	}
	d.Output = &api.ActionExecutionOutput{OutputArtifacts: nonNil(out.Artifacts), OutputVariables: out.Variables}
	if a.Status != inProgress {
		d.Output.ExecutionResult = &api.ActionExecutionResult{
			ExternalExecutionId: out.ExternalID, ExternalExecutionSummary: out.Summary, ExternalExecutionUrl: out.URL, ErrorDetails: out.Error,
		}
	}
	return d, nil
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
