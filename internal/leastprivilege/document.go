package leastprivilege

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

const language = "2012-10-17"

// Document is a policy as it is written.
type Document struct {
	Version   string
	Statement []Statement
}

// Statement is one Allow.
type Statement struct {
	Effect    string
	Action    List
	Resource  List
	Condition map[string]map[string]List `json:",omitempty"`
}

func (s Statement) condition() string {
	text, _ := json.Marshal(s.Condition)
	return string(text)
}

// List is written as one text where it has one.
type List []string

// MarshalJSON returns a JSON string, or an array of them.
func (l List) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return plain(l[0])
	}
	return plain([]string(l))
}

// plain is JSON without the escapes for HTML.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// value is a document as an ordered tree: what both writers print.
type value struct {
	text   string
	sub    bool // Fn::Sub
	items  []value
	fields []field
}

type field struct {
	name  string
	value value
}

// Writer writes a document.
type Writer struct {
	// Account and Region are written as ${AWS::AccountId} and ${AWS::Region} of
	// a CloudFormation template; empty means literally.
	Account, Region string
}

// JSON returns the document, indented, with a line break at its end. AWS takes
// it as it is, unless a Writer's Account or Region made it a part of a
// template.
func (w Writer) JSON(d *Document) []byte {
	var b bytes.Buffer
	writeJSON(&b, w.document(d), "")
	b.WriteByte('\n')
	return b.Bytes()
}

// YAML returns the document as the property PolicyDocument of a CloudFormation
// resource.
func (w Writer) YAML(d *Document) []byte {
	var b bytes.Buffer
	b.WriteString("PolicyDocument:\n")
	writeYAML(&b, w.document(d), "  ")
	return b.Bytes()
}

func (w Writer) document(d *Document) value {
	list := value{items: []value{}}
	for _, s := range d.Statement {
		v := value{fields: []field{{"Effect", value{text: s.Effect}}, {"Action", w.list(s.Action, false)}, {"Resource", w.list(s.Resource, true)}}}
		if len(s.Condition) > 0 {
			v.fields = append(v.fields, field{"Condition", w.conditions(s.Condition)})
		}
		list.items = append(list.items, v)
	}
	return value{fields: []field{{"Version", value{text: d.Version}}, {"Statement", list}}}
}

func (w Writer) conditions(all map[string]map[string]List) value {
	out := value{}
	for _, op := range slices.Sorted(maps.Keys(all)) {
		keys := value{}
		for _, k := range slices.Sorted(maps.Keys(all[op])) {
			keys.fields = append(keys.fields, field{k, w.list(all[op][k], true)})
		}
		out.fields = append(out.fields, field{op, keys})
	}
	return out
}

func (w Writer) list(l List, placed bool) value {
	if len(l) == 1 {
		return w.text(l[0], placed)
	}
	v := value{items: []value{}}
	for _, s := range l {
		v.items = append(v.items, w.text(s, placed))
	}
	return v
}

// text is a value; placed says that account and region may stand in it.
func (w Writer) text(s string, placed bool) value {
	if !placed {
		return value{text: s}
	}
	sub := strings.ReplaceAll(s, "${", "${!")
	before := sub
	sub = replaceWord(sub, w.Account, "${AWS::AccountId}")
	sub = replaceWord(sub, w.Region, "${AWS::Region}")
	if sub == before {
		return value{text: s}
	}
	return value{text: sub, sub: true}
}

// replaceWord replaces a word that stands between characters of no word.
func replaceWord(s, word, by string) string {
	if word == "" {
		return s
	}
	re := regexp.MustCompile(`(^|[^0-9A-Za-z])` + regexp.QuoteMeta(word) + `($|[^0-9A-Za-z])`)
	for {
		at := re.FindStringSubmatchIndex(s)
		if at == nil {
			return s
		}
		s = s[:at[3]] + by + s[at[4]:]
	}
}

// Region returns the one region that a document's resources name, and "" when
// there are several or none.
func Region(d *Document) string {
	found := ""
	for _, s := range d.Statement {
		for _, r := range s.Resource {
			a, ok := aws.ParseARN(r)
			if !ok || a.Region == "" || a.Region == "*" {
				continue
			}
			if found != "" && found != a.Region {
				return ""
			}
			found = a.Region
		}
	}
	return found
}

func writeJSON(b *bytes.Buffer, v value, indent string) {
	deeper := indent + "  "
	switch {
	case v.fields != nil:
		b.WriteString("{\n")
		for i, f := range v.fields {
			b.WriteString(deeper + quote(f.name) + ": ")
			writeJSON(b, f.value, deeper)
			b.WriteString(comma(i, len(v.fields)))
		}
		b.WriteString(indent + "}")
	case v.items != nil:
		b.WriteString("[\n")
		for i, item := range v.items {
			b.WriteString(deeper)
			writeJSON(b, item, deeper)
			b.WriteString(comma(i, len(v.items)))
		}
		b.WriteString(indent + "]")
	case v.sub:
		b.WriteString(`{"Fn::Sub": ` + quote(v.text) + "}")
	default:
		b.WriteString(quote(v.text))
	}
}

func comma(i, n int) string {
	if i < n-1 {
		return ",\n"
	}
	return "\n"
}

func quote(s string) string {
	text, err := plain(s)
	if err != nil {
		return fmt.Sprintf("%q", s)
	}
	return string(text)
}

// bare are the texts that YAML reads as themselves without quotes.
var bare = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*([:/._-]+[A-Za-z0-9]+)*$`)

// scalar writes a text for YAML; a date or a number is quoted, and so is what
// YAML takes for something else.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return quote(s)
	}
	if bare.MatchString(s) {
		return s
	}
	return quote(s)
}

// writeYAML writes fields or items, each line after indent.
func writeYAML(b *bytes.Buffer, v value, indent string) {
	for _, f := range v.fields {
		b.WriteString(indent + scalar(f.name) + ":")
		writeBelow(b, f.value, indent+"  ")
	}
	for _, item := range v.items {
		if item.fields == nil {
			b.WriteString(indent + "-")
			writeBelow(b, item, indent+"  ")
			continue
		}
		var inner bytes.Buffer
		writeYAML(&inner, item, indent+"  ")
		b.WriteString(indent + "- " + strings.TrimPrefix(inner.String(), indent+"  "))
	}
}

// writeBelow writes a value after a colon or dash.
func writeBelow(b *bytes.Buffer, v value, indent string) {
	switch {
	case v.fields != nil || v.items != nil:
		b.WriteByte('\n')
		writeYAML(b, v, indent)
	case v.sub:
		b.WriteString(" !Sub " + quote(v.text) + "\n")
	default:
		b.WriteString(" " + scalar(v.text) + "\n")
	}
}
