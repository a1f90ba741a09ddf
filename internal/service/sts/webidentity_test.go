package sts_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	iamapi "github.com/sekisho/sekisho/internal/api/iam"
	api "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/oidc"
	"github.com/sekisho/sekisho/internal/oidc/oidctest"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/service/sts"
	"github.com/sekisho/sekisho/internal/servicetest"
)

const webTrust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111111111111:oidc-provider/example.com/idp"},
	"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"],
	"Condition":{"StringEquals":{"example.com/idp:aud":"sts.amazonaws.com"},"StringLike":{"example.com/idp:sub":"repo:shop/*"}}}}`

// TestWebIdentity goes the whole way: a provider that signs, one that an account
// has configured, a role that trusts it.
func TestWebIdentity(t *testing.T) {
	issuer := oidctest.New(t)
	servicetest.Each(t, func(e *servicetest.Env) {
		roles := iam.New(e.DB, e.Master, iam.Options{Now: e.Now})
		for id, name := range map[string]string{one: "one", "222222222222": "two"} {
			must(roles.CreateAccount(ctx(), name, id))(e.T)
		}
		e.Door.Serve("iam", roles.Operations())
		e.Door.Serve("sts", sts.New(roles, e.Master.For(iam.TokenPurpose), sts.Options{Issuers: oidc.New(oidc.Options{Dial: issuer.Dial, Now: e.Now})}).Operations())
		w := world{e.T, e, roles}
		w.role("R")
		trust := func(document string) {
			must(w.root().UpdateAssumeRolePolicy(ctx(), &iamapi.UpdateAssumeRolePolicyInput{RoleName: "R", PolicyDocument: document}))(w)
		}
		trust(webTrust)
		const role, provider = "arn:aws:iam::111111111111:role/R", "arn:aws:iam::111111111111:oidc-provider/example.com/idp"
		claims := func(change func(c map[string]any)) map[string]any {
			now := e.Now()
			c := map[string]any{"iss": oidctest.URL, "sub": "repo:shop/site", "aud": "sts.amazonaws.com", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
			if change != nil {
				change(c)
			}
			return c
		}
		stranger := api.Client{Invoker: e.Door.As(call.Session{Region: "us-east-1"})}
		assume := func(in api.AssumeRoleWithWebIdentityInput, change func(c map[string]any)) (*api.AssumeRoleWithWebIdentityOutput, error) {
			if in.RoleArn == "" {
				in.RoleArn = role
			}
			if in.WebIdentityToken == "" {
				in.WebIdentityToken = issuer.Token("p256", claims(change))
			}
			in.RoleSessionName = "run-1"
			return stranger.AssumeRoleWithWebIdentity(ctx(), &in)
		}
		var plain api.AssumeRoleWithWebIdentityInput

		_, err := assume(plain, nil)
		w.refused("no provider", err, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://example.com/idp")
		configure := func(thumbprint string) {
			must(w.root().UpdateOpenIDConnectProviderThumbprint(ctx(), &iamapi.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: provider, ThumbprintList: []string{thumbprint}}))(w)
		}
		must(w.root().CreateOpenIDConnectProvider(ctx(), &iamapi.CreateOpenIDConnectProviderInput{Url: oidctest.URL, ClientIDList: []string{"other"}, ThumbprintList: []string{strings.Repeat("0", 40)}}))(w)
		_, err = assume(plain, nil)
		w.refused("another client's token", err, "InvalidIdentityToken", "Incorrect token audience")
		must(w.root().AddClientIDToOpenIDConnectProvider(ctx(), &iamapi.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider, ClientID: "sts.amazonaws.com"}))(w)
		_, err = assume(plain, nil)
		w.refused("another thumbprint", err, "InvalidIdentityToken", "HTTPS certificate doesn't match configured thumbprint")
		configure(issuer.Thumbprint())

		out, err := assume(api.AssumeRoleWithWebIdentityInput{DurationSeconds: new(int64(7200))}, func(c map[string]any) {
			c["amr"] = []string{"otp"}
			c["https://aws.amazon.com/source_identity"] = "ana"
			c["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"Team": []string{"blue"}, "env": []string{"dev"}}, "transitive_tag_keys": []string{"Team"}}
		})
		if err != nil {
			w.Fatal(err)
		}
		if out.Provider != provider || out.Audience != "sts.amazonaws.com" || out.SubjectFromWebIdentityToken != "repo:shop/site" || out.SourceIdentity != "ana" || out.AssumedRoleUser.Arn != "arn:aws:sts::111111111111:assumed-role/R/run-1" || *out.PackedPolicySize < 1 {
			w.Errorf("answer %+v", out)
		}
		_, p, err := roles.Key(ctx(), out.Credentials.AccessKeyId, out.Credentials.SessionToken)
		if err != nil || p.Kind != aws.Session || p.Chained || p.SourceIdentity != "ana" || p.Expires.Sub(p.Issued) != 2*time.Hour {
			w.Errorf("principal = %+v, %v", p, err)
		}
		if diff := cmp.Diff([]aws.Tag{{Key: "Team", Value: "blue"}, {Key: "env", Value: "dev"}}, p.Tags); diff != "" {
			w.Errorf("tags (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string][]string{"aws:federatedprovider": {"example.com/idp"}, "example.com/idp:amr": {"otp"}, "example.com/idp:aud": {"sts.amazonaws.com"}, "example.com/idp:sub": {"repo:shop/site"}}, p.Provided); diff != "" {
			w.Errorf("provided (-want +got):\n%s", diff)
		}
		records := e.Records()
		if last := records[len(records)-1].Call.Principal; last.ID != provider+":sts.amazonaws.com:repo:shop/site" || last.Account != "" {
			w.Errorf("the record names %+v", last)
		}
		// The session is a role's like any other, and its next role a chain's.
		wearing := e.Door.As(call.Session{Principal: p, Region: "us-east-1"})
		if got := must(api.Client{Invoker: wearing}.GetCallerIdentity(ctx(), &api.GetCallerIdentityInput{}))(w).Arn; got != p.ARN {
			w.Errorf("identity %s", got)
		}

		// Session policies narrow it.
		out, err = assume(api.AssumeRoleWithWebIdentityInput{Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`}, nil)
		if err != nil {
			w.Fatal(err)
		}
		_, p, _ = roles.Key(ctx(), out.Credentials.AccessKeyId, out.Credentials.SessionToken)
		if w.decide(p, "s3:GetObject", "") != policy.Allow || w.decide(p, "s3:PutObject", "") != policy.ImplicitDeny {
			w.Error("the session policy does not narrow")
		}

		const refused = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
		parts := strings.Split(issuer.Token("rsa", claims(nil)), ".")
		other := strings.Split(issuer.Token("rsa", claims(func(c map[string]any) { c["sub"] = "repo:shop/other" })), ".")
		tags := func(c map[string]any) {
			c["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"aws:x": []string{"y"}}}
		}
		for name, tt := range map[string]struct {
			in         api.AssumeRoleWithWebIdentityInput
			change     func(c map[string]any)
			code, text string
		}{
			"another subject":    {plain, func(c map[string]any) { c["sub"] = "repo:evil/site" }, "AccessDenied", refused},
			"a role that is not": {api.AssumeRoleWithWebIdentityInput{RoleArn: role + "x"}, nil, "AccessDenied", refused},
			"another account's":  {api.AssumeRoleWithWebIdentityInput{RoleArn: "arn:aws:iam::222222222222:role/R"}, nil, "InvalidIdentityToken", "No OpenIDConnect provider"},
			"no role":            {api.AssumeRoleWithWebIdentityInput{RoleArn: "arn:aws:iam:no-role-at-all"}, nil, "ValidationError", "is invalid"},
			"no token":           {api.AssumeRoleWithWebIdentityInput{WebIdentityToken: "ya29.access-token"}, nil, "InvalidIdentityToken", "not a valid JWT"},
			"altered":            {api.AssumeRoleWithWebIdentityInput{WebIdentityToken: parts[0] + "." + other[1] + "." + parts[2]}, nil, "InvalidIdentityToken", "signature"},
			"expired":            {plain, func(c map[string]any) { c["exp"] = e.Now().Unix() - 1 }, "ExpiredTokenException", "Token expired: current date/time "},
			"of the future":      {plain, func(c map[string]any) { c["nbf"] = e.Now().Add(time.Hour).Unix() }, "InvalidIdentityToken", "not valid yet"},
			"issued to another":  {plain, func(c map[string]any) { c["azp"] = "evil" }, "InvalidIdentityToken", "Incorrect token audience"},
			"too long a session": {api.AssumeRoleWithWebIdentityInput{DurationSeconds: new(int64(7201))}, nil, "ValidationError", "MaxSessionDuration"},
			"OAuth":              {api.AssumeRoleWithWebIdentityInput{ProviderId: "www.amazon.com"}, nil, "NotImplemented", "ProviderId"},
			"AWS's tag":          {plain, tags, "InvalidParameterValue", "aws:"},
			"a bad policy":       {api.AssumeRoleWithWebIdentityInput{Policy: "{"}, nil, "MalformedPolicyDocument", ""},
			"a bad identity":     {plain, func(c map[string]any) { c["https://aws.amazon.com/source_identity"] = "a b" }, "ValidationError", "sourceIdentity"},
		} {
			_, err := assume(tt.in, tt.change)
			w.refused(name, err, tt.code, tt.text)
		}

		// Each permission of the trust, missing once.
		blue := func(c map[string]any) {
			c["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"Team": []string{"blue"}}}
		}
		trust(strings.Replace(webTrust, `"sts:TagSession",`, "", 1))
		_, err = assume(plain, blue)
		w.refused("no sts:TagSession", err, "AccessDenied", "Not authorized to perform sts:TagSession")
		trust(strings.Replace(webTrust, `,"sts:SetSourceIdentity"`, "", 1))
		_, err = assume(plain, func(c map[string]any) { c["https://aws.amazon.com/source_identity"] = "ana" })
		w.refused("no sts:SetSourceIdentity", err, "AccessDenied", "Not authorized to perform sts:SetSourceIdentity")
		trust(strings.Replace(webTrust, `"sts:AssumeRoleWithWebIdentity"`, `"sts:AssumeRole"`, 1))
		_, err = assume(plain, nil)
		w.refused("no permission", err, "AccessDenied", refused)
		trust(strings.Replace(webTrust, "oidc-provider/example.com/idp", "oidc-provider/example.com/other", 1))
		_, err = assume(plain, nil)
		w.refused("another provider", err, "AccessDenied", refused)
	}, iam.Schema())
}
