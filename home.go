package sekisho

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

// home is the data directory while this process has it to itself.
type home struct {
	// id names the directory among those that share a database.
	id     string
	unlock func() error
}

// settle makes a data directory when there is none, and takes it.
func settle(dir string) (*home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	unlock, err := state.Lock(filepath.Join(dir, lockFile))
	if errors.Is(err, state.ErrInUse) {
		return nil, fmt.Errorf("the data directory %s is in use by another sekisho: stop that one, or choose another directory with --data DIR", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	id, err := homeID(filepath.Join(dir, homeFile))
	if err == nil {
		err = tryWriting(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data directory: %w", err), unlock())
	}
	return &home{id: id, unlock: unlock}, nil
}

// tryWriting finds out now whether a directory takes files and there is room for
// them, and not when the first call has something to store.
func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, leastRoom))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// leastRoom is what a database takes to be opened, beside what it holds.
const leastRoom = 64 << 10

// homeID reads the id of a data directory, which it is given at first start.
func homeID(file string) (string, error) {
	text, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(text)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	id := aws.NewUUID()
	return id, seal.WriteFile(file, []byte(id+"\n"), 0o600)
}
