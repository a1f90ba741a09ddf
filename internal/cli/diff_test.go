package cli

import (
	"strings"
	"testing"
)

func TestUnified(t *testing.T) {
	many := func(from, to string) string {
		return strings.Join([]string{"1", "2", "3", "4", "5", from, "7", "8", "9", "10", "11", "12", "13", "14", "15", to, "17", ""}, "\n")
	}
	for _, tt := range []struct{ name, before, after, want string }{
		{"the same", "a\nb\n", "a\nb\n", ""},
		{"from nothing", "", "a\nb\n", "--- p\n+++ p, repaired\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"to nothing", "a\n", "", "--- p\n+++ p, repaired\n@@ -1,1 +0,0 @@\n-a\n"},
		{"one line", "a\nb\nc\n", "a\nx\nc\n", "--- p\n+++ p, repaired\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"},
		{"two places", many("6", "16"), many("six", "sixteen"), "--- p\n+++ p, repaired\n" +
			"@@ -3,7 +3,7 @@\n 3\n 4\n 5\n-6\n+six\n 7\n 8\n 9\n@@ -13,5 +13,5 @@\n 13\n 14\n 15\n-16\n+sixteen\n 17\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := unified("p", tt.before, tt.after); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
