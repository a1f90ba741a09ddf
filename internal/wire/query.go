package wire

import (
	"net/url"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// maxParameters bounds the parameters of one query request.
const maxParameters = 20_000

// param is a parameter taken apart at its dots: Tags.member.1.Key=v is Tags
// → member → 1 → Key with value v.
type param struct {
	value    string
	set      bool
	children map[string]*param
}

func (p *param) add(name, value string) error {
	at := p
	for depth := 0; name != ""; depth++ {
		if depth > 2*maxDepth {
			return malformedInput("Parameter names are nested too deep")
		}
		var part string
		part, name, _ = strings.Cut(name, ".")
		next := at.children[part]
		if next == nil {
			next = &param{}
			if at.children == nil {
				at.children = map[string]*param{}
			}
			at.children[part] = next
		}
		at = next
	}
	at.value, at.set = value, true
	return nil
}

func malformedInput(text string) error {
	return &aws.Error{Code: "MalformedInput", Message: text}
}

// parameters reads a form. Of parameters given twice the last one counts.
func parameters(form url.Values) (*param, error) {
	root := &param{}
	count := 0
	for name, values := range form {
		count++
		if count > maxParameters {
			return nil, malformedInput("Too many parameters")
		}
		if len(values) == 0 || name == "" {
			continue
		}
		if err := root.add(name, values[len(values)-1]); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// queryReader fills structs from parameters.
type queryReader struct {
	check checker
}

func (r *queryReader) structure(p *plan, from *param, v reflect.Value) error {
	var have seen
	for i := range p.fields {
		f := &p.fields[i]
		c := from.children[f.name]
		if c == nil || f.value.kind == kindStream {
			continue
		}
		have.add(i)
		if err := r.member(f, c, v.Field(f.index)); err != nil {
			return err
		}
	}
	r.check.missing(p, &have)
	return nil
}

func (r *queryReader) member(f *field, from *param, fv reflect.Value) error {
	if f.value.kind < kindList {
		if err := r.value(f.value, from, fv); err != nil {
			return inParameter(f, err)
		}
	} else {
		r.check.push(f.path)
		err := r.value(f.value, from, fv)
		r.check.pop()
		if err != nil {
			return err
		}
	}
	if f.value.pointer && fv.IsNil() {
		return nil // given, but empty
	}
	r.check.field(f, fv)
	return nil
}

func inParameter(f *field, err error) error {
	if bad, ok := err.(*badText); ok {
		if f.sensitive {
			bad.text = "the value"
		}
		return malformedInput("Invalid value for " + f.name + ": " + bad.Error())
	}
	return err
}

func (r *queryReader) value(v *value, from *param, fv reflect.Value) error {
	switch v.kind {
	case kindStruct:
		return r.structure(v.plan, from, v.set(fv))
	case kindList:
		return r.list(v, from, fv)
	case kindMap:
		return r.mapping(v, from, fv)
	case kindString, kindBlob:
	default:
		if from.value == "" {
			return nil
		}
	}
	return setText(v, fv, from.value)
}

func (r *queryReader) list(v *value, from *param, fv reflect.Value) error {
	fv.Set(reflect.MakeSlice(v.typ, 0, 0))
	if !v.flat {
		if from = from.children[v.item]; from == nil {
			return nil // Tags= is how an empty list is written
		}
	}
	for _, c := range numbered(from) {
		e := grow(fv)
		if err := r.part(v.elem, c, e, strconv.Itoa(fv.Len())+".member"); err != nil {
			return err
		}
	}
	return nil
}

func (r *queryReader) part(v *value, from *param, fv reflect.Value, name string) error {
	if v.kind >= kindList {
		r.check.push(name)
		defer r.check.pop()
	}
	err := r.value(v, from, fv)
	if bad, ok := err.(*badText); ok {
		return malformedInput("Invalid value: " + bad.Error())
	}
	return err
}

func (r *queryReader) mapping(v *value, from *param, fv reflect.Value) error {
	m := reflect.MakeMap(v.typ)
	fv.Set(m)
	if !v.flat {
		if from = from.children["entry"]; from == nil {
			return nil
		}
	}
	for _, c := range numbered(from) {
		key, val := c.children[v.keyName], c.children[v.valueName]
		if key == nil {
			continue
		}
		if !isText(key.value) {
			return malformedInput("A key is no UTF-8 text")
		}
		e := reflect.New(v.elem.typ).Elem()
		if val != nil {
			if err := r.part(v.elem, val, e, key.value); err != nil {
				return err
			}
		}
		m.SetMapIndex(reflect.ValueOf(key.value), e)
	}
	return nil
}

// numbered returns the children named 1, 2, … in the order of their numbers.
// Gaps are allowed.
func numbered(p *param) []*param {
	type entry struct {
		n int
		p *param
	}
	var all []entry
	for name, c := range p.children {
		if n, err := strconv.Atoi(name); err == nil && n >= 0 {
			all = append(all, entry{n, c})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].n < all[j].n })
	out := make([]*param, len(all))
	for i, e := range all {
		out[i] = e.p
	}
	return out
}

// queryWriter writes structs as parameters.
type queryWriter struct{ form url.Values }

func (w *queryWriter) structure(prefix string, p *plan, v reflect.Value) {
	for i := range p.fields {
		f := &p.fields[i]
		if fv, ok := f.value.present(v.Field(f.index)); ok {
			w.value(prefix+f.name, f.value, fv)
		}
	}
}

func (w *queryWriter) value(name string, v *value, rv reflect.Value) {
	switch v.kind {
	case kindStruct:
		w.structure(name+".", v.plan, rv)
	case kindList:
		if rv.Len() == 0 {
			w.form.Set(name, "")
			return
		}
		if !v.flat {
			name += "." + v.item
		}
		for i := range rv.Len() {
			w.value(name+"."+strconv.Itoa(i+1), v.elem, rv.Index(i))
		}
	case kindMap:
		if !v.flat {
			name += ".entry"
		}
		for i, k := range sortedKeys(rv) {
			at := name + "." + strconv.Itoa(i+1) + "."
			w.form.Set(at+v.keyName, k.String())
			w.value(at+v.valueName, v.elem, rv.MapIndex(k))
		}
	default:
		w.form.Set(name, string(appendText(nil, v, rv, isoMillis)))
	}
}
