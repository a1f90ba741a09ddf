package git

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server is the least HTTP around a repository, and what it was told.
type server struct {
	*httptest.Server
	repo *Repository

	mu       sync.Mutex
	refuse   map[string]string
	began    [][]Command
	recorded [][]Command
	fail     error
	requests int
}

func newStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newRepository(t testing.TB) *Repository {
	t.Helper()
	r, err := newStore(t, Options{}).Repository("111122223333/eu-central-1/x.git")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Create(); err != nil {
		t.Fatal(err)
	}
	return r
}

func serve(t testing.TB, r *Repository) *server {
	s := &server{repo: r, refuse: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	body := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(q.Body)
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		body = z
	}
	protocol := q.Header.Get("Git-Protocol")
	out := flushing{w}
	var err error
	switch {
	case strings.HasSuffix(q.URL.Path, "/info/refs"):
		service := Service(q.URL.Query().Get("service"))
		w.Header().Set("Content-Type", "application/x-"+string(service)+"-advertisement")
		err = s.repo.Advertise(q.Context(), service, protocol, out)
	case strings.HasSuffix(q.URL.Path, "/git-upload-pack"):
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		err = s.repo.UploadPack(q.Context(), protocol, body, out)
	case strings.HasSuffix(q.URL.Path, "/git-receive-pack"):
		w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
		err = s.repo.ReceivePack(q.Context(), s.push(protocol, body, out))
	}
	if err != nil {
		http.Error(w, err.Error(), 500)
	}
}

func (s *server) push(protocol string, in io.Reader, out io.Writer) Push {
	return Push{
		Protocol: protocol, In: in, Out: out,
		Authorise: func(_ context.Context, c Command) (string, error) { return s.refuse[c.Ref], nil },
		Begin: func(_ context.Context, c []Command) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.began = append(s.began, c)
			return nil
		},
		Record: func(_ context.Context, c []Command) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.recorded = append(s.recorded, c)
			return s.fail
		},
	}
}

type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.w.(http.Flusher).Flush()
	return n, err
}

// client is a working copy driven by the real git.
type client struct {
	t   testing.TB
	dir string
}

func newClient(t testing.TB, url string) *client {
	c := &client{t: t, dir: t.TempDir()}
	c.ok("init", "-q", "-b", "main")
	c.ok("remote", "add", "origin", url+"/repo")
	return c
}

func (c *client) run(args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Cem", "GIT_COMMITTER_EMAIL=cem@example.com",
		"GIT_AUTHOR_DATE=1700000000 +0100", "GIT_COMMITTER_DATE=1700000001 +0100", "LC_ALL=C", "no_proxy=*")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (c *client) ok(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *client) fails(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err == nil {
		c.t.Fatalf("git %s succeeded:\n%s", strings.Join(args, " "), out)
	}
	return out
}

// commit writes files ("name=content") and commits them.
func (c *client) commit(message string, files ...string) string {
	c.t.Helper()
	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		path := filepath.Join(c.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			c.t.Fatal(err)
		}
	}
	c.ok("add", "-A")
	c.ok("commit", "-q", "--allow-empty", "-m", message)
	return c.ok("rev-parse", "HEAD")
}

// children counts the processes whose parent we are.
func children(t testing.TB) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("no /proc to count children in")
	}
	var kids []string
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		text := string(data)
		f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if f[1] == strconv.Itoa(os.Getpid()) {
			kids = append(kids, text)
		}
	}
	return kids
}

func noChildren(t testing.TB) {
	t.Helper()
	var kids []string
	for range 100 {
		if kids = children(t); len(kids) == 0 {
			return
		}
		time.Sleep(30 * time.Millisecond)
	}
	t.Errorf("processes left:\n%s", strings.Join(kids, ""))
}

func TestPushAndClone(t *testing.T) {
	for _, version := range []string{"0", "1", "2"} {
		t.Run("v"+version, func(t *testing.T) {
			r := newRepository(t)
			s := serve(t, r)
			c := newClient(t, s.URL)
			c.ok("config", "protocol.version", version)
			id := c.commit("first", "a.txt=one", "dir/b.txt=two")
			c.ok("push", "origin", "main")
			want := [][]Command{{{Ref: "refs/heads/main", Old: Zero, New: id}}}
			if diff := cmp.Diff(want, s.recorded); diff != "" {
				t.Errorf("recorded (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, s.began); diff != "" {
				t.Errorf("began (-want +got):\n%s", diff)
			}
			second := c.commit("second", "a.txt=three")
			c.ok("push", "origin", "main", "HEAD:refs/tags/v1")
			other := newClient(t, s.URL)
			other.ok("config", "protocol.version", version)
			other.ok("fetch", "origin", "main", "--tags")
			if got := other.ok("rev-parse", "FETCH_HEAD"); got != second {
				t.Errorf("fetched %s, want %s", got, second)
			}
			c.ok("push", "origin", ":refs/tags/v1")
			refs, err := r.Refs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"refs/heads/main": second}, refs); diff != "" {
				t.Errorf("refs (-want +got):\n%s", diff)
			}
			r.store.Close()
			noChildren(t)
		})
	}
}

func TestEmptyRepositoryClones(t *testing.T) {
	s := serve(t, newRepository(t))
	c := newClient(t, s.URL)
	if out := c.ok("ls-remote", "origin"); out != "" {
		t.Errorf("ls-remote of nothing: %q", out)
	}
	out := c.ok("clone", s.URL+"/repo", filepath.Join(t.TempDir(), "x"))
	if !strings.Contains(out, "empty repository") {
		t.Errorf("clone said %q", out)
	}
}

func TestRefusedRefIsNamed(t *testing.T) {
	const text = "You don't have permission to push changes to this branch"
	r := newRepository(t)
	s := serve(t, r)
	s.refuse["refs/heads/main"] = text
	c := newClient(t, s.URL)
	id := c.commit("first", "a=1")
	out := c.fails("push", "origin", "main", "HEAD:refs/heads/dev")
	if !strings.Contains(out, "! [remote rejected] main -> main ("+text+")") || !strings.Contains(out, "[new branch]      HEAD -> dev") {
		t.Errorf("push said:\n%s", out)
	}
	want := [][]Command{{{Ref: "refs/heads/dev", Old: Zero, New: id}}}
	if diff := cmp.Diff(want, s.recorded); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if out := c.fails("push", "origin", "main"); !strings.Contains(out, text) {
		t.Errorf("push said:\n%s", out)
	}
	if len(s.recorded) != 1 {
		t.Errorf("a push that was refused as a whole was recorded: %v", s.recorded)
	}
	out = c.fails("push", "--atomic", "origin", "HEAD:refs/heads/new", "main")
	if !strings.Contains(out, "atomic") || !strings.Contains(out, text) {
		t.Errorf("atomic push said:\n%s", out)
	}
	refs, err := r.Refs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"refs/heads/dev": id}, refs); diff != "" {
		t.Errorf("refs (-want +got):\n%s", diff)
	}
	// A refused update beside an allowed deletion: the pack is for nobody.
	c.commit("second", "a=2")
	out = c.fails("push", "origin", "main", ":refs/heads/dev")
	if !strings.Contains(out, "[deleted]") {
		t.Errorf("push said:\n%s", out)
	}
}

func TestAtomicPush(t *testing.T) {
	s := serve(t, newRepository(t))
	c := newClient(t, s.URL)
	c.commit("first", "a=1")
	c.ok("push", "--atomic", "origin", "main", "HEAD:refs/heads/dev")
	if len(s.recorded) != 1 || len(s.recorded[0]) != 2 {
		t.Errorf("recorded %v", s.recorded)
	}
}

func TestPushOptionsAreIgnored(t *testing.T) {
	s := serve(t, newRepository(t))
	c := newClient(t, s.URL)
	c.commit("first", "a=1")
	c.ok("push", "-o", "ci.skip", "-o", "x=y", "origin", "main")
}

func TestPushThatGitRefuses(t *testing.T) {
	r := newRepository(t)
	s := serve(t, r)
	c := newClient(t, s.URL)
	c.commit("first", "a=1")
	c.ok("push", "origin", "main")
	out := c.fails("push", "origin", ":refs/heads/main")
	if !strings.Contains(out, "deletion of the current branch prohibited") {
		t.Errorf("deleting the default branch said:\n%s", out)
	}
	if got := s.recorded[len(s.recorded)-1]; len(got) != 0 {
		t.Errorf("recorded %v", got)
	}
}

func TestPushThatCannotBeRecorded(t *testing.T) {
	s := serve(t, newRepository(t))
	s.fail = errors.New("database is gone")
	c := newClient(t, s.URL)
	c.commit("first", "a=1")
	if out := c.fails("push", "origin", "main"); !strings.Contains(out, "could not be recorded") {
		t.Errorf("push said:\n%s", out)
	}
}

func TestTooManyCommands(t *testing.T) {
	s := serve(t, newRepository(t))
	c := newClient(t, s.URL)
	id := c.commit("first", "a=1")
	var refs strings.Builder
	for i := range MaxCommands + 1 {
		fmt.Fprintf(&refs, "%s refs/tags/t%d\n", id, i)
	}
	if err := os.WriteFile(filepath.Join(c.dir, ".git", "packed-refs"), []byte(refs.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	if out := c.fails("push", "origin", "--tags"); !strings.Contains(out, "Too many reference update commands") {
		t.Errorf("push said:\n%s", out)
	}
}

func TestHooksDoNotRun(t *testing.T) {
	r := newRepository(t)
	mark := filepath.Join(t.TempDir(), "ran")
	for _, hook := range []string{"pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive"} {
		path := filepath.Join(r.dir, "hooks", hook)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch "+mark+"\nexit 1\n"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, r)
	c := newClient(t, s.URL)
	c.commit("first", "a=1")
	c.ok("push", "origin", "main")
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a hook ran")
	}
}

// A client that goes away in the middle of its pack, or of reading a clone,
// leaves no process and no change behind.
func TestVanishingClients(t *testing.T) {
	r := newRepository(t)
	s := serve(t, r)
	c := newClient(t, s.URL)
	noise := strings.Repeat("0123456789abcdef", 1<<16)
	c.commit("first", "big="+noise)
	c.ok("push", "origin", "main")
	id := c.commit("second", "a=2")

	t.Run("push", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		body, w := io.Pipe()
		done := make(chan error, 1)
		p := s.push("", body, io.Discard)
		go func() { done <- r.ReceivePack(ctx, p) }()
		line := Zero + " " + id + " refs/heads/other\x00 report-status side-band-64k"
		_, _ = w.Write(append(appendPacket(nil, line), "0000PACK\x00\x00\x00\x02\x00\x00\x00\x09"...))
		time.Sleep(50 * time.Millisecond)
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("still receiving")
		}
		w.CloseWithError(errors.New("gone"))
		if refs, err := r.Refs(t.Context(), "refs/heads/other"); err != nil || len(refs) != 0 {
			t.Errorf("refs %v, %v", refs, err)
		}
	})
	t.Run("clone", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		head, err := r.Refs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := appendPacket(nil, "want "+head["refs/heads/main"]+" side-band-64k no-progress ofs-delta\n")
		want = append(want, flush...)
		want = appendPacket(want, "done\n")
		out, w := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- r.UploadPack(ctx, "", bytes.NewReader(want), w) }()
		if _, err := io.ReadFull(out, make([]byte, 20)); err != nil {
			t.Fatal(err)
		}
		cancel()
		out.Close()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("err = %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("still sending")
		}
	})
	r.store.Close()
	noChildren(t)
}

// A client that stays connected and does nothing keeps no process either.
func TestStalledClients(t *testing.T) {
	store := newStore(t, Options{Stall: 200 * time.Millisecond})
	r, err := store.Repository("a/b/c.git")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Create(); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 4<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 8)
	}
	made := makeCommit(t, r, "", FileChange{Path: "big", Mode: Regular, Content: noise}, FileChange{Path: "x", Mode: Regular})
	if err := r.UpdateRefs(t.Context(), Command{Ref: "refs/heads/main", Old: Zero, New: made.Commit}); err != nil {
		t.Fatal(err)
	}
	// The process is gone while the exchange still hangs in its client's end,
	// which only the connection can break.
	within := func(name string, release func(), fn func() error) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- fn() }()
		time.Sleep(100 * time.Millisecond)
		noChildren(t)
		release()
		select {
		case err := <-done:
			if !errors.Is(err, errStalled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: still at it", name)
		}
	}
	store.Close()
	want := appendPacket(nil, "want "+made.Commit+" side-band-64k no-progress\n")
	want = appendPacket(append(want, flush...), "done\n")
	untaken, w := io.Pipe()
	within("clone that does not read", func() { untaken.Close() }, func() error {
		return r.UploadPack(t.Context(), "", bytes.NewReader(want), w)
	})
	silent, w := io.Pipe()
	within("clone that does not send", func() { w.Close() }, func() error {
		return r.UploadPack(t.Context(), "", silent, io.Discard)
	})
	silent, w = io.Pipe()
	defer w.Close()
	line := Zero + " " + made.Commit + " refs/heads/other\x00 report-status"
	half := append(appendPacket(nil, line), "0000PACK\x00\x00\x00\x02"...)
	s := &server{repo: r, refuse: map[string]string{}}
	var out bytes.Buffer
	_ = r.ReceivePack(t.Context(), s.push("", io.MultiReader(bytes.NewReader(half), silent), &out))
	if !strings.Contains(out.String(), "ng refs/heads/other") {
		t.Errorf("push that stops: %q", out.String())
	}
	noChildren(t)
}

func TestReaderPool(t *testing.T) {
	s := newStore(t, Options{MaxReaders: 2, ReaderIdle: 100 * time.Millisecond})
	r, err := s.Repository("a/b/c.git")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Create(); err != nil {
		t.Fatal(err)
	}
	made := makeCommit(t, r, "", FileChange{Path: "f", Mode: Regular, Content: []byte("hello")})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			o, err := r.Reader(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer o.Close()
			c, err := o.Commit(made.Commit)
			if err != nil || c.Tree != made.Tree {
				t.Errorf("commit = %v, %v", c, err)
			}
			if _, err := o.Commit(strings.Repeat("1", 40)); !errors.Is(err, ErrNotFound) {
				t.Errorf("absent commit: %v", err)
			}
		})
	}
	wg.Wait()
	if n := len(children(t)); n < 1 || n > 2 {
		t.Errorf("%d pooled processes, want 1 or 2", n)
	}
	noChildren(t) // they expire
}

func makeCommit(t testing.TB, r *Repository, parent string, changes ...FileChange) *Made {
	t.Helper()
	who := Signature{Name: "Ann", Email: "ann@example.com", Date: "1700000000 +0000"}
	made, err := r.MakeCommit(t.Context(), CommitRequest{Parent: parent, Author: who, Committer: who, Message: "m\n", Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestMakeCommit(t *testing.T) {
	r := newRepository(t)
	put := func(path, content string) FileChange {
		return FileChange{Path: path, Mode: Regular, Content: []byte(content)}
	}
	first := makeCommit(t, r, "", put("a/b/c.txt", "1"), put("a/d.txt", "2"), put("top", "3"))
	err := r.UpdateRefs(t.Context(), Command{Ref: "refs/heads/main", Old: Zero, New: first.Commit})
	if err != nil {
		t.Fatal(err)
	}
	second := makeCommit(t, r, first.Commit, FileChange{Path: "a/b/c.txt", Delete: true},
		FileChange{Path: "run", Mode: Executable, Content: []byte("#!")}, put("a/d.txt", "22"))
	if second.ParentTree != first.Tree {
		t.Errorf("parent tree %s, want %s", second.ParentTree, first.Tree)
	}
	stale := Command{Ref: "refs/heads/main", Old: second.Commit, New: second.Commit}
	if err := r.UpdateRefs(t.Context(), stale); !errors.Is(err, ErrMoved) {
		t.Errorf("stale update: %v", err)
	}
	if err := r.UpdateRefs(t.Context(), Command{Ref: "refs/heads/main", Old: Zero, New: second.Commit}); !errors.Is(err, ErrMoved) {
		t.Errorf("creating what exists: %v", err)
	}
	if err := r.UpdateRefs(t.Context(), Command{Ref: "refs/heads/main", Old: first.Commit, New: second.Commit}); err != nil {
		t.Fatal(err)
	}
	if out, err := r.run(t.Context(), nil, "fsck", "--strict", "--full"); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	o, err := r.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var got []string
	err = o.Diff(first.Tree, second.Tree, func(c Change) bool {
		switch {
		case c.Before == nil:
			got = append(got, "A "+c.Path)
		case c.After == nil:
			got = append(got, "D "+c.Path)
		default:
			got = append(got, "M "+c.Path)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"D a/b/c.txt", "M a/d.txt", "A run"}, got); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
	e, err := o.Lookup(second.Tree, "a/d.txt")
	if err != nil || e.Mode != Regular {
		t.Fatalf("lookup = %v, %v", e, err)
	}
	if data, err := o.Blob(e.ID, 10); err != nil || string(data) != "22" {
		t.Errorf("blob = %q, %v", data, err)
	}
	var large *TooLargeError
	if _, err := o.Blob(e.ID, 1); !errors.As(err, &large) || large.Size != 2 {
		t.Errorf("blob over its limit: %v", err)
	}
	if _, err := o.Lookup(second.Tree, "a/b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("lookup of what is gone: %v", err)
	}
	for _, tt := range []struct {
		change FileChange
		want   error
	}{
		{put("a", "x"), ErrIsDirectory},
		{put("top/x", "x"), ErrIsFile},
		{put("a/../x", "x"), ErrBadPath},
		{put(".GIT/config", "x"), ErrBadPath},
		{put("", "x"), ErrBadPath},
		{FileChange{Path: "nowhere/x", Delete: true}, ErrNotFound},
		{FileChange{Path: "a/x", Delete: true}, ErrNotFound},
	} {
		_, err := r.MakeCommit(t.Context(), CommitRequest{Parent: second.Commit, Changes: []FileChange{tt.change}})
		if !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.change.Path, err, tt.want)
		}
	}
}

func TestMakeCommitWithEmptiedFolders(t *testing.T) {
	r := newRepository(t)
	file := func(path string) FileChange { return FileChange{Path: path, Mode: Regular, Content: []byte("x")} }
	first := makeCommit(t, r, "", file("a/one"), file("b/two"), file("c/three"))
	made, err := r.MakeCommit(t.Context(), CommitRequest{
		Parent: first.Commit, KeepEmptyFolders: true,
		Changes: []FileChange{
			{Path: "a/one", Delete: true}, {Path: "b/two", Delete: true}, {Path: "c/three", Delete: true},
			file("b"), file("c/four"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var got []string
	err = o.Files(made.Tree, func(path string, _ Entry) error {
		got = append(got, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/.gitkeep", "b", "c/four"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestMaintain(t *testing.T) {
	r := newRepository(t)
	parent, old := "", Zero
	for i := range 5 {
		made := makeCommit(t, r, parent, FileChange{Path: "f", Mode: Regular, Content: fmt.Append(nil, i)})
		if err := r.UpdateRefs(t.Context(), Command{Ref: "refs/heads/main", Old: old, New: made.Commit}); err != nil {
			t.Fatal(err)
		}
		parent, old = made.Commit, made.Commit
	}
	before := r.Packs()
	if err := r.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := r.Packs(); before != 5 || after >= before {
		t.Errorf("%d packs became %d", before, after)
	}
	refs, err := r.Refs(t.Context())
	if err != nil || refs["refs/heads/main"] != parent {
		t.Errorf("refs = %v, %v", refs, err)
	}
	if _, err := r.run(t.Context(), nil, "fsck", "--strict", "--full"); err != nil {
		t.Error(err)
	}
}

func TestArchive(t *testing.T) {
	r := newRepository(t)
	s := serve(t, r)
	c := newClient(t, s.URL)
	if err := os.Symlink("a.txt", filepath.Join(c.dir, "link")); err != nil {
		t.Fatal(err)
	}
	c.commit("first", "a.txt=one", "dir/secret.txt=two", ".gitattributes=dir export-ignore\na.txt export-subst\n", "big="+strings.Repeat("x", 3<<20))
	c.ok("update-index", "--chmod=+x", "a.txt")
	c.ok("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",sub")
	c.ok("commit", "-q", "-m", "modes")
	c.ok("push", "origin", "main")
	var first, second bytes.Buffer
	id := c.ok("rev-parse", "HEAD")
	if err := r.Archive(t.Context(), id, &first); err != nil {
		t.Fatal(err)
	}
	if err := r.Archive(t.Context(), id, &second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of a commit differ")
	}
	z, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range z.File {
		got = append(got, f.Name+" "+f.Mode().String())
	}
	want := []string{".gitattributes -rw-r--r--", "a.txt -rwxr-xr-x", "big -rw-r--r--", "dir/secret.txt -rw-r--r--", "link Lrwxrwxrwx"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := r.Archive(t.Context(), strings.Repeat("2", 40), io.Discard); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent commit: %v", err)
	}
}

func TestRecoverRemovesStaleLocks(t *testing.T) {
	r := newRepository(t)
	s := serve(t, r)
	lock := filepath.Join(r.dir, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := r.Recover(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, s.URL)
	c.commit("first", "a=1")
	c.ok("push", "origin", "main")
}

func TestDeleteRepository(t *testing.T) {
	r := newRepository(t)
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reader(t.Context()); !errors.Is(err, ErrNoRepository) {
		t.Errorf("reader: %v", err)
	}
	if err := r.Advertise(t.Context(), UploadPack, "", io.Discard); !errors.Is(err, ErrNoRepository) {
		t.Errorf("advertise: %v", err)
	}
}

func TestRepositoryNames(t *testing.T) {
	s := newStore(t, Options{})
	for _, name := range []string{"", ".", "../x.git", "/x.git", "a/../b.git", "x"} {
		if _, err := s.Repository(name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func TestCheckRefName(t *testing.T) {
	for name, want := range map[string]bool{
		"refs/heads/main": true, "refs/heads/a/b": true, "refs/heads/ä": true, "refs/notes/x": true,
		"HEAD": false, "refs/heads": false, "refs/heads/": false, "refs/heads/a..b": false, "refs/heads/.a": false,
		"refs/heads/a.lock": false, "refs/heads/a b": false, "refs/heads/a\nb": false, "refs/heads/a:b": false,
		"refs/heads/@{x": false, "refs/heads/\xff": false, "refs/heads//a": false, "refs/heads/a.": false, "../../x": false,
	} {
		if got := CheckRefName(name); got != want {
			t.Errorf("CheckRefName(%q) = %v", name, got)
		}
	}
}

func TestParseSignature(t *testing.T) {
	for in, want := range map[string]Signature{
		"Ann Lee <ann@example.com> 1 +0000": {"Ann Lee", "ann@example.com", "1 +0000"},
		"<> 1 +0000":                        {"", "", "1 +0000"},
		"nobody":                            {"nobody", "", ""},
		"a <b <c@d> 5 -0100":                {"a", "b <c@d", "5 -0100"},
	} {
		if diff := cmp.Diff(want, parseSignature(in)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
}

func TestReadPushRefuses(t *testing.T) {
	one := strings.Repeat("1", 40)
	c := Command{"refs/heads/main", Zero, one}
	long := Command{"refs/heads/" + strings.Repeat("x", 5000), Zero, one}
	for name, data := range map[string][]byte{
		"nothing":             nil,
		"no flush":            appendPacket(nil, Zero+" "+one+" refs/heads/main"),
		"a bad length":        []byte("zz00"),
		"too short a length":  []byte("0003"),
		"a delimiter":         []byte("0001"),
		"a bad object id":     append(appendPacket(nil, strings.Repeat("X", 40)+" "+one+" refs/heads/main"), flush...),
		"no ref":              append(appendPacket(nil, Zero+" "+one), flush...),
		"a newline in a name": append(appendPacket(nil, Zero+" "+one+" refs/heads/a\nb"), flush...),
		"a long name":         pack(t, []Command{long}, ""),
		"a ref twice":         pack(t, []Command{c, c}, ""),
		"another hash":        pack(t, []Command{c}, "object-format=sha256"),
		"a certificate":       append(appendPacket(nil, "push-cert\x00 push-cert=x"), flush...),
		"a bad shallow line":  append(appendPacket(nil, "shallow x"), flush...),
		"half an option":      append(pack(t, []Command{c}, "push-options"), "0008ab"...),
	} {
		if _, err := readPush(reader(data)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func pack(t testing.TB, commands []Command, caps string) []byte {
	t.Helper()
	var b []byte
	for i, c := range commands {
		line := c.Old + " " + c.New + " " + c.Ref
		if i == 0 {
			line += "\x00 " + caps
		}
		b = appendPacket(b, line)
	}
	return append(b, flush...)
}

func FuzzReadPush(f *testing.F) {
	one := strings.Repeat("1", 40)
	f.Add(pack(f, []Command{{"refs/heads/main", Zero, one}}, "report-status side-band-64k agent=x"))
	f.Add(append(pack(f, []Command{{"refs/heads/main", Zero, one}}, "push-options"), "0006ab0000"...))
	f.Add([]byte("0000"))
	f.Add([]byte("0034shallow " + one + "0000"))
	f.Add([]byte("fff1"))
	f.Add([]byte("0004"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readPush(reader(data))
		if err != nil {
			return
		}
		for _, c := range p.commands {
			if strings.ContainsAny(c.Ref, " \n\x00") || !IsObjectID(c.Old) || !IsObjectID(c.New) {
				t.Fatalf("command %+v", c)
			}
		}
		again, err := readPush(reader(p.encode(p.commands)))
		if err != nil || !slices.Equal(again.commands, p.commands) || !slices.Equal(again.shallow, p.shallow) {
			if len(p.commands) > 0 {
				t.Fatalf("read again: %v %+v, want %+v", err, again, p)
			}
		}
	})
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x0012345678901234567890"))
	f.Add([]byte("40000 a\x00123456789012345678"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseTree(data)
		for _, e := range entries {
			if err == nil && !IsObjectID(e.ID) {
				t.Fatalf("entry %+v", e)
			}
		}
	})
}

func FuzzParseCommit(f *testing.F) {
	f.Add([]byte("tree " + emptyTree + "\nauthor A <a@b> 1 +0000\ncommitter C <> 2 +0000\ngpgsig -----\n x\n\nmessage\n"))
	f.Add([]byte("tree x\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseCommit(data); err == nil && !IsObjectID(c.Tree) {
			t.Fatalf("commit %+v", c)
		}
	})
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte("000eunpack ok\n0019ok refs/heads/main\n0000"))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parseReport(data) })
}
