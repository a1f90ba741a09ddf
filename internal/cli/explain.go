package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/internal/explain"
)

func explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain EXECUTION-ID",
		Short: "Tell who did what by whose leave in a pipeline execution, and why it was refused",
		Long: `Explain tells the whole story of one pipeline execution: the push or call that
started it, the events that carried it, and every call of its actions, each
with the role that made it and the statement of the policy that let it. For a
refusal it says which policy to change, and the statement to add.`,
		Args: cobra.ExactArgs(1),
	}
	data := dataFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON for programs")
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := connect(*data)
		if err != nil {
			return err
		}
		var story explain.Story
		if err := a.get(c.Context(), "explain/"+args[0], &story); err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(story)
		}
		writeStory(c.OutOrStdout(), &story)
		return nil
	}
	return c
}
