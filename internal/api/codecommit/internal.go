package codecommit

import (
	"context"
	"io"

	"github.com/sekisho/sekisho/internal/call"
)

// The operations in this file are in no public model. AWS names them as IAM
// permissions only, so their shapes are ours. They never cross the wire; their
// aws tags say which members the record of calls shows.

// GitPullInput asks for one step of a git fetch or clone over smart HTTP.
//
// The operation writes the whole body of the HTTP answer to Out, byte for
// byte: with Advertise the answer to GET info/refs?service=git-upload-pack
// (with the "# service" line where the protocol has it), otherwise the answer
// to POST git-upload-pack. It sets no headers; the gateway does, before the
// first byte:
//
//	Advertise   Content-Type: application/x-git-upload-pack-advertisement
//	otherwise   Content-Type: application/x-git-upload-pack-result
//	both        Cache-Control: no-cache, max-age=0, must-revalidate
//
// An *aws.Error is returned only while nothing has been written: the gateway
// turns RepositoryDoesNotExistException into 404, InvalidRepositoryNameException
// and MalformedGitRequestException into 400, refusals into 403. Any error after
// the first byte breaks the connection off. The operation flushes nothing by
// itself: Out decides whether each Write goes out at once, which it should,
// because git shows progress by them.
type GitPullInput struct {
	RepositoryName string `aws:"repositoryName"`
	// Advertise asks for info/refs.
	Advertise bool
	// Protocol is the value of the Git-Protocol header; empty means version 0.
	Protocol string
	// Body is the request's body, already decompressed. Not read when
	// Advertise is set. A Read fails when the client vanishes.
	Body io.Reader
	// Out takes the answer's body.
	Out io.Writer
}

// GitPullOutput is empty: the answer went to Out.
type GitPullOutput struct{}

// GitPushInput asks for one step of a git push over smart HTTP. Everything
// said of GitPullInput holds, with git-receive-pack for git-upload-pack. A
// refused branch is no error of the operation: the answer in Out says so, and
// git shows it beside the branch's name. Likewise a push that git itself
// refuses.
type GitPushInput struct {
	RepositoryName string `aws:"repositoryName"`
	// Advertise asks for info/refs.
	Advertise bool
	// Protocol is the value of the Git-Protocol header; empty means version 0.
	Protocol string
	// Body is the request's body, already decompressed. Not read when
	// Advertise is set. A Read fails when the client vanishes.
	Body io.Reader
	// Out takes the answer's body.
	Out io.Writer
}

// GitPushOutput says what a push changed, for the record of the call.
type GitPushOutput struct {
	References []GitReference `aws:"references"`
}

// GitReference is one ref a push changed. Commit is what it points to now;
// empty means that it was deleted.
type GitReference struct {
	Ref    string `aws:"ref"`
	Commit string `aws:"commit"`
}

// UploadArchiveInput asks for a ZIP of a commit's files to be put into a
// bucket, with the caller's own permissions there.
type UploadArchiveInput struct {
	RepositoryName string `aws:"repositoryName"`
	CommitId       string `aws:"commitId"`
	S3Bucket       string `aws:"s3Bucket"`
	S3Key          string `aws:"s3Key"`
	// KmsKeyId is the key of SSE-KMS; empty means the bucket account's
	// default key. The object is encrypted with SSE-KMS in both cases.
	KmsKeyId string `aws:"kmsKeyId"`
	// Acl is the canned ACL sent with the object; empty sends none.
	Acl string `aws:"acl"`
}

// UploadArchiveOutput names the upload. A small archive has ended, well or
// badly, when UploadArchive answers.
type UploadArchiveOutput struct {
	ArchiveId string `aws:"archiveId"`
}

// States of an upload.
const (
	ArchiveInProgress = "IN_PROGRESS"
	ArchiveComplete   = "COMPLETE"
	ArchiveCancelled  = "CANCELLED"
	ArchiveError      = "ERROR"
)

// GetUploadArchiveStatusInput asks how an upload stands.
type GetUploadArchiveStatusInput struct {
	RepositoryName string `aws:"repositoryName"`
	ArchiveId      string `aws:"archiveId"`
}

// GetUploadArchiveStatusOutput is how an upload stands. With Status ERROR the
// other members are S3's answer, unchanged: its error code (AccessDenied,
// NoSuchBucket, KMS.DisabledException …), message, HTTP status and request id.
// An error of ours, not S3's, has ErrorCode InternalFailure.
type GetUploadArchiveStatusOutput struct {
	Status       string `aws:"status"`
	ErrorCode    string `aws:"errorCode"`
	ErrorMessage string `aws:"errorMessage"`
	// ErrorStatus is the HTTP status S3 answers with; 0 when unknown.
	ErrorStatus int
	// ErrorRequestId is S3's request id; empty when unknown.
	ErrorRequestId string `aws:"errorRequestId"`
	// VersionId and ETag are the stored object's, with Status COMPLETE.
	VersionId string `aws:"versionId"`
	ETag      string `aws:"eTag"`
}

// CancelUploadArchiveInput asks for an upload to be given up. One that has
// ended is left as it is.
type CancelUploadArchiveInput struct {
	RepositoryName string `aws:"repositoryName"`
	ArchiveId      string `aws:"archiveId"`
}

// CancelUploadArchiveOutput is empty.
type CancelUploadArchiveOutput struct{}

// GitPull reads from a repository over the git protocol.
func (c Client) GitPull(ctx context.Context, in *GitPullInput) (*GitPullOutput, error) {
	return call.Invoke[GitPullOutput](ctx, c, "codecommit", "GitPull", in)
}

// GitPush writes to a repository over the git protocol.
func (c Client) GitPush(ctx context.Context, in *GitPushInput) (*GitPushOutput, error) {
	return call.Invoke[GitPushOutput](ctx, c, "codecommit", "GitPush", in)
}

// UploadArchive puts a ZIP of a commit's files into a bucket.
func (c Client) UploadArchive(ctx context.Context, in *UploadArchiveInput) (*UploadArchiveOutput, error) {
	return call.Invoke[UploadArchiveOutput](ctx, c, "codecommit", "UploadArchive", in)
}

// GetUploadArchiveStatus tells how an upload stands.
func (c Client) GetUploadArchiveStatus(ctx context.Context, in *GetUploadArchiveStatusInput) (*GetUploadArchiveStatusOutput, error) {
	return call.Invoke[GetUploadArchiveStatusOutput](ctx, c, "codecommit", "GetUploadArchiveStatus", in)
}

// CancelUploadArchive gives an upload up.
func (c Client) CancelUploadArchive(ctx context.Context, in *CancelUploadArchiveInput) (*CancelUploadArchiveOutput, error) {
	return call.Invoke[CancelUploadArchiveOutput](ctx, c, "codecommit", "CancelUploadArchive", in)
}
