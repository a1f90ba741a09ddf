// Package oidctest is an OpenID Connect provider for tests.
package oidctest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// URL is that of New's provider.
const URL = "https://example.com/idp"

// Issuer publishes an RSA key, rsa, and two elliptic ones, p256 and p384.
type Issuer struct {
	t     testing.TB
	url   string
	https *httptest.Server
	rsa   *rsa.PrivateKey
	ec    map[string]*ecdsa.PrivateKey
	// Asked counts the requests that came.
	Asked atomic.Int32
	// Answer replaces the answer to a path.
	Answer map[string]func(w http.ResponseWriter, r *http.Request)
}

// New starts a provider that ends with the test. Dial finds it.
func New(t testing.TB) *Issuer { return NewAt(t, "example.com", nil) }

// NewAt starts a provider with the URL https://HOST/idp, on a listener, or on a
// port of its own when there is none. Its certificate is for example.com and
// 127.0.0.1.
func NewAt(t testing.TB, host string, l net.Listener) *Issuer {
	i := &Issuer{t: t, url: "https://" + host + "/idp", ec: map[string]*ecdsa.PrivateKey{}, Answer: map[string]func(http.ResponseWriter, *http.Request){}}
	var err error
	if i.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384()} {
		if i.ec[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	i.https = httptest.NewUnstartedServer(i)
	if l != nil {
		i.https.Listener.Close()
		i.https.Listener = l
	}
	i.https.StartTLS()
	t.Cleanup(i.https.Close)
	return i
}

// ServeHTTP is the provider's configuration and its keys.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.Asked.Add(1)
	if answer := i.Answer[r.URL.Path]; answer != nil {
		answer(w, r)
		return
	}
	switch r.URL.Path {
	case "/idp/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.url, "jwks_uri": strings.TrimSuffix(i.url, "/idp") + "/keys"})
	case "/keys":
		json.NewEncoder(w).Encode(map[string]any{"keys": i.keys()})
	default:
		http.NotFound(w, r)
	}
}

func (i *Issuer) keys() []map[string]string {
	n := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	list := []map[string]string{
		{"kid": "rsa", "kty": "RSA", "use": "sig", "n": n(i.rsa.N.Bytes()), "e": n(big.NewInt(int64(i.rsa.E)).Bytes())},
		{"kid": "other", "kty": "oct", "k": "AAAA"},
	}
	for name, key := range i.ec {
		point, err := key.PublicKey.Bytes()
		if err != nil {
			i.t.Fatal(err)
		}
		half := len(point) / 2
		list = append(list, map[string]string{"kid": name, "kty": "EC", "crv": key.Curve.Params().Name, "x": n(point[1 : 1+half]), "y": n(point[1+half:])})
	}
	return list
}

// Dial leads every address to the provider.
func (i *Issuer) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, i.https.Listener.Addr().String())
}

// Roots is a pool with the provider's certificate.
func (i *Issuer) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.https.Certificate())
	return pool
}

// Thumbprint is that of the provider's certificate.
func (i *Issuer) Thumbprint() string {
	sum := sha1.Sum(i.https.Certificate().Raw)
	return hex.EncodeToString(sum[:])
}

// Token signs claims with the key of an id: RS256, ES256 or ES384.
func (i *Issuer) Token(keyID string, claims map[string]any) string {
	i.t.Helper()
	algorithm := map[string]string{"rsa": "RS256", "p256": "ES256", "p384": "ES384"}[keyID]
	return i.Sign(keyID, map[string]any{"alg": algorithm, "kid": keyID, "typ": "JWT"}, claims)
}

// Sign signs claims under a header of the test's choice.
func (i *Issuer) Sign(keyID string, header, claims map[string]any) string {
	i.t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			i.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(header) + "." + part(claims)
	short, long := sha256.Sum256([]byte(text)), sha512.Sum384([]byte(text))
	var signature []byte
	var err error
	switch keyID {
	case "rsa":
		signature, err = rsa.SignPKCS1v15(rand.Reader, i.rsa, crypto.SHA256, short[:])
	case "p256":
		signature, err = i.elliptic(keyID, short[:], 32)
	default:
		signature, err = i.elliptic(keyID, long[:], 48)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (i *Issuer) elliptic(keyID string, digest []byte, size int) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, i.ec[keyID], digest)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out, nil
}
