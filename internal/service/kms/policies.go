package kms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// policyName is the name of the one policy that a key has.
const policyName = "default"

// policyLimit is the size of a key policy in bytes that AWS allows.
const policyLimit = 32 << 10

// defaultPolicy is what a key has that was made without one: it leaves the key
// to the account's own IAM policies.
func defaultPolicy(account string) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::` + account + `:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`
}

func malformed(text string) *aws.Error {
	return aws.Errorf("MalformedPolicyDocumentException", "%s", text)
}

// keptPolicy is a policy as it is kept. It refuses one that does not parse,
// that names somebody who does not exist, or that would lock the caller out.
func (s *Service) keptPolicy(ctx context.Context, c *call.Call, arn, text string, bypass bool) (string, error) {
	if len(text) > policyLimit {
		return "", aws.Errorf("LimitExceededException", "Policy size exceeds the limit of %d bytes.", policyLimit)
	}
	doc, err := policy.Parse(text, policy.Key)
	if err == nil {
		text, err = policy.Bind(ctx, doc, s.principals)
	}
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return "", malformed(e.Message)
	}
	if err != nil {
		return "", fmt.Errorf("policy of %s: %w", arn, err)
	}
	if overlyPermissive(doc) {
		return "", malformed("OverlyPermissiveCondition:EncryptionContext: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified encryption context or with an unspecified encryption context. To fix, remove ForAllValues.")
	}
	if !bypass && locksOut(c, arn, doc) {
		return "", malformed("The new key policy will not allow you to update the key policy in the future.")
	}
	return text, nil
}

// overlyPermissive reports whether a policy demands an encryption context in a
// way that requests without one satisfy.
func overlyPermissive(doc *policy.Document) bool {
	for i := range doc.Len() {
		var st struct {
			Condition map[string]map[string]json.RawMessage
		}
		if json.Unmarshal(doc.Statement(i), &st) != nil {
			continue // the parser has looked at its form
		}
		for operator, keys := range st.Condition {
			for key := range keys {
				if hasPrefixFold(operator, "ForAllValues:") && hasPrefixFold(key, "kms:EncryptionContext:") {
					return true
				}
			}
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// everything is an identity policy that allows all.
var everything = func() *policy.Document {
	doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, policy.Identity)
	if err != nil {
		panic(err) // the text is a constant
	}
	return doc
}()

// locksOut reports whether a policy keeps the caller from changing it again.
// The caller's own policies are left aside: a key policy that delegates to
// the account does not lock it out.
func locksOut(c *call.Call, arn string, doc *policy.Document) bool {
	effect := policy.Decide(
		&policy.Set{Identity: []policy.Source{{Kind: policy.Identity, Doc: everything}}},
		&policy.Request{
			Principal: c.Principal, Action: "kms:PutKeyPolicy", Resource: arn, Owner: c.Account(),
			Policy: &policy.Source{Kind: policy.Key, Name: "default", On: arn, Doc: doc},
			Context: policy.Keys{
				"aws:principalarn":          {c.Principal.PolicyARN()},
				"aws:principalaccount":      {c.Account()},
				"aws:resourceaccount":       {c.Account()},
				"aws:requestedregion":       {c.Region},
				"aws:securetransport":       {"true"},
				"kms:calleraccount":         {c.Account()},
				"aws:principalisawsservice": {"false"},
			},
		})
	return effect != policy.Allow
}

func (s *Service) listKeyPoliciesNeeds(ctx context.Context, c *call.Call, in *api.ListKeyPoliciesInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:ListKeyPolicies", in.KeyId, nil)
}

func (s *Service) listKeyPolicies(ctx context.Context, c *call.Call, in *api.ListKeyPoliciesInput) (*api.ListKeyPoliciesOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	p, err := newPage(in.Limit, in.Marker, 100, 1000)
	if err != nil {
		return nil, err
	}
	if err := s.read(ctx, r, func(*state.Tx, key) error { return nil }); err != nil {
		return nil, err
	}
	out := &api.ListKeyPoliciesOutput{PolicyNames: []string{}, Truncated: new(false)}
	if p.after < policyName {
		out.PolicyNames = append(out.PolicyNames, policyName)
	}
	return out, nil
}

func (s *Service) getKeyPolicyNeeds(ctx context.Context, c *call.Call, in *api.GetKeyPolicyInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:GetKeyPolicy", in.KeyId, nil)
}

func (s *Service) getKeyPolicy(ctx context.Context, c *call.Call, in *api.GetKeyPolicyInput) (*api.GetKeyPolicyOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	out := &api.GetKeyPolicyOutput{PolicyName: policyName}
	if err := s.read(ctx, r, func(_ *state.Tx, k key) error { out.Policy = k.Policy; return nil }); err != nil {
		return nil, err
	}
	if in.PolicyName != "" && in.PolicyName != policyName {
		return nil, aws.Errorf("NotFoundException", "No such policy exists")
	}
	out.Policy, err = policy.Show(ctx, out.Policy, s.principals)
	return out, err
}

func (s *Service) putKeyPolicyNeeds(ctx context.Context, c *call.Call, in *api.PutKeyPolicyInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:PutKeyPolicy", in.KeyId, policy.Keys{
		"kms:bypasspolicylockoutsafetycheck": boolKey(in.BypassPolicyLockoutSafetyCheck),
	})
}

func (s *Service) putKeyPolicy(ctx context.Context, c *call.Call, in *api.PutKeyPolicyInput) (*api.PutKeyPolicyOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	if in.PolicyName != "" && in.PolicyName != policyName {
		return nil, aws.Errorf("ValidationException", "The only valid policy name is default.")
	}
	text, err := s.keptPolicy(ctx, c, r.keyARN(), in.Policy, isTrue(in.BypassPolicyLockoutSafetyCheck))
	if err != nil {
		return nil, err
	}
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		return k.set(ctx, tx, `policy = $4`, text)
	})
}
