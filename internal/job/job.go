// Package job is durable background work: a row is inserted in the transaction
// of the state that needs the work, and some process carries it out, again
// when it fails or dies, until it is done.
package job

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the tables of jobs.
func Schema() state.Schema { return state.Schema{Name: "job", Migrations: migrations} }

// New is a job to be done.
type New struct {
	// Kind says who does it.
	Kind string
	// Key, when not empty, names what the job is about. Of one kind and key at
	// most one job waits and at most one runs: enqueueing one more while one
	// waits only pulls that one's time forward (its payload stays), and while
	// one runs, queues the new one behind it.
	Key string
	// Payload is stored as JSON.
	Payload any
	// RunAt is the earliest start; zero means now.
	RunAt time.Time
	// MaxAttempts is how often the job may fail before it is dead; 0 means 10.
	MaxAttempts int
}

// Job is a job that runs.
type Job struct {
	ID, Kind, Key string
	Payload       json.RawMessage
	// Attempt is 1 at the first run. A run that a dying process cut off, or
	// that ended with Again, does not count.
	Attempt     int
	MaxAttempts int
	Created     time.Time

	owner    string
	claims   int64
	finished atomic.Bool
}

// Handler carries out jobs of one kind. It returns nil when the job is done,
// an error to have it retried after a while, or Dead or Again. A handler can
// be cut off anywhere and run again, so it does its work in steps that bear
// repetition.
type Handler func(ctx context.Context, j *Job) error

// ErrLost means that the job runs elsewhere by now: this run's work does not
// count.
var ErrLost = errors.New("the job was taken over")

type dead struct{ error }

func (d dead) Unwrap() error { return d.error }

// Dead makes a handler's error final: the job is not tried again.
func Dead(err error) error { return dead{err} }

type again struct{ at time.Time }

func (a again) Error() string { return "again at " + a.at.Format(time.RFC3339Nano) }

// Again has the job run again at a time, and that not as another attempt.
func Again(at time.Time) error { return again{notBefore(at)} }

// notBefore is a time of which the milliseconds that are stored are not before t.
func notBefore(t time.Time) time.Time { return t.Add(time.Millisecond - 1) }

const defaultAttempts = 10

var lastSeq atomic.Int64

// sequence orders jobs of this process by when they were enqueued.
func sequence() int64 {
	for {
		last, now := lastSeq.Load(), time.Now().UnixNano()
		if now <= last {
			now = last + 1
		}
		if lastSeq.CompareAndSwap(last, now) {
			return now
		}
	}
}

func topic(kind string) string { return "job " + kind }

// Enqueue adds a job when tx commits.
func Enqueue(ctx context.Context, tx *state.Tx, n New) error {
	payload, err := json.Marshal(n.Payload)
	if err != nil {
		return fmt.Errorf("job %s %s: %w", n.Kind, n.Key, err)
	}
	if n.MaxAttempts <= 0 {
		n.MaxAttempts = defaultAttempts
	}
	now := time.Now()
	if n.RunAt.IsZero() {
		n.RunAt = now
	} else {
		n.RunAt = notBefore(n.RunAt)
	}
	const insert = `
		INSERT INTO job_job (id, kind, key, payload, state, run_at, seq, attempt, max_attempts, claims, lost, owner, lease, created, error)
		VALUES ($1, $2, $3, $4, 'waiting', $5, $6, 0, $7, 0, 0, '', 0, $8, '')
		ON CONFLICT (kind, key) WHERE state = 'waiting' AND key <> ''
		DO UPDATE SET run_at = excluded.run_at WHERE excluded.run_at < job_job.run_at`
	_, err = tx.Exec(ctx, insert, aws.NewUUID(), n.Kind, n.Key, json.RawMessage(payload), n.RunAt, sequence(), n.MaxAttempts, now)
	tx.Wake(topic(n.Kind))
	return err
}

// Cancel removes the job of a kind and key that waits, if one does. One that
// runs is not disturbed.
func Cancel(ctx context.Context, tx *state.Tx, kind, key string) error {
	_, err := tx.Exec(ctx, `DELETE FROM job_job WHERE kind = $1 AND key = $2 AND state = 'waiting'`, kind, key)
	return err
}

// Finish completes the job in the transaction that records its result, so that
// both happen or neither. It returns ErrLost when the job was taken over; the
// transaction must then not commit.
func (j *Job) Finish(ctx context.Context, tx *state.Tx) error {
	n, err := tx.Exec(ctx, `DELETE FROM job_job WHERE id = $1 AND owner = $2 AND claims = $3 AND state = 'running'`, j.ID, j.owner, j.claims)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrLost
	}
	if j.Key != "" {
		tx.Wake(topic(j.Kind)) // the next one of this key may start
	}
	tx.AfterCommit(func() { j.finished.Store(true) })
	return nil
}

// DeadJob is a job that nobody will try again.
type DeadJob struct {
	ID      string    `db:"id"`
	Kind    string    `db:"kind"`
	Key     string    `db:"key"`
	Attempt int64     `db:"attempt"`
	Created time.Time `db:"created"`
	Error   string    `db:"error"`
}

// DeadJobs lists dead jobs, oldest first.
func DeadJobs(ctx context.Context, tx *state.Tx, limit int) ([]DeadJob, error) {
	return state.List[DeadJob](ctx, tx, `
		SELECT id, kind, key, attempt, created, error FROM job_job WHERE state = 'dead' ORDER BY created, seq LIMIT $1`, limit)
}
