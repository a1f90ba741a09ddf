package wire_test

import (
	"errors"
	"testing"

	"github.com/sekisho/sekisho/internal/api"
	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/api/events"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
)

func TestCheck(t *testing.T) {
	role := func(change func(*iam.CreateRoleInput)) *iam.CreateRoleInput {
		in := &iam.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: "{}"}
		change(in)
		return in
	}
	for name, tt := range map[string]struct {
		service, operation string
		in                 any
		code, text         string // empty: nothing is wrong
	}{
		"right":             {"iam", "CreateRole", role(func(*iam.CreateRoleInput) {}), "", ""},
		"an empty value":    {"iam", "CreateRole", role(func(in *iam.CreateRoleInput) { in.Tags = []iam.Tag{{Key: "k"}} }), "", ""},
		"a path for a name": {"iam", "CreateRole", role(func(in *iam.CreateRoleInput) { in.RoleName = "a/b" }), "ValidationError", `1 validation error detected: Value 'a/b' at 'roleName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+`},
		"a path without end": {"iam", "CreateRole", role(func(in *iam.CreateRoleInput) { in.Path = "/dev-" }), "ValidationError",
			`1 validation error detected: Value '/dev-' at 'path' failed to satisfy constraint: Member must satisfy regular expression pattern: (\u002F)|(\u002F[\u0021-\u007E]+\u002F)`},
		"no name": {"iam", "CreateRole", role(func(in *iam.CreateRoleInput) { in.RoleName = "" }), "ValidationError", "1 validation error detected: Value null at 'roleName' failed to satisfy constraint: Member must not be null"},
		"a long session": {"iam", "CreateRole", role(func(in *iam.CreateRoleInput) { in.MaxSessionDuration = new(int64(1e9)) }), "ValidationError",
			"1 validation error detected: Value '1000000000' at 'maxSessionDuration' failed to satisfy constraint: Member must have value less than or equal to 43200"},
		"within a list": {"events", "PutTargets", &events.PutTargetsInput{Rule: "r", Targets: []events.Target{{Id: "a b", Arn: "arn:aws:events:us-east-1:111111111111:event-bus/x"}}}, "ValidationException",
			`1 validation error detected: Value 'a b' at 'targets.1.member.id' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+`},
		"a service's own code": {"organizations", "DescribeAccount", &organizations.DescribeAccountInput{AccountId: "1"}, "InvalidInputException",
			`1 validation error detected: Value '1' at 'accountId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^\d{12}$`},
		"S3 by itself":  {"s3", "PutObject", &s3.PutObjectInput{}, "", ""},
		"in no model":   {"codecommit", "UploadArchive", &codecommit.UploadArchiveInput{}, "", ""},
		"its own error": {"codecommit", "GetBranch", &codecommit.GetBranchInput{}, "", ""},
	} {
		err := api.Check(tt.service, tt.operation, tt.in)
		e, _ := errors.AsType[*aws.Error](err)
		if tt.code == "" && err != nil || tt.code != "" && (e == nil || e.Code != tt.code || e.Message != tt.text) {
			t.Errorf("%s: %v, want %s: %s", name, err, tt.code, tt.text)
		}
	}
}
