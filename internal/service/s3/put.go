package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// maxPut is the most that one request may bring.
const maxPut = 5 << 30

func (s *Service) putObjectNeeds(ctx context.Context, c *call.Call, in *api.PutObjectInput) ([]call.Need, error) {
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return writeOfPut(in).needs(c, t, in.Key, creates(true))
}

// putObject stores a body, and then the row that makes it an object.
func (s *Service) putObject(ctx context.Context, c *call.Call, in *api.PutObjectInput) (*api.PutObjectOutput, error) {
	if in.WriteOffsetBytes != nil {
		return nil, errHeaderNotImplemented("x-amz-write-offset-bytes")
	}
	if err := checkLength(in.ContentLength); err != nil {
		return nil, err
	}
	w := writeOfPut(in)
	claims, err := claimsOfPut(in)
	if err != nil {
		return nil, err
	}
	tags, err := headerTags(w.tagging)
	if err != nil {
		return nil, err
	}
	b, o, err := s.put(ctx, c, in.Bucket, in.Key, w, tags, in.Body, claims, noAlgorithm)
	if err != nil {
		return nil, err
	}
	out := &api.PutObjectOutput{
		ETag:                    quoted(o.ETag),
		VersionId:               shownVersion(b, o),
		ServerSideEncryption:    o.shownSSE(),
		SSEKMSKeyId:             o.KMSKey,
		SSEKMSEncryptionContext: o.shownContext(o.Bucket, o.Key),
		BucketKeyEnabled:        onlyTrue(o.BucketKey),
		ChecksumType:            o.ChecksumType,
	}
	out.SSECustomerAlgorithm, out.SSECustomerKeyMD5 = w.sse.customer.shown()
	if out.Expiration, err = b.expiry(o); err != nil {
		return nil, err
	}
	if slot := putSlots(out)[o.algorithm()]; slot != nil {
		*slot = o.Checksum
	}
	return out, nil
}

// checkLength refuses a body that says itself that it is too long, before any of
// it is read.
func checkLength(announced *int64) error {
	if announced != nil && *announced > maxPut {
		return errEntityTooLarge(*announced, maxPut)
	}
	return nil
}

func claimsOfPut(in *api.PutObjectInput) (claims, error) {
	if in.ChecksumXXHASH64+in.ChecksumXXHASH3+in.ChecksumXXHASH128 != "" {
		return claims{}, errHeaderNotImplemented("x-amz-checksum-xxhash")
	}
	return newClaims(in.Body, in.ContentMD5, sums{
		sumCRC32: in.ChecksumCRC32, sumCRC32C: in.ChecksumCRC32C, sumCRC64NVME: in.ChecksumCRC64NVME,
		sumSHA1: in.ChecksumSHA1, sumSHA256: in.ChecksumSHA256, sumSHA512: in.ChecksumSHA512, sumMD5: in.ChecksumMD5,
	}, in.ChecksumAlgorithm)
}

func putSlots(out *api.PutObjectOutput) [algorithmCount]*string {
	return [algorithmCount]*string{
		sumCRC32: &out.ChecksumCRC32, sumCRC32C: &out.ChecksumCRC32C, sumCRC64NVME: &out.ChecksumCRC64NVME,
		sumSHA1: &out.ChecksumSHA1, sumSHA256: &out.ChecksumSHA256, sumSHA512: &out.ChecksumSHA512, sumMD5: &out.ChecksumMD5,
	}
}

// put makes an object of a body, with tags as they are stored. It returns the
// bucket as it was and the row as it is.
func (s *Service) put(ctx context.Context, c *call.Call, bucketName, key string, w *write, tags string, body io.Reader, cl claims, store algorithm) (*bucket, *object, error) {
	b, err := s.bucket(ctx, bucketName)
	if err != nil {
		return nil, nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, nil, err
	}
	if err := w.check(c); err != nil {
		return nil, nil, err
	}
	if err := w.lock.foresee(b, c.Time); err != nil {
		return nil, nil, err
	}
	account, acl, err := w.ownership(c, b, key)
	if err != nil {
		return nil, nil, err
	}
	cond := conditions{match: w.ifMatch, absent: w.ifAbsent}
	if err := s.foresee(ctx, b, key, cond); err != nil {
		return nil, nil, err
	}
	o := &object{
		Bucket: b.Name, Key: key, Modified: stamp(c), Body: newBodyID(c.Time),
		StorageClass: storageClass(w.class), Detail: w.detail.stored(), Tags: tags,
		Owner: account, ACL: acl,
	}
	k, err := s.storeObject(ctx, c, b, o, w, body, cl, store)
	if err != nil {
		return nil, nil, err
	}
	if err := s.publish(ctx, c, b, o, w.lock, cond, k); err != nil {
		s.discard(ctx, k)
		return nil, nil, err
	}
	return b, o, nil
}

// storeObject encrypts the body and fills in what it learns.
func (s *Service) storeObject(ctx context.Context, c *call.Call, b *bucket, o *object, w *write, body io.Reader, cl claims, store algorithm) (kept, error) {
	p, err := w.sse.plan(b)
	if err != nil {
		return kept{}, err
	}
	dataKey, e, err := s.newDataKey(ctx, c, b, o.Key, o.Body, p)
	if err != nil {
		return kept{}, err
	}
	o.envelope = e
	in := newIntake(body, maxPut, cl, e.SSE == sseS3, store)
	defer in.stop()
	sealed, dataKey, err := layered(blobArea+o.Body, dataKey, in)
	if err != nil {
		return kept{}, err
	}
	k, err := s.storeBody(ctx, blobArea+o.Body, dataKey, sealed)
	if err != nil {
		return kept{}, err
	}
	o.Size = in.size
	o.ETag = in.etag(e.SSE)
	o.ChecksumAlgorithm, o.ChecksumType, o.Checksum = in.stored.String(), fullObject, in.sum(in.stored)
	return k, nil
}

// etag is the MD5 of a body, and something that is not the MD5 for bodies
// under a KMS key.
func (in *intake) etag(sse string) string {
	if sse == sseS3 {
		sum := in.md5()
		return hex.EncodeToString(sum[:])
	}
	return randomETag()
}

func randomETag() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// discard removes a body that no row came to name. The request may be over.
func (s *Service) discard(ctx context.Context, k kept) {
	if k.bytes != nil {
		return // it was nowhere
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	s.blobs.Delete(ctx, k.name) // what stays behind is swept
}

// conditions are those of a conditional write.
type conditions struct {
	match  string // If-Match: the newest version has this ETag
	absent string // If-None-Match: "*", there is no object
}

// check compares with the newest version; nil means that there is none.
func (w conditions) check(key string, newest *object) error {
	there := newest != nil && !newest.Marker
	switch {
	case w.absent != "" && there:
		return errPreconditionFailed("If-None-Match")
	case w.match != "" && !there:
		return errNoSuchKey(key)
	case w.match != "" && !matches(w.match, newest.ETag):
		return errPreconditionFailed("If-Match")
	}
	return nil
}

// foresee refuses a conditional write before its body is read, where that is
// certain to be refused after it.
func (s *Service) foresee(ctx context.Context, b *bucket, key string, cond conditions) error {
	if cond == (conditions{}) {
		return nil
	}
	return s.db.View(ctx, func(tx *state.Tx) error {
		newest, err := findObject(ctx, tx, b.Name, key, "")
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		return cond.check(key, newest)
	})
}

// publish makes o the newest version of its key, whose body is k.
func (s *Service) publish(ctx context.Context, c *call.Call, b *bucket, o *object, asked lock, cond conditions, k kept) error {
	version := aws.RandomText(32, aws.Alnum)
	return s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		if err := k.keep(ctx, tx); err != nil {
			return err
		}
		if err := replaceNewest(ctx, tx, now, o, version, cond, c.Time); err != nil {
			return err
		}
		if err := lockNew(ctx, tx, now, o, asked); err != nil {
			return err
		}
		return s.created(ctx, tx, c, now, o)
	})
}

// replaceNewest puts o on top of the versions of its key: beside them where
// versioning is enabled, in place of the null version elsewhere. version is
// the id to take in the first case.
func replaceNewest(ctx context.Context, tx *state.Tx, b *bucket, o *object, version string, cond conditions, at time.Time) error {
	newest, err := findObject(ctx, tx, b.Name, o.Key, "")
	// What was damaged can be replaced, but not be compared with.
	if healed := errors.Is(err, errDamaged) && cond == (conditions{}); err != nil && !healed && !errors.Is(err, state.ErrNotFound) {
		return err
	}
	if err := cond.check(o.Key, newest); err != nil {
		return err
	}
	o.Version, o.Seq, o.Latest = nullVersion, 1, true
	if newest != nil {
		o.Seq = newest.Seq + 1
	}
	switch {
	case b.Versioning == versioningEnabled:
		o.Version = version
	case newest != nil:
		if err := removeVersion(ctx, tx, b, o.Key, nullVersion, at); err != nil {
			return err
		}
	}
	if newest == nil || newest.Version == o.Version {
		return o.insert(ctx, tx)
	}
	if _, err := tx.Exec(ctx, `UPDATE s3_object SET latest = 0 WHERE bucket = $1 AND key = $2 AND latest = 1`, b.Name, o.Key); err != nil {
		return err
	}
	return o.insert(ctx, tx)
}

// removeVersion deletes a version's row and lets go of its body. Which version
// is the newest then is left to the caller. Where the row is damaged, the body
// that it names may be another's: it stays, for fsck to tell.
func removeVersion(ctx context.Context, tx *state.Tx, b *bucket, key, version string, at time.Time) error {
	o, err := findObject(ctx, tx, b.Name, key, version)
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = releaseBody(ctx, tx, o, at)
	}
	if err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM s3_object WHERE bucket = $1 AND key = $2 AND version = $3`, b.Name, key, version)
	return err
}

// stamp is the time that objects of a call carry: whole seconds, as the
// headers that ask about it.
func stamp(c *call.Call) time.Time { return c.Time.UTC().Truncate(time.Second) }

func quoted(etag string) string { return `"` + etag + `"` }

// onlyTrue is the value of a header that is sent only when it is true.
func onlyTrue(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}
