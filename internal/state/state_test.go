package state_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
)

func things() state.Schema {
	return state.Schema{Name: "things", Migrations: fs.FS(fstest.MapFS{"migrations/00001_things.sql": {Data: []byte(`-- +goose Up
CREATE TABLE things_thing (
	name TEXT NOT NULL PRIMARY KEY,
	n    BIGINT NOT NULL DEFAULT 0,
	flag BIGINT NOT NULL DEFAULT 0,
	at   BIGINT NOT NULL DEFAULT 0,
	raw  TEXT NOT NULL DEFAULT '{}',
	blob BYTEA,
	note TEXT
);
`)}})}
}

func insert(ctx context.Context, tx *state.Tx, name string) error {
	_, err := tx.Exec(ctx, `INSERT INTO things_thing (name) VALUES ($1)`, name)
	return err
}

func names(t *testing.T, db *state.DB) []string {
	t.Helper()
	var got []string
	err := db.View(t.Context(), func(tx *state.Tx) (err error) {
		got, err = state.List[string](t.Context(), tx, `SELECT name FROM things_thing ORDER BY name`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRoundTrip(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		type kind string
		type thing struct {
			Name kind            `db:"name"`
			N    int             `db:"n"`
			Flag bool            `db:"flag"`
			At   time.Time       `db:"at"`
			Raw  json.RawMessage `db:"raw"`
			Blob []byte          `db:"blob"`
			Note *string         `db:"note"`
		}
		at := time.Date(2026, 11, 23, 8, 45, 0, 123e6, time.UTC)
		err := db.Update(ctx, func(tx *state.Tx) error {
			n, err := tx.Exec(ctx, `INSERT INTO things_thing (name, n, flag, at, raw, blob, note) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				kind("a"), 7, true, at, json.RawMessage(`{"x":1}`), []byte{0, 255}, (*string)(nil))
			if n != 1 {
				t.Errorf("affected = %d", n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(ctx, func(tx *state.Tx) error {
			got, err := state.Get[thing](ctx, tx, `SELECT name, n, flag, at, raw, blob, note FROM things_thing WHERE flag = $1`, true)
			if err != nil {
				return err
			}
			if got.Name != "a" || got.N != 7 || !got.Flag || !got.At.Equal(at) || string(got.Raw) != `{"x":1}` || string(got.Blob) != "\x00\xff" || got.Note != nil {
				t.Errorf("got %+v", got)
			}
			if _, err := state.Get[int](ctx, tx, `SELECT n FROM things_thing WHERE name = 'zzz'`); !errors.Is(err, state.ErrNotFound) {
				t.Errorf("absent row: %v", err)
			}
			when, err := state.Get[time.Time](ctx, tx, `SELECT at FROM things_thing`)
			if !when.Equal(at) {
				t.Errorf("time = %v", when)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}, things())
}

func TestTextSortsByBytes(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		want := []string{"B", "Z", "_", "a", "a/b", "a/é", "a0", "é"}
		err := db.Update(t.Context(), func(tx *state.Tx) error {
			for _, n := range []string{"é", "a0", "a", "_", "B", "a/é", "Z", "a/b"} {
				if err := insert(t.Context(), tx, n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, db); !slices.Equal(got, want) {
			t.Errorf("order = %q, want %q", got, want)
		}
	}, things())
}

func TestErrorsRollBack(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		boom := errors.New("boom")
		err := db.Update(ctx, func(tx *state.Tx) error {
			if err := insert(ctx, tx, "x"); err != nil {
				return err
			}
			tx.AfterCommit(func() { t.Error("AfterCommit without a commit") })
			return boom
		})
		if !errors.Is(err, boom) {
			t.Errorf("err = %v", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("panic did not reach the caller")
				}
			}()
			db.Update(ctx, func(tx *state.Tx) error {
				insert(ctx, tx, "y")
				panic("boom")
			})
		}()
		if err := db.Update(ctx, func(tx *state.Tx) error { return insert(ctx, tx, "z") }); err != nil {
			t.Fatal(err)
		}
		err = db.Update(ctx, func(tx *state.Tx) error { return insert(ctx, tx, "z") })
		if !state.IsUnique(err) {
			t.Errorf("duplicate: %v is not unique", err)
		}
		err = db.Update(ctx, func(tx *state.Tx) error {
			insert(ctx, tx, "w")
			insert(ctx, tx, "z") // swallowed
			return nil
		})
		if !state.IsUnique(err) {
			t.Errorf("swallowed duplicate: %v", err)
		}
		if got := names(t, db); !slices.Equal(got, []string{"z"}) {
			t.Errorf("left = %q", got)
		}
	}, things())
}

// Whoever need not be on disk at once is seen at once, in order, and shares
// the writer with those who must be.
func TestUpdateSoon(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		var wg sync.WaitGroup
		for i := range 40 {
			update := db.UpdateSoon
			if i%3 == 0 {
				update = db.Update
			}
			wg.Go(func() {
				name := fmt.Sprint(i)
				after := false
				err := update(ctx, func(tx *state.Tx) error {
					tx.AfterCommit(func() { after = true })
					return insert(ctx, tx, name)
				})
				if err != nil || !after {
					t.Errorf("err = %v, after the commit = %v", err, after)
				}
				if got := names(t, db); !slices.Contains(got, name) {
					t.Errorf("%s is not among %q", name, got)
				}
				if err := update(ctx, func(tx *state.Tx) error { return insert(ctx, tx, name) }); !state.IsUnique(err) {
					t.Errorf("duplicate: %v", err)
				}
			})
		}
		wg.Wait()
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if err := db.UpdateSoon(gone, func(tx *state.Tx) error { return insert(ctx, tx, "late") }); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who has gone: %v", err)
		}
		if got := names(t, db); len(got) != 40 {
			t.Errorf("%d rows, want 40", len(got))
		}
	}, things())
}

func TestViewDoesNotWrite(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		if err := db.View(t.Context(), func(tx *state.Tx) error { return insert(t.Context(), tx, "x") }); err == nil {
			t.Error("a View wrote")
		}
		if got := names(t, db); len(got) != 0 {
			t.Errorf("left = %q", got)
		}
	}, things())
}

// One of a group failing or panicking leaves the others alone; and counters
// that everybody increments are exact, so transactions are serializable.
func TestGroups(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		if err := db.Update(ctx, func(tx *state.Tx) error { return insert(ctx, tx, "counter") }); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var acked atomic.Int64
		for i := range 60 {
			wg.Go(func() {
				defer func() { recover() }()
				err := db.Update(ctx, func(tx *state.Tx) error {
					n, err := state.Get[int](ctx, tx, `SELECT n FROM things_thing WHERE name = 'counter'`)
					if err != nil {
						return err
					}
					if _, err := tx.Exec(ctx, `UPDATE things_thing SET n = $1 WHERE name = 'counter'`, n+1); err != nil {
						return err
					}
					switch i % 6 {
					case 1:
						return errors.New("no")
					case 2:
						panic("no")
					case 3:
						runtime.Goexit()
					}
					return nil
				})
				if err == nil {
					acked.Add(1)
				} else if i%6 != 1 {
					t.Errorf("transaction %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		var n int64
		db.View(ctx, func(tx *state.Tx) (err error) {
			n, err = state.Get[int64](ctx, tx, `SELECT n FROM things_thing WHERE name = 'counter'`)
			return err
		})
		if n != acked.Load() || n != 30 {
			t.Errorf("counter = %d, acknowledged = %d, want 30", n, acked.Load())
		}
	}, things())
}

func TestEndedContextIsRefused(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		started, release := make(chan bool), make(chan bool)
		var wg sync.WaitGroup
		wg.Go(func() {
			var once sync.Once
			db.Update(context.Background(), func(tx *state.Tx) error {
				once.Do(func() { close(started) })
				<-release
				return nil
			})
		})
		<-started
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := db.Update(ctx, func(tx *state.Tx) error { return insert(context.Background(), tx, "x") })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
		close(release)
		wg.Wait()
		if got := names(t, db); len(got) != 0 {
			t.Errorf("left = %q", got)
		}
	}, things())
}

func TestReopenAndSecondProcess(t *testing.T) {
	statetest.EachURL(t, func(t *testing.T, url string) {
		db, err := state.Open(t.Context(), url, things())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(t.Context(), func(tx *state.Tx) error { return insert(t.Context(), tx, "x") }); err != nil {
			t.Fatal(err)
		}
		if !db.Shared() {
			if _, err := state.Open(t.Context(), url, things()); err == nil {
				t.Error("one SQLite file was opened twice")
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Update(t.Context(), func(tx *state.Tx) error { return nil }); !errors.Is(err, state.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if got := names(t, statetest.Open(t, url, things())); !slices.Equal(got, []string{"x"}) {
			t.Errorf("after reopening: %q", got)
		}
	})
}

func TestOddFileNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a?b=%41 #é.db")
	statetest.Open(t, file, things())
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v", info.Mode())
	}
}

func TestOutbox(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		emit := func(names ...string) {
			err := db.Update(ctx, func(tx *state.Tx) error {
				for _, n := range names {
					if err := tx.Emit(ctx, aws.Event{DetailType: n, Detail: json.RawMessage(`{}`)}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		emit("one", "two", "poison", "three")
		var mu sync.Mutex
		failed := 0
		var wg sync.WaitGroup
		wg.Go(func() {
			err := db.Deliver(ctx, func(ctx context.Context, tx *state.Tx, e aws.Event) error {
				mu.Lock()
				defer mu.Unlock()
				if e.DetailType == "poison" && failed < 4 {
					failed++
					if failed == 3 {
						panic("poison")
					}
					return errors.New("poison")
				}
				if e.ID == "" || e.Time.IsZero() {
					t.Errorf("event without ID or time: %+v", e)
				}
				return insert(ctx, tx, e.DetailType)
			})
			if err != nil {
				t.Error(err)
			}
		})
		until(t, func() bool { return len(names(t, db)) >= 3 })
		if got := names(t, db); slices.Contains(got, "poison") {
			t.Errorf("poison went first: %q", got)
		}
		start := time.Now()
		emit("four")
		until(t, func() bool { return slices.Contains(names(t, db), "four") })
		if took := time.Since(start); took > time.Second {
			t.Errorf("delivery took %v", took)
		}
		until(t, func() bool { return len(names(t, db)) == 5 })
		cancel()
		wg.Wait()
	}, things())
}

func until(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited too long")
		}
	}
}

func TestWakesCrossProcesses(t *testing.T) {
	url := statetest.Postgres(t)
	if url == "" {
		t.Skip(statetest.PostgresEnv + " is not set")
	}
	a, b := statetest.Open(t, url, things()), statetest.Open(t, url, things())
	wake, stop := b.Listen("news")
	defer stop()
	until(t, func() bool { // b may not listen yet
		a.Update(t.Context(), func(tx *state.Tx) error { tx.Wake("news"); return nil })
		select {
		case <-wake:
			return true
		case <-time.After(50 * time.Millisecond):
			return false
		}
	})
}

func TestUnknownColumn(t *testing.T) {
	statetest.Each(t, func(t *testing.T, db *state.DB) {
		err := db.View(t.Context(), func(tx *state.Tx) error {
			_, err := state.List[struct {
				N int `db:"n"`
			}](t.Context(), tx, `SELECT n, flag FROM things_thing`)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "flag") {
			t.Errorf("err = %v", err)
		}
	}, things())
}

func BenchmarkUpdate(b *testing.B) {
	each(b, func(b *testing.B, db *state.DB) {
		b.ReportAllocs()
		var n atomic.Int64
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				name := fmt.Sprint(n.Add(1), "-", b.N)
				if err := db.Update(b.Context(), func(tx *state.Tx) error { return insert(b.Context(), tx, name) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkUpdateAlone(b *testing.B) { alone(b, (*state.DB).Update) }

func BenchmarkUpdateSoonAlone(b *testing.B) { alone(b, (*state.DB).UpdateSoon) }

func alone(b *testing.B, update func(*state.DB, context.Context, func(*state.Tx) error) error) {
	each(b, func(b *testing.B, db *state.DB) {
		b.ReportAllocs()
		for i := range b.N {
			name := fmt.Sprint(i, "-", b.N)
			if err := update(db, b.Context(), func(tx *state.Tx) error { return insert(b.Context(), tx, name) }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkView(b *testing.B) {
	each(b, func(b *testing.B, db *state.DB) {
		db.Update(b.Context(), func(tx *state.Tx) error { return insert(b.Context(), tx, "x") })
		b.ReportAllocs()
		for b.Loop() {
			err := db.View(b.Context(), func(tx *state.Tx) error {
				_, err := state.Get[string](b.Context(), tx, `SELECT name FROM things_thing WHERE name = $1`, "x")
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func each(b *testing.B, run func(b *testing.B, db *state.DB)) {
	b.Run("sqlite", func(b *testing.B) { run(b, statetest.Open(b, statetest.SQLite(b), things())) })
	if url := statetest.Postgres(b); url != "" {
		b.Run("postgres", func(b *testing.B) { run(b, statetest.Open(b, url, things())) })
	}
}

// A database that cuts its connections, as one does that restarts, costs time
// and nothing else: transactions begin anew.
func TestCutConnections(t *testing.T) {
	statetest.EachURL(t, func(t *testing.T, url string) {
		if !strings.HasPrefix(url, "postgres") {
			t.Skip("SQLite has no connections to cut")
		}
		ctx, name := t.Context(), fmt.Sprintf("cut-%d", os.Getpid())
		db := statetest.Open(t, url+"&application_name="+name, things())
		cutter := statetest.Open(t, url, things())
		if err := db.Update(ctx, func(tx *state.Tx) error { return insert(ctx, tx, "counter") }); err != nil {
			t.Fatal(err)
		}
		var acknowledged, uncertain atomic.Int64
		done := make(chan bool)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					cut := false
					err := db.Update(ctx, func(tx *state.Tx) error {
						n, err := state.Get[int](ctx, tx, `SELECT n FROM things_thing WHERE name = 'counter'`)
						if err != nil {
							return err
						}
						// Only a connection that breaks in COMMIT leaves doubt.
						_, err = tx.Exec(ctx, `UPDATE things_thing SET n = $1 WHERE name = 'counter'`, n+1)
						cut = err == nil
						return err
					})
					switch {
					case err == nil:
						acknowledged.Add(1)
					case cut:
						uncertain.Add(1)
					default:
						t.Errorf("a transaction was lost: %v", err)
					}
				}
			})
		}
		for range 8 {
			time.Sleep(30 * time.Millisecond)
			err := cutter.View(ctx, func(tx *state.Tx) error {
				_, err := state.List[int](ctx, tx, `
					SELECT CASE WHEN pg_terminate_backend(pid) THEN 1 ELSE 0 END FROM pg_stat_activity WHERE application_name = $1`, name)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		close(done)
		wg.Wait()
		var n int64
		err := db.View(ctx, func(tx *state.Tx) (err error) {
			n, err = state.Get[int64](ctx, tx, `SELECT n FROM things_thing WHERE name = 'counter'`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if low, high := acknowledged.Load(), acknowledged.Load()+uncertain.Load(); n < low || n > high || low == 0 {
			t.Errorf("counter = %d, want %d to %d", n, low, high)
		}
	})
}
