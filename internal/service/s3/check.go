package s3

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/minio/sio"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/fsck"
	"github.com/sekisho/sekisho/internal/state"
)

// Sealed lists what of S3 lies sealed under the master key: the data keys of
// SSE-S3, and one of the two of aws:kms:dsse.
func Sealed() []fsck.Column {
	object := fsck.Column{Table: "s3_object", Column: "sealed_key", Key: []string{"bucket", "key", "version"}, Bound: "body", Purpose: "s3"}
	upload := fsck.Column{Table: "s3_upload", Column: "sealed_key", Key: []string{"id"}, Bound: "id", Purpose: "s3"}
	var all []fsck.Column
	for _, c := range []fsck.Column{object, upload} {
		c.Where = "sse = '" + sseS3 + "'"
		all = append(all, c)
		c.Where, c.Within = "sse = '"+sseDSSE+"'", withinDual
		all = append(all, c)
	}
	return all
}

// withinDual is the place of our own key beside KMS's.
func withinDual(value []byte) ([]byte, func([]byte) []byte, error) {
	own, fromKMS, err := splitSealed(value)
	return own, func(fresh []byte) []byte { return joinSealed(fresh, fromKMS) }, err
}

// Unwrap opens a data key that KMS made in a region.
type Unwrap func(ctx context.Context, region string, ciphertext []byte, encryption map[string]string) ([]byte, error)

const (
	bodyWayOut = "restore the data directory and the database from a backup, or upload the object again"
	rowWayOut  = "restore the row from a backup, or delete the version and upload the object again"
)

// Check goes through everything that is stored: it reads every body whose key
// can be had, compares it with its row, and finds what nothing names. It holds
// the names of all bodies in memory.
func (s *Service) Check(ctx context.Context, unwrap Unwrap, report fsck.Report) error {
	k := &checker{s: s, unwrap: unwrap, report: report, regions: map[string]string{}, named: map[string]bool{}}
	for _, step := range []func(context.Context) error{k.buckets, k.objects, k.uploads, k.order, k.bodies, k.store} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

type checker struct {
	s       *Service
	unwrap  Unwrap
	report  fsck.Report
	regions map[string]string // of buckets
	named   map[string]bool   // bodies that an object or a part names
}

func (k *checker) damage(thing, wayOut, cause string, args ...any) {
	k.report(fsck.Finding{Thing: thing, Cause: fmt.Sprintf(cause, args...), WayOut: wayOut})
}

func (k *checker) note(thing, wayOut, cause string, args ...any) {
	k.report(fsck.Finding{Thing: thing, Cause: fmt.Sprintf(cause, args...), WayOut: wayOut, Note: true})
}

func (k *checker) buckets(ctx context.Context) error {
	type row struct {
		Name   string `db:"name"`
		Region string `db:"region"`
	}
	return k.s.db.View(ctx, func(tx *state.Tx) error {
		list, err := state.List[row](ctx, tx, `SELECT name, region FROM s3_bucket`)
		for _, b := range list {
			k.regions[b.Name] = b.Region
		}
		return err
	})
}

const checkBatch = 200

func (k *checker) objects(ctx context.Context) error {
	var bucketName, key, version string
	for {
		var page []object
		err := k.s.db.View(ctx, func(tx *state.Tx) (err error) {
			page, err = state.List[object](ctx, tx, `SELECT `+objectColumns+` FROM s3_object
				WHERE (bucket, key, version) > ($1, $2, $3) ORDER BY bucket, key, version LIMIT $4`, bucketName, key, version, checkBatch)
			return err
		})
		if err != nil {
			return err
		}
		for i := range page {
			if err := k.object(ctx, &page[i]); err != nil {
				return err
			}
		}
		if len(page) < checkBatch {
			return nil
		}
		last := &page[len(page)-1]
		bucketName, key, version = last.Bucket, last.Key, last.Version
	}
}

func (k *checker) object(ctx context.Context, o *object) error {
	thing := objectARN(o.Bucket, o.Key) + " version " + o.Version
	if err := o.check(); err != nil {
		k.damage(thing, rowWayOut, "%v", errDamaged)
		return ctx.Err()
	}
	if _, ok := k.regions[o.Bucket]; !ok {
		k.damage(thing, "restore the bucket's row from a backup", "there is no bucket %s", o.Bucket)
	}
	if o.Marker {
		return nil
	}
	dataKey, readable := k.dataKey(ctx, thing, o.Bucket, o.Key, o.Body, &o.envelope)
	if o.Parts == 0 {
		sum := partSum{o.Checksum, o.Size}
		md5Sum := ""
		if o.SSE == sseS3 {
			md5Sum = o.ETag
		}
		return k.body(ctx, thing, blobArea+o.Body, dataKey, readable, o.SSE, o.algorithm(), sum, md5Sum)
	}
	parts, err := k.s.parts(ctx, o.Body)
	if err != nil {
		return err
	}
	if err := k.parts(ctx, thing, parts, dataKey, readable, o.SSE, o.algorithm()); err != nil {
		return err
	}
	k.whole(thing, o, parts)
	return nil
}

func (k *checker) parts(ctx context.Context, thing string, parts []part, dataKey []byte, readable bool, sse string, a algorithm) error {
	for i := range parts {
		p := &parts[i]
		md5Sum := ""
		if sse == sseS3 {
			md5Sum = p.ETag
		}
		err := k.body(ctx, fmt.Sprintf("%s, part %d", thing, p.Number), p.Blob, dataKey, readable, sse, a, partSum{p.Checksum, p.Size}, md5Sum)
		if err != nil {
			return err
		}
	}
	return nil
}

// whole compares an object with the rows of its parts.
func (k *checker) whole(thing string, o *object, parts []part) {
	size, h := int64(0), md5.New()
	list := make([]partSum, 0, len(parts))
	for _, p := range parts {
		size += p.Size
		list = append(list, partSum{p.Checksum, p.Size})
		sum, _ := hex.DecodeString(p.ETag)
		h.Write(sum)
	}
	if int64(len(parts)) != o.Parts || size != o.Size {
		k.damage(thing, rowWayOut, "its %d parts have %d bytes, and its row says %d parts and %d bytes", len(parts), size, o.Parts, o.Size)
		return
	}
	if etag := hex.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(parts)); o.SSE == sseS3 && etag != o.ETag {
		k.damage(thing, rowWayOut, "its parts make the ETag %s, and its row says %s", etag, o.ETag)
	}
	a := o.algorithm()
	if a == noAlgorithm {
		return
	}
	sum, ok := compositeSum(a, list)
	if o.ChecksumType == fullObject {
		sum, ok = joinedCRC(a, list)
	}
	if !ok || sum != o.Checksum {
		k.damage(thing, rowWayOut, "its parts make the %s %s, and its row says %s", a, sum, o.Checksum)
	}
}

// dataKey opens a body's key as whoever holds the master key; it is not to be
// had where a customer or a KMS key that is gone holds it.
func (k *checker) dataKey(ctx context.Context, thing, bucketName, key, body string, e *envelope) ([]byte, bool) {
	dataKey, err := k.openKey(ctx, bucketName, key, body, e)
	switch refused, answer := errors.AsType[*aws.Error](err); {
	case err == nil:
		return dataKey, dataKey != nil
	case answer && refused.Code != "InvalidCiphertextException", errors.Is(err, state.ErrNotFound):
		k.note(thing, "nobody can read it until the key is there again", "its KMS key %s cannot be used: %v", e.KMSKey, err)
	default:
		k.damage(thing, rowWayOut, "its data key does not open: %v", err)
	}
	return nil, false
}

func (k *checker) openKey(ctx context.Context, bucketName, key, body string, e *envelope) ([]byte, error) {
	switch e.SSE {
	case sseS3:
		return k.s.openKey(e.SealedKey, body)
	case sseCustomer:
		return nil, nil
	}
	own, sealed := []byte(nil), e.SealedKey
	if e.SSE == sseDSSE {
		second, fromKMS, err := splitSealed(e.SealedKey)
		if err != nil {
			return nil, err
		}
		if own, err = k.s.openKey(second, body); err != nil {
			return nil, err
		}
		sealed = fromKMS
	}
	encryption, err := e.kmsContext(bucketName, key)
	if err != nil {
		return nil, err
	}
	inner, err := k.unwrap(ctx, k.regions[bucketName], sealed, encryption)
	return append(inner, own...), err
}

// body reads a body and compares it with what its row says. Where it cannot be
// read it is measured.
func (k *checker) body(ctx context.Context, thing, name string, dataKey []byte, readable bool, sse string, a algorithm, want partSum, md5Sum string) error {
	if k.named[name] {
		k.damage(thing, rowWayOut, "its body %s is another object's too", name)
	}
	k.named[name] = true
	if !readable {
		return k.measure(ctx, thing, name, sse, want.size)
	}
	r, err := k.s.openLayers(ctx, name, dataKey, want.size, 0, want.size)
	if err != nil {
		k.damage(thing, bodyWayOut, "%v", err)
		return ctx.Err()
	}
	defer r.Close()
	in := newIntake(r, 1<<62, claims{}, md5Sum != "", a)
	defer in.stop()
	if _, err := io.Copy(io.Discard, in); err != nil {
		k.damage(thing, bodyWayOut, "%v", err)
		return ctx.Err()
	}
	if want.size == 0 {
		return k.measure(ctx, thing, name, sse, 0)
	}
	if a != noAlgorithm && want.value != "" && in.sum(a) != want.value {
		k.damage(thing, bodyWayOut, "its body has the %s %s, and its row says %s", a, in.sum(a), want.value)
	}
	if sum := in.md5; md5Sum != "" {
		if b := sum(); hex.EncodeToString(b[:]) != md5Sum {
			k.damage(thing, bodyWayOut, "its body has the MD5 %x, and its row says %s", b, md5Sum)
		}
	}
	return nil
}

// measure compares the size of an encrypted body with what it has to be.
func (k *checker) measure(ctx context.Context, thing, name, sse string, size int64) error {
	var small []int64
	err := k.s.db.View(ctx, func(tx *state.Tx) (err error) {
		small, err = state.List[int64](ctx, tx, `SELECT LENGTH(bytes) FROM s3_blob WHERE name = $1 AND bytes IS NOT NULL`, name)
		return err
	})
	if err != nil {
		return err
	}
	want := size
	if sse == sseDSSE {
		want = sealedSize(want)
	}
	if len(small) == 1 {
		if small[0] != want+smallOverhead {
			k.damage(thing, bodyWayOut, "its encrypted body has %d bytes instead of %d", small[0], want+smallOverhead)
		}
		return nil
	}
	got, err := k.s.blobs.Size(ctx, name)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		k.damage(thing, bodyWayOut, "its body %s is missing", name)
	case err != nil:
		return err
	case got != sealedSize(want):
		k.damage(thing, bodyWayOut, "its encrypted body %s has %d bytes instead of %d", name, got, sealedSize(want))
	}
	return nil
}

// smallOverhead is what a seal.Box adds: nonce and tag.
const smallOverhead = 12 + 16

func sealedSize(plain int64) int64 {
	n, err := sio.EncryptedSize(uint64(plain))
	if err != nil {
		return -1
	}
	return int64(n)
}

// uploads checks the parts of uploads under way, and finds parts of none.
func (k *checker) uploads(ctx context.Context) error {
	var open []upload
	var lost []string
	err := k.s.db.View(ctx, func(tx *state.Tx) (err error) {
		if open, err = state.List[upload](ctx, tx, `SELECT `+uploadColumns+` FROM s3_upload ORDER BY id`); err != nil {
			return err
		}
		lost, err = state.List[string](ctx, tx, `SELECT p.blob FROM s3_part p
			WHERE NOT EXISTS (SELECT 1 FROM s3_upload u WHERE u.id = p.upload)
			AND NOT EXISTS (SELECT 1 FROM s3_object o WHERE o.body = p.upload AND o.parts > 0) ORDER BY p.blob`)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range lost {
		k.named[name] = true
		k.damage("part "+name, "restore the database from a backup", "neither an upload nor an object has it")
	}
	for i := range open {
		u := &open[i]
		thing := objectARN(u.Bucket, u.Key) + " upload " + u.ID
		dataKey, readable := k.dataKey(ctx, thing, u.Bucket, u.Key, u.ID, &u.envelope)
		parts, err := k.s.parts(ctx, u.ID)
		if err != nil {
			return err
		}
		if err := k.parts(ctx, thing, parts, dataKey, readable, u.SSE, u.stored()); err != nil {
			return err
		}
	}
	return nil
}

// order checks that of each key's versions the last one is the newest.
func (k *checker) order(ctx context.Context) error {
	type row struct {
		Bucket string `db:"bucket"`
		Key    string `db:"key"`
	}
	return k.s.db.View(ctx, func(tx *state.Tx) error {
		list, err := state.List[row](ctx, tx, `SELECT bucket, key FROM s3_object GROUP BY bucket, key
			HAVING SUM(latest) <> 1 OR MAX(seq) <> MAX(CASE WHEN latest = 1 THEN seq ELSE 0 END) ORDER BY bucket, key`)
		for _, o := range list {
			k.damage(objectARN(o.Bucket, o.Key), "restore the database from a backup", "not one of its versions, the last, is the newest")
		}
		return err
	})
}

// bodies finds what is known of bodies that nothing names, and bodies that are
// named and not known.
func (k *checker) bodies(ctx context.Context) error {
	for after := ""; ; {
		type row struct {
			Name string `db:"name"`
			Due  int64  `db:"due"`
		}
		var page []row
		err := k.s.db.View(ctx, func(tx *state.Tx) (err error) {
			page, err = state.List[row](ctx, tx, `SELECT name, due FROM s3_blob WHERE name > $1 ORDER BY name LIMIT $2`, after, sweepBatch)
			return err
		})
		if err != nil {
			return err
		}
		for _, b := range page {
			named, known := k.named[b.Name]
			switch {
			case named && b.Due > 0:
				k.damage("body "+b.Name, "restore the database from a backup before the next start, which removes the body", "an object names it, and it is to be removed")
			case !known && b.Due == 0:
				k.damage("body "+b.Name, "restore the row of its object from a backup", "no object and no part names it")
			}
			k.named[b.Name] = false // and so it is not missing
			after = b.Name
		}
		if len(page) < sweepBatch {
			break
		}
	}
	for name, unknown := range k.named {
		if unknown {
			k.damage("body "+name, "restore the database from a backup before the next start, which sweeps the body", "an object names it, and the list of bodies does not have it")
		}
	}
	return nil
}

// store finds bodies in the blob store that no row knows.
func (k *checker) store(ctx context.Context) error {
	for after := blobArea; ; {
		page, err := k.s.blobs.List(ctx, after, sweepBatch)
		if err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}
		for _, info := range page {
			if !strings.HasPrefix(info.Name, blobArea) {
				return nil
			}
			if _, known := k.named[info.Name]; !known {
				k.note("body "+info.Name, "a request was cut off before it was answered: the next start removes it", "no row knows it")
			}
			after = info.Name
		}
		if len(page) < sweepBatch {
			return nil
		}
	}
}
