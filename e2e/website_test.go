package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// browser fetches pages by the names of website endpoints, over plain HTTP
// and without following redirects.
type browser struct {
	*http.Client
	t    testing.TB
	port string
}

func newBrowser(t testing.TB, s *server) *browser {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{port: port, t: t, Client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// open does a request and returns the answer with its body.
func (b *browser) open(method, url string, header ...string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, url, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(body)
}

// TestWebsite opens a bucket's website like a browser: its pages, folders,
// redirects and errors, read by nobody in particular.
func TestWebsite(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("pipeline")
	const name = "shop-website"
	bucket(t, a, name)
	put(t, a, name, "index.html", "<h1>Welcome</h1>")
	put(t, a, name, "docs/index.html", "<h1>Docs</h1>")
	put(t, a, name, "error.html", "<h1>Sorry</h1>")
	put(t, a, name, "new/page.html", "moved here")
	if _, err := a.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new(name), Key: new("away"), WebsiteRedirectLocation: new("/docs/")}); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, s)
	site := fmt.Sprintf("http://%s.s3-website.localhost:%s", name, b.port)
	if resp, page := b.open("GET", site+"/"); resp.StatusCode != 404 || !strings.Contains(page, "<li>Code: NoSuchWebsiteConfiguration</li>") {
		t.Errorf("a bucket that is no website: %d %s", resp.StatusCode, page)
	}
	if _, err := a.s3.PutBucketWebsite(t.Context(), &s3.PutBucketWebsiteInput{Bucket: new(name), WebsiteConfiguration: &types.WebsiteConfiguration{
		IndexDocument: &types.IndexDocument{Suffix: new("index.html")},
		ErrorDocument: &types.ErrorDocument{Key: new("error.html")},
		RoutingRules: []types.RoutingRule{{
			Condition: &types.Condition{KeyPrefixEquals: new("old/")}, Redirect: &types.Redirect{ReplaceKeyPrefixWith: new("new/"), HttpRedirectCode: new("302")},
		}},
	}}); err != nil {
		t.Fatal(err)
	}
	if resp, page := b.open("GET", site+"/"); resp.StatusCode != 403 || !strings.Contains(page, "<h1>403 Forbidden</h1>") || !strings.Contains(page, "Custom Error Document") {
		t.Errorf("a website that is not public: %d %s", resp.StatusCode, page)
	}
	if _, err := a.s3.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: new(name)}); err != nil {
		t.Fatal(err)
	}
	bucketPolicy(t, a, name, `{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::`+name+`","arn:aws:s3:::`+name+`/*"]}`)
	for _, tt := range []struct {
		path, location, body string
		status               int
	}{
		{"/", "", "<h1>Welcome</h1>", 200},
		{"/docs/", "", "<h1>Docs</h1>", 200},
		{"/docs", "/docs/", "", 302},
		{"/old/page.html?a=b", site + "/new/page.html?a=b", "", 302},
		{"/away", "/docs/", "", 301},
		{"/nowhere", "", "<h1>Sorry</h1>", 404},
	} {
		resp, page := b.open("GET", site+tt.path)
		if resp.StatusCode != tt.status || resp.Header.Get("Location") != tt.location || page != tt.body {
			t.Errorf("GET %s: %d, Location %q, %q", tt.path, resp.StatusCode, resp.Header.Get("Location"), page)
		}
	}
	for _, host := range []string{name + ".s3-website-" + region + ".localhost:" + b.port, name + ".s3-website." + region + ".amazonaws.com"} {
		if resp, page := b.open("GET", "http://"+host+"/"); resp.StatusCode != 200 || page != "<h1>Welcome</h1>" {
			t.Errorf("as %s: %d %s", host, resp.StatusCode, page)
		}
	}
	if resp, page := b.open("HEAD", site+"/"); resp.StatusCode != 200 || page != "" || resp.ContentLength != 16 {
		t.Errorf("HEAD: %d, %d bytes", resp.StatusCode, resp.ContentLength)
	}
	if resp, _ := b.open("POST", site+"/"); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	resp, _ := b.open("GET", site+"/")
	if resp, _ := b.open("GET", site+"/", "If-None-Match", resp.Header.Get("Etag")); resp.StatusCode != 304 {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
	cors(t, a, b, name)
	if _, err := a.s3.PutBucketWebsite(t.Context(), &s3.PutBucketWebsiteInput{Bucket: new(name), WebsiteConfiguration: &types.WebsiteConfiguration{
		RedirectAllRequestsTo: &types.RedirectAllRequestsTo{HostName: new("example.com"), Protocol: types.ProtocolHttps},
	}}); err != nil {
		t.Fatal(err)
	}
	if resp, _ := b.open("GET", site+"/a/b"); resp.StatusCode != 301 || resp.Header.Get("Location") != "https://example.com/a/b" {
		t.Errorf("redirect of everything: %d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}

// cors asks as browsers ask for pages of other sites.
func cors(t *testing.T, a *account, b *browser, name string) {
	object := fmt.Sprintf("http://%s.localhost:%s/index.html", name, b.port)
	ask := []string{"Origin", "https://app.example.com", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "Content-Type, X-Amz-Date"}
	if resp, page := b.open("OPTIONS", object, ask...); resp.StatusCode != 403 || !strings.Contains(page, "CORSResponse: CORS is not enabled for this bucket.") {
		t.Errorf("preflight without rules: %d %s", resp.StatusCode, page)
	}
	if _, err := a.s3.PutBucketCors(t.Context(), &s3.PutBucketCorsInput{Bucket: new(name), CORSConfiguration: &types.CORSConfiguration{CORSRules: []types.CORSRule{{
		AllowedOrigins: []string{"https://*.example.com"}, AllowedMethods: []string{"GET", "PUT"}, AllowedHeaders: []string{"*"},
		ExposeHeaders: []string{"ETag"}, MaxAgeSeconds: new(int32(60)),
	}}}}); err != nil {
		t.Fatal(err)
	}
	resp, _ := b.open("OPTIONS", object, ask...)
	for header, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Methods": "GET, PUT",
		"Access-Control-Allow-Headers": "content-type, x-amz-date", "Access-Control-Max-Age": "60",
		"Access-Control-Expose-Headers": "ETag", "Access-Control-Allow-Credentials": "true",
	} {
		if got := resp.Header.Get(header); resp.StatusCode != 200 || got != want {
			t.Errorf("preflight: %d, %s: %q, want %q", resp.StatusCode, header, got, want)
		}
	}
	if resp, _ := b.open("GET", object, "Origin", "https://app.example.com"); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Errorf("GET: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := b.open("GET", object, "Origin", "https://evil.test"); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("GET from elsewhere: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, page := b.open("OPTIONS", object, "Origin", "https://evil.test", "Access-Control-Request-Method", "GET"); resp.StatusCode != 403 || !strings.Contains(page, "AccessForbidden") {
		t.Errorf("preflight from elsewhere: %d %s", resp.StatusCode, page)
	}
	if resp, page := b.open("OPTIONS", object); resp.StatusCode != 400 || !strings.Contains(page, "Origin request header needed") {
		t.Errorf("OPTIONS without an origin: %d %s", resp.StatusCode, page)
	}
}
