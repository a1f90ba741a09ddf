package sts

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	models "github.com/sekisho/sekisho/internal/api"
	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/oidc"
	"github.com/sekisho/sekisho/internal/policy"
)

// clockSkew is how far a provider's clock may be ahead of ours.
const clockSkew = 5 * time.Minute

// webIdentity is somebody whom an identity provider vouches for.
type webIdentity struct {
	token    *oidc.Token
	provider call.IdentityProvider
	tags     []api.Tag // in the order of their keys
	audience string
}

// assumeRoleWithWebIdentityNeeds asks the role's trust policy alone: the token
// is who calls, whatever credentials there are besides.
func (s *Service) assumeRoleWithWebIdentityNeeds(ctx context.Context, c *call.Call, in *api.AssumeRoleWithWebIdentityInput) ([]call.Need, error) {
	w, err := s.webIdentity(ctx, c, in)
	if err != nil {
		return nil, err
	}
	r, ok, err := s.identities.Role(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	if !ok {
		r = nobodysRole(in.RoleArn)
	}
	proven := &aws.Principal{
		Kind: aws.Federated, ARN: w.provider.ARN, ID: w.provider.ARN + ":" + w.audience + ":" + w.token.Subject, Provided: w.keys(),
	}
	k := policy.Keys{"sts:rolesessionname": {in.RoleSessionName}}
	if id := w.token.SourceIdentity; id != "" {
		k["sts:sourceidentity"] = []string{id}
	}
	for _, t := range w.tags {
		k.AddRequestTag(t.Key, t.Value)
	}
	if len(w.token.TransitiveTagKeys) > 0 {
		k["sts:transitivetagkeys"] = w.token.TransitiveTagKeys
	}
	addRoleTags(k, r)
	arn, _ := aws.ParseARN(in.RoleArn)
	need := call.Need{
		Action: "sts:AssumeRoleWithWebIdentity", Resource: in.RoleArn, Owner: arn.Account, Policy: r.Trust, Keys: k,
		As: proven, Refuse: refuseWebIdentity,
	}
	list := []call.Need{need}
	if len(w.tags) > 0 {
		need.Action = "sts:TagSession"
		list = append(list, need)
	}
	if w.token.SourceIdentity != "" {
		need.Action = "sts:SetSourceIdentity"
		list = append(list, need)
	}
	return list, nil
}

// refuseWebIdentity words every refusal alike, as AWS does.
func refuseWebIdentity(_ *call.Call, n call.Need, _ policy.Decision) *aws.Error {
	return denied("Not authorized to perform " + n.Action)
}

// webIdentity verifies a token: its provider is one of the role's account, it
// is signed by it, for one of its clients, and for this time. Where AWS's own
// texts are not known they are sekisho's: of a wrong signature and of a provider
// that does not answer.
func (s *Service) webIdentity(ctx context.Context, c *call.Call, in *api.AssumeRoleWithWebIdentityInput) (webIdentity, error) {
	arn, ok := aws.ParseARN(in.RoleArn)
	if !ok || arn.Account == "" {
		return webIdentity{}, aws.Errorf("ValidationError", "%s is invalid", in.RoleArn).WithStatus(400)
	}
	if in.ProviderId != "" {
		return webIdentity{}, aws.Errorf("NotImplemented", "sts AssumeRoleWithWebIdentity with ProviderId (OAuth 2.0 access tokens) is not implemented by sekisho.").WithStatus(501)
	}
	token, err := oidc.Parse(in.WebIdentityToken)
	if err != nil {
		return webIdentity{}, badToken("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	w := webIdentity{token: token, audience: token.AuthorizedParty}
	w.provider, ok, err = s.identities.IdentityProvider(ctx, arn.Account, token.Issuer)
	if err != nil {
		return w, err
	}
	if !ok {
		return w, badToken("No OpenIDConnect provider found in your account for " + token.Issuer)
	}
	if w.audience == "" {
		i := slices.IndexFunc(token.Audience, func(a string) bool { return slices.Contains(w.provider.Clients, a) })
		if i >= 0 {
			w.audience = token.Audience[i]
		}
	}
	if !slices.Contains(w.provider.Clients, w.audience) {
		return w, badToken("Incorrect token audience")
	}
	if err := s.issuers.Verify(ctx, token, oidc.Provider{URL: token.Issuer, Thumbprints: w.provider.Thumbprints}); err != nil {
		return w, distrusted(err)
	}
	switch now := c.Time; {
	case !now.Before(token.Expires):
		return w, aws.Errorf("ExpiredTokenException", "Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), token.Expires.Unix())
	case now.Add(clockSkew).Before(token.NotBefore) || now.Add(clockSkew).Before(token.Issued):
		return w, badToken("The token is not valid yet")
	}
	for key, value := range token.Tags {
		w.tags = append(w.tags, api.Tag{Key: key, Value: value})
	}
	slices.SortFunc(w.tags, func(a, b api.Tag) int { return strings.Compare(a.Key, b.Key) })
	return w, nil
}

// distrusted words why a token's signature could not be verified.
func distrusted(err error) error {
	switch {
	case errors.Is(err, oidc.ErrSignature):
		return badToken("The token's signature could not be verified with the identity provider's keys")
	case errors.Is(err, oidc.ErrNoKey):
		return badToken("Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements")
	case errors.Is(err, oidc.ErrCertificate):
		return badToken("OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint")
	case errors.Is(err, oidc.ErrUnreachable):
		return aws.Errorf("IDPCommunicationError", "The identity provider did not answer")
	}
	return err
}

func badToken(text string) *aws.Error { return aws.Errorf("InvalidIdentityToken", "%s", text) }

// keys are the condition keys that the provider vouches for, at the assumption
// and in the session.
func (w webIdentity) keys() policy.Keys {
	prefix := strings.ToLower(w.provider.URL) + ":"
	k := policy.Keys{prefix + "aud": {w.audience}, prefix + "sub": {w.token.Subject}, "aws:federatedprovider": {w.provider.URL}}
	if w.token.AuthorizedParty != "" {
		k[prefix+"oaud"] = w.token.Audience
	}
	if len(w.token.Methods) > 0 {
		k[prefix+"amr"] = w.token.Methods
	}
	return k
}

func (s *Service) assumeRoleWithWebIdentity(ctx context.Context, c *call.Call, in *api.AssumeRoleWithWebIdentityInput) (*api.AssumeRoleWithWebIdentityOutput, error) {
	w, err := s.webIdentity(ctx, c, in)
	if err != nil {
		return nil, err
	}
	r, ok, err := s.identities.Role(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	if !ok { // it went away after the permission was asked
		return nil, refuseWebIdentity(c, call.Need{Action: "sts:AssumeRoleWithWebIdentity"}, policy.Decision{})
	}
	lasts, err := duration(in.DurationSeconds, false, r)
	if err != nil {
		return nil, err
	}
	p := worn(r, in.RoleSessionName)
	p.SourceIdentity, p.TransitiveTagKeys, p.Provided = w.token.SourceIdentity, w.token.TransitiveTagKeys, w.keys()
	if err := checkProvided(w); err != nil {
		return nil, err
	}
	if err := s.narrow(ctx, &p, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	passed := given(w.tags)
	p.Tags = over(r.Tags, passed)
	packed, err := packedSize(p, passed)
	if err != nil {
		return nil, err
	}
	credentials, err := s.issue(p, c.Time, lasts)
	if err != nil {
		return nil, err
	}
	return &api.AssumeRoleWithWebIdentityOutput{
		Credentials: credentials, AssumedRoleUser: &api.AssumedRoleUser{AssumedRoleId: p.ID, Arn: p.ARN}, PackedPolicySize: packed,
		SubjectFromWebIdentityToken: w.token.Subject, Provider: w.provider.ARN, Audience: w.audience, SourceIdentity: p.SourceIdentity,
	}, nil
}

// checkProvided holds a token's own tags and source identity against the bounds
// that the model sets to those of AssumeRole.
func checkProvided(w webIdentity) error {
	as := &api.AssumeRoleInput{
		RoleArn: "arn:aws:iam::000000000000:role/any", RoleSessionName: "any",
		Tags: w.tags, TransitiveTagKeys: w.token.TransitiveTagKeys, SourceIdentity: w.token.SourceIdentity,
	}
	if err := models.Check("sts", "AssumeRole", as); err != nil {
		return err
	}
	return checkTags(w.tags, w.token.TransitiveTagKeys, nil)
}
