package explain

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Decision is one decision of the checkpoint, told in full: who asked for what
// of whom, what the conditions could see, what each policy said, and for a
// refusal what would turn it.
type Decision struct {
	// RequestID and Time are those of the call that was judged; RequestID is
	// empty for one that nobody made.
	RequestID string `json:",omitempty"`
	Time      time.Time
	Who       Who
	Action    string
	Resource  string
	// What is what a person calls the resource; Owner is the account that owns
	// it, OwnerName what sekisho knows that by.
	What      string
	Owner     string
	OwnerName string `json:",omitempty"`
	Outcome   string
	// Effect is allowed, implicitDeny or explicitDeny, as in IAM's simulator.
	Effect string
	// Because says which statements decided, in words, and Silent which kinds
	// of policy had to allow and did not.
	Because []string `json:",omitempty"`
	Silent  []string `json:",omitempty"`
	// Context are the keys that conditions could see, by name.
	Context []Key `json:",omitempty"`
	// Missing are the keys that conditions asked for in vain.
	Missing []string `json:",omitempty"`
	// Policies are those that were asked, in the order of evaluation. Of an
	// allowed call out of the record they are those that decided.
	Policies []Policy
	// Carry is what the request itself would have had to carry to be allowed.
	Carry []Carry `json:",omitempty"`
	Fixes []Fix   `json:",omitempty"`
}

// Key is a context key with its values.
type Key struct {
	Name   string
	Values []string
}

// What a policy says of a request.
const (
	Allows = "allows"
	Denies = "denies"
	Silent = "silent"
	Absent = "absent" // there is no policy of the kind
)

// Policy is one policy that was asked.
type Policy struct {
	// Kind, Name and On are the policy's kind, its name or ARN, and the ARN of
	// what it stands on; Where says the same in words.
	Kind  string
	Name  string `json:",omitempty"`
	On    string
	Where string
	// Says is Allows, Denies, Silent or Absent.
	Says string
	// Statements are those that are about the request's action and resource.
	Statements []Statement `json:",omitempty"`
	// Changed says that the document is another one now: what is shown is how
	// it was then, or nothing where the record does not have it.
	Changed bool `json:",omitempty"`
}

// Statement is one statement of a policy, and whether it had a say.
type Statement struct {
	Index int
	Sid   string `json:",omitempty"`
	// Line is where it begins in the document; 0 when that is one line.
	Line    int `json:",omitempty"`
	Effect  string
	Applied bool
	// Unmet are the keys whose conditions kept it from applying; Others says
	// that it is about other principals.
	Unmet  []string        `json:",omitempty"`
	Others bool            `json:",omitempty"`
	Text   json.RawMessage `json:",omitempty"`
}

// Carry is a context key that the request could have carried.
type Carry struct {
	Key, Value string
	// How says what the caller does to have it so.
	How string `json:",omitempty"`
}

// Judged tells one decision. now is what the same request comes to today, where
// that is known: it says which documents have changed since.
func Judged(r Record, c *call.Call, j call.Judgement, now *call.Judgement) Decision {
	t := teller{accounts: r.Accounts, names: r.Names, reach: r.Reach[c.Scope]}
	q := t.question(j)
	d := Decision{
		RequestID: c.ID, Time: c.Time, Who: t.who(c), Action: j.Action, Resource: j.Resource, What: q.What,
		Owner: j.Owner, OwnerName: r.Accounts[j.Owner], Outcome: q.Outcome, Effect: j.Decision.Effect.String(),
		Because: q.Because, Silent: q.Silent, Missing: j.Decision.Missing, Fixes: q.Fixes, Policies: []Policy{},
	}
	var today []policy.Consulted
	if now != nil && now.Why != nil {
		today = now.Why.Consulted
	}
	if j.Why == nil {
		d.Policies = t.decided(j, today)
		return d
	}
	for _, name := range slices.Sorted(maps.Keys(j.Why.Context)) {
		d.Context = append(d.Context, Key{name, j.Why.Context[name]})
	}
	for _, p := range j.Why.Consulted {
		told := t.consulted(p)
		told.Changed = now != nil && !p.Absent && p.Grant == "" && !slices.ContainsFunc(today, func(o policy.Consulted) bool { return samePlace(p, o) && p.Sum == o.Sum })
		d.Policies = append(d.Policies, told)
	}
	for _, carried := range j.Why.Carry {
		d.Carry = append(d.Carry, Carry{carried.Key, carried.Value, how(carried)})
	}
	return d
}

func samePlace(a, b policy.Consulted) bool {
	return a.Kind == b.Kind && a.Name == b.Name && a.On == b.On
}

// decided tells of the policies of an allowed call out of the record, which
// keeps the statements' places and the documents' sums: a text is shown when
// the document is still the same.
func (t teller) decided(j call.Judgement, today []policy.Consulted) []Policy {
	out := []Policy{}
	for i, m := range j.Decision.Because {
		p := policy.Consulted{Kind: m.Kind, Name: m.Name, On: m.On, Level: m.Level, Effect: m.Effect, Grant: m.Grant}
		told := t.consulted(p)
		if m.Root {
			told.Where = "the account's root user, who needs no policy"
		}
		if m.Statement < 0 {
			out = append(out, told)
			continue
		}
		told.Statements = []Statement{{Index: m.Statement, Sid: m.Sid, Effect: effectWord(m.Effect), Applied: true}}
		told.Changed = i < len(j.Sums) && j.Sums[i] != ""
		for _, o := range today {
			if !samePlace(p, o) || i < len(j.Sums) && j.Sums[i] != "" && j.Sums[i] != o.Sum {
				continue
			}
			told.Changed = false
			for _, s := range o.Spoke {
				if s.Statement == m.Statement {
					told.Statements[0].Line, told.Statements[0].Text = s.Line, s.Text
				}
			}
		}
		out = append(out, told)
	}
	return out
}

// consulted tells what one policy said.
func (t teller) consulted(p policy.Consulted) Policy {
	out := Policy{Kind: p.Kind.String(), Name: p.Name, On: p.On, Where: t.policy(p.Kind, p.Name, p.On), Says: Silent}
	switch {
	case p.Grant != "":
		out.Where, out.Name, out.Says = "grant "+p.Grant+" of "+t.thing(p.On), p.Grant, Allows
	case p.Absent:
		out.Says = Absent
	case p.Effect == policy.Allow:
		out.Says = Allows
	case p.Effect == policy.ExplicitDeny:
		out.Says = Denies
	}
	for _, s := range p.Spoke {
		out.Statements = append(out.Statements, Statement{
			Index: s.Statement, Sid: s.Sid, Line: s.Line, Effect: effectWord(s.Effect), Applied: s.Applied(),
			Unmet: s.Unmet, Others: s.Others, Text: s.Text,
		})
	}
	return out
}

func effectWord(e policy.Effect) string {
	if e == policy.Allow {
		return "Allow"
	}
	return "Deny"
}

// how says what a caller does to have a key in the request.
func how(c policy.Carried) string {
	switch key := strings.ToLower(c.Key); {
	case key == "aws:multifactorauthpresent":
		return "call with credentials made with MFA: aws sts get-session-token --serial-number … --token-code …"
	case key == "aws:securetransport":
		return "call the https:// endpoint"
	case key == "sts:externalid":
		return "assume the role with --external-id " + c.Value
	case key == "sts:sourceidentity":
		return "assume the role with --source-identity " + c.Value
	case key == "s3:x-amz-server-side-encryption":
		return "put the object with --server-side-encryption " + c.Value
	case key == "s3:x-amz-server-side-encryption-aws-kms-key-id":
		return "put the object with --ssekms-key-id " + c.Value
	case key == "s3:x-amz-acl":
		return "put it with --acl " + c.Value
	case strings.HasPrefix(key, "s3:x-amz-"):
		return "send the header " + strings.TrimPrefix(key, "s3:") + ": " + c.Value
	case strings.HasPrefix(key, "aws:requesttag/"):
		return "send the tag " + c.Key[len("aws:RequestTag/"):] + "=" + c.Value
	case strings.HasPrefix(key, "kms:encryptioncontext:"):
		return "send the encryption context " + c.Key[len("kms:EncryptionContext:"):] + "=" + c.Value
	}
	return ""
}

// Hypothesis is a question about a call that nobody has made, or about a
// recorded one once more.
type Hypothesis struct {
	// Principal is an ARN, a service or anonymous.
	Principal string
	Action    string
	Resource  string
	// Owner is the account that owns the resource, where its ARN does not say
	// and the resource does not exist.
	Owner  string `json:",omitempty"`
	Region string `json:",omitempty"`
	// Context are the keys the request has besides those that follow from the
	// caller and the resource.
	Context map[string][]string `json:",omitempty"`
	// RequestID asks about the recorded call's request again: by its caller,
	// with its context.
	RequestID string `json:",omitempty"`
}

// Recorded returns the judgement of a recorded call about an action on a
// resource; nil when there is none.
func Recorded(calls []*call.Entry, h Hypothesis) (*call.Entry, *call.Judgement) {
	for _, e := range calls {
		if e.Call.ID != h.RequestID {
			continue
		}
		for i := range e.Judgements {
			if j := &e.Judgements[i]; j.Action == h.Action && j.Resource == h.Resource {
				return e, j
			}
		}
	}
	return nil, nil
}

// Again are the keys of a recorded decision as a new one has them: without
// those that follow from when it is made and from organizations, which may have
// changed.
func Again(w *call.Why) policy.Keys {
	keys := policy.Keys{}
	if w == nil {
		return keys
	}
	for name, values := range w.Context {
		name = strings.ToLower(name)
		switch {
		case name == "aws:currenttime", name == "aws:epochtime", strings.HasSuffix(name, "orgid"), strings.HasSuffix(name, "orgpaths"):
		case strings.HasPrefix(name, "aws:principaltag/"), strings.HasPrefix(name, "aws:resourcetag/"):
		default:
			keys[name] = values
		}
	}
	return keys
}

// ServiceOf is the service that decides about an action on a resource.
func ServiceOf(action, resource string) string {
	service, _, _ := strings.Cut(strings.ToLower(action), ":")
	if a, ok := aws.ParseARN(resource); ok && service == "sts" && a.Service == "iam" {
		return "iam"
	}
	return service
}
