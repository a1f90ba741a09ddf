package codepipeline

import (
	"context"
	"errors"
	"regexp"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// Reach returns patterns of the objects that a pipeline's runs read and
// write, as the Resource of a policy names them: its artifacts, and what its
// deploy actions put. Their keys differ from run to run; a permission on the
// patterns is good for the next run too. A pipeline that does not exist
// reaches nothing.
func (s *Service) Reach(ctx context.Context, pipelineARN string) ([]string, error) {
	a, ok := aws.ParseARN(pipelineARN)
	if !ok || a.Service != "codepipeline" {
		return nil, nil
	}
	var found *pipeline
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		found, err = ref{Account: a.Account, Region: a.Region, Name: a.Resource}.find(ctx, tx)
		return err
	})
	if e, ok := errors.AsType[*aws.Error](err); ok && e.Code == "PipelineNotFoundException" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return reach(found.Declared), nil
}

func reach(d *api.PipelineDeclaration) []string {
	var patterns []string
	artifacts := func(s api.ArtifactStore) {
		patterns = append(patterns, objects(s.Location, artifactFolder(d.Name)+"/*"))
	}
	if d.ArtifactStore != nil {
		artifacts(*d.ArtifactStore)
	}
	for _, s := range d.ArtifactStores {
		artifacts(s)
	}
	for _, st := range d.Stages {
		for _, a := range st.Actions {
			if a.ActionTypeId != nil && a.ActionTypeId.Category == "Deploy" && a.ActionTypeId.Provider == "S3" {
				patterns = append(patterns, deployed(a.Configuration)...)
			}
		}
	}
	return patterns
}

// objects is the Resource for keys of a bucket; key is a pattern.
func objects(bucket, key string) string { return aws.NewARN("s3", "", "", bucket+"/"+key) }

// changing are the parts of a configuration's value that differ from run to
// run: variables, and the placeholders of expand.
var changing = regexp.MustCompile(`#\{[^}]*\}|\{datetime\}`)

// deployed are the objects that an S3 deploy action puts. A bucket that is
// known at run time only is none of them.
func deployed(config map[string]string) []string {
	bucket, key := config["BucketName"], config["ObjectKey"]
	if changing.MatchString(bucket) {
		return nil
	}
	var pattern strings.Builder
	at := 0
	for _, m := range changing.FindAllStringIndex(key, -1) {
		pattern.WriteString(policy.Escape(key[at:m[0]]) + "*")
		at = m[1]
	}
	pattern.WriteString(policy.Escape(key[at:]))
	if config["Extract"] != "true" {
		return []string{objects(bucket, pattern.String())}
	}
	return []string{objects(bucket, objectKey(pattern.String(), "*"))}
}
