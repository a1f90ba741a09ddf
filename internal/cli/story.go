package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"golang.org/x/term"

	"github.com/sekisho/sekisho/internal/explain"
)

// Styles of what a terminal shows. Without one they come out as plain text.
var (
	strong = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	good   = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	bad    = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
	name   = lipgloss.NewStyle().Foreground(lipgloss.Color("6"))
)

// width is how wide text may be: the terminal's width, or enough for a log.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n >= 60 {
			return min(n, 200)
		}
	}
	return 160
}

// row is a row of a story's table: a step, or several alike that follow each
// other.
type row struct {
	explain.Step
	about []string
	leave string
}

// rows puts steps that differ in their resources alone into one row.
func rows(steps []explain.Step) []row {
	var out []row
	for _, step := range steps {
		r := row{Step: step, about: about(step), leave: leave(step)}
		if n := len(out); n > 0 && out[n-1].like(r) {
			for _, what := range r.about {
				if !slices.Contains(out[n-1].about, what) {
					out[n-1].about = append(out[n-1].about, what)
				}
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

func (r row) like(o row) bool {
	return who(r.Who) == who(o.Who) && r.Did == o.Did && r.Outcome == o.Outcome && r.leave == o.leave
}

// maxAbout is how many resources of a row are shown.
const maxAbout = 3

// what lists the resources of a row, a line each.
func (r row) what() string {
	if n := len(r.about); n > maxAbout {
		return strings.Join(r.about[:maxAbout], "\n") + fmt.Sprintf("\nand %d more", n-maxAbout)
	}
	return strings.Join(r.about, "\n")
}

// writeStory prints a story as a table: when, who, did what to what, by whose
// leave; and after it what went wrong, and what would turn it.
func writeStory(w io.Writer, s *explain.Story) {
	if len(s.Steps) == 0 {
		return
	}
	list := rows(s.Steps)
	head := []string{"when", "who", "did", "by leave of"}
	cells := make([][]string, len(list))
	for i, r := range list {
		cells[i] = []string{since(r.Time, s.Steps[0].Time), who(r.Who), strings.TrimSpace(r.Did + "\n" + r.what()), r.leave}
	}
	widths := columns(append(cells, head), width(w)-len(head)*3-1)
	t := table.New().
		Border(lipgloss.NormalBorder()).BorderRow(true).BorderStyle(faint).
		Wrap(true).Headers(head...).
		StyleFunc(func(row, col int) lipgloss.Style {
			style := lipgloss.NewStyle().Padding(0, 1)
			switch {
			case row == table.HeaderRow:
				return style.Bold(true)
			case list[row].Outcome != explain.Allowed && col >= 2:
				return style.Foreground(lipgloss.Color("1"))
			}
			return style
		})
	for _, c := range cells {
		for i := range c {
			c[i] = fold(c[i], widths[i])
		}
		t.Row(c...)
	}
	lipgloss.Fprintln(w, t)
	writeTrouble(w, s)
}

// shares are how many hundredths of the width the columns but the last one
// get at most.
var shares = [...]int{10, 26, 32}

// columns shares a width out among columns: what the others do not need is
// the last one's.
func columns(cells [][]string, total int) []int {
	widths := make([]int, len(shares)+1)
	for _, c := range cells {
		for i, text := range c {
			for line := range strings.SplitSeq(text, "\n") {
				widths[i] = max(widths[i], utf8.RuneCountInString(line))
			}
		}
	}
	rest := total
	for i, share := range shares {
		widths[i] = min(widths[i], max(total*share/100, 8))
		rest -= widths[i]
	}
	widths[len(shares)] = min(widths[len(shares)], max(rest, 8))
	return widths
}

// fold breaks lines that are longer than a width: between words, or else
// behind a mark within one.
func fold(text string, width int) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		rest := []rune(line)
		for len(rest) > width {
			at := breakAt(rest, width)
			out = append(out, strings.TrimRight(string(rest[:at]), " "))
			rest = []rune(strings.TrimLeft(string(rest[at:]), " "))
		}
		out = append(out, string(rest))
	}
	return strings.Join(out, "\n")
}

// breakAt is where the next line begins.
func breakAt(line []rune, width int) int {
	if line[width] == ' ' {
		return width
	}
	for at := width; at > 0; at-- {
		if line[at-1] == ' ' && wordAt(line, at) <= width {
			return at
		}
	}
	for at := width; at > width/3; at-- {
		if strings.ContainsRune("/-:.,_", line[at-1]) {
			return at
		}
	}
	return width
}

// wordAt is how long the word is that begins at a place.
func wordAt(line []rune, at int) int {
	if n := slices.Index(line[at:], ' '); n >= 0 {
		return n
	}
	return len(line) - at
}

func since(t, began time.Time) string {
	return fmt.Sprintf("+%.0f ms", float64(t.Sub(began).Microseconds())/1000)
}

// who names a caller with the account and the services in between.
func who(w explain.Who) string {
	text := w.Name
	if w.Role {
		text = "role " + w.Name
	}
	switch {
	case w.AccountName != "":
		text += " of " + w.AccountName
	case w.Account != "":
		text += " of " + w.Account
	}
	if len(w.Via) > 0 {
		services := make([]string, len(w.Via))
		for i, v := range w.Via {
			services[i] = strings.TrimSuffix(v, ".amazonaws.com")
		}
		text += "\nvia " + strings.Join(services, ", ")
	}
	return text
}

// about lists what a step was about, each once.
func about(step explain.Step) []string {
	var list []string
	for _, q := range step.Asked {
		if !slices.Contains(list, q.What) && q.What != "*" {
			list = append(list, q.What)
		}
	}
	return list
}

// leave says by whose leave a step was done, or who refused it; permissions
// with the same answer together.
func leave(step explain.Step) string {
	var answers []string
	actions := map[string][]string{}
	for _, q := range step.Asked {
		answer := because(q)
		if !slices.Contains(answers, answer) {
			answers = append(answers, answer)
		}
		if !slices.Contains(actions[answer], q.Action) {
			actions[answer] = append(actions[answer], q.Action)
		}
	}
	var lines []string
	for _, answer := range answers {
		if a := actions[answer]; len(a) != 1 || a[0] != step.Did {
			answer = strings.Join(a, ", ") + ": " + answer
		}
		lines = append(lines, answer)
	}
	if step.Outcome == explain.Failed {
		lines = append(lines, "FAILED "+step.Error)
	}
	if len(lines) == 0 {
		return "open to every caller"
	}
	return strings.Join(lines, "\n")
}

func because(q explain.Question) string {
	text := strings.Join(q.Because, "\nand ")
	if text == "" {
		kinds := strings.NewReplacer("scp", "service control", "rcp", "resource control")
		text = "no " + kinds.Replace(strings.Join(q.Silent, " policy and no ")) + " policy allows it"
	}
	if q.Outcome == explain.Refused {
		return "REFUSED: " + text
	}
	return text
}

// hasRepair reports whether a story names something that can be put in place.
func hasRepair(s *explain.Story) bool {
	return slices.ContainsFunc(s.Repair, func(f explain.Fix) bool { return f.Advice == "" })
}

// writeTrouble says what was refused or failed, which events were lost, and
// what to change where.
func writeTrouble(w io.Writer, s *explain.Story) {
	for _, r := range rows(s.Refusals()) {
		lipgloss.Fprintln(w, bad.Render("refused: ")+oneLine(who(r.Who))+" may not "+r.Did+oneLine(" on "+r.what()))
		lipgloss.Fprintln(w, "  "+r.Error)
		if r.Advice != "" {
			lipgloss.Fprintln(w, "  "+strong.Render("look: ")+r.Advice)
		}
	}
	failed := s.Failures()
	for i, step := range failed {
		if passedOn(step, append(s.Refusals(), failed[i+1:]...)) {
			continue
		}
		lipgloss.Fprintln(w, bad.Render("failed: ")+step.Did+" by "+oneLine(who(step.Who)))
		lipgloss.Fprintln(w, "  "+step.Error)
		if step.Advice != "" {
			lipgloss.Fprintln(w, "  "+strong.Render("to repair it, ")+step.Advice)
		}
	}
	for _, d := range s.Lost() {
		if d.To == "" {
			d.To = "nothing"
		}
		lipgloss.Fprintln(w, bad.Render("not delivered: ")+d.Event+", by "+d.From+" to "+d.To)
		lipgloss.Fprintln(w, "  "+d.Error)
	}
	again := "sekisho explain " + s.ID + " --apply"
	for _, d := range s.Decisions {
		if d.Outcome == explain.Refused && len(d.Carry) > 0 {
			writeCarry(w, d, width(w))
			again = "sekisho explain " + s.ID + " --apply --policies"
		}
	}
	for _, f := range s.Repair {
		writeRepair(w, f)
	}
	if hasRepair(s) {
		lipgloss.Fprintln(w, strong.Render("to put that in place: ")+name.Render(again))
	}
}

// passedOn reports whether a failure only passes the answer of another call
// on.
func passedOn(step explain.Step, others []explain.Step) bool {
	_, message, _ := strings.Cut(step.Error, ": ")
	return message != "" && slices.ContainsFunc(others, func(o explain.Step) bool { return strings.HasSuffix(o.Error, message) })
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", ", ") }

// writeRepair says which policy to change, and how.
func writeRepair(w io.Writer, f explain.Fix) {
	wide := width(w)
	switch {
	case f.Advice != "":
		lipgloss.Fprintln(w, strong.Render("no statement helps in ")+f.Where+": "+f.Advice)
	case f.Narrow != "" && len(f.Instead) == 0:
		lipgloss.Fprintln(w, strong.Render("to repair it, narrow or remove ")+f.Narrow)
	case f.Narrow != "":
		lipgloss.Fprintln(w, strong.Render("to repair it, narrow ")+f.Narrow+strong.Render(" to"))
		for _, text := range f.Instead {
			writeJSON(w, text, good, wide)
		}
		if f.Beyond != "" {
			lipgloss.Fprintln(w, "  which lets through, besides: "+f.Beyond)
		}
	default:
		lipgloss.Fprintln(w, strong.Render("to repair it, add to ")+f.Where+":")
		writeJSON(w, f.Add, good, wide)
	}
}

func indented(statement json.RawMessage) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(statement); err != nil {
		return string(statement)
	}
	return strings.TrimSpace(b.String())
}
