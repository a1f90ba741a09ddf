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
	if n.shape == shapeArray {
		return n.items
	}
	return []*node{n}
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
}

// jsonError is where the text stopped being JSON.
type jsonError struct{ at int }

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
		return nil, jsonError{r.pos}
	}
	return n, nil
}

func (r *reader) space() {
	for r.pos < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.pos]) >= 0 {
		r.pos++
	}
}

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
		return jsonError{r.pos}
	}
	r.pos++
	return nil
}

func (r *reader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, jsonError{r.pos}
	}
	c := r.next()
	n := &node{start: r.pos}
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
		if n.get(name) != nil {
			return jsonError{at}
		}
		if err := r.take(':'); err != nil {
			return err
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.members = append(n.members, member{name, at, v})
		if r.next() == ',' {
			r.pos++
			continue
		}
		return r.take('}')
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

func (r *reader) string() (string, error) {
	start := r.pos
	if r.next() != '"' {
		return "", jsonError{r.pos}
	}
	for r.pos++; r.pos < len(r.text) && r.text[r.pos] != '"'; r.pos++ {
		if r.text[r.pos] == '\\' {
			r.pos++
		}
	}
	if r.pos >= len(r.text) {
		r.pos = len(r.text)
		return "", jsonError{r.pos}
	}
	r.pos++
	var s string
	if err := json.Unmarshal([]byte(r.text[start:r.pos]), &s); err != nil {
		return "", jsonError{start}
	}
	return s, nil
}

// word reads a number, true, false or null.
func (r *reader) word(n *node) error {
	for r.pos < len(r.text) && strings.IndexByte(" \t\r\n,:]}", r.text[r.pos]) < 0 {
		r.pos++
	}
	n.text = r.text[n.start:r.pos]
	if n.text == "" || !json.Valid([]byte(n.text)) {
		return jsonError{n.start}
	}
	switch n.text[0] {
	case 'n':
		n.shape = shapeNull
	case 't', 'f':
		n.shape = shapeBool
	case '"', '{', '[':
		return jsonError{n.start}
	default:
		n.shape = shapeNumber
	}
	return nil
}
