package cfn

import (
	"maps"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// Env is what a template is resolved for.
type Env struct {
	Account, Region, StackID, StackName string

	NotificationARNs []string
	// Parameters are the values that Template.Bind returned.
	Parameters map[string]string
	// Import returns the value of an export. Nil leaves imports unknown.
	Import func(name string) (value string, ok bool, err error)
	// Tags are the stack's tags, given to every resource that takes tags.
	Tags []aws.Tag
	// Types answers for resource types; nil knows no type that takes tags.
	Types Types
}

// Instance is a template with its parameters: the resources and outputs of
// one stack.
type Instance struct {
	*Template
	Env Env

	holds   map[string]bool
	active  map[string]bool
	imports map[string]bool
	needed  map[string][]string
}

// Instance binds the template to a stack: it evaluates rules and conditions,
// and refuses references to resources that its conditions leave out.
func (t *Template) Instance(env Env) (*Instance, error) {
	in := &Instance{
		Template: t, Env: env,
		holds: map[string]bool{}, active: map[string]bool{}, imports: map[string]bool{}, needed: map[string][]string{},
	}
	for _, r := range t.Rules {
		if err := in.assert(r); err != nil {
			return nil, err
		}
	}
	for _, f := range t.Conditions {
		if _, err := in.condition(f.Key); err != nil {
			return nil, err
		}
	}
	for i := range t.Resources {
		r := &t.Resources[i]
		in.active[r.ID] = r.Condition == "" || in.holds[r.Condition]
	}
	return in, in.link()
}

// link finds what each active resource needs.
func (in *Instance) link() error {
	var strange []string
	for i := range in.Resources {
		r := &in.Resources[i]
		if !in.active[r.ID] {
			continue
		}
		s := in.pruned()
		if err := scanResource(s, r); err != nil {
			return err
		}
		for _, ref := range s.found {
			if in.resources[ref.name] != nil && !in.active[ref.name] && !slices.Contains(strange, ref.name) {
				strange = append(strange, ref.name)
			}
		}
		in.needed[r.ID] = slices.DeleteFunc(in.Template.needed(s, r), func(id string) bool { return !in.active[id] })
	}
	return unresolvedIn("Resources", strange)
}

func (in *Instance) pruned() *scanner {
	return &scanner{conditions: in.conditions, holds: func(c string) bool { return in.holds[c] }}
}

// mustExist refuses a reference to a resource whose condition is false.
func (in *Instance) mustExist(id string) error {
	if in.resources[id] == nil || !in.active[id] {
		return unresolvedIn("Resources", []string{id})
	}
	return nil
}

// Active returns the resources the stack has, each after what it needs.
func (in *Instance) Active() []string {
	return slices.DeleteFunc(slices.Clone(in.order), func(id string) bool { return !in.active[id] })
}

// Has reports whether the stack has a resource.
func (in *Instance) Has(id string) bool { return in.active[id] }

// Needs returns the active resources that have to exist before id.
func (in *Instance) Needs(id string) []string { return in.needed[id] }

// Properties resolves a resource's properties. Parts that depend on resources
// that do not exist are Unknown.
func (in *Instance) Properties(id string, resources Existing) (*Node, error) {
	r := resolver{in: in, resources: resources}
	n, err := r.value(in.resources[id].Properties)
	if err != nil {
		return nil, err
	}
	if n == nil {
		n = Object()
	}
	if err := dynamic(n); err != nil {
		return nil, err
	}
	return in.tagged(in.resources[id].Type, n), nil
}

// Metadata resolves a resource's metadata; nil when it has none.
func (in *Instance) Metadata(id string, resources Existing) (*Node, error) {
	if in.resources[id].Metadata == nil {
		return nil, nil
	}
	r := resolver{in: in, resources: resources}
	return r.value(in.resources[id].Metadata)
}

// tagged adds the stack's tags to a resource that takes tags. The resource's
// own tags win.
func (in *Instance) tagged(typ string, properties *Node) *Node {
	if len(in.Env.Tags) == 0 || in.Env.Types == nil {
		return properties
	}
	if s, ok := in.Env.Types(typ); !ok || !s.Tags {
		return properties
	}
	tags := &Node{Kind: List}
	if own := properties.Get("Tags"); own != nil {
		tags.Items = slices.Clone(own.Items)
	}
	for _, tag := range in.Env.Tags {
		if !slices.ContainsFunc(tags.Items, func(n *Node) bool { return n.Get("Key").String() == tag.Key }) {
			tags.Items = append(tags.Items, Object(Field{"Key", Text(tag.Key)}, Field{"Value", Text(tag.Value)}))
		}
	}
	fields := slices.DeleteFunc(slices.Clone(properties.Fields), func(f Field) bool { return f.Key == "Tags" })
	return Object(append(fields, Field{"Tags", tags})...)
}

// OutputValue is a resolved output.
type OutputValue struct {
	Name, Description, Value string
	// Export is the name under which the value is exported; empty for none.
	Export string
	// Unknown is set when the value depends on a resource that does not exist.
	Unknown bool
}

// OutputValues resolves the outputs whose conditions hold.
func (in *Instance) OutputValues(resources Existing) ([]OutputValue, error) {
	var out []OutputValue
	exported := map[string]bool{}
	for _, o := range in.Outputs {
		if o.Condition != "" && !in.holds[o.Condition] {
			continue
		}
		v, err := in.output(o, resources)
		if err != nil {
			return nil, err
		}
		if v.Export != "" && exported[v.Export] {
			return nil, malformed("Output %s is malformed. Export name %s is used more than once.", o.Name, v.Export)
		}
		exported[v.Export] = true
		out = append(out, v)
	}
	return out, nil
}

func (in *Instance) output(o Output, resources Existing) (OutputValue, error) {
	r := resolver{in: in, resources: resources}
	v, err := r.value(o.value)
	if err != nil {
		return OutputValue{}, inOutputs(err)
	}
	out := OutputValue{Name: o.Name, Description: o.Description, Unknown: v.HasUnknown()}
	if !out.Unknown && !v.IsScalar() {
		return out, malformed("Output %s is malformed. The Value field of every Outputs member must evaluate to a String.", o.Name)
	}
	out.Value = v.String()
	if o.export == nil {
		return out, nil
	}
	name, err := r.value(o.export)
	if err != nil {
		return out, inOutputs(err)
	}
	if !name.IsScalar() || name.Text == "" || len(name.Text) > 255 {
		return out, malformed("Output %s is malformed. The Name field of every Export member must evaluate to a "+
			"non-empty String of at most 255 characters.", o.Name)
	}
	out.Export = name.Text
	return out, nil
}

// inOutputs names the block in which a reference was not resolved.
func inOutputs(err error) error {
	if e, ok := err.(*aws.Error); ok {
		return aws.Errorf(e.Code, "%s", strings.Replace(e.Message, "in the Resources block", "in the Outputs block", 1))
	}
	return err
}

// Imports resolves everything once and returns the exports it imports. An
// export that is missing is an error.
func (in *Instance) Imports() ([]string, error) {
	for _, id := range in.Active() {
		if _, err := in.Properties(id, nil); err != nil {
			return nil, err
		}
		if _, err := in.Metadata(id, nil); err != nil {
			return nil, err
		}
	}
	if _, err := in.OutputValues(nil); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(in.imports)), nil
}
