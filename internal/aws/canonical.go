package aws

import (
	"crypto/sha256"
	"encoding/hex"
)

// CanonicalID is the canonical user id by which S3 names an account.
func CanonicalID(account string) string {
	sum := sha256.Sum256([]byte("sekisho canonical user of account " + account))
	return hex.EncodeToString(sum[:])
}
