package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/sekisho/sekisho/internal/explain"
)

// marks of what a policy says, each one column wide.
var marks = map[string]string{explain.Allows: "✓", explain.Denies: "✗", explain.Silent: "·", explain.Absent: "·"}

// writeDecision prints one decision: who, wearing what, asked for what of whom;
// what each policy said; the statements that decided; and what would turn it.
// again is the command that applies the repair; empty for none.
func writeDecision(w io.Writer, d explain.Decision, again string) {
	wide := width(w)
	verdict := good.Render("✓ ALLOWED")
	if d.Outcome == explain.Refused {
		verdict = bad.Render("✗ REFUSED")
	}
	lipgloss.Fprintln(w, verdict+faint.Render(" "+verdictNote(d)))
	fmt.Fprintln(w)
	owner := d.OwnerName
	if owner == "" {
		owner = d.Owner
	}
	for _, line := range [][2]string{
		{"who", oneLine(who(d.Who))}, {"", d.Who.ARN}, {"asked for", d.Action}, {"on", d.What}, {"", d.Resource}, {"of", owner},
	} {
		if line[1] == "" || line[0] == "" && slices.Contains([]string{d.What, d.Who.Name}, line[1]) {
			continue
		}
		value := fold(line[1], wide-13)
		if line[0] == "" {
			value = faint.Render(value)
		} else {
			value = strong.Render(value)
		}
		put(w, fmt.Sprintf("  %-10s ", line[0]), value)
	}
	fmt.Fprintln(w)
	writeChain(w, d, wide)
	writeDeciding(w, d, wide)
	writeContext(w, d, wide)
	if d.Outcome != explain.Refused {
		return
	}
	writeCarry(w, d, wide)
	for _, f := range d.Fixes {
		writeRepair(w, f)
	}
	if again != "" && slices.ContainsFunc(d.Fixes, func(f explain.Fix) bool { return f.Advice == "" }) {
		if len(d.Carry) > 0 {
			again += " --policies"
		}
		lipgloss.Fprintln(w, strong.Render("to put that in place: ")+name.Render(again))
	}
}

func verdictNote(d explain.Decision) string {
	parts := []string{}
	switch {
	case d.Outcome == explain.Allowed:
	case d.Effect == "explicitDeny":
		parts = append(parts, "a Deny says no")
	case len(d.Silent) > 0:
		parts = append(parts, "no "+strings.Join(d.Silent, " and no ")+" policy allows it")
	}
	if d.RequestID == "" {
		return strings.Join(append(parts, "as the policies are now; nobody has asked"), " · ")
	}
	return strings.Join(append(parts, d.Time.Local().Format("2006-01-02 15:04:05"), "request "+d.RequestID), " · ")
}

// put prints a block whose further lines stand below its first.
func put(w io.Writer, head, block string) {
	indent := strings.Repeat(" ", lipgloss.Width(head))
	for i, line := range strings.Split(block, "\n") {
		if i > 0 {
			head = indent
		}
		lipgloss.Fprintln(w, head+line)
	}
}

// writeChain lists the policies in the order of evaluation.
func writeChain(w io.Writer, d explain.Decision, wide int) {
	title := "policies, in the order of evaluation"
	if d.Outcome == explain.Allowed && len(d.Context) == 0 {
		title = "policies that decided"
	}
	lipgloss.Fprintln(w, "  "+strong.Render(title))
	room := min(wide-30, 90)
	long := 0
	for _, p := range d.Policies {
		long = max(long, min(lipgloss.Width(p.Where), room))
	}
	for _, p := range d.Policies {
		style := faint
		switch p.Says {
		case explain.Allows:
			style = good
		case explain.Denies:
			style = bad
		case explain.Absent:
			if slices.Contains(d.Silent, p.Kind) {
				style = bad
			}
		}
		where := strings.Split(fold(p.Where, long), "\n")
		for i, line := range where {
			mark, says := " ", ""
			if i == 0 {
				mark = mark0(p, d)
				says = style.Render(fmt.Sprintf("%-7s", p.Says)) + " " + faint.Render(reason(p))
			}
			lipgloss.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %s %-*s  %s", style.Render(mark), long, line, says), " "))
		}
	}
	fmt.Fprintln(w)
}

// mark0 is a policy's mark; one that had to allow and did not is as good as a
// Deny.
func mark0(p explain.Policy, d explain.Decision) string {
	if (p.Says == explain.Silent || p.Says == explain.Absent) && slices.Contains(d.Silent, p.Kind) {
		return "✗"
	}
	return marks[p.Says]
}

// reason says in short which statement spoke, or why none did.
func reason(p explain.Policy) string {
	var out []string
	for _, s := range p.Statements {
		switch {
		case s.Applied && (p.Says == explain.Denies) == (s.Effect == "Deny"):
			out = append(out, label(s))
		case s.Others && p.Says == explain.Silent:
			out = append(out, label(s)+" is for others")
		case len(s.Unmet) > 0 && p.Says == explain.Silent && s.Effect == "Allow":
			out = append(out, label(s)+" wants another "+strings.Join(s.Unmet, ", "))
		}
	}
	if len(out) > 2 {
		out = append(out[:2], fmt.Sprintf("and %d more", len(out)-2))
	}
	if p.Changed {
		out = append(out, "changed since")
	}
	return strings.Join(out, "; ")
}

// label names a statement: by its Sid or number, and its line.
func label(s explain.Statement) string {
	text := fmt.Sprintf("statement %d", s.Index+1)
	if s.Sid != "" {
		text = fmt.Sprintf("%q", s.Sid)
	}
	if s.Line > 0 {
		text += fmt.Sprintf(" (line %d)", s.Line)
	}
	return text
}

// maxDeciding is how many statements are printed.
const maxDeciding = 3

// writeDeciding prints the statements that decided, with their documents: the
// Denies, or else for a refusal the Allows that nearly applied, or the Allows.
func writeDeciding(w io.Writer, d explain.Decision, wide int) {
	shown := 0
	for _, p := range d.Policies {
		for _, s := range p.Statements {
			decided := s.Applied && (s.Effect == "Deny" || d.Outcome == explain.Allowed)
			near := d.Effect == "implicitDeny" && !s.Applied && s.Effect == "Allow" && slices.Contains(d.Silent, p.Kind)
			if !decided && !near || strings.HasPrefix(p.Name, "arn:aws:organizations::aws:") || s.Text == nil {
				continue
			}
			if shown++; shown > maxDeciding {
				return
			}
			title := "decided by "
			if near {
				title = "did not apply: "
			}
			lipgloss.Fprintln(w, "  "+strong.Render(fold(title+label(s)+" of "+p.Where, wide-4)))
			writeJSON(w, s.Text, lipgloss.NewStyle(), wide)
			fmt.Fprintln(w)
		}
	}
}

func writeJSON(w io.Writer, text json.RawMessage, style lipgloss.Style, wide int) {
	for line := range strings.SplitSeq(indented(text), "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if lipgloss.Width(line)+4 <= wide || indent > wide/2 {
			lipgloss.Fprintln(w, "    "+style.Render(line))
			continue
		}
		for i, part := range strings.Split(fold(line[indent:], wide-indent-6), "\n") {
			if i > 0 {
				part = "  " + part
			}
			lipgloss.Fprintln(w, "    "+strings.Repeat(" ", indent)+style.Render(part))
		}
	}
}

// writeContext prints what the conditions could see.
func writeContext(w io.Writer, d explain.Decision, wide int) {
	if len(d.Context) == 0 {
		return
	}
	lipgloss.Fprintln(w, "  "+strong.Render("what conditions could see"))
	long := 0
	for _, k := range d.Context {
		long = max(long, min(len(k.Name), 40))
	}
	for _, name := range d.Missing {
		long = max(long, min(len(name), 40))
	}
	for _, k := range d.Context {
		put(w, faint.Render(fmt.Sprintf("    %-*s  ", long, k.Name)), fold(strings.Join(k.Values, ", "), max(wide-long-6, 20)))
	}
	for _, name := range d.Missing {
		if !slices.ContainsFunc(d.Context, func(k explain.Key) bool { return strings.EqualFold(k.Name, name) }) {
			lipgloss.Fprintln(w, bad.Render(fmt.Sprintf("    %-*s  ", long, name))+"not there, and asked for")
		}
	}
	fmt.Fprintln(w)
}

// writeCarry says what the request would have had to carry: where that is
// enough, it is the smaller change.
func writeCarry(w io.Writer, d explain.Decision, wide int) {
	if len(d.Carry) == 0 {
		return
	}
	lipgloss.Fprintln(w, strong.Render("the smallest change is in the request:")+" it has to carry")
	for _, c := range d.Carry {
		lipgloss.Fprintln(w, good.Render("    "+c.Key+" = "+c.Value))
		if c.How != "" {
			put(w, "      ", fold(c.How, wide-6))
		}
	}
	if len(d.Fixes) > 0 {
		lipgloss.Fprintln(w, faint.Render("or, in the policies:"))
	}
}
