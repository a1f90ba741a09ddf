package policy

import (
	"encoding/json"
	"slices"
	"strings"
)

// Consulted is one policy that was asked about a request, and what it said.
type Consulted struct {
	Kind     Kind
	Name, On string // as in Source
	// Level is the organization's level of an SCP or RCP, from its root on.
	Level int `json:",omitempty"`
	// Effect is ExplicitDeny when a Deny applied, or else Allow when an Allow
	// did; ImplicitDeny means that the policy was silent.
	Effect Effect
	// Absent says that there is no policy of the kind, although it was asked.
	Absent bool `json:",omitempty"`
	// Grant is set for the KMS grant that stands beside a key's policy.
	Grant string `json:",omitempty"`
	// Sum is the document's Sum; empty when there is no document.
	Sum string `json:",omitempty"`
	// Spoke are the statements that are about the request's action and
	// resource, in order.
	Spoke []Spoke `json:",omitempty"`
}

// Spoke is a statement about a request.
type Spoke struct {
	Statement int    // index in the document
	Sid       string `json:",omitempty"`
	// Line is where it begins in the document as it was saved, from 1; 0 when
	// that is one line.
	Line   int `json:",omitempty"`
	Effect Effect
	// Others says that it is about other principals, and Unmet which context
	// keys had values that its conditions did not want: either kept it from
	// applying.
	Others bool     `json:",omitempty"`
	Unmet  []string `json:",omitempty"`
	Text   json.RawMessage
}

// Applied reports whether the statement had a say.
func (s *Spoke) Applied() bool { return !s.Others && len(s.Unmet) == 0 }

// Consult lists the policies that a request is put to, in the order in which
// AWS evaluates them: resource control policies, service control policies, the
// resource's own, the caller's, its boundary, those of its session. Kinds that
// had to allow and that there are none of are listed as absent.
func Consult(set *Set, r *Request) []Consulted {
	if set == nil {
		set = nobody
	}
	var j judge
	j.begin(r, nil)
	j.narrowed = len(set.Boundary) > 0
	var out []Consulted
	ask := func(list []Source, level int) {
		for i := range list {
			out = append(out, j.consult(&list[i], level))
		}
	}
	for i, level := range r.RCPs {
		ask(level, i)
	}
	if r.Principal.Account != "" {
		for i, level := range set.SCPs {
			ask(level, i)
		}
	}
	if r.Policy != nil {
		ask([]Source{*r.Policy}, 0)
	}
	if r.Grant != "" {
		out = append(out, Consulted{Kind: j.resourceKind(), On: r.Resource, Effect: Allow, Grant: r.Grant})
	}
	ask(set.Identity, 0)
	ask(set.Boundary, 0)
	ask(set.Session, 0)
	return j.absent(out, Evaluate(set, r).Silent)
}

// absent adds the kinds that were asked in vain.
func (j *judge) absent(list []Consulted, silent []Kind) []Consulted {
	for _, k := range silent {
		if slices.ContainsFunc(list, func(c Consulted) bool { return c.Kind == k }) {
			continue
		}
		on := callerARN(&j.r.Principal)
		switch k {
		case Resource, Trust, Key, RCP:
			on = holder(j.r.Resource)
		}
		list = append(list, Consulted{Kind: k, On: on, Absent: true})
	}
	return list
}

// consult asks one policy.
func (j *judge) consult(s *Source, level int) Consulted {
	c := Consulted{Kind: s.Kind, Name: s.Name, On: s.On, Level: level, Absent: s.Doc == nil, Sum: s.Doc.Sum()}
	for i := range s.Doc.Len() {
		st := &s.Doc.statements[i]
		if !j.concerns(st) {
			continue
		}
		spoke := Spoke{Statement: i, Sid: st.sid, Effect: st.effect, Text: s.Doc.Statement(i), Unmet: j.unmet(st)}
		if strings.ContainsRune(s.Doc.text, '\n') {
			spoke.Line, _ = s.Doc.Position(i)
		}
		spoke.Others = j.r.Policy != nil && s.Doc == j.r.Policy.Doc && j.principalOf(st) == notNamed
		c.Spoke = append(c.Spoke, spoke)
		if spoke.Applied() && c.Effect != ExplicitDeny {
			c.Effect = st.effect
		}
	}
	return c
}

// unmet lists the keys whose conditions do not hold.
func (j *judge) unmet(st *statement) []string {
	var keys []string
	for i := range st.conditions {
		c := &st.conditions[i]
		if !c.holds(j) && !slices.Contains(keys, c.key.spelled) {
			keys = append(keys, c.key.spelled)
		}
	}
	return keys
}
