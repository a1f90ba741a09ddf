//go:build unix

package state

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lock takes the lock that a file stands for, and makes the file when there is
// none. It answers ErrInUse while another process has the lock, which ends with
// that process, however it ends.
func Lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f.Close, nil
}
