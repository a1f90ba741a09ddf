package wire

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

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

// isText tells whether s can be a string of an input: UTF-8 without NUL,
// which no database keeps in its texts.
func isText(s string) bool {
	return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// setText fills a value that has a text form.
func setText(v *value, fv reflect.Value, s string) error {
	switch v.kind {
	case kindString:
		if !isText(s) {
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
