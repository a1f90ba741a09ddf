package cli

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func envCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "env PROFILE",
		Short: "Print shell lines that point AWS's tools and git at a running server",
		Long: `Env prints export lines for AWS_*, the certificate authority and git, as the
root user of an account:

	eval "$(sekisho env pipeline)"

The AWS CLI, the SDKs, Terraform and git then use the server as they use AWS.`,
		Args: cobra.ExactArgs(1),
	}
	data := dataFlag(c)
	region := c.Flags().String("region", "us-east-1", "region")
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := connect(*data)
		if err != nil {
			return err
		}
		keys, err := readProfile(a.credentialsFile(), args[0])
		if err != nil {
			return err
		}
		ca, err := filepath.Abs(a.caFile())
		if err != nil {
			return err
		}
		for _, v := range environment(a.endpoint, ca, *region, keys) {
			name, value, _ := strings.Cut(v, "=")
			fmt.Fprintf(c.OutOrStdout(), "export %s=%s\n", name, shellQuote(value))
		}
		fmt.Fprintln(c.OutOrStdout(), "unset AWS_SESSION_TOKEN AWS_PROFILE")
		return nil
	}
	return c
}

// credentialHelper has git ask the AWS CLI, which knows --ignore-host-check for
// get alone; its store and erase do nothing anyway.
const credentialHelper = `!f() { test "$1" = get && aws codecommit credential-helper get --ignore-host-check; }; f`

// profile is one section of an AWS shared-credentials file.
type profile struct{ keyID, secret string }

// environment are the variables that point AWS's tools and git at a server.
// git asks the AWS CLI for signed credentials, with the whole path, which the
// signature covers.
func environment(endpoint, ca, region string, p profile) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + p.keyID,
		"AWS_SECRET_ACCESS_KEY=" + p.secret,
		"AWS_REGION=" + region,
		"AWS_DEFAULT_REGION=" + region,
		"AWS_ENDPOINT_URL=" + endpoint,
		"AWS_CA_BUNDLE=" + ca,
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(filepath.Dir(ca), "credentials"),
		"GIT_SSL_CAINFO=" + ca,
		"GIT_CONFIG_COUNT=3",
		"GIT_CONFIG_KEY_0=credential." + endpoint + ".helper",
		"GIT_CONFIG_VALUE_0=",
		"GIT_CONFIG_KEY_1=credential." + endpoint + ".helper",
		"GIT_CONFIG_VALUE_1=" + credentialHelper,
		"GIT_CONFIG_KEY_2=credential." + endpoint + ".useHttpPath",
		"GIT_CONFIG_VALUE_2=true",
	}
}

// readProfile reads one profile of an AWS shared-credentials file.
func readProfile(file, name string) (profile, error) {
	f, err := os.Open(file)
	if err != nil {
		return profile{}, err
	}
	defer f.Close()
	var p profile
	var known []string
	inside := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if section, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(section, "]")
			known = append(known, section)
			inside = section == name
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		switch key, value = strings.TrimSpace(key), strings.TrimSpace(value); {
		case !inside:
		case key == "aws_access_key_id":
			p.keyID = value
		case key == "aws_secret_access_key":
			p.secret = value
		}
	}
	if err := lines.Err(); err != nil {
		return profile{}, err
	}
	if p.keyID == "" {
		return profile{}, fmt.Errorf("%s has no profile %s; it has: %s", file, name, strings.Join(known, ", "))
	}
	return p, nil
}

// shellQuote makes a value one word for a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
