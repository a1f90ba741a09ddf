package policyeval

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
)

// ErrNotLines is Run's error when no line of the input is a JSON object.
var ErrNotLines = errors.New("the input is not JSON lines")

// Options say how Run answers.
type Options struct {
	// DecisionOnly leaves out everything but id and decision.
	DecisionOnly bool
	// Workers is the number of lines that are answered side by side; 0 means
	// one for each processor.
	Workers int
}

const (
	// readSize is how much of the input is taken at once, at most.
	readSize = 256 << 10
	// maxLine bounds a line.
	maxLine = 16 << 20
)

// Run answers the lines of in, in order, each with a line on out. Answers are
// written as soon as they are known: when the input pauses, every line that
// has come is answered. Its error is ErrNotLines, that of reading or writing,
// or ctx's.
func Run(ctx context.Context, in io.Reader, out io.Writer, o Options) error {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	r := &runner{
		ctx:   ctx,
		work:  make(chan *batch, o.Workers),
		queue: make(chan *batch, 4*o.Workers),
		quit:  make(chan struct{}),
	}
	for range o.Workers {
		go r.answer(newEvaluator(o.DecisionOnly))
	}
	go r.read(in)
	return r.write(out)
}

// batch is some lines on their way.
type batch struct {
	text    string // whole lines; a last one may lack its end
	out     []byte
	lines   int
	objects int // lines that are JSON objects
	done    chan struct{}
}

// runner joins a reader, which may wait for its input for ever, some workers
// and a writer. The writer decides when it is over.
type runner struct {
	ctx     context.Context
	work    chan *batch   // to the workers
	queue   chan *batch   // the same, in order, to the writer
	quit    chan struct{} // closed when the writer has ended
	readErr error         // set before queue is closed
}

// read cuts the input into batches: whatever lines one Read returns.
func (r *runner) read(in io.Reader) {
	defer close(r.queue)
	defer close(r.work)
	buf := make([]byte, 0, readSize)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)] // a line longer than the buffer
		}
		n, err := in.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		end := bytes.LastIndexByte(buf, '\n') + 1
		if err != nil {
			end = len(buf)
		}
		if end > 0 && !r.send(string(buf[:end])) {
			return
		}
		buf = buf[:copy(buf, buf[end:])]
		if err == io.EOF {
			return
		}
		if err == nil && len(buf) > maxLine {
			err = errors.New("a line is longer than 16 MiB")
		}
		if err != nil {
			r.readErr = err
			return
		}
	}
}

// send gives lines to the workers and the writer; it reports false when the
// writer has ended.
func (r *runner) send(text string) bool {
	b := &batch{text: text, done: make(chan struct{})}
	for _, to := range [...]chan *batch{r.queue, r.work} {
		select {
		case to <- b:
		case <-r.quit:
			return false
		}
	}
	return true
}

// answer answers batches until there are no more.
func (r *runner) answer(e *evaluator) {
	for b := range r.work {
		b.out = make([]byte, 0, len(b.text)/8)
		for line := range strings.SplitSeq(b.text, "\n") {
			if strings.TrimRight(line, " \t\r") == "" {
				continue
			}
			var isObject bool
			b.out, isObject = e.answer(b.out, line)
			b.lines++
			if isObject {
				b.objects++
			}
		}
		close(b.done)
	}
}

// write writes the answers in order.
func (r *runner) write(out io.Writer) error {
	defer close(r.quit)
	lines, objects := 0, 0
	for {
		var b *batch
		var more bool
		select {
		case b, more = <-r.queue:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
		if !more {
			break
		}
		select {
		case <-b.done:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
		if _, err := out.Write(b.out); err != nil {
			return err
		}
		lines, objects = lines+b.lines, objects+b.objects
	}
	if r.readErr != nil {
		return r.readErr
	}
	if lines > 0 && objects == 0 {
		return ErrNotLines
	}
	return nil
}
