package codepipeline

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/state"
)

func lower(s string) string { return strings.ToLower(s) }

// pipeline is a pipeline with the definition in force.
type pipeline struct {
	ref
	Version  int64
	Created  time.Time
	Updated  time.Time
	Declared *api.PipelineDeclaration
}

type pipelineRow struct {
	Version     int64           `db:"version"`
	Created     time.Time       `db:"created"`
	Updated     time.Time       `db:"updated"`
	Declaration json.RawMessage `db:"declaration"`
}

// find reads a pipeline; version 0 means the definition in force.
func (p ref) find(ctx context.Context, tx *state.Tx) (*pipeline, error) {
	row, err := state.Get[pipelineRow](ctx, tx, `
		SELECT p.version, p.created, p.updated, d.declaration
		FROM codepipeline_pipeline p
		JOIN codepipeline_definition d ON d.account = p.account AND d.region = p.region AND d.pipeline = p.name AND d.version = p.version
		WHERE p.account = $1 AND p.region = $2 AND p.name = $3`, p.Account, p.Region, p.Name)
	if err != nil {
		return nil, notFound(err, errNoPipeline(p))
	}
	found := &pipeline{ref: p, Version: row.Version, Created: row.Created, Updated: row.Updated, Declared: &api.PipelineDeclaration{}}
	return found, json.Unmarshal(row.Declaration, found.Declared)
}

// definition reads one version of a pipeline's definition.
func (p ref) definition(ctx context.Context, tx *state.Tx, version int64) (*api.PipelineDeclaration, error) {
	text, err := state.Get[json.RawMessage](ctx, tx, `
		SELECT declaration FROM codepipeline_definition WHERE account = $1 AND region = $2 AND pipeline = $3 AND version = $4`,
		p.Account, p.Region, p.Name, version)
	if err != nil {
		return nil, err
	}
	d := &api.PipelineDeclaration{}
	return d, json.Unmarshal(text, d)
}

func (p ref) tags(ctx context.Context, tx *state.Tx) ([]api.Tag, error) {
	type row struct {
		Key   string `db:"key"`
		Value string `db:"value"`
	}
	rows, err := state.List[row](ctx, tx, `
		SELECT key, value FROM codepipeline_tag WHERE account = $1 AND region = $2 AND pipeline = $3 ORDER BY key`, p.Account, p.Region, p.Name)
	tags := make([]api.Tag, len(rows))
	for i, r := range rows {
		tags[i] = api.Tag(r)
	}
	return tags, err
}

// execution is one pipeline execution.
type execution struct {
	ID            string          `db:"id"`
	Seq           int64           `db:"seq"`
	Version       int64           `db:"version"`
	Mode          string          `db:"mode"`
	Status        string          `db:"status"`
	Summary       string          `db:"summary"`
	Attempt       int64           `db:"attempt"`
	Stage         int             `db:"stage"`
	Inside        bool            `db:"inside"`
	Arrived       int64           `db:"arrived"`
	Stop          string          `db:"stop"`
	StopReason    string          `db:"stop_reason"`
	TriggerType   string          `db:"trigger_type"`
	TriggerDetail string          `db:"trigger_detail"`
	Variables     json.RawMessage `db:"variables"`
	Overrides     json.RawMessage `db:"overrides"`
	Trace         string          `db:"trace"`
	BaseURL       string          `db:"base_url"`
	Started       time.Time       `db:"started"`
	Updated       time.Time       `db:"updated"`
}

const executionColumns = `id, seq, version, mode, status, summary, attempt, stage, inside, arrived, stop, stop_reason,
	trigger_type, trigger_detail, variables, overrides, trace, base_url, started, updated`

func (p ref) execution(ctx context.Context, tx *state.Tx, id string) (*execution, error) {
	e, err := state.Get[execution](ctx, tx, `
		SELECT `+executionColumns+` FROM codepipeline_execution
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND id = $4`, p.Account, p.Region, p.Name, id)
	if err != nil {
		return nil, notFound(err, errNoExecution(p, id))
	}
	return &e, nil
}

// resolved are the values of the pipeline's variables in this execution.
func (e *execution) resolved() ([]api.ResolvedPipelineVariable, error) {
	var vars []api.ResolvedPipelineVariable
	return vars, json.Unmarshal(e.Variables, &vars)
}

func (e *execution) overridden() ([]api.SourceRevisionOverride, error) {
	var list []api.SourceRevisionOverride
	return list, json.Unmarshal(e.Overrides, &list)
}

// over reports whether the execution has ended.
func (e *execution) over() bool { return e.Status != inProgress && e.Status != stopping }

// stageRow is how one stage went in one execution.
type stageRow struct {
	Execution string    `db:"execution"`
	Stage     string    `db:"stage"`
	Seq       int64     `db:"seq"`
	Status    string    `db:"status"`
	Attempt   int64     `db:"attempt"`
	Started   time.Time `db:"started"`
	Updated   time.Time `db:"updated"`
}

const stageColumns = `execution, stage, seq, status, attempt, started, updated`

// actionRow is one action execution.
type actionRow struct {
	ID        string          `db:"id"`
	Seq       int64           `db:"seq"`
	Execution string          `db:"execution"`
	Stage     string          `db:"stage"`
	Action    string          `db:"action"`
	Version   int64           `db:"version"`
	Retried   bool            `db:"retried"`
	Status    string          `db:"status"`
	UpdatedBy string          `db:"updated_by"`
	InputRaw  json.RawMessage `db:"input"`
	OutputRaw json.RawMessage `db:"output"`
	Token     string          `db:"token"`
	Started   time.Time       `db:"started"`
	Updated   time.Time       `db:"updated"`
}

const actionColumns = `id, seq, execution, stage, action, version, retried, status, updated_by, input, output, token, started, updated`

func (p ref) action(ctx context.Context, tx *state.Tx, id string) (*actionRow, error) {
	a, err := state.Get[actionRow](ctx, tx, `
		SELECT `+actionColumns+` FROM codepipeline_action
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND id = $4`, p.Account, p.Region, p.Name, id)
	return &a, err
}

// actionsOf lists the action executions of one execution, oldest first.
func (p ref) actionsOf(ctx context.Context, tx *state.Tx, execution string) ([]actionRow, error) {
	return state.List[actionRow](ctx, tx, `
		SELECT `+actionColumns+` FROM codepipeline_action
		WHERE account = $1 AND region = $2 AND pipeline = $3 AND execution = $4 ORDER BY seq`, p.Account, p.Region, p.Name, execution)
}

// actionInput is what an action execution began with.
type actionInput struct {
	Declared *api.ActionDeclaration
	Resolved map[string]string `json:",omitempty"`
	Inputs   []api.ArtifactDetail
	// Outputs are where the action puts its artifacts. They are fixed when it
	// starts, so that doing it again writes the same objects.
	Outputs []api.ArtifactDetail
}

func (a *actionRow) input() (in actionInput, err error) {
	return in, json.Unmarshal(a.InputRaw, &in)
}

// actionOutput is what an action execution came to.
type actionOutput struct {
	ExternalID string `json:",omitempty"`
	Summary    string `json:",omitempty"`
	URL        string `json:",omitempty"`
	// Artifacts are those that were really written.
	Artifacts []api.ArtifactDetail `json:",omitempty"`
	Variables map[string]string    `json:",omitempty"`
	Error     *api.ErrorDetails    `json:",omitempty"`
	Revision  *revision            `json:",omitempty"`
}

// revision is what a source action took.
type revision struct {
	ID       string
	Summary  string
	URL      string
	ChangeID string
	Created  time.Time
	// Source says what it is a revision of.
	Source string
}

func (a *actionRow) outcome() (out actionOutput, err error) {
	return out, json.Unmarshal(a.OutputRaw, &out)
}

// next returns the next number of a table's column seq. Its unique index, and
// the database's serializable order, keep two from taking the same one.
func (p ref) next(ctx context.Context, tx *state.Tx, table string) (int64, error) {
	return state.Get[int64](ctx, tx, `
		SELECT COALESCE(MAX(seq), 0) + 1 FROM `+table+` WHERE account = $1 AND region = $2 AND pipeline = $3`, p.Account, p.Region, p.Name)
}
