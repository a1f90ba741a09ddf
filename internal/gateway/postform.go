package gateway

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/checkpoint"
	"github.com/sekisho/sekisho/internal/sigv4"
	"github.com/sekisho/sekisho/internal/wire"
)

// Browsers upload to S3 with a form: POST to a bucket, multipart/form-data, the
// object's key, headers and credentials in fields, the file last. Such a
// request becomes the PutObject that it is, and passes the same door.

const (
	// maxPostFields is how much of a form may come before the file.
	maxPostFields = 20 << 10
	// maxPostLead is what is read for it at most: fields, and what separates
	// them.
	maxPostLead = 64 << 10
	// maxPostFile is the largest file that a form can bring.
	maxPostFile = 5 << 30
)

// isPostForm reports whether a request uploads with a form.
func isPostForm(q *request) bool {
	kind, _, err := mime.ParseMediaType(q.Header.Get("Content-Type"))
	return err == nil && q.Method == http.MethodPost && kind == "multipart/form-data" &&
		q.URL.RawQuery == "" && q.Header.Get("Authorization") == "" && q.Header.Get("X-Amz-Target") == ""
}

// postForm is a form up to its file.
type postForm struct {
	fields map[string]string // by their names in lower case
	name   string            // of the file
	file   io.Reader
}

// lead reads what comes before the file, bounded, and the file, which is not.
type lead struct {
	r    io.Reader
	left int64 // negative: the file has begun
}

func (l *lead) Read(p []byte) (int, error) {
	if l.left < 0 {
		return l.r.Read(p)
	}
	if l.left == 0 {
		return 0, errPostLead()
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	return n, err
}

func errPostLead() error {
	return aws.Errorf("MaxPostPreDataLengthExceededError", "Your POST request fields preceding the upload file were too large.").WithStatus(400).
		With("MaxPostPreDataLengthBytes", strconv.Itoa(maxPostFields))
}

func errPostMalformed() error {
	return aws.Errorf("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.").WithStatus(400)
}

func errPostArgument(name, value, message string) error {
	e := aws.Errorf("InvalidArgument", "%s", message).WithStatus(400).With("ArgumentName", name)
	return e.With("ArgumentValue", strings.ToValidUTF8(value, "?"))
}

// readPostForm reads a form's fields, up to the file.
func readPostForm(contentType string, body io.Reader) (*postForm, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil, errPostMalformed()
	}
	bounded := &lead{body, maxPostLead}
	parts := multipart.NewReader(bounded, params["boundary"])
	f := &postForm{fields: map[string]string{}}
	total := 0
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, errPostArgument("file", "0", "POST requires exactly one file upload per request.")
		}
		if err != nil {
			return nil, postTrouble(err)
		}
		name := strings.ToLower(part.FormName())
		if name == "file" {
			bounded.left = -1
			f.name, f.file = part.FileName(), part
			return f, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, maxPostFields+1))
		if err != nil {
			return nil, postTrouble(err)
		}
		if total += len(name) + len(value); total > maxPostFields {
			return nil, errPostLead()
		}
		if err := f.add(name, string(value)); err != nil {
			return nil, err
		}
	}
}

// postTrouble tells what the client did wrong from what went wrong.
func postTrouble(err error) error {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e
	}
	return errPostMalformed()
}

// add takes a field. Its value becomes a header, and so has to be one.
func (f *postForm) add(name, value string) error {
	_, twice := f.fields[name]
	switch {
	case name == "":
		return errPostMalformed()
	case twice:
		return errPostArgument(name, value, "POST requires exactly one value for each field.")
	case name != "key" && name != "tagging" && (strings.ContainsAny(value, "\r\n\x00") || !utf8.ValidString(value)):
		return errPostArgument(name, value, "The field holds what no header can.")
	}
	f.fields[name] = value
	return nil
}

func (f *postForm) field(name string) string { return f.fields[name] }

// key is the object's key: ${filename} stands for the name of the file, without
// the folders that some browsers send.
func (f *postForm) key() string {
	name := f.name[strings.LastIndexAny(f.name, `/\`)+1:]
	return strings.ReplaceAll(f.fields["key"], "${filename}", name)
}

// header is the PutObject that the form stands for.
func (f *postForm) header() (http.Header, error) {
	h := http.Header{}
	for name, value := range f.fields {
		switch name {
		case "cache-control", "content-type", "content-disposition", "content-encoding", "content-language", "expires", "content-md5":
			h.Set(name, value)
		case "acl":
			h.Set("X-Amz-Acl", value)
		case "tagging":
			tags, err := postTags(value)
			if err != nil {
				return nil, err
			}
			h.Set("X-Amz-Tagging", tags)
		case "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token":
		default:
			if strings.HasPrefix(name, "x-amz-") {
				h.Set(name, value)
			}
		}
	}
	return h, nil
}

// postTags turns tags, which a form has as XML, into the header's form.
func postTags(text string) (string, error) {
	var tagging struct {
		XMLName xml.Name                      `xml:"Tagging"`
		Tags    []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if err := xml.Unmarshal([]byte(text), &tagging); err != nil {
		return "", aws.Errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema").WithStatus(400)
	}
	pairs := make([]string, 0, len(tagging.Tags))
	for _, t := range tagging.Tags {
		pairs = append(pairs, url.QueryEscape(t.Key)+"="+url.QueryEscape(t.Value))
	}
	return strings.Join(pairs, "&"), nil
}

// postFile is the file of a form, which fails at its end when it is shorter
// than the policy asks, and before when it is longer.
type postFile struct {
	r           io.Reader
	size        int64
	least, most int64
}

func (f *postFile) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.size += int64(n)
	switch {
	case f.size > f.most:
		return 0, aws.Errorf("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size").WithStatus(400).
			With("ProposedSize", strconv.FormatInt(f.size, 10)).With("MaxSizeAllowed", strconv.FormatInt(f.most, 10))
	case errors.Is(err, io.EOF) && f.size < f.least:
		return 0, aws.Errorf("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size").WithStatus(400).
			With("ProposedSize", strconv.FormatInt(f.size, 10)).With("MinSizeAllowed", strconv.FormatInt(f.least, 10))
	case err != nil && !errors.Is(err, io.EOF):
		return n, postTrouble(err)
	}
	return n, err
}

// servePost takes an upload with a form through.
func (g *Gateway) servePost(q *request) (*wire.Response, error) {
	q.service = g.models["s3"]
	q.call.Service = q.service.Name
	q.call.ID = aws.RandomText(16, aws.UpperAlnum)
	q.call.Trace = q.call.ID
	bucket, key := splitBucket(q.Host, q.URL.EscapedPath())
	if bucket == "" || key != "" {
		return nil, aws.Errorf("MethodNotAllowed", "The specified method is not allowed against this resource.").WithStatus(405).
			With("Method", "POST").With("ResourceType", "OBJECT")
	}
	if q.ContentLength < 0 {
		return nil, aws.Errorf("MissingContentLength", "You must provide the Content-Length HTTP header.").WithStatus(http.StatusLengthRequired)
	}
	form, err := readPostForm(q.Header.Get("Content-Type"), q.Body)
	if err != nil {
		return nil, err
	}
	if bucket, err = url.PathUnescape(bucket); err != nil {
		return nil, aws.Errorf("InvalidURI", "Couldn't parse the specified URI.")
	}
	file, err := g.admit(q, form, bucket)
	if err != nil {
		return nil, err
	}
	out, err := g.putForm(q, form, bucket, file)
	if err != nil {
		return nil, err
	}
	return posted(q, form, bucket, out), nil
}

// admit proves who made the form, and that the form is what he signed.
func (g *Gateway) admit(q *request, f *postForm, bucket string) (*postFile, error) {
	if _, ok := f.fields["key"]; !ok {
		return nil, errPostArgument("key", "", "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	f.fields["key"] = f.key()
	signed, err := sigv4.ParsePost(f.field)
	if err != nil {
		return nil, worded(err, sigv4.S3)
	}
	text, hasPolicy := f.fields["policy"]
	if signed != nil {
		if !hasPolicy {
			return nil, errPostArgument("policy", "", "Bucket POST must contain a field named 'policy'.  If it is specified, please check the order of the fields.")
		}
		if err := g.provePost(q, signed, text); err != nil {
			return nil, err
		}
	}
	file := &postFile{r: f.file, most: maxPostFile}
	if !hasPolicy {
		return file, nil
	}
	policy, err := parsePostPolicy(text)
	if err != nil {
		return nil, err
	}
	f.fields["bucket"] = bucket
	if err := policy.check(f.fields, g.now()); err != nil {
		return nil, err
	}
	file.least = policy.least
	if policy.most >= 0 {
		file.most = min(file.most, policy.most)
	}
	return file, nil
}

// provePost finds whose key signed the form's policy.
func (g *Gateway) provePost(q *request, signed *sigv4.Post, policy string) error {
	secret, principal, err := g.credentials.Key(q.Context(), signed.AccessKeyID, signed.Token)
	if err != nil {
		return unknownKey(err, sigv4.S3, &sigv4.Request{AccessKeyID: signed.AccessKeyID, Token: signed.Token})
	}
	if !g.credentials.Trusted(signed.AccessKeyID) {
		if err := signed.Verify(secret.Reveal(), policy); err != nil {
			return worded(err, sigv4.S3)
		}
	}
	q.call.Principal = principal
	q.call.Region = signed.Region
	return nil
}

// putForm passes the PutObject that the form stands for.
func (g *Gateway) putForm(q *request, f *postForm, bucket string, file *postFile) (*s3api.PutObjectOutput, error) {
	header, err := f.header()
	if err != nil {
		return nil, err
	}
	var ok bool
	if q.op, ok = q.service.Operation("PutObject"); !ok || !g.door.Has("s3", "PutObject") {
		return nil, checkpoint.NotImplemented("s3", "PutObject")
	}
	q.call.Operation = q.op.Name
	q.call.Keys = q.tlsKeys(map[string][]string{})
	if q.call.Principal.Kind != aws.Anonymous {
		q.call.Keys["s3:signatureversion"] = []string{"AWS4-HMAC-SHA256"}
		q.call.Keys["s3:authtype"] = []string{"POST"}
	}
	in, err := q.op.DecodeRequest(&wire.Request{
		Method: http.MethodPut, Bucket: bucket, Key: f.fields["key"], Query: url.Values{}, Header: header, Stream: file,
	})
	if err != nil {
		return nil, err
	}
	out, err := g.door.Do(q.Context(), q.call, in)
	if err != nil {
		return nil, err
	}
	put, ok := out.(*s3api.PutObjectOutput)
	if !ok {
		return nil, fmt.Errorf("PutObject answered with a %T", out)
	}
	return put, nil
}

// posted is the answer: 204, or what success_action_status asks for, or the way
// to success_action_redirect.
func posted(q *request, f *postForm, bucket string, out *s3api.PutObjectOutput) *wire.Response {
	key := f.fields["key"]
	location := q.call.BaseURL + "/" + bucket + "/" + (&url.URL{Path: key}).EscapedPath()
	if b, ok := hostBucket(q.Host); ok {
		location = strings.Replace(q.call.BaseURL, "://"+q.Host[:len(b)+1], "://", 1) + "/" + bucket + "/" + (&url.URL{Path: key}).EscapedPath()
	}
	r := &wire.Response{Status: http.StatusNoContent, Header: http.Header{}}
	r.Header.Set("X-Amz-Request-Id", q.call.ID)
	r.Header.Set("X-Amz-Id-2", hostID(q.call.ID))
	r.Header.Set("Etag", out.ETag)
	r.Header.Set("Location", location)
	for name, value := range map[string]string{
		"X-Amz-Version-Id": out.VersionId, "X-Amz-Server-Side-Encryption": out.ServerSideEncryption,
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id":     out.SSEKMSKeyId,
		"X-Amz-Server-Side-Encryption-Customer-Algorithm": out.SSECustomerAlgorithm,
		"X-Amz-Server-Side-Encryption-Customer-Key-Md5":   out.SSECustomerKeyMD5,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	redirect := f.fields["success_action_redirect"]
	if redirect == "" {
		redirect = f.fields["redirect"]
	}
	if to, err := url.Parse(redirect); redirect != "" && err == nil && (to.Scheme == "http" || to.Scheme == "https") {
		query := to.Query()
		query.Set("bucket", bucket)
		query.Set("key", key)
		query.Set("etag", out.ETag)
		to.RawQuery = query.Encode()
		r.Status = http.StatusSeeOther
		r.Header.Set("Location", to.String())
		return r
	}
	switch f.fields["success_action_status"] {
	case "200":
		r.Status = http.StatusOK
	case "201":
		r.Status = http.StatusCreated
		r.Body = postResponse(location, bucket, key, out.ETag)
		r.Header.Set("Content-Type", "application/xml")
	}
	return r
}

func postResponse(location, bucket, key, etag string) []byte {
	body, err := xml.Marshal(struct {
		XMLName                     xml.Name `xml:"PostResponse"`
		Location, Bucket, Key, ETag string
	}{Location: location, Bucket: bucket, Key: key, ETag: etag})
	if err != nil {
		return nil // no such value is not written
	}
	return append([]byte(xml.Header), body...)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
