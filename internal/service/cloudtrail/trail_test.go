package cloudtrail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/service/cloudtrail"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/cloudtrail"
)

const (
	one = "111111111111"
	two = "222222222222"
	key = "arn:aws:kms:us-east-1:222222222222:key/k-1"
)

var (
	ana = aws.Principal{Kind: aws.User, ARN: "arn:aws:iam::111111111111:user/ana", Account: one, ID: "AIDAANA", AccessKeyID: "AKIAANA"}
	bob = aws.Principal{Kind: aws.Session, ARN: "arn:aws:sts::111111111111:assumed-role/builder/run-1", RoleARN: "arn:aws:iam::111111111111:role/x/builder",
		Account: one, ID: "AROABUILDER:run-1", AccessKeyID: "ASIABOB", Temporary: true, Issued: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
)

// world is CloudTrail with a clock.
type world struct {
	*servicetest.Env
	trail *cloudtrail.Service
	at    time.Time
}

func each(t *testing.T, test func(w *world)) {
	servicetest.Each(t, func(e *servicetest.Env) {
		w := &world{Env: e, at: time.Now().UTC().Add(-time.Hour).Truncate(time.Second)}
		w.trail = cloudtrail.New(e.DB, e.Jobs, cloudtrail.Options{Now: e.Now})
		e.Door.Serve("cloudtrail", w.trail.Operations())
		e.Grant("ana@"+one, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"}]}`)
		e.Grant("ana@"+two, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"}]}`)
		test(w)
	}, cloudtrail.Schema())
}

// entry is a call that succeeded; each is a second later than the one before.
func (w *world) entry(p aws.Principal, service, operation, resource string) *call.Entry {
	w.at = w.at.Add(time.Second)
	return &call.Entry{
		Call: &call.Call{ID: aws.NewUUID(), Trace: "trace", Service: service, Operation: operation, Region: "us-east-1", Principal: p, Time: w.at, SourceIP: "192.0.2.1", UserAgent: "test"},
		Judgements: []call.Judgement{{Action: service + ":" + operation, Resource: resource, Decision: policy.Decision{
			Effect: policy.Allow, Because: []policy.Match{{Kind: policy.Identity, Name: "p", On: p.PolicyARN(), Sid: "s", Effect: policy.Allow}},
		}}},
		Request: json.RawMessage(`{"a":"b"}`), Response: json.RawMessage(`{"c":"d"}`), Resources: []string{resource}, Took: time.Millisecond,
	}
}

func (w *world) record(entries ...*call.Entry) {
	w.T.Helper()
	for _, e := range entries {
		if err := w.trail.Record(context.Background(), e); err != nil {
			w.T.Fatal(err)
		}
	}
}

func (w *world) lookup(who string, in *api.LookupEventsInput) *api.LookupEventsOutput {
	w.T.Helper()
	out, err := api.Client{Invoker: w.As(who)}.LookupEvents(context.Background(), in)
	if err != nil {
		w.T.Fatal(err)
	}
	return out
}

func ids(out *api.LookupEventsOutput) string {
	var names []string
	for _, e := range out.Events {
		names = append(names, e.EventName)
	}
	return strings.Join(names, " ")
}

func TestLookup(t *testing.T) {
	each(t, func(w *world) {
		create := w.entry(ana, "codecommit", "CreateRepository", "arn:aws:codecommit:us-east-1:111111111111:shop")
		get := w.entry(bob, "codecommit", "GetBranch", "arn:aws:codecommit:us-east-1:111111111111:shop")
		get.ReadOnly = true
		refused := w.entry(ana, "kms", "Decrypt", key)
		refused.Error = aws.Errorf("AccessDeniedException", "no")
		object := w.entry(ana, "s3", "GetObject", "arn:aws:s3:::bucket/key")
		role := w.entry(ana, "iam", "CreateRole", "arn:aws:iam::111111111111:role/x/builder")
		role.Call.Region = "eu-west-1"
		away := w.entry(ana, "kms", "CreateKey", "*")
		away.Call.Region = "eu-west-1"
		w.record(create, get, refused, object, role, away)
		all := w.lookup("ana@"+one, &api.LookupEventsInput{})
		if got := ids(all); got != "CreateRole Decrypt GetBranch CreateRepository" {
			w.T.Errorf("all = %s", got)
		}
		if got := ids(w.lookup("ana@"+one+" in eu-west-1", &api.LookupEventsInput{})); got != "CreateKey" {
			w.T.Errorf("elsewhere = %s", got)
		}
		if got := ids(w.lookup("ana@"+two, &api.LookupEventsInput{})); got != "Decrypt" {
			w.T.Errorf("the key's account sees %s", got)
		}
		for _, tt := range []struct{ key, value, want string }{
			{"EventName", "GetBranch", "GetBranch"},
			{"EventName", "getbranch", ""},
			{"EventSource", "codecommit.amazonaws.com", "GetBranch CreateRepository"},
			{"EventSource", "codecommit", ""},
			{"Username", "ana", "CreateRole Decrypt CreateRepository"},
			{"Username", "run-1", "GetBranch"},
			{"AccessKeyId", "ASIABOB", "GetBranch"},
			{"ReadOnly", "true", "GetBranch"},
			{"ReadOnly", "false", "CreateRole Decrypt CreateRepository"},
			{"ResourceName", "shop", "GetBranch CreateRepository"},
			{"ResourceName", "arn:aws:codecommit:us-east-1:111111111111:shop", "GetBranch CreateRepository"},
			{"ResourceName", "sho_", ""},
			{"ResourceName", "SHOP", ""},
			{"ResourceName", "builder", "CreateRole"},
			{"ResourceType", "AWS::KMS::Key", "Decrypt"},
			{"EventId", all.Events[1].EventId, "Decrypt"},
			{"EventId", "x", ""},
		} {
			in := &api.LookupEventsInput{LookupAttributes: []api.LookupAttribute{{AttributeKey: tt.key, AttributeValue: tt.value}}}
			if got := ids(w.lookup("ana@"+one, in)); got != tt.want {
				w.T.Errorf("%s=%s: %s, want %s", tt.key, tt.value, got, tt.want)
			}
		}
		in := &api.LookupEventsInput{StartTime: &get.Call.Time, EndTime: &refused.Call.Time}
		if got := ids(w.lookup("ana@"+one, in)); got != "Decrypt GetBranch" {
			w.T.Errorf("in time = %s", got)
		}
		if got := w.lookup("ana@"+one, &api.LookupEventsInput{EventCategory: "insight"}); len(got.Events) != 0 {
			w.T.Errorf("insights = %+v", got)
		}
	})
}

func TestLookupPages(t *testing.T) {
	each(t, func(w *world) {
		for i := range 7 {
			w.record(w.entry(ana, "kms", fmt.Sprintf("Op%d", i), key))
		}
		for _, account := range []string{one, two} {
			var got []string
			in := &api.LookupEventsInput{MaxResults: new(int64(3))}
			for {
				out := w.lookup("ana@"+account, in)
				got = append(got, ids(out))
				if out.NextToken == "" {
					break
				}
				in.NextToken = out.NextToken
			}
			if want := []string{"Op6 Op5 Op4", "Op3 Op2 Op1", "Op0"}; !slices.Equal(got, want) {
				w.T.Errorf("pages = %q, want %q", got, want)
			}
		}
	})
}

func TestLookupRefuses(t *testing.T) {
	each(t, func(w *world) {
		now, before := time.Now(), time.Now().Add(-time.Hour)
		name := func(v string) api.LookupAttribute {
			return api.LookupAttribute{AttributeKey: "EventName", AttributeValue: v}
		}
		w.record(w.entry(ana, "kms", "A", key), w.entry(ana, "kms", "B", key))
		page := w.lookup("ana@"+one, &api.LookupEventsInput{MaxResults: new(int64(1))})
		for _, tt := range []struct {
			in   api.LookupEventsInput
			code string
		}{
			{api.LookupEventsInput{StartTime: &now, EndTime: &before}, "InvalidTimeRangeException"},
			{api.LookupEventsInput{MaxResults: new(int64(0))}, "InvalidMaxResultsException"},
			{api.LookupEventsInput{MaxResults: new(int64(51))}, "InvalidMaxResultsException"},
			{api.LookupEventsInput{LookupAttributes: []api.LookupAttribute{name("a"), name("b")}}, "InvalidLookupAttributesException"},
			{api.LookupEventsInput{LookupAttributes: []api.LookupAttribute{{AttributeKey: "Color", AttributeValue: "x"}}}, "InvalidLookupAttributesException"},
			{api.LookupEventsInput{LookupAttributes: []api.LookupAttribute{{AttributeKey: "ReadOnly", AttributeValue: "x"}}}, "InvalidLookupAttributesException"},
			{api.LookupEventsInput{NextToken: "?"}, "InvalidNextTokenException"},
			{api.LookupEventsInput{NextToken: page.NextToken, LookupAttributes: []api.LookupAttribute{name("a")}}, "InvalidNextTokenException"},
		} {
			_, err := api.Client{Invoker: w.As("ana@" + one)}.LookupEvents(context.Background(), &tt.in)
			if e, ok := err.(*aws.Error); !ok || e.Code != tt.code {
				w.T.Errorf("%+v: %v, want %s", tt.in, err, tt.code)
			}
		}
		_, err := api.Client{Invoker: w.As("bob@" + one)}.LookupEvents(context.Background(), &api.LookupEventsInput{})
		if e, ok := err.(*aws.Error); !ok || e.Code != "AccessDeniedException" || !strings.Contains(e.Message, "cloudtrail:LookupEvents") {
			w.T.Errorf("without permission: %v", err)
		}
	})
}

func TestEventShape(t *testing.T) {
	each(t, func(w *world) {
		refused := w.entry(bob, "kms", "Decrypt", key)
		refused.Call.Via = []string{"s3.amazonaws.com"}
		refused.Error = aws.Errorf("AccessDeniedException", "may not")
		w.record(refused)
		get := func(account string) map[string]any {
			var out map[string]any
			list := w.lookup("ana@"+account, &api.LookupEventsInput{}).Events
			if err := json.Unmarshal([]byte(list[0].CloudTrailEvent), &out); err != nil {
				w.T.Fatal(err)
			}
			if out["eventID"] != list[0].EventId || out["sharedEventID"] != list[0].EventId {
				w.T.Errorf("ids of %v", out)
			}
			delete(out, "eventID")
			delete(out, "sharedEventID")
			return out
		}
		want := map[string]any{
			"eventVersion": "1.11", "eventTime": w.at.Format(time.RFC3339), "eventSource": "kms.amazonaws.com", "eventName": "Decrypt",
			"awsRegion": "us-east-1", "sourceIPAddress": "s3.amazonaws.com", "userAgent": "s3.amazonaws.com",
			"errorCode": "AccessDeniedException", "errorMessage": "may not", "requestParameters": map[string]any{"a": "b"}, "responseElements": nil,
			"requestID": refused.Call.ID, "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true, "eventCategory": "Management",
			"recipientAccountId": one,
			"resources":          []any{map[string]any{"ARN": key, "accountId": two, "type": "AWS::KMS::Key"}},
			"userIdentity": map[string]any{
				"type": "AssumedRole", "principalId": "AROABUILDER:run-1", "arn": bob.ARN, "accountId": one, "accessKeyId": "ASIABOB", "invokedBy": "s3.amazonaws.com",
				"sessionContext": map[string]any{
					"attributes":    map[string]any{"creationDate": "2026-01-01T00:00:00Z", "mfaAuthenticated": "false"},
					"sessionIssuer": map[string]any{"type": "Role", "principalId": "AROABUILDER", "arn": bob.RoleARN, "accountId": one, "userName": "builder"},
				},
			},
		}
		if diff := cmp.Diff(want, get(one)); diff != "" {
			w.T.Errorf("caller's account (-want +got)\n%s", diff)
		}
		want["recipientAccountId"] = two
		want["userIdentity"] = map[string]any{"type": "AWSAccount", "principalId": "AROABUILDER:run-1", "accountId": one, "invokedBy": "s3.amazonaws.com"}
		if diff := cmp.Diff(want, get(two)); diff != "" {
			w.T.Errorf("key's account (-want +got)\n%s", diff)
		}
	})
}

func TestIdentities(t *testing.T) {
	each(t, func(w *world) {
		for _, tt := range []struct {
			p    aws.Principal
			want string
		}{
			{aws.RootPrincipal(one), `{"type":"Root","principalId":"111111111111","arn":"arn:aws:iam::111111111111:root","accountId":"111111111111"}`},
			{ana, `{"type":"IAMUser","principalId":"AIDAANA","arn":"arn:aws:iam::111111111111:user/ana","accountId":"111111111111","accessKeyId":"AKIAANA","userName":"ana"}`},
			{aws.ServicePrincipal("events.amazonaws.com"), `{"type":"AWSService","invokedBy":"events.amazonaws.com"}`},
			{aws.Principal{Kind: aws.Federated, ARN: "arn:aws:sts::111111111111:federated-user/bob", Account: one, ID: one + ":bob", Temporary: true, MFA: true,
				Issued: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), ParentARN: ana.ARN, ParentID: ana.ID},
				`{"type":"FederatedUser","principalId":"111111111111:bob","arn":"arn:aws:sts::111111111111:federated-user/bob","accountId":"111111111111","sessionContext":` +
					`{"sessionIssuer":{"type":"IAMUser","principalId":"AIDAANA","arn":"arn:aws:iam::111111111111:user/ana","accountId":"111111111111","userName":"ana"},` +
					`"attributes":{"creationDate":"2026-01-01T00:00:00Z","mfaAuthenticated":"true"}}}`},
			{aws.Principal{Kind: aws.Federated, ARN: "arn:aws:iam::111111111111:oidc-provider/idp", ID: "arn:aws:iam::111111111111:oidc-provider/idp:sts:repo:shop",
				Provided: map[string][]string{"idp:aud": {"sts"}, "idp:sub": {"repo:shop"}}},
				`{"type":"WebIdentityUser","principalId":"arn:aws:iam::111111111111:oidc-provider/idp:sts:repo:shop","userName":"repo:shop","identityProvider":"arn:aws:iam::111111111111:oidc-provider/idp"}`},
			{aws.Principal{}, `{"type":"AWSAccount","accountId":"ANONYMOUS_PRINCIPAL"}`},
		} {
			w.record(w.entry(tt.p, "sts", "AssumeRole", "arn:aws:iam::111111111111:role/r"))
			list := w.lookup("ana@"+one, &api.LookupEventsInput{MaxResults: new(int64(1))}).Events
			var got struct{ UserIdentity json.RawMessage }
			if err := json.Unmarshal([]byte(list[0].CloudTrailEvent), &got); err != nil {
				w.T.Fatal(err)
			}
			if string(got.UserIdentity) != tt.want {
				w.T.Errorf("identity\n got %s\nwant %s", got.UserIdentity, tt.want)
			}
		}
	})
}

// A bucket's ARN names no account; the judgement knows the owner.
func TestOwnerOfBucket(t *testing.T) {
	each(t, func(w *world) {
		e := w.entry(ana, "s3", "PutBucketPolicy", "arn:aws:s3:::theirs")
		e.Judgements[0].Owner = two
		w.record(e)
		if got := ids(w.lookup("ana@"+two, &api.LookupEventsInput{})); got != "PutBucketPolicy" {
			w.T.Errorf("the bucket's account sees %q", got)
		}
	})
}

func TestTraceAndStory(t *testing.T) {
	each(t, func(w *world) {
		in := func(trace, scope string, e *call.Entry) *call.Entry {
			e.Call.Trace, e.Call.Scope = trace, scope
			return e
		}
		push := in("t1", "", w.entry(ana, "codecommit", "GitPush", "arn:aws:codecommit:us-east-1:111111111111:shop"))
		get := in("t1", "e1", w.entry(bob, "codecommit", "GetBranch", "arn:aws:codecommit:us-east-1:111111111111:shop"))
		get.Error = aws.Errorf("AccessDeniedException", "no").WithStatus(400)
		get.Judgements[0].Decision = policy.Decision{Silent: []policy.Kind{policy.Identity}, Missing: []string{"aws:x"}}
		get.Judgements[0].Fixes = []policy.Fix{{Kind: policy.Identity, On: bob.RoleARN, Statement: json.RawMessage(`{"Effect":"Allow"}`)}}
		put := in("t1", "e2", w.entry(bob, "s3", "PutObject", "arn:aws:s3:::b/k"))
		other := in("t2", "e3", w.entry(bob, "s3", "PutObject", "arn:aws:s3:::b/k"))
		w.record(other, put, get, push) // recorded in another order than made
		ctx := context.Background()
		trace, err := w.trail.Trace(ctx, "t1", "")
		if err != nil || len(trace) != 3 {
			w.T.Fatalf("trace = %v, %v", trace, err)
		}
		story, err := w.trail.Story(ctx, "e1")
		if err != nil || len(story) != 2 {
			w.T.Fatalf("story = %v, %v", story, err)
		}
		want := []*call.Entry{push, get}
		if diff := cmp.Diff(want, story, cmp.Comparer(func(a, b call.Call) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) })); diff != "" {
			w.T.Errorf("story (-want +got)\n%s", diff)
		}
		if story, err := w.trail.Story(ctx, ""); err != nil || len(story) != 0 {
			w.T.Errorf("story of nothing = %v, %v", story, err)
		}
	})
}

// TestRequest holds that every call inside the process is found by its request
// id, and none that is none.
func TestRequest(t *testing.T) {
	each(t, func(w *world) {
		push := w.entry(ana, "codecommit", "GitPush", "arn:aws:codecommit:us-east-1:111111111111:shop")
		push.Call.Trace = push.Call.ID
		var entries []*call.Entry
		for range 20 {
			inner := w.entry(bob, "s3", "PutObject", "arn:aws:s3:::b/k")
			inner.Call.ID, inner.Call.Trace, inner.Call.Scope = aws.NewTimedUUID(inner.Call.Time), push.Call.ID, "e1"
			entries = append(entries, inner)
		}
		w.record(append(entries, push)...)
		for _, e := range entries {
			got, err := w.trail.Request(context.Background(), e.Call.ID)
			if err != nil || got == nil || got.Call.ID != e.Call.ID || got.Call.Operation != e.Call.Operation {
				w.T.Fatalf("request %s is %+v, %v", e.Call.ID, got, err)
			}
		}
		for _, id := range []string{"", "x", aws.NewUUID(), push.Call.ID, aws.NewTimedUUID(push.Call.Time), "' OR '1' = '1"} {
			if got, err := w.trail.Request(context.Background(), id); got != nil || err != nil {
				w.T.Errorf("request %q is %+v, %v", id, got, err)
			}
		}
	})
}

func TestLargeParametersAreLeftOut(t *testing.T) {
	each(t, func(w *world) {
		e := w.entry(ana, "iam", "CreatePolicy", "*")
		e.Request = json.RawMessage(`"` + strings.Repeat("x", 200<<10) + `"`)
		w.record(e)
		list, err := w.trail.Trace(context.Background(), "trace", "")
		if err != nil || len(list) != 1 || list[0].Request != nil || list[0].Response == nil {
			w.T.Errorf("recorded %v, %v", list, err)
		}
	})
}

func TestRetention(t *testing.T) {
	each(t, func(w *world) {
		old := w.entry(ana, "kms", "Old", key)
		w.at = w.at.Add(10 * time.Minute)
		w.record(old, w.entry(ana, "kms", "New", key))
		w.Advance(90*24*time.Hour - 55*time.Minute)
		// The waiting job is pulled forward.
		err := w.DB.Update(context.Background(), func(tx *state.Tx) error {
			return job.Enqueue(context.Background(), tx, job.New{Kind: "cloudtrail/prune", Key: "all"})
		})
		if err != nil {
			w.T.Fatal(err)
		}
		w.Start()
		for range 500 {
			list, err := w.trail.Trace(context.Background(), "trace", "")
			if err != nil {
				w.T.Fatal(err)
			}
			if len(list) == 1 && list[0].Call.Operation == "New" {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		w.T.Error("old records are still there")
	})
}

// However soon a record is on disk, it is read at once, and in its place.
func TestInnerReadsAreSeenAtOnce(t *testing.T) {
	each(t, func(w *world) {
		want := ""
		for i := range 20 {
			e := w.entry(ana, "codecommit", "GetBranch", "arn:aws:codecommit:us-east-1:111111111111:shop")
			e.Inside, e.ReadOnly = i%2 == 0, true
			e.Call.Operation = fmt.Sprintf("Get%d", i)
			w.record(e)
			want = strings.TrimSpace(e.Call.Operation + " " + want)
			if got := ids(w.lookup("ana@"+one, &api.LookupEventsInput{})); got != want {
				w.T.Fatalf("found %s, want %s", got, want)
			}
			if story, err := w.trail.Trace(context.Background(), "trace", ""); err != nil || len(story) != i+1 {
				w.T.Fatalf("a trace of %d, %v; want %d", len(story), err, i+1)
			}
		}
	})
}

// BenchmarkRecord is what the record adds to every call: a commit to disk,
// shared when calls come side by side.
func BenchmarkRecord(b *testing.B) {
	for _, kind := range []string{"alone", "parallel", "inner read"} {
		b.Run(kind, func(b *testing.B) {
			db, err := state.Open(context.Background(), filepath.Join(b.TempDir(), "db"), cloudtrail.Schema(), job.Schema())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { db.Close() })
			trail := cloudtrail.New(db, job.NewQueue(db, job.Options{}), cloudtrail.Options{})
			w := &world{trail: trail, at: time.Now()}
			e := w.entry(bob, "codecommit", "GetBranch", "arn:aws:codecommit:us-east-1:111111111111:shop")
			var n atomic.Int64
			one := func() {
				d, c := *e, *e.Call
				d.Call = &c
				c.Time = w.at.Add(time.Duration(n.Add(1)) * time.Millisecond)
				c.Trace = aws.NewUUID()
				d.Inside, d.ReadOnly = kind == "inner read", kind == "inner read"
				if err := trail.Record(context.Background(), &d); err != nil {
					b.Error(err)
				}
			}
			b.ReportAllocs()
			if kind == "parallel" {
				b.SetParallelism(16)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
				return
			}
			for b.Loop() {
				one()
			}
		})
	}
}
