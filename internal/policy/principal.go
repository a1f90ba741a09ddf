package policy

import (
	"regexp"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// principal is one compiled entry of a Principal element.
type principal struct {
	class class
	// name is the account's id, the ARN, the service, or the unique id.
	name string
	// account and role are those of a role's ARN.
	account, role string
}

type class int8

const (
	everyone class = iota
	accountClass
	arnClass
	serviceClass
	federatedClass
	canonicalClass // S3's other name of an account
	idClass        // the unique id of a user or role, as AWS shows one that is gone
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
	case canonicalClass:
		if p.Account != "" && e.name == aws.CanonicalID(p.Account) {
			return byAccount
		}
	case arnClass:
		return e.namesARN(p)
	case idClass:
		return e.namesID(p)
	case serviceClass:
		if p.Kind == aws.Service && e.name == p.ARN {
			return direct
		}
	case federatedClass:
		if p.Kind == aws.Federated && e.name == p.ARN {
			return direct
		}
	}
	return notNamed
}

func (e *principal) namesARN(p *aws.Principal) strength {
	switch {
	case p.Kind == aws.Service:
	case p.Kind == aws.Session && e.isRoleOf(p):
		return byRole
	case p.Kind == aws.Federated && p.ParentARN != "" && e.name == p.ParentARN:
		return byRole // within the session's policies
	case e.name == p.ARN:
		return direct
	}
	return notNamed
}

// isRoleOf reports whether the entry is a session's role. A session's own ARN
// lacks the role's path; where nothing else is known, the name has to do,
// which an account has once only.
func (e *principal) isRoleOf(p *aws.Principal) bool {
	if p.RoleARN != "" {
		return e.name == p.RoleARN
	}
	if e.role == "" || e.account != p.Account {
		return false
	}
	_, session, _ := strings.Cut(p.ARN, ":assumed-role/")
	rest, ok := strings.CutPrefix(session, e.role)
	return ok && strings.HasPrefix(rest, "/")
}

func (e *principal) namesID(p *aws.Principal) strength {
	switch p.Kind {
	case aws.Session:
		// Ids are of one length and begin alike: their ends tell most apart.
		if n := len(e.name); len(p.ID) > n && p.ID[n] == ':' && p.ID[n-1] == e.name[n-1] && p.ID[:n] == e.name {
			return byRole
		}
	case aws.User:
		if e.name == p.ID {
			return direct
		}
	case aws.Federated:
		if e.name == p.ParentID {
			return byRole
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
	switch {
	case p.Kind == aws.Root:
		return account
	case p.Kind == aws.Session && p.ARN == p.RoleARN: // a role, without a session
		return role && account
	case p.Kind == aws.Session:
		return self && role && account
	case p.Account != "":
		return self && account
	}
	return self
}

var (
	iamPrincipal = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):(root|user/.*[^/]|role/.*[^/])$`)
	stsPrincipal = regexp.MustCompile(`^arn:aws[a-z-]*:sts::([0-9]{12}):(assumed-role/[^/]+/[^/]+|federated-user/[^/]+)$`)
	uniqueID     = regexp.MustCompile(`^A(IDA|ROA)[A-Z0-9]{12,124}$`)
	serviceName  = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn)?|amazon\.com|aws\.internal)$`)
)

// canonicalForm is the form of S3's canonical user ids.
var canonicalForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parsePrincipal compiles one value of a Principal element, in a document of a
// kind. A canonical user is somebody in resources' policies only.
func parsePrincipal(kind Kind, class, text string) (principal, bool) {
	switch class {
	case "AWS":
		return parseAWSPrincipal(text)
	case "Service":
		return principal{class: serviceClass, name: text}, serviceName.MatchString(text)
	case "Federated":
		return principal{class: federatedClass, name: text}, text != "" && !strings.ContainsAny(text, "*?${}")
	case "CanonicalUser":
		return principal{class: canonicalClass, name: text}, kind == Resource && canonicalForm.MatchString(text)
	}
	return principal{}, false
}

func parseAWSPrincipal(text string) (principal, bool) {
	switch {
	case text == "*":
		return principal{class: everyone}, true
	case aws.IsAccountID(text):
		return principal{class: accountClass, name: text}, true
	case strings.ContainsAny(text, "*?${}"):
		return principal{}, false
	case uniqueID.MatchString(text):
		return principal{class: idClass, name: text}, true
	}
	m := iamPrincipal.FindStringSubmatch(text)
	if m == nil {
		return principal{class: arnClass, name: text}, stsPrincipal.MatchString(text)
	}
	if m[2] == "root" {
		return principal{class: accountClass, name: m[1]}, true
	}
	e := principal{class: arnClass, name: text}
	if path, ok := strings.CutPrefix(m[2], "role/"); ok {
		e.account, e.role = m[1], path[strings.LastIndexByte(path, '/')+1:]
	}
	return e, true
}
