package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// user makes an IAM user with an inline policy of these statements ("" for
// none), and returns clients that speak as the user.
func user(t *testing.T, a *account, name, statements string) *account {
	t.Helper()
	ctx := t.Context()
	if _, err := a.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}); err != nil {
		t.Fatal(err)
	}
	allow(t, a, name, statements)
	key, err := a.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return a.as(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
}

// allow replaces a user's inline policy.
func allow(t *testing.T, a *account, name, statements string) {
	t.Helper()
	if statements == "" {
		return
	}
	if _, err := a.iam.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{
		UserName: &name, PolicyName: new("own"), PolicyDocument: new(document(statements)),
	}); err != nil {
		t.Fatal(err)
	}
}

// document is a policy of these statements.
func document(statements string) string {
	return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
}

// as are the same clients with other credentials.
func (a *account) as(keyID, secret, token string) *account {
	c := a.config.Copy()
	c.Credentials = credentials.NewStaticCredentialsProvider(keyID, secret, token)
	return clients(c)
}

// role makes a role that principal may assume, and returns its ARN.
func role(t *testing.T, a *account, name, principal, statements string) string {
	t.Helper()
	out, err := a.iam.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name,
		AssumeRolePolicyDocument: new(document(`{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}`))})
	if err != nil {
		t.Fatal(err)
	}
	if statements != "" {
		if _, err := a.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
			RoleName: &name, PolicyName: new("own"), PolicyDocument: new(document(statements)),
		}); err != nil {
			t.Fatal(err)
		}
	}
	return *out.Role.Arn
}

// assume returns clients that wear a role.
func assume(t *testing.T, a *account, arn, session string) *account {
	t.Helper()
	out, err := a.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: &session})
	if err != nil {
		t.Fatal(err)
	}
	return a.as(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
}

func whoami(t *testing.T, a *account) string {
	t.Helper()
	out, err := a.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Arn
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestSessions walks a chain of sessions: a user, its session, a role of
// another account, and from there a role of the first.
func TestSessions(t *testing.T) {
	t.Parallel()
	s := start(t)
	repository, pipeline := s.account("repository"), s.account("pipeline")
	equal(t, "root", whoami(t, repository), "arn:aws:iam::"+repositoryAccount+":root")

	alice := user(t, repository, "alice", `{"Effect":"Allow","Action":["sts:AssumeRole","kms:ListKeys"],"Resource":"*"}`)
	equal(t, "user", whoami(t, alice), "arn:aws:iam::"+repositoryAccount+":user/alice")

	out, err := alice.sts.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	c := out.Credentials
	session := alice.as(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	equal(t, "session of a user", whoami(t, session), "arn:aws:iam::"+repositoryAccount+":user/alice")
	if _, err := session.kms.ListKeys(t.Context(), &kms.ListKeysInput{}); err != nil {
		t.Errorf("a session has its user's permissions: %v", err)
	}
	_, err = session.iam.ListUsers(t.Context(), &iam.ListUsersInput{})
	wantsRefusal(t, err, "InvalidClientTokenId", "")

	far := role(t, pipeline, "far", "arn:aws:iam::"+repositoryAccount+":root",
		`{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}`)
	back := role(t, repository, "back", far, `{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}`)
	there := assume(t, alice, far, "alice-there")
	equal(t, "role", whoami(t, there), "arn:aws:sts::"+pipelineAccount+":assumed-role/far/alice-there")
	again := assume(t, there, back, "and-back")
	equal(t, "chained role", whoami(t, again), "arn:aws:sts::"+repositoryAccount+":assumed-role/back/and-back")
	if _, err := again.s3.ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
		t.Error(err)
	}
	_, err = again.kms.ListKeys(t.Context(), &kms.ListKeysInput{})
	wantsRefusal(t, err, "AccessDeniedException", "arn:aws:sts::"+repositoryAccount+":assumed-role/back/and-back is not authorized to perform: kms:ListKeys")
	_, err = there.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &back, RoleSessionName: new("long"), DurationSeconds: new(int32(7200))})
	wantsRefusal(t, err, "ValidationError", "role chaining")
	_, err = alice.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &back, RoleSessionName: new("direct")})
	wantsRefusal(t, err, "AccessDenied", "is not authorized to perform: sts:AssumeRole on resource: "+back)

	// A role's sessions lose what the role loses, at once.
	if _, err := repository.iam.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: new("back"), PolicyName: new("own")}); err != nil {
		t.Fatal(err)
	}
	_, err = again.s3.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	wantsRefusal(t, err, "AccessDenied", "s3:ListAllMyBuckets")
}

// wantsRefusal fails unless err has the code, and the words.
func wantsRefusal(t *testing.T, err error, code, words string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), words) {
		t.Errorf("got %v, want %s: %s", err, code, words)
	}
}

// TestKeys: what is not proven is refused, in the words of each protocol.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.account("repository")
	ctx := t.Context()
	alice := user(t, a, "alice", `{"Effect":"Allow","Action":"*","Resource":"*"}`)
	c, err := alice.config.Credentials.Retrieve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	session, err := alice.sts.GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	temporary := session.Credentials
	other, err := a.sts.GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}

	refused := func(t *testing.T, who *account, json, query, s3code string) {
		t.Helper()
		_, err := who.kms.ListKeys(ctx, &kms.ListKeysInput{})
		wantsRefusal(t, err, json, "")
		_, err = who.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		wantsRefusal(t, err, query, "")
		_, err = who.s3.ListBuckets(ctx, &s3.ListBucketsInput{})
		wantsRefusal(t, err, s3code, "")
	}
	const unrecognized, invalid, unknown = "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"
	for _, tt := range []struct{ name, key, secret, token, json, query, s3 string }{
		{"unknown key", "AKIAIOSFODNN7EXAMPLE", "x", "", unrecognized, invalid, unknown},
		{"account id as a key", repositoryAccount, "x", "", unrecognized, invalid, unknown},
		{"odd key", "é/…", "x", "", "", "", ""},
		{"wrong secret", c.AccessKeyID, "x", "", "InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"},
		{"temporary key without its token", *temporary.AccessKeyId, *temporary.SecretAccessKey, "", unrecognized, invalid, unknown},
		{"damaged token", *temporary.AccessKeyId, *temporary.SecretAccessKey, "x" + *temporary.SessionToken, unrecognized, invalid, "InvalidToken"},
		{"another's token", *temporary.AccessKeyId, *temporary.SecretAccessKey, *other.Credentials.SessionToken, unrecognized, invalid, "InvalidToken"},
		{"wrong secret of a session", *temporary.AccessKeyId, "x", *temporary.SessionToken, "InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"},
		{"token with a lasting key", c.AccessKeyID, c.SecretAccessKey, *temporary.SessionToken, unrecognized, invalid, "InvalidToken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who := a.as(tt.key, tt.secret, tt.token)
			if tt.json != "" {
				refused(t, who, tt.json, tt.query, tt.s3)
				return
			}
			if _, err := who.kms.ListKeys(ctx, &kms.ListKeysInput{}); err == nil {
				t.Error("accepted")
			}
		})
	}

	status := func(to iamtypes.StatusType) {
		t.Helper()
		if _, err := a.iam.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: new("alice"), AccessKeyId: &c.AccessKeyID, Status: to}); err != nil {
			t.Fatal(err)
		}
	}
	status(iamtypes.StatusTypeInactive)
	refused(t, alice, unrecognized, invalid, unknown)
	status(iamtypes.StatusTypeActive)
	whoami(t, alice)
	if _, err := a.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: new("alice"), AccessKeyId: &c.AccessKeyID}); err != nil {
		t.Fatal(err)
	}
	refused(t, alice, unrecognized, invalid, unknown)
}

// TestDevCredentials: any key passes, except one that exists.
func TestDevCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, "--dev-credentials")
	a := s.account("repository")
	equal(t, "twelve digits", whoami(t, a.as("333333333333", "anything", "")), "arn:aws:iam::333333333333:root")
	equal(t, "any other key", whoami(t, a.as("test", "test", "")), "arn:aws:iam::123456789012:root")
	alice := user(t, a, "alice", "")
	equal(t, "a key that IAM made", whoami(t, alice), "arn:aws:iam::"+repositoryAccount+":user/alice")
	c, err := alice.config.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.as(c.AccessKeyID, "wrong", "").sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	wants(t, err, "SignatureDoesNotMatch")

	dev := a.as("test", "test", "")
	if _, err := dev.s3.CreateBucket(t.Context(), createBucket("dev-bucket")); err != nil {
		t.Fatal(err)
	}
	put(t, dev, "dev-bucket", "k", "as an emulator would")
	equal(t, "object", read(t, dev, "dev-bucket", "k"), "as an emulator would")
	_, err = a.as("333333333333", "x", "").s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("dev-bucket"), Key: new("k")})
	wants(t, err, "AccessDenied")
	if !strings.Contains(s.log.String(), "dev-credentials") {
		t.Error("the server does not shout about --dev-credentials")
	}
}
