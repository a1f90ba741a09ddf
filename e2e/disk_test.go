package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/sekisho/sekisho/templates"
)

// TestFullDisk fills the disk below a server. What it cannot store it refuses,
// what it has acknowledged stays, reads that it can record it serves, and once there
// is room again the same process goes on.
func TestFullDisk(t *testing.T) {
	disk := mounted(t, "64m")
	f := &filling{disk: disk, kept: map[string]string{}}
	f.world = deployOn(startIn(t, filepath.Join(disk, "data"), "--account", "other=333333333333"), templates.Params{
		Project: "shop", Region: region,
		Repository:   templates.Account{ID: repositoryAccount, Profile: "repository"},
		Environments: []templates.Environment{{Account: templates.Account{ID: pipelineAccount, Profile: "pipeline"}}},
	})
	f.a = f.account("other")
	bucket(t, f.a, "full")
	if err := f.put("before", 100_000); err != nil {
		t.Fatal(err)
	}
	process := f.cmd.Process.Pid
	known := f.known("pipeline")
	f.push("Delivered while the disk fills up")
	f.fill()

	if err := f.put("large", 1<<20); err == nil {
		t.Error("an object was stored for which there is no room")
	}
	f.write("large.bin", string(random(2<<20)))
	id := f.commit("Too large")
	if out, err := try(f.tree, f.env, "git", "push", "-q", "origin", "main"); err == nil {
		t.Errorf("a push was stored for which there is no room: %s", out)
	}
	refused := 0
	for i := 0; i < 300 && refused < 20; i++ {
		if f.put(fmt.Sprint("small ", i), 3000) != nil {
			refused++
		}
		if f.user(fmt.Sprint("user-", i)) != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
	f.wholeOrRefused("while the disk is full")
	time.Sleep(4 * time.Second) // what waits to be written must not be given up meanwhile

	f.free()
	eventually(t, "objects are stored again", 10*time.Second, func() bool { return f.put("after", 1<<20) == nil })
	eventually(t, "users are made again", 10*time.Second, func() bool { return f.user("after") == nil })
	f.finished("pipeline", known) // however it ended, it did
	known = f.known("pipeline")
	f.git("push", "-q", "origin", "main")
	e := f.finished("pipeline", known)
	if e.Status != cptypes.PipelineExecutionStatusSucceeded || *e.SourceRevisions[0].RevisionId != id {
		t.Errorf("execution is %s: %s", e.Status, f.explain(*e.PipelineExecutionId))
	}
	if f.cmd.Process.Pid != process {
		t.Error("another process")
	}
	f.whole("after it was")
	f.stop()
	f.again()
	f.whole("after a start")
}

// filling is a server whose disk is full.
type filling struct {
	*world
	disk  string
	a     *account
	kept  map[string]string // acknowledged objects
	users []string          // acknowledged users
}

func (f *filling) filler() string { return filepath.Join(f.disk, "filler") }

// fill takes all room.
func (f *filling) fill() {
	f.t.Helper()
	file, err := os.Create(f.filler())
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	for _, piece := range []int{1 << 20, 4096, 1} {
		for err == nil {
			_, err = file.Write(make([]byte, piece))
		}
		err = nil
	}
}

func (f *filling) free() {
	f.t.Helper()
	if err := os.Remove(f.filler()); err != nil {
		f.t.Fatal(err)
	}
}

// answered fails the test for a call that was neither done nor refused.
func (f *filling) answered(err error) error {
	f.t.Helper()
	if _, ok := errors.AsType[smithy.APIError](err); err != nil && !ok {
		f.t.Fatalf("a call was not answered: %v", err)
	}
	return err
}

func (f *filling) put(key string, size int) error {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	text := content(key, size)
	_, err := f.a.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: new("full"), Key: &key, Body: strings.NewReader(text)})
	if err == nil {
		f.kept[key] = text
	}
	return f.answered(err)
}

func (f *filling) user(name string) error {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := f.a.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: &name})
	if err == nil {
		f.users = append(f.users, name)
	}
	return f.answered(err)
}

// whole checks that everything is there that was acknowledged.
func (f *filling) whole(when string) {
	f.t.Helper()
	f.look(when, func(error) bool { return false })
}

// wholeOrRefused is whole for as long as the disk is full: a call that cannot
// be recorded is refused, a reading one, too.
func (f *filling) wholeOrRefused(when string) {
	f.t.Helper()
	f.look(when, func(err error) bool {
		var e *awshttp.ResponseError
		return errors.As(err, &e) && e.HTTPStatusCode() == http.StatusInternalServerError
	})
}

func (f *filling) look(when string, pardoned func(error) bool) {
	f.t.Helper()
	ctx := context.Background()
	for key, text := range f.kept {
		out, err := f.a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: new("full"), Key: &key})
		if err == nil {
			var got []byte
			if got, err = io.ReadAll(out.Body); err == nil && string(got) != text {
				err = errors.New("is not what was acknowledged")
			}
			out.Body.Close()
		}
		if err != nil && !pardoned(err) {
			f.t.Errorf("%s: %s: %v", when, key, err)
		}
	}
	for _, name := range f.users {
		if _, err := f.a.iam.GetUser(ctx, &iam.GetUserInput{UserName: &name}); err != nil && !pardoned(err) {
			f.t.Errorf("%s: user %s: %v", when, name, err)
		}
	}
}
