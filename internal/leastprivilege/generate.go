package leastprivilege

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
)

// DefaultExact is how many objects or folders of one folder are named one by
// one.
const DefaultExact = 3

// Options are what a policy can be generated with; the zero value is
// DefaultExact.
type Options struct {
	// Exact is how many objects or folders of one folder are named one by one;
	// more become folder/*. 0 means DefaultExact.
	Exact int
}

// Generate returns the smallest policy that covers the uses of a record. It is
// the same for the same uses, whatever their order; without uses it has no
// statements, and is none that AWS takes.
func Generate(r *Record, o Options) *Document {
	if o.Exact <= 0 {
		o.Exact = DefaultExact
	}
	var needs []need
	for action, uses := range byAction(r.Uses) {
		needs = append(needs, needsOf(action, uses, o.Exact)...)
	}
	return &Document{Version: language, Statement: statements(needs)}
}

// need is one permission of the policy.
type need struct {
	action, resource string
	key              string
	values           string // of key, one a line
}

func byAction(uses []Use) map[string][]Use {
	out := map[string][]Use{}
	for _, u := range uses {
		out[u.Action] = append(out[u.Action], u)
	}
	return out
}

// needsOf are the permissions that cover the uses of one action.
func needsOf(action string, uses []Use, exact int) []need {
	resources := map[string]*condition{}
	for resource, from := range generalize(uses, exact) {
		c := &condition{}
		for _, u := range from {
			c.add(u.Key, u.Value)
		}
		resources[resource] = c
	}
	var out []need
	for resource, c := range resources {
		n := need{action: action, resource: resource}
		if !c.free {
			n.key, n.values = c.key, strings.Join(slices.Sorted(maps.Keys(c.values)), "\n")
		}
		out = append(out, n)
	}
	return out
}

// condition is what all uses of a resource have in common.
type condition struct {
	free   bool // some use has no key
	key    string
	values map[string]bool
}

func (c *condition) add(key, value string) {
	if key == "" || c.key != "" && c.key != key {
		c.free = true
		return
	}
	if c.values == nil {
		c.values = map[string]bool{}
	}
	c.key, c.values[value] = key, true
}

// generalize returns the resources that cover uses of one action, written as a
// policy has them, with the uses that each covers.
func generalize(uses []Use, exact int) map[string][]Use {
	out := map[string][]Use{}
	patterns := map[string]grant{}
	for _, u := range uses {
		if u.Pattern != "" && patterns[u.Pattern].set == nil {
			patterns[u.Pattern] = allows("*", u.Pattern)
		}
	}
	order := slices.Sorted(maps.Keys(patterns))
	buckets := map[string]*folder{}
	for _, u := range uses {
		if i := slices.IndexFunc(order, func(p string) bool { return patterns[p].covers(u) }); i >= 0 {
			out[order[i]] = append(out[order[i]], u)
			continue
		}
		if bucket, key, ok := object(u.Resource); ok {
			if buckets[bucket] == nil {
				buckets[bucket] = &folder{}
			}
			buckets[bucket].put(key, u)
			continue
		}
		name := lasting(u.Resource)
		out[name] = append(out[name], u)
	}
	for bucket, f := range buckets {
		for _, k := range f.keys(bucket, exact) {
			out[k.name] = append(out[k.name], k.uses...)
		}
	}
	return out
}

// object takes the ARN of an S3 object apart.
func object(resource string) (bucket, key string, ok bool) {
	a, isARN := aws.ParseARN(resource)
	if !isARN || a.Service != "s3" || a.Account != "" {
		return "", "", false
	}
	name, key, ok := strings.Cut(a.Resource, "/")
	return strings.TrimSuffix(resource, "/"+key), key, ok && name != ""
}

// lasting writes the ARN of anything but an object such that it is good for
// what replaces it: stacks and change sets have an id that is new each time.
func lasting(resource string) string {
	if resource == "*" {
		return resource
	}
	a, ok := aws.ParseARN(resource)
	parts := strings.Split(a.Resource, "/")
	if ok && a.Service == "cloudformation" && len(parts) == 3 && (parts[0] == "stack" || parts[0] == "changeSet") {
		if parts[1] != "*" {
			parts[1] = policy.Escape(parts[1])
		}
		return strings.TrimSuffix(resource, a.Resource) + parts[0] + "/" + parts[1] + "/*"
	}
	return policy.Escape(resource)
}

// folder is a part of a bucket, up to a slash.
type folder struct {
	folders map[string]*folder
	objects map[string][]Use
}

func (f *folder) put(key string, u Use) {
	if head, rest, ok := strings.Cut(key, "/"); ok {
		if f.folders == nil {
			f.folders = map[string]*folder{}
		}
		if f.folders[head] == nil {
			f.folders[head] = &folder{}
		}
		f.folders[head].put(rest, u)
		return
	}
	if f.objects == nil {
		f.objects = map[string][]Use{}
	}
	f.objects[key] = append(f.objects[key], u)
}

// covered is a Resource with the uses that it covers.
type covered struct {
	name string
	uses []Use
}

// keys are the resources that cover what lies in a folder; name is its ARN,
// without the last slash.
func (f *folder) keys(name string, exact int) []covered {
	var out []covered
	for key, uses := range f.objects {
		out = append(out, covered{name + "/" + policy.Escape(key), uses})
	}
	for key, below := range f.folders {
		out = append(out, below.keys(name+"/"+policy.Escape(key), exact)...)
	}
	if len(f.objects)+len(f.folders) <= exact {
		return out
	}
	all := covered{name: name + "/*"}
	for _, c := range out {
		all.uses = append(all.uses, c.uses...)
	}
	return []covered{all}
}

// statements groups permissions: what a resource is needed for becomes one
// statement, and resources that are needed for the same share it.
func statements(needs []need) []Statement {
	type place struct{ resource, key, values string }
	actions := map[place][]string{}
	for _, n := range needs {
		p := place{n.resource, n.key, n.values}
		actions[p] = append(actions[p], n.action)
	}
	type group struct{ actions, key, values string }
	groups := map[group][]string{}
	for p, list := range actions {
		slices.Sort(list)
		g := group{strings.Join(list, "\n"), p.key, p.values}
		groups[g] = append(groups[g], p.resource)
	}
	out := make([]Statement, 0, len(groups))
	for g, resources := range groups {
		slices.Sort(resources)
		s := Statement{Effect: "Allow", Action: strings.Split(g.actions, "\n"), Resource: resources}
		if g.key != "" {
			s.Condition = map[string]map[string]List{"StringEquals": {g.key: strings.Split(g.values, "\n")}}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Statement) int {
		return cmp.Or(slices.Compare(a.Action, b.Action), slices.Compare(a.Resource, b.Resource), cmp.Compare(a.condition(), b.condition()))
	})
	return out
}
