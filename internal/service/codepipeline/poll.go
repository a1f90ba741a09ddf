package codepipeline

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	codecommitapi "github.com/sekisho/sekisho/internal/api/codecommit"
	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// polled are the source actions of a pipeline that are to be polled, which is
// the default.
func polled(d *api.PipelineDeclaration) []*api.ActionDeclaration {
	var list []*api.ActionDeclaration
	for i := range d.Stages[0].Actions {
		a := &d.Stages[0].Actions[i]
		if a.Configuration["PollForSourceChanges"] != "false" {
			list = append(list, a)
		}
	}
	return list
}

// schedulePoll starts or ends the polling of a pipeline's sources.
func (s *Service) schedulePoll(ctx context.Context, tx *state.Tx, p ref, d *api.PipelineDeclaration, now time.Time) error {
	if len(polled(d)) == 0 {
		return job.Cancel(ctx, tx, pollJob, p.arn())
	}
	return job.Enqueue(ctx, tx, job.New{Kind: pollJob, Key: p.arn(), Payload: p, RunAt: now.Add(s.o.Poll)})
}

// take records the newest revision a source action took.
func (p ref) take(ctx context.Context, tx *state.Tx, action string, r *revision, now time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO codepipeline_revision (account, region, pipeline, action, source, revision, taken) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (account, region, pipeline, action) DO UPDATE
		SET source = excluded.source, revision = excluded.revision, taken = excluded.taken`,
		p.Account, p.Region, p.Name, action, r.Source, r.ID, now)
	return err
}

type takenRow struct {
	Action   string `db:"action"`
	Source   string `db:"source"`
	Revision string `db:"revision"`
}

// poll looks whether a source has a revision that was not taken yet, starts an
// execution if so, and looks again later.
func (s *Service) poll(ctx context.Context, j *job.Job) error {
	var at ref
	if err := json.Unmarshal(j.Payload, &at); err != nil {
		return job.Dead(err)
	}
	var p *pipeline
	taken := map[string]takenRow{}
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		if p, err = at.find(ctx, tx); err != nil {
			return err
		}
		rows, err := state.List[takenRow](ctx, tx, `
			SELECT action, source, revision FROM codepipeline_revision WHERE account = $1 AND region = $2 AND pipeline = $3`,
			at.Account, at.Region, at.Name)
		for _, r := range rows {
			taken[r.Action] = r
		}
		return err
	})
	if e, ok := asError(err); ok && e.Code == "PipelineNotFoundException" {
		return nil
	}
	if err != nil {
		return err
	}
	sources := polled(p.Declared)
	if len(sources) == 0 {
		return nil
	}
	for _, a := range sources {
		now, err := s.newest(ctx, p, a)
		if err != nil {
			// The action says so when it runs; here it would be said every minute.
			s.o.Log.DebugContext(ctx, "poll", "pipeline", at.arn(), "action", a.Name, "err", err)
			continue
		}
		before, ok := taken[a.Name]
		if !ok || before.Source != now.Source {
			// What there was when the pipeline was made is its first
			// execution's; what comes from now on is news.
			err := s.db.Update(ctx, func(tx *state.Tx) error {
				if _, err := p.find(ctx, tx); err != nil {
					return err // deleted meanwhile
				}
				return p.take(ctx, tx, a.Name, now, time.Now())
			})
			if err != nil {
				return err
			}
			continue
		}
		if before.Revision == now.ID {
			continue
		}
		if err := s.startPolled(ctx, p, a, before, now); err != nil {
			return err
		}
		break // one execution takes the news of all sources
	}
	return job.Again(time.Now().Add(s.o.Poll))
}

// startPolled starts an execution for a revision and remembers that it did, so
// that one revision starts one execution, also when its source action fails.
func (s *Service) startPolled(ctx context.Context, p *pipeline, a *api.ActionDeclaration, before takenRow, r *revision) error {
	now := time.Now().UTC()
	return s.db.Update(ctx, func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, `
			UPDATE codepipeline_revision SET revision = $1, taken = $2
			WHERE account = $3 AND region = $4 AND pipeline = $5 AND action = $6 AND source = $7 AND revision = $8`,
			r.ID, now, p.Account, p.Region, p.Name, a.Name, before.Source, before.Revision)
		if err != nil || n == 0 {
			return err // taken meanwhile, or the pipeline is gone
		}
		p, err := p.find(ctx, tx)
		if err != nil {
			return err
		}
		_, err = p.start(ctx, tx, p.Declared, startRequest{
			id: aws.NewUUID(), at: now, triggerType: "PollForSourceChanges", triggerDetail: a.Name, trace: aws.NewUUID(),
		})
		return err
	})
}

// newest is the revision a source has now, seen with the action's credentials.
func (s *Service) newest(ctx context.Context, p *pipeline, a *api.ActionDeclaration) (*revision, error) {
	w := &work{service: s, pipeline: p.ref, declared: a, role: p.Declared.RoleArn, execution: &execution{}}
	invoker, err := w.invoker(ctx, w.pipeline.Region)
	if err != nil {
		return nil, err
	}
	c := a.Configuration
	switch a.ActionTypeId.Provider {
	case "CodeCommit":
		id, err := head(ctx, codecommitapi.Client{Invoker: invoker}, c["RepositoryName"], c["BranchName"])
		return &revision{ID: id, Source: c["RepositoryName"] + " " + c["BranchName"]}, err
	case "S3":
		got, err := s3api.Client{Invoker: invoker}.HeadObject(ctx, &s3api.HeadObjectInput{Bucket: c["S3Bucket"], Key: c["S3ObjectKey"]})
		if err != nil {
			return nil, err
		}
		return &revision{ID: got.VersionId, Source: c["S3Bucket"] + " " + c["S3ObjectKey"]}, nil
	}
	return nil, errors.New("this source is not polled")
}
