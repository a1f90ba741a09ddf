package organizations

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// Policy types that there are, by AWS's names.
const (
	scp = "SERVICE_CONTROL_POLICY"
	rcp = "RESOURCE_CONTROL_POLICY"
)

var policyTypes = []string{scp, rcp}

// maxPolicies is how many policies of a type an organization may have.
const maxPolicies = 1000

// quotas of a policy type: characters of a document, policies on a target.
// AWS doubled those of service control policies on 2026-05-15.
var quotas = map[string]struct{ size, attached int }{
	scp: {policy.MaxServiceControl, 10},
	rcp: {policy.MaxResourceControl, 5},
}

// policyRow is a policy.
type policyRow struct {
	ID          string    `db:"id"`
	Org         string    `db:"org"`
	Type        string    `db:"type"`
	Name        string    `db:"name"`
	Description string    `db:"description"`
	Content     string    `db:"content"`
	Created     time.Time `db:"created"`
}

// fullAccess are AWS's own policies, which every organization has: those that
// allow everything.
var fullAccess = map[string]policyRow{
	scp: {
		ID: "p-FullAWSAccess", Type: scp, Name: "FullAWSAccess", Description: "Allows access to every operation",
		Content: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
	},
	rcp: {
		ID: "p-RCPFullAWSAccess", Type: rcp, Name: "RCPFullAWSAccess", Description: "Allow access to every operation",
		Content: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`,
	},
}

const (
	policyColumns = `id, org, type, name, description, content, created`
	findPolicy    = `SELECT ` + policyColumns + ` FROM organizations_policy WHERE id = $1 AND org = $2`
	listPolicies  = `SELECT ` + policyColumns + ` FROM organizations_policy WHERE org = $1 AND type = $2 ORDER BY id`
	insertPolicy  = `INSERT INTO organizations_policy (` + policyColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	policiesOn    = `SELECT policy FROM organizations_attachment WHERE org = $1 AND target = $2 AND type = $3 ORDER BY policy`
	targetsOf     = `SELECT n.id, n.org, n.parent, n.kind, n.name, n.created FROM organizations_node n
		JOIN organizations_attachment a ON a.target = n.id
		WHERE a.org = $1 AND a.policy = $2 AND n.id > $3 ORDER BY n.id LIMIT $4`
)

// managed reports whether the policy is AWS's own.
func (p policyRow) managed() bool { return p.Org == "" }

// arn is the policy's ARN in an organization.
func (p policyRow) arn(o organization) string {
	kind := strings.ToLower(p.Type) + "/" + p.ID
	if p.managed() {
		return aws.NewARN("organizations", "", "aws", "policy/"+kind)
	}
	return aws.NewARN("organizations", "", o.Management, "policy/"+o.ID+"/"+kind)
}

// kind is the policy's kind in the engine's words.
func (p policyRow) kind() policy.Kind {
	if p.Type == scp {
		return policy.SCP
	}
	return policy.RCP
}

// summary is the policy without its content, as answers show it.
func (p policyRow) summary(o organization) api.PolicySummary {
	return api.PolicySummary{Id: p.ID, Arn: p.arn(o), Name: p.Name, Description: p.Description, Type: p.Type, AwsManaged: new(p.managed())}
}

func (p policyRow) shape(o organization) *api.Policy {
	return &api.Policy{PolicySummary: new(p.summary(o)), Content: p.Content}
}

// policy returns a policy of the organization, AWS's own included.
func (o organization) policy(ctx context.Context, tx *state.Tx, id string) (policyRow, error) {
	for _, p := range fullAccess {
		if p.ID == id {
			return p, nil
		}
	}
	p, err := state.Get[policyRow](ctx, tx, findPolicy, id, o.ID)
	if errors.Is(err, state.ErrNotFound) {
		return p, errNoPolicy
	}
	return p, err
}

// own returns a policy that may be changed.
func (o organization) own(ctx context.Context, tx *state.Tx, id string) (policyRow, error) {
	p, err := o.policy(ctx, tx, id)
	if err == nil && p.managed() {
		return p, invalid("IMMUTABLE_POLICY", "You specified a policy that is managed by AWS and can't be modified.")
	}
	return p, err
}

// check holds a policy's content against its type's grammar, which knows the
// newer language only, and its size.
func (p policyRow) check() error {
	if err := checkTexts(p.Name, p.Description); err != nil {
		return err
	}
	if utf8.RuneCountInString(p.Content) > quotas[p.Type].size {
		return constraint("POLICY_CONTENT_LIMIT_EXCEEDED", "You have exceeded the maximum size of a policy, which is %d characters.", quotas[p.Type].size)
	}
	doc, err := policy.Parse(p.Content, p.kind())
	if err != nil || doc.Version() != "2012-10-17" || p.Type == rcp && !limiting(doc) {
		return errMalformed
	}
	return nil
}

// limiting reports whether a document only denies, in the elements that a
// customer's resource control policy may have: the Allow is in
// RCPFullAWSAccess, and neither NotAction nor NotPrincipal are taken.
func limiting(doc *policy.Document) bool {
	for i := range doc.Len() {
		var s map[string]json.RawMessage
		if json.Unmarshal(doc.Statement(i), &s) != nil || string(s["Effect"]) != `"Deny"` || s["NotAction"] != nil || s["NotPrincipal"] != nil {
			return false
		}
	}
	return true
}

func (s *Service) createPolicy(ctx context.Context, c *call.Call, in *api.CreatePolicyInput) (*api.CreatePolicyOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	p := policyRow{ID: newID("p-", 10), Type: in.Type, Name: in.Name, Description: in.Description, Content: in.Content, Created: c.Time}
	out := &api.CreatePolicyOutput{}
	err := s.change(ctx, c, func(tx *state.Tx, o organization) error {
		if err := o.available(p.Type); err != nil {
			return err
		}
		if err := p.check(); err != nil {
			return err
		}
		p.Org = o.ID
		if taken, err := o.policyNamed(ctx, tx, p); taken || err != nil {
			return orElse(err, errDuplicatePolicy)
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM organizations_policy WHERE org = $1 AND type = $2`, o.ID, p.Type)
		if err != nil {
			return err
		}
		if n >= maxPolicies {
			return constraint("POLICY_NUMBER_LIMIT_EXCEEDED", "You have exceeded the allowed number of policies.")
		}
		if _, err := tx.Exec(ctx, insertPolicy, p.ID, p.Org, p.Type, p.Name, p.Description, p.Content, p.Created); err != nil {
			return err
		}
		out.Policy = p.shape(o)
		return o.putTags(ctx, tx, p.ID, in.Tags)
	})
	return out, err
}

// policyNamed reports whether another policy of the type has the name.
func (o organization) policyNamed(ctx context.Context, tx *state.Tx, p policyRow) (bool, error) {
	n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM organizations_policy WHERE org = $1 AND type = $2 AND name = $3 AND id <> $4`,
		o.ID, p.Type, p.Name, p.ID)
	return n > 0 || p.Name == fullAccess[p.Type].Name, err
}

func (s *Service) describePolicy(ctx context.Context, c *call.Call, in *api.DescribePolicyInput) (*api.DescribePolicyOutput, error) {
	out := &api.DescribePolicyOutput{}
	err := s.look(ctx, c, func(tx *state.Tx, o organization) error {
		p, err := o.policy(ctx, tx, in.PolicyId)
		out.Policy = p.shape(o)
		return err
	})
	return out, err
}

// updatePolicy changes what is given. An empty description, which cannot be
// told from none here, leaves the old one; docs/divergences.md says so.
func (s *Service) updatePolicy(ctx context.Context, c *call.Call, in *api.UpdatePolicyInput) (*api.UpdatePolicyOutput, error) {
	out := &api.UpdatePolicyOutput{}
	err := s.change(ctx, c, func(tx *state.Tx, o organization) error {
		p, err := o.own(ctx, tx, in.PolicyId)
		if err != nil {
			return err
		}
		p.Name, p.Description, p.Content = or(in.Name, p.Name), or(in.Description, p.Description), or(in.Content, p.Content)
		if err := p.check(); err != nil {
			return err
		}
		if taken, err := o.policyNamed(ctx, tx, p); taken || err != nil {
			return orElse(err, errDuplicatePolicy)
		}
		out.Policy = p.shape(o)
		_, err = tx.Exec(ctx, `UPDATE organizations_policy SET name = $2, description = $3, content = $4 WHERE id = $1`, p.ID, p.Name, p.Description, p.Content)
		return err
	})
	return out, err
}

// or is a text, or another where it is empty.
func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func (s *Service) deletePolicy(ctx context.Context, c *call.Call, in *api.DeletePolicyInput) (*api.DeletePolicyOutput, error) {
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		p, err := o.own(ctx, tx, in.PolicyId)
		if err != nil {
			return err
		}
		used, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM organizations_attachment WHERE org = $1 AND policy = $2`, o.ID, p.ID)
		if err != nil {
			return err
		}
		if used > 0 {
			return errPolicyInUse
		}
		if _, err := tx.Exec(ctx, `DELETE FROM organizations_tag WHERE org = $1 AND resource = $2`, o.ID, p.ID); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM organizations_policy WHERE id = $1`, p.ID)
		return err
	})
}

// summaries is a page of policies.
func summaries(o organization, p page, list []policyRow) (out []api.PolicySummary, next string) {
	out = []api.PolicySummary{}
	slices.SortFunc(list, func(a, b policyRow) int { return strings.Compare(a.ID, b.ID) })
	list = slices.DeleteFunc(list, func(row policyRow) bool { return row.ID <= p.after })
	list, next = cut(p, list, func(row policyRow) string { return row.ID })
	for _, row := range list {
		out = append(out, row.summary(o))
	}
	return out, next
}

// listPolicies lists AWS's own policies too, and of a type that sekisho has
// not, truthfully none: CreatePolicy refuses it by name.
func (s *Service) listPolicies(ctx context.Context, c *call.Call, in *api.ListPoliciesInput) (*api.ListPoliciesOutput, error) {
	p, err := pageOf(in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.ListPoliciesOutput{}
	err = s.look(ctx, c, func(tx *state.Tx, o organization) error {
		list, err := state.List[policyRow](ctx, tx, listPolicies, o.ID, in.Filter)
		if own, ok := fullAccess[in.Filter]; ok {
			list = append(list, own)
		}
		out.Policies, out.NextToken = summaries(o, p, list)
		return err
	})
	return out, err
}

// on returns the policies of a type on a node.
func (o organization) on(ctx context.Context, tx *state.Tx, target, policyType string) ([]policyRow, error) {
	ids, err := state.List[string](ctx, tx, policiesOn, o.ID, target, policyType)
	if err != nil {
		return nil, err
	}
	list := make([]policyRow, len(ids))
	for i, id := range ids {
		if list[i], err = o.policy(ctx, tx, id); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (s *Service) listPoliciesForTarget(ctx context.Context, c *call.Call, in *api.ListPoliciesForTargetInput) (*api.ListPoliciesForTargetOutput, error) {
	p, err := pageOf(in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.ListPoliciesForTargetOutput{}
	err = s.look(ctx, c, func(tx *state.Tx, o organization) error {
		if _, err := o.find(ctx, tx, in.TargetId, errNoTarget); err != nil {
			return err
		}
		list, err := o.on(ctx, tx, in.TargetId, in.Filter)
		out.Policies, out.NextToken = summaries(o, p, list)
		return err
	})
	return out, err
}

func (s *Service) listTargetsForPolicy(ctx context.Context, c *call.Call, in *api.ListTargetsForPolicyInput) (*api.ListTargetsForPolicyOutput, error) {
	p, err := pageOf(in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &api.ListTargetsForPolicyOutput{Targets: []api.PolicyTargetSummary{}}
	err = s.look(ctx, c, func(tx *state.Tx, o organization) error {
		row, err := o.policy(ctx, tx, in.PolicyId)
		if err != nil {
			return err
		}
		list, err := state.List[node](ctx, tx, targetsOf, o.ID, row.ID, p.after, p.limit+1)
		if err != nil {
			return err
		}
		list, out.NextToken = cut(p, list, func(n node) string { return n.ID })
		for _, n := range list {
			out.Targets = append(out.Targets, api.PolicyTargetSummary{TargetId: n.ID, Arn: o.arn(n.ID), Name: n.Name, Type: n.Kind})
		}
		return nil
	})
	return out, err
}

// attach notes that a policy stands on a node.
func (o organization) attach(ctx context.Context, tx *state.Tx, target, policyType, id string) error {
	_, err := tx.Exec(ctx, `INSERT INTO organizations_attachment (org, target, type, policy) VALUES ($1, $2, $3, $4)`, o.ID, target, policyType, id)
	return err
}

// attachment reads what AttachPolicy and DetachPolicy are about: the policy,
// and which others of its type stand on the target.
func (o organization) attachment(ctx context.Context, tx *state.Tx, id, target string) (p policyRow, on []string, err error) {
	if p, err = o.policy(ctx, tx, id); err != nil {
		return p, nil, err
	}
	if _, err = o.find(ctx, tx, target, errNoTarget); err != nil {
		return p, nil, err
	}
	if !o.enabled(p.Type) {
		return p, nil, errTypeNotEnabled
	}
	on, err = state.List[string](ctx, tx, policiesOn, o.ID, target, p.Type)
	return p, on, err
}

func (s *Service) attachPolicy(ctx context.Context, c *call.Call, in *api.AttachPolicyInput) (*api.AttachPolicyOutput, error) {
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		p, on, err := o.attachment(ctx, tx, in.PolicyId, in.TargetId)
		switch {
		case err != nil:
			return err
		case slices.Contains(on, p.ID):
			return errAttached
		case len(on) >= quotas[p.Type].attached:
			return constraint("MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED", "You have attached the maximum number of policies to the specified target.")
		}
		return o.attach(ctx, tx, in.TargetId, p.Type, p.ID)
	})
}

// detachPolicy leaves at least one service control policy on every node, and
// RCPFullAWSAccess wherever it stands: without an Allow nothing would be
// allowed below.
func (s *Service) detachPolicy(ctx context.Context, c *call.Call, in *api.DetachPolicyInput) (*api.DetachPolicyOutput, error) {
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		p, on, err := o.attachment(ctx, tx, in.PolicyId, in.TargetId)
		switch {
		case err != nil:
			return err
		case !slices.Contains(on, p.ID):
			return errNotAttached
		case p.Type == rcp && p.managed():
			return invalid("NON_DETACHABLE_POLICY", "You can't detach this AWS Managed Policy.")
		case len(on) == 1:
			return constraint("MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED", "You cannot remove the last policy attached to the specified target. You must have at least one attached at all times.")
		}
		_, err = tx.Exec(ctx, `DELETE FROM organizations_attachment WHERE org = $1 AND target = $2 AND policy = $3`, o.ID, in.TargetId, p.ID)
		return err
	})
}

// describeEffectivePolicy is about management policies, such as tag policies;
// service and resource control policies are none, and the model refuses their
// types. As no operation of sekisho makes a management policy, no account has
// an effective one.
func (s *Service) describeEffectivePolicy(ctx context.Context, c *call.Call, in *api.DescribeEffectivePolicyInput) (*api.DescribeEffectivePolicyOutput, error) {
	return nil, s.db.View(ctx, func(tx *state.Tx) error {
		o, err := organizationOf(ctx, tx, c.Account())
		if err != nil {
			return err
		}
		if in.TargetId != "" {
			if o.Management != c.Account() && in.TargetId != c.Account() {
				return errNotManagement
			}
			if _, err := o.ofKind(ctx, tx, accountKind, in.TargetId, errNoTarget); err != nil {
				return err
			}
		}
		return aws.Errorf("EffectivePolicyNotFoundException", "The account doesn't have an effective policy of type %s.", in.PolicyType)
	})
}
