package codecommit

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/sekisho/sekisho/internal/state"
)

// keptArrivals is how long it is known which push brought a commit: as long
// as the record of calls is kept.
const keptArrivals = 90 * 24 * time.Hour

// arrived notes which call brought a commit to a ref, and forgets old ones.
func (w *recorder) arrived(ctx context.Context, ref, commit, trace string) error {
	_, err := w.tx.Exec(ctx, `DELETE FROM codecommit_arrival WHERE repository = $1 AND created < $2`,
		w.repo.ID, state.Millis(w.now.Add(-keptArrivals)))
	if err != nil {
		return err
	}
	_, err = w.tx.Exec(ctx, `INSERT INTO codecommit_arrival (repository, commit_id, ref, trace, created) VALUES ($1, $2, $3, $4, $5)`,
		w.repo.ID, commit, ref, trace, state.Millis(w.now))
	return err
}

var commitPrefix = regexp.MustCompile(`^[0-9a-f]{7,40}$`)

// Trace returns the trace of the call that last made a ref point to a commit;
// seven or more digits of its id will do. It is empty when no such call is
// known, in no repository of any account.
func (s *Service) Trace(ctx context.Context, commit string) (trace string, err error) {
	if !commitPrefix.MatchString(commit) {
		return "", nil
	}
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		trace, err = state.Get[string](ctx, tx, `
			SELECT trace FROM codecommit_arrival WHERE commit_id >= $1 AND commit_id < $2 ORDER BY created DESC LIMIT 1`, commit, commit+"g")
		return err
	})
	if errors.Is(err, state.ErrNotFound) {
		return "", nil
	}
	return trace, err
}
