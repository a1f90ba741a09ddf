package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// dial opens a TLS connection to a server; it is closed when the test ends.
func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), config)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// raw sends what no SDK would.
type raw struct {
	s           *server
	a           *account
	credentials aws.Credentials
}

func (s *server) raw(t *testing.T) *raw {
	t.Helper()
	a := s.account("pipeline")
	c, err := a.config.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &raw{s, a, c}
}

// message is one request, signed after change has had it, and sent after
// spoil has.
type message struct {
	method, path, body string
	header             map[string]string
	service, region    string
	at                 time.Time
	digest             string // declared; "" is the body's
	keyID, secret      string // "" are the right ones
	spoil              func(r *http.Request)
}

func (x *raw) request(t *testing.T, m message) *http.Request {
	t.Helper()
	if m.method == "" {
		m.method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), m.method, x.s.url+"/"+m.path, strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range m.header {
		r.Header.Set(name, value)
	}
	if m.digest == "" {
		sum := sha256.Sum256([]byte(m.body))
		m.digest = hex.EncodeToString(sum[:])
	}
	if m.service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", m.digest)
	}
	c := x.credentials
	if m.keyID != "" {
		c.AccessKeyID = m.keyID
	}
	if m.secret != "" {
		c.SecretAccessKey = m.secret
	}
	if m.at.IsZero() {
		m.at = time.Now()
	}
	if m.region == "" {
		m.region = region
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = m.service == "s3" })
	if err := signer.SignHTTP(t.Context(), c, r, m.digest, m.service, m.region, m.at); err != nil {
		t.Fatal(err)
	}
	if m.spoil != nil {
		m.spoil(r)
	}
	return r
}

// send returns status and answer.
func (x *raw) send(t *testing.T, m message) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	resp, err := x.a.config.HTTPClient.Do(x.request(t, m).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// wants sends a message that must be answered by this status and these words.
func (x *raw) wants(t *testing.T, m message, status int, words ...string) {
	t.Helper()
	got, body := x.send(t, m)
	if got != status {
		t.Errorf("status %d, want %d: %.600s", got, status, body)
	}
	for _, w := range words {
		if !strings.Contains(body, w) {
			t.Errorf("the answer lacks %q: %.600s", w, body)
		}
	}
}

// inJSON, inQuery and inS3 are well-formed messages of the three protocols,
// for tests to spoil.
func inJSON(target, body string) message {
	return message{body: body, service: signingName(target), header: map[string]string{
		"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}}
}

func signingName(target string) string {
	for prefix, name := range map[string]string{"TrentService": "kms", "AWSEvents": "events", "CodeCommit": "codecommit", "CodePipeline": "codepipeline"} {
		if strings.HasPrefix(target, prefix) {
			return name
		}
	}
	return "kms"
}

func inQuery(service, form string) message {
	return message{body: form, service: service, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}}
}

func inS3(method, path, body string) message {
	return message{method: method, path: path, body: body, service: "s3"}
}

// healthy ends a test of bad input: the server still answers, and nothing has
// failed inside.
func (x *raw) healthy(t *testing.T) {
	t.Helper()
	if status, body := x.send(t, inQuery("sts", "Action=GetCallerIdentity&Version=2011-06-15")); status != 200 {
		t.Errorf("afterwards: %d %s", status, body)
	}
	for _, word := range []string{"panic", "failed inside", "level=ERROR"} {
		if strings.Contains(x.s.log.String(), word) {
			t.Errorf("the log has %q:\n%s", word, x.s.log)
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	x := s.raw(t)
	bucket(t, x.a, "input")
	put(t, x.a, "input", "k", "v")
	deep := strings.Repeat(`[`, 100_000) + strings.Repeat(`]`, 100_000)
	bomb := `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]><Tagging><TagSet><Tag><Key>&c;</Key><Value>x</Value></Tag></TagSet></Tagging>`
	stranger := `<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><Tagging><TagSet><Tag><Key>k</Key><Value>&a;</Value></Tag></TagSet></Tagging>`
	spoiled := func(m message, spoil func(r *http.Request)) message { m.spoil = spoil; return m }
	drop := func(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }
	for _, tt := range []struct {
		name   string
		m      message
		status int
		words  []string
	}{
		{"json: nothing", inJSON("TrentService.CreateAlias", ``), 400, []string{"ValidationException"}},
		{"json: cut short", inJSON("TrentService.CreateAlias", `{"AliasName":"alias/x`), 400, []string{"SerializationException"}},
		{"json: no object", inJSON("TrentService.CreateAlias", `[]`), 400, []string{"SerializationException"}},
		{"json: garbage", inJSON("TrentService.CreateAlias", "\x00\xff\xfe"), 400, []string{"SerializationException"}},
		{"json: more than one value", inJSON("TrentService.ListKeys", `{} {}`), 400, []string{"SerializationException"}},
		{"json: wrong type", inJSON("TrentService.ListKeys", `{"Limit":"many"}`), 400, []string{"SerializationException"}},
		{"json: number beyond range", inJSON("TrentService.ListKeys", `{"Limit":1e400}`), 400, []string{"SerializationException"}},
		{"json: bad base64", inJSON("TrentService.Decrypt", `{"CiphertextBlob":"*"}`), 400, []string{"SerializationException"}},
		{"json: deep", inJSON("TrentService.ListKeys", deep), 400, []string{"SerializationException"}},
		{"json: deep, unknown member", inJSON("TrentService.ListKeys", `{"x":`+deep+`}`), 400, []string{"SerializationException"}},
		{"json: constraints", inJSON("TrentService.ListKeys", `{"Limit":0}`), 400, []string{"ValidationException", "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"}},
		{"json: NUL in a name", inJSON("CodeCommit_20150413.GetRepository", `{"repositoryName":"a\u0000b"}`), 400, []string{"SerializationException"}},
		{"json: invalid UTF-8", inJSON("CodeCommit_20150413.GetRepository", "{\"repositoryName\":\"a\xffb\"}"), 400, nil},
		{"json: lone surrogate", inJSON("CodeCommit_20150413.GetRepository", `{"repositoryName":"\ud800"}`), 400, nil},
		{"json: unknown operation", inJSON("TrentService.Nothing", `{}`), 400, []string{"UnknownOperationException"}},
		{"json: unknown service", inJSON("Nothing_1.Nothing", `{}`), 400, []string{"UnknownOperationException"}},
		{"json: empty target", inJSON("TrentService.", `{}`), 400, []string{"UnknownOperationException"}},
		{"json: operation that is not built", inJSON("CodeCommit_20150413.CreatePullRequest", `{"title":"t","targets":[{"repositoryName":"r","sourceReference":"s"}]}`), 0, []string{"CreatePullRequest"}},
		{"json: oversized", inJSON("TrentService.ListKeys", `{"Marker":"`+strings.Repeat("x", 20<<20)+`"}`), 413, nil},
		{"json: pattern", inJSON("AWSEvents.PutRule", `{"Name":"r","EventPattern":"{\"a\":[{\"wildcard\":\"`+"**"+`\"}]}"}`), 400, []string{"InvalidEventPatternException"}},
		{"json: policy", inJSON("TrentService.CreateKey", `{"Policy":"{\"Statement\":[{\"Effect\":\"Allow\"}]}"}`), 400, []string{"MalformedPolicyDocumentException"}},

		{"query: no action", inQuery("iam", "Version=2010-05-08"), 400, []string{"<Code>MissingAction</Code>"}},
		{"query: unknown action", inQuery("iam", "Action=Nothing&Version=2010-05-08"), 400, []string{"<Code>InvalidAction</Code>", "Could not find operation Nothing for version 2010-05-08"}},
		{"query: unknown version", inQuery("iam", "Action=ListUsers&Version=1999-01-01"), 400, []string{"<Code>InvalidAction</Code>"}},
		{"query: bad escape", inQuery("iam", "Action=ListUsers&Version=2010-05-08&PathPrefix=%zz"), 400, nil},
		{"query: wrong type", inQuery("iam", "Action=ListUsers&Version=2010-05-08&MaxItems=many"), 400, []string{"<Code>MalformedInput</Code>"}},
		{"query: missing", inQuery("iam", "Action=CreateRole&Version=2010-05-08"), 400, []string{"<Code>ValidationError</Code>", "2 validation errors detected"}},
		{"query: huge index", inQuery("iam", "Action=TagUser&Version=2010-05-08&UserName=u&Tags.member.999999999.Key=k&Tags.member.999999999.Value=v"), 404, []string{"<Code>NoSuchEntity</Code>"}},
		{"query: invalid UTF-8", inQuery("iam", "Action=CreateUser&Version=2010-05-08&UserName=%ff%fe"), 400, []string{"<Code>MalformedInput</Code>"}},
		{"query: NUL", inQuery("iam", "Action=CreateUser&Version=2010-05-08&UserName=a%00b"), 400, []string{"<Code>MalformedInput</Code>"}},
		{"query: policy", inQuery("iam", "Action=CreatePolicy&Version=2010-05-08&PolicyName=p&PolicyDocument=%7B"), 400, []string{"<Code>MalformedPolicyDocument</Code>"}},
		{"query: template", inQuery("cloudformation", "Action=ValidateTemplate&Version=2010-05-15&TemplateBody=%5B"), 400, []string{"<Code>ValidationError</Code>"}},
		{"query: unknown service", inQuery("ec2", "Action=DescribeInstances&Version=2016-11-15"), 501, []string{"ec2"}},

		{"s3: no XML", inS3("PUT", "input/k?tagging", "garbage"), 400, []string{"<Code>MalformedXML</Code>"}},
		{"s3: nothing", inS3("PUT", "input/k?tagging", ""), 400, nil},
		{"s3: XML bomb", inS3("PUT", "input/k?tagging", bomb), 400, []string{"<Code>MalformedXML</Code>"}},
		{"s3: XML from a file", inS3("PUT", "input/k?tagging", stranger), 400, []string{"<Code>MalformedXML</Code>"}},
		{"s3: deep XML", inS3("PUT", "input/k?tagging", strings.Repeat("<a>", 100_000)), 400, []string{"<Code>MalformedXML</Code>"}},
		{"s3: wrong XML", inS3("PUT", "input?versioning", "<VersioningConfiguration><Status>Perhaps</Status></VersioningConfiguration>"), 400, []string{"<Code>MalformedXML</Code>"}},
		{"s3: oversized XML", inS3("POST", "input?delete", "<Delete>"+strings.Repeat(" ", 20<<20)+"</Delete>"), 400, []string{"<Code>MaxMessageLengthExceeded</Code>", "Your request was too big."}},
		{"s3: bad policy", inS3("PUT", "input?policy", "{"), 400, []string{"<Code>MalformedPolicy</Code>"}},
		{"s3: bad bucket name", inS3("PUT", "Input_", ""), 400, []string{"<Code>InvalidBucketName</Code>"}},
		{"s3: bad escape", spoiled(inS3("GET", "input/k", ""), func(r *http.Request) { r.URL.Opaque = "//" + r.URL.Host + "/input/%zz" }), 400, nil},
		{"s3: NUL in a key", inS3("GET", "input/a%00b", ""), 400, []string{"<Code>InvalidArgument</Code>"}},
		{"s3: invalid UTF-8 in a key", inS3("PUT", "input/%FF%FE", "x"), 400, []string{"<Code>InvalidArgument</Code>"}},
		{"s3: long key", inS3("PUT", "input/"+strings.Repeat("k", 1025), "x"), 400, []string{"<Code>KeyTooLongError</Code>"}},
		{"s3: bad number", inS3("GET", "input?list-type=2&max-keys=many", ""), 400, []string{"<Code>InvalidArgument</Code>"}},
		{"s3: bad continuation", inS3("GET", "input?list-type=2&continuation-token=%2A", ""), 400, []string{"<Code>InvalidArgument</Code>"}},
		{"s3: unknown method", inS3("PATCH", "input/k", ""), 405, []string{"<Code>MethodNotAllowed</Code>"}},
		{"s3: another body than signed", message{method: "PUT", path: "input/k", body: "other", service: "s3", digest: strings.Repeat("0", 64)}, 400, []string{"<Code>XAmzContentSHA256Mismatch</Code>"}},
		{"s3: no digest", message{method: "PUT", path: "input/k", body: "other", service: "s3", digest: "no"}, 400, []string{"<Code>InvalidArgument</Code>", "x-amz-content-sha256 must be"}},
		{"s3: wrong region", message{method: "GET", path: "input/k", service: "s3", region: "us-west-2"}, 400, []string{"<Code>AuthorizationHeaderMalformed</Code>", "<Region>" + region + "</Region>"}},

		{"json: no signature", spoiled(inJSON("TrentService.ListKeys", `{}`), drop("Authorization")), 400, []string{"MissingAuthenticationTokenException"}},
		{"query: no signature", spoiled(inQuery("iam", "Action=ListUsers&Version=2010-05-08"), drop("Authorization")), 403, []string{"<Code>MissingAuthenticationToken</Code>"}},
		{"s3: no signature", spoiled(inS3("GET", "input/k", ""), drop("Authorization")), 403, []string{"<Code>AccessDenied</Code>"}},
		{"json: half a signature", spoiled(inJSON("TrentService.ListKeys", `{}`), func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a") }), 400, []string{"IncompleteSignatureException"}},
		{"query: half a signature", spoiled(inQuery("iam", "Action=ListUsers&Version=2010-05-08"), func(r *http.Request) {
			r.Header.Set("Authorization", strings.Split(r.Header.Get("Authorization"), ", Signature")[0])
		}), 400, []string{"IncompleteSignature"}},
		{"s3: half a signature", spoiled(inS3("GET", "input/k", ""), func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 nonsense") }), 400, []string{"<Code>AuthorizationHeaderMalformed</Code>"}},
		{"s3: signature of version 2", spoiled(inS3("GET", "input/k", ""), func(r *http.Request) { r.Header.Set("Authorization", "AWS a:b") }), 400, []string{"<Code>InvalidRequest</Code>", "Please use AWS4-HMAC-SHA256"}},
		{"json: changed body", spoiled(inJSON("TrentService.ListKeys", `{}`), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{ }`)), 3
		}), 400, []string{"InvalidSignatureException", "The request signature we calculated does not match"}},
		{"query: wrong secret", message{body: "Action=ListUsers&Version=2010-05-08", service: "iam", secret: "x", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}, 403, []string{"<Code>SignatureDoesNotMatch</Code>"}},
		{"s3: wrong secret", message{method: "GET", path: "input/k", service: "s3", secret: "x"}, 403, []string{"<Code>SignatureDoesNotMatch</Code>", "<StringToSign>", "<CanonicalRequest>"}},
		{"json: expired", func() message {
			m := inJSON("TrentService.ListKeys", `{}`)
			m.at = time.Now().Add(-16 * time.Minute)
			return m
		}(), 400, []string{"InvalidSignatureException", "Signature expired"}},
		{"json: of the future", func() message {
			m := inJSON("TrentService.ListKeys", `{}`)
			m.at = time.Now().Add(16 * time.Minute)
			return m
		}(), 400, []string{"InvalidSignatureException", "Signature not yet current"}},
		{"query: expired", func() message {
			m := inQuery("iam", "Action=ListUsers&Version=2010-05-08")
			m.at = time.Now().Add(-16 * time.Minute)
			return m
		}(), 403, []string{"<Code>SignatureDoesNotMatch</Code>", "Signature expired"}},
		{"s3: expired", message{method: "GET", path: "input/k", service: "s3", at: time.Now().Add(-16 * time.Minute)}, 403, []string{"<Code>RequestTimeTooSkewed</Code>"}},
		{"s3: of the future", message{method: "GET", path: "input/k", service: "s3", at: time.Now().Add(16 * time.Minute)}, 403, []string{"<Code>RequestTimeTooSkewed</Code>"}},
		{"json: unsigned header", spoiled(inJSON("TrentService.ListKeys", `{}`), func(r *http.Request) { r.Header.Set("X-Amz-Meta-New", "x") }), 400, []string{"InvalidSignatureException", "must be a 'SignedHeader'"}},
		{"s3: unsigned header", spoiled(inS3("GET", "input/k", ""), func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") }), 403, []string{"<Code>AccessDenied</Code>", "headers present in the request which were not signed"}},
		{"json: scope of another service", func() message {
			m := inJSON("TrentService.ListKeys", `{}`)
			m.service = "s3"
			return m
		}(), 400, []string{"InvalidSignatureException", "Credential should be scoped to correct service: 'kms'"}},
		{"json: scope of another region", func() message {
			m := inJSON("TrentService.ListKeys", `{}`)
			m.region = "not a region"
			return m
		}(), 400, []string{"InvalidSignatureException"}},
		{"json: unknown key", func() message { m := inJSON("TrentService.ListKeys", `{}`); m.keyID = "AKIAUNKNOWN"; return m }(), 400, []string{"UnrecognizedClientException", "The security token included in the request is invalid."}},

		{"nowhere", message{method: "GET", path: "", service: "nothing"}, 501, nil},
		{"console of nobody", message{method: "GET", path: "_sekisho/nothing", service: "s3"}, 404, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.status != 0 {
				x.wants(t, tt.m, tt.status, tt.words...)
				return
			}
			status, body := x.send(t, tt.m)
			if status < 400 || status == 500 || !strings.Contains(body, tt.words[0]) {
				t.Errorf("%d %.400s", status, body)
			}
		})
	}
	equal(t, "the object", read(t, x.a, "input", "k"), "v")
	x.healthy(t)
}

// TestBrokenUploads ends bodies in the middle, and lies about them; nothing of
// them may be seen.
func TestBrokenUploads(t *testing.T) {
	t.Parallel()
	s := start(t)
	x := s.raw(t)
	bucket(t, x.a, "input")
	put(t, x.a, "input", "k", "v")
	const signedChunks, trailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	chunked := func(digest, body, length string) message {
		m := message{method: "PUT", path: "input/k", body: body, service: "s3", digest: digest,
			header: map[string]string{"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": length}}
		if digest == trailer {
			m.header["X-Amz-Trailer"] = "x-amz-checksum-crc32"
		}
		return m
	}
	for _, tt := range []struct {
		name   string
		m      message
		status int
		word   string
	}{
		{"no chunks", chunked(trailer, "garbage", "5"), 400, ""},
		{"endless chunk size", chunked(trailer, strings.Repeat("f", 100_000), "5"), 400, ""},
		{"negative chunk size", chunked(trailer, "-5\r\nhello\r\n0\r\n\r\n", "5"), 400, ""},
		{"huge chunk size", chunked(trailer, "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n", "5"), 400, ""},
		{"chunks end early", chunked(trailer, "5\r\nhel", "5"), 400, "IncompleteBody"},
		{"no last chunk", chunked(trailer, "5\r\nhello\r\n", "5"), 400, "IncompleteBody"},
		{"longer than declared", chunked(trailer, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "4"), 400, ""},
		{"shorter than declared", chunked(trailer, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "6"), 400, ""},
		{"wrong checksum", chunked(trailer, "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "5"), 400, "BadDigest"},
		{"no checksum", chunked(trailer, "5\r\nhello\r\n0\r\n\r\n", "5"), 400, "MalformedTrailerError"},
		{"no such length", chunked(trailer, "5\r\nhello\r\n0\r\n\r\n", "many"), 400, ""},
		{"chunks without signatures", chunked(signedChunks, "5\r\nhello\r\n0\r\n\r\n", "5"), 0, ""},
		{"chunks with wrong signatures", chunked(signedChunks, "5;chunk-signature="+strings.Repeat("0", 64)+"\r\nhello\r\n0;chunk-signature="+strings.Repeat("0", 64)+"\r\n\r\n", "5"), 403, "SignatureDoesNotMatch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := x.send(t, tt.m)
			if tt.status != 0 && status != tt.status || status < 400 || status >= 500 || !strings.Contains(body, tt.word) {
				t.Errorf("%d, want %d %s: %.500s", status, tt.status, tt.word, body)
			}
		})
	}
	for _, tt := range []message{
		{method: "PUT", path: "input/k", service: "s3", digest: "UNSIGNED-PAYLOAD"},
		inJSON("TrentService.ListKeys", `{}`),
		inQuery("iam", "Action=ListUsers&Version=2010-05-08"),
	} {
		t.Run("truncated "+tt.service, func(t *testing.T) {
			conn := s.dial(t)
			r := x.request(t, tt)
			var b bytes.Buffer
			fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n", r.Method, r.URL.RequestURI(), r.URL.Host)
			r.Header.Write(&b)
			b.WriteString("\r\nhalf")
			conn.Write(b.Bytes())
			// The client has said all that it will, and still listens.
			conn.(*tls.Conn).CloseWrite()
			resp, err := http.ReadResponse(bufio.NewReader(conn), r)
			if err != nil {
				return // broken off: no answer to half a request
			}
			resp.Body.Close()
			if resp.StatusCode < 400 || resp.StatusCode >= 500 {
				t.Error(resp.Status)
			}
		})
	}
	equal(t, "the object", read(t, x.a, "input", "k"), "v")
	x.healthy(t)
}

// TestBadConnections are floods, silence and noise below HTTP.
func TestBadConnections(t *testing.T) {
	t.Parallel()
	s := start(t)
	x := s.raw(t)
	address := strings.TrimPrefix(s.url, "https://")
	plain := func(t *testing.T) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	defer x.healthy(t)
	// answered sends bytes and wants a refusal, or to be cut off.
	answered := func(t *testing.T, data string) {
		t.Helper()
		conn := plain(t)
		var wait sync.WaitGroup
		wait.Go(func() { io.WriteString(conn, data) })
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Error("the server hangs")
		}
		if err == nil {
			if resp.StatusCode < 400 || resp.StatusCode >= 500 && resp.StatusCode != 501 && resp.StatusCode != 505 {
				t.Error(resp.Status)
			}
			resp.Body.Close()
		}
		conn.Close()
		wait.Wait()
	}
	for name, data := range map[string]string{
		"noise":                 strings.Repeat("\x00\xff\x01", 100) + "\r\n\r\n",
		"noise after TLS":       "\x16\x03\x01\x00\x05hello" + strings.Repeat("\x00", 100),
		"header flood":          "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Flood: "+strings.Repeat("x", 1000)+"\r\n", 2000) + "\r\n",
		"endless header":        "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2<<20),
		"endless path":          "GET /" + strings.Repeat("x", 2<<20),
		"two hosts":             "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"no host":               "GET / HTTP/1.1\r\n\r\n",
		"NUL in a header":       "GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
		"length and chunks":     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
		"two lengths":           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"bad chunk":             "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: TrentService.ListKeys\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
		"HTTP/2 without asking": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"a proxy's word":        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
		"a path without slash":  "GET input HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) { answered(t, data) })
	}
	t.Run("slow clients", func(t *testing.T) {
		var slow []net.Conn
		for range 200 {
			conn := plain(t)
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Le")
			slow = append(slow, conn)
		}
		for range 50 {
			slow = append(slow, plain(t)) // says nothing at all
		}
		if status, body := x.send(t, inJSON("TrentService.ListKeys", `{}`)); status != 200 {
			t.Errorf("beside slow clients: %d %s", status, body)
		}
		for _, conn := range slow {
			conn.Close()
		}
	})
}
