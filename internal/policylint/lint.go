package policylint

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/policy"
)

// Severity says how bad a finding is.
type Severity string

// From what should be known to what AWS refuses or opens to everybody.
const (
	Info    Severity = "info"
	Warning Severity = "warning"
	Error   Severity = "error"
)

// AtLeast reports whether s is as bad as t, or worse.
func (s Severity) AtLeast(t Severity) bool { return s.rank() >= t.rank() }

func (s Severity) rank() int { return slices.Index([]Severity{Info, Warning, Error}, s) }

// Finding is something in a file.
type Finding struct {
	// Line and Column count from 1; columns count characters.
	Line, Column int
	Severity     Severity
	Code         Code
	Message      string
	// Advice is the way out.
	Advice string `json:",omitempty"`
	// Policy says which policy of a template it is about: the resource, and the
	// property that holds it.
	Policy string `json:",omitempty"`
	// Statement is the index of the statement, from 0.
	Statement int
}

// Lint returns the findings of a file, a policy or a CloudFormation template,
// in the order of its text. kind is that of a policy, and 0 to infer it; a
// template says it for each of its policies. The error says why the file cannot
// be looked at at all.
//
// A comment in YAML of the form
//
//	# policy-lint: ignore CODE: the reason
//
// silences findings of that code on its own line, or the next one that is no
// comment. Without a reason it is a finding itself.
func Lint(file string, kind policy.Kind) ([]Finding, error) {
	root, err := read(file)
	if err != nil {
		return nil, err
	}
	docs, err := documents(root, kind)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, d := range docs {
		found = append(found, d.findings()...)
	}
	if !isJSON(file) {
		found = waived(file, found)
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(found), nil
}

// longest is how long the longest policy of AWS may be.
const longest = policy.MaxKey

func (d document) findings() []Finding {
	var found []Finding
	find := func(f Finding) {
		f.Policy = d.where
		found = append(found, f)
	}
	r := rules{kind: d.kind, find: find}
	r.read(d.root, d.types)
	text := render(d.root, d.kind, d.types)
	if n := policy.Size(text.text()); n > longest {
		r.at(d.root.place, nil, Error, TooLong, "make it shorter, or more of it", "It has %d characters, and AWS takes %d of no policy.", n, longest)
		return found // whose statements nobody wants to hold against each other
	}
	doc, err := policy.Parse(text.text(), d.kind)
	if e, ok := errors.AsType[*policy.Error](err); ok {
		p := text.at(e.Column)
		r.at(p, r.around(p), Error, Invalid, "", "AWS refuses it: %s", e.Message)
		return found
	}
	for _, f := range policy.Check(doc) {
		p := text.at(f.Column)
		r.at(p, r.around(p), Warning, Code(f.Code), advices[f.Code], "%s", f.Message)
	}
	r.size(policy.Size(text.text()), text.open, d)
	r.check()
	return found
}

// around is the statement that holds a place.
func (r *rules) around(p place) *statement {
	var last *statement
	for _, s := range r.statements {
		if s.line < p.line || s.line == p.line && s.column <= p.column {
			last = s
		}
	}
	return last
}

// size holds a policy against AWS's limit. What it is too long by may lie in
// its holes; then nobody knows.
func (r *rules) size(n int, open bool, d document) {
	limit := d.limit
	if limit == 0 && (d.where == "" || d.kind == policy.SCP || d.kind == policy.RCP) {
		limit = map[policy.Kind]int{
			policy.Identity: policy.MaxInlineRole, policy.Trust: policy.MaxTrust, policy.Key: policy.MaxKey,
			policy.Resource: policy.MaxBucket, policy.SCP: policy.MaxServiceControl, policy.RCP: policy.MaxResourceControl, policy.Boundary: policy.MaxManaged,
		}[d.kind]
	}
	switch {
	case open || limit == 0:
	case n > limit:
		r.at(d.root.place, nil, Error, TooLong, "make it shorter, or two of it", "It has %d characters, and AWS takes %d.", n, limit)
	case d.where == "" && d.kind == policy.Identity && n > policy.MaxManaged:
		r.at(d.root.place, nil, Info, TooLong, "make it shorter, or two of it", "It has %d characters, and a managed policy may have %d.", n, policy.MaxManaged)
	}
}

// advices are the ways out of what policy.Check finds.
var advices = map[policy.Code]string{
	policy.UnknownAction:       "look its name up in the Service Authorization Reference",
	policy.VariableNotReplaced: `write Version "2012-10-17", and variables in the last part of an ARN only`,
	policy.NeverMatches:        "give the key values, or leave the condition out",
	policy.MatchesMissingKey:   `add "Null": {"KEY": "false"} beside it`,
	policy.AllowsEveryoneElse:  "name who is allowed under Principal",
}

const waive = "policy-lint: ignore "

// waived drops the findings that a comment ignores.
func waived(file string, found []Finding) []Finding {
	type ignore struct {
		line int
		code Code
	}
	ignored := map[ignore]bool{}
	var pending []Code
	line := 0
	for l := range strings.Lines(file) {
		line++
		if before, comment, has := strings.Cut(l, "# "+waive); has {
			code, reason, _ := strings.Cut(strings.TrimSpace(comment), ":")
			if strings.TrimSpace(reason) == "" {
				found = append(found, Finding{Line: line, Column: 1 + utf8.RuneCountInString(before), Severity: Warning, Code: Unexplained,
					Message: "A finding is ignored without a reason.", Advice: "write # " + waive + "CODE: the reason"})
			} else {
				pending = append(pending, Code(strings.TrimSpace(code)))
			}
		}
		if text := strings.TrimSpace(l); text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		for _, code := range pending {
			ignored[ignore{line, code}] = true
		}
		pending = nil
	}
	return slices.DeleteFunc(found, func(f Finding) bool { return ignored[ignore{f.Line, f.Code}] })
}
