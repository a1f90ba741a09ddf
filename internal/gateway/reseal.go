package gateway

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/sekisho/sekisho/internal/seal"
)

// CheckAuthority tells whether the authority of a data directory can be
// opened. To have none yet is no error.
func CheckAuthority(dir string, master *seal.Master) error {
	if _, err := os.Stat(filepath.Join(dir, authorityKeyFile)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	_, err := OpenAuthority(dir, master)
	return err
}

// ResealAuthority seals the authority's key under the current master key, where
// it lies under an older one.
func ResealAuthority(dir string, master *seal.Master) error {
	file := filepath.Join(dir, authorityKeyFile)
	sealed, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	fresh, old, err := master.For("ca").Reseal(sealed, nil)
	if err != nil || !old {
		return err
	}
	return seal.WriteFile(file, fresh, 0o600)
}
