package checkpoint

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// nowhere is a recorder that keeps nothing.
type nowhere struct{}

func (nowhere) Record(context.Context, *call.Entry) error { return nil }

// BenchmarkAuthorise takes a call through the checkpoint whose deed and record
// cost nothing: an upload to an artifact bucket by a role with a policy of
// five statements, judged with the bucket's own policy of three.
func BenchmarkAuthorise(b *testing.B) { authorise(b, nil) }

// BenchmarkAuthoriseInOrganization is the same between two members of an
// organization, whose levels allow everything.
func BenchmarkAuthoriseInOrganization(b *testing.B) {
	level := func(kind policy.Kind, text string) [][]policy.Source {
		source := policy.Source{Kind: kind, Doc: parsed(b, kind, text)}
		return [][]policy.Source{{source}, {source}, {source}}
	}
	authorise(b, realm{
		"111111111111": {Organization: "o-0123456789", SCPs: level(policy.SCP, `{"Effect":"Allow","Action":"*","Resource":"*"}`)},
		"222222222222": {Organization: "o-0123456789", RCPs: level(policy.RCP, `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`)},
	})
}

func authorise(b *testing.B, organizations Organizations) {
	var statements []string
	for i := range 4 {
		statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":["codecommit:Get*","kms:Decrypt"],"Resource":"arn:aws:codecommit:us-east-1:111111111111:r%d"}`, i))
	}
	statements = append(statements, `{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject*"],"Resource":"arn:aws:s3:::artifacts/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`)
	doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::artifacts/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}},
		{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::artifacts/*","Condition":{"Bool":{"aws:SecureTransport":false}}},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":["s3:Get*","s3:Put*"],"Resource":"arn:aws:s3:::artifacts/*"}]}`, policy.Resource)
	if err != nil {
		b.Fatal(err)
	}
	need := call.Need{
		Action: "s3:PutObject", Resource: "arn:aws:s3:::artifacts/delivery/Source/abcdefg", Owner: "222222222222",
		Policy: &policy.Source{Kind: policy.Resource, On: "arn:aws:s3:::artifacts", Doc: doc},
		Keys:   policy.Keys{"s3:x-amz-server-side-encryption": {"aws:kms"}},
	}
	k := newBench(b, strings.Join(statements, ","), needing("PutObject", need))
	quiet := New(k.people, nowhere{}, Options{Now: k.Checkpoint.now})
	if organizations != nil {
		quiet.Bind(organizations)
	}
	quiet.Serve("s3", []call.Operation{needing("PutObject", need)})
	c := &call.Call{
		ID: "request-1", Service: "s3", Operation: "PutObject", Principal: callers["role"], Region: "us-east-1", Time: k.now,
		SourceIP: "127.0.0.1", UserAgent: "aws-sdk-go-v2", Secure: true,
	}
	in := &doInput{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := quiet.Do(b.Context(), c, in); err != nil {
			b.Fatal(err)
		}
	}
}
