package kms

import (
	"context"
	"crypto"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

// materialRef names one version of a key's material.
type materialRef struct {
	key     string // ARN
	version int64
}

// bound is what sealed material is bound to: moved to another key or version,
// it does not open.
func (m materialRef) bound() []byte { return []byte(m.key + "#" + strconv.FormatInt(m.version, 10)) }

// materialRow is one version of a key's material without what is sealed.
type materialRow struct {
	Version     int64  `db:"version"`
	ID          string `db:"id"`
	Cause       string `db:"cause"` // of the rotation to it; the first material has none
	Created     int64  `db:"created"`
	Expires     int64  `db:"expires"`
	Description string `db:"description"`
	Present     bool   `db:"present"` // imported material may be away
}

const materialIDSize = 64

func newMaterialID() string { return aws.RandomText(materialIDSize, "0123456789abcdef") }

// materialRows are the versions of a key's material, oldest first. Those after
// the key's own version were imported and wait for their rotation.
func (k key) materialRows(ctx context.Context, tx *state.Tx) ([]materialRow, error) {
	rows, err := state.List[materialRow](ctx, tx, `
		SELECT version, id, cause, created, expires, description, CASE WHEN LENGTH(sealed) > 0 THEN 1 ELSE 0 END AS present
		FROM kms_material WHERE account = $1 AND region = $2 AND key_id = $3 ORDER BY version`, k.Account, k.Region, k.ID)
	if err != nil {
		return nil, fmt.Errorf("list material of %s: %w", k.arn(), err)
	}
	return rows, nil
}

// putMaterial stores a version of a key's material, or brings back one that
// was away. Material is never put over other material.
func (s *Service) putMaterial(ctx context.Context, tx *state.Tx, k key, m materialRow, secret []byte) error {
	sealed := s.seals.Seal(secret, materialRef{k.arn(), m.Version}.bound())
	n, err := tx.Exec(ctx, `
		INSERT INTO kms_material (account, region, key_id, version, id, cause, created, sealed, expires, description)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (account, region, key_id, version)
		DO UPDATE SET sealed = excluded.sealed, expires = excluded.expires, description = excluded.description
		WHERE kms_material.id = excluded.id`,
		k.Account, k.Region, k.ID, m.Version, m.ID, m.Cause, m.Created, sealed, m.Expires, m.Description)
	if err != nil {
		return fmt.Errorf("store material of %s: %w", k.arn(), err)
	}
	if n == 0 {
		return fmt.Errorf("%s has other material of version %d", k.arn(), m.Version)
	}
	return nil
}

// openMaterial reads a version of a key's material and its id. A version that
// the key does not have is state.ErrNotFound; one that is away is what AWS says
// of keys without it.
func (s *Service) openMaterial(ctx context.Context, tx *state.Tx, r ref, version int64) (plain []byte, id string, err error) {
	type row struct {
		ID     string `db:"id"`
		Sealed []byte `db:"sealed"`
	}
	found, err := state.Get[row](ctx, tx, `
		SELECT id, sealed FROM kms_material WHERE account = $1 AND region = $2 AND key_id = $3 AND version = $4`,
		r.account, r.region, r.id, version)
	if err != nil {
		return nil, "", err
	}
	if len(found.Sealed) == 0 {
		return nil, "", errPendingImport(r.keyARN())
	}
	plain, err = s.seals.Open(found.Sealed, materialRef{r.keyARN(), version}.bound())
	return plain, found.ID, err
}

// material is one version of a key's material: a secret, or a private key as
// PKCS #8.
type material struct {
	materialRef
	id     string
	secret seal.Secret
}

// material reads a version of a key's material, as openMaterial does.
func (s *Service) material(ctx context.Context, r ref, version int64) (material, error) {
	m := material{materialRef: materialRef{r.keyARN(), version}}
	// The id, which is no secret, is kept with the secret.
	packed, err := s.materials.get(m.materialRef, func() (seal.Secret, error) {
		var both []byte
		err := s.db.View(ctx, func(tx *state.Tx) error {
			plain, id, err := s.openMaterial(ctx, tx, r, version)
			both = append(plain, id...)
			return err
		})
		return seal.NewSecret(both), err
	})
	if _, answer := errors.AsType[*aws.Error](err); answer {
		return m, err
	}
	if err != nil {
		return m, fmt.Errorf("material %d of %s: %w", version, m.key, err)
	}
	both := packed.Reveal()
	split := len(both) - materialIDSize
	m.secret, m.id = seal.NewSecret(both[:split]), string(both[split:])
	return m, nil
}

// forget has material that was deleted leave the memory of this process.
func (s *Service) forget(tx *state.Tx, k key, versions ...int64) {
	tx.AfterCommit(func() {
		for _, version := range versions {
			s.materials.drop(materialRef{k.arn(), version})
			s.pairs.drop(materialRef{k.arn(), version})
		}
	})
}

// private is a private key. No format verb and no logger can read it: what is
// printed of a function is its address.
type private struct{ reveal func() crypto.Signer }

// pair returns the private key of a key that is a pair.
func (s *Service) pair(ctx context.Context, k key) (crypto.Signer, error) {
	p, err := s.pairs.get(materialRef{k.arn(), k.Version}, func() (private, error) {
		m, err := s.material(ctx, k.ref(), k.Version)
		if err != nil {
			return private{}, err
		}
		signer, ok := specs[k.Spec].parse(m.secret.Reveal())
		if !ok {
			return private{}, fmt.Errorf("the material of %s is not of key spec %s", k.arn(), k.Spec)
		}
		return private{func() crypto.Signer { return signer }}, nil
	})
	if err != nil {
		return nil, err
	}
	return p.reveal(), nil
}

// A ciphertext is a header, which says what it takes to open it, and the
// sealed plaintext. Callers must not rely on its form.
//
//	magic    4  0x01 'S' 'K' 0x01
//	account  8  as a number
//	key     36  its id
//	version  4  of the material
//	salt    16  from which, with the material, this message's key is derived
const (
	magic      = "\x01SK\x01"
	idSize     = 36
	saltSize   = 16
	headerSize = len(magic) + 8 + idSize + 4 + saltSize
)

// blob is a ciphertext taken apart.
type blob struct {
	ref
	version int64
	header  []byte
	sealed  []byte
}

func errCiphertext() *aws.Error { return &aws.Error{Code: "InvalidCiphertextException"} }

// readBlob takes a ciphertext apart, which anybody may have made up.
func readBlob(region string, b []byte) (blob, error) {
	if len(b) <= headerSize || string(b[:len(magic)]) != magic {
		return blob{}, errCiphertext()
	}
	rest := b[len(magic):]
	account := fmt.Sprintf("%012d", binary.BigEndian.Uint64(rest))
	id := string(rest[8 : 8+idSize])
	if !aws.IsAccountID(account) || !keyIDForm.MatchString(id) {
		return blob{}, errCiphertext()
	}
	return blob{
		ref:     ref{account: account, region: region, id: id},
		version: int64(binary.BigEndian.Uint32(rest[8+idSize:])),
		header:  b[:headerSize],
		sealed:  b[headerSize:],
	}, nil
}

// encryptWith makes a ciphertext of a symmetric key.
func encryptWith(m material, r ref, plain []byte, context map[string]string) ([]byte, error) {
	account, err := strconv.ParseUint(r.account, 10, 64)
	if err != nil || len(r.id) != idSize {
		return nil, fmt.Errorf("%s is not a key of ours", m.key)
	}
	header := make([]byte, 0, headerSize)
	header = append(header, magic...)
	header = binary.BigEndian.AppendUint64(header, account)
	header = append(header, r.id...)
	header = binary.BigEndian.AppendUint32(header, uint32(m.version))
	header = header[:headerSize]
	rand.Read(header[headerSize-saltSize:])
	box, err := messageBox(m, header)
	if err != nil {
		return nil, err
	}
	return slices.Concat(header, box.Seal(plain, bound(header, context))), nil
}

// decryptWith opens a ciphertext with the material that it names.
func decryptWith(m material, b blob, context map[string]string) ([]byte, error) {
	box, err := messageBox(m, b.header)
	if err != nil {
		return nil, err
	}
	plain, err := box.Open(b.sealed, bound(b.header, context))
	if errors.Is(err, seal.ErrBroken) {
		return nil, errCiphertext()
	}
	return plain, err
}

// messageBox derives a key for one message, so that a key may encrypt more
// messages than random nonces under one key would allow.
func messageBox(m material, header []byte) (*seal.Box, error) {
	derived, err := hkdf.Key(sha256.New, m.secret.Reveal(), header[headerSize-saltSize:], "sekisho/kms/message", seal.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive a message key: %w", err)
	}
	return seal.NewBox(derived)
}

// bound is what a ciphertext is authenticated with: its header, the place of
// its key, and every pair of the encryption context, in order and each with
// its length.
func bound(header []byte, context map[string]string) []byte {
	names := make([]string, 0, len(context))
	for name := range context {
		names = append(names, name)
	}
	slices.Sort(names)
	out := slices.Clone(header)
	for _, name := range names {
		for _, text := range [...]string{name, context[name]} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(text)))
			out = append(out, text...)
		}
	}
	return out
}
