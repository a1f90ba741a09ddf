package s3

import (
	"context"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// The settings of object ownership. With the first one access control lists
// are off.
const (
	ownerEnforced  = "BucketOwnerEnforced"
	ownerPreferred = "BucketOwnerPreferred"
	ownerWriter    = "ObjectWriter"
)

func checkOwnership(setting string, optional bool) error {
	switch setting {
	case ownerEnforced, ownerPreferred, ownerWriter:
		return nil
	case "":
		if optional {
			return nil
		}
	}
	if optional {
		return errInvalidArgument("x-amz-object-ownership", setting, "Invalid x-amz-object-ownership header: %s", setting)
	}
	return errMalformedXML()
}

func (s *Service) getBucketOwnershipControls(ctx context.Context, c *call.Call, in *api.GetBucketOwnershipControlsInput) (*api.GetBucketOwnershipControlsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if b.Ownership == "" {
		return nil, aws.Errorf("OwnershipControlsNotFoundError", "The bucket ownership controls were not found").
			WithStatus(404).With("BucketName", b.Name)
	}
	return &api.GetBucketOwnershipControlsOutput{OwnershipControls: &api.OwnershipControls{
		Rules: []api.OwnershipControlsRule{{ObjectOwnership: b.Ownership}},
	}}, nil
}

// putBucketOwnershipControls turns access control lists on or off. They cannot
// be turned off while the bucket's grants something to others.
func (s *Service) putBucketOwnershipControls(ctx context.Context, c *call.Call, in *api.PutBucketOwnershipControlsInput) (*api.PutBucketOwnershipControlsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if in.OwnershipControls == nil || len(in.OwnershipControls.Rules) != 1 {
		return nil, errMalformedXML()
	}
	setting := in.OwnershipControls.Rules[0].ObjectOwnership
	if err := checkOwnership(setting, false); err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		if setting == ownerEnforced && now.ACL != "" {
			return errBucketACL()
		}
		return setOwnership(ctx, tx, b, setting)
	})
	if err != nil {
		return nil, err
	}
	return &api.PutBucketOwnershipControlsOutput{}, nil
}

func (s *Service) deleteBucketOwnershipControls(ctx context.Context, c *call.Call, in *api.DeleteBucketOwnershipControlsInput) (*api.DeleteBucketOwnershipControlsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, _ *bucket) error { return setOwnership(ctx, tx, b, "") })
	if err != nil {
		return nil, err
	}
	return &api.DeleteBucketOwnershipControlsOutput{}, nil
}

func setOwnership(ctx context.Context, tx *state.Tx, b *bucket, setting string) error {
	_, err := tx.Exec(ctx, `UPDATE s3_bucket SET ownership = $1 WHERE name = $2`, setting, b.Name)
	return err
}

func errBucketACL() error {
	return aws.Errorf("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting").WithStatus(400)
}

func (s *Service) getBucketAcl(ctx context.Context, c *call.Call, in *api.GetBucketAclInput) (*api.GetBucketAclOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	o, grants, err := b.shownACL(b.ACL, b.Account)
	return &api.GetBucketAclOutput{Owner: o, Grants: grants}, err
}

func aclOfBucket(in *api.PutBucketAclInput) *aclRequest {
	return &aclRequest{in.ACL, grantHeaders(in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWrite, in.GrantWriteACP), in.AccessControlPolicy}
}

func (s *Service) putBucketAclNeeds(ctx context.Context, c *call.Call, in *api.PutBucketAclInput) ([]call.Need, error) {
	t, err := s.target(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	keys := policy.Keys{}
	addACLKeys(keys, aclOfBucket(in))
	return []call.Need{t.on("s3:PutBucketAcl", keys)}, nil
}

// putBucketAcl replaces the bucket's access control list, where lists are on.
func (s *Service) putBucketAcl(ctx context.Context, c *call.Call, in *api.PutBucketAclInput) (*api.PutBucketAclOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	asked := aclOfBucket(in)
	if b.aclsOff() {
		return nil, errACLs()
	}
	if asked.empty() {
		return nil, errNoACL()
	}
	on := resource{owner: b.Account, bucketOwner: b.Account, isBucket: true}
	list, err := asked.list(on)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		if now.aclsOff() {
			return errACLs()
		}
		stored, err := now.storedACL(c, list, on, "s3:PutBucketAcl", bucketARN(b.Name))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE s3_bucket SET acl = $1 WHERE name = $2`, stored, b.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &api.PutBucketAclOutput{}, nil
}

func errNoACL() error {
	return aws.Errorf("MissingSecurityHeader", "Your request was missing a required header").WithStatus(400).With("MissingHeaderName", "x-amz-acl")
}

// newBucketACL is the access control list of a bucket that is created. Public
// ones are refused: every new bucket blocks public access.
func newBucketACL(in *api.CreateBucketInput, account string) (string, error) {
	asked := &aclRequest{canned: in.ACL, grants: grantHeaders(in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWrite, in.GrantWriteACP)}
	if in.ObjectOwnership == "" || in.ObjectOwnership == ownerEnforced {
		if in.ACL != "" && in.ACL != aclPrivate || len(asked.grants) > 0 {
			return "", errBucketACL()
		}
		return "", nil
	}
	list, err := asked.list(resource{owner: account, bucketOwner: account, isBucket: true})
	if err != nil {
		return "", err
	}
	if anyPublic(list) {
		return "", aws.Errorf("InvalidBucketAclWithBlockPublicAccessError", "Bucket cannot have public ACLs set with BlockPublicAccess enabled").WithStatus(400)
	}
	return encodeACL(list, account), nil
}
