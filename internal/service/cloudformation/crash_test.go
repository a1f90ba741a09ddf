package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	crashDir  = "SEKISHO_TEST_CRASH"
	crashAt   = "SEKISHO_TEST_CRASH_AT"
	crashVerb = "SEKISHO_TEST_CRASH_VERB"
)

// files is a resource type whose resources are files, so that they outlive
// the process, and which kills it at one of its steps.
type files struct {
	dir string
	mu  *sync.Mutex
	n   *int
	at  int
}

// step is a moment at which the process may die.
func (f files) step() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *f.n++; *f.n == f.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// make makes a file and notes it, both or neither.
func (f files) make(name, logical string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return f.note("made " + logical)
}

func (f files) note(text string) error {
	log, err := os.OpenFile(filepath.Join(f.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = fmt.Fprintln(log, text)
	return err
}

func (f files) create(ctx context.Context, q *request) error {
	f.step()
	name := filepath.Join(f.dir, "things", q.Name)
	err := f.make(name, q.LogicalID)
	if errors.Is(err, fs.ErrExist) && !q.Resumed {
		return aws.Errorf("AlreadyExistsException", "taken")
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f.step()
	if err := q.exists(ctx, q.Name); err != nil {
		return err
	}
	f.step()
	q.Attributes["Arn"] = "arn:" + q.Name
	return os.WriteFile(name, q.Properties.Canonical(), 0o600)
}

func (f files) update(_ context.Context, q *request) error {
	f.step()
	err := os.WriteFile(filepath.Join(f.dir, "things", q.Physical), q.Properties.Canonical(), 0o600)
	f.step()
	return err
}

func (f files) remove(_ context.Context, q *request) error {
	f.step()
	err := os.Remove(filepath.Join(f.dir, "things", q.Physical))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	f.step()
	return err
}

const crashTemplate = `
Resources:
  A: {Type: Test::File, Properties: {V: 1}}
  B: {Type: Test::File, Properties: {V: !GetAtt A.Arn}}
  C: {Type: Test::File, Properties: {Fixed: 1}}
`

// open starts the service over a directory. kill is the step to die at; 0 to
// live.
func openCrashing(t *testing.T, dir string, kill int) (*Service, api.Client, func()) {
	t.Helper()
	db, err := state.Open(context.Background(), filepath.Join(dir, "db"), Schema(), job.Schema())
	if err != nil {
		t.Fatal(err)
	}
	e := servicetest.New(t, db)
	s := New(db, e.Jobs, e.Door, e.Master.For("cloudformation"), Options{Hold: 30 * time.Second})
	s.types["Test::File"] = kind{
		schema: cfn.Schema{Attributes: []string{"Arn"}, Replace: []string{"Fixed"}},
		maker:  files{dir, &sync.Mutex{}, new(int), kill},
	}
	e.Door.Serve("cloudformation", s.Operations())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Jobs.Run(ctx) }()
	return s, api.Client{Invoker: e.As(root)}, func() {
		stop()
		<-done
		db.Close()
	}
}

// die begins an operation in a process that does not survive it.
func die(t *testing.T, dir, verb string, at int) {
	_, c, closeAll := openCrashing(t, dir, at)
	defer closeAll()
	var err error
	switch verb {
	case "create":
		_, err = c.CreateStack(t.Context(), &api.CreateStackInput{StackName: "one", TemplateBody: crashTemplate})
	case "update":
		_, err = c.UpdateStack(t.Context(), &api.UpdateStackInput{StackName: "one",
			TemplateBody: strings.NewReplacer("V: 1", "V: 2", "Fixed: 1", "Fixed: 2").Replace(crashTemplate)})
	case "delete":
		_, err = c.DeleteStack(t.Context(), &api.DeleteStackInput{StackName: "one"})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A process that is killed at any step of a stack operation leaves a stack
// that the next process brings to its end, with every resource made once.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		at := 0
		fmt.Sscan(os.Getenv(crashAt), &at)
		die(t, dir, os.Getenv(crashVerb), at)
		return
	}
	for _, tt := range []struct {
		verb   string
		steps  int
		status string
		made   []string
		things int
	}{
		{"create", 9, "CREATE_COMPLETE", []string{"made A", "made B", "made C"}, 3},
		{"update", 7, "UPDATE_COMPLETE", []string{"made A", "made B", "made C", "made C"}, 3},
		{"delete", 6, "DELETE_COMPLETE", []string{"made A", "made B", "made C"}, 0},
	} {
		for at := 1; at <= tt.steps; at++ {
			t.Run(fmt.Sprintf("%s at %d", tt.verb, at), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.Mkdir(filepath.Join(dir, "things"), 0o700); err != nil {
					t.Fatal(err)
				}
				if tt.verb != "create" {
					_, c, closeAll := openCrashing(t, dir, 0)
					if _, err := c.CreateStack(t.Context(), &api.CreateStackInput{StackName: "one", TemplateBody: crashTemplate}); err != nil {
						t.Fatal(err)
					}
					closeAll()
				}
				cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.v")
				cmd.Env = append(os.Environ(), crashDir+"="+dir, crashAt+"="+fmt.Sprint(at), crashVerb+"="+tt.verb)
				if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("the process was to die: %v\n%s", err, out)
				}
				finish(t, dir, tt.status)
				log, err := os.ReadFile(filepath.Join(dir, "log"))
				if err != nil {
					t.Fatal(err)
				}
				made := strings.Split(strings.TrimSpace(string(log)), "\n")
				slices.Sort(made)
				wantLines(t, made, tt.made)
				left, err := os.ReadDir(filepath.Join(dir, "things"))
				if err != nil || len(left) != tt.things {
					t.Errorf("%d things are left (%v), want %d", len(left), err, tt.things)
				}
			})
		}
	}
}

// finish lets a new process of the service take up what was left.
func finish(t *testing.T, dir, status string) {
	t.Helper()
	s, c, closeAll := openCrashing(t, dir, 0)
	defer closeAll()
	out, err := c.ListStacks(t.Context(), &api.ListStacksInput{})
	if err != nil || len(out.StackSummaries) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	st, err := s.await(ctx, out.StackSummaries[0].StackId)
	if err != nil || st.Status != status {
		t.Errorf("the stack is %v (%v), want %s", st, err, status)
	}
}
