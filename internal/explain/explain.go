// Package explain turns the record of calls into a story a person can follow:
// who, in which role of which account, did what, to what, and which statement
// of which policy let them; for a refusal, what would have to change where.
package explain

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Story is everything that one cause led to, in order of time.
type Story struct {
	// Execution is the pipeline execution the story is about.
	Execution string
	Steps     []Step
}

// Outcome of a step or of a question to the checkpoint.
const (
	Allowed = "allowed"
	Refused = "refused"
	// Failed means that the call was allowed, and failed for another reason.
	Failed = "failed"
)

// Step is one call.
type Step struct {
	Time      time.Time
	RequestID string
	Who       Who
	// Did is the operation, such as codecommit:GetBranch.
	Did     string
	Region  string
	Outcome string
	// Error is the answer of a refused or failed call.
	Error string `json:",omitempty"`
	// Asked are the permissions the call needed.
	Asked []Question
}

// Who made a call.
type Who struct {
	// ARN is the caller's.
	ARN string
	// Name is what a person calls the caller: the user, the role, the service.
	Name string
	// Role is set when Name is a role's.
	Role bool
	// Account is the caller's account id, AccountName what sekisho knows it
	// by; both are empty for services.
	Account     string `json:",omitempty"`
	AccountName string `json:",omitempty"`
	// Via are the services that forwarded the caller's identity.
	Via []string `json:",omitempty"`
}

// Question is one permission that was asked for.
type Question struct {
	Action   string
	Resource string
	Outcome  string
	// Because says which statements decided, in words.
	Because []string `json:",omitempty"`
	// Silent are the kinds of policy that had to allow and did not.
	Silent []string `json:",omitempty"`
	Fixes  []Fix    `json:",omitempty"`
}

// Fix is one change that helps to turn a refusal.
type Fix struct {
	// Where says which policy to change, in words.
	Where string
	// Kind and On say the same to programs: the kind of policy, and the ARN
	// of what it is attached to; Policy is the document's name, if it is one
	// in particular.
	Kind   string
	On     string
	Policy string `json:",omitempty"`
	// Add is the statement to add.
	Add json.RawMessage `json:",omitempty"`
	// Narrow names the Deny that stands in the way.
	Narrow string `json:",omitempty"`
}

// New tells the story of the entries, which are in order of time. accounts are
// names by account id.
func New(execution string, entries []*call.Entry, accounts map[string]string) *Story {
	s := &Story{Execution: execution}
	t := teller{accounts}
	for _, e := range entries {
		s.Steps = append(s.Steps, t.step(e))
	}
	return s
}

// Refusals returns the steps that were refused.
func (s *Story) Refusals() []Step {
	var refused []Step
	for _, step := range s.Steps {
		if step.Outcome == Refused {
			refused = append(refused, step)
		}
	}
	return refused
}

// teller puts things into words.
type teller struct{ accounts map[string]string }

func (t teller) step(e *call.Entry) Step {
	c := e.Call
	s := Step{
		Time: c.Time, RequestID: c.ID, Region: c.Region, Outcome: Allowed,
		Who: t.who(c), Did: did(c),
	}
	for _, j := range e.Judgements {
		s.Asked = append(s.Asked, t.question(j))
	}
	if e.Error == nil {
		return s
	}
	s.Error = e.Error.Error()
	s.Outcome = Failed
	if n := len(s.Asked); n > 0 && s.Asked[n-1].Outcome == Refused {
		s.Outcome = Refused
	}
	return s
}

// did names an operation. A forwarded event is what AWS calls PutEvents.
func did(c *call.Call) string {
	if c.Operation == "ForwardEvent" {
		return "events:PutEvents"
	}
	return c.Service + ":" + c.Operation
}

func (t teller) who(c *call.Call) Who {
	p := c.Principal
	return Who{
		ARN: p.ARN, Name: p.Name(), Role: p.Kind == aws.Session,
		Account: p.Account, AccountName: t.accounts[p.Account], Via: slices.Clone(c.Via),
	}
}

func (t teller) question(j call.Judgement) Question {
	q := Question{Action: j.Action, Resource: j.Resource, Outcome: Refused}
	if j.Decision.Effect == policy.Allow {
		q.Outcome = Allowed
	}
	for _, m := range j.Decision.Because {
		q.Because = append(q.Because, t.match(m))
	}
	for _, k := range j.Decision.Silent {
		q.Silent = append(q.Silent, k.String())
	}
	for _, f := range j.Fixes {
		q.Fixes = append(q.Fixes, t.fix(f))
	}
	return q
}

// match names a statement that decided.
func (t teller) match(m policy.Match) string {
	switch {
	case m.Root:
		return "the account's root user, who needs no policy"
	case m.Grant != "":
		return "grant " + m.Grant + " of the key"
	}
	statement := fmt.Sprintf("statement %d", m.Statement+1)
	if m.Sid != "" {
		statement = fmt.Sprintf("statement %q", m.Sid)
	}
	return statement + " of " + t.policy(m.Kind, m.Name, m.On)
}

// policy names a document.
func (t teller) policy(kind policy.Kind, name, on string) string {
	switch kind {
	case policy.Trust:
		return "the trust policy of " + t.thing(on)
	case policy.Key:
		return "the key policy of " + t.thing(on)
	case policy.Resource:
		return "the " + resourcePolicy(on) + " of " + t.thing(on)
	}
	words := map[policy.Kind]string{
		policy.Identity: "policy", policy.Boundary: "permissions boundary", policy.Session: "session policy",
		policy.SCP: "service control policy", policy.RCP: "resource control policy",
	}[kind]
	if name != "" {
		words += " " + name[strings.LastIndexByte(name, '/')+1:]
	}
	return words + " on " + t.thing(on)
}

// resourcePolicy is what a person calls the policy of a resource.
func resourcePolicy(arn string) string {
	a, _ := aws.ParseARN(arn)
	switch a.Service {
	case "s3":
		return "bucket policy"
	case "events":
		return "bus policy"
	}
	return "resource policy"
}

// thing names what an ARN stands for, with its account.
func (t teller) thing(arn string) string {
	a, ok := aws.ParseARN(arn)
	if !ok {
		return arn
	}
	name := a.Resource
	switch kind, rest, _ := strings.Cut(a.Resource, "/"); {
	case a.Service == "iam" && (kind == "role" || kind == "user" || kind == "group"):
		name = kind + " " + rest
	case a.Service == "s3":
		bucket, _, _ := strings.Cut(a.Resource, "/")
		return "bucket " + bucket
	case a.Service == "kms" && kind == "key":
		name = "key " + rest
	case a.Service == "events" && kind == "event-bus":
		name = "bus " + rest
	}
	return name + " (" + t.account(arn) + ")"
}

// account names the account in an ARN.
func (t teller) account(arn string) string {
	id := arn
	if a, ok := aws.ParseARN(arn); ok {
		id = a.Account
	}
	if name := t.accounts[id]; name != "" {
		return name
	}
	if id == "" {
		return "no account"
	}
	return id
}

func (t teller) fix(f policy.Fix) Fix {
	out := Fix{Kind: f.Kind.String(), On: f.On, Policy: f.Name, Add: f.Statement}
	if f.Remove != nil {
		out.Narrow = t.match(*f.Remove)
		out.Where = t.policy(f.Remove.Kind, f.Remove.Name, f.Remove.On)
		return out
	}
	switch {
	case f.Kind == policy.Identity && f.Name == "":
		out.Where = "a policy on " + t.thing(f.On)
	default:
		out.Where = t.policy(f.Kind, f.Name, f.On)
	}
	return out
}
