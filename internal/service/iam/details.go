package iam

import (
	"cmp"
	"context"
	"slices"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// detail is one line of GetAccountAuthorizationDetails: an entity or a managed
// policy.
type detail struct {
	key    string // what the list is sorted and continued by
	entity *entity
	policy *managedPolicy
}

// filterOf is a kind of entity as the filter of GetAccountAuthorizationDetails
// names it, and placeOf where it stands in the list; policies come behind.
var (
	filterOf = map[kind]string{user: "User", group: "Group", role: "Role"}
	placeOf  = map[kind]string{user: "1", group: "2", role: "3", managed: "4"}
)

// getAccountAuthorizationDetails shows who may do what in the account: users,
// groups, roles, the account's own policies, and those of AWS's that are
// attached to somebody.
func (s *Service) getAccountAuthorizationDetails(ctx context.Context, c *call.Call, in *api.GetAccountAuthorizationDetailsInput) (*api.GetAccountAuthorizationDetailsOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	wanted := func(filter string) bool { return len(in.Filter) == 0 || slices.Contains(in.Filter, filter) }
	out := &api.GetAccountAuthorizationDetailsOutput{
		UserDetailList: []api.UserDetail{}, GroupDetailList: []api.GroupDetail{}, RoleDetailList: []api.RoleDetail{}, Policies: []api.ManagedPolicyDetail{},
	}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		all, err := details(ctx, tx, c.Account(), wanted)
		if err != nil {
			return err
		}
		all, out.IsTruncated, out.Marker = pageThrough(p, all, func(d detail) string { return d.key })
		used, err := usedPolicies(ctx, tx, c.Account())
		if err != nil {
			return err
		}
		for _, d := range all {
			if err := d.show(ctx, tx, used, out); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range out.RoleDetailList {
		r := &out.RoleDetailList[i]
		if r.RoleLastUsed, err = s.lastUsed(ctx, r.RoleId); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// details lists what there is, in the order in which it is shown.
func details(ctx context.Context, tx *state.Tx, account string, wanted func(filter string) bool) ([]detail, error) {
	entities, err := state.List[entity](ctx, tx, `SELECT `+entityColumns+` FROM iam_entity WHERE account = $1`, account)
	if err != nil {
		return nil, err
	}
	var list []detail
	for i, e := range entities {
		if wanted(filterOf[kind(e.Kind)]) {
			list = append(list, detail{key: placeOf[kind(e.Kind)] + e.Folded, entity: &entities[i]})
		}
	}
	policies := []managedPolicy{}
	if wanted("LocalManagedPolicy") {
		if policies, err = state.List[managedPolicy](ctx, tx, listOwnPolicies, account); err != nil {
			return nil, err
		}
	}
	if wanted("AWSManagedPolicy") {
		used, err := usedPolicies(ctx, tx, account)
		if err != nil {
			return nil, err
		}
		for _, b := range builtins {
			if m := b.managedPolicy(); used.attached[m.ARN]+used.bounds[m.ARN] > 0 {
				policies = append(policies, m)
			}
		}
	}
	for i, m := range policies {
		list = append(list, detail{key: placeOf[managed] + m.Folded + " " + m.Account, policy: &policies[i]})
	}
	slices.SortFunc(list, func(a, b detail) int { return cmp.Compare(a.key, b.key) })
	return list, nil
}

// show adds the line to an answer.
func (d detail) show(ctx context.Context, tx *state.Tx, used usages, out *api.GetAccountAuthorizationDetailsOutput) error {
	if d.policy != nil {
		m, err := d.policy.detail(ctx, tx, used)
		out.Policies = append(out.Policies, m)
		return err
	}
	e := *d.entity
	inlines, attached, err := e.documents(ctx, tx)
	if err != nil {
		return err
	}
	tags, err := tagsOf(ctx, tx, e.ID)
	if err != nil {
		return err
	}
	switch kind(e.Kind) {
	case user:
		u := api.UserDetail{
			Path: e.Path, UserName: e.Name, UserId: e.ID, Arn: e.arn(), CreateDate: &e.Created, UserPolicyList: inlines, GroupList: []string{},
			AttachedManagedPolicies: attached, PermissionsBoundary: e.boundary(), Tags: apiTags(tags),
		}
		groups, err := state.List[entity](ctx, tx, listGroupsOf, e.ID, "", maxGroups)
		for _, g := range groups {
			u.GroupList = append(u.GroupList, g.Name)
		}
		out.UserDetailList = append(out.UserDetailList, u)
		return err
	case group:
		out.GroupDetailList = append(out.GroupDetailList, api.GroupDetail{
			Path: e.Path, GroupName: e.Name, GroupId: e.ID, Arn: e.arn(), CreateDate: &e.Created, GroupPolicyList: inlines, AttachedManagedPolicies: attached,
		})
		return nil
	}
	if e, err = e.shown(ctx, directory{tx}); err != nil {
		return err
	}
	profiles, err := state.List[instanceProfile](ctx, tx, `SELECT `+profileColumns+` FROM iam_profile WHERE role_id = $1 ORDER BY folded`, e.ID)
	if err != nil {
		return err
	}
	r := api.RoleDetail{
		Path: e.Path, RoleName: e.Name, RoleId: e.ID, Arn: e.arn(), CreateDate: &e.Created, AssumeRolePolicyDocument: encoded(e.Trust),
		InstanceProfileList: []api.InstanceProfile{}, RolePolicyList: inlines, AttachedManagedPolicies: attached,
		PermissionsBoundary: e.boundary(), Tags: apiTags(tags),
	}
	for _, p := range profiles {
		shown, err := p.api(ctx, tx)
		if err != nil {
			return err
		}
		r.InstanceProfileList = append(r.InstanceProfileList, shown)
	}
	out.RoleDetailList = append(out.RoleDetailList, r)
	return nil
}

// documents are an entity's inline policies and what is attached to it.
func (e entity) documents(ctx context.Context, tx *state.Tx) ([]api.PolicyDetail, []api.AttachedPolicy, error) {
	inlines, attached := []api.PolicyDetail{}, []api.AttachedPolicy{}
	own, err := state.List[inline](ctx, tx, listInline, e.ID)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range own {
		inlines = append(inlines, api.PolicyDetail{PolicyName: p.Name, PolicyDocument: encoded(p.Document)})
	}
	rows, err := state.List[attachment](ctx, tx, listAttachments, e.ID)
	for _, a := range rows {
		attached = append(attached, api.AttachedPolicy{PolicyName: a.Name, PolicyArn: a.ARN})
	}
	return inlines, attached, err
}

// detail shows a policy with the documents of all its versions.
func (p managedPolicy) detail(ctx context.Context, tx *state.Tx, used usages) (api.ManagedPolicyDetail, error) {
	versions, err := state.List[policyVersion](ctx, tx, listVersions, p.ARN)
	if p.Account == awsOwned {
		var v policyVersion
		v, err = p.version(ctx, tx, 0)
		versions = []policyVersion{v}
	}
	out := api.ManagedPolicyDetail{
		PolicyName: p.Name, PolicyId: p.ID, Arn: p.ARN, Path: p.Path, DefaultVersionId: versionID(p.DefaultVersion), IsAttachable: new(true),
		AttachmentCount: new(used.attached[p.ARN]), PermissionsBoundaryUsageCount: new(used.bounds[p.ARN]),
		Description: p.Description, CreateDate: &p.Created, UpdateDate: &p.Updated, PolicyVersionList: []api.PolicyVersion{},
	}
	for _, v := range versions {
		shown := v.api(p.DefaultVersion)
		shown.Document = encoded(v.Document)
		out.PolicyVersionList = append(out.PolicyVersionList, shown)
	}
	return out, err
}
