package sigv4

import (
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

// Family says in whose words an authentication error is answered: services
// differ in codes, statuses and texts by their protocol.
type Family int

const (
	// JSON are the awsJson services.
	JSON Family = iota + 1
	// Query are the awsQuery services: IAM, STS, CloudFormation.
	Query
	// S3 has words of its own.
	S3
)

type kind int

const (
	missing kind = iota
	incomplete
	mismatch
)

// Error is a request that proves nobody's identity. Which service it was meant
// for is often known only afterwards, so it is worded late, by For.
type Error struct {
	kind    kind
	message string     // JSON and query services
	s3      *aws.Error // S3
}

func (e *Error) Error() string { return e.For(JSON).Error() }

// Missing reports that the request carries no credentials at all, so that S3
// may treat it as an anonymous one.
func (e *Error) Missing() bool { return e.kind == missing }

// For words the error as a service of family f does.
func (e *Error) For(f Family) *aws.Error {
	if f == S3 {
		return e.s3
	}
	words := [...]struct {
		json, query string
		status      int
	}{
		missing:    {"MissingAuthenticationTokenException", "MissingAuthenticationToken", 403},
		incomplete: {"IncompleteSignatureException", "IncompleteSignature", 400},
		mismatch:   {"InvalidSignatureException", "SignatureDoesNotMatch", 403},
	}[e.kind]
	if f == Query {
		message := e.message
		if e.kind == missing {
			message = "Request is missing Authentication Token"
		}
		return aws.Errorf(words.query, "%s", message).WithStatus(words.status)
	}
	return aws.Errorf(words.json, "%s", e.message).WithStatus(400)
}

func s3Error(code string, status int, message string, fields ...string) *aws.Error {
	e := &aws.Error{Code: code, Message: message, Status: status}
	if len(fields) > 0 {
		e.Fields = make(map[string]string, len(fields)/2)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		e.Fields[fields[i]] = fields[i+1]
	}
	return e
}

func errMissing() *Error {
	return &Error{missing, "Missing Authentication Token", s3Error("AccessDenied", 403, "Access Denied")}
}

func errTwoMechanisms() *Error {
	const text = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"
	return &Error{incomplete, text, s3Error("InvalidArgument", 400, text, "ArgumentName", "Authorization")}
}

func errMechanism(header string) *Error {
	e := &Error{kind: incomplete, message: headerComplaint("", "", "", false, header)}
	if strings.HasPrefix(header, "AWS ") || strings.HasPrefix(header, "AWS4-") {
		e.s3 = s3Error("InvalidRequest", 400, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	} else {
		e.s3 = s3Error("InvalidArgument", 400, "Unsupported Authorization Type", "ArgumentName", "Authorization", "ArgumentValue", header)
	}
	return e
}

// headerComplaint lists what an Authorization header lacks, in AWS's words.
func headerComplaint(credential, signed, signature string, dated bool, header string) string {
	var b strings.Builder
	for _, p := range [...]struct{ name, value string }{
		{"Credential", credential}, {"Signature", signature}, {"SignedHeaders", signed},
	} {
		if p.value == "" {
			b.WriteString("Authorization header requires '" + p.name + "' parameter. ")
		}
	}
	if !dated {
		b.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	// AWS shows the header, but a signature is nobody's business in a log.
	if i := strings.Index(header, "Signature="); i >= 0 {
		header = header[:i] + "Signature=…"
	}
	b.WriteString("Authorization=" + header)
	return b.String()
}

func errHeader(credential, signed, signature string, dated bool, header string) *Error {
	e := &Error{kind: incomplete, message: headerComplaint(credential, signed, signature, dated, header)}
	if credential != "" && signed != "" && signature != "" {
		e.s3 = s3Error("AccessDenied", 403, "AWS authentication requires a valid Date or x-amz-date header")
	} else {
		e.s3 = malformed("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
	}
	return e
}

func errPair(pair, header string) *Error {
	return &Error{incomplete,
		"'" + pair + "' not a valid key=value pair (missing equal-sign) in Authorization header: '" + headerOnly(header) + "'.",
		malformed("the authorization header requires three components: Credential, SignedHeaders, and Signature.")}
}

func headerOnly(header string) string {
	if i := strings.Index(header, "Signature="); i >= 0 {
		return header[:i] + "Signature=…"
	}
	return header
}

func malformed(text string) *aws.Error {
	return s3Error("AuthorizationHeaderMalformed", 400, "The authorization header is malformed; "+text)
}

func badQuery(text string) *aws.Error {
	return s3Error("AuthorizationQueryParametersError", 400, text)
}

// scopeError words a complaint about the credential for S3, which tells the
// two places it can stand in apart.
func scopeError(presigned bool, text string) *aws.Error {
	if presigned {
		return badQuery("Error parsing the X-Amz-Credential parameter; " + text)
	}
	return malformed(text)
}

func errCredential(credential string, presigned bool) *Error {
	return &Error{incomplete,
		"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'",
		scopeError(presigned, `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)}
}

func errNoKeyID(presigned bool) *Error {
	return &Error{incomplete, "Credential must have an access key id",
		scopeError(presigned, "a non-empty Access Key (AKID) must be provided in the credential.")}
}

func errQueryMissing(lacking []string) *Error {
	var b strings.Builder
	for i, name := range lacking {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("AWS query-string parameters must include '" + name + "'.")
	}
	return &Error{incomplete, b.String() + " Re-examine the query-string parameters.",
		badQuery("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")}
}

func errQueryTwice(name string) *Error {
	return &Error{incomplete, "AWS query-string parameter '" + name + "' must be given once.",
		badQuery("Query-string authentication version 4 requires the " + name + " parameter exactly once.")}
}

func errQueryAlgorithm(algorithmGiven string) *Error {
	return &Error{incomplete, "Unsupported AWS 'algorithm': '" + algorithmGiven + "'.",
		badQuery(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"`)}
}

func errDate(date string, presigned bool) *Error {
	e := &Error{kind: incomplete, message: "Date must be in ISO-8601 'basic format'. Got '" + date + "'. See http://en.wikipedia.org/wiki/ISO_8601"}
	if presigned {
		e.s3 = badQuery(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	} else {
		e.s3 = s3Error("AccessDenied", 403, "AWS authentication requires a valid Date or x-amz-date header")
	}
	return e
}

func errExpires(text string) *Error { return &Error{incomplete, text, badQuery(text)} }

// errUnsigned names the headers, in lower case, that have to be signed.
func errUnsigned(names []string) *Error {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = "'" + name + "' must be a 'SignedHeader' in the AWS Authorization."
		if name == "host" {
			texts[i] = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
		}
	}
	return &Error{mismatch, strings.Join(texts, " "),
		s3Error("AccessDenied", 403, "There were headers present in the request which were not signed", "HeadersNotSigned", strings.Join(names, ", "))}
}

func errPayloadMissing() *Error {
	return &Error{mismatch, signatureMismatch,
		s3Error("InvalidRequest", 400, "Missing required header for this request: x-amz-content-sha256")}
}

func errPayloadValue(value string) *Error {
	return &Error{mismatch, signatureMismatch,
		s3Error("InvalidArgument", 400, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
			"ArgumentName", "x-amz-content-sha256", "ArgumentValue", value)}
}

const signatureMismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

func errSignature(q *Request, stringToSign, canonical []byte) *Error {
	return &Error{mismatch, signatureMismatch,
		s3Error("SignatureDoesNotMatch", 403, "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
			"AWSAccessKeyId", q.AccessKeyID,
			"StringToSign", string(stringToSign),
			"SignatureProvided", q.signature,
			"StringToSignBytes", hexBytes(stringToSign),
			"CanonicalRequest", string(canonical),
			"CanonicalRequestBytes", hexBytes(canonical))}
}

// hexBytes writes bytes as S3 does: two digits each, a space between.
func hexBytes(b []byte) string {
	const digits = "0123456789abcdef"
	if len(b) == 0 {
		return ""
	}
	out := make([]byte, 0, 3*len(b))
	for i, c := range b {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

const iso = "2006-01-02T15:04:05Z"

// errClock is a signature from outside the window that ends at limit.
func errClock(q *Request, now, limit time.Time, early bool, window time.Duration) *Error {
	at, cmp, sign := "Signature expired", "is now earlier than", "-"
	if early {
		at, cmp, sign = "Signature not yet current", "is still later than", "+"
	}
	text := at + ": " + q.date + " " + cmp + " " + limit.UTC().Format(isoBasic) +
		" (" + now.UTC().Format(isoBasic) + " " + sign + " " + minutes(window) + ".)"
	return &Error{mismatch, text, clockForS3(q, now, early)}
}

func clockForS3(q *Request, now time.Time, early bool) *aws.Error {
	switch {
	case !q.Presigned:
		return s3Error("RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large.",
			"RequestTime", q.date, "ServerTime", now.UTC().Format(iso),
			"MaxAllowedSkewMilliseconds", strconv.FormatInt(Skew.Milliseconds(), 10))
	case early:
		return s3Error("AccessDenied", 403, "Request is not valid yet",
			"X-Amz-Date", q.date, "ServerTime", now.UTC().Format(iso))
	}
	return s3Error("AccessDenied", 403, "Request has expired",
		"X-Amz-Expires", strconv.FormatInt(int64(q.expires/time.Second), 10),
		"Expires", q.Time.Add(q.expires).UTC().Format(iso), "ServerTime", now.UTC().Format(iso))
}

func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.Itoa(int(d/time.Second)) + " sec"
}
