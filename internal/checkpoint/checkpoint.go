// Package checkpoint is the door every call passes, whether it comes from the
// network or from another service: it authorises, handles and records, and
// there is no way around it.
package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
)

// Identity knows callers: IAM does.
type Identity interface {
	// For returns the policies that speak for a caller.
	For(ctx context.Context, p aws.Principal) (*policy.Set, error)
	// Key returns the secret behind an access key and whom it stands for, or
	// the authentication error to answer with.
	Key(ctx context.Context, keyID, token string) (seal.Secret, aws.Principal, error)
	// Directory knows whom resources' policies name.
	policy.Directory
}

// Recorder keeps the record of calls: CloudTrail does.
type Recorder interface {
	// Record stores an entry. When it returns nil the entry is on disk, or,
	// where that is enough, will be before anything that follows from it.
	Record(ctx context.Context, e *call.Entry) error
}

// Checkpoint is the door. It implements call.Door.
type Checkpoint struct {
	identity   Identity
	recorder   Recorder
	parameters func(any) json.RawMessage
	check      func(service, operation string, in any) error
	log        *slog.Logger
	now        func() time.Time
	baseURL    string
	services   map[string]map[string]call.Operation
	messages   *seal.Box

	organizations Organizations
}

// Options are the optional parts of a checkpoint.
type Options struct {
	// Log receives what is our own trouble; nil means slog.Default.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// BaseURL is where clients reach the server: calls that no client caused
	// carry it.
	BaseURL string
	// Parameters shows an input or output as the record keeps it, without
	// secrets and bodies; nil records none.
	Parameters func(any) json.RawMessage
	// Check holds the input of a call inside the process against the model's
	// constraints, as decoding has done with one from the network; nil checks
	// none.
	Check func(service, operation string, in any) error
	// Messages seals what refusals say to those who may decode it with STS; nil
	// leaves it out.
	Messages *seal.Box
}

// New returns a checkpoint that serves nothing yet.
func New(identity Identity, recorder Recorder, o Options) *Checkpoint {
	k := &Checkpoint{
		identity:   identity,
		recorder:   recorder,
		parameters: o.Parameters,
		check:      o.Check,
		log:        o.Log,
		now:        o.Now,
		baseURL:    o.BaseURL,
		services:   map[string]map[string]call.Operation{},
		messages:   o.Messages,
	}
	if k.log == nil {
		k.log = slog.Default()
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.parameters == nil {
		k.parameters = func(any) json.RawMessage { return nil }
	}
	return k
}

// Serve adds a service's operations. It is called while the parts are joined,
// before the first call; a name served twice is a mistake of the wiring and
// panics.
func (k *Checkpoint) Serve(service string, ops []call.Operation) {
	table := k.services[service]
	if table == nil {
		table = map[string]call.Operation{}
		k.services[service] = table
	}
	for _, op := range ops {
		if _, twice := table[op.Name]; twice {
			panic(fmt.Sprintf("%s %s is served twice", service, op.Name))
		}
		if op.Public == "" && op.Needs == nil {
			panic(fmt.Sprintf("%s %s declares no permission and does not say why", service, op.Name))
		}
		table[op.Name] = op
	}
}

// Input returns an empty input of an operation; it reports false for
// operations that are not served.
func (k *Checkpoint) Input(service, operation string) (any, bool) {
	op, ok := k.services[service][operation]
	if !ok {
		return nil, false
	}
	return op.Input(), true
}

// Operations lists what is served, by service.
func (k *Checkpoint) Operations() map[string][]call.Operation {
	all := map[string][]call.Operation{}
	for service, table := range k.services {
		for _, op := range table {
			all[service] = append(all[service], op)
		}
		slices.SortFunc(all[service], func(a, b call.Operation) int { return strings.Compare(a.Name, b.Name) })
	}
	return all
}

// Has reports whether an operation is served.
func (k *Checkpoint) Has(service, operation string) bool {
	_, ok := k.services[service][operation]
	return ok
}

// Do takes one call through: authorise, handle, record. c.Service and
// c.Operation name the operation, in is its input. The error, if any, is an
// *aws.Error; the entry is on disk before Do returns.
func (k *Checkpoint) Do(ctx context.Context, c *call.Call, in any) (any, error) {
	return k.do(ctx, c, in, false)
}

// do is Do for calls from outside, and for those from inside the process,
// whose input has still to be checked.
func (k *Checkpoint) do(ctx context.Context, c *call.Call, in any, inside bool) (any, error) {
	op, ok := k.services[c.Service][c.Operation]
	if !ok {
		return nil, NotImplemented(c.Service, c.Operation)
	}
	e := &call.Entry{Inside: inside, ReadOnly: readOnly(c.Operation), Request: k.parameters(in)}
	var one sync.Mutex // a handler may judge the items of a batch side by side
	e.Call = c.WithJudge(func(ctx context.Context, c *call.Call, n call.Need) error {
		one.Lock()
		defer one.Unlock()
		return k.judge(ctx, c, n, e)
	})
	out, err := k.run(ctx, op, e, in)
	answer := k.answer(e.Call, err)
	e.Error = answer
	if answer == nil {
		e.Response = k.parameters(out)
	}
	e.Took = k.now().Sub(c.Time)
	// The caller may be gone; the record is made all the same.
	if err := k.recorder.Record(context.WithoutCancel(ctx), e); err != nil {
		k.log.Error("a call could not be recorded", "service", c.Service, "operation", c.Operation, "request", c.ID, "error", err)
		return nil, aws.Errorf(InternalCode(c.Service), "The call could not be recorded.").WithStatus(500)
	}
	if answer != nil {
		return nil, answer
	}
	return out, nil
}

// run checks, authorises and handles, and turns a panic into an error.
func (k *Checkpoint) run(ctx context.Context, op call.Operation, e *call.Entry, in any) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if e.Inside && k.check != nil {
		if err := k.check(e.Call.Service, op.Name, in); err != nil {
			return nil, err
		}
	}
	if op.Public == "" {
		needs, err := op.Needs(ctx, e.Call, in)
		if err != nil {
			return nil, err
		}
		if len(needs) == 0 {
			return nil, fmt.Errorf("%s %s asked for no permission", e.Call.Service, op.Name)
		}
		// All needs are judged, also after a refusal: the record then shows
		// everything that is missing, not the first thing only.
		var refused error
		for _, n := range needs {
			if err := k.judge(ctx, e.Call, n, e); err != nil && refused == nil {
				refused = err
			}
		}
		if refused != nil {
			return nil, refused
		}
	}
	return op.Handle(ctx, e.Call, in)
}

// judge asks the engine about one need and notes the judgement.
func (k *Checkpoint) judge(ctx context.Context, c *call.Call, n call.Need, e *call.Entry) error {
	if n.As != nil {
		as := *c
		as.Principal = *n.As
		c, e.Call = &as, &as // the record names who was proven
	}
	set, req, err := k.question(ctx, c, n)
	if err != nil {
		return err
	}
	j := judgement(set, req)
	if err := k.people(ctx, req, &j); err != nil {
		return err
	}
	d := j.Decision
	e.Judgements = append(e.Judgements, j)
	if n.Resource != "*" {
		e.Resources = append(e.Resources, n.Resource)
	}
	if d.Effect == policy.Allow {
		return nil
	}
	refuse := Refusal
	if n.Refuse != nil {
		refuse = n.Refuse
	}
	answer := refuse(c, n, d)
	if !e.Inside {
		k.explain(answer, req, d)
	}
	return answer
}

// owner is the account that owns a need's resource.
func owner(c *call.Call, n call.Need) string {
	if n.Owner != "" {
		return n.Owner
	}
	if a, ok := aws.ParseARN(n.Resource); ok && a.Account != "" {
		return a.Account
	}
	return c.Account()
}

// answer turns an error into what the caller reads. Trouble of our own is
// logged and named as the service names it.
func (k *Checkpoint) answer(c *call.Call, err error) *aws.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return aws.Errorf("RequestTimeout", "The request was not finished before its caller went away.").WithStatus(400)
	}
	k.log.Error("a call failed inside", "service", c.Service, "operation", c.Operation, "request", c.ID, "error", err)
	return aws.Errorf(InternalCode(c.Service), "sekisho failed inside; its log has the cause under request id %s.", c.ID).WithStatus(500)
}

// InternalCode is a service's error code for trouble of its own. It is the one
// of AWS's common errors, InternalFailure, unless the service has another.
func InternalCode(service string) string {
	switch service {
	case "events":
		return "InternalException"
	case "iam":
		return "ServiceFailure"
	case "kms":
		return "KMSInternalException"
	case "organizations":
		return "ServiceException"
	case "s3":
		return "InternalError"
	}
	return "InternalFailure"
}

// NotImplemented is the answer for an operation that AWS has and sekisho does
// not: a clear word instead of a fake.
func NotImplemented(service, operation string) *aws.Error {
	return aws.Errorf("NotImplemented", "%s %s is not implemented by sekisho. docs/coverage.md lists the operations that are.", service, operation).WithStatus(501)
}

// readOnly tells reading operations by their names, as CloudTrail's readOnly
// does: the use of a key or a role changes neither.
func readOnly(operation string) bool {
	switch operation {
	case "AssumeRole", "AssumeRoleWithWebIdentity", "DecodeAuthorizationMessage", "Decrypt", "Encrypt", "GitPull", "ReEncrypt":
		return true
	}
	for _, verb := range [...]string{"Get", "List", "Describe", "Head", "Lookup", "BatchGet", "Validate", "Test", "GenerateDataKey", "GenerateRandom", "GenerateCredentialReport", "GenerateServiceLastAccessedDetails", "Simulate"} {
		if strings.HasPrefix(operation, verb) {
			return true
		}
	}
	return false
}
