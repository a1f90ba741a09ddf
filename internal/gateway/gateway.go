package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sekisho/sekisho/internal/api"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/checkpoint"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/wire"
)

// Credentials knows what callers prove themselves with: IAM does. Errors that
// refuse are *aws.Error.
type Credentials interface {
	// Key returns the secret of an access key, and whom it stands for.
	Key(ctx context.Context, keyID, token string) (seal.Secret, aws.Principal, error)
	// Password checks service-specific credentials for CodeCommit.
	Password(ctx context.Context, user, password string) (aws.Principal, error)
	// Trusted reports that an access key id is believed on its word, without
	// its signature: never, unless the server was started with
	// --dev-credentials.
	Trusted(keyID string) bool
}

// Options are what a gateway needs beside the checkpoint.
type Options struct {
	Credentials Credentials
	// Repositories returns the regions in which an account has a CodeCommit
	// repository of a name.
	Repositories func(ctx context.Context, account, name string) ([]string, error)
	// Buckets returns what an S3 bucket shows to browsers; nil when there is no
	// such bucket.
	Buckets func(ctx context.Context, name string) (*Web, error)
	// Region is the one of requests that name none; "" means us-east-1.
	Region string
	// Stall is how long an API request waits for its client to send or to take
	// something; 0 means 30 seconds.
	Stall time.Duration
	Log   *slog.Logger
	Now   func() time.Time
}

// Gateway is the HTTP handler of everything AWS.
type Gateway struct {
	door         *checkpoint.Checkpoint
	credentials  Credentials
	repositories func(ctx context.Context, account, name string) ([]string, error)
	buckets      func(ctx context.Context, name string) (*Web, error)
	region       string
	stall        time.Duration
	log          *slog.Logger
	now          func() time.Time

	models   map[string]*wire.Service // by name
	targets  map[string]*wire.Service // by X-Amz-Target's prefix
	signing  map[string]*wire.Service // by the name in SigV4 scopes
	versions map[string]*wire.Service // query services, by API version
}

// New returns a gateway before a checkpoint.
func New(door *checkpoint.Checkpoint, o Options) *Gateway {
	g := &Gateway{
		door: door, credentials: o.Credentials, repositories: o.Repositories, buckets: o.Buckets,
		region: o.Region, stall: o.Stall, log: o.Log, now: o.Now, models: api.Services(),
	}
	if g.buckets == nil {
		g.buckets = noWeb
	}
	if g.region == "" {
		g.region = "us-east-1"
	}
	if g.stall == 0 {
		g.stall = defaultStall
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.targets, g.signing, g.versions = map[string]*wire.Service{}, map[string]*wire.Service{}, map[string]*wire.Service{}
	for _, s := range g.models {
		g.signing[s.Signing] = s
		switch s.Protocol {
		case wire.JSON:
			for _, t := range s.Targets() {
				g.targets[t] = s
			}
		case wire.Query:
			g.versions[s.Version] = s
		}
	}
	return g
}

// ServeHTTP takes one request through: route, authenticate, decode, pass,
// encode.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if q, ok := g.git(r); ok {
		g.serveGit(w, r, q)
		return
	}
	if r.Method == http.MethodOptions {
		g.servePreflight(w, r)
		return
	}
	if bucket, ok := websiteBucket(r.Host); ok {
		g.serveWebsite(w, r, bucket)
		return
	}
	g.serveAPI(w, r)
}

// call describes a request to the checkpoint.
func (g *Gateway) call(r *http.Request, service, operation, region string, p aws.Principal) *call.Call {
	id := aws.NewUUID()
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	c := &call.Call{
		ID: id, Trace: id,
		Service: service, Operation: operation, Region: region,
		Principal: p, Time: g.now(),
		SourceIP: ip, UserAgent: r.UserAgent(),
		Secure:  r.TLS != nil,
		BaseURL: baseURL(r),
	}
	if from := r.Referer(); from != "" {
		c.Keys = map[string][]string{"aws:referer": {from}}
	}
	return c
}
