package apitest_test

import (
	"io"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/api/apitest"
	"github.com/sekisho/sekisho/internal/wire"
)

// ambiguous are operations that AWS has given up, whose shapes write two
// members under one name: what was meant cannot be told from the text.
var ambiguous = map[string]bool{"GetBucketNotification": true, "PutBucketNotification": true}

// TestRoundTrip carries every member of every operation from our client to
// our server and back.
func TestRoundTrip(t *testing.T) {
	operations := 0
	for _, m := range apitest.Models() {
		s := wire.New(m)
		for _, o := range m.Operations {
			operations++
			if ambiguous[o.Name] {
				continue
			}
			op, _ := s.Operation(o.Name)
			t.Run(m.Name+"/"+o.Name, func(t *testing.T) {
				roundTripInput(t, m, op)
				roundTripOutput(t, m, op)
			})
		}
	}
	if operations < 745 {
		t.Errorf("%d operations, there were 745", operations)
	}
}

func roundTripInput(t *testing.T, m *wire.Model, op *wire.Op) {
	t.Helper()
	in := reflect.New(op.In).Interface()
	(&apitest.Sampler{Model: m}).Fill(in)
	r, err := op.EncodeRequest(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := op.DecodeRequest(r)
	if err != nil {
		t.Fatalf("decode: %v\n%.2000s", err, r.Body)
	}
	if diff := cmp.Diff(in, got, sameStream); diff != "" {
		t.Errorf("input (-sent +decoded):\n%s\n%.2000s", diff, r.Body)
	}
}

func roundTripOutput(t *testing.T, m *wire.Model, op *wire.Op) {
	t.Helper()
	out := reflect.New(op.Out).Interface()
	(&apitest.Sampler{Model: m}).Fill(out)
	r, err := op.EncodeResponse(out, wire.Meta{RequestID: "id", HostID: "host"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := op.DecodeResponse(r)
	if err != nil {
		t.Fatalf("decode: %v\n%.2000s", err, r.Body)
	}
	if diff := cmp.Diff(out, got, sameStream); diff != "" {
		t.Errorf("output (-sent +decoded):\n%s\n%.2000s", diff, r.Body)
	}
}

// sameStream compares bodies by identity: codecs pass them through untouched.
var sameStream = cmp.Comparer(func(a, b io.Reader) bool { return a == b })
