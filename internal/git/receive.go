package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// finish is how long git may take to check and store a push after its last
// byte has come in.
const finish = 30 * time.Minute

// Push is one POST of a git push, and who decides about it.
type Push struct {
	// Protocol is the value of the Git-Protocol header.
	Protocol string
	In       io.Reader
	Out      io.Writer
	// Authorise decides about one ref update before git sees it. It returns
	// why the update is refused, in the words git shows beside the ref's
	// name, or "". An error refuses the whole push.
	Authorise func(ctx context.Context, c Command) (refusal string, err error)
	// Begin is told the updates that git will be asked for, before it is. It
	// is not called when there are none. An error refuses the whole push.
	Begin func(ctx context.Context, commands []Command) error
	// Record is told which updates have taken place, on disk and synced,
	// before the client is: also when there are none, once after each Begin.
	// Its context does not end with the client. An error is told to the
	// client as a failure, though the refs have moved.
	Record func(ctx context.Context, changed []Command) error
}

// ReceivePack answers one POST of a push. Errors are returned only while
// nothing has been written to Out; refusals are written there.
func (r *Repository) ReceivePack(ctx context.Context, p Push) error {
	if !r.Exists() {
		return ErrNoRepository
	}
	ctx, w := newWatch(ctx, r.store.stall)
	defer w.stop()
	br := bufio.NewReaderSize(watchedReader{p.In, w}, 64<<10)
	req, err := readPush(br)
	if errors.Is(err, errTooMany) {
		return r.refuseAll(req, br, p.Out, err.Error())
	}
	if err != nil {
		return err
	}
	if len(req.commands) == 0 {
		return nil
	}
	rep := &report{unpack: "ok", refs: map[string]verdict{}}
	allowed, err := r.judge(ctx, p, req, rep)
	if err != nil {
		return err
	}
	if len(allowed) == 0 {
		if err := drain(br, req.commands); err != nil {
			return err
		}
		return answer(p.Out, req, rep)
	}
	if err := p.Begin(ctx, allowed); err != nil {
		return err
	}
	changed := r.receive(ctx, p, req, br, allowed, rep)
	w.stop()
	if err := r.record(ctx, p, changed); err != nil {
		for _, c := range changed {
			rep.refs[c.Ref] = refused("the update could not be recorded")
		}
		if werr := answer(p.Out, req, rep); werr != nil {
			return err
		}
		return nil
	}
	return answer(p.Out, req, rep)
}

// judge asks about each command and returns the allowed ones; the fate of the
// others is in rep. With an atomic push one refusal refuses them all.
func (r *Repository) judge(ctx context.Context, p Push, req *pushRequest, rep *report) ([]Command, error) {
	var allowed []Command
	for _, c := range req.commands {
		if !CheckRefName(c.Ref) {
			rep.refs[c.Ref] = refused("funny refname")
			continue
		}
		refusal, err := p.Authorise(ctx, c)
		if err != nil {
			return nil, err
		}
		if refusal != "" {
			rep.refs[c.Ref] = refused(strings.ReplaceAll(refusal, "\n", " "))
			continue
		}
		allowed = append(allowed, c)
	}
	if req.has("atomic") && len(allowed) < len(req.commands) {
		for _, c := range allowed {
			rep.refs[c.Ref] = refused("atomic push failure")
		}
		return nil, nil
	}
	return allowed, nil
}

// receive has git take the allowed commands and the pack. It returns what has
// changed on disk, and completes rep.
func (r *Repository) receive(ctx context.Context, p Push, req *pushRequest, pack *bufio.Reader, allowed []Command, rep *report) []Command {
	progress := io.Discard
	if req.has("side-band-64k") {
		progress = p.Out
	}
	data, err := r.runReceive(ctx, p.Protocol, req.encode(allowed), pack, sendsPack(req.commands), sendsPack(allowed), progress)
	var verdicts *report
	if err == nil {
		verdicts, err = parseReport(data)
	}
	if err != nil {
		return r.changedOnDisk(ctx, allowed, rep, err)
	}
	rep.unpack = verdicts.unpack
	var changed []Command
	for _, c := range allowed {
		v, known := verdicts.refs[c.Ref]
		if !known {
			continue
		}
		rep.refs[c.Ref] = v
		if v.ok && c.Old != c.New {
			changed = append(changed, c)
		}
	}
	return changed
}

// changedOnDisk finds out what became of a push whose git died: some refs may
// have moved.
func (r *Repository) changedOnDisk(ctx context.Context, allowed []Command, rep *report, cause error) []Command {
	r.store.log.Warn("git has not finished a push", "repository", r.name, "error", cause)
	rep.unpack = strings.ReplaceAll(cause.Error(), "\n", " ")
	refs, err := r.Refs(context.WithoutCancel(ctx))
	var changed []Command
	for _, c := range allowed {
		now := or(refs[c.Ref], Zero)
		if err == nil && now == c.New && c.Old != c.New {
			rep.refs[c.Ref] = verdict{ok: true}
			changed = append(changed, c)
			continue
		}
		rep.refs[c.Ref] = refused("unpacker error")
	}
	return changed
}

// runReceive runs git receive-pack and returns its report. Progress is passed
// on as it comes.
func (r *Repository) runReceive(ctx context.Context, protocol string, commands []byte, pack *bufio.Reader, hasPack, wantsPack bool, progress io.Writer) ([]byte, error) {
	if err := r.store.acquire(ctx); err != nil {
		return nil, err
	}
	defer r.store.release()

	// Once git has the whole pack, a client that goes away stops nothing.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	var sent atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		if !sent.Load() {
			cancel()
		}
	})
	defer stop()

	cmd := r.serving(whole, ReceivePack, protocolFor(ReceivePack, protocol))
	said := &tail{}
	cmd.Stderr = said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	fed := make(chan error, 1)
	go func() {
		err := feed(stdin, commands, pack, hasPack, wantsPack)
		if err == nil {
			sent.Store(true)
		} else {
			cancel()
		}
		fed <- err
	}()
	data, err := demux(bufio.NewReaderSize(stdout, 64<<10), progress)
	if err != nil {
		cancel()
	}
	werr := cmd.Wait()
	if err != nil || werr != nil {
		kill(cmd)
	}
	ferr := endOfFeed(ctx, fed)
	switch {
	case err == nil:
		return data, nil
	case ferr != nil:
		return nil, fmt.Errorf("the push broke off: %w", ferr)
	case werr != nil:
		return nil, fmt.Errorf("git receive-pack: %w: %s", werr, said)
	}
	return nil, err
}

// endOfFeed waits for the feeding goroutine: a client sends its whole pack
// before it reads the answer. One that has gone is not waited for.
func endOfFeed(ctx context.Context, fed <-chan error) error {
	select {
	case err := <-fed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// feed writes the commands and the pack to git and ends its input.
func feed(stdin io.WriteCloser, commands []byte, pack *bufio.Reader, hasPack, wantsPack bool) error {
	defer stdin.Close()
	if _, err := stdin.Write(commands); err != nil {
		return err
	}
	if !hasPack {
		return nil
	}
	if !wantsPack {
		_, err := io.Copy(io.Discard, pack)
		return err
	}
	_, err := io.Copy(stdin, pack)
	if isBrokenPipe(err) {
		// Git has enough, or too much of it: its report says which. The
		// client goes on sending until it is done.
		_, err = io.Copy(io.Discard, pack)
	}
	return err
}

// demux takes the side band apart: it returns the report, and passes on
// progress packets. A client that cannot be written to misses the rest.
func demux(br *bufio.Reader, progress io.Writer) ([]byte, error) {
	var data, packet []byte
	buf := make([]byte, maxPacket)
	for {
		line, kind, err := readPacket(br, buf)
		if err != nil {
			return nil, malformed(err)
		}
		if kind == flushPacket {
			return data, nil
		}
		if kind != dataPacket || len(line) == 0 {
			return nil, fmt.Errorf("%w: from git receive-pack", ErrProtocol)
		}
		switch line[0] {
		case bandData:
			if data = append(data, line[1:]...); len(data) > maxReport {
				return nil, fmt.Errorf("%w: the report is too long", ErrProtocol)
			}
		case bandProgress:
			packet = append(fmt.Appendf(packet[:0], "%04x", len(line)+4), line...)
			if _, err := progress.Write(packet); err != nil {
				progress = io.Discard
			}
		case bandError:
			return nil, fmt.Errorf("git receive-pack: %s", strings.TrimSpace(string(line[1:])))
		}
	}
}

// record syncs the directories of what has changed and tells the caller.
func (r *Repository) record(ctx context.Context, p Push, changed []Command) error {
	ctx = context.WithoutCancel(ctx)
	if len(changed) == 0 {
		return p.Record(ctx, nil)
	}
	// What is not certain to last is recorded all the same, because it has
	// taken place, but it is not acknowledged.
	return errors.Join(r.syncRefs(changed), p.Record(ctx, changed))
}

// syncRefs makes the directory entries of refs and packs last: git syncs the
// files, not the directories they are renamed into.
func (r *Repository) syncRefs(changed []Command) error {
	dirs := []string{filepath.Join(r.dir, "objects", "pack"), r.dir}
	for _, c := range changed {
		for d := filepath.Dir(filepath.FromSlash(c.Ref)); d != "."; d = filepath.Dir(d) {
			if dir := filepath.Join(r.dir, d); !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	// Side by side: the file system makes them last in one go.
	var g errgroup.Group
	for _, d := range dirs {
		g.Go(func() error {
			err := syncDir(d)
			if isNotExist(err) {
				return nil // a directory that deletion has emptied
			}
			return err
		})
	}
	return g.Wait()
}

// drain reads a pack nobody wants: clients send all of it before they read
// the answer.
func drain(br *bufio.Reader, commands []Command) error {
	if !sendsPack(commands) {
		return nil
	}
	_, err := io.Copy(io.Discard, br)
	return err
}

// refuseAll answers a push that is refused as a whole.
func (r *Repository) refuseAll(req *pushRequest, br *bufio.Reader, out io.Writer, why string) error {
	if _, err := io.Copy(io.Discard, br); err != nil {
		return err
	}
	if req.has("side-band-64k") {
		_, err := out.Write(append(appendBand(nil, bandError, []byte(why+"\n")), flush...))
		return err
	}
	_, err := out.Write(appendPacket(nil, "ERR "+why+"\n"))
	return err
}

// answer writes the report in the form the client asked for.
func answer(out io.Writer, req *pushRequest, rep *report) error {
	var data []byte
	if req.has("report-status") || req.has("report-status-v2") {
		data = rep.encode(req.commands)
	}
	if req.has("side-band-64k") {
		data = append(appendBand(nil, bandData, data), flush...)
	}
	if len(data) == 0 {
		return nil
	}
	_, err := out.Write(data)
	return err
}
