package wire

import (
	"cmp"
	"encoding/base64"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// appendJSON writes a struct as a JSON object.
func (p *plan) appendJSON(b []byte, v reflect.Value) []byte {
	b = append(b, '{')
	first := true
	for i := range p.fields {
		f := &p.fields[i]
		fv, ok := f.send(v.Field(f.index))
		if !ok {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, f.json...)
		b = f.value.appendJSON(b, fv)
	}
	return append(b, '}')
}

// appendJSON writes a value that is present.
func (v *value) appendJSON(b []byte, rv reflect.Value) []byte {
	switch v.kind {
	case kindString:
		return appendJSONString(b, rv.String())
	case kindBool:
		return strconv.AppendBool(b, rv.Bool())
	case kindInt:
		return strconv.AppendInt(b, rv.Int(), 10)
	case kindFloat:
		return appendJSONFloat(b, rv.Float())
	case kindTime:
		return appendJSONTime(b, *rv.Addr().Interface().(*time.Time), v.time)
	case kindBlob:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, rv.Bytes())
		return append(b, '"')
	case kindStruct:
		return v.plan.appendJSON(b, rv)
	case kindList:
		return v.appendJSONList(b, rv)
	case kindMap:
		return v.appendJSONMap(b, rv)
	}
	return append(b, "null"...) // streams do not occur in JSON
}

func (v *value) appendJSONList(b []byte, rv reflect.Value) []byte {
	b = append(b, '[')
	for i := range rv.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = v.elem.appendJSON(b, rv.Index(i))
	}
	return append(b, ']')
}

func (v *value) appendJSONMap(b []byte, rv reflect.Value) []byte {
	b = append(b, '{')
	for i, k := range sortedKeys(rv) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, k.String())
		b = append(b, ':')
		b = v.elem.appendJSON(b, addressable(rv.MapIndex(k)))
	}
	return append(b, '}')
}

// addressable copies a map's value to where its address can be taken.
func addressable(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	return keys
}

func appendJSONTime(b []byte, t time.Time, f timeFormat) []byte {
	if f == timeEpoch {
		return appendEpoch(b, t)
	}
	b = append(b, '"')
	b = appendTime(b, t, f, isoMillis)
	return append(b, '"')
}

func appendJSONFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...) // JSON has no word for it
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendJSONString writes a quoted string. Bytes that are no UTF-8 become
// U+FFFD.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				i++
				start = i
				continue
			}
			i += n
			continue
		}
		b = append(b, s[start:i]...)
		b = appendJSONEscape(b, c)
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

func appendJSONEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

func quoteJSON(s string) string { return string(appendJSONString(nil, s)) }
