package git

import (
	"context"
	"errors"
	"io"
	"time"
)

// errStalled ends an exchange whose client neither sends nor takes anything.
var errStalled = errors.New("the git client has stalled")

// watch ends a context when nothing has moved for a while: a client that
// keeps its connection open and does nothing must not keep a process. An end
// that is blocked in a Read or Write stays blocked until the connection's
// owner breaks it.
type watch struct {
	timer *time.Timer
	limit time.Duration
}

func newWatch(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watch{limit: limit, timer: time.AfterFunc(limit, func() { cancel(errStalled) })}
}

func (w *watch) stop() { w.timer.Stop() }

// moved notes that the client has done something. A watch that has been
// stopped stays so.
func (w *watch) moved() {
	if w.timer.Stop() {
		w.timer.Reset(w.limit)
	}
}

// watchedReader and watchedWriter are a client's ends of an exchange.
type (
	watchedReader struct {
		io.Reader
		*watch
	}
	watchedWriter struct {
		io.Writer
		*watch
	}
)

func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.moved()
	return n, err
}

func (w watchedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.moved()
	return n, err
}
