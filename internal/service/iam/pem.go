package iam

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"

	"github.com/sekisho/sekisho/internal/aws"
)

// What is uploaded in PEM is untrusted, and is parsed here. (AWS does not
// document the texts of these refusals; they are as clients have met them.)

func malformed(format string, args ...any) error {
	return aws.Errorf("MalformedCertificate", format, args...)
}

// parseCertificates reads one certificate after the other. Nothing else may
// stand between them.
func parseCertificates(text string) ([]*x509.Certificate, bool) {
	var list []*x509.Certificate
	rest := bytes.TrimSpace([]byte(text))
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, false
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, false
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, false
		}
		list = append(list, cert)
		rest = bytes.TrimSpace(rest)
	}
	return list, len(list) > 0
}

// parseCertificate reads the one certificate of a text.
func parseCertificate(text string) (*x509.Certificate, error) {
	list, ok := parseCertificates(text)
	if !ok || len(list) != 1 {
		return nil, malformed("Unable to parse certificate. Please ensure the certificate is in PEM format.")
	}
	return list[0], nil
}

// checkChain refuses a chain whose first certificate did not sign the given
// one, or one of whose certificates did not sign the one before it.
func checkChain(cert *x509.Certificate, text string) error {
	if text == "" {
		return nil
	}
	chain, ok := parseCertificates(text)
	if !ok {
		return malformed("Unable to parse certificate chain. Please ensure the certificate chain is in PEM format.")
	}
	for i, signer := range chain {
		if signer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
			return malformed("Unable to validate certificate chain. The certificate chain must start with the immediate signing certificate, "+
				"followed by any intermediaries in order. The index within the chain of the invalid certificate is: %d", i)
		}
		cert = signer
	}
	return nil
}

// parsePrivateKey reads a private key that is not encrypted; nil means that it
// is none.
func parsePrivateKey(block *pem.Block) crypto.Signer {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil
	}
	return signer
}

// privateKeyOf reads the private key that belongs to a certificate. A block of
// EC parameters may stand before it, as OpenSSL writes them.
func privateKeyOf(cert *x509.Certificate, text string) error {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return malformed("Unable to parse private key. Please ensure the private key is in PEM format and is not encrypted.")
		}
		if block.Type == "EC PARAMETERS" {
			continue
		}
		key := parsePrivateKey(block)
		if key == nil {
			return malformed("Unable to parse private key. Please ensure the private key is in PEM format and is not encrypted.")
		}
		public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !public.Equal(cert.PublicKey) {
			return aws.Errorf("KeyPairMismatch", "The private key does not match the public key of the certificate.")
		}
		return nil
	}
}
