package aws

import (
	"strings"
	"time"
)

// Kind says what sort of caller a principal is. The zero value is Anonymous,
// which no identity policy speaks for.
type Kind int

const (
	// Anonymous signed nothing.
	Anonymous Kind = iota
	// Root is the root user of an account.
	Root
	// User is an IAM user.
	User
	// Session is a session of an IAM role.
	Session
	// Federated is a federated user (GetFederationToken).
	Federated
	// Service is an AWS service acting as itself.
	Service
)

// Principal is an authenticated caller. It is a value that can be stored (as
// JSON) and used again later: policies are looked up anew at each call.
type Principal struct {
	Kind Kind
	// ARN is the caller's ARN as AWS prints it: user, root, or session
	// (arn:aws:sts::…:assumed-role/ROLE/SESSION). For Service it is the
	// service principal, such as events.amazonaws.com; for Anonymous empty.
	ARN string
	// Account is the twelve-digit account of the caller; empty for Service
	// and Anonymous.
	Account string
	// ID is the unique id: AIDA… for a user, AROA…:SESSION for a session, the
	// account id for root.
	ID string
	// RoleARN is the ARN of the role a Session wears (with its path).
	RoleARN string `json:",omitempty"`
	// ParentARN and ParentID are the ARN and the unique id of whoever made the
	// credentials of a Federated user: an IAM user, or the account's root. Its
	// policies speak for the federated user, as far as the session's allow.
	ParentARN string `json:",omitempty"`
	ParentID  string `json:",omitempty"`
	// AccessKeyID signed the call; empty for calls inside the process that
	// no key signed.
	AccessKeyID string `json:",omitempty"`
	// Issued is when temporary credentials were issued; zero otherwise.
	Issued time.Time `json:",omitzero"`
	// Expires is when temporary credentials end; zero otherwise.
	Expires time.Time `json:",omitzero"`
	// Temporary is set for credentials that STS made, also a user's own
	// (GetSessionToken).
	Temporary bool `json:",omitempty"`
	// MFA is set when the temporary credentials were made with MFA.
	MFA bool `json:",omitempty"`
	// SessionPolicies are the policies passed when the session was made:
	// inline documents and ARNs of managed ones.
	SessionPolicies   []string `json:",omitempty"`
	SessionPolicyARNs []string `json:",omitempty"`
	SourceIdentity    string   `json:",omitempty"`
	Tags              []Tag    `json:",omitempty"`
	TransitiveTagKeys []string `json:",omitempty"`
	// Provided are condition keys, in lower case, that an identity provider
	// vouched for when the session was made.
	Provided map[string][]string `json:",omitempty"`
	// Chained is set when the session was assumed by another session.
	Chained bool `json:",omitempty"`
}

// Tag is a key with a value.
type Tag struct{ Key, Value string }

// ServicePrincipal returns the principal of a service that acts as itself,
// such as "codepipeline.amazonaws.com".
func ServicePrincipal(name string) Principal {
	return Principal{Kind: Service, ARN: name, ID: name}
}

// RootPrincipal returns the root user of an account.
func RootPrincipal(account string) Principal {
	return Principal{Kind: Root, ARN: NewARN("iam", "", account, "root"), Account: account, ID: account}
}

// SessionName returns the last part of a role session's ARN, and "" for every
// other kind.
func (p Principal) SessionName() string {
	if p.Kind != Session {
		return ""
	}
	return p.ARN[strings.LastIndexByte(p.ARN, '/')+1:]
}

// Name returns the name of the user, the role or the service: what a person
// calls the caller.
func (p Principal) Name() string {
	switch p.Kind {
	case Session:
		return p.RoleARN[strings.LastIndexByte(p.RoleARN, '/')+1:]
	case User, Federated:
		return p.ARN[strings.LastIndexByte(p.ARN, '/')+1:]
	case Root:
		return "root"
	case Service:
		return p.ARN
	}
	return "anonymous"
}

// UniqueID returns the id by which policies keep the user, or the role of the
// session; empty for every other kind.
func (p Principal) UniqueID() string {
	switch p.Kind {
	case User, Session:
		id, _, _ := strings.Cut(p.ID, ":")
		return id
	}
	return ""
}

// PolicyARN is the ARN that aws:PrincipalArn holds: the role's for a session,
// the caller's otherwise.
func (p Principal) PolicyARN() string {
	if p.Kind == Session {
		return p.RoleARN
	}
	return p.ARN
}
