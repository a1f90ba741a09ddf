package leastprivilege

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Record is what a caller did, each permission once.
type Record struct {
	// Principal is the ARN of the user or role.
	Principal string
	// Calls is the number of calls, First and Last when they were made.
	Calls       int
	First, Last time.Time
	// Uses are the permissions that the caller's own policies gave.
	Uses []Use
	// Elsewhere are those that the policies of resources gave alone.
	Elsewhere []Use `json:",omitempty"`
	// Refused are those that were asked for in vain, and at no time allowed.
	Refused []Use `json:",omitempty"`
	// Unused is what the present policies allow beyond Uses.
	Unused []Unused `json:",omitempty"`
	// Gone says that the principal does not exist any more.
	Gone bool `json:",omitempty"`
}

// Use is a permission that was asked for.
type Use struct {
	Action string
	// Resource is an ARN, or "*"; Pattern is what covers it also in other runs
	// of the same pipeline, written as a policy's Resource.
	Resource string
	Pattern  string `json:",omitempty"`
	// Key and Value are the condition key that narrows it.
	Key   string `json:",omitempty"`
	Value string `json:",omitempty"`
	// Times is how often, Last when for the last time.
	Times int
	Last  time.Time
	// By names the kinds of policy that decided: those that allowed, or for a
	// refusal those that denied or were silent.
	By string `json:",omitempty"`
}

// ErrTooMany says that a caller's uses are too many to hold.
var ErrTooMany = errors.New("more than 100,000 different permissions and resources in that time: ask for a shorter one")

const maxUses = 100_000

// Collector gathers a Record, call by call.
type Collector struct {
	record                   Record
	uses, elsewhere, refused map[useKey]*Use
	patterns                 map[string]grant // compiled
}

// useKey is what makes two uses the same.
type useKey struct{ action, resource, pattern, key, value, by string }

// NewCollector returns a collector for the calls of a user or role.
func NewCollector(principal string) *Collector {
	return &Collector{
		record: Record{Principal: principal},
		uses:   map[useKey]*Use{}, elsewhere: map[useKey]*Use{}, refused: map[useKey]*Use{},
		patterns: map[string]grant{},
	}
}

// Add adds a call. reach are the objects that runs of the call's pipeline read
// and write, as patterns; nil outside of pipelines. The error is ErrTooMany.
func (c *Collector) Add(e *call.Entry, reach []string) error {
	r := &c.record
	if r.Calls == 0 {
		r.First = e.Call.Time
	}
	r.Calls++
	r.Last = e.Call.Time
	failed := e.Error != nil && slices.ContainsFunc(e.Judgements, refused)
	for _, j := range e.Judgements {
		switch {
		case refused(j):
			c.note(c.refused, e, j, reach)
		case failed: // allowed, but the call was refused for something else
		case relies(j):
			c.note(c.uses, e, j, reach)
		default:
			c.note(c.elsewhere, e, j, reach)
		}
	}
	if len(c.uses)+len(c.elsewhere)+len(c.refused) > maxUses {
		return ErrTooMany
	}
	return nil
}

func refused(j call.Judgement) bool { return j.Decision.Effect != policy.Allow }

// relies reports whether a policy of the caller's was needed to allow.
func relies(j call.Judgement) bool {
	return slices.ContainsFunc(j.Decision.Because, func(m policy.Match) bool { return m.Kind == policy.Identity })
}

func (c *Collector) note(in map[useKey]*Use, e *call.Entry, j call.Judgement, reach []string) {
	u := Use{Action: j.Action, Resource: j.Resource, By: by(j)}
	u.Key, u.Value = narrowing(e.Call, j.Action)
	u.Pattern = c.covering(reach, u)
	k := useKey{u.Action, u.Resource, u.Pattern, u.Key, u.Value, u.By}
	if in[k] == nil {
		in[k] = &u
	}
	in[k].Times++
	in[k].Last = e.Call.Time
}

// by names the kinds of policy that decided.
func by(j call.Judgement) string {
	var kinds []string
	for _, m := range j.Decision.Because {
		kinds = append(kinds, m.Kind.String())
	}
	if j.Decision.Effect == policy.ImplicitDeny {
		for _, k := range j.Decision.Silent {
			kinds = append(kinds, k.String())
		}
	}
	slices.Sort(kinds)
	return strings.Join(slices.Compact(kinds), ", ")
}

// narrowing is the condition that an action of a call may keep. A role is
// passed to the service that is called, and by IAM itself, in an instance
// profile, to EC2.
func narrowing(c *call.Call, action string) (key, value string) {
	service, _, _ := strings.Cut(action, ":")
	switch {
	case action == "iam:PassRole" && c.Service == "iam":
		return "iam:PassedToService", "ec2.amazonaws.com"
	case action == "iam:PassRole":
		return "iam:PassedToService", c.Service + ".amazonaws.com"
	case service == "kms" && len(c.Via) > 0 && c.Region != "":
		via := strings.TrimSuffix(c.Via[len(c.Via)-1], ".amazonaws.com")
		return "kms:ViaService", via + "." + c.Region + ".amazonaws.com"
	}
	return "", ""
}

// covering is the first pattern that covers a use, or "".
func (c *Collector) covering(patterns []string, u Use) string {
	for _, p := range patterns {
		if _, ok := c.patterns[p]; !ok {
			c.patterns[p] = allows("*", p)
		}
		if c.patterns[p].covers(u) {
			return p
		}
	}
	return ""
}

// Record returns what was gathered, sorted.
func (c *Collector) Record() *Record {
	r := c.record
	r.Uses, r.Elsewhere, r.Refused = sorted(c.uses), sorted(c.elsewhere), sorted(c.refused)
	r.Refused = slices.DeleteFunc(r.Refused, func(u Use) bool { return holds(r.Uses, u) || holds(r.Elsewhere, u) })
	return &r
}

// holds reports whether sorted uses have one of the same action and resource.
func holds(list []Use, u Use) bool {
	_, ok := slices.BinarySearchFunc(list, u, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.Resource, b.Resource))
	})
	return ok
}

func sorted(in map[useKey]*Use) []Use {
	out := make([]Use, 0, len(in))
	for _, u := range in {
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Pattern, b.Pattern),
			cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value), cmp.Compare(a.By, b.By))
	})
	return out
}

// grant is an Allow without conditions.
type grant struct{ set *policy.Set }

// allows compiles an action and a resource, each as a policy has them. What is
// no policy covers nothing.
func allows(action, resource string) grant {
	text, err := json.Marshal(Document{Version: language, Statement: []Statement{{Effect: "Allow", Action: List{action}, Resource: List{resource}}}})
	if err != nil {
		return grant{&policy.Set{}}
	}
	doc, err := policy.Parse(string(text), policy.Identity)
	if err != nil {
		return grant{&policy.Set{}}
	}
	return grant{&policy.Set{Identity: []policy.Source{{Kind: policy.Identity, Doc: doc}}}}
}

func (g grant) covers(u Use) bool {
	return policy.Decide(g.set, &policy.Request{
		Principal: aws.Principal{Kind: aws.User, Account: "000000000000"}, Action: u.Action, Resource: u.Resource,
	}) == policy.Allow
}
