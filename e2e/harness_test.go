// The tests of this module drive the real binary with real clients: the
// official SDK, git, and, where they are installed, the AWS CLI, boto3 and
// Terraform.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/jackc/pgx/v5"
)

const (
	repositoryAccount = "111111111111"
	pipelineAccount   = "222222222222"
	region            = "eu-central-1"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	for _, v := range os.Environ() { // a machine's own AWS settings are none of ours
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	dir, err := os.MkdirTemp("", "sekisho-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "sekisho")
	build := exec.Command("go", "build", "-o", binary, "./cmd/sekisho")
	build.Dir = ".."
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is one running binary and its data directory.
type server struct {
	t    testing.TB
	dir  string
	args []string
	url  string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

// start runs a server with the accounts repository and pipeline, and more
// arguments, until the test ends.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	return startIn(t, filepath.Join(t.TempDir(), "data"), args...)
}

// startIn is start with a data directory of the caller's choice.
func startIn(t testing.TB, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, log: &bytes.Buffer{}}
	s.args = append([]string{"serve", "--data", s.dir,
		"--account", "repository=" + repositoryAccount, "--account", "pipeline=" + pipelineAccount}, args...)
	s.run("127.0.0.1:0")
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("server log:\n%s", s.log)
		}
	})
	return s
}

// run starts the process and waits for its one line.
func (s *server) run(listen string) {
	s.t.Helper()
	s.cmd = exec.Command(binary, append(s.args, "--listen", listen)...)
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.cmd.Wait()
		s.t.Fatalf("the server did not become ready: %v\n%s", err, s.log)
	}
	_, rest, _ := strings.Cut(line, "ready at ")
	s.url, _, _ = strings.Cut(rest, ";")
}

// kill ends the process as a power failure would.
func (s *server) kill() {
	s.cmd.Process.Signal(syscall.SIGKILL)
	s.cmd.Wait()
	s.cmd = nil
}

// stop ends the process as an operator does, and fails the test unless it
// ends cleanly.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server did not end cleanly: %v", err)
	}
	s.cmd = nil
}

// again starts the server on the same data and address.
func (s *server) again() {
	s.t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	s.run(u.Host)
}

// config is an SDK configuration for the root user of an account.
func (s *server) config(profile string) aws.Config {
	s.t.Helper()
	ca, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	s.t.Cleanup(transport.CloseIdleConnections)
	c, err := config.LoadDefaultConfig(context.Background(),
		config.WithRegion(region),
		config.WithSharedCredentialsFiles([]string{filepath.Join(s.dir, "credentials")}),
		config.WithSharedConfigFiles(nil),
		config.WithSharedConfigProfile(profile),
		config.WithBaseEndpoint(s.url),
		config.WithHTTPClient(&http.Client{Transport: transport}),
		config.WithRetryMaxAttempts(1),
	)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// account are the SDK's clients of one account.
type account struct {
	config         aws.Config
	cloudformation *cloudformation.Client
	cloudtrail     *cloudtrail.Client
	codecommit     *codecommit.Client
	codepipeline   *codepipeline.Client
	events         *eventbridge.Client
	iam            *iam.Client
	kms            *kms.Client
	s3             *s3.Client
	sts            *sts.Client
}

// forget closes connections that wait for the next call: those to a server that
// was killed fail it.
func (a *account) forget() {
	a.config.HTTPClient.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

func (s *server) account(profile string) *account { return clients(s.config(profile)) }

func clients(c aws.Config) *account {
	return &account{
		config:         c,
		cloudformation: cloudformation.NewFromConfig(c),
		cloudtrail:     cloudtrail.NewFromConfig(c),
		codecommit:     codecommit.NewFromConfig(c),
		codepipeline:   codepipeline.NewFromConfig(c),
		events:         eventbridge.NewFromConfig(c),
		iam:            iam.NewFromConfig(c),
		kms:            kms.NewFromConfig(c),
		s3:             s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }),
		sts:            sts.NewFromConfig(c),
	}
}

// environment is this process's, with what `sekisho env` prints for a profile.
func (s *server) environment(profile string) []string {
	s.t.Helper()
	out, err := exec.Command(binary, "env", profile, "--data", s.dir, "--region", region).Output()
	if err != nil {
		s.t.Fatalf("sekisho env: %v", err)
	}
	env := []string{"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + s.t.TempDir()}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "AWS_") && !strings.HasPrefix(name, "GIT_") && name != "HOME" {
			env = append(env, v)
		}
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			name, value, _ := strings.Cut(v, "=")
			env = append(env, name+"="+strings.Trim(value, "'"))
		}
	}
	return env
}

// sh runs a program and returns what it prints; it fails the test when the
// program fails.
func sh(t testing.TB, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(dir, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(dir string, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, env
	out, err := c.CombinedOutput()
	return string(out), err
}

// wants fails unless err is an API error of that code.
func wants(t testing.TB, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

// eventually asks until the answer is yes.
func eventually(t testing.TB, what string, within time.Duration, ask func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// databases runs a test on SQLite and, when SEKISHO_TEST_POSTGRES names a
// server, on a fresh database of PostgreSQL; args make a server use it.
func databases(t *testing.T, test func(t *testing.T, args ...string)) {
	t.Run("sqlite", func(t *testing.T) { test(t) })
	t.Run("postgres", func(t *testing.T) {
		base := os.Getenv("SEKISHO_TEST_POSTGRES")
		if base == "" {
			if os.Getenv("CI") != "" {
				t.Fatal("SEKISHO_TEST_POSTGRES is not set")
			}
			t.Skip("SEKISHO_TEST_POSTGRES is not set")
		}
		test(t, "--database", freshDatabase(t, base))
	})
}

func freshDatabase(t testing.TB, base string) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, base)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	name := fmt.Sprintf("e2e_%d_%d", os.Getpid(), time.Now().UnixNano())
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(ctx, base)
		if err != nil {
			return
		}
		defer conn.Close(ctx)
		conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// read returns an object's content.
func read(t testing.TB, a *account, bucket, key string) string {
	t.Helper()
	out, err := a.s3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
