package cli

import (
	"fmt"
	"strings"
)

// diffContext is how many lines a diff shows around a change.
const diffContext = 3

// edit is one line of a diff: kept ' ', taken '-' or added '+'.
type edit struct {
	sign byte
	line string
}

// unified returns the difference between two texts as `diff -u` shows it, empty
// when there is none.
func unified(name, before, after string) string {
	edits := compare(linesOf(before), linesOf(after))
	var b strings.Builder
	old, fresh := 1, 1 // of the next edit
	for i := 0; i < len(edits); {
		end := hunk(edits, i)
		if end == i {
			if edits[i].sign == ' ' {
				old, fresh = old+1, fresh+1
			}
			i++
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "--- %s\n+++ %s, repaired\n", name, name)
		}
		n, m := count(edits[i:end], '-'), count(edits[i:end], '+')
		fmt.Fprintf(&b, "@@ -%d,%d +%d,%d @@\n", from(old, n), n, from(fresh, m), m)
		for _, e := range edits[i:end] {
			fmt.Fprintf(&b, "%c%s\n", e.sign, e.line)
		}
		old, fresh, i = old+n, fresh+m, end
	}
	return b.String()
}

// from is where a hunk of n lines begins, in diff's way: before its first line
// when there is none.
func from(line, n int) int {
	if n == 0 {
		return line - 1
	}
	return line
}

// hunk returns where the hunk ends that begins at an edit; there is none when it
// is further from a change than the context.
func hunk(edits []edit, at int) int {
	end := at
	for i := at; i < len(edits) && i <= end+2*diffContext; i++ {
		if edits[i].sign != ' ' {
			if end == at && i > at+diffContext {
				return at
			}
			end = i + 1
		}
	}
	if end == at {
		return at
	}
	return min(end+diffContext, len(edits))
}

// count is how many lines of one side are among edits.
func count(edits []edit, sign byte) int {
	n := 0
	for _, e := range edits {
		if e.sign == ' ' || e.sign == sign {
			n++
		}
	}
	return n
}

func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// compare finds a longest common subsequence. Policies have some hundred lines.
func compare(a, b []string) []edit {
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var out []edit
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && longest[i+1][j] >= longest[i][j+1]:
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}
