package iam

import (
	"slices"
	"strconv"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Condition keys of requests that hand out permissions.
const (
	boundaryKey = "iam:permissionsboundary"
	policyKey   = "iam:policyarn"
)

// Operations is IAM's table of contents: name, what the permission of that
// name is asked on, deed. What stands in a file of its own has its part of
// the table there.
func (s *Service) Operations() []call.Operation {
	return slices.Concat(
		s.coreOperations(),
		s.accountOperations(),
		s.profileOperations(),
		s.loginOperations(),
		s.mfaOperations(),
		s.samlOperations(),
		s.oidcOperations(),
		s.serverCertificateOperations(),
		s.signingOperations(),
		s.linkedOperations(),
		s.accessOperations(),
		s.simulationOperations(),
	)
}

func (s *Service) coreOperations() []call.Operation {
	return []call.Operation{
		// users
		on(s, "CreateUser", func(in *api.CreateUserInput) subject {
			return subject{kind: user, name: in.UserName, path: in.Path, keys: with(tagKeys(in.Tags), boundaryKey, in.PermissionsBoundary), tagged: len(in.Tags) > 0}
		}, s.createUser),
		on(s, "GetUser", func(in *api.GetUserInput) subject { return subject{kind: user, name: in.UserName} }, s.getUser),
		across("ListUsers", user, func(in *api.ListUsersInput) string { return in.PathPrefix }, s.listUsers),
		on(s, "UpdateUser", func(in *api.UpdateUserInput) subject {
			return subject{kind: user, name: in.UserName, newName: in.NewUserName, newPath: in.NewPath}
		}, s.updateUser),
		on(s, "DeleteUser", func(in *api.DeleteUserInput) subject { return subject{kind: user, name: in.UserName} }, s.deleteUser),
		on(s, "TagUser", func(in *api.TagUserInput) subject {
			return subject{kind: user, name: in.UserName, keys: tagKeys(in.Tags)}
		}, s.tagUser),
		on(s, "UntagUser", func(in *api.UntagUserInput) subject {
			return subject{kind: user, name: in.UserName, keys: untagKeys(in.TagKeys)}
		}, s.untagUser),
		on(s, "ListUserTags", func(in *api.ListUserTagsInput) subject { return subject{kind: user, name: in.UserName} }, s.listUserTags),
		on(s, "PutUserPermissionsBoundary", func(in *api.PutUserPermissionsBoundaryInput) subject {
			return subject{kind: user, name: in.UserName, keys: with(nil, boundaryKey, in.PermissionsBoundary)}
		}, s.putUserPermissionsBoundary),
		on(s, "DeleteUserPermissionsBoundary", func(in *api.DeleteUserPermissionsBoundaryInput) subject {
			return subject{kind: user, name: in.UserName}
		}, s.deleteUserPermissionsBoundary),

		// access keys and git credentials
		on(s, "CreateAccessKey", func(in *api.CreateAccessKeyInput) subject { return subject{kind: user, name: in.UserName} }, s.createAccessKey),
		on(s, "ListAccessKeys", func(in *api.ListAccessKeysInput) subject { return subject{kind: user, name: in.UserName} }, s.listAccessKeys),
		on(s, "UpdateAccessKey", func(in *api.UpdateAccessKeyInput) subject { return subject{kind: user, name: in.UserName} }, s.updateAccessKey),
		on(s, "DeleteAccessKey", func(in *api.DeleteAccessKeyInput) subject { return subject{kind: user, name: in.UserName} }, s.deleteAccessKey),
		on(s, "CreateServiceSpecificCredential", func(in *api.CreateServiceSpecificCredentialInput) subject {
			return subject{kind: user, name: in.UserName, keys: credentialKeys(in)}
		}, s.createServiceSpecificCredential),
		on(s, "ListServiceSpecificCredentials", func(in *api.ListServiceSpecificCredentialsInput) subject { return credentialsOf(in) }, s.listServiceSpecificCredentials),
		on(s, "UpdateServiceSpecificCredential", func(in *api.UpdateServiceSpecificCredentialInput) subject {
			return subject{kind: user, name: in.UserName}
		}, s.updateServiceSpecificCredential),
		on(s, "ResetServiceSpecificCredential", func(in *api.ResetServiceSpecificCredentialInput) subject {
			return subject{kind: user, name: in.UserName}
		}, s.resetServiceSpecificCredential),
		on(s, "DeleteServiceSpecificCredential", func(in *api.DeleteServiceSpecificCredentialInput) subject {
			return subject{kind: user, name: in.UserName}
		}, s.deleteServiceSpecificCredential),

		// groups
		on(s, "CreateGroup", func(in *api.CreateGroupInput) subject { return subject{kind: group, name: in.GroupName, path: in.Path} }, s.createGroup),
		on(s, "GetGroup", func(in *api.GetGroupInput) subject { return subject{kind: group, name: in.GroupName} }, s.getGroup),
		across("ListGroups", group, func(in *api.ListGroupsInput) string { return in.PathPrefix }, s.listGroups),
		on(s, "UpdateGroup", func(in *api.UpdateGroupInput) subject {
			return subject{kind: group, name: in.GroupName, newName: in.NewGroupName, newPath: in.NewPath}
		}, s.updateGroup),
		on(s, "DeleteGroup", func(in *api.DeleteGroupInput) subject { return subject{kind: group, name: in.GroupName} }, s.deleteGroup),
		on(s, "AddUserToGroup", func(in *api.AddUserToGroupInput) subject { return subject{kind: group, name: in.GroupName} }, s.addUserToGroup),
		on(s, "RemoveUserFromGroup", func(in *api.RemoveUserFromGroupInput) subject { return subject{kind: group, name: in.GroupName} }, s.removeUserFromGroup),
		on(s, "ListGroupsForUser", func(in *api.ListGroupsForUserInput) subject { return subject{kind: user, name: in.UserName} }, s.listGroupsForUser),

		// roles
		on(s, "CreateRole", func(in *api.CreateRoleInput) subject {
			return subject{kind: role, name: in.RoleName, path: in.Path, keys: with(tagKeys(in.Tags), boundaryKey, in.PermissionsBoundary), tagged: len(in.Tags) > 0}
		}, s.createRole),
		on(s, "GetRole", func(in *api.GetRoleInput) subject { return subject{kind: role, name: in.RoleName} }, s.getRole),
		across("ListRoles", role, func(in *api.ListRolesInput) string { return in.PathPrefix }, s.listRoles),
		on(s, "UpdateRole", func(in *api.UpdateRoleInput) subject { return subject{kind: role, name: in.RoleName} }, s.updateRole),
		on(s, "UpdateRoleDescription", func(in *api.UpdateRoleDescriptionInput) subject { return subject{kind: role, name: in.RoleName} }, s.updateRoleDescription),
		on(s, "UpdateAssumeRolePolicy", func(in *api.UpdateAssumeRolePolicyInput) subject { return subject{kind: role, name: in.RoleName} }, s.updateAssumeRolePolicy),
		on(s, "DeleteRole", func(in *api.DeleteRoleInput) subject { return subject{kind: role, name: in.RoleName} }, s.deleteRole),
		on(s, "TagRole", func(in *api.TagRoleInput) subject {
			return subject{kind: role, name: in.RoleName, keys: tagKeys(in.Tags)}
		}, s.tagRole),
		on(s, "UntagRole", func(in *api.UntagRoleInput) subject {
			return subject{kind: role, name: in.RoleName, keys: untagKeys(in.TagKeys)}
		}, s.untagRole),
		on(s, "ListRoleTags", func(in *api.ListRoleTagsInput) subject { return subject{kind: role, name: in.RoleName} }, s.listRoleTags),
		on(s, "PutRolePermissionsBoundary", func(in *api.PutRolePermissionsBoundaryInput) subject {
			return subject{kind: role, name: in.RoleName, keys: with(nil, boundaryKey, in.PermissionsBoundary)}
		}, s.putRolePermissionsBoundary),
		on(s, "DeleteRolePermissionsBoundary", func(in *api.DeleteRolePermissionsBoundaryInput) subject {
			return subject{kind: role, name: in.RoleName}
		}, s.deleteRolePermissionsBoundary),

		// inline policies
		on(s, "PutUserPolicy", func(in *api.PutUserPolicyInput) subject { return subject{kind: user, name: in.UserName} }, s.putUserPolicy),
		on(s, "GetUserPolicy", func(in *api.GetUserPolicyInput) subject { return subject{kind: user, name: in.UserName} }, s.getUserPolicy),
		on(s, "DeleteUserPolicy", func(in *api.DeleteUserPolicyInput) subject { return subject{kind: user, name: in.UserName} }, s.deleteUserPolicy),
		on(s, "ListUserPolicies", func(in *api.ListUserPoliciesInput) subject { return subject{kind: user, name: in.UserName} }, s.listUserPolicies),
		on(s, "PutGroupPolicy", func(in *api.PutGroupPolicyInput) subject { return subject{kind: group, name: in.GroupName} }, s.putGroupPolicy),
		on(s, "GetGroupPolicy", func(in *api.GetGroupPolicyInput) subject { return subject{kind: group, name: in.GroupName} }, s.getGroupPolicy),
		on(s, "DeleteGroupPolicy", func(in *api.DeleteGroupPolicyInput) subject { return subject{kind: group, name: in.GroupName} }, s.deleteGroupPolicy),
		on(s, "ListGroupPolicies", func(in *api.ListGroupPoliciesInput) subject { return subject{kind: group, name: in.GroupName} }, s.listGroupPolicies),
		on(s, "PutRolePolicy", func(in *api.PutRolePolicyInput) subject { return subject{kind: role, name: in.RoleName} }, s.putRolePolicy),
		on(s, "GetRolePolicy", func(in *api.GetRolePolicyInput) subject { return subject{kind: role, name: in.RoleName} }, s.getRolePolicy),
		on(s, "DeleteRolePolicy", func(in *api.DeleteRolePolicyInput) subject { return subject{kind: role, name: in.RoleName} }, s.deleteRolePolicy),
		on(s, "ListRolePolicies", func(in *api.ListRolePoliciesInput) subject { return subject{kind: role, name: in.RoleName} }, s.listRolePolicies),

		// managed policies
		on(s, "CreatePolicy", func(in *api.CreatePolicyInput) subject {
			return subject{kind: managed, name: in.PolicyName, path: in.Path, keys: tagKeys(in.Tags), tagged: len(in.Tags) > 0}
		}, s.createPolicy),
		on(s, "GetPolicy", func(in *api.GetPolicyInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.getPolicy),
		across("ListPolicies", managed, func(*api.ListPoliciesInput) string { return "" }, s.listPolicies),
		on(s, "DeletePolicy", func(in *api.DeletePolicyInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.deletePolicy),
		on(s, "CreatePolicyVersion", func(in *api.CreatePolicyVersionInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.createPolicyVersion),
		on(s, "GetPolicyVersion", func(in *api.GetPolicyVersionInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.getPolicyVersion),
		on(s, "ListPolicyVersions", func(in *api.ListPolicyVersionsInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.listPolicyVersions),
		on(s, "DeletePolicyVersion", func(in *api.DeletePolicyVersionInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.deletePolicyVersion),
		on(s, "SetDefaultPolicyVersion", func(in *api.SetDefaultPolicyVersionInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.setDefaultPolicyVersion),
		on(s, "ListEntitiesForPolicy", func(in *api.ListEntitiesForPolicyInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.listEntitiesForPolicy),
		on(s, "TagPolicy", func(in *api.TagPolicyInput) subject {
			return subject{kind: managed, name: in.PolicyArn, keys: tagKeys(in.Tags)}
		}, s.tagPolicy),
		on(s, "UntagPolicy", func(in *api.UntagPolicyInput) subject {
			return subject{kind: managed, name: in.PolicyArn, keys: untagKeys(in.TagKeys)}
		}, s.untagPolicy),
		on(s, "ListPolicyTags", func(in *api.ListPolicyTagsInput) subject { return subject{kind: managed, name: in.PolicyArn} }, s.listPolicyTags),
		on(s, "AttachUserPolicy", func(in *api.AttachUserPolicyInput) subject {
			return subject{kind: user, name: in.UserName, keys: with(nil, policyKey, in.PolicyArn)}
		}, s.attachUserPolicy),
		on(s, "DetachUserPolicy", func(in *api.DetachUserPolicyInput) subject {
			return subject{kind: user, name: in.UserName, keys: with(nil, policyKey, in.PolicyArn)}
		}, s.detachUserPolicy),
		on(s, "ListAttachedUserPolicies", func(in *api.ListAttachedUserPoliciesInput) subject { return subject{kind: user, name: in.UserName} }, s.listAttachedUserPolicies),
		on(s, "AttachGroupPolicy", func(in *api.AttachGroupPolicyInput) subject {
			return subject{kind: group, name: in.GroupName, keys: with(nil, policyKey, in.PolicyArn)}
		}, s.attachGroupPolicy),
		on(s, "DetachGroupPolicy", func(in *api.DetachGroupPolicyInput) subject {
			return subject{kind: group, name: in.GroupName, keys: with(nil, policyKey, in.PolicyArn)}
		}, s.detachGroupPolicy),
		on(s, "ListAttachedGroupPolicies", func(in *api.ListAttachedGroupPoliciesInput) subject { return subject{kind: group, name: in.GroupName} }, s.listAttachedGroupPolicies),
		on(s, "AttachRolePolicy", func(in *api.AttachRolePolicyInput) subject {
			return subject{kind: role, name: in.RoleName, keys: with(nil, policyKey, in.PolicyArn)}
		}, s.attachRolePolicy),
		on(s, "DetachRolePolicy", func(in *api.DetachRolePolicyInput) subject {
			return subject{kind: role, name: in.RoleName, keys: with(nil, policyKey, in.PolicyArn)}
		}, s.detachRolePolicy),
		on(s, "ListAttachedRolePolicies", func(in *api.ListAttachedRolePoliciesInput) subject { return subject{kind: role, name: in.RoleName} }, s.listAttachedRolePolicies),
	}
}

// credentialKeys are the condition keys of what is to be made.
func credentialKeys(in *api.CreateServiceSpecificCredentialInput) policy.Keys {
	keys := policy.Keys{"iam:servicespecificcredentialservicename": {in.ServiceName}}
	if in.CredentialAgeDays != nil {
		keys["iam:servicespecificcredentialagedays"] = []string{strconv.FormatInt(*in.CredentialAgeDays, 10)}
	}
	return keys
}

// credentialsOf is what ListServiceSpecificCredentials is about: a user, or
// with AllUsers every user of the account.
func credentialsOf(in *api.ListServiceSpecificCredentialsInput) subject {
	if in.AllUsers != nil && *in.AllUsers {
		return subject{kind: user, name: "*"}
	}
	return subject{kind: user, name: in.UserName}
}
