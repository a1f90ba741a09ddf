package call

import (
	"context"
	"fmt"
	"slices"

	"github.com/sekisho/sekisho/internal/aws"
)

// Invoker runs an operation as some caller. in is a pointer to the
// operation's input; the answer is a pointer to its output.
type Invoker interface {
	Invoke(ctx context.Context, service, operation string, in any) (any, error)
}

// Invoke is Invoker.Invoke for typed clients.
func Invoke[Out any](ctx context.Context, i Invoker, service, operation string, in any) (*Out, error) {
	out, err := i.Invoke(ctx, service, operation, in)
	if err != nil {
		return nil, err
	}
	typed, ok := out.(*Out)
	if !ok {
		return nil, fmt.Errorf("%s %s answered with %T", service, operation, out)
	}
	return typed, nil
}

// Door is how a service reaches another one: through the checkpoint, as
// somebody. There is no other way.
type Door interface {
	// As returns an Invoker that makes its calls in a session.
	As(s Session) Invoker
	// Identify returns whom credentials stand for, or the authentication
	// error AWS answers with.
	Identify(ctx context.Context, keyID, secret, token string) (aws.Principal, error)
}

// Session is in whose name calls inside the process are made, and to what
// they belong. It is a value that can be stored (as JSON) with work to be
// done later.
type Session struct {
	Principal aws.Principal
	Region    string
	Via       []string `json:",omitempty"`
	SourceARN string   `json:",omitempty"`
	SourceIP  string   `json:",omitempty"`
	UserAgent string   `json:",omitempty"`
	BaseURL   string   `json:",omitempty"`
	Trace     string   `json:",omitempty"`
	Scope     string   `json:",omitempty"`
}

// Forward returns the session in which a service calls another one with the
// caller's own identity: a forward access session. service is the service
// principal that forwards, such as s3.amazonaws.com.
func (c *Call) Forward(service string) Session {
	return Session{
		Principal: c.Principal,
		Region:    c.Region,
		Via:       append(slices.Clone(c.Via), service),
		SourceIP:  c.SourceIP,
		UserAgent: service,
		BaseURL:   c.BaseURL,
		Trace:     c.Trace,
		Scope:     c.Scope,
	}
}

// AsService returns the session of a service that acts as itself on behalf
// of the resource sourceARN, such as codepipeline.amazonaws.com for a
// pipeline.
func AsService(service, region, sourceARN string) Session {
	return Session{
		Principal: aws.ServicePrincipal(service),
		Region:    region,
		SourceARN: sourceARN,
		SourceIP:  service,
		UserAgent: service,
	}
}

// Wearing returns s with another principal: the session a service goes on in
// after it assumed a role.
func (s Session) Wearing(p aws.Principal) Session {
	s.Principal = p
	s.SourceARN = ""
	return s
}

// Within returns s as part of a trace and scope.
func (s Session) Within(trace, scope string) Session {
	s.Trace, s.Scope = trace, scope
	return s
}
