package events

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"

	codepipelineapi "github.com/sekisho/sekisho/internal/api/codepipeline"
	api "github.com/sekisho/sekisho/internal/api/events"
	stsapi "github.com/sekisho/sekisho/internal/api/sts"
)

// The retry policy of a target that has none, and the pauses between
// attempts: all of them fit into the longest age.
const (
	maxRetries   = 185
	maxAge       = 24 * time.Hour
	firstPause   = 500 * time.Millisecond
	longestPause = 8 * time.Minute
)

// carryOut is the job of a delivery.
func (s *Service) carryOut(ctx context.Context, j *job.Job) error {
	var d delivery
	if err := json.Unmarshal(j.Payload, &d); err != nil {
		return job.Dead(err)
	}
	failure := s.deliver(ctx, &d)
	if failure != nil && ctx.Err() != nil {
		return failure // cut off: that was no attempt
	}
	return s.settle(ctx, j, &d, failure)
}

// deliver makes the call that the target is.
func (s *Service) deliver(ctx context.Context, d *delivery) error {
	a, _ := aws.ParseARN(d.Target.ARN)
	in, err := s.session(ctx, d, a.Region)
	if err != nil {
		return err
	}
	if a.Service == "codepipeline" {
		return s.startPipeline(ctx, d, a.Resource, s.door.As(in))
	}
	e := d.Event
	_, err = api.Client{Invoker: s.door.As(in)}.ForwardEvent(ctx, &api.ForwardEventInput{
		EventBusName: d.Target.ARN, DeliveryId: d.ID, EventId: e.ID, Account: e.Account, Region: e.Region, Source: e.Source,
		DetailType: e.DetailType, Time: &e.Time, Resources: e.Resources, Detail: string(e.Detail),
	})
	return err
}

// session is in whose name a target is called: the target's role, assumed by
// EventBridge for the rule. A bus of the same account and region needs none;
// there the account itself acts.
func (s *Service) session(ctx context.Context, d *delivery, region string) (call.Session, error) {
	r, _ := ruleFromARN(d.RuleARN)
	in := call.AsService(principal, r.bus.region, d.RuleARN).Within(d.Event.Trace, "")
	who := aws.RootPrincipal(r.bus.account)
	if d.Target.Role != "" {
		p, err := s.assume(ctx, in, d.Target.Role)
		if err != nil {
			return call.Session{}, err
		}
		who = p
	}
	in = in.Wearing(who)
	in.SourceARN, in.Region = d.RuleARN, region // policies may ask for the rule
	return in, nil
}

// assume returns the session of a role that EventBridge assumes.
func (s *Service) assume(ctx context.Context, in call.Session, role string) (aws.Principal, error) {
	out, err := stsapi.Client{Invoker: s.door.As(in)}.AssumeRole(ctx, &stsapi.AssumeRoleInput{RoleArn: role, RoleSessionName: sessionName(in.SourceARN)})
	if err != nil {
		return aws.Principal{}, err
	}
	c := out.Credentials
	if c == nil {
		return aws.Principal{}, errors.New("AssumeRole answered without credentials")
	}
	return s.door.Identify(ctx, c.AccessKeyId, c.SecretAccessKey, c.SessionToken)
}

// sessionName names EventBridge's session of a rule's role: 32 hexadecimal
// digits, the same ones for the same rule.
func sessionName(ruleARN string) string {
	sum := sha256.Sum256([]byte(ruleARN))
	return hex.EncodeToString(sum[:16])
}

func (s *Service) startPipeline(ctx context.Context, d *delivery, pipeline string, as call.Invoker) error {
	in := &codepipelineapi.StartPipelineExecutionInput{Name: pipeline}
	text, shaped, err := d.shape()
	if err != nil {
		return err
	}
	if shaped {
		if in, err = pipelineRequest(pipeline, text); err != nil {
			return err
		}
	}
	in.ClientRequestToken = d.ID // a repeated delivery starts nothing anew
	_, err = codepipelineapi.Client{Invoker: as}.StartPipelineExecution(ctx, in)
	return err
}

// pipelineRequest reads shaped input: an object in the form of
// StartPipelineExecution's request. Any other JSON is passed and ignored, as
// the event itself is.
func pipelineRequest(pipeline string, text json.RawMessage) (*codepipelineapi.StartPipelineExecutionInput, error) {
	in := &codepipelineapi.StartPipelineExecutionInput{Name: pipeline}
	if !strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		return in, nil
	}
	var asked struct {
		Name            string                                   `json:"name"`
		SourceRevisions []codepipelineapi.SourceRevisionOverride `json:"sourceRevisions"`
		Variables       []codepipelineapi.PipelineVariable       `json:"variables"`
	}
	if err := json.Unmarshal(text, &asked); err != nil {
		return nil, invalid("The input for pipeline %s is not a request of StartPipelineExecution: %s.", pipeline, err)
	}
	if asked.Name != "" && asked.Name != pipeline {
		return nil, invalid("The input for pipeline %s names another pipeline, %s.", pipeline, asked.Name)
	}
	in.SourceRevisions, in.Variables = asked.SourceRevisions, asked.Variables
	return in, nil
}

// settle records how an attempt ended, and decides what comes next.
func (s *Service) settle(ctx context.Context, j *job.Job, d *delivery, failure error) error {
	var again error
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		again = nil
		if failure == nil {
			if err := d.record(ctx, tx, Delivered, 0, nil, s.now()); err != nil {
				return err
			}
			return j.Finish(ctx, tx)
		}
		failed, err := state.Get[int64](ctx, tx, `SELECT attempts FROM events_delivery WHERE id = $1`, d.ID)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		v := d.judge(failure, failed, s.now())
		if !v.final {
			again = job.Again(v.next)
			return d.record(ctx, tx, Pending, failed+1, failure, s.now())
		}
		if err := d.record(ctx, tx, Failed, failed+1, failure, s.now()); err != nil {
			return err
		}
		if err := d.bury(ctx, tx, failure, v.exhausted, failed, s.now()); err != nil {
			return err
		}
		return j.Finish(ctx, tx)
	})
	if err != nil {
		return err
	}
	return again
}

// verdict is what follows from a failure.
type verdict struct {
	final     bool
	exhausted string // the limit of the retry policy that was reached
	next      time.Time
}

// judge decides after a failure; failed is how many attempts failed before.
func (d *delivery) judge(failure error, failed int64, now time.Time) verdict {
	if !transient(failure) {
		return verdict{final: true}
	}
	retries, age := int64(maxRetries), maxAge
	if n := d.Target.MaxAttempts; n != nil {
		retries = *n
	}
	if n := d.Target.MaxAge; n != nil {
		age = time.Duration(*n) * time.Second
	}
	next := now.Add(pause(failed))
	switch {
	case failed >= retries:
		return verdict{final: true, exhausted: "MaximumRetryAttempts"}
	case next.After(d.Ingested.Add(age)):
		return verdict{final: true, exhausted: "MaximumEventAgeInSeconds"}
	}
	return verdict{next: next}
}

// pause is how long to wait after some failures: twice as long each time,
// with a share left to chance.
func pause(failed int64) time.Duration {
	p := longestPause
	if failed < 20 {
		p = min(firstPause<<failed, longestPause)
	}
	return p/2 + rand.N(p/2)
}

// transient reports whether trying again may help. What a caller did wrong
// (permission, a target that is gone, bad input) stays wrong.
func transient(failure error) bool {
	e, ok := errors.AsType[*aws.Error](failure)
	if !ok {
		return true
	}
	if e.Code == "NotImplemented" {
		return false
	}
	return e.Status >= 500 || slices.Contains([]string{
		"InternalFailure", "InternalException", "ServiceUnavailable", "RequestTimeout",
		"Throttling", "ThrottlingException", "TooManyRequestsException",
		"ConflictException", "ConcurrentModificationException", "ConcurrentPipelineExecutionsLimitExceededException",
	}, e.Code)
}

// deadCode is ERROR_CODE of a dead letter.
func deadCode(failure error) string {
	e, ok := errors.AsType[*aws.Error](failure)
	switch {
	case !ok:
		return "INTERNAL_ERROR"
	case strings.HasPrefix(e.Code, "AccessDenied"):
		return "NO_PERMISSIONS"
	case strings.HasSuffix(e.Code, "NotFoundException"):
		return "NO_RESOURCE"
	case transient(failure):
		return "SERVICE_UNAVAILABLE"
	}
	return "SDK_CLIENT_ERROR"
}

// deadBody is the event as the target would have received it.
func (d *delivery) deadBody() (string, error) {
	text, _, err := d.shape()
	if err != nil || text == nil {
		text, err = d.Event.MarshalEnvelope()
	}
	if err != nil {
		return "", fmt.Errorf("event %s: %w", d.Event.ID, err)
	}
	return string(text), nil
}
