package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
	stsapi "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	account = "111111111111"
	root    = "root@" + account
	alice   = "alice@" + account
)

// world is CloudFormation with a resource type of its own, Test::Thing, whose
// things are kept here.
type world struct {
	*servicetest.Env
	s *Service

	mu     sync.Mutex
	things map[string]string // physical id to properties
	fail   map[string]string // "create NAME" and the like to the problem
	who    []string          // in whose name
	before func(step string) // called before each step
	url    map[string]string // objects of S3
}

func newWorld(e *servicetest.Env) *world {
	w := &world{Env: e, things: map[string]string{}, fail: map[string]string{}, url: map[string]string{}}
	w.s = New(e.DB, e.Jobs, e.Door, e.Master.For("cloudformation"), Options{Hold: 20 * time.Second})
	w.s.types["Test::Thing"] = kind{
		maker: things{w}, name: "Name", limit: 40, service: "Test",
		schema: cfn.Schema{Attributes: []string{"Arn", "Secret"}, Replace: []string{"Name", "Fixed"}, Tags: true},
	}
	e.Door.Serve("cloudformation", w.s.Operations())
	e.Door.Serve("sts", []call.Operation{call.PublicOp("AssumeRole", "a test", w.assumeRole)})
	e.Door.Serve("s3", []call.Operation{call.Op("GetObject",
		func(_ context.Context, c *call.Call, in *s3api.GetObjectInput) ([]call.Need, error) {
			return []call.Need{{Action: "s3:GetObject", Resource: "arn:aws:s3:::" + in.Bucket + "/" + in.Key, Owner: c.Account()}}, nil
		}, w.getObject)})
	e.Start()
	return w
}

func (w *world) assumeRole(_ context.Context, c *call.Call, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
	name := in.RoleArn[strings.LastIndexByte(in.RoleArn, '/')+1:]
	if c.Principal.ARN != principal || name == "untrusting" {
		return nil, aws.Errorf("AccessDenied", "no").WithStatus(403)
	}
	return &stsapi.AssumeRoleOutput{Credentials: &stsapi.Credentials{
		AccessKeyId: name + "/" + in.RoleSessionName + "@" + account, SecretAccessKey: "secret", SessionToken: "token",
	}}, nil
}

func (w *world) getObject(_ context.Context, _ *call.Call, in *s3api.GetObjectInput) (*s3api.GetObjectOutput, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, ok := w.url[in.Bucket+"/"+in.Key]
	if !ok {
		return nil, aws.Errorf("NoSuchKey", "The specified key does not exist.").WithStatus(404)
	}
	return &s3api.GetObjectOutput{Body: io.NopCloser(strings.NewReader(body))}, nil
}

// things is Test::Thing.
type things struct{ w *world }

func (t things) step(ctx context.Context, q *request, verb, name string) error {
	t.w.mu.Lock()
	before, problem := t.w.before, t.w.fail[verb+" "+q.LogicalID]
	if problem == "once" {
		problem = "problem"
		delete(t.w.fail, verb+" "+q.LogicalID)
	}
	t.w.who = append(t.w.who, q.session.Principal.ARN)
	t.w.mu.Unlock()
	if before != nil {
		before(verb + " " + q.LogicalID)
	}
	if problem == "problem" {
		return problemf("%s %s did not work", verb, q.LogicalID)
	}
	if problem != "" {
		return &aws.Error{Code: problem, Message: "no " + verb, Status: 403, RequestID: "rid"}
	}
	return ctx.Err()
}

func (t things) create(ctx context.Context, q *request) error {
	if err := t.step(ctx, q, "create", q.Name); err != nil {
		return err
	}
	t.w.mu.Lock()
	_, taken := t.w.things[q.Name]
	if !taken {
		t.w.things[q.Name] = string(q.Properties.Canonical())
	}
	t.w.mu.Unlock()
	if taken && !q.Resumed {
		return aws.Errorf("ThingAlreadyExistsException", "taken")
	}
	q.Attributes["Arn"], q.Attributes["Secret"] = "arn:thing:"+q.Name, "s3cret"
	if err := q.exists(ctx, q.Name); err != nil {
		return err
	}
	return t.later(q, "create")
}

// later is a failure after the thing is there.
func (t things) later(q *request, verb string) error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.w.fail[verb+" "+q.LogicalID+" later"] != "" {
		return problemf("%s %s failed half-way", verb, q.LogicalID)
	}
	return nil
}

func (t things) update(ctx context.Context, q *request) error {
	if err := t.step(ctx, q, "update", q.Physical); err != nil {
		return err
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.things[q.Physical] = string(q.Properties.Canonical())
	return nil
}

func (t things) remove(ctx context.Context, q *request) error {
	if err := t.step(ctx, q, "delete", q.Physical); err != nil {
		return err
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	delete(t.w.things, q.Physical)
	return nil
}

func (w *world) client(who string) api.Client { return api.Client{Invoker: w.As(who)} }

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantError(t testing.TB, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*aws.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("error = %v\nwant %s: %s", err, code, text)
	}
}

func (w *world) create(name, template string, more ...func(*api.CreateStackInput)) string {
	w.T.Helper()
	in := &api.CreateStackInput{StackName: name, TemplateBody: template, Capabilities: []string{"CAPABILITY_NAMED_IAM"}}
	for _, f := range more {
		f(in)
	}
	return must[*api.CreateStackOutput](w.T)(w.client(root).CreateStack(w.T.Context(), in)).StackId
}

func (w *world) update(name, template string, more ...func(*api.UpdateStackInput)) {
	w.T.Helper()
	in := &api.UpdateStackInput{StackName: name, TemplateBody: template}
	for _, f := range more {
		f(in)
	}
	must[*api.UpdateStackOutput](w.T)(w.client(root).UpdateStack(w.T.Context(), in))
}

func (w *world) delete(name string) {
	w.T.Helper()
	must[*api.DeleteStackOutput](w.T)(w.client(root).DeleteStack(w.T.Context(), &api.DeleteStackInput{StackName: name}))
}

func (w *world) describe(name string) api.Stack {
	w.T.Helper()
	out := must[*api.DescribeStacksOutput](w.T)(w.client(root).DescribeStacks(w.T.Context(), &api.DescribeStacksInput{StackName: name}))
	return out.Stacks[0]
}

func (w *world) want(name, status string) {
	w.T.Helper()
	if st := w.describe(name); st.StackStatus != status {
		w.T.Fatalf("stack %s is %s (%s), want %s\n%s", name, st.StackStatus, st.StackStatusReason, status, strings.Join(w.events(st.StackId), "\n"))
	}
}

// events returns a stack's events, oldest first: logical id, status, reason.
func (w *world) events(name string) []string {
	w.T.Helper()
	out := must[*api.DescribeStackEventsOutput](w.T)(w.client(root).DescribeStackEvents(w.T.Context(), &api.DescribeStackEventsInput{StackName: name}))
	var lines []string
	for _, e := range slices.Backward(out.StackEvents) {
		lines = append(lines, strings.TrimSpace(e.LogicalResourceId+" "+e.ResourceStatus+" "+e.ResourceStatusReason))
	}
	return lines
}

func (w *world) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for n := range w.things {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func each(t *testing.T, test func(w *world)) {
	servicetest.Each(t, func(e *servicetest.Env) { test(newWorld(e)) }, Schema())
}

func wantLines(t testing.TB, got, want []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

const two = `
Parameters: {Size: {Type: Number, Default: 1}, Word: {Type: String, NoEcho: true, Default: hush}}
Resources:
  A: {Type: Test::Thing, Properties: {Name: a, Size: !Ref Size}}
  B: {Type: Test::Thing, Properties: {Name: b, Of: !GetAtt A.Arn, Word: !Ref Word}}
Outputs:
  Arn: {Value: !GetAtt B.Arn, Description: the arn, Export: {Name: !Sub "${AWS::StackName}-arn"}}
`

func TestCreateStack(t *testing.T) {
	each(t, func(w *world) {
		id := w.create("one", two, func(in *api.CreateStackInput) {
			in.Tags = []api.Tag{{Key: "team", Value: "x"}}
			in.ClientRequestToken = "token-1"
		})
		wantLines(t, w.events("one"), []string{
			"one CREATE_IN_PROGRESS User Initiated",
			"A CREATE_IN_PROGRESS", "A CREATE_IN_PROGRESS Resource creation Initiated", "A CREATE_COMPLETE",
			"B CREATE_IN_PROGRESS", "B CREATE_IN_PROGRESS Resource creation Initiated", "B CREATE_COMPLETE",
			"one CREATE_COMPLETE",
		})
		st := w.describe("one")
		want := api.Output{OutputKey: "Arn", OutputValue: "arn:thing:b", Description: "the arn", ExportName: "one-arn"}
		if st.StackId != id || len(st.Outputs) != 1 || st.Outputs[0] != want {
			t.Errorf("outputs = %+v", st.Outputs)
		}
		if d := cmp.Diff([]api.Parameter{{ParameterKey: "Size", ParameterValue: "1"}, {ParameterKey: "Word", ParameterValue: "****"}}, st.Parameters); d != "" {
			t.Error(d)
		}
		if got := w.things["a"]; got != `{"Name":"a","Size":"1","Tags":[{"Key":"team","Value":"x"}]}` {
			t.Errorf("thing = %s", got)
		}
		events := must[*api.DescribeStackEventsOutput](t)(w.client(root).DescribeStackEvents(t.Context(), &api.DescribeStackEventsInput{StackName: id}))
		for _, e := range events.StackEvents {
			if strings.Contains(e.ResourceProperties, "hush") {
				t.Errorf("an event tells the secret: %s", e.ResourceProperties)
			}
			if e.ClientRequestToken != "token-1" && e.ResourceStatus != "x" {
				t.Errorf("token of %s = %q", e.EventId, e.ClientRequestToken)
			}
		}
		if again := w.create("one", two, func(in *api.CreateStackInput) {
			in.Tags, in.ClientRequestToken = []api.Tag{{Key: "team", Value: "x"}}, "token-1"
		}); again != id {
			t.Errorf("the same token made %s", again)
		}
		c := w.client(root)
		_, err := c.CreateStack(t.Context(), &api.CreateStackInput{StackName: "one", TemplateBody: two, ClientRequestToken: "token-1"})
		wantError(t, err, "TokenAlreadyExistsException", "token-1")
		_, err = c.CreateStack(t.Context(), &api.CreateStackInput{StackName: "one", TemplateBody: two})
		wantError(t, err, "AlreadyExistsException", "Stack [one] already exists")

		w.delete("one")
		wantLines(t, w.names(), nil)
		_, err = c.DescribeStacks(t.Context(), &api.DescribeStacksInput{StackName: "one"})
		wantError(t, err, "ValidationError", "Stack with id one does not exist")
		w.want(id, "DELETE_COMPLETE")
		wantLines(t, w.events(id)[8:], []string{
			"one DELETE_IN_PROGRESS User Initiated", "B DELETE_IN_PROGRESS", "B DELETE_COMPLETE",
			"A DELETE_IN_PROGRESS", "A DELETE_COMPLETE", "one DELETE_COMPLETE",
		})
		w.delete("one") // of what is not there: no error
		w.create("one", two)
	})
}

func TestCreateStackFails(t *testing.T) {
	for _, tt := range []struct {
		name       string
		fail       map[string]string
		onFailure  string
		status     string
		things     []string
		lastEvents []string
	}{
		{"rolls back", map[string]string{"create B": "AccessDenied"}, "", "ROLLBACK_COMPLETE", nil, []string{
			`B CREATE_FAILED Resource handler returned message: "no create (Service: Test, Status Code: 403, Request ID: rid)" (RequestToken: <token>, HandlerErrorCode: AccessDenied)`,
			"one ROLLBACK_IN_PROGRESS The following resource(s) failed to create: [B]. Rollback requested by user.",
			"B DELETE_COMPLETE", "A DELETE_IN_PROGRESS", "A DELETE_COMPLETE", "one ROLLBACK_COMPLETE",
		}},
		{"half-made things go too", map[string]string{"create B later": "x"}, "", "ROLLBACK_COMPLETE", nil, []string{
			"B CREATE_FAILED create B failed half-way",
			"one ROLLBACK_IN_PROGRESS The following resource(s) failed to create: [B]. Rollback requested by user.",
			"B DELETE_IN_PROGRESS", "B DELETE_COMPLETE", "A DELETE_IN_PROGRESS", "A DELETE_COMPLETE", "one ROLLBACK_COMPLETE",
		}},
		{"does nothing", map[string]string{"create B": "problem"}, "DO_NOTHING", "CREATE_FAILED", []string{"a"}, []string{
			"B CREATE_FAILED create B did not work", "one CREATE_FAILED The following resource(s) failed to create: [B].",
		}},
		{"deletes", map[string]string{"create B": "problem"}, "DELETE", "DELETE_COMPLETE", nil, []string{
			"B DELETE_COMPLETE", "A DELETE_IN_PROGRESS", "A DELETE_COMPLETE", "one DELETE_COMPLETE",
		}},
		{"fails to roll back", map[string]string{"create B": "problem", "delete A": "problem"}, "", "ROLLBACK_FAILED", []string{"a"}, []string{
			"A DELETE_FAILED delete A did not work", "one ROLLBACK_FAILED The following resource(s) failed to delete: [A].",
		}},
		{"a name that is taken stays", map[string]string{"taken": "b"}, "", "ROLLBACK_COMPLETE", []string{"b"}, []string{
			"B CREATE_FAILED b already exists",
			"one ROLLBACK_IN_PROGRESS The following resource(s) failed to create: [B]. Rollback requested by user.",
			"B DELETE_COMPLETE", "A DELETE_IN_PROGRESS", "A DELETE_COMPLETE", "one ROLLBACK_COMPLETE",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				w.fail = maps.Clone(tt.fail)
				if n := tt.fail["taken"]; n != "" {
					w.things[n] = "{}"
				}
				id := w.create("one", two, func(in *api.CreateStackInput) { in.OnFailure = tt.onFailure })
				w.want(id, tt.status)
				wantLines(t, w.names(), tt.things)
				events := w.events(id)
				for i, e := range events {
					if from := strings.Index(e, "RequestToken: "); from >= 0 {
						events[i] = e[:from+14] + "<token>" + e[from+14+36:]
					}
				}
				wantLines(t, events[len(events)-len(tt.lastEvents):], tt.lastEvents)
				_, err := w.client(root).UpdateStack(t.Context(), &api.UpdateStackInput{StackName: id, TemplateBody: two})
				if tt.status == "ROLLBACK_COMPLETE" {
					wantError(t, err, "ValidationError", "is in ROLLBACK_COMPLETE state and can not be updated.")
				}
				w.fail = map[string]string{}
				w.delete(id)
				w.want(id, "DELETE_COMPLETE")
			})
		})
	}
}

func replaceIn(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }

func TestUpdateStack(t *testing.T) {
	for _, tt := range []struct {
		name, template string
		fail           map[string]string
		status         string
		things         []string
		events         []string
	}{
		{"in place", replaceIn(two, "Default: 1", "Default: 2"), nil, "UPDATE_COMPLETE", []string{"a", "b"}, []string{
			"one UPDATE_IN_PROGRESS User Initiated", "A UPDATE_IN_PROGRESS", "A UPDATE_COMPLETE",
			"one UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "one UPDATE_COMPLETE",
		}},
		{"replacement moves those that refer to it", replaceIn(two, "Name: a,", "Name: c,"), nil, "UPDATE_COMPLETE", []string{"b", "c"}, []string{
			"one UPDATE_IN_PROGRESS User Initiated",
			"A UPDATE_IN_PROGRESS Requested update requires the creation of a new physical resource; hence creating one.",
			"A UPDATE_IN_PROGRESS Resource creation Initiated", "A UPDATE_COMPLETE", "B UPDATE_IN_PROGRESS", "B UPDATE_COMPLETE",
			"one UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "A DELETE_IN_PROGRESS", "A DELETE_COMPLETE", "one UPDATE_COMPLETE",
		}},
		{"added and removed", replaceIn(two, "  B:", "  C:", "B.Arn", "C.Arn", "Name: b", "Name: c"), nil, "UPDATE_COMPLETE", []string{"a", "c"}, []string{
			"one UPDATE_IN_PROGRESS User Initiated", "C CREATE_IN_PROGRESS", "C CREATE_IN_PROGRESS Resource creation Initiated", "C CREATE_COMPLETE",
			"one UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "B DELETE_IN_PROGRESS", "B DELETE_COMPLETE", "one UPDATE_COMPLETE",
		}},
		{"only an output", replaceIn(two, "the arn", "an arn"), nil, "UPDATE_COMPLETE", []string{"a", "b"}, []string{
			"one UPDATE_IN_PROGRESS User Initiated", "one UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "one UPDATE_COMPLETE",
		}},
		{"what cannot be deleted stays behind", replaceIn(two, "Name: a,", "Name: c,"), map[string]string{"delete A": "problem"}, "UPDATE_COMPLETE", []string{"a", "b", "c"}, []string{
			"one UPDATE_IN_PROGRESS User Initiated",
			"A UPDATE_IN_PROGRESS Requested update requires the creation of a new physical resource; hence creating one.",
			"A UPDATE_IN_PROGRESS Resource creation Initiated", "A UPDATE_COMPLETE", "B UPDATE_IN_PROGRESS", "B UPDATE_COMPLETE",
			"one UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "A DELETE_IN_PROGRESS", "A DELETE_FAILED delete A did not work", "one UPDATE_COMPLETE",
		}},
		{"rolls back", replaceIn(two, "Default: 1", "Default: 2", "Name: b", "Name: c"), map[string]string{"create B": "problem"}, "UPDATE_ROLLBACK_COMPLETE", []string{"a", "b"}, []string{
			"one UPDATE_IN_PROGRESS User Initiated", "A UPDATE_IN_PROGRESS", "A UPDATE_COMPLETE",
			"B UPDATE_IN_PROGRESS Requested update requires the creation of a new physical resource; hence creating one.",
			"B UPDATE_FAILED create B did not work",
			"one UPDATE_ROLLBACK_IN_PROGRESS The following resource(s) failed to update: [B].",
			"A UPDATE_IN_PROGRESS", "A UPDATE_COMPLETE", "B UPDATE_COMPLETE",
			"one UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "one UPDATE_ROLLBACK_COMPLETE",
		}},
		{"rolls a replacement back", replaceIn(two, "Name: a,", "Name: c,"), map[string]string{"update B": "once"}, "UPDATE_ROLLBACK_COMPLETE", []string{"a", "b"}, nil},
		{"custom name stays", replaceIn(two, "Name: a,", "Name: a, Fixed: 1,"), nil, "UPDATE_ROLLBACK_COMPLETE", []string{"a", "b"}, []string{
			"one UPDATE_IN_PROGRESS User Initiated",
			"A UPDATE_FAILED CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename a and update the stack again.",
			"one UPDATE_ROLLBACK_IN_PROGRESS The following resource(s) failed to update: [A].",
			"one UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "one UPDATE_ROLLBACK_COMPLETE",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				w.create("one", two)
				before := len(w.events("one"))
				a := w.things["a"]
				w.fail = maps.Clone(tt.fail)
				w.update("one", tt.template)
				w.want("one", tt.status)
				wantLines(t, w.names(), tt.things)
				if tt.events != nil {
					wantLines(t, w.events("one")[before:], tt.events)
				}
				if strings.Contains(tt.status, "ROLLBACK") && w.things["a"] != a {
					t.Errorf("a is %s, was %s", w.things["a"], a)
				}
				w.fail = nil
				w.delete("one")
				if tt.name != "what cannot be deleted stays behind" {
					wantLines(t, w.names(), nil)
				}
			})
		})
	}
}

func TestUpdateStackRefuses(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		c := w.client(root)
		_, err := c.UpdateStack(t.Context(), &api.UpdateStackInput{StackName: "one", TemplateBody: two})
		wantError(t, err, "ValidationError", "No updates are to be performed.")
		_, err = c.UpdateStack(t.Context(), &api.UpdateStackInput{StackName: "one", UsePreviousTemplate: new(true),
			Parameters: []api.Parameter{{ParameterKey: "Size", UsePreviousValue: new(true)}}})
		wantError(t, err, "ValidationError", "No updates are to be performed.")
		_, err = c.UpdateStack(t.Context(), &api.UpdateStackInput{StackName: "none", TemplateBody: two})
		wantError(t, err, "ValidationError", "Stack with id none does not exist")
		_, err = c.UpdateStack(t.Context(), &api.UpdateStackInput{StackName: "one", TemplateBody: "Resources: {A: {Type: AWS::CDK::Metadata}}"})
		wantError(t, err, "ValidationError", "Update of resource type is not permitted.")
		w.update("one", "", func(in *api.UpdateStackInput) {
			in.UsePreviousTemplate = new(true)
			in.Parameters = []api.Parameter{{ParameterKey: "Size", ParameterValue: "7"}}
		})
		w.want("one", "UPDATE_COMPLETE")
	})
}

func TestUpdateRollbackFails(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		// The first update of A works, B's fails, and turning A back does too.
		w.fail = map[string]string{"update B": "problem"}
		w.before = func(step string) {
			if step == "update B" {
				w.mu.Lock()
				w.fail["update A"] = "problem"
				w.mu.Unlock()
			}
		}
		w.update("one", replaceIn(two, "Default: 1", "Default: 2", "Word: !Ref Word", "Word: other, Of: x", "Of: !GetAtt A.Arn, ", ""))
		w.want("one", "UPDATE_ROLLBACK_FAILED")
		_, err := w.client(root).UpdateStack(t.Context(), &api.UpdateStackInput{StackName: "one", TemplateBody: two})
		wantError(t, err, "ValidationError", "is in UPDATE_ROLLBACK_FAILED state and can not be updated.")
		w.before = nil
		if _, err := w.client(root).ContinueUpdateRollback(t.Context(), &api.ContinueUpdateRollbackInput{StackName: "one"}); err != nil {
			t.Fatal(err)
		}
		w.want("one", "UPDATE_ROLLBACK_FAILED")
		w.fail = map[string]string{}
		if _, err := w.client(root).ContinueUpdateRollback(t.Context(), &api.ContinueUpdateRollbackInput{StackName: "one"}); err != nil {
			t.Fatal(err)
		}
		w.want("one", "UPDATE_ROLLBACK_COMPLETE")
		if !strings.Contains(w.things["a"], `"Size":"1"`) {
			t.Errorf("a = %s", w.things["a"])
		}
	})
}

// An operation that our own trouble stops for good ends in a state from which
// the stack can be deleted.
func TestAbandonedOperation(t *testing.T) {
	each(t, func(w *world) {
		id := w.create("one", two)
		for status, want := range abandoned {
			st := must[*stack](t)(w.s.stackByID(t.Context(), id))
			st.Status, st.Op = status, &operation{ID: aws.NewUUID(), Kind: "update", Phase: "nonsense"}
			err := w.DB.Update(t.Context(), func(tx *state.Tx) error {
				if err := w.s.saveStack(t.Context(), tx, st); err != nil {
					return err
				}
				return job.Enqueue(t.Context(), tx, job.New{Kind: jobKind, Key: id, Payload: payload{id, st.Op.ID}, MaxAttempts: 1})
			})
			if err != nil {
				t.Fatal(err)
			}
			if st = must[*stack](t)(w.s.await(t.Context(), id)); st.Status != want || st.Reason != "Internal Failure" {
				t.Errorf("%s became %s (%s), want %s", status, st.Status, st.Reason, want)
			}
		}
		st := must[*stack](t)(w.s.stackByID(t.Context(), id))
		st.Status = "CREATE_FAILED"
		if err := w.DB.Update(t.Context(), func(tx *state.Tx) error { return w.s.saveStack(t.Context(), tx, st) }); err != nil {
			t.Fatal(err)
		}
		w.delete("one")
		w.want(id, "DELETE_COMPLETE")
		wantLines(t, w.names(), nil)
	})
}

func TestSkippedRollback(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		w.fail = map[string]string{"update B": "problem"}
		w.update("one", replaceIn(two, "Word: !Ref Word", "Word: other"))
		w.want("one", "UPDATE_ROLLBACK_FAILED") // B cannot be turned back either
		if _, err := w.client(root).ContinueUpdateRollback(t.Context(), &api.ContinueUpdateRollbackInput{StackName: "one", ResourcesToSkip: []string{"B"}}); err != nil {
			t.Fatal(err)
		}
		w.want("one", "UPDATE_ROLLBACK_COMPLETE")
	})
}

func TestDisableRollback(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		w.fail = map[string]string{"update B": "problem"}
		changed := replaceIn(two, "Default: 1", "Default: 2", "Word: !Ref Word", "Word: other")
		w.update("one", changed, func(in *api.UpdateStackInput) { in.DisableRollback = new(true) })
		w.want("one", "UPDATE_FAILED")
		if !strings.Contains(w.things["a"], `"Size":"2"`) {
			t.Errorf("a = %s", w.things["a"])
		}
		w.fail = nil
		if _, err := w.client(root).RollbackStack(t.Context(), &api.RollbackStackInput{StackName: "one"}); err != nil {
			t.Fatal(err)
		}
		w.want("one", "UPDATE_ROLLBACK_COMPLETE")
		if !strings.Contains(w.things["a"], `"Size":"1"`) {
			t.Errorf("a = %s", w.things["a"])
		}
		w.fail = map[string]string{"update B": "problem"}
		w.update("one", changed, func(in *api.UpdateStackInput) { in.DisableRollback = new(true) })
		w.fail = nil
		w.update("one", changed) // tried again
		w.want("one", "UPDATE_COMPLETE")
	})
}

func TestCancelUpdateStack(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		w.s.hold = 50 * time.Millisecond
		reached, proceed := make(chan bool), make(chan bool)
		w.before = func(step string) {
			if step == "update A" {
				w.before = nil
				close(reached)
				<-proceed
			}
		}
		w.update("one", replaceIn(two, "Default: 1", "Default: 2", "Word: !Ref Word", "Word: other"))
		<-reached
		c := w.client(root)
		_, err := c.UpdateStack(t.Context(), &api.UpdateStackInput{StackName: "one", TemplateBody: replaceIn(two, "Default: 1", "Default: 3")})
		wantError(t, err, "ValidationError", "is in UPDATE_IN_PROGRESS state and can not be updated.")
		_, err = c.DeleteStack(t.Context(), &api.DeleteStackInput{StackName: "one"})
		wantError(t, err, "ValidationError", "cannot be deleted while in status UPDATE_IN_PROGRESS")
		if _, err := c.CancelUpdateStack(t.Context(), &api.CancelUpdateStackInput{StackName: "one"}); err != nil {
			t.Fatal(err)
		}
		close(proceed)
		id := w.describe("one").StackId
		if st, err := w.s.await(t.Context(), id); err != nil || st.Status != "UPDATE_ROLLBACK_COMPLETE" {
			t.Fatalf("%v %v", st.Status, err)
		}
		if !strings.Contains(w.things["a"], `"Size":"1"`) {
			t.Errorf("a = %s", w.things["a"])
		}
		_, err = c.CancelUpdateStack(t.Context(), &api.CancelUpdateStackInput{StackName: "one"})
		wantError(t, err, "ValidationError", "CancelUpdateStack cannot be called from current stack status")
	})
}

func TestDeletionPolicies(t *testing.T) {
	each(t, func(w *world) {
		template := `
Resources:
  Keep: {Type: Test::Thing, DeletionPolicy: Retain, UpdateReplacePolicy: Retain, Properties: {Name: keep}}
  Mostly: {Type: Test::Thing, DeletionPolicy: RetainExceptOnCreate, Properties: {Name: mostly}}
  Bad: {Type: Test::Thing, DependsOn: [Keep, Mostly]}
`
		w.fail = map[string]string{"create Bad": "problem"}
		id := w.create("one", template)
		wantLines(t, w.names(), []string{"keep"})
		w.delete(id)
		w.fail = nil
		delete(w.things, "keep")
		id = w.create("one", template)
		w.update("one", replaceIn(template, "Name: keep", "Name: kept"))
		w.delete("one")
		w.want(id, "DELETE_COMPLETE")
		wantLines(t, w.names(), []string{"keep", "kept", "mostly"})
		if events := w.events(id); !slices.Contains(events, "Keep DELETE_SKIPPED") || !slices.Contains(events, "Mostly DELETE_SKIPPED") {
			t.Error(events)
		}
	})
}

func TestDeleteFails(t *testing.T) {
	each(t, func(w *world) {
		id := w.create("one", two)
		w.fail = map[string]string{"delete B": "problem"}
		c := w.client(root)
		_, err := c.DeleteStack(t.Context(), &api.DeleteStackInput{StackName: "one", RetainResources: []string{"B"}})
		wantError(t, err, "ValidationError", "only when the stack is in the DELETE_FAILED state")
		w.delete("one")
		w.want("one", "DELETE_FAILED")
		if reason := w.describe("one").StackStatusReason; reason != "The following resource(s) failed to delete: [B]. " {
			t.Error(reason)
		}
		if _, err := c.DeleteStack(t.Context(), &api.DeleteStackInput{StackName: "one", RetainResources: []string{"B"}}); err != nil {
			t.Fatal(err)
		}
		w.want(id, "DELETE_COMPLETE")
		wantLines(t, w.names(), []string{"b"})
	})
}

func TestTerminationProtection(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two, func(in *api.CreateStackInput) { in.EnableTerminationProtection = new(true) })
		c := w.client(root)
		_, err := c.DeleteStack(t.Context(), &api.DeleteStackInput{StackName: "one"})
		wantError(t, err, "ValidationError", "Stack [one] cannot be deleted while TerminationProtection is enabled")
		if _, err := c.UpdateTerminationProtection(t.Context(), &api.UpdateTerminationProtectionInput{StackName: "one", EnableTerminationProtection: new(false)}); err != nil {
			t.Fatal(err)
		}
		w.delete("one")
	})
}

func TestExports(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		importing := `Resources: {C: {Type: Test::Thing, Properties: {V: !ImportValue one-arn}}}`
		id := w.create("two", importing)
		c := w.client(root)
		out := must[*api.ListExportsOutput](t)(c.ListExports(t.Context(), &api.ListExportsInput{}))
		if len(out.Exports) != 1 || out.Exports[0].Name != "one-arn" || out.Exports[0].Value != "arn:thing:b" {
			t.Errorf("%+v", out.Exports)
		}
		imports := must[*api.ListImportsOutput](t)(c.ListImports(t.Context(), &api.ListImportsInput{ExportName: "one-arn"}))
		wantLines(t, imports.Imports, []string{"two"})
		w.delete("one")
		w.want("one", "DELETE_FAILED")
		if r := w.describe("one").StackStatusReason; r != "Export one-arn cannot be deleted as it is in use by two" {
			t.Error(r)
		}
		wantLines(t, w.names()[:2], []string{"a", "b"})
		w.delete("two")
		w.want(id, "DELETE_COMPLETE")
		w.delete("one")
		wantLines(t, w.names(), nil)

		w.create("one", two)
		w.create("two", importing)
		w.update("one", replaceIn(two, "Name: b", "Name: bb"))
		w.want("one", "UPDATE_ROLLBACK_COMPLETE")
		if events := strings.Join(w.events("one"), "\n"); !strings.Contains(events, "Export one-arn cannot be updated as it is in use by two") {
			t.Error(events)
		}
		id = w.create("three", replaceIn(two, `!Sub "${AWS::StackName}-arn"`, "one-arn", "Name: a", "Name: a3", "Name: b", "Name: b3"))
		w.want(id, "ROLLBACK_COMPLETE")
		if events := strings.Join(w.events("three"), "\n"); !strings.Contains(events, "Export with name one-arn is already exported by stack one. Rollback requested by user.") {
			t.Error(events)
		}
		id = w.create("four", `Resources: {C: {Type: Test::Thing, Properties: {V: !ImportValue nowhere}}}`)
		w.want(id, "ROLLBACK_COMPLETE")
		if events := strings.Join(w.events("four"), "\n"); !strings.Contains(events, "No export named nowhere found. Rollback requested by user.") {
			t.Error(events)
		}
		_, err := c.ListImports(t.Context(), &api.ListImportsInput{ExportName: "nowhere"})
		wantError(t, err, "ValidationError", "Export 'nowhere' is not imported by any stack.")
	})
}

func TestRole(t *testing.T) {
	each(t, func(w *world) {
		role := "arn:aws:iam::" + account + ":role/deployer"
		w.create("one", two, func(in *api.CreateStackInput) { in.RoleARN = role })
		w.want("one", "CREATE_COMPLETE")
		w.update("one", replaceIn(two, "Default: 1", "Default: 2"))
		want := "arn:aws:sts::" + account + ":assumed-role/deployer/AWSCloudFormation"
		for _, who := range w.who {
			if who != want {
				t.Errorf("made by %s, want %s", who, want)
			}
		}
		if got := w.describe("one").RoleARN; got != role {
			t.Errorf("RoleARN = %s", got)
		}
		_, err := w.client(root).CreateStack(t.Context(), &api.CreateStackInput{StackName: "two", TemplateBody: two, RoleARN: role + "/untrusting"})
		wantError(t, err, "ValidationError", "is invalid or cannot be assumed")
		w.who = nil
		w.create("three", replaceIn(two, "Name: a", "Name: a3", "Name: b", "Name: b3"))
		if w.who[0] != "arn:aws:iam::"+account+":root" {
			t.Errorf("made by %s", w.who[0])
		}
	})
}

func TestPermissions(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		role := "arn:aws:iam::" + account + ":role/deployer"
		c := w.client(alice)
		ctx := t.Context()
		calls := map[string]func() error{
			"CreateStack": func() error {
				_, err := c.CreateStack(ctx, &api.CreateStackInput{StackName: "x", TemplateBody: "x"})
				return err
			},
			"UpdateStack": func() error {
				_, err := c.UpdateStack(ctx, &api.UpdateStackInput{StackName: "one", TemplateBody: "x"})
				return err
			},
			"DeleteStack": func() error { _, err := c.DeleteStack(ctx, &api.DeleteStackInput{StackName: "none"}); return err },
			"CancelUpdateStack": func() error {
				_, err := c.CancelUpdateStack(ctx, &api.CancelUpdateStackInput{StackName: "one"})
				return err
			},
			"ContinueUpdateRollback": func() error {
				_, err := c.ContinueUpdateRollback(ctx, &api.ContinueUpdateRollbackInput{StackName: "one"})
				return err
			},
			"RollbackStack": func() error { _, err := c.RollbackStack(ctx, &api.RollbackStackInput{StackName: "one"}); return err },
			"UpdateTerminationProtection": func() error {
				_, err := c.UpdateTerminationProtection(ctx, &api.UpdateTerminationProtectionInput{StackName: "one", EnableTerminationProtection: new(false)})
				return err
			},
			"DescribeStacks": func() error { _, err := c.DescribeStacks(ctx, &api.DescribeStacksInput{StackName: "one"}); return err },
			"ListStacks":     func() error { _, err := c.ListStacks(ctx, &api.ListStacksInput{}); return err },
			"DescribeStackEvents": func() error {
				_, err := c.DescribeStackEvents(ctx, &api.DescribeStackEventsInput{StackName: "one"})
				return err
			},
			"DescribeStackResource": func() error {
				_, err := c.DescribeStackResource(ctx, &api.DescribeStackResourceInput{StackName: "one", LogicalResourceId: "A"})
				return err
			},
			"DescribeStackResources": func() error {
				_, err := c.DescribeStackResources(ctx, &api.DescribeStackResourcesInput{PhysicalResourceId: "a"})
				return err
			},
			"ListStackResources": func() error {
				_, err := c.ListStackResources(ctx, &api.ListStackResourcesInput{StackName: "one"})
				return err
			},
			"ListExports": func() error { _, err := c.ListExports(ctx, &api.ListExportsInput{}); return err },
			"ListImports": func() error { _, err := c.ListImports(ctx, &api.ListImportsInput{ExportName: "x"}); return err },
			"GetTemplate": func() error { _, err := c.GetTemplate(ctx, &api.GetTemplateInput{StackName: "one"}); return err },
			"GetTemplateSummary": func() error {
				_, err := c.GetTemplateSummary(ctx, &api.GetTemplateSummaryInput{StackName: "one"})
				return err
			},
			"ValidateTemplate": func() error {
				_, err := c.ValidateTemplate(ctx, &api.ValidateTemplateInput{TemplateBody: two})
				return err
			},
			"CreateChangeSet": func() error {
				_, err := c.CreateChangeSet(ctx, &api.CreateChangeSetInput{StackName: "one", ChangeSetName: "c", TemplateBody: "x"})
				return err
			},
			"DescribeChangeSet": func() error {
				_, err := c.DescribeChangeSet(ctx, &api.DescribeChangeSetInput{StackName: "one", ChangeSetName: "c"})
				return err
			},
			"ListChangeSets": func() error { _, err := c.ListChangeSets(ctx, &api.ListChangeSetsInput{StackName: "one"}); return err },
			"DeleteChangeSet": func() error {
				_, err := c.DeleteChangeSet(ctx, &api.DeleteChangeSetInput{StackName: "one", ChangeSetName: "c"})
				return err
			},
			"ExecuteChangeSet": func() error {
				_, err := c.ExecuteChangeSet(ctx, &api.ExecuteChangeSetInput{ChangeSetName: "arn:aws:cloudformation:us-east-1:" + account + ":changeSet/c/x"})
				return err
			},
		}
		for _, op := range w.s.Operations() {
			if calls[op.Name] == nil {
				t.Errorf("no test of %s without permission", op.Name)
			}
		}
		for name, do := range calls {
			w.Forget(alice)
			err := do()
			wantError(t, err, "AccessDenied", "is not authorized to perform: cloudformation:"+name)
			w.Grant(alice, fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:%s","Resource":"*"}]}`, name))
			if err := do(); errorCode(err) == "AccessDenied" {
				t.Errorf("%s is refused to who may: %v", name, err)
			}
		}
		w.Forget(alice)
		w.Grant(alice, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:DescribeStacks","Resource":"*"}]}`)
		_, err := c.DescribeStacks(ctx, &api.DescribeStacksInput{})
		wantError(t, err, "AccessDenied", "cloudformation:ListStacks on resource: arn:aws:cloudformation:us-east-1:"+account+":stack/*/*")
		w.Forget(alice)
		// The policy by which AWS keeps callers from describing all stacks.
		w.Grant(alice, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"},
			{"Effect":"Deny","Action":"cloudformation:DescribeStacks","NotResource":"arn:aws:cloudformation:*:*:stack/*/*"}]}`)
		_, err = c.DescribeStacks(ctx, &api.DescribeStacksInput{})
		wantError(t, err, "AccessDenied", "cloudformation:DescribeStacks")
		if _, err := c.DescribeStacks(ctx, &api.DescribeStacksInput{StackName: "one"}); err != nil {
			t.Error(err)
		}
		w.Forget(alice)
		w.Grant(alice, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"}]}`)
		if _, err := c.DescribeStacks(ctx, &api.DescribeStacksInput{}); err != nil {
			t.Error(err)
		}
		for name, do := range map[string]func() error{
			"create": func() error {
				_, err := c.CreateStack(ctx, &api.CreateStackInput{StackName: "x", TemplateBody: two, RoleARN: role})
				return err
			},
			"update": func() error {
				_, err := c.UpdateStack(ctx, &api.UpdateStackInput{StackName: "one", TemplateBody: two, RoleARN: role})
				return err
			},
			"delete": func() error {
				_, err := c.DeleteStack(ctx, &api.DeleteStackInput{StackName: "one", RoleARN: role})
				return err
			},
			"continue": func() error {
				_, err := c.ContinueUpdateRollback(ctx, &api.ContinueUpdateRollbackInput{StackName: "one", RoleARN: role})
				return err
			},
			"roll back": func() error {
				_, err := c.RollbackStack(ctx, &api.RollbackStackInput{StackName: "one", RoleARN: role})
				return err
			},
			"change set": func() error {
				_, err := c.CreateChangeSet(ctx, &api.CreateChangeSetInput{StackName: "one", ChangeSetName: "c", TemplateBody: two, RoleARN: role})
				return err
			},
		} {
			t.Run(name, func(t *testing.T) { wantError(t, do(), "AccessDenied", "iam:PassRole") })
		}
	})
}

func TestConditionKeys(t *testing.T) {
	each(t, func(w *world) {
		w.Grant(alice, `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"cloudformation:CreateChangeSet","Resource":"arn:aws:cloudformation:us-east-1:111111111111:stack/mine/*",
			 "Condition":{"StringLike":{"cloudformation:ChangeSetName":"ok-*"}}}]}`)
		c := w.client(alice)
		create := func(stack, name string) error {
			_, err := c.CreateChangeSet(t.Context(), &api.CreateChangeSetInput{StackName: stack, ChangeSetName: name, ChangeSetType: "CREATE", TemplateBody: two})
			return err
		}
		if err := create("mine", "ok-1"); err != nil {
			t.Error(err)
		}
		wantError(t, create("mine", "no"), "AccessDenied", "cloudformation:CreateChangeSet")
		wantError(t, create("yours", "ok-1"), "AccessDenied", "stack/yours/*")
	})
}

func TestTemplateURL(t *testing.T) {
	each(t, func(w *world) {
		w.url["templates/dir/t.yaml"] = two
		c := w.client(root)
		for i, u := range []string{
			"https://templates.s3.amazonaws.com/dir/t.yaml",
			"https://templates.s3.eu-central-1.amazonaws.com/dir/t.yaml",
			"https://s3.amazonaws.com/templates/dir/t.yaml",
			"https://s3.eu-central-1.amazonaws.com/templates/dir/t.yaml",
			"http://127.0.0.1:4566/templates/dir/t.yaml",
			"https://templates.localhost:4566/dir/t.yaml",
			"https://templates.s3.sekisho.internal/dir/t.yaml",
		} {
			if _, err := c.ValidateTemplate(t.Context(), &api.ValidateTemplateInput{TemplateURL: u}); err != nil {
				t.Errorf("%d %s: %v", i, u, err)
			}
		}
		_, err := c.ValidateTemplate(t.Context(), &api.ValidateTemplateInput{TemplateURL: "https://templates.s3.amazonaws.com/none"})
		wantError(t, err, "ValidationError", "S3 error: The specified key does not exist.")
		_, err = c.ValidateTemplate(t.Context(), &api.ValidateTemplateInput{TemplateURL: "ftp://x/y/z"})
		wantError(t, err, "ValidationError", "TemplateURL must be a supported URL.")
		w.Grant(alice, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"}]}`)
		_, err = w.client(alice).ValidateTemplate(t.Context(), &api.ValidateTemplateInput{TemplateURL: "https://templates.s3.amazonaws.com/dir/t.yaml"})
		wantError(t, err, "ValidationError", "S3 error: Access Denied")
	})
}

func TestRefusedStacks(t *testing.T) {
	each(t, func(w *world) {
		iam := "Resources: {R: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {}%s}}}"
		for _, tt := range []struct {
			name, code, text string
			in               api.CreateStackInput
		}{
			{"no template", "ValidationError", "Either Template URL or Template Body must be specified.", api.CreateStackInput{}},
			{"a name that is none", "ValidationError", "failed to satisfy constraint", api.CreateStackInput{StackName: "1x", TemplateBody: two}},
			{"unknown type", "ValidationError", "Template format error: Unrecognized resource types: [AWS::EC2::VPC]", api.CreateStackInput{TemplateBody: "Resources: {A: {Type: AWS::EC2::VPC}}"}},
			{"unknown parameter", "ValidationError", "Parameters: [X] do not exist in the template", api.CreateStackInput{TemplateBody: two, Parameters: []api.Parameter{{ParameterKey: "X"}}}},
			{"previous value of nothing", "ValidationError", "Cannot specify usePreviousValue as true", api.CreateStackInput{TemplateBody: two, Parameters: []api.Parameter{{ParameterKey: "Size", UsePreviousValue: new(true)}}}},
			{"capability", "InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]", api.CreateStackInput{TemplateBody: fmt.Sprintf(iam, "")}},
			{"named capability", "InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_NAMED_IAM]", api.CreateStackInput{TemplateBody: fmt.Sprintf(iam, ", RoleName: x"), Capabilities: []string{"CAPABILITY_IAM"}}},
			{"resource types", "ValidationError", "Resource type Test::Thing is not allowed by parameter ResourceTypes [AWS::S3::*]", api.CreateStackInput{TemplateBody: two, ResourceTypes: []string{"AWS::S3::*"}}},
			{"topics", "ValidationError", "NotificationARNs need SNS", api.CreateStackInput{TemplateBody: two, NotificationARNs: []string{"arn"}}},
			{"stack policy", "ValidationError", "Stack policies", api.CreateStackInput{TemplateBody: two, StackPolicyBody: "{}"}},
			{"reserved tag", "ValidationError", "reserved", api.CreateStackInput{TemplateBody: two, Tags: []api.Tag{{Key: "aws:x"}}}},
			{"failure twice", "ValidationError", "Only one of the parameters OnFailure and DisableRollback", api.CreateStackInput{TemplateBody: two, OnFailure: "DELETE", DisableRollback: new(true)}},
			{"large", "ValidationError", "51200", api.CreateStackInput{TemplateBody: strings.Repeat(" ", 51_201)}},
		} {
			if tt.in.StackName == "" {
				tt.in.StackName = "x"
			}
			_, err := w.client(root).CreateStack(t.Context(), &tt.in)
			t.Run(tt.name, func(t *testing.T) { wantError(t, err, tt.code, tt.text) })
		}
		if out := must[*api.ListStacksOutput](t)(w.client(root).ListStacks(t.Context(), &api.ListStacksInput{})); len(out.StackSummaries) != 0 {
			t.Errorf("stacks were made: %+v", out.StackSummaries)
		}
	})
}

func TestNestedStack(t *testing.T) {
	each(t, func(w *world) {
		w.url["templates/child.yaml"] = `
Parameters: {Size: {Type: String}}
Resources: {T: {Type: Test::Thing, Properties: {Name: !Sub "child-${Size}", Size: !Ref Size}}}
Outputs: {Arn: {Value: !GetAtt T.Arn}}
`
		parent := `
Parameters: {Size: {Type: String, Default: "1"}}
Resources:
  Child:
    Type: AWS::CloudFormation::Stack
    Properties: {TemplateURL: https://s3.amazonaws.com/templates/child.yaml, Parameters: {Size: !Ref Size}}
Outputs: {Arn: {Value: !GetAtt Child.Outputs.Arn}, Id: {Value: !Ref Child}}
`
		id := w.create("parent", parent)
		w.want("parent", "CREATE_COMPLETE")
		st := w.describe("parent")
		if st.Outputs[0].OutputValue != "arn:thing:child-1" {
			t.Errorf("%+v", st.Outputs)
		}
		child := w.describe(st.Outputs[1].OutputValue)
		if child.ParentId != id || child.RootId != id {
			t.Errorf("parent %s, root %s, want %s", child.ParentId, child.RootId, id)
		}
		w.update("parent", replaceIn(parent, `"1"`, `"2"`))
		w.want("parent", "UPDATE_COMPLETE")
		if got := w.describe("parent").Outputs[0].OutputValue; got != "arn:thing:child-2" {
			t.Error(got)
		}
		w.fail = map[string]string{"create T": "problem"}
		w.update("parent", replaceIn(parent, `"1"`, `"3"`))
		w.want("parent", "UPDATE_ROLLBACK_COMPLETE")
		wantLines(t, w.names(), []string{"child-2"})

		// The root's protection covers the child, but not from its own parent.
		c := w.client(root)
		protect := func(on bool) {
			if _, err := c.UpdateTerminationProtection(t.Context(), &api.UpdateTerminationProtectionInput{StackName: "parent", EnableTerminationProtection: &on}); err != nil {
				t.Fatal(err)
			}
		}
		protect(true)
		_, err := c.DeleteStack(t.Context(), &api.DeleteStackInput{StackName: child.StackId})
		wantError(t, err, "ValidationError", "cannot be deleted while TerminationProtection is enabled")
		w.update("parent", "Resources: {Other: {Type: Test::Thing, Properties: {Name: other}}}")
		w.want("parent", "UPDATE_COMPLETE")
		w.want(child.StackId, "DELETE_COMPLETE")
		wantLines(t, w.names(), []string{"other"})
		protect(false)
		w.delete("parent")
		w.want(id, "DELETE_COMPLETE")
		wantLines(t, w.names(), nil)
	})
}
