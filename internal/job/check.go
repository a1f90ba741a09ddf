package job

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sekisho/sekisho/internal/fsck"
	"github.com/sekisho/sekisho/internal/state"
)

// Check reports jobs that cannot be run, and those that were given up.
func Check(ctx context.Context, db *state.DB, report fsck.Report) error {
	type row struct {
		ID      string `db:"id"`
		Kind    string `db:"kind"`
		Key     string `db:"key"`
		Payload string `db:"payload"`
		State   string `db:"state"`
		Error   string `db:"error"`
	}
	return db.View(ctx, func(tx *state.Tx) error {
		list, err := state.List[row](ctx, tx, `SELECT id, kind, key, payload, state, error FROM job_job ORDER BY id`)
		for _, j := range list {
			thing := fmt.Sprintf("job %s (%s %s)", j.ID, j.Kind, j.Key)
			switch {
			case j.Payload != "" && !json.Valid([]byte(j.Payload)):
				report(fsck.Finding{Thing: thing, Cause: "its payload is not JSON", WayOut: "restore the row from a backup, or delete it"})
			case j.State == "dead":
				report(fsck.Finding{Thing: thing, Cause: "it was given up: " + j.Error, WayOut: "nothing runs it again by itself", Note: true})
			case j.State != "waiting" && j.State != "running":
				report(fsck.Finding{Thing: thing, Cause: "its state is " + j.State, WayOut: "restore the row from a backup, or delete it"})
			}
		}
		return err
	})
}
