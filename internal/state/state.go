package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

// ErrNotFound is Get's answer when the query returns no row.
var ErrNotFound = errors.New("not found")

// ErrClosed is returned for transactions on a closed database.
var ErrClosed = errors.New("the database is closed")

// ErrInUse is Lock's answer while another process has the lock.
var ErrInUse = errors.New("in use by another process")

// Schema is a set of tables with its migrations.
type Schema struct {
	// Name is lower-case letters; it names the table of applied versions.
	Name string
	// Migrations holds goose .sql files in its folder migrations.
	Migrations fs.FS
}

// DB is an open database.
type DB struct {
	engine engine
	wakes  *wakes
	node   string
}

// engine is one kind of database.
type engine interface {
	// update runs fn in a serializable transaction, again on a conflict, and
	// returns the transaction that was committed: to disk, or, when soon will
	// do, to be on disk with the next one.
	update(ctx context.Context, soon bool, fn func(*Tx) error) (*Tx, error)
	view(ctx context.Context, fn func(*Tx) error) error
	// shared says whether other processes may have the database open.
	shared() bool
	// announce tells other processes about a topic.
	announce(topic string)
	close() error
}

// Open opens the database that url names, a file path (SQLite) or a
// postgres:// URL, and brings its schemas up to date.
func Open(ctx context.Context, url string, schemas ...Schema) (*DB, error) {
	db := &DB{wakes: newWakes(), node: aws.NewUUID()}
	schemas = append([]Schema{own()}, schemas...)
	var err error
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		db.engine, err = openPostgres(ctx, db, url, schemas)
	} else {
		db.engine, err = openSQLite(ctx, url, schemas)
	}
	if err != nil {
		return nil, err
	}
	return db, nil
}

// Close waits for transactions under way and closes the database.
func (db *DB) Close() error { return db.engine.close() }

// Node is an identifier of this opening of the database, new with each Open.
func (db *DB) Node() string { return db.node }

// Shared reports whether other processes may have the database open too.
func (db *DB) Shared() bool { return db.engine.shared() }

// Update runs fn in a read-write transaction. When it returns nil the changes
// are on disk; when it returns an error, or panics, nothing has changed. fn may
// run several times. A context that ends before the transaction's turn comes
// refuses it.
func (db *DB) Update(ctx context.Context, fn func(tx *Tx) error) error {
	return db.commit(ctx, false, fn)
}

// UpdateSoon is Update without the wait for the disk, for changes that nobody
// outside has been told of. When it returns they have taken place for
// everybody, and they outlive the process. A power failure may undo the last of
// them, always with all that came after: they are on disk with the next Update
// that changes anything, or else within a second.
func (db *DB) UpdateSoon(ctx context.Context, fn func(tx *Tx) error) error {
	return db.commit(ctx, true, fn)
}

func (db *DB) commit(ctx context.Context, soon bool, fn func(tx *Tx) error) error {
	tx, err := db.engine.update(ctx, soon, fn)
	if err != nil {
		return err
	}
	for _, topic := range tx.topics {
		db.wakes.wake(topic)
		db.engine.announce(topic)
	}
	for _, after := range tx.after {
		after()
	}
	return nil
}

// View runs fn on a snapshot that does not change while it reads.
func (db *DB) View(ctx context.Context, fn func(tx *Tx) error) error {
	return db.engine.view(ctx, fn)
}

// Tx is a transaction. It belongs to the function it was given to, and to one
// goroutine.
type Tx struct {
	conn   conn
	failed error // of a statement; the transaction is lost
	ended  bool
	topics []string
	after  []func()
}

// conn is where the statements of a transaction run.
type conn interface {
	exec(ctx context.Context, sql string, args []any) (int64, error)
	query(ctx context.Context, sql string, args []any) (rows, error)
}

// rows is what both drivers' results have in common.
type rows interface {
	columns() ([]string, error)
	Next() bool
	Scan(dest ...any) error
	Err() error
	close() error
}

// Exec runs a statement and returns how many rows it affected.
func (tx *Tx) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	if err := tx.usable(ctx); err != nil {
		return 0, err
	}
	n, err := tx.conn.exec(ctx, sql, portable(args))
	if err != nil {
		tx.failed = err
		return 0, err
	}
	return n, nil
}

// AfterCommit has fn called once the transaction is on disk, in the goroutine
// that called Update.
func (tx *Tx) AfterCommit(fn func()) { tx.after = append(tx.after, fn) }

// Wake has everybody who Listens to a topic woken when the transaction
// commits, in every process that has the database open.
func (tx *Tx) Wake(topic string) {
	for _, t := range tx.topics {
		if t == topic {
			return
		}
	}
	tx.topics = append(tx.topics, topic)
}

func (tx *Tx) usable(ctx context.Context) error {
	switch {
	case tx.ended:
		return errors.New("statement after the end of its transaction")
	case tx.failed != nil:
		return fmt.Errorf("an earlier statement failed: %w", tx.failed)
	}
	return ctx.Err()
}

// run calls fn and tells whether the transaction is to be committed.
func (tx *Tx) run(fn func(*Tx) error) error {
	defer func() { tx.ended = true }()
	if err := fn(tx); err != nil {
		return err
	}
	if tx.failed != nil {
		return fmt.Errorf("statement failed: %w", tx.failed)
	}
	return nil
}

// portable turns arguments into those both drivers take alike.
func portable(args []any) []any {
	var out []any
	set := func(i int, v any) {
		if out == nil {
			out = append(out, args...)
		}
		out[i] = v
	}
	for i, a := range args {
		switch v := a.(type) {
		case bool:
			n := int64(0)
			if v {
				n = 1
			}
			set(i, n)
		case time.Time:
			set(i, Millis(v))
		case json.RawMessage:
			set(i, string(v))
		}
	}
	if out == nil {
		return args
	}
	return out
}

// Millis is a time as it is stored: milliseconds since 1970, 0 for the zero
// time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time is the inverse of Millis, in UTC.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// IsUnique reports whether err is the violation of a unique constraint.
func IsUnique(err error) bool {
	return err != nil && (sqliteUnique(err) || postgresUnique(err))
}
