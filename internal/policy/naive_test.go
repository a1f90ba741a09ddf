package policy

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/aws"
)

// The reference: policies as values, evaluated rule by rule as the IAM User
// Guide has them. Slow, and written from the description alone.

type naiveStatement struct {
	Effect       string
	Principal    any                                  `json:",omitempty"`
	NotPrincipal any                                  `json:",omitempty"`
	Action       []string                             `json:",omitempty"`
	NotAction    []string                             `json:",omitempty"`
	Resource     []string                             `json:",omitempty"`
	NotResource  []string                             `json:",omitempty"`
	Condition    map[string]map[string]naiveTextOrTwo `json:",omitempty"`
}

type naiveTextOrTwo []string

func (v naiveTextOrTwo) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return json.Marshal(v[0])
	}
	return json.Marshal([]string(v))
}

type naiveDocument struct {
	Version   string `json:",omitempty"`
	Statement []naiveStatement
}

type naiveWorld struct {
	caller, action, resource, owner      string
	ctx                                  map[string][]string
	identity, boundary, session          []naiveDocument
	scps, rcps                           [][]naiveDocument
	attached                             *naiveDocument
	kind                                 Kind
	account, role                        string // of the caller
	isRoot, isSession, isService, nobody bool
}

// expand puts values in the place of variables and marks wildcards as runes
// beyond Unicode; it reports false when a variable has no value.
func (w *naiveWorld) expand(version, text string, wild, variables bool) ([]rune, bool) {
	var out []rune
	for text != "" {
		if variables && version == "2012-10-17" && strings.HasPrefix(text, "${") && strings.Contains(text, "}") {
			body, rest, _ := strings.Cut(text[2:], "}")
			text = rest
			name, def, hasDefault := strings.Cut(body, ",")
			values, ok := w.ctx[strings.ToLower(name)]
			switch {
			case body == "*" || body == "?" || body == "$":
				out = append(out, []rune(body)...)
			case ok && len(values) == 1:
				out = append(out, []rune(values[0])...)
			case !ok && hasDefault:
				out = append(out, []rune(strings.Trim(strings.TrimSpace(def), "'"))...)
			default:
				return nil, false
			}
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		if wild && r == '*' {
			r = -1
		}
		if wild && r == '?' {
			r = -2
		}
		out = append(out, r)
	}
	return out, true
}

func naiveGlob(p, s []rune) bool {
	if len(p) == 0 {
		return len(s) == 0
	}
	switch p[0] {
	case -1:
		return naiveGlob(p[1:], s) || len(s) > 0 && naiveGlob(p, s[1:])
	case -2:
		return len(s) > 0 && naiveGlob(p[1:], s[1:])
	}
	return len(s) > 0 && p[0] == s[0] && naiveGlob(p[1:], s[1:])
}

// resourceGlob also knows that wildcards before the fifth colon stay in their
// segment, but for a "*" at its end.
func resourceGlob(p, s []rune, colons int) bool {
	if len(p) == 0 {
		return len(s) == 0
	}
	inside := colons < 5
	switch p[0] {
	case -1:
		atEnd := len(p) == 1 || p[1] == ':'
		if resourceGlob(p[1:], s, colons) {
			return true
		}
		return len(s) > 0 && (!inside || atEnd || s[0] != ':') && resourceGlob(p, s[1:], colons)
	case -2:
		return len(s) > 0 && (!inside || s[0] != ':') && resourceGlob(p[1:], s[1:], colons)
	}
	if len(s) == 0 || p[0] != s[0] {
		return false
	}
	if p[0] == ':' {
		colons++
	}
	return resourceGlob(p[1:], s[1:], colons)
}

func (w *naiveWorld) resourceMatches(version, pattern string) (match, ok bool) {
	if pattern == "*" {
		return true, true
	}
	// Variables are replaced after the fifth colon.
	parts := strings.SplitN(pattern, ":", 6)
	head := []rune(strings.Join(parts[:len(parts)-1], ":") + ":")
	for i, r := range head {
		switch r {
		case '*':
			head[i] = -1
		case '?':
			head[i] = -2
		}
	}
	tail, ok := w.expand(version, parts[len(parts)-1], true, true)
	return ok && resourceGlob(append(head, tail...), []rune(w.resource), 0), ok
}

// holds is one key under one operator.
func (w *naiveWorld) holds(version, op, key string, values []string) bool {
	given, present := w.ctx[strings.ToLower(key)]
	present = present && len(given) > 0
	if op == "Null" {
		return slices.Contains(values, strconv.FormatBool(!present))
	}
	name, all := strings.CutPrefix(op, "ForAllValues:")
	name, any := strings.CutPrefix(name, "ForAnyValue:")
	name, ifExists := strings.CutSuffix(name, "IfExists")
	negated := strings.Contains(name, "Not")
	positive := strings.Replace(name, "Not", "", 1)
	if !present {
		return ifExists || all || negated && !any
	}
	if all && !slices.ContainsFunc(given, func(s string) bool { return s != "" }) {
		return true
	}
	yes, no := 0, 0
	for _, g := range given {
		match, valid := false, true
		for _, v := range values {
			m, ok := w.compare(version, positive, g, v)
			match, valid = match || m, valid && ok
		}
		switch {
		case !negated && match, negated && !match && valid:
			yes++
		default:
			no++
		}
	}
	if all || negated && !any {
		return no == 0
	}
	return yes > 0
}

func (w *naiveWorld) compare(version, op, given, value string) (match, ok bool) {
	switch op {
	case "StringEquals":
		p, ok := w.expand(version, value, false, true)
		return ok && string(p) == given, ok
	case "StringEqualsIgnoreCase":
		p, ok := w.expand(version, value, false, true)
		return ok && strings.EqualFold(string(p), given), ok
	case "StringLike":
		p, ok := w.expand(version, value, true, true)
		return ok && naiveGlob(p, []rune(given)), ok
	case "ArnLike", "ArnEquals":
		p, ok := w.expand(version, value, true, true)
		if !ok {
			return false, false
		}
		want, got := naiveComponents(p), naiveComponents([]rune(given))
		if len(want) != 6 || len(got) != 6 || string(got[0]) != "arn" {
			return false, true
		}
		for i := range want {
			if !naiveGlob(want[i], got[i]) {
				return false, true
			}
		}
		return true, true
	case "Bool":
		return strings.EqualFold(given, value), true
	case "IpAddress":
		a, err := netip.ParseAddr(given)
		n := netip.MustParsePrefix(value)
		return err == nil && n.Contains(a), true
	}
	family, relation := "Numeric", strings.TrimPrefix(op, "Numeric")
	if strings.HasPrefix(op, "Date") {
		family, relation = "Date", strings.TrimPrefix(op, "Date")
	}
	var a, b float64
	if family == "Numeric" {
		x, err := strconv.ParseFloat(given, 64)
		if err != nil {
			return false, true
		}
		a = x
		b, _ = strconv.ParseFloat(value, 64)
	} else {
		x, err := time.Parse(time.RFC3339, given)
		if n, e := strconv.ParseInt(given, 10, 64); e == nil {
			x, err = time.Unix(n, 0), nil
		}
		if err != nil {
			return false, true
		}
		y, _ := time.Parse(time.RFC3339, value)
		a, b = float64(x.Unix()), float64(y.Unix())
	}
	switch relation {
	case "LessThan":
		return a < b, true
	case "LessThanEquals":
		return a <= b, true
	case "GreaterThan":
		return a > b, true
	case "GreaterThanEquals":
		return a >= b, true
	}
	return a == b, true
}

func naiveComponents(s []rune) [][]rune {
	var out [][]rune
	for len(out) < 5 {
		i := slices.Index(s, ':')
		if i < 0 {
			break
		}
		out, s = append(out, s[:i]), s[i+1:]
	}
	return append(out, s)
}

func (w *naiveWorld) applies(version string, s *naiveStatement) bool {
	listed := func(list []string) bool {
		return slices.ContainsFunc(list, func(a string) bool {
			p, _ := w.expand("", strings.ToLower(a), true, false)
			return naiveGlob(p, []rune(strings.ToLower(w.action)))
		})
	}
	if s.Action != nil && !listed(s.Action) || s.NotAction != nil && listed(s.NotAction) {
		return false
	}
	on := len(s.Resource) == 0 && len(s.NotResource) == 0 || s.NotResource != nil
	for _, r := range s.Resource {
		m, _ := w.resourceMatches(version, r)
		on = on || m
	}
	for _, r := range s.NotResource {
		m, ok := w.resourceMatches(version, r)
		on = on && !m && ok
	}
	if !on {
		return false
	}
	for op, keys := range s.Condition {
		for key, values := range keys {
			if !w.holds(version, op, key, values) {
				return false
			}
		}
	}
	return true
}

// allowsAndDenies asks documents without principals.
func (w *naiveWorld) allowsAndDenies(docs []naiveDocument) (allows, denies bool) {
	for i := range docs {
		for k := range docs[i].Statement {
			s := &docs[i].Statement[k]
			if w.applies(docs[i].Version, s) {
				allows = allows || s.Effect == "Allow"
				denies = denies || s.Effect == "Deny"
			}
		}
	}
	return allows, denies
}

// named says how a Principal element names the caller: "", "account", "role"
// or "direct".
func (w *naiveWorld) named(principal any) string {
	if principal == "*" {
		if w.nobody && w.kind == Trust {
			return ""
		}
		return "direct"
	}
	best := ""
	for class, list := range principal.(map[string][]string) {
		for _, p := range list {
			switch {
			case class == "AWS" && p == "*":
				return w.named("*")
			case class == "Service":
				if w.isService && p == w.caller {
					return "direct"
				}
			case w.isService:
			case p == w.caller && !w.isRoot:
				return "direct"
			case w.isSession && p == w.role:
				best = "role"
			case w.account != "" && (p == w.account || p == "arn:aws:iam::"+w.account+":root"):
				if best == "" {
					best = "account"
				}
			}
		}
	}
	return best
}

// spared says whether NotPrincipal of a Deny names every one that the caller
// is.
func (w *naiveWorld) spared(not any) bool {
	if len(w.boundary) > 0 {
		return false
	}
	if not == "*" {
		return true
	}
	all := not.(map[string][]string)
	if slices.Contains(all["AWS"], "*") {
		return true
	}
	is := []string{w.caller}
	switch {
	case w.nobody:
		return false
	case w.isRoot:
		is = nil
	case w.isSession:
		is = append(is, w.role)
	}
	if w.isService {
		return slices.Contains(all["Service"], w.caller)
	}
	root := "arn:aws:iam::" + w.account + ":root"
	if !slices.Contains(all["AWS"], root) && !slices.Contains(all["AWS"], w.account) {
		return false
	}
	return !slices.ContainsFunc(is, func(p string) bool { return !slices.Contains(all["AWS"], p) })
}

func (w *naiveWorld) decide() Effect {
	denied := false
	ask := func(docs []naiveDocument) bool {
		a, d := w.allowsAndDenies(docs)
		denied = denied || d
		return a
	}
	limited := false // an SCP or RCP is silent
	if w.account != "" {
		for _, level := range w.scps {
			limited = !ask(level) || limited
		}
	}
	for _, level := range w.rcps {
		limited = !ask(level) || limited
	}
	how := map[string]bool{}
	if w.attached != nil {
		for i := range w.attached.Statement {
			s := &w.attached.Statement[i]
			if !w.applies(w.attached.Version, s) {
				continue
			}
			switch {
			case s.NotPrincipal != nil && w.kind == Trust && w.nobody:
			case s.NotPrincipal != nil && s.Effect == "Deny":
				denied = denied || !w.spared(s.NotPrincipal)
			case s.NotPrincipal != nil:
				if w.named(s.NotPrincipal) == "" {
					how["direct"] = true
				}
			case w.named(s.Principal) == "":
			case s.Effect == "Deny":
				denied = true
			default:
				how[w.named(s.Principal)] = true
			}
		}
	}
	attached := len(how) > 0
	allowed := attached
	if w.account != "" {
		identity := ask(w.identity) || w.isRoot
		boundary := ask(w.boundary) || len(w.boundary) == 0
		session := ask(w.session) || len(w.session) == 0
		inside := boundary && session
		switch {
		case w.owner != w.account:
			allowed = identity && inside && attached
		case w.kind == Trust || w.kind == Key:
			allowed = how["direct"] || how["role"] && inside || how["account"] && identity && inside
		default:
			allowed = how["direct"] || (how["role"] || identity) && inside
		}
	}
	switch {
	case denied:
		return ExplicitDeny
	case limited || !allowed:
		return ImplicitDeny
	}
	return Allow
}

// world draws a question in which things are likely to meet.
func world(t *rapid.T) *naiveWorld {
	w := &naiveWorld{kind: rapid.SampledFrom([]Kind{Resource, Resource, Key, Trust}).Draw(t, "kind")}
	w.caller = rapid.SampledFrom([]string{alice, rootA, session, fed, "events.amazonaws.com", ""}).Draw(t, "caller")
	w.nobody, w.isService, w.isRoot = w.caller == "", w.caller == "events.amazonaws.com", w.caller == rootA
	if !w.nobody && !w.isService {
		w.account = acctA
	}
	if w.caller == session {
		w.isSession, w.role = true, roleR
	}
	w.owner = rapid.SampledFrom([]string{acctA, acctA, acctB}).Draw(t, "owner")
	w.action = rapid.SampledFrom([]string{"s3:GetObject", "s3:PutObject", "kms:Decrypt"}).Draw(t, "action")
	w.resource = rapid.SampledFrom([]string{"arn:aws:s3:::b/k", "arn:aws:s3:::b/x:y/z", "arn:aws:sqs:r1:111111111111:q", "*"}).Draw(t, "resource")
	if w.kind == Trust {
		w.action = "sts:AssumeRole"
	}
	w.ctx = map[string][]string{}
	for _, k := range []string{"aws:x", "aws:y", "aws:z"} {
		if n := rapid.IntRange(0, 4).Draw(t, "values"); n > 0 {
			w.ctx[k] = rapid.SliceOfN(rapid.SampledFrom(given), n-1, n-1).Draw(t, k)
		}
	}
	docs := func(name string, kind Kind, most int) []naiveDocument {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) naiveDocument { return document(t, kind) }), 0, most).Draw(t, name)
	}
	w.identity, w.boundary, w.session = docs("identity", Identity, 2), docs("boundary", Boundary, 1), docs("session", Session, 1)
	for range rapid.IntRange(0, 2).Draw(t, "scps") {
		w.scps = append(w.scps, append(docs("scp", SCP, 1), naiveDocument{Statement: []naiveStatement{{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}}}}))
	}
	for range rapid.IntRange(0, 1).Draw(t, "rcps") {
		w.rcps = append(w.rcps, docs("rcp", RCP, 2))
	}
	if rapid.IntRange(0, 3).Draw(t, "attached") > 0 {
		d := document(t, w.kind)
		w.attached = &d
	}
	return w
}

var (
	given     = []string{"a", "A", "ab", "a*", "", "10", "10.0", "9", "true", "false", "10.1.2.3", roleR, "arn:aws:iam::1:role/a:b", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"}
	texts     = []string{"a", "A*", "a?", "*", "a*", "${aws:y}", "${AWS:Z}*", "${aws:z, 'a'}", "a${*}", "ab", ""}
	operators = []string{"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"}
	patterns  = []string{"*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/?", "arn:aws:s3:::*", "arn:aws:s3:::b/x*y*", "arn:aws:sqs:*", "arn:aws:sqs:r?:*:q", "arn:aws:sqs:*1:q", "arn:aws:sqs:r*1:q", "arn:aws:s3:::b/${aws:x}", "arn:aws:s3:::b/${aws:x, 'k'}", "arn:aws:s3:::?/${*}", "arn:aws:s3:::*/${aws:y}*"}
	acts      = []string{"*", "s3:*", "S3:get*", "s3:PutObject", "kms:*crypt", "s3:?etObject", "sts:assumerole"}
)

func document(t *rapid.T, kind Kind) naiveDocument {
	return naiveDocument{
		Version:   rapid.SampledFrom([]string{"2012-10-17", "2012-10-17", "2008-10-17", ""}).Draw(t, "version"),
		Statement: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) naiveStatement { return drawStatement(t, kind) }), 1, 4).Draw(t, "statements"),
	}
}

func drawStatement(t *rapid.T, kind Kind) naiveStatement {
	s := naiveStatement{Effect: rapid.SampledFrom([]string{"Allow", "Allow", "Allow", "Deny"}).Draw(t, "effect")}
	list := func(name string, from []string) []string {
		return rapid.SliceOfN(rapid.SampledFrom(from), 1, 2).Draw(t, name)
	}
	switch {
	case kind == Trust:
		s.Action = []string{"sts:AssumeRole"}
	case kind != RCP && rapid.IntRange(0, 3).Draw(t, "not action") == 0:
		s.NotAction = list("actions", acts)
	default:
		s.Action = list("actions", acts)
	}
	switch {
	case kind == Trust:
	case rapid.IntRange(0, 3).Draw(t, "not resource") == 0:
		s.NotResource = list("resources", patterns)
	default:
		s.Resource = list("resources", patterns)
	}
	switch kind {
	case RCP:
		s.Principal = "*"
	case Resource, Key, Trust:
		var p any = map[string][]string{"AWS": rapid.SliceOfN(rapid.SampledFrom([]string{acctA, rootA, alice, roleR, session, fed, acctB, "*"}), 1, 4).Draw(t, "principals")}
		switch rapid.IntRange(0, 5).Draw(t, "principal") {
		case 0:
			p = "*"
		case 1:
			p = map[string][]string{"Service": {"events.amazonaws.com"}}
		}
		if kind != Trust && rapid.IntRange(0, 3).Draw(t, "not principal") == 0 {
			s.NotPrincipal = p
		} else {
			s.Principal = p
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		op, values := drawCondition(t)
		if s.Condition == nil {
			s.Condition = map[string]map[string]naiveTextOrTwo{}
		}
		s.Condition[op] = map[string]naiveTextOrTwo{rapid.SampledFrom([]string{"aws:X", "aws:y"}).Draw(t, "key"): values}
	}
	return s
}

func drawCondition(t *rapid.T) (string, naiveTextOrTwo) {
	list := func(from ...string) naiveTextOrTwo {
		return rapid.SliceOfN(rapid.SampledFrom(from), 0, 2).Draw(t, "values")
	}
	var op string
	var values naiveTextOrTwo
	switch rapid.IntRange(0, 7).Draw(t, "family") {
	case 0:
		return "Null", list("true", "false")
	case 1:
		op = rapid.SampledFrom([]string{"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"}).Draw(t, "op")
		values = list("10", "9.5", "-1")
	case 2:
		op, values = rapid.SampledFrom([]string{"DateEquals", "DateNotEquals", "DateLessThan", "DateGreaterThanEquals"}).Draw(t, "op"), list("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
	case 3:
		op, values = "Bool", list("true", "false")
	case 4:
		op, values = rapid.SampledFrom([]string{"IpAddress", "NotIpAddress"}).Draw(t, "op"), list("10.0.0.0/8", "0.0.0.0/0", "11.0.0.0/8")
	case 5:
		op, values = rapid.SampledFrom([]string{"ArnLike", "ArnEquals", "ArnNotLike", "ArnNotEquals"}).Draw(t, "op"), list("arn:aws:iam::*:role/*", "arn:*:iam::1:*b", roleR, "${aws:y}", "arn:aws:iam::*")
	default:
		op, values = rapid.SampledFrom(operators).Draw(t, "op"), list(texts...)
	}
	return rapid.SampledFrom([]string{"", "", "ForAllValues:", "ForAnyValue:"}).Draw(t, "set") + op + rapid.SampledFrom([]string{"", "", "IfExists"}).Draw(t, "if exists"), values
}

// question is the world in the engine's terms.
func (w *naiveWorld) question(t testing.TB) (*Set, *Request) {
	parse := func(d naiveDocument, kind Kind) Source {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := Parse(string(text), kind)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return Source{Kind: kind, Doc: doc}
	}
	all := func(docs []naiveDocument, kind Kind) (out []Source) {
		for _, d := range docs {
			out = append(out, parse(d, kind))
		}
		return out
	}
	set := &Set{Identity: all(w.identity, Identity), Boundary: all(w.boundary, Boundary), Session: all(w.session, Session)}
	r := &Request{Principal: caller(w.caller), Action: w.action, Resource: w.resource, Owner: w.owner, Context: Keys(w.ctx)}
	for _, l := range w.scps {
		set.SCPs = append(set.SCPs, all(l, SCP))
	}
	for _, l := range w.rcps {
		r.RCPs = append(r.RCPs, all(l, RCP))
	}
	if w.attached != nil {
		s := parse(*w.attached, w.kind)
		r.Policy = &s
	} else if w.kind != Resource {
		r.Policy = &Source{Kind: w.kind}
	}
	if w.caller == "" {
		r.Principal = aws.Principal{}
	}
	return set, r
}

// TestAgainstReference holds the engine to the reference in random worlds, and
// the repair of each refusal to its promise.
func TestAgainstReference(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := world(rt)
		set, r := w.question(t)
		want := w.decide()
		d := Evaluate(set, r)
		if d.Effect != want || Decide(set, r) != want {
			rt.Fatalf("Evaluate = %v (%+v), Decide = %v, the reference %v", d.Effect, d, Decide(set, r), want)
		}
		if want == Allow && len(d.Because) == 0 {
			rt.Fatal("allowed by nothing")
		}
		if want == ExplicitDeny && len(d.Because) == 0 {
			rt.Fatal("denied by nothing")
		}
		if want == ImplicitDeny && len(d.Silent) == 0 {
			rt.Fatal("nothing was silent")
		}
		// For a role's trust, nobody without credentials is anybody.
		if fixes := Fixes(set, r, d); want != Allow && len(fixes) == 0 && !(w.nobody && w.kind == Trust) {
			rt.Fatalf("no fix for %+v", d)
		}
	})
}
