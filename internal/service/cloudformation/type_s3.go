package cloudformation

import (
	"context"

	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/cfn"
)

func (q *request) s3() s3api.Client { return s3api.Client{Invoker: q.Invoker} }

// bucket is AWS::S3::Bucket.
type bucket struct{}

type bucketProperties struct {
	BucketName                     string
	BucketEncryption               *bucketEncryption
	CorsConfiguration              *bucketCORS
	LifecycleConfiguration         *bucketLifecycle
	NotificationConfiguration      *bucketNotification
	ObjectLockConfiguration        *s3api.ObjectLockConfiguration
	ObjectLockEnabled              *bool
	OwnershipControls              *s3api.OwnershipControls
	PublicAccessBlockConfiguration *s3api.PublicAccessBlockConfiguration
	Tags                           []tag
	VersioningConfiguration        *struct {
		Status string `cfn:",required"`
	}
	WebsiteConfiguration *bucketWebsite
}

type bucketEncryption struct {
	ServerSideEncryptionConfiguration []encryptionRule `cfn:",required"`
}

type encryptionRule struct {
	BucketKeyEnabled              *bool
	ServerSideEncryptionByDefault *s3api.ServerSideEncryptionByDefault
}

func (bucket) create(ctx context.Context, q *request) error {
	var p bucketProperties
	if err := q.read(&p); err != nil {
		return err
	}
	if err := q.createBucket(ctx, p); err != nil {
		return err
	}
	name, region := q.Name, q.Stack.Region
	q.Attributes["Arn"] = "arn:aws:s3:::" + name
	q.Attributes["DomainName"] = name + ".s3.amazonaws.com"
	q.Attributes["RegionalDomainName"] = name + ".s3." + region + ".amazonaws.com"
	q.Attributes["DualStackDomainName"] = name + ".s3.dualstack." + region + ".amazonaws.com"
	q.Attributes["WebsiteURL"] = "http://" + name + ".s3-website-" + region + ".amazonaws.com"
	if err := q.exists(ctx, name); err != nil {
		return err
	}
	q.Before = cfn.Object()
	return q.configureBucket(ctx, p)
}

// createBucket makes the bucket. S3 answers the owner's second CreateBucket
// in us-east-1 as if it were the first, so a stack looks beforehand: it must
// not take over a bucket that it did not make.
func (q *request) createBucket(ctx context.Context, p bucketProperties) error {
	if !q.Resumed && p.BucketName != "" {
		if _, err := q.s3().HeadBucket(ctx, &s3api.HeadBucketInput{Bucket: q.Name}); err == nil {
			return problemf("%s already exists", q.Name)
		}
	}
	in := &s3api.CreateBucketInput{Bucket: q.Name}
	if q.Stack.Region != "us-east-1" {
		in.CreateBucketConfiguration = &s3api.CreateBucketConfiguration{LocationConstraint: q.Stack.Region}
	}
	in.ObjectLockEnabledForBucket = p.ObjectLockEnabled
	if p.OwnershipControls != nil && len(p.OwnershipControls.Rules) > 0 {
		in.ObjectOwnership = p.OwnershipControls.Rules[0].ObjectOwnership
	}
	_, err := q.s3().CreateBucket(ctx, in)
	if q.Resumed && errorCode(err) == "BucketAlreadyOwnedByYou" {
		return nil // made before the process died: nobody of this account had it when the step began
	}
	return err
}

// configureBucket puts what changed of a bucket's configuration.
func (q *request) configureBucket(ctx context.Context, p bucketProperties) error {
	for _, part := range []struct {
		property string
		put      func(context.Context, bucketProperties) error
	}{
		{"OwnershipControls", q.bucketOwnership},
		{"PublicAccessBlockConfiguration", q.bucketAccess},
		{"VersioningConfiguration", q.bucketVersioning},
		{"ObjectLockConfiguration", q.bucketLock},
		{"BucketEncryption", q.bucketEncryption},
		{"LifecycleConfiguration", q.bucketLifecycle},
		{"CorsConfiguration", q.bucketCORS},
		{"WebsiteConfiguration", q.bucketWebsite},
		{"NotificationConfiguration", q.bucketNotification},
		{"Tags", q.bucketTags},
	} {
		if !q.changed(part.property) {
			continue
		}
		if err := part.put(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (q *request) bucketOwnership(ctx context.Context, p bucketProperties) error {
	if p.OwnershipControls == nil {
		_, err := q.s3().DeleteBucketOwnershipControls(ctx, &s3api.DeleteBucketOwnershipControlsInput{Bucket: q.Physical})
		return err
	}
	_, err := q.s3().PutBucketOwnershipControls(ctx, &s3api.PutBucketOwnershipControlsInput{
		Bucket: q.Physical, OwnershipControls: p.OwnershipControls,
	})
	return err
}

func (q *request) bucketAccess(ctx context.Context, p bucketProperties) error {
	if p.PublicAccessBlockConfiguration == nil {
		_, err := q.s3().DeletePublicAccessBlock(ctx, &s3api.DeletePublicAccessBlockInput{Bucket: q.Physical})
		return err
	}
	_, err := q.s3().PutPublicAccessBlock(ctx, &s3api.PutPublicAccessBlockInput{
		Bucket: q.Physical, PublicAccessBlockConfiguration: p.PublicAccessBlockConfiguration,
	})
	return err
}

func (q *request) bucketVersioning(ctx context.Context, p bucketProperties) error {
	status := "Suspended"
	if p.VersioningConfiguration != nil {
		status = p.VersioningConfiguration.Status
	}
	_, err := q.s3().PutBucketVersioning(ctx, &s3api.PutBucketVersioningInput{
		Bucket: q.Physical, VersioningConfiguration: &s3api.VersioningConfiguration{Status: status},
	})
	return err
}

func (q *request) bucketEncryption(ctx context.Context, p bucketProperties) error {
	if p.BucketEncryption == nil {
		_, err := q.s3().DeleteBucketEncryption(ctx, &s3api.DeleteBucketEncryptionInput{Bucket: q.Physical})
		return err
	}
	rules := convert(p.BucketEncryption.ServerSideEncryptionConfiguration, func(r encryptionRule) s3api.ServerSideEncryptionRule {
		return s3api.ServerSideEncryptionRule{
			ApplyServerSideEncryptionByDefault: r.ServerSideEncryptionByDefault, BucketKeyEnabled: r.BucketKeyEnabled,
		}
	})
	_, err := q.s3().PutBucketEncryption(ctx, &s3api.PutBucketEncryptionInput{
		Bucket:                            q.Physical,
		ServerSideEncryptionConfiguration: &s3api.ServerSideEncryptionConfiguration{Rules: rules},
	})
	return err
}

func (q *request) bucketTags(ctx context.Context, p bucketProperties) error {
	if len(p.Tags) == 0 {
		_, err := q.s3().DeleteBucketTagging(ctx, &s3api.DeleteBucketTaggingInput{Bucket: q.Physical})
		return err
	}
	tags := convert(p.Tags, func(t tag) s3api.Tag { return s3api.Tag{Key: t.Key, Value: t.Value} })
	_, err := q.s3().PutBucketTagging(ctx, &s3api.PutBucketTaggingInput{Bucket: q.Physical, Tagging: &s3api.Tagging{TagSet: tags}})
	return err
}

func (bucket) update(ctx context.Context, q *request) error {
	var p bucketProperties
	if err := q.read(&p); err != nil {
		return err
	}
	return q.configureBucket(ctx, p)
}

func (bucket) remove(ctx context.Context, q *request) error {
	_, err := q.s3().DeleteBucket(ctx, &s3api.DeleteBucketInput{Bucket: q.Physical})
	return unlessMissing(err)
}

// bucketPolicy is AWS::S3::BucketPolicy. Its physical id is the bucket's
// name.
type bucketPolicy struct{}

type bucketPolicyProperties struct {
	Bucket         string    `cfn:",required"`
	PolicyDocument *cfn.Node `cfn:",required"`
}

func (bucketPolicy) create(ctx context.Context, q *request) error {
	var p bucketPolicyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	if !q.Resumed {
		if out, err := q.s3().GetBucketPolicy(ctx, &s3api.GetBucketPolicyInput{Bucket: p.Bucket}); err == nil && out.Policy != "" {
			return problemf("The bucket policy already exists on bucket %s.", p.Bucket)
		}
	}
	if err := q.putBucketPolicy(ctx, p); err != nil {
		return err
	}
	return q.exists(ctx, p.Bucket)
}

func (q *request) putBucketPolicy(ctx context.Context, p bucketPolicyProperties) error {
	_, err := q.s3().PutBucketPolicy(ctx, &s3api.PutBucketPolicyInput{Bucket: p.Bucket, Policy: document(p.PolicyDocument)})
	return err
}

func (bucketPolicy) update(ctx context.Context, q *request) error {
	var p bucketPolicyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	return q.putBucketPolicy(ctx, p)
}

func (bucketPolicy) remove(ctx context.Context, q *request) error {
	_, err := q.s3().DeleteBucketPolicy(ctx, &s3api.DeleteBucketPolicyInput{Bucket: q.Physical})
	return unlessMissing(err)
}
