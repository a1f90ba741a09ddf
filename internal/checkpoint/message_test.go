package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/token"
)

// TestRefusalsSayWhySealed holds that a refusal to somebody outside carries the
// sealed reason beside AWS's text, for the caller's account, and that calls
// inside and strangers get none.
func TestRefusalsSayWhySealed(t *testing.T) {
	master, err := seal.NewMaster(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	box := master.For("test")
	doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":[{"Sid":"Never","Effect":"Deny","Action":"kms:*","Resource":"*"}]}`, policy.Identity)
	if err != nil {
		t.Fatal(err)
	}
	set := &policy.Set{Identity: []policy.Source{{Kind: policy.Identity, Name: "P", On: "arn:aws:iam::111111111111:user/alice", Doc: doc}}}
	k := New(&people{set: set}, &notes{}, Options{Messages: box})
	k.Serve("kms", []call.Operation{call.Op("Do", func(context.Context, *call.Call, *doInput) ([]call.Need, error) {
		return []call.Need{{Action: "kms:Do", Resource: "arn:aws:kms:us-east-1:111111111111:key/k", Keys: policy.Keys{"kms:thing": {"a", "b"}}}}, nil
	}, func(context.Context, *call.Call, *doInput) (*doOutput, error) { return &doOutput{}, nil })})
	refusal := func(p aws.Principal) *aws.Error {
		t.Helper()
		_, err := k.Do(t.Context(), &call.Call{Service: "kms", Operation: "Do", Region: "us-east-1", Principal: p, Time: time.Now(), Secure: true}, &doInput{})
		e, ok := errors.AsType[*aws.Error](err)
		if !ok {
			t.Fatal(err)
		}
		return e
	}
	alice := callers["user"]
	text, err := token.OpenMessage(box, alice.Account, refusal(alice).Header[MessageHeader])
	if err != nil {
		t.Fatal(err)
	}
	var got message
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	conditions := got.Context.Conditions.Items
	got.Context.Conditions.Items = nil
	want := message{
		ExplicitDeny: true, Failures: items[string]{[]string{}},
		Matched: items[matchedStatement]{[]matchedStatement{{"Never", "DENY", "P", "arn:aws:iam::111111111111:user/alice", 0}}},
		Context: messageContext{
			Principal: messagePrincipal{alice.ID, "alice", alice.ARN},
			Action:    "kms:Do", Resource: "arn:aws:kms:us-east-1:111111111111:key/k",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	for _, c := range []messageCondition{
		{"kms:thing", items[messageValue]{[]messageValue{{"a"}, {"b"}}}},
		{"aws:RequestedRegion", items[messageValue]{[]messageValue{{"us-east-1"}}}},
		{"aws:SecureTransport", items[messageValue]{[]messageValue{{"true"}}}},
	} {
		if !slices.ContainsFunc(conditions, func(o messageCondition) bool { return cmp.Equal(o, c) }) {
			t.Errorf("%s is not in %v", c.Key, conditions)
		}
	}
	if h := refusal(aws.Principal{}).Header; h != nil {
		t.Errorf("a stranger's refusal has %v", h)
	}
	_, err = k.As(call.Session{Principal: alice}).Invoke(t.Context(), "kms", "Do", &doInput{})
	if e, ok := errors.AsType[*aws.Error](err); !ok || e.Header != nil {
		t.Errorf("inside the process: %+v", e)
	}
}
