package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekisho/sekisho/internal/state"
)

// Options are a queue's settings; the zero value works.
type Options struct {
	// Workers is how many jobs may run at once; 0 means 64.
	Workers int
	// Lease is how long a process is believed to live without a sign of it, on
	// databases that several processes share; 0 means 15 seconds.
	Lease time.Duration
	// Home names the place where at most one process runs at a time, such as a
	// data directory: whoever took jobs there before is known to be gone. ""
	// means that only leases tell, on databases that several processes share.
	Home string
	// Drain is how long running jobs may take to end when the queue stops,
	// before their contexts are cancelled; 0 means 10 seconds.
	Drain time.Duration
	// Backoff is the pause after the first failure, which doubles with each
	// further one up to MaxBackoff; 0 means 200 ms and 5 minutes.
	Backoff, MaxBackoff time.Duration
	// Log takes reports of failed jobs; nil means slog.Default().
	Log *slog.Logger
}

// maxLost is how many processes a job may take down with it before it is dead.
const maxLost = 20

// Queue carries out jobs.
type Queue struct {
	db       *state.DB
	o        Options
	handlers map[string]Handler
	kinds    []any
	claimSQL string
	nextSQL  string
	owner    string        // this process
	free     chan struct{} // wakes the loop when a slot is free
	running  atomic.Int64
	started  atomic.Bool
	doubt    bool     // the loop's: claims may have been recorded that nobody heard of
	held     sync.Map // ids of the jobs that run here
}

// NewQueue returns a queue on a database that holds Schema.
func NewQueue(db *state.DB, o Options) *Queue {
	if o.Workers <= 0 {
		o.Workers = 64
	}
	if o.Lease <= 0 {
		o.Lease = 15 * time.Second
	}
	if o.Drain <= 0 {
		o.Drain = 10 * time.Second
	}
	if o.Backoff <= 0 {
		o.Backoff = 200 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 5 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	owner := db.Node()
	if o.Home != "" {
		owner = o.Home + "/" + owner
	}
	return &Queue{db: db, o: o, owner: owner, handlers: map[string]Handler{}, free: make(chan struct{}, 1)}
}

// Handle says who carries out a kind of job. It is called before Run.
func (q *Queue) Handle(kind string, h Handler) {
	if q.started.Load() {
		panic("job: Handle after Run")
	}
	if _, twice := q.handlers[kind]; twice {
		panic("job: two handlers for " + kind)
	}
	q.handlers[kind] = h
}

// Run carries out jobs until ctx ends. It then starts no more, waits for those
// that run, and returns nil. Jobs that Options.Drain does not suffice for are
// cancelled and wait for the next process.
func (q *Queue) Run(ctx context.Context) error {
	if q.started.Swap(true) {
		return errors.New("the queue runs already")
	}
	if len(q.handlers) == 0 {
		<-ctx.Done()
		return nil
	}
	q.statements()
	wake, stop := q.listen()
	defer stop()

	// Handlers outlive ctx by the time of draining.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	beat, stopBeat := context.WithCancel(work)
	if q.db.Shared() {
		wg.Go(func() { q.heartbeat(beat) })
	}

	q.loop(ctx, wake, func(j *Job) {
		q.running.Add(1)
		q.held.Store(j.ID, nil)
		wg.Go(func() {
			q.carryOut(work, j)
			q.held.Delete(j.ID)
			q.running.Add(-1)
			select {
			case q.free <- struct{}{}:
			default:
			}
		})
	})

	deadline := time.AfterFunc(q.o.Drain, cancel)
	defer deadline.Stop()
	for q.running.Load() > 0 {
		<-q.free
	}
	stopBeat()
	return nil
}

// statements builds the SQL that names the kinds this queue handles.
func (q *Queue) statements() {
	for kind := range q.handlers {
		q.kinds = append(q.kinds, kind)
	}
	q.claimSQL = `
		UPDATE job_job SET state = 'running', owner = $1, lease = $2, attempt = attempt + 1, claims = claims + 1
		WHERE id IN (
			SELECT w.id FROM job_job w
			WHERE w.state = 'waiting' AND w.run_at <= $3 AND w.kind IN ` + parameters(5, len(q.kinds)) + `
			AND NOT EXISTS (SELECT 1 FROM job_job r WHERE r.kind = w.kind AND r.key = w.key AND r.state = 'running' AND r.key <> '')
			ORDER BY w.run_at, w.seq LIMIT $4)
		RETURNING id, kind, key, payload, attempt, max_attempts, created, claims, run_at, seq`
	q.nextSQL = `
		SELECT run_at FROM job_job WHERE state = 'waiting' AND run_at > $1 AND kind IN ` + parameters(2, len(q.kinds)) + `
		ORDER BY run_at LIMIT 1`
}

// parameters is a list of n parameters such as ($5, $6).
func parameters(from, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", from+i)
	}
	return "(" + strings.Join(list, ", ") + ")"
}

// listen joins the wakes of all kinds.
func (q *Queue) listen() (<-chan struct{}, func()) {
	all := make(chan struct{}, 1)
	quit := make(chan struct{})
	var stops []func()
	var wg sync.WaitGroup
	for kind := range q.handlers {
		c, stop := q.db.Listen(topic(kind))
		stops = append(stops, stop)
		wg.Go(func() {
			for {
				select {
				case <-c:
				case <-quit:
					return
				}
				select {
				case all <- struct{}{}:
				default:
				}
			}
		})
	}
	return all, func() {
		for _, s := range stops {
			s()
		}
		close(quit)
		wg.Wait()
	}
}

// lookAgain is how often a shared database is looked at without a wake.
const lookAgain = 5 * time.Second

// loop claims jobs and starts them until ctx ends.
func (q *Queue) loop(ctx context.Context, wake <-chan struct{}, start func(*Job)) {
	recovered := false
	for ctx.Err() == nil {
		var next time.Time
		if !recovered || q.db.Shared() {
			if err := q.recover(ctx); err != nil {
				q.complain(ctx, "recover jobs", err)
			} else {
				recovered, q.doubt = true, false
			}
		}
		room := q.room()
		jobs, next, err := q.claim(ctx, room)
		switch {
		case err != nil:
			q.complain(ctx, "claim jobs", err)
			recovered, q.doubt = false, true // a commit whose answer is lost may have taken place
			next = time.Now().Add(time.Second)
		case !recovered:
			next = time.Now().Add(time.Second)
		}
		for _, j := range jobs {
			start(j)
		}
		full := err == nil && len(jobs) >= room // there may be more
		if full && q.room() > 0 {
			continue
		}
		q.wait(ctx, wake, next, full)
	}
}

func (q *Queue) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		q.o.Log.ErrorContext(ctx, what, "err", err)
	}
}

// wait waits until there may be something to claim; when the workers are full,
// for a free one.
func (q *Queue) wait(ctx context.Context, wake <-chan struct{}, next time.Time, full bool) {
	if q.db.Shared() && (next.IsZero() || time.Until(next) > lookAgain) {
		next = time.Now().Add(min(lookAgain, q.o.Lease))
	}
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		timer = t.C
	}
	if full {
		wake, timer = nil, nil
	}
	for {
		select {
		case <-wake:
		case <-timer:
		case <-q.free:
			if !full {
				continue // nothing waited for this slot
			}
		case <-ctx.Done():
		}
		return
	}
}

type row struct {
	ID          string          `db:"id"`
	Kind        string          `db:"kind"`
	Key         string          `db:"key"`
	Payload     json.RawMessage `db:"payload"`
	Attempt     int             `db:"attempt"`
	MaxAttempts int             `db:"max_attempts"`
	Created     time.Time       `db:"created"`
	Claims      int64           `db:"claims"`
	RunAt       int64           `db:"run_at"`
	Seq         int64           `db:"seq"`
}

// room is how many workers are free.
func (q *Queue) room() int { return q.o.Workers - int(q.running.Load()) }

// claim takes due jobs for as many workers as there is room for, and tells
// when the next one is due.
func (q *Queue) claim(ctx context.Context, room int) (jobs []*Job, next time.Time, err error) {
	if room <= 0 {
		return nil, time.Time{}, nil
	}
	// A claim that a power failure undoes has not happened, unless the process
	// that made it goes on beside its database.
	update := q.db.UpdateSoon
	if q.db.Shared() {
		update = q.db.Update
	}
	err = update(ctx, func(tx *state.Tx) error {
		jobs, next = nil, time.Time{}
		now := time.Now()
		args := append([]any{q.owner, now.Add(q.o.Lease), now, room}, q.kinds...)
		rows, err := state.List[row](ctx, tx, q.claimSQL, args...)
		if err != nil {
			return err
		}
		slices.SortFunc(rows, func(a, b row) int {
			if a.RunAt != b.RunAt {
				return int(min(max(a.RunAt-b.RunAt, -1), 1))
			}
			return int(min(max(a.Seq-b.Seq, -1), 1))
		})
		for _, r := range rows {
			jobs = append(jobs, &Job{
				ID: r.ID, Kind: r.Kind, Key: r.Key, Payload: r.Payload, Attempt: r.Attempt, MaxAttempts: r.MaxAttempts,
				Created: r.Created, owner: q.owner, claims: r.Claims,
			})
		}
		due, err := state.Get[int64](ctx, tx, q.nextSQL, append([]any{now}, q.kinds...)...)
		if errors.Is(err, state.ErrNotFound) {
			return nil
		}
		next = state.Time(due)
		return err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return jobs, next, nil
}

// carryOut runs one job and records how it ended.
func (q *Queue) carryOut(ctx context.Context, j *Job) {
	err := q.call(ctx, j)
	if j.finished.Load() {
		if err != nil {
			q.o.Log.WarnContext(ctx, "job failed after it was finished", "kind", j.Kind, "key", j.Key, "err", err)
		}
		return
	}
	cut := ctx.Err() != nil // by the end of draining
	record := context.WithoutCancel(ctx)
	settle := func() error {
		var next again
		switch {
		case err == nil:
			return q.db.Update(record, func(tx *state.Tx) error { return j.Finish(record, tx) })
		case errors.As(err, &next):
			return q.putBack(record, j, next.at, "", false)
		case errors.Is(err, ErrLost):
			return ErrLost
		case cut:
			return q.putBack(record, j, time.Now(), err.Error(), false)
		case errors.As(err, new(dead)), j.Attempt >= j.MaxAttempts:
			return q.bury(record, j, err)
		}
		return q.putBack(record, j, time.Now().Add(q.backoff(j.Attempt)), err.Error(), true)
	}
	if err != nil && !errors.As(err, new(again)) {
		q.o.Log.WarnContext(ctx, "job failed", "kind", j.Kind, "key", j.Key, "attempt", j.Attempt, "err", err)
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		recordErr := settle()
		if recordErr == nil {
			return
		}
		if errors.Is(recordErr, ErrLost) || errors.Is(recordErr, state.ErrClosed) || ctx.Err() != nil {
			q.o.Log.WarnContext(ctx, "job not recorded", "kind", j.Kind, "key", j.Key, "err", recordErr)
			return
		}
		q.o.Log.ErrorContext(ctx, "job not recorded", "kind", j.Kind, "key", j.Key, "err", recordErr)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// maxPause is the longest pause between two tries to record what became of a
// job. While the process lives nobody else takes the job, so it does not give
// up.
const maxPause = 5 * time.Second

// call runs the handler; a panic is an error like another.
func (q *Queue) call(ctx context.Context, j *Job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return q.handlers[j.Kind](ctx, j)
}

func (q *Queue) backoff(attempt int) time.Duration {
	d := q.o.MaxBackoff
	if attempt < 32 {
		if grown := q.o.Backoff << (attempt - 1); grown > 0 && grown < d {
			d = grown
		}
	}
	return d/2 + rand.N(d/2+1)
}

// putBack lets a job wait again. If another one of its key waits already, that
// one goes on for both.
func (q *Queue) putBack(ctx context.Context, j *Job, at time.Time, why string, counts bool) error {
	return q.db.Update(ctx, func(tx *state.Tx) error {
		return putBack(ctx, tx, held{j.ID, j.Kind, j.Key, j.owner, j.claims}, at, why, counts, 0)
	})
}

// held identifies a running job as its owner knows it.
type held struct {
	id, kind, key, owner string
	claims               int64
}

func putBack(ctx context.Context, tx *state.Tx, h held, at time.Time, why string, counts bool, lost int) error {
	tx.Wake(topic(h.kind))
	if h.key != "" {
		n, err := tx.Exec(ctx, `
			UPDATE job_job SET run_at = CASE WHEN run_at < $1 THEN run_at ELSE $1 END
			WHERE kind = $2 AND key = $3 AND state = 'waiting'`, at, h.kind, h.key)
		if err != nil {
			return err
		}
		if n > 0 {
			return settled(tx.Exec(ctx, `DELETE FROM job_job WHERE id = $1 AND owner = $2 AND claims = $3 AND state = 'running'`, h.id, h.owner, h.claims))
		}
	}
	back := 1
	if counts {
		back = 0
	}
	return settled(tx.Exec(ctx, `
		UPDATE job_job SET state = 'waiting', owner = '', run_at = $1, error = $2, attempt = attempt - $3, lost = lost + $4
		WHERE id = $5 AND owner = $6 AND claims = $7 AND state = 'running'`, at, why, back, lost, h.id, h.owner, h.claims))
}

// settled turns a statement that met no row into ErrLost.
func settled(n int64, err error) error {
	if err == nil && n == 0 {
		return ErrLost
	}
	return err
}

// bury keeps a job that failed for good, with its error, for a person to look
// at.
func (q *Queue) bury(ctx context.Context, j *Job, why error) error {
	q.o.Log.ErrorContext(ctx, "job dead", "kind", j.Kind, "key", j.Key, "attempt", j.Attempt, "err", why)
	return q.db.Update(ctx, func(tx *state.Tx) error {
		tx.Wake(topic(j.Kind))
		return settled(tx.Exec(ctx, `
			UPDATE job_job SET state = 'dead', owner = '', error = $1
			WHERE id = $2 AND owner = $3 AND claims = $4 AND state = 'running'`, why.Error(), j.ID, j.owner, j.claims))
	})
}

type lostRow struct {
	ID     string `db:"id"`
	Kind   string `db:"kind"`
	Key    string `db:"key"`
	Owner  string `db:"owner"`
	Claims int64  `db:"claims"`
	Lost   int    `db:"lost"`
}

// recover puts back the jobs of processes that are gone: on a database of one
// process every job that somebody else ran, elsewhere those whose lease is
// over.
func (q *Queue) recover(ctx context.Context) error {
	find, args := q.gone()
	var gone []lostRow
	err := q.db.View(ctx, func(tx *state.Tx) (err error) {
		gone, err = state.List[lostRow](ctx, tx, find, args...)
		return err
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	for _, r := range gone {
		if _, ok := q.held.Load(r.ID); ok && r.Owner == q.owner {
			continue
		}
		q.o.Log.WarnContext(ctx, "job of a lost process", "kind", r.Kind, "key", r.Key)
		err := q.db.Update(ctx, func(tx *state.Tx) error {
			if r.Lost+1 >= maxLost {
				tx.Wake(topic(r.Kind))
				return settled(tx.Exec(ctx, `
					UPDATE job_job SET state = 'dead', owner = '', error = $1
					WHERE id = $2 AND owner = $3 AND claims = $4 AND state = 'running'`,
					"its process was lost each time", r.ID, r.Owner, r.Claims))
			}
			return putBack(ctx, tx, held{r.ID, r.Kind, r.Key, r.Owner, r.Claims}, time.Now(), "its process was lost", false, 1)
		})
		if err != nil && !errors.Is(err, ErrLost) {
			return err
		}
	}
	return nil
}

// gone finds the jobs of processes that are gone: on a database of one process
// all others, elsewhere those whose lease ran out and those that were at this
// process's home before it. In doubt it adds those that are this process's by
// the record.
func (q *Queue) gone() (find string, args []any) {
	const running = `SELECT id, kind, key, owner, claims, lost FROM job_job WHERE state = 'running' AND `
	owner := q.owner
	if q.doubt {
		owner = ""
	}
	switch {
	case !q.db.Shared():
		return running + `owner <> $1`, []any{owner}
	case q.o.Home == "":
		return running + `(lease < $1 OR owner = $2 AND owner <> $3)`, []any{time.Now(), q.owner, owner}
	}
	// Between "home/" and "home0" lies what begins with "home/".
	return running + `(lease < $1 OR owner > $2 AND owner < $3 AND owner <> $4)`,
		[]any{time.Now(), q.o.Home + "/", q.o.Home + "0", owner}
}

// heartbeat renews the leases of this process while it has jobs.
func (q *Queue) heartbeat(ctx context.Context) {
	t := time.NewTicker(q.o.Lease / 3)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if q.running.Load() == 0 {
			continue
		}
		err := q.db.Update(ctx, func(tx *state.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE job_job SET lease = $1 WHERE owner = $2 AND state = 'running'`, time.Now().Add(q.o.Lease), q.owner)
			return err
		})
		q.complain(ctx, "heartbeat", err)
	}
}
