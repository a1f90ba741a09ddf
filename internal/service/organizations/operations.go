package organizations

import (
	api "github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Operations is the service's table of contents: name, what the permission of
// that name is asked on, deed.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		// the organization
		op(s, "CreateOrganization", func(*api.CreateOrganizationInput) subject { return things() }, s.createOrganization),
		op(s, "DescribeOrganization", func(*api.DescribeOrganizationInput) subject { return things() }, s.describeOrganization),
		op(s, "DeleteOrganization", func(*api.DeleteOrganizationInput) subject { return things() }, s.deleteOrganization),
		op(s, "ListRoots", func(*api.ListRootsInput) subject { return things() }, s.listRoots),
		op(s, "EnablePolicyType", func(in *api.EnablePolicyTypeInput) subject {
			return subject{ids: []string{in.RootId}, policyType: in.PolicyType}
		}, s.enablePolicyType),
		op(s, "DisablePolicyType", func(in *api.DisablePolicyTypeInput) subject {
			return subject{ids: []string{in.RootId}, policyType: in.PolicyType}
		}, s.disablePolicyType),
		op(s, "ListAWSServiceAccessForOrganization", func(*api.ListAWSServiceAccessForOrganizationInput) subject { return things() }, s.listAWSServiceAccess),

		// units, and the tree
		op(s, "CreateOrganizationalUnit", func(in *api.CreateOrganizationalUnitInput) subject { return making("ou", in.Tags, in.ParentId) }, s.createUnit),
		op(s, "DescribeOrganizationalUnit", func(in *api.DescribeOrganizationalUnitInput) subject { return things(in.OrganizationalUnitId) }, s.describeUnit),
		op(s, "UpdateOrganizationalUnit", func(in *api.UpdateOrganizationalUnitInput) subject { return things(in.OrganizationalUnitId) }, s.updateUnit),
		op(s, "DeleteOrganizationalUnit", func(in *api.DeleteOrganizationalUnitInput) subject { return things(in.OrganizationalUnitId) }, s.deleteUnit),
		op(s, "ListOrganizationalUnitsForParent", func(in *api.ListOrganizationalUnitsForParentInput) subject { return things(in.ParentId) }, s.listUnits),
		op(s, "ListChildren", func(in *api.ListChildrenInput) subject { return things(in.ParentId) }, s.listChildren),
		op(s, "ListParents", func(in *api.ListParentsInput) subject { return things(in.ChildId) }, s.listParents),

		// accounts
		op(s, "CreateAccount", func(in *api.CreateAccountInput) subject { return making("account", in.Tags) }, s.createAccount),
		op(s, "DescribeCreateAccountStatus", func(*api.DescribeCreateAccountStatusInput) subject { return things() }, s.describeCreateAccountStatus),
		op(s, "ListCreateAccountStatus", func(*api.ListCreateAccountStatusInput) subject { return things() }, s.listCreateAccountStatus),
		op(s, "DescribeAccount", func(in *api.DescribeAccountInput) subject { return things(in.AccountId) }, s.describeAccount),
		op(s, "ListAccounts", func(*api.ListAccountsInput) subject { return things() }, s.listAccounts),
		op(s, "ListAccountsForParent", func(in *api.ListAccountsForParentInput) subject { return things(in.ParentId) }, s.listAccountsForParent),
		op(s, "MoveAccount", func(in *api.MoveAccountInput) subject {
			return things(in.AccountId, in.SourceParentId, in.DestinationParentId)
		}, s.moveAccount),
		op(s, "CloseAccount", func(in *api.CloseAccountInput) subject { return things(in.AccountId) }, s.closeAccount),
		op(s, "RemoveAccountFromOrganization", func(in *api.RemoveAccountFromOrganizationInput) subject { return things(in.AccountId) }, s.removeAccount),
		op(s, "LeaveOrganization", func(*api.LeaveOrganizationInput) subject { return things() }, s.leaveOrganization),

		// invitations
		op(s, "InviteAccountToOrganization", invitedAccount, s.invite),
		op(s, "AcceptHandshake", func(in *api.AcceptHandshakeInput) subject { return things(in.HandshakeId) }, s.acceptHandshake),
		op(s, "DeclineHandshake", func(in *api.DeclineHandshakeInput) subject { return things(in.HandshakeId) }, s.declineHandshake),
		op(s, "CancelHandshake", func(in *api.CancelHandshakeInput) subject { return things(in.HandshakeId) }, s.cancelHandshake),
		op(s, "DescribeHandshake", func(in *api.DescribeHandshakeInput) subject { return things(in.HandshakeId) }, s.describeHandshake),
		op(s, "ListHandshakesForAccount", func(*api.ListHandshakesForAccountInput) subject { return things() }, s.listHandshakesForAccount),
		op(s, "ListHandshakesForOrganization", func(*api.ListHandshakesForOrganizationInput) subject { return things() }, s.listHandshakesForOrganization),

		// policies
		op(s, "CreatePolicy", func(in *api.CreatePolicyInput) subject {
			sub := making("policy", in.Tags)
			sub.policyType = in.Type
			return sub
		}, s.createPolicy),
		op(s, "DescribePolicy", func(in *api.DescribePolicyInput) subject { return things(in.PolicyId) }, s.describePolicy),
		op(s, "UpdatePolicy", func(in *api.UpdatePolicyInput) subject { return things(in.PolicyId) }, s.updatePolicy),
		op(s, "DeletePolicy", func(in *api.DeletePolicyInput) subject { return things(in.PolicyId) }, s.deletePolicy),
		op(s, "ListPolicies", func(in *api.ListPoliciesInput) subject { return subject{policyType: in.Filter} }, s.listPolicies),
		op(s, "AttachPolicy", func(in *api.AttachPolicyInput) subject { return things(in.PolicyId, in.TargetId) }, s.attachPolicy),
		op(s, "DetachPolicy", func(in *api.DetachPolicyInput) subject { return things(in.PolicyId, in.TargetId) }, s.detachPolicy),
		op(s, "ListPoliciesForTarget", func(in *api.ListPoliciesForTargetInput) subject {
			return subject{ids: []string{in.TargetId}, policyType: in.Filter}
		}, s.listPoliciesForTarget),
		op(s, "ListTargetsForPolicy", func(in *api.ListTargetsForPolicyInput) subject { return things(in.PolicyId) }, s.listTargetsForPolicy),
		op(s, "DescribeEffectivePolicy", func(in *api.DescribeEffectivePolicyInput) subject {
			sub := subject{policyType: in.PolicyType}
			if in.TargetId != "" {
				sub.ids = []string{in.TargetId}
			}
			return sub
		}, s.describeEffectivePolicy),

		// tags
		op(s, "TagResource", func(in *api.TagResourceInput) subject {
			return subject{ids: []string{in.ResourceId}, keys: requestTags(in.Tags)}
		}, s.tagResource),
		op(s, "UntagResource", func(in *api.UntagResourceInput) subject {
			return subject{ids: []string{in.ResourceId}, keys: policy.Keys{"aws:tagkeys": in.TagKeys}}
		}, s.untagResource),
		op(s, "ListTagsForResource", func(in *api.ListTagsForResourceInput) subject { return things(in.ResourceId) }, s.listTagsForResource),
	}
}

// invitedAccount is the account that an invitation names by its id; one that
// is named by its address stands for any.
func invitedAccount(in *api.InviteAccountToOrganizationInput) subject {
	sub := making("account", in.Tags)
	if in.Target != nil && in.Target.Type == "ACCOUNT" {
		sub.ids = []string{in.Target.Id}
	}
	return sub
}
