package cli

import (
	"encoding/json"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/internal/explain"
)

func explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain ID",
		Short: "Tell who did what by whose leave, from a push to its delivery, and why it was refused",
		Long: `Explain tells the whole story of a pipeline execution, of a pushed commit (seven
or more digits of its id will do) or of a request, by its id: the push or call
that began it, the events that carried it, and every call of the pipeline's
actions, each with the role that made it and the statement of the policy that
let it. For a refusal it says which policy to change, and the statement to add.
A push that started nothing is asked for by its commit.`,
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
		if err := a.get(c.Context(), "explain/"+url.PathEscape(args[0]), &story); err != nil {
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
