package iam

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
)

func noSuch(format string, args ...any) *aws.Error {
	return aws.Errorf("NoSuchEntity", format, args...)
}

func conflict(format string, args ...any) *aws.Error {
	return aws.Errorf("DeleteConflict", format, args...)
}

func exists(format string, args ...any) *aws.Error {
	return aws.Errorf("EntityAlreadyExists", format, args...)
}

func isExists(err error) bool {
	e, ok := errors.AsType[*aws.Error](err)
	return ok && e.Code == "EntityAlreadyExists"
}

func limit(format string, args ...any) *aws.Error {
	return aws.Errorf("LimitExceeded", format, args...)
}

func invalid(format string, args ...any) *aws.Error {
	return aws.Errorf("InvalidInput", format, args...)
}

// checkARN refuses what is no ARN. The model takes every text.
func checkARN(text string) error {
	if _, ok := aws.ParseARN(text); !ok || !storable(text) {
		return invalid("ARN %s is not valid.", text)
	}
	return nil
}

// storable reports whether both databases take a text: PostgreSQL has no NUL.
func storable(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// document checks a policy that is to be saved.
func document(text string, kind policy.Kind) (*policy.Document, error) {
	d, err := policy.Parse(text, kind)
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return nil, aws.Errorf("MalformedPolicyDocument", "%s", e.Message)
	}
	return d, err
}

// managedDocument checks a managed policy, which has to name its version.
func managedDocument(text string) error {
	d, err := document(text, policy.Identity)
	if err != nil {
		return err
	}
	if d.Version() != "2012-10-17" {
		return aws.Errorf("MalformedPolicyDocument", "Policy document must be version 2012-10-17 or greater.")
	}
	if size(text) > maxManagedPolicy {
		return limit("Cannot exceed quota for PolicySize: %d", maxManagedPolicy)
	}
	return nil
}

// size counts a policy's characters as quotas do: without white space.
func size(text string) int { return policy.Size(text) }

// Quotas, as AWS sets them for a fresh account (attachments: the most that
// AWS raises them to).
const (
	maxManagedPolicy = policy.MaxManaged
	maxTrustPolicy   = policy.MaxTrust
	maxVersions      = 5
	maxKeys          = 2
	maxCredentials   = 2
	maxGroups        = 10
	maxAttached      = 20
	maxTags          = 50
)

// inlineQuota is the room for all inline policies of an entity together.
func inlineQuota(k kind) int {
	switch k {
	case user:
		return policy.MaxInlineUser
	case group:
		return policy.MaxInlineGroup
	}
	return policy.MaxInlineRole
}

// title is a kind at the beginning of a sentence.
func title(k kind) string {
	return string(unicode.ToUpper(rune(k[0]))) + string(k[1:])
}
