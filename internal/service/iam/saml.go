package iam

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// samlOperations are those about SAML identity providers.
func (s *Service) samlOperations() []call.Operation {
	return []call.Operation{
		on(s, "CreateSAMLProvider", func(in *api.CreateSAMLProviderInput) subject {
			return subject{kind: samlProvider, name: in.Name, keys: tagKeys(in.Tags), tagged: len(in.Tags) > 0}
		}, s.createSAMLProvider),
		on(s, "GetSAMLProvider", func(in *api.GetSAMLProviderInput) subject {
			return subject{kind: samlProvider, name: in.SAMLProviderArn}
		}, s.getSAMLProvider),
		on(s, "UpdateSAMLProvider", func(in *api.UpdateSAMLProviderInput) subject {
			return subject{kind: samlProvider, name: in.SAMLProviderArn}
		}, s.updateSAMLProvider),
		on(s, "DeleteSAMLProvider", func(in *api.DeleteSAMLProviderInput) subject {
			return subject{kind: samlProvider, name: in.SAMLProviderArn}
		}, s.deleteSAMLProvider),
		across("ListSAMLProviders", samlProvider, anyOf[api.ListSAMLProvidersInput], s.listSAMLProviders),
		on(s, "TagSAMLProvider", func(in *api.TagSAMLProviderInput) subject {
			return subject{kind: samlProvider, name: in.SAMLProviderArn, keys: tagKeys(in.Tags)}
		}, s.tagSAMLProvider),
		on(s, "UntagSAMLProvider", func(in *api.UntagSAMLProviderInput) subject {
			return subject{kind: samlProvider, name: in.SAMLProviderArn, keys: untagKeys(in.TagKeys)}
		}, s.untagSAMLProvider),
		on(s, "ListSAMLProviderTags", func(in *api.ListSAMLProviderTagsInput) subject {
			return subject{kind: samlProvider, name: in.SAMLProviderArn}
		}, s.listSAMLProviderTags),
	}
}

// anyOf is the prefix of lists whose permission AWS asks on KIND/*.
func anyOf[In any](*In) string { return "/*" }

// saml is a SAML identity provider.
type saml struct {
	ARN            string    `db:"arn"`
	Account        string    `db:"account"`
	ID             string    `db:"id"`
	Metadata       string    `db:"metadata"`
	Created        time.Time `db:"created"`
	ValidUntil     time.Time `db:"valid_until"`
	EncryptionMode string    `db:"encryption_mode"`
}

// samlKey is a key with which assertions of a provider are decrypted.
type samlKey struct {
	ID       string    `db:"id"`
	Provider string    `db:"provider"`
	Secret   []byte    `db:"secret"` // sealed; bound to the key's id
	Added    time.Time `db:"added"`
}

const (
	samlColumns = `arn, account, id, metadata, created, valid_until, encryption_mode`

	findSAMLByARN = `SELECT ` + samlColumns + ` FROM iam_saml_provider WHERE account = $1 AND arn = $2`
	listSAML      = `SELECT ` + samlColumns + ` FROM iam_saml_provider WHERE account = $1 ORDER BY arn`
	insertSAML    = `INSERT INTO iam_saml_provider (` + samlColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (arn) DO NOTHING`
	updateSAML    = `UPDATE iam_saml_provider SET metadata = $2, valid_until = $3, encryption_mode = $4 WHERE arn = $1`
	listSAMLKeys  = `SELECT id, provider, secret, added FROM iam_saml_key WHERE provider = $1 ORDER BY added, id`
	insertSAMLKey = `INSERT INTO iam_saml_key (id, provider, secret, added) VALUES ($1, $2, $3, $4)`
)

const (
	maxSAMLKeys = 2
	// samlLasts is how long metadata is good that does not say so itself.
	samlLasts = 100 // years
)

func findSAML(ctx context.Context, tx *state.Tx, account, arn string) (saml, error) {
	if err := checkARN(arn); err != nil {
		return saml{}, err
	}
	p, err := state.Get[saml](ctx, tx, findSAMLByARN, account, arn)
	if errors.Is(err, state.ErrNotFound) {
		return p, noSuch("Manifest not found for arn %s", arn)
	}
	return p, err
}

// samlMetadata is what IAM reads in an identity provider's metadata.
type samlMetadata struct {
	XMLName    xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
	EntityID   string   `xml:"entityID,attr"`
	ValidUntil string   `xml:"validUntil,attr"`
	IDP        []struct {
		Keys []struct {
			Use          string   `xml:"use,attr"`
			Certificates []string `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo>X509Data>X509Certificate"`
		} `xml:"KeyDescriptor"`
		SignOn []struct {
			Location string `xml:"Location,attr"`
		} `xml:"SingleSignOnService"`
	} `xml:"IDPSSODescriptor"`
}

var errMetadata = invalid("Could not parse metadata")

// parseMetadata checks that a document is the metadata of a SAML 2.0 identity
// provider: one entity that signs its assertions with certificates that can be
// read. It returns until when the metadata is good; zero means that it does
// not say.
func parseMetadata(text string) (until time.Time, err error) {
	var m samlMetadata
	dec := xml.NewDecoder(strings.NewReader(text))
	if dec.Decode(&m) != nil || m.EntityID == "" || len(m.IDP) == 0 {
		return until, errMetadata
	}
	if _, err := dec.Token(); err != io.EOF {
		for tok, e := dec.Token(); e != io.EOF; tok, e = dec.Token() {
			if _, isElement := tok.(xml.StartElement); e != nil || isElement {
				return until, errMetadata
			}
		}
	}
	for _, idp := range m.IDP {
		signs := false
		for _, key := range idp.Keys {
			for _, text := range key.Certificates {
				der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
				if err != nil {
					return until, errMetadata
				}
				if _, err := x509.ParseCertificate(der); err != nil {
					return until, errMetadata
				}
				signs = signs || key.Use != "encryption"
			}
		}
		if !signs || len(idp.SignOn) == 0 {
			return until, errMetadata
		}
	}
	if m.ValidUntil == "" {
		return until, nil
	}
	if until, err = time.Parse(time.RFC3339, m.ValidUntil); err != nil {
		return until, errMetadata
	}
	return until.UTC(), nil
}

// newSAMLKey reads a private key in PEM and seals it.
func (s *Service) newSAMLKey(provider, text string, now time.Time) (samlKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 || parsePrivateKey(block) == nil {
		return samlKey{}, invalid("The private key could not be parsed. It has to be an unencrypted key in PEM format.")
	}
	k := samlKey{ID: aws.RandomText(24, aws.Base32), Provider: provider, Added: now}
	k.Secret = s.private.Seal([]byte(text), []byte(k.ID))
	return k, nil
}

func (k samlKey) insert(ctx context.Context, tx *state.Tx) error {
	_, err := tx.Exec(ctx, insertSAMLKey, k.ID, k.Provider, k.Secret, k.Added)
	return err
}

func (s *Service) createSAMLProvider(ctx context.Context, c *call.Call, in *api.CreateSAMLProviderInput) (*api.CreateSAMLProviderOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	until, err := parseMetadata(in.SAMLMetadataDocument)
	if err != nil {
		return nil, err
	}
	if in.AssertionEncryptionMode != "" && in.AddPrivateKey == "" {
		return nil, errNoSAMLKey
	}
	now := c.Time.Truncate(time.Second)
	if until.IsZero() {
		until = now.AddDate(samlLasts, 0, 0)
	}
	p := saml{
		ARN: aws.NewARN("iam", "", c.Account(), string(samlProvider)+"/"+in.Name), Account: c.Account(), ID: aws.RandomText(24, aws.Base32),
		Metadata: in.SAMLMetadataDocument, Created: now, ValidUntil: until, EncryptionMode: in.AssertionEncryptionMode,
	}
	var key samlKey
	if in.AddPrivateKey != "" {
		if key, err = s.newSAMLKey(p.ID, in.AddPrivateKey, now); err != nil {
			return nil, err
		}
	}
	err = s.write(ctx, c.Account(), func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, insertSAML, p.ARN, p.Account, p.ID, p.Metadata, p.Created, p.ValidUntil, p.EncryptionMode)
		if err == nil && n == 0 {
			err = exists("SAML provider %s already exists.", in.Name)
		}
		if err != nil {
			return err
		}
		if key.ID != "" {
			if err := key.insert(ctx, tx); err != nil {
				return err
			}
		}
		if err := samlQuota.check(ctx, tx, c.Account()); err != nil {
			return err
		}
		return addTags(ctx, tx, p.ID, in.Tags)
	})
	return &api.CreateSAMLProviderOutput{SAMLProviderArn: p.ARN, Tags: in.Tags}, err
}

var errNoSAMLKey = invalid("AssertionEncryptionMode needs a private key.")

func (s *Service) getSAMLProvider(ctx context.Context, c *call.Call, in *api.GetSAMLProviderInput) (*api.GetSAMLProviderOutput, error) {
	out := &api.GetSAMLProviderOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findSAML(ctx, tx, c.Account(), in.SAMLProviderArn)
		if err != nil {
			return err
		}
		*out = api.GetSAMLProviderOutput{
			SAMLProviderUUID: p.ID, SAMLMetadataDocument: p.Metadata, CreateDate: &p.Created, ValidUntil: &p.ValidUntil,
			AssertionEncryptionMode: p.EncryptionMode,
		}
		keys, err := state.List[samlKey](ctx, tx, listSAMLKeys, p.ID)
		if err != nil {
			return err
		}
		for _, k := range keys {
			out.PrivateKeyList = append(out.PrivateKeyList, api.SAMLPrivateKey{KeyId: k.ID, Timestamp: &k.Added})
		}
		tags, err := tagsOf(ctx, tx, p.ID)
		out.Tags = shownTags(tags)
		return err
	})
	return out, err
}

func (s *Service) updateSAMLProvider(ctx context.Context, c *call.Call, in *api.UpdateSAMLProviderInput) (*api.UpdateSAMLProviderOutput, error) {
	now := c.Time.Truncate(time.Second)
	var until time.Time
	var err error
	if in.SAMLMetadataDocument != "" {
		if until, err = parseMetadata(in.SAMLMetadataDocument); err != nil {
			return nil, err
		}
	}
	err = s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findSAML(ctx, tx, c.Account(), in.SAMLProviderArn)
		if err != nil {
			return err
		}
		if in.SAMLMetadataDocument != "" {
			if p.Metadata, p.ValidUntil = in.SAMLMetadataDocument, until; until.IsZero() {
				p.ValidUntil = now.AddDate(samlLasts, 0, 0)
			}
		}
		if in.AssertionEncryptionMode != "" {
			p.EncryptionMode = in.AssertionEncryptionMode
		}
		if err := s.changeSAMLKeys(ctx, tx, p, in, now); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, updateSAML, p.ARN, p.Metadata, p.ValidUntil, p.EncryptionMode)
		return err
	})
	return &api.UpdateSAMLProviderOutput{SAMLProviderArn: in.SAMLProviderArn}, err
}

// changeSAMLKeys removes and adds keys as an update says, and refuses a mode
// that is left without one.
func (s *Service) changeSAMLKeys(ctx context.Context, tx *state.Tx, p saml, in *api.UpdateSAMLProviderInput, now time.Time) error {
	if in.RemovePrivateKey != "" {
		n, err := tx.Exec(ctx, `DELETE FROM iam_saml_key WHERE id = $1 AND provider = $2`, in.RemovePrivateKey, p.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return noSuch("Private key %s not found.", in.RemovePrivateKey)
		}
	}
	if in.AddPrivateKey != "" {
		key, err := s.newSAMLKey(p.ID, in.AddPrivateKey, now)
		if err != nil {
			return err
		}
		if err := key.insert(ctx, tx); err != nil {
			return err
		}
	}
	n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_saml_key WHERE provider = $1`, p.ID)
	switch {
	case err != nil:
		return err
	case n > maxSAMLKeys:
		return limit("Cannot exceed quota for PrivateKeysPerSAMLProvider: %d", maxSAMLKeys)
	case n == 0 && p.EncryptionMode != "":
		return errNoSAMLKey
	}
	return nil
}

func (s *Service) deleteSAMLProvider(ctx context.Context, c *call.Call, in *api.DeleteSAMLProviderInput) (*api.DeleteSAMLProviderOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findSAML(ctx, tx, c.Account(), in.SAMLProviderArn)
		if err != nil {
			return err
		}
		return deleteAll(ctx, tx, p.ID,
			`DELETE FROM iam_saml_key WHERE provider = $1`,
			`DELETE FROM iam_tag WHERE owner_id = $1`,
			`DELETE FROM iam_saml_provider WHERE id = $1`)
	})
}

// deleteAll runs statements about a unique id.
func deleteAll(ctx context.Context, tx *state.Tx, id string, statements ...string) error {
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement, id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) listSAMLProviders(ctx context.Context, c *call.Call, _ *api.ListSAMLProvidersInput) (*api.ListSAMLProvidersOutput, error) {
	out := &api.ListSAMLProvidersOutput{SAMLProviderList: []api.SAMLProviderListEntry{}}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		rows, err := state.List[saml](ctx, tx, listSAML, c.Account())
		for _, p := range rows {
			out.SAMLProviderList = append(out.SAMLProviderList, api.SAMLProviderListEntry{Arn: p.ARN, ValidUntil: &p.ValidUntil, CreateDate: &p.Created})
		}
		return err
	})
	return out, err
}

func (s *Service) tagSAMLProvider(ctx context.Context, c *call.Call, in *api.TagSAMLProviderInput) (*api.TagSAMLProviderOutput, error) {
	return nil, s.tag(ctx, c, samlProvider, in.SAMLProviderArn, in.Tags)
}

func (s *Service) untagSAMLProvider(ctx context.Context, c *call.Call, in *api.UntagSAMLProviderInput) (*api.UntagSAMLProviderOutput, error) {
	return nil, s.untag(ctx, c, samlProvider, in.SAMLProviderArn, in.TagKeys)
}

func (s *Service) listSAMLProviderTags(ctx context.Context, c *call.Call, in *api.ListSAMLProviderTagsInput) (*api.ListSAMLProviderTagsOutput, error) {
	list, truncated, next, err := s.tags(ctx, c, samlProvider, in.SAMLProviderArn, in.Marker, in.MaxItems)
	return &api.ListSAMLProviderTagsOutput{Tags: list, IsTruncated: truncated, Marker: next}, err
}
