package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// people puts into the words of people what a refusal says of a resource's
// policy, which keeps users and roles by their unique ids: statements show
// ARNs, and the ids of those who are gone are named, since the caller may be a
// namesake.
func (k *Checkpoint) people(ctx context.Context, req *policy.Request, j *call.Judgement) error {
	if j.Decision.Effect == policy.Allow || req.Policy == nil {
		return nil
	}
	for i := range j.Fixes {
		if err := k.show(ctx, &j.Fixes[i]); err != nil {
			return err
		}
	}
	if !slices.Contains(j.Decision.Silent, req.Policy.Kind) {
		return nil
	}
	gone := &call.Gone{Kind: req.Policy.Kind, Name: req.Policy.Name, On: req.Policy.On}
	for _, id := range policy.Strangers(req) {
		_, ok, err := k.identity.PrincipalARN(ctx, id)
		if err != nil {
			return fmt.Errorf("look up principal %s: %w", id, err)
		}
		if !ok {
			gone.IDs = append(gone.IDs, id)
		}
	}
	if len(gone.IDs) > 0 {
		j.Gone = gone
	}
	return nil
}

// show puts ARNs into the statements that a fix takes from a resource's
// policy.
func (k *Checkpoint) show(ctx context.Context, f *policy.Fix) error {
	if f.Was == nil {
		return nil
	}
	statements := []*json.RawMessage{&f.Was}
	for i := range f.Instead {
		statements = append(statements, &f.Instead[i])
	}
	for _, s := range statements {
		text, err := policy.ShowStatement(ctx, string(*s), k.identity)
		if err != nil {
			return fmt.Errorf("statement of the policy on %s: %w", f.On, err)
		}
		*s = json.RawMessage(text)
	}
	return nil
}
