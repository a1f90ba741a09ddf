// Package codepipeline is CodePipeline: pipelines that really run. An
// execution is a row that is advanced: each change to it decides, in the same
// transaction, what follows (engine.go), records that, and enqueues the jobs
// that carry it out (action.go), so that a process may die anywhere. An action
// does its work through the door of the checkpoint, in the sessions that AWS
// uses: the service role's, or the action role's assumed by it.
package codepipeline

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the tables of pipelines and their executions.
func Schema() state.Schema { return state.Schema{Name: "codepipeline", Migrations: migrations} }

// Options are settings of the service; the zero value works.
type Options struct {
	// Poll is how often sources that are polled are looked at; 0 means one
	// minute.
	Poll time.Duration
	// Log takes reports of trouble; nil means slog.Default().
	Log *slog.Logger
}

// Service is CodePipeline.
type Service struct {
	db        *state.DB
	door      call.Door
	o         Options
	providers map[providerKey]provider
}

// New returns the service. It reaches other services through door and carries
// out actions as jobs of q.
func New(db *state.DB, door call.Door, q *job.Queue, o Options) *Service {
	if o.Poll <= 0 {
		o.Poll = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Service{db: db, door: door, o: o, providers: providers()}
	q.Handle(actionJob, s.runAction)
	q.Handle(approvalJob, s.expireApproval)
	q.Handle(pollJob, s.poll)
	q.Handle(pruneJob, s.prune)
	return s
}

// Operations is the service's table of contents.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		call.Op("CreatePipeline", s.createPipelineNeeds, s.createPipeline),
		call.Op("GetPipeline", s.getPipelineNeeds, s.getPipeline),
		call.Op("UpdatePipeline", s.updatePipelineNeeds, s.updatePipeline),
		call.Op("DeletePipeline", s.deletePipelineNeeds, s.deletePipeline),
		call.Op("ListPipelines", s.listPipelinesNeeds, s.listPipelines),

		call.Op("StartPipelineExecution", s.startPipelineExecutionNeeds, s.startPipelineExecution),
		call.Op("StopPipelineExecution", s.stopPipelineExecutionNeeds, s.stopPipelineExecution),
		call.Op("RetryStageExecution", s.retryStageExecutionNeeds, s.retryStageExecution),
		call.Op("PutApprovalResult", s.putApprovalResultNeeds, s.putApprovalResult),
		call.Op("EnableStageTransition", s.enableStageTransitionNeeds, s.enableStageTransition),
		call.Op("DisableStageTransition", s.disableStageTransitionNeeds, s.disableStageTransition),

		call.Op("GetPipelineState", s.getPipelineStateNeeds, s.getPipelineState),
		call.Op("GetPipelineExecution", s.getPipelineExecutionNeeds, s.getPipelineExecution),
		call.Op("ListPipelineExecutions", s.listPipelineExecutionsNeeds, s.listPipelineExecutions),
		call.Op("ListActionExecutions", s.listActionExecutionsNeeds, s.listActionExecutions),

		call.Op("TagResource", s.tagResourceNeeds, s.tagResource),
		call.Op("UntagResource", s.untagResourceNeeds, s.untagResource),
		call.Op("ListTagsForResource", s.listTagsForResourceNeeds, s.listTagsForResource),
	}
}

// ref names a pipeline.
type ref struct{ Account, Region, Name string }

// refOf names a pipeline of the caller's account: CodePipeline takes names,
// not ARNs.
func refOf(c *call.Call, name string) ref { return ref{c.Account(), c.Region, name} }

func (p ref) arn() string { return aws.NewARN("codepipeline", p.Region, p.Account, p.Name) }

// need is one permission on the pipeline, or on the stage or action below it
// that path names.
func (s *Service) need(ctx context.Context, p ref, operation, path string) ([]call.Need, error) {
	keys, err := s.tagKeys(ctx, p)
	if err != nil {
		return nil, err
	}
	return []call.Need{{Action: "codepipeline:" + operation, Resource: p.arn() + path, Keys: keys}}, nil
}

// tagKeys are the condition keys of the pipeline's tags.
func (s *Service) tagKeys(ctx context.Context, p ref) (policy.Keys, error) {
	var tags []api.Tag
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		tags, err = p.tags(ctx, tx)
		return err
	})
	if err != nil || len(tags) == 0 {
		return nil, err
	}
	keys := policy.Keys{}
	for _, t := range tags {
		keys[lower("aws:ResourceTag/"+t.Key)] = []string{t.Value}
	}
	return keys, nil
}

// notFound turns a missing row into AWS's answer.
func notFound(err error, answer *aws.Error) error {
	if errors.Is(err, state.ErrNotFound) {
		return answer
	}
	return err
}

func errNoPipeline(p ref) *aws.Error {
	return aws.Errorf("PipelineNotFoundException", "Account '%s' does not have a pipeline with name '%s'", p.Account, p.Name)
}

func errNoExecution(p ref, id string) *aws.Error {
	return aws.Errorf("PipelineExecutionNotFoundException", "Pipeline '%s' does not have an execution with id '%s'", p.Name, id)
}

func errNoStage(p ref, stage string) *aws.Error {
	return aws.Errorf("StageNotFoundException", "Stage '%s' does not exist in pipeline '%s'", stage, p.Name)
}

// encode is a value as its column holds it.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data of our own
	}
	return string(b)
}
