package policylint

import "strings"

// model is a policy as the rules see it.
type model struct {
	version    *node
	statements []*statement
}

// statement is one of a policy's statements.
type statement struct {
	*node
	index int
	// maybe says that it stands in an Fn::If: it may not be there.
	maybe  bool
	effect string // Allow, Deny, or what nobody knows
	// action and so on are the elements' places; nil when they are missing.
	action, resource, principal          *field
	notAction, notResource, notPrincipal bool
	actions, resources                   []text
	principals                           []principal
	conditions                           []condition
	canonical                            string // of the Condition
}

// principal is one of whom a statement is about.
type principal struct {
	text
	class string // AWS, Service …; of "*" by itself AWS
}

// condition is one key under one operator.
type condition struct {
	place
	operator, key string
	values        []text
}

func (m *model) read(root *node, types resolver) {
	m.version = root.get("Version")
	statements := root.get("Statement")
	for _, b := range branches(statements) {
		if b.shape != list {
			m.add(b, types, b != statements)
			continue
		}
		for _, item := range b.items {
			for _, s := range branches(item) {
				m.add(s, types, s != item || b != statements)
			}
		}
	}
}

func (m *model) add(n *node, types resolver, maybe bool) {
	s := &statement{node: n, index: len(m.statements), maybe: maybe}
	for i := range n.fields {
		f := &n.fields[i]
		switch f.name {
		case "Effect":
			s.effect, _ = types.text(f.value)
		case "Action", "NotAction":
			s.action, s.notAction, s.actions = f, f.name == "NotAction", types.texts(f.value)
		case "Resource", "NotResource":
			s.resource, s.notResource, s.resources = f, f.name == "NotResource", types.texts(f.value)
		case "Principal", "NotPrincipal":
			s.principal, s.notPrincipal, s.principals = f, f.name == "NotPrincipal", principals(f.value, types)
		case "Condition":
			s.conditions = conditions(f.value, types)
			s.canonical = canonical(s.conditions)
		}
	}
	m.statements = append(m.statements, s)
}

func principals(n *node, types resolver) []principal {
	var out []principal
	for _, b := range branches(n) {
		if s, ok := types.text(b); ok {
			out = append(out, principal{text{b.place, s}, "AWS"})
			continue
		}
		for _, f := range b.fields {
			for _, t := range types.texts(f.value) {
				out = append(out, principal{t, f.name})
			}
		}
	}
	return out
}

func conditions(n *node, types resolver) []condition {
	var out []condition
	for _, b := range branches(n) {
		for _, op := range b.fields {
			for _, keys := range branches(op.value) {
				for _, k := range keys.fields {
					out = append(out, condition{k.place, op.name, k.name, types.texts(k.value)})
				}
			}
		}
	}
	return out
}

// canonical is a text that is the same for the same conditions.
func canonical(list []condition) string {
	var parts []string
	for _, c := range list {
		var values []string
		for _, v := range c.values {
			values = append(values, v.s)
		}
		parts = append(parts, strings.ToLower(c.operator+"\n"+c.key)+"\n"+strings.Join(sortedTexts(values), "\n"))
	}
	return strings.Join(sortedTexts(parts), "\n\n")
}

func (s *statement) allows() bool { return s.effect == "Allow" }

// base is the operator in lower case, without its set prefix and IfExists.
func (c condition) base() string {
	op := strings.ToLower(c.operator)
	if _, rest, ok := strings.Cut(op, ":"); ok {
		op = rest
	}
	return strings.TrimSuffix(op, "ifexists")
}

// negated, optional and null conditions hold, or are asked, without the key.
func (c condition) negated() bool  { return strings.Contains(c.base(), "not") }
func (c condition) optional() bool { return strings.HasSuffix(strings.ToLower(c.operator), "ifexists") }
func (c condition) null() bool     { return c.base() == "null" }
