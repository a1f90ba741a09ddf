package cfn

import (
	"slices"
	"strings"
)

const onlyBoolean = "Conditions can only be boolean operations on parameters and other conditions"

// checkConditions refuses conditions that are no boolean operations, mention
// resources or go in circles.
func (t *Template) checkConditions() error {
	s := t.scanner()
	for _, f := range t.Conditions {
		if err := t.boolean(f.Value, false); err != nil {
			return err
		}
		if err := s.scan(f.Value); err != nil {
			return err
		}
	}
	if err := t.checkRules(s); err != nil {
		return err
	}
	if s.imports {
		return invalid("Template error: Cannot use Fn::ImportValue in Conditions.")
	}
	var strange []string
	for _, ref := range s.found {
		if t.parameters[ref.name] == nil && !slices.Contains(pseudo, ref.name) && !slices.Contains(strange, ref.name) {
			strange = append(strange, ref.name)
		}
	}
	if strange != nil {
		return malformed("Unresolved dependencies [%s]. Cannot reference resources in the Conditions block of the template",
			strings.Join(strange, ", "))
	}
	state := map[string]int{}
	for _, f := range t.Conditions {
		if err := t.circular(f.Key, state); err != nil {
			return err
		}
	}
	return nil
}

func (t *Template) checkRules(s *scanner) error {
	for _, r := range t.Rules {
		tests := make([]*Node, 0, len(r.assertions)+1)
		if r.condition != nil {
			tests = append(tests, r.condition)
		}
		for _, a := range r.assertions {
			tests = append(tests, a.assert)
		}
		for _, n := range tests {
			if err := t.boolean(n, true); err != nil {
				return err
			}
			if err := s.scan(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// boolean checks that n is a boolean operation whose parts are.
func (t *Template) boolean(n *Node, inRule bool) error {
	if n.Kind != Map || len(n.Fields) != 1 {
		return malformed(onlyBoolean)
	}
	name, arg := n.Fields[0].Key, n.Fields[0].Value
	switch name {
	case "Condition":
		if arg.Kind != String || inRule {
			return malformed(onlyBoolean)
		}
		if t.conditions[arg.Text] == nil {
			return malformed("Unresolved condition dependency %s in the Conditions block of the template", arg.Text)
		}
		return nil
	case "Fn::And", "Fn::Or", "Fn::Not":
		if err := shapes[name](arg); err != nil {
			return err
		}
		for _, item := range arg.Items {
			if err := t.boolean(item, inRule); err != nil {
				return err
			}
		}
		return nil
	case "Fn::Equals":
		return shapes[name](arg)
	case "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn":
		if inRule {
			return shapes[name](arg)
		}
	case "Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll":
		return malformed("%s needs parameters of AWS-specific types, which sekisho does not provide", name)
	}
	return malformed(onlyBoolean)
}

// circular walks from condition to condition; 1 is on the way, 2 is done.
func (t *Template) circular(name string, state map[string]int) error {
	if state[name] == 2 {
		return nil
	}
	state[name] = 1
	for _, next := range conditionsIn(t.conditions[name]) {
		if state[next] == 1 {
			return malformed("Found circular condition dependency between %s and %s", name, next)
		}
		if err := t.circular(next, state); err != nil {
			return err
		}
	}
	state[name] = 2
	return nil
}

// conditionsIn returns the conditions that a boolean operation names.
func conditionsIn(n *Node) []string {
	switch name, arg := n.Fields[0].Key, n.Fields[0].Value; name {
	case "Condition":
		return []string{arg.Text}
	case "Fn::And", "Fn::Or", "Fn::Not":
		var names []string
		for _, item := range arg.Items {
			names = append(names, conditionsIn(item)...)
		}
		return names
	}
	return nil
}

// condition evaluates a condition once.
func (in *Instance) condition(name string) (bool, error) {
	if holds, ok := in.holds[name]; ok {
		return holds, nil
	}
	n := in.conditions[name]
	if n == nil {
		return false, unresolvedCondition(name)
	}
	holds, err := in.test(n)
	if err == nil {
		in.holds[name] = holds
	}
	return holds, err
}

// test evaluates a boolean operation.
func (in *Instance) test(n *Node) (bool, error) {
	name, arg := n.Fields[0].Key, n.Fields[0].Value
	switch name {
	case "Condition":
		return in.condition(arg.Text)
	case "Fn::Not":
		holds, err := in.test(arg.Items[0])
		return !holds, err
	case "Fn::And", "Fn::Or":
		for _, item := range arg.Items {
			holds, err := in.test(item)
			if err != nil || holds == (name == "Fn::Or") {
				return holds, err
			}
		}
		return name == "Fn::And", nil
	}
	r := resolver{in: in}
	items, err := r.items(arg.Items)
	if err != nil {
		return false, err
	}
	if len(items) != 2 || items[0].HasUnknown() || items[1].HasUnknown() {
		return false, shapes[name](Text(""))
	}
	left, right := items[0], items[1]
	switch name {
	case "Fn::Equals":
		return compareText(left) == compareText(right), nil
	case "Fn::Contains":
		return contains(left, compareText(right)), nil
	case "Fn::EachMemberEquals":
		return !slices.ContainsFunc(left.Items, func(n *Node) bool { return compareText(n) != compareText(right) }), nil
	case "Fn::EachMemberIn":
		return !slices.ContainsFunc(left.Items, func(n *Node) bool { return !contains(right, compareText(n)) }), nil
	}
	return false, malformed(onlyBoolean)
}

// assert refuses parameters that a rule does not allow.
func (in *Instance) assert(r Rule) error {
	if r.condition != nil {
		applies, err := in.test(r.condition)
		if err != nil || !applies {
			return err
		}
	}
	for _, a := range r.assertions {
		holds, err := in.test(a.assert)
		if err != nil {
			return err
		}
		if !holds && a.description != "" {
			return invalid("Template error: rule %s: %s", r.Name, a.description)
		}
		if !holds {
			return invalid("Template error: an assertion of rule %s does not hold", r.Name)
		}
	}
	return nil
}
