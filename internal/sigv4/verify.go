package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"time"
)

// Digest returns the digest of a body that was read whole, in the form Verify
// takes it.
func Digest(body []byte) string {
	if len(body) == 0 {
		return EmptyPayload
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Verify holds the request against the secret of its access key and against
// the clock. digest is the Digest of the body as it was read; it is not used
// for S3, whose requests declare it and whose bodies Body verifies. The error
// is an *Error.
func (q *Request) Verify(secret []byte, digest string, now time.Time) error {
	if err := q.checkClock(now); err != nil {
		return err
	}
	if q.isS3() {
		digest = q.payload
	} else if digest == "" {
		digest = EmptyPayload
	}
	var stack [2048]byte
	canonical := q.appendCanonical(stack[:0], digest)
	sum := sha256.Sum256(canonical)
	var toSignStack [256]byte
	toSign := appendToSign(toSignStack[:0], algorithm, q.date, q.day, q.Region, q.Service)
	toSign = hex.AppendEncode(toSign, sum[:])

	key := signingKey(secret, q.day, q.Region, q.Service)
	if !sameSignature(mac(key[:], toSign), q.signature) {
		return errSignature(q, append([]byte(nil), toSign...), append([]byte(nil), canonical...))
	}
	q.key, q.standing = key, verified
	return nil
}

// Trust accepts the request without looking at its signature or at the clock,
// so that Body reads on: for callers whom a server believes on their word.
func (q *Request) Trust() { q.standing = trusted }

func (q *Request) checkClock(now time.Time) error {
	window := Skew
	if q.Presigned && q.isS3() {
		window = q.expires
	}
	if limit := now.Add(-window); q.Time.Before(limit.Truncate(time.Second)) {
		return errClock(q, now, limit, false, window)
	}
	if limit := now.Add(Skew); q.Time.After(limit) {
		return errClock(q, now, limit, true, Skew)
	}
	return nil
}

// appendToSign appends the string to sign up to its last line.
func appendToSign(buf []byte, algorithm, date, day, region, service string) []byte {
	buf = append(buf, algorithm...)
	buf = append(buf, '\n')
	buf = append(buf, date...)
	buf = append(buf, '\n')
	buf = appendScope(buf, day, region, service)
	return append(buf, '\n')
}

func appendScope(buf []byte, day, region, service string) []byte {
	buf = append(buf, day...)
	buf = append(buf, '/')
	buf = append(buf, region...)
	buf = append(buf, '/')
	buf = append(buf, service...)
	buf = append(buf, '/')
	return append(buf, terminator...)
}

func signingKey(secret []byte, day, region, service string) [32]byte {
	var stack [64]byte
	first := append(append(stack[:0], "AWS4"...), secret...)
	var name [64]byte
	key := mac(first, append(name[:0], day...))
	key = mac(key[:], append(name[:0], region...))
	key = mac(key[:], append(name[:0], service...))
	return mac(key[:], append(name[:0], terminator...))
}

// mac is HMAC-SHA256. crypto/hmac allocates two hashes for each of the five
// that a signature takes; for short messages two sums over the stack do. A
// test holds it against crypto/hmac.
func mac(key, message []byte) [32]byte {
	const block = sha256.BlockSize
	var pad [block]byte
	if len(key) > block {
		sum := sha256.Sum256(key)
		copy(pad[:], sum[:])
	} else {
		copy(pad[:], key)
	}
	var stack [block + 256]byte
	for i, c := range pad {
		stack[i] = c ^ 0x36
	}
	inner := sha256.Sum256(append(stack[:block], message...))
	for i, c := range pad {
		stack[i] = c ^ 0x5c
	}
	return sha256.Sum256(append(stack[:block], inner[:]...))
}

// sameSignature compares in constant time.
func sameSignature(sum [32]byte, signature string) bool {
	var want [64]byte
	hex.Encode(want[:], sum[:])
	var given [64]byte
	if len(signature) != copy(given[:], signature) {
		return false
	}
	return len(signature) == len(want) && subtle.ConstantTimeCompare(want[:], given[:]) == 1
}
