package policy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/api/cloudtrail"
	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/api/events"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/wire"
)

func TestCheck(t *testing.T) {
	const text = `{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjects", "s3:Gett*", "nobody:Knows", "*"], "Resource": "*"},
  {"Effect": "Allow", "Action": "KMS:reencryptfrom", "Resource": "arn:aws:sns:us-east-1:${aws:PrincipalAccount}:${aws:username}"},
  {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/${aws:username}", "Condition": {
    "StringEquals": {"iam:PassedToService": []},
    "ForAllValues:StringEquals": {"aws:TagKeys": "a", "aws:CalledVia": "b"},
    "Null": {"aws:tagkeys": "false"}}},
  {"Effect": "Deny", "NotAction": "kms:ReEncrypt", "Resource": "*", "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}}
]}`
	doc, err := policy.Parse(text, policy.Identity)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range policy.Check(doc) {
		got = append(got, fmt.Sprintf("%d:%d %d %s %s", f.Line, f.Column, f.Statement, f.Code, f.Message))
	}
	want := []string{
		"2:50 0 UnknownAction The service s3 has no action GetObjects.",
		"2:67 0 UnknownAction No action of s3 is like Gett*.",
		"3:66 1 VariableNotReplaced A variable is replaced after the fifth colon of an ARN only: arn:aws:sns:us-east-1:${aws:PrincipalAccount}:${aws:username}",
		"5:45 2 NeverMatches StringEquals of iam:PassedToService has no values.",
		"6:72 2 MatchesMissingKey ForAllValues:StringEquals also allows requests without aws:CalledVia; ask for it with Null.",
		"8:35 3 UnknownAction The service kms has no action ReEncrypt.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if line, column := doc.Position(2); line != 4 || column != 3 {
		t.Errorf("the third statement stands at %d:%d", line, column)
	}
	old, err := policy.Parse(`{"Statement":{"Effect":"Allow","NotPrincipal":{"AWS":"111111111111"},"Action":"s3:*","Resource":"arn:aws:s3:::${aws:username}"}}`, policy.Resource)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[policy.Code]bool{}
	for _, f := range policy.Check(old) {
		codes[f.Code] = true
	}
	if !codes[policy.AllowsEveryoneElse] || !codes[policy.VariableNotReplaced] || len(codes) != 2 {
		t.Errorf("findings of the old version: %v", codes)
	}
}

// Every operation is an action, but for those of S3, which have names of
// their own, and kms:ReEncrypt, which is two.
func TestKnownActionsCoverTheModels(t *testing.T) {
	for _, m := range []*wire.Model{
		cloudformation.Model(), cloudtrail.Model(), codecommit.Model(), codepipeline.Model(), events.Model(),
		iam.Model(), kms.Model(), organizations.Model(), sts.Model(),
	} {
		for _, op := range m.Operations {
			if action := m.Name + ":" + op.Name; !policy.KnownAction(action) && action != "kms:ReEncrypt" {
				t.Errorf("%s is not known", action)
			}
		}
	}
	for action, want := range map[string]bool{
		"s3:ListBucket": true, "s3:ListObjectsV2": false, "s3:PutBucketCORS": true, "kms:ReEncrypt*": true,
		"codecommit:GitPush": true, "iam:PassRole": true, "ec2:Anything": true, "*": true, "nonsense": false,
	} {
		if got := policy.KnownAction(action); got != want {
			t.Errorf("KnownAction(%s) = %v", action, got)
		}
	}
}
