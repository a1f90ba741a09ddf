package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/sekisho/sekisho/templates"
)

// world is a server on which the templates are deployed: the system that has
// to work.
type world struct {
	*server
	repository *account
	pipelines  map[string]*account // by profile
	params     templates.Params
	outputs    map[string]map[string]string // by stack
	tree       string                       // a git working tree
	env        []string                     // for git in it
}

// deliver starts a server and deploys the templates for one pipeline account,
// after a first commit.
func deliver(t testing.TB, args ...string) *world {
	t.Helper()
	return deploy(t, templates.Params{
		Project: "shop", Region: region,
		Repository:   templates.Account{ID: repositoryAccount, Profile: "repository"},
		Environments: []templates.Environment{{Account: templates.Account{ID: pipelineAccount, Profile: "pipeline"}}},
	}, args...)
}

func deploy(t testing.TB, p templates.Params, args ...string) *world {
	t.Helper()
	return deployOn(start(t, args...), p)
}

// deployOn deploys the templates on a server that runs.
func deployOn(s *server, p templates.Params) *world {
	t := s.t
	t.Helper()
	w := &world{server: s, params: p, pipelines: map[string]*account{}, outputs: map[string]map[string]string{}}
	w.repository = w.account("repository")
	for _, e := range p.Environments {
		w.pipelines[e.Profile] = w.account(e.Profile)
	}
	steps, err := templates.Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if step.Template == templates.Pipeline && w.tree == "" {
			w.firstCommit()
		}
		w.stack(step)
	}
	for profile := range w.pipelines {
		w.finished(profile, nil)
	}
	return w
}

// accountOf returns the clients of a profile.
func (w *world) accountOf(profile string) *account {
	if a, ok := w.pipelines[profile]; ok {
		return a
	}
	return w.repository
}

// stack creates a stack through the SDK and waits for it.
func (w *world) stack(step templates.Step) {
	w.t.Helper()
	body, err := templates.Body(step.Template)
	if err != nil {
		w.t.Fatal(err)
	}
	in := &cloudformation.CreateStackInput{StackName: &step.Stack, TemplateBody: &body, Capabilities: []cfntypes.Capability{cfntypes.Capability(step.Capability)}}
	for _, p := range step.Parameters {
		value := p.Value
		if p.From.Key != "" {
			value = w.outputs[p.From.Stack][p.From.Key]
		}
		in.Parameters = append(in.Parameters, cfntypes.Parameter{ParameterKey: aws.String(p.Name), ParameterValue: &value})
	}
	api := w.accountOf(step.Profile).cloudformation
	if _, err := api.CreateStack(context.Background(), in); err != nil {
		w.t.Fatal(err)
	}
	var last cfntypes.Stack
	eventually(w.t, "stack "+step.Stack, 30*time.Second, func() bool {
		out, err := api.DescribeStacks(context.Background(), &cloudformation.DescribeStacksInput{StackName: &step.Stack})
		if err != nil {
			w.t.Fatal(err)
		}
		last = out.Stacks[0]
		return !strings.HasSuffix(string(last.StackStatus), "IN_PROGRESS")
	})
	if last.StackStatus != cfntypes.StackStatusCreateComplete {
		events, _ := api.DescribeStackEvents(context.Background(), &cloudformation.DescribeStackEventsInput{StackName: &step.Stack})
		for _, e := range events.StackEvents {
			w.t.Logf("%s %s %s", *e.LogicalResourceId, e.ResourceStatus, aws.ToString(e.ResourceStatusReason))
		}
		w.t.Fatalf("stack %s: %s", step.Stack, last.StackStatus)
	}
	w.outputs[step.Stack] = map[string]string{}
	for _, o := range last.Outputs {
		w.outputs[step.Stack][*o.OutputKey] = *o.OutputValue
	}
}

// firstCommit makes a user with git credentials, unless there is one, a working
// tree, and pushes a first commit to every branch that is delivered.
func (w *world) firstCommit() {
	w.t.Helper()
	if w.env == nil {
		w.developer()
	}
	w.tree = w.t.TempDir()
	w.git("init", "-q")
	w.git("symbolic-ref", "HEAD", "refs/heads/main")
	w.git("remote", "add", "origin", w.outputs[w.params.Project+"-repository"]["CloneUrlHttp"])
	w.write("index.html", "<h1>first</h1>")
	w.commit("Begin")
	for _, e := range w.params.Environments {
		branch := e.Branch
		if branch == "" {
			branch = "main"
		}
		w.git("push", "-q", "origin", "HEAD:refs/heads/"+branch)
	}
}

// developer makes a user with git credentials.
func (w *world) developer() {
	w.t.Helper()
	ctx := context.Background()
	user, name := "developer", "codecommit.amazonaws.com"
	if _, err := w.repository.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: &user}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.repository.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &user, PolicyArn: aws.String("arn:aws:iam::aws:policy/AWSCodeCommitPowerUser")}); err != nil {
		w.t.Fatal(err)
	}
	made, err := w.repository.iam.CreateServiceSpecificCredential(ctx, &iam.CreateServiceSpecificCredentialInput{UserName: &user, ServiceName: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	w.env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_SSL_CAINFO="+filepath.Join(w.dir, "ca.pem"),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
		"GIT_USER="+*made.ServiceSpecificCredential.ServiceUserName, "GIT_PASSWORD="+*made.ServiceSpecificCredential.ServicePassword,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.helper",
		`GIT_CONFIG_VALUE_0=!f() { echo "username=$GIT_USER"; echo "password=$GIT_PASSWORD"; }; f`)
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	return strings.TrimSpace(sh(w.t, w.tree, w.env, "git", args...))
}

func (w *world) write(file, text string) {
	w.t.Helper()
	path := filepath.Join(w.tree, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// commit commits everything and returns the commit's id.
func (w *world) commit(message string) string {
	w.t.Helper()
	w.git("add", "--all")
	w.git("commit", "-q", "-m", message)
	return w.git("rev-parse", "HEAD")
}

// push writes a file with a text of its own, commits and pushes it to main.
func (w *world) push(message string) string {
	w.t.Helper()
	w.write("index.html", "<h1>"+message+"</h1>")
	id := w.commit(message)
	w.git("push", "-q", "origin", "main")
	return id
}

// executions lists the executions of the pipeline of a profile, newest first.
func (w *world) executions(profile string) []cptypes.PipelineExecutionSummary {
	w.t.Helper()
	name := w.pipelineName(profile)
	out, err := w.pipelines[profile].codepipeline.ListPipelineExecutions(context.Background(), &codepipeline.ListPipelineExecutionsInput{PipelineName: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.PipelineExecutionSummaries
}

func (w *world) pipelineName(profile string) string {
	for _, e := range w.params.Environments {
		if e.Profile == profile && e.Name != "" {
			return w.params.Project + "-" + e.Name
		}
	}
	return w.params.Project
}

// known returns the ids of all executions there are.
func (w *world) known(profile string) map[string]bool {
	ids := map[string]bool{}
	for _, e := range w.executions(profile) {
		ids[*e.PipelineExecutionId] = true
	}
	return ids
}

// finished waits for the newest execution that is not known to end.
func (w *world) finished(profile string, known map[string]bool) cptypes.PipelineExecutionSummary {
	w.t.Helper()
	var last cptypes.PipelineExecutionSummary
	eventually(w.t, "an execution of "+profile, 30*time.Second, func() bool {
		for _, e := range w.executions(profile) {
			if !known[*e.PipelineExecutionId] {
				last = e
				return e.Status != cptypes.PipelineExecutionStatusInProgress
			}
		}
		return false
	})
	return last
}

// actions lists the actions of an execution, by name.
func (w *world) actions(profile, execution string) map[string]cptypes.ActionExecutionDetail {
	w.t.Helper()
	name := w.pipelineName(profile)
	out, err := w.pipelines[profile].codepipeline.ListActionExecutions(context.Background(), &codepipeline.ListActionExecutionsInput{
		PipelineName: &name, Filter: &cptypes.ActionExecutionFilter{PipelineExecutionId: &execution},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	actions := map[string]cptypes.ActionExecutionDetail{}
	for _, a := range out.ActionExecutionDetails {
		actions[*a.ActionName] = a
	}
	return actions
}

// files returns keys and content types of what lies in a bucket.
func (w *world) files(profile, bucket string) map[string]string {
	w.t.Helper()
	api := w.pipelines[profile].s3
	out, err := api.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		w.t.Fatal(err)
	}
	files := map[string]string{}
	for _, o := range out.Contents {
		head, err := api.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: &bucket, Key: o.Key})
		if err != nil {
			w.t.Fatal(err)
		}
		files[*o.Key] = aws.ToString(head.ContentType)
	}
	return files
}

// TestDelivery is the main job: a push in one account is delivered by a
// pipeline of another.
func TestDelivery(t *testing.T) {
	for _, kind := range []string{"V1", "V2"} {
		t.Run(kind, func(t *testing.T) {
			databases(t, func(t *testing.T, args ...string) {
				testDelivery(t, deploy(t, templates.Params{
					Project: "shop", Region: region, PipelineType: kind,
					Repository:   templates.Account{ID: repositoryAccount, Profile: "repository"},
					Environments: []templates.Environment{{Account: templates.Account{ID: pipelineAccount, Profile: "pipeline"}}},
				}, args...))
			})
		})
	}
}

func testDelivery(t *testing.T, w *world) {
	ctx := context.Background()
	target := w.outputs["shop-pipeline"]["TargetBucketName"]
	artifacts := w.outputs["shop-foundation"]["ArtifactBucketName"]
	known := w.known("pipeline")
	w.write("css/style.css", "h1 {}")
	w.write("with space/ä.json", "{}")
	w.write(".hidden", "x")
	w.write("run.sh", "#!/bin/sh\n")
	id := w.push("Say good morning\n\nIn two paragraphs.")
	e := w.finished("pipeline", known)

	if e.Status != cptypes.PipelineExecutionStatusSucceeded {
		t.Fatalf("execution is %s: %s", e.Status, w.explain(*e.PipelineExecutionId))
	}
	if e.Trigger.TriggerType != cptypes.TriggerTypeCloudWatchEvent || !strings.Contains(*e.Trigger.TriggerDetail, ":rule/") {
		t.Errorf("trigger is %s %s", e.Trigger.TriggerType, *e.Trigger.TriggerDetail)
	}
	if len(e.SourceRevisions) != 1 || *e.SourceRevisions[0].RevisionId != id || !strings.HasPrefix(*e.SourceRevisions[0].RevisionSummary, "Say good morning") {
		t.Errorf("source revisions are %+v, want commit %s", e.SourceRevisions, id)
	}

	// The files of the commit, and only they, with their types.
	want := map[string]string{
		"release/index.html": "text/html", "release/css/style.css": "text/css", "release/with space/ä.json": "application/json",
		"release/.hidden": "application/octet-stream", "release/run.sh": "application/x-sh",
	}
	got := w.files("pipeline", target)
	for key := range want {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is not delivered", key)
		}
	}
	if len(got) != len(want) {
		t.Errorf("delivered are %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for _, key := range []string{"release/index.html", "release/css/style.css", "release/with space/ä.json"} {
		if got[key] != want[key] {
			t.Errorf("%s has type %q, want %q", key, got[key], want[key])
		}
	}
	if text := read(t, w.pipelines["pipeline"], target, "release/index.html"); !strings.Contains(text, "Say good morning") {
		t.Errorf("index.html is %q", text)
	}

	// The artifact: its key, and the customer's key around it.
	actions := w.actions("pipeline", *e.PipelineExecutionId)
	source := actions["Commit"]
	location := source.Output.OutputArtifacts[0].S3location
	if *location.Bucket != artifacts || !regexp.MustCompile(`^shop/Commit/[A-Za-z0-9]{7}$`).MatchString(*location.Key) {
		t.Errorf("artifact lies at %s/%s", *location.Bucket, *location.Key)
	}
	head, err := w.pipelines["pipeline"].s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: location.Bucket, Key: location.Key})
	if err != nil {
		t.Fatal(err)
	}
	if head.ServerSideEncryption != "aws:kms" || aws.ToString(head.SSEKMSKeyId) != w.outputs["shop-foundation"]["KeyArn"] {
		t.Errorf("artifact is encrypted with %s %s", head.ServerSideEncryption, aws.ToString(head.SSEKMSKeyId))
	}
	if v := source.Output.OutputVariables["CommitId"]; v != id {
		t.Errorf("SourceVariables.CommitId is %s, want %s", v, id)
	}
	if role := aws.ToString(source.Input.RoleArn); role != "arn:aws:iam::"+repositoryAccount+":role/shop-source" {
		t.Errorf("the source action's role is %s", role)
	}

	// The story names every role, and ends well.
	story := w.explain(*e.PipelineExecutionId)
	for _, want := range []string{
		"developer codecommit:GitPush allowed", "shop-connection-ForwardingRole", "StartingRole", "events:PutEvents allowed",
		"codepipeline:StartPipelineExecution allowed", "shop-pipeline sts:AssumeRole allowed", "shop-source codecommit:GetBranch allowed",
		"shop-source s3:PutObject allowed", "shop-source kms:GenerateDataKey allowed", "shop-pipeline s3:GetObject allowed",
		"shop-pipeline kms:Decrypt allowed", "shop-pipeline s3:PutObject allowed",
	} {
		if !strings.Contains(story, want) {
			t.Errorf("the story lacks %q:\n%s", want, story)
		}
	}

	// The request id of any call of it leads to the same story.
	for _, s := range w.story(*e.PipelineExecutionId).Steps {
		if s.Did == "codepipeline:StartPipelineExecution" || s.Did == "kms:Decrypt" || s.Did == "sts:AssumeRole" {
			if again := w.explain(s.RequestID); !strings.Contains(again, "shop-pipeline s3:PutObject allowed") {
				t.Errorf("request %s of %s leads to\n%s", s.RequestID, s.Did, again)
			}
		}
	}

	// A push to another branch starts nothing.
	known = w.known("pipeline")
	w.git("push", "-q", "origin", "main:refs/heads/other")
	w.push("And to main")
	w.finished("pipeline", known)
	if n := len(w.executions("pipeline")) - len(known); n != 1 {
		t.Errorf("%d executions began, want the one for main", n)
	}
}

// explain is the story of an execution, a line a call.
func (w *world) explain(execution string) string {
	w.t.Helper()
	var b strings.Builder
	for _, s := range w.story(execution).Steps {
		fmt.Fprintf(&b, "%s %s %s %s\n", s.Who.Name, s.Did, s.Outcome, s.Error)
	}
	return b.String()
}

// story is what `sekisho explain --json` prints, as far as tests look at it.
type story struct {
	Steps []struct {
		Who       struct{ Name, Account string }
		RequestID string
		Did       string
		Outcome   string
		Error     string
		Asked     []struct {
			Action, Resource, Outcome string
			Fixes                     []fix
		}
		Advice string
	}
	Deliveries []struct{ State, Error string }
	Repair     []fix
}

// fix is one repair that explain names.
type fix struct {
	Where, Kind, On, Policy, Narrow, Advice string
	Add                                     json.RawMessage
	Remove                                  *struct{ Statement int }
}

func (w *world) story(execution string) story {
	w.t.Helper()
	out := sh(w.t, "", os.Environ(), binary, "explain", execution, "--json", "--data", w.dir)
	var s story
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		w.t.Fatalf("%v in %s", err, out)
	}
	return s
}

// TestTwoEnvironments is the supplement: one repository whose pushes start
// pipelines in two accounts, each from its own branch.
func TestTwoEnvironments(t *testing.T) {
	w := deploy(t, templates.Params{
		Project: "shop", Region: region,
		Repository: templates.Account{ID: repositoryAccount, Profile: "repository"},
		Environments: []templates.Environment{
			{Account: templates.Account{ID: pipelineAccount, Profile: "pipeline"}, Name: "dev", Branch: "develop"},
			{Account: templates.Account{ID: "333333333333", Profile: "production"}, Name: "prod"},
		},
	}, "--account", "production=333333333333")
	dev, prod := w.known("pipeline"), w.known("production")
	w.write("index.html", "<h1>both</h1>")
	w.commit("To both")
	w.git("push", "-q", "origin", "main", "main:develop")
	for profile, known := range map[string]map[string]bool{"pipeline": dev, "production": prod} {
		if e := w.finished(profile, known); e.Status != cptypes.PipelineExecutionStatusSucceeded {
			t.Errorf("%s: %s\n%s", profile, e.Status, w.explain(*e.PipelineExecutionId))
		}
	}
	prod = w.known("production")
	dev = w.known("pipeline")
	w.write("index.html", "<h1>dev</h1>")
	w.commit("To develop")
	w.git("push", "-q", "origin", "main:develop")
	w.finished("pipeline", dev)
	if n := len(w.executions("production")) - len(prod); n != 0 {
		t.Errorf("%d executions began in production by a push to develop", n)
	}
}
