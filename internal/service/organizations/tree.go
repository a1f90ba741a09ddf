package organizations

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/state"
)

// organization is a row of its table.
type organization struct {
	ID         string    `db:"id"`
	Management string    `db:"management"`
	Features   string    `db:"features"`
	Root       string    `db:"root"`
	SCPs       bool      `db:"scps"`
	RCPs       bool      `db:"rcps"`
	Created    time.Time `db:"created"`
}

const (
	organizationColumns = `o.id, o.management, o.features, o.root, o.scps, o.rcps, o.created`
	findOrganization    = `SELECT ` + organizationColumns + ` FROM organizations_organization o
		JOIN organizations_node n ON n.org = o.id WHERE n.id = $1 AND n.kind = 'ACCOUNT'`
)

// organizationOf returns the organization that an account is in.
func organizationOf(ctx context.Context, tx *state.Tx, account string) (organization, error) {
	o, err := state.Get[organization](ctx, tx, findOrganization, account)
	if errors.Is(err, state.ErrNotFound) {
		return o, errNotInUse
	}
	return o, err
}

// Kinds of node, as AWS names them.
const (
	rootKind    = "ROOT"
	unitKind    = "ORGANIZATIONAL_UNIT"
	accountKind = "ACCOUNT"
)

// node is a root, a unit or an account.
type node struct {
	ID      string    `db:"id"`
	Org     string    `db:"org"`
	Parent  string    `db:"parent"`
	Kind    string    `db:"kind"`
	Name    string    `db:"name"`
	Created time.Time `db:"created"`
}

const (
	nodeColumns  = `id, org, parent, kind, name, created`
	findNode     = `SELECT ` + nodeColumns + ` FROM organizations_node WHERE id = $1 AND org = $2`
	insertNode   = `INSERT INTO organizations_node (` + nodeColumns + `) VALUES ($1, $2, $3, $4, $5, $6)`
	listChildren = `SELECT ` + nodeColumns + ` FROM organizations_node
		WHERE org = $1 AND parent = $2 AND kind = $3 AND id > $4 ORDER BY id LIMIT $5`
	countKind = `SELECT COUNT(*) FROM organizations_node WHERE org = $1 AND kind = $2`
)

// find returns a node of an organization, or else the error missing.
func (o organization) find(ctx context.Context, tx *state.Tx, id string, missing error) (node, error) {
	n, err := state.Get[node](ctx, tx, findNode, id, o.ID)
	if errors.Is(err, state.ErrNotFound) {
		return n, missing
	}
	return n, err
}

// parent returns a root or unit.
func (o organization) parent(ctx context.Context, tx *state.Tx, id string, missing error) (node, error) {
	n, err := o.find(ctx, tx, id, missing)
	if err == nil && n.Kind == accountKind {
		return n, missing
	}
	return n, err
}

// ofKind returns a node of one kind.
func (o organization) ofKind(ctx context.Context, tx *state.Tx, kind, id string, missing error) (node, error) {
	n, err := o.find(ctx, tx, id, missing)
	if err == nil && n.Kind != kind {
		return n, missing
	}
	return n, err
}

// way returns the nodes from the root down to n.
func (o organization) way(ctx context.Context, tx *state.Tx, n node) ([]node, error) {
	down := []node{n}
	for n.Parent != "" {
		var err error
		if n, err = state.Get[node](ctx, tx, findNode, n.Parent, o.ID); err != nil {
			return nil, err
		}
		down = append([]node{n}, down...)
	}
	return down, nil
}

// path is the way to a container as aws:PrincipalOrgPaths has it:
// o-…/r-…/ou-…/. The account itself is no part of it.
func (o organization) path(way []node) string {
	var b strings.Builder
	b.WriteString(o.ID + "/")
	for _, n := range way {
		if n.Kind != accountKind {
			b.WriteString(n.ID + "/")
		}
	}
	return b.String()
}

// insert adds a node, with the policies that every node has from the
// beginning.
func (o organization) insert(ctx context.Context, tx *state.Tx, n node) error {
	if _, err := tx.Exec(ctx, insertNode, n.ID, o.ID, n.Parent, n.Kind, n.Name, n.Created); err != nil {
		return err
	}
	for _, t := range policyTypes {
		if o.enabled(t) {
			if err := o.attach(ctx, tx, n.ID, t, fullAccess[t].ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove deletes a node and what hangs on it.
func (o organization) remove(ctx context.Context, tx *state.Tx, id string) error {
	for _, sql := range []string{
		`DELETE FROM organizations_attachment WHERE target = $1`,
		`DELETE FROM organizations_tag WHERE resource = $1`,
		`DELETE FROM organizations_account WHERE id = $1`,
		`DELETE FROM organizations_node WHERE id = $1`,
	} {
		if _, err := tx.Exec(ctx, sql, id); err != nil {
			return err
		}
	}
	return nil
}

// arn is the ARN of something in an organization, by its id.
func (o organization) arn(id string) string { return thingARN(o.Management, o.ID, id) }

// thingARN is the ARN of a node, a policy that customers made, or a handshake.
// A policy's needs its type: see policyRow.arn.
func thingARN(management, org, id string) string {
	kind := "account"
	switch prefix, _, _ := strings.Cut(id, "-"); prefix {
	case "o":
		return aws.NewARN("organizations", "", management, "organization/"+id)
	case "r":
		kind = "root"
	case "ou":
		kind = "ou"
	case "p":
		kind = "policy"
	case "h":
		return aws.NewARN("organizations", "", management, "handshake/"+org+"/invite/"+id)
	}
	return aws.NewARN("organizations", "", management, kind+"/"+org+"/"+id)
}
