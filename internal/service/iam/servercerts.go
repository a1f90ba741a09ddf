package iam

import (
	"context"
	"errors"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// serverCertificateOperations are those about the certificates of servers.
func (s *Service) serverCertificateOperations() []call.Operation {
	return []call.Operation{
		on(s, "UploadServerCertificate", func(in *api.UploadServerCertificateInput) subject {
			return subject{kind: serverCertificate, name: in.ServerCertificateName, path: in.Path, keys: tagKeys(in.Tags), tagged: len(in.Tags) > 0}
		}, s.uploadServerCertificate),
		on(s, "GetServerCertificate", func(in *api.GetServerCertificateInput) subject {
			return subject{kind: serverCertificate, name: in.ServerCertificateName}
		}, s.getServerCertificate),
		across("ListServerCertificates", serverCertificate, func(in *api.ListServerCertificatesInput) string { return in.PathPrefix }, s.listServerCertificates),
		on(s, "UpdateServerCertificate", func(in *api.UpdateServerCertificateInput) subject {
			return subject{kind: serverCertificate, name: in.ServerCertificateName, newName: in.NewServerCertificateName, newPath: in.NewPath}
		}, s.updateServerCertificate),
		on(s, "DeleteServerCertificate", func(in *api.DeleteServerCertificateInput) subject {
			return subject{kind: serverCertificate, name: in.ServerCertificateName}
		}, s.deleteServerCertificate),
		on(s, "TagServerCertificate", func(in *api.TagServerCertificateInput) subject {
			return subject{kind: serverCertificate, name: in.ServerCertificateName, keys: tagKeys(in.Tags)}
		}, s.tagServerCertificate),
		on(s, "UntagServerCertificate", func(in *api.UntagServerCertificateInput) subject {
			return subject{kind: serverCertificate, name: in.ServerCertificateName, keys: untagKeys(in.TagKeys)}
		}, s.untagServerCertificate),
		on(s, "ListServerCertificateTags", func(in *api.ListServerCertificateTagsInput) subject {
			return subject{kind: serverCertificate, name: in.ServerCertificateName}
		}, s.listServerCertificateTags),
	}
}

// serverCert is a certificate with its private key, which never comes out.
type serverCert struct {
	Account  string    `db:"account"`
	Folded   string    `db:"folded"`
	Name     string    `db:"name"`
	Path     string    `db:"path"`
	ID       string    `db:"id"`
	Body     string    `db:"body"`
	Chain    string    `db:"chain"`
	Secret   []byte    `db:"secret"` // sealed; bound to the id
	Uploaded time.Time `db:"uploaded"`
	Expires  time.Time `db:"expires"`
}

const (
	serverCertColumns = `account, folded, name, path, id, body, chain, secret, uploaded, expires`

	findServerCertByName = `SELECT ` + serverCertColumns + ` FROM iam_server_certificate WHERE account = $1 AND folded = $2`
	listServerCerts      = `SELECT ` + serverCertColumns + ` FROM iam_server_certificate
		WHERE account = $1 AND folded > $2 AND substr(path, 1, length($3)) = $3 ORDER BY folded LIMIT $4`
	insertServerCert = `INSERT INTO iam_server_certificate (` + serverCertColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (account, folded) DO NOTHING`
	updateServerCert = `UPDATE iam_server_certificate SET folded = $2, name = $3, path = $4 WHERE id = $1`
)

func findServerCert(ctx context.Context, tx *state.Tx, account, name string) (serverCert, error) {
	p, err := state.Get[serverCert](ctx, tx, findServerCertByName, account, strings.ToLower(name))
	if errors.Is(err, state.ErrNotFound) {
		return p, noSuch("The Server Certificate with name %s cannot be found.", name)
	}
	return p, err
}

func (p serverCert) arn() string { return entityARN(p.Account, serverCertificate, p.Path, p.Name) }

func (p serverCert) metadata() *api.ServerCertificateMetadata {
	return &api.ServerCertificateMetadata{
		Path: p.Path, ServerCertificateName: p.Name, ServerCertificateId: p.ID, Arn: p.arn(), UploadDate: &p.Uploaded, Expiration: &p.Expires,
	}
}

func (s *Service) uploadServerCertificate(ctx context.Context, c *call.Call, in *api.UploadServerCertificateInput) (*api.UploadServerCertificateOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	cert, err := parseCertificate(in.CertificateBody)
	if err != nil {
		return nil, err
	}
	if err := privateKeyOf(cert, in.PrivateKey); err != nil {
		return nil, err
	}
	if err := checkChain(cert, in.CertificateChain); err != nil {
		return nil, err
	}
	p := serverCert{
		Account: c.Account(), Folded: strings.ToLower(in.ServerCertificateName), Name: in.ServerCertificateName, Path: orSlash(in.Path),
		ID: newID("ASCA"), Body: strings.TrimSpace(in.CertificateBody), Chain: strings.TrimSpace(in.CertificateChain), Uploaded: c.Time.Truncate(time.Second), Expires: cert.NotAfter,
	}
	p.Secret = s.private.Seal([]byte(in.PrivateKey), []byte(p.ID))
	err = s.write(ctx, c.Account(), func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, insertServerCert, p.Account, p.Folded, p.Name, p.Path, p.ID, p.Body, p.Chain, p.Secret, p.Uploaded, p.Expires)
		if err == nil && n == 0 {
			err = serverCertExists(p.Name)
		}
		if err != nil {
			return err
		}
		if err := serverQuota.check(ctx, tx, c.Account()); err != nil {
			return err
		}
		return addTags(ctx, tx, p.ID, in.Tags)
	})
	return &api.UploadServerCertificateOutput{ServerCertificateMetadata: p.metadata(), Tags: in.Tags}, err
}

func serverCertExists(name string) error {
	return exists("The Server Certificate with name %s already exists.", name)
}

func (s *Service) getServerCertificate(ctx context.Context, c *call.Call, in *api.GetServerCertificateInput) (*api.GetServerCertificateOutput, error) {
	out := &api.GetServerCertificateOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findServerCert(ctx, tx, c.Account(), in.ServerCertificateName)
		if err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, p.ID)
		out.ServerCertificate = &api.ServerCertificate{
			ServerCertificateMetadata: p.metadata(), CertificateBody: p.Body, CertificateChain: p.Chain, Tags: shownTags(tags),
		}
		return err
	})
	return out, err
}

func (s *Service) listServerCertificates(ctx context.Context, c *call.Call, in *api.ListServerCertificatesInput) (*api.ListServerCertificatesOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListServerCertificatesOutput{ServerCertificateMetadataList: []api.ServerCertificateMetadata{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err := state.List[serverCert](ctx, tx, listServerCerts, c.Account(), p.after, in.PathPrefix, p.limit+1)
		rows, out.IsTruncated, out.Marker = cut(p, rows, func(p serverCert) string { return p.Folded })
		for _, r := range rows {
			out.ServerCertificateMetadataList = append(out.ServerCertificateMetadataList, *r.metadata())
		}
		return err
	})
	return out, err
}

func (s *Service) updateServerCertificate(ctx context.Context, c *call.Call, in *api.UpdateServerCertificateInput) (*api.UpdateServerCertificateOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findServerCert(ctx, tx, c.Account(), in.ServerCertificateName)
		if err != nil {
			return err
		}
		if name := in.NewServerCertificateName; name != "" {
			other, err := findServerCert(ctx, tx, c.Account(), name)
			if err == nil && other.ID != p.ID {
				return serverCertExists(name)
			}
			if err != nil && !isNoSuch(err) {
				return err
			}
			p.Name = name
		}
		if in.NewPath != "" {
			p.Path = in.NewPath
		}
		_, err = tx.Exec(ctx, updateServerCert, p.ID, strings.ToLower(p.Name), p.Name, p.Path)
		return err
	})
}

func (s *Service) deleteServerCertificate(ctx context.Context, c *call.Call, in *api.DeleteServerCertificateInput) (*api.DeleteServerCertificateOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findServerCert(ctx, tx, c.Account(), in.ServerCertificateName)
		if err != nil {
			return err
		}
		return deleteAll(ctx, tx, p.ID, `DELETE FROM iam_tag WHERE owner_id = $1`, `DELETE FROM iam_server_certificate WHERE id = $1`)
	})
}

func (s *Service) tagServerCertificate(ctx context.Context, c *call.Call, in *api.TagServerCertificateInput) (*api.TagServerCertificateOutput, error) {
	return nil, s.tag(ctx, c, serverCertificate, in.ServerCertificateName, in.Tags)
}

func (s *Service) untagServerCertificate(ctx context.Context, c *call.Call, in *api.UntagServerCertificateInput) (*api.UntagServerCertificateOutput, error) {
	return nil, s.untag(ctx, c, serverCertificate, in.ServerCertificateName, in.TagKeys)
}

func (s *Service) listServerCertificateTags(ctx context.Context, c *call.Call, in *api.ListServerCertificateTagsInput) (*api.ListServerCertificateTagsOutput, error) {
	list, truncated, next, err := s.tags(ctx, c, serverCertificate, in.ServerCertificateName, in.Marker, in.MaxItems)
	return &api.ListServerCertificateTagsOutput{Tags: list, IsTruncated: truncated, Marker: next}, err
}
