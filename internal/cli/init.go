package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/templates"
)

func initCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "Write the cross-account templates, filled in, into a folder",
		Long: `Init writes the CloudFormation templates of a cross-account delivery into a
folder, with their README and deploy.sh: plain "aws cloudformation deploy"
calls that work against AWS and against sekisho alike.

One repository may be delivered to several accounts: repeat --pipeline, with an
environment before each, as in --pipeline dev:222222222222=dev@develop
--pipeline prod:333333333333=prod@main.`,
		Args: cobra.ExactArgs(1),
	}
	var p templates.Params
	c.Flags().StringVar(&p.Project, "project", "delivery", "what all names begin with")
	c.Flags().StringVar(&p.Region, "region", "us-east-1", "region")
	c.Flags().StringVar(&p.RepositoryName, "repository-name", "", "name of the repository (default: the project's)")
	c.Flags().StringVar(&p.PipelineType, "pipeline-type", "V2", "V1 or V2")
	repository := c.Flags().String("repository", "111111111111=repository", "repository account: ID=PROFILE")
	pipelines := c.Flags().StringArray("pipeline", []string{"222222222222=pipeline"}, "pipeline account: [ENVIRONMENT:]ID=PROFILE[@BRANCH]; may be repeated")
	c.RunE = func(c *cobra.Command, args []string) error {
		var err error
		if p.Repository, err = parseProfile(*repository); err != nil {
			return err
		}
		for _, text := range *pipelines {
			e, err := parseEnvironment(text)
			if err != nil {
				return err
			}
			p.Environments = append(p.Environments, e)
		}
		if err := templates.Write(args[0], p); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "wrote the templates to %s; its README.md explains them, deploy.sh deploys them\n", args[0])
		return nil
	}
	return c
}

// parseProfile reads ID=PROFILE.
func parseProfile(text string) (templates.Account, error) {
	id, profile, ok := strings.Cut(text, "=")
	if !ok {
		return templates.Account{}, fmt.Errorf("account %q: want ID=PROFILE", text)
	}
	return templates.Account{ID: id, Profile: profile}, nil
}

// parseEnvironment reads [ENVIRONMENT:]ID=PROFILE[@BRANCH].
func parseEnvironment(text string) (templates.Environment, error) {
	var e templates.Environment
	rest := text
	if name, after, ok := strings.Cut(text, ":"); ok {
		e.Name, rest = name, after
	}
	rest, e.Branch, _ = strings.Cut(rest, "@")
	var err error
	e.Account, err = parseProfile(rest)
	return e, err
}
