package policyeval

import (
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
)

// evaluator answers lines, one after the other.
type evaluator struct {
	// brief leaves out everything but the decision.
	brief bool

	cache    cache
	question *question
	set      policy.Set
	request  policy.Request
	attached policy.Source
}

func newEvaluator(brief bool) *evaluator {
	return &evaluator{brief: brief, cache: cache{room: cacheRoom}, question: newQuestion()}
}

// answer appends the answer to a line. It reports false when the line is not
// a JSON object at all.
func (e *evaluator) answer(out []byte, line string) (_ []byte, isObject bool) {
	q := e.question
	if err := q.read(line); err != nil {
		return appendRefusal(out, q.id, &refusal{code: "ValidationError", message: err.Error()}), isJSONObject(line)
	}
	if r := e.prepare(); r != nil {
		return appendRefusal(out, q.id, r), true
	}
	if e.brief {
		return appendBrief(out, q.id, policy.Decide(&e.set, &e.request)), true
	}
	d := policy.Evaluate(&e.set, &e.request)
	return appendDecision(out, q.id, d, policy.Fixes(&e.set, &e.request, d)), true
}

// isJSONObject reports whether a line is JSON's, whatever it says.
func isJSONObject(line string) bool {
	return strings.HasPrefix(strings.TrimLeft(line, " \t\r"), "{") && check(line) == nil
}

// prepare turns the question into what the engine takes, or refuses it.
func (e *evaluator) prepare() *refusal {
	q := e.question
	p, err := principal(q.caller, q.context)
	if err != nil {
		return &refusal{code: "ValidationError", message: err.Error()}
	}
	kind := attachedKind(q.action)
	e.request = policy.Request{
		Principal: p, Action: q.action, Resource: q.resource, Owner: owner(q, p), Context: q.context,
		RCPs: e.request.RCPs[:0],
	}
	var r *refusal
	e.set.Identity, r = e.sources(e.set.Identity, q.identity, policy.Identity, r)
	if q.attached != "" || demands(kind, q.resource) {
		e.attached = policy.Source{Kind: kind}
		e.request.Policy = &e.attached
	}
	if q.attached != "" {
		e.attached.Doc, r = e.document(q.attached, kind, 0, r)
	}
	e.set.Boundary, r = e.sources(e.set.Boundary, q.boundary, policy.Boundary, r)
	e.set.Session, r = e.sources(e.set.Session, q.session, policy.Session, r)
	e.set.SCPs, r = e.levels(e.set.SCPs, q.scps, policy.SCP, r)
	e.request.RCPs, r = e.levels(e.request.RCPs, q.rcps, policy.RCP, r)
	return r
}

// attachedKind is the kind of the policy that a resource has, by the action:
// roles have trust policies, keys key policies.
func attachedKind(action string) policy.Kind {
	service, operation, _ := strings.Cut(action, ":")
	switch {
	case strings.EqualFold(service, "kms"):
		return policy.Key
	case strings.EqualFold(service, "sts") && aboutRoles(operation):
		return policy.Trust
	}
	return policy.Resource
}

// aboutRoles reports whether an operation of STS is one that a role's trust
// policy has to allow.
func aboutRoles(operation string) bool {
	for _, name := range [...]string{"AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "TagSession", "SetSourceIdentity", "SetContext"} {
		if strings.EqualFold(operation, name) {
			return true
		}
	}
	return false
}

// demands reports whether a resource has a policy of this kind without which
// nobody gets anywhere: a role, and a key. What is written as none then says
// nothing.
func demands(kind policy.Kind, resource string) bool {
	switch kind {
	case policy.Key:
		return strings.Contains(resource, ":key/")
	case policy.Trust:
		return strings.Contains(resource, ":role/")
	}
	return false
}

// owner is the account of the resource: where the line does not name it, the
// one in its ARN, or else the caller's.
func owner(q *question, p aws.Principal) string {
	if q.owner != "" {
		return q.owner
	}
	if a, ok := aws.ParseARN(q.resource); ok && a.Account != "" {
		return a.Account
	}
	return p.Account
}

// document parses one document. The first refusal of a line is its answer.
func (e *evaluator) document(text string, kind policy.Kind, index int, first *refusal) (*policy.Document, *refusal) {
	p := e.cache.parse(text, kind)
	switch {
	case first != nil:
		return nil, first
	case p.err != nil:
		return nil, &refusal{code: "ValidationError", message: word(kind) + " policy " + p.err.Error()}
	case p.refusal != "":
		return nil, &refusal{code: "MalformedPolicyDocument", message: p.refusal, kind: kind, index: index}
	}
	return p.doc, nil
}

// sources parses the documents of a kind.
func (e *evaluator) sources(list []policy.Source, texts []string, kind policy.Kind, r *refusal) ([]policy.Source, *refusal) {
	list = list[:0]
	for i, text := range texts {
		s := policy.Source{Kind: kind}
		s.Doc, r = e.document(text, kind, i, r)
		list = append(list, s)
	}
	return list, r
}

// levels parses the documents of an organization's levels.
func (e *evaluator) levels(list [][]policy.Source, texts [][]string, kind policy.Kind, r *refusal) ([][]policy.Source, *refusal) {
	if short := len(texts) - cap(list); short > 0 {
		list = append(list[:cap(list)], make([][]policy.Source, short)...)
	}
	list = list[:len(texts)] // with the room of the levels before
	for i, level := range texts {
		before := r
		if list[i], r = e.sources(list[i], level, kind, r); before == nil && r != nil {
			r.level = i
		}
	}
	return list, r
}
