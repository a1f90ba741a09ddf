package s3

import (
	"context"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

func (s *Service) getObjectAclNeeds(ctx context.Context, c *call.Call, in *api.GetObjectAclInput) ([]call.Need, error) {
	return s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:GetObjectAcl", "s3:GetObjectVersionAcl"))
}

func (s *Service) getObjectAcl(ctx context.Context, c *call.Call, in *api.GetObjectAclInput) (*api.GetObjectAclOutput, error) {
	b, found, err := s.existing(ctx, c, "GET", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	o, grants, err := b.shownACL(found.ACL, b.ownerOf(found.Owner))
	return &api.GetObjectAclOutput{Owner: o, Grants: grants}, err
}

func aclOfObject(in *api.PutObjectAclInput) *aclRequest {
	return &aclRequest{in.ACL, grantHeaders(in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWrite, in.GrantWriteACP), in.AccessControlPolicy}
}

func (s *Service) putObjectAclNeeds(ctx context.Context, c *call.Call, in *api.PutObjectAclInput) ([]call.Need, error) {
	needs, err := s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:PutObjectAcl", "s3:PutObjectVersionAcl"))
	if err != nil {
		return nil, err
	}
	addACLKeys(needs[0].Keys, aclOfObject(in))
	return needs, nil
}

// putObjectAcl replaces the access control list of a version. While lists are
// off it takes the one that says what is so anyway.
func (s *Service) putObjectAcl(ctx context.Context, c *call.Call, in *api.PutObjectAclInput) (*api.PutObjectAclOutput, error) {
	b, o, err := s.existing(ctx, c, "PUT", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	asked := aclOfObject(in)
	if b.aclsOff() {
		return &api.PutObjectAclOutput{}, asked.mustBeOwnersFullControl(b)
	}
	if asked.empty() {
		return nil, errNoACL()
	}
	on := resource{owner: b.ownerOf(o.Owner), bucketOwner: b.Account}
	list, err := asked.list(on)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		if now.aclsOff() {
			return errACLs()
		}
		stored, err := now.storedACL(c, list, on, "s3:PutObjectAcl", objectARN(b.Name, o.Key))
		if err != nil {
			return err
		}
		if err := o.revise(ctx, tx, func(now *object) { now.ACL = stored }); err != nil {
			return err
		}
		return s.tagged(ctx, tx, c, now, o, objectACLUpdated)
	})
	if err != nil {
		return nil, err
	}
	return &api.PutObjectAclOutput{}, nil
}

// mustBeOwnersFullControl refuses what is not the list that objects have while
// lists are off.
func (r *aclRequest) mustBeOwnersFullControl(b *bucket) error {
	switch {
	case len(r.grants) > 0:
	case r.canned == aclOwnerFullControl && r.body == nil,
		r.canned == "" && sameAsOwnerFullControl(r.body, b.Account):
		return nil
	}
	return errACLs()
}
