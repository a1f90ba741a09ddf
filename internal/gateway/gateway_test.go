package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/checkpoint"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/sigv4"
)

const (
	keyID  = "AKIAALICE"
	secret = "wJalrXUtnFEMI"
)

// people is IAM in small: alice with a key and a password, and a key whose
// session is over.
type people struct{}

var alice = aws.Principal{Kind: aws.User, ARN: "arn:aws:iam::111111111111:user/alice", Account: "111111111111", ID: "AIDAALICE"}

func (people) For(context.Context, aws.Principal) (*policy.Set, error) { return &policy.Set{}, nil }

func (people) Key(_ context.Context, id, token string) (seal.Secret, aws.Principal, error) {
	switch {
	case id == "ASIAOVER":
		return seal.Secret{}, aws.Principal{}, aws.Errorf("ExpiredTokenException", "over")
	case id == "AKIABROKEN":
		return seal.Secret{}, aws.Principal{}, errors.New("the database is gone")
	case id != keyID || token != "":
		return seal.Secret{}, aws.Principal{}, aws.Errorf("InvalidClientTokenId", "unknown")
	}
	return seal.NewSecret([]byte(secret)), alice, nil
}

func (people) ResolvePrincipal(context.Context, string) (string, bool, error) { return "", false, nil }

func (people) PrincipalARN(context.Context, string) (string, bool, error) { return "", false, nil }

func (people) Password(_ context.Context, user, password string) (aws.Principal, error) {
	if user != "alice-at-111111111111" || password != "a+b/c=" {
		return aws.Principal{}, aws.Errorf("InvalidClientTokenId", "The user name or password is not valid.").WithStatus(403)
	}
	return alice, nil
}

func (people) Trusted(id string) bool { return false }

// Record makes people the recorder too: it keeps nothing.
func (people) Record(context.Context, *call.Entry) error { return nil }

// site is a gateway on a port of its own, before services of tests.
type site struct {
	*Gateway
	addr string
	pool *x509.CertPool
	log  *syncBuffer
	stop func() // serving

	mu    sync.Mutex
	calls []call.Call
	ins   []any
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// op declares an operation that notes its call and does deed.
func op[In, Out any](s *site, name string, deed func(in *In) (*Out, error)) call.Operation {
	return call.PublicOp(name, "for a test", func(_ context.Context, c *call.Call, in *In) (*Out, error) {
		s.mu.Lock()
		s.calls, s.ins = append(s.calls, *c), append(s.ins, in)
		s.mu.Unlock()
		return deed(in)
	})
}

// last is the call that came through last.
func (s *site) last(t *testing.T) (call.Call, any) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 {
		t.Fatal("no call came through")
	}
	return s.calls[len(s.calls)-1], s.ins[len(s.ins)-1]
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// breaking is an object whose bytes end too early.
type breaking struct{ left int }

func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("the disk is gone")
	}
	n := min(len(p), b.left)
	b.left -= n
	return n, nil
}

func (b *breaking) Close() error { return nil }

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{log: &syncBuffer{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	door := checkpoint.New(people{}, people{}, checkpoint.Options{Log: log})
	door.Serve("kms", []call.Operation{
		op(s, "ListKeys", func(*kms.ListKeysInput) (*kms.ListKeysOutput, error) { return &kms.ListKeysOutput{}, nil }),
		op(s, "ListAliases", func(*kms.ListAliasesInput) (*kms.ListAliasesOutput, error) { panic("oh") }),
	})
	door.Serve("sts", []call.Operation{
		op(s, "GetCallerIdentity", func(*sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
			return &sts.GetCallerIdentityOutput{Account: "111111111111"}, nil
		}),
		op(s, "AssumeRoleWithWebIdentity", func(in *sts.AssumeRoleWithWebIdentityInput) (*sts.AssumeRoleWithWebIdentityOutput, error) {
			return &sts.AssumeRoleWithWebIdentityOutput{SubjectFromWebIdentityToken: in.WebIdentityToken}, nil
		}),
	})
	door.Serve("s3", []call.Operation{
		op(s, "ListBuckets", func(*s3.ListBucketsInput) (*s3.ListBucketsOutput, error) { panic("oh") }),
		op(s, "HeadObject", func(in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
			if in.Key == "absent" {
				return nil, aws.Errorf("NotFound", "").WithStatus(404)
			}
			return &s3.HeadObjectOutput{ContentLength: new(int64(1000)), ETag: `"e"`}, nil
		}),
		op(s, "GetObject", func(in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
			if in.Key == "breaks" {
				return &s3.GetObjectOutput{Body: &breaking{500}, ContentLength: new(int64(1000))}, nil
			}
			return &s3.GetObjectOutput{Body: io.NopCloser(strings.NewReader("hello")), ContentLength: new(int64(5))}, nil
		}),
		op(s, "PutObject", func(in *s3.PutObjectInput) (*s3.PutObjectOutput, error) {
			n, err := io.Copy(io.Discard, in.Body)
			if err != nil {
				return nil, err
			}
			return &s3.PutObjectOutput{ETag: fmt.Sprint(n)}, nil
		}),
		op(s, "PutBucketTagging", func(*s3.PutBucketTaggingInput) (*s3.PutBucketTaggingOutput, error) { return nil, nil }),
		op(s, "DeleteObjects", func(*s3.DeleteObjectsInput) (*s3.DeleteObjectsOutput, error) { return nil, nil }),
		op(s, "CompleteMultipartUpload", func(*s3.CompleteMultipartUploadInput) (*s3.CompleteMultipartUploadOutput, error) { return nil, nil }),
		op(s, "ListObjectsV2", func(*s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) { return nil, nil }),
		op(s, "DeleteObject", func(*s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) { return nil, nil }),
	})
	door.Serve("codecommit", []call.Operation{
		op(s, "GitPull", func(in *codecommit.GitPullInput) (*codecommit.GitPullOutput, error) {
			switch in.RepositoryName {
			case "forbidden":
				return nil, aws.Errorf("AccessDeniedException", "no codecommit:GitPull for you")
			case "breaks":
				io.WriteString(in.Out, "half")
				return nil, errors.New("the disk is gone")
			}
			if !in.Advertise {
				if _, err := io.Copy(in.Out, in.Body); err != nil {
					return nil, err
				}
			}
			_, err := io.WriteString(in.Out, "pulled")
			return nil, err
		}),
	})
	s.Gateway = New(door, Options{
		Credentials: people{}, Log: log,
		Repositories: func(_ context.Context, _, name string) ([]string, error) {
			return map[string][]string{"one": {"eu-central-1"}, "two": {"eu-central-1", "us-east-1"}, "forbidden": {"us-east-1"}, "breaks": {"us-east-1"}}[name], nil
		},
	})
	s.listen(t, s.Gateway)
	return s
}

// listen serves TLS and plain HTTP on one port, as the server does.
func (s *site) listen(t *testing.T, h http.Handler) {
	t.Helper()
	dir := t.TempDir()
	authority, err := OpenAuthority(dir, master(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	s.pool = trusted(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), ReadHeaderTimeout: 30 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(Split(l, authority.TLS())) }()
	s.stop = sync.OnceFunc(func() { server.Close(); <-done })
	t.Cleanup(s.stop)
}

func master(t *testing.T, n byte) *seal.Master {
	t.Helper()
	m, err := seal.NewMaster(bytes.Repeat([]byte{n}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// trusted is a pool with the ca.pem of a directory.
func trusted(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("ca.pem holds no certificate")
	}
	return pool
}

// ask is a request to be signed and sent.
type ask struct {
	method  string // "" means POST
	scheme  string // "" means https
	host    string // "" means the address
	path    string // "" means /
	header  map[string]string
	body    string
	service string // whose signature; "" means none
	key     string // "" means alice's
	secret  string
	token   string
	region  string
	at      time.Time
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (s *site) request(t *testing.T, a ask) *http.Request {
	t.Helper()
	or := func(v, other string) string {
		if v == "" {
			return other
		}
		return v
	}
	r, err := http.NewRequest(or(a.method, "POST"), or(a.scheme, "https")+"://"+s.addr+or(a.path, "/"), strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = or(a.host, s.addr)
	for name, value := range a.header {
		r.Header.Set(name, value)
	}
	if a.service != "" {
		if a.at.IsZero() {
			a.at = time.Now()
		}
		signer := sigv4.Signer{
			AccessKeyID: or(a.key, keyID), Secret: []byte(or(a.secret, secret)), Token: a.token,
			Region: or(a.region, "us-east-1"), Service: a.service,
		}
		signer.Sign(r, sigv4.Digest([]byte(a.body)), a.at)
	}
	return r
}

func (s *site) client() *http.Client {
	return &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, DisableKeepAlives: true, DisableCompression: true},
	}
}

func (s *site) send(t *testing.T, r *http.Request) answer {
	t.Helper()
	resp, err := s.client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (s *site) ask(t *testing.T, a ask) answer {
	t.Helper()
	return s.send(t, s.request(t, a))
}

var (
	listKeys = ask{header: map[string]string{"X-Amz-Target": "TrentService.ListKeys", "Content-Type": "application/x-amz-json-1.1"}, body: "{}", service: "kms"}
	identity = ask{header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, body: "Action=GetCallerIdentity&Version=2011-06-15", service: "sts"}
	getThing = ask{method: "GET", path: "/bucket/key", service: "s3"}
)

// with changes a copy of an ask.
func (a ask) with(change func(a *ask)) ask {
	header := map[string]string{}
	for name, value := range a.header {
		header[name] = value
	}
	a.header = header
	change(&a)
	return a
}

func TestRouting(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		name               string
		ask                ask
		service, operation string
		region             string
	}{
		{"a target", listKeys, "kms", "ListKeys", "us-east-1"},
		{"a region", listKeys.with(func(a *ask) { a.region = "eu-central-1" }), "kms", "ListKeys", "eu-central-1"},
		{"a form", identity, "sts", "GetCallerIdentity", "us-east-1"},
		{"a query", ask{method: "GET", path: "/?Action=GetCallerIdentity&Version=2011-06-15", service: "sts"}, "sts", "GetCallerIdentity", "us-east-1"},
		{"a path", getThing, "s3", "GetObject", "us-east-1"},
		{"plain HTTP", getThing.with(func(a *ask) { a.scheme = "http" }), "s3", "GetObject", "us-east-1"},
		{"a virtual host", getThing.with(func(a *ask) { a.host, a.path = "bucket.localhost:1234", "/key" }), "s3", "GetObject", "us-east-1"},
		{"AWS's virtual host", getThing.with(func(a *ask) { a.host, a.path = "bucket.s3.us-east-1.amazonaws.com", "/key" }), "s3", "GetObject", "us-east-1"},
		{"an anonymous read", getThing.with(func(a *ask) { a.service = "" }), "s3", "GetObject", "us-east-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := s.ask(t, tt.ask)
			if got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			c, in := s.last(t)
			if c.Service != tt.service || c.Operation != tt.operation || c.Region != tt.region {
				t.Errorf("%s %s in %s", c.Service, c.Operation, c.Region)
			}
			if c.Secure != (tt.ask.scheme == "") || c.SourceIP != "127.0.0.1" || c.ID == "" || c.Trace != c.ID {
				t.Errorf("%+v", c)
			}
			want := alice.ARN
			if tt.ask.service == "" {
				want = ""
			}
			if c.Principal.ARN != want {
				t.Errorf("caller %q, want %q", c.Principal.ARN, want)
			}
			if in, ok := in.(*s3.GetObjectInput); ok && (in.Bucket != "bucket" || in.Key != "key") {
				t.Errorf("bucket %q, key %q", in.Bucket, in.Key)
			}
			if id := got.header.Get("X-Amzn-Requestid") + got.header.Get("X-Amz-Request-Id"); id != c.ID {
				t.Errorf("request id %q, want %q", id, c.ID)
			}
		})
	}
}

// A web identity's token is all the proof there is: nobody has signed.
func TestWebIdentity(t *testing.T) {
	s := newSite(t)
	got := s.ask(t, identity.with(func(a *ask) {
		a.service = ""
		a.body = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::111111111111:role/R&RoleSessionName=run&WebIdentityToken=a.b.c"
	}))
	if got.status != 200 || !strings.Contains(got.body, "<SubjectFromWebIdentityToken>a.b.c</SubjectFromWebIdentityToken>") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if c, _ := s.last(t); c.Principal.Kind != aws.Anonymous || c.Region != "us-east-1" {
		t.Errorf("%+v", c)
	}
}

func TestBaseURL(t *testing.T) {
	s := newSite(t)
	for host, want := range map[string]string{
		"":                                "https://" + s.addr,
		"Bucket.localhost:99":             "https://localhost:99",
		"bucket.s3.eu-west-1.example.com": "https://s3.eu-west-1.example.com",
	} {
		path := "/key"
		if host == "" {
			path = "/bucket/key"
		}
		if got := s.ask(t, getThing.with(func(a *ask) { a.host, a.path = host, path })); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		if c, _ := s.last(t); c.BaseURL != want {
			t.Errorf("BaseURL for %q is %q, want %q", host, c.BaseURL, want)
		}
	}
}

// TestRefusals: nothing that is not proven comes through, and each family of
// services says so in its own words.
func TestRefusals(t *testing.T) {
	s := newSite(t)
	unsigned := func(a *ask) { a.service = "" }
	unknown := func(a *ask) { a.key = "AKIANOBODY" }
	wrong := func(a *ask) { a.secret = "x" }
	late := func(a *ask) { a.at = time.Now().Add(-time.Hour) }
	over := func(a *ask) { a.key, a.token = "ASIAOVER", "token" }
	token := func(a *ask) { a.token = "nonsense" }
	garbage := func(a *ask) { a.service, a.header["Authorization"] = "", "AWS4-HMAC-SHA256 nonsense" }
	elsewhere := func(a *ask) { a.service = "iam" }
	for _, tt := range []struct {
		name   string
		ask    ask
		status int
		code   string
	}{
		{"JSON unsigned", listKeys.with(unsigned), 400, "MissingAuthenticationTokenException"},
		{"JSON unknown key", listKeys.with(unknown), 400, "UnrecognizedClientException"},
		{"JSON wrong secret", listKeys.with(wrong), 400, "InvalidSignatureException"},
		{"JSON late", listKeys.with(late), 400, "InvalidSignatureException"},
		{"JSON expired", listKeys.with(over), 400, "ExpiredTokenException"},
		{"JSON wrong token", listKeys.with(token), 400, "UnrecognizedClientException"},
		{"JSON garbage", listKeys.with(garbage), 400, "IncompleteSignatureException"},
		{"JSON scope of another service", listKeys.with(elsewhere), 400, "InvalidSignatureException"},
		{"JSON no region", listKeys.with(func(a *ask) { a.region = "nowhere" }), 400, "InvalidSignatureException"},
		{"JSON trouble", listKeys.with(func(a *ask) { a.key = "AKIABROKEN" }), 500, "KMSInternalException"},
		{"JSON panic", listKeys.with(func(a *ask) { a.header["X-Amz-Target"] = "TrentService.ListAliases" }), 500, "KMSInternalException"},
		{"JSON not served", listKeys.with(func(a *ask) { a.header["X-Amz-Target"] = "TrentService.CreateCustomKeyStore" }), 501, "NotImplemented"},
		{"JSON not served, unproven", listKeys.with(func(a *ask) { a.header["X-Amz-Target"], a.service = "TrentService.CreateCustomKeyStore", "" }), 400, "MissingAuthenticationTokenException"},
		{"JSON unknown operation", listKeys.with(func(a *ask) { a.header["X-Amz-Target"] = "TrentService.Nonsense" }), 400, "UnknownOperationException"},
		{"JSON unknown target", listKeys.with(func(a *ask) { a.header["X-Amz-Target"] = "Nonsense.ListKeys" }), 400, "UnknownOperationException"},
		{"JSON broken", listKeys.with(func(a *ask) { a.body = "{" }), 400, "SerializationException"},
		{"JSON too long", listKeys.with(func(a *ask) { a.body = strings.Repeat(" ", 16<<20+1) }), 413, "RequestEntityTooLarge"},

		{"query unsigned", identity.with(unsigned), 403, "MissingAuthenticationToken"},
		{"query unknown key", identity.with(unknown), 403, "InvalidClientTokenId"},
		{"query wrong secret", identity.with(wrong), 403, "SignatureDoesNotMatch"},
		{"query late", identity.with(late), 403, "SignatureDoesNotMatch"},
		{"query expired", identity.with(over), 403, "ExpiredToken"},
		{"query wrong token", identity.with(token), 403, "InvalidClientTokenId"},
		{"query garbage", identity.with(garbage), 400, "IncompleteSignature"},
		{"query not served", identity.with(func(a *ask) { a.body = "Action=GetFederationToken&Version=2011-06-15&Name=n" }), 501, "NotImplemented"},
		{"query not served, unproven", identity.with(func(a *ask) { a.body, a.service = "Action=GetFederationToken&Version=2011-06-15", "" }), 403, "MissingAuthenticationToken"},
		{"query not served, proven by its token", identity.with(func(a *ask) { a.body, a.service = "Action=AssumeRoleWithSAML&Version=2011-06-15", "" }), 501, "NotImplemented"},
		{"query such an action of another service", identity.with(func(a *ask) { a.body, a.service = "Action=AssumeRoleWithSAML&Version=2010-05-08", "" }), 403, "MissingAuthenticationToken"},
		{"query such an action with a wrong signature", identity.with(func(a *ask) { a.body, a.secret = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15", "x" }), 403, "SignatureDoesNotMatch"},
		{"query unknown action", identity.with(func(a *ask) { a.body = "Action=Nonsense&Version=2011-06-15" }), 400, "InvalidAction"},
		{"query no action", identity.with(func(a *ask) { a.body = "x=y" }), 400, "MissingAction"},
		{"query too long", identity.with(func(a *ask) { a.body = strings.Repeat("a", 4<<20+1) }), 413, "RequestEntityTooLarge"},

		{"S3 unknown key", getThing.with(unknown), 403, "InvalidAccessKeyId"},
		{"S3 wrong secret", getThing.with(wrong), 403, "SignatureDoesNotMatch"},
		{"S3 late", getThing.with(late), 403, "RequestTimeTooSkewed"},
		{"S3 expired", getThing.with(over), 400, "ExpiredToken"},
		{"S3 wrong token", getThing.with(token), 400, "InvalidToken"},
		{"S3 garbage", getThing.with(garbage), 400, "AuthorizationHeaderMalformed"},
		{"S3 panic", ask{method: "GET", service: "s3"}, 500, "InternalError"},
		{"S3 not served", ask{method: "GET", path: "/bucket?website", service: "s3"}, 501, "NotImplemented"},
		{"no such service", listKeys.with(func(a *ask) { a.header, a.service = nil, "sqs" }), 501, "UnrecognizedService"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := s.count()
			got := s.ask(t, tt.ask)
			if got.status != tt.status || !strings.Contains(got.body, tt.code) {
				t.Errorf("%d %.300s\nwant %d %s", got.status, got.body, tt.status, tt.code)
			}
			if kind := got.header.Get("Content-Type"); strings.HasPrefix(got.body, "{") != strings.Contains(kind, "json") {
				t.Errorf("%s: %s", kind, got.body)
			}
			if strings.Contains(got.body, "the database is gone") || strings.Contains(got.body, "panic") {
				t.Errorf("our own trouble is told: %s", got.body)
			}
			if !strings.HasSuffix(tt.name, "panic") && s.count() != before {
				t.Error("the call came through")
			}
		})
	}
	if !strings.Contains(s.log.String(), "the database is gone") {
		t.Error("our own trouble is not in the log")
	}
}

// A signature is good for the bytes it was made for.
func TestTampering(t *testing.T) {
	s := newSite(t)
	for name, bend := range map[string]func(r *http.Request){
		"body": func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("[]")) },
		"path": func(r *http.Request) { r.URL.Path = "/x" },
		"host": func(r *http.Request) { r.Host = "kms.us-east-1.amazonaws.com" },
		"date": func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(time.Second*2).UTC().Format("20060102T150405Z"))
		},
	} {
		r := s.request(t, listKeys)
		bend(r)
		if got := s.send(t, r); got.status != 400 || !strings.Contains(got.body, "InvalidSignatureException") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if s.count() != 0 {
		t.Error("a call came through")
	}
}

func TestPresigned(t *testing.T) {
	s := newSite(t)
	signer := sigv4.Signer{AccessKeyID: keyID, Secret: []byte(secret), Region: "us-east-1", Service: "s3"}
	r := s.request(t, getThing.with(func(a *ask) { a.service = "" }))
	r.URL = signer.Presign(r, time.Minute, time.Now().Add(-time.Second))
	if got := s.send(t, r); got.status != 200 || got.body != "hello" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	c, _ := s.last(t)
	if c.Keys["s3:authtype"][0] != "REST-QUERY-STRING" || len(c.Keys["s3:signatureage"]) != 1 || c.Keys["s3:tlsversion"][0] != "1.3" {
		t.Errorf("%v", c.Keys)
	}
	r = s.request(t, getThing.with(func(a *ask) { a.service = "" }))
	r.URL = signer.Presign(r, time.Minute, time.Now().Add(-2*time.Minute))
	if got := s.send(t, r); got.status != 403 || !strings.Contains(got.body, "Request has expired") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestBodies(t *testing.T) {
	s := newSite(t)
	put := ask{method: "PUT", path: "/bucket/key", service: "s3", body: "hello"}
	if got := s.ask(t, put); got.status != 200 || got.header.Get("Etag") != "5" {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	r := s.request(t, put)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader("hellO")), 5
	if got := s.send(t, r); got.status != 400 || !strings.Contains(got.body, "XAmzContentSHA256Mismatch") {
		t.Errorf("another body: %d %s", got.status, got.body)
	}
	r = s.request(t, put)
	r.ContentLength = -1 // chunked
	if got := s.send(t, r); got.status != 411 || !strings.Contains(got.body, "MissingContentLength") {
		t.Errorf("a body of unknown length: %d %s", got.status, got.body)
	}
	if got := s.ask(t, ask{method: "DELETE", path: "/bucket/key", service: "s3"}); got.status != 204 || got.body != "" || got.header.Get("Content-Length") != "" {
		t.Errorf("%d %v", got.status, got.header)
	}
}

func TestHead(t *testing.T) {
	s := newSite(t)
	got := s.ask(t, ask{method: "HEAD", path: "/bucket/key", service: "s3"})
	if got.status != 200 || got.body != "" || got.header.Get("Content-Length") != "1000" {
		t.Errorf("%d %v", got.status, got.header)
	}
	got = s.ask(t, ask{method: "HEAD", path: "/bucket/absent", service: "s3"})
	if got.status != 404 || got.body != "" || got.header.Get("Content-Type") != "" {
		t.Errorf("%d %v", got.status, got.header)
	}
}

// A client must see that an object did not arrive whole.
func TestBrokenStream(t *testing.T) {
	s := newSite(t)
	resp, err := s.client().Do(s.request(t, getThing.with(func(a *ask) { a.path = "/bucket/breaks" })))
	if err != nil {
		return // cut off before the header was sent: seen as well
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("half an object looks whole: %d bytes", len(body))
	}
}

func TestUnchunked(t *testing.T) {
	for given, want := range map[string]string{
		"aws-chunked": "", "aws-chunked,gzip": "gzip", "gzip, aws-chunked": "gzip", "gzip,br": "gzip,br", "": "", " , ": "",
	} {
		h := http.Header{"Content-Encoding": {given}}
		unchunked(h)
		if got := h.Get("Content-Encoding"); got != want {
			t.Errorf("%q leaves %q, want %q", given, got, want)
		}
	}
}

func TestGitPaths(t *testing.T) {
	g := &Gateway{}
	for _, tt := range []struct {
		method, host, url string
		ok                bool
		repository        string
		regions           string
		push, advertise   bool
	}{
		{"GET", "h", "/v1/repos/site/info/refs?service=git-upload-pack", true, "site", "", false, true},
		{"GET", "h", "/v1/repos/site/info/refs?service=git-receive-pack", true, "site", "", true, true},
		{"POST", "h", "/v1/repos/site/git-upload-pack", true, "site", "", false, false},
		{"POST", "h", "/v1/repos/site/git-receive-pack", true, "site", "", true, false},
		{"POST", "h", "/eu-central-1/v1/repos/site/git-receive-pack", true, "site", "eu-central-1", true, false},
		{"POST", "git-codecommit.eu-west-1.amazonaws.com", "/v1/repos/site/git-receive-pack", true, "site", "eu-west-1", true, false},
		{"POST", "git-codecommit-fips.us-gov-west-1.example.com:99", "/v1/repos/site/git-receive-pack", true, "site", "us-gov-west-1", true, false},
		{"GET", "h", "/v1/repos/site/info/refs", false, "", "", false, false},
		{"GET", "h", "/v1/repos/site/info/refs?service=git-nonsense", false, "", "", false, false},
		{"GET", "h", "/v1/repos/site/git-upload-pack", false, "", "", false, false},
		{"POST", "h", "/v1/repos/site/info/refs?service=git-upload-pack", false, "", "", false, false},
		{"GET", "h", "/v1/repos/a/b/info/refs?service=git-upload-pack", false, "", "", false, false},
		{"GET", "h", "/v1/repos//info/refs?service=git-upload-pack", false, "", "", false, false},
		{"GET", "h", "/nonsense/v1/repos/site/info/refs?service=git-upload-pack", false, "", "", false, false},
	} {
		r, err := http.NewRequest(tt.method, "https://h"+tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = tt.host
		q, ok := g.git(r)
		if ok != tt.ok {
			t.Errorf("%s %s: %v", tt.method, tt.url, ok)
			continue
		}
		if ok && (q.repository != tt.repository || strings.Join(q.regions, ",") != tt.regions || q.push != tt.push || q.advertise != tt.advertise) {
			t.Errorf("%s %s: %+v", tt.method, tt.url, q)
		}
	}
}

func TestGit(t *testing.T) {
	s := newSite(t)
	const refs = "/info/refs?service=git-upload-pack"
	signed := func(region, host, repository string) string {
		return sigv4.SignGit([]byte(secret), region, host, "/v1/repos/"+repository, time.Now())
	}
	for _, tt := range []struct {
		name, scheme, path string
		user, password     string
		status             int
		text               string
	}{
		{"no password", "https", "/v1/repos/one" + refs, "", "", 401, "credentials"},
		{"in clear", "http", "/v1/repos/one" + refs, "alice-at-111111111111", "a+b/c=", 403, "https"},
		{"static", "https", "/v1/repos/one" + refs, "alice-at-111111111111", "a+b/c=", 200, "pulled"},
		{"a wrong password", "https", "/v1/repos/one" + refs, "alice-at-111111111111", "x", 403, "not valid"},
		{"no such repository", "https", "/v1/repos/none" + refs, "alice-at-111111111111", "a+b/c=", 404, "none does not exist"},
		{"in two regions", "https", "/v1/repos/two" + refs, "alice-at-111111111111", "a+b/c=", 400, "eu-central-1 and us-east-1"},
		{"the region named", "https", "/us-east-1/v1/repos/two" + refs, "alice-at-111111111111", "a+b/c=", 200, "pulled"},
		{"signed", "https", "/v1/repos/one" + refs, keyID, signed("eu-central-1", "127.0.0.1", "one"), 200, "pulled"},
		{"signed for one of two regions", "https", "/v1/repos/two" + refs, keyID, signed("us-east-1", "127.0.0.1", "two"), 200, "pulled"},
		{"signed for a third region", "https", "/v1/repos/two" + refs, keyID, signed("us-west-2", "127.0.0.1", "two"), 403, "does not match"},
		{"signed for another path", "https", "/v1/repos/one" + refs, keyID, signed("eu-central-1", "127.0.0.1", "two"), 403, "does not match"},
		{"signed for another host", "https", "/v1/repos/one" + refs, keyID, signed("eu-central-1", "git-codecommit.eu-central-1.amazonaws.com", "one"), 403, "does not match"},
		{"signed by nobody", "https", "/v1/repos/one" + refs, "AKIANOBODY", signed("eu-central-1", "127.0.0.1", "one"), 403, "unknown"},
		{"refused", "https", "/v1/repos/forbidden" + refs, "alice-at-111111111111", "a+b/c=", 403, "codecommit:GitPull"},
		{"a push, which is not served here", "https", "/v1/repos/one/info/refs?service=git-receive-pack", "alice-at-111111111111", "a+b/c=", 501, "not implemented"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.request(t, ask{method: "GET", scheme: tt.scheme, path: tt.path})
			if tt.user != "" {
				r.SetBasicAuth(tt.user, tt.password)
			}
			got := s.send(t, r)
			if got.status != tt.status || !strings.Contains(got.body, tt.text) {
				t.Errorf("%d %s\nwant %d %s", got.status, got.body, tt.status, tt.text)
			}
			if (got.header.Get("WWW-Authenticate") != "") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate: %q", got.header.Get("WWW-Authenticate"))
			}
			if tt.status == 200 && got.header.Get("Content-Type") != "application/x-git-upload-pack-advertisement" {
				t.Errorf("Content-Type: %q", got.header.Get("Content-Type"))
			}
		})
	}
}

func TestGitBodies(t *testing.T) {
	s := newSite(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, "wants and ")
	z.Close()
	for _, tt := range []struct {
		name, encoding, body string
		status               int
		text                 string
	}{
		{"plain", "", "wants and ", 200, "wants and pulled"},
		{"gzip", "gzip", zipped.String(), 200, "wants and pulled"},
		{"no gzip", "gzip", "nonsense nonsense", 400, "gzip"},
	} {
		r := s.request(t, ask{path: "/v1/repos/one/git-upload-pack", body: tt.body})
		r.SetBasicAuth("alice-at-111111111111", "a+b/c=")
		r.Header.Set("Content-Encoding", tt.encoding)
		if got := s.send(t, r); got.status != tt.status || !strings.Contains(got.body, tt.text) {
			t.Errorf("%s: %d %s", tt.name, got.status, got.body)
		}
	}
	r := s.request(t, ask{path: "/v1/repos/breaks/git-upload-pack"})
	r.SetBasicAuth("alice-at-111111111111", "a+b/c=")
	resp, err := s.client().Do(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("half an answer looks whole: %s", body)
	}
}
