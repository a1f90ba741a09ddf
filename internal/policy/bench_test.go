package policy

import (
	"fmt"
	"strings"
	"testing"
)

// benchmarkSet is an identity policy of n statements with conditions, of
// which the last allows, and a bucket policy as artifact buckets have it.
func benchmarkSet(t testing.TB, n int) (*Set, *Request) {
	var statements []string
	for i := range n - 1 {
		statements = append(statements, fmt.Sprintf(`{"Sid":"S%d","Effect":"Allow","Action":["s3:Get*","s3:Put*","kms:Decrypt"],"Resource":["arn:aws:s3:::other-%d/*","arn:aws:s3:::b/${aws:PrincipalTag/team}/*"],"Condition":{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/x-%d-*"},"Bool":{"aws:SecureTransport":"true"}}}`, i, i, i))
	}
	statements = append(statements, `{"Effect":"Allow","Action":"s3:GetObject*","Resource":"arn:aws:s3:::b/*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.168.0.0/16"]},"StringEquals":{"aws:RequestedRegion":"eu-central-1"}}}`)
	e := evaluation{
		caller: session, identity: strings.Join(statements, ","),
		attached: `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":false}}},` + grant(arnPrincipal(acctB)),
		ctx: Keys{
			"aws:securetransport": {"true"}, "aws:sourceip": {"10.1.2.3"}, "aws:requestedregion": {"eu-central-1"},
			"aws:principalarn": {roleR}, "aws:principaltag/team": {"k"},
		},
	}
	return e.build(t)
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{5, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set, r := benchmarkSet(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if Decide(set, r) != Allow {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkAccount decides for the callers of an account in turn: to each of
// them one of 1,000 policies is attached.
func BenchmarkAccount(b *testing.B) {
	const policies = 1000
	sets, requests := make([]*Set, policies), make([]*Request, policies)
	for i := range policies {
		sets[i], requests[i] = benchmarkSet(b, 5)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if Decide(sets[i%policies], requests[i%policies]) != Allow {
			b.Fatal("refused")
		}
	}
}

// BenchmarkCold is the first decision for a caller: the policies are parsed
// and compiled before.
func BenchmarkCold(b *testing.B) {
	set, r := benchmarkSet(b, 5)
	identity, attached := set.Identity[0].Doc.String(), r.Policy.Doc.String()
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if set.Identity[0].Doc, err = Parse(identity, Identity); err != nil {
			b.Fatal(err)
		}
		if r.Policy.Doc, err = Parse(attached, Resource); err != nil {
			b.Fatal(err)
		}
		if Decide(set, r) != Allow {
			b.Fatal("refused")
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{5, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set, r := benchmarkSet(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if Evaluate(set, r).Effect != Allow {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	set, _ := benchmarkSet(b, 100)
	text := set.Identity[0].Doc.String()
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Parse(text, Identity); err != nil {
			b.Fatal(err)
		}
	}
}
