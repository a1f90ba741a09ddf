package oidc

import (
	"context"
	"crypto"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	// ErrUnreachable is a provider that does not answer.
	ErrUnreachable = errors.New("the identity provider cannot be reached")
	// ErrCertificate is a provider whose certificate neither a known authority
	// nor a thumbprint vouches for.
	ErrCertificate = errors.New("the identity provider's certificate is not trusted")
	// ErrNoKey is a provider that does not publish the key of a token.
	ErrNoKey = errors.New("the identity provider does not publish the token's key")
)

// Provider is an identity provider as an account has configured it.
type Provider struct {
	// URL is the issuer's, with https://.
	URL string
	// Thumbprints are SHA-1 sums, in hex, of certificates that vouch for the
	// provider beside the authorities that the system knows.
	Thumbprints []string
}

// Client fetches the keys of providers, and keeps them for a while.
type Client struct {
	now   func() time.Time
	roots *x509.CertPool
	dial  func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	kept map[string]*keys
}

// Options are the optional parts of a Client.
type Options struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Roots are the authorities that vouch for providers; nil means the
	// system's.
	Roots *x509.CertPool
	// Dial reaches providers; nil means the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a client that knows no keys yet.
func New(o Options) *Client {
	c := &Client{now: o.Now, roots: o.Roots, dial: o.Dial, kept: map[string]*keys{}}
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

const (
	timeout  = 5 * time.Second // of one request
	maxBody  = 512 << 10
	maxKept  = 1000             // providers
	fresh    = 10 * time.Minute // for which keys are not asked for again
	patience = 10 * time.Second // between two looks for a key that is not there, and after a failure
)

// keys are what a provider published.
type keys struct {
	mu      sync.Mutex // held while they are fetched
	fetched time.Time
	err     error // of the last fetch
	byID    map[string]crypto.PublicKey
}

// Verify reports whether a provider signed a token: nil, or an error that is
// one of this package's. Whether the token's time is now, and whom it is for,
// is for the caller to say.
func (c *Client) Verify(ctx context.Context, t *Token, p Provider) error {
	key, err := c.key(ctx, p, t.keyID)
	if err != nil {
		return err
	}
	return t.verify(key)
}

// key returns a provider's key. One that is not known may be new: the provider
// is asked again, but not at everybody's whim.
func (c *Client) key(ctx context.Context, p Provider, id string) (crypto.PublicKey, error) {
	k := c.of(p)
	k.mu.Lock()
	defer k.mu.Unlock()
	_, known := k.byID[id]
	if age := c.now().Sub(k.fetched); age > fresh || age > patience && (!known || k.err != nil) {
		// What one caller sets off is for all: it does not end with the caller.
		k.byID, k.err = c.fetch(context.WithoutCancel(ctx), p)
		k.fetched = c.now()
	}
	if k.err != nil {
		return nil, k.err
	}
	key, known := k.byID[id]
	if !known {
		return nil, ErrNoKey
	}
	return key, nil
}

// of returns the place of a provider's keys. Another list of thumbprints is
// another trust.
func (c *Client) of(p Provider) *keys {
	name := p.URL + "\n" + strings.Join(p.Thumbprints, "\n")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[name] == nil {
		if len(c.kept) >= maxKept {
			clear(c.kept)
		}
		c.kept[name] = &keys{}
	}
	return c.kept[name]
}

// fetch asks a provider where its keys are, and for them.
func (c *Client) fetch(ctx context.Context, p Provider) (map[string]crypto.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*timeout)
	defer cancel()
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: c.dial, TLSHandshakeTimeout: timeout, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, // VerifyConnection does it, with thumbprints
			VerifyConnection:   func(s tls.ConnectionState) error { return c.trust(s, p.Thumbprints) },
		},
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a provider stands where its URL says
	}}
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := get(ctx, client, strings.TrimSuffix(p.URL, "/")+"/.well-known/openid-configuration", &discovery); err != nil {
		return nil, err
	}
	if discovery.Issuer != p.URL || !strings.HasPrefix(discovery.Keys, "https://") {
		return nil, fmt.Errorf("%w: its configuration is of issuer %q, with keys at %q", ErrNoKey, discovery.Issuer, discovery.Keys)
	}
	var set struct{ Keys []jwk }
	if err := get(ctx, client, discovery.Keys, &set); err != nil {
		return nil, err
	}
	found := map[string]crypto.PublicKey{}
	for _, k := range set.Keys {
		if key, ok := k.public(); ok {
			found[k.ID] = key
		}
	}
	return found, nil
}

// get reads a JSON text of at most maxBody bytes.
func get(ctx context.Context, client *http.Client, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	resp, err := client.Do(r)
	if errors.Is(err, ErrCertificate) {
		return ErrCertificate
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s answers %s", ErrNoKey, address, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if len(body) > maxBody {
		return fmt.Errorf("%w: %s answers more than %d bytes", ErrNoKey, address, maxBody)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNoKey, address, err)
	}
	return nil
}

// trust takes a connection whose certificate an authority vouches for, or a
// certificate in its chain that has one of the thumbprints.
func (c *Client) trust(s tls.ConnectionState, thumbprints []string) error {
	if len(s.PeerCertificates) == 0 {
		return ErrCertificate
	}
	leaf := s.PeerCertificates[0]
	options := x509.VerifyOptions{DNSName: s.ServerName, Roots: c.roots, Intermediates: x509.NewCertPool(), CurrentTime: c.now()}
	for _, cert := range s.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Verify(options); err == nil {
		return nil
	}
	for _, cert := range s.PeerCertificates {
		sum := sha1.Sum(cert.Raw)
		print := hex.EncodeToString(sum[:])
		if !slices.ContainsFunc(thumbprints, func(t string) bool { return strings.EqualFold(t, print) }) {
			continue
		}
		options.Roots = x509.NewCertPool()
		options.Roots.AddCert(cert)
		if _, err := leaf.Verify(options); err == nil {
			return nil
		}
	}
	return ErrCertificate
}
