package cloudformation

import (
	"context"
	"time"

	s3api "github.com/sekisho/sekisho/internal/api/s3"
)

// The properties of AWS::S3::Bucket that say what a bucket does. Each is put
// whole when it changes, and taken away when it is gone.

type bucketNotification struct {
	EventBridgeConfiguration *struct {
		EventBridgeEnabled *bool
	}
}

func (q *request) bucketNotification(ctx context.Context, p bucketProperties) error {
	n := &s3api.NotificationConfiguration{}
	// EventBridgeConfiguration turns events on unless it says false.
	if c := p.NotificationConfiguration; c != nil && c.EventBridgeConfiguration != nil {
		if on := c.EventBridgeConfiguration.EventBridgeEnabled; on == nil || *on {
			n.EventBridgeConfiguration = &s3api.EventBridgeConfiguration{}
		}
	}
	_, err := q.s3().PutBucketNotificationConfiguration(ctx, &s3api.PutBucketNotificationConfigurationInput{
		Bucket: q.Physical, NotificationConfiguration: n,
	})
	return err
}

// bucketLock puts the default retention. What it said before stays off when
// the property is gone; object lock itself is never taken away.
func (q *request) bucketLock(ctx context.Context, p bucketProperties) error {
	lock := p.ObjectLockConfiguration
	if lock == nil {
		lock = &s3api.ObjectLockConfiguration{ObjectLockEnabled: "Enabled"}
	}
	_, err := q.s3().PutObjectLockConfiguration(ctx, &s3api.PutObjectLockConfigurationInput{Bucket: q.Physical, ObjectLockConfiguration: lock})
	return err
}

type bucketCORS struct {
	CorsRules []struct {
		AllowedHeaders []string
		AllowedMethods []string `cfn:",required"`
		AllowedOrigins []string `cfn:",required"`
		ExposedHeaders []string
		Id             string
		MaxAge         *int64
	} `cfn:",required"`
}

func (q *request) bucketCORS(ctx context.Context, p bucketProperties) error {
	if p.CorsConfiguration == nil {
		_, err := q.s3().DeleteBucketCors(ctx, &s3api.DeleteBucketCorsInput{Bucket: q.Physical})
		return err
	}
	cors := &s3api.CORSConfiguration{}
	for _, r := range p.CorsConfiguration.CorsRules {
		cors.CORSRules = append(cors.CORSRules, s3api.CORSRule{
			ID: r.Id, AllowedHeaders: r.AllowedHeaders, AllowedMethods: r.AllowedMethods, AllowedOrigins: r.AllowedOrigins,
			ExposeHeaders: r.ExposedHeaders, MaxAgeSeconds: r.MaxAge,
		})
	}
	_, err := q.s3().PutBucketCors(ctx, &s3api.PutBucketCorsInput{Bucket: q.Physical, CORSConfiguration: cors})
	return err
}

type bucketLifecycle struct {
	Rules                              []lifecycleRule `cfn:",required"`
	TransitionDefaultMinimumObjectSize string
}

type lifecycleRule struct {
	AbortIncompleteMultipartUpload    *s3api.AbortIncompleteMultipartUpload
	ExpirationDate                    string
	ExpirationInDays                  *int64
	ExpiredObjectDeleteMarker         *bool
	Id                                string
	NoncurrentVersionExpiration       *s3api.NoncurrentVersionExpiration
	NoncurrentVersionExpirationInDays *int64
	ObjectSizeGreaterThan             *int64
	ObjectSizeLessThan                *int64
	Prefix                            string
	Status                            string `cfn:",required"`
	TagFilters                        []tag
}

func (q *request) bucketLifecycle(ctx context.Context, p bucketProperties) error {
	if p.LifecycleConfiguration == nil {
		_, err := q.s3().DeleteBucketLifecycle(ctx, &s3api.DeleteBucketLifecycleInput{Bucket: q.Physical})
		return err
	}
	cfg := &s3api.BucketLifecycleConfiguration{}
	for _, r := range p.LifecycleConfiguration.Rules {
		rule, err := r.rule()
		if err != nil {
			return err
		}
		cfg.Rules = append(cfg.Rules, rule)
	}
	_, err := q.s3().PutBucketLifecycleConfiguration(ctx, &s3api.PutBucketLifecycleConfigurationInput{
		Bucket: q.Physical, LifecycleConfiguration: cfg,
		TransitionDefaultMinimumObjectSize: p.LifecycleConfiguration.TransitionDefaultMinimumObjectSize,
	})
	return err
}

// rule is a rule as S3 has it: its conditions are in a filter.
func (r lifecycleRule) rule() (s3api.LifecycleRule, error) {
	out := s3api.LifecycleRule{
		ID: r.Id, Status: r.Status, AbortIncompleteMultipartUpload: r.AbortIncompleteMultipartUpload,
		NoncurrentVersionExpiration: r.NoncurrentVersionExpiration,
		Filter: &s3api.LifecycleRuleFilter{And: &s3api.LifecycleRuleAndOperator{
			Prefix: r.Prefix, ObjectSizeGreaterThan: r.ObjectSizeGreaterThan, ObjectSizeLessThan: r.ObjectSizeLessThan,
			Tags: convert(r.TagFilters, func(t tag) s3api.Tag { return s3api.Tag{Key: t.Key, Value: t.Value} }),
		}},
	}
	if r.NoncurrentVersionExpirationInDays != nil {
		out.NoncurrentVersionExpiration = &s3api.NoncurrentVersionExpiration{NoncurrentDays: r.NoncurrentVersionExpirationInDays}
	}
	and := out.Filter.And
	if len(and.Tags) == 0 && and.ObjectSizeGreaterThan == nil && and.ObjectSizeLessThan == nil {
		out.Filter = &s3api.LifecycleRuleFilter{Prefix: r.Prefix}
	}
	e := &s3api.LifecycleExpiration{Days: r.ExpirationInDays, ExpiredObjectDeleteMarker: r.ExpiredObjectDeleteMarker}
	if r.ExpirationDate != "" {
		at, err := time.Parse(time.RFC3339, r.ExpirationDate)
		if err != nil {
			at, err = time.Parse(time.DateOnly, r.ExpirationDate)
		}
		if err != nil {
			return out, problemf("Value of property ExpirationDate must be a date")
		}
		e.Date = &at
	}
	if *e != (s3api.LifecycleExpiration{}) {
		out.Expiration = e
	}
	return out, nil
}

type bucketWebsite struct {
	ErrorDocument         string
	IndexDocument         string
	RedirectAllRequestsTo *s3api.RedirectAllRequestsTo
	RoutingRules          []struct {
		RedirectRule         *s3api.Redirect `cfn:",required"`
		RoutingRuleCondition *s3api.Condition
	}
}

func (q *request) bucketWebsite(ctx context.Context, p bucketProperties) error {
	w := p.WebsiteConfiguration
	if w == nil {
		_, err := q.s3().DeleteBucketWebsite(ctx, &s3api.DeleteBucketWebsiteInput{Bucket: q.Physical})
		return err
	}
	cfg := &s3api.WebsiteConfiguration{RedirectAllRequestsTo: w.RedirectAllRequestsTo}
	if w.IndexDocument != "" {
		cfg.IndexDocument = &s3api.IndexDocument{Suffix: w.IndexDocument}
	}
	if w.ErrorDocument != "" {
		cfg.ErrorDocument = &s3api.ErrorDocument{Key: w.ErrorDocument}
	}
	for _, r := range w.RoutingRules {
		cfg.RoutingRules = append(cfg.RoutingRules, s3api.RoutingRule{Condition: r.RoutingRuleCondition, Redirect: r.RedirectRule})
	}
	_, err := q.s3().PutBucketWebsite(ctx, &s3api.PutBucketWebsiteInput{Bucket: q.Physical, WebsiteConfiguration: cfg})
	return err
}
