package wire

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// timeFormat is how a timestamp is written.
type timeFormat uint8

const (
	timeDefault timeFormat = iota
	timeEpoch              // seconds with a fraction
	timeISO                // 2006-01-02T15:04:05.000Z
	timeHTTP               // Mon, 02 Jan 2006 15:04:05 GMT
)

var timeFormats = map[string]timeFormat{
	"unixTimestamp": timeEpoch,
	"iso8601":       timeISO,
	"rfc822":        timeHTTP,
}

const (
	isoMillis = "2006-01-02T15:04:05.000Z"
	isoShort  = "2006-01-02T15:04:05.999Z" // milliseconds where there are any
)

// appendTime writes t; iso is the layout for timeISO.
func appendTime(b []byte, t time.Time, f timeFormat, iso string) []byte {
	t = t.UTC()
	switch f {
	case timeEpoch:
		return appendEpoch(b, t)
	case timeHTTP:
		return t.AppendFormat(b, http.TimeFormat)
	}
	return t.AppendFormat(b, iso)
}

// appendEpoch writes seconds since 1970 with at most three decimals.
func appendEpoch(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(b, ms/1000, 10)
	}
	return strconv.AppendFloat(b, float64(ms)/1000, 'f', -1, 64)
}

// Years a timestamp may lie in: what time.Time can print and read again.
const (
	minEpoch = -62135596800 // 0001-01-01
	maxEpoch = 253402300799 // 9999-12-31
)

// epoch turns seconds into a time, to the millisecond.
func epoch(seconds float64) (time.Time, bool) {
	if math.IsNaN(seconds) || seconds < minEpoch || seconds > maxEpoch {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), true
}

// parseTime reads a timestamp in any of AWS's forms: clients are not of one
// mind.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "20060102T150405Z", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), inYears(t)
		}
	}
	if t, err := http.ParseTime(s); err == nil {
		return t.UTC(), inYears(t)
	}
	if strings.ContainsAny(s, "xXpP_iInN") {
		return time.Time{}, false // forms of Go's numbers, not of AWS's
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return epoch(f)
	}
	return time.Time{}, false
}

func inYears(t time.Time) bool {
	s := t.Unix()
	return s >= minEpoch && s <= maxEpoch
}
