package sekisho

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/leastprivilege"
)

// Used tells what a user, or a role in all its sessions, did in the record from
// one time until before another: the permissions it used and those it was
// refused, and what its present policies allow beyond them.
func (s *Server) Used(ctx context.Context, principal string, from, to time.Time) (*leastprivilege.Record, error) {
	a, ok := aws.ParseARN(principal)
	if !ok || a.Service != "iam" || a.Account == "" {
		return nil, aws.Errorf("InvalidInput", "%s is not the ARN of a role or user", principal)
	}
	gathered := leastprivilege.NewCollector(principal)
	reach := map[string][]string{} // by execution
	var last aws.Principal
	err := s.trail.Calls(ctx, principal, from, to, func(e *call.Entry) error {
		if _, ok := reach[e.Call.Scope]; !ok && e.Call.Scope != "" {
			pipeline, err := s.trail.Pipeline(ctx, e.Call.Scope)
			if err != nil {
				return err
			}
			if reach[e.Call.Scope], err = s.pipelines.Reach(ctx, pipeline); err != nil {
				return err
			}
		}
		last = e.Call.Principal
		return gathered.Add(e, reach[e.Call.Scope])
	})
	if err != nil {
		return nil, err
	}
	r := gathered.Record()
	if r.Calls == 0 {
		return nil, aws.Errorf("NotFound", "no call of %s is recorded in that time", principal).WithStatus(http.StatusNotFound)
	}
	last.SessionPolicies, last.SessionPolicyARNs = nil, nil
	set, err := s.iam.For(ctx, last)
	switch {
	case gone(err):
		r.Gone = true
	case err != nil:
		return nil, err
	default:
		r.Unused = leastprivilege.Spare(set.Identity, r.Uses)
	}
	return r, nil
}

// gone tells the answer for somebody who does not exist any more.
func gone(err error) bool {
	e, ok := errors.AsType[*aws.Error](err)
	return ok && e.Code == "InvalidClientTokenId"
}

// period reads since and until, in RFC 3339; without them it is all that the
// record has, up to now.
func period(q url.Values, now time.Time) (from, to time.Time, err error) {
	from, to = time.Unix(0, 0), now.Add(time.Second)
	for name, t := range map[string]*time.Time{"since": &from, "until": &to} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		if *t, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return from, to, fmt.Errorf("%s: %w", name, err)
		}
	}
	return from, to, nil
}
