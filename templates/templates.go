// Package templates holds the CloudFormation templates that sekisho ships, and
// fills in their parameters: sekisho init writes them out with a script, the
// demonstration deploys them through the API. Both follow the same Plan.
package templates

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed cross-account/*.yaml cross-account/README.md deploy.sh.tmpl
var files embed.FS

// The templates, in the order of their deployment.
const (
	Foundation = "1-foundation.yaml"
	Repository = "2-repository.yaml"
	Connection = "3-connection.yaml"
	Pipeline   = "4-pipeline.yaml"
)

// CrossAccount returns the folder of the templates with its README.
func CrossAccount() fs.FS {
	sub, err := fs.Sub(files, "cross-account")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return sub
}

// Body returns the text of a template.
func Body(name string) (string, error) {
	b, err := fs.ReadFile(CrossAccount(), name)
	return string(b), err
}

// Account is an account and the profile of the AWS configuration that acts in
// it.
type Account struct {
	ID      string
	Profile string
}

// Environment is one account with a pipeline.
type Environment struct {
	Account
	// Name tells environments apart and becomes part of all names, such as
	// "prod"; empty for the only one.
	Name string
	// Branch is the branch that is delivered; empty means main.
	Branch string
}

// Params say what a plan is for.
type Params struct {
	// Project begins all names: lower-case letters, digits and hyphens.
	Project string
	Region  string
	// RepositoryName is the repository's; empty means Project.
	RepositoryName string
	// Repository is the account with the repository.
	Repository Account
	// Environments are the accounts with pipelines; at least one.
	Environments []Environment
	// PipelineType is V1 or V2; empty means V2.
	PipelineType string
}

// Step is one stack of a plan.
type Step struct {
	// Why says in a sentence what the stack is for.
	Why string
	Account
	Stack    string
	Template string
	// Capability is the one CloudFormation asks for.
	Capability string
	Parameters []Parameter
	// Carry are the outputs that later steps need.
	Carry []Output
}

// Parameter is a parameter of a stack: a value, or the output of an earlier
// step.
type Parameter struct {
	Name  string
	Value string
	From  Output
}

// Output is an output of a stack.
type Output struct {
	Account
	Stack string
	Key   string
	// Variable holds its value in the script.
	Variable string
}

var (
	projectForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)
	envForm     = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	repoForm    = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
	profileForm = regexp.MustCompile(`^[A-Za-z0-9._@+-]{1,64}$`)
	branchForm  = regexp.MustCompile(`^[A-Za-z0-9._/@+-]{1,256}$`)
)

// check refuses what the templates, or the script, could not hold.
func (p *Params) check() error {
	if p.RepositoryName == "" {
		p.RepositoryName = p.Project
	}
	if p.PipelineType == "" {
		p.PipelineType = "V2"
	}
	switch {
	case !projectForm.MatchString(p.Project):
		return fmt.Errorf("project %q: it takes up to 20 lower-case letters, digits and hyphens, and a letter first", p.Project)
	case !regionForm.MatchString(p.Region):
		return fmt.Errorf("region %q: it looks like eu-central-1", p.Region)
	case !repoForm.MatchString(p.RepositoryName):
		return fmt.Errorf("repository name %q: it takes letters, digits, dots, hyphens and underscores", p.RepositoryName)
	case p.PipelineType != "V1" && p.PipelineType != "V2":
		return fmt.Errorf("pipeline type %q: it is V1 or V2", p.PipelineType)
	case len(p.Environments) == 0:
		return fmt.Errorf("no account for a pipeline is given")
	}
	accounts := []Account{p.Repository}
	names := map[string]bool{}
	for i := range p.Environments {
		e := &p.Environments[i]
		if e.Branch == "" {
			e.Branch = "main"
		}
		switch {
		case e.Name != "" && !envForm.MatchString(e.Name):
			return fmt.Errorf("environment %q: it takes up to 8 lower-case letters and digits", e.Name)
		case names[e.Name]:
			return fmt.Errorf("environment %q is given twice", e.Name)
		case !branchForm.MatchString(e.Branch):
			return fmt.Errorf("branch %q is not the name of a branch", e.Branch)
		}
		if name := p.prefix(*e) + "-artifacts-" + e.ID + "-" + p.Region; len(name) > 63 {
			return fmt.Errorf("project %q is too long: bucket %s would have %d characters, and S3 takes 63", p.Project, name, len(name))
		}
		names[e.Name] = true
		accounts = append(accounts, e.Account)
	}
	for _, a := range accounts {
		if !accountForm.MatchString(a.ID) || !profileForm.MatchString(a.Profile) {
			return fmt.Errorf("account %q with profile %q: an account has twelve digits, a profile letters and digits", a.ID, a.Profile)
		}
	}
	return nil
}

// prefix begins the names of an environment.
func (p *Params) prefix(e Environment) string {
	if e.Name == "" {
		return p.Project
	}
	return p.Project + "-" + e.Name
}

// Plan returns the stacks that p takes, in the order of their deployment.
func Plan(p Params) ([]Step, error) {
	p.Environments = append([]Environment(nil), p.Environments...)
	if err := p.check(); err != nil {
		return nil, err
	}
	var steps []Step
	for _, e := range p.Environments {
		steps = append(steps, p.foundation(e))
	}
	steps = append(steps, p.repository())
	for _, e := range p.Environments {
		steps = append(steps, p.connection(e))
	}
	for _, e := range p.Environments {
		steps = append(steps, p.pipeline(e))
	}
	return steps, nil
}

// in says which environment, where there are several.
func in(e Environment) string {
	if e.Name == "" {
		return ""
	}
	return " (" + e.Name + ")"
}

func (p *Params) foundation(e Environment) Step {
	return Step{
		Why:     "Pipeline account" + in(e) + ": the pipeline's role, the artifact key, the artifact bucket.",
		Account: e.Account, Stack: p.prefix(e) + "-foundation", Template: Foundation, Capability: "CAPABILITY_NAMED_IAM",
		Parameters: []Parameter{
			{Name: "RepositoryAccountId", Value: p.Repository.ID},
			{Name: "ActionRoleName", Value: p.actionRole(e)},
			{Name: "PipelineRoleName", Value: p.pipelineRole(e)},
			{Name: "ArtifactBucketName", Value: p.bucket(e, "artifacts")},
			{Name: "TargetBucketName", Value: p.bucket(e, "delivered")},
			{Name: "KeyAlias", Value: p.prefix(e) + "-artifacts"},
		},
		Carry: []Output{p.keyARN(e)},
	}
}

func (p *Params) repository() Step {
	return Step{
		Why:     "Repository account: the repository.",
		Account: p.Repository, Stack: p.Project + "-repository", Template: Repository, Capability: "CAPABILITY_IAM",
		Parameters: []Parameter{{Name: "RepositoryName", Value: p.RepositoryName}},
	}
}

func (p *Params) connection(e Environment) Step {
	return Step{
		Why:     "Repository account: the role for the pipeline to assume" + in(e) + ", and the rule that tells it of new commits.",
		Account: p.Repository, Stack: p.prefix(e) + "-connection", Template: Connection, Capability: "CAPABILITY_NAMED_IAM",
		Parameters: []Parameter{
			{Name: "PipelineAccountId", Value: e.ID},
			{Name: "RepositoryName", Value: p.RepositoryName},
			{Name: "Branch", Value: e.Branch},
			{Name: "ActionRoleName", Value: p.actionRole(e)},
			{Name: "ArtifactBucketName", Value: p.bucket(e, "artifacts")},
			{Name: "KeyArn", From: p.keyARN(e)},
		},
	}
}

func (p *Params) pipeline(e Environment) Step {
	return Step{
		Why:     "Pipeline account" + in(e) + ": the pipeline, the rule that starts it, the bucket it delivers to.",
		Account: e.Account, Stack: p.prefix(e) + "-pipeline", Template: Pipeline, Capability: "CAPABILITY_IAM",
		Parameters: []Parameter{
			{Name: "PipelineName", Value: p.prefix(e)},
			{Name: "PipelineType", Value: p.PipelineType},
			{Name: "PipelineRoleName", Value: p.pipelineRole(e)},
			{Name: "ArtifactBucketName", Value: p.bucket(e, "artifacts")},
			{Name: "KeyArn", From: p.keyARN(e)},
			{Name: "RepositoryAccountId", Value: p.Repository.ID},
			{Name: "RepositoryName", Value: p.RepositoryName},
			{Name: "Branch", Value: e.Branch},
			{Name: "ActionRoleName", Value: p.actionRole(e)},
			{Name: "TargetBucketName", Value: p.bucket(e, "delivered")},
		},
	}
}

func (p *Params) pipelineRole(e Environment) string { return p.prefix(e) + "-pipeline" }

func (p *Params) actionRole(e Environment) string { return p.prefix(e) + "-source" }

// bucket is the name of a bucket, which is one of its kind in the world.
func (p *Params) bucket(e Environment, what string) string {
	return p.prefix(e) + "-" + what + "-" + e.ID + "-" + p.Region
}

func (p *Params) keyARN(e Environment) Output {
	variable := "key_arn"
	if e.Name != "" {
		variable += "_" + e.Name
	}
	return Output{Account: e.Account, Stack: p.prefix(e) + "-foundation", Key: "KeyArn", Variable: variable}
}

// Write writes the templates, their README and deploy.sh, filled in for p,
// into a folder, which it makes if it has to. Files that are there and differ
// are not overwritten; the error names the first one.
func Write(dir string, p Params) error {
	script, err := Script(p)
	if err != nil {
		return err
	}
	contents := map[string][]byte{"deploy.sh": []byte(script)}
	names := []string{"README.md", Foundation, Repository, Connection, Pipeline}
	for _, name := range names {
		if contents[name], err = fs.ReadFile(CrossAccount(), name); err != nil {
			return err
		}
	}
	names = append(names, "deploy.sh")
	for _, name := range names {
		there, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && !bytes.Equal(there, contents[name]) {
			return fmt.Errorf("%s exists and differs: move it away, or choose another folder", filepath.Join(dir, name))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		mode := os.FileMode(0o644)
		if name == "deploy.sh" {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, name), contents[name], mode); err != nil {
			return err
		}
	}
	return nil
}

// Script returns the text of deploy.sh.
func Script(p Params) (string, error) {
	steps, err := Plan(p)
	if err != nil {
		return "", err
	}
	text, err := files.ReadFile("deploy.sh.tmpl")
	if err != nil {
		return "", err
	}
	t, err := template.New("deploy.sh").Funcs(template.FuncMap{"quote": quote}).Parse(string(text))
	if err != nil {
		return "", fmt.Errorf("deploy.sh: %w", err)
	}
	var out strings.Builder
	err = t.Execute(&out, struct {
		Region     string
		Steps      []Step
		Repository Step
	}{p.Region, steps, p.repository()})
	if err != nil {
		return "", fmt.Errorf("deploy.sh: %w", err)
	}
	return out.String(), nil
}

// quote makes one word of a text for the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
