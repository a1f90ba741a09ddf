package wire

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

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
	b      []byte
	iso    string // layout of timestamps
	strict bool   // what XML 1.0 cannot carry becomes U+FFFD
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
	w.text(text)
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
			w.text(string(appendText(nil, f.value, fv, w.iso)))
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

// text writes escaped text.
func (w *xmlWriter) text(s string) { w.b = appendXMLText(w.b, s, w.strict) }

// appendXMLText escapes s. XML 1.0 cannot carry control characters, not even as
// references, which is how S3 writes those of keys all the same: its clients
// ask for encoding-type=url. In strict text they become U+FFFD, as everywhere
// NUL does and what is no UTF-8.
func appendXMLText(b []byte, s string, strict bool) []byte {
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
		case c == 0:
			esc = "\ufffd"
		case c < ' ' && c != '\n' && c != '\t' && c != '\r' && strict:
			esc = "\ufffd"
		case c < ' ' && c != '\n' && c != '\t':
			esc = "&#x" + strconv.FormatInt(int64(c), 16) + ";"
		case c >= utf8.RuneSelf:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 || r == 0xfffe || r == 0xffff {
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
