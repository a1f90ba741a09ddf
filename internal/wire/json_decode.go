package wire

import (
	"bytes"
	"encoding/base64"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/aws"
)

// maxDepth bounds how deep values may nest, in every codec.
const maxDepth = 64

// maxItems bounds the members and elements of one JSON text: a structure in
// memory is a hundred times the size of the {} that asks for it.
const maxItems = 100_000

// jsonReader reads one JSON text into structs.
type jsonReader struct {
	data  []byte
	pos   int
	depth int
	items int // elements of lists and maps so far
	check checker
	text  []byte // for strings with escapes
}

// decode reads the whole text as an object. An empty text is an empty object.
func (r *jsonReader) decode(p *plan, v reflect.Value) error {
	r.space()
	if r.pos == len(r.data) {
		var none seen
		r.check.missing(p, &none)
		return nil
	}
	if r.data[r.pos] != '{' {
		return r.mismatch("structure")
	}
	if err := r.object(p, v); err != nil {
		return err
	}
	r.space()
	if r.pos != len(r.data) {
		return r.malformed("text after the end of the object")
	}
	return nil
}

func (r *jsonReader) malformed(what string) error {
	return aws.Errorf("SerializationException", "Could not parse request body into json: %s at offset %d", what, r.pos)
}

func (r *jsonReader) space() {
	for r.pos < len(r.data) {
		switch r.data[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// next skips space and returns the byte that follows, or 0 at the end.
func (r *jsonReader) next() byte {
	r.space()
	if r.pos == len(r.data) {
		return 0
	}
	return r.data[r.pos]
}

func (r *jsonReader) enter() error {
	r.depth++
	if r.depth > maxDepth {
		return r.malformed("values are nested too deep")
	}
	return nil
}

// each walks the members of the object at pos, or the elements of the list.
func (r *jsonReader) each(open, end byte, item func() error) error {
	if err := r.enter(); err != nil {
		return err
	}
	r.pos++ // open
	if r.next() == end {
		r.pos++
		r.depth--
		return nil
	}
	for {
		if r.items++; r.items > maxItems {
			return r.malformed("too many values")
		}
		if err := item(); err != nil {
			return err
		}
		switch r.next() {
		case ',':
			r.pos++
			r.space()
		case end:
			r.pos++
			r.depth--
			return nil
		default:
			return r.malformed("expected ',' or '" + string(end) + "'")
		}
	}
}

func (r *jsonReader) object(p *plan, v reflect.Value) error {
	var have seen
	hint := 0
	err := r.each('{', '}', func() error {
		name, err := r.key()
		if err != nil {
			return err
		}
		i := p.lookup(name, hint)
		if i < 0 {
			return r.skip()
		}
		hint = i + 1
		f := &p.fields[i]
		if r.null() {
			return nil
		}
		have.add(i)
		return r.member(f, v.Field(f.index))
	})
	if err != nil {
		return err
	}
	r.check.missing(p, &have)
	return nil
}

func (r *jsonReader) member(f *field, fv reflect.Value) error {
	nested := f.value.kind >= kindList
	if nested {
		r.check.push(f.path)
	}
	err := r.value(f.value, fv)
	if nested {
		r.check.pop()
	}
	if err != nil {
		return err
	}
	r.check.field(f, fv)
	return nil
}

// key reads a member's name and the colon. It is valid until the next read.
func (r *jsonReader) key() ([]byte, error) {
	if r.next() != '"' {
		return nil, r.malformed("expected a name in quotes")
	}
	name, err := r.string()
	if err != nil {
		return nil, err
	}
	if r.next() != ':' {
		return nil, r.malformed("expected ':'")
	}
	r.pos++
	r.space()
	return name, nil
}

// null skips a null, if there is one.
func (r *jsonReader) null() bool {
	if r.pos+4 <= len(r.data) && string(r.data[r.pos:r.pos+4]) == "null" {
		r.pos += 4
		return true
	}
	return false
}

// value reads one value into fv. Lists and maps are made anew, so that of
// members given twice the last one counts.
func (r *jsonReader) value(v *value, fv reflect.Value) error {
	switch v.kind {
	case kindString:
		return r.readString(fv)
	case kindBool:
		return r.readBool(v.set(fv))
	case kindInt, kindFloat:
		return r.readNumber(v, fv)
	case kindTime:
		return r.readTime(v, fv)
	case kindBlob:
		return r.readBlob(fv)
	case kindStruct:
		if r.next() != '{' {
			return r.mismatch("structure")
		}
		return r.object(v.plan, v.set(fv))
	case kindList:
		return r.readList(v, fv)
	case kindMap:
		return r.readMap(v, fv)
	}
	return r.skip()
}

func (r *jsonReader) readString(fv reflect.Value) error {
	if r.next() != '"' {
		return r.mismatch("String")
	}
	s, err := r.string()
	if err != nil {
		return err
	}
	if bytes.IndexByte(s, 0) >= 0 {
		return errNUL
	}
	fv.SetString(string(s))
	return nil
}

var errNUL = serialization("A string holds the character NUL")

func (r *jsonReader) readBool(fv reflect.Value) error {
	r.space()
	switch {
	case r.word("true"):
		fv.SetBool(true)
	case r.word("false"):
		fv.SetBool(false)
	default:
		return r.mismatch("Boolean")
	}
	return nil
}

func (r *jsonReader) word(w string) bool {
	if r.pos+len(w) > len(r.data) || string(r.data[r.pos:r.pos+len(w)]) != w {
		return false
	}
	r.pos += len(w)
	return true
}

func (r *jsonReader) readNumber(v *value, fv reflect.Value) error {
	want := "Integer"
	if v.kind == kindFloat {
		want = "Double"
	}
	if c := r.next(); c != '-' && (c < '0' || c > '9') {
		return r.mismatch(want)
	}
	text, err := r.number()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return aws.Errorf("SerializationException", "%s cannot be converted to %s", clip(string(text)), want)
	}
	if v.kind == kindFloat {
		v.set(fv).SetFloat(f)
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil { // a fraction or an exponent is truncated, as AWS does
		if math.Abs(f) >= 1<<63 {
			return aws.Errorf("SerializationException", "%s cannot be converted to %s", clip(string(text)), want)
		}
		n = int64(f)
	}
	v.set(fv).SetInt(n)
	return nil
}

// number returns the text of the number at pos.
func (r *jsonReader) number() ([]byte, error) {
	start := r.pos
	if r.data[r.pos] == '-' {
		r.pos++
	}
	whole := r.digits()
	if whole == 0 || whole > 1 && r.data[r.pos-whole] == '0' {
		return nil, r.malformed("bad number")
	}
	if r.pos < len(r.data) && r.data[r.pos] == '.' {
		r.pos++
		if r.digits() == 0 {
			return nil, r.malformed("bad number")
		}
	}
	if r.pos < len(r.data) && (r.data[r.pos] == 'e' || r.data[r.pos] == 'E') {
		r.pos++
		if r.pos < len(r.data) && (r.data[r.pos] == '+' || r.data[r.pos] == '-') {
			r.pos++
		}
		if r.digits() == 0 {
			return nil, r.malformed("bad number")
		}
	}
	return r.data[start:r.pos], nil
}

func (r *jsonReader) digits() int {
	n := 0
	for r.pos < len(r.data) && r.data[r.pos] >= '0' && r.data[r.pos] <= '9' {
		r.pos++
		n++
	}
	return n
}

func (r *jsonReader) readTime(v *value, fv reflect.Value) error {
	var (
		t  time.Time
		ok bool
	)
	switch c := r.next(); {
	case c == '"':
		s, err := r.string()
		if err != nil {
			return err
		}
		t, ok = parseTime(string(s))
	case c == '-' || c >= '0' && c <= '9':
		text, err := r.number()
		if err != nil {
			return err
		}
		f, err := strconv.ParseFloat(string(text), 64)
		if err == nil {
			t, ok = epoch(f)
		}
	default:
		return r.mismatch("Date")
	}
	if !ok {
		return aws.Errorf("SerializationException", "The value cannot be converted to Date")
	}
	if v.pointer {
		fv.Set(reflect.ValueOf(&t))
	} else {
		fv.Set(reflect.ValueOf(t))
	}
	return nil
}

func (r *jsonReader) readBlob(fv reflect.Value) error {
	if r.next() != '"' {
		return r.mismatch("Blob")
	}
	s, err := r.string()
	if err != nil {
		return err
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(b, s)
	if err != nil {
		return aws.Errorf("SerializationException", "The blob is not in base64: %s", err)
	}
	fv.SetBytes(b[:n])
	return nil
}

func (r *jsonReader) readList(v *value, fv reflect.Value) error {
	if r.next() != '[' {
		return r.mismatch("list")
	}
	fv.Set(reflect.MakeSlice(v.typ, 0, 0))
	n := 0
	return r.each('[', ']', func() error {
		if r.null() {
			return nil
		}
		n++
		fv.Grow(1)
		fv.SetLen(n)
		e := fv.Index(n - 1)
		e.SetZero()
		return r.nested(v.elem, e, strconv.Itoa, n)
	})
}

// nested reads a part of a collection; refusals within name its place.
func (r *jsonReader) nested(v *value, fv reflect.Value, name func(int) string, n int) error {
	if v.kind < kindList {
		return r.value(v, fv)
	}
	r.check.push(name(n) + ".member")
	defer r.check.pop()
	return r.value(v, fv)
}

func (r *jsonReader) readMap(v *value, fv reflect.Value) error {
	if r.next() != '{' {
		return r.mismatch("map")
	}
	m := reflect.MakeMap(v.typ)
	fv.Set(m)
	return r.each('{', '}', func() error {
		name, err := r.key()
		if err != nil {
			return err
		}
		if bytes.IndexByte(name, 0) >= 0 {
			return errNUL
		}
		key := string(name)
		if r.null() {
			return nil
		}
		e := reflect.New(v.elem.typ).Elem()
		if err := r.nested(v.elem, e, func(int) string { return key }, 0); err != nil {
			return err
		}
		m.SetMapIndex(reflect.ValueOf(key), e)
		return nil
	})
}

// mismatch is the refusal of the value at pos, which is not what it should be.
func (r *jsonReader) mismatch(want string) error {
	c := r.next()
	var got string
	switch {
	case c == '{':
		return serialization("Start of structure or map found where not expected.")
	case c == '[':
		return serialization("Start of list found where not expected")
	case c == '"':
		got = "STRING_VALUE"
	case c == 't' && r.word("true"):
		got = "TRUE_VALUE"
	case c == 'f' && r.word("false"):
		got = "FALSE_VALUE"
	case c == '-' || c >= '0' && c <= '9':
		got = "NUMBER_VALUE"
	default:
		return r.malformed("expected a value")
	}
	switch want {
	case "structure":
		return serialization("Expected structure or null")
	case "list":
		return serialization("Expected list or null")
	case "map":
		return serialization("Expected map or null")
	}
	return serialization(got + " cannot be converted to " + want)
}

func serialization(text string) error {
	return &aws.Error{Code: "SerializationException", Message: text}
}

// skip passes over a value that nobody asked for.
func (r *jsonReader) skip() error {
	switch c := r.next(); {
	case c == '{':
		return r.each('{', '}', func() error {
			if _, err := r.key(); err != nil {
				return err
			}
			return r.skip()
		})
	case c == '[':
		return r.each('[', ']', r.skip)
	case c == '"':
		_, err := r.string()
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := r.number()
		return err
	case r.word("true"), r.word("false"), r.null():
		return nil
	}
	return r.malformed("expected a value")
}

// string reads the quoted string at pos. The result is valid until the next
// read.
func (r *jsonReader) string() ([]byte, error) {
	r.pos++ // the quote
	start := r.pos
	for i := start; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case c == '"':
			r.pos = i + 1
			return r.checkUTF8(r.data[start:i])
		case c == '\\':
			return r.escaped(start, i)
		case c < ' ':
			r.pos = i
			return nil, r.malformed("control character in a string")
		}
	}
	r.pos = len(r.data)
	return nil, r.malformed("unterminated string")
}

func (r *jsonReader) checkUTF8(s []byte) ([]byte, error) {
	if !utf8.Valid(s) {
		return nil, r.malformed("invalid UTF-8 in a string")
	}
	return s, nil
}

// escaped goes on with a string whose first escape is at i.
func (r *jsonReader) escaped(start, i int) ([]byte, error) {
	out := append(r.text[:0], r.data[start:i]...)
	for i < len(r.data) {
		c := r.data[i]
		switch {
		case c == '"':
			r.pos = i + 1
			r.text = out
			return r.checkUTF8(out)
		case c < ' ':
			r.pos = i
			return nil, r.malformed("control character in a string")
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		if i+1 >= len(r.data) {
			break
		}
		i++
		if r.data[i] == 'u' {
			ru, n := unicodeEscape(r.data[i+1:])
			if n == 0 {
				r.pos = i
				return nil, r.malformed("bad escape")
			}
			out = utf8.AppendRune(out, ru)
			i += 1 + n
			continue
		}
		plain, ok := simpleEscapes[r.data[i]]
		if !ok {
			r.pos = i
			return nil, r.malformed("bad escape")
		}
		out = append(out, plain)
		i++
	}
	r.pos = len(r.data)
	return nil, r.malformed("unterminated string")
}

var simpleEscapes = map[byte]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// unicodeEscape reads the four digits after \u, and the second half of a
// surrogate pair. It returns how many bytes it read; 0 means a bad escape.
func unicodeEscape(b []byte) (rune, int) {
	first, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, 4
	}
	if len(b) >= 10 && b[4] == '\\' && b[5] == 'u' {
		if second, ok := hex4(b[6:]); ok {
			if full := utf16.DecodeRune(first, second); full != utf8.RuneError {
				return full, 10
			}
		}
	}
	return utf8.RuneError, 4
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 32)
	if err != nil {
		return 0, false
	}
	return rune(n), true
}
