package kms

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// ref is what a request's KeyId names: a key, or an alias that stands for one.
type ref struct {
	account, region string
	id              string // of the key; empty until an alias is resolved
	alias           string // with its prefix; empty when the key was named
}

func (r ref) keyARN() string { return aws.NewARN("kms", r.region, r.account, "key/"+r.id) }

func (r ref) aliasARN() string { return aws.NewARN("kms", r.region, r.account, r.alias) }

const aliasPrefix = "alias/"

var keyIDForm = regexp.MustCompile(`^(mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)

// keyRef reads a KeyId that may name a key only, as management operations
// take it: by its id in the caller's account, or by its ARN.
func keyRef(c *call.Call, text string) (ref, error) {
	r, err := anyRef(c, text)
	if err == nil && r.alias != "" {
		return ref{}, aws.Errorf("InvalidArnException", "Key Aliases are not supported for this operation.")
	}
	return r, err
}

// anyRef reads a KeyId that may also name an alias.
func anyRef(c *call.Call, text string) (ref, error) {
	r := ref{account: c.Account(), region: c.Region}
	name := text
	if strings.HasPrefix(text, "arn:") {
		a, ok := aws.ParseARN(text)
		if !ok || a.Service != "kms" || a.Partition != aws.Partition || !aws.IsAccountID(a.Account) {
			return ref{}, aws.Errorf("InvalidArnException", "Invalid arn %s", text)
		}
		if a.Region != c.Region {
			return ref{}, aws.Errorf("NotFoundException", "Invalid arn %s", a.Region)
		}
		r.account, name = a.Account, strings.TrimPrefix(a.Resource, "key/")
		if name == a.Resource && !strings.HasPrefix(name, aliasPrefix) {
			return ref{}, aws.Errorf("InvalidArnException", "Invalid arn %s", text)
		}
	}
	switch {
	case r.account == "":
		return ref{}, aws.Errorf("NotFoundException", "Invalid keyId '%s'", text)
	case strings.HasPrefix(name, aliasPrefix) && len(name) > len(aliasPrefix):
		r.alias = name
	case keyIDForm.MatchString(name):
		r.id = name
	default:
		return ref{}, aws.Errorf("NotFoundException", "Invalid keyId '%s'", text)
	}
	return r, nil
}

// resolve finds the key an alias stands for. The alias's absence is
// state.ErrNotFound.
func (r ref) resolve(ctx context.Context, tx *state.Tx) (ref, error) {
	if r.id != "" {
		return r, nil
	}
	id, err := state.Get[string](ctx, tx, `SELECT key_id FROM kms_alias WHERE account = $1 AND region = $2 AND name = $3`,
		r.account, r.region, r.alias)
	if err != nil {
		return r, err
	}
	r.id = id
	return r, nil
}

func errNoAlias(arn string) *aws.Error {
	return aws.Errorf("NotFoundException", "Alias %s is not found.", arn)
}

func errNoKey(arn string) *aws.Error {
	return aws.Errorf("NotFoundException", "Key '%s' does not exist", arn)
}

// key is a row of kms_key.
type key struct {
	Account     string `db:"account"`
	Region      string `db:"region"`
	ID          string `db:"id"`
	Manager     string `db:"manager"`
	Description string `db:"description"`
	State       string `db:"state"`
	Policy      string `db:"policy"`
	Created     int64  `db:"created"`
	Deletion    int64  `db:"deletion"`
	Version     int64  `db:"version"`
	Rotates     bool   `db:"rotates"`
	Period      int64  `db:"period"`
	NextRotate  int64  `db:"next_rotation"`
	Spec        string `db:"spec"`
	Usage       string `db:"key_usage"`
	Origin      string `db:"origin"`
	MultiRegion string `db:"multi_region"`    // primary, replica or empty
	Window      int64  `db:"deletion_window"` // days, of a primary key that waits for its replicas' deletion
}

const keyColumns = `account, region, id, manager, description, state, policy, created, deletion, version, rotates, period, next_rotation,
	spec, key_usage, origin, multi_region, deletion_window`

// The states of a key.
const (
	enabled                = "Enabled"
	disabled               = "Disabled"
	pendingImport          = "PendingImport"
	pendingDeletion        = "PendingDeletion"
	pendingReplicaDeletion = "PendingReplicaDeletion"
)

func (k key) ref() ref { return ref{account: k.Account, region: k.Region, id: k.ID} }

func (k key) arn() string { return k.ref().keyARN() }

// usable refuses keys that must not be used for cryptography or be granted.
func (k key) usable() error {
	if k.State == disabled {
		return aws.Errorf("DisabledException", "%s is disabled.", k.arn())
	}
	return k.complete()
}

// complete refuses keys that wait for their deletion, or for the import of
// material.
func (k key) complete() error {
	if k.State == pendingImport {
		return errPendingImport(k.arn())
	}
	return k.alive()
}

func errPendingImport(arn string) *aws.Error {
	return aws.Errorf("KMSInvalidStateException", "%s is pending import.", arn)
}

// alive refuses keys that wait for their deletion.
func (k key) alive() error {
	switch k.State {
	case pendingDeletion:
		return aws.Errorf("KMSInvalidStateException", "%s is pending deletion.", k.arn())
	case pendingReplicaDeletion:
		return aws.Errorf("KMSInvalidStateException", "%s is pending replica deletion.", k.arn())
	}
	return nil
}

// findKey returns the key of a reference, or AWS's NotFoundException.
func findKey(ctx context.Context, tx *state.Tx, r ref) (key, error) {
	r, err := r.resolve(ctx, tx)
	if errors.Is(err, state.ErrNotFound) {
		return key{}, errNoAlias(r.aliasARN())
	}
	if err != nil {
		return key{}, fmt.Errorf("resolve %s: %w", r.aliasARN(), err)
	}
	k, err := state.Get[key](ctx, tx, `SELECT `+keyColumns+` FROM kms_key WHERE account = $1 AND region = $2 AND id = $3`,
		r.account, r.region, r.id)
	if errors.Is(err, state.ErrNotFound) {
		return key{}, errNoKey(r.keyARN())
	}
	if err != nil {
		return key{}, fmt.Errorf("read key %s: %w", r.keyARN(), err)
	}
	return k, nil
}

// change finds a key named by its id or ARN and has fn change it, in one
// transaction.
func (s *Service) change(ctx context.Context, c *call.Call, keyID string, fn func(tx *state.Tx, k key) error) error {
	r, err := keyRef(c, keyID)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(tx *state.Tx) error {
		k, err := findKey(ctx, tx, r)
		if err != nil {
			return err
		}
		return fn(tx, k)
	})
}

// read finds a key and has fn read what belongs to it.
func (s *Service) read(ctx context.Context, r ref, fn func(tx *state.Tx, k key) error) error {
	return s.db.View(ctx, func(tx *state.Tx) error {
		k, err := findKey(ctx, tx, r)
		if err != nil {
			return err
		}
		return fn(tx, k)
	})
}
