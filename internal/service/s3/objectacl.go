package s3

import (
	"context"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
)

func (s *Service) getObjectAclNeeds(ctx context.Context, c *call.Call, in *api.GetObjectAclInput) ([]call.Need, error) {
	return s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:GetObjectAcl", "s3:GetObjectVersionAcl"))
}

func (s *Service) getObjectAcl(ctx context.Context, c *call.Call, in *api.GetObjectAclInput) (*api.GetObjectAclOutput, error) {
	b, _, err := s.existing(ctx, c, "GET", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	o, grants := ownerGrants(b.Account)
	return &api.GetObjectAclOutput{Owner: o, Grants: grants}, nil
}

func (s *Service) putObjectAclNeeds(ctx context.Context, c *call.Call, in *api.PutObjectAclInput) ([]call.Need, error) {
	needs, err := s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId,
		versioned(in.VersionId, "s3:PutObjectAcl", "s3:PutObjectVersionAcl"))
	if err != nil {
		return nil, err
	}
	addACLKeys(needs[0].Keys, in.ACL, grantHeaders(in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWrite, in.GrantWriteACP))
	return needs, nil
}

// putObjectAcl takes the one ACL that says what is so anyway.
func (s *Service) putObjectAcl(ctx context.Context, c *call.Call, in *api.PutObjectAclInput) (*api.PutObjectAclOutput, error) {
	b, _, err := s.existing(ctx, c, "PUT", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	grants := in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWrite + in.GrantWriteACP
	switch {
	case grants != "":
		return nil, errACLs()
	case in.ACL == aclOwnerFullControl && in.AccessControlPolicy == nil:
		return &api.PutObjectAclOutput{}, nil
	case in.ACL == "" && sameAsOwnerFullControl(in.AccessControlPolicy, b.Account):
		return &api.PutObjectAclOutput{}, nil
	}
	return nil, errACLs()
}
