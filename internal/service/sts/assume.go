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
// policy and the caller's own policies. To hand on what the calling session
// has (its transitive tags, its source identity) takes these permissions as
// setting it does.
func (s *Service) assumeRoleNeeds(ctx context.Context, c *call.Call, in *api.AssumeRoleInput) ([]call.Need, error) {
	if c.Principal.Kind == aws.Root {
		return nil, denied("Roles may not be assumed by root accounts.")
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
	if len(in.Tags)+len(c.Principal.TransitiveTagKeys) > 0 {
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

// session is whom the credentials will stand for, with the tags that take room
// in it.
func (s *Service) session(ctx context.Context, c *call.Call, in *api.AssumeRoleInput, r call.Role) (aws.Principal, []aws.Tag, error) {
	arn, _ := aws.ParseARN(r.ARN)
	name := r.ARN[strings.LastIndexByte(r.ARN, '/')+1:]
	p := aws.Principal{
		Kind: aws.Session, Account: arn.Account, RoleARN: r.ARN, ID: r.ID + ":" + in.RoleSessionName,
		ARN:            aws.NewARN("sts", "", arn.Account, "assumed-role/"+name+"/"+in.RoleSessionName),
		SourceIdentity: sourceIdentity(c, in), Chained: c.Principal.Kind == aws.Session,
	}
	if was := c.Principal.SourceIdentity; was != "" && in.SourceIdentity != "" && in.SourceIdentity != was {
		return p, nil, aws.Errorf("ValidationError", "The source identity is already set for this assume role session").WithStatus(400)
	}
	if err := s.narrow(ctx, &p, in); err != nil {
		return p, nil, err
	}
	tags, err := tag(&p, c, in, r)
	return p, tags, err
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

const maxSessionPolicies = 10

// tag gives the session its principal tags: the role's own, over them those
// that are handed on from the calling session, over them the request's. It
// returns the tags that take room in the session: all but the role's own.
func tag(p *aws.Principal, c *call.Call, in *api.AssumeRoleInput, r call.Role) ([]aws.Tag, error) {
	if err := checkTags(in.Tags, in.TransitiveTagKeys, c.Principal.TransitiveTagKeys); err != nil {
		return nil, err
	}
	var passed []aws.Tag
	for _, t := range c.Principal.Tags {
		if hasKey(c.Principal.TransitiveTagKeys, t.Key) {
			passed = append(passed, t)
		}
	}
	for _, t := range in.Tags {
		passed = append(passed, aws.Tag{Key: t.Key, Value: t.Value})
	}
	p.Tags = slices.Clone(r.Tags)
	for _, t := range passed {
		i := slices.IndexFunc(p.Tags, func(o aws.Tag) bool { return strings.EqualFold(o.Key, t.Key) })
		if i < 0 {
			p.Tags = append(p.Tags, t)
		} else {
			p.Tags[i] = t
		}
	}
	p.TransitiveTagKeys = append(slices.Clone(c.Principal.TransitiveTagKeys), in.TransitiveTagKeys...)
	return passed, nil
}

// checkTags refuses session tags that AWS refuses; their number and length the
// model bounds. inherited are the transitive keys of the calling session.
func checkTags(tags []api.Tag, transitive, inherited []string) error {
	refused := func(text string) error { return aws.Errorf("InvalidParameterValue", "%s", text).WithStatus(400) }
	var seen []string
	for _, t := range tags {
		switch {
		case len(t.Key) >= 4 && strings.EqualFold(t.Key[:4], "aws:"):
			return refused("Tag keys starting with 'aws:' are reserved for system use") // AWS's own text is not confirmed
		case hasKey(seen, t.Key):
			return refused("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case hasKey(inherited, t.Key):
			return refused("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
		seen = append(seen, t.Key)
	}
	for _, k := range transitive {
		if !hasKey(seen, k) {
			return refused("The specified transitive tag key must be included in the requested tags.")
		}
	}
	return nil
}

// hasKey looks for a tag's key, whatever its case.
func hasKey(keys []string, key string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) })
}

// maxPacked is the room for session policies and tags after packing, and what
// PackedPolicySize is a percentage of. AWS's own packing is not public; ours is
// deflate.
const maxPacked = 2048

// packedSize is how much of the room the passed policies and tags take, in
// percent; nil when there are none.
func packedSize(p aws.Principal, tags []aws.Tag) (*int64, error) {
	policies := slices.Concat(p.SessionPolicies, p.SessionPolicyARNs)
	plain := slices.Clone(policies)
	for _, t := range tags {
		plain = append(plain, t.Key, t.Value)
	}
	if len(plain) == 0 {
		return nil, nil
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
	switch {
	case percent > 100 && len(policies) == 0:
		return nil, aws.Errorf("PackedPolicyTooLarge", "Packed size of session tags consumes %d%% of allotted space.", percent)
	case percent > 100:
		return nil, aws.Errorf("PackedPolicyTooLarge", "Packed policy consumes %d%% of allotted space, please use smaller policy.", percent)
	}
	return &percent, nil
}
