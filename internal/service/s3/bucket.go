package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// legacyRegion is the region whose endpoint takes buckets for all others, and
// which has no location constraint.
const legacyRegion = "us-east-1"

// update runs fn in a transaction. Two that take the same name, version or part
// at once may meet in a unique index before the database sees the conflict;
// the one that lost looks again.
func (s *Service) update(ctx context.Context, fn func(tx *state.Tx) error) error {
	for try := 0; ; try++ {
		err := s.db.Update(ctx, fn)
		if !state.IsUnique(err) || try == maxTries {
			return err
		}
	}
}

const maxTries = 50

// change runs fn in a transaction on a bucket that is still the one that was
// looked at; now is its row at this moment.
func (s *Service) change(ctx context.Context, b *bucket, fn func(tx *state.Tx, now *bucket) error) error {
	return s.update(ctx, func(tx *state.Tx) error {
		now, err := findBucket(ctx, tx, b.Name)
		if err != nil {
			return err
		}
		if !now.is(b) {
			return errNoSuchBucket(b.Name)
		}
		return fn(tx, now)
	})
}

// createBucketNeeds asks for what the headers of the request ask for. The
// bucket may be somebody else's: the need is judged as if it were the
// caller's, and the handler says whose it is.
func (s *Service) createBucketNeeds(ctx context.Context, c *call.Call, in *api.CreateBucketInput) ([]call.Need, error) {
	t := &target{name: in.Bucket}
	acl := &aclRequest{canned: in.ACL, grants: grantHeaders(in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWrite, in.GrantWriteACP)}
	keys := func() policy.Keys {
		k := policy.Keys{}
		if in.CreateBucketConfiguration != nil && in.CreateBucketConfiguration.LocationConstraint != "" {
			k["s3:locationconstraint"] = []string{in.CreateBucketConfiguration.LocationConstraint}
		}
		addACLKeys(k, acl)
		if in.ObjectOwnership != "" {
			k["s3:x-amz-object-ownership"] = []string{in.ObjectOwnership}
		}
		if in.CreateBucketConfiguration != nil {
			for _, tag := range in.CreateBucketConfiguration.Tags {
				k.AddRequestTag(tag.Key, tag.Value)
			}
		}
		return k
	}
	needs := []call.Need{t.on("s3:CreateBucket", keys())}
	if in.ACL != "" && in.ACL != aclPrivate || len(acl.grants) > 0 {
		needs = append(needs, t.on("s3:PutBucketAcl", keys()))
	}
	if in.ObjectOwnership != "" {
		needs = append(needs, t.on("s3:PutBucketOwnershipControls", keys()))
	}
	if isTrue(in.ObjectLockEnabledForBucket) {
		needs = append(needs, t.on("s3:PutBucketObjectLockConfiguration", keys()), t.on("s3:PutBucketVersioning", keys()))
	}
	if cfg := in.CreateBucketConfiguration; cfg != nil && len(cfg.Tags) > 0 {
		needs = append(needs, t.on("s3:TagResource", keys()))
	}
	return needs, nil
}

// createBucket takes a name for an account. To create one's own bucket again
// is an error everywhere but in us-east-1.
func (s *Service) createBucket(ctx context.Context, c *call.Call, in *api.CreateBucketInput) (*api.CreateBucketOutput, error) {
	if err := checkBucketName(in.Bucket); err != nil {
		return nil, err
	}
	region, err := regionFor(c.Region, in.CreateBucketConfiguration)
	if err != nil {
		return nil, err
	}
	if err := checkNewBucket(in); err != nil {
		return nil, err
	}
	b, err := newBucket(c, in, region)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx *state.Tx) error {
		there, err := findBucket(ctx, tx, b.Name)
		if err == nil {
			return createdAgain(c, there, region)
		}
		if _, absent := errors.AsType[*aws.Error](err); !absent {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO s3_bucket (`+bucketColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			b.Name, b.Account, b.Region, b.Created, b.Versioning, b.Policy, b.PolicyID, b.Ownership, b.Encryption, b.PublicAccess, b.Tags, b.ACL, b.Config)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.CreateBucketOutput{Location: locationOf(b)}, nil
}

// createdAgain is the answer for a name that is taken.
func createdAgain(c *call.Call, there *bucket, region string) error {
	switch {
	case there.Account != c.Account():
		return aws.Errorf("BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.").
			WithStatus(409).With("BucketName", there.Name)
	case there.Region == legacyRegion && region == legacyRegion:
		return nil
	}
	return aws.Errorf("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.").
		WithStatus(409).With("BucketName", there.Name)
}

// regionFor returns where a bucket is created by a request to an endpoint.
func regionFor(endpoint string, cfg *api.CreateBucketConfiguration) (string, error) {
	if endpoint == "" {
		endpoint = legacyRegion
	}
	asked := ""
	if cfg != nil {
		asked = cfg.LocationConstraint
	}
	switch {
	case asked == "" && endpoint == legacyRegion:
		return legacyRegion, nil
	case asked == "":
		return "", errLocation("The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
	case asked == "EU":
		asked = "eu-west-1"
	case asked == legacyRegion || !aws.IsRegion(asked):
		return "", aws.Errorf("InvalidLocationConstraint", "The specified location-constraint is not valid").
			WithStatus(400).With("LocationConstraint", asked)
	}
	if asked != endpoint && endpoint != legacyRegion {
		return "", errLocation("The " + asked + " location constraint is incompatible for the region specific endpoint this request was sent to.")
	}
	return asked, nil
}

func errLocation(message string) error {
	return aws.Errorf("IllegalLocationConstraintException", "%s", message).WithStatus(400)
}

// checkNewBucket refuses what a new bucket cannot be.
func checkNewBucket(in *api.CreateBucketInput) error {
	if in.BucketNamespace != "" && in.BucketNamespace != "global" {
		return errHeaderNotImplemented("x-amz-bucket-namespace")
	}
	if cfg := in.CreateBucketConfiguration; cfg != nil && (cfg.Location != nil || cfg.Bucket != nil) {
		return errNotImplemented("Directory buckets are not implemented")
	}
	return checkOwnership(in.ObjectOwnership, true)
}

// newBucket is a bucket as AWS makes them: private, encrypted with SSE-S3 and
// closed to customers' keys,
// ACLs off unless the request turns them on.
func newBucket(c *call.Call, in *api.CreateBucketInput, region string) (*bucket, error) {
	b := &bucket{
		Name:         in.Bucket,
		Account:      c.Account(),
		Region:       region,
		Created:      state.Time(state.Millis(c.Time)),
		Ownership:    ownerEnforced,
		Encryption:   encode(encryption{Algorithm: sseS3, Blocked: []string{sseCustomer}}),
		PublicAccess: encode(publicAccess{true, true, true, true}),
	}
	if in.ObjectOwnership != "" {
		b.Ownership = in.ObjectOwnership
	}
	var err error
	if b.ACL, err = newBucketACL(in, b.Account); err != nil {
		return nil, err
	}
	if isTrue(in.ObjectLockEnabledForBucket) {
		b.Versioning, b.Config = versioningEnabled, (&config{Lock: &lockConfig{}}).stored()
	}
	if cfg := in.CreateBucketConfiguration; cfg != nil {
		tags, err := bucketTags(cfg.Tags)
		if err != nil {
			return nil, err
		}
		b.Tags = tags
	}
	return b, nil
}

// locationOf is the Location header of CreateBucket.
func locationOf(b *bucket) string {
	if b.Region == legacyRegion {
		return "/" + b.Name
	}
	return "http://" + b.Name + ".s3.amazonaws.com/"
}

// deleteBucket removes a bucket that holds nothing: no version, no marker, no
// upload under way. AWS lets uploads go with the bucket, and so does this.
func (s *Service) deleteBucket(ctx context.Context, c *call.Call, in *api.DeleteBucketInput) (*api.DeleteBucketOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		if err := mustBeEmpty(ctx, tx, now); err != nil {
			return err
		}
		uploads, err := state.List[string](ctx, tx, `SELECT id FROM s3_upload WHERE bucket = $1`, b.Name)
		if err != nil {
			return err
		}
		for _, id := range uploads {
			if err := dropUpload(ctx, tx, id, c.Time); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `DELETE FROM s3_bucket WHERE name = $1`, b.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteBucketOutput{}, nil
}

func mustBeEmpty(ctx context.Context, tx *state.Tx, b *bucket) error {
	_, err := state.Get[string](ctx, tx, `SELECT key FROM s3_object WHERE bucket = $1 LIMIT 1`, b.Name)
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	message := "The bucket you tried to delete is not empty"
	if b.Versioning != "" {
		message += ". You must delete all versions in the bucket."
	}
	return aws.Errorf("BucketNotEmpty", "%s", message).WithStatus(409).With("BucketName", b.Name)
}

func (s *Service) headBucket(ctx context.Context, c *call.Call, in *api.HeadBucketInput) (*api.HeadBucketOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	return &api.HeadBucketOutput{BucketRegion: b.Region, AccessPointAlias: new(false)}, nil
}

func (s *Service) getBucketLocationNeeds(ctx context.Context, c *call.Call, in *api.GetBucketLocationInput) ([]call.Need, error) {
	t, err := s.anywhere(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.on("s3:GetBucketLocation", nil)}, nil
}

func (s *Service) getBucketLocation(ctx context.Context, c *call.Call, in *api.GetBucketLocationInput) (*api.GetBucketLocationOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if b.Region == legacyRegion {
		return &api.GetBucketLocationOutput{}, nil
	}
	return &api.GetBucketLocationOutput{LocationConstraint: b.Region}, nil
}

// listBucketsNeeds asks on all buckets: policies write that as "*" or as
// "arn:aws:s3:::*", and both allow it on AWS.
func (s *Service) listBucketsNeeds(ctx context.Context, c *call.Call, in *api.ListBucketsInput) ([]call.Need, error) {
	return []call.Need{{Action: "s3:ListAllMyBuckets", Resource: allBuckets, Refuse: refuse}}, nil
}

var allBuckets = bucketARN("*")

const maxBuckets = 10000

func (s *Service) listBuckets(ctx context.Context, c *call.Call, in *api.ListBucketsInput) (*api.ListBucketsOutput, error) {
	limit := int64(maxBuckets)
	if in.MaxBuckets != nil {
		limit = *in.MaxBuckets
		if limit < 1 || limit > maxBuckets {
			return nil, errInvalidArgument("max-buckets", fmt.Sprint(limit), "Argument max-buckets must be an integer between 1 and %d", maxBuckets)
		}
	}
	from, err := decodeToken(in.ContinuationToken)
	if err != nil {
		return nil, err
	}
	var rows []bucket
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		rows, err = state.List[bucket](ctx, tx, `SELECT `+bucketColumns+` FROM s3_bucket
			WHERE account = $1 AND name >= $2 AND ($3 = '' OR region = $3) ORDER BY name LIMIT $4`,
			c.Account(), max(from, in.Prefix), in.BucketRegion, limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListBucketsOutput{Buckets: []api.Bucket{}, Owner: &api.Owner{ID: owner(c.Account())}, Prefix: in.Prefix}
	for _, b := range rows {
		if !strings.HasPrefix(b.Name, in.Prefix) {
			break
		}
		if int64(len(out.Buckets)) == limit {
			out.ContinuationToken = encodeToken(b.Name)
			break
		}
		out.Buckets = append(out.Buckets, bucketEntry(&b, in))
	}
	return out, nil
}

func bucketEntry(b *bucket, in *api.ListBucketsInput) api.Bucket {
	e := api.Bucket{Name: b.Name, CreationDate: new(b.Created.Truncate(time.Second))}
	if in.MaxBuckets != nil || in.BucketRegion != "" || in.ContinuationToken != "" || in.Prefix != "" {
		e.BucketRegion = b.Region // AWS says the region only to those who page
	}
	return e
}

// Continuation tokens hold the key at which the next page begins.

func encodeToken(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

func decodeToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || !storable(string(b)) {
		return "", errInvalidArgument("continuation-token", token, "The continuation token provided is incorrect")
	}
	return string(b), nil
}

func isTrue(b *bool) bool { return b != nil && *b }
