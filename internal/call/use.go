package call

import "time"

// Use is the last time that something was used: an access key, or a service by
// a principal. IAM asks the record of calls for it.
type Use struct {
	// PrincipalID is the unique id of who called: a user, a role, or the
	// account for its root.
	PrincipalID string
	// Service is the namespace of the service, such as "s3".
	Service string
	// Action is the action without its namespace, such as "GetObject".
	Action string
	Region string
	Time   time.Time
}
