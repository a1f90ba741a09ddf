// Package sts is the AWS Security Token Service: it lets roles be worn. Its
// sessions are stateless: the token holds everything, sealed.
//
// Not confirmed against AWS: the refusals of federated users who assume roles,
// of tags under AWS's prefix, of web identity tokens that are signed wrongly or
// are not valid yet, of identity providers that do not answer, and of messages
// that do not decode; and that tags handed on in a chain of roles are no
// aws:RequestTag for the next.
package sts

import (
	"context"
	"time"

	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/oidc"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/token"
)

// Identities knows roles, policies and MFA devices: IAM does.
type Identities interface {
	// Role returns a role by its ARN, and whether there is one.
	Role(ctx context.Context, arn string) (call.Role, bool, error)
	// HasPolicy reports whether an account may use a managed policy.
	HasPolicy(ctx context.Context, account, arn string) (bool, error)
	// IdentityProvider returns an account's OpenID Connect provider of an
	// issuer, and whether there is one.
	IdentityProvider(ctx context.Context, account, issuer string) (call.IdentityProvider, bool, error)
	// VerifyMFA spends a code of one of the caller's MFA devices; the error is
	// the refusal to answer with.
	VerifyMFA(ctx context.Context, p aws.Principal, serial, code string, now time.Time) error
}

// Service is STS.
type Service struct {
	identities Identities
	tokens     *seal.Box
	issuers    *oidc.Client
	messages   *seal.Box
}

// Options are the optional parts of STS.
type Options struct {
	// Messages opens the authorization messages that the checkpoint makes; nil
	// opens none.
	Messages *seal.Box
	// Issuers verifies the tokens of web identities; nil means a client on the
	// network.
	Issuers *oidc.Client
}

// New returns STS over what IAM keeps. tokens is the box that IAM opens session
// tokens with.
func New(identities Identities, tokens *seal.Box, o Options) *Service {
	if o.Issuers == nil {
		o.Issuers = oidc.New(oidc.Options{})
	}
	return &Service{identities, tokens, o.Issuers, o.Messages}
}

// Operations is STS's table of contents.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		call.Op("AssumeRole", s.assumeRoleNeeds, s.assumeRole),
		call.PublicOp("GetCallerIdentity", "whoever has credentials may know whose they are", s.getCallerIdentity),
		call.PublicOp("GetSessionToken", "its session can do no more than the keys that ask for it", s.getSessionToken),
		call.Op("GetFederationToken", s.getFederationTokenNeeds, s.getFederationToken),
		call.Op("AssumeRoleWithWebIdentity", s.assumeRoleWithWebIdentityNeeds, s.assumeRoleWithWebIdentity),
		call.Op("DecodeAuthorizationMessage", s.decodeAuthorizationMessageNeeds, s.decodeAuthorizationMessage),
		call.Op("GetAccessKeyInfo", s.getAccessKeyInfoNeeds, s.getAccessKeyInfo),
	}
}

func (s *Service) getCallerIdentity(_ context.Context, c *call.Call, _ *api.GetCallerIdentityInput) (*api.GetCallerIdentityOutput, error) {
	return &api.GetCallerIdentityOutput{UserId: c.Principal.ID, Account: c.Principal.Account, Arn: c.Principal.ARN}, nil
}

func (s *Service) getAccessKeyInfoNeeds(_ context.Context, c *call.Call, _ *api.GetAccessKeyInfoInput) ([]call.Need, error) {
	if err := barred(c); err != nil {
		return nil, err
	}
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

func (s *Service) decodeAuthorizationMessageNeeds(_ context.Context, c *call.Call, _ *api.DecodeAuthorizationMessageInput) ([]call.Need, error) {
	if err := barred(c); err != nil {
		return nil, err
	}
	return []call.Need{{Action: "sts:DecodeAuthorizationMessage", Resource: "*"}}, nil
}

// decodeAuthorizationMessage opens a message that the checkpoint sealed for the
// caller's account.
func (s *Service) decodeAuthorizationMessage(_ context.Context, c *call.Call, in *api.DecodeAuthorizationMessageInput) (*api.DecodeAuthorizationMessageOutput, error) {
	if s.messages != nil {
		if message, err := token.OpenMessage(s.messages, c.Account(), in.EncodedMessage); err == nil {
			return &api.DecodeAuthorizationMessageOutput{DecodedMessage: string(message)}, nil
		}
	}
	return nil, aws.Errorf("InvalidAuthorizationMessageException", "The message could not be decoded.") // AWS's own text is not confirmed
}

// barred refuses credentials of GetSessionToken and GetFederationToken: of STS
// they have only GetCallerIdentity, and those of a user AssumeRole.
func barred(c *call.Call) error {
	if p := c.Principal; p.Kind == aws.Federated || p.Temporary && p.Kind != aws.Session {
		return denied("Cannot call " + c.Operation + " with session credentials") // AWS's own text is not confirmed
	}
	return nil
}

func denied(message string) *aws.Error {
	return &aws.Error{Code: "AccessDenied", Message: message, Status: 403}
}
