package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho"
	"github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/client"
	"github.com/sekisho/sekisho/internal/explain"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/templates"
)

func demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "The main job, watched live: a push in one account, delivered by a pipeline of another",
		Long: `Demo starts a server in a temporary directory, makes two accounts, deploys the
shipped templates through the API, pushes a small repository with git, and
shows how the commit travels, who did what in which role, and what let them.
Then it breaks one permission on purpose, and shows the refusal and its repair.`,
		Args: cobra.NoArgs,
	}
	region := c.Flags().String("region", "us-east-1", "region")
	keep := c.Flags().Bool("keep", false, "leave the server running afterwards, until Ctrl-C")
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, err := os.MkdirTemp("", "sekisho-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		d := &demo{out: c.OutOrStdout(), dir: dir, data: filepath.Join(dir, "data"), keep: *keep}
		d.params = templates.Params{
			Project: "demo", Region: *region,
			Repository:   templates.Account{ID: "111111111111", Profile: "repository"},
			Environments: []templates.Environment{{Account: templates.Account{ID: "222222222222", Profile: "pipeline"}}},
		}
		return d.run(c.Context())
	}
	return c
}

// patience is how long the demonstration waits for anything.
const patience = time.Minute

// demo is one run of the demonstration.
type demo struct {
	out    io.Writer
	dir    string
	data   string
	keep   bool
	params templates.Params

	server  *sekisho.Server
	began   time.Time
	clients map[string]*client.Client // by profile
	bucket  string                    // the target bucket
	work    *worktree
}

func (d *demo) run(ctx context.Context) error {
	d.began = time.Now()
	var err error
	d.server, err = sekisho.New(ctx, sekisho.Config{
		Data: d.data, Listen: "127.0.0.1:0", Log: logger(io.Discard, false),
		Accounts: []sekisho.Account{
			{Name: "repository", ID: d.params.Repository.ID},
			{Name: "pipeline", ID: d.params.Environments[0].ID},
		},
	})
	if err != nil {
		return err
	}
	defer d.server.Close()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() { ended <- d.server.Run(serving, func() { close(ready) }) }()
	select {
	case err := <-ended:
		return err
	case <-ready:
	}
	if err := d.show(ctx); err != nil {
		return err
	}
	if d.keep {
		d.usage()
		<-ctx.Done()
	}
	stop()
	return <-ended
}

// show is the demonstration itself.
func (d *demo) show(ctx context.Context) error {
	d.title("A server with two accounts")
	if err := d.connect(); err != nil {
		return err
	}
	d.say("%s: repository %s, pipeline %s", d.server.URL(), d.params.Repository.ID, d.params.Environments[0].ID)

	d.title("The stacks, deployed through CloudFormation")
	if err := d.deploy(ctx); err != nil {
		return err
	}

	d.title("A push, and its way")
	story, took, err := d.pushAndWatch(ctx, "Say good morning", "index.html", "<h1>Good morning from the other account</h1>\n")
	if err != nil {
		return err
	}
	if err := d.delivered(ctx); err != nil {
		return err
	}
	d.say("%s", strong.Render(fmt.Sprintf("from push to delivered: %d ms", took.Milliseconds())))

	d.title("Who did what, and what let them")
	writeStory(d.out, story)

	d.title("The same with one permission missing")
	if err := d.breakIt(ctx); err != nil {
		return err
	}
	story, _, err = d.pushAndWatch(ctx, "Say good night", "index.html", "<h1>Good night</h1>\n")
	if err != nil {
		return err
	}
	if len(story.Refusals()) == 0 {
		return errors.New("nothing was refused, although a permission is missing")
	}
	writeTrouble(d.out, story)
	return nil
}

func (d *demo) title(text string) { lipgloss.Fprintln(d.out, "\n"+strong.Render("── "+text+" ")) }

func (d *demo) say(format string, args ...any) {
	lipgloss.Fprintln(d.out, "   "+fmt.Sprintf(format, args...))
}

// line says what happened now.
func (d *demo) line(format string, args ...any) { d.lineAt(time.Now(), format, args...) }

// lineAt says what happened when, since the demonstration began.
func (d *demo) lineAt(t time.Time, format string, args ...any) {
	lipgloss.Fprintln(d.out, faint.Render(fmt.Sprintf("%7.3f s  ", t.Sub(d.began).Seconds()))+fmt.Sprintf(format, args...))
}

// connect makes a client for the root user of each account.
func (d *demo) connect() error {
	a, err := connect(d.data)
	if err != nil {
		return err
	}
	d.clients = map[string]*client.Client{}
	for _, profile := range []string{"repository", "pipeline"} {
		keys, err := readProfile(a.credentialsFile(), profile)
		if err != nil {
			return err
		}
		d.clients[profile] = client.New(a.endpoint, d.params.Region, client.Credentials{
			AccessKeyID: keys.keyID, Secret: seal.NewSecret([]byte(keys.secret)),
		}, a.pool)
	}
	return nil
}

// deploy creates the stacks in their order. The repository gets its first
// commit before the pipeline, which runs once when it is created.
func (d *demo) deploy(ctx context.Context) error {
	steps, err := templates.Plan(d.params)
	if err != nil {
		return err
	}
	outputs := map[string]string{}
	for _, step := range steps {
		if step.Template == templates.Pipeline {
			if err := d.firstCommit(ctx, outputs); err != nil {
				return err
			}
		}
		if err := d.stack(ctx, step, outputs); err != nil {
			return err
		}
	}
	d.bucket = outputs["TargetBucketName"]
	_, err = d.finished(ctx, map[string]bool{})
	return err
}

// stack creates one stack, and adds its outputs to those of the others.
func (d *demo) stack(ctx context.Context, step templates.Step, outputs map[string]string) error {
	body, err := templates.Body(step.Template)
	if err != nil {
		return err
	}
	in := &cloudformation.CreateStackInput{StackName: step.Stack, TemplateBody: body, Capabilities: []string{step.Capability}}
	for _, p := range step.Parameters {
		value := p.Value
		if p.From.Key != "" {
			value = outputs[p.From.Key]
		}
		in.Parameters = append(in.Parameters, cloudformation.Parameter{ParameterKey: p.Name, ParameterValue: value})
	}
	began := time.Now()
	api := cloudformation.Client{Invoker: d.clients[step.Profile]}
	if _, err := api.CreateStack(ctx, in); err != nil {
		return fmt.Errorf("stack %s: %w", step.Stack, err)
	}
	var stack cloudformation.Stack
	err = wait(ctx, "stack "+step.Stack, func() (bool, error) {
		out, err := api.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: step.Stack})
		if err != nil {
			return false, err
		}
		stack = out.Stacks[0]
		return !strings.HasSuffix(stack.StackStatus, "_IN_PROGRESS"), nil
	})
	if err != nil {
		return err
	}
	if stack.StackStatus != "CREATE_COMPLETE" {
		return fmt.Errorf("stack %s is %s: %s", step.Stack, stack.StackStatus, stack.StackStatusReason)
	}
	for _, o := range stack.Outputs {
		outputs[o.OutputKey] = o.OutputValue
	}
	d.line("%s %s %s  %s", good.Render("✓"), name.Render(step.Stack), faint.Render(fmt.Sprintf("%d ms", time.Since(began).Milliseconds())), step.Why)
	return nil
}

// firstCommit gives the repository a user who may push, and a first commit.
func (d *demo) firstCommit(ctx context.Context, outputs map[string]string) error {
	api := iam.Client{Invoker: d.clients["repository"]}
	if _, err := api.CreateUser(ctx, &iam.CreateUserInput{UserName: "developer"}); err != nil {
		return err
	}
	const policy = "arn:aws:iam::aws:policy/AWSCodeCommitPowerUser"
	if _, err := api.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: "developer", PolicyArn: policy}); err != nil {
		return err
	}
	made, err := api.CreateServiceSpecificCredential(ctx, &iam.CreateServiceSpecificCredentialInput{
		UserName: "developer", ServiceName: "codecommit.amazonaws.com",
	})
	if err != nil {
		return err
	}
	c := made.ServiceSpecificCredential
	d.work, err = newWorktree(ctx, filepath.Join(d.dir, "work"), outputs["CloneUrlHttp"], filepath.Join(d.data, "ca.pem"), c.ServiceUserName, c.ServicePassword)
	if err != nil {
		return err
	}
	for file, text := range map[string]string{
		"index.html":       "<h1>Hello</h1>\n",
		"css/style.css":    "h1 { font-family: serif }\n",
		"data/config.json": "{\"greeting\": true}\n",
	} {
		if err := d.work.write(file, text); err != nil {
			return err
		}
	}
	if err := d.work.push(ctx, "Begin"); err != nil {
		return err
	}
	d.line("%s user %s made a first commit with git", good.Render("✓"), name.Render("developer"))
	return nil
}

// pushAndWatch commits and pushes a file, shows each call on its way as it is
// recorded, and returns the story of the execution once that has ended, with
// the time from the end of the push to the end of the execution.
func (d *demo) pushAndWatch(ctx context.Context, message, file, text string) (*explain.Story, time.Duration, error) {
	before, err := d.executions(ctx)
	if err != nil {
		return nil, 0, err
	}
	known := map[string]bool{}
	for _, e := range before {
		known[e.PipelineExecutionId] = true
	}
	if err := d.work.write(file, text); err != nil {
		return nil, 0, err
	}
	if err := d.work.commit(ctx, message); err != nil {
		return nil, 0, err
	}
	d.line("git push: %q", message)
	pushed := time.Now()
	if err := d.work.send(ctx); err != nil {
		return nil, 0, err
	}
	execution, err := d.finished(ctx, known)
	if err != nil {
		return nil, 0, err
	}
	story, err := d.server.Explain(ctx, execution.PipelineExecutionId)
	if err != nil {
		return nil, 0, err
	}
	took := execution.LastUpdateTime.Sub(pushed)
	if execution.Status == "Succeeded" {
		d.line("%s execution %s %s", good.Render("✓"), execution.PipelineExecutionId, execution.Status)
	} else {
		d.line("%s execution %s %s", bad.Render("✗"), execution.PipelineExecutionId, execution.Status)
	}
	return story, took, nil
}

// finished waits for an execution that is not known yet to end, and shows the
// calls of its story as they come.
func (d *demo) finished(ctx context.Context, known map[string]bool) (codepipeline.PipelineExecutionSummary, error) {
	var latest codepipeline.PipelineExecutionSummary
	shown := map[string]bool{}
	watch := len(known) > 0
	err := wait(ctx, "the pipeline's execution", func() (bool, error) {
		list, err := d.executions(ctx)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(list, func(e codepipeline.PipelineExecutionSummary) bool { return !known[e.PipelineExecutionId] })
		if i < 0 {
			return false, nil
		}
		latest = list[i]
		if watch {
			d.follow(ctx, latest.PipelineExecutionId, shown)
		}
		return latest.Status != "InProgress", nil
	})
	return latest, err
}

// follow shows the steps of a story that were not shown yet.
func (d *demo) follow(ctx context.Context, execution string, shown map[string]bool) {
	story, err := d.server.Explain(ctx, execution)
	if err != nil {
		return // not recorded yet
	}
	for _, step := range story.Steps {
		if shown[step.RequestID] {
			continue
		}
		shown[step.RequestID] = true
		mark := good.Render("✓")
		if step.Outcome != explain.Allowed {
			mark = bad.Render("✗")
		}
		d.lineAt(step.Time, "%s %s  %s  %s", mark, name.Render(oneLine(who(step.Who))), step.Did, faint.Render(strings.Join(about(step), ", ")))
	}
}

func (d *demo) executions(ctx context.Context) ([]codepipeline.PipelineExecutionSummary, error) {
	api := codepipeline.Client{Invoker: d.clients["pipeline"]}
	out, err := api.ListPipelineExecutions(ctx, &codepipeline.ListPipelineExecutionsInput{PipelineName: d.params.Project})
	if err != nil {
		return nil, err
	}
	return out.PipelineExecutionSummaries, nil
}

// delivered lists what lies in the target bucket.
func (d *demo) delivered(ctx context.Context) error {
	api := s3.Client{Invoker: d.clients["pipeline"]}
	out, err := api.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: d.bucket})
	if err != nil {
		return err
	}
	d.say("delivered to s3://%s:", d.bucket)
	for _, o := range out.Contents {
		head, err := api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: d.bucket, Key: o.Key})
		if err != nil {
			return err
		}
		d.say("  %s  %s", name.Render(o.Key), faint.Render(head.ContentType))
	}
	return nil
}

// repositoryAccess is the statement of the artifact bucket's policy that lets
// the repository account write artifacts.
const repositoryAccess = "RepositoryAccountReadsAndWritesArtifacts"

// breakIt takes the repository account's leave to write artifacts out of the
// bucket's policy: one statement of a dozen policies in two accounts.
func (d *demo) breakIt(ctx context.Context) error {
	api := s3.Client{Invoker: d.clients["pipeline"]}
	bucket := d.params.Project + "-artifacts-" + d.params.Environments[0].ID + "-" + d.params.Region
	out, err := api.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket})
	if err != nil {
		return err
	}
	broken, err := without(out.Policy, repositoryAccess)
	if err != nil {
		return err
	}
	if _, err := api.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: broken}); err != nil {
		return err
	}
	d.line("statement %q is taken out of the policy of bucket %s", repositoryAccess, bucket)
	return nil
}

// usage says how to go on with a server that was kept.
func (d *demo) usage() {
	d.title("The server is still running; Ctrl-C ends it")
	d.say("eval \"$(sekisho env pipeline --data %s --region %s)\"", d.data, d.params.Region)
	d.say("aws codepipeline get-pipeline-state --name %s", d.params.Project)
	d.say("aws s3 ls --recursive s3://%s/", d.bucket)
	d.say("git -C %s log --oneline        (the repository the demo pushed)", d.work.dir)
	d.say("sekisho explain ID --data %s        (an execution, or a commit)", d.data)
}

// wait asks every few milliseconds until the answer is yes.
func wait(ctx context.Context, what string, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come to an end: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
