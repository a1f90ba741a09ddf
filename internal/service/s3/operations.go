package s3

import (
	"slices"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
)

// Operations is the table of contents: name, permission, deed.
func (s *Service) Operations() []call.Operation {
	return slices.Concat(s.bucketOperations(), s.objectOperations(), s.configOperations(), s.extraOperations())
}

func (s *Service) bucketOperations() []call.Operation {
	return []call.Operation{
		call.Op("ListBuckets", s.listBucketsNeeds, s.listBuckets),
		call.Op("CreateBucket", s.createBucketNeeds, s.createBucket),
		call.Op("DeleteBucket", onBucket[api.DeleteBucketInput](s, "s3:DeleteBucket"), s.deleteBucket),
		call.Op("HeadBucket", onBucket[api.HeadBucketInput](s, "s3:ListBucket"), s.headBucket),
		call.Op("GetBucketLocation", s.getBucketLocationNeeds, s.getBucketLocation),

		call.Op("GetBucketVersioning", onBucket[api.GetBucketVersioningInput](s, "s3:GetBucketVersioning"), s.getBucketVersioning),
		call.Op("PutBucketVersioning", onBucket[api.PutBucketVersioningInput](s, "s3:PutBucketVersioning"), s.putBucketVersioning),

		call.Op("GetBucketPolicy", onBucketPolicy[api.GetBucketPolicyInput](s, "s3:GetBucketPolicy"), s.getBucketPolicy),
		call.Op("GetBucketPolicyStatus", onBucket[api.GetBucketPolicyStatusInput](s, "s3:GetBucketPolicyStatus"), s.getBucketPolicyStatus),
		call.Op("PutBucketPolicy", onBucketPolicy[api.PutBucketPolicyInput](s, "s3:PutBucketPolicy"), s.putBucketPolicy),
		call.Op("DeleteBucketPolicy", onBucketPolicy[api.DeleteBucketPolicyInput](s, "s3:DeleteBucketPolicy"), s.deleteBucketPolicy),

		call.Op("GetBucketEncryption", onBucket[api.GetBucketEncryptionInput](s, "s3:GetEncryptionConfiguration"), s.getBucketEncryption),
		call.Op("PutBucketEncryption", onBucket[api.PutBucketEncryptionInput](s, "s3:PutEncryptionConfiguration"), s.putBucketEncryption),
		call.Op("DeleteBucketEncryption", onBucket[api.DeleteBucketEncryptionInput](s, "s3:PutEncryptionConfiguration"), s.deleteBucketEncryption),

		call.Op("GetPublicAccessBlock", onBucket[api.GetPublicAccessBlockInput](s, "s3:GetBucketPublicAccessBlock"), s.getPublicAccessBlock),
		call.Op("PutPublicAccessBlock", onBucket[api.PutPublicAccessBlockInput](s, "s3:PutBucketPublicAccessBlock"), s.putPublicAccessBlock),
		call.Op("DeletePublicAccessBlock", onBucket[api.DeletePublicAccessBlockInput](s, "s3:PutBucketPublicAccessBlock"), s.deletePublicAccessBlock),

		call.Op("GetBucketOwnershipControls", onBucket[api.GetBucketOwnershipControlsInput](s, "s3:GetBucketOwnershipControls"), s.getBucketOwnershipControls),
		call.Op("PutBucketOwnershipControls", onBucket[api.PutBucketOwnershipControlsInput](s, "s3:PutBucketOwnershipControls"), s.putBucketOwnershipControls),
		call.Op("DeleteBucketOwnershipControls", onBucket[api.DeleteBucketOwnershipControlsInput](s, "s3:PutBucketOwnershipControls"), s.deleteBucketOwnershipControls),
		call.Op("GetBucketAcl", onBucket[api.GetBucketAclInput](s, "s3:GetBucketAcl"), s.getBucketAcl),
		call.Op("PutBucketAcl", s.putBucketAclNeeds, s.putBucketAcl),

		call.Op("GetBucketTagging", onBucket[api.GetBucketTaggingInput](s, "s3:GetBucketTagging"), s.getBucketTagging),
		call.Op("PutBucketTagging", onBucket[api.PutBucketTaggingInput](s, "s3:PutBucketTagging"), s.putBucketTagging),
		call.Op("DeleteBucketTagging", onBucket[api.DeleteBucketTaggingInput](s, "s3:PutBucketTagging"), s.deleteBucketTagging),

		call.Op("GetBucketReplication", onBucket[api.GetBucketReplicationInput](s, "s3:GetReplicationConfiguration"),
			absent[api.GetBucketReplicationInput, api.GetBucketReplicationOutput](s, "ReplicationConfigurationNotFoundError", "The replication configuration was not found")),
		call.Op("DeleteBucketReplication", onBucket[api.DeleteBucketReplicationInput](s, "s3:PutReplicationConfiguration"),
			empty[api.DeleteBucketReplicationInput, api.DeleteBucketReplicationOutput](s)),
		call.Op("GetBucketLogging", onBucket[api.GetBucketLoggingInput](s, "s3:GetBucketLogging"),
			empty[api.GetBucketLoggingInput, api.GetBucketLoggingOutput](s)),
		call.Op("GetBucketAccelerateConfiguration", onBucket[api.GetBucketAccelerateConfigurationInput](s, "s3:GetAccelerateConfiguration"),
			empty[api.GetBucketAccelerateConfigurationInput, api.GetBucketAccelerateConfigurationOutput](s)),
		call.Op("GetBucketRequestPayment", onBucket[api.GetBucketRequestPaymentInput](s, "s3:GetBucketRequestPayment"), s.getBucketRequestPayment),
	}
}

func (s *Service) objectOperations() []call.Operation {
	return []call.Operation{
		call.Op("PutObject", s.putObjectNeeds, s.putObject),
		call.Op("GetObject", s.getObjectNeeds, s.getObject),
		call.Op("HeadObject", s.headObjectNeeds, s.headObject),
		call.Op("CopyObject", s.copyObjectNeeds, s.copyObject),
		call.Op("DeleteObject", s.deleteObjectNeeds, s.deleteObject),
		call.PublicOp("DeleteObjects", "each key is asked for on its own, and refused on its own", s.deleteObjects),
		call.Op("GetObjectAttributes", s.getObjectAttributesNeeds, s.getObjectAttributes),

		call.Op("GetObjectTagging", s.getObjectTaggingNeeds, s.getObjectTagging),
		call.Op("PutObjectTagging", s.putObjectTaggingNeeds, s.putObjectTagging),
		call.Op("DeleteObjectTagging", s.deleteObjectTaggingNeeds, s.deleteObjectTagging),
		call.Op("GetObjectAcl", s.getObjectAclNeeds, s.getObjectAcl),
		call.Op("PutObjectAcl", s.putObjectAclNeeds, s.putObjectAcl),

		call.Op("ListObjects", s.listObjectsNeeds, s.listObjects),
		call.Op("ListObjectsV2", s.listObjectsV2Needs, s.listObjectsV2),
		call.Op("ListObjectVersions", s.listObjectVersionsNeeds, s.listObjectVersions),

		call.Op("CreateMultipartUpload", s.createMultipartUploadNeeds, s.createMultipartUpload),
		call.Op("UploadPart", s.uploadPartNeeds, s.uploadPart),
		call.Op("UploadPartCopy", s.uploadPartCopyNeeds, s.uploadPartCopy),
		call.Op("CompleteMultipartUpload", s.completeMultipartUploadNeeds, s.completeMultipartUpload),
		call.Op("AbortMultipartUpload", s.abortMultipartUploadNeeds, s.abortMultipartUpload),
		call.Op("ListParts", s.listPartsNeeds, s.listParts),
		call.Op("ListMultipartUploads", s.listMultipartUploadsNeeds, s.listMultipartUploads),
	}
}
