package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/sekisho/sekisho/internal/sigv4"
)

// repository makes a repository and returns its clone URL, in the region
// given or in the usual one.
func repository(t *testing.T, a *account, name, in string) string {
	t.Helper()
	out, err := a.codecommit.CreateRepository(t.Context(), &codecommit.CreateRepositoryInput{RepositoryName: &name},
		func(o *codecommit.Options) { o.Region = in })
	if err != nil {
		t.Fatal(err)
	}
	return *out.RepositoryMetadata.CloneUrlHttp
}

// gitUser makes an IAM user with git credentials and returns a function that
// puts them into a URL.
func gitUser(t *testing.T, a *account, name, statements string) func(url string) string {
	t.Helper()
	user(t, a, name, statements)
	out, err := a.iam.CreateServiceSpecificCredential(t.Context(), &iam.CreateServiceSpecificCredentialInput{
		UserName: &name, ServiceName: new("codecommit.amazonaws.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := out.ServiceSpecificCredential
	return func(u string) string { return login(t, u, *c.ServiceUserName, *c.ServicePassword) }
}

// login puts user name and password into a URL.
func login(t *testing.T, text, name, password string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return u.String()
}

// work is a git work tree of a test.
type work struct {
	t   *testing.T
	dir string
	env []string
}

// newWork makes an empty work tree on branch main. git trusts the server's
// authority, and asks nobody for credentials.
func (s *server) newWork(t *testing.T) *work {
	t.Helper()
	w := &work{t: t, dir: t.TempDir(), env: s.gitEnvironment(t)}
	w.git("init", "-q", "-b", "main")
	return w
}

func (s *server) gitEnvironment(t *testing.T) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_SSL_CAINFO=" + filepath.Join(s.dir, "ca.pem"),
		"GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@example.com",
		"GIT_COMMITTER_NAME=Alice", "GIT_COMMITTER_EMAIL=alice@example.com",
	}
}

func (w *work) git(args ...string) string {
	w.t.Helper()
	return strings.TrimSpace(sh(w.t, w.dir, w.env, "git", args...))
}

func (w *work) try(args ...string) (string, error) { return try(w.dir, w.env, "git", args...) }

// fails runs git, which must fail and say these words.
func (w *work) fails(words string, args ...string) {
	w.t.Helper()
	out, err := w.try(args...)
	if err == nil || !strings.Contains(out, words) {
		w.t.Errorf("git %s: %v, want failure with %q:\n%s", args[0], err, words, out)
	}
}

// commit writes a file and commits it.
func (w *work) commit(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "write "+name)
	return w.git("rev-parse", "HEAD")
}

const mayGit = `{"Effect":"Allow","Action":["codecommit:GitPull","codecommit:GitPush"],"Resource":"*"}`

// TestGit does what people do with git, with static credentials.
func TestGit(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("repository")
	as := gitUser(t, a, "alice", mayGit)
	origin := as(repository(t, a, "app", region))
	w := s.newWork(t)

	if out := w.git("ls-remote", origin); out != "" {
		t.Errorf("ls-remote of an empty repository: %q", out)
	}
	first := w.commit("README.md", "hello\n")
	w.git("push", "-q", origin, "main")
	branch, err := a.codecommit.GetBranch(t.Context(), &codecommit.GetBranchInput{RepositoryName: new("app"), BranchName: new("main")})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "GetBranch", *branch.Branch.CommitId, first)

	copied := filepath.Join(t.TempDir(), "copy")
	w.git("clone", "-q", origin, copied)
	if b, _ := os.ReadFile(filepath.Join(copied, "README.md")); string(b) != "hello\n" {
		t.Errorf("cloned file: %q", b)
	}

	w.git("switch", "-q", "-c", "topic")
	topic := w.commit("src/main.go", "package main\n")
	w.git("tag", "light")
	w.git("tag", "-a", "-m", "noted", "v1")
	w.git("push", "-q", origin, "topic", "--tags")
	refs := w.git("ls-remote", origin)
	for _, ref := range []string{first + "\tHEAD", first + "\trefs/heads/main", topic + "\trefs/heads/topic", topic + "\trefs/tags/light", topic + "\trefs/tags/v1^{}"} {
		if !strings.Contains(refs, ref) {
			t.Errorf("ls-remote lacks %q:\n%s", ref, refs)
		}
	}
	sh(t, copied, w.env, "git", "fetch", "-q", "--tags")
	equal(t, "fetched", strings.TrimSpace(sh(t, copied, w.env, "git", "rev-parse", "origin/topic", "v1^{commit}")), topic+"\n"+topic)

	w.git("commit", "-q", "--amend", "-m", "again")
	w.fails("non-fast-forward", "push", origin, "topic")
	w.git("push", "-q", "--force", origin, "topic")
	sh(t, copied, w.env, "git", "fetch", "-q")
	equal(t, "forced", strings.TrimSpace(sh(t, copied, w.env, "git", "rev-parse", "origin/topic")), w.git("rev-parse", "HEAD"))

	w.git("push", "-q", origin, ":topic", ":refs/tags/light")
	if refs := w.git("ls-remote", origin); strings.Contains(refs, "topic") || strings.Contains(refs, "light") {
		t.Errorf("deleted refs remain:\n%s", refs)
	}

	for i := range 5 {
		w.commit("n", strconv.Itoa(i))
	}
	w.git("push", "-q", origin, "HEAD:main")
	shallow := filepath.Join(t.TempDir(), "shallow")
	w.git("clone", "-q", "--depth", "2", origin, shallow)
	equal(t, "shallow", strings.TrimSpace(sh(t, shallow, w.env, "git", "rev-list", "--count", "HEAD")), "2")
	sh(t, shallow, w.env, "git", "fetch", "-q", "--deepen", "2")
	equal(t, "deepened", strings.TrimSpace(sh(t, shallow, w.env, "git", "rev-list", "--count", "HEAD")), "4")
	sh(t, shallow, w.env, "git", "fetch", "-q", "--unshallow")
	partial := filepath.Join(t.TempDir(), "partial")
	w.git("clone", "-q", "--filter=blob:none", "--no-checkout", origin, partial)
	for _, version := range []string{"0", "1", "2"} {
		if out := w.git("-c", "protocol.version="+version, "ls-remote", origin, "main"); !strings.Contains(out, "refs/heads/main") {
			t.Errorf("protocol %s: %q", version, out)
		}
	}
	s.leavesNoGit(t)
}

// TestGitLarge pushes and clones 50 MB that nothing compresses.
func TestGitLarge(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("repository")
	origin := gitUser(t, a, "alice", mayGit)(repository(t, a, "big", region))
	w := s.newWork(t)
	w.env = append(w.env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=core.compression", "GIT_CONFIG_VALUE_0=0")
	for i := range 5 {
		b := make([]byte, 10<<20)
		rand.Read(b)
		if err := os.WriteFile(filepath.Join(w.dir, fmt.Sprint("part", i)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	head := w.commit("README.md", "big")
	w.git("push", "-q", origin, "main")
	copied := filepath.Join(t.TempDir(), "copy.git")
	w.git("clone", "-q", "--bare", origin, copied)
	equal(t, "cloned", strings.TrimSpace(sh(t, copied, w.env, "git", "rev-parse", "main")), head)
	s.leavesNoGit(t)
}

// TestGitSigned clones with signatures: those of the AWS CLI's credential
// helper, as `sekisho env` sets it up, and those of git-remote-codecommit.
func TestGitSigned(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("repository")
	clone := map[string]string{region: repository(t, a, "app", region)}
	const far = "us-west-2"
	clone[far] = repository(t, a, "app", far)
	if clone[region] == clone[far] {
		t.Fatalf("both regions have the clone URL %s", clone[far])
	}
	heads := map[string]string{}

	t.Run("git-remote-codecommit", func(t *testing.T) {
		alice := user(t, a, "alice", `{"Effect":"Allow","Action":["codecommit:*","sts:*"],"Resource":"*"}`)
		arn := role(t, a, "pusher", "arn:aws:iam::"+repositoryAccount+":root", mayGit)
		for name, who := range map[string]*account{"user": alice, "role": assume(t, alice, arn, "push")} {
			for _, in := range []string{region, far} {
				w := s.newWork(t)
				heads[in] = w.commit("region", in+name)
				u := signed(t, who, in, clone[in], time.Now())
				w.git("push", "-q", "--force", u, "main")
				if out := w.git("ls-remote", u, "main"); !strings.HasPrefix(out, heads[in]) {
					t.Errorf("%s in %s: %s, want %s", name, in, out, heads[in])
				}
			}
		}
		w := s.newWork(t)
		w.fails("403", "ls-remote", signed(t, alice, region, clone[region], time.Now().Add(-16*time.Minute)))
		w.fails("403", "ls-remote", signed(t, alice, region, clone[region], time.Now().Add(16*time.Minute)))
		w.fails("403", "ls-remote", signed(t, alice, far, clone[region], time.Now()))
	})

	t.Run("credential helper", func(t *testing.T) {
		if _, err := exec.LookPath("aws"); err != nil {
			t.Skip("the AWS CLI is not installed")
		}
		env := append(s.environment("repository"), "GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@example.com",
			"GIT_COMMITTER_NAME=Alice", "GIT_COMMITTER_EMAIL=alice@example.com")
		w := &work{t: t, dir: t.TempDir(), env: env}
		w.git("init", "-q", "-b", "main")
		head := w.commit("by", "helper")
		w.git("push", "-q", "--force", clone[region], "main")
		if out := w.git("ls-remote", clone[region], "main"); !strings.HasPrefix(out, head) {
			t.Errorf("%s, want %s", out, head)
		}
		w.env = append(w.env, "AWS_REGION="+far, "AWS_DEFAULT_REGION="+far)
		if out := w.git("ls-remote", clone[far], "main"); !strings.HasPrefix(out, heads[far]) {
			t.Errorf("%s, want %s", out, heads[far])
		}
	})
}

// signed is a URL as git-remote-codecommit makes it: the session token
// travels in the user name.
func signed(t *testing.T, a *account, in, text string, at time.Time) string {
	t.Helper()
	c, err := a.config.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	name := c.AccessKeyID
	if c.SessionToken != "" {
		name += "%" + c.SessionToken
	}
	return login(t, text, name, sigv4.SignGit([]byte(c.SecretAccessKey), in, u.Hostname(), u.Path, at))
}

// TestGitRefused: each way in that is shut, and what git shows.
func TestGitRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("repository")
	plain := repository(t, a, "app", region)
	w := s.newWork(t)
	w.commit("README.md", "hello\n")
	alice := gitUser(t, a, "alice", mayGit)
	w.git("push", "-q", alice(plain), "main")

	t.Run("deny by reference", func(t *testing.T) {
		bob := gitUser(t, a, "bob", mayGit+`,{"Effect":"Deny","Action":"codecommit:GitPush","Resource":"*","Condition":{
			"StringEqualsIfExists":{"codecommit:References":["refs/heads/main"]},"Null":{"codecommit:References":"false"}}}`)
		w := s.newWork(t)
		w.git("fetch", "-q", bob(plain), "main")
		w.git("reset", "-q", "--hard", "FETCH_HEAD")
		head := w.commit("more", "x")
		out, err := w.try("push", bob(plain), "main", "main:dev")
		if err == nil || !strings.Contains(out, "main -> main (You don't have permission to push changes to this branch") {
			t.Errorf("%v\n%s", err, out)
		}
		refs := w.git("ls-remote", bob(plain))
		if !strings.Contains(refs, head+"\trefs/heads/dev") || strings.Contains(refs, head+"\trefs/heads/main") {
			t.Errorf("refs after the push:\n%s", refs)
		}
		w.fails("permission", "push", bob(plain), ":main")
		w.fails("atomic", "push", "--atomic", bob(plain), "main", "main:other")
		if refs := w.git("ls-remote", bob(plain)); strings.Contains(refs, "refs/heads/other") {
			t.Errorf("an atomic push came through in part:\n%s", refs)
		}
	})
	t.Run("no GitPush", func(t *testing.T) {
		u := gitUser(t, a, "reader", `{"Effect":"Allow","Action":"codecommit:GitPull","Resource":"*"}`)(plain)
		w.git("ls-remote", u)
		w.fails("403", "push", u, "main:reader")
	})
	t.Run("no GitPull", func(t *testing.T) {
		u := gitUser(t, a, "writer", `{"Effect":"Allow","Action":"codecommit:GitPush","Resource":"*"}`)(plain)
		w.git("push", "-q", u, "main:writer")
		w.fails("403", "ls-remote", u)
	})
	t.Run("another account", func(t *testing.T) {
		u := gitUser(t, s.account("pipeline"), "mallory", mayGit)(plain)
		w.fails("not found", "ls-remote", u)
	})
	t.Run("missing repository", func(t *testing.T) {
		w.fails("not found", "ls-remote", alice(strings.Replace(plain, "/app", "/nothing", 1)))
	})
	t.Run("no credentials", func(t *testing.T) {
		w.fails("could not read Username", "ls-remote", plain)
	})
	t.Run("wrong password", func(t *testing.T) {
		w.fails("403", "ls-remote", login(t, plain, "alice-at-"+repositoryAccount, "wrong"))
	})
	t.Run("inactive credentials", func(t *testing.T) {
		u := gitUser(t, a, "gone", mayGit)(plain)
		w.git("ls-remote", u)
		list, err := a.iam.ListServiceSpecificCredentials(t.Context(), &iam.ListServiceSpecificCredentialsInput{UserName: new("gone")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.iam.UpdateServiceSpecificCredential(t.Context(), &iam.UpdateServiceSpecificCredentialInput{UserName: new("gone"),
			ServiceSpecificCredentialId: list.ServiceSpecificCredentials[0].ServiceSpecificCredentialId, Status: iamtypes.StatusTypeInactive}); err != nil {
			t.Fatal(err)
		}
		w.fails("403", "ls-remote", u)
	})
	t.Run("plain http", func(t *testing.T) {
		w.fails("403", "ls-remote", strings.Replace(alice(plain), "https:", "http:", 1))
	})
	s.leavesNoGit(t)
}

// TestGitOddClients speaks git's protocol badly.
func TestGitOddClients(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("repository")
	origin := gitUser(t, a, "alice", mayGit)(repository(t, a, "app", region))
	w := s.newWork(t)
	head := w.commit("README.md", strings.Repeat("hello\n", 1000))
	w.git("push", "-q", origin, "main")
	client := a.config.HTTPClient.(*http.Client)
	post := func(t *testing.T, service string, body []byte, encoding string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+"/git-"+service, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-git-"+service+"-request")
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		resp, err := client.Do(r)
		if err != nil {
			return 0, err.Error() // broken off: git takes nothing for whole
		}
		defer resp.Body.Close()
		out, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err.Error()
		}
		return resp.StatusCode, string(out)
	}
	want := pkt("want "+head+" no-progress ofs-delta\n") + "0000" + pkt("done\n")

	t.Run("gzip", func(t *testing.T) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, want)
		z.Close()
		if status, out := post(t, "upload-pack", b.Bytes(), "gzip"); status != 200 || !strings.Contains(out, "PACK") {
			t.Errorf("%d %.100q", status, out)
		}
	})
	zero := strings.Repeat("0", 40)
	update := pkt(zero + " " + head + " refs/heads/x\x00 report-status")
	for _, tt := range []struct {
		name, service, body, encoding string
	}{
		{"no gzip", "upload-pack", "plain", "gzip"},
		{"gzip cut short", "upload-pack", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "gzip"},
		{"unknown encoding", "upload-pack", want, "br"},
		{"garbage", "upload-pack", "garbage", ""},
		{"bad length", "upload-pack", "zzzz", ""},
		{"length beyond the end", "upload-pack", "fff0want", ""},
		{"unknown object", "upload-pack", pkt("want "+strings.Repeat("a", 40)+"\n") + "0000" + pkt("done\n"), ""},
		{"garbage", "receive-pack", "garbage", ""},
		{"bad length", "receive-pack", "0001", ""},
		{"no commands", "receive-pack", "", ""},
		{"cut short", "receive-pack", update[:30], ""},
		{"no flush", "receive-pack", update, ""},
		{"no pack", "receive-pack", pkt(zero+" "+strings.Repeat("a", 40)+" refs/heads/x\x00 report-status") + "0000", ""},
		{"garbage for a pack", "receive-pack", update + "0000PACKgarbage", ""},
		{"ref outside refs", "receive-pack", pkt(zero+" "+head+" ../../config\x00 report-status") + "0000", ""},
		{"NUL in ref", "receive-pack", pkt(zero+" "+head+" refs/heads/\x00\x00\x00") + "0000", ""},
		{"invalid UTF-8 in ref", "receive-pack", pkt(zero+" "+head+" refs/heads/\xff\xfe\x00 report-status") + "0000", ""},
		{"option for a ref", "receive-pack", pkt(zero+" "+head+" --upload-pack=x\x00 report-status") + "0000", ""},
	} {
		t.Run(tt.service+" "+tt.name, func(t *testing.T) {
			if status, out := post(t, tt.service, []byte(tt.body), tt.encoding); status >= 500 {
				t.Errorf("%d %q", status, out)
			}
		})
	}
	if refs := w.git("ls-remote", "--heads", origin); refs != head+"\trefs/heads/main" {
		t.Errorf("refs after bad pushes:\n%s", refs)
	}

	t.Run("a client that vanishes", func(t *testing.T) {
		u, err := url.Parse(origin)
		if err != nil {
			t.Fatal(err)
		}
		password, _ := u.User.Password()
		for _, service := range []string{"upload-pack", "receive-pack"} {
			conn := s.dial(t)
			r, err := http.NewRequest(http.MethodPost, origin+"/git-"+service, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.SetBasicAuth(u.User.Username(), password)
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Length: 1000000\r\n\r\n",
				r.URL.Path, r.URL.Host, r.Header.Get("Authorization"))
			if service == "upload-pack" {
				io.WriteString(conn, want[:60])
			} else {
				io.WriteString(conn, pkt(zero+" "+strings.Repeat("b", 40)+" refs/heads/v\x00 report-status")+"0000PACK\x00\x00\x00\x02\x00\x00\x00\x01")
			}
			eventually(t, "git begins", 10*time.Second, func() bool { return len(s.children(t)) > 0 })
			conn.Close()
			s.leavesNoGit(t)
		}
	})
	s.leavesNoGit(t)
	if strings.Contains(s.log.String(), "panic") {
		t.Errorf("log:\n%s", s.log)
	}
}

func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

// children are the git processes of a server that serve somebody: the readers
// that wait for the next question do not count.
func (s *server) children(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc")
	}
	var list []string
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, file := range tasks {
		b, _ := os.ReadFile(file)
		for pid := range strings.FieldsSeq(string(b)) {
			line, err := os.ReadFile("/proc/" + pid + "/cmdline")
			if words := strings.Split(string(line), "\x00"); err == nil && !slices.Contains(words, "cat-file") {
				list = append(list, strings.Join(words, " "))
			}
		}
	}
	return list
}

func (s *server) leavesNoGit(t *testing.T) {
	t.Helper()
	eventually(t, "no git process remains", 10*time.Second, func() bool { return len(s.children(t)) == 0 })
}

var _ net.Conn
