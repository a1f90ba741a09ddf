package sts_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	models "github.com/sekisho/sekisho/internal/api"
	iamapi "github.com/sekisho/sekisho/internal/api/iam"
	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/service/sts"
	"github.com/sekisho/sekisho/internal/servicetest"
)

// serve puts STS on the door, over IAM with the accounts 111111111111 and
// 222222222222.
func serve(e *servicetest.Env) *iam.Service {
	roles := iam.New(e.DB, e.Master, iam.Options{Now: e.Now})
	for id, name := range map[string]string{"111111111111": "one", "222222222222": "two"} {
		if _, err := roles.CreateAccount(context.Background(), name, id); err != nil {
			e.T.Fatal(err)
		}
	}
	e.People = roles
	e.Door.Serve("iam", roles.Operations())
	e.Door.Serve("sts", sts.New(roles, e.Master.For(iam.TokenPurpose), sts.Options{}).Operations())
	return roles
}

func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) { serve(e) }, iam.Schema())
}

const (
	trustAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}}`
	allowS3  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
)

// world has a role R in account one that trusts everybody, and may do all of
// S3.
type world struct {
	*testing.T
	env *servicetest.Env
	iam *iam.Service
}

func each(t *testing.T, test func(w world)) {
	servicetest.Each(t, func(e *servicetest.Env) {
		w := world{e.T, e, serve(e)}
		for _, name := range []string{"R", "Q"} {
			w.role(name)
		}
		test(w)
	}, iam.Schema())
}

func (w world) role(name string) {
	w.Helper()
	root := iamapi.Client{Invoker: w.env.As("root@111111111111")}
	_, err := root.CreateRole(context.Background(), &iamapi.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: trustAll, MaxSessionDuration: new(int64(7200)), Tags: []iamapi.Tag{{Key: "team", Value: "role"}}})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := root.PutRolePolicy(context.Background(), &iamapi.PutRolePolicyInput{RoleName: name, PolicyName: "p", PolicyDocument: allowS3}); err != nil {
		w.Fatal(err)
	}
}

// assume returns whom the credentials stand for that STS hands out.
func (w world) assume(by call.Session, in *api.AssumeRoleInput) (*api.AssumeRoleOutput, aws.Principal, error) {
	w.Helper()
	if err := models.Check("sts", "AssumeRole", in); err != nil { // as the real door does
		return nil, aws.Principal{}, err
	}
	out, err := api.Client{Invoker: w.env.Door.As(by)}.AssumeRole(context.Background(), in)
	if err != nil {
		return nil, aws.Principal{}, err
	}
	secret, p, err := w.iam.Key(context.Background(), out.Credentials.AccessKeyId, out.Credentials.SessionToken)
	if err != nil || !secret.Equal([]byte(out.Credentials.SecretAccessKey)) {
		w.Fatalf("the credentials are not taken: %v", err)
	}
	return out, p, nil
}

func code(err error) string {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e.Code
	}
	return ""
}

func alice() call.Session {
	return call.Session{Region: "us-east-1", Principal: aws.Principal{Kind: aws.User, Account: "111111111111", ARN: "arn:aws:iam::111111111111:user/alice", ID: "AIDAALICE"}}
}

// user makes a user, and returns a session of it.
func (w world) user(name string) call.Session {
	w.Helper()
	root := iamapi.Client{Invoker: w.env.As("root@111111111111")}
	u := must(root.CreateUser(context.Background(), &iamapi.CreateUserInput{UserName: name}))(w).User
	return call.Session{Region: "us-east-1", Principal: aws.Principal{Kind: aws.User, Account: "111111111111", ARN: u.Arn, ID: u.UserId}}
}

func TestSession(t *testing.T) {
	each(t, func(w world) {
		const arn = "arn:aws:iam::111111111111:role/R"
		out, p, err := w.assume(alice(), &api.AssumeRoleInput{RoleArn: arn, RoleSessionName: "s1", DurationSeconds: new(int64(7200)),
			Tags: []api.Tag{{Key: "Team", Value: "a"}, {Key: "x", Value: "y"}}, TransitiveTagKeys: []string{"Team"}, SourceIdentity: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		if p.ARN != "arn:aws:sts::111111111111:assumed-role/R/s1" || p.RoleARN != arn || p.Kind != aws.Session || p.Chained || !strings.HasSuffix(p.ID, ":s1") || p.SourceIdentity != "alice" {
			t.Errorf("principal = %+v", p)
		}
		if got := p.Expires.Sub(p.Issued); got != 2*time.Hour {
			t.Errorf("session lasts %v", got)
		}
		if len(p.Tags) != 2 || p.Tags[0].Value != "a" {
			t.Errorf("tags = %v", p.Tags)
		}
		if account := must(api.Client{Invoker: w.env.As("root@222222222222")}.GetAccessKeyInfo(context.Background(), &api.GetAccessKeyInfoInput{AccessKeyId: out.Credentials.AccessKeyId}))(t).Account; account != "111111111111" {
			t.Errorf("the key is of account %s", account)
		}

		// The next role in the chain: an hour at most, transitive tags and
		// source identity stay.
		wearing := alice().Wearing(p)
		w.env.Grant("R/s1@111111111111", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}`)
		next := &api.AssumeRoleInput{RoleArn: "arn:aws:iam::111111111111:role/Q", RoleSessionName: "s2"}
		_, q, err := w.assume(wearing, next)
		if err != nil {
			t.Fatal(err)
		}
		if !q.Chained || q.SourceIdentity != "alice" || len(q.Tags) != 1 || q.Tags[0] != (aws.Tag{Key: "Team", Value: "a"}) {
			t.Errorf("chained principal = %+v", q)
		}
		for want, in := range map[string]api.AssumeRoleInput{
			"ValidationError":       {DurationSeconds: new(int64(3601))},
			"InvalidParameterValue": {Tags: []api.Tag{{Key: "team", Value: "b"}}},
		} {
			in.RoleArn, in.RoleSessionName = next.RoleArn, next.RoleSessionName
			if _, _, err := w.assume(wearing, &in); code(err) != want {
				t.Errorf("chained: %v, want %s", err, want)
			}
		}
		next.SourceIdentity = "bob"
		if _, _, err := w.assume(wearing, next); code(err) != "ValidationError" || !strings.Contains(err.Error(), "The source identity is already set for this assume role session") {
			t.Errorf("another source identity: %v", err)
		}

		w.env.Advance(2*time.Hour + time.Second)
		if _, _, err := w.iam.Key(context.Background(), out.Credentials.AccessKeyId, out.Credentials.SessionToken); code(err) != "ExpiredToken" {
			t.Errorf("after its end: %v", err)
		}
	})
}

// TestChainedTags holds that passing tags on asks for sts:TagSession in the
// next role's trust as setting them does, that the request's tags override the
// role's own, and that a transitive tag stays through a whole chain.
func TestChainedTags(t *testing.T) {
	each(t, func(w world) {
		root := iamapi.Client{Invoker: w.env.As("root@111111111111")}
		trust := func(actions string) {
			must(root.UpdateAssumeRolePolicy(context.Background(), &iamapi.UpdateAssumeRolePolicyInput{RoleName: "Q",
				PolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":` + actions + `}}`}))(w)
		}
		in := func(role string, tags ...api.Tag) *api.AssumeRoleInput {
			return &api.AssumeRoleInput{RoleArn: "arn:aws:iam::111111111111:role/" + role, RoleSessionName: "s1", Tags: tags}
		}
		first := in("R", api.Tag{Key: "Project", Value: "x"}, api.Tag{Key: "own", Value: "y"})
		first.TransitiveTagKeys = []string{"project"}
		_, p, err := w.assume(alice(), first)
		if err != nil {
			w.Fatal(err)
		}
		trust(`"sts:AssumeRole"`)
		if _, _, err := w.assume(alice().Wearing(p), in("Q")); code(err) != "AccessDenied" || !strings.Contains(err.Error(), "sts:TagSession") {
			w.Errorf("a transitive tag is passed on without sts:TagSession: %v", err)
		}
		if _, _, err := w.assume(alice(), in("Q")); err != nil {
			w.Errorf("without tags: %v", err)
		}
		trust(`["sts:AssumeRole","sts:TagSession"]`)
		_, q, err := w.assume(alice().Wearing(p), in("Q", api.Tag{Key: "TEAM", Value: "session"}))
		if err != nil {
			w.Fatal(err)
		}
		want := []aws.Tag{{Key: "TEAM", Value: "session"}, {Key: "Project", Value: "x"}}
		if diff := cmp.Diff(want, q.Tags); diff != "" {
			w.Errorf("tags (-want +got):\n%s", diff)
		}
		w.role("Z")
		_, z, err := w.assume(alice().Wearing(q), in("Z"))
		if err != nil {
			w.Fatal(err)
		}
		want = []aws.Tag{{Key: "team", Value: "role"}, {Key: "Project", Value: "x"}}
		if diff := cmp.Diff(want, z.Tags); diff != "" {
			w.Errorf("tags at the end of the chain (-want +got):\n%s", diff)
		}
	})
}

// TestTagLimits holds the bounds of session tags, and what counts for the
// packed size.
func TestTagLimits(t *testing.T) {
	each(t, func(w world) {
		many := func(n, size int) (tags []api.Tag) {
			for i := range n {
				tags = append(tags, api.Tag{Key: fmt.Sprintf("k%d", i), Value: aws.RandomText(size, aws.Alnum)})
			}
			return tags
		}
		assume := func(tags []api.Tag) (*int64, error) {
			out, _, err := w.assume(alice(), &api.AssumeRoleInput{RoleArn: "arn:aws:iam::111111111111:role/R", RoleSessionName: "s1", Tags: tags})
			if err != nil {
				return nil, err
			}
			return out.PackedPolicySize, nil
		}
		if size, err := assume(nil); size != nil || err != nil {
			w.Errorf("the role's own tags count: %v, %v", size, err)
		}
		if size, err := assume(many(50, 1)); err != nil || size == nil || *size < 1 || *size > 100 {
			w.Errorf("50 tags: %v, %v", size, err)
		}
		for name, tt := range map[string]struct {
			tags       []api.Tag
			code, text string
		}{
			"51 tags":      {many(51, 1), "ValidationError", "50"},
			"long key":     {[]api.Tag{{Key: strings.Repeat("k", 129), Value: "v"}}, "ValidationError", "128"},
			"long value":   {[]api.Tag{{Key: "k", Value: strings.Repeat("v", 257)}}, "ValidationError", "256"},
			"no key":       {[]api.Tag{{Value: "v"}}, "ValidationError", "key"},
			"AWS's prefix": {[]api.Tag{{Key: "Aws:k", Value: "v"}}, "InvalidParameterValue", "aws:"},
			"too much":     {many(50, 200), "PackedPolicyTooLarge", "Packed size of session tags consumes "},
		} {
			if _, err := assume(tt.tags); code(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
				w.Errorf("%s: %v, want %s", name, err, tt.code)
			}
		}
	})
}

func TestSessionPolicies(t *testing.T) {
	each(t, func(w world) {
		const arn = "arn:aws:iam::111111111111:role/R"
		out, p, err := w.assume(alice(), &api.AssumeRoleInput{RoleArn: arn, RoleSessionName: "s1",
			Policy:     `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}}`,
			PolicyArns: []api.PolicyDescriptorType{{Arn: "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}}})
		if err != nil {
			t.Fatal(err)
		}
		if out.PackedPolicySize == nil || *out.PackedPolicySize < 1 {
			t.Errorf("packed size = %v", out.PackedPolicySize)
		}
		set, err := w.iam.For(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		for action, want := range map[string]policy.Effect{"s3:GetObject": policy.Allow, "s3:PutObject": policy.Allow, "s3:DeleteObject": policy.ImplicitDeny} {
			if got := policy.Decide(set, &policy.Request{Principal: p, Action: action, Resource: "arn:aws:s3:::b/k"}); got != want {
				t.Errorf("%s: %v, want %v", action, got, want)
			}
		}
		for name, tt := range map[string]struct {
			in   api.AssumeRoleInput
			want string
		}{
			"malformed":   {api.AssumeRoleInput{Policy: "{"}, "MalformedPolicyDocument"},
			"principal":   {api.AssumeRoleInput{Policy: trustAll}, "MalformedPolicyDocument"},
			"unknown ARN": {api.AssumeRoleInput{PolicyArns: []api.PolicyDescriptorType{{Arn: "arn:aws:iam::aws:policy/None"}}}, "MalformedPolicyDocument"},
			"too large": {api.AssumeRoleInput{Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::` +
				aws.RandomText(4000, aws.Alnum) + `"}}`}, "PackedPolicyTooLarge"},
			"long":          {api.AssumeRoleInput{DurationSeconds: new(int64(7201))}, "ValidationError"},
			"short":         {api.AssumeRoleInput{DurationSeconds: new(int64(899))}, "ValidationError"},
			"MFA":           {api.AssumeRoleInput{SerialNumber: "arn:aws:iam::111111111111:mfa/x", TokenCode: "123456"}, "AccessDenied"},
			"transitive":    {api.AssumeRoleInput{TransitiveTagKeys: []string{"x"}}, "InvalidParameterValue"},
			"double tag":    {api.AssumeRoleInput{Tags: []api.Tag{{Key: "x", Value: "1"}, {Key: "X", Value: "2"}}}, "InvalidParameterValue"},
			"contexts":      {api.AssumeRoleInput{ProvidedContexts: []api.ProvidedContext{{}}}, "NotImplemented"},
			"many policies": {api.AssumeRoleInput{PolicyArns: make([]api.PolicyDescriptorType, 11)}, "ValidationError"},
		} {
			tt.in.RoleArn, tt.in.RoleSessionName = arn, "s1"
			if _, _, err := w.assume(alice(), &tt.in); code(err) != tt.want {
				t.Errorf("%s: %v, want %s", name, err, tt.want)
			}
		}
	})
}

func TestGetSessionToken(t *testing.T) {
	each(t, func(w world) {
		get := func(s call.Session, in *api.GetSessionTokenInput) (aws.Principal, error) {
			out, err := api.Client{Invoker: w.env.Door.As(s)}.GetSessionToken(context.Background(), in)
			if err != nil {
				return aws.Principal{}, err
			}
			_, p, err := w.iam.Key(context.Background(), out.Credentials.AccessKeyId, out.Credentials.SessionToken)
			return p, err
		}
		alice := w.user("alice")
		p, err := get(alice, &api.GetSessionTokenInput{})
		if err != nil || p.ARN != alice.Principal.ARN || !p.Temporary || p.Expires.Sub(p.Issued) != 12*time.Hour {
			t.Errorf("session of a user = %+v, %v", p, err)
		}
		if _, err := get(alice.Wearing(p), &api.GetSessionTokenInput{}); code(err) != "AccessDenied" {
			t.Errorf("a session asks for a session: %v", err)
		}
		root := call.Session{Principal: aws.RootPrincipal("111111111111")}
		if p, err := get(root, &api.GetSessionTokenInput{DurationSeconds: new(int64(36000))}); err != nil || p.Expires.Sub(p.Issued) != time.Hour {
			t.Errorf("session of root = %+v, %v", p, err)
		}
		if _, err := get(alice, &api.GetSessionTokenInput{TokenCode: "123456"}); code(err) != "AccessDenied" {
			t.Errorf("an MFA code is taken: %v", err)
		}
	})
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
