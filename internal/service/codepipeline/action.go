package codepipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	stsapi "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// Kinds of jobs.
const (
	actionJob   = "codepipeline/action"
	approvalJob = "codepipeline/approval"
	pollJob     = "codepipeline/poll"
)

// actionAttempts is how often an action is begun when sekisho itself fails.
// What AWS answers with an error fails the action at once.
const actionAttempts = 5

// actionRef is the payload of jobs about an action execution.
type actionRef struct {
	Pipeline ref
	ID       string
}

// providerKey is what an action type is known by.
type providerKey struct{ category, owner, provider, version string }

// bounds are how many artifacts an action takes and makes.
type bounds struct{ minIn, maxIn, minOut, maxOut int }

// provider does the work of one type of action.
type provider interface {
	bounds() bounds
	keys() []configKey
	// limit is how long the action may take.
	limit() time.Duration
	// run does the action. A *failure is the action's, errWaits leaves it in
	// progress until somebody else ends it, any other error is sekisho's own
	// and the action is begun anew.
	run(ctx context.Context, w *work) (actionOutput, error)
}

func providers() map[providerKey]provider {
	return map[providerKey]provider{
		{"Source", "AWS", "CodeCommit", "1"}: codecommitSource{},
		{"Source", "AWS", "S3", "1"}:         s3Source{},
		{"Deploy", "AWS", "S3", "1"}:         s3Deploy{},
		{"Approval", "AWS", "Manual", "1"}:   manualApproval{},
	}
}

// failure is the end of an action that AWS's answers make fail.
type failure struct{ code, message string }

func (f *failure) Error() string { return f.code + ": " + f.message }

// Codes of failed actions.
const (
	permissionError    = "PermissionError"
	configurationError = "ConfigurationError"
	jobFailed          = "JobFailed"
	internalError      = "InternalError"
	unresolved         = "InvalidActionConfiguration"
)

func fail(code, format string, args ...any) *failure {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// errWaits is the answer of a provider whose action goes on by itself.
var errWaits = errors.New("the action waits")

// work is one action execution as its provider sees it.
type work struct {
	service   *Service
	pipeline  ref
	execution *execution
	row       *actionRow
	declared  *api.ActionDeclaration
	// role is the pipeline's service role.
	role    string
	store   api.ArtifactStore
	config  map[string]string // with variables filled in
	inputs  []api.ArtifactDetail
	outputs []api.ArtifactDetail

	mu      sync.Mutex
	session call.Session // see worn
	ready   bool
}

// region is where the action works: the pipeline's region unless it says
// otherwise.
func (w *work) region() string {
	if w.declared.Region != "" {
		return w.declared.Region
	}
	return w.pipeline.Region
}

// runAction is the handler of an action's job.
func (s *Service) runAction(ctx context.Context, j *job.Job) error {
	var at actionRef
	if err := json.Unmarshal(j.Payload, &at); err != nil {
		return job.Dead(err)
	}
	w, err := s.load(ctx, at)
	if err != nil {
		return err
	}
	if w == nil {
		return nil // deleted, or ended meanwhile
	}
	out, err := s.carryOut(ctx, w)
	switch f := (*failure)(nil); {
	case err == nil:
		return s.settle(ctx, w, j, succeeded, out)
	case errors.Is(err, errWaits):
		return nil
	case errors.As(err, &f):
		return s.settle(ctx, w, j, failed, out.failed(f))
	case ctx.Err() != nil || j.Attempt < actionAttempts:
		return err
	}
	s.o.Log.ErrorContext(ctx, "action failed", "pipeline", w.pipeline.arn(), "action", w.declared.Name, "err", err)
	return s.settle(ctx, w, j, failed, out.failed(fail(internalError, "The action failed because of an internal error. Try again later.")))
}

// failed is what is shown of an action that got so far and then failed: what
// it worked on, but nothing that later actions could take for a result.
func (out actionOutput) failed(f *failure) actionOutput {
	return actionOutput{ExternalID: out.ExternalID, URL: out.URL, Error: &api.ErrorDetails{Code: f.code, Message: f.message}}
}

// load reads what an action needs to know; nil when there is nothing to do.
func (s *Service) load(ctx context.Context, at actionRef) (*work, error) {
	w := &work{service: s, pipeline: at.Pipeline}
	var variables func(reference) (string, bool)
	err := s.db.View(ctx, func(tx *state.Tx) error {
		row, err := at.Pipeline.action(ctx, tx, at.ID)
		if err != nil {
			return err
		}
		if row.Status != inProgress {
			return state.ErrNotFound
		}
		w.row = row
		if w.execution, err = at.Pipeline.execution(ctx, tx, row.Execution); err != nil {
			return err
		}
		d, err := at.Pipeline.definition(ctx, tx, row.Version)
		if err != nil {
			return err
		}
		in, err := row.input()
		if err != nil {
			return err
		}
		w.declared, w.inputs, w.outputs = in.Declared, in.Inputs, in.Outputs
		w.role, w.store = d.RoleArn, storeOf(d, at.Pipeline.Region)
		variables, err = at.Pipeline.variables(ctx, tx, w.execution)
		return err
	})
	if errors.Is(err, state.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w.config, err = resolve(w.declared.Configuration, variables)
	if err != nil {
		w.config = nil
		w.row.InputRaw = json.RawMessage(encode(actionInput{Declared: w.declared, Inputs: w.inputs, Outputs: w.outputs}))
		s.o.Log.DebugContext(ctx, "variables", "err", err)
		return w, nil
	}
	w.row.InputRaw = json.RawMessage(encode(actionInput{Declared: w.declared, Resolved: w.config, Inputs: w.inputs, Outputs: w.outputs}))
	return w, nil
}

// variables returns what variable references mean in an execution: the
// outputs of actions that have a namespace, the pipeline's own variables, and
// the execution's id.
func (p ref) variables(ctx context.Context, tx *state.Tx, e *execution) (func(reference) (string, bool), error) {
	values := map[reference]string{{"codepipeline", executionIDKey}: e.ID}
	own, err := e.resolved()
	if err != nil {
		return nil, err
	}
	for _, v := range own {
		values[reference{"variables", v.Name}] = v.ResolvedValue
	}
	rows, err := p.actionsOf(ctx, tx, e.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range rows {
		in, err := a.input()
		if err != nil {
			return nil, err
		}
		if a.Status != succeeded || a.Retried || in.Declared.Namespace == "" {
			continue
		}
		out, err := a.outcome()
		if err != nil {
			return nil, err
		}
		for k, v := range out.Variables {
			values[reference{in.Declared.Namespace, k}] = v
		}
	}
	return func(r reference) (string, bool) {
		v, ok := values[r]
		return v, ok
	}, nil
}

// carryOut runs the provider within its time.
func (s *Service) carryOut(ctx context.Context, w *work) (actionOutput, error) {
	t := w.declared.ActionTypeId
	p, ok := s.providers[providerKey{t.Category, t.Owner, t.Provider, t.Version}]
	if !ok {
		return actionOutput{}, fail(configurationError, "The action type %s/%s is not implemented by sekisho", t.Category, t.Provider)
	}
	if w.config == nil {
		return actionOutput{}, fail(unresolved, "One or more variables in the configuration of action %s could not be resolved", w.declared.Name)
	}
	limited, cancel := context.WithDeadline(ctx, w.row.Started.Add(p.limit()))
	defer cancel()
	out, err := p.run(limited, w)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return actionOutput{}, fail(jobFailed, "The action did not complete within %s", p.limit())
	}
	return out, err
}

// settle records how an action ended, and the job with it.
func (s *Service) settle(ctx context.Context, w *work, j *job.Job, status string, out actionOutput) error {
	ctx = context.WithoutCancel(ctx) // the work is done
	return s.db.Update(ctx, func(tx *state.Tx) error {
		row, err := w.pipeline.action(ctx, tx, w.row.ID)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		// An action that was abandoned, or whose pipeline is gone, stays so.
		if err == nil && row.Status == inProgress {
			row.InputRaw = w.row.InputRaw
			now := time.Now().UTC()
			if out.Revision != nil {
				if err := w.pipeline.take(ctx, tx, w.declared.Name, out.Revision, now); err != nil {
					return err
				}
			}
			if err := w.pipeline.finish(ctx, tx, row, status, w.pipeline.arn(), out, now); err != nil {
				return err
			}
		}
		return j.Finish(ctx, tx)
	})
}

// invoker makes calls to a region as the action does on AWS: in a session of
// the service role, or of the action's role assumed by it.
func (w *work) invoker(ctx context.Context, region string) (call.Invoker, error) {
	if _, err := w.worn(ctx); err != nil {
		return nil, err
	}
	return wearer{w, region}, nil
}

// wearer makes each call in a session that is still good.
type wearer struct {
	w      *work
	region string
}

// Invoke implements call.Invoker.
func (i wearer) Invoke(ctx context.Context, service, operation string, in any) (any, error) {
	session, err := i.w.worn(ctx)
	if err != nil {
		return nil, err
	}
	session.Region = i.region
	return i.w.service.door.As(session).Invoke(ctx, service, operation, in)
}

// renewal is how long before its end a session is replaced: a long deployment
// outlives the hour that chained sessions last.
const renewal = 5 * time.Minute

// worn is the session the action works in.
func (w *work) worn(ctx context.Context) (call.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := w.session.Principal.Expires; w.ready && (end.IsZero() || time.Until(end) > renewal) {
		return w.session, nil
	}
	session, err := w.assume(ctx)
	if err != nil {
		return call.Session{}, err
	}
	w.session, w.ready = session, true
	return session, nil
}

// assume takes the action's roles.
func (w *work) assume(ctx context.Context) (call.Session, error) {
	base := call.AsService(servicePrincipal, w.pipeline.Region, w.pipeline.arn()).Within(w.execution.Trace, w.execution.ID)
	base.BaseURL = w.execution.BaseURL
	session, err := w.service.assume(ctx, base, w.role, time.Now())
	if err != nil {
		return session, refused(err, fmt.Sprintf("CodePipeline is not authorized to perform AssumeRole on role %s", w.role))
	}
	if w.declared.RoleArn == "" {
		return session, nil
	}
	session, err = w.service.assume(ctx, session, w.declared.RoleArn, time.Now())
	if err != nil {
		return session, refused(err, fmt.Sprintf("%s is not authorized to perform AssumeRole on role %s", w.role, w.declared.RoleArn))
	}
	return session, nil
}

// refused makes an API's answer the action's failure.
func refused(err error, message string) error {
	if e, ok := asError(err); ok && !trouble(e) {
		return fail(permissionError, "%s", message)
	}
	return err
}

// assume has the caller of a session assume a role. The session's name is the
// time in milliseconds, as CodePipeline's are.
func (s *Service) assume(ctx context.Context, as call.Session, role string, now time.Time) (call.Session, error) {
	out, err := stsapi.Client{Invoker: s.door.As(as)}.AssumeRole(ctx, &stsapi.AssumeRoleInput{
		RoleArn: role, RoleSessionName: strconv.FormatInt(now.UnixMilli(), 10),
	})
	if err != nil {
		return call.Session{}, err
	}
	if out.Credentials == nil {
		return call.Session{}, errors.New("AssumeRole answered without credentials")
	}
	p, err := s.door.Identify(ctx, out.Credentials.AccessKeyId, out.Credentials.SecretAccessKey, out.Credentials.SessionToken)
	if err != nil {
		return call.Session{}, err
	}
	return as.Wearing(p), nil
}

// asError finds the API's answer in an error.
func asError(err error) (*aws.Error, bool) {
	var e *aws.Error
	ok := errors.As(err, &e)
	return e, ok
}

// trouble reports whether an answer tells of sekisho's own trouble, or of a call
// that was cut off: nothing the action has to answer for, so it is tried again.
func trouble(e *aws.Error) bool {
	return e.Status == 500 || e.Status == 503 || e.Code == "RequestTimeout"
}

// denied reports whether an answer is a refusal.
func denied(e *aws.Error) bool {
	switch e.Code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError":
		return true
	}
	return e.Status == 403
}

// bucketDenied words an answer of S3 about a bucket as CodePipeline does.
func bucketDenied(bucket string, e *aws.Error) *failure {
	return fail(permissionError, "The service role or action role doesn’t have the permissions required to access the Amazon S3 bucket named %s. "+
		"Update the IAM role permissions, and then try again. Error: %s", bucket, s3Text(e))
}

// s3Text prints an answer of S3 as AWS's Java SDK does.
func s3Text(e *aws.Error) string {
	status := e.Status
	if status == 0 {
		status = 400
		if denied(e) {
			status = 403
		}
	}
	return fmt.Sprintf("Amazon S3:%s:%s (Service: Amazon S3; Status Code: %d; Error Code: %s; Request ID: %s; S3 Extended Request ID: %s; Proxy: null)",
		e.Code, e.Message, status, e.Code, cmp.Or(e.Fields["RequestId"], e.RequestID, "null"), cmp.Or(e.Fields["HostId"], "null"))
}

// s3Failure makes an action's failure of an answer of S3 about a bucket; what
// is no answer stays an error.
func s3Failure(bucket, doing string, err error) error {
	e, ok := asError(err)
	switch {
	case !ok || trouble(e):
		return err
	case denied(e):
		return bucketDenied(bucket, e)
	}
	return fail(configurationError, "The action failed because %s. Error: %s", doing, s3Text(e))
}

// entityURL is the console's page of what an action is about.
func entityURL(p ref, a *api.ActionDeclaration) string {
	c := a.Configuration
	switch a.ActionTypeId.Category + " " + a.ActionTypeId.Provider {
	case "Source CodeCommit":
		return fmt.Sprintf("https://%s.console.aws.amazon.com/codecommit/home#/repository/%s/browse/%s/--/", p.Region, c["RepositoryName"], c["BranchName"])
	case "Source S3":
		return "https://console.aws.amazon.com/s3/home?#"
	case "Deploy S3":
		return "https://s3.console.aws.amazon.com/s3/buckets/" + c["BucketName"]
	}
	return ""
}
