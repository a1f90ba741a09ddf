package main

import (
	"regexp"
	"strings"
)

// re2 translates a Java regular expression to Go's syntax, and returns "-"
// when Go cannot express it (look-ahead).
func re2(pattern string) string {
	// Java reads \u10000 as U+1000 and a zero; what is meant are the
	// characters beyond the basic plane.
	text := strings.ReplaceAll(pattern, `\u10000-\u10FFFF`, `\x{10000}-\x{10FFFF}`)
	text = unicodeEscape.ReplaceAllString(text, `\x{$1}`)
	if _, err := regexp.Compile(text); err != nil {
		return "-"
	}
	return text
}

var unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)
