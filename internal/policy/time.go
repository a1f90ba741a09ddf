package policy

import (
	"strconv"
	"time"
)

// parseTime reads a date of a condition: the W3C's profile of ISO 8601, or
// seconds since the epoch. Four digits are a year. IAM takes more than the
// profile: letters in lower case, a time without minutes or zone (then UTC),
// and a zone without minutes.
func parseTime(s string) (time.Time, bool) {
	if len(s) != 4 && digits(s) {
		n, err := strconv.ParseInt(s, 10, 64)
		return time.Unix(n, 0), err == nil
	}
	r := dateReader{rest: s, ok: true}
	year, month, day := r.number(4, 4), 1, 1
	if r.take('-') {
		if month = r.number(2, 2); r.take('-') {
			day = r.number(2, 2)
		}
	}
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return time.Time{}, false
	}
	var hour, minute, second, nano, east int
	if r.take('T') || r.take('t') {
		hour, minute, second, nano = r.clock()
		east = r.zone()
	}
	if !r.ok || r.rest != "" || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second-east, nano, time.UTC), true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// dateReader reads a date from its beginning; ok is false once something was
// not there.
type dateReader struct {
	rest string
	ok   bool
}

// take consumes c, if it comes next.
func (r *dateReader) take(c byte) bool {
	if r.rest == "" || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// number reads between least and most digits.
func (r *dateReader) number(least, most int) int {
	n, i := 0, 0
	for i < len(r.rest) && i < most && '0' <= r.rest[i] && r.rest[i] <= '9' {
		n = n*10 + int(r.rest[i]-'0')
		i++
	}
	r.ok = r.ok && i >= least
	r.rest = r.rest[i:]
	return n
}

func (r *dateReader) clock() (hour, minute, second, nano int) {
	hour = r.number(1, 2)
	if !r.take(':') {
		return
	}
	minute = r.number(1, 2)
	if !r.take(':') {
		return
	}
	second = r.number(1, 2)
	if !r.take('.') {
		return
	}
	before := len(r.rest)
	nano = r.number(1, 9)
	for range 9 - (before - len(r.rest)) {
		nano *= 10
	}
	return
}

// zone reads a time zone, and returns the seconds it is east of UTC.
func (r *dateReader) zone() int {
	if r.rest == "" || r.take('Z') || r.take('z') {
		return 0
	}
	sign := 1
	if r.take('-') {
		sign = -1
	} else if !r.take('+') {
		r.ok = false
	}
	hours, minutes := r.number(2, 2), 0
	if r.take(':') || r.rest != "" {
		minutes = r.number(2, 2)
	}
	r.ok = r.ok && hours < 24 && minutes < 60
	return sign * (hours*3600 + minutes*60)
}
