package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	cptypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/sekisho/sekisho/templates"
)

// TestKilledServerDeploys kills a server at any moment while the four stacks
// are deployed, changed and deleted in the way of `aws cloudformation deploy`.
// After the next start each stack goes on by itself, or takes the command
// again that broke off; nothing is made twice or left over, and the pipeline
// delivers.
func TestKilledServerDeploys(t *testing.T) {
	t.Logf("seed %d", killSeed)
	databases(t, func(t *testing.T, args ...string) {
		rounds := 5
		if len(args) > 0 || testing.Short() {
			rounds = 3
		}
		d := &deployer{world: &world{server: start(t, args...), pipelines: map[string]*account{}}, chance: rand.New(rand.NewPCG(killSeed, uint64(rounds)))}
		d.repository, d.pipelines["pipeline"] = d.account("repository"), d.account("pipeline")
		for i := range rounds {
			d.round(i)
			if t.Failed() {
				t.Fatalf("round %d", i)
			}
		}
		t.Logf("%d kills, %d of them while a stack was being worked on", d.kills, d.busy)
	})
}

// deployer is a user who deploys the stacks while the server is killed.
type deployer struct {
	*world
	chance      *rand.Rand
	killed      atomic.Bool
	timer       *time.Timer      // until the next kill; nil when none is to come
	fired       chan struct{}    // closed after that kill
	took        [3]time.Duration // deploying, changing and deleting without a kill
	kills, busy int
}

// round deploys the stacks under names of their own, changes them and deletes
// them. The first round is left in peace, to see how long each takes.
func (d *deployer) round(n int) {
	d.t.Helper()
	before := d.inventory()
	d.params = templates.Params{
		Project: fmt.Sprintf("r%d", n), Region: region,
		Repository:   templates.Account{ID: repositoryAccount, Profile: "repository"},
		Environments: []templates.Environment{{Account: templates.Account{ID: pipelineAccount, Profile: "pipeline"}}},
	}
	d.outputs, d.tree = map[string]map[string]string{}, ""
	steps, err := templates.Plan(d.params)
	if err != nil {
		d.t.Fatal(err)
	}
	d.under(0, func() { d.deployAll(steps) })
	d.matches(before, steps)
	if n := len(d.executions("pipeline")); n != 1 {
		d.t.Errorf("%d executions of a new pipeline", n)
	}
	d.finished("pipeline", nil)
	d.delivers("deployed")

	for i := range steps {
		for j := range steps[i].Parameters {
			switch p := &steps[i].Parameters[j]; p.Name {
			case "KeyAlias":
				p.Value += "-2" // makes another one and deletes this
			case "PipelineType":
				p.Value = "V1" // changes the pipeline
			}
		}
	}
	d.under(1, func() { d.deployAll(steps) })
	d.matches(before, steps)
	d.delivers("changed")

	kept := d.retained(steps)
	d.under(2, func() { d.deleteAll(steps) })
	after := d.inventory()
	for name := range before {
		delete(after, name)
	}
	if !maps.Equal(after, kept) {
		d.t.Errorf("left over are %v, want %v", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(kept)))
	}
}

// under does something while the server is killed, up to three times, and
// first learns how long it takes in peace.
func (d *deployer) under(what int, do func()) {
	d.t.Helper()
	if d.took[what] == 0 {
		began := time.Now()
		do()
		d.took[what] = time.Since(began)
		return
	}
	d.killed.Store(false)
	left := 1 + d.chance.IntN(3)
	for {
		if left > 0 {
			left--
			d.killIn(time.Duration(d.chance.Int64N(int64(d.took[what]))))
		}
		broke := d.attempt(do)
		if d.timer != nil && !d.timer.Stop() {
			<-d.fired
		}
		d.timer = nil
		if d.killed.Load() {
			d.revive()
			if !broke { // it was over by then
				do()
			}
		}
		if !broke {
			return
		}
	}
}

// killIn kills the server after a while.
func (d *deployer) killIn(after time.Duration) {
	process, fired := d.cmd.Process, make(chan struct{})
	d.fired = fired
	d.timer = time.AfterFunc(after, func() {
		d.killed.Store(true)
		process.Signal(syscall.SIGKILL)
		close(fired)
	})
}

// interrupted ends what a user does when the server goes away.
type interrupted struct{ error }

// attempt reports whether something broke off because the server went away.
func (d *deployer) attempt(do func()) (broke bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(interrupted); !ok {
				panic(r)
			}
			broke = true
		}
	}()
	do()
	return false
}

// revive starts the killed server again.
func (d *deployer) revive() {
	d.t.Helper()
	d.cmd.Wait()
	d.killed.Store(false)
	d.again()
	d.kills++
	for _, a := range []*account{d.repository, d.pipelines["pipeline"]} {
		a.forget()
		out, err := a.cloudformation.DescribeStacks(context.Background(), &cloudformation.DescribeStacksInput{})
		if err != nil {
			d.t.Fatal(err)
		}
		for _, s := range out.Stacks {
			if inProgress(s.StackStatus) {
				d.busy++
			}
		}
	}
}

// check breaks off when the server is gone, and fails the test for any other
// error. It returns the refusal that an API answered with, if any.
func (d *deployer) check(err error) smithy.APIError {
	d.t.Helper()
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e
	}
	if !d.killed.Load() {
		time.Sleep(100 * time.Millisecond) // the signal may be on its way
	}
	if !d.killed.Load() {
		d.t.Fatalf("the server was not killed: %v", err)
	}
	panic(interrupted{err})
}

// must is for calls that are not refused.
func (d *deployer) must(err error) {
	d.t.Helper()
	if e := d.check(err); e != nil {
		d.t.Fatal(e)
	}
}

func inProgress(s cfntypes.StackStatus) bool {
	return strings.HasSuffix(string(s), "IN_PROGRESS") && s != cfntypes.StackStatusReviewInProgress
}

func (d *deployer) deployAll(steps []templates.Step) {
	d.t.Helper()
	for _, step := range steps {
		if step.Template == templates.Pipeline && d.tree == "" {
			d.commitFirst()
		}
		d.deploy(step)
	}
}

// commitFirst pushes the first commit; it is not what is killed here.
func (d *deployer) commitFirst() {
	d.t.Helper()
	if d.timer != nil && !d.timer.Stop() {
		panic(interrupted{})
	}
	d.firstCommit()
	if d.timer != nil {
		d.timer.Reset(d.took[0] / 4)
	}
}

// deploy does what `aws cloudformation deploy` does: a change set, for a new
// stack or for the one that is there, and its execution.
func (d *deployer) deploy(step templates.Step) {
	d.t.Helper()
	ctx, api := context.Background(), d.accountOf(step.Profile).cloudformation
	kind := cfntypes.ChangeSetTypeUpdate
	switch s := d.settled(step); {
	case s == nil || s.StackStatus == cfntypes.StackStatusReviewInProgress:
		kind = cfntypes.ChangeSetTypeCreate
	case s.StackStatus != cfntypes.StackStatusCreateComplete && s.StackStatus != cfntypes.StackStatusUpdateComplete:
		d.history(step)
		d.t.Fatalf("stack %s: %s", step.Stack, s.StackStatus)
	}
	body, err := templates.Body(step.Template)
	if err != nil {
		d.t.Fatal(err)
	}
	name := fmt.Sprintf("deploy-%d", time.Now().UnixNano())
	in := &cloudformation.CreateChangeSetInput{StackName: &step.Stack, ChangeSetName: &name, ChangeSetType: kind,
		TemplateBody: &body, Capabilities: []cfntypes.Capability{cfntypes.Capability(step.Capability)}}
	for _, p := range step.Parameters {
		value := p.Value
		if p.From.Key != "" {
			value = d.outputs[p.From.Stack][p.From.Key]
		}
		in.Parameters = append(in.Parameters, cfntypes.Parameter{ParameterKey: aws.String(p.Name), ParameterValue: &value})
	}
	_, err = api.CreateChangeSet(ctx, in)
	d.must(err)
	var set *cloudformation.DescribeChangeSetOutput
	eventually(d.t, "change set of "+step.Stack, 10*time.Second, func() bool {
		set, err = api.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{StackName: &step.Stack, ChangeSetName: &name})
		d.must(err)
		return set.Status == cfntypes.ChangeSetStatusCreateComplete || set.Status == cfntypes.ChangeSetStatusFailed
	})
	switch {
	case set.Status == cfntypes.ChangeSetStatusCreateComplete:
		_, err = api.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{StackName: &step.Stack, ChangeSetName: &name})
		d.must(err)
	case !strings.Contains(aws.ToString(set.StatusReason), "The submitted information didn't contain changes"):
		d.t.Fatalf("change set of %s: %s", step.Stack, aws.ToString(set.StatusReason))
	}
	s := d.settled(step)
	if s == nil || !strings.HasSuffix(string(s.StackStatus), "E_COMPLETE") || strings.Contains(string(s.StackStatus), "ROLLBACK") {
		d.history(step)
		d.t.Fatalf("stack %s: %+v", step.Stack, s)
	}
	d.outputs[step.Stack] = map[string]string{}
	for _, o := range s.Outputs {
		d.outputs[step.Stack][*o.OutputKey] = *o.OutputValue
	}
}

// settled waits until nothing happens to a stack, and returns it, or nil when
// there is none.
func (d *deployer) settled(step templates.Step) (s *cfntypes.Stack) {
	d.t.Helper()
	eventually(d.t, "stack "+step.Stack+" settles", 20*time.Second, func() bool {
		out, err := d.accountOf(step.Profile).cloudformation.DescribeStacks(context.Background(), &cloudformation.DescribeStacksInput{StackName: &step.Stack})
		if e := d.check(err); e != nil {
			if !strings.Contains(e.ErrorMessage(), "does not exist") {
				d.t.Fatal(e)
			}
			s = nil
			return true
		}
		s = &out.Stacks[0]
		return !inProgress(s.StackStatus)
	})
	return s
}

func (d *deployer) history(step templates.Step) {
	events, err := d.accountOf(step.Profile).cloudformation.DescribeStackEvents(context.Background(), &cloudformation.DescribeStackEventsInput{StackName: &step.Stack})
	if err != nil {
		return
	}
	for _, e := range events.StackEvents {
		d.t.Logf("%s %s %s", *e.LogicalResourceId, e.ResourceStatus, aws.ToString(e.ResourceStatusReason))
	}
}

func (d *deployer) deleteAll(steps []templates.Step) {
	d.t.Helper()
	for _, step := range slices.Backward(steps) {
		if d.settled(step) == nil {
			continue
		}
		_, err := d.accountOf(step.Profile).cloudformation.DeleteStack(context.Background(), &cloudformation.DeleteStackInput{StackName: &step.Stack})
		d.must(err)
		if s := d.settled(step); s != nil {
			d.history(step)
			d.t.Fatalf("stack %s is %s", step.Stack, s.StackStatus)
		}
	}
}

// delivers pushes a commit, which is delivered once.
func (d *deployer) delivers(message string) {
	d.t.Helper()
	known := d.known("pipeline")
	id := d.push(message)
	e := d.finished("pipeline", known)
	if e.Status != cptypes.PipelineExecutionStatusSucceeded || *e.SourceRevisions[0].RevisionId != id {
		d.t.Fatalf("execution is %s: %s", e.Status, d.explain(*e.PipelineExecutionId))
	}
	if n := len(d.executions("pipeline")) - len(known); n != 1 {
		d.t.Errorf("%d executions for one push", n)
	}
}

// names lists what an account has, by type and physical name.
func (d *deployer) names(a *account) []string {
	d.t.Helper()
	ctx := context.Background()
	var list []string
	add := func(kind string, name *string) { list = append(list, kind+" "+*name) }
	roles, err := a.iam.ListRoles(ctx, &iam.ListRolesInput{})
	d.must(err)
	for _, r := range roles.Roles {
		add("AWS::IAM::Role", r.RoleName)
	}
	keys, err := a.kms.ListKeys(ctx, &kms.ListKeysInput{})
	d.must(err)
	for _, k := range keys.Keys {
		add("AWS::KMS::Key", k.KeyId)
	}
	aliases, err := a.kms.ListAliases(ctx, &kms.ListAliasesInput{})
	d.must(err)
	for _, l := range aliases.Aliases {
		add("AWS::KMS::Alias", l.AliasName)
	}
	buckets, err := a.s3.ListBuckets(ctx, &s3.ListBucketsInput{})
	d.must(err)
	for _, b := range buckets.Buckets {
		add("AWS::S3::Bucket", b.Name)
	}
	repositories, err := a.codecommit.ListRepositories(ctx, &codecommit.ListRepositoriesInput{})
	d.must(err)
	for _, r := range repositories.Repositories {
		add("AWS::CodeCommit::Repository", r.RepositoryId)
	}
	rules, err := a.events.ListRules(ctx, &eventbridge.ListRulesInput{})
	d.must(err)
	for _, r := range rules.Rules {
		add("AWS::Events::Rule", r.Name)
	}
	pipelines, err := a.codepipeline.ListPipelines(ctx, &codepipeline.ListPipelinesInput{})
	d.must(err)
	for _, p := range pipelines.Pipelines {
		add("AWS::CodePipeline::Pipeline", p.Name)
	}
	return list
}

// inventory is everything that lists show, in both accounts.
func (d *deployer) inventory() map[string]int {
	d.t.Helper()
	count := map[string]int{}
	for _, a := range []*account{d.repository, d.pipelines["pipeline"]} {
		for _, name := range d.names(a) {
			if !strings.HasPrefix(name, "AWS::KMS::Alias alias/aws/") {
				count[name]++
			}
		}
	}
	return count
}

// resources are the physical resources of the stacks, of the types that
// inventory lists, by type and name.
func (d *deployer) resources(steps []templates.Step) map[string]int {
	d.t.Helper()
	list := map[string]int{}
	for _, step := range steps {
		out, err := d.accountOf(step.Profile).cloudformation.DescribeStackResources(context.Background(), &cloudformation.DescribeStackResourcesInput{StackName: &step.Stack})
		d.must(err)
		for _, r := range out.StackResources {
			switch *r.ResourceType {
			case "AWS::S3::BucketPolicy", "AWS::IAM::Policy", "AWS::Events::EventBusPolicy":
				continue
			}
			list[*r.ResourceType+" "+*r.PhysicalResourceId]++
		}
	}
	return list
}

// matches fails unless what is there, beside what was before, are the
// resources of the stacks, each once.
func (d *deployer) matches(before map[string]int, steps []templates.Step) {
	d.t.Helper()
	there, want := d.inventory(), d.resources(steps)
	for name := range before {
		delete(there, name)
	}
	if !maps.Equal(there, want) {
		d.t.Errorf("there are %v, the stacks have %v", slices.Sorted(maps.Keys(there)), slices.Sorted(maps.Keys(want)))
	}
}

// retained are the resources that the templates say are to be kept.
func (d *deployer) retained(steps []templates.Step) map[string]int {
	d.t.Helper()
	kept := map[string]int{}
	for name := range d.resources(steps) {
		switch kind, _, _ := strings.Cut(name, " "); kind {
		case "AWS::KMS::Key", "AWS::S3::Bucket", "AWS::CodeCommit::Repository":
			kept[name] = 1
		}
	}
	return kept
}
