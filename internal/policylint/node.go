package policylint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// shape is what a node is.
type shape uint8

const (
	null shape = iota
	scalar
	list
	object
)

// place is where something stands, from 1; columns count characters.
type place struct{ line, column int }

// node is a value of a file.
type node struct {
	place
	shape  shape
	text   string // of a scalar
	items  []*node
	fields []field
}

type field struct {
	place
	name  string
	value *node
}

// get returns the value of a field, or nil.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for _, f := range n.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// all returns the fields of an object.
func (n *node) all() []field {
	if n == nil {
		return nil
	}
	return n.fields
}

// only returns the one field of an object that has one: a function is such an
// object.
func (n *node) only() (name string, value *node) {
	if n == nil || n.shape != object || len(n.fields) != 1 {
		return "", nil
	}
	return n.fields[0].name, n.fields[0].value
}

const (
	maxFile  = 1_000_000 // as long as a template may be
	maxDepth = 100
	maxNodes = 200_000
)

var (
	errLong = fmt.Errorf("it is longer than %d bytes", maxFile)
	errDeep = errors.New("values are nested too deeply")
	errMany = errors.New("it holds too many values")
)

// read reads a file, which is JSON when it begins like it, and else YAML.
func read(text string) (*node, error) {
	if len(text) > maxFile {
		return nil, errLong
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("it is not text in UTF-8")
	}
	text = strings.TrimPrefix(text, "\ufeff")
	if isJSON(text) {
		r := jsonReader{text: text, line: 1, column: 1}
		return r.file()
	}
	return readYAML(text)
}

func isJSON(text string) bool {
	begin := strings.TrimLeft(text, " \t\r\n")
	return strings.HasPrefix(begin, "{") || strings.HasPrefix(begin, "[")
}

// jsonReader reads JSON and keeps the place of every value.
type jsonReader struct {
	text         string
	at, nodes    int
	line, column int
}

// move goes on to an offset, which it keeps line and column of.
func (r *jsonReader) move(to int) {
	for r.at < to {
		c, size := utf8.DecodeRuneInString(r.text[r.at:])
		r.at += size
		r.column++
		if c == '\n' {
			r.line, r.column = r.line+1, 1
		}
	}
}

func (r *jsonReader) here() place { return place{r.line, r.column} }

func (r *jsonReader) wrong() error {
	return fmt.Errorf("line %d, column %d: it is not JSON", r.line, r.column)
}

// next skips space and returns the byte that follows, or 0 at the end.
func (r *jsonReader) next() byte {
	to := r.at
	for to < len(r.text) && strings.IndexByte(" \t\r\n", r.text[to]) >= 0 {
		to++
	}
	if r.move(to); to < len(r.text) {
		return r.text[to]
	}
	return 0
}

func (r *jsonReader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.move(r.at + 1)
	return true
}

func (r *jsonReader) file() (*node, error) {
	n, err := r.value(0)
	if err == nil && (r.next() != 0 || r.at != len(r.text)) {
		err = r.wrong()
	}
	return n, err
}

func (r *jsonReader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	if r.nodes++; r.nodes > maxNodes {
		return nil, errMany
	}
	c := r.next()
	n := &node{place: r.here()}
	switch c {
	case '{':
		n.shape = object
		return n, r.object(n, depth)
	case '[':
		n.shape = list
		return n, r.list(n, depth)
	case '"':
		n.shape = scalar
		var err error
		n.text, err = r.string()
		return n, err
	}
	return n, r.word(n)
}

func (r *jsonReader) object(n *node, depth int) error {
	r.take('{')
	if r.take('}') {
		return nil
	}
	for {
		r.next()
		f := field{place: r.here()}
		var err error
		if f.name, err = r.string(); err != nil {
			return err
		}
		if !r.take(':') {
			return r.wrong()
		}
		if f.value, err = r.value(depth + 1); err != nil {
			return err
		}
		n.fields = append(n.fields, f)
		if r.take(',') {
			continue
		}
		if !r.take('}') {
			return r.wrong()
		}
		return nil
	}
}

func (r *jsonReader) list(n *node, depth int) error {
	r.take('[')
	if r.take(']') {
		return nil
	}
	for {
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
		if r.take(',') {
			continue
		}
		if !r.take(']') {
			return r.wrong()
		}
		return nil
	}
}

func (r *jsonReader) string() (string, error) {
	if r.next() != '"' {
		return "", r.wrong()
	}
	end := r.at + 1
	for end < len(r.text) && r.text[end] != '"' {
		if r.text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(r.text) {
		return "", r.wrong()
	}
	var s string
	if json.Unmarshal([]byte(r.text[r.at:end+1]), &s) != nil {
		return "", r.wrong()
	}
	r.move(end + 1)
	return s, nil
}

// word reads a number, true, false or null.
func (r *jsonReader) word(n *node) error {
	end := r.at
	for end < len(r.text) && strings.IndexByte(" \t\r\n,:]}", r.text[end]) < 0 {
		end++
	}
	if n.text = r.text[r.at:end]; !json.Valid([]byte(n.text)) {
		return r.wrong()
	}
	if n.shape = scalar; n.text == "null" {
		n.shape, n.text = null, ""
	}
	r.move(end)
	return nil
}

// yamlReader turns YAML's nodes into ours; an alias is read each time.
type yamlReader struct{ nodes int }

func readYAML(text string) (*node, error) {
	var doc, more yaml.Node
	docs := yaml.NewDecoder(strings.NewReader(text))
	if err := docs.Decode(&doc); err == io.EOF {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, notYAML(err)
	}
	if err := docs.Decode(&more); err != io.EOF {
		return nil, errors.New("it is more than one YAML document")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("it is empty")
	}
	var r yamlReader
	return r.value(doc.Content[0], 0)
}

func notYAML(err error) error {
	if at, ok := errors.AsType[*yaml.LoadError](err); ok {
		return fmt.Errorf("line %d, column %d: it is not YAML", at.Mark.Line, at.Mark.Column)
	}
	return errors.New("it is not YAML")
}

func (r *yamlReader) value(y *yaml.Node, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	if r.nodes++; r.nodes > maxNodes {
		return nil, errMany
	}
	if y.Kind == yaml.AliasNode && y.Alias != nil {
		n, err := r.value(y.Alias, depth+1)
		if err == nil {
			n.place = place{y.Line, y.Column}
		}
		return n, err
	}
	n := &node{place: place{y.Line, y.Column}}
	switch y.Kind {
	case yaml.ScalarNode:
		n.shape, n.text = scalar, y.Value
		if y.Tag == "!!null" {
			n.shape, n.text = null, ""
		}
	case yaml.SequenceNode:
		n.shape = list
		for _, c := range y.Content {
			v, err := r.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
	case yaml.MappingNode:
		if err := r.mapping(n, y, depth); err != nil {
			return nil, err
		}
	}
	return tagged(n, y.Tag), nil
}

func (r *yamlReader) mapping(n *node, y *yaml.Node, depth int) error {
	n.shape = object
	for i := 0; i+1 < len(y.Content); i += 2 {
		k := y.Content[i]
		v, err := r.value(y.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		n.fields = append(n.fields, field{place{k.Line, k.Column}, k.Value, v})
	}
	return nil
}

// tagged spells a function's short tag out: !Sub x is {"Fn::Sub": x}.
func tagged(n *node, tag string) *node {
	if !strings.HasPrefix(tag, "!") || strings.HasPrefix(tag, "!!") {
		return n
	}
	name := tag[1:]
	if name != "Ref" && name != "Condition" {
		name = "Fn::" + name
	}
	return &node{place: n.place, shape: object, fields: []field{{n.place, name, n}}}
}
