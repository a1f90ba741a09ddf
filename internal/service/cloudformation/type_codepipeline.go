package cloudformation

import (
	"context"
	"strconv"

	cpapi "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
)

func (q *request) codepipeline() cpapi.Client { return cpapi.Client{Invoker: q.Invoker} }

func pipelineTags(tags []tag) []cpapi.Tag {
	return convert(tags, func(t tag) cpapi.Tag { return cpapi.Tag{Key: t.Key, Value: t.Value} })
}

// pipeline is AWS::CodePipeline::Pipeline. Its properties are spelled like
// the API's shapes in Go, so that they are read into these.
type pipeline struct{}

type pipelineProperties struct {
	ArtifactStore  *cpapi.ArtifactStore
	ArtifactStores []struct {
		Region        string               `cfn:",required"`
		ArtifactStore *cpapi.ArtifactStore `cfn:",required"`
	}
	DisableInboundStageTransitions []stageTransition
	ExecutionMode                  string
	Name                           string
	PipelineType                   string
	RestartExecutionOnUpdate       *bool
	RoleArn                        string                   `cfn:",required"`
	Stages                         []cpapi.StageDeclaration `cfn:",required"`
	Tags                           []tag
	Triggers                       []cpapi.PipelineTriggerDeclaration
	Variables                      []cpapi.PipelineVariableDeclaration
}

type stageTransition struct {
	StageName string `cfn:",required"`
	Reason    string `cfn:",required"`
}

func (p pipelineProperties) declaration(name string) *cpapi.PipelineDeclaration {
	d := &cpapi.PipelineDeclaration{
		Name: name, RoleArn: p.RoleArn, ArtifactStore: p.ArtifactStore, Stages: p.Stages, ExecutionMode: p.ExecutionMode,
		PipelineType: p.PipelineType, Triggers: p.Triggers, Variables: p.Variables,
	}
	if p.ArtifactStores != nil {
		d.ArtifactStores = make(map[string]cpapi.ArtifactStore, len(p.ArtifactStores))
		for _, s := range p.ArtifactStores {
			if s.ArtifactStore != nil {
				d.ArtifactStores[s.Region] = *s.ArtifactStore
			}
		}
	}
	return d
}

func (pipeline) create(ctx context.Context, q *request) error {
	var p pipelineProperties
	if err := q.read(&p); err != nil {
		return err
	}
	d, err := q.createPipeline(ctx, p)
	if err != nil {
		return err
	}
	q.pipelineVersion(d)
	if err := q.exists(ctx, d.Name); err != nil {
		return err
	}
	return q.transitions(ctx, nil, p.DisableInboundStageTransitions)
}

func (q *request) createPipeline(ctx context.Context, p pipelineProperties) (*cpapi.PipelineDeclaration, error) {
	out, err := q.codepipeline().CreatePipeline(ctx, &cpapi.CreatePipelineInput{Pipeline: p.declaration(q.Name), Tags: pipelineTags(p.Tags)})
	if err == nil {
		return out.Pipeline, nil
	}
	if q.Resumed && existing(err) {
		got, e := q.codepipeline().GetPipeline(ctx, &cpapi.GetPipelineInput{Name: q.Name})
		if e == nil && got.Metadata != nil && q.ours(got.Metadata.Created) {
			return got.Pipeline, nil
		}
	}
	return nil, err
}

func (q *request) pipelineVersion(d *cpapi.PipelineDeclaration) {
	if d != nil && d.Version != nil {
		q.Attributes["Version"] = strconv.FormatInt(*d.Version, 10)
	}
}

// transitions brings the disabled transitions from one state to another.
func (q *request) transitions(ctx context.Context, before, after []stageTransition) error {
	name := func(t stageTransition) string { return t.StageName }
	for _, stage := range without(convert(before, name), convert(after, name)) {
		if _, err := q.codepipeline().EnableStageTransition(ctx, &cpapi.EnableStageTransitionInput{
			PipelineName: q.Physical, StageName: stage, TransitionType: "Inbound",
		}); err != nil {
			return err
		}
	}
	for _, t := range after {
		if _, err := q.codepipeline().DisableStageTransition(ctx, &cpapi.DisableStageTransitionInput{
			PipelineName: q.Physical, StageName: t.StageName, TransitionType: "Inbound", Reason: t.Reason,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (pipeline) update(ctx context.Context, q *request) error {
	var before, after pipelineProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	out, err := q.codepipeline().UpdatePipeline(ctx, &cpapi.UpdatePipelineInput{Pipeline: after.declaration(q.Physical)})
	if err != nil {
		return err
	}
	q.pipelineVersion(out.Pipeline)
	if err := q.transitions(ctx, before.DisableInboundStageTransitions, after.DisableInboundStageTransitions); err != nil {
		return err
	}
	if err := q.pipelineTags(ctx, before.Tags, after.Tags); err != nil {
		return err
	}
	if after.RestartExecutionOnUpdate == nil || !*after.RestartExecutionOnUpdate {
		return nil
	}
	_, err = q.codepipeline().StartPipelineExecution(ctx, &cpapi.StartPipelineExecutionInput{
		Name: q.Physical, ClientRequestToken: q.Token,
	})
	return err
}

func (q *request) pipelineTags(ctx context.Context, before, after []tag) error {
	arn := aws.NewARN("codepipeline", q.Stack.Region, q.Stack.Account, q.Physical)
	set, unset := tagChanges(before, after)
	if unset != nil {
		if _, err := q.codepipeline().UntagResource(ctx, &cpapi.UntagResourceInput{ResourceArn: arn, TagKeys: unset}); err != nil {
			return err
		}
	}
	if set == nil {
		return nil
	}
	_, err := q.codepipeline().TagResource(ctx, &cpapi.TagResourceInput{ResourceArn: arn, Tags: pipelineTags(set)})
	return err
}

func (pipeline) remove(ctx context.Context, q *request) error {
	_, err := q.codepipeline().DeletePipeline(ctx, &cpapi.DeletePipelineInput{Name: q.Physical})
	return unlessMissing(err)
}
