package policy

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// actions are written as one text where there is one.
type actions []string

func (a actions) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

func (a *actions) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = actions{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// Merge joins fixes of several refusals: repeats are left out, and statements
// for the same policy that differ in their actions alone become one. Of a Deny
// that is narrowed for several requests the first change is taken: what it
// still refuses is seen once that stands.
func Merge(fixes []Fix) []Fix {
	var out []Fix
	for _, f := range fixes {
		if !slices.ContainsFunc(out, func(g Fix) bool { return reflect.DeepEqual(f, g) || sameDeny(f, g) }) && !join(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// sameDeny reports whether two fixes narrow the same statement.
func sameDeny(f, g Fix) bool {
	return f.Remove != nil && g.Remove != nil && f.Kind == g.Kind && f.Name == g.Name && f.On == g.On &&
		f.Level == g.Level && f.Remove.Statement == g.Remove.Statement && bytes.Equal(f.Was, g.Was)
}

// join adds the actions of f to the statement that is like it.
func join(to []Fix, f Fix) bool {
	var add draft
	if len(f.Statement) == 0 || json.Unmarshal(f.Statement, &add) != nil {
		return false
	}
	for i, g := range to {
		var s draft
		if g.Kind != f.Kind || g.Name != f.Name || g.On != f.On || json.Unmarshal(g.Statement, &s) != nil {
			continue
		}
		all := s.Action
		for _, a := range add.Action {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
		if s.Action = add.Action; reflect.DeepEqual(s, add) {
			s.Action = all
			to[i].Statement = s.text()
			return true
		}
	}
	return false
}

// Escape writes a text such that, as the Resource of a policy, it means itself
// and nothing else: an object's key may hold wildcards.
func Escape(text string) string {
	return strings.NewReplacer("*", "${*}", "?", "${?}", "${", "${$}{").Replace(text)
}

// unescape is the inverse of Escape.
func unescape(text string) string {
	return strings.NewReplacer("${*}", "*", "${?}", "?", "${$}", "$").Replace(text)
}

// Widen returns f good for more than the call that was refused: where its
// statement names something that one of the patterns covers, as Resource or
// as a condition's value, the pattern takes its place. Patterns are written
// as a policy's Resource is.
func (f Fix) Widen(patterns []string) Fix {
	f.Instead = spareAlso(f.Instead, patterns)
	var s draft
	if len(f.Statement) == 0 || json.Unmarshal(f.Statement, &s) != nil {
		return f
	}
	resource, wider := covering(patterns, s.Resource)
	if wider {
		s.Resource = resource
	}
	for _, op := range []string{"StringEquals", "ForAllValues:StringEquals"} {
		for key, values := range s.Condition[op] {
			if v, ok := coveringAll(patterns, values); ok {
				s.condition(strings.Replace(op, "Equals", "Like", 1), key, v)
				s.drop(op, key)
				wider = true
			}
		}
	}
	if !wider {
		return f
	}
	f.Statement = s.text()
	return f
}

// spareAlso widens what Denies leave out.
func spareAlso(list []json.RawMessage, patterns []string) []json.RawMessage {
	out := slices.Clone(list)
	for i, text := range list {
		m := (&statement{raw: string(text)}).parts()
		not := m.texts("NotResource")
		changed := false
		for k, resource := range not {
			if p, ok := covering(patterns, resource); ok && p != resource {
				not[k], changed = p, true
			}
		}
		if changed {
			out[i] = m.with("NotResource", "NotResource", actions(slices.Compact(not))).text()
		}
	}
	return out
}

// covering returns the pattern that covers a text written as Escape does.
func covering(patterns []string, text string) (string, bool) {
	for _, p := range patterns {
		c := compile(p, syntax{wildcards: true, variables: true})
		if c.form != templated && c.match(unescape(text), nil) {
			return p, true
		}
	}
	return "", false
}

// coveringAll is covering for a list, each pattern once; every element has to
// be covered.
func coveringAll(patterns, texts []string) (out []string, ok bool) {
	for _, t := range texts {
		p, ok := covering(patterns, t)
		if !ok {
			return nil, false
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, len(out) > 0
}

func (s *draft) condition(op, key string, values []string) {
	if s.Condition == nil {
		s.Condition = map[string]map[string][]string{}
	}
	if s.Condition[op] == nil {
		s.Condition[op] = map[string][]string{}
	}
	s.Condition[op][key] = values
}

func (s *draft) drop(op, key string) {
	delete(s.Condition[op], key)
	if len(s.Condition[op]) == 0 {
		delete(s.Condition, op)
	}
}

// text is the draft in JSON.
func (s *draft) text() json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil // text and maps of text always encode
	}
	return bytes.TrimSpace(b.Bytes())
}
