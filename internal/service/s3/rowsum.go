package s3

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/sekisho/sekisho/internal/state"
)

// errDamaged means that the row of an object is not what was written: a bit
// flipped on its way to the disk or back, or somebody changed it by hand.
var errDamaged = errors.New("the row does not add up to its checksum: it was altered outside of sekisho")

// summing adds up values, each with its length, so that no two rows run
// together into the same bytes.
type summing []byte

func (s summing) text(values ...string) summing {
	for _, v := range values {
		s = append(binary.AppendUvarint(s, uint64(len(v))), v...)
	}
	return s
}

func (s summing) number(values ...int64) summing {
	for _, v := range values {
		s = binary.AppendVarint(s, v)
	}
	return s
}

func (s summing) total() uint32 { return crc32.Checksum(s, castagnoli) }

// rowSum is the checksum that a row carries. The upper half covers what
// listings show, the lower one the rest, so that a listing needs to read no
// more than it shows. Left out are the columns that say where a version stands
// among the others, and the sealed data key, which is authenticated by itself
// and changes with the master key.
//
// It is no protection from somebody who can write to the database, who could
// as well give himself a policy; it is there for bits that flip by themselves.
func rowSum(shown, rest uint32) int64 {
	sum := int64(uint64(shown)<<32 | uint64(rest))
	if sum == 0 {
		return 1 // 0 stands for none
	}
	return sum
}

// sum is the upper half of the row's checksum.
func (e *entry) sum() uint32 {
	var room [256]byte
	return summing(room[:0]).text(e.Key, e.ETag, e.StorageClass, e.Owner, e.ChecksumAlgorithm, e.ChecksumType).
		number(state.Millis(e.Modified), e.Size).total()
}

// check compares what a listing shows with its checksum.
func (e *entry) check() error {
	if e.Sum == 0 || uint32(uint64(e.Sum)>>32) == e.sum() || e.Sum == 1 {
		return nil
	}
	return fmt.Errorf("object %s: %w", e.Key, errDamaged)
}

// sum is what the row's checksum has to be.
func (o *object) sum() int64 {
	shown := entry{
		Key: o.Key, Modified: o.Modified, Size: o.Size, ETag: o.ETag, StorageClass: o.StorageClass, Owner: o.Owner,
		ChecksumAlgorithm: o.ChecksumAlgorithm, ChecksumType: o.ChecksumType,
	}
	marker, bucketKey := int64(0), int64(0)
	if o.Marker {
		marker = 1
	}
	if o.BucketKey {
		bucketKey = 1
	}
	var room [512]byte
	rest := summing(room[:0]).text(o.Bucket, o.Version, o.Body, o.Checksum, o.Detail, o.Tags, o.ACL, o.SSE, o.KMSKey, o.Context).
		number(marker, o.Parts, bucketKey)
	return rowSum(shown.sum(), rest.total())
}

// check compares the row with its checksum.
func (o *object) check() error {
	if o.Sum == 0 || o.Sum == o.sum() {
		return nil
	}
	return fmt.Errorf("object %s, version %s: %w", objectARN(o.Bucket, o.Key), o.Version, errDamaged)
}
