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
	"github.com/sekisho/sekisho/internal/token"
)

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

// verifyMFA checks the code of the caller's MFA device, if one is given, and
// reports whether it was. A code is good once.
func (s *Service) verifyMFA(ctx context.Context, c *call.Call, serial, code string) (bool, error) {
	switch {
	case serial == "" && code == "":
		return false, nil
	case serial == "" || code == "":
		return false, denied("MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.")
	}
	err := s.identities.VerifyMFA(ctx, c.Principal, serial, code, c.Time)
	return err == nil, err
}

// narrow adds the session policies: a document, and managed policies of the
// session's account.
func (s *Service) narrow(ctx context.Context, p *aws.Principal, document string, arns []api.PolicyDescriptorType) error {
	if document != "" {
		_, err := policy.Parse(document, policy.Session)
		if e, ok := errors.AsType[*policy.Error](err); ok {
			return aws.Errorf("MalformedPolicyDocument", "%s", e.Message)
		}
		if err != nil {
			return err
		}
		p.SessionPolicies = []string{document}
	}
	if len(arns) > maxSessionPolicies {
		return aws.Errorf("ValidationError", "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to %d", maxSessionPolicies).WithStatus(400)
	}
	for _, d := range arns {
		ok, err := s.identities.HasPolicy(ctx, p.Account, d.Arn)
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

func given(tags []api.Tag) []aws.Tag {
	out := make([]aws.Tag, len(tags))
	for i, t := range tags {
		out[i] = aws.Tag{Key: t.Key, Value: t.Value}
	}
	return out
}

// over lays tags over those of a role or user: the same key, whatever its case,
// is replaced.
func over(own, tags []aws.Tag) []aws.Tag {
	all := slices.Clone(own)
	for _, t := range tags {
		i := slices.IndexFunc(all, func(o aws.Tag) bool { return strings.EqualFold(o.Key, t.Key) })
		if i < 0 {
			all = append(all, t)
		} else {
			all[i] = t
		}
	}
	return all
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
