package wire

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// rule is a Rule ready to check with.
type rule struct {
	Rule
	elem, key *rule
	enum      map[string]bool
	match     func() func(string) bool // compiled at first use
}

// rules are a model's rules by name, made as they are asked for.
type rules struct {
	source map[string]Rule
	made   map[string]*rule
}

func newRules(source map[string]Rule) *rules {
	return &rules{source: source, made: map[string]*rule{}}
}

// rule returns the rule of a name, or nil: shapes that only answers hold have
// none.
func (rs *rules) rule(name string) *rule {
	if rs == nil || name == "" {
		return nil
	}
	if r := rs.made[name]; r != nil {
		return r
	}
	src, ok := rs.source[name]
	if !ok {
		return nil
	}
	r := &rule{Rule: src}
	rs.made[name] = r
	r.elem, r.key = rs.rule(src.Elem), rs.rule(src.Key)
	if len(src.Enum) > 0 {
		r.enum = make(map[string]bool, len(src.Enum))
		for _, e := range src.Enum {
			r.enum[e] = true
		}
	}
	if src.Pattern != "" && src.RE2 != "-" {
		r.match = sync.OnceValue(func() func(string) bool { return compile(src) })
	}
	return r
}

// compile makes the whole-string matcher of a pattern. Patterns that Go
// cannot compile were marked by the generator; one that slipped through is
// not checked.
func compile(r Rule) func(string) bool {
	text := r.RE2
	if text == "" {
		text = r.Pattern
	}
	if class := compileClass(text); class != nil {
		return class
	}
	re, err := regexp.Compile(`^(?:` + text + `)$`)
	if err != nil {
		return func(string) bool { return true }
	}
	return re.MatchString
}

// The texts of AWS's refusals, per constraint.

func (r *rule) lengthMax() string {
	return "Member must have length less than or equal to " + number(*r.Max)
}

func (r *rule) lengthMin() string {
	return "Member must have length greater than or equal to " + number(*r.Min)
}

func (r *rule) patternText() string {
	return "Member must satisfy regular expression pattern: " + r.Pattern
}

func (r *rule) enumText() string {
	return "Member must satisfy enum value set: [" + strings.Join(r.Enum, ", ") + "]"
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// texts are all constraints of the rule, as refusals of list elements list
// them.
func (r *rule) texts(k kind) string {
	var all []string
	switch k {
	case kindInt, kindFloat:
		if r.Max != nil {
			all = append(all, "Member must have value less than or equal to "+number(*r.Max))
		}
		if r.Min != nil {
			all = append(all, "Member must have value greater than or equal to "+number(*r.Min))
		}
	default:
		if r.Max != nil {
			all = append(all, r.lengthMax())
		}
		if r.Min != nil {
			all = append(all, r.lengthMin())
		}
	}
	if r.Pattern != "" {
		all = append(all, r.patternText())
	}
	if r.enum != nil {
		all = append(all, r.enumText())
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// badLength returns the broken constraint on a length, or "".
func (r *rule) badLength(n int) string {
	switch {
	case r.Max != nil && float64(n) > *r.Max:
		return r.lengthMax()
	case r.Min != nil && float64(n) < *r.Min:
		return r.lengthMin()
	}
	return ""
}

func (r *rule) badNumber(n float64) string {
	switch {
	case r.Max != nil && n > *r.Max:
		return "Member must have value less than or equal to " + number(*r.Max)
	case r.Min != nil && n < *r.Min:
		return "Member must have value greater than or equal to " + number(*r.Min)
	}
	return ""
}

// okString tells whether s keeps to the rule.
func (r *rule) okString(s string) bool {
	if r.enum != nil && !r.enum[s] {
		return false
	}
	if (r.Min != nil || r.Max != nil) && r.badLength(utf8.RuneCountInString(s)) != "" {
		return false
	}
	return r.match == nil || r.match()(s)
}

// badString returns the broken constraints, in AWS's order.
func (r *rule) badString(s string) []string {
	var bad []string
	if r.enum != nil && !r.enum[s] {
		bad = append(bad, r.enumText())
	}
	if text := r.badLength(utf8.RuneCountInString(s)); text != "" {
		bad = append(bad, text)
	}
	if r.match != nil && !r.match()(s) {
		bad = append(bad, r.patternText())
	}
	return bad
}

// maxViolations bounds how many broken constraints one answer lists.
const maxViolations = 32

// checker collects the broken constraints of one request.
type checker struct {
	off   bool // nothing is checked
	path  []string
	found []string
}

// push and pop follow the decoder into structures.
func (c *checker) push(part string) { c.path = append(c.path, part) }
func (c *checker) pop()             { c.path = c.path[:len(c.path)-1] }

func (c *checker) at(name string) string {
	if len(c.path) == 0 {
		return name
	}
	return strings.Join(c.path, ".") + "." + name
}

func (c *checker) note(f *field, shown string, constraint string) {
	if len(c.found) >= maxViolations {
		return
	}
	value := "Value " + shown + " at"
	if f.sensitive {
		value = "Value at"
	}
	c.found = append(c.found, fmt.Sprintf("%s '%s' failed to satisfy constraint: %s", value, c.at(f.path), constraint))
}

// missing notes the required members that were not seen.
func (c *checker) missing(p *plan, s *seen) {
	if c.off {
		return
	}
	for _, i := range p.required {
		f := &p.fields[i]
		if s.has(i) || f.ownRequired || f.place != placeBody {
			continue
		}
		if len(c.found) < maxViolations {
			c.found = append(c.found, fmt.Sprintf("Value null at '%s' failed to satisfy constraint: Member must not be null", c.at(f.path)))
		}
	}
}

// field checks a member that was just decoded. Members of structures within
// it have been checked already.
func (c *checker) field(f *field, fv reflect.Value) {
	r := f.value.rule
	if c.off || r == nil {
		return
	}
	if f.value.pointer {
		fv = fv.Elem()
	}
	switch f.value.kind {
	case kindString:
		if s := fv.String(); !r.okString(s) {
			for _, bad := range r.badString(s) {
				c.note(f, "'"+clip(s)+"'", bad)
			}
		}
	case kindInt:
		if bad := r.badNumber(float64(fv.Int())); bad != "" {
			c.note(f, "'"+strconv.FormatInt(fv.Int(), 10)+"'", bad)
		}
	case kindFloat:
		if bad := r.badNumber(fv.Float()); bad != "" {
			c.note(f, "'"+number(fv.Float())+"'", bad)
		}
	case kindBlob:
		if bad := r.badLength(fv.Len()); bad != "" {
			c.note(f, "'java.nio.HeapByteBuffer[pos=0 lim="+strconv.Itoa(fv.Len())+" cap="+strconv.Itoa(fv.Len())+"]'", bad)
		}
	case kindList, kindMap:
		c.collection(f, r, fv)
	}
}

func (c *checker) collection(f *field, r *rule, fv reflect.Value) {
	shown := func() string { return "'" + clip(show(fv)) + "'" }
	if bad := r.badLength(fv.Len()); bad != "" {
		c.note(f, shown(), bad)
	}
	if f.value.kind == kindMap {
		if r.key != nil && !keysOK(r.key, fv) {
			c.note(f, shown(), "Map keys must satisfy constraint: "+r.key.texts(kindString))
		}
		if r.elem != nil && !valuesOK(r.elem, f.value.elem, fv) {
			c.note(f, shown(), "Map value must satisfy constraint: "+r.elem.texts(f.value.elem.kind))
		}
		return
	}
	if r.elem != nil && !elemsOK(r.elem, f.value.elem, fv) {
		c.note(f, shown(), "Member must satisfy constraint: "+r.elem.texts(f.value.elem.kind))
	}
}

func keysOK(r *rule, m reflect.Value) bool {
	for it := m.MapRange(); it.Next(); {
		if !r.okString(it.Key().String()) {
			return false
		}
	}
	return true
}

func valuesOK(r *rule, v *value, m reflect.Value) bool {
	for it := m.MapRange(); it.Next(); {
		if !valueOK(r, v, it.Value()) {
			return false
		}
	}
	return true
}

func elemsOK(r *rule, v *value, list reflect.Value) bool {
	for i := range list.Len() {
		if !valueOK(r, v, list.Index(i)) {
			return false
		}
	}
	return true
}

func valueOK(r *rule, v *value, rv reflect.Value) bool {
	switch v.kind {
	case kindString:
		return r.okString(rv.String())
	case kindInt:
		return r.badNumber(float64(rv.Int())) == ""
	case kindFloat:
		return r.badNumber(rv.Float()) == ""
	case kindBlob:
		return r.badLength(rv.Len()) == ""
	case kindList:
		return r.badLength(rv.Len()) == "" && (r.elem == nil || elemsOK(r.elem, v.elem, rv))
	case kindMap:
		return r.badLength(rv.Len()) == "" && (r.elem == nil || valuesOK(r.elem, v.elem, rv))
	}
	return true
}

// message is the text of the refusal, or "" when nothing is wrong.
func (c *checker) message() string {
	switch n := len(c.found); n {
	case 0:
		return ""
	case 1:
		return "1 validation error detected: " + c.found[0]
	default:
		return strconv.Itoa(n) + " validation errors detected: " + strings.Join(c.found, "; ")
	}
}

// maxShown bounds how much of a bad value a refusal repeats.
const maxShown = 1024

func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// show prints a collection as AWS's servers do, at least the beginning of it.
func show(v reflect.Value) string {
	var b strings.Builder
	showTo(&b, v)
	return b.String()
}

func showTo(b *strings.Builder, v reflect.Value) {
	if b.Len() > maxShown {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			b.WriteString("null")
			return
		}
		showTo(b, v.Elem())
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if b.Len() > maxShown {
				break
			}
			if i > 0 {
				b.WriteString(", ")
			}
			showTo(b, v.Index(i))
		}
		b.WriteByte(']')
	case reflect.Map:
		b.WriteByte('{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(k.String())
			b.WriteByte('=')
			showTo(b, v.MapIndex(k))
		}
		b.WriteByte('}')
	case reflect.Struct:
		showStruct(b, v)
	default:
		fmt.Fprint(b, v.Interface())
	}
}

func showStruct(b *strings.Builder, v reflect.Value) {
	b.WriteString(v.Type().Name())
	b.WriteByte('(')
	first := true
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("aws")
		if v.Field(i).IsZero() || b.Len() > maxShown {
			continue
		}
		if !first {
			b.WriteString(", ")
		}
		first = false
		b.WriteString(lowerFirst(v.Type().Field(i).Name))
		b.WriteByte('=')
		if strings.Contains(tag, ",sensitive") {
			b.WriteString("***")
			continue
		}
		showTo(b, v.Field(i))
	}
	b.WriteByte(')')
}
