package policy

import (
	"encoding/json"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// Kind says what a policy document is for: it decides the grammar that Parse
// allows and the part that Evaluate gives it.
type Kind int

const (
	// Identity is attached to a user, group or role.
	Identity Kind = iota + 1
	// Resource is attached to a bucket, bus or other resource.
	Resource
	// Trust says who may assume a role.
	Trust
	// Key is a KMS key policy: without its word, IAM has none.
	Key
	// Boundary is a permissions boundary.
	Boundary
	// Session was passed when a session was made.
	Session
	// SCP is a service control policy.
	SCP
	// RCP is a resource control policy.
	RCP
)

// Source is a document together with the place it stands in, so that a
// decision can say which policy spoke.
type Source struct {
	Kind Kind
	// Name is the policy's name, or the ARN of a managed policy.
	Name string
	// On is the ARN of what the policy is attached to.
	On  string
	Doc *Document
	// Fixed says that nobody can change it, such as the policy of an AWS
	// managed key.
	Fixed bool
	// DenyOnly says that its Allows count for nothing, as those of a bucket's
	// policy do for objects that are another account's.
	DenyOnly bool
}

// Set is what speaks for a caller, whatever it calls.
type Set struct {
	// Identity are the policies of the user and its groups, or of the role.
	Identity []Source
	// Boundary is the permissions boundary; empty means none is set.
	Boundary []Source
	// Session are the policies passed with the session. Narrowed says that
	// some were passed, so that an empty list allows nothing.
	Session  []Source
	Narrowed bool
	// SCPs are the levels from the organization's root to the account; empty
	// means no organization.
	SCPs [][]Source
}

// Context answers for condition keys. Names are in lower case.
type Context interface {
	Lookup(name string) (values []string, ok bool)
}

// Keys is a Context of given values; its names are in lower case.
type Keys map[string][]string

// Lookup returns the values of a key.
func (k Keys) Lookup(name string) ([]string, bool) {
	v, ok := k[name]
	return v, ok
}

// AddRequestTag adds the keys of a tag that a request sets.
func (k Keys) AddRequestTag(key, value string) {
	k["aws:requesttag/"+strings.ToLower(key)] = []string{value}
	k["aws:tagkeys"] = append(k["aws:tagkeys"], key)
}

// Request is one question: may this principal do this to that?
type Request struct {
	Principal aws.Principal
	// Action is service:Operation.
	Action string
	// Resource is an ARN, or "*" for operations that have none.
	Resource string
	// Owner is the account that owns the resource; empty means the caller's.
	Owner   string
	Context Context
	// Policy is the policy attached to the resource; nil means none.
	Policy *Source
	// RCPs are the levels of the resource's account.
	RCPs [][]Source
	// Grant is the id of a KMS grant that covers the request, already matched
	// by KMS: one more Allow beside the key policy. Empty means none.
	Grant string
	// ACL is whom an access control list of S3 grants what is asked: one more
	// Allow beside the resource's policy.
	ACL Grantee
}

// Grantee is whom an access control list names, if the caller is among them.
type Grantee int8

const (
	// NoGrantee means that no access control list speaks for the request.
	NoGrantee Grantee = iota
	// CallersAccount is the caller's account, which then has to allow, too.
	CallersAccount
	// CallersGroup is a group that the caller is in.
	CallersGroup
)

// Effect is the outcome of an evaluation. The zero value refuses.
type Effect int

const (
	// ImplicitDeny means that no statement spoke for the request.
	ImplicitDeny Effect = iota
	// ExplicitDeny means that a statement spoke against it.
	ExplicitDeny
	// Allow means that every policy that had to allow did.
	Allow
)

// String returns the words of IAM's policy simulator.
func (e Effect) String() string {
	switch e {
	case ExplicitDeny:
		return "explicitDeny"
	case Allow:
		return "allowed"
	}
	return "implicitDeny"
}

// Match is a statement that decided.
type Match struct {
	Kind      Kind
	Name, On  string // as in Source
	Statement int    // index in the document
	Sid       string
	Effect    Effect // Allow or ExplicitDeny
	// Index is the document's place among those of its kind; for SCPs and RCPs
	// within Level, of those from the organization's root on.
	Index int `json:"-"`
	Level int `json:"-"`
	// Grant is the KMS grant's id when no statement but a grant allowed.
	Grant string `json:",omitempty"`
	// ACL is set when no statement but an access control list allowed.
	ACL bool `json:",omitempty"`
	// Root is set when the account's root user needed no identity policy.
	Root bool `json:",omitempty"`
}

// Decision is the answer to a Request.
type Decision struct {
	Effect Effect
	// Because are all Denies that matched, or the Allows that were needed.
	Because []Match
	// Silent are the kinds of policy that had to allow and did not.
	Silent []Kind
	// Missing are the context keys that conditions asked for in vain.
	Missing []string
}

// Fix is one change that, together with its siblings, turns a refusal.
type Fix struct {
	// Kind and On say which policy to change; Name is the one document of
	// that kind, or empty when any of them (or a new one) will do.
	Kind     Kind
	Name, On string
	// Level is the level of an SCP or RCP, as in Match.
	Level int `json:"-"`
	// Statement is the statement to add, ready to paste; empty when a Deny
	// has to be narrowed instead, which Remove then names.
	Statement json.RawMessage `json:",omitempty"`
	// Remove is the Deny that stands in the way, Was its text, and Instead what
	// to put in its place: statements that spare this request and deny the rest.
	// Empty means that it cannot be narrowed, but only taken out. Beyond says in
	// words what else they spare.
	Remove  *Match            `json:",omitempty"`
	Was     json.RawMessage   `json:",omitempty"`
	Instead []json.RawMessage `json:",omitempty"`
	Beyond  string            `json:",omitempty"`
	// Fixed says that the policy cannot be changed, so that something else
	// has to take the place of what it stands on.
	Fixed bool `json:",omitempty"`
}
