package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/seal"
)

// Authority is the local certificate authority. It makes a certificate for
// whatever name a client asks for, so that BUCKET.localhost and every name
// that points here are served without configuration.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

const (
	authorityFile = "ca.pem"
	// authorityKeyFile is sealed under the master key.
	authorityKeyFile = "ca.key.sealed"
	authorityLife    = 10 * 365 * 24 * time.Hour
	leafLife         = 30 * 24 * time.Hour
	// maxLeaves bounds the certificates kept: names come from strangers.
	maxLeaves = 1024
)

// OpenAuthority reads the authority of a data directory, and makes one at
// first. Its certificate lies in ca.pem, for clients to trust.
func OpenAuthority(dir string, master *seal.Master) (*Authority, error) {
	box := master.For("ca")
	sealed, err := os.ReadFile(filepath.Join(dir, authorityKeyFile))
	if errors.Is(err, os.ErrNotExist) {
		return createAuthority(dir, box)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, authorityFile))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Join(dir, authorityFile))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, authorityFile), err)
	}
	der, err := box.Open(sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, authorityKeyFile), err)
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, authorityKeyFile), err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s and %s do not belong together: remove both to make new ones", authorityFile, authorityKeyFile)
	}
	return newAuthority(cert, key), nil
}

func newAuthority(cert *x509.Certificate, key *ecdsa.PrivateKey) *Authority {
	return &Authority{cert: cert, key: key, leaves: map[string]*tls.Certificate{}}
}

func createAuthority(dir string, box *seal.Box) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "sekisho local CA", Organization: []string{"sekisho"}},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	// The certificate first: a key without its certificate would be of no use.
	if err := seal.WriteFile(filepath.Join(dir, authorityFile), text, 0o644); err != nil {
		return nil, err
	}
	if err := seal.WriteFile(filepath.Join(dir, authorityKeyFile), box.Seal(private, nil), 0o600); err != nil {
		return nil, err
	}
	return newAuthority(cert, key), nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // rand.Reader never fails
	}
	return n
}

// TLS returns the server side's configuration.
func (a *Authority) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: a.certificate,
	}
}

// certificate returns one for the name the client asks for, or for the
// address it reached when it names none.
func (a *Authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" && hello.Conn != nil {
		host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
		if err == nil {
			name = host
		}
	}
	if name == "" {
		name = "localhost"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if leaf := a.leaves[name]; leaf != nil && time.Now().Before(leaf.Leaf.NotAfter.Add(-time.Hour)) {
		return leaf, nil
	}
	leaf, err := a.issue(name)
	if err != nil {
		return nil, err
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves)
	}
	a.leaves[name] = leaf
	return leaf, nil
}

func (a *Authority) issue(name string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "sekisho"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
