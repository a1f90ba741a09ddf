package wire_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/api/cloudtrail"
	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/api/events"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/wire"
)

var (
	kmsWire  = wire.New(kms.Model())
	repoWire = wire.New(codecommit.Model())
	busWire  = wire.New(events.Model())
	iamWire  = wire.New(iam.Model())
	stsWire  = wire.New(sts.Model())
	cfnWire  = wire.New(cloudformation.Model())
	s3Wire   = wire.New(s3.Model())

	trailWire = wire.New(cloudtrail.Model())
)

func op(t testing.TB, s *wire.Service, name string) *wire.Op {
	t.Helper()
	op, ok := s.Operation(name)
	if !ok {
		t.Fatalf("%s has no %s", s.Name, name)
	}
	return op
}

// errorText is what a refusal reads like: "Code: message".
func errorText(err error) string {
	var e *aws.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Error()
	}
	return "not an *aws.Error: " + err.Error()
}

func TestDecodeJSON(t *testing.T) {
	long := strings.Repeat("k", 2049)
	for _, tt := range []struct {
		name      string
		service   *wire.Service
		operation string
		body      string
		want      any
		err       string
	}{
		{name: "members by name, unknown ones passed over", service: kmsWire, operation: "DescribeKey",
			body: ` { "KeyId" : "k1" , "What": {"a":[1,-2.5e3,true,null,"\u00e9"]}, "GrantTokens":["t1","t2"]} `,
			want: &kms.DescribeKeyInput{KeyId: "k1", GrantTokens: []string{"t1", "t2"}}},
		{name: "no body is an empty object", service: kmsWire, operation: "ListKeys", want: &kms.ListKeysInput{}},
		{name: "null is absence", service: kmsWire, operation: "ListKeys", body: `{"Limit":null,"Marker":null}`, want: &kms.ListKeysInput{}},
		{name: "of two the last counts", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":"a","GrantTokens":["x","y"],"KeyId":"b","GrantTokens":["z"]}`,
			want: &kms.DescribeKeyInput{KeyId: "b", GrantTokens: []string{"z"}}},
		{name: "an empty list is not absence", service: kmsWire, operation: "CreateKey", body: `{"Tags":[],"MultiRegion":false}`,
			want: &kms.CreateKeyInput{Tags: []kms.Tag{}, MultiRegion: new(false)}},
		{name: "escapes", service: kmsWire, operation: "CreateKey", body: `{"Description":"a\"\\\/\b\f\n\r\t\u0041\ud83d\ude00\ud800x"}`,
			want: &kms.CreateKeyInput{Description: "a\"\\/\b\f\n\r\tA😀\ufffdx"}},
		{name: "maps, blobs, booleans", service: kmsWire, operation: "Encrypt", body: `{"KeyId":"k","Plaintext":"aGk=","EncryptionContext":{"b":"2","a":"1"},"DryRun":true}`,
			want: &kms.EncryptInput{KeyId: "k", Plaintext: []byte("hi"), EncryptionContext: map[string]string{"a": "1", "b": "2"}, DryRun: new(true)}},
		{name: "a fraction is cut off", service: kmsWire, operation: "ListKeys", body: `{"Limit":12.9}`, want: &kms.ListKeysInput{Limit: new(int64(12))}},
		{name: "times in seconds", service: busWire, operation: "PutEvents", body: `{"Entries":[{"Time":1700000000.25,"Source":"a"},{"Time":"2024-02-29T12:00:00+02:00"}]}`,
			want: &events.PutEventsInput{Entries: []events.PutEventsRequestEntry{
				{Time: new(time.UnixMilli(1700000000250).UTC()), Source: "a"}, {Time: new(time.Date(2024, 2, 29, 10, 0, 0, 0, time.UTC))}}}},

		{name: "too long", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":"` + long + `"}`,
			err: "ValidationException: 1 validation error detected: Value '" + long[:1024] + "...' at 'keyId' failed to satisfy constraint: Member must have length less than or equal to 2048"},
		{name: "empty where one character is due", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":""}`,
			err: "ValidationException: 1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{name: "required and absent", service: kmsWire, operation: "DescribeKey", body: `{}`,
			err: "ValidationException: 1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{name: "required and no body", service: kmsWire, operation: "DescribeKey",
			err: "ValidationException: 1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{name: "two at once", service: kmsWire, operation: "CreateAlias", body: `{"AliasName":"alias/ü"}`,
			err: "ValidationException: 2 validation errors detected: Value 'alias/ü' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$; Value null at 'targetKeyId' failed to satisfy constraint: Member must not be null"},
		{name: "below the range", service: kmsWire, operation: "ListKeys", body: `{"Limit":0}`,
			err: "ValidationException: 1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{name: "no value of the enum", service: kmsWire, operation: "CreateKey", body: `{"KeyUsage":"PLAY"}`,
			err: "ValidationException: 1 validation error detected: Value 'PLAY' at 'keyUsage' failed to satisfy constraint: Member must satisfy enum value set: [SIGN_VERIFY, ENCRYPT_DECRYPT, GENERATE_VERIFY_MAC, KEY_AGREEMENT]"},
		{name: "within a list of structures", service: kmsWire, operation: "TagResource", body: `{"KeyId":"k","Tags":[{"TagKey":"a","TagValue":"b"},{"TagKey":"","TagValue":"c"}]}`,
			err: "ValidationException: 1 validation error detected: Value '' at 'tags.2.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{name: "too many elements", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":"k","GrantTokens":["a","b","c","d","e","f","g","h","i","j","k"]}`,
			err: "ValidationException: 1 validation error detected: Value '[a, b, c, d, e, f, g, h, i, j, k]' at 'grantTokens' failed to satisfy constraint: Member must have length less than or equal to 10"},
		{name: "an element breaks its rule", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":"k","GrantTokens":["a",""]}`,
			err: "ValidationException: 1 validation error detected: Value '[a, ]' at 'grantTokens' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 8192, Member must have length greater than or equal to 1]"},
		{name: "a sensitive blob is not shown", service: kmsWire, operation: "Encrypt", body: `{"KeyId":"k","Plaintext":""}`,
			err: "ValidationException: 1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1"},

		{name: "what CodeCommit models as its own errors is left to it", service: repoWire, operation: "GetBranch", body: `{"repositoryName":"!!","branchName":""}`,
			want: &codecommit.GetBranchInput{RepositoryName: "!!"}},
		{name: "absent members too", service: repoWire, operation: "GetBranch", body: `{}`, want: &codecommit.GetBranchInput{}},

		{name: "number for a string", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":5}`, err: "SerializationException: NUMBER_VALUE cannot be converted to String"},
		{name: "boolean for a string", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":true}`, err: "SerializationException: TRUE_VALUE cannot be converted to String"},
		{name: "string for a number", service: kmsWire, operation: "ListKeys", body: `{"Limit":"5"}`, err: "SerializationException: STRING_VALUE cannot be converted to Integer"},
		{name: "object for a string", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":{}}`, err: "SerializationException: Start of structure or map found where not expected."},
		{name: "list for a string", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":[]}`, err: "SerializationException: Start of list found where not expected"},
		{name: "string for a list", service: kmsWire, operation: "DescribeKey", body: `{"GrantTokens":"x"}`, err: "SerializationException: Expected list or null"},
		{name: "no object at all", service: kmsWire, operation: "DescribeKey", body: `"x"`, err: "SerializationException: Expected structure or null"},
		{name: "not base64", service: kmsWire, operation: "Encrypt", body: `{"Plaintext":"%"}`, err: "SerializationException: The blob is not in base64: illegal base64 data at input byte 0"},
		{name: "cut short", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":"k`, err: "SerializationException: Could not parse request body into json: unterminated string at offset 11"},
		{name: "two objects", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":"k"}{}`, err: "SerializationException: Could not parse request body into json: text after the end of the object at offset 13"},
		{name: "a comma too many", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":"k",}`, err: "SerializationException: Could not parse request body into json: expected a name in quotes at offset 13"},
		{name: "nested without end", service: kmsWire, operation: "DescribeKey", body: `{"x":` + strings.Repeat("[", 100_000), err: "SerializationException: Could not parse request body into json: values are nested too deep at offset 68"},
		{name: "a number beyond all", service: kmsWire, operation: "ListKeys", body: `{"Limit":1e30}`, err: "SerializationException: 1e30 cannot be converted to Integer"},
		{name: "leading zero", service: kmsWire, operation: "ListKeys", body: `{"Limit":01}`, err: "SerializationException: Could not parse request body into json: bad number at offset 11"},
		{name: "NUL", service: kmsWire, operation: "DescribeKey", body: `{"KeyId":"a\u0000"}`, err: "SerializationException: A string holds the character NUL"},
		{name: "too many values", service: kmsWire, operation: "CreateKey", body: `{"Tags":[` + strings.Repeat("{},", 100_000) + `{}]}`, err: "SerializationException: Could not parse request body into json: too many values at offset 300006"},
		{name: "not UTF-8", service: kmsWire, operation: "DescribeKey", body: "{\"KeyId\":\"\xff\"}", err: "SerializationException: Could not parse request body into json: invalid UTF-8 in a string at offset 12"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := op(t, tt.service, tt.operation).DecodeRequest(&wire.Request{Body: []byte(tt.body)})
			if text := errorText(err); text != tt.err {
				t.Fatalf("error\n got %s\nwant %s", text, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeQuery(t *testing.T) {
	for _, tt := range []struct {
		name      string
		service   *wire.Service
		operation string
		body      string
		want      any
		err       string
	}{
		{name: "lists of structures, in the order of their numbers", service: iamWire, operation: "TagUser",
			body: "UserName=bob&Tags.member.10.Key=c&Tags.member.10.Value=3&Tags.member.2.Key=b&Tags.member.2.Value=2&Tags.member.1.Value=1&Tags.member.1.Key=a",
			want: &iam.TagUserInput{UserName: "bob", Tags: []iam.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}, {Key: "c", Value: "3"}}}},
		{name: "numbers, booleans, empty lists, unknown parameters", service: cfnWire, operation: "CreateStack",
			body: "StackName=s&DisableRollback=true&TimeoutInMinutes=5&Capabilities=&Nope.1=x",
			want: &cloudformation.CreateStackInput{StackName: "s", DisableRollback: new(true), TimeoutInMinutes: new(int64(5)), Capabilities: []string{}}},
		{name: "an empty number is absence", service: iamWire, operation: "ListUsers", body: "MaxItems=", want: &iam.ListUsersInput{}},
		{name: "not a number", service: iamWire, operation: "ListUsers", body: "MaxItems=many", err: `MalformedInput: Invalid value for MaxItems: "many" is no integer`},
		{name: "a name with a space", service: iamWire, operation: "GetUser", body: "UserName=x+y",
			err: `ValidationError: 1 validation error detected: Value 'x y' at 'userName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+`},
		{name: "required and absent", service: stsWire, operation: "AssumeRole", body: "RoleArn=arn:aws:iam::111111111111:role/r",
			err: "ValidationError: 1 validation error detected: Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null"},
		{name: "a password is not shown", service: iamWire, operation: "CreateLoginProfile", body: "UserName=bob&Password=",
			err: `ValidationError: 2 validation errors detected: Value at 'password' failed to satisfy constraint: Member must have length greater than or equal to 1; Value at 'password' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`},
		{name: "not a form", service: iamWire, operation: "GetUser", body: "UserName=%zz", err: "MalformedInput: The request body is not a form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := op(t, tt.service, tt.operation).DecodeRequest(&wire.Request{Body: []byte(tt.body)})
			if text := errorText(err); text != tt.err {
				t.Fatalf("error\n got %s\nwant %s", text, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeREST(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   string
		r    wire.Request
		want any
		err  string
	}{
		{name: "headers, metadata in lower case, conditions", op: "PutObject",
			r: wire.Request{Bucket: "b", Key: "k/ü", Stream: strings.NewReader("body"), Header: http.Header{
				"Content-Type": {"text/plain"}, "X-Amz-Meta-Author": {"me"}, "X-Amz-Meta-Two": {"a", "b"}, "X-Amz-Server-Side-Encryption": {"aws:kms"},
				"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": {"true"}, "If-None-Match": {"*"}, "Content-Length": {"4"}, "Expires": {"whenever"}}},
			want: &s3.PutObjectInput{Bucket: "b", Key: "k/ü", Body: strings.NewReader("body"), ContentType: "text/plain", ContentLength: new(int64(4)), IfNoneMatch: "*",
				Metadata: map[string]string{"author": "me", "two": "a,b"}, ServerSideEncryption: "aws:kms", BucketKeyEnabled: new(true), Expires: "whenever"}},
		{name: "presigned URLs carry headers in the query", op: "PutObject",
			r:    wire.Request{Bucket: "b", Key: "k", Query: url.Values{"x-amz-acl": {"private"}, "X-Amz-Meta-A": {"1"}, "X-Amz-Signature": {"s"}}, Header: http.Header{"X-Amz-Meta-A": {"2"}}},
			want: &s3.PutObjectInput{Bucket: "b", Key: "k", ACL: "private", Metadata: map[string]string{"a": "2"}}},
		{name: "a condition that is no date is none", op: "GetObject",
			r:    wire.Request{Bucket: "b", Key: "k", Header: http.Header{"If-Modified-Since": {"yesterday"}, "Range": {"bytes=0-9"}}, Query: url.Values{"versionId": {"v"}}},
			want: &s3.GetObjectInput{Bucket: "b", Key: "k", Range: "bytes=0-9", VersionId: "v"}},
		{name: "names and values are S3's to judge", op: "PutBucketAcl",
			r: wire.Request{Bucket: "NO", Header: http.Header{"X-Amz-Acl": {"mine"}}}, want: &s3.PutBucketAclInput{Bucket: "NO", ACL: "mine"}},
		{name: "no number", op: "ListObjectsV2", r: wire.Request{Bucket: "b", Query: url.Values{"max-keys": {"x"}}},
			err: "InvalidArgument: Provided max-keys not an integer or within integer range"},
		{name: "a body, whatever its namespace", op: "PutBucketVersioning",
			r:    wire.Request{Bucket: "b", Body: []byte(`<?xml version="1.0"?><VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"> <Status>Enabled</Status><MfaDelete>Disabled</MfaDelete><x/></VersioningConfiguration>`)},
			want: &s3.PutBucketVersioningInput{Bucket: "b", VersioningConfiguration: &s3.VersioningConfiguration{Status: "Enabled", MFADelete: "Disabled"}}},
		{name: "flattened lists", op: "DeleteObjects",
			r:    wire.Request{Bucket: "b", Body: []byte(`<Delete><Object><Key>a&amp;b</Key></Object><Quiet>true</Quiet><Object><Key>c</Key><VersionId>1</VersionId></Object></Delete>`)},
			want: &s3.DeleteObjectsInput{Bucket: "b", Delete: &s3.Delete{Quiet: new(true), Objects: []s3.ObjectIdentifier{{Key: "a&b"}, {Key: "c", VersionId: "1"}}}}},
		{name: "an optional body left out", op: "CreateBucket", r: wire.Request{Bucket: "b"}, want: &s3.CreateBucketInput{Bucket: "b"}},
		{name: "any region is one", op: "CreateBucket", r: wire.Request{Bucket: "b", Body: []byte(`<CreateBucketConfiguration><LocationConstraint>xx-moon-1</LocationConstraint></CreateBucketConfiguration>`)},
			want: &s3.CreateBucketInput{Bucket: "b", CreateBucketConfiguration: &s3.CreateBucketConfiguration{LocationConstraint: "xx-moon-1"}}},
		{name: "a body that must be", op: "PutBucketVersioning", r: wire.Request{Bucket: "b"}, err: "MissingRequestBodyError: Request Body is empty"},
		{name: "another root", op: "PutBucketVersioning", r: wire.Request{Bucket: "b", Body: []byte(`<Versioning/>`)}, err: malformed},
		{name: "no value of the enum", op: "PutBucketVersioning", r: wire.Request{Bucket: "b", Body: []byte(`<VersioningConfiguration><Status>On</Status></VersioningConfiguration>`)}, err: malformed},
		{name: "required in the body", op: "PutBucketTagging", r: wire.Request{Bucket: "b", Body: []byte(`<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>`)}, err: malformed},
		{name: "unclosed", op: "PutBucketTagging", r: wire.Request{Bucket: "b", Body: []byte(`<Tagging><TagSet>`)}, err: malformed},
		{name: "a document type", op: "PutBucketTagging", r: wire.Request{Bucket: "b", Body: []byte(`<!DOCTYPE x [<!ENTITY e "e">]><Tagging><TagSet/></Tagging>`)}, err: malformed},
		{name: "too deep", op: "PutBucketTagging", r: wire.Request{Bucket: "b", Body: []byte(strings.Repeat("<Tagging>", 1000))}, err: malformed},
		{name: "metadata has to be text", op: "PutObject", r: wire.Request{Bucket: "b", Key: "k", Header: http.Header{"X-Amz-Meta-A": {"\xff"}}}, err: "InvalidArgument: Provided x-amz-meta- is no UTF-8 text"},
		{name: "so have keys", op: "GetObject", r: wire.Request{Bucket: "b", Key: "\x00"}, err: "InvalidArgument: Provided Key is no UTF-8 text"},
		{name: "what addresses has to be there", op: "UploadPart", r: wire.Request{Bucket: "b", Key: "k", Query: url.Values{"partNumber": {"1"}}}, err: "InvalidArgument: The request is missing uploadId"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := op(t, s3Wire, tt.op).DecodeRequest(&tt.r)
			if text := errorText(err); text != tt.err {
				t.Fatalf("error\n got %s\nwant %s", text, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Transformer("body", readAll)); err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

const malformed = "MalformedXML: The XML you provided was not well-formed or did not validate against our published schema"

type body string

func readAll(r io.Reader) body {
	if s, ok := r.(*strings.Reader); ok {
		b := make([]byte, s.Size())
		s.ReadAt(b, 0)
		return body(b)
	}
	return "none"
}

func TestEncode(t *testing.T) {
	meta := wire.Meta{RequestID: "r-1", HostID: "h-1"}
	for _, tt := range []struct {
		name    string
		service *wire.Service
		op      string
		out     any
		status  int
		header  map[string]string
		body    string
	}{
		{name: "JSON: empty strings are left out, but for those AWS sends", service: kmsWire, op: "DescribeKey", status: 200,
			out:    &kms.DescribeKeyOutput{KeyMetadata: &kms.KeyMetadata{KeyId: "k", CreationDate: new(time.UnixMilli(1700000000250)), Enabled: new(true)}},
			header: map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amzn-Requestid": "r-1"},
			body:   `{"KeyMetadata":{"KeyId":"k","CreationDate":1700000000.25,"Enabled":true,"Description":""}}`},
		{name: "JSON: an empty list is sent", service: kmsWire, op: "ListKeys", status: 200, out: &kms.ListKeysOutput{Keys: []kms.KeyListEntry{}}, body: `{"Keys":[]}`},
		{name: "JSON: operations without output have no body", service: kmsWire, op: "DisableKey", status: 200, out: &kms.DisableKeyOutput{}},
		{name: "JSON: escapes", service: kmsWire, op: "ListKeys", status: 200, out: &kms.ListKeysOutput{NextMarker: "a\"\\\n\x01é\xff"}, body: `{"NextMarker":"a\"\\\n\u0001é` + "\ufffd" + `"}`},
		{name: "query: result and metadata", service: iamWire, op: "ListUsers", status: 200,
			out:    &iam.ListUsersOutput{Users: []iam.User{{UserName: "a<b", Path: "/", CreateDate: new(time.Unix(1700000000, 0))}}, IsTruncated: new(false)},
			header: map[string]string{"Content-Type": "text/xml"},
			body:   `<ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListUsersResult><Users><member><Path>/</Path><UserName>a&lt;b</UserName><UserId></UserId><Arn></Arn><CreateDate>2023-11-14T22:13:20Z</CreateDate></member></Users><IsTruncated>false</IsTruncated></ListUsersResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></ListUsersResponse>`},
		{name: "query: no result where the model has none", service: iamWire, op: "DeleteUser", status: 200, out: &iam.DeleteUserOutput{},
			body: `<DeleteUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></DeleteUserResponse>`},
		{name: "S3: a list", service: s3Wire, op: "ListObjectsV2", status: 200,
			out:    &s3.ListObjectsV2Output{Name: "b", KeyCount: new(int64(1)), Contents: []s3.Object{{Key: "a&b", Size: new(int64(3)), LastModified: new(time.Unix(1700000000, 0))}}, CommonPrefixes: []s3.CommonPrefix{{Prefix: "p/"}}},
			header: map[string]string{"Content-Type": "application/xml", "X-Amz-Request-Id": "r-1", "X-Amz-Id-2": "h-1"},
			body:   `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Contents><Key>a&amp;b</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified><Size>3</Size></Contents><Name>b</Name><Prefix></Prefix><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes><KeyCount>1</KeyCount></ListBucketResult>`},
		{name: "S3: the root is the text", service: s3Wire, op: "GetBucketLocation", status: 200, out: &s3.GetBucketLocationOutput{LocationConstraint: "eu-central-1"},
			body: `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-central-1</LocationConstraint>`},
		{name: "S3: a policy is text", service: s3Wire, op: "GetBucketPolicy", status: 200, out: &s3.GetBucketPolicyOutput{Policy: `{"a":1}`}, header: map[string]string{"Content-Type": "application/json"}, body: `{"a":1}`},
		{name: "S3: attributes", service: s3Wire, op: "GetObjectAcl", status: 200,
			out:  &s3.GetObjectAclOutput{Owner: &s3.Owner{ID: "o"}, Grants: []s3.Grant{{Grantee: &s3.Grantee{Type: "CanonicalUser", ID: "o"}, Permission: "FULL_CONTROL"}}},
			body: `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>o</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>o</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>`},
		{name: "S3: headers", service: s3Wire, op: "HeadObject", status: 206,
			out:    &s3.HeadObjectOutput{ETag: `"e"`, ContentLength: new(int64(3)), ContentRange: "bytes 0-2/9", LastModified: new(time.Unix(1700000000, 0)), Metadata: map[string]string{"author": "me"}},
			header: map[string]string{"Etag": `"e"`, "Content-Length": "3", "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT", "X-Amz-Meta-Author": "me", "Content-Type": ""}},
		{name: "S3: nothing", service: s3Wire, op: "DeleteObject", status: 204, out: &s3.DeleteObjectOutput{VersionId: "v"}, header: map[string]string{"X-Amz-Version-Id": "v"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := op(t, tt.service, tt.op).EncodeResponse(tt.out, meta)
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != tt.status || string(r.Body) != tt.body {
				t.Errorf("got %d\n%s\nwant %d\n%s", r.Status, r.Body, tt.status, tt.body)
			}
			for name, want := range tt.header {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestEncodeStream(t *testing.T) {
	in := io.NopCloser(strings.NewReader("bytes"))
	r, err := op(t, s3Wire, "GetObject").EncodeResponse(&s3.GetObjectOutput{Body: in, ContentType: "a/b"}, wire.Meta{})
	if err != nil || r.Stream != in || r.Body != nil || r.Header.Get("Content-Type") != "a/b" {
		t.Errorf("got %+v, %v", r, err)
	}
	if !op(t, s3Wire, "PutObject").Streams() || op(t, s3Wire, "PutBucketPolicy").Streams() || !op(t, s3Wire, "GetObject").StreamsOut() {
		t.Error("what streams is not told")
	}
}

func TestEncodeRefusesOthersOutput(t *testing.T) {
	for _, out := range []any{nil, kms.ListKeysOutput{}, (*kms.ListKeysOutput)(nil), &kms.DescribeKeyOutput{}} {
		if _, err := op(t, kmsWire, "ListKeys").EncodeResponse(out, wire.Meta{}); err == nil {
			t.Errorf("%T was encoded", out)
		}
	}
}

func TestEncodeError(t *testing.T) {
	meta := wire.Meta{RequestID: "r-1", HostID: "h-1", Resource: "/b/k"}
	head := meta
	head.Head = true
	for _, tt := range []struct {
		name    string
		service *wire.Service
		err     *aws.Error
		meta    wire.Meta
		status  int
		body    string
	}{
		{"JSON", kmsWire, aws.Errorf("NotFoundException", `Key 'a"b' does not exist`), meta, 400, `{"__type":"NotFoundException","message":"Key 'a\"b' does not exist"}`},
		{"JSON, with a member", repoWire, aws.Errorf("X", "m").With("b", "2").With("a", "1"), meta, 400, `{"__type":"X","message":"m","a":"1","b":"2"}`},
		{"JSON, refused", kmsWire, aws.Errorf("AccessDeniedException", "no"), meta, 400, `{"__type":"AccessDeniedException","message":"no"}`},
		{"JSON, our trouble", kmsWire, aws.Errorf("InternalFailure", ""), meta, 500, `{"__type":"InternalFailure"}`},
		{"query, status of the model", iamWire, aws.Errorf("NoSuchEntity", "The user <x> cannot be found."), meta, 404,
			`<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>The user &lt;x&gt; cannot be found.</Message></Error><RequestId>r-1</RequestId></ErrorResponse>`},
		{"query, refused", stsWire, aws.Errorf("AccessDenied", "no"), meta, 403,
			`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>r-1</RequestId></ErrorResponse>`},
		{"query, what XML cannot carry", stsWire, aws.Errorf("X", "a\x00\x01\x1f\ufffe\xff\t\r\nb"), meta, 400,
			`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>X</Code><Message>a` + strings.Repeat("\ufffd", 5) + "\t&#xd;\nb" + `</Message></Error><RequestId>r-1</RequestId></ErrorResponse>`},
		{"S3", s3Wire, aws.Errorf("NoSuchKey", "The specified key does not exist.").With("Key", "k"), meta, 404,
			`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>k</Key><Resource>/b/k</Resource><RequestId>r-1</RequestId><HostId>h-1</HostId></Error>`},
		{"S3, HEAD", s3Wire, aws.Errorf("NoSuchKey", "gone"), head, 404, ""},
		{"S3, not modified", s3Wire, aws.Errorf("NotModified", ""), meta, 304, ""},
		{"own status", s3Wire, aws.Errorf("NoSuchKey", "").WithStatus(418), head, 418, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.service.EncodeError(tt.err, tt.meta)
			if r.Status != tt.status || string(r.Body) != tt.body {
				t.Errorf("got %d\n%s\nwant %d\n%s", r.Status, r.Body, tt.status, tt.body)
			}
		})
	}
	e := aws.Errorf("NoSuchKey", "")
	e.Header = map[string]string{"x-amz-delete-marker": "true"}
	if r := s3Wire.EncodeError(e, meta); r.Header.Get("X-Amz-Delete-Marker") != "true" {
		t.Error("an error's header is lost")
	}
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		service      *wire.Service
		target, want string
	}{
		{kmsWire, "TrentService.DescribeKey", "DescribeKey"},
		{kmsWire, "TrentService.Nope", "UnknownOperationException"},
		{kmsWire, "DescribeKey", "UnknownOperationException"},
		{kmsWire, "", "UnknownOperationException"},
		{trailWire, "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", "LookupEvents"},
		{trailWire, "CloudTrail_20131101.LookupEvents", "LookupEvents"},
	} {
		found, err := tt.service.Target(tt.target)
		if got := name(found, err); got != tt.want {
			t.Errorf("target %q is %s, want %s", tt.target, got, tt.want)
		}
	}
	if diff := cmp.Diff([]string{"com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101", "CloudTrail_20131101"}, trailWire.Targets()); diff != "" {
		t.Errorf("CloudTrail's targets (-want +got):\n%s", diff)
	}
	for _, tt := range []struct{ form, want string }{
		{"Action=GetUser&Version=2010-05-08", "GetUser"},
		{"Action=Nope&Version=2010-05-08", "InvalidAction: Could not find operation Nope for version 2010-05-08"},
		{"Action=GetUser&Version=1", "InvalidAction: Could not find operation GetUser for version 1"},
		{"Action=GetUser", "InvalidAction: Could not find operation GetUser for version NO_VERSION_SPECIFIED"},
		{"", "MissingAction: The request is missing an action or a required parameter."},
	} {
		form, _ := url.ParseQuery(tt.form)
		found, err := iamWire.Action(form)
		if got := name(found, err); got != tt.want {
			t.Errorf("%q is %s, want %s", tt.form, got, tt.want)
		}
	}
}

func name(op *wire.Op, err error) string {
	if err != nil {
		return errorText(err)
	}
	return op.Name
}

func TestRoute(t *testing.T) {
	for _, tt := range []struct{ request, header, want string }{
		{"GET /", "", "ListBuckets"},
		{"PUT /b", "", "CreateBucket"},
		{"GET /b", "", "ListObjects"},
		{"GET /b?prefix=p&max-keys=3", "", "ListObjects"},
		{"GET /b?list-type=2&prefix=p", "", "ListObjectsV2"},
		{"GET /b?list-type=3", "", "ListObjects"},
		{"GET /b?versions", "", "ListObjectVersions"},
		{"GET /b?uploads", "", "ListMultipartUploads"},
		{"GET /b?location", "", "GetBucketLocation"},
		{"GET /b?lifecycle", "", "GetBucketLifecycleConfiguration"},
		{"GET /b?notification", "", "GetBucketNotificationConfiguration"},
		{"GET /b?analytics", "", "ListBucketAnalyticsConfigurations"},
		{"GET /b?analytics&id=1", "", "GetBucketAnalyticsConfiguration"},
		{"GET /b?analytics&id=1&x-id=GetBucketAnalyticsConfiguration", "", "GetBucketAnalyticsConfiguration"},
		{"POST /b?delete", "", "DeleteObjects"},
		{"POST /b?delete=", "", "DeleteObjects"},
		{"HEAD /b", "", "HeadBucket"},
		{"DELETE /b", "", "DeleteBucket"},
		{"DELETE /b?policy", "", "DeleteBucketPolicy"},
		{"GET /b/k", "", "GetObject"},
		{"GET /b/k?partNumber=1", "", "GetObject"},
		{"GET /b/k?response-content-type=a&X-Amz-Signature=s", "", "GetObject"},
		{"GET /b/k?uploadId=u", "", "ListParts"},
		{"GET /b/k?attributes", "", "GetObjectAttributes"},
		{"GET /b/k?tagging&versionId=v", "", "GetObjectTagging"},
		{"HEAD /b/k", "", "HeadObject"},
		{"PUT /b/k", "", "PutObject"},
		{"PUT /b/k?x-id=PutObject", "", "PutObject"},
		{"PUT /b/k", "X-Amz-Copy-Source", "CopyObject"},
		{"PUT /b/k?partNumber=1&uploadId=u", "", "UploadPart"},
		{"PUT /b/k?partNumber=1&uploadId=u", "X-Amz-Copy-Source", "UploadPartCopy"},
		{"PUT /b/k?uploadId=u", "", "UploadPart"},
		{"PUT /b/k?acl", "", "PutObjectAcl"},
		{"POST /b/k?uploads", "", "CreateMultipartUpload"},
		{"POST /b/k?uploadId=u", "", "CompleteMultipartUpload"},
		{"DELETE /b/k", "", "DeleteObject"},
		{"DELETE /b/k?uploadId=u", "", "AbortMultipartUpload"},
		{"DELETE /b/k?tagging", "", "DeleteObjectTagging"},

		{"PUT /b?uploads", "", "MethodNotAllowed"},
		{"PUT /b?location", "", "MethodNotAllowed"},
		{"DELETE /b?versioning", "", "MethodNotAllowed"},
		{"DELETE /b/k?acl", "", "MethodNotAllowed"},
		{"POST /b", "", "MethodNotAllowed"},
		{"POST /b/k", "", "MethodNotAllowed"},
		{"PATCH /b/k", "", "MethodNotAllowed"},
		{"PUT /", "", "MethodNotAllowed"},
		{"PUT /b/k?invented", "", "MethodNotAllowed"},
		{"PUT /b/k?X-Amz-Signature=s&x-mine=1", "", "PutObject"},
		{"GET /b/k?invented", "", "GetObject"},
	} {
		r := s3Request(tt.request)
		if tt.header != "" {
			r.Header.Set(tt.header, "x")
		}
		got, _, _ := strings.Cut(name(s3Wire.Route(r)), ":")
		if got != tt.want {
			t.Errorf("%s %s is %s, want %s", tt.request, tt.header, got, tt.want)
		}
	}
}

func s3Request(text string) *wire.Request {
	method, target, _ := strings.Cut(text, " ")
	path, query, _ := strings.Cut(target, "?")
	r := &wire.Request{Method: method, Header: http.Header{}}
	r.Bucket, r.Key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	r.Query, _ = url.ParseQuery(query)
	return r
}

func TestRequestPath(t *testing.T) {
	r, err := op(t, s3Wire, "GetObject").EncodeRequest(&s3.GetObjectInput{Bucket: "b", Key: "a b/ü+~"})
	if err != nil || r.Path() != "/b/a%20b/%C3%BC%2B~" {
		t.Errorf("path %s, %v", r.Path(), err)
	}
}

func TestDecodeError(t *testing.T) {
	for _, tt := range []struct {
		name    string
		service *wire.Service
		op      string
		r       wire.Response
		want    aws.Error
	}{
		{"JSON with a namespace", kmsWire, "ListKeys", wire.Response{Status: 400, Body: []byte(`{"__type":"com.amazonaws.kms#NotFoundException","Message":"m","Why":"w","n":1}`)},
			aws.Error{Code: "NotFoundException", Message: "m", Status: 400, Fields: map[string]string{"Why": "w"}}},
		{"JSON, the code in a header", kmsWire, "ListKeys", wire.Response{Status: 400, Header: http.Header{"X-Amzn-Errortype": {"A:http://x"}}}, aws.Error{Code: "A", Status: 400}},
		{"query", iamWire, "GetUser", wire.Response{Status: 404, Body: []byte(`<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>m</Message></Error></ErrorResponse>`)},
			aws.Error{Code: "NoSuchEntity", Message: "m", Status: 404}},
		{"S3", s3Wire, "GetObject", wire.Response{Status: 404, Body: []byte(`<Error><Code>NoSuchKey</Code><Message>m</Message><Key>k</Key></Error>`)},
			aws.Error{Code: "NoSuchKey", Message: "m", Status: 404, Fields: map[string]string{"Key": "k"}}},
		{"no body", s3Wire, "HeadObject", wire.Response{Status: 404}, aws.Error{Code: "NotFound", Status: 404}},
		{"not ours", iamWire, "GetUser", wire.Response{Status: 502, Body: []byte(`<html><p>`)}, aws.Error{Code: "BadGateway", Status: 502}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := op(t, tt.service, tt.op).DecodeResponse(&tt.r)
			var got *aws.Error
			if !errors.As(err, &got) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   any
		want string
	}{
		{"nothing", &kms.ListKeysInput{}, ""},
		{"nil", nil, ""},
		{"a nil input", (*kms.ListKeysInput)(nil), ""},
		{"no structure", "text", ""},
		{"names begin small; blobs and secrets are left out", &kms.EncryptInput{KeyId: "k", Plaintext: []byte("secret"), EncryptionContext: map[string]string{"A": "1"}}, `{"keyId":"k","encryptionContext":{"A":"1"}}`},
		{"a password", &iam.CreateLoginProfileInput{UserName: "bob", Password: "hunter2", PasswordResetRequired: new(true)}, `{"userName":"bob","passwordResetRequired":true}`},
		{"new credentials", &sts.AssumeRoleOutput{Credentials: &sts.Credentials{AccessKeyId: "ASIA", SecretAccessKey: "secret", Expiration: new(time.Unix(0, 0))}}, `{"credentials":{"accessKeyId":"ASIA","expiration":"1970-01-01T00:00:00.000Z"}}`},
		{"values of parameters may be secrets", &cloudformation.CreateStackInput{StackName: "s", Parameters: []cloudformation.Parameter{{ParameterKey: "P", ParameterValue: "secret"}}}, `{"stackName":"s","parameters":[{"parameterKey":"P"}]}`},
		{"S3's names are those on the wire", &s3.PutObjectInput{Bucket: "b", Key: "k", Body: strings.NewReader("x"), ServerSideEncryption: "aws:kms", SSECustomerKey: "secret"}, `{"bucketName":"b","key":"k","x-amz-server-side-encryption":"aws:kms"}`},
		{"long strings are cut", &kms.DescribeKeyInput{KeyId: strings.Repeat("x", 5000)}, `{"keyId":"` + strings.Repeat("x", 4096) + `..."}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(wire.Redact(tt.in)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	many := &kms.DescribeKeyInput{}
	for range 1000 {
		many.GrantTokens = append(many.GrantTokens, strings.Repeat("x", 4000))
	}
	if n := len(wire.Redact(many)); n > 80<<10 {
		t.Errorf("a record of %d bytes", n)
	}
}
