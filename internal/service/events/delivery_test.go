package events_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/service/events"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"

	codepipelineapi "github.com/sekisho/sekisho/internal/api/codepipeline"
	api "github.com/sekisho/sekisho/internal/api/events"
)

const (
	source   = "111111111111" // the repository's account
	receiver = "222222222222" // the pipeline's
	region   = "us-east-1"
	theirBus = "arn:aws:events:us-east-1:222222222222:event-bus/default"
	pipeline = "arn:aws:codepipeline:us-east-1:222222222222:delivery"
)

func all(action, resource string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}]}`
}

// do makes a call that has to succeed.
func (w *world) do(who, operation string, in any) any {
	w.T.Helper()
	out, err := w.As(who).Invoke(context.Background(), "events", operation, in)
	if err != nil {
		w.T.Fatalf("%s: %v", operation, err)
	}
	return out
}

func (w *world) rule(account, name, pattern string, targets ...api.Target) {
	w.T.Helper()
	who := "root@" + account
	w.do(who, "PutRule", &api.PutRuleInput{Name: name, EventPattern: pattern})
	if len(targets) == 0 {
		return
	}
	out := w.do(who, "PutTargets", &api.PutTargetsInput{Rule: name, Targets: targets}).(*api.PutTargetsOutput)
	if *out.FailedEntryCount != 0 {
		w.T.Fatalf("PutTargets: %+v", out.FailedEntries)
	}
}

// crossAccount sets up the way of an event from one account's bus over
// another one's to a pipeline there.
func (w *world) crossAccount() {
	w.T.Helper()
	w.Grant("root@"+source, all("*", "*"))
	w.Grant("root@"+receiver, all("*", "*"))
	pattern := `{"source":["aws.codecommit"],"detail":{"referenceName":["main"]}}`
	w.rule(source, "forward", pattern, api.Target{Id: "bus", Arn: theirBus, RoleArn: "arn:aws:iam::111111111111:role/forward"})
	w.rule(receiver, "start", `{"source":["aws.codecommit"],"account":["111111111111"]}`,
		api.Target{Id: "pipeline", Arn: pipeline, RoleArn: "arn:aws:iam::222222222222:role/start"})
	w.do("root@"+receiver, "PutPermission", &api.PutPermissionInput{Action: "events:PutEvents", Principal: source, StatementId: "source"})
	w.Grant("forward/x@"+source, all("events:PutEvents", theirBus))
	w.Grant("start/x@"+receiver, all("codepipeline:StartPipelineExecution", pipeline))
}

// push emits the event of a push.
func (w *world) push(branch, trace string) aws.Event {
	w.T.Helper()
	e := aws.Event{
		ID: aws.NewUUID(), Account: source, Region: region, Source: "aws.codecommit", DetailType: "CodeCommit Repository State Change",
		Time:      time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Resources: []string{"arn:aws:codecommit:us-east-1:111111111111:shop"},
		Detail:    json.RawMessage(`{"event":"referenceUpdated","referenceName":"` + branch + `","commitId":"c0ffee"}`),
		Trace:     trace,
	}
	err := w.DB.Update(context.Background(), func(tx *state.Tx) error { return tx.Emit(context.Background(), e) })
	if err != nil {
		w.T.Fatal(err)
	}
	return e
}

func (w *world) wait() started {
	w.T.Helper()
	select {
	case s := <-w.pipelines.started:
		return s
	case <-time.After(10 * time.Second):
		for _, r := range w.Records() {
			w.T.Logf("%s %s: %v", r.Call.Service, r.Call.Operation, r.Error)
		}
		w.T.Fatal("no pipeline was started")
		panic("unreachable")
	}
}

// settled waits until no delivery of a trace is pending and there are n.
func (w *world) settled(trace string, n int) []events.Delivery {
	w.T.Helper()
	var list []events.Delivery
	for range 1000 {
		var err error
		if list, err = w.events.Deliveries(context.Background(), trace); err != nil {
			w.T.Fatal(err)
		}
		pending := 0
		for _, d := range list {
			if d.State == events.Pending {
				pending++
			}
		}
		if pending == 0 && len(list) >= n {
			return list
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.T.Fatalf("deliveries are not settled: %+v", list)
	return nil
}

// letter returns the one dead letter of a trace.
func (w *world) letter(trace string) events.DeadLetter {
	w.T.Helper()
	list, err := w.events.DeadLetters(context.Background(), events.Filter{Trace: trace})
	if err != nil || len(list) != 1 {
		w.T.Fatalf("dead letters = %+v, %v", list, err)
	}
	return list[0]
}

func each(t *testing.T, test func(w *world)) {
	servicetest.Each(t, func(e *servicetest.Env) { test(newWorld(e)) }, events.Schema())
}

func TestEventCrossesAccountsAndStartsPipeline(t *testing.T) {
	each(t, func(w *world) {
		w.crossAccount()
		w.Start(w.events.Run)
		w.push("feature", "none")
		e := w.push("main", "trace-1")
		got := w.wait()
		c := got.Call
		if got.In.Name != "delivery" || len(got.In.SourceRevisions) != 0 || got.In.ClientRequestToken == "" {
			w.T.Errorf("started %+v", got.In)
		}
		if c.Principal.RoleARN != "arn:aws:iam::222222222222:role/start" || len(c.Principal.SessionName()) != 32 {
			w.T.Errorf("started by %s", c.Principal.ARN)
		}
		if c.SourceARN != "arn:aws:events:us-east-1:222222222222:rule/start" || c.SourceIP != "events.amazonaws.com" || c.Trace != "trace-1" || c.Region != region {
			w.T.Errorf("started with %+v", c)
		}
		list := w.settled("trace-1", 2)
		for i, want := range []events.Delivery{
			{RuleARN: "arn:aws:events:us-east-1:111111111111:rule/forward", TargetARN: theirBus, State: events.Delivered, EventID: e.ID},
			{RuleARN: "arn:aws:events:us-east-1:222222222222:rule/start", TargetARN: pipeline, State: events.Delivered, EventID: e.ID},
		} {
			d := list[i]
			got := events.Delivery{RuleARN: d.RuleARN, TargetARN: d.TargetARN, State: d.State, EventID: d.EventID}
			if diff := cmp.Diff(want, got); diff != "" {
				w.T.Errorf("delivery %d (-want +got)\n%s", i, diff)
			}
		}
		if list, _ := w.events.Deliveries(context.Background(), "none"); len(list) != 0 {
			w.T.Errorf("the other branch was delivered: %+v", list)
		}
	})
}

// Each permission on the way, missing once: the event stops there, and the
// dead letter says why.
func TestMissingPermissionMakesDeadLetter(t *testing.T) {
	const forward, start = "arn:aws:iam::111111111111:role/forward", "arn:aws:iam::222222222222:role/start"
	for _, tt := range []struct {
		name   string
		breaks func(w *world)
		rule   string
		code   string
		says   string
	}{
		{"bus policy", func(w *world) {
			w.do("root@"+receiver, "RemovePermission", &api.RemovePermissionInput{StatementId: "source"})
		}, "forward", "NO_PERMISSIONS", "events:PutEvents on resource: " + theirBus + " because no resource-based policy allows the events:PutEvents action"},
		{"bus policy for rules only", func(w *world) {
			w.do("root@"+receiver, "PutPermission", &api.PutPermissionInput{Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"events:PutEvents","Resource":"*",
				"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:events:us-east-1:111111111111:rule/other"}}}]}`})
		}, "forward", "NO_PERMISSIONS", "events:PutEvents"},
		{"bus policy against other buses", func(w *world) {
			w.do("root@"+receiver, "PutPermission", &api.PutPermissionInput{Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"events:PutEvents","Resource":"*",
				"Condition":{"StringEquals":{"events:eventBusInvocation":"false"}}}]}`})
		}, "forward", "NO_PERMISSIONS", "events:PutEvents"},
		{"forwarding role's policy", func(w *world) { w.Forget("forward/x@" + source) },
			"forward", "NO_PERMISSIONS", "assumed-role/forward/"},
		{"forwarding role's trust", func(w *world) {
			w.roles.trust[forward] = strings.Replace(trustsEvents, "events.", "lambda.", 1)
		}, "forward", "NO_PERMISSIONS", "User: events.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: " + forward},
		{"forwarding role trusts another rule", func(w *world) {
			w.roles.trust[forward] = strings.Replace(trustsEvents, `"Action"`, `"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:events:us-east-1:111111111111:rule/other"}},"Action"`, 1)
		}, "forward", "NO_PERMISSIONS", "sts:AssumeRole"},
		{"starting role's policy", func(w *world) { w.Forget("start/x@" + receiver) },
			"start", "NO_PERMISSIONS", "codepipeline:StartPipelineExecution on resource: " + pipeline},
		{"starting role's trust", func(w *world) {
			w.roles.trust[start] = strings.Replace(trustsEvents, "events.", "lambda.", 1)
		}, "start", "NO_PERMISSIONS", "sts:AssumeRole on resource: " + start},
		{"pipeline is gone", func(w *world) {
			w.pipelines.answer = aws.Errorf("PipelineNotFoundException", "The account with id '222222222222' does not include a pipeline with the name 'delivery'")
		}, "start", "NO_RESOURCE", "does not include a pipeline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				w.crossAccount()
				tt.breaks(w)
				w.Start(w.events.Run)
				e := w.push("main", "trace-1")
				n := map[string]int{"forward": 1, "start": 2}[tt.rule]
				list := w.settled("trace-1", n)
				last := list[len(list)-1]
				if len(list) != n || last.State != events.Failed || !strings.HasSuffix(last.RuleARN, ":rule/"+tt.rule) || last.Attempts != 1 {
					w.T.Fatalf("deliveries = %+v", list)
				}
				l := w.letter("trace-1")
				if l.ErrorCode != tt.code || !strings.Contains(l.ErrorMessage, tt.says) || l.Exhausted != "" || l.RetryAttempts != 0 {
					w.T.Errorf("dead letter = %+v", l)
				}
				envelope, _ := e.MarshalEnvelope()
				if l.Body != string(envelope) {
					w.T.Errorf("body = %s", l.Body)
				}
				if len(w.pipelines.started) > 0 {
					w.T.Error("the pipeline was started all the same")
				}
			})
		})
	}
}

func TestForwardedEventIsUnchangedAndNotForwardedAgain(t *testing.T) {
	each(t, func(w *world) {
		w.crossAccount()
		// The receiver would send it on, and has a rule without targets.
		w.rule(receiver, "again", `{"source":["aws.codecommit"]}`, api.Target{Id: "back", Arn: "arn:aws:events:us-east-1:111111111111:event-bus/default", RoleArn: "arn:aws:iam::222222222222:role/start"})
		w.rule(receiver, "idle", `{"source":["aws.codecommit"]}`)
		w.rule(receiver, "shaped", `{"region":["us-east-1"],"time":["2026-01-02T03:04:05Z"],"account":["111111111111"]}`,
			api.Target{Id: "p", Arn: pipeline, RoleArn: "arn:aws:iam::222222222222:role/start", InputTransformer: &api.InputTransformer{
				InputPathsMap: map[string]string{"commit": "$.detail.commitId"},
				InputTemplate: `{"sourceRevisions":[{"actionName":"Source","revisionType":"COMMIT_ID","revisionValue":<commit>}],"variables":[{"name":"why","value":"<commit> by <aws.events.rule-name>"}]}`,
			}})
		w.Start(w.events.Run)
		e := w.push("main", "trace-1")
		states := map[string]string{}
		for _, d := range w.settled("trace-1", 5) {
			r := d.RuleARN[strings.LastIndexByte(d.RuleARN, '/')+1:]
			states[r] = d.State
			if d.EventID != e.ID || d.Trace != "trace-1" {
				w.T.Errorf("delivery %+v", d)
			}
		}
		want := map[string]string{"forward": events.Delivered, "start": events.Delivered, "shaped": events.Delivered, "again": events.Skipped, "idle": events.Skipped}
		if diff := cmp.Diff(want, states); diff != "" {
			w.T.Errorf("states (-want +got)\n%s", diff)
		}
		var shaped *codepipelineapi.StartPipelineExecutionInput
		for range 2 {
			if s := w.wait(); len(s.In.Variables) > 0 {
				shaped = s.In
			}
		}
		if shaped == nil || shaped.SourceRevisions[0].RevisionValue != "c0ffee" || shaped.Variables[0].Value != "c0ffee by shaped" {
			w.T.Errorf("shaped = %+v", shaped)
		}
	})
}

// What fails inside is tried again; the retry policy ends it.
func TestRetries(t *testing.T) {
	each(t, func(w *world) {
		w.crossAccount()
		w.roles.fail = 2
		w.Start(w.events.Run)
		w.push("main", "trace-1")
		w.wait()
		if list := w.settled("trace-1", 2); list[0].Attempts+list[1].Attempts != 2 || list[0].State != events.Delivered {
			w.T.Errorf("deliveries = %+v", list)
		}
	})
}

func TestRetriesEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy api.RetryPolicy
		want   string
		tries  int64
	}{
		{"attempts", api.RetryPolicy{MaximumRetryAttempts: new(int64(1))}, "MaximumRetryAttempts", 1},
		{"none", api.RetryPolicy{MaximumRetryAttempts: new(int64(0))}, "MaximumRetryAttempts", 0},
		{"age", api.RetryPolicy{MaximumEventAgeInSeconds: new(int64(0))}, "MaximumEventAgeInSeconds", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				w.Grant("root@"+receiver, all("*", "*"))
				w.rule(receiver, "start", `{"source":["mine"]}`, api.Target{Id: "p", Arn: pipeline, RoleArn: "arn:aws:iam::222222222222:role/start", RetryPolicy: &tt.policy})
				w.roles.fail = 100
				w.Start(w.events.Run)
				w.do("root@"+receiver, "PutEvents", &api.PutEventsInput{Entries: []api.PutEventsRequestEntry{{Source: "mine", DetailType: "d", Detail: "{}"}}})
				var letters []events.DeadLetter
				for range 1000 {
					letters, _ = w.events.DeadLetters(context.Background(), events.Filter{Account: receiver, RuleARN: "arn:aws:events:us-east-1:222222222222:rule/start"})
					if len(letters) > 0 {
						break
					}
					time.Sleep(5 * time.Millisecond)
				}
				if len(letters) != 1 || letters[0].Exhausted != tt.want || letters[0].RetryAttempts != tt.tries || letters[0].ErrorCode != "SERVICE_UNAVAILABLE" {
					w.T.Errorf("letters = %+v", letters)
				}
			})
		})
	}
}

// A delivery that is repeated, because a process died after the bus accepted
// the event, counts once.
func TestRepeatedForwardCountsOnce(t *testing.T) {
	each(t, func(w *world) {
		w.crossAccount()
		w.Start(w.events.Run)
		e := w.push("main", "trace-1")
		w.wait()
		w.settled("trace-1", 2)
		// The same job again, as it would come after a crash.
		var payload string
		for _, r := range w.Records() {
			if r.Call.Operation == "ForwardEvent" {
				payload = r.Call.ID
			}
		}
		if payload == "" {
			w.T.Fatal("nothing was forwarded")
		}
		list := w.settled("trace-1", 2)
		text, _ := json.Marshal(map[string]any{
			"ID": list[0].ID, "RuleARN": list[0].RuleARN, "Event": e, "Ingested": list[0].Created,
			"Target": map[string]any{"ID": "bus", "ARN": theirBus, "Role": "arn:aws:iam::111111111111:role/forward"},
		})
		err := w.DB.Update(context.Background(), func(tx *state.Tx) error {
			return job.Enqueue(context.Background(), tx, job.New{Kind: "events/deliver", Payload: json.RawMessage(text)})
		})
		if err != nil {
			w.T.Fatal(err)
		}
		forwards := 0
		for range 400 {
			forwards = 0
			for _, r := range w.Records() {
				if r.Call.Operation == "ForwardEvent" {
					forwards++
				}
			}
			if forwards == 2 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if forwards != 2 {
			w.T.Fatal("the job was not repeated")
		}
		time.Sleep(50 * time.Millisecond)
		if n := len(w.settled("trace-1", 2)); n != 2 || len(w.pipelines.started) != 0 {
			w.T.Errorf("%d deliveries, %d more starts", n, len(w.pipelines.started))
		}
	})
}

// A bus of the same account and region needs no role; its policy still counts.
func TestSameAccountBus(t *testing.T) {
	each(t, func(w *world) {
		w.Grant("root@"+receiver, all("*", "*"))
		w.do("root@"+receiver, "CreateEventBus", &api.CreateEventBusInput{Name: "orders"})
		orders := "arn:aws:events:us-east-1:222222222222:event-bus/orders"
		w.rule(receiver, "collect", `{"source":["mine"]}`, api.Target{Id: "bus", Arn: orders})
		w.do("root@"+receiver, "PutRule", &api.PutRuleInput{Name: "idle", EventBusName: "orders", EventPattern: `{"source":["mine"]}`})
		w.Start(w.events.Run)
		put := func(trace string) {
			err := w.DB.Update(context.Background(), func(tx *state.Tx) error {
				return tx.Emit(context.Background(), aws.Event{Account: receiver, Region: region, Source: "mine", DetailType: "d", Detail: json.RawMessage(`{}`), Trace: trace})
			})
			if err != nil {
				w.T.Fatal(err)
			}
		}
		put("one")
		list := w.settled("one", 2)
		if list[0].State != events.Delivered || list[1].RuleARN != "arn:aws:events:us-east-1:222222222222:rule/orders/idle" || list[1].BusARN != orders {
			w.T.Errorf("deliveries = %+v", list)
		}
		w.do("root@"+receiver, "PutPermission", &api.PutPermissionInput{EventBusName: "orders", Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"events:PutEvents","Resource":"*","Condition":{"StringEquals":{"events:eventBusInvocation":"true"}}}]}`})
		put("two")
		if list := w.settled("two", 1); list[0].State != events.Failed || !strings.Contains(list[0].ErrorMessage, "explicit deny") {
			w.T.Errorf("deliveries = %+v", list)
		}
		w.do("root@"+receiver, "DisableRule", &api.DisableRuleInput{Name: "collect"})
		put("three")
		time.Sleep(50 * time.Millisecond)
		if list := w.settled("three", 0); len(list) != 0 {
			w.T.Errorf("a disabled rule delivered: %+v", list)
		}
	})
}

// Another region's bus is called in that region.
func TestOtherRegion(t *testing.T) {
	each(t, func(w *world) {
		w.Grant("root@"+receiver, all("*", "*"))
		there := "arn:aws:events:eu-west-1:222222222222:event-bus/default"
		w.rule(receiver, "away", `{"source":["mine"]}`, api.Target{Id: "bus", Arn: there, RoleArn: "arn:aws:iam::222222222222:role/forward"})
		w.Grant("forward/x@"+receiver, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"events:PutEvents","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}]}`)
		w.Start(w.events.Run)
		w.do("root@"+receiver, "PutEvents", &api.PutEventsInput{Entries: []api.PutEventsRequestEntry{{Source: "mine", DetailType: "d", Detail: "{}"}}})
		for range 400 {
			for _, r := range w.Records() {
				if r.Call.Operation == "ForwardEvent" {
					if r.Error != nil || r.Call.Region != "eu-west-1" {
						w.T.Errorf("forwarded in %s: %v", r.Call.Region, r.Error)
					}
					return
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		w.T.Error("nothing was forwarded")
	})
}

// Old records go, by age.
func TestPrune(t *testing.T) {
	each(t, func(w *world) {
		w.crossAccount()
		w.Forget("start/x@" + receiver)
		w.Start(w.events.Run)
		w.push("main", "old")
		w.settled("old", 2)
		w.letter("old")
		w.Advance(31 * 24 * time.Hour)
		w.push("main", "new")
		w.settled("new", 2)
		err := w.DB.Update(context.Background(), func(tx *state.Tx) error {
			return job.Enqueue(context.Background(), tx, job.New{Kind: "events/prune", Key: "all"})
		})
		if err != nil {
			w.T.Fatal(err)
		}
		for range 500 {
			list, err := w.events.Deliveries(context.Background(), "old")
			if err != nil {
				w.T.Fatal(err)
			}
			letters, err := w.events.DeadLetters(context.Background(), events.Filter{})
			if err != nil {
				w.T.Fatal(err)
			}
			if len(list) == 0 && len(letters) == 1 && letters[0].Trace == "new" {
				w.settled("new", 2)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		w.T.Error("old records are still there")
	})
}
