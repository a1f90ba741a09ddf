// Package cli is the command line: it starts servers, and speaks to running
// ones over HTTP like any other client.
package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho"
)

// Command returns sekisho's command with all its subcommands.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "sekisho",
		Short: "A cross-account delivery system on AWS's own protocols, in one program",
		Long: `sekisho is CodeCommit, EventBridge, CodePipeline, S3, KMS, IAM, STS,
CloudFormation and CloudTrail in one program, for as many accounts as you like.
Every call is authenticated, judged by IAM policy and recorded.

Begin with: sekisho demo`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), demoCommand(), accountCommand(), envCommand(), initCommand(), explainCommand(), policyCommand(), fsckCommand(), rotateMasterKeyCommand())
	return root
}

// statusError is an error with a status of its own for the process.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// Status is the status with which the process ends after an error.
func Status(err error) int {
	if e, ok := errors.AsType[statusError](err); ok {
		return e.status
	}
	return 1
}

// dataFlag adds --data, the directory a server keeps everything in.
func dataFlag(c *cobra.Command) *string {
	return c.Flags().String("data", "", "data directory (default $SEKISHO_DATA, or sekisho below the user's data directory)")
}

// dataDir is what --data says, or the default.
func dataDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	return sekisho.DefaultData()
}
