package s3

import (
	"cmp"
	"context"
	"errors"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

func (s *Service) deleteObjectNeeds(ctx context.Context, c *call.Call, in *api.DeleteObjectInput) ([]call.Need, error) {
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	d := deletion{key: in.Key, version: in.VersionId, match: in.IfMatch}
	needs := d.needs(t, isTrue(in.BypassGovernanceRetention))
	return needs, s.ownDeletion(ctx, t, &d, needs)
}

// ownDeletion lets a caller whom the bucket's access control list lets write
// delete the objects that are his account's.
func (s *Service) ownDeletion(ctx context.Context, t *target, d *deletion, needs []call.Need) error {
	if t.bucket == nil || d.version != "" {
		return nil
	}
	may := t.granted(t.acl, aclWrite)
	if may == policy.NoGrantee {
		return nil
	}
	o, err := s.lookup(ctx, t, d.key, "")
	if err == nil && o != nil && t.bucket.ownerOf(o.Owner) == t.call.Account() {
		needs[0].ACL = may
	}
	return err
}

// needs returns the permissions of a deletion. What tags the object has counts
// for nothing, as on AWS; an entity tag to compare with takes leave to read.
func (d *deletion) needs(t *target, bypass bool) []call.Need {
	keys := func() policy.Keys {
		k := policy.Keys{}
		if d.version != "" {
			k["s3:versionid"] = []string{d.version}
		}
		if d.match != "" {
			k["s3:if-match"] = []string{d.match}
		}
		return k
	}
	needs := []call.Need{t.in(versioned(d.version, "s3:DeleteObject", "s3:DeleteObjectVersion"), d.key, keys())}
	if bypass {
		needs = append(needs, t.in("s3:BypassGovernanceRetention", d.key, keys()))
	}
	if d.match != "" && d.match != "*" {
		needs = append(needs, t.in(versioned(d.version, "s3:GetObject", "s3:GetObjectVersion"), d.key, keys()))
	}
	return needs
}

func (s *Service) deleteObject(ctx context.Context, c *call.Call, in *api.DeleteObjectInput) (*api.DeleteObjectOutput, error) {
	if in.MFA != "" {
		return nil, errHeaderNotImplemented("x-amz-mfa")
	}
	if in.IfMatchLastModifiedTime != nil || in.IfMatchSize != nil {
		return nil, errHeaderNotImplemented("x-amz-if-match-size") // directory buckets have them
	}
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	d := deletion{
		key: in.Key, version: in.VersionId, match: in.IfMatch, marker: aws.RandomText(32, aws.Alnum),
		bypass: isTrue(in.BypassGovernanceRetention), now: c.Time,
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	var done deleted
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) (err error) {
		if done, err = d.do(ctx, tx, now, stamp(c)); err != nil {
			return err
		}
		return s.deleted(ctx, tx, now, because(c, "DeleteObject"), d.key, done)
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteObjectOutput{DeleteMarker: onlyTrue(done.marker), VersionId: done.version}, nil
}

// deletion is one object or version to be deleted.
type deletion struct {
	key, version string
	match        string // If-Match
	marker       string // the version id that a delete marker takes
	bypass       bool   // a retention in governance mode counts for nothing
	now          time.Time
}

func (d *deletion) check() error {
	if err := checkKey(d.key); err != nil {
		return err
	}
	return checkVersion(d.version)
}

// deleted is what became of a deletion: the version that is gone or the
// marker that was made.
type deleted struct {
	version string
	marker  bool // a delete marker was made, or was what is gone
	made    bool
	gone    *object // the version that is no more; nil when there was none
}

// do deletes: a version for good, or the object by putting a delete marker on
// top of its versions. To delete what is not there is no error.
func (d *deletion) do(ctx context.Context, tx *state.Tx, b *bucket, at time.Time) (deleted, error) {
	if d.match != "" {
		if err := d.mustMatch(ctx, tx, b); err != nil {
			return deleted{}, err
		}
	}
	if d.version == "" && b.Versioning != "" {
		marker := &object{Bucket: b.Name, Key: d.key, Marker: true, Modified: at}
		err := replaceNewest(ctx, tx, b, marker, d.marker, conditions{}, at)
		return deleted{version: marker.Version, marker: true, made: true}, err
	}
	version := d.version
	if version == "" {
		version = nullVersion
	}
	gone, err := findObject(ctx, tx, b.Name, d.key, version)
	if errors.Is(err, state.ErrNotFound) {
		return deleted{version: d.version}, nil
	}
	if err != nil && !errors.Is(err, errDamaged) {
		return deleted{}, err
	}
	if err := d.mayGo(ctx, tx, b, version); err != nil {
		return deleted{}, err
	}
	if err := removeVersion(ctx, tx, b, d.key, version, at); err != nil {
		return deleted{}, err
	}
	err = nil // a damaged version is gone now
	if gone.Latest {
		_, err = tx.Exec(ctx, `UPDATE s3_object SET latest = 1 WHERE bucket = $1 AND key = $2
			AND seq = (SELECT MAX(seq) FROM s3_object WHERE bucket = $1 AND key = $2)`, b.Name, d.key)
	}
	return deleted{version: d.version, marker: gone.Marker, gone: gone}, err
}

// mustMatch is If-Match: there is an object, and it has the entity tag.
func (d *deletion) mustMatch(ctx context.Context, tx *state.Tx, b *bucket) error {
	o, err := findObject(ctx, tx, b.Name, d.key, d.version)
	if errors.Is(err, state.ErrNotFound) || err == nil && o.Marker {
		return errNoSuchKey(d.key)
	}
	if err != nil {
		return err
	}
	if !matches(d.match, o.ETag) {
		return errPreconditionFailed("If-Match")
	}
	return nil
}

const maxDeletions = 1000

// deleteObjects deletes many objects, each if the caller may delete it. What
// fails is listed; the rest is done, in one transaction.
func (s *Service) deleteObjects(ctx context.Context, c *call.Call, in *api.DeleteObjectsInput) (*api.DeleteObjectsOutput, error) {
	if in.MFA != "" {
		return nil, errHeaderNotImplemented("x-amz-mfa")
	}
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if in.Delete == nil || len(in.Delete.Objects) == 0 || len(in.Delete.Objects) > maxDeletions {
		return nil, errMalformedXML()
	}
	out := &api.DeleteObjectsOutput{}
	allowed, err := s.allowedDeletions(ctx, c, t, in, out)
	if err != nil {
		return nil, err
	}
	if t.bucket == nil {
		return nil, s.noBucket(out, in)
	}
	if len(allowed) == 0 {
		return out, nil
	}
	var done []api.DeletedObject
	var failed []api.Error
	err = s.change(ctx, t.bucket, func(tx *state.Tx, now *bucket) error {
		done, failed = nil, nil
		for _, d := range allowed {
			r, err := d.do(ctx, tx, now, stamp(c))
			if e, refused := errors.AsType[*aws.Error](err); refused {
				failed = append(failed, failedDeletion(d.key, d.version, e))
				continue
			}
			if err == nil {
				err = s.deleted(ctx, tx, now, because(c, "DeleteObject"), d.key, r)
			}
			if err != nil {
				return err
			}
			done = append(done, shownDeletion(d, r))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.Errors = append(out.Errors, failed...)
	if !isTrue(in.Delete.Quiet) {
		out.Deleted = done
	}
	return out, nil
}

// noBucket is the answer for a bucket that does not exist: those who may not
// delete in it are refused, key by key, and do not learn that.
func (s *Service) noBucket(out *api.DeleteObjectsOutput, in *api.DeleteObjectsInput) error {
	if len(out.Errors) == len(in.Delete.Objects) {
		return errAccessDenied()
	}
	return errNoSuchBucket(in.Bucket)
}

// allowedDeletions asks for each key and lists the refusals in out.
func (s *Service) allowedDeletions(ctx context.Context, c *call.Call, t *target, in *api.DeleteObjectsInput, out *api.DeleteObjectsOutput) ([]*deletion, error) {
	var allowed []*deletion
	for _, one := range in.Delete.Objects {
		d := &deletion{
			key: one.Key, version: one.VersionId, match: one.ETag, marker: aws.RandomText(32, aws.Alnum),
			bypass: isTrue(in.BypassGovernanceRetention), now: c.Time,
		}
		err := d.check()
		if err == nil && (one.LastModifiedTime != nil || one.Size != nil) {
			err = errNotImplemented("Conditions on size and time are not implemented")
		}
		if err == nil {
			needs := d.needs(t, isTrue(in.BypassGovernanceRetention))
			if err := s.ownDeletion(ctx, t, d, needs); err != nil {
				return nil, err
			}
			for _, n := range needs {
				err = cmp.Or(err, c.Allowed(ctx, n))
			}
		}
		if e, refused := errors.AsType[*aws.Error](err); refused {
			out.Errors = append(out.Errors, failedDeletion(d.key, d.version, e))
			continue
		}
		if err != nil {
			return nil, err
		}
		allowed = append(allowed, d)
	}
	return allowed, nil
}

func failedDeletion(key, version string, e *aws.Error) api.Error {
	return api.Error{Key: key, VersionId: version, Code: e.Code, Message: e.Message}
}

func shownDeletion(d *deletion, r deleted) api.DeletedObject {
	o := api.DeletedObject{Key: d.key, VersionId: d.version}
	if r.marker {
		o.DeleteMarker = new(true)
		o.DeleteMarkerVersionId = r.version
	}
	return o
}
