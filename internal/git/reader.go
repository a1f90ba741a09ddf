package git

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pool keeps "git cat-file" processes for the repositories that were read
// last.
type pool struct {
	store *Store
	slots chan struct{} // held by readers in use
	ttl   time.Duration

	mu     sync.Mutex
	idle   []*catFile // longest idle first
	sweep  *time.Timer
	closed bool
}

// catFile is one "git cat-file --batch-command" process.
type catFile struct {
	dir   string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	since time.Time // idle since
}

func newPool(s *Store, most int, ttl time.Duration) *pool {
	return &pool{store: s, slots: make(chan struct{}, most), ttl: ttl}
}

// take returns a process for the repository in dir, an idle one if there is
// one. It waits while too many are in use.
func (p *pool) take(ctx context.Context, dir string) (*catFile, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := p.pick(dir); c != nil {
		return c, nil
	}
	c, err := p.start(dir)
	if err != nil {
		<-p.slots
	}
	return c, err
}

func (p *pool) pick(dir string) *catFile {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		if c := p.idle[i]; c.dir == dir {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return c
		}
	}
	return nil
}

func (p *pool) start(dir string) (*catFile, error) {
	cmd := p.store.command(context.Background(), dir, "cat-file", "--batch-command")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &catFile{dir: dir, cmd: cmd, in: in, out: bufio.NewReaderSize(out, 32<<10)}, nil
}

// give takes a process back. One that is not clean is ended.
func (p *pool) give(c *catFile, clean bool) {
	defer func() { <-p.slots }()
	var surplus *catFile
	p.mu.Lock()
	if !clean || p.closed {
		surplus = c
	} else {
		c.since = time.Now()
		p.idle = append(p.idle, c)
		if len(p.idle) > cap(p.slots) {
			surplus, p.idle = p.idle[0], p.idle[1:]
		}
		p.schedule()
	}
	p.mu.Unlock()
	if surplus != nil {
		surplus.end()
	}
}

// schedule sees to it that idle processes are looked after. p.mu is held.
func (p *pool) schedule() {
	if p.sweep == nil && len(p.idle) > 0 {
		p.sweep = time.AfterFunc(time.Until(p.idle[0].since.Add(p.ttl)), p.expire)
	}
}

// expire ends the processes that have been idle for too long.
func (p *pool) expire() {
	p.drop(func(c *catFile) bool { return time.Since(c.since) >= p.ttl })
}

// forget ends the idle processes of a repository.
func (p *pool) forget(dir string) {
	p.drop(func(c *catFile) bool { return c.dir == dir })
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop(func(*catFile) bool { return true })
}

func (p *pool) drop(which func(*catFile) bool) {
	var dropped []*catFile
	p.mu.Lock()
	kept := p.idle[:0]
	for _, c := range p.idle {
		if which(c) {
			dropped = append(dropped, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	p.schedule()
	p.mu.Unlock()
	for _, c := range dropped {
		c.end()
	}
}

// end ends the process and waits for it. A reader has nothing to lose.
func (c *catFile) end() {
	c.in.Close()
	kill(c.cmd)
	_ = c.cmd.Wait()
}

// Reader reads objects of one repository, over one process that is its own
// until Close. It is not safe for concurrent use.
type Reader struct {
	pool  *pool
	proc  *catFile
	dirty bool // the stream is somewhere in the middle of an answer
}

// Reader returns a reader of the repository's objects.
func (r *Repository) Reader(ctx context.Context) (*Reader, error) {
	if !r.Exists() {
		return nil, ErrNoRepository
	}
	c, err := r.store.readers.take(ctx, r.dir)
	if err != nil {
		return nil, err
	}
	return &Reader{pool: r.store.readers, proc: c}, nil
}

// Close gives the process back.
func (o *Reader) Close() {
	if o.proc != nil {
		o.pool.give(o.proc, !o.dirty)
		o.proc = nil
	}
}

// Type is the kind of an object.
type Type string

// Kinds of object.
const (
	CommitObject Type = "commit"
	TreeObject   Type = "tree"
	BlobObject   Type = "blob"
	TagObject    Type = "tag"
)

// Stat returns an object's type and size. id is a whole object id.
func (o *Reader) Stat(id string) (Type, int64, error) { return o.ask("info", id) }

// ask sends one request and reads the line that answers it.
func (o *Reader) ask(verb, id string) (Type, int64, error) {
	if !IsObjectID(id) {
		return "", 0, fmt.Errorf("object %q: %w", id, ErrNotFound)
	}
	o.dirty = true
	if _, err := io.WriteString(o.proc.in, verb+" "+id+"\n"); err != nil {
		return "", 0, fmt.Errorf("git cat-file: %w", err)
	}
	line, err := o.proc.out.ReadString('\n')
	if err != nil {
		return "", 0, fmt.Errorf("git cat-file: %w", err)
	}
	f := strings.Fields(line)
	if len(f) == 2 && f[1] == "missing" {
		o.dirty = false
		return "", 0, fmt.Errorf("object %s: %w", id, ErrNotFound)
	}
	if len(f) != 3 || f[0] != id {
		return "", 0, fmt.Errorf("git cat-file said %q", line)
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("git cat-file said %q", line)
	}
	o.dirty = verb == "contents"
	return Type(f[1]), size, nil
}

// maxObject bounds the commits, trees and tags that are read as a whole.
const maxObject = 64 << 20

// read returns a whole object of one type.
func (o *Reader) read(id string, want Type, most int64) ([]byte, error) {
	var data []byte
	err := o.stream(id, want, func(size int64, body io.Reader) error {
		if size > most {
			return &TooLargeError{ID: id, Size: size}
		}
		data = make([]byte, size)
		_, err := io.ReadFull(body, data)
		return err
	})
	return data, err
}

// TooLargeError is returned for an object larger than the caller takes.
type TooLargeError struct {
	ID   string
	Size int64
}

func (e *TooLargeError) Error() string { return fmt.Sprintf("object %s has %d bytes", e.ID, e.Size) }

// stream passes an object's body to fn. An object of another type counts as
// absent.
func (o *Reader) stream(id string, want Type, fn func(size int64, body io.Reader) error) error {
	typ, size, err := o.ask("contents", id)
	if err != nil {
		return err
	}
	body := &io.LimitedReader{R: o.proc.out, N: size}
	if typ != want {
		err = fmt.Errorf("object %s is a %s, not a %s: %w", id, typ, want, ErrNotFound)
	} else {
		err = fn(size, body)
	}
	// What is left is skipped if that is cheaper than another process.
	const cheap = 1 << 20
	if body.N > cheap {
		return err
	}
	if _, derr := o.proc.out.Discard(int(body.N) + 1); derr != nil {
		return fmt.Errorf("git cat-file: %w", derr)
	}
	o.dirty = false
	return err
}

// Blob returns a file's content. One larger than most bytes is a
// *TooLargeError.
func (o *Reader) Blob(id string, most int64) ([]byte, error) { return o.read(id, BlobObject, most) }

// CopyBlob writes a file's content to w, whatever its size.
func (o *Reader) CopyBlob(id string, w io.Writer) (int64, error) {
	var n int64
	err := o.stream(id, BlobObject, func(_ int64, body io.Reader) error {
		var err error
		n, err = io.Copy(w, body)
		return err
	})
	return n, err
}
