package templates

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/eventpattern"
	"github.com/sekisho/sekisho/internal/policy"
)

const (
	repoAccount = "111111111111"
	devAccount  = "222222222222"
	prodAccount = "333333333333"
	region      = "eu-central-1"
)

func params() Params {
	return Params{
		Project: "site", Region: region,
		Repository: Account{repoAccount, "repository"},
		Environments: []Environment{
			{Account: Account{devAccount, "development"}, Name: "dev", Branch: "develop"},
			{Account: Account{prodAccount, "production"}, Name: "prod"},
		},
	}
}

// stack is a deployed stack, as far as references can tell.
type stack struct {
	in      *cfn.Instance
	refs    map[string]string
	arns    map[string]string
	outputs map[string]string
}

func (s stack) Ref(id string) (string, bool) { v, ok := s.refs[id]; return v, ok }

func (s stack) Attribute(id, name string) (*cfn.Node, bool) {
	if _, ok := s.refs[id]; !ok {
		return nil, false
	}
	if name == "Arn" {
		return cfn.Text(s.arns[id]), true
	}
	return cfn.Text(s.refs[id]), true
}

// world is what the stacks of a plan leave behind.
type world struct {
	t      *testing.T
	stacks map[string]stack
	roles  map[string]role           // by ARN
	policy map[string]*policy.Source // by ARN of what it stands on
	rules  map[string]map[string]any // by stack
	pipes  map[string]map[string]any // by name
}

type role struct {
	trust    *policy.Source
	identity []policy.Source
}

// deploy plays CloudFormation: each resource after those it refers to, and
// nothing may refer to what is not there.
func deploy(t *testing.T, p Params) *world {
	t.Helper()
	steps, err := Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, stacks: map[string]stack{}, roles: map[string]role{}, policy: map[string]*policy.Source{},
		rules: map[string]map[string]any{}, pipes: map[string]map[string]any{}}
	for _, s := range steps {
		w.deploy(p, s)
	}
	return w
}

func (w *world) deploy(p Params, step Step) {
	t := w.t
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", step.Stack, err)
		}
	}
	body, err := Body(step.Template)
	fail(err)
	tmpl, err := cfn.Parse(body)
	fail(err)
	given := map[string]string{}
	for _, param := range step.Parameters {
		given[param.Name] = param.Value
		if param.From.Key != "" {
			value, ok := w.stacks[param.From.Stack].outputs[param.From.Key]
			if !ok {
				t.Fatalf("%s: output %s of %s is not there yet", step.Stack, param.From.Key, param.From.Stack)
			}
			given[param.Name] = value
		}
	}
	values, err := tmpl.Bind(given)
	fail(err)
	in, err := tmpl.Instance(cfn.Env{Account: step.ID, Region: p.Region, StackName: step.Stack, Parameters: values})
	fail(err)
	s := stack{in, map[string]string{}, map[string]string{}, map[string]string{}}
	w.stacks[step.Stack] = s
	for _, id := range in.Active() {
		n, err := in.Properties(id, s)
		fail(err)
		if n.HasUnknown() {
			t.Fatalf("%s: %s refers to what is not there yet: %s", step.Stack, id, n.JSON())
		}
		var props map[string]any
		fail(json.Unmarshal(n.JSON(), &props))
		r, _ := tmpl.Resource(id)
		s.refs[id], s.arns[id] = w.create(step, id, r.Type, props)
	}
	outputs, err := in.OutputValues(s)
	fail(err)
	for _, o := range outputs {
		s.outputs[o.Name] = o.Value
	}
}

// create keeps what evaluation needs, and returns Ref and ARN of a resource.
func (w *world) create(step Step, id, kind string, props map[string]any) (ref, arn string) {
	w.t.Helper()
	text := func(name string) string { v, _ := props[name].(string); return v }
	switch kind {
	case "AWS::IAM::Role":
		name := text("RoleName")
		if name == "" {
			name = step.Stack + "-" + id
		}
		arn = aws.NewARN("iam", "", step.ID, "role/"+name)
		r := role{trust: w.parse(policy.Trust, arn, "trust", props["AssumeRolePolicyDocument"])}
		list, _ := props["Policies"].([]any)
		for _, p := range list {
			m := p.(map[string]any)
			r.identity = append(r.identity, *w.parse(policy.Identity, arn, m["PolicyName"].(string), m["PolicyDocument"]))
		}
		w.roles[arn] = r
		return name, arn
	case "AWS::IAM::Policy":
		for _, name := range props["Roles"].([]any) {
			arn := aws.NewARN("iam", "", step.ID, "role/"+name.(string))
			r := w.roles[arn]
			r.identity = append(r.identity, *w.parse(policy.Identity, arn, text("PolicyName"), props["PolicyDocument"]))
			w.roles[arn] = r
		}
		return text("PolicyName"), ""
	case "AWS::KMS::Key":
		key := "01234567-89ab-cdef-0123-" + step.ID
		arn = aws.NewARN("kms", region, step.ID, "key/"+key)
		w.policy[arn] = w.parse(policy.Key, arn, "default", props["KeyPolicy"])
		return key, arn
	case "AWS::S3::Bucket":
		return text("BucketName"), "arn:aws:s3:::" + text("BucketName")
	case "AWS::S3::BucketPolicy":
		arn := "arn:aws:s3:::" + text("Bucket")
		w.policy[arn] = w.parse(policy.Resource, arn, "bucket policy", props["PolicyDocument"])
		return text("Bucket"), ""
	case "AWS::Events::EventBusPolicy":
		arn := aws.NewARN("events", region, step.ID, "event-bus/default")
		w.policy[arn] = w.parse(policy.Resource, arn, text("StatementId"), map[string]any{"Version": "2012-10-17", "Statement": []any{props["Statement"]}})
		return id, ""
	case "AWS::Events::Rule":
		w.rules[step.Stack] = props
		return id, aws.NewARN("events", region, step.ID, "rule/"+step.Stack+"-"+id)
	case "AWS::CodePipeline::Pipeline":
		w.pipes[text("Name")] = props
		return text("Name"), ""
	case "AWS::CodeCommit::Repository":
		return text("RepositoryName"), aws.NewARN("codecommit", region, step.ID, text("RepositoryName"))
	case "AWS::KMS::Alias":
		return text("AliasName"), ""
	}
	w.t.Fatalf("the test does not know %s", kind)
	return "", ""
}

func (w *world) parse(kind policy.Kind, on, name string, doc any) *policy.Source {
	w.t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := policy.Parse(string(text), kind)
	if err != nil {
		w.t.Fatalf("policy %s of %s: %v", name, on, err)
	}
	return &policy.Source{Kind: kind, Name: name, On: on, Doc: d}
}

// may evaluates one call by a session of a role, or by a service.
func (w *world) may(who, action, resource, owner string, keys policy.Keys) bool {
	w.t.Helper()
	r := &policy.Request{Action: action, Resource: resource, Owner: owner, Context: keys}
	on := resource
	switch {
	case strings.HasPrefix(resource, "arn:aws:s3:::"):
		on, _, _ = strings.Cut(resource, "/")
		r.Policy = w.policy[on]
	case action == "sts:AssumeRole":
		r.Policy = w.roles[resource].trust
	default:
		r.Policy = w.policy[on]
	}
	var set policy.Set
	if strings.HasSuffix(who, ".amazonaws.com") {
		r.Principal = aws.ServicePrincipal(who)
	} else {
		a, _ := aws.ParseARN(who)
		name := strings.TrimPrefix(a.Resource, "role/")
		r.Principal = aws.Principal{Kind: aws.Session, Account: a.Account, RoleARN: who, ARN: aws.NewARN("sts", "", a.Account, "assumed-role/"+name+"/s")}
		set.Identity = w.roles[who].identity
	}
	return policy.Evaluate(&set, r).Effect == policy.Allow
}

// TestEveryStepOfADelivery evaluates the calls of a delivery against the
// templates' own policies, each as whoever makes it.
func TestEveryStepOfADelivery(t *testing.T) {
	w := deploy(t, params())
	repo := aws.NewARN("codecommit", region, repoAccount, "site")
	for _, env := range []struct{ name, account, other string }{{"dev", devAccount, "prod"}, {"prod", prodAccount, "dev"}} {
		var (
			service   = aws.NewARN("iam", "", env.account, "role/site-"+env.name+"-pipeline")
			action    = aws.NewARN("iam", "", repoAccount, "role/site-"+env.name+"-source")
			otherRole = aws.NewARN("iam", "", repoAccount, "role/site-"+env.other+"-source")
			forward   = aws.NewARN("iam", "", repoAccount, "role/site-"+env.name+"-connection-ForwardingRole")
			start     = aws.NewARN("iam", "", env.account, "role/site-"+env.name+"-pipeline-StartingRole")
			key       = w.stacks["site-"+env.name+"-foundation"].outputs["KeyArn"]
			artifacts = "arn:aws:s3:::site-" + env.name + "-artifacts-" + env.account + "-" + region
			delivered = "arn:aws:s3:::site-" + env.name + "-delivered-" + env.account + "-" + region
			bus       = aws.NewARN("events", region, env.account, "event-bus/default")
			pipeline  = aws.NewARN("codepipeline", region, env.account, "site-"+env.name)

			none      = policy.Keys(nil)
			here      = policy.Keys{"aws:sourceaccount": {env.account}}
			there     = policy.Keys{"aws:sourceaccount": {repoAccount}}
			encrypted = policy.Keys{"s3:x-amz-server-side-encryption": {"aws:kms"}, "aws:securetransport": {"true"}}
			plain     = policy.Keys{"aws:securetransport": {"true"}}
			insecure  = policy.Keys{"s3:x-amz-server-side-encryption": {"aws:kms"}, "aws:securetransport": {"false"}}
		)
		for _, tt := range []struct {
			who, action, resource, owner string
			keys                         policy.Keys
			want                         bool
		}{
			// The event's way.
			{"events.amazonaws.com", "sts:AssumeRole", forward, repoAccount, there, true},
			{"events.amazonaws.com", "sts:AssumeRole", forward, repoAccount, policy.Keys{"aws:sourceaccount": {"999999999999"}}, false},
			{forward, "events:PutEvents", bus, env.account, none, true},
			{action, "events:PutEvents", bus, env.account, none, false},
			{"events.amazonaws.com", "sts:AssumeRole", start, env.account, here, true},
			{start, "codepipeline:StartPipelineExecution", pipeline, env.account, none, true},
			{start, "codepipeline:StartPipelineExecution", pipeline + "-2", env.account, none, false},
			// The roles.
			{"codepipeline.amazonaws.com", "sts:AssumeRole", service, env.account, here, true},
			{service, "sts:AssumeRole", action, repoAccount, none, true},
			{service, "sts:AssumeRole", otherRole, repoAccount, none, false},
			{start, "sts:AssumeRole", action, repoAccount, none, false},
			// The source action.
			{action, "codecommit:GetBranch", repo, repoAccount, none, true},
			{action, "codecommit:GetCommit", repo, repoAccount, none, true},
			{action, "codecommit:UploadArchive", repo, repoAccount, none, true},
			{action, "codecommit:GetUploadArchiveStatus", repo, repoAccount, none, true},
			{action, "codecommit:CancelUploadArchive", repo, repoAccount, none, true},
			{action, "codecommit:GitPush", repo, repoAccount, none, false},
			{service, "codecommit:GetBranch", repo, repoAccount, none, false},
			{action, "s3:PutObject", artifacts + "/k", env.account, encrypted, true},
			{action, "s3:PutObject", artifacts + "/k", env.account, plain, false},
			{action, "s3:PutObject", artifacts + "/k", env.account, insecure, false},
			{action, "s3:PutObjectAcl", artifacts + "/k", env.account, encrypted, true},
			{action, "s3:GetObject", artifacts + "/k", env.account, encrypted, false},
			{action, "s3:PutObject", delivered + "/release/x", env.account, encrypted, false},
			{otherRole, "s3:PutObject", artifacts + "/k", env.account, encrypted, false},
			{action, "kms:GenerateDataKey", key, env.account, none, true},
			{action, "kms:Decrypt", key, env.account, none, true},
			{action, "kms:DescribeKey", key, env.account, none, true},
			{otherRole, "kms:GenerateDataKey", key, env.account, none, false},
			{action, "kms:CreateGrant", key, env.account, policy.Keys{"kms:grantisforawsresource": {"true"}}, false},
			// The deploy action.
			{service, "s3:GetObject", artifacts + "/k", env.account, plain, true},
			{service, "s3:GetObjectVersion", artifacts + "/k", env.account, plain, true},
			{service, "s3:GetBucketVersioning", artifacts, env.account, plain, true},
			{service, "kms:Decrypt", key, env.account, none, true},
			{service, "kms:ScheduleKeyDeletion", key, env.account, none, false},
			{service, "kms:CreateGrant", key, env.account, policy.Keys{"kms:grantisforawsresource": {"true"}}, true},
			{service, "kms:CreateGrant", key, env.account, policy.Keys{"kms:grantisforawsresource": {"false"}}, false},
			{service, "s3:PutObject", delivered + "/release/x", env.account, plain, true},
			{service, "s3:PutObject", delivered + "/release/x", env.account, insecure, false},
			{service, "s3:DeleteObject", delivered + "/release/x", env.account, plain, false},
		} {
			if got := w.may(tt.who, tt.action, tt.resource, tt.owner, tt.keys); got != tt.want {
				t.Errorf("%s: %s %s %s (%v) = %v, want %v", env.name, tt.who, tt.action, tt.resource, tt.keys, got, tt.want)
			}
		}
	}
}

func TestRulesMatchTheirBranch(t *testing.T) {
	w := deploy(t, params())
	event := func(account, branch, kind, ref string) []byte {
		e := aws.Event{ID: "1", Account: account, Region: region, Source: "aws.codecommit", DetailType: "CodeCommit Repository State Change",
			Resources: []string{aws.NewARN("codecommit", region, repoAccount, "site")},
			Detail:    json.RawMessage(fmt.Sprintf(`{"event":%q,"repositoryName":"site","referenceType":%q,"referenceName":%q}`, kind, ref, branch))}
		b, err := e.MarshalEnvelope()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tt := range []struct {
		stack string
		event []byte
		want  bool
	}{
		{"site-dev-connection", event(repoAccount, "develop", "referenceUpdated", "branch"), true},
		{"site-dev-connection", event(repoAccount, "develop", "referenceCreated", "branch"), true},
		{"site-dev-connection", event(repoAccount, "develop", "referenceDeleted", "branch"), false},
		{"site-dev-connection", event(repoAccount, "develop", "referenceCreated", "tag"), false},
		{"site-dev-connection", event(repoAccount, "main", "referenceUpdated", "branch"), false},
		{"site-prod-connection", event(repoAccount, "main", "referenceUpdated", "branch"), true},
		{"site-prod-pipeline", event(repoAccount, "main", "referenceUpdated", "branch"), true},
		{"site-prod-pipeline", event(prodAccount, "main", "referenceUpdated", "branch"), false},
	} {
		text, err := json.Marshal(w.rules[tt.stack]["EventPattern"])
		if err != nil {
			t.Fatal(err)
		}
		p, err := eventpattern.Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", tt.stack, err)
		}
		e, err := eventpattern.ParseEvent(tt.event)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Matches(e); got != tt.want {
			t.Errorf("%s: %s = %v, want %v", tt.stack, tt.event, got, tt.want)
		}
	}
}

func TestPipelineNamesTheActionRole(t *testing.T) {
	w := deploy(t, params())
	stages := w.pipes["site-prod"]["Stages"].([]any)
	source := stages[0].(map[string]any)["Actions"].([]any)[0].(map[string]any)
	if got, want := source["RoleArn"], w.stacks["site-prod-connection"].outputs["ActionRoleArn"]; got != want {
		t.Errorf("role of the source action = %v, want %v", got, want)
	}
	store := w.pipes["site-prod"]["ArtifactStore"].(map[string]any)
	want := map[string]any{"Id": w.stacks["site-prod-foundation"].outputs["KeyArn"], "Type": "KMS"}
	if diff := cmp.Diff(want, store["EncryptionKey"]); diff != "" {
		t.Errorf("encryption key (-want +got):\n%s", diff)
	}
}

func TestParamsThatDoNotFit(t *testing.T) {
	for name, change := range map[string]func(p *Params){
		"no environment": func(p *Params) { p.Environments = nil },
		"twice":          func(p *Params) { p.Environments[1].Name = "dev" },
		"project":        func(p *Params) { p.Project = "Site" },
		"long": func(p *Params) {
			p.Project, p.Region, p.Environments[1].Name = "abcdefghijklmnopqrst", "ap-southeast-1", "staging1"
		},
		"region":            func(p *Params) { p.Region = "mars" },
		"account":           func(p *Params) { p.Repository.ID = "1" },
		"profile":           func(p *Params) { p.Repository.Profile = "a b" },
		"branch":            func(p *Params) { p.Environments[0].Branch = "$(reboot)" },
		"type":              func(p *Params) { p.PipelineType = "V3" },
		"repository's name": func(p *Params) { p.RepositoryName = "a'b" },
	} {
		p := params()
		change(&p)
		if _, err := Plan(p); err == nil {
			t.Errorf("%s: no complaint", name)
		}
	}
}

// TestScript runs deploy.sh with an aws that writes down what it is asked.
func TestScript(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, params()); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	log := filepath.Join(bin, "log")
	fake := "#!/bin/sh\necho \"$*\" >>" + log + "\ncase \"$2\" in describe-stacks) echo out-of-\"$8\";; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "aws"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "deploy.sh"))
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		order = append(order, f[1]+" "+f[3]+" "+f[7])
	}
	want := []string{
		"deploy development site-dev-foundation", "describe-stacks development site-dev-foundation",
		"deploy production site-prod-foundation", "describe-stacks production site-prod-foundation",
		"deploy repository site-repository",
		"deploy repository site-dev-connection", "deploy repository site-prod-connection",
		"deploy development site-dev-pipeline", "deploy production site-prod-pipeline",
		"describe-stacks repository site-repository",
	}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(b), "KeyArn=out-of-site-prod-foundation") {
		t.Errorf("the key's ARN is not carried on:\n%s", b)
	}

	// Written again it is the same; what somebody changed is left alone.
	if err := Write(dir, params()); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, Pipeline), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, params()); err == nil || !strings.Contains(err.Error(), Pipeline) {
		t.Errorf("over a changed file: %v", err)
	}
}
