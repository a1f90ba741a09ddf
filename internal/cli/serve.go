package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve until SIGTERM",
		Long: `Serve listens on one port, for TLS and plain HTTP alike. At first start it
makes what is missing in the data directory: the database, the master key,
ca.pem (the certificate authority to trust) and credentials, an AWS
shared-credentials file with the root access key of each account. It prints one
line when it is ready. SIGTERM ends it after the calls under way.`,
		Args: cobra.NoArgs,
	}
	data := dataFlag(c)
	listen := c.Flags().String("listen", sekisho.DefaultListen, "HOST:PORT to listen on; port 0 takes a free one")
	database := c.Flags().String("database", "", "PostgreSQL URL (default: SQLite in the data directory)")
	accounts := c.Flags().StringArray("account", nil, "NAME=ID of an account to have; may be repeated")
	dev := c.Flags().Bool("dev-credentials", false, "accept access keys that nobody made: a 12-digit key id is the root of that account")
	verbose := c.Flags().Bool("verbose", false, "log more")
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, err := dataDir(*data)
		if err != nil {
			return err
		}
		config := sekisho.Config{
			Data: dir, Listen: *listen, Database: *database,
			DevCredentials: *dev,
			Log:            logger(c.ErrOrStderr(), *verbose),
		}
		for _, text := range *accounts {
			a, err := sekisho.ParseAccount(text)
			if err != nil {
				return err
			}
			config.Accounts = append(config.Accounts, a)
		}
		if *dev {
			fmt.Fprintln(c.ErrOrStderr(), "WARNING: --dev-credentials is on: whoever reaches this port is root of every account, without any secret.")
		}
		server, err := sekisho.New(c.Context(), config)
		if err != nil {
			return err
		}
		defer server.Close()
		list, err := server.Accounts(c.Context())
		if err != nil {
			return err
		}
		names := make([]string, len(list))
		for i, a := range list {
			names[i] = a.Name + "=" + a.ID
		}
		return server.Run(c.Context(), func() {
			fmt.Fprintf(c.OutOrStdout(), "sekisho is ready at %s; data in %s; accounts: %s\n", server.URL(), dir, orNone(strings.Join(names, " ")))
		})
	}
	return c
}

func orNone(s string) string {
	if s == "" {
		return "none yet (sekisho account create NAME)"
	}
	return s
}

func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose || os.Getenv("SEKISHO_DEBUG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
