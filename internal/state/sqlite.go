package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxGroup is how many transactions one commit to disk may hold.
const maxGroup = 256

// soon is how long a commit that does not wait for the disk may be the last
// one: then the disk is waited for all the same.
const soon = 100 * time.Millisecond

// sqliteEngine is a database in a file. One goroutine owns the writing
// connection and gives callers their turn on it; transactions that queue up
// while one commits are committed together. Readers have connections of their
// own.
//
// A group of transactions of which none has to be on disk at once is committed
// to the log file alone (synchronous=NORMAL). The sync of a later commit makes
// it last, and no later commit lasts without it: a log is read up to the first
// gap.
type sqliteEngine struct {
	path    string
	pool    *sql.DB
	unlock  func() error
	queue   chan *request
	readers chan *sqliteConn
	opened  atomic.Int32 // readers that exist
	max     int32
	quit    chan struct{}
	wg      sync.WaitGroup
	closing sync.Once
	active  sync.WaitGroup
	mu      sync.RWMutex
	closed  bool
}

// request is one caller of Update waiting for its turn.
type request struct {
	soon  bool         // need not wait for the disk
	state atomic.Int32 // waiting, then taken by the writer or left by the caller
	turn  chan *Tx     // the writer gives the turn
	over  chan error   // the caller gives it back: what fn returned
	done  chan error   // the writer says what became of it
}

const (
	waiting = iota
	taken
	left
)

func openSQLite(ctx context.Context, file string, schemas []Schema) (engine, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	// SQLite would create it for everybody to read; its journal files follow.
	f, err := os.OpenFile(abs, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	f.Close()
	unlock, err := Lock(abs + ".lock")
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", file, err)
	}
	e := &sqliteEngine{
		path:   abs,
		unlock: unlock,
		queue:  make(chan *request, maxGroup),
		quit:   make(chan struct{}),
		max:    int32(max(4, 2*runtime.GOMAXPROCS(0))),
	}
	e.readers = make(chan *sqliteConn, e.max)
	if err := e.start(ctx, schemas); err != nil {
		if e.pool != nil {
			e.pool.Close()
		}
		unlock()
		return nil, fmt.Errorf("database %s: %w", file, err)
	}
	return e, nil
}

func (e *sqliteEngine) start(ctx context.Context, schemas []Schema) error {
	if err := e.migrate(ctx, schemas); err != nil {
		return err
	}
	pool, err := e.open("FULL")
	if err != nil {
		return err
	}
	e.pool = pool
	pool.SetMaxIdleConns(0)
	w, err := e.connect(ctx)
	if err != nil {
		return err
	}
	e.wg.Go(func() { (&writer{e: e, c: w, patient: true}).run() })
	return nil
}

// open returns connections whose commits wait for the disk (FULL) or leave
// that to the checkpoint, which comes with the last one's end (NORMAL).
func (e *sqliteEngine) open(synchronous string) (*sql.DB, error) {
	return sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: e.path}).String()+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous("+synchronous+")"+
		"&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-8192)")
}

// migrate brings the schemas up to date, all with one wait for the disk.
func (e *sqliteEngine) migrate(ctx context.Context, schemas []Schema) error {
	db, err := e.open("NORMAL")
	if err != nil {
		return err
	}
	return errors.Join(migrate(ctx, db, goose.DialectSQLite3, schemas), db.Close())
}

func (e *sqliteEngine) connect(ctx context.Context) (*sqliteConn, error) {
	c, err := e.pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &sqliteConn{conn: c, stmts: map[string]*sql.Stmt{}}, nil
}

func (e *sqliteEngine) shared() bool    { return false }
func (e *sqliteEngine) announce(string) {}

// enter counts a transaction in, unless the database is closed.
func (e *sqliteEngine) enter() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return ErrClosed
	}
	e.active.Add(1)
	return nil
}

func (e *sqliteEngine) close() error {
	var err error
	e.closing.Do(func() {
		e.mu.Lock()
		e.closed = true
		e.mu.Unlock()
		e.active.Wait()
		close(e.quit)
		e.wg.Wait()
		for range e.opened.Load() {
			(<-e.readers).close()
		}
		err = errors.Join(e.pool.Close(), e.unlock())
	})
	return err
}

func (e *sqliteEngine) update(ctx context.Context, soon bool, fn func(*Tx) error) (*Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.active.Done()
	r := &request{soon: soon, turn: make(chan *Tx, 1), over: make(chan error, 1), done: make(chan error, 1)}
	select {
	case e.queue <- r:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var tx *Tx
	select {
	case tx = <-r.turn:
	case err := <-r.done: // no turn could be given
		return nil, err
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, left) {
			return nil, ctx.Err()
		}
		select {
		case tx = <-r.turn:
		case err := <-r.done:
			return nil, err
		}
	}
	r.use(tx, fn)
	if err := <-r.done; err != nil {
		return nil, err
	}
	return tx, nil
}

var errPanicked = errors.New("the transaction's function did not return")

// use runs fn in the caller's goroutine and gives the turn back, also when fn
// panics: then nothing of it is committed and the panic goes on.
func (r *request) use(tx *Tx, fn func(*Tx) error) {
	err := errPanicked
	defer func() { r.over <- err }()
	err = tx.run(fn)
}

// writer owns the writing connection.
type writer struct {
	e       *sqliteEngine
	c       *sqliteConn
	patient bool     // commits wait for the disk
	next    *request // was taken from the queue and begins the next group
}

// run serves requests until the engine closes.
func (w *writer) run() {
	defer w.c.close()
	var unsynced <-chan time.Time
	for {
		r := w.next
		if w.next = nil; r == nil {
			select {
			case r = <-w.e.queue:
			case <-unsynced:
				unsynced = nil
				w.e.sync()
				continue
			case <-w.e.quit:
				return
			}
		}
		w.group(r)
		if !w.patient && unsynced == nil {
			unsynced = time.After(soon)
		}
	}
}

// group serves the first request and those that wait behind it in one
// transaction of the database, and tells them once it is committed. When the
// first needs no wait for the disk, nor do the others.
func (w *writer) group(first *request) {
	if err := w.wait(!first.soon); err != nil {
		if first.state.CompareAndSwap(waiting, taken) {
			first.done <- err
		}
		return
	}
	var served []*request
	broken := error(nil)
	for r := first; r != nil && broken == nil; r = w.another(len(served)) {
		if !r.state.CompareAndSwap(waiting, taken) {
			continue
		}
		var ok bool
		if ok, broken = serve(w.c, r, len(served) > 0); ok {
			served = append(served, r)
		}
	}
	if len(served) == 0 {
		return
	}
	if broken == nil {
		broken = w.c.do("COMMIT")
	}
	if broken != nil {
		w.c.do("ROLLBACK")
	}
	for _, r := range served {
		r.done <- broken
	}
}

// wait says whether commits are to wait for the disk.
func (w *writer) wait(patient bool) error {
	if patient == w.patient {
		return nil
	}
	level := "NORMAL"
	if patient {
		level = "FULL"
	}
	// Not prepared: SQLite carries it out when it compiles it.
	if _, err := w.c.conn.ExecContext(context.Background(), "PRAGMA synchronous = "+level); err != nil {
		return err
	}
	w.patient = patient
	return nil
}

// another is the next request of a group. One that has to wait for the disk
// ends a group that does not.
func (w *writer) another(served int) *request {
	if served >= maxGroup {
		return nil
	}
	select {
	case r := <-w.e.queue:
		if !w.patient && !r.soon {
			w.next = r
			return nil
		}
		return r
	default:
		return nil
	}
}

// sync makes last what has been committed without waiting for the disk.
func (e *sqliteEngine) sync() {
	f, err := os.Open(e.path + "-wal")
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		slog.Error("database log not synced", "file", e.path, "err", err)
	}
}

// serve gives one request its turn. It reports whether the request's changes
// wait for the commit; if not, the request has been answered. The error says
// that the database's transaction is lost for all who share it.
func serve(c *sqliteConn, r *request, nested bool) (ok bool, broken error) {
	begin, undo := "BEGIN IMMEDIATE", []string{"ROLLBACK"}
	if nested {
		begin, undo = "SAVEPOINT one", []string{"ROLLBACK TO one", "RELEASE one"}
	}
	if err := c.do(begin); err != nil {
		r.done <- err
		if nested {
			return false, err
		}
		return false, nil
	}
	r.turn <- &Tx{conn: c}
	if err := <-r.over; err != nil {
		for _, u := range undo {
			if lost := c.do(u); lost != nil && nested {
				broken = lost
			}
		}
		r.done <- err
		return false, broken
	}
	if nested {
		if err := c.do("RELEASE one"); err != nil {
			r.done <- err
			return false, err
		}
	}
	return true, nil
}

func (e *sqliteEngine) view(ctx context.Context, fn func(*Tx) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.active.Done()
	c, err := e.reader(ctx)
	if err != nil {
		return err
	}
	defer func() { e.readers <- c }()
	if err := c.do("BEGIN"); err != nil {
		return err
	}
	defer c.do("ROLLBACK")
	c.readOnly = true
	return (&Tx{conn: c}).run(fn)
}

// reader waits for a reading connection, or opens one more.
func (e *sqliteEngine) reader(ctx context.Context) (*sqliteConn, error) {
	select {
	case c := <-e.readers:
		return c, nil
	default:
	}
	if n := e.opened.Add(1); n <= e.max {
		c, err := e.connect(ctx)
		if err != nil {
			e.opened.Add(-1)
		}
		return c, err
	}
	e.opened.Add(-1)
	select {
	case c := <-e.readers:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sqliteConn is one connection with its prepared statements.
type sqliteConn struct {
	conn     *sql.Conn
	stmts    map[string]*sql.Stmt
	readOnly bool
}

// maxStmts bounds the prepared statements of a connection.
const maxStmts = 1024

var errReadOnly = errors.New("View does not write")

// prepare ignores the caller's context, and so do exec and query: SQLite would
// answer an interrupt by rolling back the whole group.
func (c *sqliteConn) prepare(text string) (*sql.Stmt, error) {
	if s, ok := c.stmts[text]; ok {
		return s, nil
	}
	if len(c.stmts) >= maxStmts {
		c.forget()
	}
	s, err := c.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	c.stmts[text] = s
	return s, nil
}

func (c *sqliteConn) forget() {
	for _, s := range c.stmts {
		s.Close()
	}
	clear(c.stmts)
}

func (c *sqliteConn) close() {
	c.forget()
	c.conn.Close()
}

func (c *sqliteConn) do(text string) error {
	s, err := c.prepare(text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background())
	return err
}

func (c *sqliteConn) exec(_ context.Context, text string, args []any) (int64, error) {
	if c.readOnly {
		return 0, errReadOnly
	}
	s, err := c.prepare(text)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (c *sqliteConn) query(_ context.Context, text string, args []any) (rows, error) {
	s, err := c.prepare(text)
	if err != nil {
		return nil, err
	}
	r, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return nil, err
	}
	return sqliteRows{r}, nil
}

type sqliteRows struct{ *sql.Rows }

func (r sqliteRows) columns() ([]string, error) { return r.Rows.Columns() }

// close reads to the end, so that a statement that writes and returns rows is
// carried out whole.
func (r sqliteRows) close() error {
	for r.Next() {
	}
	err := r.Err()
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return err
}

func sqliteUnique(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}
