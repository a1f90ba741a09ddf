package policy

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// narrower takes one request out of a Deny. What is left is up to three
// statements: for other principals, for the caller's other actions, and for
// the caller's other resources; those that would say nothing are left out.
type narrower struct {
	st     *statement
	source *Source
	r      *Request
	ctx    Context
	// beyond says what else the statements let through, because the policy
	// language cannot say less.
	beyond []string
}

// narrow returns the statements to put in a Deny's place, and in words what
// they let through besides the request; empty means nothing. It returns false
// when no statement can tell the caller from others.
func (w *workbench) narrow(s *Source, i int) (list []json.RawMessage, beyond string, ok bool) {
	n := &narrower{st: &s.Doc.statements[i], source: s, r: &w.r, ctx: w.context()}
	others, mine, ok := n.byPrincipal()
	if !ok {
		return nil, "", false
	}
	if others != nil {
		list = append(list, others.text())
	}
	if mine != nil {
		list = append(list, n.otherActions(mine)...)
		list = append(list, n.otherResources(mine)...)
	}
	return list, strings.Join(n.beyond, "; "), true
}

// members is a JSON object whose members keep their order.
type members []field

type field struct {
	name  string
	value json.RawMessage
}

// parts returns the members of a statement.
func (s *statement) parts() members {
	root, err := readJSON(s.raw)
	if err != nil {
		return nil // it has been read before
	}
	var f members
	for _, m := range root.members {
		f = append(f, field{m.name, json.RawMessage(s.raw[m.value.start:m.value.end])})
	}
	return f
}

// with returns a copy in which a member has a value, in the place of the one
// it had, or of an old one.
func (f members) with(old, name string, value any) members {
	text := encode(value)
	out := slices.Clone(f)
	for i := range out {
		if out[i].name == old || out[i].name == name {
			out[i] = field{name, text}
			return out
		}
	}
	return append(out, field{name, text})
}

func (f members) get(name string) json.RawMessage {
	for _, m := range f {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (f members) without(name string) members {
	return slices.DeleteFunc(slices.Clone(f), func(m field) bool { return m.name == name })
}

func (f members) text() json.RawMessage {
	var b bytes.Buffer
	for i, m := range f {
		b.WriteByte("{,"[min(i, 1)])
		b.Write(encode(m.name))
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// texts are the strings of an element that is one or a list of them.
func (f members) texts(name string) []string {
	var list actions
	if json.Unmarshal(f.get(name), &list) != nil {
		return nil
	}
	return list
}

// encode writes JSON as people write it, without escapes for HTML.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return nil // texts and lists of them always encode
	}
	return bytes.TrimSpace(b.Bytes())
}

// byPrincipal splits a Deny into what it says to others and what it says to
// the caller; nil is nothing.
func (n *narrower) byPrincipal() (others, mine members, ok bool) {
	whole := n.st.parts()
	p := &n.r.Principal
	own := n.source.Kind == Session || n.source.Kind == Identity && n.source.On == callerARN(p) && !strings.HasPrefix(n.source.Name, "arn:") && n.source.On != ""
	if own {
		return nil, whole, true
	}
	if rest, me, found := n.listed(whole); found {
		return rest, me, true
	}
	key, value := n.mark()
	if key == "" {
		return nil, nil, false
	}
	positive, negative := "ArnEquals", "ArnNotEquals"
	if key != "aws:PrincipalArn" {
		positive, negative = "StringEquals", "StringNotEquals"
	}
	if slices.Equal(whole.values(positive, key), []string{value}) {
		return nil, whole, true // it has been narrowed to the caller before
	}
	others = whole.condition(negative, key, value, true)
	mine = whole.condition(positive, key, value, false).without("Sid")
	return others, mine, true
}

// listed splits a Principal element that names the caller, and nobody else
// whom the caller is.
func (n *narrower) listed(whole members) (others, mine members, ok bool) {
	if n.st.notPrincipal || len(n.st.principals) == 0 {
		return nil, nil, false
	}
	var by map[string]actions
	if json.Unmarshal(whole.get("Principal"), &by) != nil {
		return nil, nil, false
	}
	class, at := "", -1
	for _, c := range []string{"AWS", "Service", "Federated"} {
		for i, text := range by[c] {
			e, ok := parsePrincipal(n.source.Kind, c, text)
			switch {
			case !ok || e.names(&n.r.Principal) == notNamed:
			case at >= 0 || e.class == everyone || e.class == accountClass:
				return nil, nil, false
			default:
				class, at = c, i
			}
		}
	}
	if at < 0 {
		return nil, nil, false
	}
	me := by[class][at]
	mine = whole.with("Principal", "Principal", map[string]string{class: me})
	if by[class] = slices.Delete(slices.Clone(by[class]), at, at+1); len(by[class]) == 0 {
		delete(by, class)
	}
	if len(by) == 0 {
		return nil, mine, true
	}
	return whole.with("Principal", "Principal", by), mine.without("Sid"), true
}

// mark is the key by which a condition knows the caller, and its value; empty
// when the request has none.
func (n *narrower) mark() (key, value string) {
	names := []string{"aws:PrincipalArn", "aws:PrincipalServiceName", "aws:PrincipalType"}
	switch n.r.Principal.Kind {
	case aws.Service:
		names = names[1:2]
	case aws.Anonymous:
		names = names[2:]
	default:
		names = names[:1]
	}
	for _, name := range names {
		if v, ok := n.ctx.Lookup(lower(name)); ok && len(v) == 1 && v[0] != "" {
			return name, v[0]
		}
	}
	return "", ""
}

// values are those of a condition.
func (f members) values(op, key string) []string {
	var all map[string]map[string]actions
	if text := f.get("Condition"); text == nil || json.Unmarshal(text, &all) != nil {
		return nil
	}
	for o, keys := range all {
		for k, values := range keys {
			if strings.EqualFold(o, op) && strings.EqualFold(k, key) {
				return values
			}
		}
	}
	return nil
}

// condition adds a value to a condition, or sets it when it is not to be one of
// several.
func (f members) condition(op, key, value string, add bool) members {
	all := map[string]map[string]json.RawMessage{}
	if text := f.get("Condition"); text != nil && json.Unmarshal(text, &all) != nil {
		return f
	}
	for name := range all {
		if strings.EqualFold(name, op) {
			op = name
		}
	}
	if all[op] == nil {
		all[op] = map[string]json.RawMessage{}
	}
	for name := range all[op] {
		if strings.EqualFold(name, key) {
			key = name
		}
	}
	var values actions
	if add && all[op][key] != nil && json.Unmarshal(all[op][key], &values) != nil {
		return f
	}
	if !slices.Contains(values, value) {
		values = append(values, value)
	}
	all[op][key] = encode(values)
	return f.with("Condition", "Condition", all)
}

// otherActions is the Deny for what the caller does besides.
func (n *narrower) otherActions(mine members) []json.RawMessage {
	if n.st.actions.not {
		return []json.RawMessage{mine.with("NotAction", "NotAction", append(actions(mine.texts("NotAction")), n.r.Action)).text()}
	}
	var rest actions
	for _, a := range mine.texts("Action") {
		switch p := compileAction(a); {
		case !p.matchAction([]byte(lower(n.r.Action))):
			rest = append(rest, a)
		case a == "*" && n.source.Kind != RCP: // which have no NotAction
			return []json.RawMessage{mine.with("Action", "NotAction", actions{n.r.Action}).text()}
		case strings.ContainsAny(a, "*?"):
			more, ok := n.except(a)
			if !ok {
				n.beyond = append(n.beyond, "whatever else "+a+" means")
				continue
			}
			rest = append(rest, more...)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return []json.RawMessage{mine.with("Action", "Action", rest).text()}
}

// except is the pattern of actions without the request's.
func (n *narrower) except(pattern string) ([]string, bool) {
	if n.source.Kind == Trust {
		return slices.DeleteFunc(slices.Clone(assuming), func(a string) bool { return strings.EqualFold(a, n.r.Action) }), true
	}
	return except(pattern, n.r.Action)
}

// assuming are the actions that a trust policy can be about.
var assuming = []string{
	"sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity", "sts:SetContext", "sts:SetSourceIdentity", "sts:TagSession",
}

// except writes the known actions that a pattern means, but for one, as
// patterns: those that branch off from its name, letter by letter.
func except(pattern, action string) (list []string, ok bool) {
	service, name, _ := strings.Cut(action, ":")
	known := spelledActions()[lower(service)]
	of, _, _ := strings.Cut(pattern, ":")
	if len(known) == 0 || !strings.EqualFold(of, service) {
		return nil, false
	}
	whole := compileAction(pattern)
	var branches []*branch
	for _, other := range known {
		if strings.EqualFold(other, name) {
			continue
		}
		text := service + ":" + parting(other, name)
		i := slices.IndexFunc(branches, func(b *branch) bool { return b.text == text })
		if i < 0 {
			i, branches = len(branches), append(branches, &branch{text: text})
		}
		if full := service + ":" + other; whole.matchAction([]byte(lower(full))) {
			branches[i].inside = append(branches[i].inside, full)
		} else {
			branches[i].wider = true
		}
	}
	for _, b := range branches {
		if b.wider || len(b.inside) == 1 {
			list = append(list, b.inside...)
		} else {
			list = append(list, b.text)
		}
	}
	return list, true
}

// branch are the actions whose names part from one at the same letter.
type branch struct {
	text   string // the pattern that means them
	inside []string
	wider  bool // it means some that the whole pattern does not
}

// parting is the pattern of names that part from another where this one does.
func parting(name, from string) string {
	at := 0
	for at < len(name) && at < len(from) && lowerByte(name[at]) == lowerByte(from[at]) {
		at++
	}
	if at == len(name) {
		return name
	}
	return name[:at+1] + "*"
}

// otherResources is the Deny for the same action on what is not the resource.
func (n *narrower) otherResources(mine members) []json.RawMessage {
	resource := escapeWildcards(n.r.Resource)
	if n.source.Kind == Trust || n.source.Kind == Key || resource == "*" {
		return nil // there is one resource
	}
	mine = mine.without("Sid").with("NotAction", "Action", n.r.Action)
	if n.st.notResource {
		return []json.RawMessage{mine.with("NotResource", "NotResource", append(actions(mine.texts("NotResource")), resource)).text()}
	}
	var rest actions
	for _, text := range mine.texts("Resource") {
		p := compile(text, syntax{wildcards: true, variables: true, segments: true})
		var j judge
		j.begin(n.r, nil)
		switch {
		case p.form != templated && !p.match(n.r.Resource, &j), p.form == templated && !p.template.match(n.r.Resource, &j):
			rest = append(rest, text)
		case n.everyResource(text):
			return []json.RawMessage{mine.with("Resource", "NotResource", actions{resource}).text()}
		case p.form == literal:
		case n.wholeBucket(text):
			bucket := strings.TrimSuffix(text, "/*")
			not := actions{bucket, resource}
			if slices.Contains(mine.texts("Resource"), bucket) {
				not = not[1:]
			}
			return []json.RawMessage{mine.with("Resource", "NotResource", not).text()}
		default:
			n.beyond = append(n.beyond, n.r.Action+" on all that "+text+" means")
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return []json.RawMessage{mine.with("Resource", "Resource", rest).text()}
}

// everyResource reports whether a text means all that the action can be about.
func (n *narrower) everyResource(text string) bool {
	service, _, _ := strings.Cut(lower(n.r.Action), ":")
	return text == "*" || text == "arn:aws:"+service+":*" || text == "arn:aws:"+service+":::*"
}

// wholeBucket reports whether a text means all objects of the bucket that the
// policy stands on: there, everything but one object can be said.
func (n *narrower) wholeBucket(text string) bool {
	bucket, ok := strings.CutSuffix(text, "/*")
	return ok && n.source.Kind == Resource && n.source.On == bucket && strings.HasPrefix(bucket, "arn:aws:s3:::") && !strings.ContainsAny(bucket, "*?$")
}
