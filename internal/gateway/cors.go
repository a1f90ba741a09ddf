package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/wire"
)

// corsRule returns the first rule that lets pages of an origin use a method.
func corsRule(rules []s3api.CORSRule, origin, method string, headers []string) *s3api.CORSRule {
	for i := range rules {
		r := &rules[i]
		if slices.Contains(r.AllowedMethods, method) && anyWild(r.AllowedOrigins, origin) && allHeaders(r, headers) {
			return r
		}
	}
	return nil
}

func allHeaders(r *s3api.CORSRule, headers []string) bool {
	for _, h := range headers {
		if !slices.ContainsFunc(r.AllowedHeaders, func(p string) bool { return wild(strings.ToLower(p), h) }) {
			return false
		}
	}
	return true
}

func anyWild(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return wild(p, s) })
}

// wild matches a text with a pattern of at most one asterisk.
func wild(pattern, s string) bool {
	before, after, starred := strings.Cut(pattern, "*")
	if !starred {
		return pattern == s
	}
	return len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
}

// addCORS adds to an answer what lets a page of the origin read it.
func addCORS(h http.Header, rules []s3api.CORSRule, origin, method string) {
	if origin == "" {
		return
	}
	if r := corsRule(rules, origin, method, nil); r != nil {
		allow(h, r, origin)
	}
}

func allow(h http.Header, r *s3api.CORSRule, origin string) {
	if slices.Contains(r.AllowedOrigins, "*") {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(r.AllowedMethods, ", "))
	if len(r.ExposeHeaders) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(r.ExposeHeaders, ", "))
	}
	if r.MaxAgeSeconds != nil {
		h.Set("Access-Control-Max-Age", strconv.FormatInt(*r.MaxAgeSeconds, 10))
	}
	h.Set("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
}

// servePreflight answers a browser that asks what a page may do. It needs no
// permission and is no call: the bucket's CORS rules are the whole answer.
func (g *Gateway) servePreflight(w http.ResponseWriter, r *http.Request) {
	p := bound(w, r, g.stall)
	r.Body = p
	q := &request{Request: r, service: g.models["s3"]}
	q.call = g.call(r, "s3", "", g.region, aws.Principal{})
	q.call.ID = aws.RandomText(16, aws.UpperAlnum)
	h, err := g.preflight(r)
	if err != nil {
		write(w, p, q.service.EncodeError(g.answer(q, err), q.meta()))
		return
	}
	h.Set("X-Amz-Request-Id", q.call.ID)
	h.Set("X-Amz-Id-2", hostID(q.call.ID))
	write(w, p, &wire.Response{Status: http.StatusOK, Header: h})
}

func (g *Gateway) preflight(r *http.Request) (http.Header, error) {
	origin, method := r.Header.Get("Origin"), r.Header.Get("Access-Control-Request-Method")
	switch {
	case origin == "":
		return nil, aws.Errorf("BadRequest", "Insufficient information. Origin request header needed.").WithStatus(400)
	case !slices.Contains([]string{"GET", "HEAD", "PUT", "POST", "DELETE"}, method):
		if method == "" {
			method = "null"
		}
		return nil, aws.Errorf("BadRequest", "Invalid Access-Control-Request-Method: %s", method).WithStatus(400)
	}
	bucket, website := websiteBucket(r.Host)
	key := strings.TrimPrefix(r.URL.Path, "/")
	if !website {
		bucket, key = splitBucket(r.Host, r.URL.EscapedPath())
	}
	kind := "OBJECT"
	if key == "" {
		kind = "BUCKET"
	}
	web, err := g.buckets(r.Context(), bucket)
	if err != nil {
		return nil, err
	}
	if web == nil {
		return nil, aws.Errorf("NoSuchBucket", "The specified bucket does not exist").WithStatus(404).With("BucketName", bucket)
	}
	if len(web.CORS) == 0 {
		return nil, aws.Errorf("AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.").WithStatus(403).
			With("Method", method).With("ResourceType", kind)
	}
	headers := requestHeaders(r.Header.Get("Access-Control-Request-Headers"))
	rule := corsRule(web.CORS, origin, method, headers)
	if rule == nil {
		return nil, aws.Errorf("AccessForbidden", "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.").
			WithStatus(403).With("Method", method).With("ResourceType", kind)
	}
	h := http.Header{}
	allow(h, rule, origin)
	if len(headers) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
	}
	return h, nil
}

// requestHeaders are the headers that a page wants to send, in lower case.
func requestHeaders(list string) (names []string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// corsOf adds to S3's answer what the bucket's rules say about the origin of
// the page that asks. A request without an origin costs nothing.
func (g *Gateway) corsOf(q *request, h http.Header) {
	origin := q.Header.Get("Origin")
	if origin == "" || q.service == nil || q.service.Name != "s3" {
		return
	}
	bucket, _ := splitBucket(q.Host, q.URL.EscapedPath())
	if !bucketName.MatchString(bucket) {
		return
	}
	web, err := g.buckets(q.Context(), bucket)
	if err != nil || web == nil {
		return
	}
	addCORS(h, web.CORS, origin, q.Method)
}
