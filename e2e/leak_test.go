package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestLeavesNothing sends hundreds of requests, many of which break off, and
// compares what a server holds with what it held after the first of them: file
// descriptors by /proc, goroutines by the dump with which SIGQUIT ends it.
func TestLeavesNothing(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("needs /proc")
	}
	const few = 4 // by which pools grow by chance
	once, thrice := newLeaking(t), newLeaking(t)
	once.load()
	once.settle()
	thrice.load()
	fds := thrice.settle()
	thrice.load()
	thrice.load()
	eventually(t, "no more than the file descriptors there were", 10*time.Second, func() bool { return thrice.fds() <= fds+few })
	before, after := once.goroutines(), thrice.goroutines()
	t.Logf("%d file descriptors; %d goroutines after one load, %d after three", fds, before, after)
	if after > before+few {
		t.Errorf("%d goroutines after one load, %d after three", before, after)
	}
}

// leaking is a server with clients who break off.
type leaking struct {
	*server
	a     *account
	large string
	clone string // URL of a repository
	work  *work
}

func newLeaking(t *testing.T) *leaking {
	t.Helper()
	l := &leaking{server: start(t), large: strings.Repeat("0123456789abcdef", 1<<18)}
	l.a = l.account("pipeline")
	bucket(t, l.a, "leaks")
	put(t, l.a, "leaks", "large", l.large)
	l.work = l.newWork(t)
	l.clone = gitUser(t, l.a, "cloner", `{"Effect":"Allow","Action":"codecommit:*","Resource":"*"}`)(repository(t, l.a, "leaks", region))
	l.work.commit("f", l.large)
	l.work.git("push", "-q", l.clone, "HEAD:refs/heads/main")
	return l
}

// load sends some 200 requests, ten at a time.
func (l *leaking) load() {
	l.t.Helper()
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			for i := range 4 {
				l.whole(i)
				l.halfABody()
				l.halfAnAnswer()
				l.halfAClone()
			}
		})
	}
	wait.Wait()
	l.a.forget()
}

func (l *leaking) whole(i int) {
	ctx, key := context.Background(), fmt.Sprint("k", i)
	if _, err := l.a.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: new("leaks"), Key: &key, Body: strings.NewReader(key)}); err != nil {
		l.t.Error(err)
	}
	out, err := l.a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: new("leaks"), Key: &key})
	if err != nil {
		l.t.Error(err)
		return
	}
	io.Copy(io.Discard, out.Body)
	out.Body.Close()
}

// halfABody goes away in the middle of an upload.
func (l *leaking) halfABody() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := l.a.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: new("leaks"), Key: new("half"), Body: &slow{strings.NewReader(l.large), cancel}})
	if err == nil {
		l.t.Error("half a body was stored")
	}
}

// halfAnAnswer goes away in the middle of a download.
func (l *leaking) halfAnAnswer() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out, err := l.a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: new("leaks"), Key: new("large")})
	if err != nil {
		l.t.Error(err)
		return
	}
	io.CopyN(io.Discard, out.Body, 1000)
	cancel()
	out.Body.Close()
}

// halfAClone kills git while it fetches.
func (l *leaking) halfAClone() {
	dir, err := os.MkdirTemp(l.work.dir, "clone-")
	if err != nil {
		l.t.Error(err)
		return
	}
	c := exec.Command("git", "clone", "-q", l.clone, dir)
	c.Env, c.SysProcAttr = l.work.env, &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		l.t.Error(err)
		return
	}
	time.Sleep(30 * time.Millisecond)
	syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	c.Wait()
}

func (l *leaking) fds() int {
	l.t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.cmd.Process.Pid))
	if err != nil {
		l.t.Fatal(err)
	}
	return len(list)
}

// settle waits until the number of file descriptors stays the same for a
// second, and returns it.
func (l *leaking) settle() int {
	l.t.Helper()
	last, since := l.fds(), time.Now()
	eventually(l.t, "the file descriptors settle", 20*time.Second, func() bool {
		if n := l.fds(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > time.Second
	})
	return last
}

// goroutines ends the server with a dump of all goroutines, and counts them.
func (l *leaking) goroutines() int {
	l.t.Helper()
	l.cmd.Process.Signal(syscall.SIGQUIT)
	l.cmd.Wait()
	l.cmd = nil
	return strings.Count(l.log.String(), "\ngoroutine ")
}
