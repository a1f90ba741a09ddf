package wire_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/wire"
)

// BenchmarkGetBranch finds, decodes and answers one GetBranch.
func BenchmarkGetBranch(b *testing.B) {
	r := &wire.Request{Body: []byte(`{"repositoryName":"payments-service","branchName":"main"}`)}
	out := &codecommit.GetBranchOutput{Branch: &codecommit.BranchInfo{BranchName: "main", CommitId: "4c925148EXAMPLE4c925148EXAMPLE4c925148EX"}}
	b.ReportAllocs()
	for b.Loop() {
		op, err := repoWire.Target("CodeCommit_20150413.GetBranch")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := op.DecodeRequest(r); err != nil {
			b.Fatal(err)
		}
		if _, err := op.EncodeResponse(out, wire.Meta{RequestID: "r"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGetObject routes and decodes one GetObject and writes the headers
// of its answer.
func BenchmarkGetObject(b *testing.B) {
	r := &wire.Request{Method: "GET", Bucket: "bucket", Key: "a/key", Query: url.Values{"versionId": {"v"}}, Header: http.Header{
		"Range": {"bytes=0-99"}, "If-None-Match": {`"e"`}, "User-Agent": {"aws-sdk"}, "Authorization": {"AWS4-HMAC-SHA256 …"},
		"X-Amz-Date": {"20240229T120000Z"}, "X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}, "X-Amz-Checksum-Mode": {"ENABLED"},
	}}
	out := &s3.GetObjectOutput{
		Body: io.NopCloser(strings.NewReader("")), ContentLength: new(int64(100)), ContentRange: "bytes 0-99/1000", ContentType: "application/zip",
		ETag: `"d41d8cd98f00b204e9800998ecf8427e"`, LastModified: new(time.Unix(1700000000, 0)), VersionId: "v", AcceptRanges: "bytes",
		ServerSideEncryption: "aws:kms", SSEKMSKeyId: "arn:aws:kms:eu-central-1:111111111111:key/1", Metadata: map[string]string{"a": "b"},
	}
	b.ReportAllocs()
	for b.Loop() {
		op, err := s3Wire.Route(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := op.DecodeRequest(r); err != nil {
			b.Fatal(err)
		}
		if _, err := op.EncodeResponse(out, wire.Meta{RequestID: "r"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreateStack decodes one CloudFormation request of ten parameters.
func BenchmarkCreateStack(b *testing.B) {
	form := url.Values{"Action": {"CreateStack"}, "Version": {"2010-05-15"}, "StackName": {"pipeline"}, "TemplateBody": {strings.Repeat("Resources: {}\n", 500)}, "Capabilities.member.1": {"CAPABILITY_NAMED_IAM"}}
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"} {
		form.Set("Parameters.member."+n+".ParameterKey", "Key"+n)
		form.Set("Parameters.member."+n+".ParameterValue", "Value"+n)
	}
	body := []byte(form.Encode())
	out := &cloudformation.CreateStackOutput{StackId: "arn:aws:cloudformation:eu-central-1:111111111111:stack/pipeline/1"}
	b.ReportAllocs()
	for b.Loop() {
		r := &wire.Request{Body: body}
		parsed, err := r.Form()
		if err != nil {
			b.Fatal(err)
		}
		op, err := cfnWire.Action(parsed)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := op.DecodeRequest(&wire.Request{Query: parsed}); err != nil {
			b.Fatal(err)
		}
		if _, err := op.EncodeResponse(out, wire.Meta{RequestID: "r"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRedact writes the record of one request.
func BenchmarkRedact(b *testing.B) {
	in := &codecommit.GetBranchInput{RepositoryName: "payments-service", BranchName: "main"}
	b.ReportAllocs()
	for b.Loop() {
		wire.Redact(in)
	}
}

// BenchmarkNew makes a service ready to serve, which a start of the server
// does for each: plans are made later, at first use.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		wire.New(s3.Model())
	}
}
