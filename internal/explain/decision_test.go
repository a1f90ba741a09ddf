package explain

import (
	"encoding/json"
	"testing"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// TestAnAllowOfThen shows the statement that allowed a recorded call as long as
// its document is the same, and says so once it is not.
func TestAnAllowOfThen(t *testing.T) {
	j := allowed("s3:PutObject", object)
	j.Decision.Because[0].Effect, j.Sums = policy.Allow, []string{"then"}
	text := json.RawMessage(`{"Effect":"Allow"}`)
	now := call.Judgement{Why: &call.Why{Consulted: []policy.Consulted{{
		Kind: policy.Identity, Name: "source", On: role, Effect: policy.Allow, Sum: "then",
		Spoke: []policy.Spoke{{Statement: 0, Line: 4, Effect: policy.Allow, Text: text}},
	}}}}
	c := entry("s3", "PutObject", nil, j).Call
	same := Judged(Record{Accounts: names}, c, j, &now)
	if p := same.Policies; len(p) != 1 || p[0].Says != Allows || p[0].Changed || string(p[0].Statements[0].Text) != string(text) || p[0].Statements[0].Line != 4 {
		t.Errorf("while it is the same: %+v", p)
	}
	now.Why.Consulted[0].Sum = "now"
	for name, today := range map[string]*call.Judgement{"changed": &now, "gone": nil} {
		p := Judged(Record{Accounts: names}, c, j, today).Policies
		if len(p) != 1 || !p[0].Changed || p[0].Statements[0].Text != nil || p[0].Statements[0].Sid != "WriteArtifacts" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestARefusalOfThen is told from the record alone; today's policies only say
// what has changed.
func TestARefusalOfThen(t *testing.T) {
	j := refused("s3:PutObject", object, policy.Resource, bucket)
	j.Why = &call.Why{
		Context: policy.Keys{"aws:SecureTransport": {"false"}, "aws:PrincipalArn": {role}},
		Consulted: []policy.Consulted{
			{Kind: policy.Identity, Name: "source", On: role, Effect: policy.Allow, Sum: "a"},
			{Kind: policy.Resource, On: bucket, Absent: true},
		},
		Carry: []policy.Carried{{Key: "aws:SecureTransport", Value: "true"}},
	}
	d := Judged(Record{Accounts: names}, entry("s3", "PutObject", nil, j).Call, j, &call.Judgement{Why: &call.Why{}})
	if len(d.Context) != 2 || d.Context[0].Name != "aws:PrincipalArn" || len(d.Carry) != 1 || d.Carry[0].How == "" {
		t.Errorf("%+v", d)
	}
	if p := d.Policies; len(p) != 2 || !p[0].Changed || p[0].Says != Allows || p[1].Says != Absent || p[1].Changed {
		t.Errorf("policies are %+v", p)
	}
	again := Again(j.Why)
	if _, ok := again["aws:securetransport"]; !ok || len(Again(nil)) != 0 {
		t.Errorf("asked again, the request has %v", again)
	}
}
