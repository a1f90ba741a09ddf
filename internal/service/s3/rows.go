package s3

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the tables of S3.
func Schema() state.Schema { return state.Schema{Name: "s3", Migrations: migrations} }

// bucket is a row of s3_bucket.
type bucket struct {
	Name         string    `db:"name"`
	Account      string    `db:"account"`
	Region       string    `db:"region"`
	Created      time.Time `db:"created"`
	Versioning   string    `db:"versioning"`
	Policy       string    `db:"policy"`
	PolicyID     string    `db:"policy_id"`
	Ownership    string    `db:"ownership"`
	Encryption   string    `db:"encryption"`
	PublicAccess string    `db:"public_access"`
	Tags         string    `db:"tags"`
	ACL          string    `db:"acl"`
	Config       string    `db:"config"`
}

const bucketColumns = `name, account, region, created, versioning, policy, policy_id, ownership, encryption, public_access, tags, acl, config`

// is reports whether two rows are of the same bucket: a name can be given up
// and taken again.
func (b *bucket) is(other *bucket) bool {
	return b.Account == other.Account && b.Created.Equal(other.Created)
}

// findBucket returns a bucket's row, or NoSuchBucket.
func findBucket(ctx context.Context, tx *state.Tx, name string) (*bucket, error) {
	b, err := state.Get[bucket](ctx, tx, `SELECT `+bucketColumns+` FROM s3_bucket WHERE name = $1`, name)
	if errors.Is(err, state.ErrNotFound) {
		return nil, errNoSuchBucket(name)
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return &b, nil
}

// bucket reads one bucket's row.
func (s *Service) bucket(ctx context.Context, name string) (*bucket, error) {
	if !storable(name) {
		return nil, errNoSuchBucket(name)
	}
	var b *bucket
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		b, err = findBucket(ctx, tx, name)
		return err
	})
	return b, err
}

// envelope says how a body is encrypted.
type envelope struct {
	SSE       string `db:"sse"`
	KMSKey    string `db:"kms_key"`
	SealedKey []byte `db:"sealed_key"`
	Context   string `db:"sse_context"`
	BucketKey bool   `db:"bucket_key"`
}

// object is a row of s3_object: a version of an object, or a delete marker.
type object struct {
	Bucket            string    `db:"bucket"`
	Key               string    `db:"key"`
	Version           string    `db:"version"`
	Seq               int64     `db:"seq"`
	Latest            bool      `db:"latest"`
	Marker            bool      `db:"marker"`
	Modified          time.Time `db:"modified"`
	Size              int64     `db:"size"`
	ETag              string    `db:"etag"`
	Body              string    `db:"body"`
	Parts             int64     `db:"parts"`
	StorageClass      string    `db:"storage_class"`
	ChecksumAlgorithm string    `db:"checksum_algorithm"`
	ChecksumType      string    `db:"checksum_type"`
	Checksum          string    `db:"checksum"`
	Detail            string    `db:"detail"`
	Tags              string    `db:"tags"`
	Owner             string    `db:"owner"` // account; '' is the bucket's
	ACL               string    `db:"acl"`
	Sum               int64     `db:"sum"` // see rowSum
	envelope
}

const objectColumns = `bucket, key, version, seq, latest, marker, modified, size, etag, body, parts, storage_class,
	checksum_algorithm, checksum_type, checksum, detail, tags, owner, acl, sse, kms_key, sealed_key, sse_context, bucket_key, sum`

// findObject returns a version of an object, or the newest one where version
// is empty; state.ErrNotFound when there is none. A row that was altered is
// returned along with errDamaged.
func findObject(ctx context.Context, tx *state.Tx, bucket, key, version string) (*object, error) {
	var o object
	var err error
	if version == "" {
		o, err = state.Get[object](ctx, tx, `SELECT `+objectColumns+` FROM s3_object
			WHERE bucket = $1 AND key = $2 AND latest = 1`, bucket, key)
	} else {
		o, err = state.Get[object](ctx, tx, `SELECT `+objectColumns+` FROM s3_object
			WHERE bucket = $1 AND key = $2 AND version = $3`, bucket, key, version)
	}
	if err != nil {
		return nil, err
	}
	return &o, o.check()
}

// insert writes a version's row.
func (o *object) insert(ctx context.Context, tx *state.Tx) error {
	sealed := o.SealedKey
	if sealed == nil {
		sealed = []byte{}
	}
	_, err := tx.Exec(ctx, `INSERT INTO s3_object (`+objectColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)`,
		o.Bucket, o.Key, o.Version, o.Seq, o.Latest, o.Marker, o.Modified, o.Size, o.ETag, o.Body, o.Parts, o.StorageClass,
		o.ChecksumAlgorithm, o.ChecksumType, o.Checksum, o.Detail, o.Tags, o.Owner, o.ACL, o.SSE, o.KMSKey, sealed, o.Context, o.BucketKey, o.sum())
	return err
}

// detail is what an object carries about its body: the headers it was sent
// with and the caller's own metadata.
type detail struct {
	CacheControl       string            `json:",omitempty"`
	ContentDisposition string            `json:",omitempty"`
	ContentEncoding    string            `json:",omitempty"`
	ContentLanguage    string            `json:",omitempty"`
	ContentType        string            `json:",omitempty"`
	Expires            string            `json:",omitempty"`
	WebsiteRedirect    string            `json:",omitempty"`
	Metadata           map[string]string `json:",omitempty"`
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only strings and maps of them are stored this way
	}
	return string(b)
}

// decode reads what encode wrote; the empty text leaves v as it is.
func decode(text string, v any) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fmt.Errorf("stored JSON: %w", err)
	}
	return nil
}

// kept is an encrypted body: in the blob store under its name, or in bytes
// when it is small.
type kept struct {
	name  string
	bytes []byte
}

// keep records that a row names a body.
func (k kept) keep(ctx context.Context, tx *state.Tx) error {
	var bytes any // NULL, and not an empty text, where the blob store has them
	if k.bytes != nil {
		bytes = k.bytes
	}
	_, err := tx.Exec(ctx, `INSERT INTO s3_blob (name, due, bytes) VALUES ($1, 0, $2)`, k.name, bytes)
	return err
}

const (
	// blobGrace is how long a body outlives its object, so that answers under
	// way can open it.
	blobGrace = time.Minute
	// partsGrace is the same for bodies in parts, which are opened one by one
	// while they are read.
	partsGrace = time.Hour
)

// releaseBody lets go of an object's body.
func releaseBody(ctx context.Context, tx *state.Tx, o *object, now time.Time) error {
	if o.Body == "" {
		return nil
	}
	if o.Parts > 0 {
		return releaseParts(ctx, tx, o.Body, now)
	}
	return releaseBlob(ctx, tx, blobArea+o.Body, now.Add(blobGrace))
}

// releaseParts lets go of all parts of an upload or of the object it became.
func releaseParts(ctx context.Context, tx *state.Tx, upload string, now time.Time) error {
	due := now.Add(partsGrace)
	if _, err := tx.Exec(ctx, `UPDATE s3_blob SET due = $1 WHERE name IN (SELECT blob FROM s3_part WHERE upload = $2)`,
		due, upload); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM s3_part WHERE upload = $1`, upload); err != nil {
		return err
	}
	return collectAt(ctx, tx, due)
}

func releaseBlob(ctx context.Context, tx *state.Tx, name string, due time.Time) error {
	if _, err := tx.Exec(ctx, `UPDATE s3_blob SET due = $1 WHERE name = $2`, due, name); err != nil {
		return err
	}
	return collectAt(ctx, tx, due)
}

// collectAt has blobs removed that are due at a time.
func collectAt(ctx context.Context, tx *state.Tx, due time.Time) error {
	return job.Enqueue(ctx, tx, job.New{Kind: collectJob, Key: "all", RunAt: due})
}
