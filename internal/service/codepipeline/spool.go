package codepipeline

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
)

// inMemory is how much of an artifact is kept in memory; larger ones go to a
// temporary file.
const inMemory = 4 << 20

// spooled is an artifact that can be read at any place.
type spooled struct {
	io.ReaderAt
	size  int64
	close func() error
}

// Close forgets the artifact.
func (s *spooled) Close() error { return s.close() }

// spool reads an artifact to its end. What does not fit into memory lies on
// disk in a file without a name, encrypted under a key that only this process
// has: artifacts are encrypted at rest, and stay so.
func spool(r io.Reader) (*spooled, error) {
	var head bytes.Buffer
	n, err := io.Copy(&head, io.LimitReader(r, inMemory))
	if err != nil {
		return nil, err
	}
	if n < inMemory {
		return &spooled{bytes.NewReader(head.Bytes()), n, func() error { return nil }}, nil
	}
	f, err := os.CreateTemp("", "sekisho-artifact-*")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name()) // it lives until it is closed
	var key [32]byte
	rand.Read(key[:]) // never fails, by its documentation
	block, err := aes.NewCipher(key[:])
	if err != nil {
		f.Close()
		return nil, err
	}
	out := cipher.StreamWriter{S: cipher.NewCTR(block, make([]byte, aes.BlockSize)), W: f}
	size, err := io.CopyBuffer(out, io.MultiReader(&head, r), make([]byte, 256<<10))
	if err != nil {
		f.Close()
		return nil, err
	}
	return &spooled{&ctrReader{f, block}, size, f.Close}, nil
}

// ctrReader decrypts at any place of a file that was encrypted in counter mode
// from counter zero.
type ctrReader struct {
	r     io.ReaderAt
	block cipher.Block
}

// ReadAt implements io.ReaderAt.
func (c *ctrReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(off/aes.BlockSize))
	stream := cipher.NewCTR(c.block, counter[:])
	var skip [aes.BlockSize]byte
	stream.XORKeyStream(skip[:off%aes.BlockSize], skip[:off%aes.BlockSize])
	stream.XORKeyStream(p[:n], p[:n])
	return n, err
}
