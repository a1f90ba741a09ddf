package wire

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// structOf returns the struct that ptr points to, which must be of type t.
func structOf(ptr any, t reflect.Type) (reflect.Value, error) {
	v := reflect.ValueOf(ptr)
	if v.Kind() != reflect.Pointer || v.Type().Elem() != t || v.IsNil() {
		return reflect.Value{}, fmt.Errorf("wire: have a %T, want a *%s", ptr, t)
	}
	return v.Elem(), nil
}

// EncodeRequest writes an operation's input, a pointer to its struct, as the
// client sends it, unsigned.
func (op *Op) EncodeRequest(in any) (*Request, error) {
	op.prepare()
	v, err := structOf(in, op.In)
	if err != nil {
		return nil, err
	}
	r := &Request{Method: http.MethodPost, Query: url.Values{}, Header: http.Header{}}
	switch op.service.Protocol {
	case JSON:
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", op.service.Model.Target+"."+op.Name)
		r.Body = op.in.appendJSON(nil, v)
	case Query:
		w := queryWriter{url.Values{"Action": {op.Name}, "Version": {op.service.Version}}}
		w.structure("", op.in, v)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		r.Body = []byte(w.form.Encode())
	default:
		op.encodeRESTRequest(r, v)
	}
	return r, nil
}

func (op *Op) encodeRESTRequest(r *Request, in reflect.Value) {
	r.Method = op.Method
	_, literals, _ := strings.Cut(op.URI, "?")
	for part := range strings.SplitSeq(literals, "&") {
		if name, value, _ := strings.Cut(part, "="); name != "" {
			r.Query.Set(name, value)
		}
	}
	for i := range op.in.fields {
		f := &op.in.fields[i]
		fv, ok := f.value.present(in.Field(f.index))
		if !ok {
			continue
		}
		switch f.place {
		case placeURI:
			if f.name == "Bucket" {
				r.Bucket = fv.String()
			} else {
				r.Key = fv.String()
			}
		case placeQuery:
			writeQuery(f, r.Query, fv)
		case placeHeader:
			writeHeader(f, r.Header, fv)
		case placePrefix:
			writePrefix(f, r.Header, fv)
		}
	}
	op.encodeRESTRequestBody(r, in)
}

func writeQuery(f *field, q url.Values, fv reflect.Value) {
	if f.value.kind != kindList {
		q.Set(f.name, string(appendText(nil, f.value, fv, isoMillis)))
		return
	}
	for i := range fv.Len() {
		q.Add(f.name, string(appendText(nil, f.value.elem, fv.Index(i), isoMillis)))
	}
}

func (op *Op) encodeRESTRequestBody(r *Request, in reflect.Value) {
	w := xmlWriter{iso: isoMillis}
	if op.in.payload < 0 {
		if op.in.body {
			w.open(op.InRoot, op.service.Namespace)
			w.members(op.in, in)
			w.end(op.InRoot)
			r.Body = w.b
		}
		return
	}
	f := &op.in.fields[op.in.payload]
	fv, ok := f.value.present(in.Field(f.index))
	if !ok {
		return
	}
	switch f.value.kind {
	case kindStream:
		r.Stream = fv.Interface().(io.Reader)
	case kindBlob:
		r.Body = fv.Bytes()
	case kindString:
		r.Body = []byte(fv.String())
	default:
		w.structure(f.name, f, fv)
		r.Body = w.b
		r.Header.Set("Content-Type", "application/xml")
	}
}

// Path is the escaped path-style path of a request.
func (r *Request) Path() string {
	if r.Bucket == "" {
		return "/"
	}
	path := "/" + escapePath(r.Bucket)
	if r.Key != "" {
		path += "/" + escapePath(r.Key)
	}
	return path
}

// escapePath escapes as S3's canonical requests do: everything but
// unreserved characters and slashes.
func escapePath(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// DecodeResponse reads an answer into a new *…Output, or returns the
// *aws.Error it carries.
func (op *Op) DecodeResponse(r *Response) (any, error) {
	op.prepare()
	if r.Status >= 300 {
		return nil, op.service.decodeError(r)
	}
	out := reflect.New(op.Out)
	if err := op.decodeResponse(r, out.Elem()); err != nil {
		return nil, fmt.Errorf("answer to %s %s: %w", op.service.Name, op.Name, err)
	}
	return out.Interface(), nil
}

func (op *Op) decodeResponse(r *Response, out reflect.Value) error {
	switch op.service.Protocol {
	case JSON:
		reader := jsonReader{data: r.Body, check: checker{off: true}}
		return reader.decode(op.out, out)
	case Query:
		return op.decodeQueryResponse(r.Body, out)
	}
	return op.decodeRESTResponse(r, out)
}

func (op *Op) decodeQueryResponse(body []byte, out reflect.Value) error {
	if op.Void {
		return nil
	}
	root, err := parseXML(body)
	if err != nil {
		return err
	}
	result := root.child(op.Name + "Result")
	if result == nil {
		return fmt.Errorf("no %sResult", op.Name)
	}
	reader := xmlReader{check: checker{off: true}}
	return reader.structure(op.out, result, out)
}

func (op *Op) decodeRESTResponse(r *Response, out reflect.Value) error {
	for i := range op.out.fields {
		f := &op.out.fields[i]
		fv := out.Field(f.index)
		var err error
		switch f.place {
		case placeHeader:
			err = readHeader(f, r.Header, fv)
		case placePrefix:
			err = readPrefix(f, r.Header, fv)
		case placeStatus:
			f.value.set(fv).SetInt(int64(r.Status))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if op.out.payload >= 0 {
		return op.decodePayload(r, &op.out.fields[op.out.payload], out)
	}
	if !op.out.body || len(r.Body) == 0 {
		return nil
	}
	root, err := parseXML(r.Body)
	if err != nil {
		return err
	}
	if op.Unwrapped {
		return setText(op.out.fields[0].value, out.Field(op.out.fields[0].index), string(root.text))
	}
	reader := xmlReader{check: checker{off: true}}
	return reader.structure(op.out, root, out)
}

func (op *Op) decodePayload(r *Response, f *field, out reflect.Value) error {
	fv := out.Field(f.index)
	switch {
	case f.value.kind == kindStream:
		if r.Stream != nil {
			fv.Set(reflect.ValueOf(r.Stream))
		}
		return nil
	case f.value.kind == kindBlob:
		fv.SetBytes(r.Body)
		return nil
	case f.value.kind == kindString:
		return setText(f.value, fv, string(r.Body))
	case len(r.Body) == 0:
		return nil
	}
	root, err := parseXML(r.Body)
	if err != nil {
		return err
	}
	reader := xmlReader{check: checker{off: true}}
	return reader.structure(f.value.plan, root, f.value.set(fv))
}

// asCloser returns a stream as what answers hold.
func asCloser(fv reflect.Value) io.ReadCloser {
	if c, ok := fv.Interface().(io.ReadCloser); ok {
		return c
	}
	return io.NopCloser(fv.Interface().(io.Reader))
}

// decodeError reads the error an answer carries. What cannot be read becomes
// an error named after the status.
func (s *Service) decodeError(r *Response) *aws.Error {
	e := &aws.Error{Status: r.Status}
	switch s.Protocol {
	case JSON:
		decodeJSONError(e, r)
	default:
		decodeXMLError(e, r.Body)
	}
	if e.Code == "" {
		e.Code = strings.ReplaceAll(http.StatusText(r.Status), " ", "")
	}
	if e.Code == "" {
		e.Code = "UnknownError"
	}
	return e
}

func decodeJSONError(e *aws.Error, r *Response) {
	var all map[string]any
	if json.Unmarshal(r.Body, &all) != nil {
		all = nil
	}
	for name, value := range all {
		text, ok := value.(string)
		switch {
		case name == "__type":
			e.Code = text
		case strings.EqualFold(name, "message"):
			e.Message = text
		case ok:
			e = setField(e, name, text)
		}
	}
	if e.Code == "" {
		e.Code = r.Header.Get("X-Amzn-Errortype")
	}
	e.Code = e.Code[strings.LastIndexByte(e.Code, '#')+1:] // a namespace
	e.Code, _, _ = strings.Cut(e.Code, ":")                // an address
}

func setField(e *aws.Error, name, text string) *aws.Error {
	if e.Fields == nil {
		e.Fields = map[string]string{}
	}
	e.Fields[name] = text
	return e
}

func decodeXMLError(e *aws.Error, body []byte) {
	root, err := parseXML(body)
	if err != nil {
		return
	}
	n := root
	if inner := root.child("Error"); inner != nil {
		n = inner
	}
	for _, c := range n.children {
		switch c.name {
		case "Code":
			e.Code = string(c.text)
		case "Message":
			e.Message = string(c.text)
		case "Type", "RequestId", "HostId":
		default:
			setField(e, c.name, string(c.text))
		}
	}
}
