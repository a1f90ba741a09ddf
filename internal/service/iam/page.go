package iam

import (
	"encoding/base64"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
)

// page is the part of a list that was asked for.
type page struct {
	after string // the last key of the page before
	limit int64
}

const markerHead = "v1:"

// pageOf reads Marker and MaxItems.
func pageOf(marker string, maxItems *int64) (page, error) {
	p := page{limit: 100}
	if maxItems != nil {
		p.limit = min(max(*maxItems, 1), 1000)
	}
	if marker == "" {
		return p, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || !strings.HasPrefix(string(raw), markerHead) || !storable(string(raw)) {
		return page{}, aws.Errorf("ValidationError", "Invalid Marker.")
	}
	p.after = string(raw[len(markerHead):])
	return p, nil
}

// cut takes the page out of rows of which one more than the limit was asked
// for, and says whether there are more and how to ask for them.
func cut[T any](p page, rows []T, key func(T) string) (list []T, truncated *bool, marker string) {
	if int64(len(rows)) <= p.limit {
		return rows, new(false), ""
	}
	rows = rows[:p.limit]
	return rows, new(true), base64.RawURLEncoding.EncodeToString([]byte(markerHead + key(rows[len(rows)-1])))
}

// pageThrough is cut for a list in memory that is sorted by its keys.
func pageThrough[T any](p page, all []T, key func(T) string) (list []T, truncated *bool, marker string) {
	start := 0
	for start < len(all) && key(all[start]) <= p.after && p.after != "" {
		start++
	}
	rows := all[start:]
	return cut(p, rows[:min(int64(len(rows)), p.limit+1)], key)
}
