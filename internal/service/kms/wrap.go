package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha1" // #nosec: OAEP with SHA-1 is one of AWS's algorithms, and does not rest on its collisions
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"strings"
)

const wrapWithAES = "RSA_AES_KEY_WRAP_"

// errUnwrap means that wrapped key material was made with another key or
// algorithm, or altered.
var errUnwrap = errors.New("wrapped key material does not open")

// oaepHash is the hash that the name of an algorithm ends in.
func oaepHash(algorithm string) hash.Hash {
	if strings.HasSuffix(algorithm, "SHA_1") {
		return sha1.New()
	}
	return sha256.New()
}

// unwrap opens key material that was wrapped with an algorithm of AWS's: under
// the RSA key itself, or under an AES key that stands, wrapped by the RSA key,
// before it.
func unwrap(key *rsa.PrivateKey, algorithm string, wrapped []byte) ([]byte, error) {
	if !strings.HasPrefix(algorithm, wrapWithAES) {
		return openOAEP(key, algorithm, wrapped)
	}
	if len(wrapped) <= key.Size() {
		return nil, errUnwrap
	}
	kek, err := openOAEP(key, algorithm, wrapped[:key.Size()])
	if err != nil {
		return nil, err
	}
	return unwrapAES(kek, wrapped[key.Size():])
}

func openOAEP(key *rsa.PrivateKey, algorithm string, sealed []byte) ([]byte, error) {
	plain, err := rsa.DecryptOAEP(oaepHash(algorithm), nil, key, sealed, nil)
	if err != nil {
		return nil, errUnwrap
	}
	return plain, nil
}

// wrapIV is the fixed half of the initial value of AES key wrap with padding;
// the other half is the length of what is wrapped.
const wrapIV = 0xa65959a6

// unwrapAES is AES key unwrap with padding, RFC 5649.
func unwrapAES(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil || len(wrapped) < 16 || len(wrapped)%8 != 0 {
		return nil, errUnwrap
	}
	out := append([]byte(nil), wrapped...)
	if len(out) == 16 {
		block.Decrypt(out, out)
	} else {
		unwrapBlocks(block, out)
	}
	size, body := uint64(binary.BigEndian.Uint32(out[4:])), out[8:]
	if binary.BigEndian.Uint32(out) != wrapIV || size > uint64(len(body)) || size+8 <= uint64(len(body)) {
		return nil, errUnwrap
	}
	var padding byte
	for _, b := range body[size:] {
		padding |= b
	}
	if padding != 0 {
		return nil, errUnwrap
	}
	return body[:size], nil
}

// unwrapBlocks undoes the six rounds of RFC 3394 in place.
func unwrapBlocks(block cipher.Block, out []byte) {
	n := len(out)/8 - 1
	var buf [16]byte
	copy(buf[:8], out)
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			t := binary.BigEndian.Uint64(buf[:8]) ^ uint64(n*j+i)
			binary.BigEndian.PutUint64(buf[:8], t)
			copy(buf[8:], out[8*i:8*i+8])
			block.Decrypt(buf[:], buf[:])
			copy(out[8*i:], buf[8:])
		}
	}
	copy(out, buf[:8])
}
