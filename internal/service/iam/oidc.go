package iam

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// oidcOperations are those about OpenID Connect identity providers.
func (s *Service) oidcOperations() []call.Operation {
	return []call.Operation{
		on(s, "CreateOpenIDConnectProvider", func(in *api.CreateOpenIDConnectProviderInput) subject {
			return subject{kind: oidcProvider, name: withoutScheme(in.Url), keys: tagKeys(in.Tags), tagged: len(in.Tags) > 0}
		}, s.createOpenIDConnectProvider),
		on(s, "GetOpenIDConnectProvider", func(in *api.GetOpenIDConnectProviderInput) subject {
			return subject{kind: oidcProvider, name: in.OpenIDConnectProviderArn}
		}, s.getOpenIDConnectProvider),
		across("ListOpenIDConnectProviders", oidcProvider, anyOf[api.ListOpenIDConnectProvidersInput], s.listOpenIDConnectProviders),
		on(s, "DeleteOpenIDConnectProvider", func(in *api.DeleteOpenIDConnectProviderInput) subject {
			return subject{kind: oidcProvider, name: in.OpenIDConnectProviderArn}
		}, s.deleteOpenIDConnectProvider),
		on(s, "AddClientIDToOpenIDConnectProvider", func(in *api.AddClientIDToOpenIDConnectProviderInput) subject {
			return subject{kind: oidcProvider, name: in.OpenIDConnectProviderArn}
		}, s.addClientIDToOpenIDConnectProvider),
		on(s, "RemoveClientIDFromOpenIDConnectProvider", func(in *api.RemoveClientIDFromOpenIDConnectProviderInput) subject {
			return subject{kind: oidcProvider, name: in.OpenIDConnectProviderArn}
		}, s.removeClientIDFromOpenIDConnectProvider),
		on(s, "UpdateOpenIDConnectProviderThumbprint", func(in *api.UpdateOpenIDConnectProviderThumbprintInput) subject {
			return subject{kind: oidcProvider, name: in.OpenIDConnectProviderArn}
		}, s.updateOpenIDConnectProviderThumbprint),
		on(s, "TagOpenIDConnectProvider", func(in *api.TagOpenIDConnectProviderInput) subject {
			return subject{kind: oidcProvider, name: in.OpenIDConnectProviderArn, keys: tagKeys(in.Tags)}
		}, s.tagOpenIDConnectProvider),
		on(s, "UntagOpenIDConnectProvider", func(in *api.UntagOpenIDConnectProviderInput) subject {
			return subject{kind: oidcProvider, name: in.OpenIDConnectProviderArn, keys: untagKeys(in.TagKeys)}
		}, s.untagOpenIDConnectProvider),
		on(s, "ListOpenIDConnectProviderTags", func(in *api.ListOpenIDConnectProviderTagsInput) subject {
			return subject{kind: oidcProvider, name: in.OpenIDConnectProviderArn}
		}, s.listOpenIDConnectProviderTags),
	}
}

// oidc is an OpenID Connect identity provider.
type oidc struct {
	ARN         string          `db:"arn"`
	Account     string          `db:"account"`
	ID          string          `db:"id"`
	URL         string          `db:"url"`
	Clients     json.RawMessage `db:"clients"`
	Thumbprints json.RawMessage `db:"thumbprints"`
	Created     time.Time       `db:"created"`
}

const (
	oidcColumns = `arn, account, id, url, clients, thumbprints, created`

	findOIDCByARN = `SELECT ` + oidcColumns + ` FROM iam_oidc_provider WHERE account = $1 AND arn = $2`
	listOIDC      = `SELECT ` + oidcColumns + ` FROM iam_oidc_provider WHERE account = $1 ORDER BY arn`
	insertOIDC    = `INSERT INTO iam_oidc_provider (` + oidcColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (arn) DO NOTHING`
	updateOIDC    = `UPDATE iam_oidc_provider SET clients = $2, thumbprints = $3 WHERE arn = $1`
)

const (
	maxClients     = 100
	maxThumbprints = 5
)

func findOIDC(ctx context.Context, tx *state.Tx, account, arn string) (oidc, error) {
	if err := checkARN(arn); err != nil {
		return oidc{}, err
	}
	p, err := state.Get[oidc](ctx, tx, findOIDCByARN, account, arn)
	if errors.Is(err, state.ErrNotFound) {
		return p, noSuch("OpenIDConnect Provider not found for arn %s", arn)
	}
	return p, err
}

// withoutScheme is a provider's URL as its ARN has it.
func withoutScheme(address string) string { return strings.TrimPrefix(address, "https://") }

// checkIssuer refuses what is no issuer: they are https, and have no port,
// query or fragment.
func checkIssuer(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() != "" || u.User != nil || strings.ContainsAny(address, "?#") {
		return aws.Errorf("ValidationError", "Invalid Open ID Connect Provider URL")
	}
	return nil
}

// checkLists refuses more clients or thumbprints than a provider may have.
func checkLists(clients, thumbprints []string) error {
	if len(clients) > maxClients {
		return limit("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClients)
	}
	if len(thumbprints) > maxThumbprints {
		return invalid("Thumbprint list must contain fewer than %d entries.", maxThumbprints)
	}
	return nil
}

// texts is a list as a row keeps it.
func texts(list []string) json.RawMessage {
	out, _ := json.Marshal(append([]string{}, list...)) // strings can always be written
	return out
}

func (p oidc) lists() (clients, thumbprints []string, err error) {
	if err := json.Unmarshal(p.Clients, &clients); err != nil {
		return nil, nil, err
	}
	err = json.Unmarshal(p.Thumbprints, &thumbprints)
	return clients, thumbprints, err
}

// createOpenIDConnectProvider keeps the thumbprints that are given. AWS asks
// the provider for one where none is; sekisho does not call out (see
// docs/divergences.md).
func (s *Service) createOpenIDConnectProvider(ctx context.Context, c *call.Call, in *api.CreateOpenIDConnectProviderInput) (*api.CreateOpenIDConnectProviderOutput, error) {
	if err := checkIssuer(in.Url); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if err := checkLists(in.ClientIDList, in.ThumbprintList); err != nil {
		return nil, err
	}
	p := oidc{
		ARN: aws.NewARN("iam", "", c.Account(), string(oidcProvider)+"/"+withoutScheme(in.Url)), Account: c.Account(), ID: newID("OIDC"),
		URL: withoutScheme(in.Url), Clients: texts(in.ClientIDList), Thumbprints: texts(in.ThumbprintList), Created: c.Time.Truncate(time.Second),
	}
	err := s.write(ctx, c.Account(), func(tx *state.Tx) error {
		n, err := tx.Exec(ctx, insertOIDC, p.ARN, p.Account, p.ID, p.URL, p.Clients, p.Thumbprints, p.Created)
		if err == nil && n == 0 {
			err = exists("Provider with url %s already exists.", in.Url)
		}
		if err != nil {
			return err
		}
		if err := oidcQuota.check(ctx, tx, c.Account()); err != nil {
			return err
		}
		return addTags(ctx, tx, p.ID, in.Tags)
	})
	return &api.CreateOpenIDConnectProviderOutput{OpenIDConnectProviderArn: p.ARN, Tags: in.Tags}, err
}

// IdentityProvider returns an account's OpenID Connect provider of an issuer, and
// whether there is one: STS asks for those who show its tokens.
func (s *Service) IdentityProvider(ctx context.Context, account, issuer string) (out call.IdentityProvider, ok bool, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findOIDC(ctx, tx, account, aws.NewARN("iam", "", account, string(oidcProvider)+"/"+withoutScheme(issuer)))
		if isNoSuch(err) {
			ok = false
			return nil
		}
		if err != nil {
			return err
		}
		out, ok = call.IdentityProvider{ARN: p.ARN, URL: p.URL}, true
		out.Clients, out.Thumbprints, err = p.lists()
		return err
	})
	return out, ok && err == nil, err
}

func (s *Service) getOpenIDConnectProvider(ctx context.Context, c *call.Call, in *api.GetOpenIDConnectProviderInput) (*api.GetOpenIDConnectProviderOutput, error) {
	out := &api.GetOpenIDConnectProviderOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findOIDC(ctx, tx, c.Account(), in.OpenIDConnectProviderArn)
		if err != nil {
			return err
		}
		out.Url, out.CreateDate = p.URL, &p.Created
		if out.ClientIDList, out.ThumbprintList, err = p.lists(); err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, p.ID)
		out.Tags = shownTags(tags)
		return err
	})
	return out, err
}

func (s *Service) listOpenIDConnectProviders(ctx context.Context, c *call.Call, _ *api.ListOpenIDConnectProvidersInput) (*api.ListOpenIDConnectProvidersOutput, error) {
	out := &api.ListOpenIDConnectProvidersOutput{OpenIDConnectProviderList: []api.OpenIDConnectProviderListEntry{}}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		rows, err := state.List[oidc](ctx, tx, listOIDC, c.Account())
		for _, p := range rows {
			out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, api.OpenIDConnectProviderListEntry{Arn: p.ARN})
		}
		return err
	})
	return out, err
}

// deleteOpenIDConnectProvider is no error for one that is not there.
func (s *Service) deleteOpenIDConnectProvider(ctx context.Context, c *call.Call, in *api.DeleteOpenIDConnectProviderInput) (*api.DeleteOpenIDConnectProviderOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findOIDC(ctx, tx, c.Account(), in.OpenIDConnectProviderArn)
		if isNoSuch(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return deleteAll(ctx, tx, p.ID, `DELETE FROM iam_tag WHERE owner_id = $1`, `DELETE FROM iam_oidc_provider WHERE id = $1`)
	})
}

// changeOIDC lets change alter the lists of a provider, and saves them.
func (s *Service) changeOIDC(ctx context.Context, c *call.Call, arn string, change func(clients, thumbprints []string) ([]string, []string)) error {
	return s.write(ctx, c.Account(), func(tx *state.Tx) error {
		p, err := findOIDC(ctx, tx, c.Account(), arn)
		if err != nil {
			return err
		}
		clients, thumbprints, err := p.lists()
		if err != nil {
			return err
		}
		clients, thumbprints = change(clients, thumbprints)
		if err := checkLists(clients, thumbprints); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, updateOIDC, p.ARN, texts(clients), texts(thumbprints))
		return err
	})
}

// addClientIDToOpenIDConnectProvider is no error for a client that is there.
func (s *Service) addClientIDToOpenIDConnectProvider(ctx context.Context, c *call.Call, in *api.AddClientIDToOpenIDConnectProviderInput) (*api.AddClientIDToOpenIDConnectProviderOutput, error) {
	return nil, s.changeOIDC(ctx, c, in.OpenIDConnectProviderArn, func(clients, thumbprints []string) ([]string, []string) {
		if !slices.Contains(clients, in.ClientID) {
			clients = append(clients, in.ClientID)
		}
		return clients, thumbprints
	})
}

// removeClientIDFromOpenIDConnectProvider is no error for a client that is not
// there.
func (s *Service) removeClientIDFromOpenIDConnectProvider(ctx context.Context, c *call.Call, in *api.RemoveClientIDFromOpenIDConnectProviderInput) (*api.RemoveClientIDFromOpenIDConnectProviderOutput, error) {
	return nil, s.changeOIDC(ctx, c, in.OpenIDConnectProviderArn, func(clients, thumbprints []string) ([]string, []string) {
		return slices.DeleteFunc(clients, func(id string) bool { return id == in.ClientID }), thumbprints
	})
}

func (s *Service) updateOpenIDConnectProviderThumbprint(ctx context.Context, c *call.Call, in *api.UpdateOpenIDConnectProviderThumbprintInput) (*api.UpdateOpenIDConnectProviderThumbprintOutput, error) {
	return nil, s.changeOIDC(ctx, c, in.OpenIDConnectProviderArn, func(clients, _ []string) ([]string, []string) {
		return clients, in.ThumbprintList
	})
}

func (s *Service) tagOpenIDConnectProvider(ctx context.Context, c *call.Call, in *api.TagOpenIDConnectProviderInput) (*api.TagOpenIDConnectProviderOutput, error) {
	return nil, s.tag(ctx, c, oidcProvider, in.OpenIDConnectProviderArn, in.Tags)
}

func (s *Service) untagOpenIDConnectProvider(ctx context.Context, c *call.Call, in *api.UntagOpenIDConnectProviderInput) (*api.UntagOpenIDConnectProviderOutput, error) {
	return nil, s.untag(ctx, c, oidcProvider, in.OpenIDConnectProviderArn, in.TagKeys)
}

func (s *Service) listOpenIDConnectProviderTags(ctx context.Context, c *call.Call, in *api.ListOpenIDConnectProviderTagsInput) (*api.ListOpenIDConnectProviderTagsOutput, error) {
	list, truncated, next, err := s.tags(ctx, c, oidcProvider, in.OpenIDConnectProviderArn, in.Marker, in.MaxItems)
	return &api.ListOpenIDConnectProviderTagsOutput{Tags: list, IsTruncated: truncated, Marker: next}, err
}
