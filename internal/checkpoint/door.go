package checkpoint

import (
	"context"
	"errors"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

// As returns an invoker that calls in a session. Its calls are judged and
// recorded like any other.
func (k *Checkpoint) As(s call.Session) call.Invoker { return invoker{k, s} }

type invoker struct {
	k *Checkpoint
	s call.Session
}

func (i invoker) Invoke(ctx context.Context, service, operation string, in any) (any, error) {
	now := i.k.now()
	c := &call.Call{
		ID:        aws.NewTimedUUID(now), // by which its record is found
		Trace:     i.s.Trace,
		Scope:     i.s.Scope,
		Service:   service,
		Operation: operation,
		Region:    i.s.Region,
		Principal: i.s.Principal,
		Time:      now,
		SourceIP:  i.s.SourceIP,
		UserAgent: i.s.UserAgent,
		Secure:    true, // the call never leaves the process
		Via:       i.s.Via,
		SourceARN: i.s.SourceARN,
		BaseURL:   i.s.BaseURL,
	}
	if c.Trace == "" {
		c.Trace = c.ID
	}
	if c.BaseURL == "" {
		c.BaseURL = i.k.baseURL
	}
	if !c.Principal.Expires.IsZero() && c.Time.After(c.Principal.Expires) {
		return nil, aws.Errorf("ExpiredTokenException", "The security token included in the request is expired")
	}
	out, err := i.k.do(ctx, c, in, true)
	if e, ok := errors.AsType[*aws.Error](err); ok {
		answer := *e
		answer.RequestID = c.ID
		return nil, &answer
	}
	return out, err
}

// Identify returns whom credentials stand for. The secret is compared, so a
// service cannot act as somebody whose key it does not hold.
func (k *Checkpoint) Identify(ctx context.Context, keyID, secret, token string) (aws.Principal, error) {
	want, p, err := k.identity.Key(ctx, keyID, token)
	if err != nil {
		return aws.Principal{}, err
	}
	if !want.Equal([]byte(secret)) {
		return aws.Principal{}, aws.Errorf("InvalidClientTokenId", "The security token included in the request is invalid.").WithStatus(403)
	}
	return p, nil
}
