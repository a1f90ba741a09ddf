package codepipeline

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	pruneJob = "codepipeline/prune"
	// history is how long executions that ended are remembered, as on AWS.
	history    = 365 * 24 * time.Hour
	pruneEvery = 24 * time.Hour
	pruneBatch = 500
)

// schedulePrune has a pipeline's history looked through once a day.
func schedulePrune(ctx context.Context, tx *state.Tx, p ref) error {
	return job.Enqueue(ctx, tx, job.New{Kind: pruneJob, Key: p.arn(), Payload: p, RunAt: time.Now().Add(pruneEvery)})
}

// prune forgets executions that ended long ago, with their stages and actions.
func (s *Service) prune(ctx context.Context, j *job.Job) error {
	var p ref
	if err := json.Unmarshal(j.Payload, &p); err != nil {
		return job.Dead(err)
	}
	for {
		n, exists, err := s.pruneSome(ctx, p, time.Now().Add(-history))
		if err != nil || !exists {
			return err
		}
		if n < pruneBatch {
			return job.Again(time.Now().Add(pruneEvery))
		}
	}
}

// pruneSome forgets a batch; it reports how many there were, and whether the
// pipeline still exists.
func (s *Service) pruneSome(ctx context.Context, p ref, before time.Time) (n int, exists bool, err error) {
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		exists = false
		if _, err := existing(ctx, tx, p.arn()); err != nil {
			return notFoundIsFine(err)
		}
		exists = true
		old, err := state.List[string](ctx, tx, `
			SELECT id FROM codepipeline_execution
			WHERE account = $1 AND region = $2 AND pipeline = $3 AND updated < $4 AND status NOT IN ('InProgress', 'Stopping')
			ORDER BY seq LIMIT $5`, p.Account, p.Region, p.Name, before, pruneBatch)
		n = len(old)
		if err != nil {
			return err
		}
		for _, id := range old {
			if err := p.forget(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	return n, exists, err
}

// notFoundIsFine drops the answer that a pipeline does not exist.
func notFoundIsFine(err error) error {
	if e, ok := asError(err); ok && e.Code == "ResourceNotFoundException" {
		return nil
	}
	return err
}

// forget removes one execution.
func (p ref) forget(ctx context.Context, tx *state.Tx, id string) error {
	for _, where := range []string{"action WHERE execution = $4", "stage WHERE execution = $4", "execution WHERE id = $4"} {
		_, err := tx.Exec(ctx, `DELETE FROM codepipeline_`+where+` AND account = $1 AND region = $2 AND pipeline = $3`, p.Account, p.Region, p.Name, id)
		if err != nil {
			return err
		}
	}
	return nil
}
