package s3

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// maxParts is the highest part number.
const maxParts = 10000

// upload is a row of s3_upload.
type upload struct {
	ID                string    `db:"id"`
	Bucket            string    `db:"bucket"`
	Key               string    `db:"key"`
	Initiated         time.Time `db:"initiated"`
	Initiator         string    `db:"initiator"`
	StorageClass      string    `db:"storage_class"`
	ChecksumAlgorithm string    `db:"checksum_algorithm"` // as asked for; '' when it was not
	ChecksumType      string    `db:"checksum_type"`
	Detail            string    `db:"detail"`
	Tags              string    `db:"tags"`
	Owner             string    `db:"owner"` // of the object to be; '' is the bucket's
	ACL               string    `db:"acl"`
	envelope
	AskedSSE    string `db:"asked_sse"`
	AskedKMSKey string `db:"asked_kms_key"`
}

const uploadColumns = `id, bucket, key, initiated, initiator, storage_class, checksum_algorithm, checksum_type, detail, tags,
	owner, acl, sse, kms_key, sealed_key, sse_context, bucket_key, asked_sse, asked_kms_key`

// part is a row of s3_part.
type part struct {
	Number   int64     `db:"number"`
	Blob     string    `db:"blob"`
	Size     int64     `db:"size"`
	ETag     string    `db:"etag"`
	Checksum string    `db:"checksum"`
	Claimed  string    `db:"claimed"` // a checksum of another algorithm that the request gave, as "ALGORITHM value"
	Modified time.Time `db:"modified"`
}

// findUpload returns an upload of a key, or NoSuchUpload.
func findUpload(ctx context.Context, tx *state.Tx, bucket, key, id string) (*upload, error) {
	if !storable(id) || !storable(key) {
		return nil, errNoSuchUpload(strings.ToValidUTF8(id, "?"))
	}
	u, err := state.Get[upload](ctx, tx, `SELECT `+uploadColumns+` FROM s3_upload WHERE id = $1 AND bucket = $2 AND key = $3`, id, bucket, key)
	if errors.Is(err, state.ErrNotFound) {
		return nil, errNoSuchUpload(id)
	}
	if err != nil {
		return nil, err
	}
	return &u, nil
}

func findParts(ctx context.Context, tx *state.Tx, upload string) ([]part, error) {
	return state.List[part](ctx, tx, `SELECT number, blob, size, etag, checksum, claimed, modified FROM s3_part WHERE upload = $1 ORDER BY number`, upload)
}

// dropUpload forgets an upload and lets go of its parts.
func dropUpload(ctx context.Context, tx *state.Tx, id string, at time.Time) error {
	if err := releaseParts(ctx, tx, id, at); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM s3_lock WHERE version = $1
		AND (bucket, key) IN (SELECT bucket, key FROM s3_upload WHERE id = $1)`, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM s3_upload WHERE id = $1`, id)
	return err
}

// upload reads an upload and its bucket.
func (s *Service) upload(ctx context.Context, bucketName, key, id string) (*bucket, *upload, error) {
	b, err := s.bucket(ctx, bucketName)
	if err != nil {
		return nil, nil, err
	}
	var u *upload
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		u, err = findUpload(ctx, tx, b.Name, key, id)
		return err
	})
	return b, u, err
}

// stored is the algorithm whose checksums the upload keeps: the one that was
// asked for, else the one that S3 computes by itself.
func (u *upload) stored() algorithm {
	a, err := parseAlgorithm(u.ChecksumAlgorithm)
	if err != nil || a == noAlgorithm {
		return sumCRC64NVME
	}
	return a
}

func (s *Service) createMultipartUploadNeeds(ctx context.Context, c *call.Call, in *api.CreateMultipartUploadInput) ([]call.Need, error) {
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return writeOfUpload(in).needs(c, t, in.Key, creates(false))
}

// createMultipartUpload makes the data key of the object to come: its parts
// are encrypted under it as they arrive.
func (s *Service) createMultipartUpload(ctx context.Context, c *call.Call, in *api.CreateMultipartUploadInput) (*api.CreateMultipartUploadOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	w := writeOfUpload(in)
	if err := w.check(c); err != nil {
		return nil, err
	}
	if err := w.lock.foresee(b, c.Time); err != nil {
		return nil, err
	}
	account, acl, err := w.ownership(c, b, in.Key)
	if err != nil {
		return nil, err
	}
	tags, err := headerTags(w.tagging)
	if err != nil {
		return nil, err
	}
	a, kind, err := checksumOfUpload(in.ChecksumAlgorithm, in.ChecksumType)
	if err != nil {
		return nil, err
	}
	u := &upload{
		ID: newBodyID(c.Time), Bucket: b.Name, Key: in.Key, Initiated: stamp(c), Initiator: c.Principal.ARN,
		StorageClass: storageClass(w.class), ChecksumType: kind, Detail: w.detail.stored(), Tags: tags,
		Owner: account, ACL: acl,
		AskedSSE: w.sse.algorithm, AskedKMSKey: w.sse.conditionKey(c, b.Region),
	}
	if a != noAlgorithm {
		u.ChecksumAlgorithm = a.String()
	}
	p, err := w.sse.plan(b)
	if err != nil {
		return nil, err
	}
	if _, u.envelope, err = s.newDataKey(ctx, c, b, u.Key, u.ID, p); err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, _ *bucket) error {
		_, err := tx.Exec(ctx, `INSERT INTO s3_upload (`+uploadColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
			u.ID, u.Bucket, u.Key, u.Initiated, u.Initiator, u.StorageClass, u.ChecksumAlgorithm, u.ChecksumType, u.Detail, u.Tags,
			u.Owner, u.ACL, u.SSE, u.KMSKey, u.SealedKey, u.Context, u.BucketKey, u.AskedSSE, u.AskedKMSKey)
		if err != nil || w.lock == (lock{}) {
			return err
		}
		return w.lock.put(ctx, tx, u.Bucket, u.Key, u.ID)
	})
	if err != nil {
		return nil, err
	}
	out := &api.CreateMultipartUploadOutput{
		Bucket: b.Name, Key: u.Key, UploadId: u.ID, ServerSideEncryption: u.shownSSE(), SSEKMSKeyId: u.KMSKey,
		SSEKMSEncryptionContext: u.shownContext(b.Name, u.Key), BucketKeyEnabled: onlyTrue(u.BucketKey),
		ChecksumAlgorithm: u.ChecksumAlgorithm,
	}
	if u.ChecksumAlgorithm != "" {
		out.ChecksumType = kind
	}
	out.SSECustomerAlgorithm, out.SSECustomerKeyMD5 = w.sse.customer.shown()
	return out, nil
}

// checksumOfUpload is the checksum an upload asks for: SHA cannot be put
// together from the parts', and CRC64NVME always is.
func checksumOfUpload(name, kind string) (algorithm, string, error) {
	a, err := parseAlgorithm(name)
	if err != nil {
		return a, "", err
	}
	switch {
	case kind != "" && kind != composite && kind != fullObject:
		return a, "", errInvalidRequest("Value for x-amz-checksum-type header is invalid.")
	case a == noAlgorithm && kind != "":
		return a, "", errInvalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	case a == noAlgorithm, a == sumCRC64NVME && kind == "":
		return a, fullObject, nil
	case kind == "":
		return a, composite, nil
	case kind == fullObject && !a.isCRC(), kind == composite && a == sumCRC64NVME:
		return a, "", errInvalidRequest("The %s checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(a.String()))
	}
	return a, kind, nil
}

// partNeeds asks for writing a part: s3:PutObject, with the encryption headers
// of the request that began the upload, which stand for all its parts.
func (s *Service) partNeeds(ctx context.Context, c *call.Call, bucketName, expectedOwner, key, id string, more policy.Keys) ([]call.Need, error) {
	t, err := s.target(ctx, c, bucketName, expectedOwner)
	if err != nil {
		return nil, err
	}
	n := t.in("s3:PutObject", key, policy.Keys{})
	for name, values := range more {
		n.Keys[name] = values
	}
	if t.bucket == nil {
		return []call.Need{n}, nil
	}
	_, u, err := s.upload(ctx, bucketName, key, id)
	if _, absent := errors.AsType[*aws.Error](err); absent {
		return []call.Need{n}, nil
	}
	if err != nil {
		return nil, err
	}
	if u.SSE == sseCustomer {
		n.Keys["s3:"+headerSSEC] = []string{sseS3}
	}
	if u.AskedSSE != "" {
		n.Keys["s3:"+headerSSE] = []string{u.AskedSSE}
	}
	if u.AskedKMSKey != "" {
		n.Keys["s3:"+headerKMSKey] = []string{u.AskedKMSKey}
	}
	return []call.Need{n}, nil
}

func (s *Service) uploadPartNeeds(ctx context.Context, c *call.Call, in *api.UploadPartInput) ([]call.Need, error) {
	return s.partNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.UploadId, creates(false))
}

func (s *Service) uploadPart(ctx context.Context, c *call.Call, in *api.UploadPartInput) (*api.UploadPartOutput, error) {
	if in.ChecksumXXHASH64+in.ChecksumXXHASH3+in.ChecksumXXHASH128 != "" {
		return nil, errHeaderNotImplemented("x-amz-checksum-xxhash")
	}
	if err := checkPartNumber(in.PartNumber); err != nil {
		return nil, err
	}
	if err := checkLength(in.ContentLength); err != nil {
		return nil, err
	}
	cl, err := newClaims(in.Body, in.ContentMD5, sums{
		sumCRC32: in.ChecksumCRC32, sumCRC32C: in.ChecksumCRC32C, sumCRC64NVME: in.ChecksumCRC64NVME,
		sumSHA1: in.ChecksumSHA1, sumSHA256: in.ChecksumSHA256, sumSHA512: in.ChecksumSHA512, sumMD5: in.ChecksumMD5,
	}, in.ChecksumAlgorithm)
	if err != nil {
		return nil, err
	}
	b, u, err := s.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	if err := u.accepts(cl); err != nil {
		return nil, err
	}
	own := &customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}
	p, err := s.putPart(ctx, c, b, u, *in.PartNumber, in.Body, cl, own)
	if err != nil {
		return nil, err
	}
	a, sum := u.stored(), p.Checksum
	if p.Claimed != "" {
		a = cl.algorithm
		_, sum, _ = strings.Cut(p.Claimed, " ")
	}
	out := &api.UploadPartOutput{
		ETag: quoted(p.ETag), ServerSideEncryption: u.shownSSE(), SSEKMSKeyId: u.KMSKey, BucketKeyEnabled: onlyTrue(u.BucketKey),
	}
	slot := [algorithmCount]*string{
		sumCRC32: &out.ChecksumCRC32, sumCRC32C: &out.ChecksumCRC32C, sumCRC64NVME: &out.ChecksumCRC64NVME,
		sumSHA1: &out.ChecksumSHA1, sumSHA256: &out.ChecksumSHA256, sumSHA512: &out.ChecksumSHA512, sumMD5: &out.ChecksumMD5,
	}[a]
	*slot = sum
	out.SSECustomerAlgorithm, out.SSECustomerKeyMD5 = own.shown()
	return out, nil
}

func checkPartNumber(number *int64) error {
	if number != nil && *number >= 1 && *number <= maxParts {
		return nil
	}
	given := ""
	if number != nil {
		given = fmt.Sprint(*number)
	}
	return errInvalidArgument("partNumber", given, "Part number must be an integer between 1 and 10000, inclusive")
}

// putPart stores one part of an upload; it replaces the part that had the
// number.
func (s *Service) putPart(ctx context.Context, c *call.Call, b *bucket, u *upload, number int64, body io.Reader, cl claims, own *customerKey) (*part, error) {
	if err := u.takesPart(c, own, u.ID); err != nil {
		return nil, err
	}
	dataKey, err := s.dataKey(ctx, c, b, u.Key, u.ID, &u.envelope, own)
	if err != nil {
		return nil, err
	}
	p := &part{
		Number: number, Modified: stamp(c),
		Blob: fmt.Sprintf("%s%s-%d-%s", blobArea, u.ID, number, aws.RandomText(12, "abcdefghijklmnopqrstuvwxyz0123456789")),
	}
	in := newIntake(body, maxPut, cl, u.SSE == sseS3, u.stored())
	defer in.stop()
	sealed, dataKey, err := layered(p.Blob, dataKey, in)
	if err != nil {
		return nil, err
	}
	k, err := s.storeBody(ctx, p.Blob, dataKey, sealed)
	if err != nil {
		return nil, err
	}
	p.Size, p.ETag, p.Checksum = in.size, in.etag(u.SSE), in.sum(u.stored())
	if cl.algorithm != noAlgorithm && cl.algorithm != u.stored() {
		p.Claimed = cl.algorithm.String() + " " + in.sum(cl.algorithm)
	}
	err = s.change(ctx, b, func(tx *state.Tx, _ *bucket) error { return p.record(ctx, tx, u, k, c.Time) })
	if err != nil {
		s.discard(ctx, k)
		return nil, err
	}
	return p, nil
}

// accepts refuses parts with another checksum than the upload's, and those
// without one where the object's is made of theirs. An upload that asked for
// none takes any: SDKs send CRC32 with every part, also of such an upload.
// That AWS takes it is concluded from them; its documentation says nothing.
func (u *upload) accepts(cl claims) error {
	switch {
	case u.ChecksumAlgorithm == "" || cl.algorithm.String() == u.ChecksumAlgorithm || cl.any:
		return nil
	case cl.algorithm == noAlgorithm && u.ChecksumType == fullObject:
		return nil
	}
	actual := "null"
	if cl.algorithm != noAlgorithm {
		actual = strings.ToLower(cl.algorithm.String())
	}
	return errInvalidRequest("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s",
		strings.ToLower(u.ChecksumAlgorithm), actual)
}

func (p *part) record(ctx context.Context, tx *state.Tx, u *upload, k kept, at time.Time) error {
	if _, err := findUpload(ctx, tx, u.Bucket, u.Key, u.ID); err != nil {
		return err
	}
	old, err := state.List[string](ctx, tx, `SELECT blob FROM s3_part WHERE upload = $1 AND number = $2`, u.ID, p.Number)
	if err != nil {
		return err
	}
	for _, blob := range old {
		if err := releaseBlob(ctx, tx, blob, at.Add(blobGrace)); err != nil {
			return err
		}
	}
	if err := k.keep(ctx, tx); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO s3_part (upload, number, blob, size, etag, checksum, claimed, modified) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (upload, number) DO UPDATE SET blob = excluded.blob, size = excluded.size, etag = excluded.etag,
			checksum = excluded.checksum, claimed = excluded.claimed, modified = excluded.modified`,
		u.ID, p.Number, p.Blob, p.Size, p.ETag, p.Checksum, p.Claimed, p.Modified)
	return err
}

func (s *Service) completeMultipartUploadNeeds(ctx context.Context, c *call.Call, in *api.CompleteMultipartUploadInput) ([]call.Need, error) {
	keys := creates(true)
	if in.IfMatch != "" {
		keys["s3:if-match"] = []string{in.IfMatch}
	}
	if in.IfNoneMatch != "" {
		keys["s3:if-none-match"] = []string{in.IfNoneMatch}
	}
	needs, err := s.partNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.UploadId, keys)
	if err != nil || in.IfMatch == "" {
		return needs, err
	}
	read := needs[0]
	read.Action = "s3:GetObject"
	return append(needs, read), nil
}

// completeMultipartUpload makes one object of the parts it is given. To
// complete an upload again, as a client does that did not hear the answer,
// answers the same.
func (s *Service) completeMultipartUpload(ctx context.Context, c *call.Call, in *api.CompleteMultipartUploadInput) (*api.CompleteMultipartUploadOutput, error) {
	if in.IfNoneMatch != "" && in.IfNoneMatch != "*" {
		return nil, errHeaderNotImplemented("If-None-Match")
	}
	b, u, err := s.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if e, gone := errors.AsType[*aws.Error](err); gone && e.Code == "NoSuchUpload" && b != nil {
		var o *object
		err := s.db.View(ctx, func(tx *state.Tx) (err error) {
			o, err = madeOf(ctx, tx, b.Name, in.Key, in.UploadId, e)
			return err
		})
		if err != nil {
			return nil, err
		}
		return completed(c, b, o), nil
	}
	if err != nil {
		return nil, err
	}
	if in.MultipartUpload == nil || len(in.MultipartUpload.Parts) == 0 || len(in.MultipartUpload.Parts) > maxParts {
		return nil, errMalformedXML()
	}
	if claimsXXHash(in) {
		return nil, errHeaderNotImplemented("x-amz-checksum-xxhash")
	}
	own := &customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}
	if own.sent() { // needed by no one but those who want the checksum
		if err := u.takesPart(c, own, u.ID); err != nil {
			return nil, err
		}
	}
	mayDecrypt, err := s.mayDecrypt(ctx, c, b, u)
	if err != nil {
		return nil, err
	}
	o := &object{
		Bucket: b.Name, Key: u.Key, Modified: stamp(c), Body: u.ID, StorageClass: u.StorageClass,
		Detail: u.Detail, Tags: u.Tags, Owner: u.Owner, ACL: u.ACL, envelope: u.envelope,
	}
	cond := conditions{match: in.IfMatch, absent: in.IfNoneMatch}
	version, etag := aws.RandomText(32, aws.Alnum), randomETag()
	var there *object // made by a request beside this one
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		there = nil
		if _, err := findUpload(ctx, tx, b.Name, u.Key, u.ID); err != nil {
			if gone, ok := errors.AsType[*aws.Error](err); ok {
				there, err = madeOf(ctx, tx, b.Name, u.Key, u.ID, gone)
			}
			return err
		}
		parts, unused, err := s.chooseParts(ctx, tx, u, in)
		if err != nil {
			return err
		}
		if err := o.assemble(u, parts, in, etag); err != nil {
			return err
		}
		if !mayDecrypt {
			o.ChecksumAlgorithm, o.ChecksumType, o.Checksum = "", "", ""
		}
		for _, p := range unused {
			if err := dropPart(ctx, tx, u.ID, p, c.Time); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM s3_upload WHERE id = $1`, u.ID); err != nil {
			return err
		}
		asked, err := takeLock(ctx, tx, now, u)
		if err != nil {
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
	if err != nil {
		return nil, err
	}
	return completed(c, b, cmp.Or(there, o)), nil
}

// mayDecrypt reports whether the caller may use the upload's KMS key for
// decryption. Without that AWS completes the upload and gives the object no
// checksum.
func (s *Service) mayDecrypt(ctx context.Context, c *call.Call, b *bucket, u *upload) (bool, error) {
	if !usesKMS(u.SSE) {
		return true, nil
	}
	_, err := s.dataKey(ctx, c, b, u.Key, u.ID, &u.envelope, nil)
	if e, refused := errors.AsType[*aws.Error](err); refused && e.Code == "AccessDenied" {
		return false, nil
	}
	return err == nil, err
}

func dropPart(ctx context.Context, tx *state.Tx, upload string, p part, at time.Time) error {
	if err := releaseBlob(ctx, tx, p.Blob, at.Add(blobGrace)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM s3_part WHERE upload = $1 AND number = $2`, upload, p.Number)
	return err
}

// claimsXXHash reports whether a checksum is given that cannot be compared.
func claimsXXHash(in *api.CompleteMultipartUploadInput) bool {
	return in.ChecksumXXHASH64+in.ChecksumXXHASH3+in.ChecksumXXHASH128 != "" ||
		slices.ContainsFunc(in.MultipartUpload.Parts, func(p api.CompletedPart) bool {
			return p.ChecksumXXHASH64+p.ChecksumXXHASH3+p.ChecksumXXHASH128 != ""
		})
}

// chooseParts finds the parts that the request lists, and those it leaves out.
func (s *Service) chooseParts(ctx context.Context, tx *state.Tx, u *upload, in *api.CompleteMultipartUploadInput) (chosen, unused []part, err error) {
	there, err := findParts(ctx, tx, u.ID)
	if err != nil {
		return nil, nil, err
	}
	byNumber := make(map[int64]part, len(there))
	for _, p := range there {
		byNumber[p.Number] = p
	}
	last := int64(0)
	for i := range in.MultipartUpload.Parts {
		asked := &in.MultipartUpload.Parts[i]
		if asked.PartNumber == nil {
			return nil, nil, errMalformedXML()
		}
		number := *asked.PartNumber
		if number <= last {
			return nil, nil, aws.Errorf("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.").
				WithStatus(400).With("UploadId", u.ID)
		}
		last = number
		p, ok := byNumber[number]
		if !ok || unquoted(asked.ETag) != p.ETag {
			return nil, nil, errInvalidPart(u.ID, number, asked.ETag)
		}
		if err := u.checkPart(&p, asked); err != nil {
			return nil, nil, err
		}
		delete(byNumber, number)
		chosen = append(chosen, p)
	}
	for _, p := range chosen[:len(chosen)-1] {
		if p.Size < s.minPart {
			return nil, nil, aws.Errorf("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size").WithStatus(400).
				With("ProposedSize", fmt.Sprint(p.Size)).With("MinSizeAllowed", fmt.Sprint(s.minPart)).
				With("PartNumber", fmt.Sprint(p.Number)).With("ETag", p.ETag)
		}
	}
	for _, p := range there {
		if _, left := byNumber[p.Number]; left {
			unused = append(unused, p)
		}
	}
	return chosen, unused, nil
}

func errInvalidPart(upload string, number int64, etag string) error {
	return aws.Errorf("InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.").
		WithStatus(400).With("UploadId", upload).With("PartNumber", fmt.Sprint(number)).With("ETag", unquoted(etag))
}

// checkPart compares the checksum that the request gives for a part.
func (u *upload) checkPart(p *part, asked *api.CompletedPart) error {
	given := sums{
		sumCRC32: asked.ChecksumCRC32, sumCRC32C: asked.ChecksumCRC32C, sumCRC64NVME: asked.ChecksumCRC64NVME,
		sumSHA1: asked.ChecksumSHA1, sumSHA256: asked.ChecksumSHA256, sumSHA512: asked.ChecksumSHA512, sumMD5: asked.ChecksumMD5,
	}
	a, value, err := given.only()
	if err != nil {
		return err
	}
	switch {
	case a == noAlgorithm && u.ChecksumAlgorithm != "" && u.ChecksumType == composite:
		return errInvalidRequest("The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.",
			strings.ToLower(u.ChecksumAlgorithm), p.Number)
	case a == noAlgorithm:
		return nil
	case a == u.stored() && value == p.Checksum, a.String()+" "+value == p.Claimed:
		return nil
	}
	return errInvalidPart(u.ID, p.Number, asked.ETag)
}

// assemble fills in what follows from the parts, and compares it with what
// the request claims of the whole.
func (o *object) assemble(u *upload, parts []part, in *api.CompleteMultipartUploadInput, kmsETag string) error {
	o.Parts, o.Size = int64(len(parts)), 0
	list := make([]partSum, 0, len(parts))
	h := md5.New()
	for _, p := range parts {
		o.Size += p.Size
		list = append(list, partSum{p.Checksum, p.Size})
		if sum, err := hex.DecodeString(p.ETag); err == nil {
			h.Write(sum)
		}
	}
	whole := hex.EncodeToString(h.Sum(nil))
	if u.SSE != sseS3 {
		whole = kmsETag
	}
	o.ETag = whole + "-" + strconv.Itoa(len(parts))
	if in.MpuObjectSize != nil && *in.MpuObjectSize != o.Size {
		return errInvalidRequest("The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", *in.MpuObjectSize, o.Size)
	}
	return o.assembleChecksum(u, list, in)
}

func (o *object) assembleChecksum(u *upload, list []partSum, in *api.CompleteMultipartUploadInput) error {
	a, ok := u.stored(), false
	if u.ChecksumType == composite {
		o.Checksum, ok = compositeSum(a, list)
	} else {
		o.Checksum, ok = joinedCRC(a, list)
	}
	if !ok {
		return fmt.Errorf("upload %s: a part has no %s checksum", u.ID, a)
	}
	o.ChecksumAlgorithm, o.ChecksumType = a.String(), u.ChecksumType
	if in.ChecksumType != "" && in.ChecksumType != u.ChecksumType {
		return errInvalidRequest("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", u.ChecksumType)
	}
	given := sums{
		sumCRC32: in.ChecksumCRC32, sumCRC32C: in.ChecksumCRC32C, sumCRC64NVME: in.ChecksumCRC64NVME,
		sumSHA1: in.ChecksumSHA1, sumSHA256: in.ChecksumSHA256, sumSHA512: in.ChecksumSHA512, sumMD5: in.ChecksumMD5,
	}
	for b := sumCRC32; b < algorithmCount; b++ {
		if given[b] != "" && (b != a || strings.Split(given[b], "-")[0] != strings.Split(o.Checksum, "-")[0]) {
			return errChecksumMismatch(b)
		}
	}
	return nil
}

func completed(c *call.Call, b *bucket, o *object) *api.CompleteMultipartUploadOutput {
	out := &api.CompleteMultipartUploadOutput{
		Location: c.BaseURL + "/" + b.Name + "/" + urlCoded(o.Key), Bucket: b.Name, Key: o.Key, ETag: quoted(o.ETag),
		VersionId: shownVersion(b, o), ServerSideEncryption: o.shownSSE(), SSEKMSKeyId: o.KMSKey, BucketKeyEnabled: onlyTrue(o.BucketKey),
		ChecksumType: o.ChecksumType,
	}
	slot := [algorithmCount]*string{
		sumCRC32: &out.ChecksumCRC32, sumCRC32C: &out.ChecksumCRC32C, sumCRC64NVME: &out.ChecksumCRC64NVME,
		sumSHA1: &out.ChecksumSHA1, sumSHA256: &out.ChecksumSHA256, sumSHA512: &out.ChecksumSHA512, sumMD5: &out.ChecksumMD5,
	}[o.algorithm()]
	if slot != nil {
		*slot = o.Checksum
	}
	return out
}

// madeOf finds the object that an upload became; gone is the answer where it
// became none.
func madeOf(ctx context.Context, tx *state.Tx, bucket, key, upload string, gone *aws.Error) (*object, error) {
	if !storable(upload) || !storable(key) {
		return nil, gone
	}
	o, err := state.Get[object](ctx, tx, `SELECT `+objectColumns+` FROM s3_object
		WHERE body = $1 AND parts > 0 AND bucket = $2 AND key = $3`, upload, bucket, key)
	if errors.Is(err, state.ErrNotFound) {
		return nil, gone
	}
	if err == nil {
		err = o.check()
	}
	return &o, err
}

func (s *Service) abortMultipartUploadNeeds(ctx context.Context, c *call.Call, in *api.AbortMultipartUploadInput) ([]call.Need, error) {
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.in("s3:AbortMultipartUpload", in.Key, nil)}, nil
}

func (s *Service) abortMultipartUpload(ctx context.Context, c *call.Call, in *api.AbortMultipartUploadInput) (*api.AbortMultipartUploadOutput, error) {
	if in.IfMatchInitiatedTime != nil {
		return nil, errHeaderNotImplemented("x-amz-if-match-initiated-time") // directory buckets have it
	}
	b, u, err := s.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, _ *bucket) error {
		if _, err := findUpload(ctx, tx, b.Name, u.Key, u.ID); err != nil {
			return err
		}
		return dropUpload(ctx, tx, u.ID, c.Time)
	})
	if err != nil {
		return nil, err
	}
	return &api.AbortMultipartUploadOutput{}, nil
}

func (s *Service) listPartsNeeds(ctx context.Context, c *call.Call, in *api.ListPartsInput) ([]call.Need, error) {
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.in("s3:ListMultipartUploadParts", in.Key, nil)}, nil
}

func (s *Service) listParts(ctx context.Context, c *call.Call, in *api.ListPartsInput) (*api.ListPartsOutput, error) {
	b, u, err := s.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	if own := (&customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}); own.sent() {
		if err := u.takesPart(c, own, u.ID); err != nil {
			return nil, err
		}
	}
	parts, err := s.parts(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	page, marker, limit, more, err := pageOfParts(parts, in.PartNumberMarker, in.MaxParts)
	if err != nil {
		return nil, err
	}
	out := &api.ListPartsOutput{
		Bucket: b.Name, Key: u.Key, UploadId: u.ID, PartNumberMarker: &marker, MaxParts: &limit, IsTruncated: &more,
		StorageClass: u.StorageClass, ChecksumAlgorithm: u.ChecksumAlgorithm,
		Owner: &api.Owner{ID: owner(b.ownerOf(u.Owner))}, Initiator: initiator(u),
	}
	if u.ChecksumAlgorithm != "" {
		out.ChecksumType = u.ChecksumType
	}
	next := int64(0)
	for i := range page {
		p := &page[i]
		entry := api.Part{PartNumber: &p.Number, Size: &p.Size, ETag: quoted(p.ETag), LastModified: &p.Modified}
		if u.ChecksumAlgorithm != "" {
			*partSlots(&entry)[u.stored()] = p.Checksum
		}
		out.Parts = append(out.Parts, entry)
		next = p.Number
	}
	out.NextPartNumberMarker = &next
	return out, nil
}

func partSlots(v *api.Part) [algorithmCount]*string {
	return [algorithmCount]*string{
		sumCRC32: &v.ChecksumCRC32, sumCRC32C: &v.ChecksumCRC32C, sumCRC64NVME: &v.ChecksumCRC64NVME,
		sumSHA1: &v.ChecksumSHA1, sumSHA256: &v.ChecksumSHA256, sumSHA512: &v.ChecksumSHA512, sumMD5: &v.ChecksumMD5,
	}
}

// pageOfParts cuts a page out of a list of parts.
func pageOfParts(parts []part, after, most *int64) (page []part, marker, limit int64, more bool, err error) {
	if limit, err = pageSize("max-parts", most, maxKeys); err != nil {
		return nil, 0, 0, false, err
	}
	if after != nil {
		if marker = *after; marker < 0 {
			return nil, 0, 0, false, errInvalidArgument("part-number-marker", fmt.Sprint(marker), "Argument part-number-marker must be an integer between 0 and 2147483647")
		}
	}
	from, found := slices.BinarySearchFunc(parts, marker, func(p part, n int64) int { return cmp.Compare(p.Number, n) })
	if found {
		from++
	}
	to := min(int64(from)+limit, int64(len(parts)))
	return parts[from:to], marker, limit, to < int64(len(parts)) && limit > 0, nil
}

// initiator names who began an upload: by ARN for users and sessions, as the
// account for its root.
func initiator(u *upload) *api.Initiator {
	if arn, ok := aws.ParseARN(u.Initiator); ok && arn.Resource == "root" {
		return &api.Initiator{ID: owner(arn.Account)}
	}
	return &api.Initiator{ID: u.Initiator, DisplayName: u.Initiator[strings.LastIndexByte(u.Initiator, '/')+1:]}
}

func (s *Service) listMultipartUploadsNeeds(ctx context.Context, c *call.Call, in *api.ListMultipartUploadsInput) ([]call.Need, error) {
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.on("s3:ListBucketMultipartUploads", nil)}, nil
}

func (s *Service) listMultipartUploads(ctx context.Context, c *call.Call, in *api.ListMultipartUploadsInput) (*api.ListMultipartUploadsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-uploads", in.MaxUploads, maxKeys)
	if err != nil {
		return nil, err
	}
	code, err := coding(in.EncodingType)
	if err != nil {
		return nil, err
	}
	out := &api.ListMultipartUploadsOutput{
		Bucket: b.Name, Prefix: code(in.Prefix), Delimiter: code(in.Delimiter), KeyMarker: code(in.KeyMarker),
		UploadIdMarker: in.UploadIdMarker, MaxUploads: &limit, EncodingType: in.EncodingType, IsTruncated: new(false),
	}
	if limit == 0 || !storable(in.Prefix+in.Delimiter+in.KeyMarker+in.UploadIdMarker) {
		return out, nil
	}
	page := &uploadPage{
		out: out, prefix: in.Prefix, delimiter: in.Delimiter, code: code, limit: limit, bucket: b,
		skip: startAfter(in.KeyMarker, in.Prefix, in.Delimiter).skip,
	}
	from, id := uploadsFrom(in)
	for more := true; more; {
		var rows []upload
		err = s.db.View(ctx, func(tx *state.Tx) (err error) {
			rows, err = state.List[upload](ctx, tx, `SELECT `+uploadColumns+` FROM s3_upload
				WHERE bucket = $1 AND (key, id) > ($2, $3) ORDER BY key, id LIMIT $4`, b.Name, from, id, listBatch)
			return err
		})
		if err != nil {
			return nil, err
		}
		if more = page.add(rows) && len(rows) == listBatch; more {
			from, id = rows[len(rows)-1].Key, rows[len(rows)-1].ID
		}
	}
	page.finish()
	return out, nil
}

// uploadsFrom is the key and upload id after which a listing begins. An upload
// id counts only together with a key.
func uploadsFrom(in *api.ListMultipartUploadsInput) (key, id string) {
	switch {
	case in.KeyMarker < in.Prefix:
		return in.Prefix, ""
	case in.UploadIdMarker != "":
		return in.KeyMarker, in.UploadIdMarker
	}
	return startAfter(in.KeyMarker, in.Prefix, in.Delimiter).key, ""
}

// uploadPage fills a page of a listing of uploads.
type uploadPage struct {
	out               *api.ListMultipartUploadsOutput
	prefix, delimiter string
	skip              string // the common prefix that the page before ended with
	code              func(string) string
	limit             int64
	bucket            *bucket
	prefixes          []string
}

// add takes uploads in order; it reports whether it wants more.
func (p *uploadPage) add(rows []upload) bool {
	for i := range rows {
		u := &rows[i]
		if !strings.HasPrefix(u.Key, p.prefix) {
			return false
		}
		shared, folded := commonPrefix(u.Key, p.prefix, p.delimiter)
		if folded && (shared == p.skip || len(p.prefixes) > 0 && p.prefixes[len(p.prefixes)-1] == shared) {
			continue
		}
		if int64(len(p.out.Uploads)+len(p.prefixes)) == p.limit {
			p.out.IsTruncated = new(true)
			return false
		}
		if folded {
			p.prefixes = append(p.prefixes, shared)
			p.out.NextKeyMarker, p.out.NextUploadIdMarker = p.code(shared), ""
			continue
		}
		p.out.NextKeyMarker, p.out.NextUploadIdMarker = p.code(u.Key), u.ID
		p.out.Uploads = append(p.out.Uploads, u.shown(p.code, p.bucket))
	}
	return true
}

func (p *uploadPage) finish() {
	p.out.CommonPrefixes = shownPrefixes(p.prefixes, p.code)
	if !*p.out.IsTruncated {
		p.out.NextKeyMarker, p.out.NextUploadIdMarker = "", ""
	}
}

func (u *upload) shown(code func(string) string, b *bucket) api.MultipartUpload {
	entry := api.MultipartUpload{
		Key: code(u.Key), UploadId: u.ID, Initiated: &u.Initiated, StorageClass: u.StorageClass,
		Owner: &api.Owner{ID: owner(b.ownerOf(u.Owner))}, Initiator: initiator(u), ChecksumAlgorithm: u.ChecksumAlgorithm,
	}
	if u.ChecksumAlgorithm != "" {
		entry.ChecksumType = u.ChecksumType
	}
	return entry
}
