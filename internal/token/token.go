// Package token makes session tokens that hold everything about a session,
// sealed: no table of sessions is kept, and every node that has the master key
// can read them.
package token

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/seal"
)

// Session is what a token holds.
type Session struct {
	Secret    seal.Secret
	Principal aws.Principal // with AccessKeyID and Expires set
}

const (
	// MaxLen bounds tokens, as clients and proxies bound headers.
	MaxLen = 8 << 10
	// maxPlain bounds what a token unpacks to.
	maxPlain = 256 << 10
)

var (
	// ErrInvalid means that a token was not made here, was altered, or belongs
	// to another access key.
	ErrInvalid = errors.New("session token is not valid")
	// ErrTooLarge means that a session holds too much for a token.
	ErrTooLarge = errors.New("session is too large for a token")
)

// head is how the tokens of AWS begin; in base64 it is IQoJb3JpZ2luX2Vj.
const head = "!\n\torigin_ec"

// content is the sealed form of a session.
type content struct {
	Secret    []byte        `json:"s"`
	Principal aws.Principal `json:"p"`
}

// Seal makes the token of a session. It opens together with the session's
// access key id only.
func Seal(box *seal.Box, s Session) (string, error) {
	plain, err := json.Marshal(content{s.Secret.Reveal(), s.Principal})
	if err != nil {
		return "", err
	}
	packed, err := pack(plain)
	if err != nil {
		return "", err
	}
	sealed := box.Seal(packed, []byte(s.Principal.AccessKeyID))
	text := base64.StdEncoding.EncodeToString(append([]byte(head), sealed...))
	if len(plain) > maxPlain || len(text) > MaxLen {
		return "", ErrTooLarge
	}
	return text, nil
}

// Open returns the session of a token, or ErrInvalid. Whoever asks compares
// the time with Principal.Expires.
func Open(box *seal.Box, keyID, text string) (Session, error) {
	if len(text) > MaxLen {
		return Session{}, ErrInvalid
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !bytes.HasPrefix(raw, []byte(head)) {
		return Session{}, ErrInvalid
	}
	packed, err := box.Open(raw[len(head):], []byte(keyID))
	if err != nil {
		return Session{}, ErrInvalid
	}
	plain, err := unpack(packed)
	if err != nil || len(plain) > maxPlain {
		return Session{}, ErrInvalid
	}
	var c content
	if err := json.Unmarshal(plain, &c); err != nil {
		return Session{}, ErrInvalid
	}
	return Session{Secret: seal.NewSecret(c.Secret), Principal: c.Principal}, nil
}

// messageMark begins an encoded message: nobody who gives one to a command may
// have it taken for a flag.
const messageMark = "m"

// SealMessage makes the encoded form of an authorization message, which opens
// for its account only. ErrTooLarge means that it would be longer than MaxLen.
func SealMessage(box *seal.Box, account string, message []byte) (string, error) {
	packed, err := pack(message)
	if err != nil {
		return "", err
	}
	text := messageMark + base64.RawURLEncoding.EncodeToString(box.Seal(packed, []byte(account)))
	if len(message) > maxPlain || len(text) > MaxLen {
		return "", ErrTooLarge
	}
	return text, nil
}

// OpenMessage returns an authorization message, or ErrInvalid.
func OpenMessage(box *seal.Box, account, text string) ([]byte, error) {
	text, ok := strings.CutPrefix(text, messageMark)
	if !ok || len(text) > MaxLen {
		return nil, ErrInvalid
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrInvalid
	}
	packed, err := box.Open(sealed, []byte(account))
	if err != nil {
		return nil, ErrInvalid
	}
	message, err := unpack(packed)
	if err != nil || len(message) > maxPlain {
		return nil, ErrInvalid
	}
	return message, nil
}

func pack(plain []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

var unpackers = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}

// unpack decompresses one byte more than maxPlain at most.
func unpack(packed []byte) ([]byte, error) {
	r := unpackers.Get().(io.ReadCloser)
	defer unpackers.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(packed), nil); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxPlain+1))
}

const accountMask = 0x7fff_ffff_ff80 // of the first 48 bits of a key id

// NewKeyID returns a fresh access key id (prefix AKIA or ASIA) of an account.
// As on AWS the id tells the account to who knows where to look.
func NewKeyID(prefix, account string) string {
	n, _ := strconv.ParseUint(account, 10, 64) // account ids have twelve digits
	var b [10]byte
	rand.Read(b[:])
	chance := binary.BigEndian.Uint64(b[:])
	binary.BigEndian.PutUint64(b[:], 1<<63|n<<23|chance&(1<<23-1))
	return prefix + base32.StdEncoding.EncodeToString(b[:])
}

// AccountOf returns the account that an access key id tells, whether the key
// exists or not.
func AccountOf(keyID string) (account string, ok bool) {
	if len(keyID) != 20 {
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(keyID[4:])
	if err != nil {
		return "", false
	}
	n := binary.BigEndian.Uint64(b) >> 16 & accountMask >> 7
	if n >= 1_000_000_000_000 {
		return "", false
	}
	account = strconv.FormatUint(n, 10)
	for len(account) < 12 {
		account = "0" + account
	}
	return account, true
}

// NewSecret returns a fresh secret access key: 40 characters, 30 bytes of
// chance.
func NewSecret() seal.Secret {
	const alphabet = aws.Alnum + "+/"
	return seal.NewSecret([]byte(aws.RandomText(40, alphabet)))
}
