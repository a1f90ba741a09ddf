package policy

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Change is one change to a document.
type Change struct {
	// Add is a statement to add at the end.
	Add json.RawMessage
	// Instead takes the place of the statement with the index Statement; with
	// nothing in it that statement is taken out. It is left aside when Add is
	// set.
	Statement int
	Instead   []json.RawMessage
}

// Rewrite returns the text of a document with changes made to it, indented as
// people read it; nil stands for an empty document. Indexes are those before
// all changes. A document without a statement left is the empty text.
func Rewrite(d *Document, changes ...Change) string {
	lists := make([][]json.RawMessage, d.Len())
	for i := range lists {
		lists[i] = []json.RawMessage{d.Statement(i)}
	}
	var added []json.RawMessage
	for _, c := range changes {
		switch {
		case c.Add != nil:
			added = append(added, c.Add)
		case c.Statement >= 0 && c.Statement < len(lists):
			lists[c.Statement] = c.Instead
		}
	}
	statements := append(slices.Concat(lists...), added...)
	if len(statements) == 0 {
		return ""
	}
	return Pretty(string(d.frame().with("Statement", "Statement", json.RawMessage(listText(statements))).text()))
}

// frame is what stands around the statements of a document.
func (d *Document) frame() members {
	if d == nil {
		return members{{"Version", json.RawMessage(`"2012-10-17"`)}}
	}
	root, err := readJSON(d.text)
	if err != nil {
		return nil // it has been read before
	}
	var f members
	for _, m := range root.members {
		f = append(f, field{m.name, json.RawMessage(d.text[m.value.start:m.value.end])})
	}
	return f
}

func listText(list []json.RawMessage) []byte {
	return append(append([]byte{'['}, bytes.Join(byteLists(list), []byte{','})...), ']')
}

func byteLists(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i, t := range list {
		out[i] = t
	}
	return out
}

// Pretty indents JSON, keeping the order of its members. What is no JSON stays
// as it is.
func Pretty(text string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "", "  ") != nil {
		return text
	}
	return b.String()
}
