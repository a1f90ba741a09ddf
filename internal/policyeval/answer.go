package policyeval

import (
	"encoding/json"
	"strconv"

	"github.com/sekisho/sekisho/internal/policy"
)

// refusal is an answer in the place of a decision.
type refusal struct {
	code, message string
	kind          policy.Kind // of the document that is refused; 0 for a line
	index, level  int         // of the document
}

// word is what a line calls a kind of policy: trust and key policies are the
// resource's.
func word(k policy.Kind) string {
	switch k {
	case policy.Trust, policy.Key:
		return policy.Resource.String()
	}
	return k.String()
}

// leveled reports whether policies of a kind stand in levels.
func leveled(k policy.Kind) bool { return k == policy.SCP || k == policy.RCP }

func appendRefusal(b []byte, id string, r *refusal) []byte {
	b = appendID(b, id)
	b = append(b, `,"error":{"code":`...)
	b = appendText(b, r.code)
	b = append(b, `,"message":`...)
	b = appendText(b, r.message)
	if r.kind != 0 {
		b = append(b, ',')
		b = appendPlace(b, r.kind, r.level, r.index)
	}
	return append(b, "}}\n"...)
}

func appendBrief(b []byte, id string, e policy.Effect) []byte {
	b = appendID(b, id)
	b = append(b, `,"decision":"`...)
	b = append(b, e.String()...)
	return append(b, "\"}\n"...)
}

func appendDecision(b []byte, id string, d policy.Decision, fixes []policy.Fix) []byte {
	b = appendID(b, id)
	b = append(b, `,"decision":"`...)
	b = append(b, d.Effect.String()...)
	b = append(b, '"')
	if d.Effect != policy.ImplicitDeny {
		b = append(b, `,"because":`...)
		b = appendList(b, statements(d.Because), appendMatch)
	}
	if len(d.Silent) > 0 {
		b = append(b, `,"silent":`...)
		b = appendList(b, d.Silent, func(b []byte, k policy.Kind) []byte { return appendText(b, word(k)) })
	}
	if len(d.Missing) > 0 {
		b = append(b, `,"missingContext":`...)
		b = appendList(b, d.Missing, appendText)
	}
	if len(fixes) > 0 {
		b = append(b, `,"repair":`...)
		b = appendList(b, fixes, appendFix)
	}
	return append(b, "}\n"...)
}

// statements leaves out what allowed without one: the root user needs none.
func statements(because []policy.Match) []policy.Match {
	out := because[:0:0]
	for _, m := range because {
		if m.Statement >= 0 {
			out = append(out, m)
		}
	}
	return out
}

func appendMatch(b []byte, m policy.Match) []byte {
	b = append(b, '{')
	b = appendPlace(b, m.Kind, m.Level, m.Index)
	b = appendNumber(b, `,"statement":`, m.Statement)
	b = appendSid(b, m.Sid)
	if m.Effect == policy.Allow {
		return append(b, `,"effect":"Allow"}`...)
	}
	return append(b, `,"effect":"Deny"}`...)
}

// appendFix writes a statement to add, or the Deny that stands in the way.
func appendFix(b []byte, f policy.Fix) []byte {
	if f.Remove != nil {
		b = append(b, '{')
		b = appendPlace(b, f.Remove.Kind, f.Remove.Level, f.Remove.Index)
		b = appendNumber(b, `,"remove":{"statement":`, f.Remove.Statement)
		b = appendSid(b, f.Remove.Sid)
		return append(b, "}}"...)
	}
	b = append(b, `{"policy":`...)
	b = appendText(b, word(f.Kind))
	if leveled(f.Kind) {
		b = appendNumber(b, `,"level":`, f.Level)
	}
	b = append(b, `,"statement":`...)
	b = append(b, f.Statement...)
	return append(b, '}')
}

// appendPlace says which document is meant.
func appendPlace(b []byte, k policy.Kind, level, index int) []byte {
	b = append(b, `"policy":`...)
	b = appendText(b, word(k))
	if leveled(k) {
		b = appendNumber(b, `,"level":`, level)
	}
	return appendNumber(b, `,"index":`, index)
}

func appendSid(b []byte, sid string) []byte {
	if sid == "" {
		return b
	}
	b = append(b, `,"sid":`...)
	return appendText(b, sid)
}

func appendNumber(b []byte, name string, n int) []byte {
	b = append(b, name...)
	return strconv.AppendInt(b, int64(n), 10)
}

// appendID begins an answer; the id is JSON already.
func appendID(b []byte, id string) []byte {
	b = append(b, `{"id":`...)
	return append(b, id...)
}

func appendList[T any](b []byte, list []T, item func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, v)
	}
	return append(b, ']')
}

// appendText writes a string as JSON.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			text, err := json.Marshal(s)
			if err != nil {
				text = []byte(`""`) // strings always encode
			}
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
