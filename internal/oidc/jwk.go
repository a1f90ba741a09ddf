package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
)

// jwk is a key as providers publish it (RFC 7517).
type jwk struct {
	ID    string `json:"kid"`
	Type  string `json:"kty"`
	Use   string `json:"use"`
	N, E  string // RSA
	Curve string `json:"crv"`
	X, Y  string
}

const (
	minModulus = 2048 // bits
	maxModulus = 8192
)

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

// public returns the key, and whether it is one that tokens are signed with.
func (k jwk) public() (crypto.PublicKey, bool) {
	if k.ID == "" || k.Use != "" && k.Use != "sig" {
		return nil, false
	}
	switch k.Type {
	case "RSA":
		n, e := number(k.N), number(k.E)
		if n.BitLen() < minModulus || n.BitLen() > maxModulus || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 {
			return nil, false
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, true
	case "EC":
		curve, ok := curves[k.Curve]
		if !ok {
			return nil, false
		}
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		size := (curve.Params().BitSize + 7) / 8
		if errX != nil || errY != nil || len(x) != size || len(y) != size {
			return nil, false
		}
		key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
		return key, err == nil
	}
	return nil, false
}

// number is a big-endian number in base64; 0 when it is none.
func number(text string) *big.Int {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) > maxModulus/8+1 {
		return new(big.Int)
	}
	return new(big.Int).SetBytes(b)
}
