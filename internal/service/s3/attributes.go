package s3

import (
	"context"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
)

func (s *Service) getObjectAttributesNeeds(ctx context.Context, c *call.Call, in *api.GetObjectAttributesInput) ([]call.Need, error) {
	read, err := s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:GetObject", "s3:GetObjectVersion"))
	if err != nil {
		return nil, err
	}
	attributes := read[0]
	attributes.ACL = policy.NoGrantee
	attributes.Action = versioned(in.VersionId, "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes")
	return append(read, attributes), nil
}

func (s *Service) getObjectAttributes(ctx context.Context, c *call.Call, in *api.GetObjectAttributesInput) (*api.GetObjectAttributesOutput, error) {
	wanted, err := wantedAttributes(in.ObjectAttributes)
	if err != nil {
		return nil, err
	}
	b, o, err := s.existing(ctx, c, "GET", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	own := &customerKey{in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5}
	if err := o.takes(c, own); err != nil {
		return nil, err
	}
	if usesKMS(o.SSE) && (wanted["Checksum"] || wanted["ObjectParts"]) || o.SSE == sseCustomer {
		if _, err := s.dataKey(ctx, c, b, o.Key, o.Body, &o.envelope, own); err != nil {
			return nil, err
		}
	}
	out := &api.GetObjectAttributesOutput{LastModified: &o.Modified, VersionId: shownVersion(b, o)}
	if wanted["ETag"] {
		out.ETag = o.ETag
	}
	if wanted["ObjectSize"] {
		out.ObjectSize = &o.Size
	}
	if wanted["StorageClass"] {
		out.StorageClass = o.StorageClass
	}
	if slot := &(api.Checksum{}); wanted["Checksum"] && o.algorithm() != noAlgorithm {
		*checksumSlots(slot)[o.algorithm()] = o.Checksum
		slot.ChecksumType = o.ChecksumType
		out.Checksum = slot
	}
	if wanted["ObjectParts"] && o.Parts > 0 {
		if out.ObjectParts, err = s.attributeParts(ctx, o, in); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// wantedAttributes reads x-amz-object-attributes, which may come as one list
// or as several.
func wantedAttributes(asked []string) (map[string]bool, error) {
	known := []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}
	wanted := map[string]bool{}
	for _, list := range asked {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			if !slices.Contains(known, name) {
				return nil, errInvalidArgument("x-amz-object-attributes", name, "Invalid attribute name specified.")
			}
			wanted[name] = true
		}
	}
	if len(wanted) == 0 {
		return nil, errInvalidArgument("x-amz-object-attributes", "", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return wanted, nil
}

// attributeParts lists the parts of an object; those without checksums of
// their own are only counted, as on AWS.
func (s *Service) attributeParts(ctx context.Context, o *object, in *api.GetObjectAttributesInput) (*api.GetObjectAttributesParts, error) {
	parts, err := s.parts(ctx, o.Body)
	if err != nil {
		return nil, err
	}
	out := &api.GetObjectAttributesParts{TotalPartsCount: &o.Parts}
	if o.ChecksumType != composite {
		return out, nil
	}
	page, marker, limit, more, err := pageOfParts(parts, in.PartNumberMarker, in.MaxParts)
	if err != nil {
		return nil, err
	}
	out.PartNumberMarker, out.MaxParts, out.IsTruncated = &marker, &limit, &more
	next := int64(0)
	for _, p := range page {
		entry := api.ObjectPart{PartNumber: &p.Number, Size: &p.Size}
		if slot := objectPartSlots(&entry)[o.algorithm()]; slot != nil {
			*slot = p.Checksum
		}
		out.Parts = append(out.Parts, entry)
		next = p.Number
	}
	out.NextPartNumberMarker = &next
	return out, nil
}

func checksumSlots(v *api.Checksum) [algorithmCount]*string {
	return [algorithmCount]*string{
		sumCRC32: &v.ChecksumCRC32, sumCRC32C: &v.ChecksumCRC32C, sumCRC64NVME: &v.ChecksumCRC64NVME,
		sumSHA1: &v.ChecksumSHA1, sumSHA256: &v.ChecksumSHA256, sumSHA512: &v.ChecksumSHA512, sumMD5: &v.ChecksumMD5,
	}
}

func objectPartSlots(v *api.ObjectPart) [algorithmCount]*string {
	return [algorithmCount]*string{
		sumCRC32: &v.ChecksumCRC32, sumCRC32C: &v.ChecksumCRC32C, sumCRC64NVME: &v.ChecksumCRC64NVME,
		sumSHA1: &v.ChecksumSHA1, sumSHA256: &v.ChecksumSHA256, sumSHA512: &v.ChecksumSHA512, sumMD5: &v.ChecksumMD5,
	}
}
