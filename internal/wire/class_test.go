package wire

import (
	"regexp"
	"testing"
)

// FuzzClass holds the tables of character classes against package regexp.
func FuzzClass(f *testing.F) {
	patterns := []string{`[\w+=,.@-]+`, `[\x{0009}\x{000A}\x{000D}\x{0020}-\x{00FF}]*`, `^[a-zA-Z0-9:/_-]+$`, `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`, `[^a]{2,5}`, `\d{12}`}
	for _, s := range []string{"", "abc", "a b", "é", "123456789012", "\xff", "a\n"} {
		for i := range patterns {
			f.Add(i, s)
		}
	}
	f.Fuzz(func(t *testing.T, i int, s string) {
		if i < 0 || i >= len(patterns) {
			return
		}
		match := compileClass(patterns[i])
		if match == nil {
			t.Fatalf("%s is no class", patterns[i])
		}
		if want := regexp.MustCompile(`^(?:` + patterns[i] + `)$`).MatchString(s); match(s) != want {
			t.Errorf("%s on %q: %v, want %v", patterns[i], s, !want, want)
		}
	})
}

func TestNotAClass(t *testing.T) {
	for _, p := range []string{`a+`, `[ab]`, `[ab]+c`, `(?i)[a-z]+|x`, `[ab]+|[cd]+`, `(`, `.*`} {
		if compileClass(p) != nil {
			t.Errorf("%s is taken for a class", p)
		}
	}
}
