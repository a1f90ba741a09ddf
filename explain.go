package sekisho

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/explain"
	"github.com/sekisho/sekisho/internal/policy"
)

// resources is a service that says what an action on one of its resources
// would ask for: the resource's policy, its owner and its keys.
type resources interface {
	NeedOn(ctx context.Context, c *call.Call, action, resource string) (call.Need, error)
}

// resourcesOf are the services whose resources have policies, by the prefix of
// actions.
func (s *Server) resourcesOf(service string) resources {
	switch service {
	case "s3":
		return s.buckets
	case "kms":
		return s.keys
	case "events":
		return s.events
	case "iam":
		return s.iam
	}
	return nil
}

// Judge decides about a call that nobody has made, as the checkpoint would
// decide now, and tells why. Nothing is done and nothing recorded.
func (s *Server) Judge(ctx context.Context, h explain.Hypothesis) (*explain.Decision, error) {
	r, err := s.record(ctx, h.RequestID)
	if err != nil {
		return nil, err
	}
	if h.RequestID != "" {
		if r.Calls, err = s.recorded(ctx, h.RequestID); err != nil {
			return nil, err
		}
		if err := s.reach(ctx, &r); err != nil {
			return nil, err
		}
	}
	c, err := s.hypothetical(ctx, h, r.Calls)
	if err != nil {
		return nil, err
	}
	j, err := s.judge(ctx, c, h)
	if err != nil {
		return nil, err
	}
	d := explain.Judged(r, c, j, nil)
	return &d, s.readable(ctx, &d)
}

// readable writes a decision as people read policies: with names in the place
// of unique ids.
func (s *Server) readable(ctx context.Context, d *explain.Decision) error {
	for i := range d.Policies {
		for k := range d.Policies[i].Statements {
			if err := s.named(ctx, &d.Policies[i].Statements[k].Text); err != nil {
				return err
			}
		}
	}
	return s.locate(ctx, d.Fixes)
}

// named writes a statement with the ARNs of those whose unique ids it has.
func (s *Server) named(ctx context.Context, statement *json.RawMessage) error {
	if len(*statement) == 0 {
		return nil
	}
	const before, after = `{"Statement":[`, `]}`
	text, err := policy.Show(ctx, before+string(*statement)+after, s.iam)
	if err != nil {
		return err
	}
	*statement = json.RawMessage(text[len(before) : len(text)-len(after)])
	return nil
}

// locate writes fixes as people read policies, and names the accounts of
// buckets, whose ARNs do not.
func (s *Server) locate(ctx context.Context, fixes []explain.Fix) error {
	for i := range fixes {
		f := &fixes[i]
		texts := []*json.RawMessage{&f.Was}
		for k := range f.Instead {
			texts = append(texts, &f.Instead[k])
		}
		for _, text := range texts {
			if err := s.named(ctx, text); err != nil {
				return err
			}
		}
		if f.Account != "" || !strings.HasPrefix(f.On, "arn:aws:s3:::") {
			continue
		}
		n, err := s.buckets.NeedOn(ctx, &call.Call{}, "s3:PutBucketPolicy", f.On)
		if err != nil {
			return err
		}
		f.Account = n.Owner
	}
	return nil
}

// hypothetical is the call of a hypothesis. calls are those that belong to its
// recorded request.
func (s *Server) hypothetical(ctx context.Context, h explain.Hypothesis, calls []*call.Entry) (*call.Call, error) {
	service, operation, ok := strings.Cut(h.Action, ":")
	if !ok || service == "" || operation == "" {
		return nil, aws.Errorf("InvalidAction", "%q is no action: give one such as s3:GetObject", h.Action)
	}
	a, isARN := aws.ParseARN(h.Resource)
	if !isARN && h.Resource != "*" {
		return nil, aws.Errorf("InvalidResource", "%q is no ARN: give one, or * for actions without resources", h.Resource)
	}
	c := &call.Call{
		Service: strings.ToLower(service), Operation: operation, Region: h.Region, Time: s.config.Now(),
		SourceIP: "127.0.0.1", UserAgent: "sekisho explain", Secure: true, Keys: policy.Keys{},
	}
	if c.Region == "" {
		if c.Region = a.Region; c.Region == "" {
			c.Region = "us-east-1"
		}
	}
	for name, values := range h.Context {
		c.Keys[strings.ToLower(name)] = values
	}
	if h.RequestID != "" {
		return again(c, h, calls)
	}
	var err error
	c.Principal, err = s.iam.Caller(ctx, h.Principal)
	if c.Principal.Temporary {
		c.Principal.Issued = c.Time
	}
	return c, err
}

// again gives a call the caller and the context that a recorded one had.
func again(c *call.Call, h explain.Hypothesis, calls []*call.Entry) (*call.Call, error) {
	e, j := explain.Recorded(calls, h)
	if j == nil {
		return nil, aws.Errorf("NotFound", "request %s did not ask for %s on %s", h.RequestID, h.Action, h.Resource).WithStatus(http.StatusNotFound)
	}
	made := *e.Call
	made.Time, made.Keys = c.Time, explain.Again(j.Why)
	for name, values := range c.Keys {
		made.Keys[name] = values
	}
	return &made, nil
}

// judge asks the service that has the resource what it would ask for, and the
// checkpoint about that.
func (s *Server) judge(ctx context.Context, c *call.Call, h explain.Hypothesis) (call.Judgement, error) {
	n := call.Need{Action: h.Action, Resource: h.Resource}
	if of := s.resourcesOf(explain.ServiceOf(h.Action, h.Resource)); of != nil {
		var err error
		if n, err = of.NeedOn(ctx, c, h.Action, h.Resource); err != nil {
			return call.Judgement{}, err
		}
	}
	if h.Owner != "" {
		n.Owner = h.Owner
	}
	// What is given has the last word.
	keys := policy.Keys{}
	for _, from := range []policy.Keys{n.Keys, c.Keys} {
		for name, values := range from {
			keys[name] = values
		}
	}
	n.Keys = keys
	return s.door.Judge(ctx, c, n)
}

// record is what decisions are told from: the names of accounts and policies.
func (s *Server) record(ctx context.Context, id string) (explain.Record, error) {
	r := explain.Record{ID: id, Accounts: map[string]string{}, Reach: map[string][]string{}}
	var err error
	if r.Names, err = s.organizations.Names(ctx); err != nil {
		return r, err
	}
	accounts, err := s.Accounts(ctx)
	for _, a := range accounts {
		r.Accounts[a.ID] = a.Name
	}
	return r, err
}

// decisions tells of all refusals among calls, and of the call with an id.
func (s *Server) decisions(ctx context.Context, r explain.Record) []explain.Decision {
	var out []explain.Decision
	seen := map[string]bool{}
	for _, e := range r.Calls {
		for _, j := range e.Judgements {
			refused := j.Decision.Effect != policy.Allow && e.Error != nil
			key := e.Call.Principal.PolicyARN() + "\n" + j.Action + "\n" + j.Resource
			if e.Call.ID != r.ID && (!refused || seen[key]) {
				continue
			}
			seen[key] = true
			out = append(out, explain.Judged(r, e.Call, j, s.today(ctx, e, j)))
		}
	}
	return out
}

// today is what a recorded decision would be now; nil when nobody can say, since
// the caller is gone.
func (s *Server) today(ctx context.Context, e *call.Entry, j call.Judgement) *call.Judgement {
	c := *e.Call
	c.Time, c.Keys = s.config.Now(), explain.Again(j.Why)
	now, err := s.judge(ctx, &c, explain.Hypothesis{Action: j.Action, Resource: j.Resource, Owner: j.Owner})
	if err != nil {
		return nil
	}
	return &now
}
