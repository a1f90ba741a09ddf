package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// awsCLI runs the AWS CLI in a directory of its own.
type awsCLI struct {
	t   *testing.T
	dir string
	env []string
}

func (s *server) awsCLI(t *testing.T, profile string) *awsCLI {
	t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	return &awsCLI{t, t.TempDir(), append(s.environment(profile), "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=")}
}

// run returns what the CLI prints, without the white space around it.
func (c *awsCLI) run(args ...string) string {
	c.t.Helper()
	return strings.TrimSpace(sh(c.t, c.dir, c.env, "aws", args...))
}

// fails runs a command that must be refused with these words.
func (c *awsCLI) fails(words string, args ...string) {
	c.t.Helper()
	out, err := try(c.dir, c.env, "aws", args...)
	if err == nil || !strings.Contains(out, words) {
		c.t.Errorf("aws %s: %v, want failure with %q:\n%s", strings.Join(args, " "), err, words, out)
	}
}

// write writes a file a minute ago: S3 knows whole seconds, so that a file put
// within the second it was written in would be taken for a newer one.
func (c *awsCLI) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	then := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, then, then); err != nil {
		c.t.Fatal(err)
	}
}

func (c *awsCLI) read(name string) string {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// TestAWSCLI does with the AWS CLI what people do with it by hand.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	s := start(t)
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		c := s.awsCLI(t, "pipeline")
		c.run("s3", "mb", "s3://cli-bucket")
		c.write("site/index.html", "<p>hello</p>")
		c.write("site/css/a b.css", "p {}")
		c.write("large", strings.Repeat("0123456789abcdef", 9<<16))
		c.run("s3", "sync", "site", "s3://cli-bucket/site", "--only-show-errors")
		if out := c.run("s3", "sync", "site", "s3://cli-bucket/site"); out != "" {
			t.Errorf("a second sync copies again: %s", out)
		}
		equal(t, "content type", c.run("s3api", "head-object", "--bucket", "cli-bucket", "--key", "site/index.html", "--query", "ContentType", "--output", "text"), "text/html")
		c.run("s3", "cp", "large", "s3://cli-bucket/large", "--only-show-errors")
		c.run("s3", "cp", "s3://cli-bucket/large", "s3://cli-bucket/copy", "--only-show-errors")
		c.run("s3", "cp", "s3://cli-bucket/copy", "back", "--only-show-errors")
		if c.read("back") != c.read("large") {
			t.Error("the large object is another one")
		}
		if out := c.run("s3", "ls", "s3://cli-bucket", "--recursive", "--summarize"); !strings.Contains(out, "Total Objects: 4") || !strings.Contains(out, "site/css/a b.css") {
			t.Errorf("ls:\n%s", out)
		}
		c.fails("NoSuchBucket", "s3", "ls", "s3://no-such-bucket-here")
		c.run("s3", "rb", "--force", "s3://cli-bucket")
		equal(t, "buckets", c.run("s3", "ls"), "")
	})
	t.Run("kms", func(t *testing.T) {
		t.Parallel()
		c := s.awsCLI(t, "pipeline")
		key := c.run("kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text")
		c.write("plain", "secret")
		c.write("sealed", c.run("kms", "encrypt", "--key-id", key, "--plaintext", "fileb://plain", "--query", "CiphertextBlob", "--output", "text"))
		sh(t, c.dir, c.env, "sh", "-c", "base64 -d <sealed >sealed.bin")
		equal(t, "plaintext", c.run("kms", "decrypt", "--ciphertext-blob", "fileb://sealed.bin", "--query", "Plaintext", "--output", "text"), "c2VjcmV0")
		c.run("kms", "disable-key", "--key-id", key)
		c.fails("(DisabledException)", "kms", "encrypt", "--key-id", key, "--plaintext", "fileb://plain")
	})
	t.Run("iam and sts", func(t *testing.T) {
		t.Parallel()
		c := s.awsCLI(t, "pipeline")
		c.write("trust.json", document(`{"Effect":"Allow","Principal":{"AWS":"`+pipelineAccount+`"},"Action":"sts:AssumeRole"}`))
		arn := c.run("iam", "create-role", "--role-name", "cli", "--assume-role-policy-document", "file://trust.json", "--query", "Role.Arn", "--output", "text")
		c.run("iam", "attach-role-policy", "--role-name", "cli", "--policy-arn", "arn:aws:iam::aws:policy/AWSCodeCommitReadOnly")
		c.fails("(MalformedPolicyDocument)", "iam", "put-role-policy", "--role-name", "cli", "--policy-name", "bad", "--policy-document", "{")
		c.run("iam", "create-user", "--user-name", "cli")
		c.fails("(DeleteConflict)", "iam", "delete-role", "--role-name", "cli")
		// Root may assume no role; a user with the permission may.
		c.fails("(AccessDenied)", "sts", "assume-role", "--role-arn", arn, "--role-session-name", "root")
		c.write("own.json", document(`{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}`))
		c.run("iam", "put-user-policy", "--user-name", "cli", "--policy-name", "own", "--policy-document", "file://own.json")
		keys := strings.Fields(c.run("iam", "create-access-key", "--user-name", "cli", "--query", "AccessKey.[AccessKeyId,SecretAccessKey]", "--output", "text"))
		c.env = append(c.env, "AWS_ACCESS_KEY_ID="+keys[0], "AWS_SECRET_ACCESS_KEY="+keys[1])
		keys = strings.Fields(c.run("sts", "assume-role", "--role-arn", arn, "--role-session-name", "me", "--query", "Credentials.[AccessKeyId,SecretAccessKey,SessionToken]", "--output", "text"))
		c.env = append(c.env, "AWS_ACCESS_KEY_ID="+keys[0], "AWS_SECRET_ACCESS_KEY="+keys[1], "AWS_SESSION_TOKEN="+keys[2])
		equal(t, "who", c.run("sts", "get-caller-identity", "--query", "Arn", "--output", "text"), "arn:aws:sts::"+pipelineAccount+":assumed-role/cli/me")
		equal(t, "repositories", c.run("codecommit", "list-repositories", "--query", "length(repositories)"), "0")
		c.fails("is not authorized to perform: codecommit:CreateRepository on resource: arn:aws:codecommit:"+region+":"+pipelineAccount+":mine", "codecommit", "create-repository", "--repository-name", "mine")
	})
	t.Run("codecommit, events, cloudtrail", func(t *testing.T) {
		t.Parallel()
		c := s.awsCLI(t, "repository")
		c.run("codecommit", "create-repository", "--repository-name", "cli")
		c.write("f", "text\n")
		commit := c.run("codecommit", "put-file", "--repository-name", "cli", "--branch-name", "main", "--file-path", "f", "--file-content", "fileb://f", "--query", "commitId", "--output", "text")
		equal(t, "branch", c.run("codecommit", "get-branch", "--repository-name", "cli", "--branch-name", "main", "--query", "branch.commitId", "--output", "text"), commit)
		c.write("event.json", `{"id":"1","account":"111111111111","source":"mine","time":"2026-01-01T00:00:00Z","region":"eu-central-1","resources":[],"detail-type":"t","detail":{"n":[5]}}`)
		equal(t, "test-event-pattern", c.run("events", "test-event-pattern", "--event", "file://event.json", "--event-pattern", `{"detail":{"n":[{"numeric":[">",4]}]}}`, "--query", "Result"), "true")
		c.fails("(InvalidEventPatternException)", "events", "put-rule", "--name", "bad", "--event-pattern", "{")
		c.run("events", "create-event-bus", "--name", "other")
		bus := c.run("events", "describe-event-bus", "--name", "other", "--query", "Arn", "--output", "text")
		c.write("trust.json", document(`{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole"}`))
		arn := c.run("iam", "create-role", "--role-name", "events", "--assume-role-policy-document", "file://trust.json", "--query", "Role.Arn", "--output", "text")
		c.run("events", "put-rule", "--name", "mine", "--event-pattern", `{"source":["mine"]}`)
		equal(t, "targets", c.run("events", "put-targets", "--rule", "mine", "--targets", "Id=bus,Arn="+bus+",RoleArn="+arn, "--query", "FailedEntryCount"), "0")
		equal(t, "events", c.run("events", "put-events", "--entries", `[{"Source":"mine","DetailType":"t","Detail":"{}"}]`, "--query", "FailedEntryCount"), "0")
		var found struct {
			Events []struct{ EventName, Username, CloudTrailEvent string }
		}
		if err := json.Unmarshal([]byte(c.run("cloudtrail", "lookup-events", "--output", "json",
			"--lookup-attributes", "AttributeKey=EventName,AttributeValue=PutFile")), &found); err != nil {
			t.Fatal(err)
		}
		if len(found.Events) != 1 || !strings.Contains(found.Events[0].CloudTrailEvent, `"eventSource":"codecommit.amazonaws.com"`) {
			t.Errorf("the trail of PutFile: %+v", found)
		}
	})
}

// TestBoto3 runs one script over all nine services.
func TestBoto3(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("python3", "-c", "import boto3").CombinedOutput(); err != nil {
		t.Skipf("boto3 is not installed: %s", out)
	}
	script, err := filepath.Abs("testdata/nine_services.py")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	out := sh(t, t.TempDir(), append(s.environment("pipeline"), "AWS_EC2_METADATA_DISABLED=true"), "python3", script)
	if !strings.Contains(out, "nine services") {
		t.Error(out)
	}
}

// TestTerraform applies, plans again, which must find nothing to do, and
// destroys.
func TestTerraform(t *testing.T) {
	t.Parallel()
	terraform(t, start(t), "pipeline", "testdata/terraform")
}

// terraform carries a configuration through its whole life as the root of an
// account.
func terraform(t *testing.T, s *server, profile, configuration string) {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not installed")
	}
	mirror := pluginMirror()
	if mirror == "" {
		t.Skip("no mirror of Terraform's providers with hashicorp/aws: name one with SEKISHO_TEST_TERRAFORM_PLUGINS")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(configuration)); err != nil {
		t.Fatal(err)
	}
	rc := filepath.Join(dir, "terraformrc")
	settings := "provider_installation {\n  filesystem_mirror {\n    path = \"" + mirror + "\"\n  }\n}\n"
	if err := os.WriteFile(rc, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	env := append(s.environment(profile), "TF_CLI_CONFIG_FILE="+rc, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "AWS_EC2_METADATA_DISABLED=true")
	sh(t, dir, env, "terraform", "init", "-no-color")
	sh(t, dir, env, "terraform", "apply", "-auto-approve", "-no-color")
	sh(t, dir, env, "terraform", "plan", "-detailed-exitcode", "-no-color")
	sh(t, dir, env, "terraform", "destroy", "-auto-approve", "-no-color")
}

// pluginMirror is a directory with Terraform's AWS provider: the one that the
// environment names, one of those that Terraform looks into by itself, or one
// that somebody put under /opt.
func pluginMirror() string {
	places := []string{os.Getenv("SEKISHO_TEST_TERRAFORM_PLUGINS"), "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins"}
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places, filepath.Join(home, ".terraform.d", "plugins"), filepath.Join(home, ".local", "share", "terraform", "plugins"))
	}
	if found, err := filepath.Glob("/opt/*"); err == nil {
		places = append(places, found...)
	}
	for _, dir := range places {
		if _, err := os.Stat(filepath.Join(dir, "registry.terraform.io", "hashicorp", "aws")); dir != "" && err == nil {
			return dir
		}
	}
	return ""
}
