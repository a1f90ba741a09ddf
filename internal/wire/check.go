package wire

import (
	"reflect"
	"strconv"

	"github.com/sekisho/sekisho/internal/aws"
)

// Check holds an input against the model's constraints, as DecodeRequest does
// with what comes from the network: inputs that are made inside the process,
// from a template or from a pipeline's declaration, are no better. in is a
// pointer to the operation's input. The error is an *aws.Error. S3 checks by
// itself, here as there.
func (op *Op) Check(in any) error {
	if op.service.Protocol == RESTXML {
		return nil
	}
	op.prepare()
	rv := reflect.ValueOf(in)
	if rv.Kind() != reflect.Pointer || rv.IsNil() || rv.Elem().Type() != op.In {
		return nil // not of the model
	}
	var c checker
	c.structure(op.in, rv.Elem())
	text := c.message()
	if text == "" {
		return nil
	}
	if op.service.Protocol == JSON {
		return &aws.Error{Code: op.service.invalid(), Message: text}
	}
	return &aws.Error{Code: "ValidationError", Message: text, Status: 400}
}

// structure checks a struct and what is in it.
func (c *checker) structure(p *plan, v reflect.Value) {
	var have seen
	for i := range p.fields {
		f := &p.fields[i]
		fv, ok := f.value.present(v.Field(f.index))
		if !ok {
			if f.value.mayBeEmpty() {
				have.add(i) // an empty text cannot be told from an absent one
			}
			continue
		}
		have.add(i)
		c.push(f.path)
		c.within(f.value, fv)
		c.pop()
		c.field(f, v.Field(f.index))
	}
	c.missing(p, &have)
}

// within checks the structs in a value.
func (c *checker) within(v *value, rv reflect.Value) {
	switch {
	case v.kind == kindStruct:
		c.structure(v.plan, rv)
	case v.kind == kindList && holdsStructs(v.elem):
		for i := range rv.Len() {
			c.push(strconv.Itoa(i+1) + ".member")
			c.element(v.elem, rv.Index(i))
			c.pop()
		}
	case v.kind == kindMap && holdsStructs(v.elem):
		for it := rv.MapRange(); it.Next(); {
			c.push(it.Key().String() + ".member")
			c.element(v.elem, it.Value())
			c.pop()
		}
	}
}

// mayBeEmpty reports whether a value is a text for which the model takes an
// empty one.
func (v *value) mayBeEmpty() bool {
	return v.kind == kindString && (v.rule == nil || v.rule.okString(""))
}

func (c *checker) element(v *value, rv reflect.Value) {
	if rv, ok := v.present(rv); ok {
		c.within(v, rv)
	}
}

func holdsStructs(v *value) bool {
	switch v.kind {
	case kindStruct:
		return true
	case kindList, kindMap:
		return holdsStructs(v.elem)
	}
	return false
}
