package state

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// maxTries bounds how often a transaction is run again after conflicts.
const maxTries = 24

// maxConns bounds a process's connections, unless the URL's pool_max_conns
// does.
const maxConns = 16

// postgresEngine is a PostgreSQL database that several processes may share.
type postgresEngine struct {
	db      *DB
	pool    *pgxpool.Pool
	channel string
	stop    context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	news    map[string]bool // topics to announce
	kick    chan struct{}
}

func openPostgres(ctx context.Context, db *DB, url string, schemas []Schema) (engine, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = maxConns
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	e := &postgresEngine{db: db, pool: pool, news: map[string]bool{}, kick: make(chan struct{}, 1)}
	if err := e.start(ctx, schemas); err != nil {
		pool.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return e, nil
}

func (e *postgresEngine) start(ctx context.Context, schemas []Schema) error {
	var schema string
	if err := e.pool.QueryRow(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return err
	}
	// Neither notifications nor advisory locks are bound to a schema.
	sum := sha256.Sum256([]byte(schema))
	e.channel = "sekisho_" + hex.EncodeToString(sum[:8])
	if err := e.migrate(ctx, schemas, int64(binary.BigEndian.Uint64(sum[:8]))); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.wg.Go(func() { e.tell(run) })
	e.wg.Go(func() { e.hear(run) })
	return nil
}

// migrate brings schemas up to date, one process at a time.
func (e *postgresEngine) migrate(ctx context.Context, schemas []Schema, lock int64) error {
	c, err := e.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
		return err
	}
	defer c.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", lock)
	std := stdlib.OpenDBFromPool(e.pool)
	defer std.Close()
	if err := migrate(ctx, std, goose.DialectPostgres, schemas); err != nil {
		return err
	}
	return e.bytewise(ctx)
}

// bytewise gives text columns the collation in which text sorts by its bytes,
// as it does on SQLite.
func (e *postgresEngine) bytewise(ctx context.Context) error {
	const find = `
		SELECT format('ALTER TABLE %I ALTER COLUMN %I TYPE text COLLATE "C"', c.relname, a.attname)
		FROM pg_attribute a
		JOIN pg_class c ON c.oid = a.attrelid
		JOIN pg_collation l ON l.oid = a.attcollation
		WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
		AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'text'::regtype AND l.collname <> 'C'`
	return pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
		r, err := tx.Query(ctx, find)
		if err != nil {
			return err
		}
		alters, err := pgx.CollectRows(r, pgx.RowTo[string])
		if err != nil || len(alters) == 0 {
			return err
		}
		_, err = tx.Exec(ctx, strings.Join(alters, ";"))
		return err
	})
}

func (e *postgresEngine) shared() bool { return true }

func (e *postgresEngine) close() error {
	e.stop()
	e.wg.Wait()
	e.pool.Close()
	return nil
}

// beginSoon begins a transaction whose commit does not wait for the disk. The
// server writes its log in order, so a later commit that waits, waits for this
// one too.
const beginSoon = "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL synchronous_commit TO off"

func (e *postgresEngine) update(ctx context.Context, soon bool, fn func(*Tx) error) (*Tx, error) {
	o := pgx.TxOptions{IsoLevel: pgx.Serializable}
	if soon {
		o = pgx.TxOptions{BeginQuery: beginSoon}
	}
	return e.until(ctx, o, fn)
}

func (e *postgresEngine) view(ctx context.Context, fn func(*Tx) error) error {
	_, err := e.until(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, fn)
	return err
}

// patience is how long a transaction is begun anew while the database is away,
// as it is when it restarts.
const patience = 10 * time.Second

// until runs fn in one transaction, and in another one after a conflict, or
// when the connection broke before the transaction was to be committed.
func (e *postgresEngine) until(ctx context.Context, o pgx.TxOptions, fn func(*Tx) error) (*Tx, error) {
	conflicts, began := 0, time.Now()
	for try := 1; ; try++ {
		tx, err := e.once(ctx, o, fn)
		switch {
		case err == nil:
			return tx, nil
		case errors.As(err, new(brokenOff)):
			if time.Since(began) > patience {
				return nil, err
			}
		case conflict(err):
			if conflicts++; conflicts == maxTries {
				return nil, err
			}
		default:
			return nil, err
		}
		// Full jitter: whoever collided comes back at different times.
		limit := min(time.Millisecond<<min(try, 10), 100*time.Millisecond)
		select {
		case <-time.After(rand.N(limit)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// brokenOff is the end of a transaction whose connection broke, or never came
// to be, before it was to be committed: nothing of it has taken place.
type brokenOff struct{ error }

func (b brokenOff) Unwrap() error { return b.error }

// once runs fn in one transaction. A panic rolls it back and goes on.
func (e *postgresEngine) once(ctx context.Context, o pgx.TxOptions, fn func(*Tx) error) (*Tx, error) {
	c, err := e.pool.Acquire(ctx)
	if err != nil {
		if strings.Contains(err.Error(), "closed pool") {
			return nil, ErrClosed
		}
		return nil, broken(ctx, err, true)
	}
	defer c.Release()
	ptx, err := c.BeginTx(ctx, o)
	if err != nil {
		return nil, broken(ctx, err, c.Conn().IsClosed())
	}
	committed := false
	defer func() {
		if !committed {
			ptx.Rollback(context.WithoutCancel(ctx))
		}
	}()
	tx := &Tx{conn: postgresConn{ptx}}
	if err := tx.run(fn); err != nil {
		if tx.failed != nil && (conflict(tx.failed) || c.Conn().IsClosed()) {
			err = broken(ctx, tx.failed, c.Conn().IsClosed()) // whatever fn made of it
		}
		return nil, err
	}
	if err := ptx.Commit(ctx); err != nil {
		return nil, err
	}
	committed = true
	return tx, nil
}

// broken marks an error of a connection that is gone, unless it went because
// the caller did.
func broken(ctx context.Context, err error, gone bool) error {
	if gone && ctx.Err() == nil {
		return brokenOff{err}
	}
	return err
}

type postgresConn struct{ tx pgx.Tx }

func (c postgresConn) exec(ctx context.Context, text string, args []any) (int64, error) {
	tag, err := c.tx.Exec(ctx, text, args...)
	return tag.RowsAffected(), err
}

func (c postgresConn) query(ctx context.Context, text string, args []any) (rows, error) {
	r, err := c.tx.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return postgresRows{r}, nil
}

type postgresRows struct{ pgx.Rows }

func (r postgresRows) columns() ([]string, error) {
	fields := r.FieldDescriptions()
	if len(fields) == 0 {
		// A statement that fails has no fields; its error comes with the rows.
		r.Rows.Close()
		if err := r.Err(); err != nil {
			return nil, err
		}
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names, nil
}

func (r postgresRows) close() error {
	r.Rows.Close()
	return r.Err()
}

// tell announces topics to the other processes. News that pile up while one
// round is on its way go together in the next.
func (e *postgresEngine) tell(ctx context.Context) {
	for {
		select {
		case <-e.kick:
		case <-ctx.Done():
			return
		}
		e.mu.Lock()
		news := e.news
		e.news = map[string]bool{}
		e.mu.Unlock()
		for topic := range news {
			// A lost announcement costs time, not truth: listeners look by themselves.
			e.pool.Exec(ctx, "SELECT pg_notify($1, $2)", e.channel, e.db.node+" "+topic)
		}
	}
}

func (e *postgresEngine) announce(topic string) {
	e.mu.Lock()
	e.news[topic] = true
	e.mu.Unlock()
	poke(e.kick)
}

// hear wakes this process's listeners for other processes' announcements.
func (e *postgresEngine) hear(ctx context.Context) {
	for delay := time.Duration(0); ctx.Err() == nil; delay = min(2*delay+50*time.Millisecond, 5*time.Second) {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
		if e.listen(ctx) {
			delay = 0
		}
	}
}

// listen hears until the connection breaks; it reports whether there was one.
func (e *postgresEngine) listen(ctx context.Context) bool {
	pooled, err := e.pool.Acquire(ctx)
	if err != nil {
		return false
	}
	c := pooled.Hijack()
	defer c.Close(context.WithoutCancel(ctx))
	if _, err := c.Exec(ctx, "LISTEN "+e.channel); err != nil {
		return false
	}
	e.db.wakes.wakeAll() // something may have been missed before
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return true
		}
		if node, topic, ok := strings.Cut(n.Payload, " "); ok && node != e.db.node {
			e.db.wakes.wake(topic)
		}
	}
}

// conflict reports whether running the transaction again may help.
func conflict(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

func postgresUnique(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23505"
}
