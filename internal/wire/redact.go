package wire

import (
	"encoding/json"
	"reflect"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// maxRecordString is how much of a string the record of calls keeps.
	maxRecordString = 4 << 10
	// maxRecord is the size at which the record of one input ends: members
	// that come after are left out.
	maxRecord = 64 << 10
)

// recorder has plans without rules, for Redact.
var recorder = struct {
	sync.Mutex
	plans sync.Map // reflect.Type → *plan
	*planner
}{planner: newPlanner(nil, timeISO)}

func recordPlan(t reflect.Type) *plan {
	if p, ok := recorder.plans.Load(t); ok {
		return p.(*plan)
	}
	recorder.Lock()
	defer recorder.Unlock()
	p := recorder.plan(t)
	recorder.plans.Store(t, p)
	return p
}

// Redact writes an input or output as CloudTrail shows it: names in lower
// camel case (S3's as on the wire), without sensitive members, blobs and
// streams, long strings cut, and not beyond a size. v is a pointer to a
// generated struct; anything else, and one with nothing to show, gives nil.
func Redact(v any) json.RawMessage {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() || rv.Elem().Kind() != reflect.Struct {
		return nil
	}
	p := recordPlan(rv.Elem().Type())
	w := redactor{rest: p.rest}
	w.structure(p, rv.Elem())
	if len(w.b) <= len("{}") {
		return nil
	}
	return w.b
}

type redactor struct {
	b    []byte
	rest bool
}

func (w *redactor) full() bool { return len(w.b) >= maxRecord }

// name is a member's name in the trail.
func (w *redactor) name(f *field) string {
	switch {
	case f.place == placeURI && f.name == "Bucket":
		return "bucketName"
	case f.place == placeURI, !w.rest:
		return f.path
	}
	return f.name
}

func (w *redactor) structure(p *plan, v reflect.Value) {
	w.b = append(w.b, '{')
	first := true
	for i := range p.fields {
		f := &p.fields[i]
		if f.sensitive || f.value.hidden() || w.full() {
			continue
		}
		fv, ok := f.value.present(v.Field(f.index))
		if !ok {
			continue
		}
		if !first {
			w.b = append(w.b, ',')
		}
		first = false
		w.b = appendJSONString(w.b, w.name(f))
		w.b = append(w.b, ':')
		w.value(f.value, fv)
	}
	w.b = append(w.b, '}')
}

// hidden tells whether a value is bytes, or holds nothing else.
func (v *value) hidden() bool {
	switch v.kind {
	case kindBlob, kindStream:
		return true
	case kindList, kindMap:
		return v.elem.hidden()
	}
	return false
}

func (w *redactor) value(v *value, rv reflect.Value) {
	switch v.kind {
	case kindString:
		w.string(rv.String())
	case kindTime:
		w.b = append(w.b, '"')
		w.b = rv.Interface().(time.Time).UTC().AppendFormat(w.b, isoMillis)
		w.b = append(w.b, '"')
	case kindStruct:
		w.structure(v.plan, rv)
	case kindList:
		w.b = append(w.b, '[')
		for i := range rv.Len() {
			if w.full() {
				break
			}
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.value(v.elem, rv.Index(i))
		}
		w.b = append(w.b, ']')
	case kindMap:
		w.mapping(v, rv)
	default:
		w.b = v.appendJSON(w.b, rv)
	}
}

func (w *redactor) mapping(v *value, rv reflect.Value) {
	w.b = append(w.b, '{')
	for i, k := range sortedKeys(rv) {
		if w.full() {
			break
		}
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.string(k.String())
		w.b = append(w.b, ':')
		w.value(v.elem, rv.MapIndex(k))
	}
	w.b = append(w.b, '}')
}

func (w *redactor) string(s string) {
	if len(s) > maxRecordString {
		cut := maxRecordString
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "..."
	}
	w.b = appendJSONString(w.b, s)
}
