package iam_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	stsapi "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/service/sts"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
	"github.com/sekisho/sekisho/internal/token"
)

const (
	one      = "111111111111"
	two      = "222222222222"
	allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	allowS3  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	trust    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"sts:AssumeRole"}}`
)

// world is IAM on one database, and account one's root as a client.
type world struct {
	*testing.T
	env  *servicetest.Env
	iam  *iam.Service
	root api.Client
}

func each(t *testing.T, o iam.Options, test func(w world)) {
	servicetest.Each(t, func(e *servicetest.Env) {
		s := newIAM(e, o)
		e.Door.Serve("iam", s.Operations())
		test(world{e.T, e, s, api.Client{Invoker: e.As("root@" + one)}})
	}, iam.Schema())
}

// must returns the answer of a call that has to succeed.
func must[T any](out T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func ctx() context.Context { return context.Background() }

// user makes a user with a policy and a key, and returns whom the key stands
// for.
func (w world) user(name, document string) aws.Principal {
	w.Helper()
	must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: name}))(w)
	if document != "" {
		must(w.root.PutUserPolicy(ctx(), &api.PutUserPolicyInput{UserName: name, PolicyName: "p", PolicyDocument: document}))(w)
	}
	k := must(w.root.CreateAccessKey(ctx(), &api.CreateAccessKeyInput{UserName: name}))(w)
	secret, p, err := w.iam.Key(ctx(), k.AccessKey.AccessKeyId, "")
	if err != nil || !secret.Equal([]byte(k.AccessKey.SecretAccessKey)) {
		w.Fatalf("key of %s: %v", name, err)
	}
	return p
}

// may asks whether a principal may do something in its own account.
func (w world) may(p aws.Principal, action string) bool {
	w.Helper()
	set, err := w.iam.For(ctx(), p)
	if err != nil {
		w.Fatal(err)
	}
	return policy.Decide(set, &policy.Request{Principal: p, Action: action, Resource: "arn:aws:s3:::b/k", Owner: p.Account}) == policy.Allow
}

// TestForFollowsEveryChange holds that no change is answered from a cache that
// does not know it.
func TestForFollowsEveryChange(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		p := w.user("alice", "")
		const get = "s3:GetObject"
		check := func(what string, want bool) {
			w.Helper()
			for range 2 { // the second answer is the cache's
				if got := w.may(p, get); got != want {
					w.Fatalf("after %s: may = %v, want %v", what, got, want)
				}
			}
		}
		arn := "arn:aws:iam::" + one + ":policy/P"
		check("nothing", false)
		must(w.root.PutUserPolicy(ctx(), &api.PutUserPolicyInput{UserName: "alice", PolicyName: "p", PolicyDocument: allowAll}))(w)
		check("PutUserPolicy", true)
		must(w.root.DeleteUserPolicy(ctx(), &api.DeleteUserPolicyInput{UserName: "alice", PolicyName: "p"}))(w)
		check("DeleteUserPolicy", false)
		must(w.root.CreatePolicy(ctx(), &api.CreatePolicyInput{PolicyName: "P", PolicyDocument: allowS3}))(w)
		must(w.root.AttachUserPolicy(ctx(), &api.AttachUserPolicyInput{UserName: "alice", PolicyArn: arn}))(w)
		check("AttachUserPolicy", true)
		must(w.root.CreatePolicyVersion(ctx(), &api.CreatePolicyVersionInput{PolicyArn: arn, SetAsDefault: new(true), PolicyDocument: strings.Replace(allowS3, "s3:*", "kms:*", 1)}))(w)
		check("CreatePolicyVersion", false)
		must(w.root.SetDefaultPolicyVersion(ctx(), &api.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: "v1"}))(w)
		check("SetDefaultPolicyVersion", true)
		must(w.root.PutUserPermissionsBoundary(ctx(), &api.PutUserPermissionsBoundaryInput{UserName: "alice", PermissionsBoundary: "arn:aws:iam::aws:policy/IAMReadOnlyAccess"}))(w)
		check("PutUserPermissionsBoundary", false)
		must(w.root.DeleteUserPermissionsBoundary(ctx(), &api.DeleteUserPermissionsBoundaryInput{UserName: "alice"}))(w)
		must(w.root.DetachUserPolicy(ctx(), &api.DetachUserPolicyInput{UserName: "alice", PolicyArn: arn}))(w)
		check("DetachUserPolicy", false)
		must(w.root.CreateGroup(ctx(), &api.CreateGroupInput{GroupName: "g"}))(w)
		must(w.root.AttachGroupPolicy(ctx(), &api.AttachGroupPolicyInput{GroupName: "g", PolicyArn: "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}))(w)
		must(w.root.AddUserToGroup(ctx(), &api.AddUserToGroupInput{GroupName: "g", UserName: "alice"}))(w)
		check("AddUserToGroup", true)
		must(w.root.RemoveUserFromGroup(ctx(), &api.RemoveUserFromGroupInput{GroupName: "g", UserName: "alice"}))(w)
		check("RemoveUserFromGroup", false)
	})
}

// TestOtherNode holds that a node sees what another one changed, on the
// database that they can share.
func TestOtherNode(t *testing.T) {
	statetest.EachURL(t, func(t *testing.T, url string) {
		if !strings.HasPrefix(url, "postgres") {
			t.Skip("a file belongs to one process")
		}
		a := servicetest.New(t, statetest.Open(t, url, iam.Schema()))
		b := servicetest.New(t, statetest.Open(t, url, iam.Schema()))
		here, there := newIAM(a, iam.Options{}), newIAM(b, iam.Options{})
		a.Door.Serve("iam", here.Operations())
		w := world{t, a, there, api.Client{Invoker: a.As("root@" + one)}}
		p := w.user("alice", allowAll)
		if !w.may(p, "s3:GetObject") {
			t.Fatal("alice may not")
		}
		must(w.root.DeleteUserPolicy(ctx(), &api.DeleteUserPolicyInput{UserName: "alice", PolicyName: "p"}))(t)
		if w.may(p, "s3:GetObject") {
			t.Error("the other node did not see the change")
		}
		must(w.root.UpdateAccessKey(ctx(), &api.UpdateAccessKeyInput{UserName: "alice", AccessKeyId: p.AccessKeyID, Status: "Inactive"}))(t)
		if _, _, err := there.Key(ctx(), p.AccessKeyID, ""); err == nil {
			t.Error("the other node takes an inactive key")
		}

		// A session of a role that the first node deletes.
		r := must(w.root.CreateRole(ctx(), &api.CreateRoleInput{RoleName: "R", AssumeRolePolicyDocument: trust}))(t).Role
		must(w.root.PutRolePolicy(ctx(), &api.PutRolePolicyInput{RoleName: "R", PolicyName: "p", PolicyDocument: allowAll}))(t)
		worn := aws.Principal{Kind: aws.Session, Account: one, RoleARN: r.Arn, ID: r.RoleId + ":s", ARN: aws.NewARN("sts", "", one, "assumed-role/R/s")}
		if !w.may(worn, "s3:GetObject") {
			t.Fatal("the session may not")
		}
		must(w.root.DeleteRolePolicy(ctx(), &api.DeleteRolePolicyInput{RoleName: "R", PolicyName: "p"}))(t)
		must(w.root.DeleteRole(ctx(), &api.DeleteRoleInput{RoleName: "R"}))(t)
		w.nobody("a session on the other node", worn)
	})
}

func TestSessionsGoByTheUniqueID(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		create := func() aws.Principal {
			r := must(w.root.CreateRole(ctx(), &api.CreateRoleInput{RoleName: "R", AssumeRolePolicyDocument: trust}))(w).Role
			must(w.root.PutRolePolicy(ctx(), &api.PutRolePolicyInput{RoleName: "R", PolicyName: "p", PolicyDocument: allowAll}))(w)
			return aws.Principal{Kind: aws.Session, Account: one, RoleARN: r.Arn, ID: r.RoleId + ":s", ARN: aws.NewARN("sts", "", one, "assumed-role/R/s")}
		}
		old := create()
		if !w.may(old, "s3:GetObject") {
			t.Fatal("the session may not")
		}
		narrow := old
		narrow.SessionPolicies = []string{allowS3}
		narrow.SessionPolicyARNs = []string{"arn:aws:iam::aws:policy/AWSCodeCommitReadOnly"}
		for action, want := range map[string]bool{"s3:GetObject": true, "codecommit:GetBranch": true, "kms:Decrypt": false} {
			if got := w.may(narrow, action); got != want {
				t.Errorf("narrowed session, %s: %v, want %v", action, got, want)
			}
		}
		must(w.root.DeleteRolePolicy(ctx(), &api.DeleteRolePolicyInput{RoleName: "R", PolicyName: "p"}))(w)
		must(w.root.DeleteRole(ctx(), &api.DeleteRoleInput{RoleName: "R"}))(w)
		w.nobody("a session of a role that is gone", old)
		w.nobody("a narrowed session of a role that is gone", narrow)
		if now := create(); !w.may(now, "s3:GetObject") {
			t.Error("a session of the new role may not")
		}
		w.nobody("a session of the old role beside the new one", old)
	})
}

// nobody holds that a principal is refused at once, whatever some resource's
// policy says of it.
func (w world) nobody(what string, p aws.Principal) {
	w.Helper()
	if set, err := w.iam.For(ctx(), p); code(err) != "InvalidClientTokenId" {
		w.Errorf("policies of %s: %+v, %v", what, set, err)
	}
}

func code(err error) string {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e.Code
	}
	return ""
}

// TestTokensDieWithTheirUserOrRole holds that a session's credentials prove
// nobody once the user or role is gone, also when a namesake has come.
func TestTokensDieWithTheirUserOrRole(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		w.env.Door.Serve("sts", sts.New(w.iam, w.env.Master.For(iam.TokenPurpose), sts.Options{}).Operations())
		makeRole := func() {
			must(w.root.CreateRole(ctx(), &api.CreateRoleInput{RoleName: "R", AssumeRolePolicyDocument: trust}))(w)
		}
		makeRole()
		alice := w.user("alice", "")
		w.env.Grant("alice@"+one, allowAll)
		sts := stsapi.Client{Invoker: w.env.Door.As(sessionOf(alice))}
		role := must(sts.AssumeRole(ctx(), &stsapi.AssumeRoleInput{RoleArn: "arn:aws:iam::" + one + ":role/R", RoleSessionName: "s"}))(w).Credentials
		own := must(sts.GetSessionToken(ctx(), &stsapi.GetSessionTokenInput{}))(w).Credentials
		key := func(c *stsapi.Credentials) string {
			_, _, err := w.iam.Key(ctx(), c.AccessKeyId, c.SessionToken)
			if err != nil && code(err) == "" {
				w.Fatal(err)
			}
			return code(err)
		}
		for range 2 { // the second time it has been opened before
			if _, _, err := w.iam.Key(ctx(), role.AccessKeyId, own.SessionToken); code(err) != "InvalidClientTokenId" {
				t.Errorf("another session's token: %v", err)
			}
			key(role)
		}
		if key(role) != "" || key(own) != "" {
			t.Fatalf("sessions of what exists: %q, %q", key(role), key(own))
		}
		must(w.root.DeleteRole(ctx(), &api.DeleteRoleInput{RoleName: "R"}))(w)
		must(w.root.DeleteAccessKey(ctx(), &api.DeleteAccessKeyInput{UserName: "alice", AccessKeyId: alice.AccessKeyID}))(w)
		if key(own) != "" {
			t.Errorf("a session must outlive the key that made it: %s", key(own))
		}
		must(w.root.DeleteUser(ctx(), &api.DeleteUserInput{UserName: "alice"}))(w)
		refused := func(when string) {
			if key(role) != "InvalidClientTokenId" || key(own) != "InvalidClientTokenId" {
				t.Errorf("%s the sessions of role and user answer %q, %q", when, key(role), key(own))
			}
		}
		refused("with both gone")
		makeRole()
		w.user("alice", allowAll)
		refused("beside their namesakes")
	})
}

func TestKey(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		p := w.user("alice", "")
		if p.ARN != "arn:aws:iam::111111111111:user/alice" || p.Kind != aws.User || p.AccessKeyID == "" {
			t.Errorf("principal = %+v", p)
		}
		must(w.root.UpdateUser(ctx(), &api.UpdateUserInput{UserName: "alice", NewUserName: "Ann"}))(w)
		if _, q, err := w.iam.Key(ctx(), p.AccessKeyID, ""); err != nil || q.Name() != "Ann" || q.ID != p.ID {
			t.Errorf("after a new name the key stands for %+v, %v", q, err)
		}
		must(w.root.UpdateAccessKey(ctx(), &api.UpdateAccessKeyInput{UserName: "Ann", AccessKeyId: p.AccessKeyID, Status: "Inactive"}))(w)
		for name, id := range map[string]string{"inactive": p.AccessKeyID, "unknown": "AKIANOSUCHKEY0000000", "session without token": "ASIAQAAAAAAAAAAAAAAA", "account": one, "empty": ""} {
			_, _, err := w.iam.Key(ctx(), id, "")
			if e, ok := errors.AsType[*aws.Error](err); !ok || e.Code != "InvalidClientTokenId" {
				t.Errorf("%s: %v", name, err)
			}
			if w.iam.Trusted(id) {
				t.Errorf("%s is trusted", name)
			}
		}
	})
}

func TestPassword(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		p := w.user("alice", "")
		c := must(w.root.CreateServiceSpecificCredential(ctx(), &api.CreateServiceSpecificCredentialInput{UserName: "alice", ServiceName: "codecommit.amazonaws.com"}))(w).ServiceSpecificCredential
		got, err := w.iam.Password(ctx(), c.ServiceUserName, c.ServicePassword)
		if err != nil || got.ID != p.ID {
			t.Fatalf("password stands for %+v, %v", got, err)
		}
		refused := func(what, name, password string) {
			if _, err := w.iam.Password(ctx(), name, password); err == nil {
				t.Errorf("%s is taken", what)
			}
		}
		refused("another password", c.ServiceUserName, "x")
		refused("another name", "bob-at-111111111111", c.ServicePassword)
		reset := must(w.root.ResetServiceSpecificCredential(ctx(), &api.ResetServiceSpecificCredentialInput{UserName: "alice", ServiceSpecificCredentialId: c.ServiceSpecificCredentialId}))(w).ServiceSpecificCredential
		refused("the password before the reset", c.ServiceUserName, c.ServicePassword)
		if _, err := w.iam.Password(ctx(), c.ServiceUserName, reset.ServicePassword); err != nil {
			t.Error(err)
		}
		must(w.root.UpdateServiceSpecificCredential(ctx(), &api.UpdateServiceSpecificCredentialInput{UserName: "alice", ServiceSpecificCredentialId: c.ServiceSpecificCredentialId, Status: "Inactive"}))(w)
		refused("an inactive credential", c.ServiceUserName, reset.ServicePassword)
	})
}

func TestAccounts(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		first, err := w.iam.CreateAccount(ctx(), "three", "")
		if err != nil || !aws.IsAccountID(first.ID) {
			t.Fatalf("%+v, %v", first, err)
		}
		again, err := w.iam.CreateAccount(ctx(), "three", first.ID)
		if err != nil || again.ID != first.ID || again.AccessKeyID != first.AccessKeyID || !again.Secret.Equal(first.Secret.Reveal()) {
			t.Errorf("the second time: %+v, %v", again, err)
		}
		if secret, p, err := w.iam.Key(ctx(), first.AccessKeyID, ""); err != nil || p.Kind != aws.Root || p.Account != first.ID || !secret.Equal(first.Secret.Reveal()) {
			t.Errorf("root's key stands for %+v, %v", p, err)
		}
		for _, bad := range [][2]string{{"three", two}, {"four", two}, {"x", "12"}, {"", ""}} {
			if _, err := w.iam.CreateAccount(ctx(), bad[0], bad[1]); err == nil {
				t.Errorf("account %v was made", bad)
			}
		}
		list, err := w.iam.Accounts(ctx())
		if err != nil || len(list) != 3 || list[0].Name != "one" || list[0].AccessKeyID == "" {
			t.Errorf("accounts = %+v, %v", list, err)
		}
	})
}

func TestResolvePrincipal(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		p := w.user("alice", "")
		must(w.root.CreateRole(ctx(), &api.CreateRoleInput{RoleName: "R", Path: "/x/", AssumeRolePolicyDocument: trust}))(w)
		for arn, want := range map[string]bool{
			p.ARN: true, "arn:aws:iam::111111111111:root": true, one: true,
			"arn:aws:iam::111111111111:user/ALICE":         false,
			"arn:aws:iam::111111111111:user/x/alice":       false,
			"arn:aws:iam::111111111111:role/x/R":           true,
			"arn:aws:iam::111111111111:role/R":             false,
			"arn:aws:sts::111111111111:assumed-role/R/s":   true,
			"arn:aws:sts::111111111111:assumed-role/Q/s":   false,
			"arn:aws:iam::111111111111:group/alice":        false,
			"arn:aws:iam::333333333333:user/whoever":       true,
			"arn:aws:s3:::bucket":                          false,
			"nonsense":                                     false,
			"arn:aws:sts::111111111111:federated-user/bob": true,
		} {
			if _, got, err := w.iam.ResolvePrincipal(ctx(), arn); got != want || err != nil {
				t.Errorf("%s exists = %v, %v, want %v", arn, got, err, want)
			}
		}
		r, ok, err := w.iam.Role(ctx(), "arn:aws:iam::111111111111:role/x/R")
		if !ok || err != nil || r.Trust.Doc.Len() != 1 || r.MaxSession.Hours() != 1 {
			t.Errorf("role = %+v, %v, %v", r, ok, err)
		}
		if _, ok, err := w.iam.Role(ctx(), "arn:aws:iam::111111111111:role/R"); ok || err != nil {
			t.Errorf("a role of another path is found: %v", err)
		}
	})
}

func TestDevCredentials(t *testing.T) {
	each(t, iam.Options{DevCredentials: true}, func(w world) {
		for id, account := range map[string]string{"333333333333": "333333333333", "test": "123456789012", "AKIAIOSFODNN7EXAMPLE": "123456789012"} {
			secret, p, err := w.iam.Key(ctx(), id, "")
			if err != nil || p.Kind != aws.Root || p.Account != account || !w.iam.Trusted(id) {
				t.Errorf("%s stands for %+v, %v", id, p, err)
			}
			if secret.Equal(nil) || secret.Equal([]byte("x")) {
				t.Errorf("%s has a secret that something equals", id)
			}
		}
		p := w.user("alice", "")
		if w.iam.Trusted(p.AccessKeyID) {
			t.Error("a key that IAM made is believed without its signature")
		}
		if w.iam.Trusted("ASIAQAAAAAAAAAAAAAAA") {
			t.Error("a session's key is believed without its signature")
		}
		if list, err := w.iam.Accounts(ctx()); err != nil || len(list) != 4 {
			t.Errorf("accounts = %v, %v", list, err)
		}
	})
}

// TestBuiltinPolicies holds that AWS's own policies parse, and give what their
// names say.
func TestBuiltinPolicies(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		p := w.user("alice", "")
		for _, tt := range []struct{ name, may, mayNot string }{
			{"AdministratorAccess", "iam:CreateUser", ""},
			{"PowerUserAccess", "s3:PutObject", "iam:CreateUser"},
			{"ReadOnlyAccess", "codepipeline:GetPipelineState", "codepipeline:StartPipelineExecution"},
			{"IAMFullAccess", "iam:CreateUser", "s3:GetObject"},
			{"IAMReadOnlyAccess", "iam:GetRole", "iam:CreateUser"},
			{"AmazonS3FullAccess", "s3:DeleteBucket", "kms:Decrypt"},
			{"AmazonS3ReadOnlyAccess", "s3:GetObject", "s3:PutObject"},
			{"AWSCodeCommitFullAccess", "codecommit:DeleteRepository", "s3:GetObject"},
			{"AWSCodeCommitPowerUser", "codecommit:GitPush", "codecommit:DeleteRepository"},
			{"AWSCodeCommitReadOnly", "codecommit:GitPull", "codecommit:GitPush"},
			{"AWSCodePipeline_FullAccess", "codepipeline:CreatePipeline", "s3:PutObject"},
			{"AWSCodePipeline_ReadOnlyAccess", "codepipeline:GetPipeline", "codepipeline:CreatePipeline"},
			{"AmazonEventBridgeFullAccess", "events:PutRule", "s3:GetObject"},
			{"AWSKeyManagementServicePowerUser", "kms:CreateKey", "kms:Decrypt"},
			{"AWSCloudFormationFullAccess", "cloudformation:CreateStack", "s3:GetObject"},
			{"AWSCloudFormationReadOnlyAccess", "cloudformation:DescribeStacks", "cloudformation:CreateStack"},
		} {
			arn := "arn:aws:iam::aws:policy/" + tt.name
			must(w.root.AttachUserPolicy(ctx(), &api.AttachUserPolicyInput{UserName: "alice", PolicyArn: arn}))(w)
			if !w.may(p, tt.may) || tt.mayNot != "" && w.may(p, tt.mayNot) {
				t.Errorf("%s: %s = %v, %s = %v", tt.name, tt.may, w.may(p, tt.may), tt.mayNot, w.may(p, tt.mayNot))
			}
			must(w.root.DetachUserPolicy(ctx(), &api.DetachUserPolicyInput{UserName: "alice", PolicyArn: arn}))(w)
		}
	})
}

// TestInlineQuota holds that the quota is the entity's, not the policy's.
func TestInlineQuota(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		w.user("alice", "")
		long := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:%s","Resource":"*"}}`, strings.Repeat("x", 1200))
		put := func(name string) error {
			_, err := w.root.PutUserPolicy(ctx(), &api.PutUserPolicyInput{UserName: "alice", PolicyName: name, PolicyDocument: long})
			return err
		}
		if err := put("a"); err != nil {
			t.Fatal(err)
		}
		if e, ok := errors.AsType[*aws.Error](put("b")); !ok || e.Code != "LimitExceeded" {
			t.Errorf("two long policies: %v", e)
		}
		if err := put("a"); err != nil {
			t.Errorf("the same policy again: %v", err)
		}
	})
}

// TestSessionOfUserCannotReachIAM: credentials of GetSessionToken without MFA
// are refused by IAM.
func TestSessionOfUserCannotReachIAM(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		p := aws.RootPrincipal(one)
		p.Temporary = true
		s := w.env.Door.As(sessionOf(p))
		_, err := api.Client{Invoker: s}.ListUsers(ctx(), &api.ListUsersInput{})
		if e, ok := errors.AsType[*aws.Error](err); !ok || e.Code != "InvalidClientTokenId" {
			t.Errorf("error = %v", err)
		}
	})
}

// TestSessionFollowsItsUser holds that a user's session goes by the name that the
// user has now: the old one may be somebody else's.
func TestSessionFollowsItsUser(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		w.env.Door.Serve("sts", sts.New(w.iam, w.env.Master.For(iam.TokenPurpose), sts.Options{}).Operations())
		alice := w.user("alice", allowAll)
		c := must(stsapi.Client{Invoker: w.env.Door.As(sessionOf(alice))}.GetSessionToken(ctx(), &stsapi.GetSessionTokenInput{}))(w).Credentials
		must(w.root.UpdateUser(ctx(), &api.UpdateUserInput{UserName: "alice", NewUserName: "ann", NewPath: "/ops/"}))(w)
		must(w.root.CreateUser(ctx(), &api.CreateUserInput{UserName: "alice"}))(w)
		_, p, err := w.iam.Key(ctx(), c.AccessKeyId, c.SessionToken)
		if err != nil || p.ARN != "arn:aws:iam::"+one+":user/ops/ann" || p.ID != alice.ID {
			t.Errorf("the session stands for %s (%s), %v", p.ARN, p.ID, err)
		}
	})
}

// TestUsersOfOddPaths holds that whoever may change passwords by the account's
// policy may do so below any path.
func TestUsersOfOddPaths(t *testing.T) {
	each(t, iam.Options{}, func(w world) {
		must(w.root.UpdateAccountPasswordPolicy(ctx(), &api.UpdateAccountPasswordPolicyInput{AllowUsersToChangePassword: new(true)}))(w)
		for _, path := range []string{`/a"b/`, `/a*?/`, `/${aws:username}/`, `/","Action":"*/`, `/\/`} {
			name := fmt.Sprintf("u%x", path)
			p := w.user(name, "")
			must(w.root.CreateLoginProfile(ctx(), &api.CreateLoginProfileInput{UserName: name, Password: "Secret-1"}))(w)
			must(w.root.UpdateUser(ctx(), &api.UpdateUserInput{UserName: name, NewPath: path}))(w)
			p.ARN = "arn:aws:iam::" + one + ":user" + path + name
			client := api.Client{Invoker: w.env.Door.As(sessionOf(p))}
			if _, err := client.ChangePassword(ctx(), &api.ChangePasswordInput{OldPassword: "Secret-1", NewPassword: "Secret-2"}); err != nil {
				t.Errorf("path %s: %v", path, err)
			}
			if _, err := client.CreateAccessKey(ctx(), &api.CreateAccessKeyInput{}); code(err) != "AccessDenied" {
				t.Errorf("path %s: another operation: %v", path, err)
			}
		}
	})
}

func BenchmarkFor(b *testing.B) {
	db, s, p := benchWorld(b)
	defer db.Close()
	b.ReportAllocs()
	for b.Loop() {
		if set, err := s.For(ctx(), p); err != nil || len(set.Identity) == 0 {
			b.Fatal(set, err)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	db, s, p := benchWorld(b)
	defer db.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.Key(ctx(), p.AccessKeyID, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSessionKey is what each call with temporary credentials costs before
// its signature is verified.
func BenchmarkSessionKey(b *testing.B) {
	db, s, p := benchWorld(b)
	defer db.Close()
	master, err := seal.NewMaster(make([]byte, seal.KeySize))
	if err != nil {
		b.Fatal(err)
	}
	p.AccessKeyID, p.Temporary, p.Expires = token.NewKeyID("ASIA", one), true, time.Now().Add(time.Hour)
	text, err := token.Seal(master.For(iam.TokenPurpose), token.Session{Secret: token.NewSecret(), Principal: p})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.Key(ctx(), p.AccessKeyID, text); err != nil {
			b.Fatal(err)
		}
	}
}

// benchWorld is IAM on a file with one user that has policies and a key.
func benchWorld(b *testing.B) (*state.DB, *iam.Service, aws.Principal) {
	db, err := state.Open(ctx(), statetest.SQLite(b), iam.Schema())
	if err != nil {
		b.Fatal(err)
	}
	master, err := seal.NewMaster(make([]byte, seal.KeySize))
	if err != nil {
		b.Fatal(err)
	}
	s := iam.New(db, master, iam.Options{})
	if _, err := s.CreateAccount(ctx(), "one", one); err != nil {
		b.Fatal(err)
	}
	c := &call.Call{Principal: aws.RootPrincipal(one), Time: time.Now()}
	do := func(name string, in any) any {
		for _, op := range s.Operations() {
			if op.Name == name {
				return must(op.Handle(ctx(), c, in))(b)
			}
		}
		b.Fatalf("no operation %s", name)
		return nil
	}
	do("CreateUser", &api.CreateUserInput{UserName: "alice"})
	do("PutUserPolicy", &api.PutUserPolicyInput{UserName: "alice", PolicyName: "p", PolicyDocument: allowAll})
	k := do("CreateAccessKey", &api.CreateAccessKeyInput{UserName: "alice"}).(*api.CreateAccessKeyOutput)
	_, p, err := s.Key(ctx(), k.AccessKey.AccessKeyId, "")
	if err != nil {
		b.Fatal(err)
	}
	return db, s, p
}

func sessionOf(p aws.Principal) call.Session { return call.Session{Principal: p, Region: "us-east-1"} }
