package s3

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/minio/sio"

	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

// Bodies lie encrypted in the DARE 2.0 format: packages of up to 64 KiB of
// plaintext, each authenticated with its place in the body.
const (
	packagePlain  = 64 << 10
	packageSealed = packagePlain + 32
)

// sioConfig returns the configuration for one blob. Its key is derived from
// the object's data key and the blob's name, so that no two blobs share one
// and none can stand in for another.
func sioConfig(dataKey []byte, blob string, first uint32) (sio.Config, error) {
	key, err := hkdf.Expand(sha256.New, dataKey, "sekisho/s3/"+blob, seal.KeySize)
	if err != nil {
		return sio.Config{}, fmt.Errorf("derive the key of blob %s: %w", blob, err)
	}
	return sio.Config{
		MinVersion:     sio.Version20,
		CipherSuites:   []byte{sio.AES_256_GCM},
		Key:            key,
		SequenceNumber: first,
	}, nil
}

// maxSmall is the size up to which a body is kept in its row: it is on disk
// with the row then, at the cost of one wait for the disk that many requests
// share, where a file takes two more of its own.
const maxSmall = 16 << 10

// heads are what of a body is read before it is known to be small.
var heads = sync.Pool{New: func() any { return new([maxSmall + 1]byte) }}

// storeBody encrypts what r yields, whole or not at all. A small body comes
// back sealed, for the transaction that names it; others lie in a blob then.
func (s *Service) storeBody(ctx context.Context, name string, dataKey []byte, r io.Reader) (kept, error) {
	head := heads.Get().(*[maxSmall + 1]byte)
	defer heads.Put(head)
	n, err := io.ReadFull(r, head[:s.small+1])
	switch {
	case err == nil:
		return kept{name: name}, s.storeBlob(ctx, name, dataKey, io.MultiReader(bytes.NewReader(head[:n]), r))
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF): // ReadFull's own, for a short body
		return kept{}, err
	}
	box, err := smallBox(dataKey, name)
	if err != nil {
		return kept{}, err
	}
	return kept{name, box.Seal(head[:n], []byte(name))}, nil
}

// smallBox seals the one body that has a name.
func smallBox(dataKey []byte, name string) (*seal.Box, error) {
	key, err := hkdf.Expand(sha256.New, dataKey, "sekisho/s3/small/"+name, seal.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the key of body %s: %w", name, err)
	}
	return seal.NewBox(key)
}

// openSmall opens a body that is kept in its row; state.ErrNotFound where it
// is not.
func (s *Service) openSmall(ctx context.Context, name string, dataKey []byte, size int64) ([]byte, error) {
	var sealed []byte
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		sealed, err = state.Get[[]byte](ctx, tx, `SELECT bytes FROM s3_blob WHERE name = $1 AND bytes IS NOT NULL`, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	box, err := smallBox(dataKey, name)
	if err != nil {
		return nil, err
	}
	plain, err := box.Open(sealed, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("body %s: %w", name, err)
	}
	if int64(len(plain)) != size {
		return nil, fmt.Errorf("body %s has %d bytes, and its row says %d", name, len(plain), size)
	}
	return plain, nil
}

// storeBlob encrypts r into a blob, whole or not at all.
func (s *Service) storeBlob(ctx context.Context, blob string, dataKey []byte, r io.Reader) error {
	config, err := sioConfig(dataKey, blob, 0)
	if err != nil {
		return err
	}
	sealed, err := sio.EncryptReader(r, config)
	if err != nil {
		return fmt.Errorf("encrypt blob %s: %w", blob, err)
	}
	_, err = s.blobs.Put(ctx, blob, sealed)
	return err
}

// openBody returns length bytes from offset on of a body that has size bytes.
// The range lies inside it.
func (s *Service) openBody(ctx context.Context, name string, dataKey []byte, size, offset, length int64) (io.ReadCloser, error) {
	if length > 0 && size <= maxSmall {
		plain, err := s.openSmall(ctx, name, dataKey, size)
		if err == nil {
			return io.NopCloser(bytes.NewReader(plain[offset : offset+length])), nil
		}
		if !errors.Is(err, state.ErrNotFound) {
			return nil, err
		}
	}
	return s.openBlob(ctx, name, dataKey, size, offset, length)
}

// openBlob returns length bytes from offset on of a blob that holds size bytes
// of plaintext. The range lies inside the blob.
func (s *Service) openBlob(ctx context.Context, blob string, dataKey []byte, size, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return io.NopCloser(eof{}), nil
	}
	first := offset / packagePlain
	last := (offset + length - 1) / packagePlain
	sealed, err := s.blobs.Get(ctx, blob, first*packageSealed, (last-first+1)*packageSealed)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", blob, err)
	}
	config, err := sioConfig(dataKey, blob, uint32(first))
	if err != nil {
		sealed.Close()
		return nil, err
	}
	plain, err := sio.DecryptReader(sealed, config)
	if err != nil {
		sealed.Close()
		return nil, fmt.Errorf("decrypt blob %s: %w", blob, err)
	}
	o := &opened{blob: blob, plain: plain, sealed: sealed, left: length, toEnd: offset+length == size}
	if _, err := io.CopyN(io.Discard, plain, offset%packagePlain); err != nil {
		sealed.Close()
		return nil, fmt.Errorf("decrypt blob %s: %w", blob, err)
	}
	return o, nil
}

// opened reads a part of a blob.
type opened struct {
	blob   string
	plain  io.Reader
	sealed io.Closer
	left   int64
	toEnd  bool // the part goes up to the end, which has to be there
}

func (o *opened) Read(p []byte) (int, error) {
	if o.left == 0 {
		return 0, o.end()
	}
	if int64(len(p)) > o.left {
		p = p[:o.left]
	}
	n, err := o.plain.Read(p)
	o.left -= int64(n)
	switch {
	case err == io.EOF && o.left > 0:
		return n, fmt.Errorf("blob %s is shorter than its object", o.blob)
	case err == io.EOF:
		o.toEnd = false
		return n, io.EOF
	case err != nil:
		return n, fmt.Errorf("decrypt blob %s: %w", o.blob, err)
	}
	return n, nil
}

// end makes sure that the blob ends where its object does.
func (o *opened) end() error {
	if !o.toEnd {
		return io.EOF
	}
	o.toEnd = false
	var more [1]byte
	if n, err := o.plain.Read(more[:]); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("blob %s is longer than its object: %v", o.blob, err)
	}
	return io.EOF
}

func (o *opened) Close() error { return o.sealed.Close() }

// piece is a part of a body: a range of one blob.
type piece struct {
	blob                 string
	size, offset, length int64
}

// openPieces reads ranges of several blobs one after the other, with one of
// them open at a time.
func (s *Service) openPieces(ctx context.Context, dataKey []byte, pieces []piece) (io.ReadCloser, error) {
	p := &chain{ctx: ctx, s: s, dataKey: dataKey, pieces: pieces}
	return p, p.open() // so that a missing blob is an error before the answer has begun
}

type chain struct {
	ctx     context.Context // of the request whose answer this is
	s       *Service
	dataKey []byte
	pieces  []piece // those that were not opened yet
	current io.ReadCloser
}

func (c *chain) open() error {
	c.Close()
	if len(c.pieces) == 0 {
		return nil
	}
	next := c.pieces[0]
	c.pieces = c.pieces[1:]
	r, err := c.s.openLayers(c.ctx, next.blob, c.dataKey, next.size, next.offset, next.length)
	if err != nil {
		return err
	}
	c.current = r
	return nil
}

func (c *chain) Read(p []byte) (int, error) {
	for c.current != nil {
		n, err := c.current.Read(p)
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil // the next Read sees the end again
		}
		if err := c.open(); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

func (c *chain) Close() error {
	if c.current == nil {
		return nil
	}
	err := c.current.Close()
	c.current = nil
	return err
}
