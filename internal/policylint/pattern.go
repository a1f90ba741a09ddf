package policylint

import (
	"slices"
	"strings"
)

func sortedTexts(list []string) []string {
	slices.Sort(list)
	return list
}

// covers reports whether a pattern with * and ? is like everything that
// another is like: a literal is a pattern, too.
func covers(pattern, other string) bool {
	p, o := 0, 0
	star, from := -1, 0
	for o < len(other) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, o
			p++
		case p < len(pattern) && (pattern[p] == '?' && other[o] != '*' || pattern[p] == other[o] && other[o] != '*'):
			p++
			o++
		case star >= 0:
			from++
			p, o = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// coversFold is covers for actions, whose case does not matter.
func coversFold(pattern, other string) bool {
	return covers(strings.ToLower(pattern), strings.ToLower(other))
}

// coversAll reports whether each of some patterns is covered by one of others.
func coversAll(by, of []text, one func(pattern, other string) bool) bool {
	return !slices.ContainsFunc(of, func(o text) bool {
		return !slices.ContainsFunc(by, func(p text) bool { return one(p.s, o.s) })
	})
}

// wild reports whether a text has wildcards. Policy variables, and the escapes
// ${*} and ${?} among them, are none.
func wild(s string) bool {
	for {
		head, rest, ok := strings.Cut(s, "${")
		if strings.ContainsAny(head, "*?") {
			return true
		}
		if !ok {
			return false
		}
		_, s, _ = strings.Cut(rest, "}")
	}
}
