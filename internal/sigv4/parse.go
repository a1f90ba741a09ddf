package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

// Skew is how far a signature's time may lie from now.
const Skew = 15 * time.Minute

// longest is how long a presigned URL may live.
const longest = 7 * 24 * time.Hour

// Request is a signed request taken apart. What it says is a claim until
// Verify has held it against the secret.
type Request struct {
	// AccessKeyID and Token name the credentials; Token is empty for
	// long-term ones.
	AccessKeyID string
	Token       string
	// Region and Service are those of the credential's scope.
	Region  string
	Service string
	// Time is when the request was signed.
	Time time.Time
	// Presigned is set when the signature came in the query string.
	Presigned bool

	r             *http.Request
	day, date     string // scope date, and the time as signed
	signedHeaders string
	signature     string
	expires       time.Duration
	payload       string // the declared digest, or what stands for it

	standing standing
	key      [32]byte // the signing key, once verified
}

type standing int

const (
	doubted standing = iota
	verified
	trusted // accepted without its signature
)

// Parse reads who claims to have signed r. The error is an *Error; its Missing
// tells a request without credentials. It does not read the body.
func Parse(r *http.Request) (*Request, error) {
	q, err := parse(r)
	if err != nil {
		return nil, err
	}
	return q, nil
}

func parse(r *http.Request) (*Request, *Error) {
	header := r.Header["Authorization"]
	inQuery, v2 := queryMechanism(r.URL.RawQuery)
	q := &Request{r: r}
	var credential string
	var err *Error
	switch {
	case len(header) > 1 || len(header) == 1 && (inQuery || v2):
		return nil, errTwoMechanisms()
	case len(header) == 1:
		credential, err = q.readHeader(header[0])
	case inQuery:
		credential, err = q.readQuery(r.URL.RawQuery)
	case v2:
		return nil, errMechanism("AWS ")
	default:
		return nil, errMissing()
	}
	if err != nil {
		return nil, err
	}
	if err := q.readScope(credential); err != nil {
		return nil, err
	}
	if err := q.readPayload(); err != nil {
		return nil, err
	}
	return q, q.checkSigned()
}

// queryMechanism reports whether a query string carries a signature of version
// 4, or of version 2.
func queryMechanism(raw string) (v4, v2 bool) {
	for rest := raw; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		switch name, _, _ := strings.Cut(pair, "="); name {
		case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature":
			v4 = true
		case "AWSAccessKeyId":
			v2 = true
		}
	}
	return v4, v2
}

func (q *Request) readHeader(header string) (credential string, _ *Error) {
	rest, ok := strings.CutPrefix(header, algorithm)
	if !ok || rest != "" && rest[0] != ' ' {
		return "", errMechanism(header)
	}
	for rest = strings.TrimSpace(rest); rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, ",")
		part, rest = strings.TrimSpace(part), strings.TrimSpace(rest)
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return "", errPair(part, header)
		}
		var into *string
		switch name {
		case "Credential":
			into = &credential
		case "SignedHeaders":
			into = &q.signedHeaders
		case "Signature":
			into = &q.signature
		default:
			continue
		}
		if *into != "" {
			return "", errHeader("", "", "", true, header)
		}
		*into = value
	}
	dated, err := q.readDate()
	if err != nil {
		return "", err
	}
	if credential == "" || q.signedHeaders == "" || q.signature == "" || !dated {
		return "", errHeader(credential, q.signedHeaders, q.signature, dated, header)
	}
	q.Token = q.header("X-Amz-Security-Token")
	return credential, nil
}

// readDate takes the time from X-Amz-Date, or else from Date.
func (q *Request) readDate() (found bool, _ *Error) {
	date := q.header("X-Amz-Date")
	if date == "" {
		date = q.header("Date")
		if t, err := http.ParseTime(date); err == nil {
			q.Time, q.date = t.UTC(), t.UTC().Format(isoBasic)
			return true, nil
		}
	}
	if date == "" {
		return false, nil
	}
	return true, q.setDate(date)
}

func (q *Request) setDate(date string) *Error {
	t, err := time.Parse(isoBasic, date)
	if err != nil || len(date) != len(isoBasic) {
		return errDate(date, q.Presigned)
	}
	q.Time, q.date = t, date
	return nil
}

func (q *Request) readQuery(raw string) (credential string, _ *Error) {
	q.Presigned = true
	var algorithmGiven, date, expires string
	for rest := raw; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, escaped, _ := strings.Cut(pair, "=")
		var into *string
		switch name {
		case "X-Amz-Algorithm":
			into = &algorithmGiven
		case "X-Amz-Credential":
			into = &credential
		case "X-Amz-Date":
			into = &date
		case "X-Amz-Expires":
			into = &expires
		case "X-Amz-SignedHeaders":
			into = &q.signedHeaders
		case "X-Amz-Signature":
			into = &q.signature
		case "X-Amz-Security-Token":
			into = &q.Token
		case "X-Amz-Content-Sha256":
			into = &q.payload
		default:
			continue
		}
		value, err := url.QueryUnescape(escaped)
		if err != nil || *into != "" {
			return "", errQueryTwice(name)
		}
		*into = value
	}
	if algorithmGiven != "" && algorithmGiven != algorithm {
		return "", errQueryAlgorithm(algorithmGiven)
	}
	if err := q.lacking(algorithmGiven, credential, date); err != nil {
		return "", err
	}
	if err := q.setDate(date); err != nil {
		return "", err
	}
	return credential, q.setExpires(expires)
}

func (q *Request) lacking(algorithmGiven, credential, date string) *Error {
	var names []string
	for _, p := range [...]struct{ name, value string }{
		{"X-Amz-Algorithm", algorithmGiven}, {"X-Amz-Credential", credential},
		{"X-Amz-Signature", q.signature}, {"X-Amz-SignedHeaders", q.signedHeaders}, {"X-Amz-Date", date},
	} {
		if p.value == "" {
			names = append(names, p.name)
		}
	}
	if names == nil {
		return nil
	}
	return errQueryMissing(names)
}

// setExpires reads how long a presigned URL lives. Only S3 demands and heeds
// it: other services let each signature live for Skew, whatever it says.
func (q *Request) setExpires(text string) *Error {
	if text == "" {
		q.expires = -1
		return nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return errExpires("X-Amz-Expires should be a number")
	case seconds < 0:
		return errExpires("X-Amz-Expires must be non-negative")
	case seconds > int64(longest/time.Second):
		return errExpires("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	q.expires = time.Duration(seconds) * time.Second
	return nil
}

// readScope takes the credential apart: keyid/date/region/service/terminator.
func (q *Request) readScope(credential string) *Error {
	if strings.Count(credential, "/") != 4 {
		return errCredential(credential, q.Presigned)
	}
	var end string
	q.AccessKeyID, credential, _ = strings.Cut(credential, "/")
	q.day, credential, _ = strings.Cut(credential, "/")
	q.Region, credential, _ = strings.Cut(credential, "/")
	q.Service, end, _ = strings.Cut(credential, "/")
	if q.AccessKeyID == "" {
		return errNoKeyID(q.Presigned)
	}
	if q.Presigned && q.isS3() && q.expires < 0 {
		return errQueryMissing([]string{"X-Amz-Expires"})
	}
	if end == terminator && q.day == q.date[:8] && aws.IsRegion(q.Region) && q.Service != "" {
		return nil
	}
	return q.errScope(end)
}

// errScope says all that is wrong with a scope, as AWS does; S3 stops at the
// first fault.
func (q *Request) errScope(end string) *Error {
	var texts []string
	var s3 *aws.Error
	fault := func(text, forS3 string) {
		texts = append(texts, text)
		if s3 == nil {
			s3 = scopeError(q.Presigned, forS3)
		}
	}
	if !aws.IsRegion(q.Region) {
		fault("Credential should be scoped to a valid region, not '"+q.Region+"'.",
			"the region '"+q.Region+"' is wrong; expecting 'us-east-1'")
		s3 = s3.With("Region", "us-east-1")
	}
	if q.Service == "" {
		fault("Credential should be scoped to correct service.",
			`incorrect service "". This endpoint belongs to "s3".`)
	}
	if end != terminator {
		fault("Credential should be scoped with a valid terminator: '"+terminator+"', not '"+end+"'.",
			`incorrect terminal "`+end+`". This endpoint uses "`+terminator+`".`)
	}
	if q.day != q.date[:8] {
		fault("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+
			q.day+"' != '"+q.date[:8]+"', from '"+q.date+"'.",
			`Invalid credential date "`+q.day+`". This date is not the same as X-Amz-Date: "`+q.date[:8]+`".`)
	}
	return &Error{mismatch, strings.Join(texts, " "), s3}
}

// InService returns an *Error unless the request was signed for service, by
// its signing name.
func (q *Request) InService(service string) error {
	if q.Service == service {
		return nil
	}
	return &Error{mismatch, "Credential should be scoped to correct service: '" + service + "'. ",
		scopeError(q.Presigned, `incorrect service "`+q.Service+`". This endpoint belongs to "`+service+`".`)}
}

// InRegion returns an *Error unless the request was signed for region. Only S3
// asks, whose buckets have a region that the address does not show.
func (q *Request) InRegion(region string) error {
	if q.Region == region {
		return nil
	}
	return &Error{mismatch, "Credential should be scoped to a valid region, not '" + q.Region + "'. ",
		scopeError(q.Presigned, "the region '"+q.Region+"' is wrong; expecting '"+region+"'").With("Region", region)}
}

func (q *Request) isS3() bool { return q.Service == "s3" }

// readPayload finds the digest that S3 requests declare.
func (q *Request) readPayload() *Error {
	if !q.isS3() {
		q.payload = ""
		return nil
	}
	if q.payload == "" {
		header := q.header("X-Amz-Content-Sha256")
		switch {
		case !q.Presigned && header == "":
			return errPayloadMissing()
		case !q.Presigned || q.signs("x-amz-content-sha256"):
			q.payload = header
		default:
			q.payload = UnsignedPayload
		}
	}
	switch q.payload {
	case UnsignedPayload, streamSigned, streamSignedTrailer, streamUnsignedTrailer:
		return nil
	}
	if !isDigest(q.payload) {
		return errPayloadValue(q.payload)
	}
	return nil
}

func isDigest(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// checkSigned demands a signature over the host and over every x-amz-* header,
// whatever the service: what is not signed could have been added by anybody on
// the way. In HTTP/2 the host is called :authority, and AWS takes either name.
func (q *Request) checkSigned() *Error {
	var unsigned []string
	for name := range q.r.Header {
		if len(name) < 6 || !strings.EqualFold(name[:6], "x-amz-") || q.signs(name) {
			continue
		}
		// Its value is part of what is signed, or it has no meaning.
		if strings.EqualFold(name, "x-amz-content-sha256") {
			continue
		}
		unsigned = append(unsigned, strings.ToLower(name))
	}
	if !q.signs("host") && !q.signs(":authority") {
		unsigned = append(unsigned, "host")
	}
	if unsigned == nil {
		return nil
	}
	slices.Sort(unsigned)
	return errUnsigned(unsigned)
}

// header returns the value of a header that has one value. Of one that was sent
// more often it returns all, which are no value of any that is looked for: to
// heed the first alone would be to believe what others read differently.
func (q *Request) header(name string) string { return strings.Join(q.r.Header[name], ",") }

// signs reports whether a header is among the signed ones.
func (q *Request) signs(name string) bool {
	for rest := q.signedHeaders; rest != ""; {
		var signed string
		signed, rest, _ = strings.Cut(rest, ";")
		if strings.EqualFold(signed, name) {
			return true
		}
	}
	return false
}
