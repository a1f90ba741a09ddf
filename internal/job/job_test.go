package job_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
)

var quick = job.Options{
	Backoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond, Lease: 300 * time.Millisecond, Drain: 200 * time.Millisecond,
	Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
}

func enqueue(t testing.TB, db *state.DB, jobs ...job.New) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *state.Tx) error {
		for _, n := range jobs {
			if err := job.Enqueue(context.Background(), tx, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a queue until the returned function is called.
func run(t testing.TB, q *job.Queue) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := q.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func count(t testing.TB, db *state.DB, where string) (n int) {
	t.Helper()
	err := db.View(context.Background(), func(tx *state.Tx) (err error) {
		n, err = state.Get[int](context.Background(), tx, "SELECT COUNT(*) FROM job_job WHERE "+where)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

func TestRunsInOrderAndRetries(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		var mu sync.Mutex
		got := map[string][]int{}
		o := quick
		q := job.NewQueue(db, o)
		q.Handle("k", func(ctx context.Context, j *job.Job) error {
			mu.Lock()
			defer mu.Unlock()
			name := string(j.Payload)
			got[name] = append(got[name], j.Attempt)
			switch {
			case name == `"fails"`:
				return errors.New("no")
			case name == `"panics"` && j.Attempt < 3:
				panic("no")
			case name == `"dies"`:
				return job.Dead(errors.New("never"))
			case name == `"again"` && len(got[name]) < 3:
				return job.Again(time.Now().Add(5 * time.Millisecond))
			}
			return nil
		})
		enqueue(t, db, job.New{Kind: "k", Payload: "works"}, job.New{Kind: "k", Payload: "fails", MaxAttempts: 3},
			job.New{Kind: "k", Payload: "panics"}, job.New{Kind: "k", Payload: "dies"}, job.New{Kind: "k", Payload: "again"},
			job.New{Kind: "other", Payload: "nobody's"})
		stop := run(t, q)
		until(t, "all settled", func() bool { return count(t, db, "state <> 'dead'") == 1 })
		stop()
		for name, want := range map[string]int{`"works"`: 1, `"fails"`: 3, `"panics"`: 3, `"dies"`: 1, `"again"`: 3} {
			if len(got[name]) != want {
				t.Errorf("%s ran %v, want %d times", name, got[name], want)
			}
		}
		if last := got[`"again"`][2]; last != 1 {
			t.Errorf("Again counted as an attempt: %v", got[`"again"`])
		}
		db.View(t.Context(), func(tx *state.Tx) error {
			dead, err := job.DeadJobs(t.Context(), tx, 10)
			if err != nil || len(dead) != 2 || dead[0].Error != "no" || dead[1].Error != "never" {
				t.Errorf("dead = %+v, %v", dead, err)
			}
			return nil
		})
	}, job.Schema())
}

func TestTimers(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		at := make(chan time.Time, 2)
		q := job.NewQueue(db, quick)
		q.Handle("k", func(ctx context.Context, j *job.Job) error { at <- time.Now(); return nil })
		run(t, q)
		due := time.Now().Add(150 * time.Millisecond)
		enqueue(t, db, job.New{Kind: "k", Key: "a", RunAt: due.Add(time.Hour)})
		enqueue(t, db, job.New{Kind: "k", Key: "a", RunAt: due}) // pulls it forward
		enqueue(t, db, job.New{Kind: "k", Key: "a", RunAt: due.Add(time.Minute)})
		if got := <-at; got.Before(due) || got.After(due.Add(time.Second)) {
			t.Errorf("ran %v after it was due", got.Sub(due))
		}
		until(t, "one run only", func() bool { return count(t, db, "1 = 1") == 0 })
		enqueue(t, db, job.New{Kind: "k", Key: "b", RunAt: time.Now().Add(time.Hour)})
		db.Update(t.Context(), func(tx *state.Tx) error { return job.Cancel(t.Context(), tx, "k", "b") })
		if n := count(t, db, "1 = 1"); n != 0 {
			t.Errorf("%d jobs after Cancel", n)
		}
	}, job.Schema())
}

func TestKeyExcludes(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		var now, most, runs atomic.Int64
		q := job.NewQueue(db, quick)
		q.Handle("k", func(ctx context.Context, j *job.Job) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(3 * time.Millisecond)
			if runs.Add(1)%3 == 0 {
				return errors.New("now and then")
			}
			return nil
		})
		run(t, q)
		for range 20 {
			enqueue(t, db, job.New{Kind: "k", Key: "same"})
			time.Sleep(time.Millisecond)
		}
		until(t, "all done", func() bool { return count(t, db, "1 = 1") == 0 })
		if most.Load() != 1 || runs.Load() < 2 {
			t.Errorf("%d at once, %d runs", most.Load(), runs.Load())
		}
	}, job.Schema())
}

// A new job enqueued while one of its key runs is never lost, whatever becomes
// of the running one.
func TestQueuedBehindRunning(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		started, release := make(chan bool, 10), make(chan error, 10)
		q := job.NewQueue(db, quick)
		q.Handle("k", func(ctx context.Context, j *job.Job) error { started <- true; return <-release })
		run(t, q)
		for _, end := range []error{nil, errors.New("no"), job.Again(time.Now().Add(time.Hour)), job.Dead(errors.New("no"))} {
			enqueue(t, db, job.New{Kind: "k", Key: "x"})
			<-started
			enqueue(t, db, job.New{Kind: "k", Key: "x"})
			release <- end
			select {
			case <-started:
			case <-time.After(5 * time.Second):
				t.Fatalf("nothing ran after %v", end)
			}
			release <- nil
			until(t, "drained", func() bool { return count(t, db, "state <> 'dead'") == 0 })
		}
	}, job.Schema())
}

func TestFinishCommitsWithTheResult(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		var runs atomic.Int64
		q := job.NewQueue(db, quick)
		q.Handle("k", func(ctx context.Context, j *job.Job) error {
			runs.Add(1)
			err := db.Update(ctx, func(tx *state.Tx) error {
				if err := job.Enqueue(ctx, tx, job.New{Kind: "other"}); err != nil {
					return err
				}
				if err := j.Finish(ctx, tx); err != nil {
					return err
				}
				if runs.Load() == 1 {
					return errors.New("rolled back")
				}
				return nil
			})
			if err == nil {
				return errors.New("after the fact")
			}
			return err
		})
		run(t, q)
		enqueue(t, db, job.New{Kind: "k"})
		until(t, "done", func() bool { return count(t, db, "kind = 'k'") == 0 })
		if n := count(t, db, "kind = 'other'"); n != 1 || runs.Load() != 2 {
			t.Errorf("%d results in %d runs, want 1 in 2", n, runs.Load())
		}
	}, job.Schema())
}

func TestDrain(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		started := make(chan bool, 2)
		q := job.NewQueue(db, quick)
		q.Handle("short", func(ctx context.Context, j *job.Job) error {
			started <- true
			time.Sleep(50 * time.Millisecond)
			return ctx.Err()
		})
		q.Handle("long", func(ctx context.Context, j *job.Job) error {
			started <- true
			<-ctx.Done()
			return ctx.Err()
		})
		stop := run(t, q)
		enqueue(t, db, job.New{Kind: "short"}, job.New{Kind: "long", MaxAttempts: 1})
		<-started
		<-started
		stop()
		if n := count(t, db, "kind = 'short'"); n != 0 {
			t.Error("the short job was not waited for")
		}
		if n := count(t, db, "kind = 'long' AND state = 'waiting' AND attempt = 0"); n != 1 {
			t.Error("the long job does not wait for the next process")
		}
	}, job.Schema())
}

// A process that dies leaves its jobs to the next one, and its late results
// are refused.
func TestLostProcess(t *testing.T) {
	statetest.EachURL(t, func(t *testing.T, url string) {
		first, err := state.Open(t.Context(), url, job.Schema())
		if err != nil {
			t.Fatal(err)
		}
		o := quick
		o.Lease = time.Minute // no heartbeat of the first process comes between
		taken, release, late := make(chan bool), make(chan bool), make(chan error, 1)
		with := first // what the handler of the lost process records with
		q := job.NewQueue(first, o)
		q.Handle("k", func(ctx context.Context, j *job.Job) error {
			close(taken)
			<-release
			err := with.Update(context.Background(), func(tx *state.Tx) error { return j.Finish(context.Background(), tx) })
			late <- err
			return err
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { q.Run(ctx) })
		enqueue(t, first, job.New{Kind: "k", Key: "a", MaxAttempts: 1})
		<-taken
		// The process is gone, but for its handler, which hangs.
		shared := first.Shared()
		first.Close()
		second := statetest.Open(t, url, job.Schema())
		if shared {
			with = second // its late result reaches the database all the same
			err := second.Update(t.Context(), func(tx *state.Tx) error {
				_, err := tx.Exec(t.Context(), "UPDATE job_job SET lease = 1") // the lease is over
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		attempts := make(chan int, 1)
		q2 := job.NewQueue(second, o)
		q2.Handle("k", func(ctx context.Context, j *job.Job) error { attempts <- j.Attempt; return nil })
		run(t, q2)
		select {
		case n := <-attempts:
			if n != 1 {
				t.Errorf("attempt = %d: the lost process counted", n)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("not taken over")
		}
		until(t, "done", func() bool { return count(t, second, "1 = 1") == 0 })
		close(release)
		if err := <-late; !errors.Is(err, job.ErrLost) && !errors.Is(err, state.ErrClosed) {
			t.Errorf("late result: %v", err)
		}
		cancel()
		wg.Wait()
	})
}

// A process that starts where another one has been takes over at once, without
// waiting for a lease; the jobs of other homes are left to their owners.
func TestLostProcessOfTheSameHome(t *testing.T) {
	statetest.EachURL(t, func(t *testing.T, url string) {
		lost := statetest.Open(t, url, job.Schema())
		if !lost.Shared() {
			t.Skip("one process alone has the database")
		}
		o := quick
		o.Lease = time.Minute
		taken, release := make(chan string, 2), make(chan bool)
		for _, home := range []string{"a", "b"} {
			o.Home = home
			q := job.NewQueue(lost, o)
			q.Handle(home, func(ctx context.Context, j *job.Job) error { taken <- home; <-release; return nil })
			run(t, q)
			enqueue(t, lost, job.New{Kind: home})
		}
		t.Cleanup(func() { close(release) })
		<-taken
		<-taken
		lost.Close() // the old processes are gone, but for handlers that hang
		o.Home = "a"
		q := job.NewQueue(statetest.Open(t, url, job.Schema()), o)
		again := make(chan string, 2)
		for _, kind := range []string{"a", "b"} {
			q.Handle(kind, func(ctx context.Context, j *job.Job) error { again <- kind; return nil })
		}
		run(t, q)
		select {
		case kind := <-again:
			if kind != "a" {
				t.Errorf("took over the job of home %s", kind)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("not taken over")
		}
		select {
		case kind := <-again:
			t.Errorf("took over a second job, of home %s", kind)
		case <-time.After(50 * time.Millisecond):
		}
	})
}

func TestHeartbeatKeepsTheJob(t *testing.T) {
	statetest.EachURL(t, func(t *testing.T, url string) {
		db := statetest.Open(t, url, job.Schema())
		if !db.Shared() {
			t.Skip("leases do not run out on SQLite")
		}
		var runs atomic.Int64
		handler := func(ctx context.Context, j *job.Job) error {
			runs.Add(1)
			time.Sleep(900 * time.Millisecond)
			return nil
		}
		for _, d := range []*state.DB{db, statetest.Open(t, url, job.Schema())} {
			q := job.NewQueue(d, quick)
			q.Handle("k", handler)
			run(t, q)
		}
		enqueue(t, db, job.New{Kind: "k"})
		until(t, "done", func() bool { return count(t, db, "1 = 1") == 0 })
		if runs.Load() != 1 {
			t.Errorf("ran %d times", runs.Load())
		}
	})
}

func BenchmarkEnqueueToStart(b *testing.B) {
	bench := func(b *testing.B, db *state.DB) {
		started := make(chan bool)
		q := job.NewQueue(db, quick)
		q.Handle("k", func(ctx context.Context, j *job.Job) error { started <- true; return nil })
		run(b, q)
		b.ReportAllocs()
		for b.Loop() {
			enqueue(b, db, job.New{Kind: "k"})
			<-started
		}
	}
	b.Run("sqlite", func(b *testing.B) { bench(b, statetest.Open(b, statetest.SQLite(b), job.Schema())) })
	if url := statetest.Postgres(b); url != "" {
		b.Run("postgres", func(b *testing.B) { bench(b, statetest.Open(b, url, job.Schema())) })
	}
}

// A queue that stops while it claims carries out only what it has claimed: a
// job is either done and gone, or left and was not begun.
func TestStopWhileClaiming(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		for i := range 60 {
			enqueue(t, db, job.New{Kind: "k"})
			begun := 0
			q := job.NewQueue(db, quick)
			q.Handle("k", func(context.Context, *job.Job) error { begun++; return nil })
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Duration(i)*20*time.Microsecond, cancel)
			if err := q.Run(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			// Claimed and unknown to the client counts as left: the next process
			// takes it over.
			left := count(t, db, "kind = 'k'")
			if begun+left != 1 {
				t.Fatalf("round %d: begun %d times, %d left", i, begun, left)
			}
			err := db.Update(t.Context(), func(tx *state.Tx) error {
				_, err := tx.Exec(t.Context(), "DELETE FROM job_job")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}, job.Schema())
}

// While the database does not answer, what became of a job is not forgotten,
// and a claim whose commit nobody heard of is carried out afterwards.
func TestOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		do := func(sql string) {
			t.Helper()
			err := db.Update(t.Context(), func(tx *state.Tx) error {
				tx.Wake("job k")
				_, err := tx.Exec(t.Context(), sql)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		enqueue(t, db, job.New{Kind: "k", Key: "a"}, job.New{Kind: "k", Key: "b", RunAt: time.Now().Add(time.Hour)})
		end := make(chan struct{})
		var a, b atomic.Int32
		q := job.NewQueue(db, quick)
		q.Handle("k", func(ctx context.Context, j *job.Job) error {
			if j.Key == "b" {
				b.Add(1)
				return nil
			}
			a.Add(1)
			<-end
			return nil
		})
		run(t, q)
		until(t, "a runs", func() bool { return a.Load() == 1 })
		do(`UPDATE job_job SET state = 'running', claims = 1, lease = 9000000000000, owner = (SELECT owner FROM job_job WHERE key = 'a') WHERE key = 'b'`)
		do(`ALTER TABLE job_job RENAME TO job_away`)
		close(end)
		time.Sleep(4 * time.Second)
		do(`ALTER TABLE job_away RENAME TO job_job`)
		until(t, "both are recorded", func() bool { return count(t, db, "kind = 'k'") == 0 })
		if a.Load() != 1 || b.Load() != 1 {
			t.Errorf("a ran %d times, b %d times", a.Load(), b.Load())
		}
	}, job.Schema())
}
