package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTLSAndPlainOnOnePort(t *testing.T) {
	s := &site{}
	s.listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS != nil) }))
	for scheme, want := range map[string]string{"https": "true", "http": "false"} {
		if got := s.send(t, s.request(t, ask{method: "GET", scheme: scheme})); got.body != want {
			t.Errorf("%s: TLS %s", scheme, got.body)
		}
	}
}

// Whatever name a client asks for, the certificate is for it and comes from
// ca.pem.
func TestCertificates(t *testing.T) {
	s := &site{}
	s.listen(t, http.NotFoundHandler())
	for _, name := range []string{
		"localhost", "127.0.0.1", "bucket.localhost", "my.bucket.s3.us-east-1.amazonaws.com", "anything.example", "UPPER.example", "dotted.example.",
	} {
		c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.pool, ServerName: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		leaf := c.ConnectionState().PeerCertificates[0]
		c.Close()
		if leaf.IsCA || leaf.NotAfter.Sub(leaf.NotBefore) > 398*24*time.Hour {
			t.Errorf("%s: CA %v, from %v to %v", name, leaf.IsCA, leaf.NotBefore, leaf.NotAfter)
		}
	}
	if c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}); err == nil {
		c.Close()
		t.Error("somebody trusts it who should not")
	}
	if c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.pool, ServerName: "localhost", MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

// Names come from strangers: the certificates kept are bounded, and one that
// is kept is used again.
func TestCertificatesAreKept(t *testing.T) {
	a, err := OpenAuthority(t.TempDir(), master(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	get := func(name string) *tls.Certificate {
		t.Helper()
		c, err := a.certificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if get("a") != get("A.") {
		t.Error("made twice")
	}
	if got := get("").Leaf.DNSNames; len(got) != 1 || got[0] != "localhost" {
		t.Errorf("without a name: %v", got)
	}
	for i := range maxLeaves + 10 {
		get(fmt.Sprint("n", i))
	}
	if n := len(a.leaves); n > maxLeaves {
		t.Errorf("%d certificates are kept", n)
	}
}

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenAuthority(dir, master(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenAuthority(dir, master(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if !first.cert.Equal(again.cert) || !first.key.Equal(again.key) {
		t.Error("another authority")
	}
	sealed, err := os.ReadFile(filepath.Join(dir, authorityKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(first.key)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, der) {
		t.Error("the key lies open on disk")
	}
	for file, want := range map[string]os.FileMode{authorityKeyFile: 0o600, authorityFile: 0o644} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", file, info.Mode(), err)
		}
	}
}

func TestAuthorityThatDoesNotOpen(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"key altered":         func(t *testing.T, dir string) { spoilFile(t, dir, authorityKeyFile, "nonsense") },
		"certificate gone":    func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, authorityFile)) },
		"certificate altered": func(t *testing.T, dir string) { spoilFile(t, dir, authorityFile, "nonsense") },
		"no certificate": func(t *testing.T, dir string) {
			spoilFile(t, dir, authorityFile, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		},
		"another's certificate": func(t *testing.T, dir string) {
			other := t.TempDir()
			if _, err := OpenAuthority(other, master(t, 1)); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(other, authorityFile))
			if err != nil {
				t.Fatal(err)
			}
			spoilFile(t, dir, authorityFile, string(text))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := OpenAuthority(dir, master(t, 1)); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir)
			if _, err := OpenAuthority(dir, master(t, 1)); err == nil {
				t.Error("opened")
			} else if !strings.Contains(err.Error(), "ca.") {
				t.Errorf("%v does not name the file", err)
			}
		})
	}
	dir := t.TempDir()
	if _, err := OpenAuthority(dir, master(t, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, master(t, 2)); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("with another master key: %v", err)
	}
	if _, err := OpenAuthority(filepath.Join(dir, "none"), master(t, 1)); err == nil {
		t.Error("opened where there is no directory")
	}
}

func spoilFile(t *testing.T, dir, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A client that keeps silent holds up nobody else, and one that begins late
// is served.
func TestSlowFirstByte(t *testing.T) {
	s := &site{}
	s.listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }))
	slow, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	slow.SetDeadline(time.Now().Add(20 * time.Second))
	if got := s.send(t, s.request(t, ask{method: "GET"})); got.body != "served" {
		t.Errorf("%+v", got)
	}
	for _, piece := range []string{"G", "ET / HTTP/1.1\r\nHost: h\r\nConnec", "tion: close\r\n\r\n"} {
		if _, err := io.WriteString(slow, piece); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if answer, err := io.ReadAll(slow); err != nil || !strings.HasSuffix(string(answer), "served") {
		t.Errorf("%q, %v", answer, err)
	}
}

// Garbage is answered or cut off; it ends nothing.
func TestGarbage(t *testing.T) {
	s := &site{}
	s.listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }))
	for name, text := range map[string]string{
		"nothing": "", "noise": "\x00\xff\x00\xff\r\n\r\n", "TLS noise": "\x16\x03\x01\x02\x00nonsense", "TLS alone": "\x16",
		"half a request": "GET / HT", "no host": "GET / HTTP/1.1\r\n\r\n", "another protocol": "SSH-2.0-OpenSSH\r\n",
	} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, text)
		c.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
		if strings.Contains(string(answer), "served") {
			t.Errorf("%s is served: %q", name, answer)
		}
		c.Close()
	}
	if got := s.send(t, s.request(t, ask{method: "GET"})); got.body != "served" {
		t.Errorf("%+v", got)
	}
}

func TestListenerCloses(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Split(inner, &tls.Config{})
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "G") // sorted, and accepted by nobody
	silent, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left := leftBehind("gateway.(*listener)"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	for name, c := range map[string]net.Conn{"nobody accepts": c, "keeps silent": silent} {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection that %s stays open", name)
		}
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
}

// An inner listener that is closed by somebody else ends Accept too.
func TestListenerEnds(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Split(inner, &tls.Config{})
	inner.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}
