package wire

import (
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// kind is what a value is on the wire.
type kind uint8

const (
	kindString kind = iota
	kindBool
	kindInt
	kindFloat
	kindTime
	kindBlob
	kindList
	kindMap
	kindStruct
	kindStream
)

// place is where a member stands in a REST message.
type place uint8

const (
	placeBody place = iota
	placeHeader
	placePrefix // headers that begin with the member's name
	placeURI
	placeQuery
	placeStatus
)

// plan is how a struct type is read and written, worked out once.
type plan struct {
	typ      reflect.Type
	name     string // of the shape
	fields   []field
	byName   map[string]int
	required []int
	// rest is set for inputs and outputs with members outside the body.
	rest bool
	// body tells whether members without a place of their own exist, which
	// then make up an XML body.
	body bool
	// payload is the index of the member that is the body; -1 is none.
	payload int
}

// maxFields is how many members a seen can hold.
const maxFields = 128

// field is one member of a struct. Its tag reads
//
//	aws:"NAME,option,option=value…"
//
// NAME is the member's name on the wire. The options are header, prefix, uri,
// query, status (where it stands in REST); required; always (sent although
// empty); sensitive; payload, stream, eventstream (it is the body); token
// (idempotency); json; host; attr, ns=, nsprefix= (XML); time= (format);
// flattened, item=, key=, value= (names in lists and maps); member= (the
// modelled name, where NAME differs); rule= (see Model.Rules); own-required
// and own-value (the service itself answers for an absent or a bad value).
type field struct {
	index  int
	name   string
	json   string // `"name":`
	header string // the name as http.Header spells it
	member string // modelled name
	path   string // the member's name in refusals: lower camel case

	place       place
	required    bool
	always      bool
	sensitive   bool
	payload     bool
	eventstream bool
	attr        bool
	ownRequired bool
	ns          string
	nsPrefix    string

	value *value
}

// value is how one value is read and written.
type value struct {
	kind    kind
	pointer bool
	typ     reflect.Type // without the pointer
	elem    *value       // of a list, or the values of a map
	plan    *plan        // of a struct
	rule    *rule
	time    timeFormat

	flat      bool   // flattened list or map
	item      string // element name of list items
	keyName   string // element names of map entries
	valueName string
}

// planner builds plans and keeps them. It is not safe for concurrent use;
// the plans are.
type planner struct {
	plans map[reflect.Type]*plan
	rules *rules
	times timeFormat // the protocol's default
}

func newPlanner(r *rules, times timeFormat) *planner {
	return &planner{plans: map[reflect.Type]*plan{}, rules: r, times: times}
}

// plan returns the plan of a struct type. It panics on types that the
// generator does not make: a mistake in the program, which any test that
// touches the type finds.
func (p *planner) plan(t reflect.Type) *plan {
	if have := p.plans[t]; have != nil {
		return have
	}
	if t.NumField() > maxFields {
		panic("wire: " + t.String() + " has too many members")
	}
	made := &plan{typ: t, name: t.Name(), byName: map[string]int{}, payload: -1}
	p.plans[t] = made // before its fields: shapes may be recursive
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("aws")
		if !ok {
			continue
		}
		f := p.field(sf, tag)
		f.index = i
		made.byName[f.name] = len(made.fields)
		switch {
		case f.payload:
			made.payload = len(made.fields)
		case f.place != placeBody:
			made.rest = true
		default:
			made.body = true
		}
		if f.required {
			made.required = append(made.required, len(made.fields))
		}
		made.fields = append(made.fields, f)
	}
	return made
}

func (p *planner) field(sf reflect.StructField, tag string) field {
	name, rest, _ := strings.Cut(tag, ",")
	f := field{name: name, json: quoteJSON(name) + ":", member: name}
	v := p.value(sf.Type)
	f.value = v
	for rest != "" {
		var option string
		option, rest, _ = strings.Cut(rest, ",")
		key, arg, _ := strings.Cut(option, "=")
		if !f.option(key, arg) && !p.valueOption(v, key, arg) {
			panic(fmt.Sprintf("wire: %s has the unknown tag option %q", sf.Name, option))
		}
	}
	f.path = lowerFirst(f.member)
	f.header = http.CanonicalHeaderKey(f.name)
	if v.kind == kindTime && v.time == timeDefault {
		v.time = p.times
		if p.times == timeISO && f.place == placeHeader {
			v.time = timeHTTP
		}
	}
	return f
}

func (f *field) option(key, arg string) bool {
	switch key {
	case "header":
		f.place = placeHeader
	case "prefix":
		f.place = placePrefix
	case "uri":
		f.place = placeURI
	case "query":
		f.place = placeQuery
	case "status":
		f.place = placeStatus
	case "required":
		f.required = true
	case "always":
		f.always = true
	case "sensitive":
		f.sensitive = true
	case "payload":
		f.payload = true
	case "eventstream":
		f.eventstream = true
	case "attr":
		f.attr = true
	case "own-required":
		f.ownRequired = true
	case "ns":
		f.ns = arg
	case "nsprefix":
		f.nsPrefix = arg
	case "member":
		f.member = arg
	case "stream", "token", "json", "host", "own-value":
	default:
		return false
	}
	return true
}

func (p *planner) valueOption(v *value, key, arg string) bool {
	switch key {
	case "time":
		v.time = timeFormats[arg]
	case "flattened":
		v.flat = true
	case "item":
		v.item = arg
	case "key":
		v.keyName = arg
	case "value":
		v.valueName = arg
	case "rule":
		p.setRule(v, p.rules.rule(arg))
	default:
		return false
	}
	return true
}

func (p *planner) setRule(v *value, r *rule) {
	if r == nil {
		return
	}
	v.rule = r
	if v.elem != nil {
		p.setRule(v.elem, r.elem)
	}
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	bytesType  = reflect.TypeFor[[]byte]()
	readerType = reflect.TypeFor[io.Reader]()
	closerType = reflect.TypeFor[io.ReadCloser]()
)

func (p *planner) value(t reflect.Type) *value {
	v := &value{typ: t, item: "member", keyName: "key", valueName: "value"}
	if t.Kind() == reflect.Pointer {
		v.pointer = true
		v.typ = t.Elem()
	}
	switch {
	case v.typ == timeType:
		v.kind = kindTime
		return v
	case v.typ == bytesType:
		v.kind = kindBlob
		return v
	case v.typ == readerType, v.typ == closerType:
		v.kind = kindStream
		return v
	}
	switch v.typ.Kind() {
	case reflect.String:
		v.kind = kindString
	case reflect.Bool:
		v.kind = kindBool
	case reflect.Int64:
		v.kind = kindInt
	case reflect.Float64:
		v.kind = kindFloat
	case reflect.Slice:
		v.kind = kindList
		v.elem = p.elem(v.typ.Elem())
	case reflect.Map:
		v.kind = kindMap
		v.elem = p.elem(v.typ.Elem())
	case reflect.Struct:
		v.kind = kindStruct
		v.plan = p.plan(v.typ)
	default:
		panic("wire: cannot carry a " + t.String())
	}
	return v
}

func (p *planner) elem(t reflect.Type) *value {
	v := p.value(t)
	if v.kind == kindTime {
		v.time = p.times
	}
	return v
}

// lookup finds a field by its name on the wire. hint is the index at which
// it stands if the sender keeps to the model's order.
func (p *plan) lookup(name []byte, hint int) int {
	if hint < len(p.fields) && p.fields[hint].name == string(name) {
		return hint
	}
	i, ok := p.byName[string(name)]
	if !ok {
		return -1
	}
	return i
}

// set returns the value to fill for v at fv: fv itself, or what its pointer
// points to, newly made.
func (v *value) set(fv reflect.Value) reflect.Value {
	if !v.pointer {
		return fv
	}
	made := reflect.New(v.typ)
	fv.Set(made)
	return made.Elem()
}

// present returns the value behind fv, and whether it is there at all: a nil
// pointer, list, map, blob or stream and an empty string are absent.
func (v *value) present(fv reflect.Value) (reflect.Value, bool) {
	if v.pointer {
		if fv.IsNil() {
			return fv, false
		}
		return fv.Elem(), true
	}
	switch v.kind {
	case kindString:
		return fv, fv.Len() > 0
	case kindList, kindMap, kindBlob, kindStream:
		return fv, !fv.IsNil()
	}
	return fv, true
}

// send is present for members of structs, where some are sent although empty.
func (f *field) send(fv reflect.Value) (reflect.Value, bool) {
	pv, ok := f.value.present(fv)
	if !ok && f.value.kind == kindString && (f.required || f.always) {
		return pv, true
	}
	return pv, ok
}

// lowerFirst is a member's name as AWS's servers spell it in refusals and in
// the trail.
func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}

// seen is a set of field indexes.
type seen [2]uint64

func (s *seen) add(i int)      { s[i>>6&1] |= 1 << (i & 63) }
func (s *seen) has(i int) bool { return s[i>>6&1]&(1<<(i&63)) != 0 }
