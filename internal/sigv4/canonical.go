package sigv4

import (
	"bytes"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// appendCanonical appends the canonical request: method, path, query, headers,
// their names, payload digest.
func (q *Request) appendCanonical(buf []byte, payload string) []byte {
	buf = append(buf, q.r.Method...)
	buf = append(buf, '\n')
	if q.isS3() {
		buf = appendS3Path(buf, rawPath(q.r))
	} else {
		buf = appendPath(buf, rawPath(q.r))
	}
	buf = append(buf, '\n')
	buf = appendQuery(buf, q.r.URL.RawQuery)
	buf = append(buf, '\n')
	for rest := q.signedHeaders; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, ";")
		buf = appendHeader(buf, q.r, name)
	}
	buf = append(buf, '\n')
	buf = append(buf, q.signedHeaders...)
	buf = append(buf, '\n')
	return append(buf, payload...)
}

// rawPath is the path as it was sent, escapes and all.
func rawPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		p, _, _ := strings.Cut(r.RequestURI, "?")
		return p
	}
	if p := r.URL.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// appendS3Path appends a path escaped once, and not cleaned: an object's key
// may hold any dots and slashes. A slash that came escaped stays so.
func appendS3Path(buf []byte, raw string) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' && i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2]) {
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
			buf = appendEscaped(buf, c)
			continue
		}
		if c == '/' {
			buf = append(buf, '/')
		} else {
			buf = appendEscaped(buf, c)
		}
	}
	return buf
}

// appendPath appends a path as every service but S3 sees it: cleaned of dots
// and doubled slashes, and escaped once more than it was sent.
func appendPath(buf []byte, raw string) []byte {
	if strings.Contains(raw, "//") || strings.Contains(raw, "/.") {
		clean := path.Clean(raw)
		if clean != "/" && (strings.HasSuffix(raw, "/") || strings.HasSuffix(raw, "/.") || strings.HasSuffix(raw, "/..")) {
			clean += "/"
		}
		raw = clean
	}
	for i := range len(raw) {
		if raw[i] == '/' {
			buf = append(buf, '/')
		} else {
			buf = appendEscaped(buf, raw[i])
		}
	}
	return buf
}

// A span is one query parameter in the scratch buffer: name is [from, mid),
// value is [mid, to).
type span struct{ from, mid, to int }

// appendQuery appends the parameters sorted by name, then by value, each
// escaped anew; a plus sign is a space. The signature itself is left out.
func appendQuery(buf []byte, raw string) []byte {
	if raw == "" {
		return buf
	}
	var spanStack [24]span
	var scratchStack [1024]byte
	spans, scratch := spanStack[:0], scratchStack[:0]
	for rest := raw; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if name == "X-Amz-Signature" {
			continue
		}
		s := span{from: len(scratch)}
		scratch = appendReescaped(scratch, name)
		s.mid = len(scratch)
		scratch = appendReescaped(scratch, value)
		s.to = len(scratch)
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int {
		if c := bytes.Compare(scratch[a.from:a.mid], scratch[b.from:b.mid]); c != 0 {
			return c
		}
		return bytes.Compare(scratch[a.mid:a.to], scratch[b.mid:b.to])
	})
	for i, s := range spans {
		if i > 0 {
			buf = append(buf, '&')
		}
		buf = append(buf, scratch[s.from:s.mid]...)
		buf = append(buf, '=')
		buf = append(buf, scratch[s.mid:s.to]...)
	}
	return buf
}

func appendReescaped(buf []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		buf = appendEscaped(buf, c)
	}
	return buf
}

func appendEscaped(buf []byte, c byte) []byte {
	if unreserved(c) {
		return append(buf, c)
	}
	const digits = "0123456789ABCDEF"
	return append(buf, '%', digits[c>>4], digits[c&15])
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// appendHeader appends "name:values\n". Some headers do not reach a handler as
// they were sent; net/http keeps their values elsewhere.
func appendHeader(buf []byte, r *http.Request, name string) []byte {
	start := len(buf)
	buf = append(buf, name...)
	for i := start; i < len(buf); i++ {
		if c := buf[i]; 'A' <= c && c <= 'Z' {
			buf[i] = c + 'a' - 'A'
		}
	}
	lower := buf[start:]
	switch string(lower) {
	case "host", ":authority":
		buf = append(buf, ':')
		buf = appendValue(buf, r.Host)
		return append(buf, '\n')
	}
	values := lookUp(r.Header, lower)
	if values == nil {
		switch string(lower) {
		case "content-length":
			buf = append(buf, ':')
			buf = strconv.AppendInt(buf, max(r.ContentLength, 0), 10)
			return append(buf, '\n')
		case "expect":
			return append(buf, ":100-continue\n"...)
		case "transfer-encoding":
			values = r.TransferEncoding
		}
	}
	buf = append(buf, ':')
	for i, v := range values {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendValue(buf, v)
	}
	return append(buf, '\n')
}

// lookUp finds a header by its lower-case name without allocating.
func lookUp(h http.Header, lower []byte) []string {
	var stack [64]byte
	key := append(stack[:0], lower...)
	upper := true
	for i, c := range key {
		if upper && 'a' <= c && c <= 'z' {
			key[i] = c - 'a' + 'A'
		}
		upper = c == '-'
	}
	return h[string(key)]
}

// appendValue appends a header's value without the spaces around it, and with
// one space where there are several.
func appendValue(buf []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	for i := range len(v) {
		if v[i] == ' ' && v[i-1] == ' ' { // v[0] is no space
			continue
		}
		buf = append(buf, v[i])
	}
	return buf
}
