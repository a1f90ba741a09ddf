package cfn

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of a template.
const (
	MaxResources   = 500
	MaxParameters  = 200
	MaxOutputs     = 200
	MaxMappings    = 200
	maxDescription = 1024
)

// Template is a template whose form and references are sound.
type Template struct {
	Description string
	Metadata    *Node
	Parameters  []Parameter
	Rules       []Rule
	Conditions  []Field
	Resources   []Resource
	Outputs     []Output
	mappings    *Node

	resources  map[string]*Resource
	parameters map[string]*Parameter
	conditions map[string]*Node
	order      []string // resources, each after what it needs
}

// Resource is one member of the Resources section, unresolved.
type Resource struct {
	ID                  string
	Type                string
	Properties          *Node
	Metadata            *Node
	DependsOn           []string
	Condition           string
	DeletionPolicy      string
	UpdateReplacePolicy string
}

// Output is one member of the Outputs section, unresolved.
type Output struct {
	Name        string
	Description string
	Condition   string
	value       *Node
	export      *Node
}

// Rule is one member of the Rules section.
type Rule struct {
	Name       string
	condition  *Node
	assertions []assertion
}

type assertion struct {
	assert      *Node
	description string
}

var sections = []string{
	"AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Mappings",
	"Conditions", "Transform", "Resources", "Outputs", "Hooks",
}

// Parse reads a template and checks everything that needs neither parameters
// nor knowledge of resource types.
func Parse(body string) (*Template, error) {
	root, err := ParseValue(body)
	if err != nil {
		return nil, err
	}
	if root.Kind != Map {
		return nil, malformed("unsupported structure.")
	}
	if err := sectionsOf(root); err != nil {
		return nil, err
	}
	t := &Template{
		resources: map[string]*Resource{}, parameters: map[string]*Parameter{}, conditions: map[string]*Node{},
	}
	for _, read := range []func(*Node) error{
		t.readHead, t.readParameters, t.readMappings, t.readConditions, t.readRules, t.readResources, t.readOutputs,
	} {
		if err := read(root); err != nil {
			return nil, err
		}
	}
	if err := t.checkReferences(); err != nil {
		return nil, err
	}
	t.order, err = t.sort()
	return t, err
}

func sectionsOf(root *Node) error {
	var strange []string
	for _, f := range root.Fields {
		if !slices.Contains(sections, f.Key) {
			strange = append(strange, f.Key)
		}
	}
	if strange != nil {
		return invalid("Invalid template property or properties [%s]", strings.Join(strange, ", "))
	}
	if path, ok := findNull(root, ""); ok {
		return malformed("[%s] 'null' values are not allowed in templates", path)
	}
	return nil
}

func findNull(n *Node, path string) (string, bool) {
	switch n.Kind {
	case Null:
		return path, true
	case List:
		for i, item := range n.Items {
			if item.Kind == Null || item.Kind == List || item.Kind == Map {
				if p, ok := findNull(item, fmt.Sprintf("%s/%d", path, i)); ok {
					return p, ok
				}
			}
		}
	case Map:
		for _, f := range n.Fields {
			if f.Value.Kind == Null || f.Value.Kind == List || f.Value.Kind == Map {
				if p, ok := findNull(f.Value, path+"/"+f.Key); ok {
					return p, ok
				}
			}
		}
	}
	return "", false
}

func (t *Template) readHead(root *Node) error {
	if v := root.Get("AWSTemplateFormatVersion"); v != nil && v.Text != "2010-09-09" {
		return malformed("Template version is invalid")
	}
	if d := root.Get("Description"); d != nil {
		if d.Kind != String {
			return malformed("Template description must be a string.")
		}
		if len(d.Text) > maxDescription {
			return malformed("Template description is too long. Maximum length is %d bytes.", maxDescription)
		}
		t.Description = d.Text
	}
	if root.Get("Hooks") != nil {
		return invalid("Hooks need CodeDeploy, which sekisho does not provide.")
	}
	if t.Metadata = root.Get("Metadata"); t.Metadata != nil && t.Metadata.Kind != Map {
		return malformed("[/Metadata] must be an object.")
	}
	return refuseTransforms(root.Get("Transform"))
}

// refuseTransforms names the macro that a template asks for: sekisho runs
// none, neither AWS's own nor those of an account.
func refuseTransforms(n *Node) error {
	if n == nil {
		return nil
	}
	for _, item := range append([]*Node{n}, n.Items...) {
		name := item.String()
		if item.Kind == Map {
			name = item.Get("Name").String()
		}
		switch {
		case strings.HasPrefix(name, "AWS::"):
			return invalid("Transform %s is not provided by sekisho.", name)
		case name != "":
			return invalid("No transform named %s found.", name)
		}
	}
	return malformed("Transform must be a string or a list of strings.")
}

// section returns the members of a section, each of which has to be an
// object, and refuses more than limit of them.
func section(root *Node, name string, limit int) ([]Field, error) {
	n := root.Get(name)
	if n == nil {
		return nil, nil
	}
	if n.Kind != Map {
		return nil, malformed("%s must be an object.", name)
	}
	if len(n.Fields) > limit {
		return nil, malformed("Number of %s, %d, is greater than maximum allowed, %d",
			strings.ToLower(name), len(n.Fields), limit)
	}
	for _, f := range n.Fields {
		if len(f.Key) > 255 {
			return nil, malformed("%s names must not be longer than 255 characters.", name)
		}
	}
	return n.Fields, nil
}

func (t *Template) readMappings(root *Node) error {
	fields, err := section(root, "Mappings", MaxMappings)
	if err != nil {
		return err
	}
	for _, m := range fields {
		if m.Value.Kind != Map {
			return malformed("Every Mappings member must be a map.")
		}
		for _, key := range m.Value.Fields {
			if err := mappingAttributes(m.Key, key); err != nil {
				return err
			}
		}
	}
	t.mappings = root.Get("Mappings")
	return nil
}

func mappingAttributes(mapping string, key Field) error {
	if key.Value.Kind != Map {
		return malformed("Every Mappings attribute must be a map: %s", mapping)
	}
	for _, a := range key.Value.Fields {
		if a.Value.Kind == Map || slices.ContainsFunc(a.Value.Items, func(n *Node) bool { return !n.IsScalar() }) {
			return malformed("Every Mappings attribute must be a String or a List.")
		}
	}
	return nil
}

func (t *Template) readConditions(root *Node) error {
	fields, err := section(root, "Conditions", MaxResources)
	if err != nil {
		return err
	}
	for _, f := range fields {
		t.conditions[f.Key] = f.Value
	}
	t.Conditions = fields
	return nil
}

func (t *Template) readRules(root *Node) error {
	fields, err := section(root, "Rules", MaxResources)
	if err != nil {
		return err
	}
	for _, f := range fields {
		r := Rule{Name: f.Key, condition: f.Value.Get("RuleCondition")}
		if err := only(f.Value, "rule", "RuleCondition", "Assertions"); err != nil {
			return err
		}
		list := f.Value.Get("Assertions")
		if list == nil || list.Kind != List {
			return malformed("Rule %s must contain a list of Assertions.", f.Key)
		}
		for _, a := range list.Items {
			if a.Get("Assert") == nil {
				return malformed("Every assertion of rule %s must contain an Assert member.", f.Key)
			}
			if err := only(a, "assertion", "Assert", "AssertDescription"); err != nil {
				return err
			}
			r.assertions = append(r.assertions, assertion{a.Get("Assert"), a.Get("AssertDescription").String()})
		}
		t.Rules = append(t.Rules, r)
	}
	return nil
}

// only refuses members that an object of a template does not have.
func only(n *Node, what string, names ...string) error {
	for _, f := range n.Fields {
		if !slices.Contains(names, f.Key) {
			return invalid("Invalid template %s property '%s'", what, f.Key)
		}
	}
	return nil
}

var resourceMembers = []string{
	"Type", "Properties", "DependsOn", "Condition", "Metadata", "CreationPolicy", "UpdatePolicy",
	"DeletionPolicy", "UpdateReplacePolicy", "Description", "Version",
}

func (t *Template) readResources(root *Node) error {
	fields, err := section(root, "Resources", MaxResources)
	if err != nil {
		return err
	}
	if len(fields) == 0 {
		return malformed("At least one Resources member must be defined.")
	}
	t.Resources = make([]Resource, 0, len(fields))
	for _, f := range fields {
		r, err := readResource(f)
		if err != nil {
			return err
		}
		t.Resources = append(t.Resources, r)
	}
	for i := range t.Resources {
		id := t.Resources[i].ID
		if t.parameters[id] != nil {
			return malformed("Resource name %s is the name of a parameter, too.", id)
		}
		t.resources[id] = &t.Resources[i]
	}
	return nil
}

func readResource(f Field) (Resource, error) {
	r := Resource{ID: f.Key}
	if !isAlphanumeric(f.Key) {
		return r, malformed("Resource name %s is non alphanumeric.", f.Key)
	}
	if f.Value.Kind != Map {
		return r, malformed("Any Resources member must be an object.")
	}
	if err := only(f.Value, "resource", resourceMembers...); err != nil {
		return r, err
	}
	typ := f.Value.Get("Type")
	if typ == nil {
		return r, malformed("[/Resources/%s] Every Resources object must contain a Type member.", f.Key)
	}
	if typ.Kind != String {
		return r, malformed("[/Resources/%s/Type] Every Type member must be a string.", f.Key)
	}
	r.Type = typ.Text
	if r.Properties = f.Value.Get("Properties"); r.Properties == nil {
		r.Properties = Object()
	} else if r.Properties.Kind != Map {
		return r, malformed("[/Resources/%s/Properties] Every Properties member must be an object.", f.Key)
	}
	if r.Metadata = f.Value.Get("Metadata"); r.Metadata != nil && r.Metadata.Kind != Map {
		return r, malformed("[/Resources/%s/Metadata] Every Metadata member must be an object.", f.Key)
	}
	return readAttributes(r, f)
}

func readAttributes(r Resource, f Field) (Resource, error) {
	var err error
	if r.DependsOn, err = names(f.Value.Get("DependsOn"), f.Key); err != nil {
		return r, err
	}
	if c := f.Value.Get("Condition"); c != nil {
		if c.Kind != String {
			return r, malformed("Every Condition member must be a string.")
		}
		r.Condition = c.Text
	}
	for _, p := range []struct {
		name  string
		into  *string
		value []string
	}{
		{"DeletionPolicy", &r.DeletionPolicy, []string{"Delete", "Retain", "RetainExceptOnCreate", "Snapshot"}},
		{"UpdateReplacePolicy", &r.UpdateReplacePolicy, []string{"Delete", "Retain", "Snapshot"}},
	} {
		n := f.Value.Get(p.name)
		if n == nil {
			continue
		}
		if n.Kind != String {
			return r, malformed("Every %s member must be a string.", p.name)
		}
		if !slices.Contains(p.value, n.Text) {
			return r, malformed("Unrecognized %s %s for resource %s", p.name, n.Text, f.Key)
		}
		// Only databases and volumes have snapshots, and none of them is a
		// type of sekisho's.
		if n.Text == "Snapshot" {
			return r, malformed("%s type %s does not support Snapshot", p.name, r.Type)
		}
		*p.into = n.Text
	}
	// Both shape the waiting for signals of types that sekisho does not have.
	for _, name := range []string{"CreationPolicy", "UpdatePolicy"} {
		if f.Value.Get(name) != nil {
			return r, malformed("%s is not supported for resource type %s", name, r.Type)
		}
	}
	return r, nil
}

func names(n *Node, resource string) ([]string, error) {
	if n == nil {
		return nil, nil
	}
	if n.Kind == String {
		return []string{n.Text}, nil
	}
	var list []string
	for _, item := range n.Items {
		if item.Kind != String {
			return nil, malformed("Every DependsOn value must be a string.")
		}
		list = append(list, item.Text)
	}
	if n.Kind != List {
		return nil, malformed("[/Resources/%s/DependsOn] Every DependsOn value must be a string or a list of strings.", resource)
	}
	return list, nil
}

func (t *Template) readOutputs(root *Node) error {
	fields, err := section(root, "Outputs", MaxOutputs)
	if err != nil {
		return err
	}
	for _, f := range fields {
		o, err := readOutput(f)
		if err != nil {
			return err
		}
		t.Outputs = append(t.Outputs, o)
	}
	return nil
}

func readOutput(f Field) (Output, error) {
	o := Output{Name: f.Key}
	if !isAlphanumeric(f.Key) {
		return o, malformed("Output name %s is non alphanumeric.", f.Key)
	}
	if f.Value.Kind != Map {
		return o, malformed("Every Outputs member must be an object.")
	}
	for _, m := range f.Value.Fields {
		switch m.Key {
		case "Value":
			o.value = m.Value
		case "Description":
			if m.Value.Kind != String {
				return o, malformed("[/Outputs/%s/Description] Every Description member must be a string.", f.Key)
			}
			o.Description = m.Value.Text
		case "Condition":
			if m.Value.Kind != String {
				return o, malformed("Every Condition member must be a string.")
			}
			o.Condition = m.Value.Text
		case "Export":
			if o.export = m.Value.Get("Name"); o.export == nil || len(m.Value.Fields) != 1 {
				return o, malformed("Output %s is malformed. The Export field must contain a Name.", f.Key)
			}
		default:
			return o, invalid("Invalid template output property '%s'", m.Key)
		}
	}
	if o.value == nil {
		return o, malformed("Every Outputs member must contain a Value object")
	}
	return o, nil
}

func isAlphanumeric(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != ""
}

// Resource returns a resource of the template.
func (t *Template) Resource(id string) (*Resource, bool) {
	r, ok := t.resources[id]
	return r, ok
}

// Schema is what a template has to know of a resource type.
type Schema struct {
	// Attributes are the names Fn::GetAtt knows. One that ends in "." allows
	// every name that begins with it, as a nested stack's Outputs do.
	Attributes []string
	// Replace are the properties whose change replaces the resource.
	Replace []string
	// Tags is set for types that take a list of tags in their property Tags,
	// to which the stack's tags are added.
	Tags bool
}

func (s Schema) has(attribute string) bool {
	return slices.ContainsFunc(s.Attributes, func(a string) bool {
		return a == attribute || strings.HasSuffix(a, ".") && strings.HasPrefix(attribute, a)
	})
}

// Types answers for resource types.
type Types func(name string) (Schema, bool)

// Check refuses resource types that do not exist and attributes they do not
// have.
func (t *Template) Check(types Types) error {
	var strange []string
	for _, r := range t.Resources {
		if _, ok := types(r.Type); !ok && !slices.Contains(strange, r.Type) {
			strange = append(strange, r.Type)
		}
	}
	if strange != nil {
		return malformed("Unrecognized resource types: [%s]", strings.Join(strange, ", "))
	}
	for _, ref := range t.references() {
		if ref.attribute == "" {
			continue
		}
		r := t.resources[ref.name]
		if s, _ := types(r.Type); !s.has(ref.attribute) {
			return invalid("Template error: resource %s does not support attribute type %s in Fn::GetAtt",
				ref.name, ref.attribute)
		}
	}
	return nil
}
