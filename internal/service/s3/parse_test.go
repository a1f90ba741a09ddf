package s3

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
)

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		header string
		size   int64
		want   byteRange
		ok     bool
		code   string
	}{
		{"bytes=0-0", 10, byteRange{0, 1}, true, ""},
		{"bytes=0-9", 10, byteRange{0, 10}, true, ""},
		{"bytes=9-", 10, byteRange{9, 1}, true, ""},
		{"bytes=-1", 10, byteRange{9, 1}, true, ""},
		{"bytes=-100", 10, byteRange{0, 10}, true, ""},
		{"bytes=3-1000000000000", 10, byteRange{3, 7}, true, ""},
		{"bytes=10-", 10, byteRange{}, false, "InvalidRange"},
		{"bytes=10-20", 10, byteRange{}, false, "InvalidRange"},
		{"bytes=-0", 10, byteRange{}, false, "InvalidRange"},
		{"bytes=0-", 0, byteRange{}, false, "InvalidRange"},
		{"bytes=-5", 0, byteRange{}, false, "InvalidRange"},
		{"bytes=4-3", 10, byteRange{}, false, ""},
		{"bytes=a-b", 10, byteRange{}, false, ""},
		{"bytes=-", 10, byteRange{}, false, ""},
		{"bytes=1-2,4-5", 10, byteRange{}, false, ""},
		{"bytes 1-2", 10, byteRange{}, false, ""},
		{"bytes=99999999999999999999-", 10, byteRange{}, false, ""},
		{"bytes=+1-2", 10, byteRange{}, false, ""},
	} {
		got, ok, err := parseRange(tt.header, tt.size)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%q of %d = %v, %v", tt.header, tt.size, got, ok)
		}
		if tt.code != "" {
			wantCode(t, err, tt.code)
		} else if err != nil {
			t.Errorf("%q: %v", tt.header, err)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, header := range []string{"bytes=0-9", "bytes=-5", "bytes=5-", "bytes=9-1", "bytes=0-0,2-3", ""} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		r, ok, err := parseRange(header, size)
		if ok && (err != nil || r.offset < 0 || r.length < 1 || r.offset+r.length > size) {
			t.Errorf("%q of %d = %v, %v", header, size, r, err)
		}
		if c, err := parseCopyRange(header, size); err == nil && (c.offset < 0 || c.length < 1 || c.offset+c.length > size) {
			t.Errorf("copy %q of %d = %v", header, size, c)
		}
	})
}

func TestParseSource(t *testing.T) {
	for header, want := range map[string]source{
		"bucket/key":                    {"bucket", "key", ""},
		"/bucket/key":                   {"bucket", "key", ""},
		"bucket/a%20b/%E6%97%A5":        {"bucket", "a b/日", ""},
		"bucket/a+b":                    {"bucket", "a+b", ""},
		"bucket%2Fkey":                  {"bucket", "key", ""},
		"bucket/key?versionId=abc":      {"bucket", "key", "abc"},
		"bucket/what%3FversionId=x":     {"bucket", "what?versionId=x", ""},
		"bucket//key":                   {"bucket", "/key", ""},
		"bucket/key%3Fx?versionId=null": {"bucket", "key?x", "null"},
	} {
		if got, err := parseSource(header); err != nil || got != want {
			t.Errorf("%q = %v, %v", header, got, err)
		}
	}
	for _, header := range []string{"", "/", "bucket", "bucket/", "/bucket", "bucket/%", "bucket/%FF", "bucket/a%00", "bucket/k?versionId=", "bucket/k?versionId=a/b"} {
		wantCode(t, second(parseSource(header)), "InvalidArgument")
	}
}

func FuzzParseSource(f *testing.F) {
	f.Add("/bucket/key%20?versionId=null")
	f.Fuzz(func(t *testing.T, header string) {
		s, err := parseSource(header)
		if err != nil {
			return
		}
		if s.bucket == "" || s.key == "" || !storable(s.bucket+s.key+s.version) {
			t.Errorf("%q = %+v", header, s)
		}
		again := url.PathEscape(s.bucket) + "/" + url.PathEscape(s.key)
		if s.version != "" {
			again += "?versionId=" + s.version
		}
		if r, err := parseSource(again); err != nil || r != s {
			t.Errorf("%q = %+v, written %q = %+v, %v", header, s, again, r, err)
		}
	})
}

func FuzzHeaderTags(f *testing.F) {
	f.Add("a=1&b=two%20words&c")
	f.Fuzz(func(t *testing.T, header string) {
		stored, err := headerTags(header)
		if err != nil {
			return
		}
		tags, err := loadTags(stored)
		if err != nil || len(tags) > maxObjectTags {
			t.Errorf("%q = %v, %v", header, tags, err)
		}
	})
}

func TestPolicyChecks(t *testing.T) {
	statement := func(inner string) string {
		return `{"Version":"2012-10-17","Statement":[{` + inner + `}]}`
	}
	everyone := `"Effect":"Allow","Principal":"*",`
	onObjects := `"Action":"s3:GetObject","Resource":"arn:aws:s3:::mine/*"`
	for _, tt := range []struct {
		name, text string
		public     bool
		refusal    string
	}{
		{"one account", statement(`"Effect":"Allow","Principal":{"AWS":"111111111111"},` + onObjects), false, ""},
		{"a service", statement(`"Effect":"Allow","Principal":{"Service":"cloudfront.amazonaws.com"},` + onObjects), false, ""},
		{"everyone", statement(everyone + onObjects), true, ""},
		{"everyone as AWS", statement(`"Effect":"Allow","Principal":{"AWS":["111111111111","*"]},` + onObjects), true, ""},
		{"nobody", statement(`"Effect":"Deny","Principal":"*",` + onObjects), false, ""},
		{"everyone of one account", statement(everyone + onObjects + `,"Condition":{"StringEquals":{"aws:PrincipalAccount":"111111111111"}}`), false, ""},
		{"everyone of any account", statement(everyone + onObjects + `,"Condition":{"StringLike":{"aws:PrincipalAccount":"*"}}`), true, ""},
		{"everyone but one account", statement(everyone + onObjects + `,"Condition":{"StringNotEquals":{"aws:PrincipalAccount":"111111111111"}}`), true, ""},
		{"everyone of one account, or without one", statement(everyone + onObjects + `,"Condition":{"StringEqualsIfExists":{"aws:PrincipalAccount":"111111111111"}}`), true, ""},
		{"from some addresses", statement(everyone + onObjects + `,"Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.7"]}}`), false, ""},
		{"from half the world", statement(everyone + onObjects + `,"Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/1"}}`), true, ""},
		{"from an address that is none", statement(everyone + onObjects + `,"Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","::/0"]}}`), true, ""},
		{"from a bucket's own distribution", statement(everyone + onObjects + `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:cloudfront::111111111111:distribution/*"}}`), false, ""},
		{"from anything", statement(everyone + onObjects + `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:*:*:*:*"}}`), true, ""},
		{"of one role", statement(everyone + onObjects + `,"Condition":{"StringLike":{"aws:userid":"AROAEXAMPLE:*"}}`), false, ""},
		{"by the clock", statement(everyone + onObjects + `,"Condition":{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}`), true, ""},
		{"by TLS", statement(everyone + onObjects + `,"Condition":{"Bool":{"aws:SecureTransport":true}}`), true, ""},

		{"no JSON", `policy`, false, "Policies must be valid JSON and the first byte must be '{'"},
		{"a space first", ` {}`, false, "Policies must be valid JSON and the first byte must be '{'"},
		{"too long", `{"Version":"` + strings.Repeat("x", 21000) + `"}`, false, "Policies can only contain up to 20480 bytes."},
		{"all actions", statement(everyone + `"Action":"*","Resource":["arn:aws:s3:::mine","arn:aws:s3:::mine/*"]`), true, ""},
		{"everything", statement(everyone + `"Action":"s3:*","Resource":"*"`), false, "Policy has invalid resource"},
		{"another bucket", statement(everyone + `"Action":"s3:*","Resource":"arn:aws:s3:::mine2"`), false, "Policy has invalid resource"},
		{"a pattern of buckets", statement(everyone + `"Action":"s3:*","Resource":"arn:aws:s3:::mine*"`), true, ""},
		{"another service", statement(everyone + `"Action":"ec2:Run","Resource":"arn:aws:s3:::mine/*"`), false, "Policy has invalid action"},
		{"an object action on the bucket", statement(everyone + `"Action":"s3:PutObject","Resource":"arn:aws:s3:::mine"`), false, "Action does not apply to any resource(s) in statement"},
		{"a bucket action on objects", statement(everyone + `"Action":"s3:ListBucket","Resource":"arn:aws:s3:::mine/*"`), false, "Action does not apply to any resource(s) in statement"},
		{"one of two actions applies", statement(everyone + `"Action":["s3:ListBucket","s3:GetObject"],"Resource":"arn:aws:s3:::mine/*"`), true, ""},
	} {
		p, err := parsePolicy("mine", tt.text)
		if tt.refusal != "" {
			if e := wantCode(t, err, "MalformedPolicy"); e.Message != tt.refusal {
				t.Errorf("%s: %s", tt.name, e.Message)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if p.public != tt.public {
			t.Errorf("%s: public = %v", tt.name, p.public)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::mine/*","Condition":{"Bool":{"a:b":[true,1,"x"]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		parsePolicy("mine", text)
	})
}

func TestBucketNames(t *testing.T) {
	for _, good := range []string{"abc", "my-bucket", "my.bucket.2", "0bucket9", strings.Repeat("x", 63)} {
		if err := checkBucketName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "ab", "-abc", "abc-", "a..b", "A-b", "a_b", "10.0.0.1", "xn--abc", "sthree-x", "abc-s3alias", "abc--x-s3", strings.Repeat("x", 64)} {
		wantCode(t, checkBucketName(bad), "InvalidBucketName")
	}
}

func TestURLCoding(t *testing.T) {
	for in, want := range map[string]string{"a/b": "a/b", "a b+c": "a+b%2Bc", "é*~": "%C3%A9*%7E", "x.y-z_0": "x.y-z_0", "\n": "%0A"} {
		if got := urlCoded(in); got != want {
			t.Errorf("%q = %q, want %q", in, got, want)
		}
	}
}

func TestContextHeader(t *testing.T) {
	r := sseRequest{algorithm: sseKMS, context: "eyJhIjoiYiJ9"}
	m, err := r.callerContext()
	if diff := cmp.Diff(map[string]string{"a": "b"}, m); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, bad := range []string{"x", "eyJhIjoxfQ==", "W10="} { // not base64, a number, a list
		r.context = bad
		wantCode(t, r.check(&call.Call{}), "InvalidArgument")
	}
}

func TestCreateBucketRefusals(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		for _, tt := range []struct {
			in   api.CreateBucketInput
			code string
		}{
			{api.CreateBucketInput{BucketNamespace: "account-regional"}, "NotImplemented"},
			{api.CreateBucketInput{ObjectOwnership: "ObjectWriter", ACL: "public-read"}, "InvalidBucketAclWithBlockPublicAccessError"},
			{api.CreateBucketInput{ObjectOwnership: "ObjectWriter", GrantRead: "id=x"}, "InvalidArgument"},
			{api.CreateBucketInput{ObjectOwnership: "Nobody"}, "InvalidArgument"},
			{api.CreateBucketInput{GrantRead: "id=x"}, "InvalidBucketAclWithObjectOwnership"},
			{api.CreateBucketInput{CreateBucketConfiguration: &api.CreateBucketConfiguration{Location: &api.LocationInfo{}}}, "NotImplemented"},
			{api.CreateBucketInput{CreateBucketConfiguration: &api.CreateBucketConfiguration{LocationConstraint: "nowhere"}}, "InvalidLocationConstraint"},
			{api.CreateBucketInput{CreateBucketConfiguration: &api.CreateBucketConfiguration{Tags: []api.Tag{{}}}}, "InvalidTag"},
		} {
			tt.in.Bucket = "mine"
			wantCode(t, second(a.CreateBucket(ctx, &tt.in)), tt.code)
		}
		w.Grant("carl@111111111111", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:CreateBucket","Resource":"*"}]}`)
		for _, in := range []api.CreateBucketInput{
			{ACL: "public-read"}, {GrantRead: "id=x"}, {ObjectOwnership: "BucketOwnerEnforced"}, {ObjectLockEnabledForBucket: new(true)},
			{CreateBucketConfiguration: &api.CreateBucketConfiguration{Tags: []api.Tag{{Key: "a"}}}},
		} {
			in.Bucket = "mine"
			wantCode(t, second(w.as("carl@111111111111").CreateBucket(ctx, &in)), "AccessDenied")
		}
		wantCode(t, second(a.HeadBucket(ctx, &api.HeadBucketInput{Bucket: "mine"})), "NoSuchBucket")
	})
}
