//go:build unix

package state

import (
	"fmt"
	"os"
	"syscall"
)

// lockFile keeps a second process from opening the database. The lock ends
// with the process, however that ends.
func lockFile(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: the database is in use by another process (%w)", name, err)
	}
	return f.Close, nil
}
