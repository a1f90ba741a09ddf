package events

import (
	"context"

	"github.com/sekisho/sekisho/internal/call"
)

// NeedOn returns what an action on a bus would ask for, with its policy. Rules
// are asked for by the policy of their bus.
func (s *Service) NeedOn(ctx context.Context, _ *call.Call, action, resource string) (call.Need, error) {
	n := call.Need{Action: action, Resource: resource}
	bus, ok := busFromARN(resource)
	if rule, isRule := ruleFromARN(resource); isRule {
		bus, ok = rule.bus, true
	}
	if !ok {
		return n, nil
	}
	var err error
	n.Policy, _, err = s.policyOf(ctx, bus)
	return n, err
}
