package conformance

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/api/apitest"
	ours "github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/wire"
)

// TestBotocore does with botocore what the other tests do with the Go SDK: it
// carries every member of every input and output, and every error, of the
// services in withoutSDK, all of which speak JSON.
func TestBotocore(t *testing.T) {
	if out, err := exec.Command("python3", "-c", "import botocore").CombinedOutput(); err != nil {
		t.Skipf("python3 has no botocore: %s", out)
	}
	for _, m := range apitest.Models() {
		if !withoutSDK[m.Name] {
			continue
		}
		b := startBotocore(t, m)
		for _, o := range m.Operations {
			op, _ := b.service.Operation(o.Name)
			t.Run(m.Name+"/"+o.Name, func(t *testing.T) {
				b.carry(t, op)
				for _, code := range op.Errors {
					b.fail(t, op, code)
				}
			})
		}
	}
}

// botocore is a running script that calls a server of ours.
type botocore struct {
	model   *wire.Model
	service *wire.Service
	calls   *json.Encoder
	seen    *bufio.Reader

	body   []byte // of the last request
	target string
	answer *wire.Response
}

// seen is what botocore made of an answer.
type seen struct {
	Output              json.RawMessage
	Code, Message, Type string
}

func startBotocore(t *testing.T, m *wire.Model) *botocore {
	b := &botocore{model: m, service: wire.New(m)}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	c := exec.Command("python3", "testdata/carry.py", server.URL, m.Name)
	c.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("carry.py: %v", err)
		}
	})
	b.calls, b.seen = json.NewEncoder(in), bufio.NewReader(out)
	return b
}

// ServeHTTP keeps the request and answers what it was told to.
func (b *botocore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.body, b.target = body, r.Header.Get("X-Amz-Target")
	for name, values := range b.answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(b.answer.Status)
	w.Write(b.answer.Body)
}

// call has botocore call an operation, and returns the decoded request and
// what botocore made of the answer.
func (b *botocore) call(t *testing.T, op *wire.Op, in any, answer *wire.Response) (any, seen) {
	t.Helper()
	b.answer = answer
	r, err := op.EncodeRequest(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.calls.Encode(map[string]any{"Operation": op.Name, "Input": json.RawMessage(r.Body)}); err != nil {
		t.Fatal(err)
	}
	line, err := b.seen.ReadBytes('\n')
	if err != nil {
		t.Fatalf("botocore went away: %v", err)
	}
	var s seen
	if err := json.Unmarshal(line, &s); err != nil {
		t.Fatal(err)
	}
	found, err := b.service.Target(b.target)
	if err != nil || found.Name != op.Name {
		t.Fatalf("target %q is %v (%v)", b.target, found, err)
	}
	got, err := op.DecodeRequest(&wire.Request{Method: http.MethodPost, Header: http.Header{}, Body: b.body})
	if err != nil {
		t.Fatalf("decode: %v\n%.2000s", err, b.body)
	}
	return got, s
}

// carry sends every member of the input, and has every member of the output
// read.
func (b *botocore) carry(t *testing.T, op *wire.Op) {
	t.Helper()
	in, want := reflect.New(op.In).Interface(), reflect.New(op.Out).Interface()
	(&apitest.Sampler{Model: b.model}).Fill(in)
	(&apitest.Sampler{Model: b.model}).Fill(want)
	answer, err := op.EncodeResponse(want, wire.Meta{RequestID: "id-1"})
	if err != nil {
		t.Fatal(err)
	}
	sent, s := b.call(t, op, in, answer)
	if diff := cmp.Diff(in, sent, sameSecond); diff != "" {
		t.Errorf("input (-sent +decoded):\n%s\n%.2000s", diff, b.body)
	}
	got, err := op.DecodeResponse(&wire.Response{Status: http.StatusOK, Header: http.Header{}, Body: s.Output})
	if err != nil {
		t.Fatalf("%v\n%+v", err, s)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("output (-written +read by botocore):\n%s\n%.2000s", diff, answer.Body)
	}
}

// fail answers with an error, and has botocore read its type.
func (b *botocore) fail(t *testing.T, op *wire.Op, code string) {
	t.Helper()
	in := reflect.New(op.In).Interface()
	(&apitest.Sampler{Model: b.model, Only: required}).Fill(in)
	e := ours.Errorf(code, "what went wrong with %s <&>", op.Name)
	_, s := b.call(t, op, in, b.service.EncodeError(e, wire.Meta{RequestID: "id-1"}))
	if want := (seen{Code: code, Message: e.Message, Type: code}); !reflect.DeepEqual(s, want) {
		t.Errorf("botocore read %+v, want %+v", s, want)
	}
}

// sameSecond compares times as botocore sends them: without their fractions.
var sameSecond = cmp.Comparer(func(a, b time.Time) bool { return a.Unix() == b.Unix() })
