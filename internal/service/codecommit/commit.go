package codecommit

import (
	"context"
	"errors"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
)

func checkCommitID(id string) error {
	if id == "" {
		return errCommitIDRequired
	}
	if !git.IsObjectID(id) {
		return aws.Errorf("InvalidCommitIdException", "The commit ID %s is not valid. A commit ID is the full SHA-1 of a commit.", id)
	}
	return nil
}

// read lends a reader of a repository's objects.
func (s *Service) read(ctx context.Context, r *repository, fn func(o *git.Reader) error) error {
	repo, err := s.repo(r)
	if err != nil {
		return err
	}
	o, err := repo.Reader(ctx)
	if err != nil {
		return err
	}
	defer o.Close()
	return fn(o)
}

func (s *Service) getCommitNeeds(ctx context.Context, c *call.Call, in *api.GetCommitInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GetCommit", in.RepositoryName)
}

func (s *Service) getCommit(ctx context.Context, c *call.Call, in *api.GetCommitInput) (*api.GetCommitOutput, error) {
	if err := checkCommitID(in.CommitId); err != nil {
		return nil, err
	}
	r, err := s.load(ctx, c, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &api.GetCommitOutput{}
	err = s.read(ctx, r, func(o *git.Reader) error {
		out.Commit, err = readCommit(o, in.CommitId)
		return err
	})
	return out, err
}

// readCommit reads a commit as the API shows it.
func readCommit(o *git.Reader, id string) (*api.Commit, error) {
	commit, err := exactCommit(o, id)
	if err != nil {
		return nil, err
	}
	return &api.Commit{
		CommitId:       commit.ID,
		TreeId:         commit.Tree,
		Parents:        append([]string{}, commit.Parents...),
		Message:        commit.Message,
		Author:         userInfo(commit.Author),
		Committer:      userInfo(commit.Committer),
		AdditionalData: commit.Extra,
	}, nil
}

// exactCommit reads the commit with this id, not the one a tag with this id
// leads to.
func exactCommit(o *git.Reader, id string) (*git.Commit, error) {
	commit, err := o.Commit(id)
	if errors.Is(err, git.ErrNotFound) || err == nil && commit.ID != id {
		return nil, aws.Errorf("CommitIdDoesNotExistException", "The commit ID %s does not exist.", id)
	}
	return commit, err
}

func userInfo(s git.Signature) *api.UserInfo {
	return &api.UserInfo{Name: s.Name, Email: s.Email, Date: s.Date}
}

func (s *Service) batchGetCommitsNeeds(ctx context.Context, c *call.Call, in *api.BatchGetCommitsInput) ([]call.Need, error) {
	return s.needs(ctx, c, "BatchGetCommits", in.RepositoryName)
}

func (s *Service) batchGetCommits(ctx context.Context, c *call.Call, in *api.BatchGetCommitsInput) (*api.BatchGetCommitsOutput, error) {
	if len(in.CommitIds) == 0 {
		return nil, errCommitIDsRequired
	}
	if len(in.CommitIds) > 100 {
		return nil, errTooManyCommits
	}
	r, err := s.load(ctx, c, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &api.BatchGetCommitsOutput{Commits: []api.Commit{}, Errors: []api.BatchGetCommitsError{}}
	err = s.read(ctx, r, func(o *git.Reader) error {
		for _, id := range in.CommitIds {
			err := checkCommitID(id)
			var commit *api.Commit
			if err == nil {
				commit, err = readCommit(o, id)
			}
			if e, ok := errors.AsType[*aws.Error](err); ok {
				out.Errors = append(out.Errors, api.BatchGetCommitsError{CommitId: id, ErrorCode: e.Code, ErrorMessage: e.Message})
				continue
			}
			if err != nil {
				return err
			}
			out.Commits = append(out.Commits, *commit)
		}
		return nil
	})
	return out, err
}
