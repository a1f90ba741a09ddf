package sts

import (
	"context"
	"slices"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// assumeRoleNeeds asks for sts:AssumeRole on the role, and for the separate
// permissions to pass tags and a source identity, each from the role's trust
// policy and the caller's own policies. To hand on what the calling session
// has (its transitive tags, its source identity) takes these permissions as
// setting it does.
func (s *Service) assumeRoleNeeds(ctx context.Context, c *call.Call, in *api.AssumeRoleInput) ([]call.Need, error) {
	switch c.Principal.Kind {
	case aws.Root:
		return nil, denied("Roles may not be assumed by root accounts.")
	case aws.Federated:
		return nil, denied("Cannot call AssumeRole with federated user credentials") // AWS's own text is not confirmed
	}
	arn, ok := aws.ParseARN(in.RoleArn)
	if !ok || arn.Account == "" {
		return nil, aws.Errorf("ValidationError", "%s is invalid", in.RoleArn).WithStatus(400)
	}
	r, ok, err := s.identities.Role(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	if !ok { // as if there were a role that trusts nobody
		r = nobodysRole(in.RoleArn)
	}
	k := keys(c, in, r)
	verified, err := s.verifyMFA(ctx, c, in.SerialNumber, in.TokenCode)
	if err != nil {
		return nil, err
	}
	if verified { // of this call alone: the session has no MFA
		k["aws:multifactorauthpresent"], k["aws:multifactorauthage"] = []string{"true"}, []string{"0"}
	}
	need := call.Need{Resource: in.RoleArn, Owner: arn.Account, Policy: r.Trust, Keys: k, Refuse: refuse}
	list := make([]call.Need, 0, 3)
	add := func(action string) {
		need.Action = action
		list = append(list, need)
	}
	add("sts:AssumeRole")
	if len(in.Tags)+len(c.Principal.TransitiveTagKeys) > 0 {
		add("sts:TagSession")
	}
	if in.SourceIdentity != "" || c.Principal.SourceIdentity != "" {
		add("sts:SetSourceIdentity")
	}
	return list, nil
}

// nobodysRole is a role that trusts nobody: it stands for one that there is not.
func nobodysRole(arn string) call.Role {
	return call.Role{ARN: arn, Trust: &policy.Source{Kind: policy.Trust, Name: "trust policy", On: arn}}
}

// refuse words every refusal alike, so that a caller does not learn whether
// there is such a role.
func refuse(c *call.Call, n call.Need, _ policy.Decision) *aws.Error {
	return denied("User: " + c.Principal.ARN + " is not authorized to perform: " + n.Action + " on resource: " + n.Resource)
}

// keys are the condition keys of an assumption. The tags that are handed on
// show as the caller's aws:PrincipalTag; that they are no aws:RequestTag
// follows from AWS's documentation, and is not confirmed.
func keys(c *call.Call, in *api.AssumeRoleInput, r call.Role) policy.Keys {
	k := policy.Keys{"sts:rolesessionname": {in.RoleSessionName}}
	if in.ExternalId != "" {
		k["sts:externalid"] = []string{in.ExternalId}
	}
	if id := sourceIdentity(c, in); id != "" {
		k["sts:sourceidentity"] = []string{id}
	}
	for _, t := range in.Tags {
		k.AddRequestTag(t.Key, t.Value)
	}
	if len(in.TransitiveTagKeys) > 0 {
		k["sts:transitivetagkeys"] = in.TransitiveTagKeys
	}
	addRoleTags(k, r)
	return k
}

func addRoleTags(k policy.Keys, r call.Role) {
	for _, t := range r.Tags {
		k["aws:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
		k["iam:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
	}
}

// sourceIdentity is the one the session will have: once set it stays.
func sourceIdentity(c *call.Call, in *api.AssumeRoleInput) string {
	if c.Principal.SourceIdentity != "" {
		return c.Principal.SourceIdentity
	}
	return in.SourceIdentity
}

func (s *Service) assumeRole(ctx context.Context, c *call.Call, in *api.AssumeRoleInput) (*api.AssumeRoleOutput, error) {
	r, ok, err := s.identities.Role(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	if !ok { // it went away after the permission was asked
		return nil, refuse(c, call.Need{Action: "sts:AssumeRole", Resource: in.RoleArn}, policy.Decision{})
	}
	if len(in.ProvidedContexts) > 0 {
		return nil, aws.Errorf("NotImplemented", "sts AssumeRole with ProvidedContexts is not implemented by sekisho.").WithStatus(501)
	}
	lasts, err := duration(in.DurationSeconds, c.Principal.Kind == aws.Session, r)
	if err != nil {
		return nil, err
	}
	p, tags, err := s.session(ctx, c, in, r)
	if err != nil {
		return nil, err
	}
	packed, err := packedSize(p, tags)
	if err != nil {
		return nil, err
	}
	credentials, err := s.issue(p, c.Time, lasts)
	if err != nil {
		return nil, err
	}
	return &api.AssumeRoleOutput{
		Credentials: credentials, AssumedRoleUser: &api.AssumedRoleUser{AssumedRoleId: p.ID, Arn: p.ARN},
		PackedPolicySize: packed, SourceIdentity: p.SourceIdentity,
	}, nil
}

const chainLimit = time.Hour

// duration is how long a role's session lasts: an hour unless asked otherwise,
// at most what the role allows, and an hour at most when a role's session
// assumes the next role. The model has seen to the least.
func duration(asked *int64, chained bool, r call.Role) (time.Duration, error) {
	if asked == nil {
		return time.Hour, nil
	}
	d := time.Duration(*asked) * time.Second
	switch {
	case chained && d > chainLimit:
		return 0, aws.Errorf("ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.").WithStatus(400)
	case d > r.MaxSession:
		return 0, aws.Errorf("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.").WithStatus(400)
	}
	return d, nil
}

// session is whom the credentials will stand for, with the tags that take room
// in it: those handed on from the calling session, and over them the request's.
func (s *Service) session(ctx context.Context, c *call.Call, in *api.AssumeRoleInput, r call.Role) (aws.Principal, []aws.Tag, error) {
	p := worn(r, in.RoleSessionName)
	p.SourceIdentity, p.Chained = sourceIdentity(c, in), c.Principal.Kind == aws.Session
	if was := c.Principal.SourceIdentity; was != "" && in.SourceIdentity != "" && in.SourceIdentity != was {
		return p, nil, aws.Errorf("ValidationError", "The source identity is already set for this assume role session").WithStatus(400)
	}
	if err := s.narrow(ctx, &p, in.Policy, in.PolicyArns); err != nil {
		return p, nil, err
	}
	inherited := c.Principal.TransitiveTagKeys
	if err := checkTags(in.Tags, in.TransitiveTagKeys, inherited); err != nil {
		return p, nil, err
	}
	var passed []aws.Tag
	for _, t := range c.Principal.Tags {
		if hasKey(inherited, t.Key) {
			passed = append(passed, t)
		}
	}
	passed = append(passed, given(in.Tags)...)
	p.Tags = over(r.Tags, passed)
	p.TransitiveTagKeys = append(slices.Clone(inherited), in.TransitiveTagKeys...)
	return p, passed, nil
}

// worn is a session of a role.
func worn(r call.Role, session string) aws.Principal {
	arn, _ := aws.ParseARN(r.ARN)
	name := r.ARN[strings.LastIndexByte(r.ARN, '/')+1:]
	return aws.Principal{
		Kind: aws.Session, Account: arn.Account, RoleARN: r.ARN, ID: r.ID + ":" + session,
		ARN: aws.NewARN("sts", "", arn.Account, "assumed-role/"+name+"/"+session),
	}
}
