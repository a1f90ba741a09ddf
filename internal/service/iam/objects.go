package iam

import (
	"context"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// Kinds of things beside users, groups, roles and policies.
const (
	profile           kind = "instance-profile"
	mfa               kind = "mfa"
	samlProvider      kind = "saml-provider"
	oidcProvider      kind = "oidc-provider"
	serverCertificate kind = "server-certificate"
)

// object says how things of such a kind are named, found and tagged.
type object struct {
	// parameter is the member of inputs that names one.
	parameter string
	// tagging is the permission to tag one.
	tagging string
	// byARN says that find goes by the ARN, not by the name.
	byARN bool
	// find returns the ARN of what a name stands for, and the unique id that
	// its tags hang on; or NoSuchEntity.
	find func(ctx context.Context, tx *state.Tx, account, name string) (arn, id string, err error)
}

// objectOf returns the object of a kind, and whether it is one.
func objectOf(k kind) (object, bool) {
	switch k {
	case profile:
		return object{"InstanceProfileName", "iam:TagInstanceProfile", false, func(ctx context.Context, tx *state.Tx, account, name string) (string, string, error) {
			p, err := findProfile(ctx, tx, account, name)
			return p.arn(), p.ID, err
		}}, true
	case serverCertificate:
		return object{"ServerCertificateName", "iam:TagServerCertificate", false, func(ctx context.Context, tx *state.Tx, account, name string) (string, string, error) {
			p, err := findServerCert(ctx, tx, account, name)
			return p.arn(), p.ID, err
		}}, true
	case mfa:
		return object{"SerialNumber", "iam:TagMFADevice", true, func(ctx context.Context, tx *state.Tx, account, arn string) (string, string, error) {
			d, err := findDevice(ctx, tx, account, arn)
			return d.Serial, d.ID, err
		}}, true
	case samlProvider:
		return object{"SAMLProviderArn", "iam:TagSAMLProvider", true, func(ctx context.Context, tx *state.Tx, account, arn string) (string, string, error) {
			p, err := findSAML(ctx, tx, account, arn)
			return p.ARN, p.ID, err
		}}, true
	case oidcProvider:
		return object{"OpenIDConnectProviderArn", "iam:TagOpenIDConnectProvider", true, func(ctx context.Context, tx *state.Tx, account, arn string) (string, string, error) {
			p, err := findOIDC(ctx, tx, account, arn)
			return p.ARN, p.ID, err
		}}, true
	}
	return object{}, false
}

// objectTarget is target for an object. One that is named by its ARN is asked
// about by it.
func (s *Service) objectTarget(ctx context.Context, c *call.Call, sub subject, o object) (call.Need, error) {
	n := call.Need{Resource: sub.name, Owner: c.Account(), Keys: sub.keys}
	if !strings.HasPrefix(sub.name, "arn:") {
		n.Resource = aws.NewARN("iam", "", c.Account(), string(sub.kind)+orSlash(sub.path)+sub.name)
	}
	name := sub.name
	if o.byARN {
		name = n.Resource
	}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		arn, id, err := o.find(ctx, tx, c.Account(), name)
		if isNoSuch(err) {
			return nil
		}
		if err != nil {
			return err
		}
		n.Resource = arn
		n.Keys, err = resourceKeys(ctx, tx, id, sub.keys)
		return err
	})
	return n, err
}

// taggingOf is the permission to tag a thing of a kind.
func taggingOf(k kind) string {
	if o, ok := objectOf(k); ok {
		return o.tagging
	}
	return "iam:Tag" + title(k)
}
