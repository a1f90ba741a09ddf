package iam

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// credential is a service-specific credential: the user name and password
// with which git reaches CodeCommit.
type credential struct {
	ID       string    `db:"id"`
	Account  string    `db:"account"`
	UserID   string    `db:"user_id"`
	Service  string    `db:"service"`
	UserName string    `db:"user_name"`
	Hash     []byte    `db:"hash"`
	Status   string    `db:"status"`
	Created  time.Time `db:"created"`
}

const credentialColumns = `id, account, user_id, service, user_name, hash, status, created`

const (
	listCredentials        = `SELECT ` + credentialColumns + ` FROM iam_credential WHERE user_id = $1 ORDER BY id`
	listAllCredentials     = `SELECT ` + credentialColumns + ` FROM iam_credential WHERE account = $1 ORDER BY id`
	findCredential         = `SELECT ` + credentialColumns + ` FROM iam_credential WHERE id = $1 AND user_id = $2`
	findCredentialByName   = `SELECT ` + credentialColumns + ` FROM iam_credential WHERE user_name = $1`
	insertCredential       = `INSERT INTO iam_credential (` + credentialColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (user_name) DO NOTHING`
	updateCredentialStatus = `UPDATE iam_credential SET status = $3 WHERE id = $1 AND user_id = $2`
	updateCredentialHash   = `UPDATE iam_credential SET hash = $3 WHERE id = $1 AND user_id = $2`
	deleteCredential       = `DELETE FROM iam_credential WHERE id = $1 AND user_id = $2`
)

// codeCommit is the one service that has such credentials here.
const codeCommit = "codecommit.amazonaws.com"

func checkService(name string) error {
	if name == codeCommit {
		return nil
	}
	return aws.Errorf("NotSupportedService", "The service %s does not support service-specific credentials.", name)
}

// newPassword returns a password of 256 random bits, which needs no slow hash,
// and its hash.
func newPassword() (string, []byte) {
	p := aws.RandomText(44, aws.Alnum)
	sum := sha256.Sum256([]byte(p))
	return p, sum[:]
}

func (r credential) metadata(userName string) api.ServiceSpecificCredentialMetadata {
	return api.ServiceSpecificCredentialMetadata{
		UserName: userName, Status: r.Status, ServiceUserName: r.UserName, CreateDate: &r.Created,
		ServiceSpecificCredentialId: r.ID, ServiceName: r.Service,
	}
}

func (r credential) api(userName, password string) *api.ServiceSpecificCredential {
	return &api.ServiceSpecificCredential{
		CreateDate: &r.Created, ServiceName: r.Service, ServiceUserName: r.UserName, ServicePassword: password,
		ServiceSpecificCredentialId: r.ID, UserName: userName, Status: r.Status,
	}
}

func (s *Service) createServiceSpecificCredential(ctx context.Context, c *call.Call, in *api.CreateServiceSpecificCredentialInput) (*api.CreateServiceSpecificCredentialOutput, error) {
	if err := checkService(in.ServiceName); err != nil {
		return nil, err
	}
	if in.CredentialAgeDays != nil {
		return nil, invalid("CredentialAgeDays is not supported for %s.", in.ServiceName)
	}
	out := &api.CreateServiceSpecificCredentialOutput{}
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), user, in.UserName)
		if err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_credential WHERE user_id = $1`, e.ID)
		if err != nil {
			return err
		}
		if n >= maxCredentials {
			return limit("Cannot exceed quota for ServiceSpecificCredentialsPerUser: %d", maxCredentials)
		}
		password, hash := newPassword()
		r := credential{
			ID: newID("ACCA"), Account: c.Account(), UserID: e.ID, Service: in.ServiceName, Hash: hash,
			Status: active, Created: c.Time.Truncate(time.Second),
		}
		if r.UserName, err = s.insertCredential(ctx, tx, r, e.Name); err != nil {
			return err
		}
		out.ServiceSpecificCredential = r.api(e.Name, password)
		return nil
	})
	return out, err
}

// insertCredential gives a credential the first free user name: NAME-at-
// ACCOUNT, then NAME+1-at-ACCOUNT, as AWS does.
func (s *Service) insertCredential(ctx context.Context, tx *state.Tx, r credential, name string) (string, error) {
	for i := range 100 {
		plus := ""
		if i > 0 {
			plus = fmt.Sprintf("+%d", i)
		}
		r.UserName = name + plus + "-at-" + r.Account
		n, err := tx.Exec(ctx, insertCredential, r.ID, r.Account, r.UserID, r.Service, r.UserName, r.Hash, r.Status, r.Created)
		if n == 1 || err != nil {
			return r.UserName, err
		}
	}
	return "", fmt.Errorf("no user name is free for credentials of %s", name)
}

func (s *Service) listServiceSpecificCredentials(ctx context.Context, c *call.Call, in *api.ListServiceSpecificCredentialsInput) (*api.ListServiceSpecificCredentialsOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListServiceSpecificCredentialsOutput{ServiceSpecificCredentials: []api.ServiceSpecificCredentialMetadata{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err := s.credentials(ctx, tx, c, in)
		if err != nil {
			return err
		}
		rows, out.IsTruncated, out.Marker = pageThrough(p, rows, func(r credential) string { return r.ID })
		for _, r := range rows {
			e, err := state.Get[entity](ctx, tx, findEntityByID, r.UserID)
			if err != nil {
				return err
			}
			out.ServiceSpecificCredentials = append(out.ServiceSpecificCredentials, r.metadata(e.Name))
		}
		return nil
	})
	return out, err
}

// credentials are those that a list is about: of a user, or of all.
func (s *Service) credentials(ctx context.Context, tx *state.Tx, c *call.Call, in *api.ListServiceSpecificCredentialsInput) ([]credential, error) {
	var rows []credential
	if in.AllUsers != nil && *in.AllUsers {
		all, err := state.List[credential](ctx, tx, listAllCredentials, c.Account())
		if err != nil {
			return nil, err
		}
		rows = all
	} else {
		id, _, err := keyOwner(ctx, tx, c, in.UserName)
		if err != nil {
			return nil, err
		}
		if rows, err = state.List[credential](ctx, tx, listCredentials, id); err != nil {
			return nil, err
		}
	}
	kept := rows[:0]
	for _, r := range rows {
		if in.ServiceName == "" || in.ServiceName == r.Service {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// changeCredential runs a statement on one credential of a user; its first
// parameters are the credential's id and its owner's.
func (s *Service) changeCredential(ctx context.Context, c *call.Call, userName, id, statement string, more ...any) (credential, string, error) {
	var r credential
	var name string
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		owner, found, err := keyOwner(ctx, tx, c, userName)
		if err != nil {
			return err
		}
		name = found
		r, err = state.Get[credential](ctx, tx, findCredential, id, owner)
		if errors.Is(err, state.ErrNotFound) {
			return noSuch("No such credential %s exists", id)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, statement, append([]any{id, owner}, more...)...)
		return err
	})
	return r, name, err
}

func (s *Service) updateServiceSpecificCredential(ctx context.Context, c *call.Call, in *api.UpdateServiceSpecificCredentialInput) (*api.UpdateServiceSpecificCredentialOutput, error) {
	if err := checkStatus(in.Status); err != nil {
		return nil, err
	}
	_, _, err := s.changeCredential(ctx, c, in.UserName, in.ServiceSpecificCredentialId, updateCredentialStatus, in.Status)
	return nil, err
}

func (s *Service) resetServiceSpecificCredential(ctx context.Context, c *call.Call, in *api.ResetServiceSpecificCredentialInput) (*api.ResetServiceSpecificCredentialOutput, error) {
	password, hash := newPassword()
	r, name, err := s.changeCredential(ctx, c, in.UserName, in.ServiceSpecificCredentialId, updateCredentialHash, hash)
	return &api.ResetServiceSpecificCredentialOutput{ServiceSpecificCredential: r.api(name, password)}, err
}

func (s *Service) deleteServiceSpecificCredential(ctx context.Context, c *call.Call, in *api.DeleteServiceSpecificCredentialInput) (*api.DeleteServiceSpecificCredentialOutput, error) {
	_, _, err := s.changeCredential(ctx, c, in.UserName, in.ServiceSpecificCredentialId, deleteCredential)
	return nil, err
}

// Password returns whom a service-specific user name and password stand for.
func (s *Service) Password(ctx context.Context, userName, password string) (aws.Principal, error) {
	refusal := aws.Errorf("InvalidClientTokenId", "The user name or password is not valid.").WithStatus(403)
	given := sha256.Sum256([]byte(password))
	var p aws.Principal
	err := s.db.View(ctx, func(tx *state.Tx) error {
		r, err := state.Get[credential](ctx, tx, findCredentialByName, userName)
		if errors.Is(err, state.ErrNotFound) {
			return refusal
		}
		if err != nil {
			return err
		}
		if subtle.ConstantTimeCompare(r.Hash, given[:]) != 1 || r.Status != active {
			return refusal
		}
		p, err = principalOf(ctx, tx, r.Account, r.UserID)
		return err
	})
	return p, err
}
