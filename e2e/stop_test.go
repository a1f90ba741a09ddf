package e2e

import (
	"bufio"
	"context"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// drained sends SIGTERM and fails the test unless the process ends cleanly and
// within a time.
func (s *server) drained(within time.Duration) {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.ends(within)
}

func (s *server) ends(within time.Duration) {
	s.t.Helper()
	began := time.Now()
	late := time.AfterFunc(within+5*time.Second, func() { s.cmd.Process.Signal(syscall.SIGQUIT) }) // shows where it hangs
	defer late.Stop()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server did not end cleanly: %v", err)
	}
	if took := time.Since(began); took > within {
		s.t.Errorf("the server took %v to end", took)
	}
	s.cmd = nil
}

// TestEndsWhileDelivering: SIGTERM between a push and its delivery, and while
// git pushes. The server ends soon and cleanly, and goes on where it was.
func TestEndsWhileDelivering(t *testing.T) {
	databases(t, func(t *testing.T, args ...string) {
		k := &killing{world: deliver(t, args...)}
		for i := range 4 {
			known := k.known("pipeline")
			id := k.change(i)
			push := exec.Command("git", "push", "-q", "origin", "main")
			var said strings.Builder
			push.Dir, push.Env, push.Stderr = k.tree, k.env, &said
			began := time.Now()
			if err := push.Start(); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 { // after the push, or in the middle of it
				if err := push.Wait(); err != nil {
					t.Fatal(err)
				}
				k.push = time.Since(began)
				time.Sleep(time.Duration(i) * 15 * time.Millisecond)
				k.drained(5 * time.Second)
				k.again()
			} else {
				time.Sleep(k.push * time.Duration(5+i) / 12)
				k.drained(5 * time.Second)
				err := push.Wait()
				k.again()
				at, _, _ := strings.Cut(k.git("ls-remote", "origin", "refs/heads/main"), "\t")
				t.Logf("push: %v, the branch moved: %v; %s", err, at == id, strings.TrimSpace(said.String()))
				if err == nil && at != id {
					t.Fatalf("an acknowledged push is lost: the branch is at %s", at)
				}
				if at != id {
					k.git("push", "-q", "origin", "main")
				}
			}
			k.delivered(known, id)
			if t.Failed() {
				t.Fatalf("round %d", i)
			}
		}
	})
}

// TestEndsDespiteClients: clients that stand still do not keep a server from
// ending: one that has sent half a body, one that does not take its answer,
// one that has not finished its headers, and one that has said nothing.
func TestEndsDespiteClients(t *testing.T) {
	t.Parallel() // it waits, most of the time
	s := start(t)
	a := s.account("pipeline")
	bucket(t, a, "stalled")
	large := strings.Repeat("0123456789abcdef", 4<<20)
	put(t, a, "stalled", "large", large)
	put(t, a, "stalled", "small", "acknowledged")

	out, err := a.s3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: new("stalled"), Key: new("large")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	if _, err := bufio.NewReader(out.Body).Peek(100); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	refused := make(chan error, 1)
	go func() {
		_, err := a.s3.PutObject(context.Background(), &s3.PutObjectInput{Bucket: new("stalled"), Key: new("half"),
			Body: &slow{strings.NewReader(large), func() { <-hold }}})
		refused <- err
	}()
	for _, say := range []string{"", "POST / HTTP/1.1\r\nHost: x\r\nContent-Le", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, say)
	}
	time.Sleep(300 * time.Millisecond) // until the upload stands still
	s.drained(20 * time.Second)        // calls have 15 seconds to end
	close(hold)
	if err := <-refused; err == nil {
		t.Error("half an upload was acknowledged")
	}
	s.again()
	if read(t, a, "stalled", "small") != "acknowledged" || read(t, a, "stalled", "large") != large {
		t.Error("an object is not what was put")
	}
	_, err = a.s3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: new("stalled"), Key: new("half")})
	wants(t, err, "NotFound")
	eventually(t, "nothing is left of half an upload", 5*time.Second, func() bool { return s.blobs() == 1 }) // the small body lies in the database
}
