package kms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/seal"
)

// What a key is for.
const (
	encryptDecrypt    = "ENCRYPT_DECRYPT"
	signVerify        = "SIGN_VERIFY"
	generateVerifyMAC = "GENERATE_VERIFY_MAC"
	keyAgreement      = "KEY_AGREEMENT"
)

const (
	symmetric = "SYMMETRIC_DEFAULT"
	oaepSHA1  = "RSAES_OAEP_SHA_1"
	oaepSHA2  = "RSAES_OAEP_SHA_256"
	ecdh      = "ECDH"
)

// spec is what keys of one key spec are and can do.
type spec struct {
	// algorithms are those of each key usage that the spec allows.
	algorithms map[string][]string
	// size is that of a secret, in bytes; 0 means a pair of keys.
	size int
	// bits and curve are the kind of pair: RSA's modulus or the curve; neither
	// means Ed25519.
	bits  int
	curve elliptic.Curve
}

func secretSpec(usage, algorithm string, size int) spec {
	return spec{algorithms: map[string][]string{usage: {algorithm}}, size: size}
}

func rsaSpec(bits int) spec {
	return spec{bits: bits, algorithms: map[string][]string{
		encryptDecrypt: {oaepSHA1, oaepSHA2},
		signVerify: {
			"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
			"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512",
		},
	}}
}

func curveSpec(curve elliptic.Curve, signing string) spec {
	return spec{curve: curve, algorithms: map[string][]string{signVerify: {signing}, keyAgreement: {ecdh}}}
}

// specs are the key specs that keys can have here. Of AWS's, SM2,
// ECC_SECG_P256K1 and ML_DSA are not among them: the standard library has none
// of the three.
var specs = map[string]spec{
	symmetric:       secretSpec(encryptDecrypt, symmetric, seal.KeySize),
	"HMAC_224":      secretSpec(generateVerifyMAC, "HMAC_SHA_224", 28),
	"HMAC_256":      secretSpec(generateVerifyMAC, "HMAC_SHA_256", 32),
	"HMAC_384":      secretSpec(generateVerifyMAC, "HMAC_SHA_384", 48),
	"HMAC_512":      secretSpec(generateVerifyMAC, "HMAC_SHA_512", 64),
	"RSA_2048":      rsaSpec(2048),
	"RSA_3072":      rsaSpec(3072),
	"RSA_4096":      rsaSpec(4096),
	"ECC_NIST_P256": curveSpec(elliptic.P256(), "ECDSA_SHA_256"),
	"ECC_NIST_P384": curveSpec(elliptic.P384(), "ECDSA_SHA_384"),
	"ECC_NIST_P521": curveSpec(elliptic.P521(), "ECDSA_SHA_512"),
	"ECC_NIST_EDWARDS25519": {algorithms: map[string][]string{
		signVerify: {"ED25519_SHA_512", "ED25519_PH_SHA_512"},
	}},
}

// findSpec returns a key spec, or the refusal of one that AWS has and sekisho
// has not.
func findSpec(name string) (spec, error) {
	s, ok := specs[name]
	if !ok {
		return spec{}, aws.Errorf("UnsupportedOperationException", "KeySpec %s is not implemented by sekisho.", name)
	}
	return s, nil
}

// pair reports whether the spec is of private and public keys.
func (s spec) pair() bool { return s.size == 0 }

// generate makes key material: a secret, or a private key as PKCS #8. Of a
// large RSA key that takes seconds, so it is not done in a transaction.
func (s spec) generate() ([]byte, error) {
	if !s.pair() {
		secret := make([]byte, s.size)
		rand.Read(secret)
		return secret, nil
	}
	key, err := s.generatePair()
	if err != nil {
		return nil, fmt.Errorf("generate a pair of keys: %w", err)
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

func (s spec) generatePair() (crypto.Signer, error) {
	switch {
	case s.bits != 0:
		return rsa.GenerateKey(rand.Reader, s.bits)
	case s.curve != nil:
		return ecdsa.GenerateKey(s.curve, rand.Reader)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// parse reads key material, which a customer may have imported, as what the
// spec asks for. For pairs it returns the private key.
func (s spec) parse(material []byte) (crypto.Signer, bool) {
	if !s.pair() {
		return nil, len(material) == s.size
	}
	parsed, err := x509.ParsePKCS8PrivateKey(material)
	if err != nil {
		return nil, false
	}
	switch key := parsed.(type) {
	case *rsa.PrivateKey:
		return key, key.N.BitLen() == s.bits
	case *ecdsa.PrivateKey:
		return key, key.Curve == s.curve
	case ed25519.PrivateKey:
		return key, s.bits == 0 && s.curve == nil
	}
	return nil, false
}

// checkAlgorithm refuses an algorithm that a key does not have.
func (k key) checkAlgorithm(algorithm string) error {
	if slices.Contains(specs[k.Spec].algorithms[k.Usage], algorithm) {
		return nil
	}
	return aws.Errorf("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec %s.", algorithm, k.Spec)
}

// checkUsage refuses an operation that a key is not for.
func (k key) checkUsage(usage, operation string) error {
	if k.Usage == usage {
		return nil
	}
	return aws.Errorf("InvalidKeyUsageException", "%s key usage is %s which is not valid for %s.", k.arn(), k.Usage, operation)
}

// symmetric reports whether the key is a symmetric encryption key, the only
// kind whose material changes.
func (k key) symmetric() bool { return k.Spec == symmetric }
