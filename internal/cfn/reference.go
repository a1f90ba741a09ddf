package cfn

import (
	"maps"
	"slices"
	"strings"
)

// reference is one mention of a parameter, a pseudo parameter or a resource:
// by Ref, Fn::GetAtt or inside Fn::Sub.
type reference struct {
	name string
	// attribute is set for Fn::GetAtt.
	attribute string
}

// call takes a function call apart: {"Fn::Join": [...]} is Join with a list.
func (n *Node) call() (name string, arg *Node, ok bool) {
	if n.Kind != Map || len(n.Fields) != 1 {
		return "", nil, false
	}
	f := n.Fields[0]
	if f.Key == "Ref" || strings.HasPrefix(f.Key, "Fn::") {
		return f.Key, f.Value, true
	}
	return "", nil, false
}

// scanner walks values and collects what they mention. With holds, branches
// of Fn::If that are not taken are passed over.
type scanner struct {
	conditions map[string]*Node
	holds      func(condition string) bool
	found      []reference
	imports    bool // an Fn::ImportValue was seen
}

func (s *scanner) scan(n *Node) error {
	if n == nil {
		return nil
	}
	if name, arg, ok := n.call(); ok {
		return s.function(name, arg)
	}
	for _, item := range n.Items {
		if err := s.scan(item); err != nil {
			return err
		}
	}
	for _, f := range n.Fields {
		if strings.HasPrefix(f.Key, "Fn::") {
			return malformed("%s must be the only key of its object (line %d, column %d)", f.Key, n.Line, n.Column)
		}
		if err := s.scan(f.Value); err != nil {
			return err
		}
	}
	if n.Kind == String && strings.Contains(n.Text, "{{resolve:") {
		return refuseDynamic(n.Text)
	}
	return nil
}

// dynamic refuses dynamic references in resolved values: functions and
// parameters can build them.
func dynamic(n *Node) error {
	if n.Kind == String && strings.Contains(n.Text, "{{resolve:") {
		return refuseDynamic(n.Text)
	}
	for _, item := range n.Items {
		if err := dynamic(item); err != nil {
			return err
		}
	}
	for _, f := range n.Fields {
		if err := dynamic(f.Value); err != nil {
			return err
		}
	}
	return nil
}

func refuseDynamic(text string) error {
	_, rest, _ := strings.Cut(text, "{{resolve:")
	service, _, _ := strings.Cut(rest, ":")
	return invalid("Dynamic reference {{resolve:%s:...}} needs a service that sekisho does not provide.", service)
}

func (s *scanner) function(name string, arg *Node) error {
	switch name {
	case "Ref":
		if arg.Kind != String || arg.Text == "" {
			return invalid("Template error: every Ref object must have a single String value.")
		}
		s.found = append(s.found, reference{name: arg.Text})
		return nil
	case "Fn::GetAtt":
		return s.getAtt(arg)
	case "Fn::Sub":
		return s.sub(arg)
	case "Fn::If":
		return s.branch(arg)
	case "Fn::Transform":
		return refuseTransforms(arg)
	case "Fn::Length", "Fn::ToJsonString", "Fn::ForEach":
		return invalid("Template error: %s is only supported with the transform AWS::LanguageExtensions.", name)
	}
	s.imports = s.imports || name == "Fn::ImportValue"
	if shapes[name] == nil {
		return invalid("Template error: unrecognized intrinsic function %s", name)
	}
	if err := shapes[name](arg); err != nil {
		return err
	}
	return s.scan(arg)
}

func (s *scanner) getAtt(arg *Node) error {
	resource, attribute, err := getAttParts(arg)
	if err != nil {
		return err
	}
	if attribute.Kind != String {
		// The attribute's name may be a Ref to a parameter; the resource is
		// needed whatever it is called.
		s.found = append(s.found, reference{name: resource, attribute: anyAttribute})
		return s.scan(attribute)
	}
	s.found = append(s.found, reference{name: resource, attribute: attribute.Text})
	return nil
}

// anyAttribute stands for an attribute whose name a parameter gives.
const anyAttribute = "*"

func getAttParts(arg *Node) (resource string, attribute *Node, err error) {
	bad := invalid("Template error: every Fn::GetAtt object requires two non-empty parameters, " +
		"the resource name and the resource attribute")
	if arg.Kind == String {
		id, name, _ := strings.Cut(arg.Text, ".")
		arg = Texts(id, name)
	}
	if arg.Kind != List || len(arg.Items) < 2 || arg.Items[0].Kind != String || arg.Items[0].Text == "" {
		return "", nil, bad
	}
	attribute = arg.Items[1]
	for _, more := range arg.Items[2:] { // [Nested, Outputs, Name]
		if !attribute.IsScalar() || !more.IsScalar() {
			return "", nil, bad
		}
		attribute = Text(attribute.Text + "." + more.Text)
	}
	if name, _, ok := attribute.call(); !ok && !attribute.IsScalar() || ok && name != "Ref" || attribute.IsScalar() && attribute.Text == "" {
		return "", nil, bad
	}
	return arg.Items[0].Text, attribute, nil
}

func (s *scanner) sub(arg *Node) error {
	text, values, err := subParts(arg)
	if err != nil {
		return err
	}
	parts, err := subVariables(text)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if !p.variable || values.Get(p.text) != nil {
			continue
		}
		id, attribute, _ := strings.Cut(p.text, ".")
		s.found = append(s.found, reference{id, attribute})
	}
	return s.scan(values)
}

// branch scans what an Fn::If can come to.
func (s *scanner) branch(arg *Node) error {
	if arg.Kind != List || len(arg.Items) != 3 {
		return invalid("Template error: Fn::If requires a list argument with three elements")
	}
	name := arg.Items[0]
	if name.Kind != String {
		return invalid("Template error: Fn::If requires the name of a condition as its first element")
	}
	if s.conditions[name.Text] == nil {
		return unresolvedCondition(name.Text)
	}
	if s.holds != nil {
		return s.scan(arg.Items[branchIndex(s.holds(name.Text))])
	}
	if err := s.scan(arg.Items[1]); err != nil {
		return err
	}
	return s.scan(arg.Items[2])
}

func branchIndex(holds bool) int {
	if holds {
		return 1
	}
	return 2
}

func unresolvedCondition(name string) error {
	return malformed("Unresolved condition dependency %s in the Resources block of the template", name)
}

var pseudo = []string{
	"AWS::AccountId", "AWS::NotificationARNs", "AWS::NoValue", "AWS::Partition", "AWS::Region",
	"AWS::StackId", "AWS::StackName", "AWS::URLSuffix",
}

func (t *Template) scanner() *scanner { return &scanner{conditions: t.conditions} }

// scanResource collects what a resource mentions.
func scanResource(s *scanner, r *Resource) error {
	if err := s.scan(r.Properties); err != nil {
		return err
	}
	return s.scan(r.Metadata)
}

// references are all mentions of resources by Fn::GetAtt and Ref, also in
// outputs. The template has been checked, so that no scan fails.
func (t *Template) references() []reference {
	s := t.scanner()
	for i := range t.Resources {
		_ = scanResource(s, &t.Resources[i]) // checked by Parse
	}
	for _, o := range t.Outputs {
		_ = s.scan(o.value) // checked by Parse
	}
	return slices.DeleteFunc(s.found, func(r reference) bool {
		return t.resources[r.name] == nil || r.attribute == anyAttribute
	})
}

// checkReferences refuses names that nothing bears.
func (t *Template) checkReferences() error {
	if err := t.checkConditions(); err != nil {
		return err
	}
	s := t.scanner()
	for i := range t.Resources {
		r := &t.Resources[i]
		if r.Condition != "" && t.conditions[r.Condition] == nil {
			return unresolvedCondition(r.Condition)
		}
		if err := scanResource(s, r); err != nil {
			return err
		}
		for _, id := range r.DependsOn {
			s.found = append(s.found, reference{name: id})
		}
	}
	if err := t.unresolved(s.found, "Resources", true); err != nil {
		return err
	}
	if err := t.checkDependsOn(); err != nil {
		return err
	}
	return t.checkOutputs()
}

// checkDependsOn refuses a DependsOn that names a parameter: only resources
// can be waited for.
func (t *Template) checkDependsOn() error {
	var strange []string
	for _, r := range t.Resources {
		for _, id := range r.DependsOn {
			if t.resources[id] == nil && !slices.Contains(strange, id) {
				strange = append(strange, id)
			}
		}
	}
	return unresolvedIn("Resources", strange)
}

func (t *Template) checkOutputs() error {
	s := t.scanner()
	exports := t.scanner()
	for _, o := range t.Outputs {
		if o.Condition != "" && t.conditions[o.Condition] == nil {
			return malformed("Unresolved condition dependency %s in the Outputs block of the template", o.Condition)
		}
		if err := s.scan(o.value); err != nil {
			return err
		}
		if err := exports.scan(o.export); err != nil {
			return err
		}
	}
	for _, ref := range exports.found {
		if t.resources[ref.name] != nil {
			return malformed("Output export names cannot depend on resources: %s", ref.name)
		}
	}
	return t.unresolved(append(s.found, exports.found...), "Outputs", true)
}

// unresolved refuses references to nothing.
func (t *Template) unresolved(found []reference, block string, resources bool) error {
	var strange []string
	for _, ref := range found {
		known := t.parameters[ref.name] != nil || slices.Contains(pseudo, ref.name)
		isResource := resources && t.resources[ref.name] != nil
		if ref.attribute != "" && !isResource {
			return invalid("Template error: instance of Fn::GetAtt references undefined resource %s", ref.name)
		}
		if !known && !isResource && !slices.Contains(strange, ref.name) {
			strange = append(strange, ref.name)
		}
	}
	return unresolvedIn(block, strange)
}

func unresolvedIn(block string, names []string) error {
	if names == nil {
		return nil
	}
	return malformed("Unresolved resource dependencies [%s] in the %s block of the template", strings.Join(names, ", "), block)
}

// needs returns the resources a resource mentions or waits for.
func (t *Template) needs(r *Resource) []string {
	s := t.scanner()
	_ = scanResource(s, r) // checked by Parse
	return t.needed(s, r)
}

func (t *Template) needed(s *scanner, r *Resource) []string {
	set := map[string]bool{}
	for _, ref := range s.found {
		if t.resources[ref.name] != nil {
			set[ref.name] = true
		}
	}
	for _, id := range r.DependsOn {
		set[id] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// sort orders the resources so that each comes after what it needs, and
// otherwise as the template has them.
func (t *Template) sort() ([]string, error) {
	waits := make(map[string]int, len(t.Resources))
	users := make(map[string][]string, len(t.Resources))
	for i := range t.Resources {
		r := &t.Resources[i]
		for _, id := range t.needs(r) {
			waits[r.ID]++
			users[id] = append(users[id], r.ID)
		}
	}
	var order, ready []string
	for _, r := range t.Resources {
		if waits[r.ID] == 0 {
			ready = append(ready, r.ID)
		}
	}
	for len(ready) > 0 {
		id := ready[0]
		ready = ready[1:]
		order = append(order, id)
		for _, user := range users[id] {
			if waits[user]--; waits[user] == 0 {
				ready = append(ready, user)
			}
		}
	}
	if len(order) == len(t.Resources) {
		return order, nil
	}
	return nil, invalid("Circular dependency between resources: [%s]", strings.Join(t.circle(waits, users), ", "))
}

// circle returns the resources on a circle: those left over that are also
// needed by something left over.
func (t *Template) circle(waits map[string]int, users map[string][]string) []string {
	left := map[string]bool{}
	for id, n := range waits {
		if n > 0 {
			left[id] = true
		}
	}
	for again := true; again; {
		again = false
		for id := range left {
			if !slices.ContainsFunc(users[id], func(u string) bool { return left[u] }) {
				delete(left, id)
				again = true
			}
		}
	}
	return slices.Sorted(maps.Keys(left))
}
