package sekisho

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const one, two = "111111111111", "222222222222"

var accounts = []Account{{"repository", one}, {"pipeline", two}}

// config is a server's of a test, on a data directory.
func config(data string, a ...Account) Config {
	return Config{Data: data, Listen: "127.0.0.1:0", Accounts: a, Log: slog.New(slog.DiscardHandler)}
}

// running starts a server; stop ends it, and fails when it ends badly.
func running(t *testing.T, c Config) (s *Server, stop func()) {
	t.Helper()
	s, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

func read(t *testing.T, data, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDataDirectory(t *testing.T) {
	data := filepath.Join(t.TempDir(), "deep", "data")
	s, stop := running(t, config(data, accounts...))
	for file, want := range map[string]os.FileMode{
		".": 0o700, credentialsFile: 0o600, adminFile: 0o600, masterFile: 0o600, "ca.key.sealed": 0o600, "ca.pem": 0o644,
	} {
		info, err := os.Stat(filepath.Join(data, file))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", file, got, want)
		}
	}
	if got := strings.TrimSpace(read(t, data, endpointFile)); got != s.URL() {
		t.Errorf("endpoint %s, want %s", got, s.URL())
	}
	form := regexp.MustCompile(`^(\[(repository|pipeline)\]\naws_access_key_id = AKIA[A-Z0-9]{16}\naws_secret_access_key = \S{40}\n\n){2}$`)
	if got := read(t, data, credentialsFile); !form.MatchString(got) {
		t.Error("the credentials file has another form")
	}
	stop()
	if _, err := os.Stat(filepath.Join(data, endpointFile)); !os.IsNotExist(err) {
		t.Errorf("after the end the endpoint is still announced: %v", err)
	}
}

func TestRestartOnTheSameData(t *testing.T) {
	data := t.TempDir()
	s, stop := running(t, config(data, accounts...))
	before, err := s.Accounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	credentials, ca, token, home := read(t, data, credentialsFile), read(t, data, "ca.pem"), read(t, data, adminFile), read(t, data, homeFile)
	stop()
	s, _ = running(t, config(data, append(accounts, accounts[0], Account{Name: "pipeline"})...))
	after, err := s.Accounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != 2 || len(after) != 2 || before[0] != after[0] || before[1] != after[1] {
		t.Errorf("before %v, after %v", before, after)
	}
	if read(t, data, credentialsFile) != credentials || read(t, data, "ca.pem") != ca || read(t, data, homeFile) != home {
		t.Error("credentials, authority or home changed")
	}
	if read(t, data, adminFile) == token {
		t.Error("the operator's token outlived its server")
	}
}

func TestAccountsThatCannotBe(t *testing.T) {
	data := t.TempDir()
	_, stop := running(t, config(data, accounts...))
	stop()
	for name, tt := range map[string]struct {
		account Account
		want    string
	}{
		"a name with another id":  {Account{"repository", "333333333333"}, "account repository has id 111111111111, not 333333333333"},
		"an id with another name": {Account{"other", one}, "account 111111111111 is named repository, not other"},
		"no id":                   {Account{"new", "1234"}, "twelve digits"},
		"no name":                 {Account{"", "333333333333"}, "cannot name an account"},
		"a name of two lines":     {Account{"a\n[b]", "333333333333"}, "cannot name an account"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(t.Context(), config(data, tt.account))
			if err == nil {
				s.Close()
				t.Fatal("made")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	s, err := New(t.Context(), config(data)) // a start that was refused has let go of everything
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if list, err := s.Accounts(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestStartsThatAreRefused(t *testing.T) {
	data := t.TempDir()
	s, err := New(t.Context(), config(data))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), config(data)); err == nil || !strings.Contains(err.Error(), "in use by another sekisho") {
		t.Errorf("a second server on the same data: %v", err)
	}
	taken := config(t.TempDir())
	taken.Listen = s.listener.Addr().String()
	if _, err := New(t.Context(), taken); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), config(filepath.Join(file, "data"))); err == nil || !strings.Contains(err.Error(), "data directory") {
		t.Errorf("no directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(data, masterFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), config(data)); err == nil || !strings.Contains(err.Error(), masterFile) {
		t.Errorf("a broken master key: %v", err)
	}
	if err := os.Remove(filepath.Join(data, masterFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), config(data)); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("another master key: %v", err)
	}
	bad := config(t.TempDir())
	bad.Database = "postgres://127.0.0.1:1/none?connect_timeout=1"
	if _, err := New(t.Context(), bad); err == nil {
		t.Error("started without its database")
	}
}

// A server that never ran is closed as well.
func TestCloseWithoutRun(t *testing.T) {
	s, err := New(t.Context(), config(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// operator asks the operator's interface of a running server.
func operator(t *testing.T, s *Server, method, path, token, body string) (int, string) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read(t, s.config.Data, "ca.pem")))
	url := s.URL()
	if plain, ok := strings.CutPrefix(path, "plain:"); ok {
		path, url = plain, strings.Replace(url, "https", "http", 1)
	}
	r, err := http.NewRequest(method, url+"/_sekisho/admin/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestOperatorsInterface(t *testing.T) {
	data := t.TempDir()
	s, _ := running(t, config(data, accounts...))
	token := "Bearer " + strings.TrimSpace(read(t, data, adminFile))
	for _, tt := range []struct {
		name, method, path, token, body string
		status                          int
		want                            string
	}{
		{"no token", "GET", "accounts", "", "", 403, "operator's interface"},
		{"a wrong token", "GET", "accounts", token + "0", "", 403, ""},
		{"another scheme", "GET", "accounts", strings.Replace(token, "Bearer", "Basic", 1), "", 403, ""},
		{"an empty token", "GET", "accounts", "Bearer ", "", 403, ""},
		{"in clear", "GET", "plain:accounts", token, "", 403, "TLS"},
		{"list", "GET", "accounts", token, "", 200, `[{"Name":"pipeline","ID":"222222222222"},{"Name":"repository","ID":"111111111111"}]`},
		{"create", "POST", "accounts", token, `{"Name":"third","ID":"333333333333"}`, 200, `{"Name":"third","ID":"333333333333"}`},
		{"create again", "POST", "accounts", token, `{"Name":"third"}`, 200, `{"Name":"third","ID":"333333333333"}`},
		{"create with another id", "POST", "accounts", token, `{"Name":"third","ID":"444444444444"}`, 400, "account third has id 333333333333"},
		{"create nothing", "POST", "accounts", token, `{}`, 400, "cannot name an account"},
		{"create a bad name", "POST", "accounts", token, `{"Name":"a]\n[b"}`, 400, "cannot name an account"},
		{"create a bad id", "POST", "accounts", token, `{"Name":"a","ID":"1"}`, 400, "twelve digits"},
		{"broken JSON", "POST", "accounts", token, `{`, 400, "JSON"},
		{"too long", "POST", "accounts", token, `{"Name":"` + strings.Repeat("a", 1<<17) + `"}`, 400, ""},
		{"another method", "DELETE", "accounts", token, "", 405, ""},
		{"another path", "GET", "secrets", token, "", 404, ""},
		{"explain nothing", "GET", "explain/00000000-0000-0000-0000-000000000000", token, "", 404, "no pipeline execution"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, text := operator(t, s, tt.method, tt.path, tt.token, tt.body)
			if status != tt.status || !strings.Contains(text, tt.want) {
				t.Errorf("%d %s\nwant %d %s", status, text, tt.status, tt.want)
			}
			if tt.status == 200 && !json.Valid([]byte(text)) {
				t.Errorf("no JSON: %s", text)
			}
		})
	}
	if got := read(t, data, credentialsFile); !strings.Contains(got, "[third]\n") || strings.Count(got, "[") != 3 {
		t.Error("the credentials file has other profiles")
	}
}

// Accounts that are made side by side all stand in the credentials file.
func TestAccountsSideBySide(t *testing.T) {
	data := t.TempDir()
	s, _ := running(t, config(data))
	var g sync.WaitGroup
	for _, name := range strings.Split("abcdefghij", "") {
		g.Go(func() {
			if _, err := s.CreateAccount(t.Context(), Account{Name: name}); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if got := strings.Count(read(t, data, credentialsFile), "aws_access_key_id"); got != 10 {
		t.Errorf("%d profiles", got)
	}
}

// No secret stands in a log, and none in the database in clear.
func TestSecretsAreSealed(t *testing.T) {
	data := t.TempDir()
	var log bytes.Buffer
	c := config(data, accounts...)
	c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	_, stop := running(t, c)
	stop()
	for _, m := range regexp.MustCompile(`aws_secret_access_key = (\S+)`).FindAllStringSubmatch(read(t, data, credentialsFile), -1) {
		if strings.Contains(log.String(), m[1]) {
			t.Error("a secret stands in the log")
		}
		files, err := filepath.Glob(filepath.Join(data, databaseFile+"*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			if text := read(t, "", f); strings.Contains(text, m[1]) {
				t.Errorf("a secret lies open in %s", f)
			}
		}
	}
}

func TestParseAccount(t *testing.T) {
	for text, want := range map[string]Account{
		"a=111111111111": {"a", one}, "a": {Name: "a"}, "my-account_2.x=222222222222": {"my-account_2.x", two},
	} {
		if got, err := ParseAccount(text); err != nil || got != want {
			t.Errorf("ParseAccount(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "=", "=111111111111", "a=", "a=1", "a=b=c", "a b=111111111111", "[a]=111111111111", "a\n=111111111111", "a=1111111111111"} {
		if got, err := ParseAccount(text); err == nil {
			t.Errorf("ParseAccount(%q) = %+v", text, got)
		}
	}
}

func TestDefaultData(t *testing.T) {
	for _, tt := range []struct{ own, xdg, home, want string }{
		{"/d", "/x", "/h", "/d"},
		{"", "/x", "/h", "/x/sekisho"},
		{"", "", "/h", "/h/.local/share/sekisho"},
		{"", "", "", ""},
	} {
		t.Setenv("SEKISHO_DATA", tt.own)
		t.Setenv("XDG_DATA_HOME", tt.xdg)
		t.Setenv("HOME", tt.home)
		got, err := DefaultData()
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
}
