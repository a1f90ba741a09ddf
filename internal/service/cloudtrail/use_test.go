package cloudtrail_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

func TestUses(t *testing.T) {
	each(t, func(w *world) {
		ctx := context.Background()
		record := func(p aws.Principal, service, operation string, actions ...string) time.Time {
			t.Helper()
			e := w.entry(p, service, operation, "")
			e.Judgements = nil
			for _, a := range actions {
				e.Judgements = append(e.Judgements, call.Judgement{Action: a})
			}
			if err := w.trail.Record(ctx, e); err != nil {
				t.Fatal(err)
			}
			return e.Call.Time
		}
		first := record(ana, "s3", "ListObjectsV2", "s3:ListBucket", "s3:ListBucket")
		put := record(ana, "events", "PutRule", "events:PutRule", "iam:PassRole")
		record(ana, "s3", "ListObjectsV2", "s3:ListBucket") // within the minute
		worn := record(bob, "sts", "GetCallerIdentity")
		record(aws.ServicePrincipal("events.amazonaws.com"), "s3", "GetObject", "s3:GetObject")

		last, ok, err := w.trail.KeyUse(ctx, "AKIAANA")
		want := call.Use{PrincipalID: "AIDAANA", Service: "events", Action: "PutRule", Region: last.Region, Time: put}
		if err != nil || !ok || !cmp.Equal(last, want) {
			t.Errorf("KeyUse: %s %v, %v", cmp.Diff(want, last), ok, err)
		}
		for _, key := range []string{"ASIABOB", "AKIANOBODY", ""} {
			if _, ok, err := w.trail.KeyUse(ctx, key); ok || err != nil {
				t.Errorf("KeyUse(%q) = %v, %v", key, ok, err)
			}
		}
		check := func(want []call.Use) {
			t.Helper()
			got, err := w.trail.UsesOf(ctx, []string{"AIDAANA", "AROABUILDER", "AIDANOBODY"})
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].Region = ""
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("UsesOf: %s", diff)
			}
		}
		events := call.Use{PrincipalID: "AIDAANA", Service: "events", Action: "PutRule", Time: put}
		identity := call.Use{PrincipalID: "AROABUILDER", Service: "sts", Action: "GetCallerIdentity", Time: worn}
		check([]call.Use{events, {PrincipalID: "AIDAANA", Service: "s3", Action: "ListBucket", Time: first}, identity})
		w.at = w.at.Add(2 * time.Minute)
		again := record(ana, "s3", "ListObjectsV2", "s3:ListBucket")
		check([]call.Use{events, {PrincipalID: "AIDAANA", Service: "s3", Action: "ListBucket", Time: again}, identity})
	})
}
