package s3

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

const maxObjectTags = 10

// objectTags checks an object's tags and returns them as they are stored.
func objectTags(tags []api.Tag) (string, error) {
	if len(tags) > maxObjectTags {
		return "", aws.Errorf("BadRequest", "Object tags cannot be greater than %d", maxObjectTags).WithStatus(400)
	}
	return storeTags(tags)
}

func storeTags(tags []api.Tag) (string, error) {
	if len(tags) == 0 {
		return "", nil
	}
	stored := make([]aws.Tag, 0, len(tags))
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > 128 || !storable(t.Key):
			return "", aws.Errorf("InvalidTag", "The TagKey you have provided is invalid").WithStatus(400).With("TagKey", t.Key)
		case utf8.RuneCountInString(t.Value) > 256 || !storable(t.Value):
			return "", aws.Errorf("InvalidTag", "The TagValue you have provided is invalid").WithStatus(400).With("TagKey", t.Key).With("TagValue", t.Value)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return "", aws.Errorf("InvalidTag", "System tags cannot be added/updated by requester").WithStatus(400)
		case seen[t.Key]:
			return "", aws.Errorf("InvalidTag", "Cannot provide multiple Tags with the same key").WithStatus(400).With("TagKey", t.Key)
		}
		seen[t.Key] = true
		stored = append(stored, aws.Tag{Key: t.Key, Value: t.Value})
	}
	return encode(stored), nil
}

func loadTags(stored string) ([]api.Tag, error) {
	var tags []aws.Tag
	if err := decode(stored, &tags); err != nil {
		return nil, err
	}
	out := make([]api.Tag, 0, len(tags))
	for _, t := range tags {
		out = append(out, api.Tag{Key: t.Key, Value: t.Value})
	}
	return out, nil
}

// headerTags reads x-amz-tagging, which is written like a query, and returns
// the tags as they are stored.
func headerTags(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	var tags []api.Tag
	for pair := range strings.SplitSeq(header, "&") {
		k, v, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err != nil || err2 != nil || key == "" {
			return "", errInvalidArgument("x-amz-tagging", header, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
		}
		tags = append(tags, api.Tag{Key: key, Value: value})
	}
	return objectTags(tags)
}

// addRequestTagKeys sets the condition keys that tags of a request make.
func addRequestTagKeys(keys policy.Keys, stored string) error {
	if err := addTagKeys(keys, "s3:requestobjecttag/", stored); err != nil {
		return err
	}
	tags, err := loadTags(stored)
	if err != nil {
		return err
	}
	for _, t := range tags {
		keys["s3:requestobjecttagkeys"] = append(keys["s3:requestobjecttagkeys"], t.Key)
	}
	return nil
}

func (s *Service) getObjectTaggingNeeds(ctx context.Context, c *call.Call, in *api.GetObjectTaggingInput) ([]call.Need, error) {
	return s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:GetObjectTagging", "s3:GetObjectVersionTagging"))
}

// storedNeeds asks for one action on an object that may exist.
func (s *Service) storedNeeds(ctx context.Context, c *call.Call, bucket, expectedOwner, key, version, action string) ([]call.Need, error) {
	t, err := s.target(ctx, c, bucket, expectedOwner)
	if err != nil {
		return nil, err
	}
	n, err := s.stored(ctx, t, action, key, version)
	return []call.Need{n}, err
}

func (s *Service) getObjectTagging(ctx context.Context, c *call.Call, in *api.GetObjectTaggingInput) (*api.GetObjectTaggingOutput, error) {
	b, o, err := s.existing(ctx, c, "GET", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	tags, err := loadTags(o.Tags)
	return &api.GetObjectTaggingOutput{TagSet: tags, VersionId: shownVersion(b, o)}, err
}

func (s *Service) putObjectTaggingNeeds(ctx context.Context, c *call.Call, in *api.PutObjectTaggingInput) ([]call.Need, error) {
	needs, err := s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:PutObjectTagging", "s3:PutObjectVersionTagging"))
	if err != nil {
		return nil, err
	}
	if in.Tagging != nil {
		tags, err := objectTags(in.Tagging.TagSet)
		if err != nil {
			return nil, err
		}
		if err := addRequestTagKeys(needs[0].Keys, tags); err != nil {
			return nil, err
		}
	}
	return needs, nil
}

func (s *Service) putObjectTagging(ctx context.Context, c *call.Call, in *api.PutObjectTaggingInput) (*api.PutObjectTaggingOutput, error) {
	b, o, err := s.existing(ctx, c, "PUT", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if in.Tagging == nil {
		return nil, errMalformedXML()
	}
	tags, err := objectTags(in.Tagging.TagSet)
	if err != nil {
		return nil, err
	}
	if err := s.setTags(ctx, c, b, o, tags, objectTagsAdded); err != nil {
		return nil, err
	}
	return &api.PutObjectTaggingOutput{VersionId: shownVersion(b, o)}, nil
}

func (s *Service) deleteObjectTaggingNeeds(ctx context.Context, c *call.Call, in *api.DeleteObjectTaggingInput) ([]call.Need, error) {
	return s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"))
}

func (s *Service) deleteObjectTagging(ctx context.Context, c *call.Call, in *api.DeleteObjectTaggingInput) (*api.DeleteObjectTaggingOutput, error) {
	b, o, err := s.existing(ctx, c, "DELETE", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if err := s.setTags(ctx, c, b, o, "", objectTagsDeleted); err != nil {
		return nil, err
	}
	return &api.DeleteObjectTaggingOutput{VersionId: shownVersion(b, o)}, nil
}

// setTags replaces the tags of a version, unless it was replaced meanwhile,
// and tells of it by an event.
func (s *Service) setTags(ctx context.Context, c *call.Call, b *bucket, o *object, tags, event string) error {
	return s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		if err := o.revise(ctx, tx, func(now *object) { now.Tags = tags }); err != nil {
			return err
		}
		return s.tagged(ctx, tx, c, now, o, event)
	})
}

// revise changes the tags or the access control list of a version, unless the
// version was replaced meanwhile.
func (o *object) revise(ctx context.Context, tx *state.Tx, change func(now *object)) error {
	now, err := findObject(ctx, tx, o.Bucket, o.Key, o.Version)
	if errors.Is(err, state.ErrNotFound) || err == nil && now.Seq != o.Seq {
		return errNoSuchKey(o.Key)
	}
	if err != nil {
		return err
	}
	change(now)
	_, err = tx.Exec(ctx, `UPDATE s3_object SET tags = $1, acl = $2, sum = $3 WHERE bucket = $4 AND key = $5 AND version = $6`,
		now.Tags, now.ACL, now.sum(), o.Bucket, o.Key, o.Version)
	return err
}

// shownVersion is the version id that an answer carries: none in a bucket that
// never had versioning.
func shownVersion(b *bucket, o *object) string {
	if b.Versioning == "" && o.Version == nullVersion {
		return ""
	}
	return o.Version
}

// existing returns an object that has to be there and be no delete marker.
// Who may not list the bucket does not learn that it is not.
func (s *Service) existing(ctx context.Context, c *call.Call, method, bucketName, key, version string) (*bucket, *object, error) {
	if err := checkVersion(version); err != nil {
		return nil, nil, err
	}
	b, err := s.bucket(ctx, bucketName)
	if err != nil {
		return nil, nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, nil, err
	}
	var o *object
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		o, err = findObject(ctx, tx, b.Name, key, version)
		return err
	})
	switch {
	case errors.Is(err, state.ErrNotFound) && version == "":
		return nil, nil, s.missing(ctx, c, b, errNoSuchKey(key))
	case errors.Is(err, state.ErrNotFound):
		return nil, nil, s.missing(ctx, c, b, errNoSuchVersion(key, version))
	case err != nil:
		return nil, nil, err
	case o.Marker:
		return nil, nil, s.missing(ctx, c, b, errMarker(o, method, version))
	}
	return b, o, nil
}

// errMarker is the answer where a delete marker is found.
func errMarker(o *object, method, version string) *aws.Error {
	if version == "" {
		e := withHeader(errNoSuchKey(o.Key), "x-amz-delete-marker", "true")
		return withHeader(e, "x-amz-version-id", o.Version)
	}
	e := aws.Errorf("MethodNotAllowed", "The specified method is not allowed against this resource.").WithStatus(405).
		With("Method", method).With("ResourceType", "DeleteMarker")
	e = withHeader(e, "Allow", "DELETE")
	e = withHeader(e, "x-amz-delete-marker", "true")
	return withHeader(e, "Last-Modified", httpTime(o.Modified))
}
