package checkpoint

import (
	"cmp"
	"context"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Judge says what the checkpoint would decide about one need of a call, now,
// and why: as judging the call would, but nothing is done and nothing recorded.
// The judgement has its whole story, also when it is an Allow.
func (k *Checkpoint) Judge(ctx context.Context, c *call.Call, n call.Need) (call.Judgement, error) {
	set, req, err := k.question(ctx, c, n)
	if err != nil {
		return call.Judgement{}, err
	}
	j := judgement(set, req)
	if j.Why == nil {
		j.Why = why(set, req, j.Decision)
	}
	return j, k.people(ctx, req, &j)
}

// question puts a need into the engine's terms.
func (k *Checkpoint) question(ctx context.Context, c *call.Call, n call.Need) (*policy.Set, *policy.Request, error) {
	set, err := k.identity.For(ctx, c.Principal)
	if err != nil {
		return nil, nil, err
	}
	req := &policy.Request{
		Principal: c.Principal,
		Action:    n.Action,
		Resource:  n.Resource,
		Owner:     owner(c, n),
		Policy:    n.Policy,
		Grant:     n.Grant,
		ACL:       n.ACL,
	}
	set, at, err := k.bound(ctx, c, n, set, req)
	if err != nil {
		return nil, nil, err
	}
	req.Context = facts{c: c, n: n, owner: cmp.Or(n.Holder, req.Owner), at: at}
	return set, req, nil
}

// judgement asks the engine, and for a refusal tells the whole story: later the
// policies may be others.
func judgement(set *policy.Set, req *policy.Request) call.Judgement {
	d := policy.Evaluate(set, req)
	j := call.Judgement{Action: req.Action, Resource: req.Resource, Owner: req.Owner, Decision: d, Sums: sums(set, req, d)}
	if d.Effect != policy.Allow {
		j.Fixes = policy.Fixes(set, req, d)
		j.Why = why(set, req, d)
	}
	return j
}

func why(set *policy.Set, req *policy.Request, d policy.Decision) *call.Why {
	w := &call.Why{Consulted: policy.Consult(set, req), Carry: policy.Carry(set, req, d)}
	if f, ok := req.Context.(facts); ok {
		w.Context = f.all()
	}
	return w
}

// sums are those of the documents that decided. AWS's own policies do not
// change.
func sums(set *policy.Set, req *policy.Request, d policy.Decision) []string {
	var out []string
	for i, m := range d.Because {
		doc := document(set, req, m)
		if doc == nil || strings.HasPrefix(m.Name, "arn:"+aws.Partition+":organizations::aws:") {
			continue
		}
		if out == nil {
			out = make([]string, len(d.Because))
		}
		out[i] = doc.Sum()
	}
	return out
}

// document is the one in which a statement stands; nil when no statement
// decided.
func document(set *policy.Set, req *policy.Request, m policy.Match) *policy.Document {
	var list []policy.Source
	switch {
	case m.Statement < 0:
		return nil
	case m.Kind == policy.Identity:
		list = set.Identity
	case m.Kind == policy.Boundary:
		list = set.Boundary
	case m.Kind == policy.Session:
		list = set.Session
	case m.Kind == policy.SCP && m.Level < len(set.SCPs):
		list = set.SCPs[m.Level]
	case m.Kind == policy.RCP && m.Level < len(req.RCPs):
		list = req.RCPs[m.Level]
	case req.Policy != nil:
		list = []policy.Source{*req.Policy}
	}
	if m.Index >= len(list) {
		return nil
	}
	return list[m.Index].Doc
}
