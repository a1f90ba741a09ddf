package policy

import (
	"encoding/json"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// Document is a parsed policy: its text, byte for byte, and the compiled
// statements. It never changes and may be shared.
type Document struct {
	text       string
	kind       Kind
	version    string
	statements []statement
	principals []string // ARNs of the AWS principals, each once
}

// statement is one compiled statement; what a decision reads comes first.
type statement struct {
	effect       Effect // Allow or ExplicitDeny
	notPrincipal bool
	notResource  bool
	actions      *actionSet
	resources    []pattern
	conditions   []condition
	principals   []principal

	raw string // as it stands in the text
	at  int    // where it begins there
	sid string
}

// actionSet is an Action or NotAction element. Statements of a document with
// the same element share one.
type actionSet struct {
	patterns []pattern
	not      bool
	slot     uint8 // where a judge remembers whether it matches
}

// has reports whether an action, in lower case, is one that the element means.
func (a *actionSet) has(action []byte) bool {
	for i := range a.patterns {
		if a.patterns[i].matchAction(action) {
			return !a.not
		}
	}
	return a.not
}

// String returns the text that was parsed.
func (d *Document) String() string { return d.text }

// MarshalJSON returns the text that was parsed.
func (d *Document) MarshalJSON() ([]byte, error) { return []byte(d.text), nil }

// Kind says what the document was parsed as.
func (d *Document) Kind() Kind { return d.kind }

// Version returns the language version the document names; empty means none,
// which AWS reads as 2008-10-17.
func (d *Document) Version() string { return d.version }

// Len returns the number of statements; nil has none.
func (d *Document) Len() int {
	if d == nil {
		return 0
	}
	return len(d.statements)
}

// Sum returns a short sum of the text, by which one can tell whether a document
// has changed; empty for nil. It is no protection against forgery.
func (d *Document) Sum() string {
	if d == nil {
		return ""
	}
	h := fnv.New64a()
	h.Write([]byte(d.text))
	return strconv.FormatUint(h.Sum64(), 36)
}

// Statement returns the text of the i'th statement as it stands in the
// document, and nil when there is none.
func (d *Document) Statement(i int) json.RawMessage {
	if d == nil || i < 0 || i >= len(d.statements) {
		return nil
	}
	return json.RawMessage(d.statements[i].raw)
}

// Sid returns the id of the i'th statement; empty when it has none.
func (d *Document) Sid(i int) string {
	if d == nil || i < 0 || i >= len(d.statements) {
		return ""
	}
	return d.statements[i].sid
}

// Position returns where the i'th statement begins in the text: line and
// column count from 1, columns in bytes. It is 0, 0 when there is none.
func (d *Document) Position(i int) (line, column int) {
	if d == nil || i < 0 || i >= len(d.statements) {
		return 0, 0
	}
	return position(d.text, d.statements[i].at)
}

// position turns an offset into line and column.
func position(text string, at int) (line, column int) {
	before := text[:min(at, len(text))]
	return 1 + strings.Count(before, "\n"), len(before) - strings.LastIndexByte(before, '\n')
}

// without returns a copy of d that lacks one statement.
func (d *Document) without(i int) *Document {
	c := *d
	c.statements = slices.Delete(slices.Clone(d.statements), i, i+1)
	return &c
}

// replaced returns a copy of d that has other statements in the place of the
// i'th; nil when AWS would not take it.
func (d *Document) replaced(i int, by []json.RawMessage) *Document {
	doc, err := Parse(Rewrite(d, Change{Statement: i, Instead: by}), d.kind)
	if err != nil {
		return nil
	}
	return doc
}
