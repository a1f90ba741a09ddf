package cloudformation

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	iamapi "github.com/sekisho/sekisho/internal/api/iam"
	kmsapi "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
	"github.com/sekisho/sekisho/internal/state"
)

var errDied = errors.New("the process died")

const trust = `{Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {Service: codepipeline.amazonaws.com}, Action: "sts:AssumeRole"}]}`
const policyText = `{Version: 2012-10-17, Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}`

// For every type: the process dies right after the service made the thing and
// before anybody wrote that down. The next one finds it and makes no second
// one; but what was there before is never taken for its own.
func TestResumedCreation(t *testing.T) {
	real(t, func(w *realWorld) {
		w.archive()
		must[*iamapi.CreateUserOutput](w)(iamapi.Client{Invoker: w.root()}.CreateUser(w.Context(), &iamapi.CreateUserInput{UserName: "carol"}))
		k := must[*kmsapi.CreateKeyOutput](w)(kmsapi.Client{Invoker: w.root()}.CreateKey(w.Context(), &kmsapi.CreateKeyInput{})).KeyMetadata.KeyId
		abroad := kmsapi.Client{Invoker: w.door.As(call.Session{Principal: aws.RootPrincipal(account), Region: "us-east-1"})}
		many := must[*kmsapi.CreateKeyOutput](w)(abroad.CreateKey(w.Context(), &kmsapi.CreateKeyInput{MultiRegion: new(true)})).KeyMetadata.Arn
		role := must[*iamapi.CreateRoleOutput](w)(iamapi.Client{Invoker: w.root()}.CreateRole(w.Context(), &iamapi.CreateRoleInput{RoleName: "pipes",
			AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}]}`})).Role.Arn
		for _, tt := range []struct {
			typ, properties string
			// named types refuse what was there before.
			named bool
		}{
			{"AWS::IAM::Role", "{AssumeRolePolicyDocument: " + trust + ", RoleName: r, Policies: [{PolicyName: p, PolicyDocument: " + policyText + "}]}", true},
			{"AWS::IAM::User", "{UserName: u}", true},
			{"AWS::IAM::Group", "{GroupName: g}", true},
			{"AWS::IAM::ManagedPolicy", "{ManagedPolicyName: m, PolicyDocument: " + policyText + "}", true},
			{"AWS::IAM::Policy", "{PolicyName: i, Users: [carol], PolicyDocument: " + policyText + "}", false},
			{"AWS::IAM::AccessKey", "{UserName: carol}", false},
			{"AWS::KMS::Key", "{Description: mine}", false},
			{"AWS::KMS::ReplicaKey", "{PrimaryKeyArn: '" + many + "', Description: mine, KeyPolicy: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {AWS: 'arn:aws:iam::" + account + ":root'}, Action: 'kms:*', Resource: '*'}]}}", false},
			{"AWS::KMS::Alias", "{AliasName: alias/a, TargetKeyId: " + k + "}", true},
			{"AWS::S3::Bucket", "{BucketName: bucket-b, VersioningConfiguration: {Status: Enabled}}", true},
			{"AWS::CodeCommit::Repository", "{RepositoryName: repo, Code: {S3: {Bucket: archives, Key: code.zip}}}", true},
			{"AWS::Events::EventBus", "{Name: bus}", true},
			{"AWS::Events::Rule", "{Name: rule, EventPattern: {source: [x]}}", true},
			{"AWS::Events::EventBusPolicy", `{StatementId: s, Principal: "222222222222", Action: "events:PutEvents"}`, false},
			{"AWS::CodePipeline::Pipeline", "{Name: pipe, RoleArn: '" + role + "', ArtifactStore: {Type: S3, Location: archives}, Stages: [" +
				"{Name: A, Actions: [{Name: a, ActionTypeId: {Category: Source, Owner: AWS, Provider: S3, Version: '1'}, Configuration: {S3Bucket: archives, S3ObjectKey: x, PollForSourceChanges: false}, OutputArtifacts: [{Name: o}]}]}," +
				"{Name: B, Actions: [{Name: b, ActionTypeId: {Category: Approval, Owner: AWS, Provider: Manual, Version: '1'}}]}]}", true},
		} {
			w.Run(tt.typ, func(t *testing.T) { w.resumed(t, tt.typ, tt.properties, tt.named) })
		}
	})
}

func (w *realWorld) resumed(t *testing.T, typ, properties string, named bool) {
	doc, err := cfn.ParseValue("P: " + properties)
	if err != nil {
		t.Fatal(err)
	}
	n := doc.Get("P")
	k := w.s.types[typ]
	st := &stack{ID: "arn:aws:cloudformation:eu-central-1:" + account + ":stack/s/x", Account: account, Region: "eu-central-1", Name: "s"}
	err = w.s.db.Update(w.Context(), func(tx *state.Tx) error { // the step is recorded before it is taken
		return w.s.saveResource(w.Context(), tx, &resource{Stack: st.ID, Logical: "L", Type: typ})
	})
	if err != nil {
		t.Fatal(err)
	}
	first := ""
	step := func(resumed bool, since time.Time, made func(context.Context, string) error) *request {
		return &request{
			Invoker: w.root(), s: w.s, Stack: st, Type: typ, LogicalID: "L", Name: k.nameFor(st, "L", n), Token: aws.NewUUID(),
			Resumed: resumed, Since: since, Properties: n, Attributes: map[string]string{}, made: made,
			session: call.Session{Principal: aws.RootPrincipal(account), Region: "eu-central-1"},
		}
	}
	begun := time.Now()
	q := step(false, begun, func(_ context.Context, physical string) error { first = physical; return errDied })
	name := q.Name
	if err := k.maker.create(w.Context(), q); !errors.Is(err, errDied) {
		t.Fatalf("the first attempt: %v", err)
	}
	again := ""
	q = step(true, begun, func(_ context.Context, physical string) error { again = physical; return nil })
	q.Name = name
	if err := k.maker.create(w.Context(), q); err != nil {
		t.Fatalf("taken up again: %v", err)
	}
	if again != first && typ != "AWS::IAM::AccessKey" { // whose secret nobody knows
		t.Errorf("made %s, then %s", first, again)
	}
	if named {
		q = step(false, time.Now(), func(context.Context, string) error { return nil })
		err := k.maker.create(w.Context(), q)
		if row := (&resource{Type: typ, resourceBody: resourceBody{Pending: &pending{Name: name}}}); err == nil || w.s.reason(w.Context(), row, err, "t") != name+" already exists" {
			t.Errorf("what is there is taken over: %v", err)
		}
	}
	q.Physical, q.Attributes, q.Before = again, map[string]string{}, n
	for range 2 { // the second time it is gone
		if err := k.maker.remove(w.Context(), q); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
}

func TestUnsupportedProperties(t *testing.T) {
	real(t, func(w *realWorld) {
		for _, tt := range []struct{ resource, want string }{
			{"{Type: AWS::S3::Bucket, Properties: {ReplicationConfiguration: {}}}", "Encountered unsupported property ReplicationConfiguration"},
			{"{Type: AWS::S3::Bucket, Properties: {VersioningConfiguration: {}}}", "Property Status cannot be empty."},
			{"{Type: AWS::S3::Bucket, Properties: {VersioningConfiguration: Enabled}}", "Value of property VersioningConfiguration must be an object"},
			{"{Type: AWS::S3::BucketPolicy, Properties: {Bucket: x}}", "Property PolicyDocument cannot be empty."},
			{"{Type: AWS::CodeCommit::Repository, Properties: {RepositoryName: x, Triggers: []}}", "Encountered unsupported property Triggers"},
			{"{Type: AWS::KMS::Key, Properties: {EnableKeyRotation: perhaps}}", "Value of property EnableKeyRotation must be of type Boolean"},
			{"{Type: AWS::Events::Rule, Properties: {Targets: {}}}", "Value of property Targets must be of type List"},
			{"{Type: AWS::CodePipeline::Pipeline, Properties: {RoleArn: x, Stages: [{Name: A, Actions: [{Nam: a}]}]}}", "Encountered unsupported property Nam"},
			{"{Type: AWS::IAM::Policy, Properties: {PolicyName: x, PolicyDocument: {}}}", "At least one of [Groups,Roles,Users] must be non-empty."},
			{"{Type: AWS::KMS::Alias, Properties: {AliasName: alias/x, TargetKeyId: 11111111-1111-1111-1111-111111111111}}", "HandlerErrorCode: NotFound)"},
			{"{Type: AWS::CodePipeline::Pipeline, Properties: {Name: x, RoleArn: 'arn:aws:iam::111111111111:role/none', Stages: []}}", "(Service: AWSCodePipeline; Status Code: 400; Error Code: "},
		} {
			c := api.Client{Invoker: w.root()}
			out := must[*api.CreateStackOutput](w)(c.CreateStack(w.Context(), &api.CreateStackInput{
				StackName: "bad", TemplateBody: "Resources: {X: " + tt.resource + "}", Capabilities: []string{"CAPABILITY_IAM"}, OnFailure: "DELETE",
			}))
			w.want(out.StackId, "DELETE_COMPLETE")
			events := must[*api.DescribeStackEventsOutput](w)(c.DescribeStackEvents(w.Context(), &api.DescribeStackEventsInput{StackName: out.StackId}))
			reason := ""
			for _, e := range events.StackEvents {
				if e.ResourceStatus == "CREATE_FAILED" {
					reason = e.ResourceStatusReason
				}
			}
			if !strings.Contains(reason, tt.want) {
				w.Errorf("%s\nreason = %s\nwant     %s", tt.resource, reason, tt.want)
			}
		}
	})
}

// Of two resources that look for the key they lost, one gets it.
func TestClaim(t *testing.T) {
	real(t, func(w *realWorld) {
		ctx := t.Context()
		err := w.s.db.Update(ctx, func(tx *state.Tx) error {
			for _, logical := range []string{"A", "B"} {
				if err := w.s.saveResource(ctx, tx, &resource{Stack: "s", Logical: logical, Type: "AWS::KMS::Key"}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		got := make(chan string, 2)
		for _, logical := range []string{"A", "B"} {
			wg.Go(func() {
				if ok, err := w.s.claim(ctx, "key", "s", logical); err != nil {
					t.Error(err)
				} else if ok {
					got <- logical
				}
			})
		}
		wg.Wait()
		if len(got) != 1 {
			t.Fatalf("%d resources have the key", len(got))
		}
		if ok, err := w.s.claim(ctx, "key", "s", <-got); !ok || err != nil {
			t.Errorf("its own again: %v %v", ok, err)
		}
	})
}
