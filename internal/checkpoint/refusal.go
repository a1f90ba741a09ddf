package checkpoint

import (
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// Refusal is the usual wording of a refusal: AWS's general form, with the one
// reason AWS would give. "on resource" is left out for actions that have no
// resource.
func Refusal(c *call.Call, n call.Need, d policy.Decision) *aws.Error {
	message := "User: " + caller(c.Principal) + " is not authorized to perform: " + n.Action
	if n.Resource != "*" {
		message += " on resource: " + n.Resource
	}
	if reason := d.Reason(n.Action); reason != "" {
		message += " " + reason
	}
	switch c.Service {
	case "iam", "sts", "cloudformation", "s3":
		return &aws.Error{Code: "AccessDenied", Message: message, Status: 403}
	}
	return &aws.Error{Code: "AccessDeniedException", Message: message, Status: 400}
}

// caller names a principal in a refusal.
func caller(p aws.Principal) string {
	if p.Kind == aws.Anonymous {
		return "anonymous"
	}
	return p.ARN
}
