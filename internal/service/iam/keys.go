package iam

import (
	"context"
	"errors"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/token"
)

// keyRow is an access key of a user or of an account's root.
type keyRow struct {
	ID      string    `db:"id"`
	Account string    `db:"account"`
	UserID  string    `db:"user_id"`
	Secret  []byte    `db:"secret"` // sealed; bound to the key's id
	Status  string    `db:"status"`
	Created time.Time `db:"created"`
}

// What an access key can be, or another credential.
const (
	active   = "Active"
	inactive = "Inactive"
)

const (
	listKeys  = `SELECT id, account, user_id, secret, status, created FROM iam_access_key WHERE user_id = $1 ORDER BY id`
	findKey   = `SELECT id, account, user_id, secret, status, created FROM iam_access_key WHERE id = $1`
	insertKey = `INSERT INTO iam_access_key (id, account, user_id, secret, status, created) VALUES ($1, $2, $3, $4, $5, $6)`
)

func (s *Service) newKey(account, userID string, now time.Time) (keyRow, seal.Secret) {
	k := keyRow{ID: token.NewKeyID("AKIA", account), Account: account, UserID: userID, Status: active, Created: now.Truncate(time.Second)}
	secret := token.NewSecret()
	k.Secret = s.secrets.Seal(secret.Reveal(), []byte(k.ID))
	return k, secret
}

func (k keyRow) insert(ctx context.Context, tx *state.Tx) error {
	_, err := tx.Exec(ctx, insertKey, k.ID, k.Account, k.UserID, k.Secret, k.Status, k.Created)
	return err
}

// open unseals a key's secret.
func (s *Service) open(k keyRow) (seal.Secret, error) {
	plain, err := s.secrets.Open(k.Secret, []byte(k.ID))
	return seal.NewSecret(plain), err
}

// keyOwner finds whose keys an operation is about: a user, or the account's
// root, whose name is empty.
func keyOwner(ctx context.Context, tx *state.Tx, c *call.Call, name string) (id, userName string, err error) {
	if name, err = nameOr(c, name); err != nil {
		return "", "", err
	}
	if name == "" {
		return c.Account(), "", nil
	}
	e, err := find(ctx, tx, c.Account(), user, name)
	return e.ID, e.Name, err
}

func (s *Service) createAccessKey(ctx context.Context, c *call.Call, in *api.CreateAccessKeyInput) (*api.CreateAccessKeyOutput, error) {
	var out api.AccessKey
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		id, name, err := keyOwner(ctx, tx, c, in.UserName)
		if err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_access_key WHERE user_id = $1`, id)
		if err != nil {
			return err
		}
		if n >= maxKeys {
			return limit("Cannot exceed quota for AccessKeysPerUser: %d", maxKeys)
		}
		k, secret := s.newKey(c.Account(), id, c.Time)
		out = api.AccessKey{UserName: name, AccessKeyId: k.ID, Status: k.Status, SecretAccessKey: string(secret.Reveal()), CreateDate: &k.Created}
		return k.insert(ctx, tx)
	})
	return &api.CreateAccessKeyOutput{AccessKey: &out}, err
}

func (s *Service) listAccessKeys(ctx context.Context, c *call.Call, in *api.ListAccessKeysInput) (*api.ListAccessKeysOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListAccessKeysOutput{AccessKeyMetadata: []api.AccessKeyMetadata{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		id, name, err := keyOwner(ctx, tx, c, in.UserName)
		if err != nil {
			return err
		}
		rows, err := state.List[keyRow](ctx, tx, listKeys, id)
		rows, out.IsTruncated, out.Marker = pageThrough(p, rows, func(k keyRow) string { return k.ID })
		for _, k := range rows {
			out.AccessKeyMetadata = append(out.AccessKeyMetadata, api.AccessKeyMetadata{UserName: name, AccessKeyId: k.ID, Status: k.Status, CreateDate: &k.Created})
		}
		return err
	})
	return out, err
}

// changeKey runs a statement on one key of a user; its first parameters are
// the key's id and its owner's.
func (s *Service) changeKey(ctx context.Context, c *call.Call, userName, keyID, statement string, more ...any) error {
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		id, _, err := keyOwner(ctx, tx, c, userName)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, statement, append([]any{keyID, id}, more...)...)
		if err == nil && n == 0 {
			return noSuch("The Access Key with id %s cannot be found.", keyID)
		}
		return err
	})
}

// checkStatus refuses a status that nobody can set: the model has one for keys
// of other services that expire by themselves.
func checkStatus(status string) error {
	if status == active || status == inactive {
		return nil
	}
	return aws.Errorf("ValidationError", "1 validation error detected: Value '%s' at 'status' failed to satisfy constraint: "+
		"Member must satisfy enum value set: [%s, %s]", status, active, inactive)
}

func (s *Service) updateAccessKey(ctx context.Context, c *call.Call, in *api.UpdateAccessKeyInput) (*api.UpdateAccessKeyOutput, error) {
	if err := checkStatus(in.Status); err != nil {
		return nil, err
	}
	return nil, s.changeKey(ctx, c, in.UserName, in.AccessKeyId, `UPDATE iam_access_key SET status = $3 WHERE id = $1 AND user_id = $2`, in.Status)
}

func (s *Service) deleteAccessKey(ctx context.Context, c *call.Call, in *api.DeleteAccessKeyInput) (*api.DeleteAccessKeyOutput, error) {
	return nil, s.changeKey(ctx, c, in.UserName, in.AccessKeyId, `DELETE FROM iam_access_key WHERE id = $1 AND user_id = $2`)
}

func errInvalidKey() error {
	return aws.Errorf("InvalidClientTokenId", "The security token included in the request is invalid.").WithStatus(403)
}

// orInvalidKey is what credentials of somebody who is not found answer.
func orInvalidKey(err error) error {
	if errors.Is(err, state.ErrNotFound) {
		return errInvalidKey()
	}
	return err
}

// Key returns the secret of an access key and whom it stands for, or the
// authentication error to answer with. Under DevCredentials an unknown key
// has no secret: nothing equals it, and Trusted says that nothing has to.
func (s *Service) Key(ctx context.Context, keyID, sessionToken string) (seal.Secret, aws.Principal, error) {
	// Under DevCredentials a token beside a key of no session means nothing:
	// emulators' users set all three variables.
	if sessionToken != "" && !s.dev || isTemporary(keyID) {
		return s.sessionKey(ctx, keyID, sessionToken)
	}
	if k, ok := s.cache.key(keyID); ok && s.fresh(ctx, k.principal.Account, k.version) {
		return k.secret, k.principal, nil
	}
	k, err := s.loadKey(ctx, keyID)
	if errors.Is(err, state.ErrNotFound) {
		if s.dev {
			p, err := s.stranger(ctx, keyID)
			return seal.Secret{}, p, err
		}
		return seal.Secret{}, aws.Principal{}, errInvalidKey()
	}
	if err != nil {
		return seal.Secret{}, aws.Principal{}, err
	}
	s.cache.putKey(keyID, k)
	return k.secret, k.principal, nil
}

// sessionKey reads a session's token, which holds everything but whether its
// user or role is still there, and what the user is called now.
func (s *Service) sessionKey(ctx context.Context, keyID, text string) (seal.Secret, aws.Principal, error) {
	session, ok := s.cache.opened(keyID, text)
	if !ok {
		var err error
		if session, err = token.Open(s.tokens, keyID, text); err != nil {
			return seal.Secret{}, aws.Principal{}, errInvalidKey()
		}
		s.cache.putOpened(keyID, text, session)
	}
	if !s.now().Before(session.Principal.Expires) {
		return seal.Secret{}, aws.Principal{}, aws.Errorf("ExpiredToken", "The security token included in the request is expired").WithStatus(403)
	}
	c, err := s.speaking(ctx, session.Principal)
	if err != nil {
		return seal.Secret{}, aws.Principal{}, err
	}
	p := session.Principal
	if p.Kind == aws.User { // its name may be another by now, and its old one somebody else's
		p.ARN = c.arn
	}
	return session.Secret, p, nil
}

// loadKey reads a key with the user behind it. An inactive key is as good as
// none.
func (s *Service) loadKey(ctx context.Context, keyID string) (cachedKey, error) {
	var out cachedKey
	err := s.db.View(ctx, func(tx *state.Tx) error {
		k, err := state.Get[keyRow](ctx, tx, findKey, keyID)
		if err != nil {
			return err
		}
		if k.Status != active {
			return errInvalidKey()
		}
		account, err := state.Get[accountRow](ctx, tx, findAccount, k.Account)
		if err != nil {
			return err
		}
		if out.secret, err = s.open(k); err != nil {
			return err
		}
		out.version = account.Version
		out.principal, err = principalOf(ctx, tx, k.Account, k.UserID)
		out.principal.AccessKeyID = keyID
		return err
	})
	return out, err
}

// principalOf is the user with a unique id, or the account's root.
func principalOf(ctx context.Context, tx *state.Tx, account, userID string) (aws.Principal, error) {
	if userID == account {
		return aws.RootPrincipal(account), nil
	}
	e, err := state.Get[entity](ctx, tx, findEntityByID, userID)
	if err != nil {
		return aws.Principal{}, err
	}
	tags, err := tagsOf(ctx, tx, e.ID)
	return aws.Principal{Kind: aws.User, ARN: e.arn(), Account: account, ID: e.ID, Tags: principalTags(tags)}, err
}

func principalTags(tags []tag) []aws.Tag {
	var out []aws.Tag
	for _, t := range tags {
		out = append(out, aws.Tag{Key: t.Key, Value: t.Value})
	}
	return out
}
