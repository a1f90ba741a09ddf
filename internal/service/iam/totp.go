package iam

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
)

// totpStep is how long a code of an MFA device is shown.
const totpStep = 30 * time.Second

// stepAt is the number of the code that an exact device shows at a time.
func stepAt(t time.Time) int64 { return t.Unix() / int64(totpStep/time.Second) }

// totp is the code of a step by RFC 6238: six digits, SHA-1.
func totp(seed []byte, step int64) string {
	mac := hmac.New(sha1.New, seed)
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// findStep looks for the step of a code around a step, nearest first. Steps
// up to after are spent.
func findStep(seed []byte, code string, around, reach, after int64) (int64, bool) {
	for d := range reach + 1 {
		for _, step := range [2]int64{around - d, around + d} {
			if step > after && subtle.ConstantTimeCompare([]byte(totp(seed, step)), []byte(code)) == 1 {
				return step, true
			}
		}
	}
	return 0, false
}

// findPair looks for two codes that follow each other, and returns the step of
// the second. Steps up to after are spent.
func findPair(seed []byte, first, second string, around, reach, after int64) (int64, bool) {
	for d := range reach + 1 {
		for _, step := range [2]int64{around - d, around + d} {
			if step > after && totp(seed, step-1) == first && totp(seed, step) == second {
				return step, true
			}
		}
	}
	return 0, false
}
