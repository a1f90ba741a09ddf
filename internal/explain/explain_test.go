package explain

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

const (
	bucket = "arn:aws:s3:::artifacts"
	object = bucket + "/shop/Commit/p1gldZf"
	role   = "arn:aws:iam::111111111111:role/shop-source"
)

var names = map[string]string{"111111111111": "repository", "222222222222": "pipeline"}

// entry is a call of the action role in an execution.
func entry(service, operation string, failed *aws.Error, judged ...call.Judgement) *call.Entry {
	return &call.Entry{
		Call: &call.Call{
			ID: "r", Trace: "t", Scope: "x", Service: service, Operation: operation, Time: time.Unix(1, 0),
			Principal: aws.Principal{Kind: aws.Session, ARN: "arn:aws:sts::111111111111:assumed-role/shop-source/1", Account: "111111111111", RoleARN: role},
		},
		Judgements: judged, Error: failed,
	}
}

// refused is a judgement that went against the caller, and its fix.
func refused(action, resource string, kind policy.Kind, on string) call.Judgement {
	return call.Judgement{
		Action: action, Resource: resource, Decision: policy.Decision{Silent: []policy.Kind{kind}},
		Fixes: []policy.Fix{{Kind: kind, On: on, Statement: json.RawMessage(`{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`)}},
	}
}

func allowed(action, resource string) call.Judgement {
	return call.Judgement{Action: action, Resource: resource, Decision: policy.Decision{
		Effect: policy.Allow, Because: []policy.Match{{Kind: policy.Identity, Name: "source", On: role, Sid: "WriteArtifacts"}},
	}}
}

func TestRepairIsGoodForTheNextRun(t *testing.T) {
	denied := aws.Errorf("AccessDenied", "Access Denied")
	s := Tell(Record{
		ID: "x", Accounts: names, Reach: map[string][]string{"x": {bucket + "/shop/*"}},
		Calls: []*call.Entry{
			entry("s3", "PutObject", denied, refused("s3:PutObject", object, policy.Resource, bucket), refused("s3:PutObjectAcl", object, policy.Resource, bucket)),
			entry("s3", "PutObject", denied, refused("s3:PutObject", object, policy.Resource, bucket), allowed("s3:PutObjectAcl", object)),
		},
	})
	want := []Fix{{
		Where: "the bucket policy of bucket artifacts", Kind: "resource", On: bucket,
		Add: json.RawMessage(`{"Effect":"Allow","Action":["s3:PutObject","s3:PutObjectAcl"],"Resource":"arn:aws:s3:::artifacts/shop/*"}`),
	}}
	if diff := cmp.Diff(want, s.Repair); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := len(s.Refusals()); n != 2 {
		t.Errorf("%d steps are refused, want both: one missing permission is enough", n)
	}
	if diff := cmp.Diff([]string{"x"}, s.Executions); diff != "" {
		t.Errorf("executions (-want +got)\n%s", diff)
	}
}

func TestRepairWithoutAStatement(t *testing.T) {
	deny := call.Judgement{
		Action: "s3:PutObject", Resource: object,
		Decision: policy.Decision{Effect: policy.ExplicitDeny},
		Fixes:    []policy.Fix{{Kind: policy.Identity, Name: "source", On: role, Remove: &policy.Match{Kind: policy.Identity, Name: "source", On: role, Statement: 3, Sid: "No"}}},
	}
	const key = "arn:aws:kms:eu-central-1:111111111111:key/k"
	managed := call.Judgement{
		Action: "kms:Decrypt", Resource: key, Decision: policy.Decision{Silent: []policy.Kind{policy.Key}},
		Fixes: []policy.Fix{{Kind: policy.Key, Name: "default", On: key, Fixed: true}},
	}
	s := Tell(Record{ID: "x", Accounts: names, Calls: []*call.Entry{
		entry("s3", "PutObject", aws.Errorf("AccessDenied", "Access Denied"), deny),
		entry("kms", "Decrypt", aws.Errorf("AccessDeniedException", "no"), managed),
		entry("kms", "Decrypt", aws.Errorf("DisabledException", "%s is disabled.", key), allowed("kms:Decrypt", key)),
	}})
	if len(s.Repair) != 2 {
		t.Fatalf("repair is %+v", s.Repair)
	}
	if f := s.Repair[0]; f.Narrow != `statement "No" of policy source on role shop-source (repository)` || f.Remove == nil || f.Remove.Statement != 3 || f.Add != nil {
		t.Errorf("the Deny: %+v", f)
	}
	if f := s.Repair[1]; f.Advice == "" || f.Add != nil || f.Where != "the key policy of key k (repository)" {
		t.Errorf("AWS's key: %+v", f)
	}
	if failed := s.Failures(); len(failed) != 1 || failed[0].Advice != "enable the key: kms:EnableKey" {
		t.Errorf("the disabled key: %+v", failed)
	}
}

// Who was deleted since a policy was put is named beside the repair.
func TestGoneAreNamed(t *testing.T) {
	denied := aws.Errorf("AccessDenied", "Access Denied")
	one := refused("s3:PutObject", object, policy.Resource, bucket)
	one.Gone = &call.Gone{Kind: policy.Resource, Name: "bucket policy", On: bucket, IDs: []string{"AROAONE"}}
	two := refused("kms:Decrypt", object, policy.Key, bucket)
	two.Gone = &call.Gone{Kind: policy.Trust, On: role, IDs: []string{"AROAONE", "AROATWO"}}
	s := Tell(Record{ID: "x", Accounts: names, Calls: []*call.Entry{entry("s3", "PutObject", denied, one, one, two), entry("s3", "GetObject", nil, allowed("s3:GetObject", object))}})
	want := "the bucket policy of bucket artifacts names AROAONE, a user or role deleted since; who was made again under its name is another one: put the policy again, with the ARN in the id's place; " +
		"the trust policy of role shop-source (repository) names AROAONE, AROATWO, users or roles deleted since; who was made again under their names are others: put the policy again, with the ARNs in the ids' places"
	if got := s.Refusals()[0].Advice; got != want || len(s.Repair) == 0 {
		t.Errorf("the advice is %s, want %s", got, want)
	}
}

func TestDeliveries(t *testing.T) {
	s := Tell(Record{ID: "t", Accounts: names, Deliveries: []Delivery{
		{State: "DELIVERED", Rule: "arn:aws:events:eu-central-1:111111111111:rule/r", Target: "arn:aws:events:eu-central-1:222222222222:event-bus/default"},
		{State: "FAILED", Rule: "arn:aws:events:eu-central-1:222222222222:rule/s", Target: "arn:aws:codepipeline:eu-central-1:222222222222:shop", Error: "AccessDeniedException: no"},
	}})
	lost := s.Lost()
	if len(lost) != 1 || lost[0].From != "rule s (pipeline)" || lost[0].To != "pipeline shop (pipeline)" {
		t.Errorf("lost are %+v", lost)
	}
}

// TestOrganizationsAreNamed has policies of an organization called by name,
// with the level that they stand on.
func TestOrganizationsAreNamed(t *testing.T) {
	const (
		organization = "arn:aws:organizations::333333333333:"
		scp          = organization + "policy/o-0123456789/service_control_policy/p-0123456789"
		unit         = organization + "ou/o-0123456789/ou-abcd-01234567"
	)
	deny := policy.Match{Kind: policy.SCP, Name: scp, On: unit, Statement: 1, Sid: "NoPut", Effect: policy.ExplicitDeny}
	closed := policy.Match{Kind: policy.RCP, Name: call.ClosedSid, On: organization + "account/o-0123456789/111111111111", Sid: call.ClosedSid, Effect: policy.ExplicitDeny}
	judgement := func(m policy.Match) call.Judgement {
		return call.Judgement{
			Action: "s3:PutObject", Resource: object, Decision: policy.Decision{Effect: policy.ExplicitDeny, Because: []policy.Match{m}},
			Fixes: []policy.Fix{{Kind: m.Kind, Name: m.Name, On: m.On, Remove: &m}},
		}
	}
	denied := aws.Errorf("AccessDenied", "Access Denied")
	s := Tell(Record{
		ID: "x", Accounts: map[string]string{"111111111111": "repository", "333333333333": "management"},
		Names: map[string]string{scp: "no-put", unit: "Workloads"},
		Calls: []*call.Entry{entry("s3", "PutObject", denied, judgement(deny)), entry("s3", "PutObject", denied, judgement(closed)),
			entry("s3", "PutObject", denied, refused("s3:PutObject", object, policy.SCP, organization+"root/o-0123456789/r-abcd"))},
	})
	whole := policy.Match{Kind: policy.SCP, Name: "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess", On: unit, Effect: policy.Allow}
	passed := allowed("s3:PutObject", object)
	passed.Decision.Because = append([]policy.Match{whole}, passed.Decision.Because...)
	if told := Tell(Record{Calls: []*call.Entry{entry("s3", "PutObject", nil, passed)}}).Steps[0].Asked[0].Because; len(told) != 1 {
		t.Errorf("an allowed call tells of %q", told)
	}
	const words = `statement "NoPut" of service control policy no-put (p-0123456789) on unit Workloads (management)`
	if got := s.Steps[0].Asked[0].Because; len(got) != 1 || got[0] != words {
		t.Errorf("because %q, want %q", got, words)
	}
	want := []Fix{
		{Where: "service control policy no-put (p-0123456789) on unit Workloads (management)", Kind: "scp", On: unit, Policy: scp, Account: "333333333333",
			Narrow: words, Remove: &Remove{Statement: 1, Sid: "NoPut"}},
		{Where: "account repository", Kind: "rcp", On: closed.On, Account: "333333333333", Advice: "the account is closed: nothing in it can be used any more"},
		{Where: "a service control policy on the root of organization o-0123456789 (management)", Kind: "scp", On: organization + "root/o-0123456789/r-abcd", Account: "333333333333",
			Add: json.RawMessage(`{"Effect":"Allow","Action":"s3:PutObject","Resource":"` + object + `"}`)},
	}
	if diff := cmp.Diff(want, s.Repair); diff != "" {
		t.Errorf("repair (-want +got):\n%s", diff)
	}
}
