// Package oidc verifies the ID tokens of OpenID Connect providers: their
// signatures with the keys that a provider publishes, and what they claim.
package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256" // of the algorithms
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"
)

// ErrMalformed is a text that is no token, or one without a claim that it must
// have.
var ErrMalformed = errors.New("not a valid JWT")

// ErrSignature is a token that its provider's key has not signed.
var ErrSignature = errors.New("the token's signature is not its provider's")

// MaxLen bounds tokens, as STS's model does.
const MaxLen = 20_000

// Token is an ID token taken apart. What it claims is true once Client.Verify
// has said so.
type Token struct {
	Claims
	keyID, algorithm string
	signed           string // header and claims, as they were signed
	signature        []byte
}

// Claims are what a token says that AWS heeds.
type Claims struct {
	// Issuer is the provider's URL, with https://.
	Issuer  string
	Subject string
	// Audience are the clients the token is for; AuthorizedParty is the one
	// that it was issued to, if it says so.
	Audience        []string
	AuthorizedParty string
	Issued, Expires time.Time
	NotBefore       time.Time // zero when there is none
	// Methods are how the user was authenticated: amr.
	Methods []string
	// SourceIdentity, Tags and TransitiveTagKeys are AWS's own claims.
	SourceIdentity    string
	Tags              map[string]string
	TransitiveTagKeys []string
}

// claims is the form of Claims in a token.
type claims struct {
	Issuer          string   `json:"iss"`
	Subject         string   `json:"sub"`
	Audience        texts    `json:"aud"`
	AuthorizedParty string   `json:"azp"`
	Issued          *seconds `json:"iat"`
	Expires         *seconds `json:"exp"`
	NotBefore       *seconds `json:"nbf"`
	Methods         texts    `json:"amr"`
	SourceIdentity  string   `json:"https://aws.amazon.com/source_identity"`
	Tags            struct {
		Principal  map[string]texts `json:"principal_tags"`
		Transitive []string         `json:"transitive_tag_keys"`
	} `json:"https://aws.amazon.com/tags"`
}

// texts is one text, or a list of them.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*t = make(texts, 1)
		return json.Unmarshal(b, &(*t)[0])
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// seconds is a time as tokens have it: seconds since 1970, fractions allowed.
type seconds float64

func (s *seconds) time() time.Time {
	if s == nil {
		return time.Time{}
	}
	return time.Unix(int64(*s), 0).UTC()
}

// reasonable reports whether a time is one that can be computed with.
func (s *seconds) reasonable() bool {
	return s == nil || !math.IsNaN(float64(*s)) && math.Abs(float64(*s)) < 1<<40
}

// Parse takes a token apart. The error is ErrMalformed. Nothing is verified
// yet.
func Parse(text string) (*Token, error) {
	parts := strings.Split(text, ".")
	if len(text) > MaxLen || len(parts) != 3 {
		return nil, ErrMalformed
	}
	var header struct {
		Algorithm string   `json:"alg"`
		KeyID     string   `json:"kid"`
		Critical  []string `json:"crit"`
	}
	var c claims
	if !decode(parts[0], &header) || !decode(parts[1], &c) || len(header.Critical) > 0 {
		return nil, ErrMalformed
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || c.Issuer == "" || c.Subject == "" || len(c.Audience) == 0 || c.Issued == nil || c.Expires == nil {
		return nil, ErrMalformed
	}
	if !c.Issued.reasonable() || !c.Expires.reasonable() || !c.NotBefore.reasonable() {
		return nil, ErrMalformed
	}
	t := &Token{keyID: header.KeyID, algorithm: header.Algorithm, signed: parts[0] + "." + parts[1], signature: signature}
	t.Claims = Claims{
		Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, AuthorizedParty: c.AuthorizedParty,
		Issued: c.Issued.time(), Expires: c.Expires.time(), NotBefore: c.NotBefore.time(), Methods: c.Methods,
		SourceIdentity: c.SourceIdentity, TransitiveTagKeys: c.Tags.Transitive,
	}
	for key, values := range c.Tags.Principal {
		if len(values) != 1 { // of a session tag there is one value
			return nil, ErrMalformed
		}
		if t.Tags == nil {
			t.Tags = map[string]string{}
		}
		t.Tags[key] = values[0]
	}
	return t, nil
}

func decode(part string, into any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(raw, into) == nil
}

// algorithms are the ones that AWS takes.
var algorithms = map[string]struct {
	hash  crypto.Hash
	curve string // of elliptic curves; "" for RSA
}{
	"RS256": {crypto.SHA256, ""}, "RS384": {crypto.SHA384, ""}, "RS512": {crypto.SHA512, ""},
	"ES256": {crypto.SHA256, "P-256"}, "ES384": {crypto.SHA384, "P-384"}, "ES512": {crypto.SHA512, "P-521"},
}

// verify holds a token against a key.
func (t *Token) verify(key crypto.PublicKey) error {
	a, ok := algorithms[t.algorithm]
	if !ok {
		return fmt.Errorf("%w: algorithm %q", ErrSignature, t.algorithm)
	}
	h := a.hash.New()
	h.Write([]byte(t.signed))
	digest := h.Sum(nil)
	switch k := key.(type) {
	case *rsa.PublicKey:
		if a.curve == "" && rsa.VerifyPKCS1v15(k, a.hash, digest, t.signature) == nil {
			return nil
		}
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		if a.curve == k.Curve.Params().Name && len(t.signature) == 2*size {
			r, s := new(big.Int).SetBytes(t.signature[:size]), new(big.Int).SetBytes(t.signature[size:])
			if ecdsa.Verify(k, digest, r, s) {
				return nil
			}
		}
	}
	return ErrSignature
}
