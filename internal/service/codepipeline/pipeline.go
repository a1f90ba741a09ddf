package codepipeline

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// maxPipelines is AWS's quota of pipelines in an account's region.
const maxPipelines = 1000

// servicePrincipal is who CodePipeline is when it acts as itself.
const servicePrincipal = "codepipeline.amazonaws.com"

// passRole is the permission to hand the service role to CodePipeline.
func passRole(role string, p ref) call.Need {
	return call.Need{Action: "iam:PassRole", Resource: role, Keys: policy.Keys{
		"iam:passedtoservice":       {servicePrincipal},
		"iam:associatedresourcearn": {p.arn()},
	}}
}

func (s *Service) createPipelineNeeds(_ context.Context, c *call.Call, in *api.CreatePipelineInput) ([]call.Need, error) {
	if in.Pipeline == nil {
		return nil, invalidStructure("Pipeline is missing")
	}
	p := refOf(c, in.Pipeline.Name)
	create := call.Need{Action: "codepipeline:CreatePipeline", Resource: p.arn(), Keys: requestTags(in.Tags)}
	needs := []call.Need{create, passRole(in.Pipeline.RoleArn, p)}
	if len(in.Tags) > 0 {
		needs = append(needs, call.Need{Action: "codepipeline:TagResource", Resource: p.arn(), Keys: requestTags(in.Tags)})
	}
	return needs, nil
}

// createPipeline stores a pipeline and starts its first execution, which AWS
// does as well.
func (s *Service) createPipeline(ctx context.Context, c *call.Call, in *api.CreatePipelineInput) (*api.CreatePipelineOutput, error) {
	d := in.Pipeline
	p := refOf(c, d.Name)
	defaults(d)
	d.Version = new(int64(1))
	if err := checkTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if err := s.check(p, d); err != nil {
		return nil, err
	}
	if err := s.checkRoles(ctx, c, p, d); err != nil {
		return nil, err
	}
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		count, err := state.Get[int](ctx, tx, `SELECT COUNT(*) FROM codepipeline_pipeline WHERE account = $1 AND region = $2`, p.Account, p.Region)
		if err != nil {
			return err
		}
		if count >= maxPipelines {
			return aws.Errorf("LimitExceededException", "The number of pipelines in account '%s' has reached its limit of %d", p.Account, maxPipelines)
		}
		n, err := tx.Exec(ctx, `
			INSERT INTO codepipeline_pipeline (account, region, name, version, created, updated) VALUES ($1, $2, $3, 1, $4, $4)
			ON CONFLICT DO NOTHING`, p.Account, p.Region, p.Name, c.Time)
		if err != nil {
			return err
		}
		if n == 0 {
			return aws.Errorf("PipelineNameInUseException", "A pipeline with the name '%s' already exists in account '%s'", p.Name, p.Account)
		}
		if err := p.define(ctx, tx, d); err != nil {
			return err
		}
		if err := p.putTags(ctx, tx, in.Tags); err != nil {
			return err
		}
		if err := s.schedulePoll(ctx, tx, p, d, c.Time); err != nil {
			return err
		}
		if err := schedulePrune(ctx, tx, p); err != nil {
			return err
		}
		_, err = p.start(ctx, tx, d, startRequest{
			id: c.NewID(), at: c.Time, triggerType: "CreatePipeline", triggerDetail: c.Principal.ARN, trace: c.Trace, baseURL: c.BaseURL,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.CreatePipelineOutput{Pipeline: d, Tags: in.Tags}, nil
}

// define stores a version of the definition.
func (p ref) define(ctx context.Context, tx *state.Tx, d *api.PipelineDeclaration) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO codepipeline_definition (account, region, pipeline, version, declaration) VALUES ($1, $2, $3, $4, $5)`,
		p.Account, p.Region, p.Name, *d.Version, encode(d))
	return err
}

// checkRoles makes sure that both kinds of AssumeRole that the pipeline will
// need go now: CodePipeline into the service role, and the service role into
// each action's role.
func (s *Service) checkRoles(ctx context.Context, c *call.Call, p ref, d *api.PipelineDeclaration) error {
	base := call.AsService(servicePrincipal, p.Region, p.arn()).Within(c.Trace, c.Scope)
	base.BaseURL = c.BaseURL
	service, err := s.assume(ctx, base, d.RoleArn, c.Time)
	if err != nil {
		return structureError(err, fmt.Sprintf("CodePipeline is not authorized to perform AssumeRole on role %s", d.RoleArn))
	}
	seen := map[string]bool{}
	for _, st := range d.Stages {
		for _, a := range st.Actions {
			if a.RoleArn == "" || seen[a.RoleArn] {
				continue
			}
			seen[a.RoleArn] = true
			if _, err := s.assume(ctx, service, a.RoleArn, c.Time); err != nil {
				return structureError(err, fmt.Sprintf("%s is not authorized to perform AssumeRole on role %s", d.RoleArn, a.RoleArn))
			}
		}
	}
	return nil
}

// structureError words an answer of STS as CodePipeline does; trouble of our
// own stays what it is.
func structureError(err error, message string) error {
	if _, ok := asError(err); ok {
		return invalidStructure("%s", message)
	}
	return err
}

func (s *Service) getPipelineNeeds(ctx context.Context, c *call.Call, in *api.GetPipelineInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.Name), "GetPipeline", "")
}

func (s *Service) getPipeline(ctx context.Context, c *call.Call, in *api.GetPipelineInput) (*api.GetPipelineOutput, error) {
	out := &api.GetPipelineOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := refOf(c, in.Name).find(ctx, tx)
		if err != nil {
			return err
		}
		out.Pipeline = p.Declared
		out.Metadata = &api.PipelineMetadata{PipelineArn: p.arn(), Created: &p.Created, Updated: &p.Updated}
		if in.Version == nil || *in.Version == p.Version {
			return nil
		}
		out.Pipeline, err = p.definition(ctx, tx, *in.Version)
		return notFound(err, aws.Errorf("PipelineVersionNotFoundException", "Pipeline '%s' does not have a version '%d'", p.Name, *in.Version))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) updatePipelineNeeds(ctx context.Context, c *call.Call, in *api.UpdatePipelineInput) ([]call.Need, error) {
	if in.Pipeline == nil {
		return nil, invalidStructure("Pipeline is missing")
	}
	p := refOf(c, in.Pipeline.Name)
	needs, err := s.need(ctx, p, "UpdatePipeline", "")
	return append(needs, passRole(in.Pipeline.RoleArn, p)), err
}

func (s *Service) updatePipeline(ctx context.Context, c *call.Call, in *api.UpdatePipelineInput) (*api.UpdatePipelineOutput, error) {
	d := in.Pipeline
	p := refOf(c, d.Name)
	exists := func(tx *state.Tx) (*pipeline, error) { return p.find(ctx, tx) }
	if err := s.db.View(ctx, func(tx *state.Tx) error { _, err := exists(tx); return err }); err != nil {
		return nil, err
	}
	defaults(d)
	if err := s.check(p, d); err != nil {
		return nil, err
	}
	if err := s.checkRoles(ctx, c, p, d); err != nil {
		return nil, err
	}
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		old, err := exists(tx)
		if err != nil {
			return err
		}
		d.Version = new(old.Version + 1)
		_, err = tx.Exec(ctx, `
			UPDATE codepipeline_pipeline SET version = $1, updated = $2 WHERE account = $3 AND region = $4 AND name = $5`,
			*d.Version, c.Time, p.Account, p.Region, p.Name)
		if err != nil {
			return err
		}
		if err := p.define(ctx, tx, d); err != nil {
			return err
		}
		if err := s.schedulePoll(ctx, tx, p, d, c.Time); err != nil {
			return err
		}
		return p.outdate(ctx, tx, old.Declared, d, c)
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdatePipelineOutput{Pipeline: d}, nil
}

// outdate ends executions that the new definition leaves no place for: when
// stages or actions came, went or moved, what runs may finish, and the
// execution is cancelled. Others go on under the definition they started with.
func (p ref) outdate(ctx context.Context, tx *state.Tx, before, after *api.PipelineDeclaration, c *call.Call) error {
	if sameStages(before, after) {
		return nil
	}
	_, err := tx.Exec(ctx, `
		UPDATE codepipeline_execution SET stop = 'cancel', summary = $1, updated = $2
		WHERE account = $3 AND region = $4 AND pipeline = $5 AND status = 'InProgress' AND stop = ''`,
		"The pipeline definition was updated.", c.Time, p.Account, p.Region, p.Name)
	if err != nil {
		return err
	}
	return p.advance(ctx, tx, c.Time)
}

func (s *Service) deletePipelineNeeds(ctx context.Context, c *call.Call, in *api.DeletePipelineInput) ([]call.Need, error) {
	return s.need(ctx, refOf(c, in.Name), "DeletePipeline", "")
}

// deletePipeline forgets a pipeline with its history. One that does not exist
// is as good as deleted. Actions that run come to their end unrecorded.
func (s *Service) deletePipeline(ctx context.Context, c *call.Call, in *api.DeletePipelineInput) (*api.DeletePipelineOutput, error) {
	p := refOf(c, in.Name)
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		for _, table := range []string{"execution", "stage", "action", "transition", "tag", "revision", "definition"} {
			_, err := tx.Exec(ctx, `DELETE FROM codepipeline_`+table+` WHERE account = $1 AND region = $2 AND pipeline = $3`, p.Account, p.Region, p.Name)
			if err != nil {
				return err
			}
		}
		for _, kind := range []string{pollJob, pruneJob} {
			if err := job.Cancel(ctx, tx, kind, p.arn()); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `DELETE FROM codepipeline_pipeline WHERE account = $1 AND region = $2 AND name = $3`, p.Account, p.Region, p.Name)
		return err
	})
	return nil, err
}

func (s *Service) listPipelinesNeeds(context.Context, *call.Call, *api.ListPipelinesInput) ([]call.Need, error) {
	return []call.Need{{Action: "codepipeline:ListPipelines", Resource: "*"}}, nil
}

func (s *Service) listPipelines(ctx context.Context, c *call.Call, in *api.ListPipelinesInput) (*api.ListPipelinesOutput, error) {
	after, err := openToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 1000)
	type row struct {
		Name string `db:"name"`
		pipelineRow
	}
	var rows []row
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err = state.List[row](ctx, tx, `
			SELECT p.name, p.version, p.created, p.updated, d.declaration
			FROM codepipeline_pipeline p
			JOIN codepipeline_definition d ON d.account = p.account AND d.region = p.region AND d.pipeline = p.name AND d.version = p.version
			WHERE p.account = $1 AND p.region = $2 AND p.name > $3 ORDER BY p.name LIMIT $4`, c.Account(), c.Region, after, limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListPipelinesOutput{Pipelines: []api.PipelineSummary{}}
	for i, r := range rows {
		if i == limit {
			out.NextToken = sealToken(rows[i-1].Name)
			break
		}
		var d api.PipelineDeclaration
		if err := decode(r.Declaration, &d); err != nil {
			return nil, err
		}
		out.Pipelines = append(out.Pipelines, api.PipelineSummary{
			Name: r.Name, Version: new(r.Version), PipelineType: d.PipelineType, ExecutionMode: d.ExecutionMode,
			Created: new(r.Created), Updated: new(r.Updated),
		})
	}
	return out, nil
}

// pageSize is how many results a page has.
func pageSize(asked *int64, most int) int {
	if asked == nil || *asked < 1 || *asked > int64(most) {
		return most
	}
	return int(*asked)
}

const tokenMark = "v1:"

// sealToken makes a nextToken of the last key of a page.
func sealToken(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenMark + last))
}

// openToken is its inverse; no token is the beginning.
func openToken(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	last, ok := strings.CutPrefix(string(b), tokenMark)
	if err != nil || !ok {
		return "", errToken
	}
	return last, nil
}

var errToken = aws.Errorf("InvalidNextTokenException", "The next token was specified in an invalid format. Make sure that the next token you provide is the token returned by a previous call.")
