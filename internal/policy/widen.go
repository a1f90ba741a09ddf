package policy

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

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

// covering returns the pattern that covers a text written as Escape does.
func covering(patterns []string, text string) (string, bool) {
	for _, p := range patterns {
		c := compile(p, syntax{wildcards: true, variables: true})
		if c.form != template && c.match(unescape(text), false, Keys(nil)) {
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
