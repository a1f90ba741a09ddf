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
