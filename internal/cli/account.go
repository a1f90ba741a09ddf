package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho"
)

func accountCommand() *cobra.Command {
	c := &cobra.Command{Use: "account", Short: "Create and list the accounts of a running server"}
	c.AddCommand(accountCreateCommand(), accountListCommand())
	return c
}

func accountCreateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an account, and its profile in the credentials file",
		Args:  cobra.ExactArgs(1),
	}
	data := dataFlag(c)
	id := c.Flags().String("id", "", "account id of twelve digits (default: a random one)")
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := connect(*data)
		if err != nil {
			return err
		}
		var made sekisho.Account
		if err := a.post(c.Context(), "accounts", sekisho.Account{Name: args[0], ID: *id}, &made); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "account %s is %s; its root access key is profile %s of %s\n", made.Name, made.ID, made.Name, a.credentialsFile())
		return nil
	}
	return c
}

func accountListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the accounts", Args: cobra.NoArgs}
	data := dataFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := connect(*data)
		if err != nil {
			return err
		}
		var list []sekisho.Account
		if err := a.get(c.Context(), "accounts", &list); err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
		for _, account := range list {
			fmt.Fprintf(w, "%s\t%s\n", account.ID, account.Name)
		}
		return w.Flush()
	}
	return c
}
