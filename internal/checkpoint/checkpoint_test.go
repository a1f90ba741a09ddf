package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
)

// people is IAM in small: one identity policy for everybody, one access
// key, and the users and roles that policies name.
type people struct {
	set *policy.Set
	err error
	// arns are the users and roles by unique id; broken fails to tell.
	arns   map[string]string
	broken error
}

func (p *people) For(context.Context, aws.Principal) (*policy.Set, error) { return p.set, p.err }

func (p *people) Key(_ context.Context, keyID, token string) (seal.Secret, aws.Principal, error) {
	if keyID != "AKIAALICE" || token != "" {
		return seal.Secret{}, aws.Principal{}, aws.Errorf("InvalidClientTokenId", "unknown key")
	}
	return seal.NewSecret([]byte("alice's")), callers["user"], nil
}

// ResolvePrincipal implements policy.Directory: nobody is there.
func (p *people) ResolvePrincipal(context.Context, string) (string, bool, error) {
	return "", false, nil
}

// PrincipalARN implements policy.Directory.
func (p *people) PrincipalARN(_ context.Context, id string) (string, bool, error) {
	arn, ok := p.arns[id]
	return arn, ok, p.broken
}

// notes is a recorder that keeps what it was given.
type notes struct {
	entries []*call.Entry
	err     error
	gone    error // of the context at the last call
}

func (n *notes) Record(ctx context.Context, e *call.Entry) error {
	n.entries, n.gone = append(n.entries, e), ctx.Err()
	return n.err
}

func (n *notes) last(t *testing.T) *call.Entry {
	t.Helper()
	if len(n.entries) == 0 {
		t.Fatal("nothing was recorded")
	}
	return n.entries[len(n.entries)-1]
}

type (
	doInput  struct{ Name string }
	doOutput struct{ Answer string }
)

// bench is a checkpoint with one service of tests.
type bench struct {
	*Checkpoint
	people *people
	notes  *notes
	log    bytes.Buffer
	now    time.Time
}

// newBench lets everybody do what allow's statements say.
func newBench(t testing.TB, allow string, ops ...call.Operation) *bench {
	t.Helper()
	doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+allow+`]}`, policy.Identity)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		people: &people{set: &policy.Set{Identity: []policy.Source{{Kind: policy.Identity, Name: "p", On: "arn:aws:iam::111111111111:user/alice", Doc: doc}}}},
		notes:  &notes{},
		now:    issued,
	}
	b.Checkpoint = New(b.people, b.notes, Options{
		Log: slog.New(slog.NewTextHandler(&b.log, nil)), Now: func() time.Time { return b.now }, BaseURL: "https://base",
		Parameters: func(v any) json.RawMessage { return json.RawMessage(fmt.Sprintf("%q", fmt.Sprint(v))) },
	})
	b.Serve("s3", ops)
	return b
}

func (b *bench) do(ctx context.Context, operation string) (any, error) {
	c := &call.Call{ID: "request-1", Service: "s3", Operation: operation, Principal: callers["user"], Region: "us-east-1", Time: b.now}
	return b.Do(ctx, c, &doInput{Name: "in"})
}

// needing declares an operation with some needs, which answers "done".
func needing(name string, needs ...call.Need) call.Operation {
	return call.Op(name,
		func(context.Context, *call.Call, *doInput) ([]call.Need, error) { return needs, nil },
		func(context.Context, *call.Call, *doInput) (*doOutput, error) { return &doOutput{"done"}, nil })
}

// failing declares an operation everybody may do, which does what deed does.
func failing(name string, deed func(ctx context.Context, c *call.Call) error) call.Operation {
	return call.PublicOp(name, "for a test", func(ctx context.Context, c *call.Call, _ *doInput) (*doOutput, error) {
		return nil, deed(ctx, c)
	})
}

func code(err error) string {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

const (
	allowA = `{"Sid":"A","Effect":"Allow","Action":"s3:A","Resource":"*"}`
	allowB = `{"Sid":"B","Effect":"Allow","Action":"s3:B","Resource":"*"}`
)

func TestAllowed(t *testing.T) {
	b := newBench(t, allowA+","+allowB, needing("GetThing", call.Need{Action: "s3:A", Resource: "arn:aws:s3:::x"}, call.Need{Action: "s3:B", Resource: "*"}))
	out, err := b.do(t.Context(), "GetThing")
	if err != nil {
		t.Fatal(err)
	}
	if got := out.(*doOutput).Answer; got != "done" {
		t.Errorf("answer %q", got)
	}
	e := b.notes.last(t)
	if e.Error != nil || !e.ReadOnly || string(e.Request) != `"&{in}"` || string(e.Response) != `"&{done}"` || e.Call.ID != "request-1" {
		t.Errorf("%+v", e)
	}
	if diff := cmp.Diff([]string{"arn:aws:s3:::x"}, e.Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	for i, sid := range []string{"A", "B"} {
		if d := e.Judgements[i].Decision; d.Effect != policy.Allow || d.Because[0].Sid != sid {
			t.Errorf("judgement %d: %+v", i, d)
		}
	}
}

// Each need is a permission of its own: without it the call is refused, the
// handler does not run, and the record shows every judgement.
func TestEveryNeedMustAllow(t *testing.T) {
	needs := []call.Need{{Action: "s3:A", Resource: "arn:aws:s3:::x"}, {Action: "s3:B", Resource: "arn:aws:s3:::y"}}
	for name, allow := range map[string]string{"s3:A": allowB, "s3:B": allowA, "s3:A ": `{"Effect":"Allow","Action":"s3:C","Resource":"*"}`} {
		t.Run("without "+name, func(t *testing.T) {
			ran := false
			b := newBench(t, allow, call.Op("PutThing",
				func(context.Context, *call.Call, *doInput) ([]call.Need, error) { return needs, nil },
				func(context.Context, *call.Call, *doInput) (*doOutput, error) { ran = true; return nil, nil }))
			out, err := b.do(t.Context(), "PutThing")
			if out != nil || code(err) != "AccessDenied" || !strings.Contains(err.Error(), "perform: "+strings.TrimSpace(name)+" on resource") {
				t.Errorf("%v, %v", out, err)
			}
			if ran {
				t.Error("the handler ran")
			}
			e := b.notes.last(t)
			if len(e.Judgements) != 2 || e.Error == nil || e.Error.Code != "AccessDenied" || e.Response != nil || e.ReadOnly {
				t.Errorf("%+v", e)
			}
			for _, j := range e.Judgements {
				if refused := j.Decision.Effect != policy.Allow; refused != (len(j.Fixes) > 0) {
					t.Errorf("%s: %v with %d fixes", j.Action, j.Decision.Effect, len(j.Fixes))
				}
			}
		})
	}
}

func TestNoNeedsIsNoLeave(t *testing.T) {
	b := newBench(t, allowA, needing("GetThing"))
	if out, err := b.do(t.Context(), "GetThing"); out != nil || code(err) != "InternalError" {
		t.Errorf("%v, %v", out, err)
	}
}

func TestNeedsAnswer(t *testing.T) {
	b := newBench(t, allowA, call.Op("GetThing",
		func(context.Context, *call.Call, *doInput) ([]call.Need, error) {
			return nil, aws.Errorf("NoSuchThing", "gone")
		},
		func(context.Context, *call.Call, *doInput) (*doOutput, error) { return nil, nil }))
	if _, err := b.do(t.Context(), "GetThing"); code(err) != "NoSuchThing" || b.notes.last(t).Error.Code != "NoSuchThing" {
		t.Error(err)
	}
}

func TestNeedWordsItsRefusal(t *testing.T) {
	b := newBench(t, allowB, needing("GetThing", call.Need{Action: "s3:A", Resource: "*", Refuse: func(*call.Call, call.Need, policy.Decision) *aws.Error {
		return aws.Errorf("NotYours", "no")
	}}))
	if _, err := b.do(t.Context(), "GetThing"); code(err) != "NotYours" {
		t.Error(err)
	}
}

func TestPoliciesThatCannotBeRead(t *testing.T) {
	b := newBench(t, allowA, needing("GetThing", call.Need{Action: "s3:A", Resource: "*"}))
	b.people.err = errors.New("the disk is gone")
	if out, err := b.do(t.Context(), "GetThing"); out != nil || code(err) != "InternalError" || strings.Contains(err.Error(), "disk") {
		t.Errorf("%v, %v", out, err)
	}
	if !strings.Contains(b.log.String(), "the disk is gone") {
		t.Errorf("log: %s", b.log.String())
	}
}

func TestNotServed(t *testing.T) {
	b := newBench(t, allowA)
	_, err := b.do(t.Context(), "PutBucketWebsite")
	e, ok := errors.AsType[*aws.Error](err)
	if !ok || e.Code != "NotImplemented" || e.Status != 501 || !strings.Contains(e.Message, "s3 PutBucketWebsite") {
		t.Error(err)
	}
	if len(b.notes.entries) != 0 {
		t.Error("recorded")
	}
}

func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		deed   func(ctx context.Context, c *call.Call) error
		code   string
		logged string
	}{
		{"an answer", func(context.Context, *call.Call) error { return aws.Errorf("NoSuchKey", "no") }, "NoSuchKey", ""},
		{"a wrapped answer", func(context.Context, *call.Call) error {
			return fmt.Errorf("stage: %w", aws.Errorf("NoSuchKey", "no"))
		}, "NoSuchKey", ""},
		{"trouble", func(context.Context, *call.Call) error { return errors.New("secret detail") }, "InternalError", "secret detail"},
		{"a panic", func(context.Context, *call.Call) error { panic("secret detail") }, "InternalError", "secret detail"},
		{"beyond the end", func(_ context.Context, c *call.Call) error { return errors.New(c.Via[len(c.Via)]) }, "InternalError", "out of range"},
		{"gone", func(context.Context, *call.Call) error { return fmt.Errorf("read: %w", context.Canceled) }, "RequestTimeout", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, allowA, failing("PutThing", tt.deed))
			out, err := b.do(t.Context(), "PutThing")
			if out != nil || code(err) != tt.code || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, %v", out, err)
			}
			if e := b.notes.last(t); e.Error == nil || e.Error.Code != tt.code {
				t.Errorf("recorded: %+v", e.Error)
			}
			if got := b.log.String(); tt.logged == "" && got != "" || !strings.Contains(got, tt.logged) {
				t.Errorf("log: %s", got)
			}
		})
	}
}

// Trouble inside has each service's own name, as SDKs know it.
func TestInternalCodes(t *testing.T) {
	want := map[string]string{"s3": "InternalError", "kms": "KMSInternalException", "events": "InternalException", "iam": "ServiceFailure", "sts": "InternalFailure"}
	for service, code := range want {
		if got := InternalCode(service); got != code {
			t.Errorf("%s: %s, want %s", service, got, code)
		}
	}
}

// A panic while needs are found is contained as one in the deed is.
func TestPanicInNeeds(t *testing.T) {
	b := newBench(t, allowA, call.Op("GetThing",
		func(context.Context, *call.Call, *doInput) ([]call.Need, error) { panic("x") },
		func(context.Context, *call.Call, *doInput) (*doOutput, error) { return nil, nil }))
	if _, err := b.do(t.Context(), "GetThing"); code(err) != "InternalError" || len(b.notes.entries) != 1 {
		t.Error(err)
	}
}

func TestWhatIsNotRecordedDidNotSucceed(t *testing.T) {
	b := newBench(t, allowA, needing("GetThing", call.Need{Action: "s3:A", Resource: "*"}))
	b.notes.err = errors.New("no room")
	if out, err := b.do(t.Context(), "GetThing"); out != nil || code(err) != "InternalError" {
		t.Errorf("%v, %v", out, err)
	}
	if !strings.Contains(b.log.String(), "no room") {
		t.Errorf("log: %s", b.log.String())
	}
}

func TestCallerGoneIsRecorded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := newBench(t, allowA, failing("PutThing", func(ctx context.Context, _ *call.Call) error {
		cancel()
		return ctx.Err()
	}))
	if _, err := b.do(ctx, "PutThing"); code(err) != "RequestTimeout" {
		t.Error(err)
	}
	if e := b.notes.last(t); e.Error.Code != "RequestTimeout" || b.notes.gone != nil {
		t.Errorf("recorded %v in a context that is %v", e.Error, b.notes.gone)
	}
}

// Items of a batch are judged by the same engine, into the same entry, also
// side by side.
func TestAllowedItems(t *testing.T) {
	b := newBench(t, allowA, failing("PutThings", func(ctx context.Context, c *call.Call) error {
		answers := make(chan error)
		for i := range 20 {
			go func() {
				answers <- c.Allowed(ctx, call.Need{Action: []string{"s3:A", "s3:B"}[i%2], Resource: fmt.Sprintf("arn:aws:s3:::%d", i)})
			}()
		}
		refused := 0
		for range 20 {
			if err := <-answers; err != nil {
				refused++
			}
		}
		return aws.Errorf("Refused", "%d", refused)
	}))
	if _, err := b.do(t.Context(), "PutThings"); err.Error() != "Refused: 10" {
		t.Error(err)
	}
	if got := len(b.notes.last(t).Judgements); got != 20 {
		t.Errorf("%d judgements", got)
	}
	if err := new(call.Call).Allowed(t.Context(), call.Need{}); code(err) != "InternalFailure" {
		t.Errorf("a call nobody judges: %v", err)
	}
}

func TestServePanics(t *testing.T) {
	ok := needing("GetThing", call.Need{Action: "s3:A", Resource: "*"})
	for name, ops := range map[string][]call.Operation{
		"twice":                      {ok, ok},
		"neither needs nor a reason": {{Name: "Open", Input: ok.Input, Handle: ok.Handle}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("taken")
				}
			}()
			New(&people{}, &notes{}, Options{}).Serve("s3", ops)
		})
	}
}

func TestTables(t *testing.T) {
	b := newBench(t, allowA, needing("B"), needing("A"))
	if !b.Has("s3", "A") || b.Has("s3", "C") || b.Has("kms", "A") {
		t.Error("Has")
	}
	ops := b.Operations()
	if len(ops) != 1 || ops["s3"][0].Name != "A" || ops["s3"][1].Name != "B" {
		t.Errorf("%+v", ops)
	}
}

func TestReadOnly(t *testing.T) {
	for name, want := range map[string]bool{
		"GetObject": true, "ListKeys": true, "DescribeKey": true, "HeadObject": true, "LookupEvents": true, "BatchGetRepositories": true,
		"ValidateTemplate": true, "TestEventPattern": true, "GitPull": true,
		"AssumeRole": true, "Decrypt": true, "Encrypt": true, "ReEncrypt": true, "GenerateDataKeyWithoutPlaintext": true,
		"GenerateCredentialReport": true, "SimulatePrincipalPolicy": true,
		"GitPush": false, "PutObject": false, "CreateKey": false, "DeleteObject": false, "EncryptMore": false, "DisableKey": false,
	} {
		if got := readOnly(name); got != want {
			t.Errorf("readOnly(%s) = %v", name, got)
		}
	}
}

func TestRefusal(t *testing.T) {
	const resource = "arn:aws:kms:us-east-1:111111111111:key/k"
	silent := policy.Decision{Silent: []policy.Kind{policy.Identity}}
	for _, tt := range []struct {
		service, resource string
		p                 aws.Principal
		code              string
		status            int
		text              string
	}{
		{"kms", resource, callers["user"], "AccessDeniedException", 400,
			"User: arn:aws:iam::111111111111:user/path/alice is not authorized to perform: x:Y on resource: " + resource + " because no identity-based policy allows the x:Y action"},
		{"events", "*", callers["role"], "AccessDeniedException", 400,
			"User: arn:aws:sts::111111111111:assumed-role/deploy/s is not authorized to perform: x:Y because no identity-based policy allows the x:Y action"},
		{"codecommit", "*", callers["role"], "AccessDeniedException", 400, ""},
		{"codepipeline", "*", callers["role"], "AccessDeniedException", 400, ""},
		{"cloudtrail", "*", callers["role"], "AccessDeniedException", 400, ""},
		{"iam", resource, callers["root"], "AccessDenied", 403, ""},
		{"sts", resource, callers["root"], "AccessDenied", 403, ""},
		{"cloudformation", resource, callers["root"], "AccessDenied", 403, ""},
		{"s3", resource, aws.Principal{}, "AccessDenied", 403,
			"User: anonymous is not authorized to perform: x:Y on resource: " + resource + " because no identity-based policy allows the x:Y action"},
	} {
		got := Refusal(&call.Call{Service: tt.service, Principal: tt.p}, call.Need{Action: "x:Y", Resource: tt.resource}, silent)
		if got.Code != tt.code || got.Status != tt.status || tt.text != "" && got.Message != tt.text {
			t.Errorf("%s: %d %s\nwant %d %s: %s", tt.service, got.Status, got, tt.status, tt.code, tt.text)
		}
	}
}

func TestOwner(t *testing.T) {
	c := &call.Call{Principal: callers["user"]}
	for _, tt := range []struct {
		need call.Need
		want string
	}{
		{call.Need{Resource: "arn:aws:s3:::b", Owner: "222222222222"}, "222222222222"},
		{call.Need{Resource: "arn:aws:kms:us-east-1:333333333333:key/k"}, "333333333333"},
		{call.Need{Resource: "arn:aws:s3:::b"}, acct},
		{call.Need{Resource: "*"}, acct},
	} {
		if got := owner(c, tt.need); got != tt.want {
			t.Errorf("owner of %s = %s, want %s", tt.need.Resource, got, tt.want)
		}
	}
}

func TestSessions(t *testing.T) {
	b := newBench(t, allowA, needing("GetThing", call.Need{Action: "s3:A", Resource: "*"}), needing("PutThing", call.Need{Action: "s3:B", Resource: "*"}))
	s := call.Session{
		Principal: callers["role"], Region: "eu-central-1", Via: []string{"x.amazonaws.com"}, SourceARN: "arn:aws:s3:::b",
		SourceIP: "10.0.0.1", UserAgent: "agent", Trace: "trace", Scope: "scope",
	}
	if _, err := b.As(s).Invoke(t.Context(), "s3", "GetThing", &doInput{}); err != nil {
		t.Fatal(err)
	}
	if !b.notes.last(t).Inside {
		t.Error("a service's call is noted as one from outside")
	}
	got := *b.notes.last(t).Call
	want := call.Call{
		ID: got.ID, Trace: "trace", Scope: "scope", Service: "s3", Operation: "GetThing", Region: "eu-central-1", Principal: callers["role"],
		Time: issued, SourceIP: "10.0.0.1", UserAgent: "agent", Secure: true, Via: s.Via, SourceARN: s.SourceARN, BaseURL: "https://base",
	}
	if diff := cmp.Diff(want, *got.WithJudge(nil), cmp.AllowUnexported(call.Call{})); diff != "" || got.ID == "" {
		t.Errorf("call (-want +got):\n%s", diff)
	}
	// The refusal says which request it answers; the next call is another one.
	_, err := b.As(call.Session{Principal: callers["role"], BaseURL: "https://asked"}).Invoke(t.Context(), "s3", "PutThing", &doInput{})
	e, ok := errors.AsType[*aws.Error](err)
	refused := b.notes.last(t)
	if !ok || e.RequestID != refused.Call.ID || e.RequestID == got.ID || refused.Error.RequestID != "" {
		t.Errorf("%+v of %s", e, refused.Call.ID)
	}
	if refused.Call.Trace != refused.Call.ID || refused.Call.BaseURL != "https://asked" {
		t.Errorf("%+v", refused.Call)
	}
}

func TestSessionsExpire(t *testing.T) {
	b := newBench(t, allowA, needing("GetThing", call.Need{Action: "s3:A", Resource: "*"}))
	p := callers["role"]
	p.Expires = issued.Add(time.Hour)
	as := b.As(call.Session{Principal: p})
	b.now = p.Expires
	if _, err := as.Invoke(t.Context(), "s3", "GetThing", &doInput{}); err != nil {
		t.Errorf("in its last moment: %v", err)
	}
	b.now = p.Expires.Add(time.Millisecond)
	if _, err := as.Invoke(t.Context(), "s3", "GetThing", &doInput{}); code(err) != "ExpiredTokenException" {
		t.Errorf("afterwards: %v", err)
	}
	if len(b.notes.entries) != 1 {
		t.Errorf("%d entries", len(b.notes.entries))
	}
}

func TestIdentify(t *testing.T) {
	b := newBench(t, allowA)
	p, err := b.Identify(t.Context(), "AKIAALICE", "alice's", "")
	if err != nil || p.ARN != callers["user"].ARN {
		t.Errorf("%+v, %v", p, err)
	}
	for name, c := range map[string][3]string{
		"a wrong secret": {"AKIAALICE", "bob's", ""}, "no secret": {"AKIAALICE", "", ""},
		"an unknown key": {"AKIABOB", "alice's", ""}, "a token too many": {"AKIAALICE", "alice's", "t"},
	} {
		if p, err := b.Identify(t.Context(), c[0], c[1], c[2]); code(err) != "InvalidClientTokenId" || p.Kind != aws.Anonymous {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
