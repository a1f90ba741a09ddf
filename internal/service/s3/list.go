package s3

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	maxKeys = 1000
	// listBatch is how many rows one query of a listing reads.
	listBatch = 1000
)

// listNeeds asks for listing a bucket, with the keys that say what of it.
func (s *Service) listNeeds(ctx context.Context, c *call.Call, bucket, expectedOwner, action, prefix, delimiter string, limit *int64) ([]call.Need, error) {
	t, err := s.target(ctx, c, bucket, expectedOwner)
	if err != nil {
		return nil, err
	}
	keys := policy.Keys{}
	if prefix != "" {
		keys["s3:prefix"] = []string{prefix}
	}
	if delimiter != "" {
		keys["s3:delimiter"] = []string{delimiter}
	}
	if limit != nil {
		keys["s3:max-keys"] = []string{fmt.Sprint(*limit)}
	}
	return []call.Need{t.on(action, keys)}, nil
}

// pageSize reads max-keys and its like: at most as many as S3 answers.
func pageSize(name string, asked *int64, most int64) (int64, error) {
	if asked == nil {
		return most, nil
	}
	if *asked < 0 || *asked > 1<<31-1 {
		return 0, errInvalidArgument(name, fmt.Sprint(*asked), "Argument %s must be an integer between 0 and 2147483647", name)
	}
	return min(*asked, most), nil
}

// coding is how the keys of an answer are written.
func coding(encodingType string) (func(string) string, error) {
	switch encodingType {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return urlCoded, nil
	}
	return nil, errInvalidArgument("encoding-type", encodingType, "Invalid Encoding Method specified in Request")
}

// urlCoded writes a key as in a query, but for slashes and stars.
func urlCoded(s string) string {
	return strings.NewReplacer("%2F", "/", "%2A", "*", "~", "%7E").Replace(url.QueryEscape(s))
}

// entry is a row of a listing of objects.
type entry struct {
	Key               string    `db:"key"`
	Modified          time.Time `db:"modified"`
	Size              int64     `db:"size"`
	ETag              string    `db:"etag"`
	StorageClass      string    `db:"storage_class"`
	Owner             string    `db:"owner"`
	ChecksumAlgorithm string    `db:"checksum_algorithm"`
	ChecksumType      string    `db:"checksum_type"`
	Sum               int64     `db:"sum"` // see rowSum
}

// listing is a page of objects and common prefixes.
type listing struct {
	objects  []entry
	prefixes []string
	// next is where the following page begins, and last the last key or
	// prefix of this one; both are empty when this is the last page.
	next, last string
}

// list reads a page of the newest versions whose keys begin with prefix and
// are not before from.
func (s *Service) list(ctx context.Context, bucket, prefix, delimiter string, from start, limit int64) (*listing, error) {
	l := &listing{}
	if limit == 0 || !storable(prefix) || !storable(delimiter) || !storable(from.key) {
		return l, nil
	}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		*l = listing{}
		from.key = max(from.key, prefix)
		return l.fill(ctx, tx, bucket, prefix, delimiter, from, limit)
	})
	return l, err
}

const selectPage = `
	SELECT key, modified, size, etag, storage_class, owner, checksum_algorithm, checksum_type, sum
	FROM s3_object WHERE bucket = $1 AND latest = 1 AND marker = 0 AND key >= $2 ORDER BY key LIMIT $3`

func (l *listing) fill(ctx context.Context, tx *state.Tx, bucket, prefix, delimiter string, from start, limit int64) error {
	next := newBatch(delimiter, limit)
	for {
		asked, before := next.rows, len(l.objects)+len(l.prefixes)
		rows, err := state.List[entry](ctx, tx, selectPage,
			bucket, from.key, asked)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !strings.HasPrefix(row.Key, prefix) {
				return nil
			}
			shared, folded := commonPrefix(row.Key, prefix, delimiter)
			if folded && (shared == from.skip || l.folds(shared)) {
				continue
			}
			if int64(len(l.objects)+len(l.prefixes)) == limit {
				l.next = row.Key
				return nil
			}
			if folded {
				l.prefixes = append(l.prefixes, shared)
				l.last = shared
			} else {
				if err := row.check(); err != nil {
					return err
				}
				l.objects = append(l.objects, row)
				l.last = row.Key
			}
		}
		if int64(len(rows)) < asked {
			return nil
		}
		next.learn(len(l.objects) + len(l.prefixes) - before)
		from.key = afterText(rows[len(rows)-1].Key)
		if n := len(l.prefixes); n > 0 && strings.HasPrefix(rows[len(rows)-1].Key, l.prefixes[n-1]) {
			from.key = max(from.key, afterPrefix(l.prefixes[n-1]))
		}
	}
}

// batch is how many rows the next query of a listing reads. Where folders are
// folded into prefixes, all but the first row of each is read for nothing,
// since the query after it goes on behind the folder: the fewer of a batch's
// rows were of use, the fewer the next one reads.
type batch struct{ rows, most int64 }

func newBatch(delimiter string, limit int64) *batch {
	b := &batch{most: min(limit+1, listBatch)}
	b.rows = b.most
	if delimiter != "" {
		b.rows = min(b.most, 16)
	}
	return b
}

// learn takes how many entries came of the last batch.
func (b *batch) learn(entries int) {
	if int64(entries) > b.rows/2 {
		b.rows = min(2*b.rows, b.most)
	} else {
		b.rows = min(max(b.rows/2, 2), b.most)
	}
}

// folds reports whether the page ends with a common prefix already.
func (l *listing) folds(prefix string) bool {
	return len(l.prefixes) > 0 && l.prefixes[len(l.prefixes)-1] == prefix
}

// commonPrefix is what a key is folded into: all up to the first delimiter
// after the prefix.
func commonPrefix(key, prefix, delimiter string) (string, bool) {
	if delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(prefix)+i+len(delimiter)], true
}

// start is where a page begins.
type start struct {
	key string // its first key is not before this one
	// skip is the common prefix that the page before ended with.
	skip string
}

// startAfter begins after a key, or after all that a common prefix folds.
func startAfter(marker, prefix, delimiter string) start {
	if marker == "" {
		return start{}
	}
	if strings.HasPrefix(marker, prefix) {
		if shared, ok := commonPrefix(marker, prefix, delimiter); ok && shared == marker {
			return start{afterPrefix(marker), marker}
		}
	}
	return start{key: afterText(marker)}
}

// shown is an entry in the shape of answers; b is nil where the owner is not to
// be shown.
func (e *entry) shown(code func(string) string, b *bucket) api.Object {
	out := api.Object{
		Key: code(e.Key), LastModified: &e.Modified, ETag: quoted(e.ETag), Size: &e.Size,
		StorageClass: e.StorageClass, ChecksumType: e.ChecksumType,
	}
	if b != nil {
		out.Owner = &api.Owner{ID: owner(b.ownerOf(e.Owner))}
	}
	if e.ChecksumAlgorithm != "" {
		out.ChecksumAlgorithm = []string{e.ChecksumAlgorithm}
	}
	return out
}

func shownPrefixes(prefixes []string, code func(string) string) []api.CommonPrefix {
	var out []api.CommonPrefix
	for _, p := range prefixes {
		out = append(out, api.CommonPrefix{Prefix: code(p)})
	}
	return out
}

func (s *Service) listObjectsV2Needs(ctx context.Context, c *call.Call, in *api.ListObjectsV2Input) ([]call.Need, error) {
	return s.listNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, "s3:ListBucket", in.Prefix, in.Delimiter, in.MaxKeys)
}

func (s *Service) listObjectsV2(ctx context.Context, c *call.Call, in *api.ListObjectsV2Input) (*api.ListObjectsV2Output, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys, maxKeys)
	if err != nil {
		return nil, err
	}
	code, err := coding(in.EncodingType)
	if err != nil {
		return nil, err
	}
	from := startAfter(in.StartAfter, in.Prefix, in.Delimiter)
	if in.ContinuationToken != "" {
		key, err := decodeToken(in.ContinuationToken)
		if err != nil {
			return nil, err
		}
		from = start{key: key}
	}
	l, err := s.list(ctx, b.Name, in.Prefix, in.Delimiter, from, limit)
	if err != nil {
		return nil, err
	}
	out := &api.ListObjectsV2Output{
		Name: b.Name, Prefix: code(in.Prefix), Delimiter: code(in.Delimiter), MaxKeys: &limit, EncodingType: in.EncodingType,
		StartAfter: code(in.StartAfter), ContinuationToken: in.ContinuationToken,
		KeyCount: new(int64(len(l.objects) + len(l.prefixes))), IsTruncated: new(l.next != ""),
		CommonPrefixes: shownPrefixes(l.prefixes, code),
	}
	if l.next != "" {
		out.NextContinuationToken = encodeToken(l.next)
	}
	shownOwner := b
	if !isTrue(in.FetchOwner) {
		shownOwner = nil
	}
	for i := range l.objects {
		out.Contents = append(out.Contents, l.objects[i].shown(code, shownOwner))
	}
	return out, nil
}

func (s *Service) listObjectsNeeds(ctx context.Context, c *call.Call, in *api.ListObjectsInput) ([]call.Need, error) {
	return s.listNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, "s3:ListBucket", in.Prefix, in.Delimiter, in.MaxKeys)
}

func (s *Service) listObjects(ctx context.Context, c *call.Call, in *api.ListObjectsInput) (*api.ListObjectsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys, maxKeys)
	if err != nil {
		return nil, err
	}
	code, err := coding(in.EncodingType)
	if err != nil {
		return nil, err
	}
	l, err := s.list(ctx, b.Name, in.Prefix, in.Delimiter, startAfter(in.Marker, in.Prefix, in.Delimiter), limit)
	if err != nil {
		return nil, err
	}
	out := &api.ListObjectsOutput{
		Name: b.Name, Prefix: code(in.Prefix), Delimiter: code(in.Delimiter), Marker: code(in.Marker), MaxKeys: &limit,
		EncodingType: in.EncodingType, IsTruncated: new(l.next != ""), CommonPrefixes: shownPrefixes(l.prefixes, code),
	}
	if l.next != "" && in.Delimiter != "" {
		out.NextMarker = code(l.last) // without a delimiter callers take the last key
	}
	for i := range l.objects {
		out.Contents = append(out.Contents, l.objects[i].shown(code, b))
	}
	return out, nil
}

func (s *Service) listObjectVersionsNeeds(ctx context.Context, c *call.Call, in *api.ListObjectVersionsInput) ([]call.Need, error) {
	return s.listNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, "s3:ListBucketVersions", in.Prefix, in.Delimiter, in.MaxKeys)
}

// versionEntry is a row of a listing of versions.
type versionEntry struct {
	entry
	Version string `db:"version"`
	Seq     int64  `db:"seq"`
	Latest  bool   `db:"latest"`
	Marker  bool   `db:"marker"`
}

func (s *Service) listObjectVersions(ctx context.Context, c *call.Call, in *api.ListObjectVersionsInput) (*api.ListObjectVersionsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys, maxKeys)
	if err != nil {
		return nil, err
	}
	code, err := coding(in.EncodingType)
	if err != nil {
		return nil, err
	}
	if in.VersionIdMarker != "" && in.KeyMarker == "" {
		return nil, errInvalidArgument("version-id-marker", in.VersionIdMarker, "A version-id marker cannot be specified without a key marker.")
	}
	if err := checkVersion(in.VersionIdMarker); err != nil {
		return nil, err
	}
	v, err := s.listVersions(ctx, b.Name, in, limit)
	if err != nil {
		return nil, err
	}
	out := &api.ListObjectVersionsOutput{
		Name: b.Name, Prefix: code(in.Prefix), Delimiter: code(in.Delimiter), MaxKeys: &limit, EncodingType: in.EncodingType,
		KeyMarker: code(in.KeyMarker), VersionIdMarker: in.VersionIdMarker, IsTruncated: &v.truncated,
		CommonPrefixes: shownPrefixes(v.prefixes, code),
	}
	if v.truncated {
		out.NextKeyMarker, out.NextVersionIdMarker = code(v.lastKey), v.lastVersion
	}
	for i := range v.rows {
		v.rows[i].show(out, code, b)
	}
	return out, nil
}

func (e *versionEntry) show(out *api.ListObjectVersionsOutput, code func(string) string, b *bucket) {
	object := e.entry.shown(code, b)
	if e.Marker {
		out.DeleteMarkers = append(out.DeleteMarkers, api.DeleteMarkerEntry{
			Key: code(e.Key), VersionId: e.Version, IsLatest: &e.Latest, LastModified: &e.Modified, Owner: object.Owner,
		})
		return
	}
	out.Versions = append(out.Versions, api.ObjectVersion{
		Key: object.Key, VersionId: e.Version, IsLatest: &e.Latest, LastModified: object.LastModified, ETag: object.ETag,
		Size: object.Size, StorageClass: object.StorageClass, Owner: object.Owner,
		ChecksumAlgorithm: object.ChecksumAlgorithm, ChecksumType: object.ChecksumType,
	})
}

// versionListing is a page of versions, newest first within a key.
type versionListing struct {
	rows                 []versionEntry
	prefixes             []string
	truncated            bool
	lastKey, lastVersion string
}

func (s *Service) listVersions(ctx context.Context, bucket string, in *api.ListObjectVersionsInput, limit int64) (*versionListing, error) {
	v := &versionListing{}
	if limit == 0 || !storable(in.Prefix) || !storable(in.Delimiter) || !storable(in.KeyMarker) {
		return v, nil
	}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		*v = versionListing{}
		from, below := startAfter(in.KeyMarker, in.Prefix, in.Delimiter), int64(0)
		if in.VersionIdMarker != "" {
			seq, err := state.List[int64](ctx, tx, `SELECT seq FROM s3_object WHERE bucket = $1 AND key = $2 AND version = $3`,
				bucket, in.KeyMarker, in.VersionIdMarker)
			if err != nil {
				return err
			}
			if len(seq) == 1 {
				from, below = start{key: in.KeyMarker}, seq[0]
			}
		}
		if from.key < in.Prefix {
			from, below = start{key: in.Prefix}, 0
		}
		return v.fill(ctx, tx, bucket, in.Prefix, in.Delimiter, from, below, limit)
	})
	return v, err
}

// fill reads versions from a key on; where below is not 0, only that key's
// versions older than it.
func (v *versionListing) fill(ctx context.Context, tx *state.Tx, bucket, prefix, delimiter string, from start, below, limit int64) error {
	next := newBatch(delimiter, listBatch)
	for {
		asked, before := next.rows, len(v.rows)+len(v.prefixes)
		rows, err := state.List[versionEntry](ctx, tx, `SELECT key, version, seq, latest, marker, modified, size, etag, storage_class, owner,
				checksum_algorithm, checksum_type, sum
			FROM s3_object WHERE bucket = $1 AND key >= $2 AND (key > $2 OR $3 = 0 OR seq < $3)
			ORDER BY key, seq DESC LIMIT $4`, bucket, from.key, below, asked)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if !strings.HasPrefix(row.Key, prefix) {
				return nil
			}
			shared, folded := commonPrefix(row.Key, prefix, delimiter)
			if folded && (shared == from.skip || len(v.prefixes) > 0 && v.prefixes[len(v.prefixes)-1] == shared) {
				continue
			}
			if int64(len(v.rows)+len(v.prefixes)) == limit {
				v.truncated = true
				return nil
			}
			if folded {
				v.prefixes = append(v.prefixes, shared)
				v.lastKey, v.lastVersion = shared, ""
			} else {
				if err := row.check(); err != nil {
					return err
				}
				v.rows = append(v.rows, row)
				v.lastKey, v.lastVersion = row.Key, row.Version
			}
		}
		if int64(len(rows)) < asked {
			return nil
		}
		next.learn(len(v.rows) + len(v.prefixes) - before)
		last := rows[len(rows)-1]
		from.key, below = last.Key, last.Seq
		if n := len(v.prefixes); n > 0 && strings.HasPrefix(last.Key, v.prefixes[n-1]) {
			from.key, below = max(afterText(last.Key), afterPrefix(v.prefixes[n-1])), 0
		}
	}
}
