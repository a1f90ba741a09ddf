package e2e

import "testing"

// TestTerraformBuckets has Terraform make every configuration of a bucket,
// find no drift and take it all down again.
func TestTerraformBuckets(t *testing.T) {
	t.Parallel()
	terraform(t, start(t), "pipeline", "testdata/buckets")
}
