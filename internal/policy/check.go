package policy

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Finding is something in a document that AWS takes, and that its author
// cannot have meant.
type Finding struct {
	Code    Code
	Message string
	// Statement is the index of the statement.
	Statement    int
	Line, Column int // from 1; columns count bytes
}

// Code says what sort of finding it is.
type Code string

const (
	// UnknownAction is an action that its service does not have, or a pattern
	// that none is like.
	UnknownAction Code = "UnknownAction"
	// VariableNotReplaced is a policy variable where AWS replaces none.
	VariableNotReplaced Code = "VariableNotReplaced"
	// NeverMatches is a condition without values.
	NeverMatches Code = "NeverMatches"
	// MatchesMissingKey is an Allow with ForAllValues, which holds for requests
	// without the key, too.
	MatchesMissingKey Code = "MatchesMissingKey"
	// AllowsEveryoneElse is an Allow with NotPrincipal.
	AllowsEveryoneElse Code = "AllowsEveryoneElse"
)

// actionsText lists the actions of the services that sekisho knows: their
// operations, and what the Service Authorization Reference has besides.
//
//go:embed actions.txt
var actionsText string

// spelledActions are the actions of services that are known, without the
// service before them, by service.
var spelledActions = sync.OnceValue(func() map[string][]string {
	services := map[string][]string{}
	var service string
	for word := range strings.FieldsSeq(actionsText) {
		if name, ok := strings.CutSuffix(word, ":"); ok {
			service = name
			continue
		}
		services[service] = append(services[service], word)
	}
	return services
})

// knownActions are the same in lower case, as service:action.
var knownActions = sync.OnceValue(func() map[string][]string {
	services := map[string][]string{}
	for service, names := range spelledActions() {
		for _, name := range names {
			services[service] = append(services[service], lower(service+":"+name))
		}
	}
	return services
})

// KnownAction reports whether a service has an action, or one that a pattern
// of an Action element is like. Services that sekisho does not know count as
// having every action.
func KnownAction(action string) bool {
	service, _, ok := strings.Cut(lower(action), ":")
	if !ok {
		return action == "*"
	}
	known, ok := knownActions()[service]
	if !ok {
		return true
	}
	p := compileAction(action)
	return slices.ContainsFunc(known, func(a string) bool { return p.matchAction([]byte(a)) })
}

// Actions returns the actions of a service, in lower case, as service:action;
// nil when sekisho does not know the service.
func Actions(service string) []string { return slices.Clone(knownActions()[service]) }

// Check returns what is odd about a document, in the order of its text.
func Check(d *Document) []Finding {
	root, err := readJSON(d.text)
	if err != nil || root.get("Statement") == nil {
		return nil // Parse took it
	}
	c := checker{doc: d}
	for i, n := range root.get("Statement").list() {
		c.statement(i, n)
	}
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return c.findings
}

type checker struct {
	doc      *Document
	index    int // of the statement
	findings []Finding
}

func (c *checker) find(n *node, code Code, format string, args ...any) {
	line, column := position(c.doc.text, n.start)
	c.findings = append(c.findings, Finding{code, fmt.Sprintf(format, args...), c.index, line, column})
}

func (c *checker) statement(index int, n *node) {
	c.index = index
	allows := c.doc.statements[index].effect == Allow
	for _, m := range n.members {
		switch m.name {
		case "Action", "NotAction":
			c.actions(m.value)
		case "Resource", "NotResource":
			for _, v := range m.value.list() {
				c.variables(v, resourcePart(v.text))
			}
		case "NotPrincipal":
			if allows {
				c.find(m.value, AllowsEveryoneElse, "Allow with NotPrincipal allows everyone else, also callers without credentials.")
			}
		case "Condition":
			c.conditions(m.value, allows)
		}
	}
}

func (c *checker) actions(n *node) {
	for _, v := range n.list() {
		if KnownAction(v.text) {
			continue
		}
		service, name, _ := strings.Cut(v.text, ":")
		if strings.ContainsAny(name, "*?") {
			c.find(v, UnknownAction, "No action of %s is like %s.", service, name)
		} else {
			c.find(v, UnknownAction, "The service %s has no action %s.", service, name)
		}
	}
}

// resourcePart is what an ARN has after its fifth colon, where variables may
// stand.
func resourcePart(text string) string {
	var all [6]string
	if parts := components(text, all[:0]); len(parts) == 6 {
		return parts[5]
	}
	return ""
}

// variables finds variables outside of the part of a value that may have them.
func (c *checker) variables(v *node, part string) {
	switch {
	case !strings.Contains(v.text, "${"):
	case c.doc.version != "2012-10-17":
		c.find(v, VariableNotReplaced, "Without Version 2012-10-17, %s means itself.", v.text)
	case strings.Contains(strings.TrimSuffix(v.text, part), "${"):
		c.find(v, VariableNotReplaced, "A variable is replaced after the fifth colon of an ARN only: %s", v.text)
	}
}

func (c *checker) conditions(n *node, allows bool) {
	for _, op := range n.members {
		for _, k := range op.value.members {
			values := k.value.list()
			if len(values) == 0 {
				c.find(k.value, NeverMatches, "%s of %s has no values.", op.name, k.name)
			}
			for _, v := range values {
				c.variables(v, v.text)
			}
			if allows && strings.HasPrefix(lower(op.name), "forallvalues:") && !asksFor(n, k.name) {
				c.find(k.value, MatchesMissingKey, "%s also allows requests without %s; ask for it with Null.", op.name, k.name)
			}
		}
	}
}

// asksFor reports whether a Condition demands that a key is there.
func asksFor(condition *node, name string) bool {
	for _, op := range condition.members {
		if lower(op.name) != "null" {
			continue
		}
		for _, k := range op.value.members {
			values := k.value.list()
			if strings.EqualFold(k.name, name) && len(values) == 1 && strings.EqualFold(values[0].text, "false") {
				return true
			}
		}
	}
	return false
}
