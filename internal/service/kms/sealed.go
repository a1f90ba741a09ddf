package kms

import (
	"context"

	"github.com/sekisho/sekisho/internal/fsck"
)

// Sealed lists what of KMS lies sealed under the master key. The ciphertexts
// that KMS gave away are not: they hang on the material of their keys.
func Sealed() []fsck.Column {
	return []fsck.Column{{
		Table: "kms_material", Column: "sealed", Key: []string{"account", "region", "key_id", "version"},
		Bound:   "'arn:aws:kms:' || region || ':' || account || ':key/' || key_id || '#' || CAST(version AS TEXT)",
		Purpose: "kms/material",
	}}
}

// OpenAtRest opens a ciphertext as whoever holds the master key, for a check of
// what is stored: no policy is asked, and the state of the key is no hindrance
// as long as its material is there.
func (s *Service) OpenAtRest(ctx context.Context, region string, ciphertext []byte, encryption map[string]string) ([]byte, error) {
	b, err := readBlob(region, ciphertext)
	if err != nil {
		return nil, err
	}
	m, err := s.material(ctx, b.ref, b.version)
	if err != nil {
		return nil, err
	}
	return decryptWith(m, b, encryption)
}
