package policylint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/policy"
)

// Code says what sort of finding it is. Those of policy.Check keep their names.
type Code string

// The findings that are made here.
const (
	// Invalid is what AWS refuses.
	Invalid Code = "Invalid"
	// TooLong is a policy over AWS's limit.
	TooLong Code = "TooLong"

	Duplicate           Code = "Duplicate"
	Shadowed            Code = "Shadowed"
	Denied              Code = "Denied"
	Redundant           Code = "Redundant"
	WrongResource       Code = "WrongResource"
	LiteralWildcard     Code = "LiteralWildcard"
	WrongOperator       Code = "WrongOperator"
	UnknownKey          Code = "UnknownKey"
	KeyNeverPresent     Code = "KeyNeverPresent"
	SourceWithoutCaller Code = "SourceWithoutService"
	OldLanguage         Code = "OldLanguage"

	AllActions      Code = "AllActions"
	AllowsNotAction Code = "AllowsNotAction"
	AllowsNotElse   Code = "AllowsNotResource"
	PassesAnyRole   Code = "PassesAnyRole"
	AssumesAnyRole  Code = "AssumesAnyRole"
	Public          Code = "Public"
	TrustsAccount   Code = "TrustsAccount"
	UnboundService  Code = "UnboundService"
	EveryResource   Code = "EveryResource"
	// Unexplained is a comment that ignores a finding without a reason.
	Unexplained Code = "UnexplainedIgnore"
)

// rules looks at one document.
type rules struct {
	model
	kind policy.Kind
	find func(f Finding)
}

func (r *rules) at(p place, s *statement, severity Severity, code Code, advice, format string, args ...any) {
	f := Finding{Line: p.line, Column: p.column, Severity: severity, Code: code, Message: fmt.Sprintf(format, args...), Advice: advice}
	if s != nil {
		f.Statement = s.index
	}
	r.find(f)
}

func (r *rules) check() {
	if r.version == nil && len(r.statements) > 0 {
		r.at(r.statements[0].place, nil, Info, OldLanguage, `add "Version": "2012-10-17"`, "Without a Version, AWS reads the policy in the language of 2008, which has no variables.")
	}
	for _, s := range r.statements {
		r.actions(s)
		r.resources(s)
		r.conditions(s)
		if s.allows() {
			r.breadth(s)
			r.principals(s)
		}
	}
	r.compare()
}

// actions finds what is said twice in one element.
func (r *rules) actions(s *statement) {
	for i, a := range s.actions {
		for j, b := range s.actions {
			if i != j && !a.open() && coversFold(b.s, a.s) && (i > j || !coversFold(a.s, b.s)) {
				r.at(a.place, s, Info, Redundant, "leave it out", "%s is part of %s, which stands beside it.", a.s, b.shown())
				break
			}
		}
	}
}

// resources finds actions and resources that have nothing to do with each
// other. What fits one of a statement's resources or actions fits.
func (r *rules) resources(s *statement) {
	if s.notAction || s.notResource || len(s.actions) == 0 || len(s.resources) == 0 {
		return
	}
	idle := 0
	for _, a := range s.actions {
		kinds := kindsOf(a.s)
		if a.open() || kinds == nil || a.s == "*" {
			continue
		}
		if !slices.ContainsFunc(s.resources, func(t text) bool { return takes(kinds, t.s) }) {
			idle++
			r.idle(s, a, kinds)
		}
	}
	if idle == len(s.actions) {
		return
	}
	r.aliases(s)
	for _, t := range s.resources {
		taken := slices.ContainsFunc(s.actions, func(a text) bool {
			kinds := kindsOf(a.s)
			return a.open() || kinds == nil || takes(kinds, t.s)
		})
		if !taken {
			r.at(t.place, s, Warning, WrongResource, "leave it out, or add the actions that are meant", "No action of the statement takes %s.", t.shown())
		}
	}
}

// aliases finds patterns of actions that name an alias for the key behind it.
func (r *rules) aliases(s *statement) {
	if slices.ContainsFunc(s.resources, func(t text) bool { return key.is(t.s) }) {
		return
	}
	wide := slices.IndexFunc(s.actions, func(a text) bool { return wild(a.s) && coversFold(a.s, "kms:Decrypt") })
	at := slices.IndexFunc(s.resources, func(t text) bool { return alias.is(t.s) })
	if wide >= 0 && at >= 0 {
		r.at(s.resources[at].place, s, Warning, WrongResource, "name the key by its key ARN; an alias is asked for with kms:ResourceAliases or kms:RequestAlias",
			"Of the actions like %s, all but those on aliases themselves take a key: an alias is none.", s.actions[wide].s)
	}
}

func (r *rules) idle(s *statement, a text, kinds []kind) {
	if len(kinds) == 1 && kinds[0] == none {
		r.at(a.place, s, Warning, WrongResource, `give it a statement of its own, with Resource "*"`, "%s has no resources: it is never about the ones that stand here.", a.s)
		return
	}
	var words []string
	for _, k := range kinds {
		if k != none {
			words = append(words, string(k))
		}
	}
	advice := "name " + strings.Join(words, " or ") + ", or leave the action out"
	switch {
	case slices.Equal(kinds, []kind{bucket}):
		advice = "name the bucket itself, without /*: arn:aws:s3:::BUCKET"
	case slices.Equal(kinds, []kind{item}):
		advice = "name objects: arn:aws:s3:::BUCKET/*"
	case slices.Equal(kinds, []kind{key}):
		advice = "name the key by its key ARN; an alias is asked for with kms:ResourceAliases or kms:RequestAlias"
	}
	r.at(a.place, s, Warning, WrongResource, advice, "%s takes %s, and none of the statement's resources is one.", a.s, strings.Join(words, " or "))
}

func takes(kinds []kind, resource string) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool { return resource == "*" || k.is(resource) })
}

func (r *rules) conditions(s *statement) {
	for _, c := range s.conditions {
		name := strings.ToLower(c.key)
		r.values(s, c)
		if strings.HasPrefix(name, "aws:") && !knownKey(name) {
			r.at(c.place, s, Warning, UnknownKey, "look its name up among AWS's global condition keys", "%s is no condition key of AWS.", c.key)
			continue
		}
		if want := operatorOf[name]; want != "" && !c.null() && !strings.Contains(c.base(), strings.ToLower(want)) {
			r.at(c.place, s, Warning, WrongOperator, "use "+want, "%s compares texts; %s is none.", c.operator, c.key)
		}
		if c.null() || c.optional() || c.negated() {
			continue // they hold, or are asked, without the key
		}
		if len(s.actions) > 0 && !s.notAction && !carries(name, s.actions) {
			r.at(c.place, s, Warning, KeyNeverPresent, "leave the condition out, or give those actions that carry the key a statement of their own",
				"No action of the statement carries %s, so that it never applies.", c.key)
		}
		if s.allows() && slices.Contains(ofServices, name) && !r.serves(s) {
			r.at(c.place, s, Warning, SourceWithoutCaller, "name the service as Principal, or use aws:PrincipalArn or aws:PrincipalAccount",
				"%s is there only when a service calls for a resource of its own, and the statement is for no service.", c.key)
		}
	}
}

// serves reports whether a statement may be for a service.
func (r *rules) serves(s *statement) bool {
	switch r.kind {
	case policy.Resource, policy.Trust, policy.Key:
	case policy.RCP:
		return true
	default:
		return false
	}
	return s.notPrincipal || slices.ContainsFunc(s.principals, func(p principal) bool { return p.class == "Service" || p.s == "*" })
}

func (r *rules) values(s *statement, c condition) {
	if !strings.HasPrefix(c.base(), "string") || strings.Contains(c.base(), "like") {
		return
	}
	like := strings.NewReplacer("EqualsIgnoreCase", "Like", "Equals", "Like").Replace(c.operator)
	for _, v := range c.values {
		if wild(v.s) {
			r.at(v.place, s, Warning, LiteralWildcard, "use "+like+", or ArnLike for ARNs", "%s takes the wildcards of %s for themselves.", c.operator, v.shown())
		}
	}
}

func knownKey(name string) bool {
	return slices.Contains(globalKeys, name) || slices.ContainsFunc(tagKeys, func(p string) bool { return strings.HasPrefix(name, p) })
}

// breadth finds Allows that allow too much.
func (r *rules) breadth(s *statement) {
	if r.kind == policy.SCP || r.kind == policy.RCP {
		return // they give nothing
	}
	if s.notAction {
		r.at(s.action.place, s, Warning, AllowsNotAction, "list what is allowed under Action", "Allow with NotAction allows all other actions, of every service, also those that are yet to come.")
	}
	if s.notResource {
		r.at(s.resource.place, s, Warning, AllowsNotElse, "list what is allowed under Resource", "Allow with NotResource allows all other resources.")
	}
	if s.notAction {
		return
	}
	for _, a := range s.actions {
		service, name, _ := strings.Cut(a.s, ":")
		switch {
		case a.s == "*":
			r.at(a.place, s, Warning, AllActions, "list the actions that are needed; sekisho policy generate finds them", "It allows every action of every service.")
		case name == "*" && !r.owns(s):
			r.at(a.place, s, Warning, AllActions, "list the actions that are needed; sekisho policy generate finds them", "It allows every action of %s.", service)
		}
	}
	r.roles(s)
	r.everywhere(s)
}

// owns reports whether a key's policy gives an account its key, which it has to.
func (r *rules) owns(s *statement) bool {
	return r.kind == policy.Key && len(s.principals) > 0 && !slices.ContainsFunc(s.principals, func(p principal) bool { return !p.account() })
}

// account reports whether a principal is an account as a whole.
func (p principal) account() bool {
	return p.class == "AWS" && (strings.HasSuffix(p.s, ":root") || len(p.s) == 12 && strings.Trim(p.s, "0123456789") == "" || p.s == hole("AWS::AccountId"))
}

// roles finds leave to use any role.
func (r *rules) roles(s *statement) {
	if r.kind != policy.Identity {
		return
	}
	wide := slices.IndexFunc(s.resources, func(t text) bool {
		return t.s == "*" || strings.HasSuffix(t.s, ":role/*") || strings.HasPrefix(t.s, "arn:") && strings.HasSuffix(t.s, ":*")
	})
	if wide < 0 {
		return
	}
	to := s.resources[wide]
	for _, a := range s.actions {
		if a.s == "*" || strings.HasSuffix(a.s, ":*") {
			continue // told of already
		}
		switch {
		case coversFold(a.s, "iam:PassRole") && slices.ContainsFunc(s.conditions, func(c condition) bool { return strings.EqualFold(c.key, "iam:PassedToService") }):
			r.at(to.place, s, Info, PassesAnyRole, "name the roles", "It passes any role, though not to any service.")
		case coversFold(a.s, "iam:PassRole"):
			r.at(to.place, s, Warning, PassesAnyRole, "name the roles, and ask for iam:PassedToService", "Who may pass any role may do whatever the strongest of them may.")
		case coversFold(a.s, "sts:AssumeRole") && len(s.conditions) == 0:
			r.at(to.place, s, Warning, AssumesAnyRole, "name the roles", "Who may assume any role is in every one that trusts the account.")
		}
	}
}

// everywhere finds actions with resources that name none.
func (r *rules) everywhere(s *statement) {
	if r.kind != policy.Identity || len(s.conditions) > 0 {
		return
	}
	at := slices.IndexFunc(s.resources, func(t text) bool { return t.s == "*" })
	if at < 0 {
		return
	}
	for _, a := range s.actions {
		kinds := kindsOf(a.s)
		known := len(kinds) > 0 && !slices.Contains(kinds, none) && !slices.ContainsFunc(kinds, func(k kind) bool { return strings.HasPrefix(string(k), "a resource of") })
		if known && !strings.HasSuffix(a.s, "*") && !strings.EqualFold(a.s, "iam:PassRole") && !strings.EqualFold(a.s, "sts:AssumeRole") {
			r.at(s.resources[at].place, s, Info, EveryResource, "name the resources", "%s takes %s, and is allowed on every one.", a.s, kinds[0])
			return
		}
	}
}

// principals finds Allows for too many.
func (r *rules) principals(s *statement) {
	if s.notPrincipal {
		return
	}
	limited := slices.ContainsFunc(s.conditions, func(c condition) bool {
		return slices.Contains(limiting, strings.ToLower(c.key)) && !c.negated() && !c.optional() && !c.null()
	})
	for _, p := range s.principals {
		bound := slices.ContainsFunc(s.conditions, func(c condition) bool { return slices.Contains(ofServices, strings.ToLower(c.key)) })
		switch {
		case p.class == "AWS" && p.s == "*" && !limited && r.kind != policy.RCP:
			r.at(p.place, s, Error, Public, "name who is meant, or add a condition such as aws:PrincipalOrgID", "It is for everybody%s.", ofKind(r.kind))
		case r.kind == policy.Trust && p.account() && len(s.conditions) == 0:
			r.at(p.place, s, Info, TrustsAccount, "name the role that assumes it, or ask for sts:ExternalId or aws:PrincipalArn",
				"It trusts the account as a whole: whoever its administrators let, assumes the role.")
		case p.class == "Service" && slices.Contains(acting, p.s) && !bound && r.kind != policy.Key:
			r.at(p.place, s, Info, UnboundService, "ask for aws:SourceAccount or aws:SourceArn", "%s may act here for anybody's resources.", p.s)
		}
	}
}

func ofKind(k policy.Kind) string {
	switch k {
	case policy.Trust:
		return " who has credentials of any account"
	case policy.Resource, policy.Key:
		return ", of any account"
	}
	return ""
}

// compare finds statements that say nothing beside others.
func (r *rules) compare() {
	for i, s := range r.statements {
		for j, o := range r.statements {
			if i == j || s.maybe || o.maybe || !wider(o, s) {
				continue
			}
			if s.effect == o.effect && wider(s, o) {
				if i > j {
					r.at(s.place, s, Warning, Duplicate, "leave it out", "It says the same as statement %d.", j)
				}
				continue
			}
			switch {
			case s.effect == o.effect:
				r.at(s.place, s, Warning, Shadowed, "leave it out, or narrow the other one", "It says nothing that statement %d does not say already.", j)
			case s.allows() && o.effect == "Deny":
				r.at(s.place, s, Warning, Denied, "leave it out, or narrow the Deny", "Everything that it allows, statement %d denies.", j)
			}
		}
	}
}

// wider reports whether a statement is about everything that another is about.
func wider(o, s *statement) bool {
	if o.notAction || o.notResource || o.notPrincipal || s.notAction || s.notResource || s.notPrincipal {
		return false
	}
	if len(s.actions) == 0 || len(o.actions) == 0 || len(s.resources) == 0 != (len(o.resources) == 0) {
		return false
	}
	return (o.canonical == "" || o.canonical == s.canonical) &&
		coversAll(o.actions, s.actions, coversFold) && coversAll(o.resources, s.resources, covers) && names(o, s)
}

// names reports whether a statement is for everybody that another is for.
func names(o, s *statement) bool {
	return !slices.ContainsFunc(s.principals, func(p principal) bool {
		return !slices.ContainsFunc(o.principals, func(q principal) bool {
			return q.s == "*" && q.class == "AWS" && (p.class == "AWS" || o.effect == "Deny") || p.class == q.class && p.s == q.s
		})
	})
}
