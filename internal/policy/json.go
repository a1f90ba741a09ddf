package policy

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// shape is the JSON type of a node.
type shape int

const (
	shapeNull shape = iota
	shapeString
	shapeNumber
	shapeBool
	shapeArray
	shapeObject
)

// node is a JSON value that knows where it stands: refusals say the line, and
// statements keep their text.
type node struct {
	shape      shape
	start, end int
	text       string // strings, decoded; numbers and booleans as written
	items      []*node
	members    []member
	names      map[string]bool // of the members, once there are many
}

type member struct {
	name  string
	at    int
	value *node
}

// get returns the value of a member, or nil.
func (n *node) get(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

// list returns the items of an array, and any other value as its only item:
// the policy language lets the two stand for each other.
func (n *node) list() []*node {
	if n.shape != shapeArray && n.items == nil {
		n.items = []*node{n}
	}
	return n.items
}

const (
	maxDepth = 32      // of JSON values in each other; a policy needs seven
	maxText  = 1 << 20 // bytes; every service's own limit is far below
)

// reader reads JSON, and unlike encoding/json refuses an object that has a
// name twice, and knows positions.
type reader struct {
	text string
	pos  int
	free []node // made ahead
}

// jsonError is where the text stopped being JSON, or where it names something
// for a second time.
type jsonError struct {
	at    int
	twice string
}

func (jsonError) Error() string { return "not JSON" }

func readJSON(text string) (*node, error) {
	if len(text) > maxText || !utf8.ValidString(text) {
		return nil, jsonError{}
	}
	r := &reader{text: text}
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.space(); r.pos != len(text) {
		return nil, jsonError{at: r.pos}
	}
	return n, nil
}

func (r *reader) node() *node {
	if len(r.free) == 0 {
		r.free = make([]node, min(64, 1+len(r.text)/16))
	}
	n := &r.free[0]
	r.free = r.free[1:]
	return n
}

func (r *reader) space() {
	for r.pos < len(r.text) && isSpace(r.text[r.pos]) {
		r.pos++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// next skips space and returns the byte that follows, or 0 at the end.
func (r *reader) next() byte {
	if r.space(); r.pos < len(r.text) {
		return r.text[r.pos]
	}
	return 0
}

// take consumes the byte c, which has to come next.
func (r *reader) take(c byte) error {
	if r.next() != c {
		return jsonError{at: r.pos}
	}
	r.pos++
	return nil
}

func (r *reader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, jsonError{at: r.pos}
	}
	c := r.next()
	n := r.node()
	n.start = r.pos
	var err error
	switch c {
	case '{':
		err = r.object(n, depth)
	case '[':
		err = r.array(n, depth)
	case '"':
		n.shape = shapeString
		n.text, err = r.string()
	default:
		err = r.word(n)
	}
	n.end = r.pos
	return n, err
}

func (r *reader) object(n *node, depth int) error {
	n.shape = shapeObject
	r.pos++
	if r.next() == '}' {
		r.pos++
		return nil
	}
	for {
		r.space()
		at := r.pos
		name, err := r.string()
		if err != nil {
			return err
		}
		if n.has(name) {
			return jsonError{at, name}
		}
		if err := r.take(':'); err != nil {
			return err
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.add(member{name, at, v})
		if r.next() == ',' {
			r.pos++
			continue
		}
		return r.take('}')
	}
}

// many is the number of members from which on an object finds them by name.
const many = 16

func (n *node) has(name string) bool {
	if n.names != nil {
		return n.names[name]
	}
	return n.get(name) != nil
}

func (n *node) add(m member) {
	if n.members == nil {
		n.members = make([]member, 0, 6)
	}
	n.members = append(n.members, m)
	if len(n.members) == many {
		n.names = map[string]bool{}
		for _, m := range n.members {
			n.names[m.name] = true
		}
	}
	if n.names != nil {
		n.names[m.name] = true
	}
}

func (r *reader) array(n *node, depth int) error {
	n.shape = shapeArray
	r.pos++
	if r.next() == ']' {
		r.pos++
		return nil
	}
	for {
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
		if r.next() == ',' {
			r.pos++
			continue
		}
		return r.take(']')
	}
}

// string reads a string. One without escapes is a part of the text.
func (r *reader) string() (string, error) {
	if r.next() != '"' {
		return "", jsonError{at: r.pos}
	}
	start, escaped := r.pos, false
	for r.pos++; r.pos < len(r.text) && r.text[r.pos] != '"'; r.pos++ {
		switch c := r.text[r.pos]; {
		case c == '\\':
			escaped = true
			r.pos++
		case c < ' ':
			return "", jsonError{at: r.pos}
		}
	}
	if r.pos >= len(r.text) {
		r.pos = len(r.text)
		return "", jsonError{at: r.pos}
	}
	r.pos++
	if !escaped {
		return r.text[start+1 : r.pos-1], nil
	}
	var s string
	if err := json.Unmarshal([]byte(r.text[start:r.pos]), &s); err != nil {
		return "", jsonError{at: start}
	}
	return s, nil
}

// word reads a number, true, false or null.
func (r *reader) word(n *node) error {
	for r.pos < len(r.text) && strings.IndexByte(" \t\r\n,:]}", r.text[r.pos]) < 0 {
		r.pos++
	}
	n.text = r.text[n.start:r.pos]
	switch n.text {
	case "null":
		n.shape = shapeNull
	case "true", "false":
		n.shape = shapeBool
	default:
		if n.text == "" || n.text[0] != '-' && (n.text[0] < '0' || n.text[0] > '9') || !json.Valid([]byte(n.text)) {
			return jsonError{at: n.start}
		}
		n.shape = shapeNumber
	}
	return nil
}
