package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// Error is AWS's refusal of a document, with the place that caused it.
// Services put their own error code before it.
type Error struct {
	Message      string
	Line, Column int // from 1; columns count bytes
	// Principal is who is named and does not exist, in the errors of Bind.
	Principal string
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// The refusals of IAM, as its users have reported them.
const (
	syntaxErrors   = "Syntax errors in policy."
	legacyParsing  = "The policy failed legacy parsing"
	invalidJSON    = "This policy contains invalid Json"
	noVendor       = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	colons         = "Actions/Condition can contain only one colon."
	duplicateSid   = "Statement IDs (SID) in a single policy must be unique."
	sidAlphabet    = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
	noPrincipal    = "Policy document should not specify a principal."
	noActions      = "Policy statement must contain actions."
	noResources    = "Policy statement must contain resources."
	again          = "Statement/policy already has instance of "
	onlyAssumeRole = "AssumeRole policy may only specify STS AssumeRole actions."
)

// phase is a pass of IAM over a document. IAM answers with what the earliest
// pass finds, wherever in the document it stands.
type phase int

const (
	phaseSyntax phase = iota
	phasePrincipal
	phaseLegacy
	phaseSid
	phaseActions
	phaseResources
	phaseResourceForm
	phaseActionForm
	phases
)

// Parse reads, validates and compiles a policy document. The error is an
// *Error.
func Parse(text string, kind Kind) (*Document, error) {
	p := &parser{text: text, kind: kind, doc: &Document{text: text, kind: kind}, found: phases}
	root, err := readJSON(text)
	if e, ok := errors.AsType[jsonError](err); ok && e.twice != "" {
		p.fault(phaseSyntax, e.at, syntaxErrors, again+e.twice)
	} else if ok {
		p.fault(phaseSyntax, e.at, syntaxErrors, invalidJSON)
	} else {
		p.document(root)
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.doc, nil
}

type parser struct {
	text  string
	kind  Kind
	doc   *Document
	names map[string]bool       // that may stand once
	sets  map[string]*actionSet // by their text
	// templates are the resources with variables, by their text.
	templates map[string]pattern
	keys      map[string]*key   // by their spelling
	lowered   map[string]string // operators
	err       *Error
	found     phase // of err
}

// attached reports whether the document is of the family that stands on a
// resource: it has principals, and AWS words its refusals differently, in the
// order of the document.
func (p *parser) attached() bool {
	switch p.kind {
	case Resource, Trust, Key, RCP:
		return true
	}
	return false
}

// fault notes a refusal, which is worded by the document's family.
func (p *parser) fault(ph phase, at int, identity, attached string) {
	message := identity
	if p.attached() {
		message, ph = attached, phaseSyntax
	}
	if ph >= p.found {
		return
	}
	line, column := position(p.text, at)
	p.err, p.found = &Error{Message: message, Line: line, Column: column}, ph
}

// syntax refuses a value of the wrong shape.
func (p *parser) syntax(n *node) {
	p.fault(phaseSyntax, n.start, syntaxErrors, "Invalid policy syntax.")
}

func (p *parser) document(root *node) {
	if root.shape != shapeObject {
		p.fault(phaseSyntax, root.start, syntaxErrors, invalidJSON)
		return
	}
	for _, m := range root.members {
		switch m.name {
		case "Version":
			if m.value.shape != shapeString || m.value.text != "2012-10-17" && m.value.text != "2008-10-17" {
				p.fault(phaseSyntax, m.value.start, syntaxErrors, "The policy must contain a valid version string")
			}
			p.doc.version = m.value.text
		case "Id":
			if m.value.shape != shapeString {
				p.syntax(m.value)
			}
		case "Statement":
		default:
			p.fault(phaseSyntax, m.at, syntaxErrors, "Unknown field "+m.name)
		}
	}
	statements := root.get("Statement")
	if statements == nil {
		p.fault(phaseSyntax, root.start, syntaxErrors, "Missing required field Statement")
		return
	}
	list := statements.list()
	if len(list) == 0 {
		p.fault(phaseSyntax, statements.start, syntaxErrors, "Could not parse the policy: Statement is empty!")
	}
	p.doc.statements = make([]statement, 0, len(list))
	for _, n := range list {
		p.statement(n)
	}
}

func (p *parser) statement(n *node) {
	if n.shape != shapeObject {
		p.syntax(n)
		return
	}
	s := statement{raw: p.text[n.start:n.end], at: n.start}
	for _, m := range n.members {
		p.element(&s, m)
	}
	p.complete(n)
	p.doc.statements = append(p.doc.statements, s)
}

// complete refuses a statement that lacks an element, or has it twice.
func (p *parser) complete(n *node) {
	lacks := func(a, b string) bool { return n.get(a) == nil && n.get(b) == nil }
	if n.get("Effect") == nil {
		p.fault(phaseSyntax, n.start, syntaxErrors, "Missing required field Effect")
	}
	if p.attached() && lacks("Principal", "NotPrincipal") {
		p.fault(phaseSyntax, n.start, "", "Missing required field Principal")
	}
	if lacks("Action", "NotAction") {
		p.fault(phaseActions, n.start, noActions, "Missing required field Action")
	}
	if p.kind != Trust && lacks("Resource", "NotResource") {
		p.fault(phaseResources, n.start, noResources, "Missing required field Resource")
	}
	for _, name := range [...]string{"Action", "Resource", "Principal"} {
		if not := n.get("Not" + name); not != nil && n.get(name) != nil {
			p.fault(phaseSyntax, not.start, syntaxErrors, again+name)
		}
	}
}

// prohibited reports whether a kind of document may not have an element.
func (p *parser) prohibited(element string) bool {
	switch element {
	case "NotPrincipal":
		return p.kind == Trust || p.kind == RCP
	case "NotAction":
		return p.kind == Trust || p.kind == RCP
	case "Resource", "NotResource":
		return p.kind == Trust
	}
	return false
}

// element reads one member of a statement.
func (p *parser) element(s *statement, m member) {
	if p.prohibited(m.name) {
		p.fault(phaseSyntax, m.at, "", "Has prohibited field "+m.name)
		return
	}
	switch m.name {
	case "Sid":
		p.sid(s, m.value)
	case "Effect":
		p.effect(s, m.value)
	case "Principal", "NotPrincipal":
		if !p.attached() {
			p.fault(phasePrincipal, m.at, noPrincipal, "")
			return
		}
		s.notPrincipal = m.name == "NotPrincipal"
		s.principals = p.principalList(m.value)
	case "Action", "NotAction":
		s.actions = p.actions(m.value, m.name == "NotAction")
	case "Resource", "NotResource":
		s.notResource = m.name == "NotResource"
		s.resources = p.resources(m.value)
	case "Condition":
		s.conditions = p.conditions(m.value)
	default:
		p.fault(phaseSyntax, m.at, syntaxErrors, "Unknown field "+m.name)
	}
}

func (p *parser) sid(s *statement, n *node) {
	if n.shape != shapeString {
		p.syntax(n)
		return
	}
	if !p.attached() && strings.ContainsFunc(n.text, notAlphanumeric) {
		p.fault(phaseSid, n.start, sidAlphabet, "")
	}
	if n.text != "" && p.seen("sid "+n.text) {
		p.fault(phaseSid, n.start, duplicateSid, duplicateSid)
	}
	s.sid = n.text
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// effect reads Allow or Deny. In another case they pass IAM's first pass.
func (p *parser) effect(s *statement, n *node) {
	switch {
	case n.shape == shapeString && n.text == "Allow":
		s.effect = Allow
	case n.shape == shapeString && n.text == "Deny":
		s.effect = ExplicitDeny
	case n.shape == shapeString && (strings.EqualFold(n.text, "Allow") || strings.EqualFold(n.text, "Deny")):
		p.fault(phaseLegacy, n.start, legacyParsing, "Invalid effect: "+n.text)
	default:
		p.fault(phaseSyntax, n.start, syntaxErrors, "Invalid effect: "+n.text)
	}
}

// texts returns the strings of a string or an array of strings.
func (p *parser) texts(n *node) []*node {
	list := n.list()
	for _, v := range list {
		if v.shape != shapeString {
			p.syntax(v)
			return nil
		}
	}
	return list
}

func (p *parser) principalList(n *node) []principal {
	if n.shape == shapeString && n.text == "*" {
		return []principal{{class: everyone}}
	}
	if n.shape != shapeObject || len(n.members) == 0 {
		p.invalidPrincipal(n.start, "AWS", n.text)
		return nil
	}
	var out []principal
	for _, m := range n.members {
		values := p.texts(m.value)
		if len(values) == 0 {
			p.invalidPrincipal(m.at, m.name, "")
		}
		for _, v := range values {
			e, ok := parsePrincipal(p.kind, m.name, v.text)
			if !ok || p.kind == RCP && e.class != everyone {
				p.invalidPrincipal(v.start, m.name, v.text)
			}
			p.note(e)
			out = append(out, e)
		}
	}
	return out
}

// note keeps the ARN of an AWS principal.
func (p *parser) note(e principal) {
	arn := e.name
	switch e.class {
	case accountClass:
		arn = aws.RootPrincipal(e.name).ARN
	case arnClass:
	default:
		return
	}
	if !p.seen("principal " + arn) {
		p.doc.principals = append(p.doc.principals, arn)
	}
}

// seen reports whether it has been asked about a name before.
func (p *parser) seen(name string) bool {
	if p.names[name] {
		return true
	}
	if p.names == nil {
		p.names = map[string]bool{}
	}
	p.names[name] = true
	return false
}

func (p *parser) invalidPrincipal(at int, class, text string) {
	p.fault(phaseSyntax, at, "", InvalidPrincipal(p.kind, class, text))
}

// InvalidPrincipal is the refusal of a principal that a document of a kind
// names, also of one that does not exist. class is the name under Principal,
// such as AWS or Service.
func InvalidPrincipal(kind Kind, class, text string) string {
	switch kind {
	case Trust:
		if class == "Service" || class == "Federated" {
			class = strings.ToUpper(class)
		}
		return fmt.Sprintf("Invalid principal in policy: %q:%q", class, text)
	case Key:
		return "Policy contains a statement with one or more invalid principals."
	}
	return "Invalid principal in policy"
}

// isVendor reports whether a text can be the name of a service.
func isVendor(s string) bool {
	for i := range len(s) {
		c := lowerByte(s[i])
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return s != ""
}

// trustActions are all that a trust policy is about.
var trustActions = [...]string{
	"sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity",
	"sts:tagsession", "sts:setsourceidentity", "sts:setcontext", "sts:assumeroot",
}

func (p *parser) actions(n *node, not bool) *actionSet {
	list := p.texts(n)
	if len(list) == 0 {
		p.fault(phaseActions, n.start, noActions, "Missing required field Action cannot be empty!")
	}
	id := p.text[n.start:n.end]
	if not {
		id = "!" + id
	}
	if shared := p.sets[id]; shared != nil {
		return shared
	}
	a := &actionSet{not: not, slot: uint8(len(p.sets) % slots), patterns: make([]pattern, 0, len(list))}
	for _, v := range list {
		p.checkAction(v)
		c := compileAction(v.text)
		if p.kind == Trust && !assumes(&c) {
			p.fault(phaseSyntax, v.start, "", onlyAssumeRole)
		}
		a.patterns = append(a.patterns, c)
	}
	if p.sets == nil {
		p.sets = map[string]*actionSet{}
	}
	p.sets[id] = a
	return a
}

// assumes reports whether an action is one that trust policies have.
func assumes(action *pattern) bool {
	return slices.ContainsFunc(trustActions[:], func(s string) bool { return action.matchAction([]byte(s)) })
}

func (p *parser) checkAction(v *node) {
	const invalid = "Policy has invalid action"
	if v.text == "*" || v.text == "*:*" {
		return
	}
	service, name, ok := strings.Cut(v.text, ":")
	switch {
	case !ok || name == "":
		p.fault(phaseActionForm, v.start, noVendor, invalid)
	case strings.Contains(name, "${"): // no place for variables
		p.fault(phaseLegacy, v.start, legacyParsing, invalid)
	case strings.Contains(name, ":"):
		p.fault(phaseActionForm, v.start, colons, invalid)
	case !isVendor(service):
		p.fault(phaseActionForm, v.start, "Vendor "+service+" is not valid", invalid)
	}
}

func (p *parser) resources(n *node) []pattern {
	list := p.texts(n)
	if len(list) == 0 {
		p.fault(phaseResources, n.start, noResources, "Missing required field Resource cannot be empty!")
	}
	out := make([]pattern, 0, len(list))
	for _, v := range list {
		if ph, why := resourceFault(v.text); why != "" {
			p.fault(ph, v.start, why, "Policy has invalid resource")
		}
		out = append(out, p.resource(v.text))
	}
	return out
}

// resource compiles a Resource value. Statements share what has variables.
func (p *parser) resource(text string) pattern {
	if shared, ok := p.templates[text]; ok {
		return shared
	}
	c := compile(text, syntax{wildcards: true, variables: p.variables(), segments: true})
	if c.form == templated {
		if p.templates == nil {
			p.templates = map[string]pattern{}
		}
		c.template.slot = uint8(len(p.templates) % slots)
		p.templates[text] = c
	}
	return c
}

// variables reports whether the language version has policy variables:
// document reads Version before any statement, wherever it stands.
func (p *parser) variables() bool { return p.doc.version == "2012-10-17" }

// resourceFault says what IAM has against a Resource value, and in which pass;
// empty means nothing. IAM does not look at the word before the first colon,
// nor at anything when the text cannot be an ARN and has no empty component.
func resourceFault(text string) (phase, string) {
	if text == "*" {
		return 0, ""
	}
	var all [6]string
	parts := components(text, all[:0])
	if len(parts) < 2 {
		return phaseResourceForm, `Resource ` + text + ` must be in ARN format or "*".`
	}
	if parts[1] != aws.Partition && parts[1] != "*" {
		return phaseResourceForm, `Partition "` + parts[1] + `" is not valid for resource "` + padARN(parts) + `".`
	}
	if len(parts) < 3 {
		return phaseResourceForm, "Resource vendor must be fully qualified and cannot contain regexes."
	}
	if parts[2] == "" || len(parts) < 6 && strings.Contains(text, "::") {
		return phaseLegacy, legacyParsing
	}
	if !isVendor(parts[2]) {
		return phaseResourceForm, "Resource vendor must be fully qualified and cannot contain regexes."
	}
	return phaseResourceForm, componentFault(text, parts)
}

// components takes a text apart at its first five colons.
func components(text string, parts []string) []string {
	for len(parts) < 5 {
		head, rest, ok := strings.Cut(text, ":")
		if !ok {
			break
		}
		parts, text = append(parts, head), rest
	}
	return append(parts, text)
}

// padARN writes the components of an ARN as IAM repeats them, "*" for those
// that are not there.
func padARN(parts []string) string {
	all := [6]string{"arn", "*", "*", "*", "*", "*"}
	copy(all[1:], parts[1:])
	if len(parts) == 3 && all[2] == "" {
		all[2] = "*"
	}
	return strings.Join(all[:], ":")
}

// iamPaths are what the resource part of IAM's ARNs begins with.
var iamPaths = [...]string{
	"user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/", "policy/",
	"sms-mfa/", "saml-provider/", "oidc-provider/", "report/", "access-report/",
}

// componentFault holds the ARNs of IAM and S3 against what they can be.
func componentFault(text string, parts []string) string {
	global := len(parts) < 4 || parts[3] == "" || parts[3] == "*"
	switch {
	case parts[2] == "iam" && !global:
		return "IAM resource " + text + " cannot contain region information."
	case parts[2] == "s3" && !global:
		return "Resource " + text + " can not contain region information."
	case parts[2] == "iam" && len(parts) == 6 && !isIAMPath(parts[5]):
		return `IAM resource path must either be "*" or start with ` + strings.Join(iamPaths[:], ", ") + "."
	}
	return ""
}

// isIAMPath reports whether a resource of IAM's begins as one can, as far as
// its first wildcard or variable. The root user, which the list leaves out, is
// named in policies all the same.
func isIAMPath(resource string) bool {
	head := resource
	if i := strings.IndexAny(resource, "*?$"); i >= 0 {
		head = resource[:i]
	}
	return resource == "root" || slices.ContainsFunc(iamPaths[:], func(p string) bool {
		return strings.HasPrefix(head, p) || len(head) < len(resource) && strings.HasPrefix(p, head)
	})
}

func (p *parser) conditions(n *node) []condition {
	if n.shape != shapeObject {
		p.syntax(n)
		return nil
	}
	out := make([]condition, 0, len(n.members))
	seen := make([]string, 0, 8)
	for _, m := range n.members {
		if m.value.shape != shapeObject {
			p.syntax(m.value)
			continue
		}
		name := p.lower(m.name)
		proto, ok := parseOperator(name)
		if len(m.value.members) > 0 && !ok || slices.Contains(seen, name) {
			p.fault(phaseSyntax, m.at, syntaxErrors, "Invalid Condition type : "+m.name)
			continue
		}
		seen = append(seen, name)
		for _, k := range m.value.members {
			if p.kind == Resource && !strings.Contains(k.name, ":") {
				p.fault(phaseSyntax, k.at, "", "Policy has an invalid condition key")
			}
			c := proto
			c.key = p.key(k.name)
			p.values(&c, k.value)
			out = append(out, c)
		}
	}
	return out
}

// key returns a context key; conditions of a document share it.
func (p *parser) key(name string) *key {
	k := p.keys[name]
	if k == nil {
		k = newKey(name)
		if p.keys == nil {
			p.keys = map[string]*key{}
		}
		p.keys[name] = k
	}
	return k
}

// lower is lower for operators, of which a document has few.
func (p *parser) lower(name string) string {
	l, ok := p.lowered[name]
	if !ok {
		l = lower(name)
		if p.lowered == nil {
			p.lowered = map[string]string{}
		}
		p.lowered[name] = l
	}
	return l
}

// values compiles the values of one key into its condition.
func (p *parser) values(c *condition, n *node) {
	for _, v := range n.list() {
		switch v.shape {
		case shapeString, shapeNumber, shapeBool:
		default:
			p.syntax(v)
			return
		}
		if !c.add(v.text, p.variables()) {
			p.fault(phaseLegacy, v.start, legacyParsing, "Invalid value in Condition: "+v.text)
		}
	}
}
