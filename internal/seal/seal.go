// Package seal keeps secrets: the master key from which everything at rest is
// protected, sealing under it, and a type for values that must not print.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Secret is a value that no format verb, logger or encoder can read.
//
// Where a Secret stands in an unexported field, fmt may not call its methods
// and reflects instead, and for a verb that does not fit it follows one
// pointer. Behind two it finds an address.
type Secret struct{ bytes **[]byte }

// NewSecret keeps a copy of b.
func NewSecret(b []byte) Secret {
	c := new(append([]byte(nil), b...))
	return Secret{&c}
}

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() []byte {
	if s.bytes == nil {
		return nil
	}
	return **s.bytes
}

// Format prints a placeholder, whatever the verb.
func (Secret) Format(w fmt.State, _ rune) { io.WriteString(w, "[secret]") }

// MarshalText encodes a placeholder.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Equal compares in constant time. The zero Secret equals nothing.
func (s Secret) Equal(b []byte) bool {
	return s.bytes != nil && subtle.ConstantTimeCompare(**s.bytes, b) == 1
}

// KeySize is the size in bytes of the master key and of every derived key.
const KeySize = 32

// ErrBroken means that sealed bytes were altered, or sealed under another key
// or for another purpose.
var ErrBroken = errors.New("sealed bytes do not open: they were altered, or belong to another master key")

// Master is the key everything at rest hangs on. While it is being changed
// there is an older one too: that opens, and does not seal any more.
type Master struct {
	key   Secret
	older []Secret
}

// NewMaster takes a key of KeySize bytes.
func NewMaster(key []byte) (*Master, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("master key has %d bytes, want %d", len(key), KeySize)
	}
	return &Master{key: NewSecret(key)}, nil
}

// MasterEnv is the environment variable that may hold the master key, in
// base64, instead of a file. While the key is changed it holds the new key and,
// after a space, the old one; so does the file.
const MasterEnv = "SEKISHO_MASTER_KEY"

// LoadMaster returns the master key from the environment (MasterEnv) or from
// a file, which it creates with mode 0600 when there is none.
func LoadMaster(file string) (*Master, error) {
	if text := os.Getenv(MasterEnv); text != "" {
		return parseMaster(MasterEnv, text)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return createMaster(file)
	}
	if err != nil {
		return nil, err
	}
	return parseMaster(file, string(text))
}

// parseMaster reads the text of a master key; place is where it stands.
func parseMaster(place, text string) (*Master, error) {
	var keys []Secret
	for field := range strings.FieldsSeq(text) {
		key, err := base64.StdEncoding.DecodeString(field)
		if err != nil || len(key) != KeySize {
			return nil, errNoMaster(place)
		}
		keys = append(keys, NewSecret(key))
	}
	if len(keys) == 0 {
		return nil, errNoMaster(place)
	}
	return &Master{key: keys[0], older: keys[1:]}, nil
}

func errNoMaster(place string) error {
	return fmt.Errorf("%s does not hold a master key: %d bytes in base64, such as openssl rand -base64 %d prints", place, KeySize, KeySize)
}

func createMaster(file string) (*Master, error) {
	key := make([]byte, KeySize)
	rand.Read(key)
	if err := WriteFile(file, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, err
	}
	return NewMaster(key)
}

// WriteFile replaces a file whole or not at all. It is on disk when WriteFile
// returns, and nobody whom mode keeps out could read it before.
func WriteFile(name string, data []byte, mode os.FileMode) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".new-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// For returns the box for one purpose: what one box seals no other opens.
func (m *Master) For(purpose string) *Box {
	box := newBox(derived(m.key, purpose))
	for _, key := range m.older {
		box.older = append(box.older, newBox(derived(key, purpose)).aead)
	}
	return box
}

func derived(master Secret, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, master.Reveal(), nil, "sekisho/"+purpose, KeySize)
	if err != nil {
		panic(err) // only for lengths beyond hkdf's, and KeySize is not
	}
	return key
}

// Box seals and opens under one key with AES-256-GCM. It opens under older ones
// too, while the master key is being changed.
type Box struct {
	aead  cipher.AEAD
	older []cipher.AEAD
}

// NewBox returns a box over a key of KeySize bytes.
func NewBox(key []byte) (*Box, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("key has %d bytes, want %d", len(key), KeySize)
	}
	return newBox(key), nil
}

func newBox(key []byte) *Box {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for other key sizes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for other block sizes
	}
	return &Box{aead: aead}
}

// Seal encrypts and authenticates plain; bound is authenticated with it and
// has to be given again to open it.
func (b *Box) Seal(plain, bound []byte) []byte {
	return b.aead.Seal(nil, nil, plain, bound)
}

// Open returns what Seal was given, or ErrBroken.
func (b *Box) Open(sealed, bound []byte) ([]byte, error) {
	plain, _, err := b.open(sealed, bound)
	return plain, err
}

func (b *Box) open(sealed, bound []byte) (plain []byte, old bool, err error) {
	if plain, err := b.aead.Open(nil, nil, sealed, bound); err == nil {
		return plain, false, nil
	}
	for _, aead := range b.older {
		if plain, err := aead.Open(nil, nil, sealed, bound); err == nil {
			return plain, true, nil
		}
	}
	return nil, false, ErrBroken
}

// Reseal returns what was sealed under an older key sealed under the current
// one. old says whether it was; what was not is returned as it is.
func (b *Box) Reseal(sealed, bound []byte) (fresh []byte, old bool, err error) {
	plain, old, err := b.open(sealed, bound)
	if err != nil || !old {
		return sealed, false, err
	}
	return b.Seal(plain, bound), true, nil
}
