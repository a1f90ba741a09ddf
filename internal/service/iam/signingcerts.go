package iam

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// signingOperations are those about users' own public keys: X.509 signing
// certificates and SSH keys.
func (s *Service) signingOperations() []call.Operation {
	return []call.Operation{
		on(s, "UploadSigningCertificate", func(in *api.UploadSigningCertificateInput) subject {
			return subject{kind: user, name: in.UserName}
		}, s.uploadSigningCertificate),
		on(s, "ListSigningCertificates", func(in *api.ListSigningCertificatesInput) subject {
			return subject{kind: user, name: in.UserName}
		}, s.listSigningCertificates),
		on(s, "UpdateSigningCertificate", func(in *api.UpdateSigningCertificateInput) subject {
			return subject{kind: user, name: in.UserName}
		}, s.updateSigningCertificate),
		on(s, "DeleteSigningCertificate", func(in *api.DeleteSigningCertificateInput) subject {
			return subject{kind: user, name: in.UserName}
		}, s.deleteSigningCertificate),
		on(s, "UploadSSHPublicKey", func(in *api.UploadSSHPublicKeyInput) subject { return subject{kind: user, name: in.UserName} }, s.uploadSSHPublicKey),
		on(s, "GetSSHPublicKey", func(in *api.GetSSHPublicKeyInput) subject { return subject{kind: user, name: in.UserName} }, s.getSSHPublicKey),
		on(s, "ListSSHPublicKeys", func(in *api.ListSSHPublicKeysInput) subject { return subject{kind: user, name: in.UserName} }, s.listSSHPublicKeys),
		on(s, "UpdateSSHPublicKey", func(in *api.UpdateSSHPublicKeyInput) subject { return subject{kind: user, name: in.UserName} }, s.updateSSHPublicKey),
		on(s, "DeleteSSHPublicKey", func(in *api.DeleteSSHPublicKeyInput) subject { return subject{kind: user, name: in.UserName} }, s.deleteSSHPublicKey),
	}
}

// signingCertificate is an X.509 certificate with which a user signs requests
// of old services.
type signingCertificate struct {
	ID       string    `db:"id"`
	Account  string    `db:"account"`
	UserID   string    `db:"user_id"`
	Body     string    `db:"body"`
	Print    string    `db:"print"`
	Status   string    `db:"status"`
	Uploaded time.Time `db:"uploaded"`
}

const (
	signingColumns = `id, account, user_id, body, print, status, uploaded`

	listSigningCertificates  = `SELECT ` + signingColumns + ` FROM iam_signing_certificate WHERE user_id = $1 ORDER BY uploaded, id`
	insertSigningCertificate = `INSERT INTO iam_signing_certificate (` + signingColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, print) DO NOTHING`
)

const maxCertificates = 2 // of a user

func (r signingCertificate) api(userName string) api.SigningCertificate {
	return api.SigningCertificate{UserName: userName, CertificateId: r.ID, CertificateBody: r.Body, Status: r.Status, UploadDate: &r.Uploaded}
}

func (s *Service) uploadSigningCertificate(ctx context.Context, c *call.Call, in *api.UploadSigningCertificateInput) (*api.UploadSigningCertificateOutput, error) {
	cert, err := parseCertificate(in.CertificateBody)
	if err != nil {
		return nil, err
	}
	if c.Time.After(cert.NotAfter) {
		return nil, aws.Errorf("InvalidCertificate", "The certificate has expired.")
	}
	sum := sha256.Sum256(cert.Raw)
	r := signingCertificate{
		ID: aws.RandomText(32, aws.Base32), Account: c.Account(), Body: in.CertificateBody, Print: hex.EncodeToString(sum[:]),
		Status: active, Uploaded: c.Time.Truncate(time.Second),
	}
	out := &api.UploadSigningCertificateOutput{}
	err = s.write(ctx, c.Account(), func(tx *state.Tx) error {
		id, name, err := keyOwner(ctx, tx, c, in.UserName)
		if err != nil {
			return err
		}
		r.UserID = id
		n, err := tx.Exec(ctx, insertSigningCertificate, r.ID, r.Account, r.UserID, r.Body, r.Print, r.Status, r.Uploaded)
		if err != nil {
			return err
		}
		if n == 0 {
			return aws.Errorf("DuplicateCertificate", "The certificate is already associated with a user of the account.")
		}
		out.Certificate = new(r.api(name))
		count, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_signing_certificate WHERE user_id = $1`, id)
		if err == nil && count > maxCertificates {
			return limit("Cannot exceed quota for SigningCertificatesPerUser: %d", maxCertificates)
		}
		return err
	})
	return out, err
}

func (s *Service) listSigningCertificates(ctx context.Context, c *call.Call, in *api.ListSigningCertificatesInput) (*api.ListSigningCertificatesOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListSigningCertificatesOutput{Certificates: []api.SigningCertificate{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		id, name, err := keyOwner(ctx, tx, c, in.UserName)
		if err != nil {
			return err
		}
		rows, err := state.List[signingCertificate](ctx, tx, `SELECT `+signingColumns+` FROM iam_signing_certificate WHERE user_id = $1 ORDER BY id`, id)
		rows, out.IsTruncated, out.Marker = pageThrough(p, rows, func(r signingCertificate) string { return r.ID })
		for _, r := range rows {
			out.Certificates = append(out.Certificates, r.api(name))
		}
		return err
	})
	return out, err
}

// changeOwn runs a statement on one credential of a user; its first parameters
// are the credential's id and its owner's. A credential that is not there is
// refused with missing.
func (s *Service) changeOwn(ctx context.Context, c *call.Call, userName, id, missing, statement string, more ...any) error {
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		owner, _, err := keyOwner(ctx, tx, c, userName)
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, statement, append([]any{id, owner}, more...)...)
		if err == nil && n == 0 {
			return noSuch(missing, id)
		}
		return err
	})
}

const noCertificate = "The Certificate with id %s cannot be found."

func (s *Service) updateSigningCertificate(ctx context.Context, c *call.Call, in *api.UpdateSigningCertificateInput) (*api.UpdateSigningCertificateOutput, error) {
	if err := checkStatus(in.Status); err != nil {
		return nil, err
	}
	return nil, s.changeOwn(ctx, c, in.UserName, in.CertificateId, noCertificate, `UPDATE iam_signing_certificate SET status = $3 WHERE id = $1 AND user_id = $2`, in.Status)
}

func (s *Service) deleteSigningCertificate(ctx context.Context, c *call.Call, in *api.DeleteSigningCertificateInput) (*api.DeleteSigningCertificateOutput, error) {
	return nil, s.changeOwn(ctx, c, in.UserName, in.CertificateId, noCertificate, `DELETE FROM iam_signing_certificate WHERE id = $1 AND user_id = $2`)
}
