// Package call is how operations are declared and reached. A service declares
// its operations with the permissions they need; the checkpoint runs them; and
// whoever wants something done, from the network or from another service,
// reaches them through an Invoker.
package call

import (
	"context"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
)

// Call is one request on its way through the checkpoint.
type Call struct {
	// ID is the request id that the answer and the record carry.
	ID string
	// Trace is shared by every call that one cause led to: a git push, the
	// events it emitted, the pipeline executions they started, each call of
	// their actions. It is the ID of the first of them.
	Trace string
	// Scope narrows a trace to one pipeline execution, by its id; empty
	// outside executions.
	Scope string

	Service   string // as in Operation tables: "codecommit", "events"
	Operation string
	Region    string
	Principal aws.Principal
	Time      time.Time

	// SourceIP is the caller's address, or the service principal that makes
	// the call on the caller's behalf.
	SourceIP  string
	UserAgent string
	// Secure is true for TLS and for calls that never leave the process.
	Secure bool
	// Via lists the service principals through which the caller's own
	// identity came here (forward access sessions), first one first:
	// aws:CalledVia. The last one is kms:ViaService's.
	Via []string
	// SourceARN is the resource on whose behalf a service principal acts:
	// aws:SourceArn.
	SourceARN string
	// BaseURL is scheme and host as the client asked for them, such as
	// https://127.0.0.1:4566; calls inside the process carry the one of the
	// call that caused them, or the server's own.
	BaseURL string
	// Keys are condition keys of the request as a whole, set by the gateway
	// (s3:authType and the like). Names are in lower case.
	Keys policy.Keys

	judge func(ctx context.Context, c *Call, n Need) error
}

// Account is the caller's account. The account a call acts in is the
// resource's, wherever the operation takes an ARN or a global name.
func (c *Call) Account() string { return c.Principal.Account }

// NewID returns a fresh UUID.
func (c *Call) NewID() string { return aws.NewUUID() }

// Allowed asks the checkpoint about one item of a batch: the same engine and
// the same trail as for the needs of an operation. It returns nil, or the
// refusal to answer with.
func (c *Call) Allowed(ctx context.Context, n Need) error {
	if c.judge == nil {
		return aws.Errorf("InternalFailure", "nobody judges this call")
	}
	return c.judge(ctx, c, n)
}

// WithJudge returns c with the function that answers Allowed. The checkpoint
// calls it; nobody else has a reason to.
func (c *Call) WithJudge(judge func(ctx context.Context, c *Call, n Need) error) *Call {
	d := *c
	d.judge = judge
	return &d
}

// Need is one permission an operation asks for before it runs.
type Need struct {
	// Action is service:Operation.
	Action string
	// Resource is an ARN, or "*" for actions without resource-level
	// permissions.
	Resource string
	// Owner is the account that owns the resource. Empty means the account in
	// the ARN, or the caller's where the ARN names none.
	Owner string
	// Holder is the account in which the resource lies, where that is not its
	// owner's, as with objects that somebody wrote into another account's bucket.
	// Its organization's policies bind them, and aws:ResourceAccount names it.
	Holder string
	// Policy is the policy attached to the resource; nil means none. For
	// policy.Trust and policy.Key its word is indispensable.
	Policy *policy.Source
	// Grant is the id of a KMS grant that covers the request.
	Grant string
	// ACL is whom an access control list of S3 grants the action, if the caller
	// is among them.
	ACL policy.Grantee
	// Keys are condition keys of this action and resource. Names are in lower
	// case.
	Keys policy.Keys
	// As is who asks, where that is not the caller but somebody whom the request
	// proves by itself: a web identity. Nil means the caller.
	As *aws.Principal
	// Refuse words the refusal; nil means the service's usual one (see
	// checkpoint.Refusal).
	Refuse func(c *Call, n Need, d policy.Decision) *aws.Error
}

// Operation is one line of a service's table of contents.
type Operation struct {
	Name string
	// Public says why the operation needs no permission; empty means that
	// Needs are asked.
	Public string
	// Input returns a new, empty input for Needs and Handle.
	Input  func() any
	Needs  func(ctx context.Context, c *Call, in any) ([]Need, error)
	Handle func(ctx context.Context, c *Call, in any) (any, error)
}

// Op declares an operation: its name, the permissions it needs, the deed.
// needs must return at least one Need, or an error to answer with.
func Op[In, Out any](name string,
	needs func(context.Context, *Call, *In) ([]Need, error),
	handle func(context.Context, *Call, *In) (*Out, error),
) Operation {
	return Operation{
		Name:   name,
		Input:  func() any { return new(In) },
		Needs:  func(ctx context.Context, c *Call, in any) ([]Need, error) { return needs(ctx, c, in.(*In)) },
		Handle: func(ctx context.Context, c *Call, in any) (any, error) { return boxed(handle(ctx, c, in.(*In))) },
	}
}

// PublicOp declares an operation that every authenticated caller may call,
// and why that is so.
func PublicOp[In, Out any](name, why string, handle func(context.Context, *Call, *In) (*Out, error)) Operation {
	return Operation{
		Name:   name,
		Public: why,
		Input:  func() any { return new(In) },
		Handle: func(ctx context.Context, c *Call, in any) (any, error) { return boxed(handle(ctx, c, in.(*In))) },
	}
}

// boxed keeps a nil *Out from becoming a non-nil any.
func boxed[Out any](out *Out, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if out == nil {
		out = new(Out)
	}
	return out, nil
}
