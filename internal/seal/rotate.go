package seal

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
)

// Changing reports whether an older key is there beside the current one.
func (m *Master) Changing() bool { return len(m.older) > 0 }

// ErrMasterInEnv means that the master key is not in a file, so that it is not
// ours to change.
var ErrMasterInEnv = errors.New("the master key is in " + MasterEnv + ": put the new key there, then a space and the old key, and try again; afterwards leave the new key alone there")

// BeginRotation puts a new master key before the one in a file, and returns
// both. A change that was begun before and not ended goes on: no third key is
// made. Both keys are on disk before the first thing is sealed under the new
// one. Where the environment holds the key, it has to hold both.
func BeginRotation(file string) (*Master, error) {
	m, err := LoadMaster(file)
	if err != nil || m.Changing() {
		return m, err
	}
	if os.Getenv(MasterEnv) != "" {
		return nil, ErrMasterInEnv
	}
	key := make([]byte, KeySize)
	rand.Read(key)
	both := &Master{key: NewSecret(key), older: []Secret{m.key}}
	return both, both.write(file)
}

// EndRotation forgets the older keys, under which nothing is sealed any more.
// From the environment they are to be removed by whoever put them there.
func (m *Master) EndRotation(file string) error {
	if os.Getenv(MasterEnv) != "" {
		return nil
	}
	return (&Master{key: m.key}).write(file)
}

func (m *Master) write(file string) error {
	text := base64.StdEncoding.EncodeToString(m.key.Reveal()) + "\n"
	for _, key := range m.older {
		text += base64.StdEncoding.EncodeToString(key.Reveal()) + "\n"
	}
	if err := WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	return nil
}
