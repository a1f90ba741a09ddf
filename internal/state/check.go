package state

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sekisho/sekisho/internal/aws"
)

// Check looks for damage in the database itself, as far as its engine can tell,
// and in the outbox, and reports each thing with what is wrong with it.
// PostgreSQL has checksums of its own, which it compares with every read.
func (db *DB) Check(ctx context.Context, report func(thing, cause string)) error {
	if !db.Shared() {
		for _, pragma := range []string{"PRAGMA integrity_check", "PRAGMA foreign_key_check"} {
			if err := db.checkPragma(ctx, pragma, report); err != nil {
				return err
			}
		}
	}
	type event struct {
		ID    string `db:"id"`
		Event string `db:"event"`
	}
	return db.View(ctx, func(tx *Tx) error {
		waiting, err := List[event](ctx, tx, `SELECT id, event FROM state_outbox ORDER BY id`)
		for _, w := range waiting {
			var e aws.Event
			if err := json.Unmarshal([]byte(w.Event), &e); err != nil {
				report("event "+w.ID+" of the outbox", err.Error())
			}
		}
		return err
	})
}

func (db *DB) checkPragma(ctx context.Context, pragma string, report func(thing, cause string)) error {
	e, ok := db.engine.(*sqliteEngine)
	if !ok {
		return nil
	}
	found, err := e.pool.QueryContext(ctx, pragma)
	if err != nil {
		return fmt.Errorf("%s: %w", pragma, err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return err
	}
	for found.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			return err
		}
		if text := fmt.Sprint(values...); text != "ok" {
			report("database "+e.path, pragma+": "+text)
		}
	}
	return found.Err()
}
