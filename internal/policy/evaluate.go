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

	values    [slots]values
	sets      [slots]matched
	templates [slots]fitted

	// The action in lower case, beside the rest so that it need not be
	// allocated; long holds one that does not fit.
	short  [80]byte
	length int
	long   []byte
}

// slots is how many keys, lists of actions and templates a judge remembers.
const slots = 8

// values are what a context key holds.
type values struct {
	key  *key
	list []string
	ok   bool
}

// text returns the value of a key that may be a variable: it has one value,
// which means itself.
func (v *values) text() (string, bool) {
	if !v.ok || len(v.list) != 1 || firstWildcard(v.list[0]) >= 0 {
		return "", false
	}
	return v.list[0], true
}

// matched says whether a list of actions has the one that is asked for.
type matched struct {
	set *actionSet
	yes bool
}

// fitted says whether a template is like the resource.
type fitted struct {
	template *template
	yes      bool
}

// begin makes a judge ready for a request.
func (j *judge) begin(r *Request, n *notes) {
	j.r, j.ctx, j.notes = r, r.Context, n
	if j.ctx == nil {
		j.ctx = Keys(nil)
	}
	if len(r.Action) > len(j.short) {
		j.long = appendLower(nil, r.Action)
		return
	}
	j.length = len(r.Action)
	for i := range j.length {
		j.short[i] = lowerByte(r.Action[i])
	}
}

func (j *judge) action() []byte {
	if j.long != nil {
		return j.long
	}
	return j.short[:j.length]
}

// lookup asks for a key once.
func (j *judge) lookup(k *key) *values {
	v := &j.values[k.slot]
	if v.key == k {
		return v
	}
	if v.key == nil || v.key.name != k.name {
		v.list, v.ok = j.ctx.Lookup(k.name)
	}
	v.key = k
	return v
}

// unknown notes that a condition asked for a key in vain.
func (j *judge) unknown(k *key) {
	if j.notes != nil && !slices.Contains(j.notes.missing, k.spelled) {
		j.notes.missing = append(j.notes.missing, k.spelled)
	}
}

// hit is a statement that allowed; the zero value is none.
type hit struct {
	source       *Source
	statement    int32
	index, level int32 // of the source, as in Match
	by           by
	kind         int8 // the Kind of a hit without a statement
}

// by is what allowed.
type by int8

const (
	byNothing by = iota
	byStatement
	byRoot  // no statement: the account's root user
	byGrant // no statement: a KMS grant
	byACL   // no statement: an access control list
)

func (h hit) ok() bool { return h.by != byNothing }

func (j *judge) match(h hit, effect Effect) Match {
	switch h.by {
	case byRoot:
		return Match{Kind: Kind(h.kind), Statement: -1, Effect: effect, Root: true}
	case byGrant:
		return Match{Kind: Kind(h.kind), Statement: -1, Effect: effect, Grant: j.r.Grant}
	case byACL:
		return Match{Kind: Kind(h.kind), Statement: -1, Effect: effect, On: j.r.Resource, ACL: true}
	}
	return Match{
		Kind: h.source.Kind, Name: h.source.Name, On: h.source.On, Index: int(h.index), Level: int(h.level),
		Statement: int(h.statement), Sid: h.source.Doc.statements[h.statement].sid, Effect: effect,
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
		j.notes.allows = append(j.notes.allows, j.match(h, Allow))
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
	var j judge
	j.begin(r, n)
	j.narrowed = len(set.Boundary) > 0
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
	for i, sources := range levels {
		j.rely(j.scan(sources, i), kind)
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
	identity := j.scan(set.Identity, 0)
	boundary := j.scan(set.Boundary, 0)
	session := j.scan(set.Session, 0)
	if p.Kind == aws.Root && !identity.ok() {
		identity = hit{by: byRoot, kind: int8(Identity)}
	}
	home := j.r.home()
	suffices := home && named >= byRole // no identity policy is needed
	free := home && named == direct     // nor does a boundary or session policy bind
	narrow := len(set.Boundary) > 0 && !boundary.ok() || set.sessioned() && !session.ok()
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
	if set.sessioned() {
		j.rely(session, Session)
	}
}

func (s *Set) sessioned() bool { return s.Narrowed || len(s.Session) > 0 }

// home reports whether the resource is of the caller's own account.
func (r *Request) home() bool { return r.Owner == "" || r.Owner == r.Principal.Account }

// resourceKind is the kind of the resource's policy, or of the one it lacks.
func (j *judge) resourceKind() Kind {
	if j.r.Policy == nil || j.r.Policy.Kind == 0 {
		return Resource
	}
	return j.r.Policy.Kind
}

// resource asks the resource's policy, and returns the Allow that names the
// caller most directly. A grant is one more Allow, and so is an access control
// list.
func (j *judge) resource() (best hit, named strength) {
	if s := j.r.Policy; s != nil && s.Doc != nil {
		for i := range s.Doc.statements {
			st := &s.Doc.statements[i]
			n := j.principalOf(st)
			if n == notNamed || st.effect == Allow && (n <= named || s.DenyOnly) || !j.applies(st) {
				continue
			}
			if st.effect == ExplicitDeny {
				j.deny(hit{by: byStatement, source: s, statement: int32(i)})
			} else {
				best, named = hit{by: byStatement, source: s, statement: int32(i)}, n
			}
		}
	}
	if j.r.Grant != "" && named < byRole {
		best, named = hit{by: byGrant, kind: int8(j.resourceKind())}, byRole
		if j.r.Principal.Kind != aws.Session {
			named = direct
		}
	}
	if by := listed(j.r.ACL); by > named {
		best, named = hit{by: byACL, kind: int8(j.resourceKind())}, by
	}
	return best, named
}

// listed says how an access control list names the caller.
func listed(g Grantee) strength {
	switch g {
	case CallersAccount:
		return byAccount
	case CallersGroup:
		return direct
	}
	return notNamed
}

// principalOf says how a statement of a resource's policy names the caller.
func (j *judge) principalOf(s *statement) strength {
	p := &j.r.Principal
	switch {
	case j.r.Policy.Kind == Trust && p.Kind == aws.Anonymous:
		return notNamed // a role's "*" is everyone who has credentials
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
func (j *judge) scan(sources []Source, level int) (first hit) {
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
			h := hit{by: byStatement, source: s, statement: int32(i), index: int32(k), level: int32(level)}
			if st.effect == Allow {
				first = h
			} else {
				j.deny(h)
			}
		}
	}
	return first
}

func (j *judge) deny(h hit) {
	j.denied = true
	if j.notes != nil {
		j.notes.denies = append(j.notes.denies, j.match(h, ExplicitDeny))
	}
}

// applies reports whether a statement is about this action and resource and
// its conditions hold. Who asks why learns of all keys that are missing, not
// the first only.
func (j *judge) applies(s *statement) bool {
	if !j.concerns(s) {
		return false
	}
	for i := range s.conditions {
		if s.conditions[i].holds(j) {
			continue
		}
		if j.notes != nil {
			for k := range s.conditions[i+1:] {
				s.conditions[i+1+k].holds(j)
			}
		}
		return false
	}
	return true
}

// concerns leaves the conditions aside.
func (j *judge) concerns(s *statement) bool {
	return j.does(s.actions) && (len(s.resources) == 0 || j.on(s))
}

// does reports whether a list of actions has the request's. Statements that
// have the same list share it, so that it is looked through once.
func (j *judge) does(a *actionSet) bool {
	m := &j.sets[a.slot]
	if m.set != a {
		m.set, m.yes = a, a.has(j.action())
	}
	return m.yes
}

// on reports whether a statement is about the request's resource.
func (j *judge) on(s *statement) bool {
	for i := range s.resources {
		p := &s.resources[i]
		if p.form == templated && j.fits(p.template) || p.form != templated && p.match(j.r.Resource, j) {
			return !s.notResource
		}
	}
	return s.notResource && allResolved(s.resources, j)
}

// fits is match for the resource; statements share templates, too.
func (j *judge) fits(t *template) bool {
	f := &j.templates[t.slot]
	if f.template != t {
		f.template, f.yes = t, t.match(j.r.Resource, j)
	}
	return f.yes
}
