package wire

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

func malformedXML() error {
	return aws.Errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

// decodeREST reads a REST-XML request. A body that breaks its schema is
// MalformedXML; everything outside the body is S3's to judge, save that a
// number has to be one and what addresses the resource has to be there.
func (op *Op) decodeREST(r *Request, in reflect.Value) error {
	header := r.headers()
	for i := range op.in.fields {
		f := &op.in.fields[i]
		fv := in.Field(f.index)
		var err error
		switch f.place {
		case placeURI:
			err = setText(f.value, fv, map[string]string{"Bucket": r.Bucket, "Key": r.Key}[f.name])
		case placeQuery:
			err = readQuery(f, r.Query, fv)
		case placeHeader:
			err = readHeader(f, header, fv)
		case placePrefix:
			err = readPrefix(f, header, fv)
		default:
			continue
		}
		if err != nil {
			return invalidArgument(f, err)
		}
		if _, ok := f.value.present(fv); !ok && f.required {
			return aws.Errorf("InvalidArgument", "The request is missing %s", f.name).With("ArgumentName", f.name)
		}
	}
	return op.decodeRESTBody(r, in)
}

// headers are the headers of a request with those that stand in its query:
// presigned URLs may carry x-amz-… headers there.
func (r *Request) headers() http.Header {
	h, cloned := r.Header, false
	for name, values := range r.Query {
		if len(name) <= len(hoistable) || !strings.EqualFold(name[:len(hoistable)], hoistable) || len(values) == 0 {
			continue
		}
		if !cloned {
			h, cloned = r.Header.Clone(), true
			if h == nil {
				h = http.Header{}
			}
		}
		if name = http.CanonicalHeaderKey(name); h[name] == nil {
			h[name] = values
		}
	}
	return h
}

const hoistable = "x-amz-"

// invalidArgument words S3's refusal of a text outside the body.
func invalidArgument(f *field, err error) error {
	bad, ok := err.(*badText)
	if !ok {
		return err
	}
	text := "Provided " + f.name + " is no " + bad.want
	if bad.want == "integer" {
		text = "Provided " + f.name + " not an integer or within integer range"
	}
	e := aws.Errorf("InvalidArgument", "%s", text).With("ArgumentName", f.name)
	if !f.sensitive {
		e = e.With("ArgumentValue", clip(bad.text))
	}
	return e
}

func readQuery(f *field, q url.Values, fv reflect.Value) error {
	values, ok := q[f.name]
	if !ok || len(values) == 0 || values[0] == "" {
		return nil
	}
	switch f.value.kind {
	case kindMap, kindStruct:
		return nil // none of S3's
	case kindList:
		return setList(f.value, fv, values)
	}
	return setText(f.value, fv, values[0])
}

func setList(v *value, fv reflect.Value, texts []string) error {
	fv.Set(reflect.MakeSlice(v.typ, 0, len(texts)))
	for _, text := range texts {
		if err := setText(v.elem, grow(fv), text); err != nil {
			return err
		}
	}
	return nil
}

func readHeader(f *field, h http.Header, fv reflect.Value) error {
	text := headerText(h, f.header)
	if text == "" {
		return nil
	}
	switch f.value.kind {
	case kindList:
		parts := strings.Split(text, ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		return setList(f.value, fv, parts)
	case kindTime:
		// A date in a condition that is none is as if it were not there
		// (RFC 9110, 13.1.3).
		if err := setText(f.value, fv, text); err != nil && !strings.HasPrefix(f.name, "If-") {
			return err
		}
		return nil
	}
	return setText(f.value, fv, text)
}

// headerText returns the values of a header as one. name is spelled as
// http.Header spells it.
func headerText(h http.Header, name string) string {
	values := h[name]
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, ",")
}

// readPrefix collects the headers that begin with the member's name, the
// rest of their names in lower case.
func readPrefix(f *field, h http.Header, fv reflect.Value) error {
	var found map[string]string
	for name, values := range h {
		if len(name) <= len(f.name) || !strings.EqualFold(name[:len(f.name)], f.name) {
			continue
		}
		text := strings.Join(values, ",")
		if !isText(text) || !isText(name) {
			return &badText{text, "UTF-8 text"}
		}
		if found == nil {
			found = map[string]string{}
		}
		found[strings.ToLower(name[len(f.name):])] = text
	}
	if found != nil {
		fv.Set(reflect.ValueOf(found))
	}
	return nil
}

func (op *Op) decodeRESTBody(r *Request, in reflect.Value) error {
	if op.in.payload < 0 {
		if !op.in.body {
			return nil
		}
		return op.decodeXMLBody(r.Body, op.InRoot, op.in, in)
	}
	f := &op.in.fields[op.in.payload]
	fv := in.Field(f.index)
	if f.value.kind == kindStream {
		if r.Stream != nil {
			fv.Set(reflect.ValueOf(r.Stream))
		}
		return nil
	}
	if len(r.Body) == 0 {
		if f.required {
			return aws.Errorf("MissingRequestBodyError", "Request Body is empty")
		}
		return nil
	}
	switch f.value.kind {
	case kindString:
		return invalidArgument(f, setText(f.value, fv, string(r.Body)))
	case kindBlob:
		fv.SetBytes(r.Body)
		return nil
	}
	return op.decodeXMLBody(r.Body, f.name, f.value.plan, f.value.set(fv))
}

func (op *Op) decodeXMLBody(body []byte, root string, p *plan, v reflect.Value) error {
	n, err := parseXML(body)
	if err != nil || root != "" && n.name != root {
		return malformedXML()
	}
	var r xmlReader
	if err := r.structure(p, n, v); err != nil || len(r.check.found) > 0 {
		return malformedXML()
	}
	return nil
}

// encodeREST writes a REST-XML answer.
func (op *Op) encodeREST(out reflect.Value, m Meta) *Response {
	resp := &Response{Status: op.Status, Header: http.Header{}}
	if resp.Status == 0 {
		resp.Status = http.StatusOK
	}
	m.s3(resp.Header)
	for i := range op.out.fields {
		f := &op.out.fields[i]
		fv, ok := f.value.present(out.Field(f.index))
		if !ok {
			continue
		}
		switch f.place {
		case placeHeader:
			writeHeader(f, resp.Header, fv)
		case placePrefix:
			writePrefix(f, resp.Header, fv)
		case placeStatus:
			resp.Status = int(fv.Int())
		}
	}
	if resp.Header.Get("Content-Range") != "" && resp.Status == http.StatusOK {
		resp.Status = http.StatusPartialContent
	}
	if !m.Head {
		op.encodeRESTBody(resp, out)
	}
	return resp
}

// s3 sets the ids of an answer.
func (m Meta) s3(h http.Header) {
	h["X-Amz-Request-Id"] = []string{m.RequestID}
	if m.HostID != "" {
		h["X-Amz-Id-2"] = []string{m.HostID}
	}
}

func writeHeader(f *field, h http.Header, fv reflect.Value) {
	if f.value.kind == kindString {
		h[f.header] = []string{fv.String()}
		return
	}
	if f.value.kind != kindList {
		h[f.header] = []string{string(appendText(nil, f.value, fv, isoMillis))}
		return
	}
	var parts []string
	for i := range fv.Len() {
		parts = append(parts, string(appendText(nil, f.value.elem, fv.Index(i), isoMillis)))
	}
	if len(parts) > 0 {
		h[f.header] = []string{strings.Join(parts, ",")}
	}
}

func writePrefix(f *field, h http.Header, fv reflect.Value) {
	for it := fv.MapRange(); it.Next(); {
		h[http.CanonicalHeaderKey(f.name+it.Key().String())] = []string{it.Value().String()}
	}
}

func (op *Op) encodeRESTBody(resp *Response, out reflect.Value) {
	w := xmlWriter{iso: isoMillis}
	switch {
	case op.out.payload >= 0:
		f := &op.out.fields[op.out.payload]
		fv, ok := f.value.present(out.Field(f.index))
		if !ok {
			return
		}
		if f.value.kind != kindStruct {
			op.encodeRaw(resp, f, fv)
			return
		}
		w.b = append(w.b, xmlProlog...)
		root := *f
		if root.ns == "" {
			root.ns = op.service.Namespace
		}
		w.structure(f.name, &root, fv)
	case op.out.body:
		w.b = append(w.b, xmlProlog...)
		root := op.Root
		if root == "" {
			root = op.Name + "Result"
		}
		w.open(root, op.service.Namespace)
		if op.Unwrapped {
			f := &op.out.fields[0]
			w.text(string(appendText(nil, f.value, out.Field(f.index), w.iso)))
		} else {
			w.members(op.out, out)
		}
		w.end(root)
	default:
		return
	}
	resp.Body = w.b
	resp.Header["Content-Type"] = xmlType
}

// encodeRaw makes a payload that is no structure the body.
func (op *Op) encodeRaw(resp *Response, f *field, fv reflect.Value) {
	switch f.value.kind {
	case kindStream:
		resp.Stream = asCloser(fv)
	case kindBlob:
		resp.Body = fv.Bytes()
	default: // GetBucketPolicy
		resp.Body = []byte(fv.String())
		if resp.Header.Get("Content-Type") == "" {
			resp.Header["Content-Type"] = []string{"application/json"}
		}
	}
}
