package codepipeline

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	codecommitapi "github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/aws"
)

// codecommitSource takes a branch's newest commit as a ZIP. Everything, the
// write into the artifact bucket included, is done with the action's
// credentials; they need not be good for more than AWS documents as the least
// a source action gets by with, so the bucket itself is not looked at.
type codecommitSource struct{}

func (codecommitSource) bounds() bounds       { return bounds{0, 0, 1, 1} }
func (codecommitSource) limit() time.Duration { return time.Hour }

func (codecommitSource) keys() []configKey {
	return []configKey{
		{name: "RepositoryName", required: true},
		{name: "BranchName", required: true},
		{name: "PollForSourceChanges", values: []string{"true", "false"}},
		{name: "OutputArtifactFormat", values: []string{"CODE_ZIP"}, refuse: map[string]string{
			"CODEBUILD_CLONE_REF": "OutputArtifactFormat CODEBUILD_CLONE_REF is not implemented by sekisho; use CODE_ZIP",
		}},
	}
}

func (codecommitSource) run(ctx context.Context, w *work) (actionOutput, error) {
	invoker, err := w.invoker(ctx, w.pipeline.Region)
	if err != nil {
		return actionOutput{}, err
	}
	client := codecommitapi.Client{Invoker: invoker}
	repo, branch := w.config["RepositoryName"], w.config["BranchName"]
	commit, err := w.override("COMMIT_ID")
	if err != nil {
		return actionOutput{}, err
	}
	if commit == "" {
		if commit, err = head(ctx, client, repo, branch); err != nil {
			return actionOutput{}, err
		}
	}
	got, err := client.GetCommit(ctx, &codecommitapi.GetCommitInput{RepositoryName: repo, CommitId: commit})
	if err != nil {
		return actionOutput{}, codecommitFailure(repo, branch, err)
	}
	if got.Commit == nil {
		return actionOutput{}, fmt.Errorf("GetCommit %s answered without a commit", commit)
	}
	out := commitOutput(w.pipeline.Region, repo, branch, commit, got.Commit)
	if err := w.upload(ctx, client, repo, commit); err != nil {
		return out, err
	}
	out.Artifacts = w.outputs
	return out, nil
}

// head is the commit a branch points to.
func head(ctx context.Context, client codecommitapi.Client, repo, branch string) (string, error) {
	got, err := client.GetBranch(ctx, &codecommitapi.GetBranchInput{RepositoryName: repo, BranchName: branch})
	if err != nil {
		return "", codecommitFailure(repo, branch, err)
	}
	if got.Branch == nil || got.Branch.CommitId == "" {
		return "", fmt.Errorf("GetBranch %s of %s answered without a commit", branch, repo)
	}
	return got.Branch.CommitId, nil
}

func commitOutput(region, repo, branch, id string, c *codecommitapi.Commit) actionOutput {
	url := fmt.Sprintf("https://%s.console.aws.amazon.com/codecommit/home#/repository/%s/commit/%s", region, repo, id)
	out := actionOutput{
		ExternalID: id, Summary: c.Message, URL: url,
		Revision: &revision{ID: id, Summary: c.Message, URL: url, ChangeID: id, Source: repo + " " + branch},
		Variables: map[string]string{
			"RepositoryName": repo, "BranchName": branch, "CommitId": id, "CommitMessage": cut(c.Message, 100<<10),
		},
	}
	if c.Author != nil {
		out.Variables["AuthorDate"], _ = isoDate(c.Author.Date)
	}
	if c.Committer != nil {
		var at time.Time
		out.Variables["CommitterDate"], at = isoDate(c.Committer.Date)
		out.Revision.Created = at
	}
	return out
}

// isoDate reads a date as git writes it, seconds and an offset.
func isoDate(git string) (string, time.Time) {
	seconds, _, _ := strings.Cut(git, " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return git, time.Time{}
	}
	t := time.Unix(n, 0).UTC()
	return t.Format("2006-01-02T15:04:05Z"), t
}

// upload has CodeCommit put the commit's files into the artifact store.
func (w *work) upload(ctx context.Context, client codecommitapi.Client, repo, commit string) error {
	to := w.outputs[0].S3location
	in := &codecommitapi.UploadArchiveInput{RepositoryName: repo, CommitId: commit, S3Bucket: to.Bucket, S3Key: to.Key}
	if w.store.EncryptionKey != nil {
		in.KmsKeyId = w.store.EncryptionKey.Id
	}
	if role, ok := aws.ParseARN(w.declared.RoleArn); ok && role.Account != w.pipeline.Account {
		in.Acl = "bucket-owner-full-control"
	}
	started, err := client.UploadArchive(ctx, in)
	if err != nil {
		return codecommitFailure(repo, "", err)
	}
	ask := &codecommitapi.GetUploadArchiveStatusInput{RepositoryName: repo, ArchiveId: started.ArchiveId}
	for pause := time.Millisecond; ; pause = min(2*pause, time.Second) {
		status, err := client.GetUploadArchiveStatus(ctx, ask)
		if err != nil {
			return codecommitFailure(repo, "", err)
		}
		switch status.Status {
		case codecommitapi.ArchiveComplete:
			return nil
		case codecommitapi.ArchiveError:
			return uploadFailure(to.Bucket, to.Key, status)
		case codecommitapi.ArchiveCancelled:
			return fail(jobFailed, "The upload of commit %s of the AWS CodeCommit repository named %s was cancelled", commit, repo)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			client.CancelUploadArchive(context.WithoutCancel(ctx), &codecommitapi.CancelUploadArchiveInput{RepositoryName: repo, ArchiveId: started.ArchiveId})
			return ctx.Err()
		}
	}
}

// uploadFailure words S3's answer to CodeCommit.
func uploadFailure(bucket, key string, s *codecommitapi.GetUploadArchiveStatusOutput) error {
	e := aws.Errorf(s.ErrorCode, "%s", s.ErrorMessage).WithStatus(s.ErrorStatus)
	if s.ErrorRequestId != "" {
		e = e.With("RequestId", s.ErrorRequestId)
	}
	return s3Failure(bucket, fmt.Sprintf("the artifact with key %s could not be put into the Amazon S3 bucket named %s", key, bucket), e)
}

// codecommitFailure words an answer of CodeCommit as CodePipeline does.
func codecommitFailure(repo, branch string, err error) error {
	e, ok := asError(err)
	switch {
	case !ok || trouble(e):
		return err
	case denied(e):
		return fail(permissionError, "The service role or action role doesn’t have the permissions required to access the AWS CodeCommit repository named %s. "+
			"Update the IAM role permissions, and then try again. Error: %s", repo, e.Message)
	case e.Code == "BranchDoesNotExistException":
		return fail(configurationError, "The action failed because no branch named %s was found in the selected AWS CodeCommit repository %s. "+
			"Make sure you are using the correct branch name, and then try again. Error: null", branch, repo)
	case e.Code == "RepositoryDoesNotExistException":
		return fail(configurationError, "The action failed because no AWS CodeCommit repository named %s was found. "+
			"Make sure you are using the correct repository name, and then try again. Error: null", repo)
	}
	return fail(configurationError, "The action failed because the AWS CodeCommit repository named %s answered: %s. Error: %s", repo, e.Code, e.Message)
}

// override is the revision that whoever started the execution asked for in
// place of the newest one; "" means none.
func (w *work) override(kind string) (string, error) {
	list, err := w.execution.overridden()
	if err != nil {
		return "", err
	}
	for _, o := range list {
		if o.ActionName == w.declared.Name && o.RevisionType == kind {
			return o.RevisionValue, nil
		}
	}
	return "", nil
}
