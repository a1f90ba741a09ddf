package cloudformation

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
)

const configuredBucket = `
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: configured-bucket
      ObjectLockEnabled: true
      ObjectLockConfiguration: {ObjectLockEnabled: Enabled, Rule: {DefaultRetention: {Mode: GOVERNANCE, Days: "7"}}}
      NotificationConfiguration: {EventBridgeConfiguration: {EventBridgeEnabled: true}}
      LifecycleConfiguration:
        Rules:
          - {Id: logs, Status: Enabled, Prefix: logs/, ExpirationInDays: 30, NoncurrentVersionExpiration: {NoncurrentDays: 5, NewerNoncurrentVersions: 2}}
          - {Id: temp, Status: Enabled, TagFilters: [{Key: temp, Value: "yes"}], ExpirationDate: "2090-01-01"}
      CorsConfiguration: {CorsRules: [{AllowedMethods: [GET], AllowedOrigins: ["*"], ExposedHeaders: [ETag], MaxAge: 60}]}
      WebsiteConfiguration:
        IndexDocument: index.html
        ErrorDocument: error.html
        RoutingRules: [{RoutingRuleCondition: {KeyPrefixEquals: old/}, RedirectRule: {ReplaceKeyPrefixWith: new/}}]
`

const plainBucket = `
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties: {BucketName: configured-bucket, ObjectLockEnabled: true}
`

// TestBucketConfiguration has a stack put each configuration of a bucket, and
// take it away.
func TestBucketConfiguration(t *testing.T) {
	real(t, func(w *realWorld) {
		ctx, stacks, c := w.Context(), api.Client{Invoker: w.root()}, s3api.Client{Invoker: w.root()}
		must[*api.CreateStackOutput](w)(stacks.CreateStack(ctx, &api.CreateStackInput{StackName: "b", TemplateBody: configuredBucket}))
		w.want("b", "CREATE_COMPLETE")
		const name = "configured-bucket"
		lock := must[*s3api.GetObjectLockConfigurationOutput](w)(c.GetObjectLockConfiguration(ctx, &s3api.GetObjectLockConfigurationInput{Bucket: name}))
		if d := lock.ObjectLockConfiguration.Rule.DefaultRetention; d.Mode != "GOVERNANCE" || *d.Days != 7 {
			w.Errorf("default retention %+v", d)
		}
		n := must[*s3api.GetBucketNotificationConfigurationOutput](w)(c.GetBucketNotificationConfiguration(ctx, &s3api.GetBucketNotificationConfigurationInput{Bucket: name}))
		if n.EventBridgeConfiguration == nil {
			w.Error("no events")
		}
		life := must[*s3api.GetBucketLifecycleConfigurationOutput](w)(c.GetBucketLifecycleConfiguration(ctx, &s3api.GetBucketLifecycleConfigurationInput{Bucket: name}))
		if len(life.Rules) != 2 || life.Rules[0].Filter.Prefix != "logs/" || *life.Rules[0].NoncurrentVersionExpiration.NewerNoncurrentVersions != 2 ||
			life.Rules[1].Expiration.Date.Year() != 2090 {
			w.Errorf("rules %+v", life.Rules)
		}
		cors := must[*s3api.GetBucketCorsOutput](w)(c.GetBucketCors(ctx, &s3api.GetBucketCorsInput{Bucket: name}))
		if diff := cmp.Diff([]s3api.CORSRule{{AllowedMethods: []string{"GET"}, AllowedOrigins: []string{"*"}, ExposeHeaders: []string{"ETag"}, MaxAgeSeconds: new(int64(60))}}, cors.CORSRules); diff != "" {
			w.Error(diff)
		}
		site := must[*s3api.GetBucketWebsiteOutput](w)(c.GetBucketWebsite(ctx, &s3api.GetBucketWebsiteInput{Bucket: name}))
		if site.IndexDocument.Suffix != "index.html" || site.ErrorDocument.Key != "error.html" || site.RoutingRules[0].Redirect.ReplaceKeyPrefixWith != "new/" {
			w.Errorf("website %+v", site)
		}
		must[*api.UpdateStackOutput](w)(stacks.UpdateStack(ctx, &api.UpdateStackInput{StackName: "b", TemplateBody: plainBucket}))
		w.want("b", "UPDATE_COMPLETE")
		for want, ask := range map[string]func() error{
			"NoSuchLifecycleConfiguration": func() error {
				_, err := c.GetBucketLifecycleConfiguration(ctx, &s3api.GetBucketLifecycleConfigurationInput{Bucket: name})
				return err
			},
			"NoSuchCORSConfiguration": func() error {
				_, err := c.GetBucketCors(ctx, &s3api.GetBucketCorsInput{Bucket: name})
				return err
			},
			"NoSuchWebsiteConfiguration": func() error {
				_, err := c.GetBucketWebsite(ctx, &s3api.GetBucketWebsiteInput{Bucket: name})
				return err
			},
		} {
			if got := errorCode(ask()); got != want {
				w.Errorf("after the update %s, want %s", got, want)
			}
		}
		if lock := must[*s3api.GetObjectLockConfigurationOutput](w)(c.GetObjectLockConfiguration(ctx, &s3api.GetObjectLockConfigurationInput{Bucket: name})); lock.ObjectLockConfiguration.Rule != nil {
			w.Error("the default retention stayed")
		}
	})
}
