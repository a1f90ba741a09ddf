package cloudformation

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/state"
)

// paused stops the world's steps once, at one of them, until proceed is
// called; reached is closed when it gets there.
func (w *world) paused(at string) (reached chan struct{}, proceed func()) {
	reached, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.before = func(step string) {
		if step == at {
			once.Do(func() {
				close(reached)
				<-gate
			})
		}
	}
	return reached, sync.OnceFunc(func() { close(gate) })
}

func TestRepeatedRequests(t *testing.T) {
	each(t, func(w *world) {
		id := w.create("one", two)
		c, ctx := w.client(root), t.Context()
		w.s.hold = -1
		reached, proceed := w.paused("update A")
		w.update("one", replaceIn(two, "Default: 1", "Default: 2"))
		<-reached
		cancel := &api.CancelUpdateStackInput{StackName: "one", ClientRequestToken: "cancel"}
		for range 2 {
			if _, err := c.CancelUpdateStack(ctx, cancel); err != nil {
				t.Fatal(err)
			}
		}
		proceed()
		if st := must[*stack](t)(w.s.await(ctx, id)); st.Status != "UPDATE_ROLLBACK_COMPLETE" {
			t.Fatal(st.Status)
		}
		if _, err := c.CancelUpdateStack(ctx, cancel); err != nil {
			t.Errorf("the same request again: %v", err)
		}
		_, err := c.CancelUpdateStack(ctx, &api.CancelUpdateStackInput{StackName: "one", ClientRequestToken: "other"})
		wantError(t, err, "ValidationError", "CancelUpdateStack cannot be called from current stack status")

		w.fail = map[string]string{"update B": "problem"}
		w.update("one", replaceIn(two, "Word: !Ref Word", "Word: other"))
		must[*stack](t)(w.s.await(ctx, id))
		w.want("one", "UPDATE_ROLLBACK_FAILED")
		w.fail = map[string]string{}
		more := &api.ContinueUpdateRollbackInput{StackName: "one", ClientRequestToken: "more"}
		for range 2 {
			if _, err := c.ContinueUpdateRollback(ctx, more); err != nil {
				t.Fatal(err)
			}
			must[*stack](t)(w.s.await(ctx, id))
		}
		w.want("one", "UPDATE_ROLLBACK_COMPLETE")
		_, err = c.ContinueUpdateRollback(ctx, &api.ContinueUpdateRollbackInput{StackName: "one", ClientRequestToken: "more", ResourcesToSkip: []string{"B"}})
		wantError(t, err, "TokenAlreadyExistsException", "more")
	})
}

// A cancellation that was answered counts, also when the last resource is done
// already.
func TestCancelledAtTheEnd(t *testing.T) {
	each(t, func(w *world) {
		id := w.create("one", two)
		w.s.hold = -1
		reached, proceed := w.paused("update B")
		w.update("one", replaceIn(two, "Word: !Ref Word", "Word: other"))
		<-reached
		if _, err := w.client(root).CancelUpdateStack(t.Context(), &api.CancelUpdateStackInput{StackName: "one"}); err != nil {
			t.Fatal(err)
		}
		proceed()
		if st := must[*stack](t)(w.s.await(t.Context(), id)); st.Status != "UPDATE_ROLLBACK_COMPLETE" {
			t.Error(st.Status)
		}
	})
}

func TestUnprovidedOptions(t *testing.T) {
	each(t, func(w *world) {
		c, ctx := w.client(root), t.Context()
		w.url["t/nested.yaml"] = two
		nested := `Resources: {N: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: "https://t.s3.amazonaws.com/nested.yaml"}}}`
		for text, in := range map[string]*api.CreateChangeSetInput{
			"IncludeNestedStacks":                       {ChangeSetType: "CREATE", TemplateBody: nested, IncludeNestedStacks: new(true)},
			"OnStackFailure DELETE can be specified":    {ChangeSetType: "UPDATE", TemplateBody: two, OnStackFailure: "DELETE"},
			"MonitoringTimeInMinutes is not provided":   {ChangeSetType: "CREATE", TemplateBody: two, RollbackConfiguration: &api.RollbackConfiguration{MonitoringTimeInMinutes: new(int64(1))}},
			"Importing resources is not provided":       {ChangeSetType: "CREATE", TemplateBody: two, ImportExistingResources: new(true)},
			"DeploymentMode REVERT_DRIFT is not provid": {ChangeSetType: "CREATE", TemplateBody: two, DeploymentMode: "REVERT_DRIFT"},
		} {
			in.StackName, in.ChangeSetName = "none", "c"
			_, err := c.CreateChangeSet(ctx, in)
			wantError(t, err, "ValidationError", text)
		}
		must[*api.CreateChangeSetOutput](t)(c.CreateChangeSet(ctx, &api.CreateChangeSetInput{
			StackName: "flat", ChangeSetName: "c", ChangeSetType: "CREATE", TemplateBody: two, IncludeNestedStacks: new(true),
			RollbackConfiguration: &api.RollbackConfiguration{MonitoringTimeInMinutes: new(int64(0))},
		}))
		if _, err := c.DescribeStacks(ctx, &api.DescribeStacksInput{StackName: "none"}); err == nil {
			t.Error("a refused change set made a stack")
		}
	})
}

func TestResourcesThatCannotBeNamed(t *testing.T) {
	each(t, func(w *world) {
		c, ctx := w.client(root), t.Context()
		w.create("one", two)
		w.fail = map[string]string{"update B": "problem"}
		w.update("one", replaceIn(two, "Word: !Ref Word", "Word: other"))
		w.want("one", "UPDATE_ROLLBACK_FAILED")
		for _, name := range []string{"A", "None", "Nested.B"} {
			_, err := c.ContinueUpdateRollback(ctx, &api.ContinueUpdateRollbackInput{StackName: "one", ResourcesToSkip: []string{"B", name}})
			wantError(t, err, "ValidationError", "UPDATE_FAILED state can be skipped: ["+name+"]")
		}
		w.fail = map[string]string{"delete B": "problem"}
		w.delete("one")
		w.want("one", "DELETE_FAILED")
		_, err := c.DeleteStack(ctx, &api.DeleteStackInput{StackName: "one", RetainResources: []string{"A", "B", "C"}})
		wantError(t, err, "ValidationError", "Do not specify the following resources: [A, C]")
	})
}

// RetainExceptOnCreate deletes what the failed update made, whatever its
// policy says.
func TestRetainExceptOnCreate(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		w.fail = map[string]string{"create Bad": "problem"}
		w.update("one", replaceIn(two, "Outputs:", `  Keep: {Type: Test::Thing, DeletionPolicy: Retain, Properties: {Name: keep}}
  Bad: {Type: Test::Thing, DependsOn: Keep}
Outputs:`), func(in *api.UpdateStackInput) { in.DisableRollback = new(true) })
		w.want("one", "UPDATE_FAILED")
		if _, err := w.client(root).RollbackStack(t.Context(), &api.RollbackStackInput{StackName: "one", RetainExceptOnCreate: new(true)}); err != nil {
			t.Fatal(err)
		}
		w.want("one", "UPDATE_ROLLBACK_COMPLETE")
		wantLines(t, w.names(), []string{"a", "b"})
	})
}

// Change sets that a direct update overtook cannot be executed.
func TestObsoleteChangeSet(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		must[*api.CreateChangeSetOutput](t)(w.changeSet("one", "late", "UPDATE", replaceIn(two, "Default: 1", "Default: 5")))
		w.update("one", replaceIn(two, "Default: 1", "Default: 2"))
		if d := w.described("late"); d.Status != "CREATE_COMPLETE" || d.ExecutionStatus != "OBSOLETE" {
			t.Errorf("%s %s", d.Status, d.ExecutionStatus)
		}
		_, err := w.client(root).ExecuteChangeSet(t.Context(), &api.ExecuteChangeSetInput{StackName: "one", ChangeSetName: "late"})
		wantError(t, err, "InvalidChangeSetStatus", "cannot be executed in its current status of [OBSOLETE]")
	})
}

// Of updates and executions that come at once, one is taken at a time; what
// the others keep of the stack is what the one before left.
func TestUpdatesAtOnce(t *testing.T) {
	each(t, func(w *world) {
		id := w.create("one", two)
		w.s.hold = -1
		const n = 8
		var wg sync.WaitGroup
		accepted := make(chan int, n)
		for i := range n {
			wg.Go(func() {
				_, err := w.client(root).UpdateStack(t.Context(), &api.UpdateStackInput{
					StackName: "one", UsePreviousTemplate: new(true), Parameters: []api.Parameter{
						{ParameterKey: "Size", ParameterValue: fmt.Sprint(100 + i)}, {ParameterKey: "Word", UsePreviousValue: new(true)},
					},
				})
				if err == nil {
					accepted <- i
				} else if !strings.Contains(err.Error(), "state and can not be updated.") {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		must[*stack](t)(w.s.await(t.Context(), id))
		close(accepted)
		begun := strings.Count(strings.Join(w.events("one"), "\n"), "one UPDATE_IN_PROGRESS")
		if len(accepted) == 0 || len(accepted) != begun {
			t.Errorf("%d updates were accepted, %d began", len(accepted), begun)
		}
		w.want("one", "UPDATE_COMPLETE")

		for _, name := range []string{"x", "y"} {
			must[*api.CreateChangeSetOutput](t)(w.changeSet("one", name, "UPDATE", replaceIn(two, "Default: 1", "Default: 7")))
		}
		executed := make(chan string, 2)
		for _, name := range []string{"x", "y"} {
			wg.Go(func() {
				if _, err := w.client(root).ExecuteChangeSet(t.Context(), &api.ExecuteChangeSetInput{StackName: "one", ChangeSetName: name}); err == nil {
					executed <- name
				}
			})
		}
		wg.Wait()
		if len(executed) != 1 {
			t.Errorf("%d change sets were executed", len(executed))
		}
		must[*stack](t)(w.s.await(t.Context(), id))
	})
}

func TestTimeout(t *testing.T) {
	each(t, func(w *world) {
		w.s.now = w.Now
		w.before = func(step string) {
			if step == "create B" {
				w.Advance(2 * time.Minute)
			}
		}
		id := w.create("one", two, func(in *api.CreateStackInput) { in.TimeoutInMinutes = new(int64(1)) })
		w.want(id, "ROLLBACK_COMPLETE")
		if events := strings.Join(w.events(id), "\n"); !strings.Contains(events, "Stack creation time exceeded the specified timeout. Rollback requested by user.") {
			t.Error(events)
		}
		wantLines(t, w.names(), nil)
	})
}

func TestTagConditions(t *testing.T) {
	each(t, func(w *world) {
		tagged := func(in *api.CreateStackInput) { in.Tags = []api.Tag{{Key: "Team", Value: "shop"}} }
		w.create("mine", two, tagged)
		w.create("yours", replaceIn(two, "Name: a", "Name: y", "Name: b", "Name: z"))
		w.Grant(alice, `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"cloudformation:DescribeStacks","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/Team":"shop"}}},
			{"Effect":"Allow","Action":["cloudformation:CreateStack","cloudformation:UpdateStack","cloudformation:CreateChangeSet"],"Resource":"*",
			 "Condition":{"StringEquals":{"aws:RequestTag/Team":"shop"},"ForAllValues:StringEquals":{"aws:TagKeys":["Team"]}}}]}`)
		c, ctx := w.client(alice), t.Context()
		if _, err := c.DescribeStacks(ctx, &api.DescribeStacksInput{StackName: "mine"}); err != nil {
			t.Error(err)
		}
		_, err := c.DescribeStacks(ctx, &api.DescribeStacksInput{StackName: "yours"})
		wantError(t, err, "AccessDenied", "cloudformation:DescribeStacks")
		for _, tt := range []struct {
			tags    []api.Tag
			allowed bool
		}{
			{[]api.Tag{{Key: "Team", Value: "shop"}}, true},
			{[]api.Tag{{Key: "Team", Value: "other"}}, false},
			{[]api.Tag{{Key: "Team", Value: "shop"}, {Key: "More", Value: "x"}}, false},
			{nil, false},
		} {
			for name, do := range map[string]func() error{
				"create": func() error {
					_, err := c.CreateStack(ctx, &api.CreateStackInput{StackName: "new", TemplateBody: "x", Tags: tt.tags})
					return err
				},
				"update": func() error {
					_, err := c.UpdateStack(ctx, &api.UpdateStackInput{StackName: "yours", TemplateBody: "x", Tags: tt.tags})
					return err
				},
				"change set": func() error {
					_, err := c.CreateChangeSet(ctx, &api.CreateChangeSetInput{StackName: "yours", ChangeSetName: "c", TemplateBody: "x", Tags: tt.tags})
					return err
				},
			} {
				if err := do(); (errorCode(err) != "AccessDenied") != tt.allowed {
					t.Errorf("%s with %v: %v", name, tt.tags, err)
				}
			}
		}
	})
}

// Each of CloudFormation's own keys can refuse what the action alone allows.
func TestOwnConditionKeys(t *testing.T) {
	each(t, func(w *world) {
		w.create("one", two)
		c, ctx := w.client(alice), t.Context()
		url, role := "https://templates.s3.amazonaws.com/t.yaml", "arn:aws:iam::"+account+":role/deployer"
		for _, tt := range []struct {
			key string
			do  func() error
		}{
			{"TemplateUrl", func() error {
				_, err := c.CreateStack(ctx, &api.CreateStackInput{StackName: "x", TemplateURL: url})
				return err
			}},
			{"TemplateUrl", func() error {
				_, err := c.ValidateTemplate(ctx, &api.ValidateTemplateInput{TemplateURL: url})
				return err
			}},
			{"TemplateUrl", func() error {
				_, err := c.GetTemplateSummary(ctx, &api.GetTemplateSummaryInput{TemplateURL: url})
				return err
			}},
			{"StackPolicyUrl", func() error {
				_, err := c.UpdateStack(ctx, &api.UpdateStackInput{StackName: "one", TemplateBody: two, StackPolicyURL: url})
				return err
			}},
			{"ResourceTypes", func() error {
				_, err := c.CreateStack(ctx, &api.CreateStackInput{StackName: "x", TemplateBody: two, ResourceTypes: []string{"Test::*"}})
				return err
			}},
			{"RoleArn", func() error {
				_, err := c.ContinueUpdateRollback(ctx, &api.ContinueUpdateRollbackInput{StackName: "one", RoleARN: role})
				return err
			}},
			{"RoleArn", func() error {
				_, err := c.RollbackStack(ctx, &api.RollbackStackInput{StackName: "one", RoleARN: role})
				return err
			}},
			{"RoleArn", func() error {
				_, err := c.DeleteStack(ctx, &api.DeleteStackInput{StackName: "one", RoleARN: role})
				return err
			}},
			{"ChangeSetName", func() error {
				_, err := c.DescribeChangeSet(ctx, &api.DescribeChangeSetInput{StackName: "one", ChangeSetName: "c"})
				return err
			}},
			{"ChangeSetName", func() error {
				_, err := c.ExecuteChangeSet(ctx, &api.ExecuteChangeSetInput{StackName: "one", ChangeSetName: "c"})
				return err
			}},
			{"ChangeSetName", func() error {
				_, err := c.DeleteChangeSet(ctx, &api.DeleteChangeSetInput{StackName: "one", ChangeSetName: "c"})
				return err
			}},
		} {
			w.Forget(alice)
			w.Grant(alice, fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
				{"Effect":"Allow","Action":["cloudformation:*","iam:PassRole"],"Resource":"*"},
				{"Effect":"Deny","Action":"cloudformation:*","Resource":"*","Condition":{"Null":{"cloudformation:%s":"false"}}}]}`, tt.key))
			wantError(t, tt.do(), "AccessDenied", "explicit deny")
		}
	})
}

// Stacks and resources tell the default bus of each of their states.
func TestStatusEvents(t *testing.T) {
	each(t, func(w *world) {
		id := w.create("one", two, func(in *api.CreateStackInput) { in.ClientRequestToken = "tok" })
		var rows []string
		err := w.DB.View(t.Context(), func(tx *state.Tx) (err error) {
			rows, err = state.List[string](t.Context(), tx, `SELECT event FROM state_outbox ORDER BY seq`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range rows {
			var e aws.Event
			var detail struct {
				Stack    string `json:"stack-id"`
				Logical  string `json:"logical-resource-id"`
				Physical string `json:"physical-resource-id"`
				Type     string `json:"resource-type"`
				Token    string `json:"client-request-token"`
				Status   struct {
					Status string `json:"status"`
				} `json:"status-details"`
			}
			if err := errors.Join(json.Unmarshal([]byte(row), &e), json.Unmarshal(e.Detail, &detail)); err != nil {
				t.Fatal(err)
			}
			if e.Source != "aws.cloudformation" || detail.Stack != id || detail.Token != "tok" {
				t.Errorf("%s", row)
			}
			got = append(got, strings.TrimSpace(strings.Join([]string{e.DetailType, detail.Status.Status, detail.Logical, detail.Physical, detail.Type}, " ")))
		}
		const stackChange, change = "CloudFormation Stack Status Change ", "CloudFormation Resource Status Change "
		wantLines(t, got, []string{
			stackChange + "CREATE_IN_PROGRESS",
			change + "CREATE_IN_PROGRESS A  Test::Thing", change + "CREATE_IN_PROGRESS A a Test::Thing", change + "CREATE_COMPLETE A a Test::Thing",
			change + "CREATE_IN_PROGRESS B  Test::Thing", change + "CREATE_IN_PROGRESS B b Test::Thing", change + "CREATE_COMPLETE B b Test::Thing",
			stackChange + "CREATE_COMPLETE",
		})
	})
}
