package sigv4

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// received is what a server makes of a request as it stands on the wire.
func received(t testing.TB, wire string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(wire, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sent carries a client's request over the wire.
func sent(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func signer(service string) Signer {
	return Signer{AccessKeyID: keyID, Secret: []byte(secret), Region: "us-east-1", Service: service}
}

// The examples of "Authenticating Requests" in the S3 API Reference.
func TestPublishedExamples(t *testing.T) {
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ name, wire string }{
		{"get with range", `GET /test.txt HTTP/1.1
Host: examplebucket.s3.amazonaws.com
Range: bytes=0-9
x-amz-content-sha256: ` + EmptyPayload + `
x-amz-date: 20130524T000000Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41

`},
		{"put, key with a dollar sign", `PUT /test$file.text HTTP/1.1
Host: examplebucket.s3.amazonaws.com
Date: Fri, 24 May 2013 00:00:00 GMT
x-amz-date: 20130524T000000Z
x-amz-storage-class: REDUCED_REDUNDANCY
x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd

`},
		{"subresource without value", `GET /?lifecycle HTTP/1.1
Host: examplebucket.s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-content-sha256: ` + EmptyPayload + `
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543

`},
		{"list", `GET /?max-keys=2&prefix=J HTTP/1.1
Host: examplebucket.s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-content-sha256: ` + EmptyPayload + `
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7

`},
		{"presigned", `GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1
Host: examplebucket.s3.amazonaws.com

`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := Parse(received(t, tt.wire))
			if err != nil {
				t.Fatal(err)
			}
			if err := q.Verify([]byte(secret), "", at); err != nil {
				t.Fatalf("%v\n%v", err, err.(*Error).For(S3).Fields["CanonicalRequest"])
			}
			if err := q.Verify([]byte(secret+"x"), "", at); err == nil {
				t.Error("another secret verifies too")
			}
		})
	}
}

// The streamed upload of the same chapter: 65 KiB and 1 KiB of the letter a.
func TestPublishedChunks(t *testing.T) {
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	head := `PUT /examplebucket/chunkObject.txt HTTP/1.1
Host: s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-storage-class: REDUCED_REDUNDANCY
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9
x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD
Content-Encoding: aws-chunked
x-amz-decoded-content-length: 66560
Content-Length: 66824

`
	body := "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" +
		strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" +
		strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
	read := func(body string) ([]byte, error) {
		q, err := Parse(received(t, head))
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Verify([]byte(secret), "", at); err != nil {
			t.Fatal(err)
		}
		b, err := q.Body(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return io.ReadAll(b)
	}
	got, err := read(body)
	if err != nil || len(got) != 66560 {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	for _, tt := range []struct{ name, body, code string }{
		{"a byte altered", strings.Replace(body, "aaa", "aba", 1), "SignatureDoesNotMatch"},
		{"a byte altered in the last chunk", body[:66000] + "b" + body[66001:], "SignatureDoesNotMatch"},
		{"chunks swapped", "400;" + strings.Join(strings.SplitN(body, "400;", 2)[1:], ""), "SignatureDoesNotMatch"},
		{"cut short", body[:70000-4000], "IncompleteBody"},
		{"last chunk missing", body[:strings.LastIndex(body, "0;chunk")], "IncompleteBody"},
		{"no signature", strings.Replace(body, ";chunk-signature=ad80", ";x=ad80", 1), "IncompleteBody"},
		{"a chunk longer than the whole", "fffffff;" + body[6:], "IncompleteBody"},
		{"bytes after the end", body + "x", "IncompleteBody"},
		{"a trailer", body[:len(body)-2] + "x-amz-checksum-crc32:AAAA\r\n\r\n", "MalformedTrailerError"},
		{"an endless line", strings.Repeat("0", 1<<20), "IncompleteBody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(tt.body)
			if got := code(err); got != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
}

func code(err error) string {
	var api *aws.Error
	if errors.As(err, &api) {
		return api.Code
	}
	return fmt.Sprint(err)
}

// streamed builds a signed stream with a trailer, independently of the reader.
func streamed(q *Request, data []byte, chunk int, trailer string) string {
	previous := q.signature
	scope := q.day + "/us-east-1/s3/aws4_request"
	sign := func(text string) string {
		k := []byte("AWS4" + secret)
		for _, part := range []string{q.day, "us-east-1", "s3", "aws4_request", text} {
			h := hmac.New(sha256.New, k)
			h.Write([]byte(part))
			k = h.Sum(nil)
		}
		return hex.EncodeToString(k)
	}
	var out strings.Builder
	for {
		n := min(chunk, len(data))
		previous = sign("AWS4-HMAC-SHA256-PAYLOAD\n" + q.date + "\n" + scope + "\n" + previous + "\n" + EmptyPayload + "\n" + Digest(data[:n]))
		fmt.Fprintf(&out, "%x;chunk-signature=%s\r\n", n, previous)
		if n == 0 {
			break
		}
		out.Write(data[:n])
		out.WriteString("\r\n")
		data = data[n:]
	}
	previous = sign("AWS4-HMAC-SHA256-TRAILER\n" + q.date + "\n" + scope + "\n" + previous + "\n" + Digest([]byte(trailer+"\n")))
	fmt.Fprintf(&out, "%s\r\nx-amz-trailer-signature:%s\r\n\r\n", trailer, previous)
	return out.String()
}

func TestSignedTrailer(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 5000)
	r := httptest.NewRequest("PUT", "http://b.s3.localhost:4566/key", nil)
	r.Header.Set("X-Amz-Decoded-Content-Length", "50000")
	r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
	signer("s3").Sign(r, streamSignedTrailer, now)
	verified := func() *Request {
		q, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Verify([]byte(secret), "", now); err != nil {
			t.Fatal(err)
		}
		return q
	}
	wire := streamed(verified(), data, 16000, "x-amz-checksum-crc32:AAAAAA==")
	b, err := verified().Body(strings.NewReader(wire))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	if got := b.Trailer("X-Amz-Checksum-Crc32"); got != "AAAAAA==" {
		t.Errorf("trailer = %q", got)
	}
	for _, tt := range []struct{ name, old, new, code string }{
		{"altered", "AAAAAA==", "BAAAAA==", "SignatureDoesNotMatch"},
		{"not announced", "x-amz-checksum-crc32:", "x-amz-checksum-sha1:", "MalformedTrailerError"},
		{"unsigned", "x-amz-trailer-signature", "x-amz-checksum-crc32", "MalformedTrailerError"},
		{"missing", "x-amz-checksum-crc32:AAAAAA==\r\n", "", "MalformedTrailerError"},
		{"without colon", "x-amz-checksum-crc32:", "x-amz-checksum-crc32;", "MalformedTrailerError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := verified().Body(strings.NewReader(strings.Replace(wire, tt.old, tt.new, 1)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(b); code(err) != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
}

func TestUnsignedTrailer(t *testing.T) {
	r := httptest.NewRequest("PUT", "https://b.s3.localhost:4566/key", nil)
	r.Header.Set("X-Amz-Decoded-Content-Length", "11")
	r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
	signer("s3").Sign(r, streamUnsignedTrailer, now)
	for _, tt := range []struct{ name, wire, want string }{
		{"one chunk", "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", "<nil>"},
		{"two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", "<nil>"},
		{"line feeds in trailers", "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\n\r\n", "<nil>"},
		{"no line end", "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n", "<nil>"},
		{"too short", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", "IncompleteBody"},
		{"too long", "c\r\nhello world!\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", "IncompleteBody"},
		{"negative", "-1\r\nhello world\r\n0\r\n\r\n", "IncompleteBody"},
		{"empty size", "\r\nhello world\r\n0\r\n\r\n", "IncompleteBody"},
		{"no trailer", "b\r\nhello world\r\n0\r\n\r\n", "MalformedTrailerError"},
		{"twice", "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:A\r\nx-amz-checksum-crc32:A\r\n\r\n", "MalformedTrailerError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			q.Trust()
			b, err := q.Body(strings.NewReader(tt.wire))
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(b)
			if got := code(err); got != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if b.Length() != 11 {
				t.Errorf("Length = %d", b.Length())
			}
		})
	}
}

func TestBodyDigest(t *testing.T) {
	for _, tt := range []struct{ name, body, digest, want string }{
		{"fits", "hello", Digest([]byte("hello")), "<nil>"},
		{"upper case", "hello", strings.ToUpper(Digest([]byte("hello"))), "<nil>"},
		{"differs", "hellO", Digest([]byte("hello")), "XAmzContentSHA256Mismatch"},
		{"unsigned", "anything", UnsignedPayload, "<nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("PUT", "https://b.s3.localhost/key", strings.NewReader(tt.body))
			signer("s3").Sign(r, tt.digest, now)
			q, err := Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := q.Body(r.Body); err == nil {
				t.Error("the body of an unverified request opens")
			}
			if err := q.Verify([]byte(secret), "", now); err != nil {
				t.Fatal(err)
			}
			b, err := q.Body(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(b); code(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	for _, target := range []string{
		"/", "/key", "/a b", "/a%20b", "/%E3%81%82", "/a+b", "/a%2Bb", "/a//b/../c", "/a%2Fb", "/(x)!*'", "/~tilde",
		"/?list-type=2&prefix=a%2Fb", "/?b=2&a=1&a=0&a-=3", "/?x=a+b&y=a%2Bb", "/?versions", "/?k=%C3%BC", "/?=", "/?a=b=c",
	} {
		for _, service := range []string{"s3", "kms"} {
			t.Run(service+target, func(t *testing.T) {
				r, err := http.NewRequest("GET", "http://host:4566"+strings.ReplaceAll(target, " ", "%20"), nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Amz-Meta-Name", "  several   spaces ")
				r.Header.Add("X-Amz-Meta-List", "one")
				r.Header.Add("X-Amz-Meta-List", "two")
				s := signer(service)
				s.Token = "token/with+signs="
				s.Sign(r, EmptyPayload, now)
				check(t, sent(t, r), s.Token)

				r, _ = http.NewRequest("GET", r.URL.String(), nil)
				r.URL = s.Presign(r, time.Minute, now)
				check(t, sent(t, r), s.Token)
			})
		}
	}
}

func check(t *testing.T, r *http.Request, token string) {
	t.Helper()
	q, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if q.AccessKeyID != keyID || q.Token != token || q.Region != "us-east-1" {
		t.Errorf("parsed %q %q %q", q.AccessKeyID, q.Token, q.Region)
	}
	if err := q.Verify([]byte(secret), "", now); err != nil {
		t.Errorf("%v\n%s", err, err.(*Error).For(S3).Fields["CanonicalRequest"])
	}
}

func TestTampering(t *testing.T) {
	build := func() *http.Request {
		r := httptest.NewRequest("POST", "http://kms.localhost:4566/", strings.NewReader("{}"))
		r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		signer("kms").Sign(r, Digest([]byte("{}")), now)
		return r
	}
	for _, tt := range []struct {
		name   string
		change func(r *http.Request)
		body   string
	}{
		{"method", func(r *http.Request) { r.Method = "PUT" }, "{}"},
		{"host", func(r *http.Request) { r.Host = "kms.localhost" }, "{}"},
		{"target", func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Decrypt") }, "{}"},
		{"target twice", func(r *http.Request) { r.Header.Add("X-Amz-Target", "TrentService.Decrypt") }, "{}"},
		{"query", func(r *http.Request) { r.URL.RawQuery = "a" }, "{}"},
		{"path", func(r *http.Request) { r.RequestURI = "/x" }, "{}"},
		{"body", func(*http.Request) {}, "{ }"},
		{"unsigned header", func(r *http.Request) { r.Header.Set("X-Amz-Extra", "1") }, "{}"},
		{"signature cut", func(r *http.Request) {
			r.Header.Set("Authorization", strings.TrimRight(r.Header.Get("Authorization"), "0123456789"))
		}, "{ }"},
		{"time", func(r *http.Request) { r.Header.Set("X-Amz-Date", "20260304T050608Z") }, "{}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := build()
			tt.change(r)
			q, err := Parse(r)
			if err == nil {
				err = q.Verify([]byte(secret), Digest([]byte(tt.body)), now)
			}
			var e *Error
			if !errors.As(err, &e) || e.For(JSON).Code != "InvalidSignatureException" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	const good = "AWS4-HMAC-SHA256 Credential=AKID/20260304/us-east-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
	const goodQuery = "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260304%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260304T050607Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
	for _, tt := range []struct {
		name, query, header, date string
		json, query1, s3          string
	}{
		{"nothing", "", "", "", "MissingAuthenticationTokenException: Missing Authentication Token",
			"MissingAuthenticationToken: Request is missing Authentication Token", "AccessDenied: Access Denied"},
		{"basic", "", "Basic eDp5", "", "IncompleteSignatureException: Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=Basic eDp5",
			"", "InvalidArgument: Unsupported Authorization Type"},
		{"version 2", "", "AWS AKID:sig", "", "", "", "InvalidRequest: The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."},
		{"version 2 in the query", "?AWSAccessKeyId=A&Signature=b&Expires=1", "", "", "", "", "InvalidRequest: The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."},
		{"both", goodQuery, good, "20260304T050607Z", "", "", "InvalidArgument: Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"},
		{"no pair", "", "AWS4-HMAC-SHA256 Credential", "20260304T050607Z", "IncompleteSignatureException: 'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Credential'.", "", ""},
		{"no date", "", good, "", "IncompleteSignatureException: Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 Credential=AKID/20260304/us-east-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=…", "",
			"AccessDenied: AWS authentication requires a valid Date or x-amz-date header"},
		{"bad date", "", good, "yesterday", "IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601", "", ""},
		{"short credential", "", strings.Replace(good, "/kms", "", 1), "20260304T050607Z", "IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKID/20260304/us-east-1/aws4_request'", "",
			`AuthorizationHeaderMalformed: The authorization header is malformed; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`},
		{"no key id", "", strings.Replace(good, "AKID", "", 1), "20260304T050607Z", "", "", "AuthorizationHeaderMalformed: The authorization header is malformed; a non-empty Access Key (AKID) must be provided in the credential."},
		{"scope", "", strings.NewReplacer("us-east-1", "mars", "aws4_request", "aws5", "20260304", "20260303").Replace(good), "20260304T050607Z",
			"InvalidSignatureException: Credential should be scoped to a valid region, not 'mars'. Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260303' != '20260304', from '20260304T050607Z'.",
			"", "AuthorizationHeaderMalformed: The authorization header is malformed; the region 'mars' is wrong; expecting 'us-east-1'"},
		{"host unsigned", "", strings.Replace(good, "host;", "", 1), "20260304T050607Z", "InvalidSignatureException: 'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.", "", "AccessDenied: There were headers present in the request which were not signed"},
		{"date unsigned", "", strings.Replace(good, ";x-amz-date", "", 1), "20260304T050607Z", "", "SignatureDoesNotMatch: 'x-amz-date' must be a 'SignedHeader' in the AWS Authorization.", ""},
		{"no digest for S3", "", strings.Replace(good, "kms", "s3", 1), "20260304T050607Z", "", "", "InvalidRequest: Missing required header for this request: x-amz-content-sha256"},
		{"query without expiry", strings.Replace(goodQuery, "X-Amz-Expires=60&", "", 1), "", "", "", "", "AuthorizationQueryParametersError: Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."},
		{"query without signature", strings.Replace(goodQuery, "&X-Amz-Signature=00", "", 1), "", "", "IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Signature'. Re-examine the query-string parameters.", "", ""},
		{"too long", strings.Replace(goodQuery, "=60", "=604801", 1), "", "", "", "", "AuthorizationQueryParametersError: X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"},
		{"negative", strings.Replace(goodQuery, "=60", "=-1", 1), "", "", "", "", "AuthorizationQueryParametersError: X-Amz-Expires must be non-negative"},
		{"no number", strings.Replace(goodQuery, "=60", "=soon", 1), "", "", "", "", "AuthorizationQueryParametersError: X-Amz-Expires should be a number"},
		{"algorithm", strings.Replace(goodQuery, "SHA256", "SHA1", 1), "", "", "", "", `AuthorizationQueryParametersError: X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"`},
		{"parameter twice", goodQuery + "&X-Amz-Expires=61", "", "", "", "", "AuthorizationQueryParametersError: Query-string authentication version 4 requires the X-Amz-Expires parameter exactly once."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://host/"+tt.query, nil)
			if tt.header != "" {
				r.Header.Set("Authorization", tt.header)
			}
			if tt.date != "" {
				r.Header.Set("X-Amz-Date", tt.date)
			}
			_, err := Parse(r)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			for family, want := range map[Family]string{JSON: tt.json, Query: tt.query1, S3: tt.s3} {
				if want == "" {
					continue
				}
				if diff := cmp.Diff(want, e.For(family).Error()); diff != "" {
					t.Errorf("family %d (-want +got):\n%s", family, diff)
				}
			}
			if e.For(S3) == nil || e.For(S3).Status == 0 {
				t.Error("S3 has no words for it")
			}
			if e.Missing() != (tt.name == "nothing") {
				t.Error("Missing is wrong")
			}
		})
	}
}

// TestUnsignedHeaders holds that every x-amz-* header has to be signed, and
// that a refusal names all that are not, in one order.
func TestUnsignedHeaders(t *testing.T) {
	for _, service := range []string{"s3", "kms"} {
		r := httptest.NewRequest("PUT", "http://host/key", nil)
		r.Header.Set("X-Amz-Acl", "private")
		signer(service).Sign(r, EmptyPayload, now)
		r.Header.Set("X-Amz-Tagging", "a=b")
		r.Header.Set("X-Amz-Copy-Source", "/b/k")
		r.Header.Set("X-Amzn-Trace-Id", "Root=1") // proxies add it
		_, err := Parse(r)
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", service, err)
		}
		if got := e.For(S3).Fields["HeadersNotSigned"]; got != "x-amz-copy-source, x-amz-tagging" {
			t.Errorf("%s: HeadersNotSigned = %q", service, got)
		}
		if got := e.For(JSON).Message; got != "'x-amz-copy-source' must be a 'SignedHeader' in the AWS Authorization. 'x-amz-tagging' must be a 'SignedHeader' in the AWS Authorization." {
			t.Errorf("%s: %s", service, got)
		}
	}
}

// TestAuthority holds that the host may be signed by the name that it has in
// HTTP/2, which net/http shows as Host whatever the version.
func TestAuthority(t *testing.T) {
	build := func() *http.Request {
		r := httptest.NewRequest("GET", "http://host/key", nil)
		r.Header.Set("X-Amz-Date", now.Format(isoBasic))
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+keyID+"/20260304/us-east-1/kms/aws4_request, SignedHeaders=:authority;x-amz-date, Signature=00")
		q, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		key := signingKey([]byte(secret), q.day, q.Region, q.Service)
		sum := sha256.Sum256(q.appendCanonical(nil, EmptyPayload))
		signature := mac(key[:], hex.AppendEncode(appendToSign(nil, algorithm, q.date, q.day, q.Region, q.Service), sum[:]))
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=00", "Signature="+hex.EncodeToString(signature[:]), 1))
		return r
	}
	for _, host := range []string{"host", "other"} {
		r := build()
		r.Host = host
		q, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Verify([]byte(secret), "", now); (err == nil) != (host == "host") {
			t.Errorf("signed for host, sent to %s: %v", host, err)
		}
	}
}

// TestRepeatedHeaders holds that of the headers a signature stands on each has
// one value: whoever reads the first would not see what the second says.
func TestRepeatedHeaders(t *testing.T) {
	for name, want := range map[string]string{
		"X-Amz-Date":           "AccessDenied",
		"X-Amz-Content-Sha256": "InvalidArgument",
		"Authorization":        "InvalidArgument",
	} {
		r := httptest.NewRequest("GET", "http://host/key", nil)
		signer("s3").Sign(r, EmptyPayload, now)
		r.Header.Add(name, r.Header.Get(name))
		_, err := Parse(r)
		var e *Error
		if !errors.As(err, &e) || e.For(S3).Code != want {
			t.Errorf("%s twice: %v, want %s", name, err, want)
		}
	}
	r := httptest.NewRequest("GET", "http://host/key", nil)
	s := signer("s3")
	s.Token = "token"
	s.Sign(r, EmptyPayload, now)
	r.Header.Add("X-Amz-Security-Token", "token")
	if q, err := Parse(r); err != nil || q.Token == "token" {
		t.Errorf("a token twice: %+v, %v", q, err)
	}
}

func TestClock(t *testing.T) {
	presign := func(service string, at time.Time) *Request {
		r := httptest.NewRequest("GET", "http://host/key", nil)
		u := signer(service).Presign(r, time.Hour, at)
		q, err := Parse(httptest.NewRequest("GET", u.String(), nil))
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	header := func(service string, at time.Time) *Request {
		r := httptest.NewRequest("GET", "http://host/key", nil)
		signer(service).Sign(r, EmptyPayload, at)
		q, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	for _, tt := range []struct {
		name   string
		q      *Request
		family Family
		want   string
	}{
		{"just in time", header("kms", now.Add(-Skew)), JSON, ""},
		{"just not early", header("kms", now.Add(Skew)), JSON, ""},
		{"late", header("kms", now.Add(-Skew-time.Second)), JSON,
			"InvalidSignatureException: Signature expired: 20260304T045106Z is now earlier than 20260304T045107Z (20260304T050607Z - 15 min.)"},
		{"early", header("kms", now.Add(Skew+time.Second)), Query,
			"SignatureDoesNotMatch: Signature not yet current: 20260304T052108Z is still later than 20260304T052107Z (20260304T050607Z + 15 min.)"},
		{"late for S3", header("s3", now.Add(-time.Hour)), S3,
			"RequestTimeTooSkewed: The difference between the request time and the current time is too large."},
		{"presigned in time", presign("s3", now.Add(-time.Hour)), S3, ""},
		{"presigned late", presign("s3", now.Add(-time.Hour-time.Second)), S3, "AccessDenied: Request has expired"},
		{"presigned early", presign("s3", now.Add(time.Hour)), S3, "AccessDenied: Request is not valid yet"},
		{"presigned, not for S3", presign("sts", now.Add(-16*time.Minute)), Query,
			"SignatureDoesNotMatch: Signature expired: 20260304T045007Z is now earlier than 20260304T045107Z (20260304T050607Z - 15 min.)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.q.Verify([]byte(secret), "", now)
			got := ""
			if err != nil {
				got = err.(*Error).For(tt.family).Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestScopeOfServiceAndRegion(t *testing.T) {
	r := httptest.NewRequest("GET", "http://host/", nil)
	signer("kms").Sign(r, EmptyPayload, now)
	q, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if q.InService("kms") != nil || q.InRegion("us-east-1") != nil {
		t.Error("its own scope is refused")
	}
	got := q.InRegion("eu-west-1").(*Error).For(S3)
	if got.Code != "AuthorizationHeaderMalformed" || got.Fields["Region"] != "eu-west-1" {
		t.Errorf("region: %v %v", got, got.Fields)
	}
	if got := q.InService("s3").(*Error).For(S3).Message; got != `The authorization header is malformed; incorrect service "kms". This endpoint belongs to "s3".` {
		t.Errorf("service: %s", got)
	}
}

func TestAnonymous(t *testing.T) {
	r := httptest.NewRequest("PUT", "http://host/", strings.NewReader("x"))
	q, err := Anonymous(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Body(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	r.Header.Set("X-Amz-Content-Sha256", streamSigned)
	if _, err := Anonymous(r); err == nil {
		t.Error("an anonymous stream of signatures is accepted")
	}
}

func TestGit(t *testing.T) {
	password := SignGit([]byte(secret), "eu-central-1", "127.0.0.1", "/v1/repos/site", now)
	for _, tt := range []struct {
		name, region, host, path, password string
		now                                time.Time
		want                               bool
	}{
		{"fits", "eu-central-1", "127.0.0.1", "/v1/repos/site", password, now, true},
		{"later", "eu-central-1", "127.0.0.1", "/v1/repos/site", password, now.Add(Skew), true},
		{"too late", "eu-central-1", "127.0.0.1", "/v1/repos/site", password, now.Add(Skew + 1), false},
		{"region", "eu-west-1", "127.0.0.1", "/v1/repos/site", password, now, false},
		{"host", "eu-central-1", "localhost", "/v1/repos/site", password, now, false},
		{"path", "eu-central-1", "127.0.0.1", "/v1/repos/other", password, now, false},
		{"garbage", "eu-central-1", "127.0.0.1", "/v1/repos/site", "Z", now, false},
		{"empty", "eu-central-1", "127.0.0.1", "/v1/repos/site", "", now, false},
		{"longer", "eu-central-1", "127.0.0.1", "/v1/repos/site", password + "0", now, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := VerifyGit([]byte(secret), tt.region, tt.host, tt.path, tt.password, tt.now); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if id, token := GitCredentials("ASIA%to%ken"); id != "ASIA" || token != "to%ken" {
		t.Errorf("credentials %q %q", id, token)
	}
}

func TestMAC(t *testing.T) {
	for _, sizes := range [][2]int{{0, 0}, {5, 7}, {64, 64}, {65, 300}, {200, 3}, {32, 5000}} {
		key, message := make([]byte, sizes[0]), make([]byte, sizes[1])
		rand.Read(key)
		rand.Read(message)
		h := hmac.New(sha256.New, key)
		h.Write(message)
		if got := mac(key, message); !bytes.Equal(got[:], h.Sum(nil)) {
			t.Errorf("sizes %v differ from crypto/hmac", sizes)
		}
	}
}

func benchRequest(service string) *http.Request {
	r := httptest.NewRequest("PUT", "http://127.0.0.1:4566/bucket/some/key%20with.txt?partNumber=3&uploadId=abc", nil)
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("X-Amz-Server-Side-Encryption", "aws:kms")
	r.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	signer(service).Sign(r, EmptyPayload, now)
	return r
}

func BenchmarkVerify(b *testing.B) {
	r := benchRequest("s3")
	key := []byte(secret)
	b.ReportAllocs()
	for b.Loop() {
		q, err := Parse(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := q.Verify(key, "", now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyPresigned(b *testing.B) {
	r := httptest.NewRequest("GET", "http://127.0.0.1:4566/bucket/key", nil)
	r.URL = signer("s3").Presign(r, time.Hour, now)
	r.RequestURI = r.URL.RequestURI()
	key := []byte(secret)
	b.ReportAllocs()
	for b.Loop() {
		q, err := Parse(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := q.Verify(key, "", now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChunkedBody(b *testing.B) {
	data := make([]byte, 1<<20)
	r := httptest.NewRequest("PUT", "http://h/key", nil)
	r.Header.Set("X-Amz-Decoded-Content-Length", "1048576")
	r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
	signer("s3").Sign(r, streamSignedTrailer, now)
	q, err := Parse(r)
	if err != nil {
		b.Fatal(err)
	}
	if err := q.Verify([]byte(secret), "", now); err != nil {
		b.Fatal(err)
	}
	wire := streamed(q, data, 64<<10, "x-amz-checksum-crc32:AAAAAA==")
	into := make([]byte, 64<<10)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		body, err := q.Body(strings.NewReader(wire))
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = body.Read(into)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKID/20260304/us-east-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "20260304T050607Z", "a=b")
	f.Add("AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;,Signature==", "Fri, 24 May 2013 00:00:00 GMT", "%zz&=&&+")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260304%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260304T050607Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00")
	f.Fuzz(func(t *testing.T, header, date, query string) {
		r := httptest.NewRequest("GET", "http://host/a/../b", nil)
		r.URL.RawQuery = query
		if header != "" {
			r.Header["Authorization"] = []string{header}
		}
		r.Header["X-Amz-Date"] = []string{date}
		q, err := Parse(r)
		if err == nil {
			err = q.Verify([]byte(secret), "", now)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("a made-up signature gives %v", err)
		}
		for _, family := range []Family{JSON, Query, S3} {
			if w := e.For(family); w == nil || w.Code == "" {
				t.Fatalf("no words for family %d", family)
			}
		}
	})
}

func FuzzChunks(f *testing.F) {
	f.Add("b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", false)
	f.Add("5;chunk-signature=00\r\nhello\r\n0;chunk-signature=00\r\n\r\n", true)
	f.Add("ffffffffffffffff\r\n", false)
	f.Fuzz(func(t *testing.T, wire string, signed bool) {
		r := httptest.NewRequest("PUT", "http://host/key", nil)
		r.Header.Set("X-Amz-Decoded-Content-Length", "11")
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		mode := streamUnsignedTrailer
		if signed {
			mode = streamSignedTrailer
		}
		signer("s3").Sign(r, mode, now)
		q, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		q.Trust()
		b, err := q.Body(strings.NewReader(wire))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b)
		if err == nil && len(got) != 11 {
			t.Fatalf("read %d bytes, want 11", len(got))
		}
		var api *aws.Error
		if err != nil && !errors.As(err, &api) {
			t.Fatalf("no answer: %v", err)
		}
	})
}
