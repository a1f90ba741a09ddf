package codecommit

import (
	"context"
	"errors"
	"fmt"

	"github.com/sekisho/sekisho/internal/fsck"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/state"
)

const repositoryWayOut = "restore the repository's directory from a backup, or push what is missing from a clone"

// Check has git check every repository and compares its refs with the record.
// What a push left between the two is a note: the next start settles it.
func (s *Service) Check(ctx context.Context, report fsck.Report) error {
	var all []repository
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		all, err = state.List[repository](ctx, tx, selectRepository+`ORDER BY id`)
		return err
	})
	if err != nil {
		return err
	}
	for i := range all {
		if err := s.check(ctx, &all[i], report); err != nil {
			return fmt.Errorf("repository %s: %w", all[i].arn(), err)
		}
	}
	return nil
}

func (s *Service) check(ctx context.Context, r *repository, report fsck.Report) error {
	repo, err := s.repo(r)
	if err != nil {
		return err
	}
	lines, err := repo.Check(ctx)
	if errors.Is(err, git.ErrNoRepository) {
		report(fsck.Finding{Thing: r.arn(), Cause: "its directory is missing", WayOut: repositoryWayOut})
		return nil
	}
	if err != nil {
		return err
	}
	for _, line := range lines {
		report(fsck.Finding{Thing: r.arn(), Cause: "git fsck: " + line, WayOut: repositoryWayOut})
	}
	return s.checkRefs(ctx, r, repo, report)
}

func (s *Service) checkRefs(ctx context.Context, r *repository, repo *git.Repository, report fsck.Report) error {
	disk, err := repo.Refs(ctx)
	if err != nil {
		report(fsck.Finding{Thing: r.arn(), Cause: "its refs cannot be read: " + err.Error(), WayOut: repositoryWayOut})
		return nil
	}
	type ref struct {
		Name   string `db:"name"`
		Target string `db:"target"`
	}
	var recorded []ref
	var pending int64
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		if recorded, err = state.List[ref](ctx, tx, `SELECT name, target FROM codecommit_ref WHERE repository = $1 ORDER BY name`, r.ID); err != nil {
			return err
		}
		pending, err = state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM codecommit_push WHERE repository = $1`, r.ID)
		return err
	})
	if err != nil {
		return err
	}
	differs := func(name, cause string) {
		f := fsck.Finding{Thing: r.arn() + " " + name, Cause: cause, WayOut: repositoryWayOut}
		if pending > 0 {
			f.Note, f.WayOut = true, "a push was cut off: the next start settles it"
		}
		report(f)
	}
	for _, want := range recorded {
		switch got, there := disk[want.Name]; {
		case !there:
			differs(want.Name, "the ref is missing; the record has it at "+want.Target)
		case got != want.Target:
			differs(want.Name, "the ref is at "+got+"; the record has it at "+want.Target)
		}
		delete(disk, want.Name)
	}
	for name, target := range disk {
		differs(name, "the ref is at "+target+"; the record does not have it")
	}
	return nil
}
