package iam

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"os"
	"strings"
	"testing"
	"time"
)

// files are the texts of a script's archive.
func files(t testing.TB, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	key := ""
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "-- "); ok {
			key = strings.TrimSuffix(strings.TrimSpace(rest), " --")
			continue
		}
		out[key] += line
	}
	return out
}

func TestParseMetadata(t *testing.T) {
	good := files(t, "saml.txtar")["metadata"]
	if until, err := parseMetadata(good); err != nil || !until.IsZero() {
		t.Fatalf("parseMetadata = %v, %v", until, err)
	}
	dated := strings.Replace(good, "entityID=", `validUntil="2040-01-02T03:04:05Z" entityID=`, 1)
	if until, err := parseMetadata(dated); err != nil || !until.Equal(time.Date(2040, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("validUntil = %v, %v", until, err)
	}
	for name, bad := range map[string]string{
		"nothing":           "",
		"no XML":            "<",
		"another root":      `<a/>`,
		"no namespace":      strings.Replace(good, "urn:oasis:names:tc:SAML:2.0:metadata", "urn:x", 1),
		"no entity id":      strings.Replace(good, "entityID=", "other=", 1),
		"no certificate":    strings.ReplaceAll(good, "X509Certificate", "X509Nothing"),
		"a bad certificate": strings.Replace(good, "<ds:X509Certificate>", "<ds:X509Certificate>AAAA", 1),
		"for encryption":    strings.Replace(good, `use="signing"`, `use="encryption"`, 1),
		"no sign-on":        strings.Replace(good, "SingleSignOnService", "SingleLogoutService", 1),
		"a bad date":        strings.Replace(good, "entityID=", `validUntil="soon" entityID=`, 1),
		"a second root":     good + "<a/>",
	} {
		if _, err := parseMetadata(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestChain holds that a chain is one, whoever else could have signed.
func TestChain(t *testing.T) {
	all := files(t, "certificates.txtar")
	cert, err := parseCertificate(all["cert"])
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		chain string
		ok    bool
	}{
		"none":                 {"", true},
		"the signer":           {all["ca"], true},
		"the signer, twice":    {all["ca"] + "\n" + all["ca"], true}, // it signed itself
		"another":              {all["old"], false},
		"the signer, then not": {all["ca"] + all["old"], false},
		"text between":         {all["ca"] + "text\n" + all["ca"], false},
		"a key":                {all["key"], false},
	} {
		if err := checkChain(cert, tt.chain); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSSHKeys(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	raw := toSSH(&key.PublicKey)
	back, err := parsePublicKey("ssh-rsa " + base64.StdEncoding.EncodeToString(raw) + " me@host")
	if err != nil || !back.Equal(&key.PublicKey) {
		t.Fatalf("parsePublicKey = %v, %v", back, err)
	}
	for _, cut := range []int{0, 3, 5, 20, len(raw) - 1} {
		if fromSSH(raw[:cut]) != nil {
			t.Errorf("the first %d bytes are taken", cut)
		}
	}
	if fromSSH(append(bytes.Clone(raw), 0)) != nil {
		t.Error("a byte too many is taken")
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add(files(f, "saml.txtar")["metadata"])
	f.Fuzz(func(_ *testing.T, text string) { parseMetadata(text) })
}

func FuzzParsePublicKey(f *testing.F) {
	for name, text := range files(f, "certificates.txtar") {
		if name != "" {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parsePublicKey(text)
		if err != nil {
			return
		}
		if back := fromSSH(toSSH(key)); back == nil || !back.Equal(key) {
			t.Errorf("%q does not come back", text)
		}
	})
}

func FuzzCertificates(f *testing.F) {
	all := files(f, "certificates.txtar")
	f.Add(all["cert"], all["key"], all["ca"])
	f.Fuzz(func(_ *testing.T, body, key, chain string) {
		cert, err := parseCertificate(body)
		if err != nil {
			return
		}
		privateKeyOf(cert, key)
		checkChain(cert, chain)
	})
}
