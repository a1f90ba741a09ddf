package events

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// Delivery says what became of one event for one target of a rule that it
// matched.
type Delivery struct {
	ID         string `db:"id"`
	Trace      string `db:"trace"` // call.Call's Trace
	EventID    string `db:"event_id"`
	Source     string `db:"source"`
	DetailType string `db:"detail_type"`
	BusARN     string `db:"bus_arn"`
	RuleARN    string `db:"rule_arn"`
	TargetID   string `db:"target_id"` // empty when the rule has no target
	TargetARN  string `db:"target_arn"`
	RoleARN    string `db:"role_arn"` // of the target; may be empty
	State      string `db:"state"`    // Pending, Delivered, Failed or Skipped
	// Attempts is how many attempts failed; the error is the last one's, in
	// the target's own words.
	Attempts     int64     `db:"attempts"`
	ErrorCode    string    `db:"error_code"`
	ErrorMessage string    `db:"error_message"`
	Created      time.Time `db:"created"`
	Updated      time.Time `db:"updated"`
}

const deliveryColumns = `id, trace, event_id, source, detail_type, bus_arn, rule_arn, target_id, target_arn, role_arn, state, attempts, error_code, error_message, created, updated`

func (d Delivery) insert(ctx context.Context, tx *state.Tx) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO events_delivery (`+deliveryColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		d.ID, d.Trace, d.EventID, d.Source, d.DetailType, d.BusARN, d.RuleARN, d.TargetID, d.TargetARN, d.RoleARN,
		d.State, d.Attempts, d.ErrorCode, d.ErrorMessage, d.Created, d.Updated)
	return err
}

// record notes how far the delivery has come.
func (d *delivery) record(ctx context.Context, tx *state.Tx, to string, failed int64, failure error, now time.Time) error {
	code, message := "", ""
	if failure != nil {
		code, message = "InternalFailure", failure.Error()
		if e, ok := errors.AsType[*aws.Error](failure); ok {
			code, message = e.Code, e.Message
		}
	}
	if failure == nil {
		_, err := tx.Exec(ctx, `UPDATE events_delivery SET state = $1, updated = $2 WHERE id = $3`, to, now, d.ID)
		return err
	}
	_, err := tx.Exec(ctx, `
		UPDATE events_delivery SET state = $1, attempts = $2, error_code = $3, error_message = $4, updated = $5 WHERE id = $6`,
		to, failed, code, message, now, d.ID)
	return err
}

// DeadLetter is an event that could not be delivered, with what AWS writes to
// a dead-letter queue about it.
type DeadLetter struct {
	ID           string `db:"id"` // the Delivery's
	Trace        string `db:"trace"`
	Account      string `db:"account"` // of the rule
	Region       string `db:"region"`
	RuleARN      string `db:"rule_arn"`   // RULE_ARN
	TargetID     string `db:"target_id"`  // of the rule
	TargetARN    string `db:"target_arn"` // TARGET_ARN
	ErrorCode    string `db:"error_code"` // ERROR_CODE
	ErrorMessage string `db:"error_message"`
	// Exhausted is EXHAUSTED_RETRY_CONDITION: MaximumRetryAttempts or
	// MaximumEventAgeInSeconds; empty when trying again could not help.
	Exhausted     string    `db:"exhausted"`
	RetryAttempts int64     `db:"retry_attempts"` // RETRY_ATTEMPTS
	Body          string    `db:"body"`           // as the target would have received it
	Created       time.Time `db:"created"`
}

const letterColumns = `id, trace, account, region, rule_arn, target_id, target_arn, error_code, error_message, exhausted, retry_attempts, body, created`

// bury makes a dead letter of the delivery.
func (d *delivery) bury(ctx context.Context, tx *state.Tx, failure error, exhausted string, retries int64, now time.Time) error {
	body, err := d.deadBody()
	if err != nil {
		return err
	}
	r, _ := ruleFromARN(d.RuleARN)
	_, err = tx.Exec(ctx, `
		INSERT INTO events_dead_letter (`+letterColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (id) DO NOTHING`,
		d.ID, d.Event.Trace, r.bus.account, r.bus.region, d.RuleARN, d.Target.ID, d.Target.ARN,
		deadCode(failure), failure.Error(), exhausted, retries, body, now)
	return err
}

// maxListed bounds what Deliveries and DeadLetters return.
const maxListed = 1000

// Deliveries returns what became of the events of a trace, in the order in
// which rules matched them.
func (s *Service) Deliveries(ctx context.Context, trace string) (list []Delivery, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		list, err = state.List[Delivery](ctx, tx, `SELECT `+deliveryColumns+` FROM events_delivery WHERE trace = $1 ORDER BY created, id LIMIT $2`, trace, maxListed)
		return err
	})
	return list, err
}

// Filter selects dead letters; empty fields select all.
type Filter struct {
	Trace   string
	Account string // of the rule
	RuleARN string
}

// DeadLetters returns dead letters, newest first.
func (s *Service) DeadLetters(ctx context.Context, f Filter) (list []DeadLetter, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		list, err = state.List[DeadLetter](ctx, tx, `
			SELECT `+letterColumns+` FROM events_dead_letter
			WHERE ($1 = '' OR trace = $1) AND ($2 = '' OR account = $2) AND ($3 = '' OR rule_arn = $3)
			ORDER BY created DESC, id LIMIT $4`, f.Trace, f.Account, f.RuleARN, maxListed)
		return err
	})
	return list, err
}

// How long and how many records are kept. Dead letters are kept as long as
// a queue keeps messages at most.
const (
	keepDeliveries = 30 * 24 * time.Hour
	keepLetters    = 14 * 24 * time.Hour
	keepAccepted   = 48 * time.Hour // longer than any delivery is retried
	keepRows       = 200_000
	pruneEvery     = time.Hour
	pruneBatch     = 1000
)

const jobPrune = "events/prune"

// schedulePruning sees to it that a pruning job waits; each run enqueues the
// next. It waits for a database that is away.
func (s *Service) schedulePruning(ctx context.Context) error {
	for {
		err := s.db.Update(ctx, func(tx *state.Tx) error {
			return job.Enqueue(ctx, tx, job.New{Kind: jobPrune, Key: "all", RunAt: s.now().Add(pruneEvery)})
		})
		if err == nil || ctx.Err() != nil {
			return nil
		}
		slog.ErrorContext(ctx, "enqueue pruning", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Minute):
		}
	}
}

// prune drops old records, in batches that keep no writer waiting.
func (s *Service) prune(ctx context.Context, _ *job.Job) error {
	now := s.now()
	for _, p := range []struct {
		table, id string
		keep      time.Duration
	}{
		{"events_delivery", "id", keepDeliveries},
		{"events_dead_letter", "id", keepLetters},
		{"events_accepted", "delivery", keepAccepted},
	} {
		if err := s.pruneTable(ctx, p.table, p.id, now.Add(-p.keep)); err != nil {
			return err
		}
	}
	return job.Again(now.Add(pruneEvery))
}

// pruneTable drops what is older than a time or beyond the number of rows
// that are kept.
func (s *Service) pruneTable(ctx context.Context, table, id string, before time.Time) error {
	for {
		var n int64
		err := s.db.Update(ctx, func(tx *state.Tx) error {
			total, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM `+table)
			if err != nil {
				return err
			}
			limit := min(max(total-keepRows, 0), pruneBatch)
			n, err = tx.Exec(ctx, `
				DELETE FROM `+table+` WHERE `+id+` IN (
					SELECT `+id+` FROM `+table+` WHERE created < $1 ORDER BY created LIMIT $2)`, before, pruneBatch)
			if err != nil || limit == 0 {
				return err
			}
			more, err := tx.Exec(ctx, `
				DELETE FROM `+table+` WHERE `+id+` IN (SELECT `+id+` FROM `+table+` ORDER BY created LIMIT $1)`, limit)
			n += more
			return err
		})
		if err != nil || n < pruneBatch {
			return err
		}
	}
}
