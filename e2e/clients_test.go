package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTerraform applies one of each resource of a delivery system with AWS's
// provider, finds no drift, and destroys it all.
func TestTerraform(t *testing.T) {
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("Terraform is not installed")
	}
	mirror := os.Getenv("SEKISHO_TEST_TERRAFORM_MIRROR")
	if mirror == "" {
		t.Skip("SEKISHO_TEST_TERRAFORM_MIRROR names no filesystem mirror with the provider hashicorp/aws")
	}
	t.Parallel()
	s := start(t)
	dir := t.TempDir()
	main, err := os.ReadFile("testdata/terraform/main.tf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), main, 0o644); err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(dir, "cli.tfrc")
	text := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\ndisable_checkpoint = true\n", mirror)
	if err := os.WriteFile(settings, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	env := append(s.environment("pipeline"), "TF_CLI_CONFIG_FILE="+settings, "TF_IN_AUTOMATION=1", "TF_INPUT=0")
	sh(t, dir, env, "terraform", "init", "-no-color")
	sh(t, dir, env, "terraform", "apply", "-no-color", "-auto-approve")
	if out, err := try(dir, env, "terraform", "plan", "-no-color", "-detailed-exitcode"); err != nil {
		t.Errorf("the plan after apply is not empty: %v\n%s", err, out)
	}
	sh(t, dir, env, "terraform", "destroy", "-no-color", "-auto-approve")
}

// TestBoto3 calls every service with Python's SDK.
func TestBoto3(t *testing.T) {
	if exec.Command("python3", "-c", "import boto3").Run() != nil {
		t.Skip("boto3 is not installed")
	}
	t.Parallel()
	s := start(t)
	script, err := filepath.Abs("testdata/boto3_test.py")
	if err != nil {
		t.Fatal(err)
	}
	if out := sh(t, t.TempDir(), s.environment("pipeline"), "python3", script); !strings.Contains(out, "all nine services answered") {
		t.Error(out)
	}
}

// TestAWSCLI works as a person does at the shell.
func TestAWSCLI(t *testing.T) {
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	t.Parallel()
	s := start(t)
	dir, env := t.TempDir(), s.environment("pipeline")
	for file, text := range map[string]string{"tree/a.txt": "a", "tree/b/c.html": "<p>c</p>", "secret": "open sesame"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ script, want string }{
		{"aws s3 mb s3://cli-bucket && aws s3 sync tree s3://cli-bucket/t && aws s3 ls --recursive s3://cli-bucket", "t/b/c.html"},
		{"aws s3 cp s3://cli-bucket/t/a.txt -", "a"},
		{"aws s3 rm s3://cli-bucket/t/a.txt && aws s3 rb --force s3://cli-bucket", "remove_bucket: cli-bucket"},
		{`aws kms create-alias --alias-name alias/cli --target-key-id $(aws kms create-key --query KeyMetadata.KeyId --output text) &&
			aws kms encrypt --key-id alias/cli --plaintext fileb://secret --query CiphertextBlob --output text | base64 -d > sealed &&
			aws kms decrypt --ciphertext-blob fileb://sealed --query Plaintext --output text | base64 -d`, "open sesame"},
		{`aws events test-event-pattern --event-pattern '{"source":["x"]}' --event '{"id":"1","account":"1","source":"x","time":"2026-01-01T00:00:00Z","region":"r","resources":[],"detail-type":"d","detail":{}}'`, `"Result": true`},
		{"aws codecommit create-repository --repository-name r && aws codecommit list-repositories", `"repositoryName": "r"`},
		{"aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=CreateRepository", "codecommit.amazonaws.com"},
		{"aws codepipeline list-webhooks", "NotImplemented"},
	} {
		out, _ := try(dir, env, "sh", "-c", tt.script)
		if !strings.Contains(out, tt.want) {
			t.Errorf("%s\nwant %q in\n%s", tt.script, tt.want, out)
		}
	}
}
