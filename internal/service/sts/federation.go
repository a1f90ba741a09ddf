package sts

import (
	"context"
	"time"

	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

const (
	userSession = 12 * time.Hour // the default of a user's sessions
	rootSession = time.Hour      // the most that root may have
)

// ownDuration is how long credentials of a user's own, or of root, last.
func ownDuration(p aws.Principal, asked *int64) time.Duration {
	lasts := userSession
	if asked != nil {
		lasts = time.Duration(*asked) * time.Second
	}
	if p.Kind == aws.Root {
		lasts = min(lasts, rootSession)
	}
	return lasts
}

// longTerm refuses everybody who is not a user or root with an access key of
// its own.
func longTerm(c *call.Call) error {
	if p := c.Principal; p.Temporary || p.Kind != aws.User && p.Kind != aws.Root {
		return denied("Cannot call " + c.Operation + " with session credentials")
	}
	return nil
}

// getSessionToken makes temporary credentials of a user's own, or of root: with
// a code of an MFA device they count as signed in with MFA.
func (s *Service) getSessionToken(ctx context.Context, c *call.Call, in *api.GetSessionTokenInput) (*api.GetSessionTokenOutput, error) {
	if err := longTerm(c); err != nil {
		return nil, err
	}
	p := c.Principal
	var err error
	if p.MFA, err = s.verifyMFA(ctx, c, in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	credentials, err := s.issue(p, c.Time, ownDuration(p, in.DurationSeconds))
	return &api.GetSessionTokenOutput{Credentials: credentials}, err
}

func (s *Service) getFederationTokenNeeds(_ context.Context, c *call.Call, in *api.GetFederationTokenInput) ([]call.Need, error) {
	if err := longTerm(c); err != nil {
		return nil, err
	}
	k := policy.Keys{}
	for _, t := range in.Tags {
		k.AddRequestTag(t.Key, t.Value)
	}
	need := call.Need{Action: "sts:GetFederationToken", Resource: federatedUser(c, in).ARN, Keys: k}
	list := []call.Need{need}
	if len(in.Tags) > 0 {
		need.Action = "sts:TagSession"
		list = append(list, need)
	}
	return list, nil
}

// federatedUser is whom GetFederationToken makes credentials for.
func federatedUser(c *call.Call, in *api.GetFederationTokenInput) aws.Principal {
	p := c.Principal
	return aws.Principal{
		Kind: aws.Federated, Account: p.Account, ID: p.Account + ":" + in.Name,
		ARN:       aws.NewARN("sts", "", p.Account, "federated-user/"+in.Name),
		ParentARN: p.ARN, ParentID: p.ID,
	}
}

// getFederationToken makes credentials for somebody of the caller's naming, who
// may do what both the caller and the policies of the request allow; without
// any policy that is nothing but what resources' policies grant to him.
func (s *Service) getFederationToken(ctx context.Context, c *call.Call, in *api.GetFederationTokenInput) (*api.GetFederationTokenOutput, error) {
	p := federatedUser(c, in)
	if err := checkTags(in.Tags, nil, nil); err != nil {
		return nil, err
	}
	if err := s.narrow(ctx, &p, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	passed := given(in.Tags)
	p.Tags = over(c.Principal.Tags, passed)
	packed, err := packedSize(p, passed)
	if err != nil {
		return nil, err
	}
	if packed == nil {
		packed = new(int64(0))
	}
	credentials, err := s.issue(p, c.Time, ownDuration(c.Principal, in.DurationSeconds))
	if err != nil {
		return nil, err
	}
	return &api.GetFederationTokenOutput{
		Credentials: credentials, PackedPolicySize: packed,
		FederatedUser: &api.FederatedUser{FederatedUserId: p.ID, Arn: p.ARN},
	}, nil
}
