package cfn

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sekisho/sekisho/internal/aws"
)

const (
	maxDepth = 100
	maxNodes = 200_000
	// MaxBody is the size of the largest template, given by URL.
	MaxBody = 1_000_000
)

func invalid(format string, args ...any) *aws.Error {
	return aws.Errorf("ValidationError", format, args...)
}

func malformed(format string, args ...any) *aws.Error {
	return aws.Errorf("ValidationError", "Template format error: "+format, args...)
}

// ParseValue reads one YAML or JSON document. Short tags are spelled out:
// !Ref X becomes {"Ref": "X"}.
func ParseValue(body string) (*Node, error) {
	if len(body) > MaxBody {
		return nil, invalid("Template may not exceed %d bytes in size.", MaxBody)
	}
	body = strings.TrimPrefix(body, "\ufeff")
	if strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{") {
		return parseJSON(body)
	}
	return parseYAML(body)
}

// functions are the intrinsic functions by their short tags.
var functions = map[string]string{
	"!Ref": "Ref", "!Condition": "Condition",
	"!GetAtt": "Fn::GetAtt", "!Sub": "Fn::Sub", "!Join": "Fn::Join", "!Split": "Fn::Split",
	"!Select": "Fn::Select", "!FindInMap": "Fn::FindInMap", "!ImportValue": "Fn::ImportValue",
	"!Base64": "Fn::Base64", "!Cidr": "Fn::Cidr", "!GetAZs": "Fn::GetAZs", "!Transform": "Fn::Transform",
	"!If": "Fn::If", "!And": "Fn::And", "!Or": "Fn::Or", "!Not": "Fn::Not", "!Equals": "Fn::Equals",
	"!Contains": "Fn::Contains", "!EachMemberEquals": "Fn::EachMemberEquals", "!EachMemberIn": "Fn::EachMemberIn",
	"!RefAll": "Fn::RefAll", "!ValueOf": "Fn::ValueOf", "!ValueOfAll": "Fn::ValueOfAll",
	"!Length": "Fn::Length", "!ToJsonString": "Fn::ToJsonString",
}

// yamlReader turns yaml.v4's nodes into ours. Aliased values are shared, but
// counted each time they are used.
type yamlReader struct {
	done map[*yaml.Node]sized
	open map[*yaml.Node]bool
}

type sized struct {
	node        *Node
	size, depth int
}

// add counts a child of s.
func (s *sized) add(child sized) {
	s.size += child.size
	s.depth = max(s.depth, child.depth+1)
}

func parseYAML(body string) (n *Node, err error) {
	var doc, more yaml.Node
	docs := yaml.NewDecoder(strings.NewReader(body))
	if err := docs.Decode(&doc); err == io.EOF {
		return nil, malformed("unsupported structure.")
	} else if err != nil {
		return nil, notYAML(err)
	}
	switch err := docs.Decode(&more); {
	case err == nil: // what a second document says would be passed over
		return nil, malformed("a template is one YAML document (line %d, column %d)", more.Line, more.Column)
	case err != io.EOF:
		return nil, notYAML(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, malformed("unsupported structure.")
	}
	r := yamlReader{done: map[*yaml.Node]sized{}, open: map[*yaml.Node]bool{}}
	s, err := r.value(doc.Content[0], 0)
	return s.node, err
}

func notYAML(err error) error {
	var at *yaml.LoadError
	if errors.As(err, &at) {
		return malformed("YAML not well-formed. (line %d, column %d)", at.Mark.Line, at.Mark.Column)
	}
	return malformed("YAML not well-formed.")
}

func (r *yamlReader) value(y *yaml.Node, depth int) (sized, error) {
	if depth > maxDepth {
		return sized{}, malformed("values are nested too deeply (line %d, column %d)", y.Line, y.Column)
	}
	if y.Kind == yaml.AliasNode {
		return r.alias(y, depth)
	}
	if y.Anchor != "" {
		r.open[y] = true
		defer delete(r.open, y)
	}
	s, err := r.untagged(y, depth)
	if err != nil {
		return sized{}, err
	}
	if strings.HasPrefix(y.Tag, "!") && !strings.HasPrefix(y.Tag, "!!") {
		s, err = tagged(y, s)
		if err != nil {
			return sized{}, err
		}
	}
	if s.size > maxNodes {
		return sized{}, malformed("the template holds too many values (line %d, column %d)", y.Line, y.Column)
	}
	if y.Anchor != "" {
		r.done[y] = s
	}
	return s, nil
}

func (r *yamlReader) alias(y *yaml.Node, depth int) (sized, error) {
	if y.Alias == nil || r.open[y.Alias] {
		return sized{}, malformed("YAML aliases form a circle (line %d, column %d)", y.Line, y.Column)
	}
	if s, ok := r.done[y.Alias]; ok {
		if depth+s.depth > maxDepth {
			return sized{}, malformed("values are nested too deeply (line %d, column %d)", y.Line, y.Column)
		}
		return s, nil
	}
	return r.value(y.Alias, depth)
}

func (r *yamlReader) untagged(y *yaml.Node, depth int) (sized, error) {
	n := &Node{Line: y.Line, Column: y.Column}
	switch y.Kind {
	case yaml.ScalarNode:
		n.Kind, n.Text = scalar(y)
		return sized{n, 1, 0}, nil
	case yaml.SequenceNode:
		n.Kind = List
		total := sized{n, 1, 0}
		for _, c := range y.Content {
			s, err := r.value(c, depth+1)
			if err != nil {
				return sized{}, err
			}
			n.Items = append(n.Items, s.node)
			if total.add(s); total.size > maxNodes {
				break
			}
		}
		return total, nil
	case yaml.MappingNode:
		return r.mapping(y, n, depth)
	}
	return sized{}, malformed("unsupported structure.")
}

func (r *yamlReader) mapping(y *yaml.Node, n *Node, depth int) (sized, error) {
	n.Kind = Map
	total := sized{n, 1, 0}
	seen := make(map[string]bool, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		k := y.Content[i]
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			return sized{}, malformed("YAML not well-formed. (line %d, column %d)", k.Line, k.Column)
		}
		if seen[k.Value] {
			return sized{}, malformed("duplicate key %s (line %d, column %d)", k.Value, k.Line, k.Column)
		}
		seen[k.Value] = true
		s, err := r.value(y.Content[i+1], depth+1)
		if err != nil {
			return sized{}, err
		}
		n.Fields = append(n.Fields, Field{k.Value, s.node})
		if total.add(s); total.size > maxNodes {
			break
		}
	}
	return total, nil
}

// scalar gives a scalar its type. Dates stay text, so that a policy's version
// does, and YAML 1.1's yes and no are booleans, as they are on AWS.
func scalar(y *yaml.Node) (Kind, string) {
	if strings.HasPrefix(y.Tag, "!") && !strings.HasPrefix(y.Tag, "!!") {
		return String, y.Value
	}
	switch y.Tag {
	case "!!null":
		return Null, ""
	case "!!bool":
		return Bool, strings.ToLower(y.Value)
	case "!!int", "!!float":
		if strings.ContainsAny(y.Value, "0123456789") {
			return Number, y.Value
		}
	case "!!str":
		if y.Style != 0 {
			break
		}
		switch y.Value {
		case "yes", "Yes", "YES", "on", "On", "ON":
			return Bool, "true"
		case "no", "No", "NO", "off", "Off", "OFF":
			return Bool, "false"
		}
	}
	return String, y.Value
}

func tagged(y *yaml.Node, s sized) (sized, error) {
	name, ok := functions[y.Tag]
	if !ok {
		return sized{}, malformed("unsupported tag %s (line %d, column %d)", y.Tag, y.Line, y.Column)
	}
	arg := s.node
	if name == "Fn::GetAtt" && arg.Kind == String {
		resource, attribute, _ := strings.Cut(arg.Text, ".")
		arg = &Node{Kind: List, Items: []*Node{Text(resource), Text(attribute)}, Line: y.Line, Column: y.Column}
	}
	n := &Node{Kind: Map, Fields: []Field{{name, arg}}, Line: y.Line, Column: y.Column}
	return sized{n, s.size + 1, s.depth + 1}, nil
}

// jsonReader reads JSON token by token, to keep numbers as written and to see
// duplicate keys.
type jsonReader struct {
	body  string
	dec   *json.Decoder
	nodes int
	// at, line and start follow the decoder's offset.
	at, line, start int
}

func parseJSON(body string) (*Node, error) {
	r := &jsonReader{body: body, dec: json.NewDecoder(strings.NewReader(body)), line: 1}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.Token(); err != io.EOF {
		return nil, r.malformed()
	}
	return n, nil
}

func (r *jsonReader) position() (line, column int) {
	end := min(int(r.dec.InputOffset()), len(r.body))
	for ; r.at < end; r.at++ {
		if r.body[r.at] == '\n' {
			r.line++
			r.start = r.at + 1
		}
	}
	return r.line, end - r.start + 1
}

func (r *jsonReader) malformed() error {
	line, column := r.position()
	return malformed("JSON not well-formed. (line %d, column %d)", line, column)
}

func (r *jsonReader) value(depth int) (*Node, error) {
	line, column := r.position()
	if depth > maxDepth {
		return nil, malformed("values are nested too deeply (line %d, column %d)", line, column)
	}
	if r.nodes++; r.nodes > maxNodes {
		return nil, malformed("the template holds too many values (line %d, column %d)", line, column)
	}
	t, err := r.dec.Token()
	if err != nil {
		return nil, r.malformed()
	}
	n := &Node{Line: line, Column: column}
	switch t := t.(type) {
	case nil:
		return n, nil
	case bool:
		n.Kind, n.Text = Bool, "false"
		if t {
			n.Text = "true"
		}
	case json.Number:
		n.Kind, n.Text = Number, t.String()
	case string:
		n.Kind, n.Text = String, t
	case json.Delim:
		if t == '{' {
			return n, r.object(n, depth)
		}
		return n, r.list(n, depth)
	}
	return n, nil
}

func (r *jsonReader) object(n *Node, depth int) error {
	n.Kind = Map
	seen := map[string]bool{}
	for r.dec.More() {
		t, err := r.dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return r.malformed()
		}
		if seen[key] {
			line, column := r.position()
			return malformed("duplicate key %s (line %d, column %d)", key, line, column)
		}
		seen[key] = true
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Fields = append(n.Fields, Field{key, v})
	}
	return r.end()
}

func (r *jsonReader) list(n *Node, depth int) error {
	n.Kind = List
	for r.dec.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, v)
	}
	return r.end()
}

func (r *jsonReader) end() error {
	if _, err := r.dec.Token(); err != nil {
		return r.malformed()
	}
	return nil
}

// FromJSON reads a value that was stored with Node.JSON.
func FromJSON(b []byte) (*Node, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, nil
	}
	return parseJSON(string(b))
}

// wholeNumber reads a number of a template, given as number or text.
func wholeNumber(n *Node) (int, bool) {
	f, ok := number(n.String())
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<31 {
		return 0, false
	}
	return int(f), true
}
