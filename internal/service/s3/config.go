package s3

import (
	"context"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// config is what a bucket is configured to do beyond what has a column of its
// own. A member that is nil or false is a configuration that the bucket has
// not.
type config struct {
	EventBridge bool                      `json:",omitempty"`
	Lock        *lockConfig               `json:",omitempty"`
	Lifecycle   *lifecycle                `json:",omitempty"`
	CORS        []api.CORSRule            `json:",omitempty"`
	Website     *api.WebsiteConfiguration `json:",omitempty"`
}

// config reads the bucket's configuration; a bucket without one has the zero
// value.
func (b *bucket) config() (*config, error) {
	var c config
	err := decode(b.Config, &c)
	return &c, err
}

// stored is the configuration as a row keeps it.
func (c *config) stored() string {
	if text := encode(c); text != "{}" {
		return text
	}
	return ""
}

// configuration reads the configuration of a bucket that has to exist.
func (s *Service) configuration(ctx context.Context, name string) (*bucket, *config, error) {
	b, err := s.bucket(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := b.config()
	return b, cfg, err
}

// configure changes a bucket's configuration by a function of it and of the
// bucket's row at this moment.
func (s *Service) configure(ctx context.Context, name string, change func(now *bucket, cfg *config) error) error {
	b, err := s.bucket(ctx, name)
	if err != nil {
		return err
	}
	return s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		cfg, err := now.config()
		if err != nil {
			return err
		}
		if err := change(now, cfg); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE s3_bucket SET config = $1 WHERE name = $2`, cfg.stored(), now.Name)
		return err
	})
}

// configOperations is the part of the table of contents that is about what
// config holds.
func (s *Service) configOperations() []call.Operation {
	return []call.Operation{
		call.Op("GetBucketNotificationConfiguration", onBucket[api.GetBucketNotificationConfigurationInput](s, "s3:GetBucketNotification"), s.getBucketNotificationConfiguration),
		call.Op("PutBucketNotificationConfiguration", onBucket[api.PutBucketNotificationConfigurationInput](s, "s3:PutBucketNotification"), s.putBucketNotificationConfiguration),

		call.Op("GetObjectLockConfiguration", onBucket[api.GetObjectLockConfigurationInput](s, "s3:GetBucketObjectLockConfiguration"), s.getObjectLockConfiguration),
		call.Op("PutObjectLockConfiguration", onBucket[api.PutObjectLockConfigurationInput](s, "s3:PutBucketObjectLockConfiguration"), s.putObjectLockConfiguration),
		call.Op("GetObjectRetention", s.getObjectRetentionNeeds, s.getObjectRetention),
		call.Op("PutObjectRetention", s.putObjectRetentionNeeds, s.putObjectRetention),
		call.Op("GetObjectLegalHold", s.getObjectLegalHoldNeeds, s.getObjectLegalHold),
		call.Op("PutObjectLegalHold", s.putObjectLegalHoldNeeds, s.putObjectLegalHold),

		call.Op("GetBucketLifecycleConfiguration", onBucket[api.GetBucketLifecycleConfigurationInput](s, "s3:GetLifecycleConfiguration"), s.getBucketLifecycle),
		call.Op("PutBucketLifecycleConfiguration", onBucket[api.PutBucketLifecycleConfigurationInput](s, "s3:PutLifecycleConfiguration"), s.putBucketLifecycle),
		call.Op("DeleteBucketLifecycle", onBucket[api.DeleteBucketLifecycleInput](s, "s3:PutLifecycleConfiguration"), s.deleteBucketLifecycle),

		call.Op("GetBucketCors", onBucket[api.GetBucketCorsInput](s, "s3:GetBucketCORS"), s.getBucketCors),
		call.Op("PutBucketCors", onBucket[api.PutBucketCorsInput](s, "s3:PutBucketCORS"), s.putBucketCors),
		call.Op("DeleteBucketCors", onBucket[api.DeleteBucketCorsInput](s, "s3:PutBucketCORS"), s.deleteBucketCors),
		call.Op("GetBucketWebsite", onBucket[api.GetBucketWebsiteInput](s, "s3:GetBucketWebsite"), s.getBucketWebsite),
		call.Op("PutBucketWebsite", onBucket[api.PutBucketWebsiteInput](s, "s3:PutBucketWebsite"), s.putBucketWebsite),
		call.Op("DeleteBucketWebsite", onBucket[api.DeleteBucketWebsiteInput](s, "s3:DeleteBucketWebsite"), s.deleteBucketWebsite),

		call.Op("PutBucketRequestPayment", onBucket[api.PutBucketRequestPaymentInput](s, "s3:PutBucketRequestPayment"), s.putBucketRequestPayment),
	}
}
