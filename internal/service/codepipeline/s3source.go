package codepipeline

import (
	"context"
	"fmt"
	"strings"
	"time"

	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
)

// s3Source copies one object of a versioned bucket into the artifact store.
type s3Source struct{}

func (s3Source) bounds() bounds       { return bounds{0, 0, 1, 1} }
func (s3Source) limit() time.Duration { return time.Hour }

func (s3Source) keys() []configKey {
	return []configKey{
		{name: "S3Bucket", required: true},
		{name: "S3ObjectKey", required: true},
		{name: "PollForSourceChanges", values: []string{"true", "false"}},
		{name: "AllowOverrideForS3ObjectKey", values: []string{"true", "false"}},
	}
}

func (s3Source) run(ctx context.Context, w *work) (actionOutput, error) {
	invoker, err := w.invoker(ctx, w.pipeline.Region)
	if err != nil {
		return actionOutput{}, err
	}
	client := s3api.Client{Invoker: invoker}
	bucket, key := w.config["S3Bucket"], w.config["S3ObjectKey"]
	version, err := w.override("S3_OBJECT_VERSION_ID")
	if err != nil {
		return actionOutput{}, err
	}
	if other, err := w.override("S3_OBJECT_KEY"); err != nil {
		return actionOutput{}, err
	} else if other != "" {
		key = other
	}
	if err := versioned(ctx, client, bucket); err != nil {
		return actionOutput{}, err
	}
	object, err := client.GetObject(ctx, &s3api.GetObjectInput{Bucket: bucket, Key: key, VersionId: version})
	if err != nil {
		return actionOutput{}, s3Failure(bucket, fmt.Sprintf("the object with key %s could not be read from the Amazon S3 bucket named %s", key, bucket), err)
	}
	defer object.Body.Close()
	to := w.outputs[0].S3location
	put := w.artifactPut(to.Bucket, to.Key)
	put.Body, put.ContentLength, put.ContentType = object.Body, object.ContentLength, object.ContentType
	if _, err := client.PutObject(ctx, put); err != nil {
		return actionOutput{}, s3Failure(to.Bucket, fmt.Sprintf("the artifact with key %s could not be put into the Amazon S3 bucket named %s", to.Key, to.Bucket), err)
	}
	out := objectOutput(bucket, key, object.VersionId, object.ETag, object.LastModified)
	out.Artifacts = w.outputs
	return out, nil
}

// artifactPut begins a write into the artifact store: always under KMS, with
// the pipeline's key or, without one, AWS's own for S3.
func (w *work) artifactPut(bucket, key string) *s3api.PutObjectInput {
	in := &s3api.PutObjectInput{Bucket: bucket, Key: key, ServerSideEncryption: "aws:kms"}
	if w.store.EncryptionKey != nil {
		in.SSEKMSKeyId = w.store.EncryptionKey.Id
	}
	if role, ok := aws.ParseARN(w.declared.RoleArn); ok && role.Account != w.pipeline.Account {
		in.ACL = "bucket-owner-full-control"
	}
	return in
}

func versioned(ctx context.Context, client s3api.Client, bucket string) error {
	got, err := client.GetBucketVersioning(ctx, &s3api.GetBucketVersioningInput{Bucket: bucket})
	if err != nil {
		return s3Failure(bucket, fmt.Sprintf("the Amazon S3 bucket named %s could not be looked at", bucket), err)
	}
	if got.Status != "Enabled" {
		return fail(configurationError, "The action failed because versioning is not enabled for the Amazon S3 bucket named %s. "+
			"Enable versioning for the bucket, and then try again.", bucket)
	}
	return nil
}

func objectOutput(bucket, key, version, etag string, modified *time.Time) actionOutput {
	summary := "Amazon S3 version id: " + version
	url := "https://console.aws.amazon.com/s3/home?#"
	out := actionOutput{
		ExternalID: version, Summary: summary, URL: url,
		Revision:  &revision{ID: version, Summary: summary, URL: url, ChangeID: strings.Trim(etag, `"`), Source: bucket + " " + key},
		Variables: map[string]string{"ETag": strings.Trim(etag, `"`), "VersionId": version, "BucketName": bucket, "ObjectKey": key},
	}
	if modified != nil {
		out.Revision.Created = *modified
	}
	return out
}
