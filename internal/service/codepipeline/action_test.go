package codepipeline

import (
	"context"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	stsapi "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

// shortLived is a door whose sessions last as long as it says, and which
// counts them.
type shortLived struct {
	last    time.Duration
	assumed int
	calls   []string
}

func (d *shortLived) As(s call.Session) call.Invoker { return as{d, s} }

func (d *shortLived) Identify(context.Context, string, string, string) (aws.Principal, error) {
	return aws.Principal{Kind: aws.Session, Expires: time.Now().Add(d.last)}, nil
}

type as struct {
	d *shortLived
	s call.Session
}

func (a as) Invoke(_ context.Context, service, operation string, _ any) (any, error) {
	if service == "sts" {
		a.d.assumed++
		return &stsapi.AssumeRoleOutput{Credentials: &stsapi.Credentials{}}, nil
	}
	a.d.calls = append(a.d.calls, service+" "+operation+" in "+a.s.Region)
	return nil, nil
}

func TestSessionsAreRenewed(t *testing.T) {
	for last, want := range map[time.Duration]int{time.Hour: 1, renewal / 2: 4} {
		d := &shortLived{last: last}
		w := &work{service: &Service{door: d}, execution: &execution{}, declared: &api.ActionDeclaration{}}
		i, err := w.invoker(t.Context(), "eu-west-1")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := i.Invoke(t.Context(), "s3", "PutObject", nil); err != nil {
				t.Fatal(err)
			}
		}
		if d.assumed != want || len(d.calls) != 3 || d.calls[0] != "s3 PutObject in eu-west-1" {
			t.Errorf("sessions of %v: assumed %d times for %q, want %d", last, d.assumed, d.calls, want)
		}
	}
}
