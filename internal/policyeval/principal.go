package policyeval

import (
	"errors"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
)

// principal reads a caller's ARN, the name of a service, or "anonymous". The
// ARN of a session lacks the path of its role, and no ARN has the unique id:
// those are known when the context tells.
func principal(caller string, context policy.Keys) (aws.Principal, error) {
	switch {
	case caller == "anonymous":
		return aws.Principal{}, nil
	case aws.IsAccountID(caller):
		return aws.RootPrincipal(caller), nil
	case isService(caller):
		return aws.ServicePrincipal(caller), nil
	}
	a, ok := aws.ParseARN(caller)
	if !ok || !aws.IsAccountID(a.Account) || a.Service != "iam" && a.Service != "sts" {
		return aws.Principal{}, errors.New("request.callerArn is no principal: " + caller)
	}
	p := aws.Principal{ARN: caller, Account: a.Account}
	if id := context["aws:userid"]; len(id) == 1 {
		p.ID = id[0]
	}
	kind, name, _ := strings.Cut(a.Resource, "/")
	switch a.Service + " " + kind {
	case "iam root":
		p.Kind = aws.Root
		ok = name == ""
	case "iam user":
		p.Kind = aws.User
		ok = name != ""
	case "iam role": // whatever its session
		p.Kind, p.RoleARN = aws.Session, caller
		ok = name != ""
	case "sts assumed-role":
		role, session, _ := strings.Cut(name, "/")
		p.Kind, p.RoleARN = aws.Session, roleARN(a, role, context)
		ok = role != "" && session != ""
	case "sts federated-user":
		p.Kind = aws.Federated
		ok = name != ""
	case "iam saml-provider", "iam oidc-provider": // who has no session yet
		p.Kind, p.Account = aws.Federated, ""
		ok = name != ""
	default:
		ok = false
	}
	if !ok {
		return aws.Principal{}, errors.New("request.callerArn is no principal: " + caller)
	}
	return p, nil
}

// roleARN is the ARN of a session's role, where aws:PrincipalArn tells it.
func roleARN(a aws.ARN, role string, context policy.Keys) string {
	arn := context["aws:principalarn"]
	if len(arn) != 1 {
		return ""
	}
	r, ok := aws.ParseARN(arn[0])
	path, isRole := strings.CutPrefix(r.Resource, "role/")
	if !ok || !isRole || r.Service != "iam" || r.Account != a.Account || path[strings.LastIndexByte(path, '/')+1:] != role {
		return ""
	}
	return arn[0]
}

// isService reports whether a caller is a service by its form: a name under
// one of AWS's domains.
func isService(caller string) bool {
	if strings.ContainsAny(caller, ":/*") {
		return false
	}
	for _, domain := range [...]string{".amazonaws.com", ".amazonaws.com.cn", ".amazon.com", ".aws.internal"} {
		if len(caller) > len(domain) && strings.HasSuffix(caller, domain) {
			return true
		}
	}
	return false
}
