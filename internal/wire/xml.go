package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// node is one element of an XML text.
type node struct {
	name     string
	attrs    []xml.Attr
	children []*node
	text     []byte
}

// child returns the first child of a name, or nil.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (n *node) childText(name string) string {
	if c := n.child(name); c != nil {
		return string(c.text)
	}
	return ""
}

// attr returns the value of an attribute by its name without prefix.
func (n *node) attr(name string) (string, bool) {
	for _, a := range n.attrs {
		if a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

// maxNodes bounds the elements of one text: ten thousand parts of a
// multipart upload with all their checksums fit.
const maxNodes = 200_000

var errXML = errors.New("not well-formed XML")

// parseXML reads a whole text. Document types and what hangs on them
// (entities) are refused.
func parseXML(data []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) { return nil, errXML }
	var (
		root  *node
		stack []*node
		count int
	)
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			count++
			if count > maxNodes || len(stack) >= maxDepth || root != nil && len(stack) == 0 {
				return nil, errXML
			}
			n := &node{name: t.Name.Local, attrs: withoutNamespaces(t.Attr)}
			if len(stack) == 0 {
				root = n
			} else {
				top := stack[len(stack)-1]
				top.children = append(top.children, n)
			}
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				top := stack[len(stack)-1]
				top.text = append(top.text, t...)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, errXML
			}
		case xml.Directive:
			return nil, errXML
		}
	}
	if root == nil {
		return nil, errXML
	}
	return root, nil
}

// withoutNamespaces keeps the attributes that are no namespace declarations.
func withoutNamespaces(all []xml.Attr) []xml.Attr {
	var kept []xml.Attr
	for _, a := range all {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			kept = append(kept, a)
		}
	}
	return kept
}

// xmlReader fills structs from elements.
type xmlReader struct {
	check checker
	depth int
}

// structure fills v from the children of n. Elements the plan does not know
// are passed over.
func (r *xmlReader) structure(p *plan, n *node, v reflect.Value) error {
	r.depth++
	defer func() { r.depth-- }()
	if r.depth > maxDepth {
		return errXML
	}
	var have seen
	hint := 0
	for _, c := range n.children {
		i := p.lookup([]byte(c.name), hint)
		if i < 0 {
			continue
		}
		f := &p.fields[i]
		if f.place != placeBody || f.attr || f.value.kind == kindStream {
			continue
		}
		hint = i
		have.add(i)
		if err := r.member(f, c, v.Field(f.index)); err != nil {
			return err
		}
	}
	for i := range p.fields {
		f := &p.fields[i]
		if !f.attr {
			continue
		}
		if text, ok := n.attr(localName(f.name)); ok {
			have.add(i)
			if err := setText(f.value, v.Field(f.index), text); err != nil {
				return err
			}
		}
	}
	for i := range p.fields {
		if f := &p.fields[i]; f.value.flat && have.has(i) {
			r.check.field(f, v.Field(f.index)) // once, when all its elements are there
		}
	}
	r.check.missing(p, &have)
	return nil
}

func localName(s string) string {
	for i := range len(s) {
		if s[i] == ':' {
			return s[i+1:]
		}
	}
	return s
}

func (r *xmlReader) member(f *field, n *node, fv reflect.Value) error {
	nested := f.value.kind >= kindList
	if nested {
		r.check.push(f.path)
	}
	err := r.value(f.value, n, fv)
	if nested {
		r.check.pop()
	}
	if err != nil {
		return err
	}
	if !f.value.flat {
		r.check.field(f, fv)
	}
	return nil
}

func (r *xmlReader) value(v *value, n *node, fv reflect.Value) error {
	switch v.kind {
	case kindStruct:
		return r.structure(v.plan, n, v.set(fv))
	case kindList:
		if v.flat {
			return r.item(v, n, fv)
		}
		fv.Set(reflect.MakeSlice(v.typ, 0, len(n.children)))
		for _, c := range n.children {
			if err := r.item(v, c, fv); err != nil {
				return err
			}
		}
		return nil
	case kindMap:
		return r.mapping(v, n, fv)
	}
	return setText(v, fv, string(n.text))
}

// item appends one element to a list.
func (r *xmlReader) item(v *value, n *node, fv reflect.Value) error {
	e := grow(fv)
	if v.elem.kind < kindList {
		return r.value(v.elem, n, e)
	}
	r.check.push(strconv.Itoa(fv.Len()) + ".member")
	defer r.check.pop()
	return r.value(v.elem, n, e)
}

// grow appends a zero element to a list and returns it.
func grow(list reflect.Value) reflect.Value {
	n := list.Len()
	list.Grow(1)
	list.SetLen(n + 1)
	e := list.Index(n)
	e.SetZero()
	return e
}

func (r *xmlReader) mapping(v *value, n *node, fv reflect.Value) error {
	if fv.IsNil() {
		fv.Set(reflect.MakeMap(v.typ))
	}
	entries := n.children
	if v.flat {
		entries = []*node{n}
	}
	for _, entry := range entries {
		key := entry.childText(v.keyName)
		e := reflect.New(v.elem.typ).Elem()
		if c := entry.child(v.valueName); c != nil {
			if err := r.value(v.elem, c, e); err != nil {
				return err
			}
		}
		fv.SetMapIndex(reflect.ValueOf(key), e)
	}
	return nil
}

// badText says that a text is not what the member holds.
type badText struct{ text, want string }

func (e *badText) Error() string {
	return strconv.Quote(clip(e.text)) + " is no " + e.want
}

// setText fills a value that has a text form.
func setText(v *value, fv reflect.Value, s string) error {
	switch v.kind {
	case kindString:
		if !utf8.ValidString(s) {
			return &badText{s, "UTF-8 text"}
		}
		fv.SetString(s)
	case kindBool:
		switch s {
		case "true", "True", "TRUE", "1":
			v.set(fv).SetBool(true)
		case "false", "False", "FALSE", "0":
			v.set(fv).SetBool(false)
		default:
			return &badText{s, "boolean"}
		}
	case kindInt:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return &badText{s, "integer"}
		}
		v.set(fv).SetInt(n)
	case kindFloat:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return &badText{s, "number"}
		}
		v.set(fv).SetFloat(f)
	case kindTime:
		t, ok := parseTime(s)
		if !ok {
			return &badText{s, "timestamp"}
		}
		v.set(fv).Set(reflect.ValueOf(t))
	case kindBlob:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return &badText{s, "base64 text"}
		}
		fv.SetBytes(b)
	default:
		return &badText{s, "structure"}
	}
	return nil
}

// appendText writes a value that has a text form, unescaped.
func appendText(b []byte, v *value, rv reflect.Value, iso string) []byte {
	switch v.kind {
	case kindString:
		return append(b, rv.String()...)
	case kindBool:
		return strconv.AppendBool(b, rv.Bool())
	case kindInt:
		return strconv.AppendInt(b, rv.Int(), 10)
	case kindFloat:
		return strconv.AppendFloat(b, rv.Float(), 'g', -1, 64)
	case kindTime:
		return appendTime(b, rv.Interface().(time.Time), v.time, iso)
	case kindBlob:
		return base64.StdEncoding.AppendEncode(b, rv.Bytes())
	}
	return b
}

// xmlWriter writes structs as elements.
type xmlWriter struct {
	b   []byte
	iso string // layout of timestamps
}

const xmlProlog = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

func (w *xmlWriter) open(name, ns string) {
	w.b = append(append(w.b, '<'), name...)
	if ns != "" {
		w.b = append(append(append(w.b, ` xmlns="`...), ns...), '"')
	}
	w.b = append(w.b, '>')
}

func (w *xmlWriter) end(name string) {
	w.b = append(append(append(w.b, "</"...), name...), '>')
}

func (w *xmlWriter) element(name, text string) {
	w.open(name, "")
	w.b = appendXMLText(w.b, text)
	w.end(name)
}

// members writes the members of a struct that stand in the body.
func (w *xmlWriter) members(p *plan, v reflect.Value) {
	for i := range p.fields {
		f := &p.fields[i]
		if f.place != placeBody || f.attr || f.value.kind == kindStream {
			continue
		}
		if fv, ok := f.send(v.Field(f.index)); ok {
			w.member(f, fv)
		}
	}
}

func (w *xmlWriter) member(f *field, fv reflect.Value) {
	v := f.value
	switch {
	case v.kind == kindList && v.flat:
		for i := range fv.Len() {
			w.value(f.name, v.elem, fv.Index(i))
		}
	case v.kind == kindMap && v.flat:
		w.entries(f.name, v, fv)
	case v.kind == kindStruct:
		w.structure(f.name, f, fv)
	default:
		w.value(f.name, v, fv)
	}
}

// structure writes a struct member with its namespace and attributes.
func (w *xmlWriter) structure(name string, f *field, fv reflect.Value) {
	w.b = append(append(w.b, '<'), name...)
	if f.ns != "" {
		w.b = append(w.b, " xmlns"...)
		if f.nsPrefix != "" {
			w.b = append(append(w.b, ':'), f.nsPrefix...)
		}
		w.b = append(append(append(w.b, `="`...), f.ns...), '"')
	}
	w.attributes(f.value.plan, fv)
	w.b = append(w.b, '>')
	w.members(f.value.plan, fv)
	w.end(name)
}

func (w *xmlWriter) attributes(p *plan, v reflect.Value) {
	for i := range p.fields {
		f := &p.fields[i]
		if !f.attr {
			continue
		}
		if fv, ok := f.value.present(v.Field(f.index)); ok {
			w.b = append(append(append(w.b, ' '), f.name...), `="`...)
			w.b = appendXMLText(w.b, string(appendText(nil, f.value, fv, w.iso)))
			w.b = append(w.b, '"')
		}
	}
}

func (w *xmlWriter) value(name string, v *value, rv reflect.Value) {
	switch v.kind {
	case kindStruct:
		w.b = append(append(w.b, '<'), name...)
		w.attributes(v.plan, rv)
		w.b = append(w.b, '>')
		w.members(v.plan, rv)
		w.end(name)
	case kindList:
		w.open(name, "")
		for i := range rv.Len() {
			w.value(v.item, v.elem, rv.Index(i))
		}
		w.end(name)
	case kindMap:
		w.open(name, "")
		w.entries("entry", v, rv)
		w.end(name)
	case kindString:
		w.element(name, rv.String())
	default:
		w.open(name, "")
		w.b = appendText(w.b, v, rv, w.iso) // no character of it needs escaping
		w.end(name)
	}
}

func (w *xmlWriter) entries(name string, v *value, rv reflect.Value) {
	for _, k := range sortedKeys(rv) {
		w.open(name, "")
		w.element(v.keyName, k.String())
		w.value(v.valueName, v.elem, rv.MapIndex(k))
		w.end(name)
	}
}

// appendXMLText escapes s. Control characters that XML cannot carry are
// written as references, as S3 does for keys; bytes that are no UTF-8 become
// U+FFFD.
func appendXMLText(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		var esc string
		n := 1
		switch {
		case c == '&':
			esc = "&amp;"
		case c == '<':
			esc = "&lt;"
		case c == '>':
			esc = "&gt;"
		case c == '"':
			esc = "&quot;"
		case c < ' ' && c != '\n' && c != '\t':
			esc = "&#x" + strconv.FormatInt(int64(c), 16) + ";"
		case c >= utf8.RuneSelf:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				esc = "\ufffd"
			}
		}
		if esc != "" {
			b = append(append(b, s[start:i]...), esc...)
			start = i + n
		}
		i += n
	}
	return append(b, s[start:]...)
}
