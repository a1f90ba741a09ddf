package e2e

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// killSeed makes the moments at which servers are killed the same in every
// run; what happens at those moments is chance all the same.
const killSeed = 4566

// TestKilledServerDelivers kills a server at any moment between a push and its
// delivery. After the next start the commit is delivered, once, and whole; a
// push that was not acknowledged is delivered or has not taken place.
func TestKilledServerDelivers(t *testing.T) {
	t.Logf("seed %d", killSeed)
	databases(t, func(t *testing.T, args ...string) {
		rounds := 25
		if len(args) > 0 || testing.Short() {
			rounds = 10
		}
		k := &killing{world: deliver(t, args...), chance: rand.New(rand.NewPCG(killSeed, uint64(rounds)))}
		for i := range rounds {
			switch {
			case i%3 == 2:
				k.duringPush(i)
			case i%5 == 4:
				k.twice(i)
			default:
				k.afterPush(i, 200*time.Millisecond*time.Duration(i)/time.Duration(rounds))
			}
			if t.Failed() {
				t.Fatalf("round %d", i)
			}
		}
	})
}

// killing is a world whose server is killed over and over.
type killing struct {
	*world
	chance *rand.Rand
	marks  []string      // of each commit that may be delivered
	push   time.Duration // how long one takes
}

// size is how large the largest file of a commit is: of more than one chunk of
// what is encrypted at a time.
const size = 300 << 10

// change commits files that all carry one mark, and returns the commit's id.
func (k *killing) change(round int) string {
	k.t.Helper()
	mark := fmt.Sprintf("round %03d\n", round)
	k.marks = append(k.marks, mark)
	for i := range 8 {
		k.write(fmt.Sprintf("part/%d.txt", i), strings.Repeat(mark, 1+i*size/7/len(mark)))
	}
	k.write("index.html", mark)
	return k.commit("Round " + mark)
}

// within is a moment between zero and most.
func (k *killing) within(most time.Duration) time.Duration {
	return time.Duration(k.chance.Int64N(int64(most)))
}

// afterPush kills the server some time after a push was acknowledged.
func (k *killing) afterPush(round int, after time.Duration) {
	known := k.known("pipeline")
	id := k.change(round)
	began := time.Now()
	k.git("push", "-q", "origin", "main")
	k.push = time.Since(began)
	time.Sleep(after)
	k.kill()
	k.again()
	k.whole()
	k.delivered(known, id)
}

// twice kills the server again after it has gone on for a while.
func (k *killing) twice(round int) {
	known := k.known("pipeline")
	id := k.change(round)
	k.git("push", "-q", "origin", "main")
	for range 2 {
		time.Sleep(k.within(60 * time.Millisecond))
		k.kill()
		k.again()
	}
	k.whole()
	k.delivered(known, id)
}

// duringPush kills the server while git pushes.
func (k *killing) duringPush(round int) {
	k.t.Helper()
	known := k.known("pipeline")
	before := k.git("rev-parse", "HEAD")
	id := k.change(round)
	push := exec.Command("git", "push", "-q", "origin", "main")
	push.Dir, push.Env = k.tree, k.env
	if err := push.Start(); err != nil {
		k.t.Fatal(err)
	}
	time.Sleep(k.push*6/10 + k.within(k.push*6/10)) // what comes before is git's own
	k.kill()
	failed := push.Wait()
	k.again()
	k.whole()
	at, _, _ := strings.Cut(k.git("ls-remote", "origin", "refs/heads/main"), "\t")
	k.t.Logf("round %d: push %v, the branch moved: %v", round, failed, at == id)
	switch {
	case at == id:
	case failed == nil:
		k.t.Fatalf("an acknowledged push is lost: the branch is at %s, want %s", at, id)
	case at != before:
		k.t.Fatalf("the branch is at %s, which is neither %s nor %s", at, before, id)
	default:
		if n := len(k.executions("pipeline")); n != len(known) {
			k.t.Errorf("%d executions began without a push", n-len(known))
		}
		k.git("push", "-q", "origin", "main") // nothing of the broken push is in the way
	}
	k.delivered(known, id)
}

// delivered waits until a commit is delivered, and checks that it was once.
func (k *killing) delivered(known map[string]bool, id string) {
	k.t.Helper()
	e := k.finished("pipeline", known)
	if e.Status != cptypes.PipelineExecutionStatusSucceeded {
		k.t.Fatalf("execution is %s: %s", e.Status, k.explain(*e.PipelineExecutionId))
	}
	if len(e.SourceRevisions) != 1 || *e.SourceRevisions[0].RevisionId != id {
		k.t.Errorf("delivered is %+v, want %s", e.SourceRevisions, id)
	}
	if n := len(k.executions("pipeline")) - len(known); n != 1 {
		k.t.Errorf("%d executions for one push", n)
	}
	times := k.times(*e.PipelineExecutionId)
	for action, n := range times {
		if n != 1 || !strings.HasSuffix(action, " "+string(cptypes.ActionExecutionStatusSucceeded)) {
			k.t.Errorf("%s: %d times", action, n)
		}
	}
	if len(times) != 2 {
		k.t.Errorf("actions ran %v, want two", times)
	}
	if mark := k.whole(); mark != k.marks[len(k.marks)-1] {
		k.t.Errorf("delivered are the files of %q, want %q", mark, k.marks[len(k.marks)-1])
	}
	k.opens(*e.PipelineExecutionId)
}

// times counts the action executions of an execution by name and status.
func (k *killing) times(execution string) map[string]int {
	k.t.Helper()
	name := k.pipelineName("pipeline")
	out, err := k.pipelines["pipeline"].codepipeline.ListActionExecutions(context.Background(), &codepipeline.ListActionExecutionsInput{
		PipelineName: &name, Filter: &cptypes.ActionExecutionFilter{PipelineExecutionId: &execution},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	times := map[string]int{}
	for _, a := range out.ActionExecutionDetails {
		times[*a.ActionName+" "+string(a.Status)]++
	}
	return times
}

// whole checks that every object that is there is one commit's file from its
// beginning to its end, and returns the mark of index.html.
func (k *killing) whole() string {
	k.t.Helper()
	a, bucket := k.pipelines["pipeline"], k.outputs["shop-pipeline"]["TargetBucketName"]
	out, err := a.s3.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		k.t.Fatal(err)
	}
	index := ""
	for _, o := range out.Contents {
		text := read(k.t, a, bucket, *o.Key)
		if *o.Key == "release/index.html" {
			index = text
			continue
		}
		mark, _, _ := strings.Cut(text, "\n")
		mark += "\n"
		if !slices.Contains(k.marks, mark) || text != strings.Repeat(mark, len(text)/len(mark)) || int64(len(text)) != *o.Size {
			k.t.Errorf("%s is not whole: %d bytes, of %d", *o.Key, len(text), *o.Size)
		}
	}
	return index
}

// opens checks that the artifact of an execution is a whole archive.
func (k *killing) opens(execution string) {
	k.t.Helper()
	at := k.actions("pipeline", execution)["Commit"].Output.OutputArtifacts[0].S3location
	text := read(k.t, k.pipelines["pipeline"], *at.Bucket, *at.Key)
	archive, err := zip.NewReader(strings.NewReader(text), int64(len(text)))
	if err != nil {
		k.t.Fatalf("the artifact: %v", err)
	}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			k.t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			k.t.Errorf("%s in the artifact: %v", f.Name, err)
		}
		r.Close()
	}
}
