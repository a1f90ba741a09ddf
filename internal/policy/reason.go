package policy

import (
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// names of the kinds as AWS's refusals word them.
func (k Kind) words() string {
	switch k {
	case Resource, Key:
		return "resource-based policy"
	case Trust:
		return "role trust policy"
	case Boundary:
		return "permissions boundary"
	case Session:
		return "session policy"
	case SCP:
		return "service control policy"
	case RCP:
		return "resource control policy"
	}
	return "identity-based policy"
}

// String names the kind of policy in a word, as `sekisho policy eval` does.
func (k Kind) String() string {
	switch k {
	case Resource:
		return "resource"
	case Trust:
		return "trust"
	case Key:
		return "key"
	case Boundary:
		return "boundary"
	case Session:
		return "session"
	case SCP:
		return "scp"
	case RCP:
		return "rcp"
	case Identity:
		return "identity"
	}
	return "none"
}

// Reason words why an action was refused, as AWS appends it to its message.
// AWS names one reason, whatever the number; it is empty for an Allow.
func (d Decision) Reason(action string) string {
	switch {
	case d.Effect == Allow:
		return ""
	case d.Effect == ExplicitDeny && len(d.Because) > 0:
		return "with an explicit deny in " + article(d.Because[0].Kind) + d.Because[0].Kind.words()
	case d.Effect == ImplicitDeny && len(d.Silent) > 0:
		return "because no " + d.Silent[0].words() + " allows the " + action + " action"
	}
	return ""
}

func article(k Kind) string {
	switch k {
	case Trust:
		return "the "
	case Identity:
		return "an "
	}
	return "a "
}

// callerARN is what a policy that stands on the caller stands on. The role of
// a session that is known by its own ARN alone is taken to have no path.
func callerARN(p *aws.Principal) string {
	if p.Kind == aws.Session && p.RoleARN == "" {
		_, session, _ := strings.Cut(p.ARN, ":assumed-role/")
		name, _, _ := strings.Cut(session, "/")
		return aws.NewARN("iam", "", p.Account, "role/"+name)
	}
	return p.PolicyARN()
}
