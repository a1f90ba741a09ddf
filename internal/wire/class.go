package wire

import (
	"regexp/syntax"
	"unicode/utf8"
)

// compileClass compiles the most frequent form of pattern, one character
// class repeated (`[\w+=,.@-]+`), into a table: a tenth of the time of the
// general matcher. It returns nil for every other form.
func compileClass(pattern string) func(string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	re = stripAnchors(re)
	least, most := 1, -1
	switch re.Op {
	case syntax.OpStar:
		least = 0
	case syntax.OpPlus:
	case syntax.OpRepeat:
		least, most = re.Min, re.Max
	default:
		return nil
	}
	sub := re.Sub[0]
	if sub.Op != syntax.OpCharClass || sub.Flags&syntax.FoldCase != 0 {
		return nil
	}
	return classMatcher(sub.Rune, least, most)
}

// stripAnchors removes ^ and $ around an expression: all matching is of
// whole strings.
func stripAnchors(re *syntax.Regexp) *syntax.Regexp {
	if re.Op != syntax.OpConcat {
		return re
	}
	sub := re.Sub
	if len(sub) > 0 && sub[0].Op == syntax.OpBeginText {
		sub = sub[1:]
	}
	if len(sub) > 0 && sub[len(sub)-1].Op == syntax.OpEndText {
		sub = sub[:len(sub)-1]
	}
	if len(sub) == 1 {
		return sub[0]
	}
	return re
}

func classMatcher(ranges []rune, least, most int) func(string) bool {
	var ascii [utf8.RuneSelf]bool
	for i := 0; i < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1] && r < utf8.RuneSelf; r++ {
			ascii[r] = true
		}
	}
	return func(s string) bool {
		n := 0
		for _, r := range s {
			n++
			if r < utf8.RuneSelf {
				if !ascii[r] {
					return false
				}
			} else if !inRanges(r, ranges) {
				return false
			}
		}
		return n >= least && (most < 0 || n <= most)
	}
}

func inRanges(r rune, ranges []rune) bool {
	for i := 0; i < len(ranges); i += 2 {
		if r >= ranges[i] && r <= ranges[i+1] {
			return true
		}
	}
	return false
}
