package iam_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/policyeval"
	"github.com/sekisho/sekisho/internal/service/iam"
)

// question is a line of sekisho policy eval.
type question struct {
	Request struct {
		Caller   string              `json:"callerArn"`
		Action   string              `json:"action"`
		Resource string              `json:"resourceArn"`
		Owner    string              `json:"resourceOwner"`
		Context  map[string][]string `json:"context"`
	} `json:"request"`
	Identity []any   `json:"identityPolicies"`
	Resource any     `json:"resourcePolicy"`
	Boundary []any   `json:"permissionsBoundaries"`
	SCPs     [][]any `json:"serviceControlPolicies"`
}

const caller = "arn:aws:iam::111111111111:user/alice"

// dice makes worlds.
type dice struct{ *rand.Rand }

func pick[T any](d dice, list ...T) T { return list[d.IntN(len(list))] }

func (d dice) statement(principal any) map[string]any {
	st := map[string]any{
		"Effect": pick(d, "Allow", "Allow", "Allow", "Deny"),
		pick(d, "Action", "Action", "Action", "NotAction"): pick(d, "s3:*", "s3:GetObject", "s3:Put*", "kms:Decrypt", "*", "*"),
		"Resource": pick(d, "*", "*", "*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/x", "arn:aws:kms:*:*:key/k", "arn:aws:s3:::b/${aws:SourceAccount}"),
	}
	if principal != nil {
		st["Principal"] = principal
	}
	switch d.IntN(5) {
	case 0:
		st["Condition"] = map[string]any{pick(d, "Bool", "BoolIfExists"): map[string]any{"aws:SecureTransport": pick(d, "true", "false")}}
	case 1:
		st["Condition"] = map[string]any{pick(d, "StringEquals", "StringNotEquals", "ForAllValues:StringLike"): map[string]any{"aws:TagKeys": []string{"a", "b"}}}
	}
	return st
}

func (d dice) document(principal func() any) map[string]any {
	list := make([]any, 1+d.IntN(2))
	for i := range list {
		list[i] = d.statement(principal())
	}
	return map[string]any{"Version": "2012-10-17", "Statement": list}
}

func (d dice) documents(atMost int) []any {
	list := []any{}
	for range d.IntN(atMost + 1) {
		list = append(list, d.document(func() any { return nil }))
	}
	return list
}

func (d dice) question() question {
	var q question
	q.Request.Caller = caller
	q.Request.Action = pick(d, "s3:GetObject", "s3:PutObject", "kms:Decrypt", "s3:DeleteObject")
	q.Request.Owner = pick(d, one, one, two)
	q.Request.Resource = pick(d, "arn:aws:s3:::b/x", "arn:aws:s3:::b/y", "arn:aws:s3:::b/"+one)
	if q.Request.Action == "kms:Decrypt" {
		q.Request.Resource = "arn:aws:kms:us-east-1:" + q.Request.Owner + ":key/k"
	}
	q.Request.Context = map[string][]string{}
	for _, key := range []struct {
		name   string
		values [][]string
	}{
		{"aws:SecureTransport", [][]string{{"true"}, {"false"}}}, {"aws:TagKeys", [][]string{{"a"}, {"a", "c"}, {}}}, {"aws:SourceAccount", [][]string{{one}}},
	} {
		if d.IntN(2) == 0 {
			q.Request.Context[key.name] = pick(d, key.values...)
		}
	}
	q.Identity, q.Boundary, q.SCPs = d.documents(2), d.documents(1), [][]any{}
	// Of a key's own policy, simulations know what they are given, and eval that
	// there is no access without one.
	if d.IntN(2) == 0 || q.Request.Action == "kms:Decrypt" {
		q.Resource = d.document(func() any {
			return pick[any](d, "*", map[string]any{"AWS": caller}, map[string]any{"AWS": one}, map[string]any{"AWS": two})
		})
	}
	return q
}

// eval is the decision of sekisho policy eval.
func (q question) eval(t testing.TB) string {
	t.Helper()
	line, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := policyeval.Run(t.Context(), bytes.NewReader(append(line, '\n')), &out, policyeval.Options{DecisionOnly: true}); err != nil {
		t.Fatal(err)
	}
	var a struct{ Decision string }
	if err := json.Unmarshal(out.Bytes(), &a); err != nil || a.Decision == "" {
		t.Fatalf("%s: %s", line, out.Bytes())
	}
	return a.Decision
}

func text(t testing.TB, doc any) string {
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func texts(t testing.TB, docs []any) []string {
	var list []string
	for _, d := range docs {
		list = append(list, text(t, d))
	}
	return list
}

func (q question) entries() []api.ContextEntry {
	var list []api.ContextEntry
	for name, values := range q.Request.Context {
		list = append(list, api.ContextEntry{ContextKeyName: name, ContextKeyType: "stringList", ContextKeyValues: values})
	}
	return list
}

// custom asks SimulateCustomPolicy.
func (q question) custom(w world) string {
	w.Helper()
	in := &api.SimulateCustomPolicyInput{
		PolicyInputList: texts(w, q.Identity), PermissionsBoundaryPolicyInputList: texts(w, q.Boundary), ActionNames: []string{q.Request.Action},
		ResourceArns: []string{q.Request.Resource}, ResourceOwner: "arn:aws:iam::" + q.Request.Owner + ":root", CallerArn: q.Request.Caller, ContextEntries: q.entries(),
	}
	if q.Resource != nil {
		in.ResourcePolicy = text(w, q.Resource)
	}
	return must(w.root.SimulateCustomPolicy(ctx(), in))(w).EvaluationResults[0].EvalDecision
}

// principal asks SimulatePrincipalPolicy about a user who has the policies.
func (q question) principal(w world) string {
	w.Helper()
	for i, d := range q.Identity {
		must(w.root.PutUserPolicy(ctx(), &api.PutUserPolicyInput{UserName: "alice", PolicyName: fmt.Sprint("p", i), PolicyDocument: text(w, d)}))(w)
	}
	in := &api.SimulatePrincipalPolicyInput{
		PolicySourceArn: caller, PermissionsBoundaryPolicyInputList: texts(w, q.Boundary), ActionNames: []string{q.Request.Action},
		ResourceArns: []string{q.Request.Resource}, ResourceOwner: q.Request.Owner, ContextEntries: q.entries(),
	}
	if q.Resource != nil {
		in.ResourcePolicy = text(w, q.Resource)
	}
	got := must(w.root.SimulatePrincipalPolicy(ctx(), in))(w).EvaluationResults[0].EvalDecision
	for i := range q.Identity {
		must(w.root.DeleteUserPolicy(ctx(), &api.DeleteUserPolicyInput{UserName: "alice", PolicyName: fmt.Sprint("p", i)}))(w)
	}
	return got
}

// TestSimulationsDecideAsEval holds that the simulations of IAM and sekisho
// policy eval come to the same decision in random worlds.
func TestSimulationsDecideAsEval(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: "alice"}))(w)
		seen := map[string]int{}
		for seed := range uint64(200) {
			d := dice{rand.New(rand.NewPCG(seed, 1))}
			q := d.question()
			want := q.eval(t)
			seen[want]++
			if got := q.custom(w); got != want {
				t.Errorf("seed %d: SimulateCustomPolicy says %s, eval %s: %s", seed, got, want, text(t, q))
			}
			if seed%8 != 0 {
				continue
			}
			if got := q.principal(w); got != want {
				t.Errorf("seed %d: SimulatePrincipalPolicy says %s, eval %s: %s", seed, got, want, text(t, q))
			}
			scp := d.document(func() any { return nil })
			doc, err := policy.Parse(text(t, scp), policy.SCP)
			if err != nil {
				continue // a NotAction that SCPs may not have
			}
			q.SCPs = [][]any{{scp}}
			w.iam.Bind(oneSCP{doc})
			if got, want := q.principal(w), q.eval(t); got != want {
				t.Errorf("seed %d: in an organization SimulatePrincipalPolicy says %s, eval %s: %s", seed, got, want, text(t, q))
			}
			w.iam.Bind(nil)
		}
		if seen["allowed"] < 20 || seen["explicitDeny"] < 20 || seen["implicitDeny"] < 20 {
			t.Errorf("the worlds are too alike: %v", seen)
		}
	})
}
