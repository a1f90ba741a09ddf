//go:build !unix

package state

import "os"

// Lock only creates the file: there is no portable lock here that ends
// with the process.
func Lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}
