package checkpoint

import (
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Judge answers as the checkpoint would, with the whole story, and leaves no
// trace.
func TestJudge(t *testing.T) {
	b := newBench(t, allowA+`,{"Sid":"Tls","Effect":"Allow","Action":"s3:B","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`)
	c := &call.Call{Service: "s3", Principal: callers["role"], Time: b.now}
	c.Principal.Tags = []aws.Tag{{Key: "Team", Value: "x"}}
	allowed, err := b.Judge(t.Context(), c, call.Need{Action: "s3:A", Resource: "arn:aws:s3:::x"})
	if err != nil || allowed.Decision.Effect != policy.Allow || allowed.Why == nil || len(allowed.Why.Consulted) != 1 || len(allowed.Sums) != 1 || allowed.Sums[0] != allowed.Why.Consulted[0].Sum {
		t.Errorf("%+v, %v", allowed, err)
	}
	refused, err := b.Judge(t.Context(), c, call.Need{Action: "s3:B", Resource: "arn:aws:s3:::x", Keys: policy.Keys{"s3:x-amz-acl": {"private"}}})
	if err != nil || refused.Decision.Effect == policy.Allow || len(refused.Fixes) != 1 {
		t.Fatalf("%+v, %v", refused, err)
	}
	w := refused.Why
	if len(w.Carry) != 1 || w.Carry[0] != (policy.Carried{Key: "aws:SecureTransport", Value: "true"}) {
		t.Errorf("the request would have had to carry %+v", w.Carry)
	}
	for key, want := range map[string]string{
		"aws:PrincipalArn": callers["role"].RoleARN, "aws:PrincipalTag/Team": "x", "s3:x-amz-acl": "private", "aws:SecureTransport": "false",
	} {
		if got := w.Context[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if len(b.notes.entries) != 0 {
		t.Error("recorded")
	}
	if _, there := w.Context["aws:UserAgent"]; there {
		t.Error("a key that does not apply is there")
	}
}
