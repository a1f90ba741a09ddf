package leastprivilege

import (
	"encoding/json"
	"slices"

	"github.com/sekisho/sekisho/internal/policy"
)

// Unused is what a statement of a present policy allows, and nobody used.
type Unused struct {
	// Policy is the document's name, or the ARN of a managed policy.
	Policy string
	// Statement is its index, from 0; Sid its id, if it has one.
	Statement int
	Sid       string `json:",omitempty"`
	// Whole says that nothing of it was used.
	Whole bool `json:",omitempty"`
	// Actions and Resources are the elements that no use was like.
	Actions   []string `json:",omitempty"`
	Resources []string `json:",omitempty"`
}

// Spare returns what policies allow that no use needed, in the order of the
// documents. Conditions are taken to hold: what only they keep from being used
// counts as used.
func Spare(policies []policy.Source, uses []Use) []Unused {
	var out []Unused
	for _, s := range policies {
		if s.Doc == nil {
			continue
		}
		for i := range s.Doc.Len() {
			if u, ok := spare(s.Doc.Statement(i), uses); ok {
				u.Policy, u.Statement, u.Sid = s.Name, i, s.Doc.Sid(i)
				out = append(out, u)
			}
		}
	}
	return out
}

func spare(text json.RawMessage, uses []Use) (Unused, bool) {
	var s struct {
		Effect                                   string
		Action, NotAction, Resource, NotResource texts
	}
	if json.Unmarshal(text, &s) != nil || s.Effect != "Allow" {
		return Unused{}, false
	}
	actions, resources := s.Action, s.Resource
	if s.NotAction != nil {
		actions = texts{"*"} // all of them, as far as anybody can tell
	}
	if s.NotResource != nil {
		resources = texts{"*"}
	}
	usedActions, usedResources := map[string]bool{}, map[string]bool{}
	for _, a := range actions {
		for _, r := range resources {
			g := allows(a, r)
			if slices.ContainsFunc(uses, g.covers) {
				usedActions[a], usedResources[r] = true, true
			}
		}
	}
	u := Unused{
		Whole:     len(usedActions) == 0,
		Actions:   slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return usedActions[a] }),
		Resources: slices.DeleteFunc(slices.Clone(resources), func(r string) bool { return usedResources[r] }),
	}
	return u, len(u.Actions)+len(u.Resources) > 0
}

// texts are one text or many.
type texts []string

// UnmarshalJSON reads a JSON string or an array of them.
func (t *texts) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(t))
}
