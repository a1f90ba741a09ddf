package wire

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sekisho/sekisho/internal/aws"
)

// Service is a Model at work. It is safe for concurrent use.
type Service struct {
	*Model
	ops     map[string]*Op
	targets []string
	errors  map[string]*ErrorShape
	routes  *routes

	mu      sync.Mutex // guards planner
	planner *planner
}

// Op is one operation of a Service.
type Op struct {
	*Operation
	service *Service
	once    sync.Once
	in, out *plan
	size    atomic.Int64 // of the last answer: a good guess at the next one's
}

// Request is an HTTP request as the codecs see it. The gateway (or the
// client) has taken apart its address and seen to its signature.
type Request struct {
	Method string
	// Bucket and Key address S3's resources, decoded; whoever routed the
	// request knows them from the path or the host.
	Bucket, Key string
	// Query are the parameters of the URL; see Form for query services.
	Query url.Values
	// Header are the headers, with Content-Length put back where it is known:
	// net/http takes it out, and S3's inputs hold it.
	Header http.Header
	// Body is the whole body, but for operations that stream it (Op.Streams):
	// those find it in Stream.
	Body   []byte
	Stream io.Reader

	form url.Values // what Form returned
}

// Response is an HTTP answer as the codecs see it.
type Response struct {
	Status int
	Header http.Header
	// Body is the whole body, unless Stream is set.
	Body   []byte
	Stream io.ReadCloser
}

// Meta is what answers carry besides their content.
type Meta struct {
	// RequestID is the id of the call.
	RequestID string
	// HostID is S3's second id; empty means none.
	HostID string
	// Resource is what an S3 error is about: the path.
	Resource string
	// Head is set for HEAD requests, whose answers have no body.
	Head bool
}

// New makes a model work. It keeps m, which must not change any more.
func New(m *Model) *Service {
	times := timeISO
	if m.Protocol == JSON {
		times = timeEpoch
	}
	s := &Service{
		Model:   m,
		ops:     make(map[string]*Op, len(m.Operations)),
		errors:  make(map[string]*ErrorShape, len(m.Errors)),
		planner: newPlanner(newRules(m.Rules), times),
	}
	s.targets = s.Targets()
	for i := range m.Operations {
		op := &Op{Operation: &m.Operations[i], service: s}
		s.ops[op.Name] = op
	}
	for i := range m.Errors {
		s.errors[m.Errors[i].Code] = &m.Errors[i]
	}
	if m.Protocol == RESTXML {
		s.routes = newRoutes(s)
	}
	return s
}

// Operation returns the operation of a name.
func (s *Service) Operation(name string) (*Op, bool) {
	op, ok := s.ops[name]
	return op, ok
}

// SplitTarget takes an X-Amz-Target apart: the prefix that names the service
// (Model.Target) and the operation.
func SplitTarget(target string) (prefix, operation string) {
	i := strings.LastIndexByte(target, '.')
	if i < 0 {
		return "", target
	}
	return target[:i], target[i+1:]
}

// Targets are the prefixes of X-Amz-Target that name the service: the one of
// the model and, where it is a dotted name, its last part. Of CloudTrail's
// clients some send the one and some the other.
func (s *Service) Targets() []string {
	full := s.Model.Target
	if full == "" {
		return nil
	}
	if i := strings.LastIndexByte(full, '.'); i >= 0 {
		return []string{full, full[i+1:]}
	}
	return []string{full}
}

// Target returns the operation that an X-Amz-Target names.
func (s *Service) Target(target string) (*Op, error) {
	prefix, name := SplitTarget(target)
	op, ok := s.ops[name]
	if !ok || !slices.Contains(s.targets, prefix) {
		return nil, &aws.Error{Code: "UnknownOperationException"}
	}
	return op, nil
}

// Action returns the operation that a query names by Action and Version.
func (s *Service) Action(form url.Values) (*Op, error) {
	action, version := form.Get("Action"), form.Get("Version")
	if action == "" {
		return nil, aws.Errorf("MissingAction", "The request is missing an action or a required parameter.")
	}
	op, ok := s.ops[action]
	if !ok || version != s.Version {
		if version == "" {
			version = "NO_VERSION_SPECIFIED"
		}
		return nil, aws.Errorf("InvalidAction", "Could not find operation %s for version %s", clip(action), clip(version))
	}
	return op, nil
}

// Streams tells whether requests of the operation carry their body as a
// stream (Request.Stream) instead of as a whole.
func (op *Op) Streams() bool {
	op.prepare()
	return op.in.stream()
}

// StreamsOut tells the same of answers.
func (op *Op) StreamsOut() bool {
	op.prepare()
	return op.out.stream()
}

func (p *plan) stream() bool {
	return p.payload >= 0 && p.fields[p.payload].value.kind == kindStream
}

// MaxBody is the size up to which a request body of a service should be
// read, where operations do not stream it.
func (s *Service) MaxBody() int64 {
	switch s.Protocol {
	case JSON:
		return 16 << 20 // a file of CodeCommit's 6 MiB in base64, with room
	case Query:
		return 4 << 20
	}
	return 8 << 20 // ten thousand parts of a multipart upload
}

// prepare makes the plans at first use.
func (op *Op) prepare() {
	op.once.Do(func() {
		op.service.mu.Lock()
		defer op.service.mu.Unlock()
		op.in = op.service.planner.plan(op.In)
		op.out = op.service.planner.plan(op.Out)
	})
}

// DecodeRequest reads a request into a new *…Input and checks the model's
// constraints. Its errors are *aws.Error.
func (op *Op) DecodeRequest(r *Request) (any, error) {
	op.prepare()
	in := reflect.New(op.In)
	var err error
	switch op.service.Protocol {
	case JSON:
		err = op.decodeJSON(r.Body, in.Elem())
	case Query:
		err = op.decodeQuery(r, in.Elem())
	default:
		err = op.decodeREST(r, in.Elem())
	}
	if err != nil {
		return nil, err
	}
	return in.Interface(), nil
}

var jsonReaders = sync.Pool{New: func() any { return new(jsonReader) }}

func (op *Op) decodeJSON(body []byte, in reflect.Value) error {
	r := jsonReaders.Get().(*jsonReader)
	*r = jsonReader{data: body, text: r.text[:0], check: checker{path: r.check.path[:0]}}
	defer jsonReaders.Put(r)
	err := r.decode(op.in, in)
	r.data = nil
	if err != nil {
		return err
	}
	if text := r.check.message(); text != "" {
		return &aws.Error{Code: op.service.invalid(), Message: text}
	}
	return nil
}

// invalid is the code that refuses an input against the model's constraints in
// a JSON service.
func (s *Service) invalid() string {
	if s.Invalid != "" {
		return s.Invalid
	}
	return "ValidationException"
}

func (op *Op) decodeQuery(r *Request, in reflect.Value) error {
	form, err := r.Form()
	if err != nil {
		return err
	}
	params, err := parameters(form)
	if err != nil {
		return err
	}
	var reader queryReader
	if err := reader.structure(op.in, params, in); err != nil {
		return err
	}
	if text := reader.check.message(); text != "" {
		return &aws.Error{Code: "ValidationError", Message: text}
	}
	return nil
}

// Form returns the parameters of a query request: those of the body, and of
// the URL where the body has none of the name. They are parsed once.
func (r *Request) Form() (url.Values, error) {
	if r.form != nil || len(r.Body) == 0 && r.Query == nil {
		return r.form, nil
	}
	if bytes.Count(r.Body, []byte{'&'}) > maxParameters {
		return nil, malformedInput("Too many parameters")
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return nil, malformedInput("The request body is not a form")
	}
	for name, values := range r.Query {
		if _, ok := form[name]; !ok {
			form[name] = values
		}
	}
	r.form = form
	return form, nil
}

// EncodeResponse writes an operation's output, a pointer to its struct.
func (op *Op) EncodeResponse(out any, m Meta) (*Response, error) {
	op.prepare()
	v, err := structOf(out, op.Out)
	if err != nil {
		return nil, err
	}
	switch op.service.Protocol {
	case JSON:
		return op.encodeJSON(v, m), nil
	case Query:
		return op.encodeQuery(v, m), nil
	}
	return op.encodeREST(v, m), nil
}

// The values of Content-Type, shared by all answers: nobody writes to them.
var (
	jsonType  = []string{"application/x-amz-json-1.1"}
	queryType = []string{"text/xml"}
	xmlType   = []string{"application/xml"}
)

func (op *Op) encodeJSON(v reflect.Value, m Meta) *Response {
	resp := &Response{Status: http.StatusOK, Header: http.Header{
		"Content-Type":     jsonType,
		"X-Amzn-Requestid": {m.RequestID},
	}}
	if !op.Void {
		resp.Body = op.out.appendJSON(op.buffer(), v)
		op.size.Store(int64(len(resp.Body)))
	}
	return resp
}

// buffer returns room for an answer, as much as the last one took.
func (op *Op) buffer() []byte {
	return make([]byte, 0, min(op.size.Load()+64, 64<<10))
}

func (op *Op) encodeQuery(v reflect.Value, m Meta) *Response {
	w := xmlWriter{iso: isoShort, strict: true, b: op.buffer()}
	w.open(op.Name+"Response", op.service.Namespace)
	if !op.Void {
		w.open(op.Name+"Result", "")
		w.members(op.out, v)
		w.end(op.Name + "Result")
	}
	w.open("ResponseMetadata", "")
	w.element("RequestId", m.RequestID)
	w.end("ResponseMetadata")
	w.end(op.Name + "Response")
	op.size.Store(int64(len(w.b)))
	return &Response{Status: http.StatusOK, Body: w.b, Header: http.Header{
		"Content-Type":     queryType,
		"X-Amzn-Requestid": {m.RequestID},
	}}
}
