package codecommit

import (
	"context"

	"github.com/sekisho/sekisho/internal/state"
)

// Regions returns the regions in which an account has a repository of a name,
// in order. The gateway asks for git requests whose address names none.
func (s *Service) Regions(ctx context.Context, account, name string) (regions []string, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		regions, err = state.List[string](ctx, tx,
			`SELECT region FROM codecommit_repository WHERE account = $1 AND name = $2 ORDER BY region`, account, name)
		return err
	})
	return regions, err
}
