package checkpoint

import (
	"cmp"
	"context"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Organizations knows what binds accounts: the service organizations does.
type Organizations interface {
	// Current returns the organizations there are; nil means none.
	Current(ctx context.Context) (call.Organizations, error)
}

// Bind has every call judged by the policies of organizations too. It is
// called while the parts are joined, before the first call; without it no
// account is in an organization.
func (k *Checkpoint) Bind(o Organizations) { k.organizations = o }

// places are where those whom a need concerns stand in their organizations;
// nil for whoever is in none.
type places struct {
	principal, resource *call.Member
	source              *call.Member // of the resource on whose behalf a service acts
}

// bound adds to a question what the organizations of the caller and of the
// resource's owner say: service control policies bind the callers of an
// account, resource control policies its resources. The caller's set is shared
// and stays as it is. places is nil when there is no organization.
func (k *Checkpoint) bound(ctx context.Context, c *call.Call, n call.Need, set *policy.Set, req *policy.Request) (*policy.Set, *places, error) {
	if k.organizations == nil {
		return set, nil, nil
	}
	all, err := k.organizations.Current(ctx)
	if err != nil || all == nil {
		return set, nil, err
	}
	at := &places{}
	if at.principal, err = all.Member(ctx, c.Principal.Account); err != nil {
		return nil, nil, err
	}
	if at.resource, err = all.Member(ctx, cmp.Or(n.Holder, req.Owner)); err != nil {
		return nil, nil, err
	}
	if a, ok := aws.ParseARN(c.SourceARN); ok && c.Principal.Kind == aws.Service {
		if at.source, err = all.Member(ctx, a.Account); err != nil {
			return nil, nil, err
		}
	}
	if serviceLinked(c.Principal) {
		return set, at, nil
	}
	if m := at.principal; m != nil && len(m.SCPs) > 0 {
		scoped := *set
		scoped.SCPs = m.SCPs
		set = &scoped
	}
	if m := at.resource; m != nil && governed(n) {
		req.RCPs = m.RCPs
	}
	return set, at, nil
}

// serviceLinked reports whether a session wears a service-linked role, which
// neither kind of policy binds.
func serviceLinked(p aws.Principal) bool {
	role, _ := aws.ParseARN(p.RoleARN) // a path may hold colons, too
	return p.Kind == aws.Session && strings.HasPrefix(role.Resource, "role/aws-service-role/")
}

// governed reports whether resource control policies are asked about a need:
// they are for the services that AWS lists, of which sekisho has three, but
// neither for AWS's own keys nor for retiring a grant.
func governed(n call.Need) bool {
	service, action, _ := strings.Cut(n.Action, ":")
	switch service {
	case "s3", "sts":
		return true
	case "kms":
		return action != "RetireGrant" && (n.Policy == nil || !n.Policy.Fixed)
	}
	return false
}

// lookup answers for the keys that follow from organizations. A key is there
// only where its account is in one.
func (at *places) lookup(name string) (value string, ok bool) {
	if at == nil || !strings.HasPrefix(name, "aws:") {
		return "", false
	}
	var m *call.Member
	switch who, _, _ := strings.Cut(name[len("aws:"):], "org"); who {
	case "principal":
		m = at.principal
	case "resource":
		m = at.resource
	case "source":
		m = at.source
	}
	switch {
	case m == nil:
		return "", false
	case strings.HasSuffix(name, "orgid"):
		return m.Organization, true
	case strings.HasSuffix(name, "orgpaths"):
		return m.Path, true
	}
	return "", false
}
