package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho"
	"github.com/sekisho/sekisho/internal/fsck"
)

func fsckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fsck",
		Short: "Check everything that is stored, while no server runs",
		Long: `Fsck reads every object, opens every sealed value and has the database and git
check what is theirs. It prints one line for each finding: what it is about,
what is wrong, and the way out. Notes are no damage: they say what the next start
cleans up by itself, and what could not be checked.

It needs the data directory to itself. Beside other servers on the same
PostgreSQL database it may take for damage what is under way.

Its status is 0 when nothing is damaged, 1 when something is, and 2 when the
check did not come to its end.`,
		Args: cobra.NoArgs,
	}
	data := dataFlag(c)
	database := c.Flags().String("database", "", "PostgreSQL URL (default: SQLite in the data directory)")
	asJSON := c.Flags().Bool("json", false, "print findings as lines of JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, err := dataDir(*data)
		if err != nil {
			return statusError{err, 2}
		}
		damaged := 0
		err = sekisho.Check(c.Context(), stoppedConfig(c, dir, *database), func(f fsck.Finding) {
			if !f.Note {
				damaged++
			}
			printFinding(c, f, *asJSON)
		})
		if err != nil {
			return statusError{err, 2}
		}
		if damaged > 0 {
			return statusError{fmt.Errorf("%d findings of damage in %s", damaged, dir), 1}
		}
		if !*asJSON {
			fmt.Fprintf(c.OutOrStdout(), "no damage in %s\n", dir)
		}
		return nil
	}
	return c
}

func stoppedConfig(c *cobra.Command, dir, database string) sekisho.Config {
	return sekisho.Config{Data: dir, Database: database, Log: logger(c.ErrOrStderr(), false)}
}

func printFinding(c *cobra.Command, f fsck.Finding, asJSON bool) {
	if !asJSON {
		fmt.Fprintln(c.OutOrStdout(), f)
		return
	}
	line, err := json.Marshal(f)
	if err != nil {
		panic(err) // only texts and a bool
	}
	fmt.Fprintln(c.OutOrStdout(), string(line))
}

func rotateMasterKeyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate-master-key",
		Short: "Seal everything under a new master key, while no server runs",
		Long: `Rotate-master-key makes a new master key, seals under it whatever lies sealed
under the old one, and forgets that. Objects are not touched: they hang on keys
that are sealed anew. Killed at any point it goes on when it is run again, and a
server may run in between: both keys are in master.key until the end.

Where SEKISHO_MASTER_KEY holds the key, put the new key there, a space and the
old one, run this, and then leave the new key alone there.

Credentials of STS sessions given out before are void afterwards; access keys
and everything else stay as they are. Backups from before need the old key.`,
		Args: cobra.NoArgs,
	}
	data := dataFlag(c)
	database := c.Flags().String("database", "", "PostgreSQL URL (default: SQLite in the data directory)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, err := dataDir(*data)
		if err != nil {
			return err
		}
		n, err := sekisho.RotateMasterKey(c.Context(), stoppedConfig(c, dir, *database), func(f fsck.Finding) { printFinding(c, f, false) })
		if err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%d values are sealed under the new master key of %s\n", n, dir)
		return nil
	}
	return c
}
