package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
)

// leftBehind returns the goroutines inside methods of a type that are still
// there after a moment of patience.
func leftBehind(of string) string {
	var left []string
	for range 200 {
		left = nil
		buf := make([]byte, 1<<20)
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, of+".") {
				left = append(left, g)
			}
		}
		if left == nil {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}

// raw sends the head of a request over a connection of its own, with a promise
// of length bytes.
func (s *site) raw(t *testing.T, a ask, length int) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.pool})
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := s.request(t, a)
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.Method, r.URL.RequestURI(), r.Host, length)
	r.Header.Write(c)
	io.WriteString(c, "\r\n")
	return c
}

// TestAbortedClients holds that clients which stand still or vanish, wherever
// in a request or its answer, leave nothing behind: the calls end while the
// server runs on, and the listener's own goroutines with its Close.
func TestAbortedClients(t *testing.T) {
	closed := make(closing)
	s := impatient(t, call.PublicOp("GetObject", "for a test", func(context.Context, *call.Call, *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
		return &s3.GetObjectOutput{Body: endless{closed}, ContentLength: new(int64(1 << 40))}, nil
	}))
	for _, a := range []ask{
		{method: "PUT", path: "/bucket/key", service: "s3", body: "hello"}, listKeys, identity,
		{method: "PUT", path: "/bucket/key", body: "unsigned"},
	} {
		still := s.raw(t, a, 100)
		defer still.Close()
		io.WriteString(still, "hel")
		gone := s.raw(t, a, 100)
		io.WriteString(gone, "hel")
		gone.Close()
	}
	taker := s.raw(t, getThing, 0)
	if _, err := io.ReadFull(taker, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	taker.Close()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("the answer of a client that is gone is still being written")
	}
	if left := leftBehind("net/http.(*conn)"); left != "" {
		t.Errorf("left behind while the server runs:\n%s", left)
	}
	silent, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s.stop()
	if left := leftBehind("gateway.(*listener)"); left != "" {
		t.Errorf("left behind by the listener:\n%s", left)
	}
}
