package codecommit

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	account = "111111111111"
	root    = "root@" + account
	alice   = "alice@" + account
)

// world is CodeCommit with a bucket beside it that keeps what it is given.
type world struct {
	*servicetest.Env
	s    *Service
	root string // of the git store

	mu     sync.Mutex
	put    []*s3api.PutObjectInput
	bodies [][]byte
	via    [][]string
	refuse error
	hold   chan struct{}
}

func newWorld(e *servicetest.Env) *world {
	w := &world{Env: e, root: e.T.TempDir()}
	w.open()
	e.Door.Serve("s3", []call.Operation{call.Op("PutObject",
		func(_ context.Context, c *call.Call, in *s3api.PutObjectInput) ([]call.Need, error) {
			return []call.Need{{Action: "s3:PutObject", Resource: "arn:aws:s3:::" + in.Bucket + "/" + in.Key, Owner: c.Account()}}, nil
		}, w.putObject)})
	e.Door.Serve("codecommit", w.s.Operations())
	return w
}

func (w *world) open() {
	store, err := git.Open(w.T.Context(), w.root, git.Options{})
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { store.Close() })
	w.s = New(w.DB, store, w.Door, w.Jobs)
}

func (w *world) putObject(ctx context.Context, c *call.Call, in *s3api.PutObjectInput) (*s3api.PutObjectOutput, error) {
	if w.hold != nil {
		select {
		case <-w.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	body, err := io.ReadAll(in.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put, w.bodies, w.via = append(w.put, in), append(w.bodies, body), append(w.via, c.Via)
	if w.refuse != nil {
		return nil, w.refuse
	}
	return &s3api.PutObjectOutput{VersionId: "v1", ETag: `"e"`}, nil
}

func (w *world) client(who string) api.Client { return api.Client{Invoker: w.As(who)} }

// must fails the test when a call does.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) createRepository(name string) *api.RepositoryMetadata {
	w.T.Helper()
	return must[*api.CreateRepositoryOutput](w.T)(w.client(root).CreateRepository(w.T.Context(), &api.CreateRepositoryInput{RepositoryName: name})).RepositoryMetadata
}

// wantError checks the code of a refusal.
func wantError(t testing.TB, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[*aws.Error](err); !ok || e.Code != code {
		t.Errorf("error = %v, want %s", err, code)
	}
}

// events returns what lies in the outbox, oldest first.
func (w *world) events() []aws.Event {
	w.T.Helper()
	ctx, stop := context.WithTimeout(w.T.Context(), 300*time.Millisecond)
	defer stop()
	var got []aws.Event
	_ = w.DB.Deliver(ctx, func(_ context.Context, _ *state.Tx, e aws.Event) error {
		got = append(got, e)
		return nil
	})
	return got
}

func details(t testing.TB, events []aws.Event) []map[string]string {
	t.Helper()
	out := []map[string]string{}
	for _, e := range events {
		var d map[string]string
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// serveGit is the least gateway: everybody is WHO.
func (w *world) serveGit(who string) string {
	c := w.client(who)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
		parts := strings.Split(strings.TrimPrefix(q.URL.Path, "/"), "/")
		body := io.Reader(q.Body)
		if q.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(q.Body)
			if err != nil {
				http.Error(rw, err.Error(), 400)
				return
			}
			body = z
		}
		advertise := strings.HasSuffix(q.URL.Path, "/info/refs")
		service := q.URL.Query().Get("service")
		if !advertise {
			service = parts[len(parts)-1]
			rw.Header().Set("Content-Type", "application/x-"+service+"-result")
		} else {
			rw.Header().Set("Content-Type", "application/x-"+service+"-advertisement")
		}
		var err error
		if service == "git-upload-pack" {
			_, err = c.GitPull(q.Context(), &api.GitPullInput{RepositoryName: parts[0], Advertise: advertise, Protocol: q.Header.Get("Git-Protocol"), Body: body, Out: rw})
		} else {
			_, err = c.GitPush(q.Context(), &api.GitPushInput{RepositoryName: parts[0], Advertise: advertise, Protocol: q.Header.Get("Git-Protocol"), Body: body, Out: rw})
		}
		if e, ok := errors.AsType[*aws.Error](err); ok {
			status := map[string]int{"RepositoryDoesNotExistException": 404, "AccessDeniedException": 403}[e.Code]
			http.Error(rw, e.Message, max(status, 400))
		}
	}))
	w.T.Cleanup(srv.Close)
	return srv.URL
}

type clone struct {
	t   testing.TB
	dir string
}

func (w *world) clone(url, repository string) *clone {
	c := &clone{t: w.T, dir: w.T.TempDir()}
	c.ok("init", "-q", "-b", "main")
	c.ok("remote", "add", "origin", url+"/"+repository)
	return c
}

func (c *clone) run(args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "no_proxy=*",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Cem", "GIT_COMMITTER_EMAIL=cem@example.com",
		"GIT_AUTHOR_DATE=1700000000 +0100", "GIT_COMMITTER_DATE=1700000001 +0100")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (c *clone) ok(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *clone) fails(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err == nil {
		c.t.Fatalf("git %s succeeded:\n%s", strings.Join(args, " "), out)
	}
	return out
}

func (c *clone) commit(content string) string {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "file"), []byte(content), 0o666); err != nil {
		c.t.Fatal(err)
	}
	c.ok("add", "-A")
	c.ok("commit", "-q", "--allow-empty", "-m", "message of "+content)
	return c.ok("rev-parse", "HEAD")
}

func each(t *testing.T, test func(w *world)) {
	servicetest.Each(t, func(e *servicetest.Env) { test(newWorld(e)) }, Schema())
}

func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) {
		newWorld(e).s.page = 2
		e.Start()
	}, Schema())
}

func TestPushRecordsAndTells(t *testing.T) {
	each(t, func(w *world) {
		meta := w.createRepository("app")
		w.Grant(alice, `{"Statement":{"Effect":"Allow","Action":["codecommit:GitPush","codecommit:GitPull","codecommit:Get*"],"Resource":"arn:aws:codecommit:us-east-1:111111111111:app"}}`)
		c := w.clone(w.serveGit(alice), "app")
		first := c.commit("one")
		c.ok("push", "origin", "main", "HEAD:refs/tags/v1", "HEAD:refs/notes/x")
		branch := must[*api.GetBranchOutput](w.T)(w.client(alice).GetBranch(w.T.Context(), &api.GetBranchInput{RepositoryName: "app", BranchName: "main"}))
		if branch.Branch.CommitId != first {
			w.T.Errorf("main is at %s, want %s", branch.Branch.CommitId, first)
		}
		repo := must[*api.GetRepositoryOutput](w.T)(w.client(alice).GetRepository(w.T.Context(), &api.GetRepositoryInput{RepositoryName: "app"})).RepositoryMetadata
		if repo.DefaultBranch != "main" {
			w.T.Errorf("default branch %q", repo.DefaultBranch)
		}
		second := c.commit("two")
		c.ok("push", "origin", "main", ":refs/tags/v1")
		fresh := w.clone(w.serveGit(alice), "app")
		if got := fresh.ok("ls-remote", "origin", "HEAD"); !strings.HasPrefix(got, second) {
			w.T.Errorf("HEAD is %q, want %s", got, second)
		}

		events := w.events()
		detail := func(event, kind, name, id, old string) map[string]string {
			full := map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}[kind] + name
			d := map[string]string{
				"callerUserArn": "arn:aws:iam::111111111111:user/alice", "event": event, "referenceFullName": full, "referenceName": name,
				"referenceType": kind, "repositoryId": meta.RepositoryId, "repositoryName": "app",
			}
			if id != "" {
				d["commitId"] = id
			}
			if old != "" {
				d["oldCommitId"] = old
			}
			return d
		}
		want := []map[string]string{
			detail("referenceCreated", "branch", "main", first, ""),
			detail("referenceCreated", "tag", "v1", first, ""),
			detail("referenceUpdated", "branch", "main", second, first),
			detail("referenceDeleted", "tag", "v1", "", first),
		}
		if diff := cmp.Diff(want, details(w.T, events)); diff != "" {
			w.T.Errorf("events (-want +got):\n%s", diff)
		}
		for _, e := range events {
			if e.Trace == "" || e.Account != account || e.Region != "us-east-1" || e.Source != "aws.codecommit" || e.Resources[0] != meta.Arn {
				w.T.Errorf("event %+v", e)
			}
		}
	})
}

func TestPushNeedsPermission(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		w.Grant("carol@"+account, `{"Statement":{"Effect":"Allow","Action":"codecommit:GitPull","Resource":"*"}}`)
		c := w.clone(w.serveGit("carol@"+account), "app")
		c.commit("one")
		c.ok("fetch", "origin")
		if out := c.fails("push", "origin", "main"); !strings.Contains(out, "403") {
			w.T.Errorf("push without permission said:\n%s", out)
		}
		c = w.clone(w.serveGit("dave@"+account), "app")
		if out := c.fails("fetch", "origin"); !strings.Contains(out, "403") {
			w.T.Errorf("fetch without permission said:\n%s", out)
		}
		c = w.clone(w.serveGit(root), "nothing")
		if out := c.fails("fetch", "origin"); !strings.Contains(out, "not found") {
			w.T.Errorf("fetch of what is not there said:\n%s", out)
		}
		// The same name in another account is another repository.
		c = w.clone(w.serveGit("root@222222222222"), "app")
		if out := c.fails("fetch", "origin"); !strings.Contains(out, "not found") {
			w.T.Errorf("fetch from another account said:\n%s", out)
		}
	})
}

// AWS's own pattern of branch-level permissions.
func TestPushToAProtectedBranch(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		w.Grant(alice, `{"Statement":[{"Effect":"Allow","Action":"codecommit:*","Resource":"*"},
			{"Effect":"Deny","Action":["codecommit:GitPush","codecommit:DeleteBranch","codecommit:PutFile","codecommit:CreateCommit","codecommit:DeleteFile","codecommit:CreateBranch"],"Resource":"*",
			"Condition":{"StringEqualsIfExists":{"codecommit:References":["refs/heads/main"]},"Null":{"codecommit:References":"false"}}}]}`)
		c := w.clone(w.serveGit(alice), "app")
		id := c.commit("one")
		out := c.fails("push", "origin", "main", "HEAD:refs/heads/dev")
		if !strings.Contains(out, "! [remote rejected] main -> main ("+refusedPush+")") || !strings.Contains(out, "[new branch]") {
			w.T.Errorf("push said:\n%s", out)
		}
		got := details(w.T, w.events())
		if len(got) != 1 || got[0]["referenceName"] != "dev" || got[0]["commitId"] != id {
			w.T.Errorf("events %v", got)
		}
		ctx, cl := w.T.Context(), w.client(alice)
		_, err := cl.CreateBranch(ctx, &api.CreateBranchInput{RepositoryName: "app", BranchName: "main", CommitId: id})
		wantError(w.T, err, "AccessDeniedException")
		_, err = cl.PutFile(ctx, &api.PutFileInput{RepositoryName: "app", BranchName: "main", FilePath: "x", FileContent: []byte("x"), ParentCommitId: id})
		wantError(w.T, err, "AccessDeniedException")
		_, err = cl.DeleteFile(ctx, &api.DeleteFileInput{RepositoryName: "app", BranchName: "main", FilePath: "file", ParentCommitId: id})
		wantError(w.T, err, "AccessDeniedException")
		_, err = cl.CreateCommit(ctx, &api.CreateCommitInput{RepositoryName: "app", BranchName: "main"})
		wantError(w.T, err, "AccessDeniedException")
		_, err = cl.DeleteBranch(ctx, &api.DeleteBranchInput{RepositoryName: "app", BranchName: "main"})
		wantError(w.T, err, "AccessDeniedException")
		must[*api.CreateBranchOutput](w.T)(cl.CreateBranch(ctx, &api.CreateBranchInput{RepositoryName: "app", BranchName: "x", CommitId: id}))
	})
}

// Git has moved the ref, and the process dies before it is recorded.
func TestReconcileAfterACrash(t *testing.T) {
	each(t, func(w *world) {
		meta := w.createRepository("app")
		c := w.clone(w.serveGit(root), "app")
		first := c.commit("one")
		c.ok("push", "origin", "main")
		w.events()
		second := c.commit("two")
		third := c.commit("three")

		// The pushes of a process that dies: one whose ref moved twice, one
		// that never came to git, and a lock file left behind.
		repo := must[*git.Repository](w.T)(w.s.git.Repository(dir(account, "us-east-1", meta.RepositoryId)))
		row := must[*repository](w.T)(w.s.load(w.T.Context(), &call.Call{Region: "us-east-1", Principal: aws.RootPrincipal(account)}, "app"))
		die := func(trace, ref, old, new string) {
			as := &call.Call{Trace: trace, Time: time.Now(), Principal: aws.Principal{ARN: "arn:aws:iam::111111111111:user/" + trace, Account: account}}
			must[*intent](w.T)(w.s.begin(w.T.Context(), as, row, []git.Command{{Ref: ref, Old: old, New: new}}))
		}
		die("t1", "refs/heads/main", first, second)
		die("t2", "refs/heads/main", second, third)
		die("t3", "refs/heads/never", git.Zero, third)
		die("t4", "refs/heads/new", git.Zero, first)
		push := exec.CommandContext(w.T.Context(), "git", "push", filepath.Join(w.root, dir(account, "us-east-1", meta.RepositoryId)), "main", first+":refs/heads/new")
		push.Dir = c.dir
		if out, err := push.CombinedOutput(); err != nil {
			w.T.Fatalf("%v\n%s", err, out)
		}
		lock := filepath.Join(w.root, dir(account, "us-east-1", meta.RepositoryId), "refs", "heads", "main.lock")
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			w.T.Fatal(err)
		}
		if got := w.events(); len(got) != 0 {
			w.T.Fatalf("events before the restart: %v", got)
		}

		for range 2 { // the second start finds nothing to do
			if err := w.s.Reconcile(w.T.Context()); err != nil {
				w.T.Fatal(err)
			}
		}
		type news struct{ Trace, Event, Name, ID, Old, Caller string }
		var got []news
		for _, e := range w.events() {
			d := details(w.T, []aws.Event{e})[0]
			got = append(got, news{e.Trace, d["event"], d["referenceName"], d["commitId"], d["oldCommitId"], d["callerUserArn"]})
		}
		caller := "arn:aws:iam::111111111111:user/"
		want := []news{
			{"t1", "referenceUpdated", "main", second, first, caller + "t1"},
			{"t2", "referenceUpdated", "main", third, second, caller + "t2"},
			{"t4", "referenceCreated", "new", first, "", caller + "t4"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.T.Errorf("events (-want +got):\n%s", diff)
		}
		refs := must[map[string]string](w.T)(repo.Refs(w.T.Context()))
		if len(refs) != 2 {
			w.T.Errorf("refs %v", refs)
		}
		c.commit("four")
		c.ok("push", "origin", "main")
	})
}

// Two pushes that follow each other and come to be recorded in reverse.
func TestPushesRecordedInReverse(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		ctx := w.T.Context()
		as := func(trace string) *call.Call {
			return &call.Call{Trace: trace, Region: "us-east-1", Time: time.Now(), Principal: aws.RootPrincipal(account)}
		}
		r := must[*repository](w.T)(w.s.load(ctx, as(""), "app"))
		a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
		one := git.Command{Ref: "refs/heads/main", Old: git.Zero, New: a}
		two := git.Command{Ref: "refs/heads/main", Old: a, New: b}
		first := must[*intent](w.T)(w.s.begin(ctx, as("t1"), r, []git.Command{one}))
		second := must[*intent](w.T)(w.s.begin(ctx, as("t2"), r, []git.Command{two}))
		for _, err := range []error{w.s.settle(ctx, r, second, []git.Command{two}), w.s.settle(ctx, r, first, []git.Command{one})} {
			if err != nil {
				w.T.Fatal(err)
			}
		}
		events := w.events()
		got := details(w.T, events)
		if len(got) != 2 || got[0]["event"] != "referenceCreated" || got[0]["commitId"] != a || got[1]["commitId"] != b || got[1]["oldCommitId"] != a ||
			events[0].Trace != "t1" || events[1].Trace != "t2" {
			w.T.Errorf("events %v", got)
		}
		n, err := 0, error(nil)
		err = w.DB.View(ctx, func(tx *state.Tx) error {
			n, err = state.Get[int](ctx, tx, `SELECT (SELECT COUNT(*) FROM codecommit_push) + (SELECT COUNT(*) FROM codecommit_push_ref)`)
			return err
		})
		if err != nil || n != 0 {
			w.T.Errorf("%d intents left, %v", n, err)
		}
	})
}

func TestPushesAtOnce(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		url := w.serveGit(root)
		base := w.clone(url, "app")
		base.commit("zero")
		base.ok("push", "origin", "main")
		var group sync.WaitGroup
		for i := range 4 {
			c := w.clone(url, "app")
			c.commit(strings.Repeat("x", i))
			group.Go(func() {
				if out, err := c.run("push", "origin", "HEAD:refs/heads/b"+strings.Repeat("x", i), "+HEAD:refs/heads/shared"); err != nil && !strings.Contains(out, "shared") {
					w.T.Errorf("push: %v\n%s", err, out)
				}
			})
		}
		group.Wait()
		// The events of the shared branch make an unbroken chain to what is
		// there now.
		at := map[string]string{}
		for _, d := range details(w.T, w.events()) {
			if at[d["referenceName"]] != d["oldCommitId"] {
				w.T.Errorf("the chain of %s breaks: %s, then from %s", d["referenceName"], at[d["referenceName"]], d["oldCommitId"])
			}
			at[d["referenceName"]] = d["commitId"]
		}
		for name, id := range at {
			got := must[*api.GetBranchOutput](w.T)(w.client(root).GetBranch(w.T.Context(), &api.GetBranchInput{RepositoryName: "app", BranchName: name}))
			if got.Branch.CommitId != id {
				w.T.Errorf("%s is at %s, its events say %s", name, got.Branch.CommitId, id)
			}
		}
	})
}

func TestPushOfAnImpossibleBranchName(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		c := w.clone(w.serveGit(root), "app")
		id := c.commit("one")
		if out := c.fails("push", "origin", "main:refs/heads/"+id); !strings.Contains(out, "invalid branch name") {
			w.T.Errorf("push said:\n%s", out)
		}
	})
}

func (w *world) commitFiles(repository string, files map[string]string) string {
	w.T.Helper()
	in := &api.CreateCommitInput{RepositoryName: repository, BranchName: "main"}
	for name, content := range files {
		in.PutFiles = append(in.PutFiles, api.PutFileEntry{FilePath: name, FileContent: []byte(content)})
	}
	return must[*api.CreateCommitOutput](w.T)(w.client(root).CreateCommit(w.T.Context(), in)).CommitId
}

func TestUploadArchive(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.T.Context()
		w.createRepository("app")
		id := w.commitFiles("app", map[string]string{"a.txt": "hello", "d/b.txt": "there"})
		role := "deliverer/session@" + account
		const repository = `"arn:aws:codecommit:us-east-1:111111111111:app"`
		upload := func() (*api.GetUploadArchiveStatusOutput, error) {
			out, err := w.client(role).UploadArchive(ctx, &api.UploadArchiveInput{RepositoryName: "app", CommitId: id, S3Bucket: "store", S3Key: "p/k", KmsKeyId: "key", Acl: "bucket-owner-full-control"})
			if err != nil {
				return nil, err
			}
			return w.client(role).GetUploadArchiveStatus(ctx, &api.GetUploadArchiveStatusInput{RepositoryName: "app", ArchiveId: out.ArchiveId})
		}
		_, err := upload()
		wantError(w.T, err, "AccessDeniedException")
		w.Grant(role, `{"Statement":{"Effect":"Allow","Action":"codecommit:UploadArchive","Resource":`+repository+`}}`)
		_, err = upload()
		wantError(w.T, err, "AccessDeniedException") // the status
		w.Grant(role, `{"Statement":{"Effect":"Allow","Action":"codecommit:GetUploadArchiveStatus","Resource":`+repository+`}}`)
		status := must[*api.GetUploadArchiveStatusOutput](w.T)(upload())
		if status.Status != api.ArchiveError || status.ErrorCode != "AccessDenied" || status.ErrorStatus != 403 ||
			!strings.Contains(status.ErrorMessage, "assumed-role/deliverer/session is not authorized to perform: s3:PutObject") {
			w.T.Errorf("without s3:PutObject: %+v", status)
		}
		w.Grant(role, `{"Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::store/p/*"}}`)
		status = must[*api.GetUploadArchiveStatusOutput](w.T)(upload())
		if diff := cmp.Diff(&api.GetUploadArchiveStatusOutput{Status: api.ArchiveComplete, VersionId: "v1", ETag: `"e"`}, status); diff != "" {
			w.T.Errorf("status (-want +got):\n%s", diff)
		}
		put := w.put[len(w.put)-1]
		if put.ServerSideEncryption != "aws:kms" || put.SSEKMSKeyId != "key" || put.ACL != "bucket-owner-full-control" || put.Bucket != "store" || put.Key != "p/k" {
			w.T.Errorf("put %+v", put)
		}
		if diff := cmp.Diff([]string{"codecommit.amazonaws.com"}, w.via[len(w.via)-1]); diff != "" {
			w.T.Errorf("via: %s", diff)
		}
		z, err := zip.NewReader(bytes.NewReader(w.bodies[len(w.bodies)-1]), int64(len(w.bodies[len(w.bodies)-1])))
		if err != nil || len(z.File) != 2 || z.File[0].Name != "a.txt" || z.File[1].Name != "d/b.txt" {
			w.T.Errorf("archive %v, %v", z, err)
		}
		w.refuse = aws.Errorf("KMS.DisabledException", "disabled").WithStatus(400)
		status = must[*api.GetUploadArchiveStatusOutput](w.T)(upload())
		if status.ErrorCode != "KMS.DisabledException" || status.ErrorMessage != "disabled" || status.ErrorStatus != 400 {
			w.T.Errorf("with a disabled key: %+v", status)
		}
		_, err = w.client(role).CancelUploadArchive(ctx, &api.CancelUploadArchiveInput{RepositoryName: "app", ArchiveId: "x"})
		wantError(w.T, err, "AccessDeniedException")
		_, err = w.client(root).CancelUploadArchive(ctx, &api.CancelUploadArchiveInput{RepositoryName: "app", ArchiveId: "x"})
		wantError(w.T, err, "ArchiveDoesNotExistException")
		_, err = w.client(root).UploadArchive(ctx, &api.UploadArchiveInput{RepositoryName: "app", CommitId: strings.Repeat("1", 40)})
		wantError(w.T, err, "CommitIdDoesNotExistException")
	})
}

func (w *world) await(archive string, want string) *api.GetUploadArchiveStatusOutput {
	w.T.Helper()
	var out *api.GetUploadArchiveStatusOutput
	for range 200 {
		out = must[*api.GetUploadArchiveStatusOutput](w.T)(w.client(root).GetUploadArchiveStatus(w.T.Context(), &api.GetUploadArchiveStatusInput{RepositoryName: "app", ArchiveId: archive}))
		if out.Status == want {
			return out
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.T.Fatalf("status %+v, want %s", out, want)
	return nil
}

func TestUploadOfALargeArchive(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.T.Context()
		w.s.inline = 10
		w.hold = make(chan struct{})
		w.createRepository("app")
		id := w.commitFiles("app", map[string]string{"a.txt": strings.Repeat("hello", 1000)})
		in := &api.UploadArchiveInput{RepositoryName: "app", CommitId: id, S3Bucket: "store", S3Key: "k"}
		first := must[*api.UploadArchiveOutput](w.T)(w.client(root).UploadArchive(ctx, in)).ArchiveId
		second := must[*api.UploadArchiveOutput](w.T)(w.client(root).UploadArchive(ctx, in)).ArchiveId
		w.await(first, api.ArchiveInProgress)
		w.Start() // as after a restart: the jobs were waiting
		time.Sleep(50 * time.Millisecond)
		must[*api.CancelUploadArchiveOutput](w.T)(w.client(root).CancelUploadArchive(ctx, &api.CancelUploadArchiveInput{RepositoryName: "app", ArchiveId: second}))
		close(w.hold)
		w.await(first, api.ArchiveComplete)
		w.await(second, api.ArchiveCancelled)
		if len(w.bodies) != 1 || len(w.bodies[0]) == 0 || w.put[0].SSEKMSKeyId != "" || w.put[0].ServerSideEncryption != "aws:kms" {
			w.T.Errorf("put %+v", w.put)
		}
	})
}

func TestDeletedRepositoryLeavesNothing(t *testing.T) {
	each(t, func(w *world) {
		meta := w.createRepository("app")
		w.commitFiles("app", map[string]string{"a": "1"})
		w.Start()
		out := must[*api.DeleteRepositoryOutput](w.T)(w.client(root).DeleteRepository(w.T.Context(), &api.DeleteRepositoryInput{RepositoryName: "app"}))
		if out.RepositoryId != meta.RepositoryId {
			w.T.Errorf("deleted %q", out.RepositoryId)
		}
		for range 200 {
			if _, err := os.Stat(filepath.Join(w.root, dir(account, "us-east-1", meta.RepositoryId))); os.IsNotExist(err) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		w.T.Error("the directory is still there")
	})
}

// Every operation refuses a caller without its permission.
func TestEveryOperationNeedsItsPermission(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		id := w.commitFiles("app", map[string]string{"a": "1"})
		inputs := map[string]any{
			"CreateRepository":            &api.CreateRepositoryInput{RepositoryName: "new"},
			"GetRepository":               &api.GetRepositoryInput{RepositoryName: "app"},
			"BatchGetRepositories":        &api.BatchGetRepositoriesInput{RepositoryNames: []string{"app"}},
			"ListRepositories":            &api.ListRepositoriesInput{},
			"DeleteRepository":            &api.DeleteRepositoryInput{RepositoryName: "app"},
			"UpdateRepositoryName":        &api.UpdateRepositoryNameInput{OldName: "app", NewName: "other"},
			"UpdateRepositoryDescription": &api.UpdateRepositoryDescriptionInput{RepositoryName: "app"},
			"TagResource":                 &api.TagResourceInput{ResourceArn: "arn:aws:codecommit:us-east-1:111111111111:app", Tags: map[string]string{"a": "b"}},
			"UntagResource":               &api.UntagResourceInput{ResourceArn: "arn:aws:codecommit:us-east-1:111111111111:app", TagKeys: []string{"a"}},
			"ListTagsForResource":         &api.ListTagsForResourceInput{ResourceArn: "arn:aws:codecommit:us-east-1:111111111111:app"},
			"CreateBranch":                &api.CreateBranchInput{RepositoryName: "app", BranchName: "x", CommitId: id},
			"GetBranch":                   &api.GetBranchInput{RepositoryName: "app", BranchName: "main"},
			"ListBranches":                &api.ListBranchesInput{RepositoryName: "app"},
			"DeleteBranch":                &api.DeleteBranchInput{RepositoryName: "app", BranchName: "x"},
			"UpdateDefaultBranch":         &api.UpdateDefaultBranchInput{RepositoryName: "app", DefaultBranchName: "main"},
			"GetCommit":                   &api.GetCommitInput{RepositoryName: "app", CommitId: id},
			"BatchGetCommits":             &api.BatchGetCommitsInput{RepositoryName: "app", CommitIds: []string{id}},
			"GetFile":                     &api.GetFileInput{RepositoryName: "app", FilePath: "a"},
			"GetFolder":                   &api.GetFolderInput{RepositoryName: "app", FolderPath: "/"},
			"GetBlob":                     &api.GetBlobInput{RepositoryName: "app", BlobId: id},
			"GetDifferences":              &api.GetDifferencesInput{RepositoryName: "app", AfterCommitSpecifier: "main"},
			"CreateCommit":                &api.CreateCommitInput{RepositoryName: "app", BranchName: "main"},
			"PutFile":                     &api.PutFileInput{RepositoryName: "app", BranchName: "main"},
			"DeleteFile":                  &api.DeleteFileInput{RepositoryName: "app", BranchName: "main"},
			"GitPull":                     &api.GitPullInput{RepositoryName: "app", Advertise: true, Out: io.Discard},
			"GitPush":                     &api.GitPushInput{RepositoryName: "app", Advertise: true, Out: io.Discard},
			"UploadArchive":               &api.UploadArchiveInput{RepositoryName: "app", CommitId: id},
			"GetUploadArchiveStatus":      &api.GetUploadArchiveStatusInput{RepositoryName: "app", ArchiveId: "x"},
			"CancelUploadArchive":         &api.CancelUploadArchiveInput{RepositoryName: "app", ArchiveId: "x"},
		}
		for _, op := range w.s.Operations() {
			in, ok := inputs[op.Name]
			if !ok {
				w.T.Errorf("%s is not tested", op.Name)
				continue
			}
			who := "w" + strings.ToLower(op.Name) + "@" + account
			w.Grant(who, `{"Statement":{"Effect":"Allow","NotAction":"codecommit:`+op.Name+`","Resource":"*"}}`)
			_, err := w.As(who).Invoke(w.T.Context(), "codecommit", op.Name, in)
			wantError(w.T, err, "AccessDeniedException")
			if err != nil && !strings.Contains(err.Error(), "codecommit:"+op.Name) {
				w.T.Errorf("%s: %v", op.Name, err)
			}
			// An empty input is refused, never a panic.
			if _, err := w.As(root).Invoke(w.T.Context(), "codecommit", op.Name, op.Input()); op.Name != "ListRepositories" {
				if e, ok := errors.AsType[*aws.Error](err); !ok || e.Code == "InternalFailure" {
					w.T.Errorf("%s of nothing: %v", op.Name, err)
				}
			}
		}
	})
}

func TestMalformedPush(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		for _, body := range []string{"", "zzzz", "0009abc", "fff0x"} {
			_, err := w.client(root).GitPush(w.T.Context(), &api.GitPushInput{RepositoryName: "app", Body: strings.NewReader(body), Out: io.Discard})
			wantError(w.T, err, "MalformedGitRequestException")
		}
	})
}

func TestRegions(t *testing.T) {
	each(t, func(w *world) {
		w.createRepository("app")
		must[*api.CreateRepositoryOutput](w.T)(w.client("root@111111111111 in eu-west-1").CreateRepository(w.T.Context(), &api.CreateRepositoryInput{RepositoryName: "app"}))
		must[*api.CreateRepositoryOutput](w.T)(w.client("root@222222222222").CreateRepository(w.T.Context(), &api.CreateRepositoryInput{RepositoryName: "app"}))
		got := must[[]string](w.T)(w.s.Regions(w.T.Context(), account, "app"))
		if diff := cmp.Diff([]string{"eu-west-1", "us-east-1"}, got); diff != "" {
			w.T.Errorf("regions (-want +got):\n%s", diff)
		}
	})
}
