package leastprivilege

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

const (
	roleARN = "arn:aws:iam::111111111111:role/worker"
	keyARN  = "arn:aws:kms:eu-central-1:111111111111:key/k"
)

// entry is a call with judgements by "action resource"; "-" before it is a
// refusal, "^" an Allow of a resource's policy alone.
func entry(service string, via []string, failed bool, asked ...string) *call.Entry {
	e := &call.Entry{Call: &call.Call{Service: service, Region: "eu-central-1", Via: via, Time: time.Unix(1e9, 0), Principal: aws.Principal{Kind: aws.Session, RoleARN: roleARN}}}
	for _, a := range asked {
		action, resource, _ := strings.Cut(strings.TrimLeft(a, "-^"), " ")
		j := call.Judgement{Action: action, Resource: resource}
		switch a[0] {
		case '-':
			j.Decision.Silent = []policy.Kind{policy.Identity}
		case '^':
			j.Decision.Effect, j.Decision.Because = policy.Allow, []policy.Match{{Kind: policy.Key}}
		default:
			j.Decision.Effect, j.Decision.Because = policy.Allow, []policy.Match{{Kind: policy.Identity}, {Kind: policy.Resource}}
		}
		e.Judgements = append(e.Judgements, j)
	}
	if failed {
		e.Error = aws.Errorf("AccessDenied", "no")
	}
	return e
}

func gather(t *testing.T, reach []string, entries ...*call.Entry) *Record {
	t.Helper()
	c := NewCollector(roleARN)
	for _, e := range entries {
		if err := c.Add(e, reach); err != nil {
			t.Fatal(err)
		}
	}
	return c.Record()
}

// lines is a document, a statement a line.
func lines(d *Document) []string {
	var out []string
	for _, s := range d.Statement {
		line := strings.Join(s.Action, ",") + " | " + strings.Join(s.Resource, ",")
		if c := s.condition(); c != "null" {
			line += " | " + c
		}
		out = append(out, line)
	}
	return out
}

func TestGenerate(t *testing.T) {
	s3 := []string{"s3.amazonaws.com"}
	many := func(format string, n int) []*call.Entry {
		var list []*call.Entry
		for i := range n {
			list = append(list, entry("s3", nil, false, "s3:GetObject "+fmt.Sprintf(format, i)))
		}
		return list
	}
	for _, tt := range []struct {
		name    string
		reach   []string
		entries []*call.Entry
		want    []string
	}{
		{"exact and grouped", nil, []*call.Entry{
			entry("codecommit", nil, false, "codecommit:GetCommit arn:aws:codecommit:eu-central-1:111111111111:b"),
			entry("codecommit", nil, false, "codecommit:GetBranch arn:aws:codecommit:eu-central-1:111111111111:b"),
			entry("codecommit", nil, false, "codecommit:GetBranch arn:aws:codecommit:eu-central-1:111111111111:a"),
			entry("codecommit", nil, false, "codecommit:GetCommit arn:aws:codecommit:eu-central-1:111111111111:a"),
			entry("codecommit", nil, false, "codecommit:ListRepositories *"),
		}, []string{
			"codecommit:GetBranch,codecommit:GetCommit | arn:aws:codecommit:eu-central-1:111111111111:a,arn:aws:codecommit:eu-central-1:111111111111:b",
			"codecommit:ListRepositories | *",
		}},
		{"what was refused does not count, nor what was asked beside it", nil, []*call.Entry{
			entry("s3", nil, true, "s3:PutObject arn:aws:s3:::b/k", "-kms:GenerateDataKey "+keyARN),
			entry("s3", nil, false, "s3:DeleteObject arn:aws:s3:::b/1", "-s3:DeleteObject arn:aws:s3:::b/2"),
			entry("s3", nil, true, "s3:GetObject arn:aws:s3:::b/none"), // NoSuchKey
		}, []string{"s3:DeleteObject | arn:aws:s3:::b/1", "s3:GetObject | arn:aws:s3:::b/none"}},
		{"what a resource's policy gave alone", nil, []*call.Entry{entry("kms", s3, false, "^kms:Decrypt "+keyARN)}, nil},
		{"keys through services", nil, []*call.Entry{
			entry("kms", s3, false, "kms:Decrypt "+keyARN), entry("kms", []string{"codecommit.amazonaws.com"}, false, "kms:Decrypt "+keyARN),
			entry("kms", s3, false, "kms:GenerateDataKey "+keyARN), entry("kms", nil, false, "kms:GenerateDataKey "+keyARN),
		}, []string{
			`kms:Decrypt | ` + keyARN + ` | {"StringEquals":{"kms:ViaService":["codecommit.eu-central-1.amazonaws.com","s3.eu-central-1.amazonaws.com"]}}`,
			`kms:GenerateDataKey | ` + keyARN,
		}},
		{"roles that are passed", nil, []*call.Entry{
			entry("codepipeline", nil, false, "iam:PassRole "+roleARN), entry("iam", nil, false, "iam:PassRole "+roleARN+"2"),
		}, []string{
			`iam:PassRole | ` + roleARN + ` | {"StringEquals":{"iam:PassedToService":"codepipeline.amazonaws.com"}}`,
			`iam:PassRole | ` + roleARN + `2 | {"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}`,
		}},
		{"three objects", nil, many("arn:aws:s3:::b/in/%d", 3), []string{"s3:GetObject | arn:aws:s3:::b/in/0,arn:aws:s3:::b/in/1,arn:aws:s3:::b/in/2"}},
		{"four objects", nil, many("arn:aws:s3:::b/in/%d", 4), []string{"s3:GetObject | arn:aws:s3:::b/in/*"}},
		{"four folders", nil, many("arn:aws:s3:::b/in/%d/x", 4), []string{"s3:GetObject | arn:aws:s3:::b/in/*"}},
		{"folders one by one", nil, append(append(many("arn:aws:s3:::b/in/a/%d", 4), many("arn:aws:s3:::b/in/b/%d", 4)...), many("arn:aws:s3:::b/out/%d", 2)...),
			[]string{"s3:GetObject | arn:aws:s3:::b/in/a/*,arn:aws:s3:::b/in/b/*,arn:aws:s3:::b/out/0,arn:aws:s3:::b/out/1"}},
		{"objects at the top", nil, many("arn:aws:s3:::b/%d", 4), []string{"s3:GetObject | arn:aws:s3:::b/*"}},
		{"a pipeline's objects", []string{"arn:aws:s3:::b/p/*"}, append(many("arn:aws:s3:::b/p/Source/%d", 1), many("arn:aws:s3:::b/q/%d", 1)...),
			[]string{"s3:GetObject | arn:aws:s3:::b/p/*,arn:aws:s3:::b/q/0"}},
		{"wildcards in names", nil, []*call.Entry{entry("s3", nil, false, "s3:GetObject arn:aws:s3:::b/a*b?${c}")}, []string{"s3:GetObject | arn:aws:s3:::b/a${*}b${?}${$}{c}"}},
		{"stacks", nil, []*call.Entry{
			entry("cloudformation", nil, false, "cloudformation:DescribeStacks arn:aws:cloudformation:eu-central-1:111111111111:stack/s/8f2c"),
			entry("cloudformation", nil, false, "cloudformation:CreateStack arn:aws:cloudformation:eu-central-1:111111111111:stack/s/*"),
		}, []string{"cloudformation:CreateStack,cloudformation:DescribeStacks | arn:aws:cloudformation:eu-central-1:111111111111:stack/s/*"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := lines(Generate(gather(t, tt.reach, tt.entries...), Options{}))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	r := gather(t, nil,
		entry("kms", []string{"s3.amazonaws.com"}, false, "^kms:Decrypt "+keyARN),
		entry("s3", nil, true, "-s3:GetObject arn:aws:s3:::b/1"),
		entry("s3", nil, true, "-s3:GetObject arn:aws:s3:::b/2"),
		entry("s3", nil, true, "-s3:GetObject arn:aws:s3:::b/2"),
		entry("s3", nil, false, "s3:GetObject arn:aws:s3:::b/1"),
	)
	if len(r.Elsewhere) != 1 || r.Elsewhere[0].By != "key" {
		t.Errorf("elsewhere: %+v", r.Elsewhere)
	}
	if len(r.Refused) != 1 || r.Refused[0].Resource != "arn:aws:s3:::b/2" || r.Refused[0].Times != 2 || r.Refused[0].By != "identity" {
		t.Errorf("refused: %+v", r.Refused)
	}
	if r.Calls != 5 || len(r.Uses) != 1 {
		t.Errorf("%d calls, uses %+v", r.Calls, r.Uses)
	}
}

// Whatever was used, the policy covers it, in any order of the calls, and is
// one that IAM takes; and what shares no folder with it is not covered.
func TestGeneratedPoliciesCoverTheirUses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringMatching(`[a-c*?$/{}]{1,6}`)
		var entries []*call.Entry
		for range rapid.IntRange(1, 12).Draw(rt, "n") {
			action := rapid.SampledFrom([]string{"s3:GetObject", "s3:PutObject"}).Draw(rt, "action")
			entries = append(entries, entry("s3", nil, false, action+" arn:aws:s3:::bucket/"+name.Draw(rt, "key")))
		}
		r := gather(t, nil, entries...)
		doc := Generate(r, Options{Exact: rapid.IntRange(0, 4).Draw(rt, "exact")})
		text := string(Writer{}.JSON(doc))
		parsed, err := policy.Parse(text, policy.Identity)
		if err != nil {
			rt.Fatalf("%v in %s", err, text)
		}
		g := grant{&policy.Set{Identity: []policy.Source{{Kind: policy.Identity, Doc: parsed}}}}
		for _, u := range r.Uses {
			if !g.covers(u) {
				rt.Fatalf("%s %s is not covered by %s", u.Action, u.Resource, text)
			}
		}
		for _, other := range []Use{{Action: "s3:DeleteObject", Resource: r.Uses[0].Resource}, {Action: "s3:GetObject", Resource: "arn:aws:s3:::other/a"}, {Action: "s3:GetObject", Resource: "arn:aws:s3:::bucket"}} {
			if g.covers(other) {
				rt.Fatalf("%s %s is covered by %s", other.Action, other.Resource, text)
			}
		}
		rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		if again := Generate(gather(t, nil, entries...), Options{Exact: 3}); cmp.Diff(lines(Generate(r, Options{Exact: 3})), lines(again)) != "" {
			rt.Fatalf("another order gives %v", lines(again))
		}
	})
}

func TestWriter(t *testing.T) {
	d := &Document{Version: language, Statement: []Statement{
		{Effect: "Allow", Action: List{"kms:Decrypt", "kms:Encrypt"}, Resource: List{keyARN},
			Condition: map[string]map[string]List{"StringEquals": {"kms:ViaService": {"s3.eu-central-1.amazonaws.com"}}}},
		{Effect: "Allow", Action: List{"s3:GetObject"}, Resource: List{"arn:aws:s3:::b-111111111111-eu-central-1/${*}/*", "arn:aws:s3:::c/<&>"}},
		{Effect: "Allow", Action: List{"codecommit:ListRepositories"}, Resource: List{"*"}},
	}}
	if got := Region(d); got != "eu-central-1" {
		t.Errorf("the region is %q", got)
	}
	in := Writer{Account: "111111111111", Region: "eu-central-1"}
	const yaml = `PolicyDocument:
  Version: "2012-10-17"
  Statement:
    - Effect: Allow
      Action:
        - kms:Decrypt
        - kms:Encrypt
      Resource: !Sub "arn:aws:kms:${AWS::Region}:${AWS::AccountId}:key/k"
      Condition:
        StringEquals:
          kms:ViaService: !Sub "s3.${AWS::Region}.amazonaws.com"
    - Effect: Allow
      Action: s3:GetObject
      Resource:
        - !Sub "arn:aws:s3:::b-${AWS::AccountId}-${AWS::Region}/${!*}/*"
        - "arn:aws:s3:::c/<&>"
    - Effect: Allow
      Action: codecommit:ListRepositories
      Resource: "*"
`
	if diff := cmp.Diff(yaml, string(in.YAML(d))); diff != "" {
		t.Errorf("YAML (-want +got):\n%s", diff)
	}
	const json = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "a:B",
      "Resource": {"Fn::Sub": "arn:aws:a:x:${AWS::AccountId}:b"}
    }
  ]
}
`
	one := &Document{Version: language, Statement: []Statement{{Effect: "Allow", Action: List{"a:B"}, Resource: List{"arn:aws:a:x:111111111111:b"}}}}
	if diff := cmp.Diff(json, string(Writer{Account: "111111111111"}.JSON(one))); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestSpare(t *testing.T) {
	const text = `{"Version":"2012-10-17","Statement":[
		{"Sid":"Read","Effect":"Allow","Action":["s3:Get*","s3:PutObject"],"Resource":["arn:aws:s3:::b/*","arn:aws:s3:::c/*"]},
		{"Effect":"Deny","Action":"*","Resource":"*"},
		{"Effect":"Allow","NotAction":"iam:*","Resource":"*"},
		{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}]}`
	doc, err := policy.Parse(text, policy.Identity)
	if err != nil {
		t.Fatal(err)
	}
	got := Spare([]policy.Source{{Name: "p", Doc: doc}}, []Use{{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}})
	want := []Unused{
		{Policy: "p", Sid: "Read", Actions: []string{"s3:PutObject"}, Resources: []string{"arn:aws:s3:::c/*"}},
		{Policy: "p", Statement: 3, Whole: true, Actions: []string{"kms:Decrypt"}, Resources: []string{"*"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkCollect(b *testing.B) {
	e := entry("s3", nil, false, "s3:GetObject arn:aws:s3:::b/p/Source/abc", "s3:GetObject arn:aws:s3:::b/q/abc")
	reach := []string{"arn:aws:s3:::x/*", "arn:aws:s3:::b/p/*"}
	c := NewCollector(roleARN)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Add(e, reach); err != nil {
			b.Fatal(err)
		}
	}
}
