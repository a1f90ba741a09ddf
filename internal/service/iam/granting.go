package iam

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// arnTarget is what an operation about the ARN of an entity or a policy is
// about.
func (s *Service) arnTarget(ctx context.Context, c *call.Call, arn, action string) ([]call.Need, error) {
	if err := barred(c); err != nil {
		return nil, err
	}
	k, name, err := entityOfARN(arn)
	if err != nil {
		return nil, err
	}
	if k == managed {
		name = arn
	}
	n, err := s.target(ctx, c, subject{kind: k, name: name})
	// The ARN as it is given: one of another account is asked about, too, and
	// then not found.
	n.Action, n.Resource, n.Owner = action, arn, c.Account()
	return []call.Need{n}, err
}

// entityOfARN reads the ARN of a user, group, role or policy.
func entityOfARN(text string) (kind, string, error) {
	a, ok := aws.ParseARN(text)
	sort, rest, cut := strings.Cut(a.Resource, "/")
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	switch k := kind(sort); {
	case !ok || !cut || a.Service != "iam" || name == "" || !storable(text):
	case k == user, k == group, k == role, k == managed:
		return k, name, nil
	}
	return "", "", invalid("Invalid Entity Arn: %s does not clearly define entity type and name.", text)
}

// entityByARN finds a user, group or role of an account by its ARN.
func entityByARN(ctx context.Context, tx *state.Tx, account, arn string) (entity, error) {
	k, name, err := entityOfARN(arn)
	if err != nil {
		return entity{}, err
	}
	if k == managed {
		return entity{}, invalid("Invalid Entity Arn: %s does not clearly define entity type and name.", arn)
	}
	e, err := find(ctx, tx, account, k, name)
	if err == nil && e.arn() != arn {
		return e, noSuch("ARN %s cannot be found.", arn)
	}
	return e, err
}

// held is a policy with the entity that holds it.
type held struct {
	source policy.Source
	entity entity
	arn    string // of a managed policy
}

// heldBy are the policies that speak for an entity: its own and, for a user,
// those of its groups.
func heldBy(ctx context.Context, tx *state.Tx, e entity) ([]held, error) {
	holders := []entity{e}
	if kind(e.Kind) == user {
		groups, err := state.List[entity](ctx, tx, listGroupsOf, e.ID, "", maxGroups)
		if err != nil {
			return nil, err
		}
		holders = append(holders, groups...)
	}
	var list []held
	for _, h := range holders {
		sources, err := policiesOf(ctx, tx, h)
		if err != nil {
			return nil, err
		}
		for _, source := range sources {
			one := held{source: source, entity: h}
			if strings.HasPrefix(source.Name, "arn:") { // names of inline policies have no colon
				one.arn = source.Name
			}
			list = append(list, one)
		}
	}
	return list, nil
}

// allows are the actions that the Allow statements of a document name, and
// those that they leave out (NotAction), as they are written.
func allows(d *policy.Document) (named, except [][]string) {
	for i := range d.Len() {
		var s struct {
			Effect    string
			Action    oneOrMany
			NotAction oneOrMany
		}
		if json.Unmarshal(d.Statement(i), &s) != nil || s.Effect != "Allow" {
			continue
		}
		if len(s.Action) > 0 {
			named = append(named, s.Action)
		} else {
			except = append(except, s.NotAction)
		}
	}
	return named, except
}

// oneOrMany is a JSON string or array of strings.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(o))
}

// grants reports whether a document allows anything in a service. Denials,
// conditions and resources are not looked at, as on AWS.
func grants(d *policy.Document, namespace string) bool {
	if d == nil {
		return false
	}
	within := func(pattern string) bool {
		service, _, _ := strings.Cut(pattern, ":")
		return pattern == "*" || strings.EqualFold(service, namespace)
	}
	all := func(pattern string) bool {
		return pattern == "*" || strings.EqualFold(pattern, namespace+":*")
	}
	named, except := allows(d)
	for _, patterns := range named {
		if slices.ContainsFunc(patterns, within) {
			return true
		}
	}
	for _, patterns := range except {
		if !slices.ContainsFunc(patterns, all) {
			return true
		}
	}
	return false
}

// listPoliciesGrantingServiceAccess answers service by service which policies
// of an entity allow something there.
func (s *Service) listPoliciesGrantingServiceAccess(ctx context.Context, c *call.Call, in *api.ListPoliciesGrantingServiceAccessInput) (*api.ListPoliciesGrantingServiceAccessOutput, error) {
	p, err := pageOf(in.Marker, nil)
	if err != nil {
		return nil, err
	}
	out := &api.ListPoliciesGrantingServiceAccessOutput{PoliciesGrantingServiceAccess: []api.ListPoliciesGrantingServiceAccessEntry{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		e, err := entityByARN(ctx, tx, c.Account(), in.Arn)
		if err != nil {
			return err
		}
		policies, err := heldBy(ctx, tx, e)
		if err != nil {
			return err
		}
		namespaces := slices.Compact(slices.Sorted(slices.Values(in.ServiceNamespaces)))
		namespaces, out.IsTruncated, out.Marker = pageThrough(p, namespaces, func(n string) string { return n })
		for _, namespace := range namespaces {
			entry := api.ListPoliciesGrantingServiceAccessEntry{ServiceNamespace: namespace, Policies: []api.PolicyGrantingServiceAccess{}}
			for _, h := range policies {
				if grants(h.source.Doc, namespace) {
					entry.Policies = append(entry.Policies, h.granting())
				}
			}
			out.PoliciesGrantingServiceAccess = append(out.PoliciesGrantingServiceAccess, entry)
		}
		return nil
	})
	return out, err
}

// granting shows the policy: a managed one by its ARN, an inline one with the
// entity that it is part of.
func (h held) granting() api.PolicyGrantingServiceAccess {
	if h.arn != "" {
		return api.PolicyGrantingServiceAccess{PolicyName: h.arn[strings.LastIndexByte(h.arn, '/')+1:], PolicyType: "MANAGED", PolicyArn: h.arn}
	}
	return api.PolicyGrantingServiceAccess{
		PolicyName: h.source.Name, PolicyType: "INLINE", EntityType: strings.ToUpper(h.entity.Kind), EntityName: h.entity.Name,
	}
}
