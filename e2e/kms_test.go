package e2e

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestKMSBoto3 signs, agrees, decrypts and imports with boto3, and has openssl
// do the other half of each.
func TestKMSBoto3(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("python3", "-c", "import boto3").CombinedOutput(); err != nil {
		t.Skipf("boto3 is not installed: %s", out)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	script, err := filepath.Abs("testdata/kms/keys.py")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	out := sh(t, t.TempDir(), append(s.environment("pipeline"), "AWS_EC2_METADATA_DISABLED=true"), "python3", script)
	if !strings.Contains(out, "ok") {
		t.Error(out)
	}
}

// TestKMSCommandLine goes the way of the AWS CLI's manual: a signature and a
// code, checked outside.
func TestKMSCommandLine(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.awsCLI(t, "pipeline")
	key := c.run("kms", "create-key", "--key-spec", "ECC_NIST_P256", "--key-usage", "SIGN_VERIFY", "--query", "KeyMetadata.KeyId", "--output", "text")
	c.write("message", "hello")
	sign := []string{"kms", "sign", "--key-id", key, "--message", "fileb://message", "--signing-algorithm", "ECDSA_SHA_256", "--query", "Signature", "--output", "text"}
	signature := c.run(sign...)
	c.fails("DryRunOperationException", append(sign, "--dry-run")...)
	c.fails("InvalidKeyUsageException", "kms", "encrypt", "--key-id", key, "--plaintext", "fileb://message")
	binary := func(name, text string) {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary("signature", signature)
	c.run("kms", "verify", "--key-id", key, "--message", "fileb://message", "--signature", "fileb://signature", "--signing-algorithm", "ECDSA_SHA_256")
	binary("public.der", c.run("kms", "get-public-key", "--key-id", key, "--query", "PublicKey", "--output", "text"))
	c.write("message", "hello!")
	c.fails("KMSInvalidSignatureException", "kms", "verify", "--key-id", key, "--message", "fileb://message", "--signature", "fileb://signature", "--signing-algorithm", "ECDSA_SHA_256")
	c.write("message", "hello")
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	out := sh(t, c.dir, os.Environ(), "openssl", "dgst", "-sha256", "-verify", "public.der", "-keyform", "DER", "-signature", "signature", "message")
	if !strings.Contains(out, "Verified OK") {
		t.Error(out)
	}
}

// TestKMSTerraform has Terraform make every kind of key, in two Regions.
func TestKMSTerraform(t *testing.T) {
	t.Parallel()
	terraform(t, start(t), "pipeline", "testdata/kms")
}
