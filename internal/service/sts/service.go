// Package sts is the AWS Security Token Service: it lets roles be worn. Its
// sessions are stateless: the token holds everything, sealed.
package sts

import (
	"context"
	"time"

	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/token"
)

// Roles knows roles and policies: IAM does.
type Roles interface {
	// Role returns a role by its ARN, and whether there is one.
	Role(ctx context.Context, arn string) (call.Role, bool, error)
	// HasPolicy reports whether an account may use a managed policy.
	HasPolicy(ctx context.Context, account, arn string) (bool, error)
}

// Service is STS.
type Service struct {
	roles  Roles
	tokens *seal.Box
}

// New returns STS over the roles that IAM keeps. tokens is the box that IAM
// opens session tokens with.
func New(roles Roles, tokens *seal.Box) *Service { return &Service{roles, tokens} }

// Operations is STS's table of contents.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		call.Op("AssumeRole", s.assumeRoleNeeds, s.assumeRole),
		call.PublicOp("GetCallerIdentity", "whoever has credentials may know whose they are", s.getCallerIdentity),
		call.PublicOp("GetSessionToken", "its session can do no more than the keys that ask for it", s.getSessionToken),
		call.Op("GetAccessKeyInfo", s.getAccessKeyInfoNeeds, s.getAccessKeyInfo),
	}
}

func (s *Service) getCallerIdentity(_ context.Context, c *call.Call, _ *api.GetCallerIdentityInput) (*api.GetCallerIdentityOutput, error) {
	return &api.GetCallerIdentityOutput{UserId: c.Principal.ID, Account: c.Principal.Account, Arn: c.Principal.ARN}, nil
}

func (s *Service) getAccessKeyInfoNeeds(context.Context, *call.Call, *api.GetAccessKeyInfoInput) ([]call.Need, error) {
	return []call.Need{{Action: "sts:GetAccessKeyInfo", Resource: "*"}}, nil
}

// getAccessKeyInfo reads the account out of the key's id, as AWS does: it
// answers for keys that do not exist, too.
func (s *Service) getAccessKeyInfo(_ context.Context, _ *call.Call, in *api.GetAccessKeyInfoInput) (*api.GetAccessKeyInfoOutput, error) {
	account, ok := token.AccountOf(in.AccessKeyId)
	if !ok {
		return nil, aws.Errorf("ValidationError", "Request contains an invalid argument: AccessKeyId").WithStatus(400)
	}
	return &api.GetAccessKeyInfoOutput{Account: account}, nil
}

const (
	userSession = 12 * time.Hour // GetSessionToken's default
	rootSession = time.Hour      // the most that root may have
)

// getSessionToken makes temporary credentials of a user's own, or of root.
func (s *Service) getSessionToken(_ context.Context, c *call.Call, in *api.GetSessionTokenInput) (*api.GetSessionTokenOutput, error) {
	p := c.Principal
	if p.Temporary || p.Kind != aws.User && p.Kind != aws.Root {
		return nil, denied("Cannot call GetSessionToken with session credentials")
	}
	if in.SerialNumber != "" || in.TokenCode != "" {
		return nil, noMFA()
	}
	lasts := userSession
	if in.DurationSeconds != nil {
		lasts = time.Duration(*in.DurationSeconds) * time.Second
	}
	if p.Kind == aws.Root {
		lasts = min(lasts, rootSession)
	}
	credentials, err := s.issue(p, c.Time, lasts)
	return &api.GetSessionTokenOutput{Credentials: credentials}, err
}

// issue makes credentials with which p acts for a while.
func (s *Service) issue(p aws.Principal, now time.Time, lasts time.Duration) (*api.Credentials, error) {
	p.AccessKeyID = token.NewKeyID("ASIA", p.Account)
	p.Temporary = true
	p.Issued = now.UTC().Truncate(time.Second)
	p.Expires = p.Issued.Add(lasts)
	secret := token.NewSecret()
	text, err := token.Seal(s.tokens, token.Session{Secret: secret, Principal: p})
	if err == token.ErrTooLarge {
		return nil, aws.Errorf("PackedPolicyTooLarge", "Serialized token too large for session")
	}
	if err != nil {
		return nil, err
	}
	return &api.Credentials{AccessKeyId: p.AccessKeyID, SecretAccessKey: string(secret.Reveal()), SessionToken: text, Expiration: &p.Expires}, nil
}

func denied(message string) *aws.Error {
	return &aws.Error{Code: "AccessDenied", Message: message, Status: 403}
}

// noMFA refuses MFA codes: nobody has a device that could make one.
func noMFA() *aws.Error {
	return denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
}
