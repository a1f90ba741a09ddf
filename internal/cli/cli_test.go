package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho"
	"github.com/sekisho/sekisho/internal/api/cloudtrail"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/client"
	"github.com/sekisho/sekisho/internal/explain"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/templates"
)

// run runs a command line, and returns what it printed.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := Command()
	var out bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

// mustRun is run for command lines that work.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, args...)
	if err != nil {
		t.Fatalf("sekisho %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// serving starts a server with one account, and returns its data directory.
func serving(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "it's data")
	server, err := sekisho.New(t.Context(), sekisho.Config{
		Data: data, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
		Accounts: []sekisho.Account{{Name: "repository", ID: "111111111111"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		server.Close()
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return data
}

func TestAccountCommands(t *testing.T) {
	data := serving(t)
	out := mustRun(t, "account", "create", "pipeline", "--id", "222222222222", "--data", data)
	if !strings.Contains(out, "account pipeline is 222222222222") || !strings.Contains(out, filepath.Join(data, "credentials")) {
		t.Error(out)
	}
	mustRun(t, "account", "create", "pipeline", "--data", data) // once more
	if got, want := mustRun(t, "account", "list", "--data", data), "222222222222  pipeline\n111111111111  repository\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for name, args := range map[string][]string{
		"is not an account id":           {"account", "create", "x", "--id", "12"},
		"has id 222222222222":            {"account", "create", "pipeline", "--id", "333333333333"},
		"is named pipeline":              {"account", "create", "other", "--id", "222222222222"},
		"cannot name an account":         {"account", "create", "a b"},
		"accepts 1 arg(s)":               {"account", "create"},
		"has no profile nobody":          {"env", "nobody"},
		"it has: pipeline, repository":   {"env", "nobody"},
		"no pipeline execution, request": {"explain", "8d3c1f80-0000-4000-8000-000000000000"},
	} {
		if out, err := run(t, append(args, "--data", data)...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v, want %s\n%s", args, err, name, out)
		}
	}
}

func TestNoServer(t *testing.T) {
	for _, args := range [][]string{{"account", "list"}, {"account", "create", "a"}, {"env", "a"}, {"explain", "a"}} {
		_, err := run(t, append(args, "--data", t.TempDir())...)
		if err == nil || !strings.Contains(err.Error(), "start one with sekisho serve") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// A server that died leaves its files behind.
func TestServerThatDied(t *testing.T) {
	data := serving(t)
	dead := t.TempDir()
	for file, text := range map[string]string{"endpoint": "https://127.0.0.1:1\n", "admin.token": "x\n"} {
		if err := os.WriteFile(filepath.Join(dead, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run(t, "account", "list", "--data", dead); err == nil || !strings.Contains(err.Error(), "ca.pem") {
		t.Errorf("without ca.pem: %v", err)
	}
	ca, err := os.ReadFile(filepath.Join(data, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"nonsense": "holds no certificate", string(ca): "does not answer"} {
		if err := os.WriteFile(filepath.Join(dead, "ca.pem"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, "account", "list", "--data", dead); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// What env prints is for a shell, whatever the directory is named.
func TestEnv(t *testing.T) {
	data := serving(t)
	lines := mustRun(t, "env", "repository", "--region", "eu-central-1", "--data", data)
	shell := exec.CommandContext(t.Context(), "sh", "-c", lines+`
		printf '%s\n' "$AWS_REGION" "$AWS_DEFAULT_REGION" "$AWS_CA_BUNDLE" "$GIT_SSL_CAINFO" "$AWS_SHARED_CREDENTIALS_FILE" "[$AWS_SESSION_TOKEN$AWS_PROFILE]" "$GIT_CONFIG_VALUE_1"
		test -r "$AWS_CA_BUNDLE" && grep -q "$AWS_SECRET_ACCESS_KEY" "$AWS_SHARED_CREDENTIALS_FILE" && echo readable`)
	shell.Env = []string{"PATH=" + os.Getenv("PATH"), "AWS_SESSION_TOKEN=old", "AWS_PROFILE=old"}
	got, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	ca := filepath.Join(data, "ca.pem")
	want := strings.Join([]string{"eu-central-1", "eu-central-1", ca, ca, filepath.Join(data, "credentials"), "[]", credentialHelper, "readable", ""}, "\n")
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestExplain asks for the story of one request, by the id that the history
// of calls has for it.
func TestExplain(t *testing.T) {
	data := serving(t)
	a, err := connect(data)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := readProfile(a.credentialsFile(), "repository")
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(a.endpoint, "us-east-1", client.Credentials{AccessKeyID: keys.keyID, Secret: seal.NewSecret([]byte(keys.secret))}, a.pool)
	if _, err := (iam.Client{Invoker: c}).CreateUser(t.Context(), &iam.CreateUserInput{UserName: "alice"}); err != nil {
		t.Fatal(err)
	}
	history, err := cloudtrail.Client{Invoker: c}.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{
		LookupAttributes: []cloudtrail.LookupAttribute{{AttributeKey: "EventName", AttributeValue: "CreateUser"}},
	})
	if err != nil || len(history.Events) != 1 {
		t.Fatalf("%+v, %v", history, err)
	}
	var event struct{ RequestID string }
	if err := json.Unmarshal([]byte(history.Events[0].CloudTrailEvent), &event); err != nil || event.RequestID == "" {
		t.Fatal(history.Events[0].CloudTrailEvent, err)
	}
	told := mustRun(t, "explain", event.RequestID, "--data", data)
	for _, want := range []string{"root", "iam:CreateUser", "user alice"} {
		if !strings.Contains(told, want) {
			t.Errorf("the story does not mention %s:\n%s", want, told)
		}
	}
	var story explain.Story
	if err := json.Unmarshal([]byte(mustRun(t, "explain", event.RequestID, "--json", "--data", data)), &story); err != nil || len(story.Steps) != 1 {
		t.Errorf("%+v, %v", story, err)
	}
}

// TestClient: the command line's client is a client like any other.
func TestClient(t *testing.T) {
	data := serving(t)
	a, err := connect(data)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := readProfile(a.credentialsFile(), "repository")
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(a.endpoint+"/", "us-east-1", client.Credentials{AccessKeyID: keys.keyID, Secret: seal.NewSecret([]byte(keys.secret))}, a.pool)
	who, err := sts.Client{Invoker: c}.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || who.Arn != "arn:aws:iam::111111111111:root" {
		t.Fatalf("%+v, %v", who, err)
	}
	user, err := iam.Client{Invoker: c}.CreateUser(t.Context(), &iam.CreateUserInput{UserName: "alice"})
	if err != nil || user.User.UserName != "alice" {
		t.Fatalf("%+v, %v", user, err)
	}
	wrong := client.New(a.endpoint, "us-east-1", client.Credentials{AccessKeyID: keys.keyID, Secret: seal.NewSecret([]byte("x"))}, a.pool)
	if _, err := (sts.Client{Invoker: wrong}).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("a wrong secret: %v", err)
	}
	strange := client.New(a.endpoint, "us-east-1", client.Credentials{AccessKeyID: keys.keyID}, nil)
	if _, err := (sts.Client{Invoker: strange}).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority: %v", err)
	}
}

func TestReadProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	const text = "# a comment\n[one]\naws_access_key_id = A\naws_secret_access_key = s=cret\n\n[two]\n[three]\naws_access_key_id=B\n aws_secret_access_key=t\nregion = x\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]profile{"one": {"A", "s=cret"}, "three": {"B", "t"}} {
		if got, err := readProfile(file, name); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{"two", "four", ""} {
		if got, err := readProfile(file, name); err == nil || !strings.Contains(err.Error(), "it has: one, two, three") {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
	if _, err := readProfile(file+"x", "one"); err == nil {
		t.Error("read a file that is not there")
	}
}

func TestShellQuote(t *testing.T) {
	for _, text := range []string{"", "a b", "it's", `$HOME "x" \ ` + "`ls`", "a\nb", "''"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+shellQuote(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q comes back as %q, %v", text, out, err)
		}
	}
}

func TestParseEnvironment(t *testing.T) {
	account := templates.Account{ID: "222222222222", Profile: "p"}
	for text, want := range map[string]templates.Environment{
		"222222222222=p":                 {Account: account},
		"222222222222=p@develop":         {Account: account, Branch: "develop"},
		"dev:222222222222=p":             {Account: account, Name: "dev"},
		"dev:222222222222=p@feature/a@b": {Account: account, Name: "dev", Branch: "feature/a@b"},
	} {
		if got, err := parseEnvironment(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "222222222222", "dev:222222222222@main"} {
		if got, err := parseEnvironment(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	out := mustRun(t, "init", dir, "--project", "shop", "--region", "eu-central-1",
		"--repository", "333333333333=code", "--pipeline", "dev:444444444444=dev@develop", "--pipeline", "prod:555555555555=prod")
	if !strings.Contains(out, dir) {
		t.Error(out)
	}
	script, err := os.ReadFile(filepath.Join(dir, "deploy.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"333333333333", "444444444444", "555555555555", "shop-dev", "shop-prod", "develop", "eu-central-1"} {
		if !strings.Contains(string(script), want) {
			t.Errorf("deploy.sh does not mention %s", want)
		}
	}
	for _, file := range []string{templates.Foundation, templates.Repository, templates.Connection, templates.Pipeline, "README.md"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
	for want, args := range map[string][]string{
		"want ID=PROFILE":      {"--repository", "333333333333"},
		"twelve digits":        {"--repository", "3=p"},
		"it looks like":        {"--region", "nowhere"},
		"V1 or V2":             {"--pipeline-type", "V3"},
		"is given twice":       {"--pipeline", "222222222222=a", "--pipeline", "333333333333=b"},
		"lower-case letters":   {"--project", "Shop"},
		"want ID=PROFILE ":     {"--pipeline", "x"},
		"not the name of":      {"--pipeline", "222222222222=a@a b"},
		"unknown flag: --nope": {"--nope"},
	} {
		fresh := filepath.Join(t.TempDir(), "out")
		if _, err := run(t, append([]string{"init", fresh}, args...)...); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
		if _, err := os.Stat(fresh); err == nil {
			t.Errorf("%v: something was written", args)
		}
	}
}

func TestWithout(t *testing.T) {
	const policy = `{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow"},{"Sid":"B","Effect":"Deny"},{"Effect":"Allow"}]}`
	got, err := without(policy, "A")
	if err != nil {
		t.Fatal(err)
	}
	var doc, want any
	if err := json.Unmarshal([]byte(got), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"Version":"2012-10-17","Statement":[{"Sid":"B","Effect":"Deny"},{"Effect":"Allow"}]}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{policy, "", "{}", `{"Statement":[1]}`, `{"Statement":{"Sid":"C"}}`} {
		if got, err := without(bad, "C"); err == nil {
			t.Errorf("without C, %q is %q", bad, got)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"twelve digits": {"--account", "a=1"},
		"cannot name":   {"--account", "=111111111111"},
		"--listen":      {"--listen", "300.0.0.1:1"},
	} {
		if _, err := run(t, append([]string{"serve", "--data", t.TempDir()}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}

// serve prints one line when it is ready, and ends with its context.
func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := Command()
	out := &lines{ready: cancel}
	c.SetArgs([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--account", "a=111111111111", "--account", "a=111111111111"})
	c.SetOut(out)
	c.SetErr(new(bytes.Buffer))
	if err := c.ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "ready at https://127.0.0.1:") || !strings.HasSuffix(text, "accounts: a=111111111111\n") {
		t.Errorf("%q", text)
	}
}

// lines calls ready when something was printed.
type lines struct {
	bytes.Buffer
	ready func()
}

func (l *lines) Write(p []byte) (int, error) {
	defer l.ready()
	return l.Buffer.Write(p)
}
