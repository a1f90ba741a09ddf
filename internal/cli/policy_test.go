package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/leastprivilege"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90m": now.Add(-90 * time.Minute), "7d": now.Add(-7 * 24 * time.Hour), "1.5d": now.Add(-36 * time.Hour),
		"2026-01-31T12:00:00Z": time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), "2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
	} {
		if got, err := moment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("moment(%s) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"soon", "-1h", "d", "2026-13-01", "1hd"} {
		if got, err := moment(text, now); err == nil {
			t.Errorf("moment(%s) = %v", text, got)
		}
	}
}

func TestGenerateIsAskedWrongly(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "role user"},
		{[]string{"--role", "shop-source"}, "not the ARN of a role"},
		{[]string{"--role", "arn:aws:iam::111111111111:user/a"}, "not the ARN of a role"},
		{[]string{"--user", "arn:aws:sts::111111111111:assumed-role/a/b"}, "not the ARN of a user"},
		{[]string{"--role", "arn:aws:iam::111111111111:role/a", "--since", "soon"}, "--since"},
		{[]string{"--role", "arn:aws:iam::111111111111:role/a", "--exact", "0"}, "--exact"},
		{[]string{"--role", "arn:aws:iam::111111111111:role/a", "--data", t.TempDir()}, "no server runs"},
	} {
		if out, err := run(t, append([]string{"policy", "generate"}, tt.args...)...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v %s", tt.args, err, out)
		}
	}
}

func TestGenerateSaysWhatIsLong(t *testing.T) {
	r := &leastprivilege.Record{Principal: "arn:aws:iam::111111111111:role/a"}
	for range 120 {
		r.Uses = append(r.Uses, leastprivilege.Use{Action: "codecommit:GetCommit", Resource: "arn:aws:codecommit:eu-central-1:111111111111:" + strings.Repeat("r", 20+len(r.Uses))})
	}
	for _, tt := range []struct {
		g    generation
		want []string
	}{
		{generation{}, []string{"managed policy may have (6144)", "of a role together may have (10240)"}},
		{generation{user: "arn:aws:iam::111111111111:user/a"}, []string{"of a user together may have (2048)"}},
	} {
		var out, notes strings.Builder
		if err := tt.g.write(&out, &notes, r); err != nil {
			t.Fatal(err)
		}
		for _, w := range tt.want {
			if !strings.Contains(notes.String(), w) {
				t.Errorf("the notes lack %q:\n%s", w, notes.String())
			}
		}
	}
	if err := (&generation{}).write(&strings.Builder{}, &strings.Builder{}, &leastprivilege.Record{}); err == nil {
		t.Error("a policy of nothing is written")
	}
}

func TestLint(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	clean := file("clean.json", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}`)
	broad := file("broad.json", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}}`)
	known := file("known.json", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}}`)
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{clean}, 0, ""},
		{[]string{clean, broad}, 1, broad + ":1:64: warning: It allows every action of s3. [AllActions]\n    list the actions"},
		{[]string{broad, "--fail-on", "error"}, 0, "AllActions"},
		{[]string{known}, 0, "info: kms:Decrypt takes a key"},
		{[]string{known, "--fail-on", "info"}, 1, "EveryResource"},
		{[]string{broad, "--json"}, 1, `"File": "` + broad + `",`},
		{[]string{clean, "--json"}, 0, "[]"},
		{[]string{clean, "--kind", "trust"}, 1, "may only specify STS"},
		{[]string{clean, "--kind", "law"}, 2, ""},
		{[]string{clean, "--fail-on", "all"}, 2, ""},
		{[]string{broad, filepath.Join(dir, "none.json")}, 2, "AllActions"},
		{[]string{file("no.json", "{")}, 2, ""},
		{[]string{dir}, 2, ""},
	} {
		out, err := run(t, append([]string{"policy", "lint"}, tt.args...)...)
		status := 0
		if err != nil {
			status = Status(err)
		}
		if status != tt.status || !strings.Contains(out, tt.want) {
			t.Errorf("%v: status %d, want %d (%v)\n%s", tt.args, status, tt.status, err, out)
		}
	}
}
