package codecommit

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// crashDir names the directory in which the process under test is to die.
const crashDir = "SEKISHO_TEST_CRASH"

func openWorld(ctx context.Context, t *testing.T, path string) (*Service, *state.DB) {
	t.Helper()
	db, err := state.Open(ctx, filepath.Join(path, "db"), Schema(), job.Schema())
	if err != nil {
		t.Fatal(err)
	}
	store, err := git.Open(ctx, filepath.Join(path, "git"), git.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		store.Close()
		db.Close()
	})
	return New(db, store, nil, job.NewQueue(db, job.Options{})), db
}

func rootCall(trace string) *call.Call {
	c := &call.Call{Trace: trace, Region: "us-east-1", Time: time.Now(), Principal: aws.RootPrincipal(account)}
	return c.WithJudge(func(context.Context, *call.Call, call.Need) error { return nil })
}

// The process is killed after git has moved the ref, in the transaction that
// records it. The next one tells the world, with the trace of the push.
func TestKilledBetweenGitAndTheRecord(t *testing.T) {
	if path := os.Getenv(crashDir); path != "" {
		pushAndDie(t, path)
		return
	}
	path := t.TempDir()
	s, db := openWorld(t.Context(), t, path)
	meta, err := s.createRepository(t.Context(), rootCall("setup"), &api.CreateRepositoryInput{RepositoryName: "app"})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	work := &clone{t: t, dir: t.TempDir()}
	work.ok("init", "-q", "-b", "main")
	id := work.commit("one")
	line := git.Zero + " " + id + " refs/heads/main\x00 report-status side-band-64k"
	request := "00" + hex2(len(line)+4) + line + "0000"
	pack := exec.Command("git", "pack-objects", "--stdout", "--revs", "-q")
	pack.Dir, pack.Stdin = work.dir, bytes.NewReader([]byte("main\n"))
	data, err := pack.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "request"), append([]byte(request), data...), 0o600); err != nil {
		t.Fatal(err)
	}

	child := exec.Command(os.Args[0], "-test.run=^TestKilledBetweenGitAndTheRecord$", "-test.v")
	child.Env = append(os.Environ(), crashDir+"="+path)
	out, err := child.CombinedOutput()
	if err == nil || bytes.Contains(out, []byte("--- ")) {
		t.Fatalf("the child did not die: %v\n%s", err, out)
	}

	s, db = openWorld(t.Context(), t, path)
	repo, err := s.git.Repository(dir(account, "us-east-1", meta.RepositoryMetadata.RepositoryId))
	if err != nil {
		t.Fatal(err)
	}
	if refs, err := repo.Refs(t.Context()); err != nil || refs["refs/heads/main"] != id {
		t.Fatalf("git has not moved the ref: %v, %v", refs, err)
	}
	if err := s.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.getBranch(t.Context(), rootCall(""), &api.GetBranchInput{RepositoryName: "app", BranchName: "main"})
	if err != nil || got.Branch.CommitId != id {
		t.Errorf("GetBranch = %v, %v", got, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	var events []aws.Event
	_ = db.Deliver(ctx, func(_ context.Context, _ *state.Tx, e aws.Event) error {
		events = append(events, e)
		return nil
	})
	d := details(t, events)
	if len(d) != 1 || d[0]["commitId"] != id || events[0].Trace != "the push" || d[0]["callerUserArn"] != "arn:aws:iam::111111111111:root" {
		t.Errorf("events %v, %v", events, d)
	}
}

func hex2(n int) string { return string([]byte{"0123456789abcdef"[n>>4&15], "0123456789abcdef"[n&15]}) }

// pushAndDie pushes what its parent has prepared and dies while it records it.
func pushAndDie(t *testing.T, path string) {
	s, _ := openWorld(t.Context(), t, path)
	s.now = func() time.Time {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Kill()
		}
		t.Fatal(err, "and yet alive")
		select {}
	}
	request, err := os.Open(filepath.Join(path, "request"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.gitPush(t.Context(), rootCall("the push"), &api.GitPushInput{RepositoryName: "app", Body: request, Out: io.Discard})
	t.Fatal("the push went through", err)
}
