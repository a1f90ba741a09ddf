package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	// collectJob removes the blobs that rows let go of.
	collectJob = "s3.collect"
	// sweepJob removes the blobs that no row ever came to name, because a
	// process died between the two.
	sweepJob = "s3.sweep"

	sweepEvery = time.Hour
	// sweepAgain is when to enqueue a sweep that could not be.
	sweepAgain = time.Minute
	sweepBatch = 500
)

// Run has the blob store swept from time to time, until ctx ends. What is due
// is collected along with it, should the job for that have been given up. It
// waits for a database that is away.
func (s *Service) Run(ctx context.Context) error {
	for {
		pause := sweepEvery
		err := s.db.Update(ctx, func(tx *state.Tx) error {
			if err := collectAt(ctx, tx, s.now()); err != nil {
				return err
			}
			if err := job.Enqueue(ctx, tx, job.New{Kind: lifecycleJob, Key: "all", RunAt: s.now()}); err != nil {
				return err
			}
			return job.Enqueue(ctx, tx, job.New{Kind: sweepJob, Key: "all", RunAt: s.now()})
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			slog.ErrorContext(ctx, "enqueue the sweep of blobs", "err", err)
			pause = sweepAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// collect removes the blobs that are due, and comes back for the next ones.
func (s *Service) collect(ctx context.Context, _ *job.Job) error {
	for {
		var due []string
		err := s.db.View(ctx, func(tx *state.Tx) (err error) {
			due, err = state.List[string](ctx, tx, `SELECT name FROM s3_blob WHERE due > 0 AND due <= $1 ORDER BY due LIMIT $2`,
				s.now(), sweepBatch)
			return err
		})
		if err != nil {
			return err
		}
		if len(due) == 0 {
			return s.collectLater(ctx)
		}
		if err := s.remove(ctx, due); err != nil {
			return err
		}
	}
}

// remove deletes blobs and then what is known of them; a crash in between has
// them deleted again.
func (s *Service) remove(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := s.blobs.Delete(ctx, name); err != nil {
			return fmt.Errorf("blob %s: %w", name, err)
		}
	}
	return s.db.Update(ctx, func(tx *state.Tx) error {
		for _, name := range names {
			if _, err := tx.Exec(ctx, `DELETE FROM s3_blob WHERE name = $1 AND due > 0`, name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) collectLater(ctx context.Context) error {
	var next int64
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		next, err = state.Get[int64](ctx, tx, `SELECT due FROM s3_blob WHERE due > 0 ORDER BY due LIMIT 1`)
		return err
	})
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return job.Again(state.Time(next))
}

// sweep goes through the blob store and removes what no row names and is old
// enough that none will.
func (s *Service) sweep(ctx context.Context, _ *job.Job) error {
	for after := blobArea; ; {
		page, err := s.blobs.List(ctx, after, sweepBatch)
		if err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}
		if len(page) == 0 || !strings.HasPrefix(page[0].Name, blobArea) {
			return nil
		}
		after = page[len(page)-1].Name
		known, err := s.knownBlobs(ctx, page[0].Name, after)
		if err != nil {
			return err
		}
		for _, info := range page {
			if known[info.Name] || !s.orphan(info) {
				continue
			}
			if err := s.blobs.Delete(ctx, info.Name); err != nil {
				return fmt.Errorf("blob %s: %w", info.Name, err)
			}
		}
	}
}

func (s *Service) orphan(info blob.Info) bool {
	old := info.Modified.Before(s.now().Add(-s.orphanAge)) || info.Modified.Before(s.alone)
	return old && strings.HasPrefix(info.Name, blobArea)
}

func (s *Service) knownBlobs(ctx context.Context, first, last string) (map[string]bool, error) {
	known := map[string]bool{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		names, err := state.List[string](ctx, tx, `SELECT name FROM s3_blob WHERE name >= $1 AND name <= $2`, first, last)
		for _, name := range names {
			known[name] = true
		}
		return err
	})
	return known, err
}
