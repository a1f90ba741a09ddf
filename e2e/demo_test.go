package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDemo runs the demonstration as a newcomer does, without a terminal.
func TestDemo(t *testing.T) {
	out := sh(t, t.TempDir(), os.Environ(), binary, "demo", "--region", "ap-northeast-1")
	for _, want := range []string{
		"✓ demo-foundation", "✓ demo-repository", "✓ demo-connection", "✓ demo-pipeline",
		"events:PutEvents", "role demo-source", "release/index.html  text/html", "from push to delivered",
		`statement "AssumeTheActionRole"`, `statement "RepositoryAccountReadsAndWritesArtifacts"`,
		"Failed", "refused: ", `"Action":`, "bucket policy of bucket demo-artifacts-222222222222-ap-northeast-1",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demonstration does not show %q", want)
		}
	}
	if strings.Contains(out, "\x1b[") {
		t.Error("escape sequences without a terminal")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestDemoKeep leaves the server running, says how to use it, and ends with
// SIGTERM.
func TestDemoKeep(t *testing.T) {
	c := exec.Command(binary, "demo", "--keep")
	c.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	data := ""
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "sekisho env pipeline --data "); ok {
			data, _, _ = strings.Cut(rest, " ")
		}
		if data != "" && strings.Contains(lines.Text(), "sekisho explain") {
			break
		}
	}
	out, err := exec.Command(binary, "account", "list", "--data", data).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "222222222222  pipeline") {
		t.Errorf("the kept server answers %q, %v", out, err)
	}
	c.Process.Signal(syscall.SIGTERM)
	for lines.Scan() {
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the demonstration did not end cleanly: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(data)); !os.IsNotExist(err) {
		t.Errorf("%s is still there", data)
	}
}

// TestDeployScript writes the templates with `sekisho init` and deploys them
// with deploy.sh, twice: the second time nothing changes.
func TestDeployScript(t *testing.T) {
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	t.Parallel()
	s := start(t)
	dir := filepath.Join(t.TempDir(), "delivery")
	sh(t, "", os.Environ(), binary, "init", dir, "--region", region, "--project", "site")
	env := s.environment("pipeline")
	out := sh(t, dir, env, "sh", "deploy.sh")
	if !strings.Contains(out, s.url+"/"+region+"/v1/repos/site") {
		t.Errorf("deploy.sh does not say where to push:\n%s", out)
	}
	out = sh(t, dir, env, "sh", "deploy.sh")
	if n := strings.Count(out, "No changes to deploy"); n != 4 {
		t.Errorf("%d of 4 stacks are unchanged at the second run:\n%s", n, out)
	}
	if out, err := try("", os.Environ(), binary, "init", dir, "--region", "us-east-1"); err == nil || !strings.Contains(out, "exists and differs") {
		t.Errorf("init over another folder: %v %s", err, out)
	}
}
