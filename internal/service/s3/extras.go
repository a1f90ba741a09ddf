package s3

import (
	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/call"
)

// Configurations by id, of which no bucket has any: to put one is not
// implemented, and so refused by name; to list, read or delete them answers
// as AWS does for a bucket that has none.

const (
	noConfiguration     = "NoSuchConfiguration"
	noConfigurationText = "The specified configuration does not exist."
)

func (s *Service) extraOperations() []call.Operation {
	const (
		analytics, putAnalytics = "s3:GetAnalyticsConfiguration", "s3:PutAnalyticsConfiguration"
		inventory, putInventory = "s3:GetInventoryConfiguration", "s3:PutInventoryConfiguration"
		metrics, putMetrics     = "s3:GetMetricsConfiguration", "s3:PutMetricsConfiguration"
		tiering, putTiering     = "s3:GetIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration"
	)
	return []call.Operation{
		call.Op("ListBucketAnalyticsConfigurations", onBucket[api.ListBucketAnalyticsConfigurationsInput](s, analytics),
			onExisting[api.ListBucketAnalyticsConfigurationsInput](s, func(*bucket) (*api.ListBucketAnalyticsConfigurationsOutput, error) {
				return &api.ListBucketAnalyticsConfigurationsOutput{IsTruncated: new(false)}, nil
			})),
		call.Op("ListBucketInventoryConfigurations", onBucket[api.ListBucketInventoryConfigurationsInput](s, inventory),
			onExisting[api.ListBucketInventoryConfigurationsInput](s, func(*bucket) (*api.ListBucketInventoryConfigurationsOutput, error) {
				return &api.ListBucketInventoryConfigurationsOutput{IsTruncated: new(false)}, nil
			})),
		call.Op("ListBucketMetricsConfigurations", onBucket[api.ListBucketMetricsConfigurationsInput](s, metrics),
			onExisting[api.ListBucketMetricsConfigurationsInput](s, func(*bucket) (*api.ListBucketMetricsConfigurationsOutput, error) {
				return &api.ListBucketMetricsConfigurationsOutput{IsTruncated: new(false)}, nil
			})),
		call.Op("ListBucketIntelligentTieringConfigurations", onBucket[api.ListBucketIntelligentTieringConfigurationsInput](s, tiering),
			onExisting[api.ListBucketIntelligentTieringConfigurationsInput](s, func(*bucket) (*api.ListBucketIntelligentTieringConfigurationsOutput, error) {
				return &api.ListBucketIntelligentTieringConfigurationsOutput{IsTruncated: new(false)}, nil
			})),

		call.Op("GetBucketAnalyticsConfiguration", onBucket[api.GetBucketAnalyticsConfigurationInput](s, analytics),
			absent[api.GetBucketAnalyticsConfigurationInput, api.GetBucketAnalyticsConfigurationOutput](s, noConfiguration, noConfigurationText)),
		call.Op("GetBucketInventoryConfiguration", onBucket[api.GetBucketInventoryConfigurationInput](s, inventory),
			absent[api.GetBucketInventoryConfigurationInput, api.GetBucketInventoryConfigurationOutput](s, noConfiguration, noConfigurationText)),
		call.Op("GetBucketMetricsConfiguration", onBucket[api.GetBucketMetricsConfigurationInput](s, metrics),
			absent[api.GetBucketMetricsConfigurationInput, api.GetBucketMetricsConfigurationOutput](s, noConfiguration, noConfigurationText)),
		call.Op("GetBucketIntelligentTieringConfiguration", onBucket[api.GetBucketIntelligentTieringConfigurationInput](s, tiering),
			absent[api.GetBucketIntelligentTieringConfigurationInput, api.GetBucketIntelligentTieringConfigurationOutput](s, noConfiguration, noConfigurationText)),

		call.Op("DeleteBucketAnalyticsConfiguration", onBucket[api.DeleteBucketAnalyticsConfigurationInput](s, putAnalytics),
			absent[api.DeleteBucketAnalyticsConfigurationInput, api.DeleteBucketAnalyticsConfigurationOutput](s, noConfiguration, noConfigurationText)),
		call.Op("DeleteBucketInventoryConfiguration", onBucket[api.DeleteBucketInventoryConfigurationInput](s, putInventory),
			absent[api.DeleteBucketInventoryConfigurationInput, api.DeleteBucketInventoryConfigurationOutput](s, noConfiguration, noConfigurationText)),
		call.Op("DeleteBucketMetricsConfiguration", onBucket[api.DeleteBucketMetricsConfigurationInput](s, putMetrics),
			absent[api.DeleteBucketMetricsConfigurationInput, api.DeleteBucketMetricsConfigurationOutput](s, noConfiguration, noConfigurationText)),
		call.Op("DeleteBucketIntelligentTieringConfiguration", onBucket[api.DeleteBucketIntelligentTieringConfigurationInput](s, putTiering),
			absent[api.DeleteBucketIntelligentTieringConfigurationInput, api.DeleteBucketIntelligentTieringConfigurationOutput](s, noConfiguration, noConfigurationText)),
	}
}
