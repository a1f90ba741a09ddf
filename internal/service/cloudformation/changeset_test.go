package cloudformation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/statetest"
)

func (w *world) changeSet(stack, name, kind, template string) (*api.CreateChangeSetOutput, error) {
	return w.client(root).CreateChangeSet(w.T.Context(), &api.CreateChangeSetInput{
		StackName: stack, ChangeSetName: name, ChangeSetType: kind, TemplateBody: template,
	})
}

func (w *world) described(name string) *api.DescribeChangeSetOutput {
	w.T.Helper()
	return must[*api.DescribeChangeSetOutput](w.T)(w.client(root).DescribeChangeSet(w.T.Context(),
		&api.DescribeChangeSetInput{StackName: "one", ChangeSetName: name, IncludePropertyValues: new(true)}))
}

// The calls that aws cloudformation deploy makes, in their order.
func TestDeploy(t *testing.T) {
	each(t, func(w *world) {
		c, ctx := w.client(root), t.Context()
		_, err := c.DescribeStacks(ctx, &api.DescribeStacksInput{StackName: "one"})
		wantError(t, err, "ValidationError", "Stack with id one does not exist")
		made := must[*api.CreateChangeSetOutput](t)(w.changeSet("one", "first", "CREATE", two))
		w.want("one", "REVIEW_IN_PROGRESS")
		d := must[*api.DescribeChangeSetOutput](t)(c.DescribeChangeSet(ctx, &api.DescribeChangeSetInput{ChangeSetName: made.Id}))
		if d.Status != "CREATE_COMPLETE" || d.ExecutionStatus != "AVAILABLE" || len(d.Changes) != 2 {
			t.Fatalf("%+v", d)
		}
		if rc := d.Changes[0].ResourceChange; rc.Action != "Add" || rc.LogicalResourceId != "A" || rc.ResourceType != "Test::Thing" {
			t.Errorf("%+v", rc)
		}
		if _, err := c.ExecuteChangeSet(ctx, &api.ExecuteChangeSetInput{ChangeSetName: made.Id, StackName: "one"}); err != nil {
			t.Fatal(err)
		}
		w.want("one", "CREATE_COMPLETE")
		wantLines(t, w.events("one")[:2], []string{"one REVIEW_IN_PROGRESS User Initiated", "one CREATE_IN_PROGRESS User Initiated"})
		if d := w.described("first"); d.ExecutionStatus != "EXECUTE_COMPLETE" {
			t.Error(d.ExecutionStatus)
		}

		must[*api.CreateChangeSetOutput](t)(w.changeSet("one", "same", "UPDATE", two))
		if d := w.described("same"); d.Status != "FAILED" || d.ExecutionStatus != "UNAVAILABLE" || !strings.HasPrefix(d.StatusReason, "The submitted information didn't contain changes.") {
			t.Errorf("%+v", d)
		}
		_, err = c.ExecuteChangeSet(ctx, &api.ExecuteChangeSetInput{ChangeSetName: "same", StackName: "one"})
		wantError(t, err, "InvalidChangeSetStatus", "cannot be executed in its current status of [FAILED]")

		// The AWS CLI names change sets by the second: one that is over gives
		// its name away.
		for _, name := range []string{"same", "first"} {
			if again := must[*api.CreateChangeSetOutput](t)(w.changeSet("one", name, "UPDATE", two)); again.Id == d.ChangeSetId {
				t.Errorf("%s is the old one", name)
			}
		}
		must[*api.CreateChangeSetOutput](t)(w.changeSet("one", "other", "UPDATE", replaceIn(two, "Default: 1", "Default: 9")))
		changed := replaceIn(two, "Name: a,", "Name: c,", "Default: hush", "Default: quiet")
		must[*api.CreateChangeSetOutput](t)(w.changeSet("one", "second", "UPDATE", changed))
		d = w.described("second")
		var got []string
		for _, ch := range d.Changes {
			rc := ch.ResourceChange
			line := strings.Join([]string{rc.Action, rc.LogicalResourceId, rc.Replacement, strings.Join(rc.Scope, ",")}, " ")
			for _, detail := range rc.Details {
				line += fmt.Sprintf(" %s/%s/%s>%s", detail.Target.Name, detail.ChangeSource, detail.Target.BeforeValue, detail.Target.AfterValue)
			}
			got = append(got, line)
		}
		if diff := cmp.Diff([]string{
			"Modify A True Properties Name/DirectModification/a>c",
			"Modify B False Properties Of/ResourceAttribute/arn:thing:a>{{changeSet:KNOWN_AFTER_APPLY}} Word/ParameterReference/****>****",
		}, got); diff != "" {
			t.Error(diff)
		}
		_, err = w.changeSet("one", "second", "UPDATE", changed)
		wantError(t, err, "AlreadyExistsException", "ChangeSet second already exists")
		body := must[*api.GetTemplateOutput](t)(c.GetTemplate(ctx, &api.GetTemplateInput{StackName: "one", ChangeSetName: "second"}))
		if body.TemplateBody != changed {
			t.Error("the template of the change set is another")
		}
		if _, err := c.ExecuteChangeSet(ctx, &api.ExecuteChangeSetInput{ChangeSetName: "second", StackName: "one"}); err != nil {
			t.Fatal(err)
		}
		w.want("one", "UPDATE_COMPLETE")
		wantLines(t, w.names(), []string{"b", "c"})
		_, err = c.DescribeChangeSet(ctx, &api.DescribeChangeSetInput{StackName: "one", ChangeSetName: "other"})
		wantError(t, err, "ChangeSetNotFound", "ChangeSet [other] does not exist")
		sets := must[*api.ListChangeSetsOutput](t)(c.ListChangeSets(ctx, &api.ListChangeSetsInput{StackName: "one"}))
		if len(sets.Summaries) != 1 || sets.Summaries[0].ChangeSetName != "second" {
			t.Errorf("%+v", sets.Summaries)
		}
		for range 2 {
			if _, err := c.DeleteChangeSet(ctx, &api.DeleteChangeSetInput{StackName: "one", ChangeSetName: "second"}); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestChangeSetsRefuse(t *testing.T) {
	each(t, func(w *world) {
		_, err := w.changeSet("one", "c", "UPDATE", two)
		wantError(t, err, "ValidationError", "Stack [one] does not exist")
		_, err = w.changeSet("one", "c", "CREATE", "x")
		wantError(t, err, "ValidationError", "Template format error: unsupported structure.")
		_, err = w.client(root).DescribeStacks(t.Context(), &api.DescribeStacksInput{StackName: "one"})
		wantError(t, err, "ValidationError", "Stack with id one does not exist")
		must[*api.CreateChangeSetOutput](t)(w.changeSet("one", "c", "CREATE", `Resources: {A: {Type: Test::Thing, Properties: {V: !ImportValue none}}}`))
		if d := w.described("c"); d.Status != "FAILED" || d.StatusReason != "No export named none found." {
			t.Errorf("%s %s", d.Status, d.StatusReason)
		}
		must[*api.CreateChangeSetOutput](t)(w.changeSet("one", "d", "CREATE", two))
		_, err = w.client(root).UpdateStack(t.Context(), &api.UpdateStackInput{StackName: "one", TemplateBody: two})
		wantError(t, err, "ValidationError", "is in REVIEW_IN_PROGRESS state and can not be updated.")
		w.delete("one")
		_, err = w.client(root).DescribeStacks(t.Context(), &api.DescribeStacksInput{StackName: "one"})
		wantError(t, err, "ValidationError", "Stack with id one does not exist")
		_, err = w.changeSet("one", "i", "IMPORT", two)
		wantError(t, err, "ValidationError", "Importing resources is not provided by sekisho.")
		w.create("one", two)
		_, err = w.changeSet("one", "e", "CREATE", two)
		wantError(t, err, "ValidationError", "Stack [one] already exists and cannot be created again with the changeSet [e].")
		_, err = w.client(root).ExecuteChangeSet(t.Context(), &api.ExecuteChangeSetInput{ChangeSetName: "none", StackName: "one"})
		wantError(t, err, "ChangeSetNotFound", "ChangeSet [none] does not exist")
	})
}

// tens is a template of ten resources in three layers.
func tens() string {
	var b strings.Builder
	b.WriteString("Resources:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "  T%d: {Type: Test::Thing, Properties: {Name: t%d", i, i)
		if i >= 4 {
			fmt.Fprintf(&b, ", Of: !GetAtt T%d.Arn", i-4)
		}
		b.WriteString("}}\n")
	}
	return b.String()
}

func BenchmarkTenResources(b *testing.B) {
	t := &testing.T{}
	db := statetest.Open(b, statetest.SQLite(b), Schema(), job.Schema())
	w := newWorld(servicetest.New(t, db))
	c := w.client(root)
	template := tens()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.CreateStack(b.Context(), &api.CreateStackInput{StackName: "one", TemplateBody: template}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if _, err := c.DeleteStack(b.Context(), &api.DeleteStackInput{StackName: "one"}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
