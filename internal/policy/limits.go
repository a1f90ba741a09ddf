package policy

// Sizes of policies as AWS's quotas have them. IAM counts characters without
// white space, the others bytes.
const (
	// MaxManaged is how long a managed policy may be, and so a boundary.
	MaxManaged = 6144
	// MaxInlineUser, MaxInlineGroup and MaxInlineRole are how long all inline
	// policies of one entity together may be.
	MaxInlineUser  = 2048
	MaxInlineGroup = 5120
	MaxInlineRole  = 10240
	// MaxTrust is how long a trust policy may be, with the quota raised as far
	// as AWS does.
	MaxTrust = 4096
	// MaxSession is how long an inline session policy may be; it is counted
	// with white space.
	MaxSession = 2048
	// MaxBucket is how long a bucket policy may be.
	MaxBucket = 20 << 10
	// MaxKey is how long a key policy may be.
	MaxKey = 32 << 10
	// MaxBus is how long the policy of an event bus may be.
	MaxBus = 10240
	// MaxServiceControl is how long a service control policy may be, since
	// 2026-05-15.
	MaxServiceControl = 10240
	// MaxResourceControl is how long a resource control policy may be.
	MaxResourceControl = 5120
)

// Size counts a policy's characters as IAM's quotas do: without white space.
func Size(text string) int {
	n := 0
	for i := range len(text) {
		if !isSpace(text[i]) {
			n++
		}
	}
	return n
}
