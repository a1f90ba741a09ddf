package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// tree writes a folder with names that have to be escaped, an empty file, and
// one that is uploaded in parts.
func tree(t *testing.T, parent string) string {
	t.Helper()
	dir := filepath.Join(parent, "tree")
	for name, body := range map[string][]byte{
		"one.txt": []byte("one\n"), "a/sp ace+plus&amp%25.txt": []byte("ünï cödé\n"), "a/empty": nil, "a/b/large": random(9 << 20),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tool is a program and the environment in which it finds the server. The test
// is skipped where there is no such program.
type tool struct {
	t    *testing.T
	name string
	dir  string
	env  []string
	args []string // before those of each run
}

func (s *server) tool(t *testing.T, name string, args ...string) *tool {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	var env []string
	for _, v := range append(s.environment("pipeline"), "AWS_EC2_METADATA_DISABLED=true") {
		if !strings.HasPrefix(v, "AWS_CA_BUNDLE=") || name == "python3" { // rclone takes its own flag, and no two
			env = append(env, v)
		}
	}
	return &tool{t, name, t.TempDir(), env, args}
}

func (p *tool) run(args ...string) string {
	p.t.Helper()
	return strings.TrimSpace(sh(p.t, p.dir, p.env, p.name, append(p.args, args...)...))
}

func TestRclone(t *testing.T) {
	s := start(t)
	r := s.tool(t, "rclone", "--config", os.DevNull, "--ca-cert", filepath.Join(s.dir, "ca.pem"), "--retries", "1", "--low-level-retries", "1",
		"--s3-provider", "Other", "--s3-env-auth", "--s3-endpoint", s.url, "--s3-region", region, "--s3-location-constraint", region)
	from := tree(t, r.dir)
	// The rclone of some distributions sends an access control list with each
	// object, which only buckets that have them on take.
	in := createBucket("clone")
	in.ObjectOwnership = types.ObjectOwnershipObjectWriter
	if _, err := s.account("pipeline").s3.CreateBucket(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	r.run("copy", from, ":s3:clone/one")
	r.run("check", from, ":s3:clone/one")
	if err := os.Remove(filepath.Join(from, "one.txt")); err != nil {
		t.Fatal(err)
	}
	r.run("sync", from, ":s3:clone/one")
	r.run("check", from, ":s3:clone/one")
	r.run("--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "copyto", filepath.Join(from, "a/b/large"), ":s3:clone/parts")
	r.run("moveto", ":s3:clone/one", ":s3:clone/two")
	r.run("check", from, ":s3:clone/two")
	if got := r.run("cat", ":s3:clone/two/a/sp ace+plus&amp%25.txt"); got != "ünï cödé" {
		t.Errorf("got %q", got)
	}
	if got := r.run("lsf", "-R", "--files-only", ":s3:clone"); len(strings.Fields(got)) < 4 {
		t.Errorf("got %s", got)
	}
	r.run("purge", ":s3:clone")
}

func TestRestic(t *testing.T) {
	s := start(t)
	r := s.tool(t, "restic", "--cacert", filepath.Join(s.dir, "ca.pem"), "--repo", "s3:"+s.url+"/restic", "--quiet")
	r.env = append(r.env, "RESTIC_PASSWORD=secret")
	bucket(t, s.account("pipeline"), "restic")
	from := tree(t, r.dir)
	r.run("init")
	r.run("backup", "tree")
	if err := os.WriteFile(filepath.Join(from, "more"), []byte("more"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.run("backup", "tree")
	r.run("check", "--read-data")
	r.run("restore", "latest", "--target", "back")
	if out, err := try(r.dir, r.env, "diff", "-r", "tree", "back/tree"); err != nil {
		t.Errorf("what came back differs: %s", out)
	}
	r.run("forget", "--keep-last", "1", "--prune")
	r.run("check")
}

func TestAWSCLIMovesFiles(t *testing.T) {
	s := start(t)
	cli := s.awsCLI(t, "pipeline")
	from := tree(t, cli.dir)
	cli.run("s3", "mb", "s3://moves")
	cli.run("s3", "sync", from, "s3://moves/t", "--only-show-errors")
	cli.run("s3", "sync", "s3://moves/t", "back", "--only-show-errors")
	if out, err := try(cli.dir, cli.env, "diff", "-r", from, "back"); err != nil {
		t.Errorf("what came back differs: %s", out)
	}
	if err := os.Remove(filepath.Join(from, "one.txt")); err != nil {
		t.Fatal(err)
	}
	if got := cli.run("s3", "sync", "--delete", from, "s3://moves/t"); !strings.Contains(got, "delete: s3://moves/t/one.txt") {
		t.Errorf("got %s", got)
	}
	cli.run("s3", "cp", "s3://moves/t/a/b/large", "s3://moves/copy", "--only-show-errors")
	cli.run("s3", "mv", "s3://moves/copy", "s3://moves/moved", "--only-show-errors")
	cli.fails("404", "s3", "cp", "s3://moves/copy", "-")
	cli.run("s3", "rm", "--recursive", "s3://moves/t", "--quiet")
	cli.run("s3", "rb", "--force", "s3://moves")
}

// TestBoto3Objects drives the transfer manager, forms, presigned addresses,
// customers' keys and access control lists.
func TestBoto3Objects(t *testing.T) {
	s := start(t)
	p := s.tool(t, "python3")
	if out, err := exec.Command("python3", "-c", "import boto3").CombinedOutput(); err != nil {
		t.Skipf("boto3 is not installed: %s", out)
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	script, err := filepath.Abs("testdata/objects.py")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.run(script); !strings.HasSuffix(got, "all is well") {
		t.Error(got)
	}
}
