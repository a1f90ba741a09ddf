package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sekisho/sekisho/internal/oidc/oidctest"
)

func (a *account) with(c *ststypes.Credentials) *account {
	return a.as(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

// TestFederatedUser: a federated user may do what both its user and its own
// policy allow, and what a bucket grants to it by name.
func TestFederatedUser(t *testing.T) {
	t.Parallel()
	s := start(t)
	root := s.account("repository")
	alice := user(t, root, "alice", `{"Effect":"Allow","Action":["sts:GetFederationToken","s3:ListAllMyBuckets","kms:ListKeys"],"Resource":"*"}`)
	out, err := alice.sts.GetFederationToken(t.Context(), &sts.GetFederationTokenInput{Name: new("bob"),
		Policy: new(document(`{"Effect":"Allow","Action":["s3:*","iam:*"],"Resource":"*"}`))})
	if err != nil {
		t.Fatal(err)
	}
	bob := root.with(out.Credentials)
	const arn = "arn:aws:sts::" + repositoryAccount + ":federated-user/bob"
	equal(t, "federated user", whoami(t, bob), arn)
	if _, err := bob.s3.ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
		t.Errorf("what both allow: %v", err)
	}
	_, err = bob.kms.ListKeys(t.Context(), &kms.ListKeysInput{})
	wantsRefusal(t, err, "AccessDeniedException", arn+" is not authorized to perform: kms:ListKeys")
	_, err = bob.iam.ListUsers(t.Context(), &iam.ListUsersInput{})
	wantsRefusal(t, err, "InvalidClientTokenId", "")
	_, err = bob.sts.GetFederationToken(t.Context(), &sts.GetFederationTokenInput{Name: new("eve")})
	wantsRefusal(t, err, "AccessDenied", "Cannot call GetFederationToken with session credentials")

	if _, err := root.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("bobs"),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region}}); err != nil {
		t.Fatal(err)
	}
	put := func() error {
		_, err := bob.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("bobs"), Key: new("k"), Body: strings.NewReader("x")})
		return err
	}
	wantsRefusal(t, put(), "AccessDenied", "s3:PutObject")
	if _, err := root.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: new("bobs"),
		Policy: new(document(`{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::bobs/*"}`))}); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Errorf("what the bucket grants: %v", err)
	}
}

// TestMFA signs in with the code of a virtual device.
func TestMFA(t *testing.T) {
	t.Parallel()
	s := start(t)
	root := s.account("repository")
	alice := user(t, root, "alice", `{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}`)
	made, err := root.iam.CreateVirtualMFADevice(t.Context(), &iam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: new("phone")})
	if err != nil {
		t.Fatal(err)
	}
	seed, err := base32.StdEncoding.DecodeString(string(made.VirtualMFADevice.Base32StringSeed))
	if err != nil {
		t.Fatal(err)
	}
	code := func(step int64) *string {
		mac := hmac.New(sha1.New, seed)
		for shift := 56; shift >= 0; shift -= 8 {
			mac.Write([]byte{byte(step >> shift)})
		}
		sum := mac.Sum(nil)
		at, n := sum[19]&15, 0
		for _, b := range sum[at : at+4] {
			n = n<<8 | int(b)
		}
		return new(fmt.Sprintf("%06d", n&0x7fffffff%1_000_000))
	}
	step := time.Now().Unix() / 30
	serial := made.VirtualMFADevice.SerialNumber
	if _, err := root.iam.EnableMFADevice(t.Context(), &iam.EnableMFADeviceInput{UserName: new("alice"), SerialNumber: serial,
		AuthenticationCode1: code(step - 2), AuthenticationCode2: code(step - 1)}); err != nil {
		t.Fatal(err)
	}
	_, err = alice.iam.ListUsers(t.Context(), &iam.ListUsersInput{})
	wantsRefusal(t, err, "AccessDenied", "iam:ListUsers")
	out, err := alice.sts.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{SerialNumber: serial, TokenCode: code(step)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.with(out.Credentials).iam.ListUsers(t.Context(), &iam.ListUsersInput{}); err != nil {
		t.Errorf("with MFA: %v", err)
	}
	_, err = alice.sts.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{SerialNumber: serial, TokenCode: code(step)})
	wantsRefusal(t, err, "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
}

// TestDecodeAuthorizationMessage takes the sealed reason of a refusal to whoever
// may read it.
func TestDecodeAuthorizationMessage(t *testing.T) {
	t.Parallel()
	s := start(t)
	root := s.account("repository")
	alice := user(t, root, "alice", "")
	_, err := alice.kms.ListKeys(t.Context(), &kms.ListKeysInput{})
	answer, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok {
		t.Fatal(err)
	}
	sealed := answer.Response.Header.Get("X-Sekisho-Authorization-Message")
	_, err = alice.sts.DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &sealed})
	wantsRefusal(t, err, "AccessDenied", "sts:DecodeAuthorizationMessage")
	_, err = s.account("pipeline").sts.DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &sealed})
	wantsRefusal(t, err, "InvalidAuthorizationMessageException", "")
	c := s.awsCLI(t, "repository")
	var message struct {
		Allowed bool
		Context struct {
			Principal struct{ Arn string }
			Action    string
		}
	}
	text := c.run("sts", "decode-authorization-message", "--encoded-message", sealed, "--query", "DecodedMessage", "--output", "text")
	if err := json.Unmarshal([]byte(text), &message); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	equal(t, "action", message.Context.Action, "kms:ListKeys")
	equal(t, "principal", message.Context.Principal.Arn, "arn:aws:iam::"+repositoryAccount+":user/alice")
}

// TestWebIdentity signs in with the token of an identity provider, as the SDK and
// the AWS CLI do by themselves where one is configured. A provider's port is
// 443, which takes root.
func TestWebIdentity(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:443")
	if err != nil {
		t.Skip(err)
	}
	issuer := oidctest.NewAt(t, "127.0.0.1", l)
	s := start(t)
	root := s.account("repository")
	if _, err := root.iam.CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{
		Url: new("https://127.0.0.1/idp"), ClientIDList: []string{"sts.amazonaws.com"}, ThumbprintList: []string{issuer.Thumbprint()},
	}); err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:iam::" + repositoryAccount + ":role/ci"
	if _, err := root.iam.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: new("ci"),
		AssumeRolePolicyDocument: new(document(`{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::` + repositoryAccount + `:oidc-provider/127.0.0.1/idp"},
			"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringLike":{"127.0.0.1/idp:sub":"repo:shop/*"}}}`))}); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	write := func(subject string) {
		now := time.Now().Unix()
		text := issuer.Token("rsa", map[string]any{"iss": "https://127.0.0.1/idp", "sub": subject, "aud": "sts.amazonaws.com", "iat": now, "exp": now + 300})
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("repo:shop/site")
	c := root.config.Copy()
	c.Credentials = stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(c), arn, stscreds.IdentityTokenFile(token), func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = "run" })
	equal(t, "by the SDK", whoami(t, clients(c)), "arn:aws:sts::"+repositoryAccount+":assumed-role/ci/run")

	if _, err := exec.LookPath("aws"); err == nil {
		cli := s.awsCLI(t, "repository")
		env := cli.env[:0:0]
		for _, v := range cli.env { // no other credentials
			if name, _, _ := strings.Cut(v, "="); name != "AWS_PROFILE" && name != "AWS_SHARED_CREDENTIALS_FILE" && name != "AWS_ACCESS_KEY_ID" && name != "AWS_SECRET_ACCESS_KEY" {
				env = append(env, v)
			}
		}
		cli.env = append(env, "AWS_ROLE_ARN="+arn, "AWS_WEB_IDENTITY_TOKEN_FILE="+token, "AWS_ROLE_SESSION_NAME=cli")
		equal(t, "by the AWS CLI", cli.run("sts", "get-caller-identity", "--query", "Arn", "--output", "text"), "arn:aws:sts::"+repositoryAccount+":assumed-role/ci/cli")
	}

	write("repo:evil/site")
	_, err = c.Credentials.Retrieve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity") {
		t.Errorf("another subject: %v", err)
	}
}
