package iam

import (
	"testing"

	"github.com/sekisho/sekisho/internal/policy"
)

// ContextKeysOf reads the context keys of a document, and the place of each of
// its statements.
func ContextKeysOf(text string) []string {
	d, err := policy.Parse(text, policy.Identity)
	if err != nil {
		return nil
	}
	for i := range d.Len() {
		span(d, i)
	}
	return contextKeys([]*policy.Document{d})
}

// Files is a file of a script's archive.
func Files(t testing.TB, archive, name string) string { return files(t, archive)[name] }

// Hasten makes the hashes of passwords cheap, and so worthless.
func (s *Service) Hasten() { s.rounds = 100 }
