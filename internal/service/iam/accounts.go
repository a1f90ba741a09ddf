package iam

import (
	"context"
	"errors"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/token"
)

// Account is an account with its root user's access key.
type Account struct {
	ID, Name    string
	AccessKeyID string
	Secret      seal.Secret
}

type accountRow struct {
	ID      string    `db:"id"`
	Name    string    `db:"name"`
	Created time.Time `db:"created"`
	Version int64     `db:"version"`
}

const (
	findAccount       = `SELECT id, name, created, version FROM iam_account WHERE id = $1`
	findAccountByName = `SELECT id, name, created, version FROM iam_account WHERE name = $1`
	listAccounts      = `SELECT id, name, created, version FROM iam_account ORDER BY name`
	anyKey            = `SELECT id, account, user_id, secret, status, created FROM iam_access_key ORDER BY id LIMIT 1`
	insertAccount     = `INSERT INTO iam_account (id, name, created, version) VALUES ($1, $2, $3, 1) ON CONFLICT DO NOTHING`
)

// CreateAccount makes an account with a root access key, or returns the one
// that has this name; an account that came into being by its id alone gets the
// name. An empty id has one generated, an empty name means the id. It answers
// seal.ErrBroken, and makes nothing, where another master key seals what the
// database holds.
func (s *Service) CreateAccount(ctx context.Context, name, id string) (Account, error) {
	if id != "" && !aws.IsAccountID(id) {
		return Account{}, errAccount("account id %q is not twelve digits", id)
	}
	if name == "" && id == "" {
		return Account{}, errAccount("an account needs a name or an id")
	}
	var a Account
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		if err := s.opens(ctx, tx); err != nil {
			return err
		}
		row, err := ensureAccount(ctx, tx, name, id, s.now())
		if err != nil {
			return err
		}
		a, err = s.rootKey(ctx, tx, row)
		return err
	})
	return a, err
}

// opens tries our master key on a secret that is there. What is sealed under
// one key must not come to lie among what is sealed under another: no process
// could start on both.
func (s *Service) opens(ctx context.Context, tx *state.Tx) error {
	k, err := state.Get[keyRow](ctx, tx, anyKey)
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = s.open(k)
	}
	return err
}

// errAccount is an account that cannot be made. AWS has no word for it.
func errAccount(format string, args ...any) error {
	return aws.Errorf("InvalidAccount", format, args...).WithStatus(400)
}

// ensureAccount finds or inserts an account's row.
func ensureAccount(ctx context.Context, tx *state.Tx, name, id string, now time.Time) (accountRow, error) {
	if name != "" {
		switch row, err := state.Get[accountRow](ctx, tx, findAccountByName, name); {
		case err == nil && id != "" && row.ID != id:
			return row, errAccount("account %s has id %s, not %s", name, row.ID, id)
		case !errors.Is(err, state.ErrNotFound):
			return row, err
		}
	}
	if id != "" {
		row, err := state.Get[accountRow](ctx, tx, findAccount, id)
		if err == nil && name != "" && row.Name != name {
			if row.Name != row.ID {
				return row, errAccount("account %s is named %s, not %s", id, row.Name, name)
			}
			row.Name = name
			_, err = tx.Exec(ctx, `UPDATE iam_account SET name = $2 WHERE id = $1`, id, name)
			return row, err
		}
		if !errors.Is(err, state.ErrNotFound) {
			return row, err
		}
	}
	if id == "" {
		id = aws.RandomText(12, "123456789")
	}
	if name == "" {
		name = id
	}
	row := accountRow{ID: id, Name: name, Created: now, Version: 1}
	n, err := tx.Exec(ctx, insertAccount, id, name, now)
	if err == nil && n == 0 {
		return row, errAccount("account %s could not be made: its id is taken", name)
	}
	return row, err
}

// rootKey returns an account with an active key of its root, and makes one
// when there is none.
func (s *Service) rootKey(ctx context.Context, tx *state.Tx, row accountRow) (Account, error) {
	a := Account{ID: row.ID, Name: row.Name}
	keys, err := state.List[keyRow](ctx, tx, listKeys, row.ID)
	if err != nil {
		return a, err
	}
	for _, k := range keys {
		if k.Status == active {
			a.AccessKeyID = k.ID
			a.Secret, err = s.open(k)
			return a, err
		}
	}
	k, secret := s.newKey(row.ID, row.ID, s.now())
	a.AccessKeyID, a.Secret = k.ID, secret
	if err := k.insert(ctx, tx); err != nil {
		return a, err
	}
	return a, s.changed(ctx, tx, row.ID)
}

// AccountName returns what an account is called, and whether there is one.
func (s *Service) AccountName(ctx context.Context, id string) (name string, ok bool, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		row, err := state.Get[accountRow](ctx, tx, findAccount, id)
		if errors.Is(err, state.ErrNotFound) {
			name, ok = "", false
			return nil
		}
		name, ok = row.Name, err == nil
		return err
	})
	return name, ok, err
}

// Accounts returns all accounts by name, each with an active key of its root;
// one whose root has none shows without.
func (s *Service) Accounts(ctx context.Context) ([]Account, error) {
	var list []Account
	err := s.db.View(ctx, func(tx *state.Tx) error {
		list = nil
		rows, err := state.List[accountRow](ctx, tx, listAccounts)
		if err != nil {
			return err
		}
		for _, row := range rows {
			a := Account{ID: row.ID, Name: row.Name}
			keys, err := state.List[keyRow](ctx, tx, listKeys, row.ID)
			if err != nil {
				return err
			}
			for _, k := range keys {
				if k.Status == active && a.AccessKeyID == "" {
					a.AccessKeyID = k.ID
					if a.Secret, err = s.open(k); err != nil {
						return err
					}
				}
			}
			list = append(list, a)
		}
		return nil
	})
	return list, err
}

// Dev accounts: see Options.DevCredentials.

const devAccount = "123456789012"

// Trusted reports that an access key id is believed on its word, without its
// signature: under DevCredentials, when it is not one that IAM or STS made.
// Keys that begin with ASIA are never believed: they come with a token, which
// proves itself.
func (s *Service) Trusted(keyID string) bool {
	if !s.dev || isTemporary(keyID) {
		return false
	}
	known := true
	err := s.db.View(context.Background(), func(tx *state.Tx) error {
		var err error
		known, err = has(context.Background(), tx, `SELECT 1 FROM iam_access_key WHERE id = $1`, keyID)
		return err
	})
	return err == nil && !known
}

// stranger is whom an unknown key stands for under DevCredentials: root of
// the account that it names with twelve digits, or of account 123456789012.
// The account comes into being on first use.
func (s *Service) stranger(ctx context.Context, keyID string) (aws.Principal, error) {
	account := devAccount
	if aws.IsAccountID(keyID) {
		account = keyID
	}
	known := false
	err := s.db.View(ctx, func(tx *state.Tx) error {
		var err error
		known, err = has(ctx, tx, `SELECT 1 FROM iam_account WHERE id = $1`, account)
		return err
	})
	if err == nil && !known {
		_, err = s.CreateAccount(ctx, "", account)
	}
	p := aws.RootPrincipal(account)
	p.AccessKeyID = keyID
	return p, err
}

func isTemporary(keyID string) bool {
	_, ok := token.AccountOf(keyID)
	return len(keyID) > 4 && keyID[:4] == "ASIA" && ok
}
