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

// Record is what a story is told from.
type Record struct {
	// ID is what somebody asked about: a pipeline execution, a request or a
	// commit.
	ID string
	// Calls are in order of time.
	Calls []*call.Entry
	// Deliveries say what became of the events of the calls.
	Deliveries []Delivery
	// Accounts are names by account id.
	Accounts map[string]string
	// Names are what the units and policies of organizations are called, by
	// ARN.
	Names map[string]string
	// Reach are the objects that a pipeline's runs read and write, as patterns
	// of a policy's Resource, by execution. A fix for one object is widened to
	// them, so that it is good for the next run too.
	Reach map[string][]string
}

// Story is everything that one cause led to, in order of time.
type Story struct {
	// ID is what the story was asked for by.
	ID string
	// Executions are the pipeline executions that it tells of.
	Executions []string `json:",omitempty"`
	Steps      []Step
	Deliveries []Delivery `json:",omitempty"`
	// Decisions are those of the refusals, and of the request that was asked
	// about, in full.
	Decisions []Decision `json:",omitempty"`
	// Repair is what turns all refusals of the story, each change once.
	Repair []Fix `json:",omitempty"`
}

// Delivery says what became of one event for one target of a rule.
type Delivery struct {
	Time time.Time
	// Event is the event's detail-type.
	Event string
	// Rule and Target are ARNs, From and To what a person calls them.
	Rule, Target string
	From, To     string
	// State is PENDING, DELIVERED, FAILED or SKIPPED.
	State string
	// Error is the last failure in the target's own words, or why there was
	// nothing to deliver.
	Error string `json:",omitempty"`
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
	// Advice says what to do about a failure that no policy mends, or about a
	// refusal beside what its fixes say.
	Advice string `json:",omitempty"`
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
	// What is what a person calls the resource.
	What    string
	Outcome string
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
	// Account is the one that the document belongs to.
	Account string `json:",omitempty"`
	// Add is the statement to add.
	Add json.RawMessage `json:",omitempty"`
	// Narrow names the Deny that stands in the way, Remove says the same to
	// programs. Was is its text, Instead what takes its place: the Deny, but for
	// this request. Empty means that it cannot be narrowed. Beyond says what else
	// it lets through then.
	Narrow  string            `json:",omitempty"`
	Remove  *Remove           `json:",omitempty"`
	Was     json.RawMessage   `json:",omitempty"`
	Instead []json.RawMessage `json:",omitempty"`
	Beyond  string            `json:",omitempty"`
	// Advice says what to do where a policy cannot be changed.
	Advice string `json:",omitempty"`
}

// holds is the account whose document a fix changes; empty for a bucket's, whose
// ARN does not say.
func holds(f policy.Fix) string {
	for _, arn := range []string{f.Name, f.On} {
		if a, ok := aws.ParseARN(arn); ok && aws.IsAccountID(a.Account) {
			return a.Account
		}
	}
	return ""
}

// managedByAWS reports whether a name is the ARN of one of AWS's own policies.
func managedByAWS(name string) bool {
	a, ok := aws.ParseARN(name)
	return ok && a.Account == "aws"
}

// Remove is the place of a statement in a policy.
type Remove struct {
	Statement int    // index
	Sid       string `json:",omitempty"`
}

// Tell tells the story of a record.
func Tell(r Record) *Story {
	s := &Story{ID: r.ID, Steps: []Step{}}
	t := teller{accounts: r.Accounts, names: r.Names}
	var repair []policy.Fix
	for _, e := range r.Calls {
		t.reach = r.Reach[e.Call.Scope]
		if id := e.Call.Scope; id != "" && !slices.Contains(s.Executions, id) {
			s.Executions = append(s.Executions, id)
		}
		step := t.step(e)
		if step.Outcome == Refused {
			for _, j := range e.Judgements {
				repair = append(repair, t.widen(j.Fixes)...)
			}
		}
		s.Steps = append(s.Steps, step)
	}
	for _, f := range policy.Merge(repair) {
		s.Repair = append(s.Repair, t.fix(f))
	}
	for _, d := range r.Deliveries {
		d.From, d.To = t.thing(d.Rule), t.thing(d.Target)
		s.Deliveries = append(s.Deliveries, d)
	}
	return s
}

// Refusals returns the steps that were refused.
func (s *Story) Refusals() []Step { return s.with(Refused) }

// Failures returns the steps that were allowed and failed.
func (s *Story) Failures() []Step { return s.with(Failed) }

func (s *Story) with(outcome string) []Step {
	var list []Step
	for _, step := range s.Steps {
		if step.Outcome == outcome {
			list = append(list, step)
		}
	}
	return list
}

// Lost returns the deliveries of events that came to nothing.
func (s *Story) Lost() []Delivery {
	var lost []Delivery
	for _, d := range s.Deliveries {
		if d.State == "FAILED" || d.State == "SKIPPED" {
			lost = append(lost, d)
		}
	}
	return lost
}

// teller puts things into words.
type teller struct {
	accounts map[string]string
	names    map[string]string
	reach    []string // of the execution at hand
}

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
	if slices.ContainsFunc(s.Asked, func(q Question) bool { return q.Outcome == Refused }) {
		s.Outcome = Refused
		s.Advice = t.gone(e.Judgements)
		return s
	}
	s.Advice = advice(c.Service, e.Error)
	return s
}

// gone says that a resource's policy names somebody who was deleted, where that
// may be why it does not name the caller.
func (t teller) gone(asked []call.Judgement) string {
	var said []string
	for _, j := range asked {
		if j.Gone == nil {
			continue
		}
		one, them, arns := "a user or role", "its name is another one", "the ARN in the id's place"
		if len(j.Gone.IDs) > 1 {
			one, them, arns = "users or roles", "their names are others", "the ARNs in the ids' places"
		}
		text := t.policy(j.Gone.Kind, j.Gone.Name, j.Gone.On) + " names " + strings.Join(j.Gone.IDs, ", ") + ", " + one +
			" deleted since; who was made again under " + them + ": put the policy again, with " + arns
		if !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	return strings.Join(said, "; ")
}

// advice is what to do about a failure that is none of policies.
func advice(service string, e *aws.Error) string {
	switch service + " " + e.Code {
	case "kms DisabledException":
		return "enable the key: kms:EnableKey"
	case "kms KMSInvalidStateException":
		if strings.Contains(e.Message, "pending deletion") {
			return "cancel the key's deletion and enable it: kms:CancelKeyDeletion, kms:EnableKey"
		}
		if strings.Contains(e.Message, "pending import") {
			return "import the key's material, again if it expired: kms:GetParametersForImport, kms:ImportKeyMaterial"
		}
	case "codecommit BranchDoesNotExistException":
		return "push the branch, or name another one"
	case "s3 NoSuchBucket":
		return "create the bucket, or name another one"
	}
	return ""
}

// widen makes fixes good for the next run.
func (t teller) widen(fixes []policy.Fix) []policy.Fix {
	out := make([]policy.Fix, len(fixes))
	for i, f := range fixes {
		out[i] = f.Widen(t.reach)
	}
	return out
}

// did names an operation. A forwarded event is what AWS calls PutEvents, a
// stack's statement what it calls PutPermission.
func did(c *call.Call) string {
	switch c.Operation {
	case "ForwardEvent":
		return "events:PutEvents"
	case "PutStatement":
		return "events:PutPermission"
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
	q := Question{Action: j.Action, Resource: j.Resource, What: t.object(j.Resource), Outcome: Refused}
	if j.Decision.Effect == policy.Allow {
		q.Outcome = Allowed
	}
	for _, m := range j.Decision.Because {
		if !telling(m) {
			continue
		}
		q.Because = append(q.Because, t.match(m))
	}
	for _, k := range j.Decision.Silent {
		q.Silent = append(q.Silent, k.String())
	}
	for _, f := range t.widen(j.Fixes) {
		q.Fixes = append(q.Fixes, t.fix(f))
	}
	return q
}

// telling reports whether a statement is worth telling of. The policies with
// which AWS has every level of an organization allow everything are not: they
// would stand beside each call.
func telling(m policy.Match) bool {
	return m.Effect != policy.Allow || !strings.HasPrefix(m.Name, "arn:aws:organizations::aws:policy/")
}

// match names a statement that decided.
func (t teller) match(m policy.Match) string {
	switch {
	case m.Root:
		return "the account's root user, who needs no policy"
	case m.Grant != "":
		return "grant " + m.Grant + " of the key"
	case m.ACL:
		return "the access control list of " + t.thing(m.On)
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
		words += " " + t.called(name)
	}
	return words + " on " + t.thing(on)
}

// called is a policy's name: the last part of its ARN, and before that what
// somebody called it, where that is another thing.
func (t teller) called(name string) string {
	last := name[strings.LastIndexByte(name, '/')+1:]
	if given := t.names[name]; given != "" {
		return given + " (" + last + ")"
	}
	return last
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
	case a.Service == "events" && kind == "rule":
		name = "rule " + rest
	case a.Service == "codecommit":
		name = "repository " + a.Resource
	case a.Service == "codepipeline":
		name = "pipeline " + a.Resource
	case a.Service == "organizations":
		return t.place(arn, kind, rest)
	}
	return name + " (" + t.account(arn) + ")"
}

// place names a root, unit or account of an organization.
func (t teller) place(arn, kind, rest string) string {
	organization, id, _ := strings.Cut(rest, "/")
	switch kind {
	case "root":
		return "the root of organization " + organization + " (" + t.account(arn) + ")"
	case "ou":
		if name := t.names[arn]; name != "" {
			id = name
		}
		return "unit " + id + " (" + t.account(arn) + ")"
	case "account":
		if name := t.accounts[id]; name != "" {
			id = name
		}
		return "account " + id
	}
	return arn
}

// object is thing, with the keys of S3's objects.
func (t teller) object(arn string) string {
	if a, ok := aws.ParseARN(arn); ok && a.Service == "s3" {
		return "s3://" + a.Resource
	}
	return t.thing(arn)
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
	out := Fix{Kind: f.Kind.String(), On: f.On, Policy: f.Name, Account: holds(f), Add: f.Statement}
	switch {
	case f.Remove != nil && f.Remove.Sid == call.ClosedSid && f.Remove.Name == call.ClosedSid:
		out.Where, out.Policy = t.thing(f.On), ""
		out.Advice = "the account is closed: nothing in it can be used any more"
	case f.Remove != nil:
		out.Narrow = t.match(*f.Remove)
		out.Remove = &Remove{Statement: f.Remove.Statement, Sid: f.Remove.Sid}
		out.Was, out.Instead, out.Beyond = f.Was, f.Instead, f.Beyond
		out.Where = t.policy(f.Remove.Kind, f.Remove.Name, f.Remove.On)
		if f.Kind == policy.Session {
			out.Advice = "it was passed when the session was made and cannot change: pass another one when the role is assumed again"
		}
		if managedByAWS(f.Name) {
			out.Advice = "AWS manages it, and nobody can change it: detach it, and attach a policy of your own in its place"
		}
	case managedByAWS(f.Name):
		out.Where = t.policy(f.Kind, f.Name, f.On)
		out.Advice = "AWS manages it, and nobody can change it: put a policy of your own in its place that allows this, too"
	case f.Kind == policy.Session:
		out.Where = t.policy(f.Kind, f.Name, f.On)
		out.Advice = "it was passed when the session was made and cannot change: pass one that allows this, too, when the role is assumed again"
	case f.Kind == policy.RCP:
		out.Where = "the resource control policies on " + t.thing(f.On)
		out.Advice = "none allows anything: attach RCPFullAWSAccess"
	case f.Fixed:
		out.Where = t.policy(f.Kind, f.Name, f.On)
		out.Advice = "AWS manages it, and nobody can change it: it serves its own account only. Use a customer managed key; " +
			"for a pipeline's artifacts, name one by its ARN as the encryptionKey of the artifact store"
	case f.Name == "" && (f.Kind == policy.Identity || f.Kind == policy.SCP || f.Kind == policy.RCP):
		out.Where = "a " + t.policy(f.Kind, "", f.On)
	default:
		out.Where = t.policy(f.Kind, f.Name, f.On)
	}
	return out
}
