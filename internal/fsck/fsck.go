// Package fsck has the words in which a check of the store speaks, and what is
// common to all tables that hold sealed values: to try whether they open, and
// to seal them anew under another master key.
package fsck

import (
	"context"
	"fmt"
	"strings"

	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Thing  string `json:"thing"`  // what it is about, by ARN, row or file
	Cause  string `json:"cause"`  // what is wrong with it
	WayOut string `json:"wayOut"` // what can be done about it
	// Note marks what is no damage: left-overs that clean themselves up, and
	// what could not be checked.
	Note bool `json:"note,omitempty"`
}

// String is the finding on one line.
func (f Finding) String() string {
	kind := "damage"
	if f.Note {
		kind = "note"
	}
	return fmt.Sprintf("%s: %s: %s; %s", kind, f.Thing, f.Cause, f.WayOut)
}

// Report takes a finding.
type Report func(Finding)

// Column is a column of a table that holds values sealed under the master key.
// Its texts are parts of SQL and come from the code alone.
type Column struct {
	Table, Column string
	// Key is the primary key.
	Key []string
	// Where is the condition under which the value is sealed; "" is always.
	// Empty values never are.
	Where string
	// Bound is the expression of what the value is bound to.
	Bound string
	// Purpose is the box's (seal.Master.For).
	Purpose string
	// Within takes what is sealed out of a longer value, and puts a fresh one
	// in its place; nil where the value is nothing else.
	Within func(value []byte) (sealed []byte, put func(fresh []byte) []byte, err error)
}

// open tries whether the value of a row opens.
func (c *Column) open(box *seal.Box, r *row) error {
	_, _, err := c.fresh(box, r)
	return err
}

// fresh is the value of a row under the current key; old says whether it was
// under an older one.
func (c *Column) fresh(box *seal.Box, r *row) (value []byte, old bool, err error) {
	sealed, put := r.Sealed, func(b []byte) []byte { return b }
	if c.Within != nil {
		if sealed, put, err = c.Within(r.Sealed); err != nil {
			return nil, false, err
		}
	}
	fresh, old, err := box.Reseal(sealed, []byte(r.Bound))
	if err != nil {
		return nil, false, err
	}
	return put(fresh), old, nil
}

// row is a sealed value and where it stands.
type row struct {
	K1     string `db:"k1"`
	K2     string `db:"k2"`
	K3     string `db:"k3"`
	K4     string `db:"k4"`
	Bound  string `db:"bound"`
	Sealed []byte `db:"sealed"`
}

const maxKey = 4

func (r *row) key(c *Column) []any { return []any{r.K1, r.K2, r.K3, r.K4}[:len(c.Key)] }

// name is the row as a finding names it.
func (r *row) name(c *Column) string {
	texts := make([]string, 0, maxKey)
	for _, k := range r.key(c) {
		texts = append(texts, fmt.Sprint(k))
	}
	return c.Table + "." + c.Column + " of " + strings.Join(texts, " ")
}

// page is how many rows are read, or written, at once.
const page = 200

func (c *Column) query(first bool) string {
	selected := make([]string, 0, maxKey+2)
	for i := range maxKey {
		expression := "''"
		if i < len(c.Key) {
			expression = "CAST(" + c.Key[i] + " AS TEXT)"
		}
		selected = append(selected, fmt.Sprintf("%s AS k%d", expression, i+1))
	}
	selected = append(selected, c.Bound+" AS bound", c.Column+" AS sealed")
	where := "LENGTH(" + c.Column + ") > 0"
	if c.Where != "" {
		where += " AND " + c.Where
	}
	if !first {
		marks := make([]string, len(c.Key))
		for i := range marks {
			marks[i] = fmt.Sprintf("$%d", i+1)
		}
		where += " AND (" + strings.Join(c.Key, ", ") + ") > (" + strings.Join(marks, ", ") + ")"
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d",
		strings.Join(selected, ", "), c.Table, where, strings.Join(c.Key, ", "), page)
}

// pages calls fn for the rows with sealed values, in order.
func (c *Column) pages(ctx context.Context, db *state.DB, fn func([]row) error) error {
	var rows []row
	for first := true; first || len(rows) == page; first = false {
		var after []any
		if !first {
			after = rows[len(rows)-1].key(c)
		}
		err := db.View(ctx, func(tx *state.Tx) (err error) {
			rows, err = state.List[row](ctx, tx, c.query(first), after...)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c.Table, err)
		}
		if err := fn(rows); err != nil {
			return err
		}
	}
	return nil
}

const sealedWayOut = "restore the row from a backup, or the master key that belongs to the database"

// CheckSealed tries to open every sealed value.
func CheckSealed(ctx context.Context, db *state.DB, master *seal.Master, columns []Column, report Report) error {
	for _, c := range columns {
		box := master.For(c.Purpose)
		err := c.pages(ctx, db, func(rows []row) error {
			for i := range rows {
				if err := c.open(box, &rows[i]); err != nil {
					report(Finding{Thing: rows[i].name(&c), Cause: err.Error(), WayOut: sealedWayOut})
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Reseal seals every value that lies under an older master key under the
// current one, and returns how many. It may be cut off at any point and begun
// again. A value that opens under no key is reported and left as it is.
func Reseal(ctx context.Context, db *state.DB, master *seal.Master, columns []Column, report Report) (int, error) {
	total := 0
	for _, c := range columns {
		box := master.For(c.Purpose)
		err := c.pages(ctx, db, func(rows []row) error {
			n, err := c.reseal(ctx, db, box, rows, report)
			total += n
			return err
		})
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// reseal rewrites rows in one transaction. A row that changed since it was
// read has been sealed anew by whoever changed it.
func (c *Column) reseal(ctx context.Context, db *state.DB, box *seal.Box, rows []row, report Report) (int, error) {
	type change struct {
		row   *row
		fresh []byte
	}
	var changes []change
	for i := range rows {
		fresh, old, err := c.fresh(box, &rows[i])
		if err != nil {
			report(Finding{Thing: rows[i].name(c), Cause: err.Error(), WayOut: sealedWayOut})
		}
		if old {
			changes = append(changes, change{&rows[i], fresh})
		}
	}
	if len(changes) == 0 {
		return 0, nil
	}
	statement := "UPDATE " + c.Table + " SET " + c.Column + " = $1 WHERE " + c.Column + " = $2"
	for i, k := range c.Key {
		statement += fmt.Sprintf(" AND %s = $%d", k, i+3)
	}
	return len(changes), db.Update(ctx, func(tx *state.Tx) error {
		for _, ch := range changes {
			if _, err := tx.Exec(ctx, statement, append([]any{ch.fresh, ch.row.Sealed}, ch.row.key(c)...)...); err != nil {
				return fmt.Errorf("%s: %w", ch.row.name(c), err)
			}
		}
		return nil
	})
}
