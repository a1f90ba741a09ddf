package kms

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// managedServices have a key of AWS's own in each account, named
// alias/aws/SERVICE, with the name of the service in the key's policy.
var managedServices = map[string]string{"s3": "S3", "codecommit": "CodeCommit"}

// ensureManaged makes an account's AWS managed key when the service it belongs
// to asks for it the first time, or somebody describes it.
func (s *Service) ensureManaged(ctx context.Context, c *call.Call, r ref) error {
	service, ok := strings.CutPrefix(r.alias, aliasPrefix+"aws/")
	if !ok || managedServices[service] == "" || r.account != c.Account() {
		return nil
	}
	if c.Operation != "DescribeKey" && !slices.Contains(c.Via, service+".amazonaws.com") {
		return nil
	}
	exists := false
	err := s.db.View(ctx, func(tx *state.Tx) error {
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM kms_alias WHERE account = $1 AND region = $2 AND name = $3`, r.account, r.region, r.alias)
		exists = n > 0
		return err
	})
	if err != nil || exists {
		return err
	}
	k := key{
		Account: r.account, Region: r.region, ID: aws.NewUUID(), Manager: managerAWS,
		Description: "Default key that protects my " + managedServices[service] + " data when no other key is defined",
		State:       enabled, Policy: managedPolicy(service, r.account, r.region),
		Created: state.Millis(c.Time), Version: 1, Spec: symmetric, Usage: encryptDecrypt, Origin: originKMS,
		Rotates: true, Period: 365, NextRotate: state.Millis(c.Time.Add(365 * day)), // nobody can have it otherwise
	}
	secret, err := specs[symmetric].generate()
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, `
			INSERT INTO kms_alias (account, region, name, key_id, created, updated) VALUES ($1, $2, $3, $4, $5, $5)
			ON CONFLICT DO NOTHING`, r.account, r.region, r.alias, k.ID, c.Time)
		if err != nil {
			return fmt.Errorf("store %s: %w", r.alias, err)
		}
		if n == 0 {
			return nil // somebody else was first
		}
		if err := s.insertKey(ctx, tx, k, secret); err != nil {
			return err
		}
		return enqueue(ctx, tx, rotateJob, k, state.Time(k.NextRotate))
	})
}

// managedPolicy is the policy of an AWS managed key: the callers of the
// account use it through the service, and nobody uses it otherwise. That is
// why such a key cannot serve another account.
func managedPolicy(service, account, region string) string {
	name := managedServices[service]
	return `{
  "Version" : "2012-10-17",
  "Id" : "auto-` + service + `-2",
  "Statement" : [ {
    "Sid" : "Allow access through ` + name + ` for all principals in the account that are authorized to use ` + name + `",
    "Effect" : "Allow",
    "Principal" : { "AWS" : "*" },
    "Action" : [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey" ],
    "Resource" : "*",
    "Condition" : {
      "StringEquals" : {
        "kms:CallerAccount" : "` + account + `",
        "kms:ViaService" : "` + service + `.` + region + `.amazonaws.com"
      }
    }
  }, {
    "Sid" : "Allow direct access to key metadata to the account",
    "Effect" : "Allow",
    "Principal" : { "AWS" : "arn:aws:iam::` + account + `:root" },
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*" ],
    "Resource" : "*"
  } ]
}`
}
