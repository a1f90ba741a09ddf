package codecommit

import (
	"context"
	"errors"
	"strings"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
)

const heads = "refs/heads/"

func checkBranch(name string) error {
	if name == "" {
		return errBranchRequired
	}
	if len(name) > 256 || name == "@" || name == "HEAD" || strings.HasPrefix(name, "-") || git.IsObjectID(strings.ToLower(name)) || !git.CheckRefName(heads+name) {
		return errBadBranch(name)
	}
	return nil
}

// target reads what a ref of a repository points to; empty when it does not
// exist.
func target(ctx context.Context, tx *state.Tx, r *repository, ref string) (string, error) {
	id, err := state.Get[string](ctx, tx, `SELECT target FROM codecommit_ref WHERE repository = $1 AND name = $2`, r.ID, ref)
	if errors.Is(err, state.ErrNotFound) {
		return "", nil
	}
	return id, err
}

// branch finds a repository and what one of its branches points to; empty when
// there is no such branch.
func (s *Service) branch(ctx context.Context, c *call.Call, name, branch string) (r *repository, id string, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		if r, err = find(ctx, tx, c, name); err != nil {
			return err
		}
		id, err = target(ctx, tx, r, heads+branch)
		return err
	})
	return r, id, err
}

func (s *Service) createBranchNeeds(ctx context.Context, c *call.Call, in *api.CreateBranchInput) ([]call.Need, error) {
	return s.branchNeeds(ctx, c, "CreateBranch", in.RepositoryName, in.BranchName)
}

// createBranch makes a branch. Unlike a push it does not become the default
// branch, says AWS; but where there is a commit there is a default branch.
func (s *Service) createBranch(ctx context.Context, c *call.Call, in *api.CreateBranchInput) (*api.CreateBranchOutput, error) {
	if err := checkCommitID(in.CommitId); err != nil {
		return nil, err
	}
	r, id, err := s.branch(ctx, c, in.RepositoryName, in.BranchName)
	if err != nil {
		return nil, err
	}
	if id != "" {
		return nil, errBranchExists(in.BranchName)
	}
	err = s.read(ctx, r, func(o *git.Reader) error {
		typ, _, err := o.Stat(in.CommitId)
		if errors.Is(err, git.ErrNotFound) || err == nil && typ != git.CommitObject {
			return errNoCommit(in.CommitId)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = s.move(ctx, c, r, git.Command{Ref: heads + in.BranchName, Old: git.Zero, New: in.CommitId})
	if errors.Is(err, git.ErrMoved) {
		return nil, errBranchExists(in.BranchName)
	}
	return nil, err
}

func (s *Service) getBranchNeeds(ctx context.Context, c *call.Call, in *api.GetBranchInput) ([]call.Need, error) {
	if err := checkBranch(in.BranchName); err != nil {
		return nil, err
	}
	return s.needs(ctx, c, "GetBranch", in.RepositoryName)
}

func (s *Service) getBranch(ctx context.Context, c *call.Call, in *api.GetBranchInput) (*api.GetBranchOutput, error) {
	_, id, err := s.branch(ctx, c, in.RepositoryName, in.BranchName)
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, errNoBranch(in.BranchName)
	}
	return &api.GetBranchOutput{Branch: &api.BranchInfo{BranchName: in.BranchName, CommitId: id}}, nil
}

func (s *Service) listBranchesNeeds(ctx context.Context, c *call.Call, in *api.ListBranchesInput) ([]call.Need, error) {
	return s.needs(ctx, c, "ListBranches", in.RepositoryName)
}

func (s *Service) listBranches(ctx context.Context, c *call.Call, in *api.ListBranchesInput) (*api.ListBranchesOutput, error) {
	after := heads
	if in.NextToken != "" {
		parts, err := tokenParts(in.NextToken, 1)
		if err != nil {
			return nil, err
		}
		after = heads + parts[0]
	}
	var refs []string
	err := s.db.View(ctx, func(tx *state.Tx) error {
		r, err := find(ctx, tx, c, in.RepositoryName)
		if err != nil {
			return err
		}
		// refs/heads0 is what follows all of refs/heads/.
		refs, err = state.List[string](ctx, tx, `
			SELECT name FROM codecommit_ref WHERE repository = $1 AND name > $2 AND name < 'refs/heads0'
			ORDER BY name LIMIT $3`, r.ID, after, s.page+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &api.ListBranchesOutput{Branches: []string{}}
	for i, ref := range refs {
		if i == s.page {
			out.NextToken = pageToken(out.Branches[i-1])
			break
		}
		out.Branches = append(out.Branches, strings.TrimPrefix(ref, heads))
	}
	return out, nil
}

func (s *Service) deleteBranchNeeds(ctx context.Context, c *call.Call, in *api.DeleteBranchInput) ([]call.Need, error) {
	return s.branchNeeds(ctx, c, "DeleteBranch", in.RepositoryName, in.BranchName)
}

// deleteBranch removes a branch. One that does not exist is no error on AWS:
// the answer then names no branch.
func (s *Service) deleteBranch(ctx context.Context, c *call.Call, in *api.DeleteBranchInput) (*api.DeleteBranchOutput, error) {
	for {
		r, id, err := s.branch(ctx, c, in.RepositoryName, in.BranchName)
		if err != nil {
			return nil, err
		}
		if id == "" {
			return &api.DeleteBranchOutput{}, nil
		}
		if r.DefaultBranch == in.BranchName {
			return nil, errDefaultBranch
		}
		err = s.move(ctx, c, r, git.Command{Ref: heads + in.BranchName, Old: id, New: git.Zero})
		if errors.Is(err, git.ErrMoved) && ctx.Err() == nil && s.hasMoved(ctx, c, in, id) {
			continue // somebody pushed in between; what they pushed is deleted
		}
		if err != nil {
			return nil, err
		}
		return &api.DeleteBranchOutput{DeletedBranch: &api.BranchInfo{BranchName: in.BranchName, CommitId: id}}, nil
	}
}

// hasMoved reports whether the branch is recorded to be elsewhere by now.
func (s *Service) hasMoved(ctx context.Context, c *call.Call, in *api.DeleteBranchInput, from string) bool {
	_, id, err := s.branch(ctx, c, in.RepositoryName, in.BranchName)
	return err == nil && id != from
}

func (s *Service) updateDefaultBranchNeeds(ctx context.Context, c *call.Call, in *api.UpdateDefaultBranchInput) ([]call.Need, error) {
	if err := checkBranch(in.DefaultBranchName); err != nil {
		return nil, err
	}
	return s.needs(ctx, c, "UpdateDefaultBranch", in.RepositoryName)
}

// updateDefaultBranch changes the record and HEAD; an intent lasts as long as
// the two may differ.
func (s *Service) updateDefaultBranch(ctx context.Context, c *call.Call, in *api.UpdateDefaultBranchInput) (*api.UpdateDefaultBranchOutput, error) {
	mark := &intent{ID: c.NewID(), Trace: c.Trace, Caller: c.Principal.ARN, Created: c.Time}
	var r *repository
	err := s.db.Update(ctx, func(tx *state.Tx) (err error) {
		if r, err = find(ctx, tx, c, in.RepositoryName); err != nil {
			return err
		}
		id, err := target(ctx, tx, r, heads+in.DefaultBranchName)
		if err != nil {
			return err
		}
		if id == "" {
			return errNoBranch(in.DefaultBranchName)
		}
		if err := mark.insert(ctx, tx, r, nil); err != nil {
			return err
		}
		return touch(ctx, tx, r.ID, c.Time, `default_branch = $3`, in.DefaultBranchName)
	})
	if err != nil {
		return nil, err
	}
	if err := s.setHead(r, in.DefaultBranchName); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	return nil, s.db.Update(ctx, func(tx *state.Tx) error { return mark.remove(ctx, tx) })
}
