package policylint

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/policy"
)

var update = flag.Bool("update", false, "rewrite the findings in testdata")

// report is the findings of a text, two lines each.
func report(text string, kind policy.Kind) (string, error) {
	found, err := Lint(text, kind)
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%d:%d %s %s", f.Line, f.Column, f.Severity, f.Code)
		if f.Policy != "" {
			fmt.Fprintf(&b, " (%s)", f.Policy)
		}
		fmt.Fprintf(&b, " in statement %d\n  %s\n", f.Statement, f.Message)
	}
	return b.String(), err
}

// Each file of testdata has its findings beside it.
func TestFindings(t *testing.T) {
	for _, pattern := range []string{"*.json", "*.yaml"} {
		files, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, name := range files {
			t.Run(filepath.Base(name), func(t *testing.T) {
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				got, err := report(string(text), 0)
				if err != nil {
					t.Fatal(err)
				}
				if *update {
					if err := os.WriteFile(name+".want", []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(name + ".want")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// The shipped templates have nothing to be ashamed of.
func TestShippedTemplates(t *testing.T) {
	files, err := filepath.Glob("../../templates/cross-account/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := report(string(text), 0); err != nil || got != "" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestUnreadable(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'j'; i++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", i-1), 10), ","))
	}
	for text, want := range map[string]string{
		"":                       "empty",
		"{":                      "line 1, column 2: it is not JSON",
		"{\"a\":\n 1,}":          "line 2, column 4: it is not JSON",
		`{"a": 1} x`:             "column 10: it is not JSON",
		"a: [":                   "not YAML",
		"a: 1":                   "neither a policy",
		`{"Resources": []}`:      "neither a policy",
		"a: 1\n---\nb: 2":        "more than one",
		"\xff":                   "UTF-8",
		deep:                     "too deeply",
		bomb:                     "too many",
		"a: &a [*a]":             "",
		strings.Repeat(" ", 2e6): "longer",
	} {
		if _, err := Lint(text, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
}

func TestKinds(t *testing.T) {
	for text, want := range map[string]policy.Kind{
		`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`:                                   policy.Identity,
		`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`:                        policy.Trust,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}]}`:                policy.Key,
		`{"Statement":{"Effect":"Allow","Principal":"*","Action":["kms:*","s3:GetObject"],"Resource":"*"}}`: policy.Resource,
		`{"Statement":[]}`: policy.Identity,
	} {
		root, err := read(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := infer(root); got != want {
			t.Errorf("%s is of kind %s", text, got)
		}
	}
	if got, _ := report(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`, policy.Identity); !strings.Contains(got, "should not specify a principal") {
		t.Errorf("as an identity policy: %s", got)
	}
	if got, _ := report(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, policy.SCP); got != "" {
		t.Errorf("as a service control policy: %s", got)
	}
}

func TestLongPolicies(t *testing.T) {
	long := func(n int) string {
		return `{"Version":"2012-10-17","Statement":{"Sid":"` + strings.Repeat("a", n) + `","Effect":"Allow","Action":"codecommit:GetBranch","Resource":"arn:aws:codecommit:us-east-1:111111111111:r"}}`
	}
	for n, want := range map[int]string{5900: "", 6200: "info TooLong", 10300: "error TooLong", 900_000: "AWS takes 32768 of no policy"} {
		if got, err := report(long(n), 0); err != nil || !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%d: %s %v", n, got, err)
		}
	}
	managed := `{"Resources":{"P":{"Type":"AWS::IAM::ManagedPolicy","Properties":{"PolicyDocument":` + long(6200) + `}}}}`
	if got, _ := report(managed, 0); !strings.Contains(got, "error TooLong (P.PolicyDocument)") {
		t.Errorf("managed: %s", got)
	}
}

// Fn::Sub can double what another one made.
func TestLaughs(t *testing.T) {
	value := `"x"`
	for range 25 {
		value = `{"Fn::Sub":["${a}${a}",{"a":` + value + `}]}`
	}
	text := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"codecommit:GetBranch","Resource":` + value + `}}`
	if got, err := report(text, 0); err != nil || got != "" {
		t.Errorf("%s %v", got, err)
	}
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		pattern, other string
		want           bool
	}{
		{"*", "anything*", true}, {"a*", "ab*c", true}, {"a*c", "ab*", false}, {"a?c", "abc", true}, {"a?c", "a?c", true},
		{"a?c", "a*c", false}, {"abc", "a?c", false}, {"", "", true}, {"*", "", true}, {"a", "", false}, {"a**", "a", true}, {"*b*", "abc", true},
	} {
		if got := covers(tt.pattern, tt.other); got != tt.want {
			t.Errorf("covers(%q, %q) = %v", tt.pattern, tt.other, got)
		}
	}
}

// Whatever a file holds, it is read or refused; and every finding stands in it.
func FuzzLint(f *testing.F) {
	for _, pattern := range []string{"testdata/*.json", "testdata/*.yaml", "../../templates/cross-account/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text), byte(0))
		}
	}
	f.Add("Resources: {R: {Type: AWS::IAM::Role, Properties: {Policies: !If [a, [{PolicyDocument: {Statement: !If [a, b]}}], c]}}}", byte(3))
	f.Fuzz(func(t *testing.T, text string, kind byte) {
		found, err := Lint(text, policy.Kind(kind%9))
		if err != nil {
			return
		}
		lines := strings.Count(text, "\n") + 1
		for _, f := range found {
			if f.Line < 1 || f.Line > lines || f.Column < 1 || f.Message == "" || f.Severity.rank() < 0 {
				t.Errorf("%+v in %q", f, text)
			}
		}
	})
}
