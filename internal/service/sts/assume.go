package sts

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
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
// policy and the caller's own policies.
func (s *Service) assumeRoleNeeds(ctx context.Context, c *call.Call, in *api.AssumeRoleInput) ([]call.Need, error) {
	if c.Principal.Kind == aws.Root {
		return nil, denied("Roles may not be assumed by root accounts.")
	}
	if in.RoleSessionName == "" {
		return nil, aws.Errorf("ValidationError", "1 validation error detected: Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null").WithStatus(400)
	}
	arn, ok := aws.ParseARN(in.RoleArn)
	if !ok || arn.Account == "" {
		return nil, aws.Errorf("ValidationError", "%s is invalid", in.RoleArn).WithStatus(400)
	}
	r, ok, err := s.roles.Role(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	if !ok { // as if there were a role that trusts nobody
		r = call.Role{ARN: in.RoleArn, Trust: &policy.Source{Kind: policy.Trust, Name: "trust policy", On: in.RoleArn}}
	}
	need := call.Need{Resource: in.RoleArn, Owner: arn.Account, Policy: r.Trust, Keys: keys(c, in, r), Refuse: refuse}
	list := make([]call.Need, 0, 3)
	add := func(action string) {
		need.Action = action
		list = append(list, need)
	}
	add("sts:AssumeRole")
	if len(in.Tags) > 0 {
		add("sts:TagSession")
	}
	if in.SourceIdentity != "" || c.Principal.SourceIdentity != "" {
		add("sts:SetSourceIdentity")
	}
	return list, nil
}

// refuse words every refusal alike, so that a caller does not learn whether
// there is such a role.
func refuse(c *call.Call, n call.Need, _ policy.Decision) *aws.Error {
	return denied("User: " + c.Principal.ARN + " is not authorized to perform: " + n.Action + " on resource: " + n.Resource)
}

// keys are the condition keys of an assumption.
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
	for _, t := range r.Tags {
		k["aws:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
		k["iam:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
	}
	return k
}

// sourceIdentity is the one the session will have: once set it stays.
func sourceIdentity(c *call.Call, in *api.AssumeRoleInput) string {
	if c.Principal.SourceIdentity != "" {
		return c.Principal.SourceIdentity
	}
	return in.SourceIdentity
}

func (s *Service) assumeRole(ctx context.Context, c *call.Call, in *api.AssumeRoleInput) (*api.AssumeRoleOutput, error) {
	r, ok, err := s.roles.Role(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	if !ok { // it went away after the permission was asked
		return nil, refuse(c, call.Need{Action: "sts:AssumeRole", Resource: in.RoleArn}, policy.Decision{})
	}
	if in.SerialNumber != "" || in.TokenCode != "" {
		return nil, noMFA()
	}
	if len(in.ProvidedContexts) > 0 {
		return nil, aws.Errorf("NotImplemented", "sts AssumeRole with ProvidedContexts is not implemented by sekisho.").WithStatus(501)
	}
	lasts, err := duration(c, in, r)
	if err != nil {
		return nil, err
	}
	p, err := s.session(ctx, c, in, r)
	if err != nil {
		return nil, err
	}
	packed, err := packedSize(p)
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

// duration is how long the session lasts: an hour unless asked otherwise, at
// most what the role allows, and an hour at most when a role's session assumes
// the next role.
func duration(c *call.Call, in *api.AssumeRoleInput, r call.Role) (time.Duration, error) {
	if in.DurationSeconds == nil {
		return time.Hour, nil
	}
	d := time.Duration(*in.DurationSeconds) * time.Second
	switch {
	case d < 15*time.Minute:
		return 0, aws.Errorf("ValidationError", "The requested DurationSeconds is below the minimum of 900 seconds.").WithStatus(400)
	case c.Principal.Kind == aws.Session && d > chainLimit:
		return 0, aws.Errorf("ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.").WithStatus(400)
	case d > r.MaxSession:
		return 0, aws.Errorf("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.").WithStatus(400)
	}
	return d, nil
}

// session is whom the credentials will stand for.
func (s *Service) session(ctx context.Context, c *call.Call, in *api.AssumeRoleInput, r call.Role) (aws.Principal, error) {
	arn, _ := aws.ParseARN(r.ARN)
	name := r.ARN[strings.LastIndexByte(r.ARN, '/')+1:]
	p := aws.Principal{
		Kind: aws.Session, Account: arn.Account, RoleARN: r.ARN, ID: r.ID + ":" + in.RoleSessionName,
		ARN:            aws.NewARN("sts", "", arn.Account, "assumed-role/"+name+"/"+in.RoleSessionName),
		SourceIdentity: sourceIdentity(c, in), Chained: c.Principal.Kind == aws.Session,
	}
	if was := c.Principal.SourceIdentity; was != "" && in.SourceIdentity != "" && in.SourceIdentity != was {
		return p, aws.Errorf("ValidationError", "The source identity of the calling session cannot be changed.").WithStatus(400)
	}
	if err := s.narrow(ctx, &p, in); err != nil {
		return p, err
	}
	return p, tag(&p, c, in, r)
}

// narrow adds the session policies.
func (s *Service) narrow(ctx context.Context, p *aws.Principal, in *api.AssumeRoleInput) error {
	if in.Policy != "" {
		_, err := policy.Parse(in.Policy, policy.Session)
		if e, ok := errors.AsType[*policy.Error](err); ok {
			return aws.Errorf("MalformedPolicyDocument", "%s", e.Message)
		}
		p.SessionPolicies = []string{in.Policy}
	}
	if len(in.PolicyArns) > maxSessionPolicies {
		return aws.Errorf("ValidationError", "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to %d", maxSessionPolicies).WithStatus(400)
	}
	for _, d := range in.PolicyArns {
		ok, err := s.roles.HasPolicy(ctx, p.Account, d.Arn)
		if err != nil {
			return err
		}
		if !ok {
			return aws.Errorf("MalformedPolicyDocument", "Policy %s does not exist or is not attachable.", d.Arn)
		}
		p.SessionPolicyARNs = append(p.SessionPolicyARNs, d.Arn)
	}
	return nil
}

const (
	maxSessionPolicies = 10
	maxSessionTags     = 50
)

// tag gives the session its principal tags: the role's own, over them those
// that are passed on from the calling session, over them the request's.
func tag(p *aws.Principal, c *call.Call, in *api.AssumeRoleInput, r call.Role) error {
	if len(in.Tags) > maxSessionTags {
		return aws.Errorf("ValidationError", "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to %d", maxSessionTags).WithStatus(400)
	}
	set := func(t aws.Tag) {
		i := slices.IndexFunc(p.Tags, func(o aws.Tag) bool { return strings.EqualFold(o.Key, t.Key) })
		if i < 0 {
			p.Tags = append(p.Tags, t)
		} else {
			p.Tags[i] = t
		}
	}
	for _, t := range r.Tags {
		set(t)
	}
	has := func(list []string, key string) bool {
		return slices.ContainsFunc(list, func(k string) bool { return strings.EqualFold(k, key) })
	}
	var seen []string
	for _, t := range in.Tags {
		if has(seen, t.Key) {
			return aws.Errorf("InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive.").WithStatus(400)
		}
		if has(c.Principal.TransitiveTagKeys, t.Key) {
			return aws.Errorf("InvalidParameterValue", "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.").WithStatus(400)
		}
		seen = append(seen, t.Key)
	}
	for _, k := range in.TransitiveTagKeys {
		if !has(seen, k) {
			return aws.Errorf("InvalidParameterValue", "The specified transitive tag key must be included in the requested tags.").WithStatus(400)
		}
	}
	for _, t := range c.Principal.Tags {
		if has(c.Principal.TransitiveTagKeys, t.Key) {
			set(t)
		}
	}
	for _, t := range in.Tags {
		set(aws.Tag{Key: t.Key, Value: t.Value})
	}
	p.TransitiveTagKeys = append(slices.Clone(c.Principal.TransitiveTagKeys), in.TransitiveTagKeys...)
	return nil
}

// maxPacked is the room for session policies and tags after packing, and what
// PackedPolicySize is a percentage of. AWS's own packing is not public; ours is
// deflate.
const maxPacked = 2048

// packedSize is how much of the room a session takes, in percent; nil when it
// takes none.
func packedSize(p aws.Principal) (*int64, error) {
	var plain []string
	plain = append(plain, p.SessionPolicies...)
	plain = append(plain, p.SessionPolicyARNs...)
	if len(plain) == 0 && len(p.Tags) == 0 {
		return nil, nil
	}
	for _, t := range p.Tags {
		plain = append(plain, t.Key, t.Value)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(strings.Join(plain, "\n"))); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	percent := int64((packed.Len()*100 + maxPacked - 1) / maxPacked)
	if percent > 100 {
		return nil, aws.Errorf("PackedPolicyTooLarge", "Packed policy consumes %d%% of allotted space, please use smaller policy.", percent)
	}
	return &percent, nil
}
