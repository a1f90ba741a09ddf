package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/leastprivilege"
	"github.com/sekisho/sekisho/internal/policy"
)

func policyGenerateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "generate {--role ARN | --user ARN}",
		Short: "Write the smallest policy that covers what a role or user really did",
		Long: `Generate reads the record of a running server and prints the smallest policy
that covers what a role did, in all its sessions, or a user: every permission
that was asked for on the way and that the caller's own policies had to give,
those of dependent calls too, such as kms:GenerateDataKey for what S3 encrypts
or iam:PassRole for a role that is handed over.

Resources are named exactly, but for three things. An object of a pipeline's
artifacts or deliveries becomes the pipeline's own pattern, since each run has
other keys. More than --exact objects or folders below one folder of a bucket
become folder/*. The id at the end of a stack's ARN becomes *.

The policy goes to standard output, ready to paste: as JSON, or with --yaml as
PolicyDocument of a CloudFormation template. What is worth knowing about it goes
to standard error: what was refused in that time, and is therefore not in it;
what the policies of resources gave alone; and with --unused, what the present
policies allow that was never used.`,
		Args: cobra.NoArgs,
	}
	var g generation
	data := dataFlag(c)
	c.Flags().StringVar(&g.role, "role", "", "ARN of a role")
	c.Flags().StringVar(&g.user, "user", "", "ARN of a user")
	c.Flags().StringVar(&g.since, "since", "", "leave out what was done before: a time (2026-01-31, 2026-01-31T12:00:00Z) or a duration up to now (90m, 24h, 7d)")
	c.Flags().StringVar(&g.until, "until", "", "leave out what was done from then on: a time or a duration up to now")
	c.Flags().IntVar(&g.exact, "exact", leastprivilege.DefaultExact, "how many objects or folders of one folder are named one by one")
	c.Flags().Bool("json", false, "print JSON (the default)")
	c.Flags().BoolVar(&g.yaml, "yaml", false, "print YAML, as PolicyDocument of a CloudFormation template")
	c.Flags().BoolVar(&g.template, "template", false, "write the account and the region as ${AWS::AccountId} and ${AWS::Region}")
	c.Flags().BoolVar(&g.unused, "unused", false, "say what the present policies allow that was never used")
	c.MarkFlagsOneRequired("role", "user")
	c.MarkFlagsMutuallyExclusive("role", "user")
	c.MarkFlagsMutuallyExclusive("json", "yaml")
	c.RunE = func(c *cobra.Command, _ []string) error {
		query, err := g.query(time.Now())
		if err != nil {
			return err
		}
		a, err := connect(*data)
		if err != nil {
			return err
		}
		var r leastprivilege.Record
		if err := a.get(c.Context(), "used?"+query.Encode(), &r); err != nil {
			return err
		}
		return g.write(c.OutOrStdout(), c.ErrOrStderr(), &r)
	}
	return c
}

// generation is what was asked for.
type generation struct {
	role, user, since, until string
	exact                    int
	yaml, template, unused   bool
}

// principal is the ARN that was given, held against what it has to be.
func (g *generation) principal() (string, error) {
	arn, kind := g.role, "role"
	if g.user != "" {
		arn, kind = g.user, "user"
	}
	a, ok := aws.ParseARN(arn)
	if !ok || a.Service != "iam" || !strings.HasPrefix(a.Resource, kind+"/") {
		return "", fmt.Errorf("%q is not the ARN of a %s, such as %s", arn, kind, aws.NewARN("iam", "", "111111111111", kind+"/NAME"))
	}
	return arn, nil
}

func (g *generation) query(now time.Time) (url.Values, error) {
	arn, err := g.principal()
	if err != nil {
		return nil, err
	}
	if g.exact < 1 {
		return nil, errors.New("--exact: want 1 or more")
	}
	q := url.Values{"principal": {arn}}
	for name, text := range map[string]string{"since": g.since, "until": g.until} {
		if text == "" {
			continue
		}
		t, err := moment(text, now)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		q.Set(name, t.Format(time.RFC3339Nano))
	}
	return q, nil
}

// moment reads a time, or how long ago it is. A date is its beginning in the
// local time.
func moment(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t, nil
	}
	span := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		span = days + "h"
	}
	d, err := time.ParseDuration(span)
	if err != nil || d < 0 {
		return time.Time{}, fmt.Errorf("%q is neither a time, such as 2026-01-31 or 2026-01-31T12:00:00Z, nor a duration, such as 90m, 24h or 7d", text)
	}
	if span != text {
		d *= 24
	}
	return now.Add(-d), nil
}

// write prints the policy, and beside it what is worth knowing about it.
func (g *generation) write(out, notes io.Writer, r *leastprivilege.Record) error {
	doc := leastprivilege.Generate(r, leastprivilege.Options{Exact: g.exact})
	fmt.Fprintf(notes, "%s: %d calls from %s to %s\n", r.Principal, r.Calls, r.First.UTC().Format(time.RFC3339), r.Last.UTC().Format(time.RFC3339))
	g.remarks(notes, r)
	if len(doc.Statement) == 0 {
		return errors.New("nothing that it did needed a policy of its own: there is none to write")
	}
	var w leastprivilege.Writer
	literal := w.JSON(doc)
	if g.template {
		a, _ := aws.ParseARN(r.Principal)
		w.Account, w.Region = a.Account, leastprivilege.Region(doc)
	}
	text := w.JSON(doc)
	if g.yaml {
		text = w.YAML(doc)
	}
	g.size(notes, policy.Size(string(literal)))
	_, err := out.Write(text)
	return err
}

// size warns of a policy that is too long for AWS.
func (g *generation) size(notes io.Writer, n int) {
	inline, of := policy.MaxInlineRole, "a role"
	if g.user != "" {
		inline, of = policy.MaxInlineUser, "a user"
	}
	if n > policy.MaxManaged {
		fmt.Fprintf(notes, "warning: %d characters are more than a managed policy may have (%d)\n", n, policy.MaxManaged)
	}
	if n > inline {
		fmt.Fprintf(notes, "warning: %d characters are more than all inline policies of %s together may have (%d)\n", n, of, inline)
	}
}

func (g *generation) remarks(notes io.Writer, r *leastprivilege.Record) {
	if len(r.Elsewhere) > 0 {
		fmt.Fprintln(notes, "not in it, because the policy of the resource allows it without a word of the caller's:")
		for _, u := range r.Elsewhere {
			fmt.Fprintf(notes, "  %s on %s (%s)\n", u.Action, u.Resource, u.By)
		}
	}
	if len(r.Refused) > 0 {
		fmt.Fprintln(notes, "not in it, because it was refused:")
		for _, u := range r.Refused {
			fmt.Fprintf(notes, "  %s on %s (%s; last at %s)\n", u.Action, u.Resource, u.By, u.Last.UTC().Format(time.RFC3339))
		}
	}
	if r.Gone {
		fmt.Fprintln(notes, "it does not exist any more")
	}
	if !g.unused || r.Gone {
		return
	}
	if len(r.Unused) == 0 {
		fmt.Fprintln(notes, "its present policies allow nothing that was never used")
		return
	}
	fmt.Fprintln(notes, "allowed by its present policies, and never used in that time:")
	for _, u := range r.Unused {
		writeUnused(notes, u)
	}
}

func writeUnused(notes io.Writer, u leastprivilege.Unused) {
	name := fmt.Sprintf("statement %d", u.Statement)
	if u.Sid != "" {
		name = fmt.Sprintf("statement %d (%s)", u.Statement, u.Sid)
	}
	fmt.Fprintf(notes, "  %s of %s", name, u.Policy)
	if u.Whole {
		fmt.Fprintln(notes, ": all of it")
		return
	}
	fmt.Fprintln(notes, ": "+strings.Join(append(append([]string(nil), u.Actions...), u.Resources...), ", "))
}
