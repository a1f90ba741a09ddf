package organizations

import (
	"context"
	"errors"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// policyTypeKey is the type of the policy that a request is about.
const policyTypeKey = "organizations:policytype"

// subject is what an operation is about: nodes, policies or handshakes, by
// their ids. The zero value is an operation without a resource.
type subject struct {
	ids []string
	// policyType is the type of policy the request names; where it names a
	// policy, the policy's own type counts.
	policyType string
	// keys are condition keys of the request.
	keys policy.Keys
	// tagged, when not empty, is the kind of what is made with tags: that
	// asks for the permission to tag besides.
	tagged string
}

// things are subjects that are there already.
func things(ids ...string) subject { return subject{ids: ids} }

// making is the subject of an operation that makes a thing of a kind.
func making(kind string, tags []api.Tag, ids ...string) subject {
	sub := subject{ids: ids, keys: requestTags(tags)}
	if len(tags) > 0 {
		sub.tagged = kind
	}
	return sub
}

// op declares an operation: the caller needs organizations:NAME on each of its
// subjects.
func op[In, Out any](s *Service, name string, about func(*In) subject, handle func(context.Context, *call.Call, *In) (*Out, error)) call.Operation {
	return call.Op(name, func(ctx context.Context, c *call.Call, in *In) ([]call.Need, error) {
		return s.needs(ctx, c, name, about(in))
	}, handle)
}

// needs are the permissions for an operation. All are asked in the caller's
// own account: that it is the organization's management account is a rule of
// the service, which no policy can grant.
func (s *Service) needs(ctx context.Context, c *call.Call, name string, sub subject) ([]call.Need, error) {
	need := call.Need{Action: "organizations:" + name, Resource: "*", Owner: c.Account(), Keys: policy.Keys{}}
	for k, v := range sub.keys {
		need.Keys[k] = v
	}
	if sub.policyType != "" {
		need.Keys[policyTypeKey] = []string{sub.policyType}
	}
	var list []call.Need
	err := s.db.View(ctx, func(tx *state.Tx) error {
		o, err := organizationOf(ctx, tx, c.Account())
		if err != nil && !errors.Is(err, errNotInUse) {
			return err
		}
		list = nil
		if o.ID == "" { // nobody's: its things have ARNs that no policy names
			o = organization{ID: "o-none", Management: c.Account()}
		}
		for _, id := range sub.ids {
			n := need
			if n.Resource, n.Keys, err = o.target(ctx, tx, id, need.Keys); err != nil {
				return err
			}
			if t, ok := n.Keys[policyTypeKey]; ok {
				need.Keys[policyTypeKey] = t // also for what it is to stand on
			}
			list = append(list, n)
		}
		if len(sub.ids) == 0 {
			list = append(list, need)
		}
		if sub.tagged != "" {
			n := need
			n.Action, n.Resource = "organizations:TagResource", aws.NewARN("organizations", "", o.Management, sub.tagged+"/"+o.ID+"/*")
			list = append(list, n)
		}
		return nil
	})
	return list, err
}

// target is the ARN of something, and the condition keys that come with it.
// What is not there has an ARN all the same.
func (o organization) target(ctx context.Context, tx *state.Tx, id string, keys policy.Keys) (string, policy.Keys, error) {
	keys, err := o.resourceTags(ctx, tx, id, keys)
	if err != nil || !strings.HasPrefix(id, "p-") {
		arn := o.arn(id)
		if strings.HasPrefix(id, "h-") {
			arn, err = handshakeARN(ctx, tx, o, id)
		}
		return arn, keys, err
	}
	p, err := o.policy(ctx, tx, id)
	if errors.Is(err, errNoPolicy) {
		return o.arn(id), keys, nil
	}
	keys[policyTypeKey] = []string{p.Type}
	return p.arn(o), keys, err
}

// handshakeARN names the organization that a handshake came from.
func handshakeARN(ctx context.Context, tx *state.Tx, o organization, id string) (string, error) {
	h, err := state.Get[handshake](ctx, tx, findHandshake, id)
	if errors.Is(err, state.ErrNotFound) {
		return o.arn(id), nil
	}
	return thingARN(h.Owner, h.Org, id), err
}
