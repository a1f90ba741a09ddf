// Package codecommit is AWS CodeCommit: repositories, their branches, commits
// and files, git over HTTPS, and the archives that pipelines take from them.
//
// What a ref points to is recorded in the database; git's own directory is
// where it happens. A change is written down as intended, made by git, and
// then recorded together with its event, so that no crash in between loses it
// (see record.go).
package codecommit

import (
	"context"
	"embed"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the service's tables.
func Schema() state.Schema { return state.Schema{Name: "codecommit", Migrations: migrations} }

// Service is CodeCommit.
type Service struct {
	db   *state.DB
	git  *git.Store
	door call.Door

	// page is how many items a listing returns at one time.
	page int
	// inline is the size up to which an archive is uploaded before
	// UploadArchive answers.
	inline int
	now    func() time.Time // for what runs without a call

	mu      sync.Mutex
	uploads map[string]context.CancelFunc // by archive id
}

// New returns the service. door leads to S3; uploads of large archives and the
// removal of deleted repositories run on queue.
func New(db *state.DB, store *git.Store, door call.Door, queue *job.Queue) *Service {
	s := &Service{
		db: db, git: store, door: door,
		page: 1000, inline: 8 << 20, now: time.Now,
		uploads: map[string]context.CancelFunc{},
	}
	queue.Handle(archiveJob, s.uploadJob)
	queue.Handle(removeJob, s.remove)
	queue.Handle(maintainJob, s.maintain)
	return s
}

// Operations is the service's table of contents.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		call.Op("CreateRepository", s.createRepositoryNeeds, s.createRepository),
		call.Op("GetRepository", s.getRepositoryNeeds, s.getRepository),
		call.Op("BatchGetRepositories", s.batchGetRepositoriesNeeds, s.batchGetRepositories),
		call.Op("ListRepositories", s.listRepositoriesNeeds, s.listRepositories),
		call.Op("DeleteRepository", s.deleteRepositoryNeeds, s.deleteRepository),
		call.Op("UpdateRepositoryName", s.updateRepositoryNameNeeds, s.updateRepositoryName),
		call.Op("UpdateRepositoryDescription", s.updateRepositoryDescriptionNeeds, s.updateRepositoryDescription),
		call.Op("TagResource", s.tagResourceNeeds, s.tagResource),
		call.Op("UntagResource", s.untagResourceNeeds, s.untagResource),
		call.Op("ListTagsForResource", s.listTagsForResourceNeeds, s.listTagsForResource),

		call.Op("CreateBranch", s.createBranchNeeds, s.createBranch),
		call.Op("GetBranch", s.getBranchNeeds, s.getBranch),
		call.Op("ListBranches", s.listBranchesNeeds, s.listBranches),
		call.Op("DeleteBranch", s.deleteBranchNeeds, s.deleteBranch),
		call.Op("UpdateDefaultBranch", s.updateDefaultBranchNeeds, s.updateDefaultBranch),

		call.Op("GetCommit", s.getCommitNeeds, s.getCommit),
		call.Op("BatchGetCommits", s.batchGetCommitsNeeds, s.batchGetCommits),
		call.Op("GetFile", s.getFileNeeds, s.getFile),
		call.Op("GetFolder", s.getFolderNeeds, s.getFolder),
		call.Op("GetBlob", s.getBlobNeeds, s.getBlob),
		call.Op("GetDifferences", s.getDifferencesNeeds, s.getDifferences),

		call.Op("CreateCommit", s.createCommitNeeds, s.createCommit),
		call.Op("PutFile", s.putFileNeeds, s.putFile),
		call.Op("DeleteFile", s.deleteFileNeeds, s.deleteFile),

		call.Op("GitPull", s.gitPullNeeds, s.gitPull),
		call.Op("GitPush", s.gitPushNeeds, s.gitPush),

		call.Op("UploadArchive", s.uploadArchiveNeeds, s.uploadArchive),
		call.Op("GetUploadArchiveStatus", s.getUploadArchiveStatusNeeds, s.getUploadArchiveStatus),
		call.Op("CancelUploadArchive", s.cancelUploadArchiveNeeds, s.cancelUploadArchive),
	}
}
