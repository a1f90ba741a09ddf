package cloudformation

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	serviceapi "github.com/sekisho/sekisho/internal/api"
	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	ccapi "github.com/sekisho/sekisho/internal/api/codecommit"
	cpapi "github.com/sekisho/sekisho/internal/api/codepipeline"
	evapi "github.com/sekisho/sekisho/internal/api/events"
	iamapi "github.com/sekisho/sekisho/internal/api/iam"
	kmsapi "github.com/sekisho/sekisho/internal/api/kms"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/checkpoint"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/service/codecommit"
	"github.com/sekisho/sekisho/internal/service/codepipeline"
	"github.com/sekisho/sekisho/internal/service/events"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/service/kms"
	"github.com/sekisho/sekisho/internal/service/s3"
	"github.com/sekisho/sekisho/internal/service/sts"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
)

// realWorld is CloudFormation among the services it makes resources of.
type realWorld struct {
	*testing.T
	s    *Service
	door *checkpoint.Checkpoint
	mu   sync.Mutex
	log  []*call.Entry
}

func (w *realWorld) Record(_ context.Context, e *call.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, e)
	return nil
}

func real(t *testing.T, test func(w *realWorld)) {
	statetest.Each(t, func(t *testing.T, db *state.DB) { test(newRealWorld(t, db)) },
		job.Schema(), iam.Schema(), kms.Schema(), s3.Schema(), codecommit.Schema(), events.Schema(), codepipeline.Schema(), Schema())
}

func newRealWorld(t *testing.T, db *state.DB) *realWorld {
	master := must[*seal.Master](t)(seal.NewMaster(make([]byte, seal.KeySize)))
	store := must[*git.Store](t)(git.Open(t.Context(), t.TempDir(), git.Options{}))
	quiet := slog.New(slog.DiscardHandler)
	jobs := job.NewQueue(db, job.Options{Log: quiet})
	people := iam.New(db, master, iam.Options{})
	w := &realWorld{T: t}
	w.door = checkpoint.New(people, w, checkpoint.Options{BaseURL: "https://127.0.0.1:4566", Check: serviceapi.Check})
	bus := events.New(db, w.door, jobs, people, events.Options{})
	w.door.Serve("iam", people.Operations())
	w.door.Serve("sts", sts.New(people, master.For("sts/token"), sts.Options{}).Operations())
	w.door.Serve("kms", kms.New(db, jobs, master, people, kms.Options{}).Operations())
	w.door.Serve("s3", s3.New(db, blob.NewMemory(), master.For("s3"), w.door, people, jobs).Operations())
	w.door.Serve("codecommit", codecommit.New(db, store, w.door, jobs).Operations())
	w.door.Serve("events", bus.Operations())
	w.door.Serve("codepipeline", codepipeline.New(db, w.door, jobs, codepipeline.Options{Log: quiet}).Operations())
	w.s = New(db, jobs, w.door, master.For("cloudformation"), Options{Hold: 30 * time.Second})
	w.door.Serve("cloudformation", w.s.Operations())
	must[iam.Account](t)(people.CreateAccount(t.Context(), "main", account))
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = jobs.Run(ctx) })
	wg.Go(func() { _ = bus.Run(ctx) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		store.Close()
	})
	return w
}

func (w *realWorld) as(p aws.Principal) call.Invoker {
	return w.door.As(call.Session{Principal: p, Region: "eu-central-1", SourceIP: "192.0.2.1", UserAgent: "test"})
}

func (w *realWorld) root() call.Invoker { return w.as(aws.RootPrincipal(account)) }

func (w *realWorld) stack(name string) api.Stack {
	w.Helper()
	out := must[*api.DescribeStacksOutput](w)(api.Client{Invoker: w.root()}.DescribeStacks(w.Context(), &api.DescribeStacksInput{StackName: name}))
	return out.Stacks[0]
}

// want fails with the stack's events when it is in another status.
func (w *realWorld) want(name, status string) api.Stack {
	w.Helper()
	st := w.stack(name)
	if st.StackStatus == status {
		return st
	}
	out := must[*api.DescribeStackEventsOutput](w)(api.Client{Invoker: w.root()}.DescribeStackEvents(w.Context(), &api.DescribeStackEventsInput{StackName: name}))
	for i := len(out.StackEvents) - 1; i >= 0; i-- {
		e := out.StackEvents[i]
		w.Logf("%s %s %s", e.LogicalResourceId, e.ResourceStatus, e.ResourceStatusReason)
	}
	w.Fatalf("the stack is %s (%s), want %s", st.StackStatus, st.StackStatusReason, status)
	return st
}

func outputs(st api.Stack) map[string]string {
	m := map[string]string{}
	for _, o := range st.Outputs {
		m[o.OutputKey] = o.OutputValue
	}
	return m
}

func (w *realWorld) archive() {
	w.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"README.md", "src/main.go"} {
		f := must[interface{ Write([]byte) (int, error) }](w)(func() (interface{ Write([]byte) (int, error) }, error) { return z.Create(name) }())
		fmt.Fprintf(f, "this is %s\n", name)
	}
	if err := z.Close(); err != nil {
		w.Fatal(err)
	}
	c := s3api.Client{Invoker: w.root()}
	must[*s3api.CreateBucketOutput](w)(c.CreateBucket(w.Context(), &s3api.CreateBucketInput{Bucket: "archives",
		CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: "eu-central-1"}}))
	must[*s3api.PutObjectOutput](w)(c.PutObject(w.Context(), &s3api.PutObjectInput{Bucket: "archives", Key: "code.zip", Body: &b}))
}

func everything(w *realWorld) string {
	b, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		w.Fatal(err)
	}
	return string(b)
}

func TestEveryResourceType(t *testing.T) {
	real(t, func(w *realWorld) {
		ctx, c := w.Context(), api.Client{Invoker: w.root()}
		w.archive()
		start := time.Now()
		must[*api.CreateStackOutput](w)(c.CreateStack(ctx, &api.CreateStackInput{
			StackName: "all", TemplateBody: everything(w), Capabilities: []string{"CAPABILITY_NAMED_IAM"},
			Parameters: []api.Parameter{{ParameterKey: "Archive", ParameterValue: "archives"}},
			Tags:       []api.Tag{{Key: "team", Value: "blue"}},
		}))
		took := time.Since(start)
		out := outputs(w.want("all", "CREATE_COMPLETE"))
		w.Logf("20 resources in %v", took)
		w.checkEverything("first", out)

		must[*api.UpdateStackOutput](w)(c.UpdateStack(ctx, &api.UpdateStackInput{
			StackName: "all", UsePreviousTemplate: new(true), Capabilities: []string{"CAPABILITY_NAMED_IAM"},
			Parameters: []api.Parameter{{ParameterKey: "Archive", UsePreviousValue: new(true)}, {ParameterKey: "Word", ParameterValue: "second"}},
			Tags:       []api.Tag{{Key: "team", Value: "green"}},
		}))
		again := outputs(w.want("all", "UPDATE_COMPLETE"))
		for _, same := range []string{"Bucket", "Key", "Role", "Managed", "User", "AccessKey", "Secret", "Rule", "Repository"} {
			if again[same] != out[same] {
				w.Errorf("%s was %s and is %s: replaced", same, out[same], again[same])
			}
		}
		w.checkEverything("second", again)

		w.empty(out["Bucket"])
		must[*api.DeleteStackOutput](w)(c.DeleteStack(ctx, &api.DeleteStackInput{StackName: "all"}))
		list := must[*api.ListStacksOutput](w)(c.ListStacks(ctx, &api.ListStacksInput{}))
		w.want(list.StackSummaries[0].StackId, "DELETE_COMPLETE")
		w.checkGone(again)
	})
}

// checkEverything asks every service what it has.
func (w *realWorld) checkEverything(word string, out map[string]string) {
	w.Helper()
	ctx := w.Context()
	people, keys, buckets := iamapi.Client{Invoker: w.root()}, kmsapi.Client{Invoker: w.root()}, s3api.Client{Invoker: w.root()}
	role := must[*iamapi.GetRoleOutput](w)(people.GetRole(ctx, &iamapi.GetRoleInput{RoleName: out["Role"]}))
	inline := must[*iamapi.ListRolePoliciesOutput](w)(people.ListRolePolicies(ctx, &iamapi.ListRolePoliciesInput{RoleName: out["Role"]}))
	if role.Role.Description != word || strings.Join(inline.PolicyNames, " ") != word+"-policy inline" && strings.Join(inline.PolicyNames, " ") != "inline "+word+"-policy" {
		w.Errorf("role %q with %v", role.Role.Description, inline.PolicyNames)
	}
	managed := must[*iamapi.GetPolicyOutput](w)(people.GetPolicy(ctx, &iamapi.GetPolicyInput{PolicyArn: out["Managed"]}))
	version := must[*iamapi.GetPolicyVersionOutput](w)(people.GetPolicyVersion(ctx, &iamapi.GetPolicyVersionInput{PolicyArn: out["Managed"], VersionId: managed.Policy.DefaultVersionId}))
	if !strings.Contains(version.PolicyVersion.Document, word) {
		w.Errorf("managed policy %s", version.PolicyVersion.Document)
	}
	u := must[*iamapi.GetUserOutput](w)(people.GetUser(ctx, &iamapi.GetUserInput{UserName: out["User"]}))
	g := must[*iamapi.GetGroupOutput](w)(people.GetGroup(ctx, &iamapi.GetGroupInput{GroupName: "app-group"}))
	access := must[*iamapi.ListAccessKeysOutput](w)(people.ListAccessKeys(ctx, &iamapi.ListAccessKeysInput{UserName: out["User"]}))
	status := map[string]string{"first": "Active", "second": "Inactive"}[word]
	if u.User.Path != "/"+word+"/" || len(g.Users) != 1 || access.AccessKeyMetadata[0].Status != status || access.AccessKeyMetadata[0].AccessKeyId != out["AccessKey"] {
		w.Errorf("user %+v, group %+v, keys %+v", u.User, g.Users, access.AccessKeyMetadata)
	}
	k := must[*kmsapi.DescribeKeyOutput](w)(keys.DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: "alias/app"}))
	tags := must[*kmsapi.ListResourceTagsOutput](w)(keys.ListResourceTags(ctx, &kmsapi.ListResourceTagsInput{KeyId: out["Key"]}))
	colour := map[string]string{"first": "blue", "second": "green"}[word]
	if k.KeyMetadata.KeyId != out["Key"] || k.KeyMetadata.Description != word+" key" || len(tags.Tags) != 1 || tags.Tags[0].TagValue != colour {
		w.Errorf("key %+v, tags %+v", k.KeyMetadata, tags.Tags)
	}
	versioning := must[*s3api.GetBucketVersioningOutput](w)(buckets.GetBucketVersioning(ctx, &s3api.GetBucketVersioningInput{Bucket: out["Bucket"]}))
	policy := must[*s3api.GetBucketPolicyOutput](w)(buckets.GetBucketPolicy(ctx, &s3api.GetBucketPolicyInput{Bucket: out["Bucket"]}))
	encryption := must[*s3api.GetBucketEncryptionOutput](w)(buckets.GetBucketEncryption(ctx, &s3api.GetBucketEncryptionInput{Bucket: out["Bucket"]}))
	if versioning.Status != "Enabled" || !strings.Contains(policy.Policy, `"`+word+`"`) ||
		encryption.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.KMSMasterKeyID != k.KeyMetadata.Arn {
		w.Errorf("bucket %+v %s %+v", versioning, policy.Policy, encryption.ServerSideEncryptionConfiguration)
	}
	w.checkDelivery(word, out)
}

func (w *realWorld) checkDelivery(word string, out map[string]string) {
	w.Helper()
	ctx := w.Context()
	code, bus, pipes := ccapi.Client{Invoker: w.root()}, evapi.Client{Invoker: w.root()}, cpapi.Client{Invoker: w.root()}
	repo := must[*ccapi.GetRepositoryOutput](w)(code.GetRepository(ctx, &ccapi.GetRepositoryInput{RepositoryName: "app-" + word}))
	file := must[*ccapi.GetFileOutput](w)(code.GetFile(ctx, &ccapi.GetFileInput{RepositoryName: "app-" + word, CommitSpecifier: "trunk", FilePath: "src/main.go"}))
	if m := repo.RepositoryMetadata; m.RepositoryId != out["Repository"] || m.RepositoryDescription != word || string(file.FileContent) != "this is src/main.go\n" || m.CloneUrlHttp != out["CloneUrl"] {
		w.Errorf("repository %+v with %q", m, file.FileContent)
	}
	if out["Rule"][:8] != "app-bus|" {
		w.Errorf("rule is %s", out["Rule"])
	}
	_, name := ruleName(out["Rule"])
	rule := must[*evapi.DescribeRuleOutput](w)(bus.DescribeRule(ctx, &evapi.DescribeRuleInput{Name: name, EventBusName: "app-bus"}))
	targets := must[*evapi.ListTargetsByRuleOutput](w)(bus.ListTargetsByRule(ctx, &evapi.ListTargetsByRuleInput{Rule: name, EventBusName: "app-bus"}))
	b := must[*evapi.DescribeEventBusOutput](w)(bus.DescribeEventBus(ctx, &evapi.DescribeEventBusInput{Name: "app-bus"}))
	if rule.Description != word || !strings.Contains(rule.EventPattern, "app-"+word) || len(targets.Targets) != 1 || !strings.Contains(b.Policy, `"from-the-account"`) {
		w.Errorf("rule %+v, targets %+v, policy %s", rule, targets.Targets, b.Policy)
	}
	p := must[*cpapi.GetPipelineOutput](w)(pipes.GetPipeline(ctx, &cpapi.GetPipelineInput{Name: "app-pipeline"}))
	source, deploy := p.Pipeline.Stages[0].Actions[0], p.Pipeline.Stages[1].Actions[0]
	want := map[string]string{"RepositoryName": "app-" + word, "BranchName": "trunk", "PollForSourceChanges": "false"}
	if d := cmp.Diff(want, source.Configuration); d != "" || deploy.Configuration["Extract"] != "true" || fmt.Sprint(*p.Pipeline.Version) != out["Version"] {
		w.Errorf("pipeline version %d (output %s): %+v %+v", *p.Pipeline.Version, out["Version"], source, deploy)
	}
	st := must[*cpapi.GetPipelineStateOutput](w)(pipes.GetPipelineState(ctx, &cpapi.GetPipelineStateInput{Name: "app-pipeline"}))
	if tr := st.StageStates[1].InboundTransitionState; tr == nil || is(tr.Enabled) || tr.DisabledReason != word {
		w.Errorf("transition %+v", tr)
	}
	runs := must[*cpapi.ListPipelineExecutionsOutput](w)(pipes.ListPipelineExecutions(ctx, &cpapi.ListPipelineExecutionsInput{PipelineName: "app-pipeline"}))
	if n := map[string]int{"first": 1, "second": 2}[word]; len(runs.PipelineExecutionSummaries) != n {
		w.Errorf("%d executions, want %d", len(runs.PipelineExecutionSummaries), n)
	}
}

// empty waits for the pipeline's executions and deletes what they left in the
// bucket.
func (w *realWorld) empty(bucket string) {
	w.Helper()
	c, pipes := s3api.Client{Invoker: w.root()}, cpapi.Client{Invoker: w.root()}
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		busy := false
		st := must[*cpapi.GetPipelineStateOutput](w)(pipes.GetPipelineState(w.Context(), &cpapi.GetPipelineStateInput{Name: "app-pipeline"}))
		for _, a := range st.StageStates[0].ActionStates {
			busy = busy || a.LatestExecution == nil || a.LatestExecution.Status == "InProgress"
		}
		if !busy {
			break
		}
	}
	list := must[*s3api.ListObjectVersionsOutput](w)(c.ListObjectVersions(w.Context(), &s3api.ListObjectVersionsInput{Bucket: bucket}))
	for _, v := range list.Versions {
		must[*s3api.DeleteObjectOutput](w)(c.DeleteObject(w.Context(), &s3api.DeleteObjectInput{Bucket: bucket, Key: v.Key, VersionId: v.VersionId}))
	}
}

func (w *realWorld) checkGone(out map[string]string) {
	w.Helper()
	ctx := w.Context()
	people := iamapi.Client{Invoker: w.root()}
	k := must[*kmsapi.DescribeKeyOutput](w)(kmsapi.Client{Invoker: w.root()}.DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: out["Key"]}))
	if k.KeyMetadata.KeyState != "PendingDeletion" {
		w.Errorf("the key is %s", k.KeyMetadata.KeyState)
	}
	for what, err := range map[string]error{
		"role":       second(people.GetRole(ctx, &iamapi.GetRoleInput{RoleName: out["Role"]})),
		"policy":     second(people.GetPolicy(ctx, &iamapi.GetPolicyInput{PolicyArn: out["Managed"]})),
		"user":       second(people.GetUser(ctx, &iamapi.GetUserInput{UserName: out["User"]})),
		"group":      second(people.GetGroup(ctx, &iamapi.GetGroupInput{GroupName: "app-group"})),
		"bucket":     second(s3api.Client{Invoker: w.root()}.GetBucketVersioning(ctx, &s3api.GetBucketVersioningInput{Bucket: out["Bucket"]})),
		"repository": second(ccapi.Client{Invoker: w.root()}.GetRepository(ctx, &ccapi.GetRepositoryInput{RepositoryName: "app-second"})),
		"bus":        second(evapi.Client{Invoker: w.root()}.DescribeEventBus(ctx, &evapi.DescribeEventBusInput{Name: "app-bus"})),
		"pipeline":   second(cpapi.Client{Invoker: w.root()}.GetPipeline(ctx, &cpapi.GetPipelineInput{Name: "app-pipeline"})),
		"alias":      second(kmsapi.Client{Invoker: w.root()}.DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: "alias/app"})),
	} {
		if !missing(err) {
			w.Errorf("the %s is still there: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// What a template says is held against the model's constraints like what comes
// from the network: with a path of half a folder, who may make the roles
// dev-* would make the role admin.
func TestConstraintsOfTheStack(t *testing.T) {
	real(t, func(w *realWorld) {
		c := api.Client{Invoker: w.root()}
		for path, want := range map[string]string{
			"/dev-":  "1 validation error detected: Value '/dev-' at 'path' failed to satisfy constraint",
			"/dev-/": "",
		} {
			template := `Resources: {Role: {Type: AWS::IAM::Role, Properties: {RoleName: admin, Path: ` + path +
				`, AssumeRolePolicyDocument: {Statement: [{Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: sts:AssumeRole}]}}}}`
			out := must[*api.CreateStackOutput](w)(c.CreateStack(w.Context(), &api.CreateStackInput{StackName: "roles", TemplateBody: template, Capabilities: []string{"CAPABILITY_NAMED_IAM"}}))
			if want == "" {
				w.want(out.StackId, "CREATE_COMPLETE")
			} else {
				w.want(out.StackId, "ROLLBACK_COMPLETE")
				events := must[*api.DescribeStackEventsOutput](w)(c.DescribeStackEvents(w.Context(), &api.DescribeStackEventsInput{StackName: "roles"}))
				if !slices.ContainsFunc(events.StackEvents, func(e api.StackEvent) bool { return strings.Contains(e.ResourceStatusReason, want) }) {
					w.Errorf("no event says %s", want)
				}
			}
			must[*api.DeleteStackOutput](w)(c.DeleteStack(w.Context(), &api.DeleteStackInput{StackName: out.StackId}))
		}
	})
}

// A stack's resources are made with no more rights than its caller, or its
// role, has.
func TestRightsOfTheStack(t *testing.T) {
	real(t, func(w *realWorld) {
		ctx := w.Context()
		people, c := iamapi.Client{Invoker: w.root()}, api.Client{Invoker: w.root()}
		template := `Resources: {Repo: {Type: AWS::CodeCommit::Repository, Properties: {RepositoryName: app}}, Key: {Type: AWS::KMS::Key}}`
		u := must[*iamapi.CreateUserOutput](w)(people.CreateUser(ctx, &iamapi.CreateUserInput{UserName: "bob"})).User
		grant := func(document string) {
			w.Helper()
			must[*iamapi.PutUserPolicyOutput](w)(people.PutUserPolicy(ctx, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: document}))
		}
		bob := api.Client{Invoker: w.as(aws.Principal{Kind: aws.User, ARN: u.Arn, Account: account, ID: u.UserId})}
		grant(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudformation:*","codecommit:*"],"Resource":"*"}]}`)
		out := must[*api.CreateStackOutput](w)(bob.CreateStack(ctx, &api.CreateStackInput{StackName: "rights", TemplateBody: template}))
		w.want(out.StackId, "ROLLBACK_COMPLETE")
		events := must[*api.DescribeStackEventsOutput](w)(bob.DescribeStackEvents(ctx, &api.DescribeStackEventsInput{StackName: "rights"}))
		found := false
		for _, e := range events.StackEvents {
			if e.LogicalResourceId == "Key" && e.ResourceStatus == "CREATE_FAILED" {
				found = true
				for _, part := range []string{`Resource handler returned message: "User: ` + u.Arn + ` is not authorized to perform: kms:CreateKey`,
					"(Service: Kms, Status Code: 400, Request ID: ", "HandlerErrorCode: AccessDenied)"} {
					if !strings.Contains(e.ResourceStatusReason, part) {
						w.Errorf("reason = %s\nwants %s", e.ResourceStatusReason, part)
					}
				}
			}
		}
		if !found {
			w.Error("no event tells why the key was not made")
		}
		must[*api.DeleteStackOutput](w)(bob.DeleteStack(ctx, &api.DeleteStackInput{StackName: "rights"}))

		// With a role he needs no rights of his own, but the right to pass it.
		role := must[*iamapi.CreateRoleOutput](w)(people.CreateRole(ctx, &iamapi.CreateRoleInput{RoleName: "deployer",
			AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"cloudformation.amazonaws.com"},"Action":"sts:AssumeRole"}]}`})).Role
		must[*iamapi.PutRolePolicyOutput](w)(people.PutRolePolicy(ctx, &iamapi.PutRolePolicyInput{RoleName: "deployer", PolicyName: "p",
			PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["codecommit:*","kms:*"],"Resource":"*"}]}`}))
		grant(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"}]}`)
		in := &api.CreateStackInput{StackName: "rights", TemplateBody: template, RoleARN: role.Arn}
		_, err := bob.CreateStack(ctx, in)
		wantError(w, err, "AccessDenied", "iam:PassRole")
		grant(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"},
			{"Effect":"Allow","Action":"iam:PassRole","Resource":"` + role.Arn + `","Condition":{"StringEquals":{"iam:PassedToService":"cloudformation.amazonaws.com"}}}]}`)
		must[*api.CreateStackOutput](w)(bob.CreateStack(ctx, in))
		w.want("rights", "CREATE_COMPLETE")
		must[*iamapi.UpdateAssumeRolePolicyOutput](w)(people.UpdateAssumeRolePolicy(ctx, &iamapi.UpdateAssumeRolePolicyInput{RoleName: "deployer",
			PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}]}`}))
		_, err = c.DeleteStack(ctx, &api.DeleteStackInput{StackName: "rights"})
		wantError(w, err, "ValidationError", "Role "+role.Arn+" is invalid or cannot be assumed")
	})
}
