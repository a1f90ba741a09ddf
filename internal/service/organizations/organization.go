package organizations

import (
	"context"
	"errors"

	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// Feature sets.
const (
	allFeatures = "ALL"
	billingOnly = "CONSOLIDATED_BILLING"
)

const insertOrganization = `INSERT INTO organizations_organization (id, management, features, root, scps, rcps, created)
	VALUES ($1, $2, $3, $4, 0, 0, $5)`

// createOrganization makes the caller's account the management account of a
// new organization. With all features it takes the caller's permission to make
// the service-linked role. Policy types are available then, and enabled in the root
// by EnablePolicyType: so AWS answers ListRoots, whatever the documentation of
// this operation says.
func (s *Service) createOrganization(ctx context.Context, c *call.Call, in *api.CreateOrganizationInput) (*api.CreateOrganizationOutput, error) {
	o := organization{ID: newID("o-", 10), Management: c.Account(), Features: in.FeatureSet, Root: newID("r-", 4), Created: c.Time}
	if o.Features == "" {
		o.Features = allFeatures
	}
	name, _, err := s.accounts.AccountName(ctx, c.Account())
	if err != nil {
		return nil, err
	}
	alone := func(tx *state.Tx) error {
		_, err := organizationOf(ctx, tx, c.Account())
		if errors.Is(err, errNotInUse) {
			return nil
		}
		return orElse(err, errAlreadyIn)
	}
	if err := s.db.View(ctx, alone); err != nil {
		return nil, err
	}
	if o.Features == allFeatures {
		if err := s.linkRole(ctx, c.Forward(servicePrincipal)); err != nil {
			return nil, err
		}
	}
	var email string
	err = s.write(ctx, func(tx *state.Tx) error {
		if err := alone(tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertOrganization, o.ID, o.Management, o.Features, o.Root, c.Time); err != nil {
			return err
		}
		if err := o.insert(ctx, tx, node{ID: o.Root, Kind: rootKind, Name: "Root", Created: c.Time}); err != nil {
			return err
		}
		email, err = emailOf(ctx, tx, c.Account())
		if err != nil {
			return err
		}
		return o.join(ctx, tx, c.Account(), name, invited, c.Time)
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateOrganizationOutput{Organization: o.shape(email)}, nil
}

// orElse is an error that occurred, or another where none did.
func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// shape is the organization as answers show it.
func (o organization) shape(email string) *api.Organization {
	out := &api.Organization{
		Id: o.ID, Arn: o.arn(o.ID), FeatureSet: o.Features,
		MasterAccountId: o.Management, MasterAccountArn: o.arn(o.Management), MasterAccountEmail: email,
		AvailablePolicyTypes: []api.PolicyTypeSummary{},
	}
	if o.Features == allFeatures {
		out.AvailablePolicyTypes = append(out.AvailablePolicyTypes, api.PolicyTypeSummary{Type: scp, Status: "ENABLED"})
	}
	return out
}

func (s *Service) describeOrganization(ctx context.Context, c *call.Call, _ *api.DescribeOrganizationInput) (*api.DescribeOrganizationOutput, error) {
	out := &api.DescribeOrganizationOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		o, err := organizationOf(ctx, tx, c.Account())
		if err != nil {
			return err
		}
		email, err := emailOf(ctx, tx, o.Management)
		out.Organization = o.shape(email)
		return err
	})
	return out, err
}

// deleteOrganization deletes an organization without member accounts, with its
// units and policies.
func (s *Service) deleteOrganization(ctx context.Context, c *call.Call, _ *api.DeleteOrganizationInput) (*api.DeleteOrganizationOutput, error) {
	return nil, s.change(ctx, c, func(tx *state.Tx, o organization) error {
		n, err := state.Get[int64](ctx, tx, countKind, o.ID, accountKind)
		if err != nil {
			return err
		}
		if n > 1 {
			return errNotEmpty
		}
		for _, sql := range []string{
			`DELETE FROM organizations_account WHERE id IN (SELECT id FROM organizations_node WHERE org = $1)`,
			`DELETE FROM organizations_node WHERE org = $1`,
			`DELETE FROM organizations_policy WHERE org = $1`,
			`DELETE FROM organizations_attachment WHERE org = $1`,
			`DELETE FROM organizations_tag WHERE org = $1`,
			`DELETE FROM organizations_request WHERE org = $1`,
			`UPDATE organizations_handshake SET state = 'CANCELED' WHERE org = $1 AND state = 'OPEN'`,
			`DELETE FROM organizations_organization WHERE id = $1`,
		} {
			if _, err := tx.Exec(ctx, sql, o.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// root is the root as answers show it.
func (o organization) root() *api.Root {
	r := &api.Root{Id: o.Root, Arn: o.arn(o.Root), Name: "Root", PolicyTypes: []api.PolicyTypeSummary{}}
	for _, t := range policyTypes {
		if o.enabled(t) {
			r.PolicyTypes = append(r.PolicyTypes, api.PolicyTypeSummary{Type: t, Status: "ENABLED"})
		}
	}
	return r
}

func (s *Service) listRoots(ctx context.Context, c *call.Call, in *api.ListRootsInput) (*api.ListRootsOutput, error) {
	if _, err := pageOf(in.NextToken, in.MaxResults); err != nil {
		return nil, err
	}
	out := &api.ListRootsOutput{}
	err := s.look(ctx, c, func(_ *state.Tx, o organization) error {
		out.Roots = []api.Root{*o.root()}
		return nil
	})
	return out, err
}

// enabled reports whether a policy type is enabled in the root.
func (o organization) enabled(policyType string) bool {
	return policyType == scp && o.SCPs || policyType == rcp && o.RCPs
}

// set enables or disables a policy type.
func (o *organization) set(ctx context.Context, tx *state.Tx, policyType string, on bool) error {
	if policyType == scp {
		o.SCPs = on
	} else {
		o.RCPs = on
	}
	_, err := tx.Exec(ctx, `UPDATE organizations_organization SET scps = $2, rcps = $3 WHERE id = $1`, o.ID, o.SCPs, o.RCPs)
	return err
}

// available refuses policy types that sekisho has not, and all of them where
// not all features are enabled.
func (o organization) available(policyType string) error {
	if _, ok := fullAccess[policyType]; !ok {
		return notBuilt(policyType)
	}
	if o.Features != allFeatures {
		return errTypeUnavailable
	}
	return nil
}

// enablePolicyType enables a type, and attaches the policy that allows
// everything to every node, so that nothing changes until somebody takes it
// away.
func (s *Service) enablePolicyType(ctx context.Context, c *call.Call, in *api.EnablePolicyTypeInput) (*api.EnablePolicyTypeOutput, error) {
	out := &api.EnablePolicyTypeOutput{}
	err := s.change(ctx, c, func(tx *state.Tx, o organization) error {
		switch err := o.available(in.PolicyType); {
		case err != nil:
			return err
		case in.RootId != o.Root:
			return errNoRoot
		case o.enabled(in.PolicyType):
			return errTypeEnabled
		}
		if err := o.set(ctx, tx, in.PolicyType, true); err != nil {
			return err
		}
		out.Root = o.root()
		_, err := tx.Exec(ctx, `
			INSERT INTO organizations_attachment (org, target, type, policy)
			SELECT org, id, $2, $3 FROM organizations_node WHERE org = $1`, o.ID, in.PolicyType, fullAccess[in.PolicyType].ID)
		return err
	})
	return out, err
}

// disablePolicyType detaches all policies of a type. They stay, and are not
// attached again when the type is enabled again.
func (s *Service) disablePolicyType(ctx context.Context, c *call.Call, in *api.DisablePolicyTypeInput) (*api.DisablePolicyTypeOutput, error) {
	out := &api.DisablePolicyTypeOutput{}
	err := s.change(ctx, c, func(tx *state.Tx, o organization) error {
		switch err := o.available(in.PolicyType); {
		case err != nil:
			return err
		case in.RootId != o.Root:
			return errNoRoot
		case !o.enabled(in.PolicyType):
			return errTypeNotEnabled
		}
		if err := o.set(ctx, tx, in.PolicyType, false); err != nil {
			return err
		}
		out.Root = o.root()
		_, err := tx.Exec(ctx, `DELETE FROM organizations_attachment WHERE org = $1 AND type = $2`, o.ID, in.PolicyType)
		return err
	})
	return out, err
}

// listAWSServiceAccess answers for an organization that exists. The list is
// empty because it cannot be otherwise: sekisho has no EnableAWSServiceAccess,
// and says so when it is called.
func (s *Service) listAWSServiceAccess(ctx context.Context, c *call.Call, in *api.ListAWSServiceAccessForOrganizationInput) (*api.ListAWSServiceAccessForOrganizationOutput, error) {
	if _, err := pageOf(in.NextToken, in.MaxResults); err != nil {
		return nil, err
	}
	err := s.look(ctx, c, func(*state.Tx, organization) error { return nil })
	return &api.ListAWSServiceAccessForOrganizationOutput{EnabledServicePrincipals: []api.EnabledServicePrincipal{}}, err
}
