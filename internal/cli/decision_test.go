package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/explain"
)

// TestDecision shows what a person reads of a refusal by a bucket's guard, and
// that a silent policy that had to allow stands out.
func TestDecision(t *testing.T) {
	const bucket = "the bucket policy of bucket artifacts"
	deny := json.RawMessage(`{"Effect":"Deny"}`)
	d := explain.Decision{
		Who:    explain.Who{ARN: "arn:aws:sts::111111111111:assumed-role/source/x", Name: "source", Role: true, AccountName: "repository"},
		Action: "s3:PutObject", Resource: "arn:aws:s3:::artifacts/x", What: "s3://artifacts/x", Owner: "222222222222", OwnerName: "pipeline",
		Outcome: explain.Refused, Effect: "explicitDeny",
		Context: []explain.Key{{Name: "aws:SecureTransport", Values: []string{"true"}}}, Missing: []string{"s3:x-amz-acl"},
		Policies: []explain.Policy{
			{Kind: "resource", Where: bucket, Says: explain.Denies, Statements: []explain.Statement{{Index: 0, Sid: "No", Line: 4, Effect: "Deny", Applied: true, Text: deny}}},
			{Kind: "identity", Where: "policy source on role source (repository)", Says: explain.Silent, Changed: true,
				Statements: []explain.Statement{{Index: 1, Effect: "Allow", Unmet: []string{"aws:SourceIp"}}}},
		},
		Carry: []explain.Carry{{Key: "s3:x-amz-acl", Value: "private", How: "put it with --acl private"}},
		Fixes: []explain.Fix{{Where: bucket, Narrow: `statement "No" of ` + bucket, Remove: &explain.Remove{}, Instead: []json.RawMessage{json.RawMessage(`{"Effect":"Deny","NotResource":"x"}`)}, Beyond: "more"}},
	}
	var b bytes.Buffer
	writeDecision(&b, d, "sekisho explain … --apply")
	for _, want := range []string{
		"✗ REFUSED a Deny says no · as the policies are now; nobody has asked", "  who        role source of repository\n",
		"  ✗ the bucket policy of bucket artifacts      denies  \"No\" (line 4)\n",
		"  · policy source on role source (repository)  silent  statement 2 wants another aws:SourceIp; changed since\n",
		"decided by \"No\" (line 4) of " + bucket + "\n    {\n      \"Effect\": \"Deny\"\n    }\n",
		"    s3:x-amz-acl         not there, and asked for\n",
		"the smallest change is in the request: it has to carry\n    s3:x-amz-acl = private\n      put it with --acl private\n",
		"narrow statement \"No\" of " + bucket + " to\n", "which lets through, besides: more\n", "sekisho explain … --apply --policies\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	d.Effect, d.Silent, d.Carry, b = "implicitDeny", []string{"identity"}, nil, bytes.Buffer{}
	writeDecision(&b, d, "")
	if got := b.String(); !strings.Contains(got, "✗ policy source on role") || !strings.Contains(got, "did not apply: statement 2") && d.Policies[1].Statements[0].Text != nil {
		t.Errorf("the policy that had to allow does not stand out:\n%s", got)
	}
}

func TestExplainTakes(t *testing.T) {
	for _, args := range [][]string{
		{}, {"x", "--principal", "p"}, {"--principal", "p", "--action", "a"}, {"x", "--apply", "--json"},
		{"--principal", "p", "--action", "a", "--resource", "r", "--context", "novalue"},
	} {
		c := explainCommand()
		c.SetArgs(append(args, "--data", t.TempDir()))
		c.SilenceUsage, c.SilenceErrors = true, true
		if err := c.Execute(); err == nil || strings.Contains(err.Error(), "no server runs") {
			t.Errorf("%q: %v", args, err)
		}
	}
}
