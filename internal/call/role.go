package call

import (
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
)

// Role is an IAM role as a service sees it that has it worn: STS asks IAM for
// it.
type Role struct {
	ARN, ID    string
	Trust      *policy.Source
	MaxSession time.Duration
	Tags       []aws.Tag
}

// IdentityProvider is an OpenID Connect provider that an account trusts.
type IdentityProvider struct {
	ARN string
	// URL is the issuer's, without https://.
	URL string
	// Clients are those for whom its tokens have to be made, Thumbprints the
	// SHA-1 sums of certificates that vouch for it.
	Clients, Thumbprints []string
}
