package cfn

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Kind is the type of a template value.
type Kind uint8

const (
	// Null is JSON's null. Templates may not hold it.
	Null Kind = iota
	// String is text.
	String
	// Number is a number; its text is kept as written.
	Number
	// Bool is true or false.
	Bool
	// List is a sequence.
	List
	// Map is an object with its keys in the order of the template.
	Map
	// Unknown is a value that exists only when a resource does.
	Unknown
)

// Node is one value of a template. Nodes are shared and never changed once
// they are built.
type Node struct {
	Kind Kind
	// Text is the text of a scalar.
	Text   string
	Items  []*Node
	Fields []Field
	// Line and Column say where the value stands, from 1; 0 when it was
	// calculated.
	Line, Column int
}

// Field is one member of a Map.
type Field struct {
	Key   string
	Value *Node
}

// unknownText is what AWS shows for a property that is not known yet.
const unknownText = "{{changeSet:KNOWN_AFTER_APPLY}}"

// Text returns a String node.
func Text(s string) *Node { return &Node{Kind: String, Text: s} }

// Texts returns a List of String nodes.
func Texts(values ...string) *Node {
	n := &Node{Kind: List, Items: make([]*Node, 0, len(values))}
	for _, v := range values {
		n.Items = append(n.Items, Text(v))
	}
	return n
}

// Object returns a Map node of the given fields.
func Object(fields ...Field) *Node { return &Node{Kind: Map, Fields: fields} }

func unknown() *Node { return &Node{Kind: Unknown, Text: unknownText} }

// Get returns the value of a key, and nil when n is no Map or lacks it.
func (n *Node) Get(key string) *Node {
	if n == nil || n.Kind != Map {
		return nil
	}
	for i := range n.Fields {
		if n.Fields[i].Key == key {
			return n.Fields[i].Value
		}
	}
	return nil
}

// String returns the text of a scalar, and "" for everything else.
func (n *Node) String() string {
	if n == nil {
		return ""
	}
	return n.Text
}

// IsScalar reports whether n is a string, a number or a boolean.
func (n *Node) IsScalar() bool {
	return n != nil && (n.Kind == String || n.Kind == Number || n.Kind == Bool)
}

// HasUnknown reports whether any part of n is not known yet.
func (n *Node) HasUnknown() bool {
	if n == nil {
		return false
	}
	if n.Kind == Unknown {
		return true
	}
	for _, item := range n.Items {
		if item.HasUnknown() {
			return true
		}
	}
	for _, f := range n.Fields {
		if f.Value.HasUnknown() {
			return true
		}
	}
	return false
}

// Equal reports whether two values are the same, whatever the order of their
// keys. Scalars are compared by their text: AWS takes true for "true".
func (n *Node) Equal(m *Node) bool {
	if n == nil || m == nil {
		return n == m
	}
	if n.IsScalar() && m.IsScalar() {
		return n.Text == m.Text
	}
	if n.Kind != m.Kind || n.Kind == Unknown || len(n.Items) != len(m.Items) || len(n.Fields) != len(m.Fields) {
		return false
	}
	for i := range n.Items {
		if !n.Items[i].Equal(m.Items[i]) {
			return false
		}
	}
	for _, f := range n.Fields {
		other := m.Get(f.Key)
		if other == nil || !f.Value.Equal(other) {
			return false
		}
	}
	return true
}

// JSON returns n as JSON with its keys in the order of the template.
func (n *Node) JSON() []byte { return n.append(nil, false) }

// Canonical returns n as JSON with its keys sorted.
func (n *Node) Canonical() []byte { return n.append(nil, true) }

// MarshalJSON returns n.JSON.
func (n *Node) MarshalJSON() ([]byte, error) { return n.JSON(), nil }

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Node) UnmarshalJSON(b []byte) error {
	m, err := parseJSON(string(b))
	if err != nil {
		return err
	}
	*n = *m
	return nil
}

func (n *Node) append(b []byte, sorted bool) []byte {
	if n == nil {
		return append(b, "null"...)
	}
	switch n.Kind {
	case Null:
		return append(b, "null"...)
	case Bool:
		return append(b, n.Text...)
	case Number:
		if json.Valid([]byte(n.Text)) {
			return append(b, n.Text...)
		}
		return appendText(b, n.Text)
	case List:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.append(b, sorted)
		}
		return append(b, ']')
	case Map:
		fields := n.Fields
		if sorted {
			fields = slices.Clone(fields)
			slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Key, b.Key) })
		}
		b = append(b, '{')
		for i, f := range fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, f.Key), ':')
			b = f.Value.append(b, sorted)
		}
		return append(b, '}')
	}
	return appendText(b, n.Text)
}

// appendText writes a JSON string without escaping HTML's characters.
func appendText(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string always encodes
		return append(b, `""`...)
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
