package policy

import (
	"encoding/json"
	"slices"
)

// Document is a parsed policy: its text, byte for byte, and the compiled
// statements. It never changes and may be shared.
type Document struct {
	text       string
	kind       Kind
	version    string
	statements []statement
	principals []string
}

// statement is one compiled statement.
type statement struct {
	raw    string // as it stands in the text
	sid    string
	effect Effect // Allow or ExplicitDeny

	principals   []principal
	notPrincipal bool
	actions      []pattern
	notAction    bool
	resources    []pattern
	notResource  bool
	conditions   []condition
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

// Len returns the number of statements.
func (d *Document) Len() int { return len(d.statements) }

// Statement returns the text of the i'th statement as it stands in the
// document, and nil when there is none.
func (d *Document) Statement(i int) json.RawMessage {
	if d == nil || i < 0 || i >= len(d.statements) {
		return nil
	}
	return json.RawMessage(d.statements[i].raw)
}

// Principals returns the AWS principals that a document names, each once and
// in order: ARNs of users, roles, sessions and account roots. Whoever saves a
// policy asks whether they exist. (AWS stores the unique ids behind them;
// sekisho compares ARNs.)
func Principals(d *Document) []string { return slices.Clone(d.principals) }

// without returns a copy of d that lacks one statement.
func (d *Document) without(i int) *Document {
	c := *d
	c.statements = slices.Delete(slices.Clone(d.statements), i, i+1)
	return &c
}
