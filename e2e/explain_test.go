package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// asked is a decision as explain prints it for programs.
type asked struct {
	Outcome, Effect string
	Silent          []string
	Carry           []struct{ Key, Value string }
	Context         []struct {
		Name   string
		Values []string
	}
	Policies []struct {
		Kind, Says string
		Changed    bool
		Statements []struct{ Text json.RawMessage }
	}
	Fixes []fix
}

func (s *server) explain(t *testing.T, args ...string) (string, error) {
	return try("", os.Environ(), binary, append(append([]string{"explain"}, args...), "--data", s.dir)...)
}

func (s *server) decision(t *testing.T, args ...string) (d asked) {
	t.Helper()
	out, err := s.explain(t, append(args, "--json")...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return d
}

// TestExplainApply asks about calls that nobody has made, each refused by
// another kind of policy, has explain put the repair in place, and asks again.
func TestExplainApply(t *testing.T) {
	t.Parallel()
	s := start(t, "--account", "repository="+repositoryAccount, "--account", "pipeline="+pipelineAccount)
	r, p := s.awsCLI(t, "repository"), s.awsCLI(t, "pipeline")
	role := "arn:aws:iam::" + repositoryAccount + ":role/shop"
	other := "arn:aws:iam::" + pipelineAccount + ":role/other"
	trust := func(account string) string {
		return document(`{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}`)
	}
	r.run("iam", "create-role", "--role-name", "shop", "--assume-role-policy-document", trust(repositoryAccount))
	p.run("iam", "create-role", "--role-name", "other", "--assume-role-policy-document", trust(pipelineAccount))
	r.run("iam", "create-policy", "--policy-name", "bound", "--policy-document", document(`{"Effect":"Allow","Action":["s3:*","sts:*","kms:*"],"Resource":"*"}`))
	r.run("iam", "put-role-permissions-boundary", "--role-name", "shop", "--permissions-boundary", "arn:aws:iam::"+repositoryAccount+":policy/bound")
	r.run("iam", "put-role-policy", "--role-name", "shop", "--policy-name", "mine", "--policy-document",
		document(`{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"},{"Sid":"No","Effect":"Deny","Action":["s3:GetObject","s3:DeleteObject"],"Resource":"*"}`))
	p.run("s3api", "create-bucket", "--bucket", "shared-bucket", "--create-bucket-configuration", "LocationConstraint="+region)
	p.run("s3api", "put-bucket-policy", "--bucket", "shared-bucket", "--policy", document(
		`{"Sid":"Sealed","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::shared-bucket/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}},`+
			`{"Effect":"Allow","Principal":{"AWS":"`+repositoryAccount+`"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::shared-bucket/*"}`))
	key := p.run("kms", "create-key", "--query", "KeyMetadata.Arn", "--output", "text")
	bus := "arn:aws:events:" + region + ":" + pipelineAccount + ":event-bus/default"

	for _, tt := range []struct {
		action, resource string
		kinds            string // of policies that are repaired
		says             string // of the diff
	}{
		{"s3:GetObject", "arn:aws:s3:::shared-bucket/x", "identity identity resource", `+      "Action": "s3:DeleteObject"`},
		{"kms:Decrypt", key, "identity key", `+      "Action": "kms:Decrypt"`},
		{"sts:AssumeRole", other, "identity trust", "the trust policy of role other"},
		{"events:PutEvents", bus, "identity resource boundary", `+          "aws:PrincipalArn": [`},
	} {
		question := []string{"--principal", role, "--action", tt.action, "--resource", tt.resource, "--region", region}
		d := s.decision(t, question...)
		var kinds []string
		for _, f := range d.Fixes {
			kinds = append(kinds, f.Kind)
		}
		if got := strings.Join(kinds, " "); d.Outcome != "refused" || got != tt.kinds || len(d.Context) < 10 {
			t.Errorf("%s: %s, repaired in %q, want %q; with %d keys", tt.action, d.Outcome, got, tt.kinds, len(d.Context))
		}
		if out, err := s.explain(t, append(question, "--apply")...); err == nil || !strings.Contains(out, "say --yes") {
			t.Errorf("%s: changed without leave: %v\n%s", tt.action, err, out)
		}
		out, err := s.explain(t, append(question, "--apply", "--yes")...)
		if err != nil || !strings.Contains(out, "would pass now") || !strings.Contains(out, tt.says) {
			t.Errorf("%s: %v, want %q\n%s", tt.action, err, tt.says, out)
		}
		if again := s.decision(t, question...); again.Outcome != "allowed" || len(again.Fixes) != 0 {
			t.Errorf("%s: then it is %s", tt.action, again.Outcome)
		}
	}

	// What the request can do, no policy has to.
	put := []string{"--principal", role, "--action", "s3:PutObject", "--resource", "arn:aws:s3:::shared-bucket/x"}
	if d := s.decision(t, put...); len(d.Carry) != 1 || d.Carry[0].Value != "aws:kms" {
		t.Errorf("the request has to carry %+v", d.Carry)
	}
	if d := s.decision(t, append(put, "--context", "s3:x-amz-server-side-encryption=aws:kms")...); d.Outcome != "allowed" {
		t.Errorf("with the header it is %s", d.Outcome)
	}
	if out, err := s.explain(t, append(put, "--apply", "--yes")...); err == nil || !strings.Contains(out, "--policies") {
		t.Errorf("a policy was changed where the request should: %v\n%s", err, out)
	}
	// What cannot be asked.
	for words, args := range map[string][]string{
		"is no principal":  {"--principal", "bob", "--action", "s3:GetObject", "--resource", "*"},
		"there is no user": {"--principal", "arn:aws:iam::" + repositoryAccount + ":user/bob", "--action", "s3:GetObject", "--resource", "*"},
		"is no action":     {"--principal", role, "--action", "GetObject", "--resource", "*"},
		"is no ARN":        {"--principal", role, "--action", "s3:GetObject", "--resource", "bucket"},
	} {
		if out, err := s.explain(t, args...); err == nil || !strings.Contains(out, words) {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// TestExplainThen has a refusal told as the policies were then, also when they
// have changed since.
func TestExplainThen(t *testing.T) {
	t.Parallel()
	s := start(t, "--account", "repository="+repositoryAccount)
	root := s.awsCLI(t, "repository")
	root.run("iam", "create-user", "--user-name", "bob")
	policy := func(effect string) {
		root.run("iam", "put-user-policy", "--user-name", "bob", "--policy-name", "mine", "--policy-document", document(`{"Effect":"`+effect+`","Action":"iam:ListUsers","Resource":"*"}`))
	}
	policy("Deny")
	keys := strings.Fields(root.run("iam", "create-access-key", "--user-name", "bob", "--query", "AccessKey.[AccessKeyId,SecretAccessKey]", "--output", "text"))
	c := s.config("repository")
	c.Credentials = credentials.NewStaticCredentialsProvider(keys[0], keys[1], "")
	_, err := clients(c).iam.ListUsers(t.Context(), &iam.ListUsersInput{})
	refused, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok {
		t.Fatalf("bob lists users: %v", err)
	}
	id := refused.ServiceRequestID()
	told := func() asked {
		out, err := s.explain(t, id, "--json")
		var story struct{ Decisions []asked }
		if err != nil || json.Unmarshal([]byte(out), &story) != nil || len(story.Decisions) != 1 {
			t.Fatalf("%v: %s", err, out)
		}
		return story.Decisions[0]
	}
	then := told()
	if then.Effect != "explicitDeny" || len(then.Policies) != 1 || then.Policies[0].Says != "denies" || then.Policies[0].Changed {
		t.Errorf("told is %+v", then)
	}
	policy("Allow")
	later := told()
	if later.Effect != "explicitDeny" || later.Policies[0].Says != "denies" || !later.Policies[0].Changed || !strings.Contains(string(later.Policies[0].Statements[0].Text), "Deny") {
		t.Errorf("after the change it is told as %+v", later)
	}
	if out, err := s.explain(t, id, "--apply", "--yes"); err == nil || !strings.Contains(out, "has changed since") {
		t.Errorf("an old repair was put into a new policy: %v\n%s", err, out)
	}
}
