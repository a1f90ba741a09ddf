package wire

import (
	"net/http"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// level is what an S3 request addresses.
type level uint8

const (
	levelService level = iota
	levelBucket
	levelKey
)

// route is what tells one REST operation from the others.
type route struct {
	op       *Op
	method   string
	level    level
	fixed    string            // first segment of the path, where it is no label
	literals map[string]string // query parameters of the URI, with their values
	query    []string          // required query members
	header   []string          // required header members
	optional map[string]bool   // all query members
}

// routes are a service's routes by what every request has: the method, and
// what it addresses.
type routes struct {
	at map[routeKey][]*route
	// subresources are the query parameters that tell operations apart by
	// their mere presence.
	subresources map[string]bool
}

type routeKey struct {
	method string
	level  level
}

func newRoutes(s *Service) *routes {
	all := &routes{at: map[routeKey][]*route{}, subresources: map[string]bool{}}
	for i := range s.Operations {
		o := &s.Operations[i]
		if o.Deprecated {
			continue
		}
		r := newRoute(s.ops[o.Name])
		key := routeKey{r.method, r.level}
		if r.fixed != "" {
			key.level = levelBucket // a fixed path looks like a bucket's
		}
		all.at[key] = append(all.at[key], r)
		for name, value := range r.literals {
			if value == "" {
				all.subresources[name] = true
			}
		}
	}
	return all
}

func newRoute(op *Op) *route {
	path, query, _ := strings.Cut(op.URI, "?")
	r := &route{op: op, method: op.Method, literals: map[string]string{}, optional: map[string]bool{}}
	switch {
	case strings.HasPrefix(path, "/{Bucket}/"):
		r.level = levelKey
	case strings.HasPrefix(path, "/{Bucket}"):
		r.level = levelBucket
	default:
		r.fixed = strings.TrimPrefix(path, "/")
	}
	for part := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(part, "="); name != "" {
			r.literals[name] = value
		}
	}
	for i := range op.In.NumField() {
		name, rest, _ := strings.Cut(op.In.Field(i).Tag.Get("aws"), ",")
		options := "," + rest + ","
		required := strings.Contains(options, ",required,")
		switch {
		case strings.Contains(options, ",query,"):
			r.optional[name] = true
			if required {
				r.query = append(r.query, name)
			}
		case strings.Contains(options, ",header,") && required:
			r.header = append(r.header, http.CanonicalHeaderKey(name))
		}
	}
	return r
}

// fit is how well a request fits a route; of several the one that fits best
// is taken.
type fit struct{ literals, matched, missing, headers, named int }

func (f fit) better(g fit) bool {
	switch {
	case f.literals != g.literals:
		return f.literals > g.literals
	case f.matched != g.matched:
		return f.matched > g.matched
	case f.missing != g.missing:
		return f.missing < g.missing
	case f.headers != g.headers:
		return f.headers > g.headers
	}
	return f.named > g.named
}

// Route returns the operation of a REST request: by method, by what it
// addresses, by the subresources in its query (`?acl`, `?list-type=2`), then
// by the parameters and headers that operations require (`?uploadId=`,
// x-amz-copy-source). A subresource that no operation of the method takes is
// refused, so that `PUT /bucket?location` never creates a bucket.
func (s *Service) Route(r *Request) (*Op, error) {
	at := levelService
	switch {
	case r.Key != "":
		at = levelKey
	case r.Bucket != "":
		at = levelBucket
	}
	var (
		best *route
		top  fit
	)
	header := r.headers()
	for _, rt := range s.routes.at[routeKey{r.Method, at}] {
		f, ok := rt.fit(r, header)
		if ok && (best == nil || f.better(top)) {
			best, top = rt, f
		}
	}
	if best == nil || s.routes.strange(best, r) {
		return nil, methodNotAllowed(r)
	}
	return best.op, nil
}

func methodNotAllowed(r *Request) error {
	e := aws.Errorf("MethodNotAllowed", "The specified method is not allowed against this resource.")
	return e.With("Method", clip(r.Method)).With("ResourceType", resourceType(r))
}

func resourceType(r *Request) string {
	switch {
	case r.Key != "":
		return "OBJECT"
	case r.Bucket != "":
		return "BUCKET"
	}
	return "SERVICE"
}

// fit tells how well a request of the route's method and level fits it, if it
// does at all.
func (rt *route) fit(r *Request, header http.Header) (fit, bool) {
	var f fit
	if rt.fixed != "" && rt.fixed != r.Bucket {
		return f, false
	}
	for name, value := range rt.literals {
		have, ok := r.Query[name]
		if !ok || value != "" && (len(have) == 0 || have[0] != value) {
			return f, false
		}
	}
	f.literals = len(rt.literals)
	if rt.fixed != "" {
		f.literals++
	}
	for _, name := range rt.query {
		if _, ok := r.Query[name]; ok {
			f.matched++
		} else {
			f.missing++
		}
	}
	f.countHeaders(rt, header)
	if r.Query.Get("x-id") == rt.op.Name { // SDKs add it where nothing else tells two apart
		f.named = 1
	}
	// Without anything of its own in the request a route with requirements
	// is not meant.
	return f, f.literals > 0 || f.matched > 0 || f.missing == 0
}

func (f *fit) countHeaders(rt *route, h http.Header) {
	for _, name := range rt.header {
		if headerText(h, name) != "" {
			f.headers++
		} else {
			f.missing++
		}
	}
}

// strange tells whether the query names a subresource that the route does
// not take. Of requests that change something any parameter is strange that
// is not known: it may be a subresource newer than the model, and what is
// meant for that must not overwrite the object.
func (all *routes) strange(chosen *route, r *Request) bool {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	for name := range r.Query {
		if _, ok := chosen.literals[name]; ok || chosen.optional[name] {
			continue
		}
		if all.subresources[name] || !reads && !harmless(name) {
			return true
		}
	}
	return false
}

// harmless tells whether a query parameter never changes what a request
// means: those of signatures, and x-…, which S3 leaves to its callers.
func harmless(name string) bool {
	switch name {
	case "AWSAccessKeyId", "Signature", "Expires":
		return true
	}
	return len(name) > 2 && strings.EqualFold(name[:2], "x-")
}
