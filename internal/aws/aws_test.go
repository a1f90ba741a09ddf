package aws

import (
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseARN(t *testing.T) {
	for _, tt := range []struct {
		text string
		want ARN
		ok   bool
	}{
		{"arn:aws:s3:::bucket/key:with:colons", ARN{"aws", "s3", "", "", "bucket/key:with:colons"}, true},
		{"arn:aws:iam::111111111111:role/path/r", ARN{"aws", "iam", "", "111111111111", "role/path/r"}, true},
		{"arn:aws:kms:eu-central-1:111111111111:key/k", ARN{"aws", "kms", "eu-central-1", "111111111111", "key/k"}, true},
		{"arn:aws-cn:sqs:cn-north-1:1:q", ARN{"aws-cn", "sqs", "cn-north-1", "1", "q"}, true},
		{"arn:aws:s3:::*", ARN{"aws", "s3", "", "", "*"}, true},
		{"", ARN{}, false},
		{"*", ARN{}, false},
		{"arn:aws:s3::", ARN{}, false},
		{"arn:aws:s3:::", ARN{}, false},
		{"arn::s3:::b", ARN{}, false},
		{"arn:aws::::b", ARN{}, false},
		{"ARN:aws:s3:::b", ARN{}, false},
		{" arn:aws:s3:::b", ARN{}, false},
	} {
		got, ok := ParseARN(tt.text)
		if got != tt.want || ok != tt.ok {
			t.Errorf("ParseARN(%q) = %+v, %v, want %+v, %v", tt.text, got, ok, tt.want, tt.ok)
		}
		if ok && got.String() != tt.text {
			t.Errorf("%q comes back as %q", tt.text, got)
		}
	}
	if got, want := NewARN("kms", "r", "a", "key/k"), "arn:aws:kms:r:a:key/k"; got != want {
		t.Errorf("NewARN = %q, want %q", got, want)
	}
}

func TestForms(t *testing.T) {
	for text, want := range map[string]bool{
		"111111111111": true, "012345678901": true,
		"": false, "11111111111": false, "1111111111111": false, "11111111111a": false, "111111111111\n": false,
	} {
		if got := IsAccountID(text); got != want {
			t.Errorf("IsAccountID(%q) = %v", text, got)
		}
	}
	for text, want := range map[string]bool{
		"us-east-1": true, "eu-central-1": true, "us-gov-west-1": true, "ap-southeast-12": true,
		"": false, "us-east": false, "US-EAST-1": false, "useast-1x": false, "us--1": false, "us-east-123": false,
		"aa-" + strings.Repeat("b", 40) + "-1": false,
	} {
		if got := IsRegion(text); got != want {
			t.Errorf("IsRegion(%q) = %v", text, got)
		}
	}
}

func TestRandomTextIsEven(t *testing.T) {
	for _, alphabet := range []string{Base32, UpperAlnum, Alnum} {
		const n = 64000
		counts := map[rune]int{}
		for _, c := range RandomText(n, alphabet) {
			counts[c]++
		}
		if len(counts) != len(alphabet) {
			t.Errorf("%d letters of %d appear", len(counts), len(alphabet))
		}
		mean := float64(n) / float64(len(alphabet))
		for _, c := range alphabet {
			// Seven standard deviations: once in many billions of runs.
			if d := math.Abs(float64(counts[c]) - mean); d > 7*math.Sqrt(mean) {
				t.Errorf("%q appears %d times, expected about %.0f", c, counts[c], mean)
			}
		}
	}
	for _, n := range []int{0, 1, 7, 63, 64, 65, 200} {
		if got := len(RandomText(n, Alnum)); got != n {
			t.Errorf("RandomText(%d) has %d characters", n, got)
		}
	}
}

func TestNewUUID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := NewUUID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("%q is no fresh version 4 UUID", id)
		}
		seen[id] = true
	}
}

func TestNewTimedUUID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, at := range []time.Time{time.Unix(0, 0), time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		id := NewTimedUUID(at)
		got, ok := UUIDTime(id)
		if !form.MatchString(id) || !ok || !got.Equal(at) || id == NewTimedUUID(at) {
			t.Errorf("%s is of %v, %v, want %v", id, got, ok, at)
		}
	}
	for _, other := range []string{"", NewUUID(), "0123456789ABCDEF", strings.Repeat("7", 36), strings.Repeat("-", 36), "zzzzzzzz-zzzz-7zzz-8zzz-zzzzzzzzzzzz"} {
		if at, ok := UUIDTime(other); ok && other[0] != '7' {
			t.Errorf("%q is of %v", other, at)
		}
	}
}

func TestEnvelope(t *testing.T) {
	e := Event{
		ID: "id", Account: "111111111111", Region: "us-east-1", Source: "aws.codecommit", DetailType: "D",
		Time:   time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.FixedZone("", 3600)),
		Detail: json.RawMessage(`{"a": 1}`),
		Bus:    "arn:aws:events:us-east-1:111111111111:event-bus/default", Hops: 1, Trace: "secret of ours",
	}
	got, err := e.MarshalEnvelope()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":"0","id":"id","detail-type":"D","source":"aws.codecommit","account":"111111111111",` +
		`"time":"2026-01-02T02:04:05Z","region":"us-east-1","resources":[],"detail":{"a":1}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e.Detail = json.RawMessage(`{`)
	if _, err := e.MarshalEnvelope(); err == nil {
		t.Error("a broken detail was sent on")
	}
}

func TestPrincipalNames(t *testing.T) {
	session := Principal{
		Kind: Session, Account: "1", ARN: "arn:aws:sts::1:assumed-role/r/s", RoleARN: "arn:aws:iam::1:role/path/r",
	}
	user := Principal{Kind: User, Account: "1", ARN: "arn:aws:iam::1:user/path/u"}
	for _, tt := range []struct {
		p                  Principal
		name, session, arn string
	}{
		{session, "r", "s", session.RoleARN},
		{user, "u", "", user.ARN},
		{RootPrincipal("1"), "root", "", "arn:aws:iam::1:root"},
		{ServicePrincipal("events.amazonaws.com"), "events.amazonaws.com", "", "events.amazonaws.com"},
		{Principal{}, "anonymous", "", ""},
	} {
		if got := tt.p.Name(); got != tt.name {
			t.Errorf("Name = %q, want %q", got, tt.name)
		}
		if got := tt.p.SessionName(); got != tt.session {
			t.Errorf("SessionName of %s = %q, want %q", tt.name, got, tt.session)
		}
		if got := tt.p.PolicyARN(); got != tt.arn {
			t.Errorf("PolicyARN of %s = %q, want %q", tt.name, got, tt.arn)
		}
	}
}

func TestErrorsAreCopied(t *testing.T) {
	e := Errorf("Code", "%d things", 3)
	f := e.With("A", "1").With("B", "2").WithStatus(404)
	if e.Fields != nil || e.Status != 0 {
		t.Errorf("the first error was changed: %+v", e)
	}
	if f.Error() != "Code: 3 things" || f.Fields["A"] != "1" || f.Fields["B"] != "2" || f.Status != 404 {
		t.Errorf("%+v", f)
	}
	if got := (&Error{Code: "Code"}).Error(); got != "Code" {
		t.Errorf("Error = %q", got)
	}
}

func BenchmarkNewUUID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewUUID()
	}
}

func BenchmarkRandomText(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		RandomText(16, UpperAlnum)
	}
}
