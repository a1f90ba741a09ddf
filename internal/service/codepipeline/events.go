package codepipeline

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
)

// float prints a number as CodePipeline's events do: 1.0.
type float int64

// MarshalJSON writes the number with one digit after the point.
func (f float) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(f), 'f', 1, 64), nil
}

// stateWords are the words of events for statuses of the API.
var stateWords = map[string]string{
	inProgress: "STARTED", stopping: "STOPPING", stopped: "STOPPED", succeeded: "SUCCEEDED", supersededRun: "SUPERSEDED",
	failed: "FAILED", cancelled: "CANCELED", abandoned: "ABANDONED", resumed: "RESUMED",
}

// resumed is no status of the API, only of events.
const resumed = "Resumed"

func eventTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// detail are the fields that all events share.
func (r *recorder) detail(e *execution, status string) map[string]any {
	return map[string]any{
		"pipeline":                   r.Name,
		"execution-id":               e.ID,
		"start-time":                 eventTime(e.Started),
		"state":                      stateWords[status],
		"version":                    float(e.Version),
		"pipeline-execution-attempt": float(e.Attempt),
	}
}

func (r *recorder) emit(ctx context.Context, e *execution, what string, detail map[string]any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	return r.tx.Emit(ctx, aws.Event{
		ID: aws.NewUUID(), Account: r.Account, Region: r.Region, Source: "aws.codepipeline",
		DetailType: "CodePipeline " + what + " Execution State Change", Time: r.now, Resources: []string{r.arn()},
		Detail: text, Trace: e.Trace,
	})
}

// emitPipeline emits a change of an execution; more are further fields.
func (r *recorder) emitPipeline(ctx context.Context, e *execution, status string, more map[string]any) error {
	d := r.detail(e, status)
	for k, v := range more {
		d[k] = v
	}
	return r.emit(ctx, e, "Pipeline", d)
}

func (r *recorder) emitStage(ctx context.Context, e *execution, stage, status string, more map[string]any) error {
	d := r.detail(e, status)
	d["stage"] = stage
	for k, v := range more {
		d[k] = v
	}
	return r.emit(ctx, e, "Stage", d)
}

type eventArtifact struct {
	Name       string `json:"name"`
	S3location struct {
		Bucket string `json:"bucket"`
		Key    string `json:"key"`
	} `json:"s3location"`
}

func eventArtifacts(list []api.ArtifactDetail) []eventArtifact {
	out := make([]eventArtifact, len(list))
	for i, a := range list {
		out[i].Name = a.Name
		if a.S3location != nil {
			out[i].S3location.Bucket, out[i].S3location.Key = a.S3location.Bucket, a.S3location.Key
		}
	}
	return out
}

// emitAction emits the state that an action execution came to.
func (r *recorder) emitAction(ctx context.Context, e *execution, a *actionRow, in actionInput, out actionOutput) error {
	t := in.Declared.ActionTypeId
	d := r.detail(e, a.Status)
	d["stage"], d["action"], d["action-execution-id"] = a.Stage, a.Action, a.ID
	d["region"] = r.Region
	if in.Declared.Region != "" {
		d["region"] = in.Declared.Region
	}
	d["type"] = map[string]string{"owner": t.Owner, "provider": t.Provider, "category": t.Category, "version": t.Version}
	switch a.Status {
	case inProgress:
		d["input-artifacts"] = eventArtifacts(in.Inputs)
	case succeeded:
		d["output-artifacts"] = eventArtifacts(out.Artifacts)
		d["execution-result"] = result(out)
	case failed:
		d["execution-result"] = result(out)
	}
	return r.emit(ctx, e, "Action", d)
}

// result is the execution-result of an action's event.
func result(out actionOutput) map[string]string {
	m := map[string]string{}
	for k, v := range map[string]string{
		"external-execution-url": out.URL, "external-execution-summary": out.Summary, "external-execution-id": out.ExternalID,
	} {
		if v != "" {
			m[k] = v
		}
	}
	if out.Error != nil {
		m["error-code"] = out.Error.Code
		if m["external-execution-summary"] == "" {
			m["external-execution-summary"] = out.Error.Message
		}
	}
	return m
}
