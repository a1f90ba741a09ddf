package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/checkpoint"
)

// endless never ends.
type endless struct{ io.Closer }

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// closing tells when it is closed.
type closing chan struct{}

func (c closing) Close() error { close(c); return nil }

// impatient is a site that waits 200 ms for its clients.
func impatient(t *testing.T, operations ...call.Operation) *site {
	t.Helper()
	s := newSite(t)
	if operations != nil {
		s.Gateway.door = checkpoint.New(people{}, people{}, checkpoint.Options{})
		s.Gateway.door.Serve("s3", operations)
	}
	s.Gateway.stall = 200 * time.Millisecond
	return s
}

// dribble hands out a text a byte at a time, with pauses.
type dribble struct {
	text  string
	pause time.Duration
}

func (d *dribble) Read(p []byte) (int, error) {
	if d.text == "" {
		return 0, io.EOF
	}
	time.Sleep(d.pause)
	p[0], d.text = d.text[0], d.text[1:]
	return 1, nil
}

// A client that stands still is answered, or cut off; one that is slow is not.
func TestStalledClients(t *testing.T) {
	put := ask{method: "PUT", path: "/bucket/key", service: "s3", body: "hello hello"}
	t.Run("half a body", func(t *testing.T) {
		s := impatient(t)
		r := s.request(t, put)
		hold := make(chan struct{})
		defer close(hold)
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("hello"), stuck(hold)))
		r.ContentLength = int64(len(put.body))
		if got := s.send(t, r); got.status != 400 || !strings.Contains(got.body, "<Code>RequestTimeout</Code>") {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("half a body of a request that is refused unread", func(t *testing.T) {
		s := impatient(t)
		r := s.request(t, put)
		r.Header.Del("Authorization")
		r.Header.Set("X-Amz-Target", "Nothing.Nothing")
		hold := make(chan struct{})
		defer close(hold)
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("hello"), stuck(hold)))
		r.ContentLength = int64(len(put.body))
		if got := s.send(t, r); got.status != 400 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("slow body", func(t *testing.T) {
		s := impatient(t)
		r := s.request(t, put)
		r.Body, r.ContentLength = io.NopCloser(&dribble{put.body, 50 * time.Millisecond}), int64(len(put.body))
		if got := s.send(t, r); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("slow handler", func(t *testing.T) {
		s := impatient(t, call.PublicOp("PutObject", "for a test", func(ctx context.Context, _ *call.Call, in *s3.PutObjectInput) (*s3.PutObjectOutput, error) {
			if _, err := io.Copy(io.Discard, in.Body); err != nil {
				return nil, err
			}
			select {
			case <-ctx.Done():
				return nil, errors.New("cut off")
			case <-time.After(600 * time.Millisecond):
				return &s3.PutObjectOutput{}, nil
			}
		}))
		for range 2 { // also on a connection that was used
			if got := s.ask(t, put); got.status != 200 {
				t.Errorf("%d %s", got.status, got.body)
			}
		}
	})
	t.Run("nobody takes the answer", func(t *testing.T) {
		closed := make(closing)
		s := impatient(t, call.PublicOp("GetObject", "for a test", func(context.Context, *call.Call, *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
			return &s3.GetObjectOutput{Body: endless{closed}, ContentLength: new(int64(1 << 40))}, nil
		}))
		r := s.request(t, getThing)
		r.URL.Scheme = "http" // the end of TLS would wait for the client once more
		resp, err := s.client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := bufio.NewReader(resp.Body).Peek(10); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.StatusCode, err)
		}
		select {
		case <-closed:
		case <-time.After(5 * time.Second):
			t.Error("the answer is still being written")
		}
	})
}

// stuck is a body that comes no further until it is let go.
func stuck(hold <-chan struct{}) io.Reader { return stuckReader(hold) }

type stuckReader <-chan struct{}

func (s stuckReader) Read([]byte) (int, error) {
	<-s
	return 0, io.EOF
}
