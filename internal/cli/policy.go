package cli

import (
	"errors"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/internal/policyeval"
)

func policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Work with IAM policies",
	}
	c.AddCommand(policyEvalCommand(), policyGenerateCommand(), policyLintCommand())
	return c
}

func policyEvalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "eval",
		Short: "Answer questions about policies: JSON lines in, decisions out, without a server",
		Long: `Eval reads lines of JSON, each with a request and all policies that speak for
it, and writes a line for each, in order: the decision, the statements that
decided, and for a refusal the smallest set of statements that would turn it.
It needs no server, and nothing is implied by the caller's ARN.

Its status is 0 when every line was answered, also with an error, and 2 when the
input is not JSON lines at all.`,
		Args: cobra.NoArgs,
	}
	brief := c.Flags().Bool("decision-only", false, "leave out everything but id and decision")
	c.RunE = func(c *cobra.Command, _ []string) error {
		debug.SetGCPercent(400) // lines leave garbage, and the process lives for them only
		err := policyeval.Run(c.Context(), c.InOrStdin(), c.OutOrStdout(), policyeval.Options{DecisionOnly: *brief})
		if errors.Is(err, policyeval.ErrNotLines) {
			return statusError{err, 2}
		}
		return err
	}
	return c
}
