package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name      string
		failure   error
		code      string
		transient bool
	}{
		{"permission", aws.Errorf("AccessDenied", "no").WithStatus(403), "NO_PERMISSIONS", false},
		{"permission, JSON", aws.Errorf("AccessDeniedException", "no"), "NO_PERMISSIONS", false},
		{"gone", aws.Errorf("PipelineNotFoundException", "gone"), "NO_RESOURCE", false},
		{"bad input", aws.Errorf("ValidationException", "bad"), "SDK_CLIENT_ERROR", false},
		{"not implemented", aws.Errorf("NotImplemented", "no").WithStatus(501), "SDK_CLIENT_ERROR", false},
		{"throttled", aws.Errorf("ThrottlingException", "slow"), "SERVICE_UNAVAILABLE", true},
		{"busy", aws.Errorf("ConcurrentPipelineExecutionsLimitExceededException", "full"), "SERVICE_UNAVAILABLE", true},
		{"inside", aws.Errorf("InternalFailure", "oh").WithStatus(500), "SERVICE_UNAVAILABLE", true},
		{"anything else", errors.New("disk"), "INTERNAL_ERROR", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := delivery{Ingested: now}
			if v := d.judge(tt.failure, 0, now); v.final == tt.transient || v.exhausted != "" {
				t.Errorf("verdict = %+v", v)
			}
			if got := deadCode(tt.failure); got != tt.code {
				t.Errorf("code = %s, want %s", got, tt.code)
			}
			if !tt.transient {
				return
			}
			if v := d.judge(tt.failure, maxRetries, now); !v.final || v.exhausted != "MaximumRetryAttempts" {
				t.Errorf("after all attempts: %+v", v)
			}
			if v := d.judge(tt.failure, 1, now.Add(maxAge)); !v.final || v.exhausted != "MaximumEventAgeInSeconds" {
				t.Errorf("after a day: %+v", v)
			}
		})
	}
}

// BenchmarkRoute is an event on a bus with many rules, of which one matches.
func BenchmarkRoute(b *testing.B) {
	ctx := context.Background()
	db, err := state.Open(ctx, filepath.Join(b.TempDir(), "db"), Schema(), job.Schema())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	s := New(db, nil, job.NewQueue(db, job.Options{}), nil, Options{})
	const rules = 100
	err = db.Update(ctx, func(tx *state.Tx) error {
		for i := range rules {
			ref := ruleRef{busRef{"111111111111", "us-east-1", defaultBus}, fmt.Sprintf("rule-%d", i)}
			r := rule{
				Account: ref.bus.account, Region: ref.bus.region, Bus: ref.bus.name, Name: ref.name, State: enabled,
				Pattern: fmt.Sprintf(`{"source":["aws.codecommit"],"detail":{"referenceName":["branch-%d"]}}`, i),
			}
			if err := r.save(ctx, tx); err != nil {
				return err
			}
			if err := (target{ID: "t", ARN: "arn:aws:codepipeline:us-east-1:111111111111:p"}).save(ctx, tx, ref); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	e := aws.Event{
		ID: "id", Account: "111111111111", Region: "us-east-1", Source: "aws.codecommit", DetailType: "CodeCommit Repository State Change",
		Time: time.Now(), Detail: json.RawMessage(`{"event":"referenceUpdated","referenceName":"branch-50","commitId":"c0ffee"}`),
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := db.Update(ctx, func(tx *state.Tx) error { return s.route(ctx, tx, e) }); err != nil {
			b.Fatal(err)
		}
	}
}
