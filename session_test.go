package sekisho

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/sigv4"
)

// outside sends requests to a server as a client with credentials does.
type outside struct {
	t           *testing.T
	s           *Server
	client      *http.Client
	credentials *sts.Credentials
	now         func() time.Time
}

// send sends r, and returns the answer's status and text.
func (o outside) send(r *http.Request) (int, string) {
	o.t.Helper()
	resp, err := o.client.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (o outside) request(method, path, body string, header ...string) *http.Request {
	o.t.Helper()
	r, err := http.NewRequest(method, o.s.URL()+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func (o outside) signer(service string) sigv4.Signer {
	return sigv4.Signer{
		AccessKeyID: o.credentials.AccessKeyId, Secret: []byte(o.credentials.SecretAccessKey), Token: o.credentials.SessionToken,
		Region: "us-east-1", Service: service,
	}
}

func (o outside) signed(service, method, path, body string, header ...string) func() *http.Request {
	return func() *http.Request {
		r := o.request(method, path, body, header...)
		o.signer(service).Sign(r, sigv4.Digest([]byte(body)), o.now())
		return r
	}
}

// TestExpiredSessions holds that a session's credentials are good to their
// last second and no longer, in each protocol's words. The shortest session
// lasts 15 minutes, so the server's clock is moved.
func TestExpiredSessions(t *testing.T) {
	var skew atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	data := t.TempDir()
	c := config(data, accounts...)
	c.Now = now
	s, _ := running(t, c)

	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	root := s.door.As(call.Session{Principal: aws.RootPrincipal(one), Region: "us-east-1"})
	_, err := iam.Client{Invoker: root}.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: "R",
		AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}}`})
	must(err)
	_, err = iam.Client{Invoker: root}.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: "R", PolicyName: "p",
		PolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`})
	must(err)
	_, err = codecommit.Client{Invoker: root}.CreateRepository(t.Context(), &codecommit.CreateRepositoryInput{RepositoryName: "shop"})
	must(err)
	pipeline := s.door.As(call.AsService("codepipeline.amazonaws.com", "us-east-1", ""))
	worn, err := sts.Client{Invoker: pipeline}.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: "arn:aws:iam::" + one + ":role/R", RoleSessionName: "run", DurationSeconds: new(int64(900))})
	must(err)
	_, principal, err := s.iam.Key(t.Context(), worn.Credentials.AccessKeyId, worn.Credentials.SessionToken)
	must(err)

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read(t, data, "ca.pem")))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	o := outside{t, s, &http.Client{Transport: transport}, worn.Credentials, now}

	presigned := o.request("GET", "/", "")
	presigned.URL = o.signer("s3").Presign(presigned, time.Hour, now())
	const form, json = "application/x-www-form-urlencoded", "application/x-amz-json-1.1"
	git := func() *http.Request {
		r := o.request("GET", "/us-east-1/v1/repos/shop/info/refs?service=git-upload-pack", "")
		host, _, _ := strings.Cut(r.URL.Host, ":")
		r.SetBasicAuth(o.credentials.AccessKeyId+"%"+o.credentials.SessionToken,
			sigv4.SignGit([]byte(o.credentials.SecretAccessKey), "us-east-1", host, "/us-east-1/v1/repos/shop", now()))
		return r
	}
	ways := []struct {
		name   string
		ask    func() *http.Request
		status int
		words  []string
	}{
		{"JSON", o.signed("kms", "POST", "/", "{}", "X-Amz-Target", "TrentService.ListKeys", "Content-Type", json), 400,
			[]string{`"__type":"ExpiredTokenException"`, "The security token included in the request is expired"}},
		{"query", o.signed("sts", "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", "Content-Type", form), 403,
			[]string{"<Code>ExpiredToken</Code>", "The security token included in the request is expired"}},
		{"S3", o.signed("s3", "GET", "/", ""), 400, []string{"<Code>ExpiredToken</Code>", "The provided token has expired."}},
		{"presigned S3", func() *http.Request { return presigned.Clone(t.Context()) }, 400, []string{"<Code>ExpiredToken</Code>"}},
		{"git", git, 403, []string{"The security token included in the request is expired"}},
	}
	ask := func(when string, expired bool) {
		t.Helper()
		for _, way := range ways {
			status, text := o.send(way.ask())
			if !expired {
				if status != 200 {
					t.Errorf("%s, %s: %d %s", way.name, when, status, text)
				}
				continue
			}
			if status != way.status {
				t.Errorf("%s, %s: %d, want %d", way.name, when, status, way.status)
			}
			for _, word := range way.words {
				if !strings.Contains(text, word) {
					t.Errorf("%s, %s: %s lacks %s", way.name, when, text, word)
				}
			}
		}
	}
	ask("at once", false)
	skew.Store(int64(14*time.Minute + 30*time.Second))
	ask("shortly before the end", false)
	skew.Store(int64(15*time.Minute + time.Second))
	ask("after the end", true)

	// Work that goes on inside the process ends with its session, too.
	inside := s.door.As(call.Session{Principal: principal, Region: "us-east-1"})
	_, err = sts.Client{Invoker: inside}.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err == nil || !strings.Contains(err.Error(), "ExpiredTokenException") {
		t.Errorf("inside the process: %v", err)
	}
}
