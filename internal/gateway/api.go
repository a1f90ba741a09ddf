package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/checkpoint"
	"github.com/sekisho/sekisho/internal/sigv4"
	"github.com/sekisho/sekisho/internal/wire"
)

// request is one API request on its way in: what is known of it grows from
// step to step.
type request struct {
	*http.Request
	service *wire.Service
	body    []byte         // read whole, for all services but S3
	signed  *sigv4.Request // nil while nobody has been proven
	call    *call.Call
	op      *wire.Op
}

// serveAPI takes a request of one of AWS's protocols through.
func (g *Gateway) serveAPI(w http.ResponseWriter, r *http.Request) {
	p := bound(w, r, g.stall)
	r.Body = p
	q := &request{Request: r}
	resp, err := g.serve(q)
	if err != nil {
		resp = q.service.EncodeError(g.answer(q, err), q.meta())
	}
	g.corsOf(q, resp.Header)
	write(w, p, resp)
}

// serve routes, authenticates, decodes, passes and encodes.
func (g *Gateway) serve(q *request) (resp *wire.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	q.service = g.models["s3"] // whose words are used until more is known
	q.call = g.call(q.Request, "", "", g.region, aws.Principal{})
	if isPostForm(q) {
		return g.servePost(q)
	}
	signed, authErr := sigv4.Parse(q.Request)
	if err := g.route(q, signed); err != nil {
		return nil, err
	}
	q.call.Service = q.service.Name
	if q.service.Protocol == wire.RESTXML {
		q.call.ID = aws.RandomText(16, aws.UpperAlnum) // the form of S3's request ids
		q.call.Trace = q.call.ID
	}
	if err := g.authenticate(q, signed, authErr); err != nil {
		return nil, err
	}
	in, err := g.decode(q)
	if err != nil {
		return nil, err
	}
	out, err := g.door.Do(q.Context(), q.call, in)
	if err != nil {
		return nil, err
	}
	return q.op.EncodeResponse(out, q.meta())
}

// route finds the service: by the target a JSON client names, by the scope of
// the signature, or by a form's action and version. What is left is S3's.
// The body of all services but S3 is read here, within the service's bound.
func (g *Gateway) route(q *request, signed *sigv4.Request) error {
	target := q.Header.Get("X-Amz-Target")
	switch {
	case target != "":
		prefix, _ := wire.SplitTarget(target)
		service, ok := g.targets[prefix]
		if !ok {
			q.service = g.models["kms"] // any JSON service's words
			return &aws.Error{Code: "UnknownOperationException"}
		}
		q.service = service
	case signed != nil:
		service, ok := g.signing[signed.Service]
		if !ok {
			if signed.Service == "" {
				break
			}
			q.service = g.models["sts"]
			return aws.Errorf("UnrecognizedService", "sekisho has no service %q. docs/coverage.md lists the services that it has.", signed.Service).WithStatus(501)
		}
		q.service = service
	case isForm(q.Request):
		q.service = g.models["sts"]
	}
	if q.service.Protocol == wire.RESTXML {
		return nil
	}
	body, err := readAll(q.Body, q.service.MaxBody())
	if err != nil {
		return err
	}
	q.body = body
	if q.service.Protocol == wire.Query && signed == nil {
		form, err := url.ParseQuery(string(body))
		if err == nil {
			if service, ok := g.versions[form.Get("Version")]; ok {
				q.service = service
			}
		}
	}
	return nil
}

func isForm(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") ||
		r.URL.Query().Has("Action") && r.URL.Query().Has("Version")
}

// readAll reads a body that must not be longer than limit.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		if e, ok := errors.AsType[*aws.Error](err); ok {
			return nil, e
		}
		return nil, aws.Errorf("RequestTimeout", "The request's body did not arrive: %v", err)
	}
	if int64(len(b)) > limit {
		return nil, aws.Errorf("RequestEntityTooLarge", "The request's body is longer than %d bytes.", limit).WithStatus(http.StatusRequestEntityTooLarge)
	}
	return b, nil
}

// authenticate proves who sent the request. Only S3 knows anonymous callers;
// what they may do is for bucket policies to say.
func (g *Gateway) authenticate(q *request, signed *sigv4.Request, authErr error) error {
	family := families[q.service.Protocol]
	if authErr != nil {
		e, ok := errors.AsType[*sigv4.Error](authErr)
		switch {
		case !ok:
			return authErr
		case e.Missing() && q.provesItself():
			return nil
		case !e.Missing() || family != sigv4.S3:
			return e.For(family)
		}
		anonymous, err := sigv4.Anonymous(q.Request)
		if err != nil {
			return worded(err, family)
		}
		q.signed = anonymous
		return nil
	}
	if err := signed.InService(q.service.Signing); err != nil {
		return worded(err, family)
	}
	secret, principal, err := g.credentials.Key(q.Context(), signed.AccessKeyID, signed.Token)
	if err != nil {
		return unknownKey(err, family, signed)
	}
	if g.credentials.Trusted(signed.AccessKeyID) {
		signed.Trust()
	} else if err := signed.Verify(secret.Reveal(), sigv4.Digest(q.body), g.now()); err != nil {
		return worded(err, family)
	}
	q.signed = signed
	q.call.Principal = principal
	q.call.Region = signed.Region
	return nil
}

// provesItself reports whether a request's operation needs no signature: what
// it carries says who asks, and the operation itself verifies it.
func (q *request) provesItself() bool {
	if q.service.Name != "sts" {
		return false
	}
	form, err := (&wire.Request{Query: q.URL.Query(), Body: q.body}).Form()
	switch form.Get("Action") {
	case "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML":
		return err == nil
	}
	return false
}

var families = map[wire.Protocol]sigv4.Family{wire.JSON: sigv4.JSON, wire.Query: sigv4.Query, wire.RESTXML: sigv4.S3}

func worded(err error, family sigv4.Family) error {
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		return e.For(family)
	}
	return err
}

// unknownKey words a refusal of IAM's as the service's family does.
func unknownKey(err error, family sigv4.Family, signed *sigv4.Request) error {
	e, ok := errors.AsType[*aws.Error](err)
	if !ok {
		return err
	}
	expired := strings.HasPrefix(e.Code, "ExpiredToken")
	switch {
	case family == sigv4.JSON && expired:
		return aws.Errorf("ExpiredTokenException", "The security token included in the request is expired").WithStatus(400)
	case family == sigv4.JSON:
		return aws.Errorf("UnrecognizedClientException", "The security token included in the request is invalid.").WithStatus(400)
	case family == sigv4.S3 && expired:
		return aws.Errorf("ExpiredToken", "The provided token has expired.").WithStatus(400)
	case family == sigv4.S3 && signed.Token != "":
		return aws.Errorf("InvalidToken", "The provided token is malformed or otherwise invalid.").WithStatus(400)
	case family == sigv4.S3:
		return aws.Errorf("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.").WithStatus(403).With("AWSAccessKeyId", signed.AccessKeyID)
	case expired:
		return aws.Errorf("ExpiredToken", "The security token included in the request is expired").WithStatus(403)
	}
	return aws.Errorf("InvalidClientTokenId", "The security token included in the request is invalid.").WithStatus(403)
}

// decode finds the operation and reads its input.
func (g *Gateway) decode(q *request) (any, error) {
	r := &wire.Request{Method: q.Method, Query: q.URL.Query(), Header: q.Header, Body: q.body}
	var err error
	switch q.service.Protocol {
	case wire.JSON:
		q.op, err = q.service.Target(q.Header.Get("X-Amz-Target"))
	case wire.Query:
		form, ferr := r.Form()
		if ferr != nil {
			return nil, ferr
		}
		q.op, err = q.service.Action(form)
	default:
		err = g.openS3(q, r)
	}
	if err != nil {
		return nil, err
	}
	q.call.Operation = q.op.Name
	if !g.door.Has(q.service.Name, q.op.Name) {
		return nil, checkpoint.NotImplemented(q.service.Name, q.op.Name)
	}
	return q.op.DecodeRequest(r)
}

// openS3 finds bucket, key and operation, and opens the body: as a stream
// where the operation takes one.
func (g *Gateway) openS3(q *request, r *wire.Request) error {
	bucket, key := splitBucket(q.Host, q.URL.EscapedPath())
	if _, ok := hostBucket(q.Host); ok {
		// Addresses that S3 makes have the bucket in their path.
		q.call.BaseURL = strings.Replace(q.call.BaseURL, "://"+q.Host[:len(bucket)+1], "://", 1)
	}
	var err error
	if r.Bucket, err = url.PathUnescape(bucket); err != nil {
		return aws.Errorf("InvalidURI", "Couldn't parse the specified URI.")
	}
	if r.Key, err = url.PathUnescape(key); err != nil {
		return aws.Errorf("InvalidURI", "Couldn't parse the specified URI.")
	}
	if q.op, err = q.service.Route(r); err != nil {
		return err
	}
	keys := s3Keys(q)
	maps.Copy(keys, q.call.Keys)
	q.call.Keys = keys
	body, err := q.signed.Body(q.Body)
	if err != nil {
		return worded(err, sigv4.S3)
	}
	if !q.op.Streams() {
		r.Body, err = readAll(body, q.service.MaxBody())
		if e, ok := errors.AsType[*aws.Error](err); ok && e.Code == "RequestEntityTooLarge" {
			return aws.Errorf("MaxMessageLengthExceeded", "Your request was too big.").WithStatus(http.StatusBadRequest).
				With("MaxMessageLengthBytes", strconv.FormatInt(q.service.MaxBody(), 10))
		}
		if err != nil {
			return err
		}
		return checkDigests(q.op.Name, q.Header, body, r.Body)
	}
	if body.Length() < 0 {
		return aws.Errorf("MissingContentLength", "You must provide the Content-Length HTTP header.").WithStatus(http.StatusLengthRequired)
	}
	r.Header = q.Header.Clone()
	r.Header.Set("Content-Length", strconv.FormatInt(body.Length(), 10))
	unchunked(r.Header)
	r.Stream = body
	return nil
}

// unchunked takes aws-chunked out of Content-Encoding: it describes the
// transfer, not the object.
func unchunked(h http.Header) {
	encodings := strings.Split(h.Get("Content-Encoding"), ",")
	kept := encodings[:0]
	for _, e := range encodings {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		h.Del("Content-Encoding")
		return
	}
	h.Set("Content-Encoding", strings.Join(kept, ","))
}

// s3Keys are the condition keys that say how an S3 request was made.
func s3Keys(q *request) map[string][]string {
	keys := map[string][]string{}
	if q.call.Principal.Kind != aws.Anonymous {
		keys["s3:signatureversion"] = []string{"AWS4-HMAC-SHA256"}
		keys["s3:authtype"] = []string{"REST-HEADER"}
		if q.signed.Presigned {
			keys["s3:authtype"] = []string{"REST-QUERY-STRING"}
			keys["s3:signatureage"] = []string{strconv.FormatInt(q.call.Time.Sub(q.signed.Time).Milliseconds(), 10)}
		}
	}
	q.tlsKeys(keys)
	if v := q.Header.Get("X-Amz-Content-Sha256"); v != "" {
		keys["s3:x-amz-content-sha256"] = []string{v}
	}
	// A listing of the root names the empty prefix, and policies allow that by
	// it; to name none is something else.
	query := q.URL.Query()
	for _, name := range []string{"prefix", "delimiter"} {
		if v, ok := query[name]; ok && v[0] == "" {
			keys["s3:"+name] = []string{""}
		}
	}
	return keys
}

// tlsKeys adds the condition key of the connection.
func (q *request) tlsKeys(keys map[string][]string) map[string][]string {
	if q.TLS != nil {
		keys["s3:tlsversion"] = []string{map[uint16]string{0x0303: "1.2", 0x0304: "1.3"}[q.TLS.Version]}
	}
	return keys
}

func (q *request) meta() wire.Meta {
	m := wire.Meta{RequestID: q.call.ID, Head: q.Method == http.MethodHead}
	if q.service.Protocol == wire.RESTXML {
		m.HostID = hostID(q.call.ID)
		m.Resource = q.URL.Path
	}
	return m
}

// hostID has the look of x-amz-id-2; it says no more than the request id.
func hostID(id string) string { return "sekisho/" + id }

// answer turns what went wrong into what the caller reads; the checkpoint has
// done the same for everything behind it.
func (g *Gateway) answer(q *request, err error) *aws.Error {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e
	}
	if q.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return aws.Errorf("RequestTimeout", "The caller went away.")
	}
	g.log.Error("a request failed inside", "method", q.Method, "path", q.URL.Path, "request", q.call.ID, "error", err)
	return aws.Errorf(checkpoint.InternalCode(q.service.Name), "sekisho failed inside; its log has the cause under request id %s.", q.call.ID).WithStatus(500)
}

// write sends an answer. A stream that breaks off breaks the connection off
// too, so that nobody takes half an object for a whole one.
func write(w http.ResponseWriter, p *patient, resp *wire.Response) {
	p.writing()
	h := w.Header()
	for name, values := range resp.Header {
		switch {
		case strings.HasPrefix(name, "X-Amz-Meta-"):
			name = strings.ToLower(name) // boto3 takes the names of metadata as they are spelled
		case name == "Etag":
			name = "ETag" // so do scripts with this one
		}
		h[name] = values
	}
	h.Set("Server", "sekisho")
	if resp.Stream == nil {
		if resp.Status != http.StatusNoContent && resp.Status != http.StatusNotModified && h.Get("Content-Length") == "" {
			h.Set("Content-Length", strconv.Itoa(len(resp.Body)))
		}
		w.WriteHeader(resp.Status)
		w.Write(resp.Body)
		return
	}
	defer resp.Stream.Close()
	w.WriteHeader(resp.Status)
	if _, err := io.Copy(w, answering{resp.Stream, p}); err != nil {
		panic(http.ErrAbortHandler)
	}
}
