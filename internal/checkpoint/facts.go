package checkpoint

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// facts answers for the condition keys of one need: its own, the request's,
// and the global ones that follow from the call. A key that does not apply is
// absent, never empty: conditions tell the two apart.
type facts struct {
	c     *call.Call
	n     call.Need
	owner string
	at    *places
}

// Lookup returns the values of a key, named in lower case.
func (f facts) Lookup(name string) ([]string, bool) {
	if v, ok := f.n.Keys[name]; ok {
		return v, true
	}
	if v, ok := f.c.Keys[name]; ok {
		return v, true
	}
	if v, ok := f.c.Principal.Provided[name]; ok {
		return v, true
	}
	if v, ok := f.global(name); ok {
		return []string{v}, true
	}
	if v, ok := f.at.lookup(name); ok {
		return []string{v}, true
	}
	switch {
	case name == "aws:calledvia" && len(f.c.Via) > 0:
		return f.c.Via, true
	case name == "aws:principalservicenameslist" && f.c.Principal.Kind == aws.Service:
		return serviceNames(f.c.Principal.ARN, f.c.Region), true
	}
	return nil, false
}

// serviceNames are all names of a service principal: the one that it uses, and
// that of the region. Which names AWS lists is documented by examples only.
func serviceNames(name, region string) []string {
	service, ok := strings.CutSuffix(name, ".amazonaws.com")
	if !ok || region == "" {
		return []string{name}
	}
	return []string{name, service + "." + region + ".amazonaws.com"}
}

// global answers for the single-valued keys.
func (f facts) global(name string) (string, bool) {
	c, p := f.c, f.c.Principal
	switch name {
	case "aws:principalarn":
		return p.PolicyARN(), p.Account != ""
	case "aws:principalaccount":
		if p.Kind == aws.Anonymous {
			return "anonymous", true
		}
		return p.Account, p.Account != ""
	case "aws:principaltype":
		return principalType(p), principalType(p) != ""
	case "aws:userid":
		if p.Kind == aws.Anonymous {
			return "anonymous", true
		}
		return p.ID, p.ID != "" && p.Kind != aws.Service
	case "aws:username":
		return p.Name(), p.Kind == aws.User
	case "aws:principalisawsservice":
		return strconv.FormatBool(p.Kind == aws.Service), p.Kind != aws.Anonymous
	case "aws:principalservicename":
		return p.ARN, p.Kind == aws.Service
	case "aws:sourceidentity":
		return p.SourceIdentity, p.SourceIdentity != ""
	case "aws:tokenissuetime":
		return p.Issued.UTC().Format(time.RFC3339), p.Temporary
	case "aws:multifactorauthpresent":
		return strconv.FormatBool(p.MFA), p.Temporary
	case "aws:multifactorauthage":
		return strconv.FormatInt(int64(c.Time.Sub(p.Issued)/time.Second), 10), p.MFA
	case "aws:sourceip":
		_, err := netip.ParseAddr(c.SourceIP)
		return c.SourceIP, err == nil
	case "aws:useragent":
		return c.UserAgent, c.UserAgent != ""
	case "aws:securetransport":
		return strconv.FormatBool(c.Secure), true
	case "aws:currenttime":
		return c.Time.UTC().Format(time.RFC3339), true
	case "aws:epochtime":
		return strconv.FormatInt(c.Time.Unix(), 10), true
	case "aws:requestedregion":
		if c.Service == "iam" || c.Service == "organizations" {
			return "us-east-1", true // where AWS has its global services
		}
		return c.Region, c.Region != ""
	case "aws:resourceaccount":
		return f.owner, f.owner != ""
	case "aws:viaawsservice":
		return strconv.FormatBool(len(c.Via) > 0), true
	case "aws:calledviafirst":
		return first(c.Via), len(c.Via) > 0
	case "aws:calledvialast":
		return last(c.Via), len(c.Via) > 0
	case "aws:sourcearn":
		return c.SourceARN, c.SourceARN != ""
	case "aws:sourceaccount":
		a, ok := aws.ParseARN(c.SourceARN)
		return a.Account, ok && a.Account != ""
	case "kms:viaservice":
		return strings.TrimSuffix(last(c.Via), ".amazonaws.com") + "." + c.Region + ".amazonaws.com", len(c.Via) > 0 && c.Service == "kms"
	case "kms:calleraccount":
		return p.Account, p.Account != "" && c.Service == "kms"
	}
	if key, ok := strings.CutPrefix(name, "aws:principaltag/"); ok {
		for _, t := range p.Tags {
			if strings.EqualFold(t.Key, key) {
				return t.Value, true
			}
		}
	}
	return "", false
}

func principalType(p aws.Principal) string {
	switch p.Kind {
	case aws.Root:
		return "Account"
	case aws.User:
		return "User"
	case aws.Session:
		return "AssumedRole"
	case aws.Federated:
		return "FederatedUser"
	case aws.Anonymous:
		return "Anonymous"
	}
	return ""
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

func last(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[len(s)-1]
}

// globalKeys are the keys that facts knows of any call, as AWS spells them.
var globalKeys = []string{
	"aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast", "aws:CurrentTime", "aws:EpochTime", "aws:MultiFactorAuthAge",
	"aws:MultiFactorAuthPresent", "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalIsAWSService", "aws:PrincipalOrgID",
	"aws:PrincipalOrgPaths", "aws:PrincipalServiceName", "aws:PrincipalServiceNamesList", "aws:PrincipalType", "aws:RequestedRegion", "aws:ResourceAccount",
	"aws:ResourceOrgID", "aws:ResourceOrgPaths", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn", "aws:SourceIdentity",
	"aws:SourceIp", "aws:SourceOrgID", "aws:SourceOrgPaths", "aws:TokenIssueTime", "aws:UserAgent", "aws:ViaAWSService",
	"aws:userid", "aws:username", "kms:CallerAccount", "kms:ViaService",
}

// all returns every key that a condition can see, with its values.
func (f facts) all() policy.Keys {
	names := slices.Clone(globalKeys)
	for _, more := range []map[string][]string{f.c.Principal.Provided, f.c.Keys, f.n.Keys} {
		for name := range more {
			names = append(names, policy.Spell(name))
		}
	}
	for _, t := range f.c.Principal.Tags {
		names = append(names, "aws:PrincipalTag/"+t.Key)
	}
	out := policy.Keys{}
	for _, name := range names {
		if v, ok := f.Lookup(strings.ToLower(name)); ok {
			out[name] = v
		}
	}
	return out
}
