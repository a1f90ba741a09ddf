package cloudformation

import (
	"context"
	"strconv"
	"time"

	iamapi "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/cfn"
)

func (q *request) iam() iamapi.Client { return iamapi.Client{Invoker: q.Invoker} }

func iamTags(tags []tag) []iamapi.Tag {
	return convert(tags, func(t tag) iamapi.Tag { return iamapi.Tag{Key: t.Key, Value: t.Value} })
}

// namedPolicy is one element of Policies.
type namedPolicy struct {
	PolicyName     string    `cfn:",required"`
	PolicyDocument *cfn.Node `cfn:",required"`
}

// holder is a user, group or role as far as policies go.
type holder struct {
	put, drop      func(ctx context.Context, name, document string) error
	attach, detach func(ctx context.Context, arn string) error
}

// policies brings inline and managed policies from one state to another.
func (h holder) policies(ctx context.Context, before, after []namedPolicy, beforeARNs, afterARNs []string) error {
	old := map[string]string{}
	for _, p := range before {
		old[p.PolicyName] = document(p.PolicyDocument)
	}
	for _, p := range after {
		if text, ok := old[p.PolicyName]; !ok || text != document(p.PolicyDocument) {
			if err := h.put(ctx, p.PolicyName, document(p.PolicyDocument)); err != nil {
				return err
			}
		}
		delete(old, p.PolicyName)
	}
	for name := range old {
		if err := unlessMissing(h.drop(ctx, name, "")); err != nil {
			return err
		}
	}
	for _, arn := range without(afterARNs, beforeARNs) {
		if err := h.attach(ctx, arn); err != nil {
			return err
		}
	}
	for _, arn := range without(beforeARNs, afterARNs) {
		if err := unlessMissing(h.detach(ctx, arn)); err != nil {
			return err
		}
	}
	return nil
}

func roleHolder(c iamapi.Client, name string) holder {
	return holder{
		put: func(ctx context.Context, policy, document string) error {
			_, err := c.PutRolePolicy(ctx, &iamapi.PutRolePolicyInput{RoleName: name, PolicyName: policy, PolicyDocument: document})
			return err
		},
		drop: func(ctx context.Context, policy, _ string) error {
			_, err := c.DeleteRolePolicy(ctx, &iamapi.DeleteRolePolicyInput{RoleName: name, PolicyName: policy})
			return err
		},
		attach: func(ctx context.Context, arn string) error {
			_, err := c.AttachRolePolicy(ctx, &iamapi.AttachRolePolicyInput{RoleName: name, PolicyArn: arn})
			return err
		},
		detach: func(ctx context.Context, arn string) error {
			_, err := c.DetachRolePolicy(ctx, &iamapi.DetachRolePolicyInput{RoleName: name, PolicyArn: arn})
			return err
		},
	}
}

func userHolder(c iamapi.Client, name string) holder {
	return holder{
		put: func(ctx context.Context, policy, document string) error {
			_, err := c.PutUserPolicy(ctx, &iamapi.PutUserPolicyInput{UserName: name, PolicyName: policy, PolicyDocument: document})
			return err
		},
		drop: func(ctx context.Context, policy, _ string) error {
			_, err := c.DeleteUserPolicy(ctx, &iamapi.DeleteUserPolicyInput{UserName: name, PolicyName: policy})
			return err
		},
		attach: func(ctx context.Context, arn string) error {
			_, err := c.AttachUserPolicy(ctx, &iamapi.AttachUserPolicyInput{UserName: name, PolicyArn: arn})
			return err
		},
		detach: func(ctx context.Context, arn string) error {
			_, err := c.DetachUserPolicy(ctx, &iamapi.DetachUserPolicyInput{UserName: name, PolicyArn: arn})
			return err
		},
	}
}

func groupHolder(c iamapi.Client, name string) holder {
	return holder{
		put: func(ctx context.Context, policy, document string) error {
			_, err := c.PutGroupPolicy(ctx, &iamapi.PutGroupPolicyInput{GroupName: name, PolicyName: policy, PolicyDocument: document})
			return err
		},
		drop: func(ctx context.Context, policy, _ string) error {
			_, err := c.DeleteGroupPolicy(ctx, &iamapi.DeleteGroupPolicyInput{GroupName: name, PolicyName: policy})
			return err
		},
		attach: func(ctx context.Context, arn string) error {
			_, err := c.AttachGroupPolicy(ctx, &iamapi.AttachGroupPolicyInput{GroupName: name, PolicyArn: arn})
			return err
		},
		detach: func(ctx context.Context, arn string) error {
			_, err := c.DetachGroupPolicy(ctx, &iamapi.DetachGroupPolicyInput{GroupName: name, PolicyArn: arn})
			return err
		},
	}
}

// role is AWS::IAM::Role.
type role struct{}

type roleProperties struct {
	AssumeRolePolicyDocument *cfn.Node `cfn:",required"`
	Description              string
	ManagedPolicyArns        []string
	MaxSessionDuration       *int64
	Path                     string
	PermissionsBoundary      string
	Policies                 []namedPolicy
	RoleName                 string
	Tags                     []tag
}

func (role) create(ctx context.Context, q *request) error {
	var p roleProperties
	if err := q.read(&p); err != nil {
		return err
	}
	r, err := q.createRole(ctx, p)
	if err != nil {
		return err
	}
	q.Attributes["Arn"], q.Attributes["RoleId"] = r.Arn, r.RoleId
	if err := q.exists(ctx, r.RoleName); err != nil {
		return err
	}
	return roleHolder(q.iam(), r.RoleName).policies(ctx, nil, p.Policies, nil, p.ManagedPolicyArns)
}

func (q *request) createRole(ctx context.Context, p roleProperties) (*iamapi.Role, error) {
	out, err := q.iam().CreateRole(ctx, &iamapi.CreateRoleInput{
		RoleName: q.Name, AssumeRolePolicyDocument: document(p.AssumeRolePolicyDocument), Description: p.Description,
		MaxSessionDuration: p.MaxSessionDuration, Path: p.Path, PermissionsBoundary: p.PermissionsBoundary, Tags: iamTags(p.Tags),
	})
	if err == nil {
		return out.Role, nil
	}
	if q.Resumed && existing(err) {
		if got, e := q.iam().GetRole(ctx, &iamapi.GetRoleInput{RoleName: q.Name}); e == nil && q.ours(got.Role.CreateDate) {
			return got.Role, nil
		}
	}
	return nil, err
}

func (role) update(ctx context.Context, q *request) error {
	var before, after roleProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	c, name := q.iam(), q.Physical
	if q.changed("AssumeRolePolicyDocument") {
		if _, err := c.UpdateAssumeRolePolicy(ctx, &iamapi.UpdateAssumeRolePolicyInput{
			RoleName: name, PolicyDocument: document(after.AssumeRolePolicyDocument),
		}); err != nil {
			return err
		}
	}
	if q.changed("Description") || q.changed("MaxSessionDuration") {
		duration := after.MaxSessionDuration
		if duration == nil {
			duration = new(int64(3600))
		}
		if _, err := c.UpdateRole(ctx, &iamapi.UpdateRoleInput{
			RoleName: name, Description: after.Description, MaxSessionDuration: duration,
		}); err != nil {
			return err
		}
	}
	if q.changed("Description") && after.Description == "" { // which UpdateRole leaves as it was
		if _, err := c.UpdateRoleDescription(ctx, &iamapi.UpdateRoleDescriptionInput{RoleName: name}); err != nil {
			return err
		}
	}
	if err := q.roleBoundary(ctx, after.PermissionsBoundary); err != nil {
		return err
	}
	if err := q.roleTags(ctx, before.Tags, after.Tags); err != nil {
		return err
	}
	return roleHolder(c, name).policies(ctx, before.Policies, after.Policies, before.ManagedPolicyArns, after.ManagedPolicyArns)
}

func (q *request) roleBoundary(ctx context.Context, boundary string) error {
	if !q.changed("PermissionsBoundary") {
		return nil
	}
	if boundary == "" {
		_, err := q.iam().DeleteRolePermissionsBoundary(ctx, &iamapi.DeleteRolePermissionsBoundaryInput{RoleName: q.Physical})
		return err
	}
	_, err := q.iam().PutRolePermissionsBoundary(ctx, &iamapi.PutRolePermissionsBoundaryInput{
		RoleName: q.Physical, PermissionsBoundary: boundary,
	})
	return err
}

func (q *request) roleTags(ctx context.Context, before, after []tag) error {
	set, unset := tagChanges(before, after)
	if unset != nil {
		if _, err := q.iam().UntagRole(ctx, &iamapi.UntagRoleInput{RoleName: q.Physical, TagKeys: unset}); err != nil {
			return err
		}
	}
	if set == nil {
		return nil
	}
	_, err := q.iam().TagRole(ctx, &iamapi.TagRoleInput{RoleName: q.Physical, Tags: iamTags(set)})
	return err
}

func (role) remove(ctx context.Context, q *request) error {
	var p roleProperties
	_ = decode(q.Properties, &p) // a role of bad properties was never made
	if err := roleHolder(q.iam(), q.Physical).policies(ctx, p.Policies, nil, p.ManagedPolicyArns, nil); err != nil {
		return unlessMissing(err)
	}
	_, err := q.iam().DeleteRole(ctx, &iamapi.DeleteRoleInput{RoleName: q.Physical})
	return unlessMissing(err)
}

// user is AWS::IAM::User.
type user struct{}

type userProperties struct {
	Groups              []string
	ManagedPolicyArns   []string
	Path                string
	PermissionsBoundary string
	Policies            []namedPolicy
	Tags                []tag
	UserName            string
}

func (user) create(ctx context.Context, q *request) error {
	var p userProperties
	if err := q.read(&p); err != nil {
		return err
	}
	u, err := q.createUser(ctx, p)
	if err != nil {
		return err
	}
	q.Attributes["Arn"] = u.Arn
	if err := q.exists(ctx, u.UserName); err != nil {
		return err
	}
	if err := q.groups(ctx, nil, p.Groups); err != nil {
		return err
	}
	return userHolder(q.iam(), u.UserName).policies(ctx, nil, p.Policies, nil, p.ManagedPolicyArns)
}

func (q *request) createUser(ctx context.Context, p userProperties) (*iamapi.User, error) {
	out, err := q.iam().CreateUser(ctx, &iamapi.CreateUserInput{
		UserName: q.Name, Path: p.Path, PermissionsBoundary: p.PermissionsBoundary, Tags: iamTags(p.Tags),
	})
	if err == nil {
		return out.User, nil
	}
	if q.Resumed && existing(err) {
		if got, e := q.iam().GetUser(ctx, &iamapi.GetUserInput{UserName: q.Name}); e == nil && q.ours(got.User.CreateDate) {
			return got.User, nil
		}
	}
	return nil, err
}

// groups brings a user's memberships from one state to another.
func (q *request) groups(ctx context.Context, before, after []string) error {
	for _, g := range without(after, before) {
		if _, err := q.iam().AddUserToGroup(ctx, &iamapi.AddUserToGroupInput{UserName: q.Physical, GroupName: g}); err != nil {
			return err
		}
	}
	for _, g := range without(before, after) {
		_, err := q.iam().RemoveUserFromGroup(ctx, &iamapi.RemoveUserFromGroupInput{UserName: q.Physical, GroupName: g})
		if err := unlessMissing(err); err != nil {
			return err
		}
	}
	return nil
}

func (user) update(ctx context.Context, q *request) error {
	var before, after userProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	if q.changed("Path") {
		path := after.Path
		if path == "" {
			path = "/"
		}
		if _, err := q.iam().UpdateUser(ctx, &iamapi.UpdateUserInput{UserName: q.Physical, NewPath: path}); err != nil {
			return err
		}
		got, err := q.iam().GetUser(ctx, &iamapi.GetUserInput{UserName: q.Physical})
		if err != nil {
			return err
		}
		q.Attributes["Arn"] = got.User.Arn
	}
	if err := q.userBoundary(ctx, after.PermissionsBoundary); err != nil {
		return err
	}
	if err := q.userTags(ctx, before.Tags, after.Tags); err != nil {
		return err
	}
	if err := q.groups(ctx, before.Groups, after.Groups); err != nil {
		return err
	}
	return userHolder(q.iam(), q.Physical).policies(ctx, before.Policies, after.Policies, before.ManagedPolicyArns, after.ManagedPolicyArns)
}

func (q *request) userBoundary(ctx context.Context, boundary string) error {
	if !q.changed("PermissionsBoundary") {
		return nil
	}
	if boundary == "" {
		_, err := q.iam().DeleteUserPermissionsBoundary(ctx, &iamapi.DeleteUserPermissionsBoundaryInput{UserName: q.Physical})
		return err
	}
	_, err := q.iam().PutUserPermissionsBoundary(ctx, &iamapi.PutUserPermissionsBoundaryInput{
		UserName: q.Physical, PermissionsBoundary: boundary,
	})
	return err
}

func (q *request) userTags(ctx context.Context, before, after []tag) error {
	set, unset := tagChanges(before, after)
	if unset != nil {
		if _, err := q.iam().UntagUser(ctx, &iamapi.UntagUserInput{UserName: q.Physical, TagKeys: unset}); err != nil {
			return err
		}
	}
	if set == nil {
		return nil
	}
	_, err := q.iam().TagUser(ctx, &iamapi.TagUserInput{UserName: q.Physical, Tags: iamTags(set)})
	return err
}

func (user) remove(ctx context.Context, q *request) error {
	var p userProperties
	_ = decode(q.Properties, &p) // a user of bad properties was never made
	if err := q.groups(ctx, p.Groups, nil); err != nil {
		return err
	}
	if err := userHolder(q.iam(), q.Physical).policies(ctx, p.Policies, nil, p.ManagedPolicyArns, nil); err != nil {
		return unlessMissing(err)
	}
	_, err := q.iam().DeleteUser(ctx, &iamapi.DeleteUserInput{UserName: q.Physical})
	return unlessMissing(err)
}

// group is AWS::IAM::Group.
type group struct{}

type groupProperties struct {
	GroupName         string
	ManagedPolicyArns []string
	Path              string
	Policies          []namedPolicy
}

func (group) create(ctx context.Context, q *request) error {
	var p groupProperties
	if err := q.read(&p); err != nil {
		return err
	}
	var g *iamapi.Group
	out, err := q.iam().CreateGroup(ctx, &iamapi.CreateGroupInput{GroupName: q.Name, Path: p.Path})
	switch {
	case err == nil:
		g = out.Group
	case q.Resumed && existing(err):
		got, e := q.iam().GetGroup(ctx, &iamapi.GetGroupInput{GroupName: q.Name})
		if e != nil || !q.ours(got.Group.CreateDate) {
			return err
		}
		g = got.Group
	default:
		return err
	}
	q.Attributes["Arn"] = g.Arn
	if err := q.exists(ctx, g.GroupName); err != nil {
		return err
	}
	return groupHolder(q.iam(), g.GroupName).policies(ctx, nil, p.Policies, nil, p.ManagedPolicyArns)
}

func (group) update(ctx context.Context, q *request) error {
	var before, after groupProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	if q.changed("Path") {
		path := after.Path
		if path == "" {
			path = "/"
		}
		if _, err := q.iam().UpdateGroup(ctx, &iamapi.UpdateGroupInput{GroupName: q.Physical, NewPath: path}); err != nil {
			return err
		}
		got, err := q.iam().GetGroup(ctx, &iamapi.GetGroupInput{GroupName: q.Physical})
		if err != nil {
			return err
		}
		q.Attributes["Arn"] = got.Group.Arn
	}
	return groupHolder(q.iam(), q.Physical).policies(ctx, before.Policies, after.Policies, before.ManagedPolicyArns, after.ManagedPolicyArns)
}

func (group) remove(ctx context.Context, q *request) error {
	var p groupProperties
	_ = decode(q.Properties, &p) // a group of bad properties was never made
	if err := groupHolder(q.iam(), q.Physical).policies(ctx, p.Policies, nil, p.ManagedPolicyArns, nil); err != nil {
		return unlessMissing(err)
	}
	_, err := q.iam().DeleteGroup(ctx, &iamapi.DeleteGroupInput{GroupName: q.Physical})
	return unlessMissing(err)
}

// inlinePolicy is AWS::IAM::Policy: one document put into several users,
// groups and roles.
type inlinePolicy struct{}

type inlinePolicyProperties struct {
	PolicyName     string    `cfn:",required"`
	PolicyDocument *cfn.Node `cfn:",required"`
	Groups         []string
	Roles          []string
	Users          []string
}

func (p inlinePolicyProperties) holders(c iamapi.Client) map[string]holder {
	all := map[string]holder{}
	for _, n := range p.Roles {
		all["role/"+n] = roleHolder(c, n)
	}
	for _, n := range p.Users {
		all["user/"+n] = userHolder(c, n)
	}
	for _, n := range p.Groups {
		all["group/"+n] = groupHolder(c, n)
	}
	return all
}

func (p inlinePolicyProperties) put(ctx context.Context, c iamapi.Client) error {
	all := p.holders(c)
	if len(all) == 0 {
		return problemf("At least one of [Groups,Roles,Users] must be non-empty.")
	}
	for _, h := range all {
		if err := h.put(ctx, p.PolicyName, document(p.PolicyDocument)); err != nil {
			return err
		}
	}
	return nil
}

func (inlinePolicy) create(ctx context.Context, q *request) error {
	var p inlinePolicyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	// Recorded first: with several holders it may be made half.
	if err := q.exists(ctx, q.Name); err != nil {
		return err
	}
	q.Attributes["Id"] = q.Name
	return p.put(ctx, q.iam())
}

func (inlinePolicy) update(ctx context.Context, q *request) error {
	var before, after inlinePolicyProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	if err := after.put(ctx, q.iam()); err != nil {
		return err
	}
	kept := after.holders(q.iam())
	for name, h := range before.holders(q.iam()) {
		if _, ok := kept[name]; ok && before.PolicyName == after.PolicyName {
			continue
		}
		if err := unlessMissing(h.drop(ctx, before.PolicyName, "")); err != nil {
			return err
		}
	}
	return nil
}

func (inlinePolicy) remove(ctx context.Context, q *request) error {
	var p inlinePolicyProperties
	if err := decode(q.Properties, &p); err != nil {
		return nil // it was never made
	}
	for _, h := range p.holders(q.iam()) {
		if err := unlessMissing(h.drop(ctx, p.PolicyName, "")); err != nil {
			return err
		}
	}
	return nil
}

// managedPolicy is AWS::IAM::ManagedPolicy. Its physical id is its ARN.
type managedPolicy struct{}

type managedPolicyProperties struct {
	Description       string
	Groups            []string
	ManagedPolicyName string
	Path              string
	PolicyDocument    *cfn.Node `cfn:",required"`
	Roles             []string
	Users             []string
}

func (p managedPolicyProperties) holders(c iamapi.Client) map[string]holder {
	return inlinePolicyProperties{Groups: p.Groups, Roles: p.Roles, Users: p.Users}.holders(c)
}

func (managedPolicy) create(ctx context.Context, q *request) error {
	var p managedPolicyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	made, err := q.createPolicy(ctx, p)
	if err != nil {
		return err
	}
	q.policyAttributes(made)
	if err := q.exists(ctx, made.Arn); err != nil {
		return err
	}
	for _, h := range p.holders(q.iam()) {
		if err := h.attach(ctx, made.Arn); err != nil {
			return err
		}
	}
	return nil
}

func (q *request) createPolicy(ctx context.Context, p managedPolicyProperties) (*iamapi.Policy, error) {
	out, err := q.iam().CreatePolicy(ctx, &iamapi.CreatePolicyInput{
		PolicyName: q.Name, Path: p.Path, Description: p.Description, PolicyDocument: document(p.PolicyDocument),
	})
	if err == nil {
		return out.Policy, nil
	}
	if q.Resumed && existing(err) {
		path := p.Path
		if path == "" {
			path = "/"
		}
		arn := "arn:aws:iam::" + q.Stack.Account + ":policy" + path + q.Name
		if got, e := q.iam().GetPolicy(ctx, &iamapi.GetPolicyInput{PolicyArn: arn}); e == nil && q.ours(got.Policy.CreateDate) {
			return got.Policy, nil
		}
	}
	return nil, err
}

func (q *request) policyAttributes(p *iamapi.Policy) {
	count := func(n *int64) string {
		if n == nil {
			return "0"
		}
		return strconv.FormatInt(*n, 10)
	}
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	q.Attributes["PolicyArn"], q.Attributes["PolicyId"], q.Attributes["DefaultVersionId"] = p.Arn, p.PolicyId, p.DefaultVersionId
	q.Attributes["AttachmentCount"] = count(p.AttachmentCount)
	q.Attributes["PermissionsBoundaryUsageCount"] = count(p.PermissionsBoundaryUsageCount)
	q.Attributes["IsAttachable"] = strconv.FormatBool(p.IsAttachable == nil || *p.IsAttachable)
	q.Attributes["CreateDate"], q.Attributes["UpdateDate"] = at(p.CreateDate), at(p.UpdateDate)
}

func (managedPolicy) update(ctx context.Context, q *request) error {
	var before, after managedPolicyProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	if q.changed("PolicyDocument") {
		if err := q.newVersion(ctx, document(after.PolicyDocument)); err != nil {
			return err
		}
	}
	kept, held := after.holders(q.iam()), before.holders(q.iam())
	for name, h := range kept {
		if _, ok := held[name]; !ok {
			if err := h.attach(ctx, q.Physical); err != nil {
				return err
			}
		}
	}
	for name, h := range held {
		if _, ok := kept[name]; !ok {
			if err := unlessMissing(h.detach(ctx, q.Physical)); err != nil {
				return err
			}
		}
	}
	return nil
}

// newVersion makes a document the policy's default version. A policy has five
// versions at most: the oldest one that is not in use makes room.
func (q *request) newVersion(ctx context.Context, document string) error {
	in := &iamapi.CreatePolicyVersionInput{PolicyArn: q.Physical, PolicyDocument: document, SetAsDefault: new(true)}
	out, err := q.iam().CreatePolicyVersion(ctx, in)
	if err != nil && handlerCode(errorCode(err)) == "ServiceLimitExceeded" {
		if err := q.dropVersions(ctx, 1); err != nil {
			return err
		}
		out, err = q.iam().CreatePolicyVersion(ctx, in)
	}
	if err != nil {
		return err
	}
	if out.PolicyVersion != nil {
		q.Attributes["DefaultVersionId"] = out.PolicyVersion.VersionId
	}
	return nil
}

// dropVersions deletes up to n versions that are not in use, oldest first;
// n < 0 means all of them.
func (q *request) dropVersions(ctx context.Context, n int) error {
	out, err := q.iam().ListPolicyVersions(ctx, &iamapi.ListPolicyVersionsInput{PolicyArn: q.Physical})
	if err != nil {
		return err
	}
	for i := len(out.Versions) - 1; i >= 0 && n != 0; i-- {
		v := out.Versions[i]
		if v.IsDefaultVersion != nil && *v.IsDefaultVersion {
			continue
		}
		_, err := q.iam().DeletePolicyVersion(ctx, &iamapi.DeletePolicyVersionInput{PolicyArn: q.Physical, VersionId: v.VersionId})
		if err := unlessMissing(err); err != nil {
			return err
		}
		n--
	}
	return nil
}

func (managedPolicy) remove(ctx context.Context, q *request) error {
	var p managedPolicyProperties
	_ = decode(q.Properties, &p) // a policy of bad properties was never made
	for _, h := range p.holders(q.iam()) {
		if err := unlessMissing(h.detach(ctx, q.Physical)); err != nil {
			return err
		}
	}
	if err := q.dropVersions(ctx, -1); err != nil {
		return unlessMissing(err)
	}
	_, err := q.iam().DeletePolicy(ctx, &iamapi.DeletePolicyInput{PolicyArn: q.Physical})
	return unlessMissing(err)
}

// accessKey is AWS::IAM::AccessKey.
type accessKey struct{}

type accessKeyProperties struct {
	UserName string `cfn:",required"`
	Serial   *int64
	Status   string
}

func (accessKey) create(ctx context.Context, q *request) error {
	var p accessKeyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	if q.Resumed {
		if err := q.dropLostKeys(ctx, p.UserName); err != nil {
			return err
		}
	}
	out, err := q.iam().CreateAccessKey(ctx, &iamapi.CreateAccessKeyInput{UserName: p.UserName})
	if err != nil {
		return err
	}
	k := out.AccessKey
	q.Attributes["SecretAccessKey"], q.Attributes["Id"] = k.SecretAccessKey, k.AccessKeyId
	if err := q.exists(ctx, k.AccessKeyId); err != nil {
		return err
	}
	return q.keyStatus(ctx, p)
}

// dropLostKeys deletes the keys that a step made whose process died before
// the secret was recorded: nobody knows it.
func (q *request) dropLostKeys(ctx context.Context, userName string) error {
	out, err := q.iam().ListAccessKeys(ctx, &iamapi.ListAccessKeysInput{UserName: userName})
	if err != nil {
		return err
	}
	for _, k := range out.AccessKeyMetadata {
		known, err := q.s.isPhysical(ctx, k.AccessKeyId, q.Stack.ID, q.LogicalID)
		if err != nil {
			return err
		}
		if known || !q.ours(k.CreateDate) {
			continue
		}
		_, err = q.iam().DeleteAccessKey(ctx, &iamapi.DeleteAccessKeyInput{UserName: userName, AccessKeyId: k.AccessKeyId})
		if err := unlessMissing(err); err != nil {
			return err
		}
	}
	return nil
}

func (q *request) keyStatus(ctx context.Context, p accessKeyProperties) error {
	status := p.Status
	if status == "" {
		status = "Active"
	}
	if status == "Active" && q.Before == nil {
		return nil
	}
	_, err := q.iam().UpdateAccessKey(ctx, &iamapi.UpdateAccessKeyInput{UserName: p.UserName, AccessKeyId: q.Physical, Status: status})
	return err
}

func (accessKey) update(ctx context.Context, q *request) error {
	var p accessKeyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	return q.keyStatus(ctx, p)
}

func (accessKey) remove(ctx context.Context, q *request) error {
	var p accessKeyProperties
	if err := decode(q.Properties, &p); err != nil {
		return nil // it was never made
	}
	_, err := q.iam().DeleteAccessKey(ctx, &iamapi.DeleteAccessKeyInput{UserName: p.UserName, AccessKeyId: q.Physical})
	return unlessMissing(err)
}

// membership is AWS::IAM::UserToGroupAddition.
type membership struct{}

type membershipProperties struct {
	GroupName string   `cfn:",required"`
	Users     []string `cfn:",required"`
}

func (membership) create(ctx context.Context, q *request) error {
	var p membershipProperties
	if err := q.read(&p); err != nil {
		return err
	}
	if err := q.exists(ctx, q.Name); err != nil {
		return err
	}
	q.Attributes["Id"] = q.Name
	return q.members(ctx, p.GroupName, nil, p.Users)
}

func (q *request) members(ctx context.Context, group string, before, after []string) error {
	for _, u := range without(after, before) {
		if _, err := q.iam().AddUserToGroup(ctx, &iamapi.AddUserToGroupInput{GroupName: group, UserName: u}); err != nil {
			return err
		}
	}
	for _, u := range without(before, after) {
		_, err := q.iam().RemoveUserFromGroup(ctx, &iamapi.RemoveUserFromGroupInput{GroupName: group, UserName: u})
		if err := unlessMissing(err); err != nil {
			return err
		}
	}
	return nil
}

func (membership) update(ctx context.Context, q *request) error {
	var before, after membershipProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	return q.members(ctx, after.GroupName, before.Users, after.Users)
}

func (membership) remove(ctx context.Context, q *request) error {
	var p membershipProperties
	if err := decode(q.Properties, &p); err != nil {
		return nil // it was never made
	}
	return q.members(ctx, p.GroupName, p.Users, nil)
}
