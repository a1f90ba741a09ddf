package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/explain"
)

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"short", 10, "short"},
		{"between two words", 10, "between\ntwo words"},
		{"ends at it exactly", 7, "ends at\nit\nexactly"},
		{"and statement \"RepositoryAccountReads\" of", 24, "and statement\n\"RepositoryAccountReads\"\nof"},
		{"role demo-connection-ForwardingRole-47QYBN", 20, "role demo-\nconnection-\nForwardingRole-\n47QYBN"},
		{"s3://bucket/with/key", 12, "s3://bucket/\nwith/key"},
		{"ÄÖÜäöüßÄÖÜ", 4, "ÄÖÜä\nöüßÄ\nÖÜ"},
		{"two\nlines", 5, "two\nlines"},
		{"", 5, ""},
	} {
		if got := fold(tt.text, tt.width); got != tt.want {
			t.Errorf("fold(%q, %d) = %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("role demo-connection-ForwardingRole of repository\nvia s3", 9)
	f.Add("   ", 1)
	f.Fuzz(func(t *testing.T, text string, width int) {
		if width < 1 || width > 1000 {
			return
		}
		for line := range strings.SplitSeq(fold(text, width), "\n") {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("a line has %d characters, %d are allowed: %q", n, width, line)
			}
		}
	})
}

// deploying is a step of a deploy action.
func deploying(file, outcome string) explain.Step {
	return explain.Step{
		Time: time.Unix(1, 0), Who: explain.Who{Name: "shop-pipeline", Role: true, Account: "222222222222", AccountName: "pipeline"},
		Did: "s3:PutObject", Outcome: outcome,
		Asked: []explain.Question{{
			Action: "s3:PutObject", What: "s3://delivered/release/" + file, Outcome: explain.Allowed,
			Because: []string{`statement "Deliver" of policy pipeline on role shop-pipeline (pipeline)`},
		}},
	}
}

func TestStoryJoinsStepsThatAreAlike(t *testing.T) {
	s := &explain.Story{}
	for i := range 10 {
		s.Steps = append(s.Steps, deploying(fmt.Sprintf("%d.html", i), explain.Allowed))
	}
	var b strings.Builder
	writeStory(&b, s)
	got := b.String()
	for _, want := range []string{"role shop-pipeline of pipeline", "s3://delivered/release/0.html", "s3://delivered/release/2.html", "and 7 more"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is there %d times", want, strings.Count(got, want))
		}
	}
	if strings.Contains(got, "release/3.html") || strings.Contains(got, "\x1b") {
		t.Errorf("too much is shown:\n%s", got)
	}
}

func TestTrouble(t *testing.T) {
	refused := deploying("index.html", explain.Refused)
	refused.Asked[0].Outcome, refused.Asked[0].Because, refused.Asked[0].Silent = explain.Refused, nil, []string{"identity"}
	refused.Error = "AccessDenied: Access Denied"
	inner := deploying("x", explain.Failed)
	inner.Did, inner.Error, inner.Advice = "kms:Decrypt", "DisabledException: key is disabled.", "enable the key: kms:EnableKey"
	outer := deploying("x", explain.Failed)
	outer.Did, outer.Error = "s3:GetObject", "KMS.DisabledException: key is disabled."
	s := &explain.Story{
		ID:         "x",
		Steps:      []explain.Step{refused, outer, inner},
		Deliveries: []explain.Delivery{{Event: "CodeCommit Repository State Change", From: "rule r (repository)", To: "bus default (pipeline)", State: "FAILED", Error: "AccessDeniedException: no"}},
		Repair: []explain.Fix{
			{Where: "a policy on role shop-pipeline (pipeline)", Add: []byte(`{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::delivered/release/*"}`)},
			{Narrow: `statement "No" of the bucket policy of bucket delivered`},
			{Where: "the key policy of key k (repository)", Advice: "AWS manages it"},
		},
	}
	var b strings.Builder
	writeTrouble(&b, s)
	want := `refused: role shop-pipeline of pipeline may not s3:PutObject on s3://delivered/release/index.html
  AccessDenied: Access Denied
failed: kms:Decrypt by role shop-pipeline of pipeline
  DisabledException: key is disabled.
  to repair it, enable the key: kms:EnableKey
not delivered: CodeCommit Repository State Change, by rule r (repository) to bus default (pipeline)
  AccessDeniedException: no
to repair it, add to a policy on role shop-pipeline (pipeline):
    {
      "Effect": "Allow",
      "Action": "s3:PutObject",
      "Resource": "arn:aws:s3:::delivered/release/*"
    }
to repair it, narrow or remove statement "No" of the bucket policy of bucket delivered
no statement helps in the key policy of key k (repository): AWS manages it
to put that in place: sekisho explain x --apply
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
