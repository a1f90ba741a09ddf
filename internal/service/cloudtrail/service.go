package cloudtrail

import (
	"context"
	"embed"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the tables of the service.
func Schema() state.Schema { return state.Schema{Name: "cloudtrail", Migrations: migrations} }

// Service keeps the record of calls.
type Service struct {
	db        *state.DB
	now       func() time.Time
	ids       sequence
	scheduled atomic.Bool // a pruning job waits
	uses      uses
}

// Options are the optional parts of the service.
type Options struct {
	// Now is the clock of retention; nil means time.Now.
	Now func() time.Time
}

// New returns the service, and registers its job with queue.
func New(db *state.DB, queue *job.Queue, o Options) *Service {
	s := &Service{db: db, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	queue.Handle(jobPrune, s.prune)
	return s
}

// Operations is the service's table of contents.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		call.Op("LookupEvents", s.lookupEventsNeeds, s.lookupEvents),
	}
}

const (
	jobPrune   = "cloudtrail/prune"
	retention  = 90 * 24 * time.Hour
	pruneEvery = time.Hour
	pruneBatch = 2000
)

// schedule sees to it that a pruning job waits; it costs the first record of
// a process only.
func (s *Service) schedule(ctx context.Context, tx *state.Tx) error {
	if s.scheduled.Load() {
		return nil
	}
	tx.AfterCommit(func() { s.scheduled.Store(true) })
	return job.Enqueue(ctx, tx, job.New{Kind: jobPrune, Key: "all", RunAt: s.now().Add(pruneEvery)})
}

// prune drops what is older than the retention, in batches that keep no
// writer waiting.
func (s *Service) prune(ctx context.Context, _ *job.Job) error {
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM cloudtrail_use WHERE at < $1`, s.now().Add(-useLasts))
		return err
	})
	if err != nil {
		return err
	}
	before := firstID(s.now().Add(-retention))
	for {
		var n int64
		err := s.db.Update(ctx, func(tx *state.Tx) (err error) {
			n, err = tx.Exec(ctx, `
				DELETE FROM cloudtrail_event WHERE id IN (SELECT id FROM cloudtrail_event WHERE id < $1 ORDER BY id LIMIT $2)`, before, pruneBatch)
			return err
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if n < pruneBatch {
			return job.Again(s.now().Add(pruneEvery))
		}
	}
}
