package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Error is AWS's refusal of a document, with the place that caused it.
// Services put their own error code before it.
type Error struct {
	Message      string
	Line, Column int // from 1; columns count bytes
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

const (
	syntaxErrors   = "Syntax errors in policy."
	legacyParsing  = "The policy failed legacy parsing"
	invalidJSON    = "This policy contains invalid Json"
	noVendor       = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	colons         = "Actions/Condition can contain only one colon."
	duplicateSid   = "Statement IDs (SID) in a single policy must be unique."
	sidAlphabet    = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
	noPrincipal    = "Policy document should not specify a principal."
	onlyAssumeRole = "AssumeRole policy may only specify STS AssumeRole actions."
)

// Parse reads, validates and compiles a policy document. The error is an
// *Error.
func Parse(text string, kind Kind) (*Document, error) {
	p := &parser{text: text, kind: kind, doc: &Document{text: text, kind: kind}}
	root, err := readJSON(text)
	if err != nil {
		at := 0
		if e, ok := errors.AsType[jsonError](err); ok {
			at = e.at
		}
		return nil, p.errorf(at, "%s", p.either(syntaxErrors, invalidJSON))
	}
	if err := p.document(root); err != nil {
		return nil, err
	}
	return p.doc, nil
}

type parser struct {
	text string
	kind Kind
	doc  *Document
	sids []string
}

// attached reports whether the document is of the family that stands on a
// resource: it has principals, and AWS words its refusals differently.
func (p *parser) attached() bool {
	switch p.kind {
	case Resource, Trust, Key, RCP:
		return true
	}
	return false
}

// either picks a refusal's wording by the document's family.
func (p *parser) either(identity, attached string) string {
	if p.attached() {
		return attached
	}
	return identity
}

func (p *parser) errorf(at int, format string, args ...any) *Error {
	before := p.text[:min(at, len(p.text))]
	return &Error{
		Message: fmt.Sprintf(format, args...),
		Line:    1 + strings.Count(before, "\n"),
		Column:  len(before) - strings.LastIndexByte(before, '\n'),
	}
}

// syntax refuses a value of the wrong shape.
func (p *parser) syntax(n *node, element string) *Error {
	return p.errorf(n.start, "%s", p.either(syntaxErrors, "Invalid policy syntax. "+element))
}

func (p *parser) document(root *node) error {
	if root.shape != shapeObject {
		return p.errorf(root.start, "%s", p.either(syntaxErrors, invalidJSON))
	}
	for _, m := range root.members {
		switch m.name {
		case "Version":
			if m.value.shape != shapeString || m.value.text != "2012-10-17" && m.value.text != "2008-10-17" {
				return p.errorf(m.value.start, "%s", p.either(syntaxErrors, "The policy must contain a valid version string"))
			}
			p.doc.version = m.value.text
		case "Id":
			if m.value.shape != shapeString {
				return p.syntax(m.value, m.name)
			}
		case "Statement":
		default:
			return p.errorf(m.at, "%s", p.either(syntaxErrors, "Unknown field "+m.name))
		}
	}
	statements := root.get("Statement")
	if statements == nil {
		return p.errorf(root.start, "%s", p.either(syntaxErrors, "Missing required field Statement"))
	}
	list := statements.list()
	if len(list) == 0 {
		return p.errorf(statements.start, "%s", p.either(syntaxErrors, "Could not parse the policy: Statement is empty!"))
	}
	for _, n := range list {
		if err := p.statement(n); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) statement(n *node) error {
	if n.shape != shapeObject {
		return p.syntax(n, "Statement")
	}
	s := statement{raw: p.text[n.start:n.end]}
	for _, m := range n.members {
		if err := p.element(&s, m); err != nil {
			return err
		}
	}
	if err := p.complete(n); err != nil {
		return err
	}
	p.doc.statements = append(p.doc.statements, s)
	return nil
}

// complete refuses a statement that lacks an element.
func (p *parser) complete(n *node) error {
	lacks := func(a, b string) bool { return n.get(a) == nil && n.get(b) == nil }
	switch {
	case n.get("Effect") == nil:
		return p.errorf(n.start, "%s", p.either(syntaxErrors, "Missing required field Effect"))
	case p.attached() && lacks("Principal", "NotPrincipal"):
		return p.errorf(n.start, "Missing required field Principal")
	case lacks("Action", "NotAction"):
		return p.errorf(n.start, "%s", p.either("Policy statement must contain actions.", "Missing required field Action"))
	case p.kind != Trust && lacks("Resource", "NotResource"):
		return p.errorf(n.start, "%s", p.either("Policy statement must contain resources.", "Missing required field Resource"))
	}
	for _, name := range []string{"Action", "Resource", "Principal"} {
		if not := n.get("Not" + name); not != nil && n.get(name) != nil {
			return p.errorf(not.start, "%s", p.either(syntaxErrors, "Statement contains both "+name+" and Not"+name))
		}
	}
	return nil
}

// element reads one member of a statement.
func (p *parser) element(s *statement, m member) (err error) {
	switch m.name {
	case "Sid":
		return p.sid(s, m.value)
	case "Effect":
		return p.effect(s, m.value)
	case "Principal", "NotPrincipal":
		if !p.attached() {
			return p.errorf(m.at, "%s", noPrincipal)
		}
		if m.name == "NotPrincipal" && p.kind == Trust {
			return p.errorf(m.at, "Has prohibited field NotPrincipal")
		}
		s.notPrincipal = m.name == "NotPrincipal"
		s.principals, err = p.principalList(m.value)
	case "Action", "NotAction":
		if m.name == "NotAction" && p.kind == Trust {
			return p.errorf(m.at, "Has prohibited field NotAction")
		}
		s.notAction = m.name == "NotAction"
		s.actions, err = p.actions(m.value)
	case "Resource", "NotResource":
		if p.kind == Trust {
			return p.errorf(m.at, "Has prohibited field %s", m.name)
		}
		s.notResource = m.name == "NotResource"
		s.resources, err = p.resources(m.value)
	case "Condition":
		s.conditions, err = p.conditions(m.value)
	default:
		return p.errorf(m.at, "%s", p.either(syntaxErrors, "Unknown field "+m.name))
	}
	return err
}

var alphanumeric = regexp.MustCompile(`^[0-9A-Za-z]*$`)

func (p *parser) sid(s *statement, n *node) error {
	if n.shape != shapeString {
		return p.syntax(n, "Sid")
	}
	if !p.attached() && !alphanumeric.MatchString(n.text) {
		return p.errorf(n.start, "%s", sidAlphabet)
	}
	if n.text != "" && slices.Contains(p.sids, n.text) {
		return p.errorf(n.start, "%s", duplicateSid)
	}
	p.sids = append(p.sids, n.text)
	s.sid = n.text
	return nil
}

func (p *parser) effect(s *statement, n *node) error {
	switch {
	case n.shape == shapeString && n.text == "Allow":
		s.effect = Allow
	case n.shape == shapeString && n.text == "Deny":
		s.effect = ExplicitDeny
	default:
		return p.errorf(n.start, "%s", p.either(syntaxErrors, "Invalid effect: "+n.text))
	}
	return nil
}

// texts returns the strings of a string or an array of strings.
func (p *parser) texts(n *node, element string) ([]*node, error) {
	list := n.list()
	for _, v := range list {
		if v.shape != shapeString {
			return nil, p.syntax(v, element)
		}
	}
	return list, nil
}

func (p *parser) principalList(n *node) ([]principal, error) {
	if n.shape == shapeString && n.text == "*" {
		return []principal{{class: everyone}}, nil
	}
	if n.shape != shapeObject || len(n.members) == 0 {
		return nil, p.invalidPrincipal(n.start, "AWS", n.text)
	}
	var out []principal
	for _, m := range n.members {
		values, err := p.texts(m.value, "Principal")
		if err != nil {
			return nil, err
		}
		if len(values) == 0 {
			return nil, p.invalidPrincipal(m.at, m.name, "")
		}
		for _, v := range values {
			e, ok := parsePrincipal(m.name, v.text)
			if !ok || p.kind == RCP && e.class != everyone {
				return nil, p.invalidPrincipal(v.start, m.name, v.text)
			}
			p.note(e)
			out = append(out, e)
		}
	}
	return out, nil
}

// note keeps an AWS principal for Principals.
func (p *parser) note(e principal) {
	arn := e.name
	switch e.class {
	case accountClass:
		arn = "arn:aws:iam::" + e.name + ":root"
	case arnClass:
		if uniqueID.MatchString(arn) {
			return
		}
	default:
		return
	}
	if !slices.Contains(p.doc.principals, arn) {
		p.doc.principals = append(p.doc.principals, arn)
	}
}

func (p *parser) invalidPrincipal(at int, kind, text string) *Error {
	return p.errorf(at, "%s", InvalidPrincipal(p.kind, kind, text))
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

var vendor = regexp.MustCompile(`^[a-zA-Z0-9.-]+$`)

// trustActions are all that a trust policy is about.
var trustActions = []string{
	"sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity",
	"sts:tagsession", "sts:setsourceidentity", "sts:setcontext", "sts:assumeroot",
}

func (p *parser) actions(n *node) ([]pattern, error) {
	list, err := p.texts(n, "Action")
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, p.errorf(n.start, "%s", p.either("Policy statement must contain actions.", "Missing required field Action"))
	}
	out := make([]pattern, 0, len(list))
	for _, v := range list {
		if err := p.checkAction(v); err != nil {
			return nil, err
		}
		a := compile(v.text, syntax{wildcards: true, lower: true})
		if p.kind == Trust && !slices.ContainsFunc(trustActions, func(s string) bool { return a.match(s, true, nil) }) {
			return nil, p.errorf(v.start, "%s", onlyAssumeRole)
		}
		out = append(out, a)
	}
	return out, nil
}

func (p *parser) checkAction(v *node) error {
	if v.text == "*" {
		return nil
	}
	service, name, ok := strings.Cut(v.text, ":")
	switch {
	case !ok || name == "":
		return p.errorf(v.start, "%s", p.either(noVendor, "Policy has invalid action"))
	case strings.Contains(name, ":"):
		return p.errorf(v.start, "%s", p.either(colons, "Policy has invalid action"))
	case !vendor.MatchString(service):
		return p.errorf(v.start, "%s", p.either("Vendor "+service+" is not valid", "Policy has invalid action"))
	}
	return nil
}

func (p *parser) resources(n *node) ([]pattern, error) {
	list, err := p.texts(n, "Resource")
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, p.errorf(n.start, "%s", p.either("Policy statement must contain resources.", "Missing required field Resource"))
	}
	out := make([]pattern, 0, len(list))
	for _, v := range list {
		if why := resourceFault(v.text); why != "" {
			return nil, p.errorf(v.start, "%s", p.either(why, "Policy has invalid resource"))
		}
		out = append(out, compile(v.text, syntax{wildcards: true, variables: p.variables(), segments: true}))
	}
	return out, nil
}

// variables reports whether the language version has policy variables:
// document reads Version before any statement, wherever it stands.
func (p *parser) variables() bool { return p.doc.version == "2012-10-17" }

// resourceFault says what IAM has against a Resource value; empty means
// nothing.
func resourceFault(text string) string {
	if text == "*" {
		return ""
	}
	parts := strings.SplitN(text, ":", 6)
	if parts[0] != "arn" || len(parts) < 2 {
		return `Resource ` + text + ` must be in ARN format or "*".`
	}
	for len(parts) < 6 {
		parts = append(parts, "*")
	}
	if parts[1] != "aws" && parts[1] != "aws-cn" && parts[1] != "aws-us-gov" {
		return `Partition "` + parts[1] + `" is not valid for resource "` + strings.Join(parts, ":") + `".`
	}
	if !vendor.MatchString(parts[2]) {
		return "Resource vendor must be fully qualified and cannot contain regexes."
	}
	if parts[2] == "iam" && parts[3] != "" && parts[3] != "*" {
		return "IAM resource " + text + " cannot contain region information."
	}
	if parts[2] == "s3" && parts[3] != "" && parts[3] != "*" {
		return "Resource " + text + " can not contain region information."
	}
	return ""
}

func (p *parser) conditions(n *node) ([]condition, error) {
	if n.shape != shapeObject {
		return nil, p.syntax(n, "Condition")
	}
	var out []condition
	var seen []string
	for _, m := range n.members {
		proto, ok := parseOperator(m.name)
		if !ok || slices.Contains(seen, lower(m.name)) {
			return nil, p.errorf(m.at, "%s", p.either(syntaxErrors, "Invalid Condition type : "+m.name))
		}
		seen = append(seen, lower(m.name))
		if m.value.shape != shapeObject {
			return nil, p.syntax(m.value, "Condition")
		}
		for _, k := range m.value.members {
			c := proto
			c.key = lower(k.name)
			if !strings.Contains(k.name, ":") {
				return nil, p.errorf(k.at, "%s", p.either(noVendor, "Policy has an invalid condition key"))
			}
			var err error
			if c.values, err = p.values(c.op, k.value); err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	}
	return out, nil
}

func (p *parser) values(op operator, n *node) ([]value, error) {
	list := n.list()
	out := make([]value, 0, len(list))
	for _, v := range list {
		switch v.shape {
		case shapeString, shapeNumber, shapeBool:
		default:
			return nil, p.syntax(v, "Condition")
		}
		c, ok := compileValue(op, v.text, p.variables())
		if !ok {
			return nil, p.errorf(v.start, "%s", p.either(legacyParsing, "Invalid value in Condition: "+v.text))
		}
		out = append(out, c)
	}
	return out, nil
}
