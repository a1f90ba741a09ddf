package kms

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/aws"
)

// page is one page of a listing, by the key of its last entry.
type page struct {
	after string
	limit int
}

func newPage(limit *int64, marker string, usual, most int64) (page, error) {
	n := usual
	if limit != nil {
		n = *limit
	}
	if n < 1 {
		return page{}, aws.Errorf("ValidationException", "1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1", n)
	}
	after, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || !utf8.Valid(after) || bytes.IndexByte(after, 0) >= 0 { // no database has such a text
		return page{}, aws.Errorf("InvalidMarkerException", "Could not deserialize marker '%s'", marker)
	}
	return page{after: string(after), limit: int(min(n, most))}, nil
}

// cut takes the entry too many off a list that was asked for limit+1 entries,
// and returns the marker of the next page.
func cut[T any](p page, list []T, key func(T) string) (_ []T, marker string, truncated *bool) {
	if len(list) <= p.limit {
		return list, "", new(false)
	}
	list = list[:p.limit]
	return list, base64.RawURLEncoding.EncodeToString([]byte(key(list[len(list)-1]))), new(true)
}
