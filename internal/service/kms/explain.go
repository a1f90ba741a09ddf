package kms

import (
	"context"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

// NeedOn returns what an action on a key or alias would ask for, with the key's
// policy, its tags and a grant to the caller that covers the action. The
// encryption context is taken from the call's keys.
func (s *Service) NeedOn(ctx context.Context, c *call.Call, action, resource string) (call.Need, error) {
	a, ok := aws.ParseARN(resource)
	if !ok {
		return call.Need{Action: action, Resource: resource}, nil
	}
	at := *c
	at.Region = a.Region
	r, err := anyRef(&at, resource)
	if err != nil {
		return call.Need{}, err
	}
	t, err := s.target(ctx, &at, r)
	if err != nil {
		return call.Need{}, err
	}
	pairs := map[string]string{}
	for name, values := range c.Keys {
		if key, ok := strings.CutPrefix(name, "kms:encryptioncontext:"); ok && len(values) == 1 {
			pairs[key] = values[0]
		}
	}
	return t.granted(&at, action, pairs, nil), nil
}
