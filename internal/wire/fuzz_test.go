package wire_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/wire"
)

// decodeFuzz decodes with several operations. A refusal has to be an
// *aws.Error; what is accepted has to survive the way out and back in.
func decodeFuzz(t *testing.T, s *wire.Service, names []string, r wire.Request) {
	for _, name := range names {
		op, _ := s.Operation(name)
		in, err := op.DecodeRequest(&r)
		var refusal *aws.Error
		if err != nil && !errors.As(err, &refusal) {
			t.Fatalf("%s: %T: %v", name, err, err)
		}
		if err != nil {
			continue
		}
		wire.Redact(in)
		again, err := op.EncodeRequest(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := op.DecodeRequest(again); err != nil && s.Protocol != wire.RESTXML {
			// An empty string is absent on the way out, and may be required.
			if errors.As(err, &refusal) && (refusal.Code == "ValidationException" || refusal.Code == "ValidationError") {
				continue
			}
			t.Fatalf("%s: second decode: %v\n%s", name, err, again.Body)
		}
	}
}

func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `{"KeyId":"k","GrantTokens":["a"]}`, `{"KeyId":1}`, `{"Plaintext":"aGk=","EncryptionContext":{"a":"b"}}`,
		`{"Limit":-1.5e300}`, `{"Tags":[{"TagKey":"\ud800"},null]}`, `[[[[`, `{"a":{"b":[1,2,{"c":null}]}}`, `{"KeyId":"\u0000"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		decodeFuzz(t, kmsWire, []string{"DescribeKey", "Encrypt", "CreateKey", "CreateGrant", "ListKeys"}, wire.Request{Body: body})
		decodeFuzz(t, busWire, []string{"PutEvents", "PutTargets"}, wire.Request{Body: body})
	})
}

func FuzzDecodeQuery(f *testing.F) {
	for _, s := range []string{
		``, `UserName=bob&Tags.member.1.Key=a`, `Tags.member.=x&Tags.member.-1.Key=1&Tags.member.99999999999999999999.Key=1`, `....=1`, `Parameters.member.1=x&Parameters.member.1.ParameterKey=p`,
		`MaxItems=`, `=`, `&&;`, `%`, `TimeoutInMinutes=99999999999999999999`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		decodeFuzz(t, iamWire, []string{"TagUser", "ListUsers", "CreateRole"}, wire.Request{Body: body})
		decodeFuzz(t, cfnWire, []string{"CreateStack", "CreateChangeSet"}, wire.Request{Body: body})
	})
}

func FuzzDecodeXML(f *testing.F) {
	for _, s := range []string{
		``, `<Delete><Object><Key>k</Key></Object></Delete>`, `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`,
		`<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi="x" xsi:type="CanonicalUser"><ID>1</ID></Grantee></Grant></AccessControlList></AccessControlPolicy>`,
		`<!DOCTYPE a><Delete/>`, `<Delete>&lt;&#0;</Delete>`, `<a><b></a></b>`, `<Delete/><Delete/>`, `<?xml version="1.0" encoding="latin1"?><Delete/>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		decodeFuzz(t, s3Wire, []string{"DeleteObjects", "PutBucketTagging", "PutObjectAcl", "PutBucketLifecycleConfiguration", "CompleteMultipartUpload", "SelectObjectContent"},
			wire.Request{Bucket: "b", Key: "k", Query: url.Values{"uploadId": {"u"}}, Body: body})
		r := wire.Response{Status: 200, Body: body}
		for _, name := range []string{"ListObjectsV2", "GetBucketLocation", "ListParts"} {
			op, _ := s3Wire.Operation(name)
			op.DecodeResponse(&r)
		}
		op, _ := iamWire.Operation("ListUsers")
		op.DecodeResponse(&r)
		r.Status = 400
		op.DecodeResponse(&r)
	})
}

func FuzzRoute(f *testing.F) {
	f.Add("GET", "b", "k", "uploadId=1&partNumber=2", "x-amz-copy-source", "b/k")
	f.Add("PUT", "b", "", "list-type=2&acl", "If-Modified-Since", "yesterday")
	f.Add("POST", "WriteGetObjectResponse", "", "x-id=Nope", "x-amz-meta-", "")
	f.Fuzz(func(t *testing.T, method, bucket, key, query, header, value string) {
		q, _ := url.ParseQuery(query)
		h := http.Header{}
		h.Set(header, value)
		r := &wire.Request{Method: method, Bucket: bucket, Key: key, Query: q, Header: h}
		op, err := s3Wire.Route(r)
		if err != nil {
			return
		}
		second, err := s3Wire.Route(r)
		if err != nil || second != op {
			t.Fatal("the same request goes two ways")
		}
		in, err := op.DecodeRequest(r)
		var refusal *aws.Error
		if err != nil && !errors.As(err, &refusal) {
			t.Fatalf("%T: %v", err, err)
		}
		if err == nil {
			wire.Redact(in)
		}
	})
}

func FuzzTime(f *testing.F) {
	f.Add("2024-02-29T12:00:00.125Z")
	f.Add("Tue, 14 Nov 2023 22:13:20 GMT")
	f.Add("-1e308")
	f.Fuzz(func(t *testing.T, text string) {
		quoted, _ := json.Marshal(text)
		events, _ := trailWire.Operation("LookupEvents")
		in, err := events.DecodeRequest(&wire.Request{Body: []byte(`{"StartTime":` + string(quoted) + `}`)})
		if err != nil {
			return
		}
		r, err := events.EncodeRequest(in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := events.DecodeRequest(r)
		if err != nil {
			t.Fatalf("%s: %v", r.Body, err)
		}
		if diff := cmp.Diff(in, again, cmp.Comparer(sameMilli)); diff != "" {
			t.Error(diff)
		}
	})
}

func sameMilli(a, b time.Time) bool { return a.UnixMilli() == b.UnixMilli() }
