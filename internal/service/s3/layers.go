package s3

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/minio/sio"

	"github.com/sekisho/sekisho/internal/seal"
)

// Bodies under aws:kms:dsse are encrypted twice, with keys that have nothing to
// do with each other: first under the data key that KMS made, and what comes of
// that under one that lies sealed under the master key. Such a body's data key
// is both keys, one behind the other.

// dualKeySize is the size of a data key for two layers.
const dualKeySize = 2 * seal.KeySize

// joinSealed puts both keys' sealed forms into the one that a row keeps.
func joinSealed(own, fromKMS []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(own)))
	return append(append(b, own...), fromKMS...)
}

// splitSealed takes apart what joinSealed joined.
func splitSealed(sealed []byte) (own, fromKMS []byte, err error) {
	if len(sealed) < 2 || len(sealed)-2 < int(binary.BigEndian.Uint16(sealed)) {
		return nil, nil, fmt.Errorf("a sealed key of two layers has %d bytes", len(sealed))
	}
	n := 2 + int(binary.BigEndian.Uint16(sealed))
	return sealed[2:n], sealed[n:], nil
}

// innerName is the name under which the key of the first layer is derived.
func innerName(blob string) string { return blob + "/inner" }

// layered is a body as the outer layer encrypts it, and that layer's key: the
// body itself and its data key, where there is one layer only.
func layered(blob string, dataKey []byte, r io.Reader) (io.Reader, []byte, error) {
	if len(dataKey) != dualKeySize {
		return r, dataKey, nil
	}
	config, err := sioConfig(dataKey[:seal.KeySize], innerName(blob), 0)
	if err != nil {
		return nil, nil, err
	}
	inner, err := sio.EncryptReader(r, config)
	if err != nil {
		return nil, nil, fmt.Errorf("encrypt blob %s: %w", blob, err)
	}
	return inner, dataKey[seal.KeySize:], nil
}

// openLayers is openBody for bodies of one layer or two.
func (s *Service) openLayers(ctx context.Context, blob string, dataKey []byte, size, offset, length int64) (io.ReadCloser, error) {
	if len(dataKey) != dualKeySize || length == 0 {
		return s.openBody(ctx, blob, dataKey, size, offset, length)
	}
	sealedSize, err := sio.EncryptedSize(uint64(size))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", blob, err)
	}
	first := offset / packagePlain
	from := first * packageSealed
	to := min(((offset+length-1)/packagePlain+1)*packageSealed, int64(sealedSize))
	sealed, err := s.openBody(ctx, blob, dataKey[seal.KeySize:], int64(sealedSize), from, to-from)
	if err != nil {
		return nil, err
	}
	o, err := openSealed(innerName(blob), dataKey[:seal.KeySize], sealed, first, offset%packagePlain)
	if err != nil {
		sealed.Close()
		return nil, err
	}
	o.left, o.toEnd = length, offset+length == size
	return o, nil
}

// openSealed decrypts packages from the first one on, and passes over what
// comes before a place in it.
func openSealed(name string, key []byte, sealed io.ReadCloser, first, skip int64) (*opened, error) {
	config, err := sioConfig(key, name, uint32(first))
	if err != nil {
		return nil, err
	}
	plain, err := sio.DecryptReader(sealed, config)
	if err != nil {
		return nil, fmt.Errorf("decrypt blob %s: %w", name, err)
	}
	if _, err := io.CopyN(io.Discard, plain, skip); err != nil {
		return nil, fmt.Errorf("decrypt blob %s: %w", name, err)
	}
	return &opened{blob: name, plain: plain, sealed: sealed}, nil
}
