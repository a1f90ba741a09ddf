package policy

import (
	"regexp"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// principal is one compiled entry of a Principal element.
type principal struct {
	class class
	// name is the account's id, the ARN, or the service.
	name string
}

type class int8

const (
	everyone class = iota
	accountClass
	arnClass
	serviceClass
	federatedClass
)

// strength says how directly a resource's policy names a caller. What it
// overcomes in the caller's own account depends on it.
type strength int8

const (
	notNamed strength = iota
	// byAccount delegates to the account's own policies.
	byAccount
	// byRole needs no identity policy, but stays within boundary and session
	// policies.
	byRole
	// direct is bound by none of them: a user, a session, or everyone.
	direct
)

// names reports how a list of principals names a caller.
func names(list []principal, p *aws.Principal) strength {
	best := notNamed
	for i := range list {
		best = max(best, list[i].names(p))
	}
	return best
}

func (e *principal) names(p *aws.Principal) strength {
	switch e.class {
	case everyone:
		return direct
	case accountClass:
		if p.Account != "" && e.name == p.Account {
			return byAccount
		}
	case arnClass:
		if p.Kind != aws.Service && e.name == p.ARN {
			return direct
		}
		if p.Kind == aws.Session && e.name == p.RoleARN {
			return byRole
		}
	case serviceClass:
		if p.Kind == aws.Service && e.name == p.ARN {
			return direct
		}
	}
	return notNamed
}

// spares reports whether a Deny with NotPrincipal leaves a caller alone. Each
// principal the caller is has to be listed: a session is also its role and
// its account.
func spares(list []principal, p *aws.Principal) bool {
	var account, role, self bool
	for i := range list {
		switch n := list[i].names(p); {
		case list[i].class == everyone:
			return true
		case n == byAccount:
			account = true
		case n == byRole:
			role = true
		case n == direct:
			self = true
		}
	}
	switch p.Kind {
	case aws.Root:
		return account
	case aws.User, aws.Federated:
		return self && account
	case aws.Session:
		return self && role && account
	}
	return self
}

var (
	iamPrincipal = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):(root|user/.*[^/]|role/.*[^/])$`)
	stsPrincipal = regexp.MustCompile(`^arn:aws[a-z-]*:sts::([0-9]{12}):(assumed-role/[^/]+/[^/]+|federated-user/[^/]+)$`)
	uniqueID     = regexp.MustCompile(`^A(IDA|ROA)[A-Z0-9]{12,124}$`)
	serviceName  = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn)?|amazon\.com|aws\.internal)$`)
)

// parsePrincipal compiles one value of a Principal element.
func parsePrincipal(kind, text string) (principal, bool) {
	switch kind {
	case "AWS":
		return parseAWSPrincipal(text)
	case "Service":
		return principal{serviceClass, text}, serviceName.MatchString(text)
	case "Federated":
		return principal{federatedClass, text}, text != "" && !strings.ContainsAny(text, "*?")
	}
	// CanonicalUser is S3's; sekisho has no canonical ids that a caller could
	// know, so a policy that names one is refused rather than never matched.
	return principal{}, false
}

func parseAWSPrincipal(text string) (principal, bool) {
	if text == "*" {
		return principal{class: everyone}, true
	}
	if aws.IsAccountID(text) {
		return principal{accountClass, text}, true
	}
	if strings.ContainsAny(text, "*?") {
		return principal{}, false
	}
	if m := iamPrincipal.FindStringSubmatch(text); m != nil {
		if m[2] == "root" {
			return principal{accountClass, m[1]}, true
		}
		return principal{arnClass, text}, true
	}
	return principal{arnClass, text}, stsPrincipal.MatchString(text) || uniqueID.MatchString(text)
}
