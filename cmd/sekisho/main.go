// Sekisho is a cross-account delivery system on AWS's wire protocols, in one
// program: see the README.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sekisho/sekisho/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks for an orderly end; after it, the next one ends the
	// process at once, which costs nothing that was acknowledged.
	context.AfterFunc(ctx, stop)
	if err := cli.Command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sekisho:", err)
		os.Exit(cli.Status(err))
	}
}
