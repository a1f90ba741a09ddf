package iam

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// kind is a kind of entity, as in iam_entity and in ARNs.
type kind string

const (
	user  kind = "user"
	group kind = "group"
	role  kind = "role"
)

// entity is a user, group or role.
type entity struct {
	Account     string    `db:"account"`
	Kind        string    `db:"kind"`
	Folded      string    `db:"folded"`
	Name        string    `db:"name"`
	Path        string    `db:"path"`
	ID          string    `db:"id"`
	Created     time.Time `db:"created"`
	Description string    `db:"description"`
	Trust       string    `db:"trust"`
	MaxSession  int64     `db:"max_session"`
	Boundary    string    `db:"boundary"`
}

const entityColumns = `account, kind, folded, name, path, id, created, description, trust, max_session, boundary`

const (
	findEntity     = `SELECT ` + entityColumns + ` FROM iam_entity WHERE account = $1 AND kind = $2 AND folded = $3`
	findEntityByID = `SELECT ` + entityColumns + ` FROM iam_entity WHERE id = $1`
	insertEntity   = `INSERT INTO iam_entity (` + entityColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (account, kind, folded) DO NOTHING`
	updateEntity = `UPDATE iam_entity
		SET folded = $2, name = $3, path = $4, description = $5, trust = $6, max_session = $7, boundary = $8 WHERE id = $1`
	deleteEntity = `DELETE FROM iam_entity WHERE id = $1`
	listEntities = `SELECT ` + entityColumns + ` FROM iam_entity
		WHERE account = $1 AND kind = $2 AND folded > $3 AND substr(path, 1, length($4)) = $4
		ORDER BY folded LIMIT $5`
)

// find returns an entity by its name, whatever its case.
func find(ctx context.Context, tx *state.Tx, account string, k kind, name string) (entity, error) {
	e, err := state.Get[entity](ctx, tx, findEntity, account, string(k), strings.ToLower(name))
	if errors.Is(err, state.ErrNotFound) {
		return entity{}, noSuch("The %s with name %s cannot be found.", k, name)
	}
	return e, err
}

// insert adds an entity.
func insert(ctx context.Context, tx *state.Tx, e entity) error {
	n, err := tx.Exec(ctx, insertEntity, e.Account, e.Kind, e.Folded, e.Name, e.Path, e.ID, e.Created, e.Description, e.Trust, e.MaxSession, e.Boundary)
	if err == nil && n == 0 {
		return exists("%s with name %s already exists.", title(kind(e.Kind)), e.Name)
	}
	if err != nil {
		return err
	}
	return entityQuotas[kind(e.Kind)].check(ctx, tx, e.Account)
}

// save writes what may change in an entity.
func (e entity) save(ctx context.Context, tx *state.Tx) error {
	_, err := tx.Exec(ctx, updateEntity, e.ID, strings.ToLower(e.Name), e.Name, e.Path, e.Description, e.Trust, e.MaxSession, e.Boundary)
	return err
}

func (e entity) arn() string { return entityARN(e.Account, kind(e.Kind), e.Path, e.Name) }

func entityARN(account string, k kind, path, name string) string {
	return aws.NewARN("iam", "", account, string(k)+orSlash(path)+name)
}

func orSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// newID returns a unique id: AIDA, AGPA, AROA or ANPA and 17 more characters.
func newID(prefix string) string { return prefix + aws.RandomText(17, aws.Base32) }

var idPrefix = map[kind]string{user: "AIDA", group: "AGPA", role: "AROA"}

func newEntity(account string, k kind, path, name string, created time.Time) entity {
	return entity{
		Account: account, Kind: string(k), Folded: strings.ToLower(name), Name: name, Path: orSlash(path),
		ID: newID(idPrefix[k]), Created: created.Truncate(time.Second),
	}
}

func (e entity) boundary() *api.AttachedPermissionsBoundary {
	if e.Boundary == "" {
		return nil
	}
	return &api.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: e.Boundary}
}

func (e entity) user() api.User {
	return api.User{Path: e.Path, UserName: e.Name, UserId: e.ID, Arn: e.arn(), CreateDate: &e.Created}
}

func (e entity) group() api.Group {
	return api.Group{Path: e.Path, GroupName: e.Name, GroupId: e.ID, Arn: e.arn(), CreateDate: &e.Created}
}

// shown is the entity with its trust policy as it is read.
func (e entity) shown(ctx context.Context, in policy.Directory) (entity, error) {
	var err error
	e.Trust, err = policy.Show(ctx, e.Trust, in)
	return e, err
}

// role is a role as answers have it, of an entity that is shown.
func (e entity) role() api.Role {
	return api.Role{
		Path: e.Path, RoleName: e.Name, RoleId: e.ID, Arn: e.arn(), CreateDate: &e.Created,
		AssumeRolePolicyDocument: encoded(e.Trust), Description: e.Description, MaxSessionDuration: &e.MaxSession,
	}
}

// encoded is a policy as answers carry it: percent-encoded by RFC 3986.
func encoded(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// deletable refuses to delete an entity that policies hang on.
func deletable(ctx context.Context, tx *state.Tx, e entity) error {
	if any, err := has(ctx, tx, `SELECT 1 FROM iam_attachment WHERE entity_id = $1 LIMIT 1`, e.ID); any || err != nil {
		return orConflict(err, "Cannot delete entity, must detach all policies first.")
	}
	if any, err := has(ctx, tx, `SELECT 1 FROM iam_inline WHERE entity_id = $1 LIMIT 1`, e.ID); any || err != nil {
		return orConflict(err, "Cannot delete entity, must delete policies first.")
	}
	return nil
}

func orConflict(err error, message string) error {
	if err != nil {
		return err
	}
	return conflict("%s", message)
}

// has reports whether a query returns a row.
func has(ctx context.Context, tx *state.Tx, sql string, args ...any) (bool, error) {
	_, err := state.Get[int64](ctx, tx, sql, args...)
	if errors.Is(err, state.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// remove deletes an entity and its tags.
func (e entity) remove(ctx context.Context, tx *state.Tx) error {
	if _, err := tx.Exec(ctx, `DELETE FROM iam_tag WHERE owner_id = $1`, e.ID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, deleteEntity, e.ID)
	return err
}
