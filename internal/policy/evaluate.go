package policy

import (
	"slices"

	"github.com/sekisho/sekisho/internal/aws"
)

// Evaluate answers a request: what AWS decides when set speaks for the
// caller, and why. A nil set says nothing for anybody.
func Evaluate(set *Set, r *Request) Decision {
	var n notes
	effect := decide(set, r, &n)
	d := Decision{Effect: effect, Missing: n.missing}
	switch effect {
	case ExplicitDeny:
		d.Because = n.denies
	case Allow:
		d.Because, d.Missing = n.allows, nil
	default:
		d.Silent = n.silent
	}
	return d
}

// Decide answers a request without saying why, and without allocating.
func Decide(set *Set, r *Request) Effect { return decide(set, r, nil) }

// notes is what Evaluate writes down on the way.
type notes struct {
	allows, denies []Match
	silent         []Kind
	missing        []string
}

// judge is one evaluation on its way.
type judge struct {
	r      *Request
	ctx    Context
	notes  *notes // nil: nobody asks why
	denied bool
	mute   bool // a policy that had to allow did not
	// narrowed callers have a permissions boundary, which NotPrincipal
	// ignores.
	narrowed bool
}

// missing notes that a condition asked for a key in vain.
func (j *judge) missing(key string) {
	if j.notes != nil && !slices.Contains(j.notes.missing, key) {
		j.notes.missing = append(j.notes.missing, key)
	}
}

// hit is a statement that allowed; the zero value is none.
type hit struct {
	source    *Source
	statement int
	root      bool   // no statement: the account's root user
	grant     string // no statement: a KMS grant
	kind      Kind   // of the hit without a statement
}

func (h hit) ok() bool { return h.source != nil || h.root || h.grant != "" }

func (h hit) match(effect Effect) Match {
	if h.source == nil {
		return Match{Kind: h.kind, Statement: -1, Effect: effect, Grant: h.grant, Root: h.root}
	}
	return Match{
		Kind: h.source.Kind, Name: h.source.Name, On: h.source.On,
		Statement: h.statement, Sid: h.source.Doc.statements[h.statement].sid, Effect: effect,
	}
}

// rely notes that the decision needed an Allow, and got it from h or not at
// all.
func (j *judge) rely(h hit, kind Kind) {
	if !h.ok() {
		j.silent(kind)
		return
	}
	if j.notes != nil {
		j.notes.allows = append(j.notes.allows, h.match(Allow))
	}
}

func (j *judge) silent(kind Kind) {
	j.mute = true
	if j.notes != nil && !slices.Contains(j.notes.silent, kind) {
		j.notes.silent = append(j.notes.silent, kind)
	}
}

var nobody = &Set{}

func decide(set *Set, r *Request, n *notes) Effect {
	if set == nil {
		set = nobody
	}
	j := judge{r: r, ctx: r.Context, notes: n, narrowed: len(set.Boundary) > 0}
	if j.ctx == nil {
		j.ctx = Keys(nil)
	}
	if r.Principal.Account != "" {
		j.levels(set.SCPs, SCP)
	}
	j.levels(r.RCPs, RCP)
	resource, named := j.resource()
	j.caller(set, resource, named)
	switch {
	case j.denied:
		return ExplicitDeny
	case j.mute:
		return ImplicitDeny
	}
	return Allow
}

// levels asks every level of an organization: each has to allow.
func (j *judge) levels(levels [][]Source, kind Kind) {
	for _, level := range levels {
		j.rely(j.scan(level), kind)
	}
}

// caller asks the policies that speak for the caller, where the word of the
// resource's policy is not enough.
func (j *judge) caller(set *Set, resource hit, named strength) {
	p := &j.r.Principal
	kind := j.resourceKind()
	if p.Account == "" { // services and strangers have no policies of their own
		j.rely(resource, kind)
		return
	}
	identity := j.scan(set.Identity)
	boundary := j.scan(set.Boundary)
	session := j.scan(set.Session)
	if p.Kind == aws.Root && !identity.ok() {
		identity = hit{root: true, kind: Identity}
	}
	home := j.r.Owner == "" || j.r.Owner == p.Account
	suffices := home && named >= byRole // no identity policy is needed
	free := home && named == direct     // nor does a boundary or session policy bind
	narrow := len(set.Boundary) > 0 && !boundary.ok() || j.sessioned(set) && !session.ok()
	switch {
	case !home:
		j.rely(identity, Identity)
		j.rely(resource, kind)
	case kind == Trust || kind == Key:
		j.rely(resource, kind)
		if named == byAccount {
			j.rely(identity, Identity)
		}
	case identity.ok() && !(free && narrow):
		j.rely(identity, Identity)
	case suffices:
		j.rely(resource, kind)
	default:
		j.silent(Identity)
		if j.r.Policy != nil {
			j.silent(kind)
		}
	}
	if free {
		return
	}
	if len(set.Boundary) > 0 {
		j.rely(boundary, Boundary)
	}
	if j.sessioned(set) {
		j.rely(session, Session)
	}
}

func (j *judge) sessioned(set *Set) bool { return set.Narrowed || len(set.Session) > 0 }

// resourceKind is the kind of the resource's policy, or of the one it lacks.
func (j *judge) resourceKind() Kind {
	if j.r.Policy == nil || j.r.Policy.Kind == 0 {
		return Resource
	}
	return j.r.Policy.Kind
}

// resource asks the resource's policy, and returns the Allow that names the
// caller most directly. A grant is one more Allow.
func (j *judge) resource() (best hit, named strength) {
	if s := j.r.Policy; s != nil && s.Doc != nil {
		for i := range s.Doc.statements {
			st := &s.Doc.statements[i]
			n := j.principalOf(st)
			if n == notNamed || !j.applies(st) {
				continue
			}
			if st.effect == ExplicitDeny {
				j.deny(hit{source: s, statement: i})
			} else if n > named {
				best, named = hit{source: s, statement: i}, n
			}
		}
	}
	if j.r.Grant != "" && named < byRole {
		best, named = hit{grant: j.r.Grant, kind: j.resourceKind()}, byRole
		if j.r.Principal.Kind != aws.Session {
			named = direct
		}
	}
	return best, named
}

// principalOf says how a statement of a resource's policy names the caller.
func (j *judge) principalOf(s *statement) strength {
	p := &j.r.Principal
	switch {
	case !s.notPrincipal:
		return names(s.principals, p)
	case s.effect == ExplicitDeny && !j.narrowed && spares(s.principals, p):
		return notNamed
	case s.effect != ExplicitDeny && names(s.principals, p) != notNamed:
		return notNamed
	}
	return direct
}

// scan asks policies without principals, and returns the first Allow.
func (j *judge) scan(sources []Source) (first hit) {
	for k := range sources {
		s := &sources[k]
		if s.Doc == nil {
			continue
		}
		for i := range s.Doc.statements {
			st := &s.Doc.statements[i]
			if st.effect == Allow && first.ok() || !j.applies(st) {
				continue
			}
			if st.effect == Allow {
				first = hit{source: s, statement: i}
			} else {
				j.deny(hit{source: s, statement: i})
			}
		}
	}
	return first
}

func (j *judge) deny(h hit) {
	j.denied = true
	if j.notes != nil {
		j.notes.denies = append(j.notes.denies, h.match(ExplicitDeny))
	}
}

// applies reports whether a statement is about this action and resource and
// its conditions hold.
func (j *judge) applies(s *statement) bool {
	if !j.concerns(s) {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(j) {
			return false
		}
	}
	return true
}

// concerns leaves the conditions aside.
func (j *judge) concerns(s *statement) bool {
	if s.actions != nil && j.one(s.actions, j.r.Action, true) == s.notAction {
		return false
	}
	if s.resources == nil {
		return true
	}
	return j.one(s.resources, j.r.Resource, false) != s.notResource && !(s.notResource && j.unresolved(s.resources))
}

// one reports whether any of the patterns matches.
func (j *judge) one(patterns []pattern, s string, fold bool) bool {
	for i := range patterns {
		if patterns[i].match(s, fold, j.ctx) {
			return true
		}
	}
	return false
}

// unresolved reports whether a variable has no value. Such an element says
// nothing, also where it is negated.
func (j *judge) unresolved(patterns []pattern) bool {
	for i := range patterns {
		if patterns[i].form != template {
			continue
		}
		var buf [256]byte
		if _, ok := expand(buf[:0], patterns[i].parts, j.ctx); !ok {
			return true
		}
	}
	return false
}
