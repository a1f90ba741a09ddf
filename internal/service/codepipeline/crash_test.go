package codepipeline_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/service/codepipeline"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
)

const (
	crashDB  = "SEKISHO_CRASH_DB"
	crashDir = "SEKISHO_CRASH_DIR"
)

// keep makes the fake bucket outlive its process: puts are files.
func (f *fakes) keep(dir string) {
	f.dir = dir
	files, err := filepath.Glob(filepath.Join(dir, "*.object"))
	if err != nil {
		f.T.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.T.Fatal(err)
		}
		key, err := hex.DecodeString(strings.TrimSuffix(filepath.Base(name), ".object"))
		if err != nil {
			f.T.Fatal(err)
		}
		f.objects[string(key)] = &object{data: data, ver: "v"}
	}
}

// TestCrashChild is the process that TestKilledAnywhere kills.
func TestCrashChild(t *testing.T) {
	if os.Getenv(crashDB) == "" {
		t.Skip("only for TestKilledAnywhere")
	}
	db := statetest.Open(t, os.Getenv(crashDB), codepipeline.Schema(), job.Schema())
	e := servicetest.New(t, db)
	f := newFakes(e)
	f.keep(os.Getenv(crashDir))
	e.Start()
	if _, err := f.client(dev).CreatePipeline(context.Background(), &api.CreatePipelineInput{Pipeline: demo(func(d *api.PipelineDeclaration) { d.ExecutionMode = "QUEUED" })}); err != nil {
		fmt.Println("there already") // from the second process on
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		out, err := f.client(dev).StartPipelineExecution(context.Background(), &api.StartPipelineExecutionInput{Name: "demo"})
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		os.Stdout.WriteString("started " + out.PipelineExecutionId + "\n")
	}
}

// A pipeline whose process is killed again and again delivers every execution
// that was acknowledged, each stage of it once.
func TestKilledAnywhere(t *testing.T) {
	statetest.EachURL(t, func(t *testing.T, url string) {
		dir := t.TempDir()
		rnd := rand.New(rand.NewSource(time.Now().UnixNano()))
		acked := map[string]bool{}
		for range 8 {
			cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
			cmd.Env = append(os.Environ(), crashDB+"="+url, crashDir+"="+dir)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			io.WriteString(stdin, "start\n")
			kill := func() { cmd.Process.Kill() }
			for out := bufio.NewScanner(stdout); out.Scan(); {
				id, ok := strings.CutPrefix(out.Text(), "started ")
				if ok {
					acked[id] = true
					time.AfterFunc(time.Duration(rnd.Intn(40_000))*time.Microsecond, kill)
				} else if strings.HasPrefix(out.Text(), "error") {
					t.Error(out.Text())
					kill()
				}
			}
			cmd.Wait()
		}
		if len(acked) != 8 {
			t.Fatalf("%d executions were acknowledged", len(acked))
		}

		if strings.HasPrefix(url, "postgres") { // the last process's leases would end in half a minute
			db := statetest.Open(t, url)
			err := db.Update(t.Context(), func(tx *state.Tx) error {
				_, err := tx.Exec(t.Context(), "UPDATE job_job SET lease = 1")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		e := servicetest.New(t, statetest.Open(t, url, codepipeline.Schema(), job.Schema()))
		f := newFakes(e)
		f.keep(dir)
		e.Start()
		for id := range acked {
			f.wait(t, id, "Succeeded")
		}
		seen := map[string]int{}
		for _, ev := range f.events(t) {
			var d struct {
				State, Stage, Action string
				Execution            string `json:"execution-id"`
			}
			if err := json.Unmarshal(ev.Detail, &d); err != nil {
				t.Fatal(err)
			}
			seen[strings.Join([]string{d.Execution, ev.DetailType, d.Stage, d.Action, d.State}, " ")]++
		}
		for what, n := range seen {
			if n != 1 {
				t.Errorf("%d times %s", n, what)
			}
		}
		for id := range acked {
			if n := len(f.actions(t, id)); n != 2 {
				t.Errorf("%d actions of %s", n, id)
			}
		}
	})
}
