package codepipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
)

func TestReach(t *testing.T) {
	deploy := func(config map[string]string) []api.StageDeclaration {
		return []api.StageDeclaration{{Name: "Deploy", Actions: []api.ActionDeclaration{{
			Name: "Deliver", ActionTypeId: &api.ActionTypeId{Category: "Deploy", Owner: "AWS", Provider: "S3", Version: "1"}, Configuration: config,
		}}}}
	}
	for _, tt := range []struct {
		name   string
		config map[string]string
		want   string
	}{
		{"a folder", map[string]string{"BucketName": "b", "Extract": "true", "ObjectKey": "release"}, "b/release/*"},
		{"the whole bucket", map[string]string{"BucketName": "b", "Extract": "true"}, "b/*"},
		{"one object", map[string]string{"BucketName": "b", "Extract": "false", "ObjectKey": "site.zip"}, "b/site.zip"},
		{"a time", map[string]string{"BucketName": "b", "Extract": "true", "ObjectKey": "r/{datetime}/"}, "b/r/*/*"},
		{"a variable", map[string]string{"BucketName": "b", "Extract": "false", "ObjectKey": "#{SourceVariables.CommitId}.zip"}, "b/*.zip"},
		{"a star in the key", map[string]string{"BucketName": "b", "Extract": "false", "ObjectKey": "a*b"}, "b/a${*}b"},
		{"a bucket known at run time", map[string]string{"BucketName": "#{variables.bucket}", "Extract": "true"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &api.PipelineDeclaration{
				Name: "view_tracking_pipeline_of_ours", ArtifactStore: &api.ArtifactStore{Type: "S3", Location: "artifacts"}, Stages: deploy(tt.config),
			}
			want := []string{"arn:aws:s3:::artifacts/view_tracking_pipeli/*"}
			if tt.want != "" {
				want = append(want, "arn:aws:s3:::"+tt.want)
			}
			if diff := cmp.Diff(want, reach(d)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
