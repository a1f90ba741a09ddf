package checkpoint

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

const acct = "111111111111"

var issued = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// callers is one principal of each kind.
var callers = map[string]aws.Principal{
	"anonymous": {},
	"root":      aws.RootPrincipal(acct),
	"user":      {Kind: aws.User, ARN: "arn:aws:iam::111111111111:user/path/alice", Account: acct, ID: "AIDAALICE", Tags: []aws.Tag{{Key: "Team", Value: "k"}}},
	"user's session": {
		Kind: aws.User, ARN: "arn:aws:iam::111111111111:user/path/alice", Account: acct, ID: "AIDAALICE",
		Temporary: true, MFA: true, Issued: issued,
	},
	"role": {
		Kind: aws.Session, ARN: "arn:aws:sts::111111111111:assumed-role/deploy/s", RoleARN: "arn:aws:iam::111111111111:role/path/deploy",
		Account: acct, ID: "AROADEPLOY:s", Temporary: true, Issued: issued, SourceIdentity: "alice",
	},
	"federated": {
		Kind: aws.Federated, ARN: "arn:aws:sts::111111111111:federated-user/fred", Account: acct, ID: acct + ":fred",
		Temporary: true, Issued: issued,
	},
	"web identity": {
		Kind: aws.Session, ARN: "arn:aws:sts::111111111111:assumed-role/deploy/w", RoleARN: "arn:aws:iam::111111111111:role/path/deploy",
		Account: acct, ID: "AROADEPLOY:w", Temporary: true, Issued: issued, Tags: []aws.Tag{{Key: "team", Value: "w"}},
		Provided: map[string][]string{"aws:federatedprovider": {"accounts.example.com"}},
	},
	"service": aws.ServicePrincipal("events.amazonaws.com"),
}

// TestPrincipalKeys is AWS's table of principal values: "" means that the key
// is absent.
func TestPrincipalKeys(t *testing.T) {
	for key, want := range map[string]map[string]string{
		"aws:principalarn": {
			"root": "arn:aws:iam::111111111111:root", "user": "arn:aws:iam::111111111111:user/path/alice",
			"user's session": "arn:aws:iam::111111111111:user/path/alice",
			"role":           "arn:aws:iam::111111111111:role/path/deploy", "web identity": "arn:aws:iam::111111111111:role/path/deploy", "federated": "arn:aws:sts::111111111111:federated-user/fred",
		},
		"aws:principalaccount": {"anonymous": "anonymous", "web identity": acct, "root": acct, "user": acct, "user's session": acct, "role": acct, "federated": acct},
		"aws:principaltype": {
			"anonymous": "Anonymous", "root": "Account", "user": "User", "user's session": "User", "role": "AssumedRole", "web identity": "AssumedRole", "federated": "FederatedUser",
		},
		"aws:userid": {
			"anonymous": "anonymous", "root": acct, "user": "AIDAALICE", "user's session": "AIDAALICE", "role": "AROADEPLOY:s", "web identity": "AROADEPLOY:w", "federated": acct + ":fred",
		},
		"aws:username": {"user": "alice", "user's session": "alice"},
		"aws:principalisawsservice": {
			"root": "false", "user": "false", "user's session": "false", "role": "false", "web identity": "false", "federated": "false", "service": "true",
		},
		"aws:principalservicename":      {"service": "events.amazonaws.com"},
		"aws:principalservicenameslist": {"service": "events.amazonaws.com,events.eu-central-1.amazonaws.com"},
		"aws:federatedprovider":         {"web identity": "accounts.example.com"},
		"aws:sourceidentity":            {"role": "alice"},
		"aws:tokenissuetime":            {"user's session": "2026-03-01T12:00:00Z", "role": "2026-03-01T12:00:00Z", "web identity": "2026-03-01T12:00:00Z", "federated": "2026-03-01T12:00:00Z"},
		"aws:multifactorauthpresent":    {"user's session": "true", "role": "false", "web identity": "false", "federated": "false"},
		"aws:multifactorauthage":        {"user's session": "90"},
		"aws:principaltag/team":         {"user": "k", "web identity": "w"},
		"aws:principaltag/other":        {},
		// Nobody is in an organization, comes from a network of EC2's or a chat, or
		// is root for another account's sake.
		"aws:principalorgid": {}, "aws:principalorgpaths": {}, "aws:sourceorgid": {}, "aws:sourceorgpaths": {}, "aws:resourceorgid": {}, "aws:resourceorgpaths": {},
		"aws:sourcevpc": {}, "aws:sourcevpce": {}, "aws:vpcsourceip": {}, "aws:ec2instancesourcevpc": {}, "aws:ec2instancesourceprivateipv4": {},
		"aws:chatbotsourcearn": {}, "aws:assumedroot": {}, "aws:referer": {}, "aws:resourcetag/team": {}, "aws:requesttag/team": {}, "aws:tagkeys": {},
	} {
		// A service that passes a caller's identity on changes nothing of it.
		for _, via := range [][]string{nil, {"cloudformation.amazonaws.com"}} {
			got := map[string]string{}
			for who, p := range callers {
				f := facts{c: &call.Call{Principal: p, Service: "s3", Region: "eu-central-1", Time: issued.Add(90 * time.Second), Via: via}}
				if v, ok := f.Lookup(key); ok {
					got[who] = strings.Join(v, ",")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s via %v (-want +got):\n%s", key, via, diff)
			}
		}
	}
}

func TestRequestKeys(t *testing.T) {
	bare := call.Call{Service: "s3", Time: issued}
	with := func(change func(c *call.Call)) *call.Call {
		c := bare
		change(&c)
		return &c
	}
	full := with(func(c *call.Call) {
		c.SourceIP, c.UserAgent, c.Secure, c.Region = "10.0.0.1", "aws-cli", true, "eu-central-1"
	})
	via := with(func(c *call.Call) {
		c.Via, c.Region = []string{"cloudformation.amazonaws.com", "s3.amazonaws.com"}, "eu-central-1"
		c.Principal = aws.RootPrincipal(acct)
	})
	kms := *via
	kms.Service = "kms"
	direct := kms
	direct.Via = nil
	behalf := with(func(c *call.Call) { c.SourceARN = "arn:aws:codepipeline:us-east-1:222222222222:p" })
	bucket := with(func(c *call.Call) { c.SourceARN = "arn:aws:s3:::bucket" })
	for _, tt := range []struct {
		name, key string
		c         *call.Call
		owner     string
		want      []string
	}{
		{"an address", "aws:sourceip", full, "", []string{"10.0.0.1"}},
		{"IPv6", "aws:sourceip", with(func(c *call.Call) { c.SourceIP = "::1" }), "", []string{"::1"}},
		{"a service is no address", "aws:sourceip", with(func(c *call.Call) { c.SourceIP = "events.amazonaws.com" }), "", nil},
		{"forwarded, the service is no address", "aws:sourceip", with(func(c *call.Call) { c.SourceIP, c.Via = "s3.amazonaws.com", []string{"s3.amazonaws.com"} }), "", nil},
		{"no address", "aws:sourceip", &bare, "", nil},
		{"agent", "aws:useragent", full, "", []string{"aws-cli"}},
		{"no agent", "aws:useragent", &bare, "", nil},
		{"TLS", "aws:securetransport", full, "", []string{"true"}},
		{"plain", "aws:securetransport", &bare, "", []string{"false"}},
		{"time", "aws:currenttime", &bare, "", []string{"2026-03-01T12:00:00Z"}},
		{"epoch", "aws:epochtime", &bare, "", []string{"1772366400"}},
		{"region", "aws:requestedregion", full, "", []string{"eu-central-1"}},
		{"no region", "aws:requestedregion", &bare, "", nil},
		{"the region of a global service", "aws:requestedregion", &call.Call{Service: "organizations", Region: "eu-central-1"}, "", []string{"us-east-1"}},
		{"owner", "aws:resourceaccount", &bare, "222222222222", []string{"222222222222"}},
		{"no owner", "aws:resourceaccount", &bare, "", nil},
		{"direct", "aws:viaawsservice", &bare, "", []string{"false"}},
		{"via", "aws:viaawsservice", via, "", []string{"true"}},
		{"called via", "aws:calledvia", via, "", []string{"cloudformation.amazonaws.com", "s3.amazonaws.com"}},
		{"called via nobody", "aws:calledvia", &bare, "", nil},
		{"first", "aws:calledviafirst", via, "", []string{"cloudformation.amazonaws.com"}},
		{"last", "aws:calledvialast", via, "", []string{"s3.amazonaws.com"}},
		{"no first", "aws:calledviafirst", &bare, "", nil},
		{"no last", "aws:calledvialast", &bare, "", nil},
		{"source", "aws:sourcearn", behalf, "", []string{"arn:aws:codepipeline:us-east-1:222222222222:p"}},
		{"no source", "aws:sourcearn", &bare, "", nil},
		{"source's account", "aws:sourceaccount", behalf, "", []string{"222222222222"}},
		{"source without account", "aws:sourceaccount", bucket, "", nil},
		{"no source's account", "aws:sourceaccount", &bare, "", nil},
		{"KMS via S3", "kms:viaservice", &kms, "", []string{"s3.eu-central-1.amazonaws.com"}},
		{"KMS directly", "kms:viaservice", &direct, "", nil},
		{"KMS's key at another service", "kms:viaservice", via, "", nil},
		{"KMS's caller", "kms:calleraccount", &kms, "", []string{acct}},
		{"KMS's caller elsewhere", "kms:calleraccount", via, "", nil},
		{"unknown", "aws:nonsense", full, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := facts{c: tt.c, owner: tt.owner}.Lookup(tt.key)
			if ok != (tt.want != nil) || cmp.Diff(tt.want, got) != "" {
				t.Errorf("%s = %q, %v, want %q", tt.key, got, ok, tt.want)
			}
		})
	}
}

// A need's own keys come before the request's, and those before global ones.
func TestKeysOfNeedAndRequest(t *testing.T) {
	f := facts{
		c: &call.Call{Keys: policy.Keys{"s3:authtype": {"REST-HEADER"}, "s3:prefix": {"request"}}},
		n: call.Need{Keys: policy.Keys{"s3:prefix": {"need"}}},
	}
	for key, want := range map[string]string{"s3:authtype": "REST-HEADER", "s3:prefix": "need"} {
		if got, ok := f.Lookup(key); !ok || got[0] != want {
			t.Errorf("%s = %q, %v, want %q", key, got, ok, want)
		}
	}
}
