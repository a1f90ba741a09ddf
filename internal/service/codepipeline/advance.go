package codepipeline

import (
	"context"
	"slices"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// advance decides what follows from what is recorded of a pipeline, records
// it, and enqueues the jobs that do it. It belongs into every transaction that
// changes something about executions; done twice it does nothing more.
func (p ref) advance(ctx context.Context, tx *state.Tx, now time.Time) error {
	live, err := state.List[execution](ctx, tx, `
		SELECT `+executionColumns+` FROM codepipeline_execution
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND status IN ('InProgress', 'Stopping') ORDER BY seq`, p.Account, p.Region, p.Name)
	if err != nil || len(live) == 0 {
		return err
	}
	r := &recorder{ref: p, tx: tx, now: now, definitions: map[int64]*api.PipelineDeclaration{}, executions: map[string]*execution{}}
	// Executions that started in PARALLEL mode and others know nothing of each
	// other.
	for _, apart := range []bool{false, true} {
		w := &world{mode: superseded}
		for i := range live {
			e := &live[i]
			if (e.Mode == parallel) != apart {
				continue
			}
			if err := r.load(ctx, w, e); err != nil {
				return err
			}
		}
		if len(w.runs) == 0 {
			continue
		}
		if w.closed, err = r.closed(ctx, w); err != nil {
			return err
		}
		for _, s := range advance(w) {
			if err := r.record(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// recorder reads the engine's world from the database and writes its steps.
type recorder struct {
	ref
	tx          *state.Tx
	now         time.Time
	definitions map[int64]*api.PipelineDeclaration
	executions  map[string]*execution
}

func (r *recorder) definitionOf(ctx context.Context, version int64) (*api.PipelineDeclaration, error) {
	if d, ok := r.definitions[version]; ok {
		return d, nil
	}
	d, err := r.definition(ctx, r.tx, version)
	r.definitions[version] = d
	return d, err
}

// load adds an execution to the world.
func (r *recorder) load(ctx context.Context, w *world, e *execution) error {
	d, err := r.definitionOf(ctx, e.Version)
	if err != nil {
		return err
	}
	r.executions[e.ID] = e
	one := &run{id: e.ID, seq: e.Seq, stages: stagesOf(d), at: e.Stage, inside: e.Inside, arrived: e.Arrived, stop: e.Stop}
	w.mode = e.Mode // the newest one's
	w.arrivals = max(w.arrivals, e.Arrived)
	if e.Inside {
		rows, err := r.actionsOf(ctx, r.tx, e.ID)
		if err != nil {
			return err
		}
		one.actions = map[string]string{}
		for _, a := range rows {
			if a.Stage == one.stages[one.at].name && !a.Retried {
				one.actions[a.Action] = a.Status
			}
		}
	}
	w.runs = append(w.runs, one)
	return nil
}

func stagesOf(d *api.PipelineDeclaration) []stage {
	list := make([]stage, len(d.Stages))
	for i, s := range d.Stages {
		list[i].name = s.Name
		for _, a := range s.Actions {
			list[i].actions = append(list[i].actions, action{a.Name, runOrder(&a)})
		}
	}
	return list
}

func runOrder(a *api.ActionDeclaration) int64 {
	if a.RunOrder == nil {
		return 1
	}
	return *a.RunOrder
}

// closed are the stages whose entrance somebody shut, from this side or from
// the stage before.
func (r *recorder) closed(ctx context.Context, w *world) (map[string]bool, error) {
	type row struct {
		Stage string `db:"stage"`
		Type  string `db:"type"`
	}
	rows, err := state.List[row](ctx, r.tx, `
		SELECT stage, type FROM codepipeline_transition
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND enabled = 0`, r.Account, r.Region, r.Name)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	shut := map[string]bool{}
	for _, t := range rows {
		if t.Type == inbound {
			shut[t.Stage] = true
			continue
		}
		for _, one := range w.runs {
			at := slices.IndexFunc(one.stages, func(s stage) bool { return s.name == t.Stage })
			if at >= 0 && at+1 < len(one.stages) {
				shut[one.stages[at+1].name] = true
			}
		}
	}
	return shut, nil
}

// record writes one step with its events and jobs.
func (r *recorder) record(ctx context.Context, s step) error {
	e := r.executions[s.run]
	switch s.kind {
	case enterStage:
		return r.enterStage(ctx, e, s)
	case startAction:
		return r.startAction(ctx, e, s)
	case abandonAction:
		return r.abandonAction(ctx, e, s)
	case endStage:
		return r.endStage(ctx, e, s)
	case moveOn:
		e.Stage, e.Inside, e.Arrived = s.index, false, s.arrived
		return r.save(ctx, e)
	default:
		e.Status, e.Inside = s.status, false
		if err := r.save(ctx, e); err != nil {
			return err
		}
		return r.emitPipeline(ctx, e, s.status, nil)
	}
}

// save writes what the engine changes of an execution.
func (r *recorder) save(ctx context.Context, e *execution) error {
	e.Updated = r.now
	_, err := r.tx.Exec(ctx, `
		UPDATE codepipeline_execution
		SET status = $1, summary = $2, attempt = $3, stage = $4, inside = $5, arrived = $6, stop = $7, stop_reason = $8, updated = $9
		WHERE account = $10 AND region = $11 AND pipeline = $12 AND id = $13`,
		e.Status, e.Summary, e.Attempt, e.Stage, e.Inside, e.Arrived, e.Stop, e.StopReason, e.Updated, r.Account, r.Region, r.Name, e.ID)
	return err
}

func (r *recorder) enterStage(ctx context.Context, e *execution, s step) error {
	e.Inside = true
	if err := r.save(ctx, e); err != nil {
		return err
	}
	_, err := r.tx.Exec(ctx, `
		INSERT INTO codepipeline_stage (account, region, pipeline, execution, stage, seq, status, attempt, started, updated)
		VALUES ($1, $2, $3, $4, $5, $6, 'InProgress', 1, $7, $7)`, r.Account, r.Region, r.Name, e.ID, s.stage, e.Seq, r.now)
	if err != nil {
		return err
	}
	return r.emitStage(ctx, e, s.stage, inProgress, nil)
}

func (r *recorder) endStage(ctx context.Context, e *execution, s step) error {
	_, err := r.tx.Exec(ctx, `
		UPDATE codepipeline_stage SET status = $1, updated = $2
		WHERE account = $3 AND region = $4 AND pipeline = $5 AND execution = $6 AND stage = $7`,
		s.status, r.now, r.Account, r.Region, r.Name, e.ID, s.stage)
	if err != nil {
		return err
	}
	return r.emitStage(ctx, e, s.stage, s.status, nil)
}

// startAction records a new action execution and enqueues its job.
func (r *recorder) startAction(ctx context.Context, e *execution, s step) error {
	d, err := r.definitionOf(ctx, e.Version)
	if err != nil {
		return err
	}
	declared := actionNamed(&d.Stages[s.index], s.action)
	in := actionInput{Declared: declared}
	if in.Inputs, err = r.inputs(ctx, e, declared); err != nil {
		return err
	}
	store := storeOf(d, r.Region)
	for _, o := range declared.OutputArtifacts {
		in.Outputs = append(in.Outputs, api.ArtifactDetail{
			Name:       o.Name,
			S3location: &api.S3Location{Bucket: store.Location, Key: artifactKey(r.Name, o.Name)},
		})
	}
	seq, err := r.next(ctx, r.tx, "codepipeline_action")
	if err != nil {
		return err
	}
	row := &actionRow{
		ID: aws.NewUUID(), Seq: seq, Execution: e.ID, Stage: s.stage, Action: s.action, Version: e.Version, Status: inProgress,
		UpdatedBy: r.arn(), InputRaw: []byte(encode(in)), OutputRaw: []byte("{}"), Started: r.now, Updated: r.now,
	}
	if err := r.insertAction(ctx, row); err != nil {
		return err
	}
	if err := r.emitAction(ctx, e, row, in, actionOutput{}); err != nil {
		return err
	}
	return job.Enqueue(ctx, r.tx, job.New{Kind: actionJob, Key: row.ID, Payload: actionRef{r.ref, row.ID}, MaxAttempts: actionAttempts})
}

func (r *recorder) insertAction(ctx context.Context, a *actionRow) error {
	_, err := r.tx.Exec(ctx, `
		INSERT INTO codepipeline_action (account, region, pipeline, id, seq, execution, stage, action, version, retried, status,
			updated_by, input, output, token, started, updated)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13, '', $14, $14)`,
		r.Account, r.Region, r.Name, a.ID, a.Seq, a.Execution, a.Stage, a.Action, a.Version, a.Status, a.UpdatedBy, a.InputRaw, a.OutputRaw, r.now)
	return err
}

// inputs finds where earlier actions of the execution put an action's input
// artifacts.
func (r *recorder) inputs(ctx context.Context, e *execution, declared *api.ActionDeclaration) ([]api.ArtifactDetail, error) {
	if len(declared.InputArtifacts) == 0 {
		return nil, nil
	}
	rows, err := r.actionsOf(ctx, r.tx, e.ID)
	if err != nil {
		return nil, err
	}
	made := map[string]api.ArtifactDetail{}
	for _, a := range rows {
		out, err := a.outcome()
		if err != nil {
			return nil, err
		}
		if a.Status == succeeded && !a.Retried {
			for _, d := range out.Artifacts {
				made[d.Name] = d
			}
		}
	}
	var list []api.ArtifactDetail
	for _, i := range declared.InputArtifacts {
		if d, ok := made[i.Name]; ok {
			list = append(list, d)
		}
	}
	return list, nil
}

func (r *recorder) abandonAction(ctx context.Context, e *execution, s step) error {
	rows, err := r.actionsOf(ctx, r.tx, e.ID)
	if err != nil {
		return err
	}
	for i := range rows {
		a := &rows[i]
		if a.Stage == s.stage && a.Action == s.action && a.Status == inProgress {
			return r.endAction(ctx, e, a, abandoned, r.arn(), actionOutput{})
		}
	}
	return nil
}

// endAction writes how an action execution ended. It is what fences jobs of
// actions that ended otherwise meanwhile: one that is not in progress stays as
// it is.
func (r *recorder) endAction(ctx context.Context, e *execution, a *actionRow, status, by string, out actionOutput) error {
	a.Status, a.UpdatedBy, a.Updated, a.Token = status, by, r.now, ""
	_, err := r.tx.Exec(ctx, `
		UPDATE codepipeline_action SET status = $1, updated_by = $2, output = $3, input = $4, token = '', updated = $5
		WHERE account = $6 AND region = $7 AND pipeline = $8 AND id = $9`,
		status, by, encode(out), a.InputRaw, r.now, r.Account, r.Region, r.Name, a.ID)
	if err != nil {
		return err
	}
	in, err := a.input()
	if err != nil {
		return err
	}
	return r.emitAction(ctx, e, a, in, out)
}

// actionNamed finds a declared action of a stage; nil if there is none.
func actionNamed(s *api.StageDeclaration, name string) *api.ActionDeclaration {
	for i := range s.Actions {
		if s.Actions[i].Name == name {
			return &s.Actions[i]
		}
	}
	return nil
}

func stageNamed(d *api.PipelineDeclaration, name string) *api.StageDeclaration {
	for i := range d.Stages {
		if d.Stages[i].Name == name {
			return &d.Stages[i]
		}
	}
	return nil
}

// storeOf is the artifact store of a region.
func storeOf(d *api.PipelineDeclaration, region string) api.ArtifactStore {
	if d.ArtifactStore != nil {
		return *d.ArtifactStore
	}
	return d.ArtifactStores[region]
}

// artifactKey makes the key of a new artifact. AWS cuts names short so that
// keys fit into session policies.
func artifactKey(pipeline, artifact string) string {
	return artifactFolder(pipeline) + "/" + artifact[:min(len(artifact), 10)] + "/" + aws.RandomText(7, aws.Alnum)
}

// artifactFolder is where all artifacts of a pipeline lie.
func artifactFolder(pipeline string) string { return pipeline[:min(len(pipeline), 20)] }
