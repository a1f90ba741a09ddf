package cfn

import (
	"slices"
	"strings"
)

// State is a resource as a stack last made it.
type State struct {
	Type, PhysicalID string
	// Properties and Metadata are resolved.
	Properties, Metadata                *Node
	DeletionPolicy, UpdateReplacePolicy string
}

// Change is what an update would do to one resource.
type Change struct {
	Action                string // Add, Modify or Remove
	LogicalID, PhysicalID string
	Type                  string
	// Replacement is True, False or Conditional; empty unless Modify.
	Replacement string
	Scope       []string
	Details     []Detail
	// PolicyAction says what happens to the old resource: Delete, Retain,
	// ReplaceAndDelete or ReplaceAndRetain; empty when nothing does.
	PolicyAction string
	// Before and After are the resolved properties.
	Before, After *Node
}

// Detail is one cause of a Modify.
type Detail struct {
	Attribute          string // Properties, Metadata, DeletionPolicy, UpdateReplacePolicy, Tags
	Name               string // of the property
	RequiresRecreation string // Never, Conditionally, Always; for Properties
	Evaluation         string // Static, Dynamic
	Source             string // DirectModification, ParameterReference, ResourceReference, ResourceAttribute
	CausingEntity      string
}

// planned answers for resources while changes are calculated: what will be
// made anew has no attributes yet.
type planned struct {
	Existing
	anew map[string]bool
}

func (p planned) Ref(id string) (string, bool) {
	if p.anew[id] {
		return "", false
	}
	return p.Existing.Ref(id)
}

func (p planned) Attribute(id, name string) (*Node, bool) {
	if p.anew[id] {
		return nil, false
	}
	return p.Existing.Attribute(id, name)
}

// Changes calculates what has to happen to turn the resources that exist into
// those of in. old is the instance they came from (nil when there is none);
// it tells a changed template from a changed parameter. The changes come in
// the order in which they would be made, removals last.
func (in *Instance) Changes(old *Instance, states map[string]State, resources Existing, types Types) ([]Change, error) {
	p := planned{resources, map[string]bool{}}
	var changes []Change
	for _, id := range in.Active() {
		s, exists := states[id]
		if !exists {
			p.anew[id] = true
			after, err := in.Properties(id, p)
			if err != nil {
				return nil, err
			}
			changes = append(changes, Change{Action: "Add", LogicalID: id, Type: in.resources[id].Type, After: after})
			continue
		}
		c, err := in.modification(id, old, s, p, types)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		p.anew[id] = c.Replacement != "False"
		changes = append(changes, *c)
	}
	return append(changes, in.removals(old, states)...), nil
}

func (in *Instance) removals(old *Instance, states map[string]State) []Change {
	var gone []string
	for id := range states {
		if !in.Has(id) {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	if old != nil { // in the reverse of the order in which they were made
		slices.SortStableFunc(gone, func(a, b string) int {
			return slices.Index(old.order, b) - slices.Index(old.order, a)
		})
	}
	var changes []Change
	for _, id := range gone {
		s := states[id]
		c := Change{
			Action: "Remove", LogicalID: id, PhysicalID: s.PhysicalID, Type: s.Type,
			PolicyAction: "Delete", Before: s.Properties,
		}
		if s.DeletionPolicy == "Retain" || s.DeletionPolicy == "RetainExceptOnCreate" {
			c.PolicyAction = "Retain"
		}
		changes = append(changes, c)
	}
	return changes
}

func (in *Instance) modification(id string, old *Instance, s State, p planned, types Types) (*Change, error) {
	r := in.resources[id]
	after, err := in.Properties(id, p)
	if err != nil {
		return nil, err
	}
	metadata, err := in.Metadata(id, p)
	if err != nil {
		return nil, err
	}
	c := &Change{
		Action: "Modify", LogicalID: id, PhysicalID: s.PhysicalID, Type: r.Type, Replacement: "False",
		Before: s.Properties, After: after,
	}
	if r.Type != s.Type {
		return nil, invalid("Update of resource type is not permitted. The new template modifies resource type of the "+
			"following resources: [%s]", id)
	}
	schema, _ := types(r.Type)
	in.propertyChanges(c, old, schema)
	if !metadata.Equal(s.Metadata) {
		c.add(Detail{Attribute: "Metadata", Evaluation: "Static", Source: "DirectModification"})
	}
	if r.DeletionPolicy != s.DeletionPolicy {
		c.add(Detail{Attribute: "DeletionPolicy", Evaluation: "Static", Source: "DirectModification"})
	}
	if r.UpdateReplacePolicy != s.UpdateReplacePolicy {
		c.add(Detail{Attribute: "UpdateReplacePolicy", Evaluation: "Static", Source: "DirectModification"})
	}
	if c.Details == nil {
		return nil, nil
	}
	if c.Replacement != "False" {
		c.PolicyAction = "ReplaceAndDelete"
		if r.UpdateReplacePolicy == "Retain" {
			c.PolicyAction = "ReplaceAndRetain"
		}
	}
	return c, nil
}

func (c *Change) add(d Detail) {
	if !slices.Contains(c.Scope, d.Attribute) {
		c.Scope = append(c.Scope, d.Attribute)
	}
	c.Details = append(c.Details, d)
}

// Replaces returns the changed properties that replace the resource.
func Replaces(before, after *Node, schema Schema) []string {
	var names []string
	for _, name := range changedKeys(before, after) {
		if slices.Contains(schema.Replace, name) {
			names = append(names, name)
		}
	}
	return names
}

func changedKeys(before, after *Node) []string {
	var names []string
	for _, f := range after.Fields {
		if !f.Value.Equal(before.Get(f.Key)) {
			names = append(names, f.Key)
		}
	}
	if before != nil {
		for _, f := range before.Fields {
			if after.Get(f.Key) == nil {
				names = append(names, f.Key)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (in *Instance) propertyChanges(c *Change, old *Instance, schema Schema) {
	for _, name := range changedKeys(c.Before, c.After) {
		recreation := "Never"
		if slices.Contains(schema.Replace, name) {
			recreation = "Always"
			if c.After.Get(name).HasUnknown() {
				recreation = "Conditionally"
			}
		}
		switch {
		case recreation == "Always":
			c.Replacement = "True"
		case recreation == "Conditionally" && c.Replacement == "False":
			c.Replacement = "Conditional"
		}
		for _, d := range in.causes(c, name, old) {
			d.Attribute, d.Name, d.RequiresRecreation = "Properties", name, recreation
			if name == "Tags" {
				d.Attribute, d.Name = "Tags", ""
			}
			c.add(d)
		}
	}
}

// causes says why a property changes: its text in the template, a parameter
// or another resource.
func (in *Instance) causes(c *Change, property string, old *Instance) []Detail {
	raw := in.resources[c.LogicalID].Properties.Get(property)
	var found []Detail
	if raw != nil {
		s := in.pruned()
		_ = s.scan(raw) // checked by Parse
		for _, ref := range s.found {
			if d, ok := in.cause(ref, old, c.After.Get(property).HasUnknown()); ok && !slices.Contains(found, d) {
				found = append(found, d)
			}
		}
	}
	if old == nil || found == nil || !sameText(raw, old.raw(c.LogicalID, property)) {
		found = append(found, Detail{Evaluation: "Static", Source: "DirectModification"})
	}
	return found
}

func (in *Instance) cause(ref reference, old *Instance, unknown bool) (Detail, bool) {
	if p := in.parameters[ref.name]; p != nil {
		changed := old == nil || old.parameters[ref.name] == nil || old.Env.Parameters[ref.name] != in.Env.Parameters[ref.name]
		return Detail{Evaluation: "Static", Source: "ParameterReference", CausingEntity: ref.name}, changed
	}
	if in.resources[ref.name] == nil || !unknown {
		return Detail{}, false
	}
	if ref.attribute == "" {
		return Detail{Evaluation: "Dynamic", Source: "ResourceReference", CausingEntity: ref.name}, true
	}
	return Detail{Evaluation: "Dynamic", Source: "ResourceAttribute",
		CausingEntity: strings.Join([]string{ref.name, ref.attribute}, ".")}, true
}

func (in *Instance) raw(id, property string) *Node {
	r := in.resources[id]
	if r == nil {
		return nil
	}
	return r.Properties.Get(property)
}

func sameText(a, b *Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(b)
}
