package s3

import (
	"context"
	"io"
	"net/url"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

// maxCopy is the most that one request may copy.
const maxCopy = 5 << 30

// source is what x-amz-copy-source names.
type source struct{ bucket, key, version string }

// parseSource reads x-amz-copy-source: bucket/key, URL-encoded, with or
// without a slash before it and a ?versionId= behind it.
func parseSource(header string) (source, error) {
	if strings.HasPrefix(header, "arn:") {
		return source{}, errNotImplemented("Access points are not implemented")
	}
	path, version, hasVersion := strings.Cut(header, "?versionId=")
	bad := errInvalidArgument("x-amz-copy-source", strings.ToValidUTF8(header, "?"), "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	path, err := url.PathUnescape(path)
	if err != nil || !storable(path) {
		return source{}, bad
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || bucket == "" || key == "" {
		return source{}, bad
	}
	if hasVersion && version == "" {
		return source{}, errInvalidArgument("versionId", "", "Version id cannot be the empty string")
	}
	return source{bucket, key, version}, checkVersion(version)
}

// sourceNeeds asks for reading the source of a copy, and for reading its tags
// where they are copied and there are any; tagged says that there are.
func (s *Service) sourceNeeds(ctx context.Context, c *call.Call, from source, expectedOwner string, withTags bool) (needs []call.Need, tagged bool, err error) {
	t, err := s.anywhere(ctx, c, from.bucket, expectedOwner)
	if err != nil {
		return nil, false, err
	}
	n, err := s.stored(ctx, t, versioned(from.version, "s3:GetObject", "s3:GetObjectVersion"), from.key, from.version)
	if err != nil {
		return nil, false, err
	}
	needs = append(needs, n)
	o, err := s.lookup(ctx, t, from.key, from.version)
	if err != nil || !withTags || o == nil || o.Tags == "" {
		return needs, false, err
	}
	n.Action, n.ACL = versioned(from.version, "s3:GetObjectTagging", "s3:GetObjectVersionTagging"), policy.NoGrantee
	return append(needs, n), true, nil
}

const (
	directiveCopy    = "COPY"
	directiveReplace = "REPLACE"
)

func (s *Service) copyObjectNeeds(ctx context.Context, c *call.Call, in *api.CopyObjectInput) ([]call.Need, error) {
	from, err := parseSource(in.CopySource)
	if err != nil {
		return nil, err
	}
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	reading, tagged, err := s.sourceNeeds(ctx, c, from, in.ExpectedSourceBucketOwner, in.TaggingDirective != directiveReplace)
	if err != nil {
		return nil, err
	}
	more := creates(true)
	more["s3:x-amz-copy-source"] = []string{from.bucket + "/" + from.key}
	if in.MetadataDirective != "" {
		more["s3:x-amz-metadata-directive"] = []string{in.MetadataDirective}
	}
	w := writeOfCopy(in)
	writing, err := w.needs(c, t, in.Key, more)
	if err != nil {
		return nil, err
	}
	if tagged && w.tagging == "" {
		tagging := policy.Keys{}
		w.addKeys(c, t, tagging)
		writing = append(writing, t.in("s3:PutObjectTagging", in.Key, tagging))
	}
	return append(reading, writing...), nil
}

// copyObject reads the source as the caller and writes it anew, under a key
// of its own.
func (s *Service) copyObject(ctx context.Context, c *call.Call, in *api.CopyObjectInput) (*api.CopyObjectOutput, error) {
	from, err := parseSource(in.CopySource)
	if err != nil {
		return nil, err
	}
	own := &customerKey{in.CopySourceSSECustomerAlgorithm, in.CopySourceSSECustomerKey, in.CopySourceSSECustomerKeyMD5}
	store, err := parseAlgorithm(in.ChecksumAlgorithm)
	if err != nil {
		return nil, err
	}
	if _, err := s.bucket(ctx, in.Bucket); err != nil {
		return nil, err
	}
	sb, so, err := s.existing(ctx, c, "GET", from.bucket, from.key, from.version)
	if err != nil {
		return nil, err
	}
	w := writeOfCopy(in)
	tags, err := w.inherit(so, in)
	if err != nil {
		return nil, err
	}
	err = preconditions{
		match: in.CopySourceIfMatch, noneMatch: in.CopySourceIfNoneMatch,
		modified: in.CopySourceIfModifiedSince, unmodified: in.CopySourceIfUnmodifiedSince, copying: true,
	}.check(so)
	if err != nil {
		return nil, err
	}
	if so.Size > maxCopy {
		return nil, errInvalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxCopy))
	}
	body, err := s.openSource(ctx, c, sb, so, own, byteRange{0, so.Size})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if store == noAlgorithm {
		store = so.algorithm()
	}
	b, o, err := s.put(ctx, c, in.Bucket, in.Key, w, tags, body, claims{}, store)
	if err != nil {
		return nil, err
	}
	out := copied(b, o, sb, so)
	out.SSECustomerAlgorithm, out.SSECustomerKeyMD5 = w.sse.customer.shown()
	return out, nil
}

// inherit takes over from the source what the directives say, and returns the
// tags. It refuses a copy onto itself that changes nothing.
func (w *write) inherit(from *object, in *api.CopyObjectInput) (tags string, err error) {
	switch in.MetadataDirective {
	case "", directiveCopy:
		if from.Bucket == in.Bucket && from.Key == in.Key && from.Latest && w.detail.WebsiteRedirect == "" && w.sse.algorithm == "" && !w.sse.customer.sent() &&
			from.SSE != sseCustomer && (w.class == "" || w.class == from.StorageClass) {
			return "", errInvalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
		}
		redirect := w.detail.WebsiteRedirect
		w.detail = detail{}
		if err := decode(from.Detail, &w.detail); err != nil {
			return "", err
		}
		w.detail.WebsiteRedirect = redirect // the source's is not copied
	case directiveReplace:
	default:
		return "", errInvalidArgument("x-amz-metadata-directive", in.MetadataDirective, "Unknown metadata directive.")
	}
	switch in.TaggingDirective {
	case "", directiveCopy:
		return from.Tags, nil
	case directiveReplace:
		return headerTags(w.tagging)
	}
	return "", errInvalidArgument("x-amz-tagging-directive", in.TaggingDirective, "Unknown tagging directive.")
}

// openSource reads a range of an object as the caller.
func (s *Service) openSource(ctx context.Context, c *call.Call, b *bucket, o *object, own *customerKey, r byteRange) (io.ReadCloser, error) {
	if err := o.takes(c, own); err != nil {
		return nil, err
	}
	dataKey, err := s.dataKey(ctx, c, b, o.Key, o.Body, &o.envelope, own)
	if err != nil {
		return nil, err
	}
	var parts []part
	if o.Parts > 0 {
		if parts, err = s.parts(ctx, o.Body); err != nil {
			return nil, err
		}
	}
	return s.openObject(ctx, o, parts, dataKey, r)
}

func copied(b *bucket, o *object, sb *bucket, so *object) *api.CopyObjectOutput {
	result := &api.CopyObjectResult{ETag: quoted(o.ETag), LastModified: &o.Modified, ChecksumType: o.ChecksumType}
	slot := [algorithmCount]*string{
		sumCRC32: &result.ChecksumCRC32, sumCRC32C: &result.ChecksumCRC32C, sumCRC64NVME: &result.ChecksumCRC64NVME,
		sumSHA1: &result.ChecksumSHA1, sumSHA256: &result.ChecksumSHA256, sumSHA512: &result.ChecksumSHA512, sumMD5: &result.ChecksumMD5,
	}[o.algorithm()]
	if slot != nil {
		*slot = o.Checksum
	}
	return &api.CopyObjectOutput{
		CopyObjectResult: result, CopySourceVersionId: shownVersion(sb, so), VersionId: shownVersion(b, o),
		ServerSideEncryption: o.shownSSE(), SSEKMSKeyId: o.KMSKey, BucketKeyEnabled: onlyTrue(o.BucketKey),
		SSEKMSEncryptionContext: o.shownContext(o.Bucket, o.Key),
	}
}

func (s *Service) uploadPartCopyNeeds(ctx context.Context, c *call.Call, in *api.UploadPartCopyInput) ([]call.Need, error) {
	from, err := parseSource(in.CopySource)
	if err != nil {
		return nil, err
	}
	more := creates(false)
	more["s3:x-amz-copy-source"] = []string{from.bucket + "/" + from.key}
	writing, err := s.partNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.UploadId, more)
	if err != nil {
		return nil, err
	}
	reading, _, err := s.sourceNeeds(ctx, c, from, in.ExpectedSourceBucketOwner, false)
	if err != nil {
		return nil, err
	}
	return append(reading, writing...), nil
}

func (s *Service) uploadPartCopy(ctx context.Context, c *call.Call, in *api.UploadPartCopyInput) (*api.UploadPartCopyOutput, error) {
	from, err := parseSource(in.CopySource)
	if err != nil {
		return nil, err
	}
	sourceKey := &customerKey{in.CopySourceSSECustomerAlgorithm, in.CopySourceSSECustomerKey, in.CopySourceSSECustomerKeyMD5}
	own := &customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}
	if err := checkPartNumber(in.PartNumber); err != nil {
		return nil, err
	}
	b, u, err := s.upload(ctx, in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	sb, so, err := s.existing(ctx, c, "GET", from.bucket, from.key, from.version)
	if err != nil {
		return nil, err
	}
	err = preconditions{
		match: in.CopySourceIfMatch, noneMatch: in.CopySourceIfNoneMatch,
		modified: in.CopySourceIfModifiedSince, unmodified: in.CopySourceIfUnmodifiedSince, copying: true,
	}.check(so)
	if err != nil {
		return nil, err
	}
	r := byteRange{0, so.Size}
	if in.CopySourceRange != "" {
		if r, err = parseCopyRange(in.CopySourceRange, so.Size); err != nil {
			return nil, err
		}
	}
	if r.length > maxCopy {
		return nil, errInvalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxCopy))
	}
	body, err := s.openSource(ctx, c, sb, so, sourceKey, r)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	p, err := s.putPart(ctx, c, b, u, *in.PartNumber, body, claims{}, own)
	if err != nil {
		return nil, err
	}
	result := &api.CopyPartResult{ETag: quoted(p.ETag), LastModified: &p.Modified}
	if u.ChecksumAlgorithm != "" {
		*[algorithmCount]*string{
			sumCRC32: &result.ChecksumCRC32, sumCRC32C: &result.ChecksumCRC32C, sumCRC64NVME: &result.ChecksumCRC64NVME,
			sumSHA1: &result.ChecksumSHA1, sumSHA256: &result.ChecksumSHA256, sumSHA512: &result.ChecksumSHA512, sumMD5: &result.ChecksumMD5,
		}[u.stored()] = p.Checksum
	}
	out := &api.UploadPartCopyOutput{
		CopyPartResult: result, CopySourceVersionId: shownVersion(sb, so), ServerSideEncryption: u.shownSSE(),
		SSEKMSKeyId: u.KMSKey, BucketKeyEnabled: onlyTrue(u.BucketKey),
	}
	out.SSECustomerAlgorithm, out.SSECustomerKeyMD5 = own.shown()
	return out, nil
}
