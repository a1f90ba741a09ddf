package call

import (
	"context"

	"github.com/sekisho/sekisho/internal/policy"
)

// Organizations are the organizations that accounts belong to, as they are at
// one moment: the checkpoint asks for what binds an account.
type Organizations interface {
	// Member returns where an account stands in its organization, and nil when
	// it is in none.
	Member(ctx context.Context, account string) (*Member, error)
}

// Member is an account's place in an organization.
type Member struct {
	// Organization is the organization's id, o-….
	Organization string
	// Path leads from the organization to the account's parent:
	// o-…/r-…/ou-…/.
	Path string
	// SCPs bind the account's principals and RCPs its resources, level by
	// level from the root to the account itself. The management account has
	// none.
	SCPs, RCPs [][]policy.Source
}

// ClosedSid names the policy that binds closed accounts, and its only
// statement. It is nobody's to change.
const ClosedSid = "AccountClosed"
