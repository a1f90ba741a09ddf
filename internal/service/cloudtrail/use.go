package cloudtrail

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	// useEvery is how exact the time of a last use is. AWS shows uses after
	// hours; a busy caller here writes its rows once a minute.
	useEvery = time.Minute
	// useLasts is how long AWS tracks uses.
	useLasts = 400 * 24 * time.Hour
	// maxUses bounds what a process remembers to have written.
	maxUses = 50_000
)

// useRow is who used what with which key, and where.
type useRow struct{ principal, key, service, action, region string }

// uses remembers when this process last wrote each row.
type uses struct {
	mu      sync.Mutex
	written map[useRow]time.Time
}

// due returns the rows that a call touches and that are to be written.
func (u *uses) due(e *call.Entry) []useRow {
	c := e.Call
	row := useRow{principal: userOf(c.Principal), service: c.Service, region: eventRegion(c)}
	if row.principal == "" {
		return nil
	}
	if strings.HasPrefix(c.Principal.AccessKeyID, "AKIA") && !c.Principal.Temporary {
		row.key = c.Principal.AccessKeyID
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	var rows []useRow
	add := func(action string) {
		row.action = action
		if last, ok := u.written[row]; ok && c.Time.Sub(last) < useEvery {
			return
		}
		if !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
	}
	found := false
	for _, j := range e.Judgements {
		if service, action, ok := strings.Cut(j.Action, ":"); ok && service == c.Service {
			found = true
			add(action)
		}
	}
	if !found {
		add(c.Operation)
	}
	// Two writers that take the same rows take them in the same order.
	slices.SortFunc(rows, func(a, b useRow) int { return strings.Compare(a.action, b.action) })
	return rows
}

// wrote notes that rows are on disk.
func (u *uses) wrote(rows []useRow, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.written == nil || len(u.written) > maxUses {
		u.written = map[useRow]time.Time{}
	}
	for _, r := range rows {
		u.written[r] = at
	}
}

// userOf is the unique id of the user or role that calls, or the account of
// the root that does; empty for everybody else.
func userOf(p aws.Principal) string {
	switch p.Kind {
	case aws.Root:
		return p.Account
	case aws.User, aws.Session:
		id, _, _ := strings.Cut(p.ID, ":")
		return id
	}
	return ""
}

const upsertUse = `INSERT INTO cloudtrail_use (principal, access_key, service, action, region, at) VALUES ($1, $2, $3, $4, $5, $6)
	ON CONFLICT (principal, access_key, service, action, region) DO UPDATE SET at = excluded.at WHERE excluded.at > cloudtrail_use.at`

// recordUse writes the rows of a call.
func (s *Service) recordUse(ctx context.Context, tx *state.Tx, rows []useRow, at time.Time) error {
	for _, r := range rows {
		if _, err := tx.Exec(ctx, upsertUse, r.principal, r.key, r.service, r.action, r.region, at); err != nil {
			return err
		}
	}
	if len(rows) > 0 {
		tx.AfterCommit(func() { s.uses.wrote(rows, at) })
	}
	return nil
}

// used is a row as it is read.
type used struct {
	Principal string    `db:"principal"`
	Service   string    `db:"service"`
	Action    string    `db:"action"`
	Region    string    `db:"region"`
	At        time.Time `db:"at"`
}

func (u used) use() call.Use {
	return call.Use{PrincipalID: u.Principal, Service: u.Service, Action: u.Action, Region: u.Region, Time: u.At}
}

// KeyUse returns the last use of a long-term access key, and whether there is
// one.
func (s *Service) KeyUse(ctx context.Context, keyID string) (out call.Use, ok bool, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		row, err := state.Get[used](ctx, tx, `SELECT principal, service, action, region, at FROM cloudtrail_use
			WHERE access_key = $1 AND access_key <> '' ORDER BY at DESC, action LIMIT 1`, keyID)
		if errors.Is(err, state.ErrNotFound) {
			return nil
		}
		out, ok = row.use(), err == nil
		return err
	})
	return out, ok, err
}

// UsesOf returns what users, roles and roots, given by their unique ids (the
// account for a root), have used: each action's last use in each region.
func (s *Service) UsesOf(ctx context.Context, ids []string) ([]call.Use, error) {
	var out []call.Use
	err := s.db.View(ctx, func(tx *state.Tx) error {
		out = nil
		for _, id := range ids {
			rows, err := state.List[used](ctx, tx, `SELECT principal, service, action, region, MAX(at) AS at FROM cloudtrail_use
				WHERE principal = $1 GROUP BY principal, service, action, region ORDER BY service, action, region`, id)
			if err != nil {
				return err
			}
			for _, r := range rows {
				out = append(out, r.use())
			}
		}
		return nil
	})
	return out, err
}
