// Package aws holds the words everyone in sekisho speaks: ARNs, principals,
// API errors and events. It imports nothing of the project.
package aws

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Partition is the only partition sekisho plays.
const Partition = "aws"

// ARN is an Amazon Resource Name taken apart at its first five colons.
type ARN struct {
	Partition, Service, Region, Account, Resource string
}

// ParseARN takes s apart. It reports false when s does not have the six
// components of an ARN.
func ParseARN(s string) (ARN, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] == "" || p[2] == "" || p[5] == "" {
		return ARN{}, false
	}
	return ARN{Partition: p[1], Service: p[2], Region: p[3], Account: p[4], Resource: p[5]}, true
}

// NewARN builds the text of an ARN in sekisho's partition.
func NewARN(service, region, account, resource string) string {
	return "arn:" + Partition + ":" + service + ":" + region + ":" + account + ":" + resource
}

// String returns the ARN's text.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

var accountID = regexp.MustCompile(`^[0-9]{12}$`)

// IsAccountID reports whether s has the form of an account id: twelve digits.
func IsAccountID(s string) bool { return accountID.MatchString(s) }

var region = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)

// IsRegion reports whether s has the form of a region name, such as
// eu-central-1. Any such name is a region of sekisho.
func IsRegion(s string) bool { return len(s) <= 32 && region.MatchString(s) }

// NewUUID returns a random (version 4) UUID in lower case.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, by its documentation
	return uuid(b, 4)
}

// NewTimedUUID returns a fresh UUID (version 7) that tells its time: UUIDTime
// reads it.
func NewTimedUUID(t time.Time) string {
	var b [16]byte
	rand.Read(b[6:]) // never fails, by its documentation
	ms := uint64(max(t.UnixMilli(), 0))
	binary.BigEndian.PutUint16(b[:], uint16(ms>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(ms))
	return uuid(b, 7)
}

// UUIDTime returns the time of a NewTimedUUID, to the millisecond. It reports
// false for every other text.
func UUIDTime(s string) (time.Time, bool) {
	if len(s) != 36 || s[14] != '7' {
		return time.Time{}, false
	}
	ms, err := strconv.ParseUint(s[:8]+s[9:13], 16, 48)
	return time.UnixMilli(int64(ms)), err == nil
}

func uuid(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

const (
	// Base32 is the alphabet of access key ids and unique entity ids.
	Base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	// UpperAlnum is the alphabet of generated physical names.
	UpperAlnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	// Alnum is the alphabet of artifact keys and version ids.
	Alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// RandomText returns n characters drawn evenly from alphabet (at most 256
// characters long) with a cryptographic source.
func RandomText(n int, alphabet string) string {
	out := make([]byte, 0, n)
	limit := 256 - 256%len(alphabet)
	var b [64]byte
	for len(out) < n {
		rand.Read(b[:])
		for _, c := range b {
			if int(c) < limit && len(out) < n {
				out = append(out, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// Error is an answer of an API: AWS's own error code and wording.
type Error struct {
	// Code is AWS's error code, such as AccessDeniedException or NoSuchKey.
	Code string
	// Message is what the caller reads.
	Message string
	// Status is the HTTP status; 0 means the one of the service's model, or
	// 400 where the model names none (403 for refusals outside the JSON
	// services).
	Status int
	// Fields are further elements of the answer, such as S3's BucketName or
	// the modelled members of an error shape, by their names on the wire.
	Fields map[string]string
	// Header are response headers the answer carries, such as S3's
	// x-amz-delete-marker.
	Header map[string]string
	// RequestID is the ID of the call that was answered so. It is set for
	// calls inside the process; those of clients know theirs.
	RequestID string
}

// Errorf builds an API error. The message is formatted as by fmt.Sprintf.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// With returns a copy of e that carries one more field.
func (e *Error) With(name, value string) *Error {
	c := *e
	c.Fields = make(map[string]string, len(e.Fields)+1)
	for k, v := range e.Fields {
		c.Fields[k] = v
	}
	c.Fields[name] = value
	return &c
}

// WithStatus returns a copy of e that answers with an HTTP status.
func (e *Error) WithStatus(status int) *Error {
	c := *e
	c.Status = status
	return &c
}
