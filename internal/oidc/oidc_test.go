package oidc_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/oidc"
	"github.com/sekisho/sekisho/internal/oidc/oidctest"
)

func claims() map[string]any {
	return map[string]any{"iss": oidctest.URL, "sub": "ana", "aud": "sts", "iat": 1000, "exp": 2000.5}
}

func parse(t testing.TB, text string) *oidc.Token {
	t.Helper()
	token, err := oidc.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestParse(t *testing.T) {
	i := oidctest.New(t)
	full := claims()
	full["aud"], full["azp"], full["nbf"], full["amr"] = []string{"a", "b"}, "a", 900, []string{"pwd", "otp"}
	full["https://aws.amazon.com/source_identity"] = "ana@example"
	full["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"team": []string{"blue"}}, "transitive_tag_keys": []string{"team"}}
	want := oidc.Claims{
		Issuer: oidctest.URL, Subject: "ana", Audience: []string{"a", "b"}, AuthorizedParty: "a",
		Issued: time.Unix(1000, 0).UTC(), Expires: time.Unix(2000, 0).UTC(), NotBefore: time.Unix(900, 0).UTC(), Methods: []string{"pwd", "otp"},
		SourceIdentity: "ana@example", Tags: map[string]string{"team": "blue"}, TransitiveTagKeys: []string{"team"},
	}
	if diff := cmp.Diff(want, parse(t, i.Token("rsa", full)).Claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	good := i.Token("rsa", claims())
	parts := strings.Split(good, ".")
	header := func(json string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(json)) + "." + parts[1] + "." + parts[2]
	}
	without := func(name string, value any) string {
		c := claims()
		if delete(c, name); value != nil {
			c[name] = value
		}
		return i.Token("rsa", c)
	}
	for name, text := range map[string]string{
		"nothing": "", "two parts": parts[0] + "." + parts[1], "four parts": good + ".x", "no base64": "!." + parts[1] + "." + parts[2],
		"no JSON": header("x"), "critical extension": header(`{"alg":"RS256","kid":"rsa","crit":["x"]}`), "no issuer": without("iss", nil),
		"no subject": without("sub", nil), "no audience": without("aud", nil), "no issue": without("iat", nil), "no end": without("exp", nil),
		"an audience that is a number": without("aud", 1), "an end far off": without("exp", 1e300), "an end that is a text": without("exp", "soon"),
		"a tag with two values": without("https://aws.amazon.com/tags", map[string]any{"principal_tags": map[string]any{"a": []string{"b", "c"}}}),
		"too long":              good + strings.Repeat("A", oidc.MaxLen),
	} {
		if _, err := oidc.Parse(text); !errors.Is(err, oidc.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerify(t *testing.T) {
	i := oidctest.New(t)
	c := oidc.New(oidc.Options{Roots: i.Roots(), Dial: i.Dial})
	p := oidc.Provider{URL: oidctest.URL}
	verify := func(text string) error { return c.Verify(t.Context(), parse(t, text), p) }
	for _, key := range []string{"rsa", "p256", "p384"} {
		if err := verify(i.Token(key, claims())); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if n := i.Asked.Load(); n != 2 {
		t.Errorf("%d requests for three tokens", n)
	}
	good := i.Token("rsa", claims())
	parts := strings.Split(good, ".")
	other := claims()
	other["sub"] = "eve"
	forged := strings.Split(i.Token("rsa", other), ".")
	for name, tt := range map[string]struct {
		text string
		want error
	}{
		"other claims":    {parts[0] + "." + forged[1] + "." + parts[2], oidc.ErrSignature},
		"no signature":    {parts[0] + "." + parts[1] + ".", oidc.ErrSignature},
		"no algorithm":    {i.Sign("rsa", map[string]any{"alg": "none", "kid": "rsa"}, claims()), oidc.ErrSignature},
		"a shared secret": {i.Sign("rsa", map[string]any{"alg": "HS256", "kid": "rsa"}, claims()), oidc.ErrSignature},
		"another kind":    {i.Sign("rsa", map[string]any{"alg": "ES256", "kid": "rsa"}, claims()), oidc.ErrSignature},
		"another curve":   {i.Sign("p384", map[string]any{"alg": "ES256", "kid": "p384"}, claims()), oidc.ErrSignature},
		"another key":     {i.Sign("p256", map[string]any{"alg": "ES256", "kid": "p384"}, claims()), oidc.ErrSignature},
		"unknown key":     {i.Sign("rsa", map[string]any{"alg": "RS256", "kid": "x"}, claims()), oidc.ErrNoKey},
		"no key":          {i.Sign("rsa", map[string]any{"alg": "RS256"}, claims()), oidc.ErrNoKey},
		"no signing key":  {i.Sign("rsa", map[string]any{"alg": "RS256", "kid": "other"}, claims()), oidc.ErrNoKey},
	} {
		if err := verify(tt.text); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if n := i.Asked.Load(); n != 2 {
		t.Errorf("unknown keys made %d requests in a moment", n)
	}
}

// TestKeysAreKept holds that keys are asked for again when they are old, and
// soon when one is missing.
func TestKeysAreKept(t *testing.T) {
	i := oidctest.New(t)
	now := time.Now()
	c := oidc.New(oidc.Options{Roots: i.Roots(), Dial: i.Dial, Now: func() time.Time { return now }})
	ask := func(keyID string) {
		c.Verify(t.Context(), parse(t, i.Sign("rsa", map[string]any{"alg": "RS256", "kid": keyID}, claims())), oidc.Provider{URL: oidctest.URL})
	}
	for _, tt := range []struct {
		after time.Duration
		key   string
		want  int32
	}{{0, "rsa", 2}, {0, "x", 2}, {11 * time.Second, "rsa", 2}, {0, "x", 4}, {0, "x", 4}, {11 * time.Minute, "rsa", 6}} {
		now = now.Add(tt.after)
		ask(tt.key)
		if n := i.Asked.Load(); n != tt.want {
			t.Errorf("after %v, key %s: %d requests, want %d", tt.after, tt.key, n, tt.want)
		}
	}
}

func TestTrust(t *testing.T) {
	i := oidctest.New(t)
	token := parse(t, i.Token("rsa", claims()))
	elsewhere := oidc.Provider{URL: "https://elsewhere.example", Thumbprints: []string{i.Thumbprint()}}
	for name, tt := range map[string]struct {
		p    oidc.Provider
		want error
	}{
		"nobody vouches":            {oidc.Provider{URL: oidctest.URL}, oidc.ErrCertificate},
		"another thumbprint":        {oidc.Provider{URL: oidctest.URL, Thumbprints: []string{strings.Repeat("0", 40)}}, oidc.ErrCertificate},
		"thumbprint":                {oidc.Provider{URL: oidctest.URL, Thumbprints: []string{strings.ToUpper(i.Thumbprint())}}, nil},
		"certificate of a stranger": {elsewhere, oidc.ErrCertificate},
	} {
		if err := oidc.New(oidc.Options{Dial: i.Dial}).Verify(t.Context(), token, tt.p); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// TestBadProviders: a provider that answers wrongly, endlessly or not at all
// is an error, and no key.
func TestBadProviders(t *testing.T) {
	const config, keys = "/idp/.well-known/openid-configuration", "/keys"
	says := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	for name, tt := range map[string]struct {
		path   string
		answer func(http.ResponseWriter, *http.Request)
		want   error
	}{
		"no configuration":      {config, http.NotFound, oidc.ErrNoKey},
		"configuration of text": {config, says("hello"), oidc.ErrNoKey},
		"another issuer":        {config, says(`{"issuer":"https://evil.example","jwks_uri":"https://example.com/keys"}`), oidc.ErrNoKey},
		"keys in the clear":     {config, says(`{"issuer":"https://example.com/idp","jwks_uri":"http://example.com/keys"}`), oidc.ErrNoKey},
		"keys nowhere":          {config, says(`{"issuer":"https://example.com/idp","jwks_uri":"https://%zz"}`), oidc.ErrNoKey},
		"redirection":           {config, http.RedirectHandler("https://example.com/idp2", http.StatusFound).ServeHTTP, oidc.ErrNoKey},
		"no keys":               {keys, says(`{}`), oidc.ErrNoKey},
		"odd keys": {keys, says(`{"keys":[{"kid":"rsa","kty":"RSA","n":"AQAB","e":"AQAB"},{"kid":"rsa","kty":"RSA","n":"!","e":""},
			{"kid":"rsa","kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kid":"rsa","kty":"EC","crv":"P-9"},{"kid":"rsa","kty":"RSA","use":"enc"},{}]}`), oidc.ErrNoKey},
		"endless keys": {keys, func(w http.ResponseWriter, _ *http.Request) {
			for range 1 << 10 {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<10)); err != nil {
					return
				}
			}
		}, oidc.ErrNoKey},
		"broken off": {keys, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}, oidc.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			i := oidctest.New(t)
			i.Answer[tt.path] = tt.answer
			c := oidc.New(oidc.Options{Roots: i.Roots(), Dial: i.Dial})
			if err := c.Verify(t.Context(), parse(t, i.Token("rsa", claims())), oidc.Provider{URL: oidctest.URL}); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
	i := oidctest.New(t)
	dialled := 0
	dead := func(context.Context, string, string) (net.Conn, error) { dialled++; return nil, errors.New("no route") }
	c := oidc.New(oidc.Options{Dial: dead})
	for range 3 {
		if err := c.Verify(t.Context(), parse(t, i.Token("rsa", claims())), oidc.Provider{URL: oidctest.URL}); !errors.Is(err, oidc.ErrUnreachable) {
			t.Errorf("no provider: %v", err)
		}
	}
	if dialled != 1 {
		t.Errorf("a provider that is gone is asked %d times in a moment", dialled)
	}
}

func FuzzParse(f *testing.F) {
	i := oidctest.New(f)
	f.Add(i.Token("rsa", claims()))
	f.Add("e30.e30.")
	f.Add("..")
	c := oidc.New(oidc.Options{Roots: i.Roots(), Dial: i.Dial})
	f.Fuzz(func(t *testing.T, text string) {
		token, err := oidc.Parse(text)
		if err != nil {
			return
		}
		if token.Issuer == "" || token.Subject == "" || len(token.Audience) == 0 {
			t.Errorf("%q lacks a claim: %+v", text, token.Claims)
		}
		c.Verify(t.Context(), token, oidc.Provider{URL: oidctest.URL}) // does not panic
	})
}
