package sts_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sekisho/sekisho/internal/api/iam"
	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

const one = "111111111111"

func (w world) root() iamapi.Client { return iamapi.Client{Invoker: w.env.As("root@" + one)} }

func ctx() context.Context { return context.Background() }

// federate makes a federated user's credentials, and returns whom they stand
// for.
func (w world) federate(by call.Session, in *api.GetFederationTokenInput) (*api.GetFederationTokenOutput, aws.Principal) {
	w.Helper()
	out := must(api.Client{Invoker: w.env.Door.As(by)}.GetFederationToken(ctx(), in))(w)
	secret, p, err := w.iam.Key(ctx(), out.Credentials.AccessKeyId, out.Credentials.SessionToken)
	if err != nil || !secret.Equal([]byte(out.Credentials.SecretAccessKey)) {
		w.Fatalf("the credentials are not taken: %v", err)
	}
	return out, p
}

// decide says what IAM's policies and a resource's, if there is one, make of a
// request on an object of account one.
func (w world) decide(p aws.Principal, action, principal string) policy.Effect {
	w.Helper()
	set, err := w.iam.For(ctx(), p)
	if err != nil {
		w.Fatal(err)
	}
	r := &policy.Request{Principal: p, Action: action, Resource: "arn:aws:s3:::b/k", Owner: one}
	if principal != "" {
		doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"`+principal+`"},"Action":"s3:*","Resource":"*"}}`, policy.Resource)
		if err != nil {
			w.Fatal(err)
		}
		r.Policy = &policy.Source{Kind: policy.Resource, Doc: doc}
	}
	return policy.Decide(set, r)
}

const mayFederate = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["sts:GetFederationToken","sts:TagSession"],"Resource":"arn:aws:sts::111111111111:federated-user/bob"}}`

func TestGetFederationToken(t *testing.T) {
	each(t, func(w world) {
		alice := w.user("alice")
		must(w.root().PutUserPolicy(ctx(), &iamapi.PutUserPolicyInput{UserName: "alice", PolicyName: "p", PolicyDocument: allowS3}))(w)
		w.env.Grant("alice@"+one, mayFederate)
		alice.Principal.Tags = []aws.Tag{{Key: "team", Value: "user"}, {Key: "site", Value: "north"}}
		const get = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:GetObject","kms:Decrypt"],"Resource":"*"}}`
		const bob = "arn:aws:sts::111111111111:federated-user/bob"

		out, p := w.federate(alice, &api.GetFederationTokenInput{Name: "bob", Policy: get, Tags: []api.Tag{{Key: "Team", Value: "session"}}})
		if p.ARN != bob || p.Kind != aws.Federated || p.ID != one+":bob" || p.Expires.Sub(p.Issued) != 12*time.Hour || out.FederatedUser.Arn != bob || out.FederatedUser.FederatedUserId != one+":bob" {
			w.Errorf("principal = %+v, answer %+v", p, out.FederatedUser)
		}
		if len(p.Tags) != 2 || p.Tags[0] != (aws.Tag{Key: "Team", Value: "session"}) || *out.PackedPolicySize < 1 {
			w.Errorf("tags = %v, size %d", p.Tags, *out.PackedPolicySize)
		}
		out, none := w.federate(alice, &api.GetFederationTokenInput{Name: "bob", DurationSeconds: new(int64(129600))})
		if none.Expires.Sub(none.Issued) != 36*time.Hour || *out.PackedPolicySize != 0 {
			w.Errorf("without a policy: %+v, size %d", none, *out.PackedPolicySize)
		}
		_, ofRoot := w.federate(call.Session{Principal: aws.RootPrincipal(one)}, &api.GetFederationTokenInput{Name: "bob", Policy: get, DurationSeconds: new(int64(7200))})
		if ofRoot.Expires.Sub(ofRoot.Issued) != time.Hour {
			w.Errorf("of root: %+v", ofRoot)
		}
		user := alice.Principal.ARN
		for _, tt := range []struct {
			name                string
			p                   aws.Principal
			action, resourceFor string
			want                policy.Effect
		}{
			{"both allow", p, "s3:GetObject", "", policy.Allow},
			{"the user alone allows", p, "s3:PutObject", "", policy.ImplicitDeny},
			{"the session alone allows", p, "kms:Decrypt", "", policy.ImplicitDeny},
			{"no session policy", none, "s3:GetObject", "", policy.ImplicitDeny},
			{"a resource names the federated user", p, "s3:PutObject", bob, policy.Allow},
			{"a resource names the federated user without a policy", none, "s3:PutObject", bob, policy.Allow},
			{"a resource names the user, within the session's policy", p, "s3:GetObject", user, policy.Allow},
			{"a resource names the user, beyond it", p, "s3:PutObject", user, policy.ImplicitDeny},
			{"a resource names another federated user", none, "s3:GetObject", bob + "by", policy.ImplicitDeny},
			{"root's, allowed", ofRoot, "kms:Decrypt", "", policy.Allow},
			{"root's, beyond its policy", ofRoot, "s3:PutObject", "", policy.ImplicitDeny},
		} {
			if got := w.decide(tt.p, tt.action, tt.resourceFor); got != tt.want {
				w.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}

		// What federated users may not do whatever their policies say.
		bobs := w.env.Door.As(call.Session{Principal: p, Region: "us-east-1"})
		if out := must(api.Client{Invoker: bobs}.GetCallerIdentity(ctx(), &api.GetCallerIdentityInput{}))(w); out.Arn != bob || out.UserId != one+":bob" {
			w.Errorf("identity = %+v", out)
		}
		_, err := iamapi.Client{Invoker: bobs}.ListUsers(ctx(), &iamapi.ListUsersInput{})
		w.refused("IAM", err, "InvalidClientTokenId", "")
		_, err = api.Client{Invoker: bobs}.AssumeRole(ctx(), &api.AssumeRoleInput{RoleArn: "arn:aws:iam::111111111111:role/R", RoleSessionName: "s1"})
		w.refused("AssumeRole", err, "AccessDenied", "Cannot call AssumeRole")
		_, err = api.Client{Invoker: bobs}.GetSessionToken(ctx(), &api.GetSessionTokenInput{})
		w.refused("GetSessionToken", err, "AccessDenied", "Cannot call GetSessionToken with session credentials")
		_, err = api.Client{Invoker: bobs}.GetFederationToken(ctx(), &api.GetFederationTokenInput{Name: "bob"})
		w.refused("GetFederationToken", err, "AccessDenied", "Cannot call GetFederationToken with session credentials")

		// Nor what sessions of a user's own may not.
		own := must(api.Client{Invoker: w.env.Door.As(alice)}.GetSessionToken(ctx(), &api.GetSessionTokenInput{}))(w).Credentials
		_, self, err := w.iam.Key(ctx(), own.AccessKeyId, own.SessionToken)
		if err != nil {
			w.Fatal(err)
		}
		w.env.Grant("alice@"+one, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}`)
		for _, who := range []call.Invoker{bobs, w.env.Door.As(call.Session{Principal: self, Region: "us-east-1"})} {
			_, err = api.Client{Invoker: who}.GetAccessKeyInfo(ctx(), &api.GetAccessKeyInfoInput{AccessKeyId: own.AccessKeyId})
			w.refused("GetAccessKeyInfo", err, "AccessDenied", "Cannot call GetAccessKeyInfo with session credentials")
			_, err = api.Client{Invoker: who}.DecodeAuthorizationMessage(ctx(), &api.DecodeAuthorizationMessageInput{EncodedMessage: "x"})
			w.refused("DecodeAuthorizationMessage", err, "AccessDenied", "Cannot call DecodeAuthorizationMessage with session credentials")
		}

		// The permissions, each missing once.
		w.env.Forget("alice@" + one)
		w.env.Grant("alice@"+one, mayFederate)
		ask := func(in *api.GetFederationTokenInput) error {
			_, err := api.Client{Invoker: w.env.Door.As(alice)}.GetFederationToken(ctx(), in)
			return err
		}
		w.refused("another name", ask(&api.GetFederationTokenInput{Name: "eve"}), "AccessDenied", "sts:GetFederationToken on resource: arn:aws:sts::111111111111:federated-user/eve")
		w.env.Forget("alice@" + one)
		w.env.Grant("alice@"+one, strings.Replace(mayFederate, `,"sts:TagSession"`, "", 1))
		w.refused("tags", ask(&api.GetFederationTokenInput{Name: "bob", Tags: []api.Tag{{Key: "a", Value: "b"}}}), "AccessDenied", "sts:TagSession")
		w.refused("policy", ask(&api.GetFederationTokenInput{Name: "bob", Policy: "{"}), "MalformedPolicyDocument", "")

		// Without the user there is no federated user.
		must(w.root().DeleteUserPolicy(ctx(), &iamapi.DeleteUserPolicyInput{UserName: "alice", PolicyName: "p"}))(w)
		must(w.root().DeleteUser(ctx(), &iamapi.DeleteUserInput{UserName: "alice"}))(w)
		_, err = w.iam.For(ctx(), p)
		w.refused("a federated user whose user is gone", err, "InvalidClientTokenId", "")
	})
}

func (w world) refused(what string, err error, want, text string) {
	w.Helper()
	if code(err) != want || !strings.Contains(err.Error(), text) {
		w.Errorf("%s: %v, want %s %s", what, err, want, text)
	}
}

// phone is a virtual MFA device.
type phone struct {
	serial string
	seed   []byte
}

// code is what the device shows at a time.
func (p phone) code(at time.Time) string {
	mac := hmac.New(sha1.New, p.seed)
	binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

// phone gives a user an MFA device.
func (w world) phone(user string) phone {
	w.Helper()
	d := must(w.root().CreateVirtualMFADevice(ctx(), &iamapi.CreateVirtualMFADeviceInput{VirtualMFADeviceName: user}))(w).VirtualMFADevice
	seed, err := base32.StdEncoding.DecodeString(string(d.Base32StringSeed))
	if err != nil {
		w.Fatal(err)
	}
	p := phone{d.SerialNumber, seed}
	now := w.env.Now()
	must(w.root().EnableMFADevice(ctx(), &iamapi.EnableMFADeviceInput{UserName: user, SerialNumber: p.serial, AuthenticationCode1: p.code(now.Add(-30 * time.Second)), AuthenticationCode2: p.code(now)}))(w)
	w.env.Advance(time.Minute) // that code is spent
	return p
}

// TestMFA holds that a code of the caller's device makes a session with MFA,
// and opens a role whose trust asks for one, once.
func TestMFA(t *testing.T) {
	each(t, func(w world) {
		alice, bob := w.user("alice"), w.user("bob")
		device := w.phone("alice")
		get := func(s call.Session, serial, code string) (aws.Principal, error) {
			out, err := api.Client{Invoker: w.env.Door.As(s)}.GetSessionToken(ctx(), &api.GetSessionTokenInput{SerialNumber: serial, TokenCode: code})
			if err != nil {
				return aws.Principal{}, err
			}
			_, p, err := w.iam.Key(ctx(), out.Credentials.AccessKeyId, out.Credentials.SessionToken)
			return p, err
		}
		current := device.code(w.env.Now())
		_, err := get(alice, device.serial, "")
		w.refused("no code", err, "AccessDenied", "must provide both")
		_, err = get(alice, "", current)
		w.refused("no device", err, "AccessDenied", "must provide both")
		_, err = get(bob, device.serial, current)
		w.refused("another's device", err, "AccessDenied", "MultiFactorAuthentication failed")
		_, err = get(alice, device.serial, device.code(w.env.Now().Add(-time.Hour)))
		w.refused("an old code", err, "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
		p, err := get(alice, device.serial, current)
		if err != nil || !p.MFA || !p.Temporary || p.ARN != alice.Principal.ARN {
			w.Fatalf("with MFA: %+v, %v", p, err)
		}
		_, err = get(alice, device.serial, current)
		w.refused("the code again", err, "AccessDenied", "MultiFactorAuthentication failed")
		if p, err := get(alice, "", ""); err != nil || p.MFA {
			w.Errorf("without: %+v, %v", p, err)
		}
		if out, err := (iamapi.Client{Invoker: w.env.Door.As(alice.Wearing(p))}).ListUsers(ctx(), &iamapi.ListUsersInput{}); code(err) != "AccessDenied" {
			w.Errorf("a session with MFA does not reach IAM's permissions: %v, %v", out, err)
		}

		trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"},"NumericLessThan":{"aws:MultiFactorAuthAge":"300"}}}}`
		must(w.root().UpdateAssumeRolePolicy(ctx(), &iamapi.UpdateAssumeRolePolicyInput{RoleName: "R", PolicyDocument: trust}))(w)
		assume := func(s call.Session, serial, code string) (aws.Principal, error) {
			_, p, err := w.assume(s, &api.AssumeRoleInput{RoleArn: "arn:aws:iam::111111111111:role/R", RoleSessionName: "s1", SerialNumber: serial, TokenCode: code})
			return p, err
		}
		_, err = assume(alice, "", "")
		w.refused("a role without MFA", err, "AccessDenied", "sts:AssumeRole on resource")
		if _, err := assume(alice.Wearing(p), "", ""); err != nil {
			w.Errorf("a role with a session that has MFA: %v", err)
		}
		w.env.Advance(6 * time.Minute)
		_, err = assume(alice.Wearing(p), "", "")
		w.refused("a role with an MFA that is too old", err, "AccessDenied", "sts:AssumeRole on resource")
		worn, err := assume(alice, device.serial, device.code(w.env.Now()))
		if err != nil || worn.MFA {
			w.Errorf("a role with a code: %+v, %v", worn, err)
		}
		_, err = assume(alice, device.serial, "000000")
		w.refused("a role with a wrong code", err, "AccessDenied", "MultiFactorAuthentication failed")
	})
}
