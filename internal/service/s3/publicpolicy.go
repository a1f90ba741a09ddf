package s3

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// public reports whether a statement grants something to everybody, in the
// sense of S3 Block Public Access: it allows, names no fixed principal, and no
// condition holds it to fixed values of the keys that tie a caller down.
func (st *statement) public() bool {
	if st.Effect != "Allow" {
		return false
	}
	everyone := st.NotPrincipal != nil || slices.Contains(st.Principal["AWS"], "*")
	if !everyone {
		return false
	}
	for operator, keys := range st.Condition {
		for key, values := range keys {
			if tiesDown(operator, strings.ToLower(key), values) {
				return false
			}
		}
	}
	return true
}

// tiesDown reports whether a condition admits only callers it names.
func tiesDown(operator, key string, values []string) bool {
	operator = strings.TrimPrefix(operator, "ForAnyValue:")
	switch operator {
	case "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress":
	default:
		return false // negations, …IfExists and ForAllValues also admit requests without the key
	}
	if len(values) == 0 {
		return false
	}
	fixed := fixedFor(key)
	if fixed == nil {
		return false
	}
	for _, v := range values {
		if !fixed(v) {
			return false
		}
	}
	return true
}

// fixedFor returns what makes a value of a key a fixed one, or nil for keys
// that do not tie a caller down.
func fixedFor(key string) func(string) bool {
	switch key {
	case "aws:sourceip", "aws:vpcsourceip":
		return narrowRange
	case "aws:sourcearn", "aws:principalarn", "s3:dataaccesspointarn":
		return fixedARN
	case "aws:userid":
		return func(v string) bool { return literal(strings.TrimSuffix(v, ":*")) }
	case "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount", "aws:sourceowner",
		"aws:sourceorgid", "aws:sourceorgpaths", "aws:sourcevpc", "aws:sourcevpce", "s3:dataaccesspointaccount",
		"s3:x-amz-server-side-encryption-aws-kms-key-id":
		return literal
	}
	return nil
}

// literal reports whether a value holds neither wildcard nor variable.
func literal(v string) bool {
	return v != "" && !strings.ContainsAny(v, "*?") && !strings.Contains(v, "${")
}

// fixedARN reports whether an ARN names an account for certain.
func fixedARN(v string) bool {
	arn, ok := aws.ParseARN(v)
	return literal(v) || ok && aws.IsAccountID(arn.Account) && literal(arn.Service) && !strings.Contains(v, "${")
}

// narrowRange reports whether a range of addresses is not most of the world.
func narrowRange(v string) bool {
	if a, err := netip.ParseAddr(v); err == nil {
		return a.IsValid()
	}
	p, err := netip.ParsePrefix(v)
	if err != nil {
		return false
	}
	if p.Addr().Is4() {
		return p.Bits() >= 8
	}
	return p.Bits() >= 32
}
