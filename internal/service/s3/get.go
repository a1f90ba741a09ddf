package s3

import (
	"context"
	"fmt"
	"io"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// algorithm is the one of the object's checksum; noAlgorithm when it has none.
func (o *object) algorithm() algorithm {
	a, err := parseAlgorithm(o.ChecksumAlgorithm)
	if err != nil {
		return noAlgorithm
	}
	return a
}

func (s *Service) getObjectNeeds(ctx context.Context, c *call.Call, in *api.GetObjectInput) ([]call.Need, error) {
	return s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:GetObject", "s3:GetObjectVersion"))
}

// getObject answers with a body that is decrypted while it is read.
func (s *Service) getObject(ctx context.Context, c *call.Call, in *api.GetObjectInput) (*api.GetObjectOutput, error) {
	b, o, err := s.existing(ctx, c, "GET", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	own := &customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}
	if err := o.takes(c, own); err != nil {
		return nil, err
	}
	if err := mayOverride(c, in); err != nil {
		return nil, err
	}
	view, err := s.viewOf(ctx, o, in)
	if err != nil {
		return nil, err
	}
	out, err := s.describe(ctx, c, b, o, in, view)
	if err != nil {
		return nil, err
	}
	out.SSECustomerAlgorithm, out.SSECustomerKeyMD5 = own.shown()
	dataKey, err := s.dataKey(ctx, c, b, o.Key, o.Body, &o.envelope, own)
	if err != nil {
		return nil, err
	}
	out.Body, err = s.openObject(ctx, o, view.parts, dataKey, view.byteRange)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// mayOverride refuses response-* parameters of callers who did not sign.
func mayOverride(c *call.Call, in *api.GetObjectInput) error {
	overrides := in.ResponseCacheControl + in.ResponseContentDisposition + in.ResponseContentEncoding +
		in.ResponseContentLanguage + in.ResponseContentType
	if c.Principal.Kind == aws.Anonymous && (overrides != "" || in.ResponseExpires != nil) {
		return errInvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
	}
	return nil
}

// view is the part of an object that a request asks for.
type view struct {
	byteRange
	partial bool
	parts   []part // of an object uploaded in parts
	part    *part  // the one that partNumber names
}

// viewOf checks the conditions of a read and finds what it asks for.
func (s *Service) viewOf(ctx context.Context, o *object, in *api.GetObjectInput) (*view, error) {
	err := preconditions{
		match: in.IfMatch, noneMatch: in.IfNoneMatch, modified: in.IfModifiedSince, unmodified: in.IfUnmodifiedSince,
	}.check(o)
	if err != nil {
		return nil, err
	}
	v := &view{byteRange: byteRange{0, o.Size}}
	if o.Parts > 0 {
		if v.parts, err = s.parts(ctx, o.Body); err != nil {
			return nil, err
		}
	}
	switch {
	case in.Range != "" && in.PartNumber != nil:
		return nil, errInvalidRequest("Cannot specify both Range header and partNumber query parameter")
	case in.PartNumber != nil:
		return v, v.choose(o, *in.PartNumber)
	case in.Range != "":
		r, ok, err := parseRange(in.Range, o.Size)
		if err != nil {
			return nil, err
		}
		if ok {
			v.byteRange, v.partial = r, true
		}
	}
	return v, nil
}

// choose narrows the view to one part. An object that was not uploaded in
// parts is its own first part.
func (v *view) choose(o *object, number int64) error {
	if number < 1 || number > maxParts {
		return errInvalidArgument("partNumber", fmt.Sprint(number), "Part number must be an integer between 1 and 10000, inclusive")
	}
	if o.Parts == 0 && number == 1 {
		v.partial = o.Size > 0
		return nil
	}
	var offset int64
	for i := range v.parts {
		p := &v.parts[i]
		if p.Number == number {
			v.byteRange, v.part, v.partial = byteRange{offset, p.Size}, p, p.Size > 0
			return nil
		}
		offset += p.Size
	}
	return aws.Errorf("InvalidPartNumber", "The requested partnumber is not satisfiable").WithStatus(416).
		With("PartNumberRequested", fmt.Sprint(number)).With("ActualPartCount", fmt.Sprint(max(o.Parts, 1)))
}

// parts returns the parts of an object or upload, in order.
func (s *Service) parts(ctx context.Context, upload string) ([]part, error) {
	var list []part
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		list, err = findParts(ctx, tx, upload)
		return err
	})
	return list, err
}

// openObject reads a range of an object.
func (s *Service) openObject(ctx context.Context, o *object, parts []part, dataKey []byte, r byteRange) (io.ReadCloser, error) {
	if o.Parts == 0 {
		return s.openLayers(ctx, blobArea+o.Body, dataKey, o.Size, r.offset, r.length)
	}
	var pieces []piece
	var start int64
	for _, p := range parts {
		from := max(r.offset, start)
		to := min(r.offset+r.length, start+p.Size)
		if from < to {
			pieces = append(pieces, piece{p.Blob, p.Size, from - start, to - from})
		}
		start += p.Size
	}
	return s.openPieces(ctx, dataKey, pieces)
}

// describe is everything an answer says about an object but the body.
func (s *Service) describe(ctx context.Context, c *call.Call, b *bucket, o *object, in *api.GetObjectInput, v *view) (*api.GetObjectOutput, error) {
	var d detail
	if err := decode(o.Detail, &d); err != nil {
		return nil, err
	}
	out := &api.GetObjectOutput{
		AcceptRanges:            "bytes",
		LastModified:            &o.Modified,
		ContentLength:           &v.length,
		ETag:                    quoted(o.ETag),
		VersionId:               shownVersion(b, o),
		CacheControl:            d.CacheControl,
		ContentDisposition:      d.ContentDisposition,
		ContentEncoding:         d.ContentEncoding,
		ContentLanguage:         d.ContentLanguage,
		ContentType:             d.ContentType,
		Expires:                 d.Expires,
		WebsiteRedirectLocation: d.WebsiteRedirect,
		Metadata:                d.Metadata,
		ServerSideEncryption:    o.shownSSE(),
		SSEKMSKeyId:             o.KMSKey,
		BucketKeyEnabled:        onlyTrue(o.BucketKey),
	}
	if out.ContentType == "" {
		out.ContentType = "binary/octet-stream"
	}
	if o.StorageClass != standardClass {
		out.StorageClass = o.StorageClass
	}
	if v.partial {
		out.ContentRange = v.contentRange(o.Size)
	}
	if in.PartNumber != nil && o.Parts > 0 {
		out.PartsCount = &o.Parts
	}
	override(out, in)
	if in.ChecksumMode == "ENABLED" {
		showChecksum(out, o, v, in)
	}
	var err error
	if out.Expiration, err = b.expiry(o); err != nil {
		return nil, err
	}
	if err := s.showLock(ctx, c, b, o, out); err != nil {
		return nil, err
	}
	return out, s.countTags(ctx, c, b, o, in, out)
}

// override applies the response-* parameters.
func override(out *api.GetObjectOutput, in *api.GetObjectInput) {
	for to, value := range map[*string]string{
		&out.CacheControl:       in.ResponseCacheControl,
		&out.ContentDisposition: in.ResponseContentDisposition,
		&out.ContentEncoding:    in.ResponseContentEncoding,
		&out.ContentLanguage:    in.ResponseContentLanguage,
		&out.ContentType:        in.ResponseContentType,
	} {
		if value != "" {
			*to = value
		}
	}
	if in.ResponseExpires != nil {
		out.Expires = httpTime(*in.ResponseExpires)
	}
}

// showChecksum adds the checksum of what is sent: the object's, or that of
// the part that partNumber names. A range has none.
func showChecksum(out *api.GetObjectOutput, o *object, v *view, in *api.GetObjectInput) {
	value := o.Checksum
	switch {
	case v.part != nil:
		value = v.part.Checksum
	case v.partial && in.PartNumber == nil:
		return
	}
	slot := [algorithmCount]*string{
		sumCRC32: &out.ChecksumCRC32, sumCRC32C: &out.ChecksumCRC32C, sumCRC64NVME: &out.ChecksumCRC64NVME,
		sumSHA1: &out.ChecksumSHA1, sumSHA256: &out.ChecksumSHA256, sumSHA512: &out.ChecksumSHA512, sumMD5: &out.ChecksumMD5,
	}[o.algorithm()]
	if slot != nil && value != "" {
		*slot, out.ChecksumType = value, o.ChecksumType
	}
}

// countTags adds how many tags there are, for callers who may read them.
func (s *Service) countTags(ctx context.Context, c *call.Call, b *bucket, o *object, in *api.GetObjectInput, out *api.GetObjectOutput) error {
	if o.Tags == "" {
		return nil
	}
	t, err := s.targetOf(c, b)
	if err != nil {
		return err
	}
	n, err := s.stored(ctx, t, versioned(in.VersionId, "s3:GetObjectTagging", "s3:GetObjectVersionTagging"), o.Key, in.VersionId)
	if err != nil {
		return err
	}
	if err := c.Allowed(ctx, n); err != nil {
		if _, refused := err.(*aws.Error); refused {
			return nil
		}
		return err
	}
	tags, err := loadTags(o.Tags)
	out.TagCount = new(int64(len(tags)))
	return err
}

func (s *Service) headObjectNeeds(ctx context.Context, c *call.Call, in *api.HeadObjectInput) ([]call.Need, error) {
	return s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:GetObject", "s3:GetObjectVersion"))
}

// headObject is getObject without the body. The key is asked for only where
// the checksum is wanted.
func (s *Service) headObject(ctx context.Context, c *call.Call, in *api.HeadObjectInput) (*api.HeadObjectOutput, error) {
	get := &api.GetObjectInput{
		Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId, Range: in.Range, PartNumber: in.PartNumber,
		IfMatch: in.IfMatch, IfNoneMatch: in.IfNoneMatch, IfModifiedSince: in.IfModifiedSince, IfUnmodifiedSince: in.IfUnmodifiedSince,
		ResponseCacheControl: in.ResponseCacheControl, ResponseContentDisposition: in.ResponseContentDisposition,
		ResponseContentEncoding: in.ResponseContentEncoding, ResponseContentLanguage: in.ResponseContentLanguage,
		ResponseContentType: in.ResponseContentType, ResponseExpires: in.ResponseExpires, ChecksumMode: in.ChecksumMode,
	}
	b, o, err := s.existing(ctx, c, "HEAD", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	own := &customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}
	if err := o.takes(c, own); err != nil {
		return nil, err
	}
	if err := mayOverride(c, get); err != nil {
		return nil, err
	}
	v, err := s.viewOf(ctx, o, get)
	if err != nil {
		return nil, err
	}
	if usesKMS(o.SSE) {
		if err := mayUseKMS(c); err != nil {
			return nil, err
		}
	}
	if in.ChecksumMode == "ENABLED" && usesKMS(o.SSE) || o.SSE == sseCustomer {
		if _, err := s.dataKey(ctx, c, b, o.Key, o.Body, &o.envelope, own); err != nil {
			return nil, err
		}
	}
	out, err := s.describe(ctx, c, b, o, get, v)
	if err != nil {
		return nil, err
	}
	head := headOf(out)
	head.SSECustomerAlgorithm, head.SSECustomerKeyMD5 = own.shown()
	return head, nil
}

func headOf(g *api.GetObjectOutput) *api.HeadObjectOutput {
	return &api.HeadObjectOutput{
		AcceptRanges: g.AcceptRanges, LastModified: g.LastModified, ContentLength: g.ContentLength, ETag: g.ETag,
		ChecksumCRC32: g.ChecksumCRC32, ChecksumCRC32C: g.ChecksumCRC32C, ChecksumCRC64NVME: g.ChecksumCRC64NVME,
		ChecksumSHA1: g.ChecksumSHA1, ChecksumSHA256: g.ChecksumSHA256, ChecksumSHA512: g.ChecksumSHA512,
		ChecksumMD5: g.ChecksumMD5, ChecksumType: g.ChecksumType,
		VersionId: g.VersionId, CacheControl: g.CacheControl, ContentDisposition: g.ContentDisposition,
		ContentEncoding: g.ContentEncoding, ContentLanguage: g.ContentLanguage, ContentType: g.ContentType,
		ContentRange: g.ContentRange, Expires: g.Expires, WebsiteRedirectLocation: g.WebsiteRedirectLocation,
		ServerSideEncryption: g.ServerSideEncryption, SSEKMSKeyId: g.SSEKMSKeyId, BucketKeyEnabled: g.BucketKeyEnabled,
		Metadata: g.Metadata, StorageClass: g.StorageClass, PartsCount: g.PartsCount, TagCount: g.TagCount,
		Expiration: g.Expiration, ObjectLockMode: g.ObjectLockMode, ObjectLockRetainUntilDate: g.ObjectLockRetainUntilDate,
		ObjectLockLegalHoldStatus: g.ObjectLockLegalHoldStatus,
	}
}
