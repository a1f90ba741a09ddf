package organizations

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// cache keeps what binds accounts. It goes by the one version that every
// transaction of the service raises which changes what binds anybody.
//
// On a database of this process alone the version is known without asking:
// written is raised before a change is acknowledged. On a shared database
// another process may have made the change, and the version is read each time,
// which is one look-up by primary key.
type cache struct {
	written atomic.Int64
	view    atomic.Pointer[view]
}

// view is what is known at one version. Accounts are looked up when somebody
// asks for them.
type view struct {
	s       *Service
	version int64
	none    bool // there is no organization

	mu        sync.RWMutex
	members   map[string]*call.Member // nil for accounts in no organization
	documents map[string]*policy.Document
}

const currentVersion = `SELECT version FROM organizations_version WHERE id = 1`

// write runs fn in a transaction that changes what binds accounts. What is
// cached is out of date once the transaction is on disk.
func (s *Service) write(ctx context.Context, fn func(tx *state.Tx) error) error {
	return s.db.Update(ctx, func(tx *state.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		version, err := state.Get[int64](ctx, tx, `UPDATE organizations_version SET version = version + 1 WHERE id = 1 RETURNING version`)
		if err != nil {
			return err
		}
		tx.AfterCommit(func() { s.cache.outdate(version) })
		return nil
	})
}

// outdate raises the version that this process has written.
func (c *cache) outdate(version int64) {
	for {
		old := c.written.Load()
		if old >= version || c.written.CompareAndSwap(old, version) {
			return
		}
	}
}

// Current returns the organizations that there are, and nil when there are
// none. It implements what the checkpoint asks.
func (s *Service) Current(ctx context.Context) (call.Organizations, error) {
	v := s.cache.view.Load()
	if v == nil || !s.fresh(ctx, v.version) {
		var err error
		if v, err = s.renew(ctx); err != nil {
			return nil, err
		}
	}
	if v.none {
		return nil, nil
	}
	return v, nil
}

// fresh reports whether what was read at a version still holds.
func (s *Service) fresh(ctx context.Context, version int64) bool {
	if !s.db.Shared() {
		return s.cache.written.Load() <= version
	}
	var now int64
	err := s.db.View(ctx, func(tx *state.Tx) error {
		var err error
		now, err = state.Get[int64](ctx, tx, currentVersion)
		return err
	})
	return err == nil && now == version
}

// renew begins a view at the newest version.
func (s *Service) renew(ctx context.Context) (*view, error) {
	v := &view{s: s, members: map[string]*call.Member{}, documents: map[string]*policy.Document{}}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		var err error
		if v.version, err = state.Get[int64](ctx, tx, currentVersion); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM organizations_organization`)
		v.none = n == 0
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the organizations: %w", err)
	}
	s.cache.view.Store(v)
	return v, nil
}

// Member returns where an account stands in its organization, and nil when it
// is in none.
func (v *view) Member(ctx context.Context, account string) (*call.Member, error) {
	if account == "" {
		return nil, nil
	}
	v.mu.RLock()
	m, ok := v.members[account]
	v.mu.RUnlock()
	if ok {
		return m, nil
	}
	var version int64
	err := v.s.db.View(ctx, func(tx *state.Tx) error {
		var err error
		if version, err = state.Get[int64](ctx, tx, currentVersion); err != nil {
			return err
		}
		m, err = v.load(ctx, tx, account, version)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what binds account %s: %w", account, err)
	}
	if version == v.version { // else a change came in between, and the next call begins anew
		v.mu.Lock()
		v.members[account] = m
		v.mu.Unlock()
	}
	return m, nil
}

// load reads and compiles what binds an account. No policy binds the
// management account.
func (v *view) load(ctx context.Context, tx *state.Tx, id string, version int64) (*call.Member, error) {
	o, err := organizationOf(ctx, tx, id)
	if errors.Is(err, errNotInUse) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := o.account(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	way, err := o.way(ctx, tx, a.node)
	if err != nil {
		return nil, err
	}
	m := &call.Member{Organization: o.ID, Path: o.path(way)}
	if id == o.Management {
		return m, nil
	}
	if !a.Closed.IsZero() {
		m.SCPs = closed(policy.SCP, o.arn(id))
		m.RCPs = closed(policy.RCP, o.arn(id))
		return m, nil
	}
	if m.SCPs, err = v.levels(ctx, tx, o, way, scp, version); err != nil {
		return nil, err
	}
	m.RCPs, err = v.levels(ctx, tx, o, way, rcp, version)
	return m, err
}

// levels are the policies of a type on the way from the root to an account.
func (v *view) levels(ctx context.Context, tx *state.Tx, o organization, way []node, policyType string, version int64) ([][]policy.Source, error) {
	if !o.enabled(policyType) {
		return nil, nil
	}
	var levels [][]policy.Source
	for _, n := range way {
		rows, err := o.on(ctx, tx, n.ID, policyType)
		if err != nil {
			return nil, err
		}
		level := make([]policy.Source, len(rows))
		for i, p := range rows {
			doc, err := v.document(p, version)
			if err != nil {
				return nil, err
			}
			level[i] = policy.Source{Kind: p.kind(), Name: p.arn(o), On: o.arn(n.ID), Doc: doc, Fixed: p.managed()}
		}
		levels = append(levels, level)
	}
	return levels, nil
}

// document compiles a policy once for all accounts of the view.
func (v *view) document(p policyRow, version int64) (*policy.Document, error) {
	v.mu.RLock()
	doc := v.documents[p.ID]
	v.mu.RUnlock()
	if doc != nil && version == v.version {
		return doc, nil
	}
	doc, err := policy.Parse(p.Content, p.kind())
	if err != nil {
		return nil, fmt.Errorf("stored policy %s: %w", p.ID, err)
	}
	if version == v.version {
		v.mu.Lock()
		v.documents[p.ID] = doc
		v.mu.Unlock()
	}
	return doc, nil
}

// closed binds a closed account: its principals may do nothing, and nobody may
// use its resources. AWS documents that, and not how it says so.
func closed(kind policy.Kind, on string) [][]policy.Source {
	return [][]policy.Source{{{Kind: kind, Name: call.ClosedSid, On: on, Doc: denyAll[kind], Fixed: true}}}
}

// denyAll says in both languages that nothing is allowed.
var denyAll = map[policy.Kind]*policy.Document{
	policy.SCP: must(policy.Parse(`{"Version":"2012-10-17","Statement":[{"Sid":"`+call.ClosedSid+`","Effect":"Deny","Action":"*","Resource":"*"}]}`, policy.SCP)),
	policy.RCP: must(policy.Parse(`{"Version":"2012-10-17","Statement":[{"Sid":"`+call.ClosedSid+`","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`, policy.RCP)),
}

func must(d *policy.Document, err error) *policy.Document {
	if err != nil {
		panic(err) // the texts are constants
	}
	return d
}

// Names returns what the units and policies of all organizations are called, by
// their ARNs.
func (s *Service) Names(ctx context.Context) (map[string]string, error) {
	type named struct {
		Management string `db:"management"`
		Org        string `db:"org"`
		ID         string `db:"id"`
		Type       string `db:"type"`
		Name       string `db:"name"`
	}
	names := map[string]string{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		list, err := state.List[named](ctx, tx, `
			SELECT o.management, n.org, n.id, '' AS type, n.name FROM organizations_node n
				JOIN organizations_organization o ON o.id = n.org WHERE n.kind = 'ORGANIZATIONAL_UNIT'
			UNION ALL
			SELECT o.management, p.org, p.id, p.type, p.name FROM organizations_policy p
				JOIN organizations_organization o ON o.id = p.org`)
		for _, row := range list {
			o := organization{ID: row.Org, Management: row.Management}
			arn := o.arn(row.ID)
			if row.Type != "" {
				arn = policyRow{ID: row.ID, Org: row.Org, Type: row.Type}.arn(o)
			}
			names[arn] = row.Name
		}
		return err
	})
	return names, err
}
