package gateway

import (
	"context"
	"fmt"
	"html"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/wire"
)

// Web is what a bucket shows to browsers.
type Web struct {
	CORS    []s3api.CORSRule
	Website *s3api.WebsiteConfiguration // nil when the bucket is no website
}

// websiteHost is a name of S3's website endpoints: BUCKET.s3-website.REGION.DOMAIN,
// BUCKET.s3-website-REGION.DOMAIN, and both without a region below localhost.
var websiteHost = regexp.MustCompile(`^(.+)\.s3-website[.-][a-z0-9-]+(?:\.[a-z0-9-]+)*$`)

// websiteBucket returns the bucket whose website a host is.
func websiteBucket(host string) (string, bool) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	m := websiteHost.FindStringSubmatch(strings.ToLower(strings.TrimSuffix(host, ".")))
	if m == nil || !bucketName.MatchString(m[1]) {
		return "", false
	}
	return m[1], true
}

// visit is one request to a website, on its way.
type visit struct {
	*request
	g      *Gateway
	bucket string
	key    string // as the browser asked for it
	site   *s3api.WebsiteConfiguration
}

// serveWebsite answers a browser at a website endpoint: as nobody in
// particular, judged by the bucket's policy and recorded like every reader.
// Errors are pages in HTML.
func (g *Gateway) serveWebsite(w http.ResponseWriter, r *http.Request, bucket string) {
	p := bound(w, r, g.stall)
	r.Body = p
	v := &visit{request: &request{Request: r, service: g.models["s3"]}, g: g, bucket: bucket}
	v.begin()
	write(w, p, v.serve())
}

// begin makes the call that the next reading is.
func (v *visit) begin() {
	v.call = v.g.call(v.Request, "s3", "", v.g.region, aws.Principal{})
	v.call.ID = aws.RandomText(16, aws.UpperAlnum)
	v.call.Trace = v.call.ID
	v.call.Keys = map[string][]string{}
}

func (v *visit) serve() (resp *wire.Response) {
	defer func() {
		if p := recover(); p != nil {
			resp = v.page(v.g.answer(v.request, fmt.Errorf("panic: %v\n%s", p, debug.Stack())), nil)
		}
	}()
	key, err := url.PathUnescape(strings.TrimPrefix(v.URL.EscapedPath(), "/"))
	if err != nil {
		return v.page(aws.Errorf("InvalidURI", "Couldn't parse the specified URI.").WithStatus(400), nil)
	}
	v.key = key
	if v.Method != http.MethodGet && v.Method != http.MethodHead {
		return v.page(aws.Errorf("MethodNotAllowed", "The specified method is not allowed against this resource.").WithStatus(405).
			With("Method", v.Method).With("ResourceType", "OBJECT"), nil)
	}
	web, err := v.g.buckets(v.Context(), v.bucket)
	switch {
	case err != nil:
		return v.page(v.g.answer(v.request, err), nil)
	case web == nil:
		return v.page(aws.Errorf("NoSuchBucket", "The specified bucket does not exist").WithStatus(404).With("BucketName", v.bucket), nil)
	case web.Website == nil:
		return v.page(aws.Errorf("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration").
			WithStatus(404).With("BucketName", v.bucket), nil)
	}
	v.site = web.Website
	resp = v.answer()
	addCORS(resp.Header, web.CORS, v.Header.Get("Origin"), v.Method)
	return resp
}

func (v *visit) answer() *wire.Response {
	if to := v.site.RedirectAllRequestsTo; to != nil {
		return v.redirect(&s3api.Redirect{HostName: to.HostName, Protocol: to.Protocol}, "")
	}
	if rule := v.ruleFor(0); rule != nil {
		return v.redirect(rule.Redirect, prefixOf(rule))
	}
	key := v.key
	if key == "" || strings.HasSuffix(key, "/") {
		key += v.site.IndexDocument.Suffix
	}
	resp, failure := v.read("GetObject", key)
	if failure == nil {
		if to := resp.Header.Get("X-Amz-Website-Redirect-Location"); to != "" {
			closeStream(resp)
			return v.moved(http.StatusMovedPermanently, to)
		}
		return resp
	}
	return v.failed(key, failure)
}

// failed answers for a key that cannot be read: with the folder of its name,
// where a rule for errors leads, or with the error document.
func (v *visit) failed(key string, failure *aws.Error) *wire.Response {
	status := v.service.Status(failure)
	if status == http.StatusNotModified || status == http.StatusPreconditionFailed || status == http.StatusRequestedRangeNotSatisfiable {
		return v.page(failure, nil)
	}
	if key == v.key && (status == http.StatusNotFound || status == http.StatusForbidden) {
		if folder, err := v.read("HeadObject", key+"/"+v.site.IndexDocument.Suffix); err == nil {
			closeStream(folder)
			return v.moved(http.StatusFound, (&url.URL{Path: "/" + key + "/"}).EscapedPath())
		}
	}
	if rule := v.ruleFor(status); rule != nil {
		return v.redirect(rule.Redirect, prefixOf(rule))
	}
	if v.site.ErrorDocument == nil || status < 400 || status > 499 {
		return v.page(failure, nil)
	}
	v.Header = v.Header.Clone()
	for _, condition := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range"} {
		v.Header.Del(condition)
	}
	document, again := v.read("GetObject", v.site.ErrorDocument.Key)
	if again != nil {
		return v.page(failure, again)
	}
	document.Status = status
	document.Header.Set("X-Amz-Error-Code", failure.Code)
	document.Header.Set("X-Amz-Error-Message", failure.Message)
	return document
}

// read reads an object through the checkpoint, as an anonymous caller.
func (v *visit) read(operation, key string) (*wire.Response, *aws.Error) {
	v.begin()
	v.call.Operation = operation
	op, ok := v.service.Operation(operation)
	if !ok {
		return nil, v.g.answer(v.request, fmt.Errorf("S3 has no operation %s", operation))
	}
	header := http.Header{}
	if operation == "GetObject" {
		for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range"} {
			if value := v.Header.Get(name); value != "" {
				header.Set(name, value)
			}
		}
	}
	in, err := op.DecodeRequest(&wire.Request{Method: http.MethodGet, Query: url.Values{}, Header: header, Bucket: v.bucket, Key: key})
	if err != nil {
		return nil, v.g.answer(v.request, err)
	}
	out, err := v.g.door.Do(v.Context(), v.call, in)
	if err != nil {
		return nil, v.g.answer(v.request, err)
	}
	resp, err := op.EncodeResponse(out, v.meta())
	if err != nil {
		return nil, v.g.answer(v.request, err)
	}
	if v.Method == http.MethodHead {
		closeStream(resp)
	}
	return resp, nil
}

// closeStream gives up the body of an answer that is not sent.
func closeStream(resp *wire.Response) {
	if resp.Stream != nil {
		resp.Stream.Close()
		resp.Stream = nil
	}
}

// ruleFor returns the routing rule for the asked key and an error's status, 0
// where there is none yet.
func (v *visit) ruleFor(status int) *s3api.RoutingRule {
	for i := range v.site.RoutingRules {
		rule := &v.site.RoutingRules[i]
		code := ""
		if rule.Condition != nil {
			code = rule.Condition.HttpErrorCodeReturnedEquals
		}
		if rule.Redirect == nil || (code == "") != (status == 0) || code != "" && code != strconv.Itoa(status) {
			continue
		}
		if strings.HasPrefix(v.key, prefixOf(rule)) {
			return rule
		}
	}
	return nil
}

func prefixOf(rule *s3api.RoutingRule) string {
	if rule.Condition == nil {
		return ""
	}
	return rule.Condition.KeyPrefixEquals
}

// redirect sends the browser where a rule says; what the rule leaves open
// stays as it was asked for. prefix is the part of the key that the rule's
// condition names.
func (v *visit) redirect(to *s3api.Redirect, prefix string) *wire.Response {
	at := &url.URL{Scheme: "http", Host: v.Host, Path: "/" + v.key, RawQuery: v.URL.RawQuery}
	if v.TLS != nil {
		at.Scheme = "https"
	}
	if to.Protocol != "" {
		at.Scheme = to.Protocol
	}
	if to.HostName != "" {
		at.Host = to.HostName
	}
	switch {
	case to.ReplaceKeyWith != "":
		at.Path = "/" + to.ReplaceKeyWith
	case to.ReplaceKeyPrefixWith != "":
		at.Path = "/" + to.ReplaceKeyPrefixWith + strings.TrimPrefix(v.key, prefix)
	}
	code, err := strconv.Atoi(to.HttpRedirectCode)
	if err != nil {
		code = http.StatusMovedPermanently
	}
	return v.moved(code, at.String())
}

func (v *visit) moved(status int, to string) *wire.Response {
	h := v.headers()
	h.Set("Location", to)
	return &wire.Response{Status: status, Header: h}
}

func (v *visit) headers() http.Header {
	h := http.Header{}
	h.Set("X-Amz-Request-Id", v.call.ID)
	h.Set("X-Amz-Id-2", hostID(v.call.ID))
	return h
}

// page is S3's own page about an error, and about the one that kept it from
// showing the website's error document.
func (v *visit) page(e, document *aws.Error) *wire.Response {
	status := v.service.Status(e)
	h := v.headers()
	for name, value := range e.Header {
		h.Set(name, value)
	}
	if status == http.StatusNotModified {
		return &wire.Response{Status: status, Header: h}
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Amz-Error-Code", e.Code)
	h.Set("X-Amz-Error-Message", oneLine(e.Message))
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	var b strings.Builder
	fmt.Fprintf(&b, "<html>\n<head><title>%s</title></head>\n<body>\n<h1>%s</h1>\n", title, title)
	list(&b, e, "RequestId", v.call.ID, "HostId", hostID(v.call.ID))
	if document != nil {
		b.WriteString("<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n")
		list(&b, document)
	}
	b.WriteString("<hr/>\n</body>\n</html>\n")
	if v.Method == http.MethodHead {
		return &wire.Response{Status: status, Header: h}
	}
	return &wire.Response{Status: status, Header: h, Body: []byte(b.String())}
}

// list writes an error's parts, and more names with their values.
func list(b *strings.Builder, e *aws.Error, more ...string) {
	b.WriteString("<ul>\n")
	item := func(name, value string) {
		fmt.Fprintf(b, "<li>%s: %s</li>\n", name, html.EscapeString(value))
	}
	item("Code", e.Code)
	item("Message", e.Message)
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		item(name, e.Fields[name])
	}
	for i := 0; i+1 < len(more); i += 2 {
		item(more[i], more[i+1])
	}
	b.WriteString("</ul>\n")
}

// oneLine makes a text fit for a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}

// noWeb stands for a gateway before no buckets.
func noWeb(context.Context, string) (*Web, error) { return nil, nil }
