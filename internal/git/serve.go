package git

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Service is what a client asks a repository for.
type Service string

const (
	// UploadPack serves fetches and clones.
	UploadPack Service = "git-upload-pack"
	// ReceivePack takes pushes.
	ReceivePack Service = "git-receive-pack"
)

// protocolFor turns the value of a Git-Protocol header into what git may see.
// Pushing has no version 2; clients that ask for it mean version 0.
func protocolFor(service Service, header string) string {
	version := ""
	for _, part := range strings.Split(header, ":") {
		if part == "version=1" || part == "version=2" && service == UploadPack {
			version = max(version, part)
		}
	}
	return version
}

// Advertise writes the answer to GET info/refs. protocol is the value of the
// Git-Protocol header.
func (r *Repository) Advertise(ctx context.Context, service Service, protocol string, out io.Writer) error {
	if !r.Exists() {
		return ErrNoRepository
	}
	if err := r.store.acquire(ctx); err != nil {
		return err
	}
	defer r.store.release()
	ctx, w := newWatch(ctx, r.store.stall)
	defer w.stop()
	version := protocolFor(service, protocol)
	cmd := r.serving(ctx, service, version, "--http-backend-info-refs")
	first := &lazily{w: watchedWriter{out, w}}
	if version != "version=2" {
		first.head = append(appendPacket(nil, "# service="+string(service)+"\n"), flush...)
	}
	cmd.Stdout = first
	return runServing(ctx, cmd)
}

// UploadPack answers one POST of a fetch: it reads the request from in and
// writes the answer to out as git makes it.
func (r *Repository) UploadPack(ctx context.Context, protocol string, in io.Reader, out io.Writer) error {
	if !r.Exists() {
		return ErrNoRepository
	}
	if err := r.store.acquire(ctx); err != nil {
		return err
	}
	defer r.store.release()
	ctx, w := newWatch(ctx, r.store.stall)
	defer w.stop()
	cmd := r.serving(ctx, UploadPack, protocolFor(UploadPack, protocol))
	cmd.Stdin, cmd.Stdout = watchedReader{in, w}, watchedWriter{out, w}
	return runServing(ctx, cmd)
}

// serving prepares "git upload-pack" or "git receive-pack" for one stateless
// exchange.
func (r *Repository) serving(ctx context.Context, service Service, version string, flags ...string) *exec.Cmd {
	args := append([]string{strings.TrimPrefix(string(service), "git-"), "--stateless-rpc"}, flags...)
	cmd := r.store.command(ctx, r.dir, append(args, ".")...)
	if version != "" {
		// A fresh slice: the store's environment is shared.
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "GIT_PROTOCOL="+version)
	}
	return cmd
}

// runServing runs a serving process to its end and leaves no helper of it
// behind.
func runServing(ctx context.Context, cmd *exec.Cmd) error {
	said := &tail{}
	cmd.Stderr = said
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if cmd.Process != nil {
		kill(cmd)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if said.blames("protocol error:", "the remote end hung up unexpectedly") {
		err = ErrProtocol
	}
	return fmt.Errorf("git %s: %w: %s", cmd.Args[1], err, said)
}

// lazily writes head before the first byte: a process that dies at once has
// then written nothing, and the caller can still answer with an error.
type lazily struct {
	w    io.Writer
	head []byte
}

func (l *lazily) Write(p []byte) (int, error) {
	if l.head == nil {
		return l.w.Write(p)
	}
	joined := bytes.Join([][]byte{l.head, p}, nil)
	l.head = nil
	if _, err := l.w.Write(joined); err != nil {
		return 0, err
	}
	return len(p), nil
}
