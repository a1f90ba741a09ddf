package iam_test

import (
	"context"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/service/iam"
)

// oneSCP is an organization with one policy for every account.
type oneSCP struct{ doc *policy.Document }

func (o oneSCP) Current(context.Context) (call.Organizations, error) { return o, nil }

func (o oneSCP) Member(context.Context, string) (*call.Member, error) {
	return &call.Member{Organization: "o-1", SCPs: [][]policy.Source{{{Kind: policy.SCP, Name: "guard", Doc: o.doc}}}}, nil
}

// TestSimulateInOrganization holds that service control policies count, and
// that the result says what they allow.
func TestSimulateInOrganization(t *testing.T) {
	doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:Delete*","Resource":"*"}]}`, policy.SCP)
	if err != nil {
		t.Fatal(err)
	}
	each(t, iam.Options{}, func(w world) {
		p := w.user("alice", allowS3)
		simulate := func() []api.EvaluationResult {
			w.Helper()
			return must(w.root.SimulatePrincipalPolicy(ctx(), &api.SimulatePrincipalPolicyInput{
				PolicySourceArn: p.ARN, ActionNames: []string{"s3:GetObject", "s3:DeleteObject"}, ResourceArns: []string{"arn:aws:s3:::b/k"},
			}))(w).EvaluationResults
		}
		for _, r := range simulate() {
			if r.EvalDecision != "allowed" || r.OrganizationsDecisionDetail != nil {
				t.Errorf("without an organization: %+v", r)
			}
		}
		w.iam.Bind(oneSCP{doc})
		got := simulate()
		if r := got[0]; r.EvalDecision != "allowed" || !*r.OrganizationsDecisionDetail.AllowedByOrganizations {
			t.Errorf("allowed by the organization: %+v", r)
		}
		r := got[1]
		if r.EvalDecision != "explicitDeny" || *r.OrganizationsDecisionDetail.AllowedByOrganizations {
			t.Errorf("denied by the organization: %+v", r)
		}
		if len(r.MatchedStatements) != 1 || r.MatchedStatements[0].SourcePolicyId != "guard" {
			t.Errorf("matched: %+v", r.MatchedStatements)
		}
	})
}

func FuzzContextKeys(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"${aws:username}","Condition":{"Bool":{"a:b":"${c:d, 'x'}"}}}}`)
	f.Fuzz(func(_ *testing.T, text string) { iam.ContextKeysOf(text) })
}
