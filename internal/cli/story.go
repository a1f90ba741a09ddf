package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"golang.org/x/term"

	"github.com/sekisho/sekisho/internal/aws"
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

// writeStory prints a story as a table: when, who, did what, to what, by whose
// leave; and after it, for each refusal, what would turn it.
func writeStory(w io.Writer, s *explain.Story) {
	if len(s.Steps) == 0 {
		return
	}
	began := s.Steps[0].Time
	t := table.New().
		Border(lipgloss.NormalBorder()).BorderRow(true).BorderStyle(faint).
		Width(width(w)).Wrap(true).
		Headers("when", "account", "who", "did", "to", "by leave of").
		StyleFunc(func(row, col int) lipgloss.Style {
			style := lipgloss.NewStyle().Padding(0, 1)
			switch {
			case row == table.HeaderRow:
				return style.Bold(true)
			case s.Steps[row].Outcome != explain.Allowed && col >= 3:
				return style.Foreground(lipgloss.Color("1"))
			}
			return style
		})
	for _, step := range s.Steps {
		t.Row(since(step.Time, began), account(step.Who), who(step.Who), step.Did, resources(step), leave(step))
	}
	lipgloss.Fprintln(w, t)
	for _, step := range s.Refusals() {
		writeRefusal(w, step)
	}
}

func since(t, began time.Time) string {
	return fmt.Sprintf("+%.0f ms", float64(t.Sub(began).Microseconds())/1000)
}

func account(w explain.Who) string {
	switch {
	case w.AccountName != "":
		return w.AccountName
	case w.Account != "":
		return w.Account
	}
	return "(service)"
}

func who(w explain.Who) string {
	text := w.Name
	if w.Role {
		text = "role " + w.Name
	}
	if len(w.Via) > 0 {
		services := make([]string, len(w.Via))
		for i, v := range w.Via {
			services[i] = strings.TrimSuffix(v, ".amazonaws.com")
		}
		text += " via " + strings.Join(services, ", ")
	}
	return text
}

// resources lists what a step was about, each once.
func resources(step explain.Step) string {
	var list []string
	seen := map[string]bool{}
	for _, q := range step.Asked {
		if !seen[q.Resource] {
			seen[q.Resource] = true
			list = append(list, short(q.Resource))
		}
	}
	return strings.Join(list, "\n")
}

// short leaves out what the table says already: partition, service, account.
func short(arn string) string {
	a, ok := aws.ParseARN(arn)
	if !ok {
		return arn
	}
	if a.Service == "iam" || a.Service == "s3" || a.Service == "kms" || a.Service == "events" {
		return a.Resource
	}
	return a.Service + " " + a.Resource
}

func leave(step explain.Step) string {
	var lines []string
	for _, q := range step.Asked {
		if q.Outcome == explain.Refused {
			lines = append(lines, "REFUSED "+q.Action+": "+because(q))
			continue
		}
		lines = append(lines, q.Action+": "+because(q))
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
	if len(q.Because) > 0 {
		return strings.Join(q.Because, "; and ")
	}
	return "no " + strings.Join(q.Silent, " policy and no ") + " policy allows it"
}

// writeRefusal says what was refused, and what to change where.
func writeRefusal(w io.Writer, step explain.Step) {
	lipgloss.Fprintln(w, bad.Render("refused: ")+who(step.Who)+" of "+account(step.Who)+" may not "+step.Did)
	lipgloss.Fprintln(w, "  "+step.Error)
	for _, q := range step.Asked {
		for _, f := range q.Fixes {
			if f.Narrow != "" {
				lipgloss.Fprintln(w, "  "+strong.Render("narrow ")+f.Narrow+", which denies it")
				continue
			}
			lipgloss.Fprintln(w, "  "+strong.Render("add to ")+f.Where+":")
			var indented strings.Builder
			e := json.NewEncoder(&indented)
			e.SetEscapeHTML(false)
			e.SetIndent("      ", "  ")
			e.Encode(f.Add)
			lipgloss.Fprintln(w, good.Render("      "+strings.TrimSpace(indented.String())))
		}
	}
}
