package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

const (
	outboxTopic = "outbox"
	// outboxBatch is how many events one transaction delivers.
	outboxBatch = 64
	// lookAgain is how often a shared database is looked at without a wake.
	lookAgain  = 5 * time.Second
	maxBackoff = 5 * time.Minute
)

var lastSeq atomic.Int64

// sequence orders events of this process by when they were emitted.
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

// Emit puts an event into the outbox: it is delivered after the transaction
// commits, and only then. An empty ID or Time is filled in.
func (tx *Tx) Emit(ctx context.Context, e aws.Event) error {
	if e.ID == "" {
		e.ID = aws.NewUUID()
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("event %s: %w", e.DetailType, err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO state_outbox (id, seq, due, attempts, event, error) VALUES ($1, $2, 0, 0, $3, '')`,
		aws.NewUUID(), sequence(), string(text))
	tx.Wake(outboxTopic)
	return err
}

type outboxRow struct {
	ID       string `db:"id"`
	Attempts int64  `db:"attempts"`
	Event    string `db:"event"`
}

// Deliver hands events of the outbox to fn until ctx ends, in the order in
// which they were emitted. What fn does in tx and the event's removal commit
// together; an event is handed over again when that fails, later and later,
// while others go on.
func (db *DB) Deliver(ctx context.Context, fn func(ctx context.Context, tx *Tx, e aws.Event) error) error {
	wake, stop := db.Listen(outboxTopic)
	defer stop()
	for {
		more, next, err := db.deliverDue(ctx, fn)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			slog.ErrorContext(ctx, "outbox", "err", err)
			next = time.Now().Add(time.Second)
		} else if more {
			continue
		}
		if !db.wait(ctx, wake, next) {
			return nil
		}
	}
}

// wait returns at a wake or at a time (zero: none); false says ctx ended.
func (db *DB) wait(ctx context.Context, wake <-chan struct{}, next time.Time) bool {
	if db.Shared() && (next.IsZero() || time.Until(next) > lookAgain) {
		next = time.Now().Add(lookAgain)
	}
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-wake:
	case <-timer:
	case <-ctx.Done():
		return false
	}
	return true
}

// deliverDue delivers a batch. more says that there may be another one; next
// is when the first postponed event is due.
func (db *DB) deliverDue(ctx context.Context, fn func(context.Context, *Tx, aws.Event) error) (more bool, next time.Time, err error) {
	var batch []outboxRow
	now := time.Now()
	err = db.View(ctx, func(tx *Tx) (err error) {
		batch, err = List[outboxRow](ctx, tx, `SELECT id, attempts, event FROM state_outbox WHERE due <= $1 ORDER BY due, seq LIMIT $2`,
			now, outboxBatch)
		if err != nil || len(batch) > 0 {
			return err
		}
		due, err := Get[int64](ctx, tx, `SELECT due FROM state_outbox ORDER BY due LIMIT 1`)
		if err == nil {
			next = Time(due)
		} else if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil || len(batch) == 0 {
		return false, next, err
	}
	if db.deliver(ctx, batch, fn) == nil {
		return true, next, nil
	}
	// One of them does not go: each on its own, so that the others do.
	for i := range batch {
		if ctx.Err() != nil {
			return false, next, nil
		}
		if failure := db.deliver(ctx, batch[i:i+1], fn); failure != nil {
			if err := db.postpone(ctx, batch[i], failure); err != nil {
				return false, next, err
			}
		}
	}
	return true, next, nil
}

// deliver hands over events in one transaction. Should the power fail before
// it is on disk, they are handed over again.
func (db *DB) deliver(ctx context.Context, batch []outboxRow, fn func(context.Context, *Tx, aws.Event) error) error {
	return db.UpdateSoon(ctx, func(tx *Tx) error {
		for _, row := range batch {
			n, err := tx.Exec(ctx, `DELETE FROM state_outbox WHERE id = $1`, row.ID)
			if err != nil {
				return err
			}
			if n == 0 {
				continue // another process was faster
			}
			var e aws.Event
			if err := json.Unmarshal([]byte(row.Event), &e); err != nil {
				return err
			}
			if err := contained(func() error { return fn(ctx, tx, e) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// contained turns a panic into an error: a poisonous event stops no loop.
func contained(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

func (db *DB) postpone(ctx context.Context, row outboxRow, failure error) error {
	slog.ErrorContext(ctx, "event not delivered", "id", row.ID, "attempts", row.Attempts+1, "err", failure)
	backoff := maxBackoff
	if row.Attempts < 16 {
		backoff = min(100*time.Millisecond<<row.Attempts, maxBackoff)
	}
	due := time.Now().Add(backoff/2 + rand.N(backoff/2))
	return db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `UPDATE state_outbox SET due = $1, attempts = attempts + 1, error = $2 WHERE id = $3`, due, failure.Error(), row.ID)
		return err
	})
}
