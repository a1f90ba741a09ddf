package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/policylint"
)

// kinds are the kinds of policy by what --kind calls them.
var kinds = map[string]policy.Kind{
	"identity": policy.Identity, "resource": policy.Resource, "trust": policy.Trust, "key": policy.Key,
	"boundary": policy.Boundary, "session": policy.Session, "scp": policy.SCP, "rcp": policy.RCP,
}

func policyLintCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "lint FILE…",
		Short: "Find what is invalid, idle or too broad in policies and CloudFormation templates",
		Long: `Lint looks at policy documents (JSON or YAML) and at every policy of
CloudFormation templates, and says where what is wrong:

  what AWS refuses, in AWS's words;
  what does nothing: statements that another one shadows or denies, actions that
  no service has or that never meet their resources, conditions that cannot hold;
  what is too broad: s3:*, iam:PassRole on *, everybody as Principal.

The kind of a policy document is told by its elements, or by --kind; a template
says it itself. Functions in templates are put together as far as they are known.
A file named - is standard input.

In YAML a comment silences a finding on its own line or the next one:

  # policy-lint: ignore CODE: the reason

Its status is 0 when nothing as bad as --fail-on was found, 1 when something was,
and 2 when a file cannot be read.`,
		Args: cobra.MinimumNArgs(1),
	}
	var l linting
	c.Flags().StringVar(&l.kind, "kind", "", "what the policy documents are: identity, resource, trust, key, boundary, session, scp or rcp (default: told by their elements)")
	c.Flags().StringVar(&l.failOn, "fail-on", "warning", "end with status 1 from this severity on: info, warning or error")
	c.Flags().BoolVar(&l.json, "json", false, "print JSON for programs")
	c.RunE = func(c *cobra.Command, files []string) error { return l.run(c.InOrStdin(), c.OutOrStdout(), files) }
	return c
}

// linting is what was asked for.
type linting struct {
	kind, failOn string
	json         bool
}

// fileFinding is a finding with its file, as --json prints it.
type fileFinding struct {
	File string
	policylint.Finding
}

func (l *linting) run(in io.Reader, out io.Writer, files []string) error {
	kind, ok := kinds[l.kind]
	if l.kind != "" && !ok {
		return statusError{fmt.Errorf("--kind: no kind of policy is called %q", l.kind), 2}
	}
	failOn := policylint.Severity(l.failOn)
	if !slices.Contains([]policylint.Severity{policylint.Info, policylint.Warning, policylint.Error}, failOn) {
		return statusError{fmt.Errorf("--fail-on: want info, warning or error, not %q", l.failOn), 2}
	}
	all := []fileFinding{}
	var unread []error
	for _, name := range files {
		found, err := lintFile(in, name, kind)
		if err != nil {
			unread = append(unread, fmt.Errorf("%s: %w", name, err))
		}
		for _, f := range found {
			all = append(all, fileFinding{name, f})
		}
	}
	if err := l.print(out, all); err != nil {
		return err
	}
	bad := len(slices.DeleteFunc(all, func(f fileFinding) bool { return !f.Severity.AtLeast(failOn) }))
	switch {
	case len(unread) > 0:
		return statusError{errors.Join(unread...), 2}
	case bad == 1:
		return statusError{errors.New("1 finding"), 1}
	case bad > 0:
		return statusError{fmt.Errorf("%d findings", bad), 1}
	}
	return nil
}

// maxLint is how much of a file is read: more than Lint takes.
const maxLint = 2 << 20

func lintFile(in io.Reader, name string, kind policy.Kind) ([]policylint.Finding, error) {
	if name != "-" {
		f, err := os.Open(name)
		if e, ok := errors.AsType[*os.PathError](err); ok {
			return nil, e.Err // the name stands before it
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxLint))
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return nil, e.Err
	}
	if err != nil {
		return nil, err
	}
	return policylint.Lint(string(text), kind)
}

func (l *linting) print(out io.Writer, all []fileFinding) error {
	if l.json {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	for _, f := range all {
		fmt.Fprintf(out, "%s:%d:%d: %s: %s [%s]\n", f.File, f.Line, f.Column, f.Severity, f.Message, f.Code)
		if f.Advice != "" {
			fmt.Fprintf(out, "    %s\n", f.Advice)
		}
	}
	return nil
}
