package cloudtrail_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

func TestCalls(t *testing.T) {
	each(t, func(w *world) {
		ctx := context.Background()
		other := bob
		other.RoleARN += "s" // of which bob's ARN is a part
		const n = 1203       // more than two pages
		var entries []*call.Entry
		for i := range n {
			entries = append(entries, w.entry(bob, "s3", fmt.Sprintf("GetObject%d", i), ""))
			if i%100 == 0 {
				entries = append(entries, w.entry(other, "s3", "PutObject", ""), w.entry(ana, "s3", "ListObjectsV2", ""))
			}
		}
		w.record(entries...)
		read := func(who string, from, to time.Time) (list []*call.Entry) {
			t.Helper()
			err := w.trail.Calls(ctx, who, from, to, func(e *call.Entry) error {
				list = append(list, e)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		first, end := entries[0].Call.Time, entries[len(entries)-1].Call.Time.Add(time.Second)
		got := read(bob.RoleARN, first, end)
		if len(got) != n {
			t.Fatalf("%d calls, want %d", len(got), n)
		}
		for i, e := range got {
			if e.Call.Operation != fmt.Sprintf("GetObject%d", i) {
				t.Fatalf("call %d is %s", i, e.Call.Operation)
			}
		}
		if got := read(ana.ARN, first, end); len(got) != 13 {
			t.Errorf("%d calls of a user", len(got))
		}
		middle := entries[600].Call.Time
		if early, late := read(bob.RoleARN, first, middle), read(bob.RoleARN, middle, end); len(early)+len(late) != n || len(early) == 0 || len(late) == 0 {
			t.Errorf("%d calls before a time, %d from then on", len(early), len(late))
		}
		if got := read(`arn:aws:iam::111111111111:role/%\"`, first, end); len(got) != 0 {
			t.Errorf("calls of nobody: %v", got)
		}
		stop := errors.New("enough")
		if err := w.trail.Calls(ctx, ana.ARN, first, end, func(*call.Entry) error { return stop }); err != stop {
			t.Errorf("an error of each ends in %v", err)
		}
	})
}

func TestPipelineOfExecution(t *testing.T) {
	each(t, func(w *world) {
		const pipeline = "arn:aws:codepipeline:eu-central-1:111111111111:p"
		own := w.entry(aws.ServicePrincipal("codepipeline.amazonaws.com"), "sts", "AssumeRole", "")
		own.Call.Scope, own.Call.SourceARN = "e-1", pipeline
		role := w.entry(bob, "s3", "GetObject", "")
		role.Call.Scope = "e-2"
		w.record(own, role)
		for execution, want := range map[string]string{"e-1": pipeline, "e-2": "", "": "", "e-3": ""} {
			if got, err := w.trail.Pipeline(context.Background(), execution); got != want || err != nil {
				t.Errorf("Pipeline(%q) = %q, %v", execution, got, err)
			}
		}
	})
}
