package codepipeline_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/service/codepipeline"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
)

// each runs a test with the fakes on each database; jobs run.
func each(t *testing.T, test func(t *testing.T, f *fakes)) {
	servicetest.Each(t, func(e *servicetest.Env) {
		f := newFakes(e)
		e.Start()
		test(e.T, f)
	}, codepipeline.Schema())
}

func wantError(t *testing.T, err error, code string, texts ...string) {
	t.Helper()
	var e *aws.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("err = %v, want %s", err, code)
	}
	for _, text := range texts {
		if !strings.Contains(e.Message, text) {
			t.Errorf("message = %q, want %q in it", e.Message, text)
		}
	}
}

func TestMainJob(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo())
		first := f.wait(t, "", "Succeeded")
		if tr := first.Trigger; tr.TriggerType != "CreatePipeline" || tr.TriggerDetail != "arn:aws:iam::222222222222:user/dev" {
			t.Errorf("trigger = %+v", tr)
		}
		r := first.ArtifactRevisions
		if len(r) != 1 || r[0].RevisionId != "c0ffee" || r[0].RevisionSummary != "Say hello\n" || r[0].Name != "SourceArtifact" {
			t.Errorf("revisions = %+v", r)
		}

		// The rule's role starts the next one.
		rule := "arn:aws:events:us-east-1:222222222222:rule/push"
		f.Grant("rule/r@222222222222", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"codepipeline:StartPipelineExecution","Resource":"arn:aws:codepipeline:us-east-1:222222222222:demo"}]}`)
		session := call.Session{Region: "us-east-1", SourceARN: rule, Trace: "the-push", Principal: mustIdentify(t, f, "rule/r@222222222222")}
		out, err := api.Client{Invoker: f.Door.As(session)}.StartPipelineExecution(t.Context(), &api.StartPipelineExecutionInput{Name: "demo"})
		if err != nil {
			t.Fatal(err)
		}
		id := out.PipelineExecutionId
		if tr := f.wait(t, id, "Succeeded").Trigger; tr.TriggerType != "CloudWatchEvent" || tr.TriggerDetail != rule {
			t.Errorf("trigger = %+v", tr)
		}

		actions := f.actions(t, id)
		if len(actions) != 2 || actions[0].ActionName != "Release" || actions[1].ActionName != "Checkout" {
			t.Fatalf("actions = %+v", actions)
		}
		artifact := actions[1].Output.OutputArtifacts[0].S3location
		if artifact.Bucket != "artifacts" || !regexp.MustCompile(`^demo/SourceArti/[A-Za-z0-9]{7}$`).MatchString(artifact.Key) {
			t.Errorf("artifact = %+v", artifact)
		}
		wantVars := map[string]string{
			"RepositoryName": "demo", "BranchName": "main", "CommitId": "c0ffee", "CommitMessage": "Say hello\n",
			"AuthorDate": "2017-01-11T20:49:58Z", "CommitterDate": "2017-01-11T20:49:58Z",
		}
		if diff := cmp.Diff(wantVars, actions[1].Output.OutputVariables); diff != "" {
			t.Error(diff)
		}
		f.mu.Lock()
		stored, page := f.objects["artifacts/"+artifact.Key], f.objects["target/release/index.html"]
		f.mu.Unlock()
		if in := stored.in; in.ServerSideEncryption != "aws:kms" || in.SSEKMSKeyId != keyARN || in.ACL != "bucket-owner-full-control" {
			t.Errorf("artifact put with %+v", in)
		}
		if !regexp.MustCompile(`:assumed-role/source/\d{13}$`).MatchString(stored.by) {
			t.Errorf("artifact put by %s", stored.by)
		}
		if page == nil || string(page.data) != "hello c0ffee" || page.in.ContentType != "text/html" || page.in.ServerSideEncryption != "" {
			t.Errorf("page = %+v", page)
		}
		if n := len(f.objects); n != 4 { // two artifacts, two files
			t.Errorf("%d objects: %v", n, f.puts)
		}
		for _, r := range f.Records() {
			if r.Call.Service == "s3" && r.Call.Trace == "the-push" && r.Call.Scope != id {
				t.Errorf("%s is in scope %q", r.Call.Operation, r.Call.Scope)
			}
		}

		st := f.state(t)
		source := st.StageStates[0].ActionStates[0]
		if source.LatestExecution.Status != "Succeeded" || source.LatestExecution.ExternalExecutionId != "c0ffee" || source.CurrentRevision.RevisionId != "c0ffee" {
			t.Errorf("source state = %+v", source)
		}
		if l := st.StageStates[1].LatestExecution; l.PipelineExecutionId != id || l.Status != "Succeeded" {
			t.Errorf("deploy state = %+v", l)
		}
		if !*st.StageStates[1].InboundTransitionState.Enabled {
			t.Error("the transition is shut")
		}
	})
}

func mustIdentify(t *testing.T, f *fakes, who string) aws.Principal {
	t.Helper()
	p, err := f.Door.Identify(t.Context(), who, "secret", "token")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEvents(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo())
		id := f.wait(t, "", "Succeeded").PipelineExecutionId
		var got []string
		for _, e := range f.events(t) {
			var d struct {
				State, Stage, Action string
				Execution            string `json:"execution-id"`
			}
			if err := json.Unmarshal(e.Detail, &d); err != nil {
				t.Fatal(err)
			}
			if d.Execution != id || e.Source != "aws.codepipeline" || e.Resources[0] != "arn:aws:codepipeline:us-east-1:222222222222:demo" {
				t.Errorf("event %+v", e)
			}
			if !strings.Contains(string(e.Detail), `"version":1.0`) || !strings.Contains(string(e.Detail), `"pipeline-execution-attempt":1.0`) {
				t.Errorf("numbers in %s", e.Detail)
			}
			kind := strings.Fields(e.DetailType)[1]
			got = append(got, strings.Join(strings.Fields(kind+" "+d.Stage+" "+d.Action+" "+d.State), " "))
			switch got[len(got)-1] {
			case "Pipeline STARTED":
				if !strings.Contains(string(e.Detail), `"execution-trigger":{"trigger-detail":"arn:aws:iam::222222222222:user/dev","trigger-type":"CreatePipeline"}`) {
					t.Errorf("%s", e.Detail)
				}
			case "Action Source Checkout SUCCEEDED":
				for _, part := range []string{`"external-execution-id":"c0ffee"`, `"external-execution-summary":"Say hello\n"`, `"output-artifacts":[{"name":"SourceArtifact","s3location":{"bucket":"artifacts","key":"demo/SourceArti/`,
					`"type":{"category":"Source","owner":"AWS","provider":"CodeCommit","version":"1"}`} {
					if !strings.Contains(string(e.Detail), part) {
						t.Errorf("no %s in %s", part, e.Detail)
					}
				}
			case "Action Deploy Release STARTED":
				if !strings.Contains(string(e.Detail), `"input-artifacts":[{"name":"SourceArtifact"`) {
					t.Errorf("%s", e.Detail)
				}
			}
		}
		want := []string{
			"Pipeline STARTED", "Stage Source STARTED", "Action Source Checkout STARTED", "Action Source Checkout SUCCEEDED", "Stage Source SUCCEEDED",
			"Stage Deploy STARTED", "Action Deploy Release STARTED", "Action Deploy Release SUCCEEDED", "Stage Deploy SUCCEEDED", "Pipeline SUCCEEDED",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// Each permission of either role is missing once: the action that needs it
// fails, with AWS's words.
func TestMissingPermissions(t *testing.T) {
	repo := "The service role or action role doesn’t have the permissions required to access the AWS CodeCommit repository named demo. Update the IAM role permissions, and then try again. Error: User: arn:aws:sts::111111111111:assumed-role/source/"
	bucket := "The service role or action role doesn’t have the permissions required to access the Amazon S3 bucket named %s. Update the IAM role permissions, and then try again. Error: Amazon S3:AccessDenied:"
	for _, tt := range []struct{ who, deny, action, text string }{
		{"source/x@111111111111", "codecommit:GetBranch", "Checkout", repo},
		{"source/x@111111111111", "codecommit:GetCommit", "Checkout", repo},
		{"source/x@111111111111", "codecommit:UploadArchive", "Checkout", repo},
		{"source/x@111111111111", "codecommit:GetUploadArchiveStatus", "Checkout", repo},
		{"source/x@111111111111", "s3:PutObject", "Checkout", strings.ReplaceAll(bucket, "%s", "artifacts")},
		{"pipeline/x@222222222222", "sts:AssumeRole", "Checkout", serviceRole + " is not authorized to perform AssumeRole on role " + actionRole},
		{"pipeline/x@222222222222", "s3:GetObject", "Release", "Unable to access the artifact with Amazon S3 object key 'demo/SourceArti/"},
		{"pipeline/x@222222222222", "s3:PutObject", "Release", strings.ReplaceAll(bucket, "%s", "target")},
	} {
		t.Run(tt.deny, func(t *testing.T) {
			each(t, func(t *testing.T, f *fakes) {
				f.create(t, demo())
				f.wait(t, "", "Succeeded")
				f.Grant(tt.who, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"`+tt.deny+`","Resource":"*"}]}`)
				id := f.start(t)
				f.wait(t, id, "Failed")
				a := f.actions(t, id)[0]
				if a.ActionName != tt.action || a.Status != "Failed" {
					t.Fatalf("%s is %s", a.ActionName, a.Status)
				}
				if len(a.Output.OutputVariables)+len(a.Output.OutputArtifacts) > 0 || tt.action == "Checkout" && len(f.latest(t).SourceRevisions) > 0 {
					t.Errorf("a failed action has results: %+v", a.Output)
				}
				d := a.Output.ExecutionResult.ErrorDetails
				if d.Code != "PermissionError" || !strings.HasPrefix(d.Message, tt.text) {
					t.Errorf("%s: %s\nwant %s", d.Code, d.Message, tt.text)
				}
				for _, s := range f.state(t).StageStates {
					for _, shown := range s.ActionStates {
						if shown.ActionName == tt.action && (shown.LatestExecution.ErrorDetails == nil || *shown.LatestExecution.ErrorDetails != *d) {
							t.Errorf("state shows %+v", shown.LatestExecution.ErrorDetails)
						}
					}
				}
			})
		})
	}
}

func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name, action, code, text string
		arrange                  func(f *fakes)
	}{
		{"branch missing", "Checkout", "ConfigurationError", "The action failed because no branch named main was found in the selected AWS CodeCommit repository demo. Make sure you are using the correct branch name, and then try again. Error: null",
			func(f *fakes) { f.heads = map[string]string{} }},
		{"service role gone", "Checkout", "PermissionError", "CodePipeline is not authorized to perform AssumeRole on role " + serviceRole,
			func(f *fakes) { delete(f.trust, serviceRole) }},
		{"key disabled", "Checkout", "ConfigurationError", "Error: Amazon S3:KMS.DisabledException:" + keyARN + " is disabled. (Service: Amazon S3; Status Code: 400; Error Code: KMS.DisabledException; Request ID: REQ;",
			func(f *fakes) {
				f.answer["PutObject artifacts"] = aws.Errorf("KMS.DisabledException", "%s is disabled.", keyARN).WithStatus(400)
			}},
		{"bucket missing", "Release", "ConfigurationError", "Amazon S3:NoSuchBucket",
			func(f *fakes) {
				f.answer["PutObject target"] = aws.Errorf("NoSuchBucket", "The specified bucket does not exist").WithStatus(404)
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, f *fakes) {
				f.create(t, demo())
				f.wait(t, "", "Succeeded")
				f.mu.Lock()
				tt.arrange(f)
				f.mu.Unlock()
				id := f.start(t)
				f.wait(t, id, "Failed")
				a := f.actions(t, id)[0]
				if d := a.Output.ExecutionResult.ErrorDetails; a.ActionName != tt.action || d == nil || d.Code != tt.code || !strings.Contains(d.Message, tt.text) {
					t.Errorf("%s failed with %+v", a.ActionName, d)
				}
			})
		})
	}
}

func TestStructure(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		source := func(d *api.PipelineDeclaration) *api.ActionDeclaration { return &d.Stages[0].Actions[0] }
		deploy := func(d *api.PipelineDeclaration) *api.ActionDeclaration { return &d.Stages[1].Actions[0] }
		const structure, declaration = "InvalidStructureException", "InvalidActionDeclarationException"
		for _, tt := range []struct {
			code, text string
			change     func(*api.PipelineDeclaration)
		}{
			{structure, "Pipeline has only 1 stage(s). There should be a minimum of 2 stages in a pipeline", func(d *api.PipelineDeclaration) { d.Stages = d.Stages[:1] }},
			{structure, "Pipeline should start with a stage that only contains source actions", func(d *api.PipelineDeclaration) { d.Stages[0], d.Stages[1] = d.Stages[1], d.Stages[0] }},
			{structure, "only the first stage", func(d *api.PipelineDeclaration) {
				d.Stages = append(d.Stages, d.Stages[0])
				d.Stages[2].Name = "More"
			}},
			{declaration, "Input Artifact Bundle Nope in action Release is not declared as Output Artifact Bundle in any of the preceding actions",
				func(d *api.PipelineDeclaration) { deploy(d).InputArtifacts[0].Name = "Nope" }},
			{declaration, "SourceArtifact has been used more than once", func(d *api.PipelineDeclaration) {
				again := *source(d)
				again.Name, again.Namespace = "Again", ""
				d.Stages[0].Actions = append(d.Stages[0].Actions, again)
			}},
			{declaration, "0 input artifacts", func(d *api.PipelineDeclaration) { deploy(d).InputArtifacts = nil }},
			{declaration, "Role ARN is not supported for actions with owner other than 'AWS'", func(d *api.PipelineDeclaration) { source(d).ActionTypeId.Owner = "ThirdParty" }},
			{declaration, "Provider: 'CodeBuild'", func(d *api.PipelineDeclaration) {
				deploy(d).ActionTypeId = &api.ActionTypeId{Category: "Build", Owner: "AWS", Provider: "CodeBuild", Version: "1"}
			}},
			{declaration, "CODEBUILD_CLONE_REF is not implemented by sekisho", func(d *api.PipelineDeclaration) {
				source(d).Configuration["OutputArtifactFormat"] = "CODEBUILD_CLONE_REF"
			}},
			{declaration, "missing required configuration 'BucketName'", func(d *api.PipelineDeclaration) { delete(deploy(d).Configuration, "BucketName") }},
			{declaration, "missing required configuration 'ObjectKey'", func(d *api.PipelineDeclaration) {
				deploy(d).Configuration = map[string]string{"BucketName": "b", "Extract": "false"}
			}},
			{declaration, "unknown configuration 'Bucket'", func(d *api.PipelineDeclaration) { deploy(d).Configuration["Bucket"] = "b" }},
			{declaration, "invalid value 'maybe' for 'Extract'", func(d *api.PipelineDeclaration) { deploy(d).Configuration["Extract"] = "maybe" }},
			{declaration, "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.)",
				func(d *api.PipelineDeclaration) { deploy(d).Configuration["ObjectKey"] = "#{CommitId}" }},
			{declaration, "namespace 'Other'", func(d *api.PipelineDeclaration) { deploy(d).Configuration["ObjectKey"] = "#{Other.CommitId}" }},
			{declaration, "'x', which is not declared", func(d *api.PipelineDeclaration) { deploy(d).Configuration["ObjectKey"] = "#{variables.x}" }},
			{declaration, "reserved", func(d *api.PipelineDeclaration) { source(d).Namespace = "codepipeline" }},
			{declaration, "Namespace SourceArtifact", func(d *api.PipelineDeclaration) { source(d).Namespace = "SourceArtifact" }},
			{declaration, "Output artifact SourceArtifact of action", func(d *api.PipelineDeclaration) { source(d).OutputArtifacts[0].Files = []string{"a"} }},
			{declaration, "commands, outputVariables or environmentVariables", func(d *api.PipelineDeclaration) {
				deploy(d).EnvironmentVariables = []api.EnvironmentVariable{{Name: "a", Value: "b"}}
			}},
			{"InvalidStageDeclarationException", "conditions", func(d *api.PipelineDeclaration) { d.Stages[1].BeforeEntry = &api.BeforeEntryConditions{} }},
			{"InvalidStageDeclarationException", "conditions", func(d *api.PipelineDeclaration) { d.Stages[1].OnSuccess = &api.SuccessConditions{} }},
			{declaration, "timeoutInMinutes", func(d *api.PipelineDeclaration) { source(d).TimeoutInMinutes = new(int64(5)) }},
			{declaration, "NotificationArn needs Amazon SNS", func(d *api.PipelineDeclaration) {
				d.Stages = append(d.Stages, approvalStage(0))
				d.Stages[2].Actions[0].Configuration["NotificationArn"] = "arn:aws:sns:us-east-1:222222222222:t"
			}},
			{"InvalidStageDeclarationException", "Stage name Source is not unique", func(d *api.PipelineDeclaration) { d.Stages[1].Name = "Source" }},
			{"InvalidStageDeclarationException", "has no actions", func(d *api.PipelineDeclaration) { d.Stages[1].Actions = nil }},
			{"InvalidStageDeclarationException", "conditions", func(d *api.PipelineDeclaration) { d.Stages[1].OnFailure = &api.FailureConditions{} }},
			{structure, "exactly one of artifactStore and artifactStores", func(d *api.PipelineDeclaration) { d.ArtifactStore = nil }},
			{structure, "artifactStores", func(d *api.PipelineDeclaration) { deploy(d).Region = "eu-west-1" }},
			{structure, "Execution mode QUEUED is not supported for pipeline type V1", func(d *api.PipelineDeclaration) { d.PipelineType, d.ExecutionMode = "V1", "QUEUED" }},
			{structure, "CodePipeline is not authorized to perform AssumeRole on role arn:aws:iam::222222222222:role/none", func(d *api.PipelineDeclaration) { d.RoleArn = "arn:aws:iam::222222222222:role/none" }},
			{structure, serviceRole + " is not authorized to perform AssumeRole on role arn:aws:iam::111111111111:role/none",
				func(d *api.PipelineDeclaration) { source(d).RoleArn = "arn:aws:iam::111111111111:role/none" }},
		} {
			_, err := f.client(dev).CreatePipeline(t.Context(), &api.CreatePipelineInput{Pipeline: demo(tt.change)})
			wantError(t, err, tt.code, tt.text)
		}
		if _, err := f.client(dev).GetPipeline(t.Context(), &api.GetPipelineInput{Name: "demo"}); err == nil {
			t.Error("a refused pipeline exists")
		}
	})
}

func TestPermissionsOfCallers(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo(func(d *api.PipelineDeclaration) { d.Stages = append(d.Stages, approvalStage(0)) }))
		const bob = "bob@222222222222"
		c, arn := f.client(bob), "arn:aws:codepipeline:us-east-1:222222222222:demo"
		for operation, try := range map[string]func() error{
			"GetPipeline on resource: " + arn: func() error { _, err := c.GetPipeline(t.Context(), &api.GetPipelineInput{Name: "demo"}); return err },
			"CreatePipeline on resource: " + arn: func() error {
				_, err := c.CreatePipeline(t.Context(), &api.CreatePipelineInput{Pipeline: demo()})
				return err
			},
			"UpdatePipeline on resource: " + arn: func() error {
				_, err := c.UpdatePipeline(t.Context(), &api.UpdatePipelineInput{Pipeline: demo()})
				return err
			},
			"DeletePipeline on resource: " + arn: func() error {
				_, err := c.DeletePipeline(t.Context(), &api.DeletePipelineInput{Name: "demo"})
				return err
			},
			"ListPipelines ": func() error { _, err := c.ListPipelines(t.Context(), &api.ListPipelinesInput{}); return err },
			"StartPipelineExecution on resource: " + arn: func() error {
				_, err := c.StartPipelineExecution(t.Context(), &api.StartPipelineExecutionInput{Name: "demo"})
				return err
			},
			"StopPipelineExecution on resource: " + arn: func() error {
				_, err := c.StopPipelineExecution(t.Context(), &api.StopPipelineExecutionInput{PipelineName: "demo"})
				return err
			},
			"RetryStageExecution on resource: " + arn + "/Deploy": func() error {
				_, err := c.RetryStageExecution(t.Context(), &api.RetryStageExecutionInput{PipelineName: "demo", StageName: "Deploy"})
				return err
			},
			"PutApprovalResult on resource: " + arn + "/Gate/Approve": func() error {
				_, err := c.PutApprovalResult(t.Context(), &api.PutApprovalResultInput{PipelineName: "demo", StageName: "Gate", ActionName: "Approve"})
				return err
			},
			"EnableStageTransition on resource: " + arn + "/Deploy": func() error {
				_, err := c.EnableStageTransition(t.Context(), &api.EnableStageTransitionInput{PipelineName: "demo", StageName: "Deploy"})
				return err
			},
			"DisableStageTransition on resource: " + arn + "/Deploy": func() error {
				_, err := c.DisableStageTransition(t.Context(), &api.DisableStageTransitionInput{PipelineName: "demo", StageName: "Deploy"})
				return err
			},
			"GetPipelineState on resource: " + arn: func() error {
				_, err := c.GetPipelineState(t.Context(), &api.GetPipelineStateInput{Name: "demo"})
				return err
			},
			"GetPipelineExecution on resource: " + arn: func() error {
				_, err := c.GetPipelineExecution(t.Context(), &api.GetPipelineExecutionInput{PipelineName: "demo"})
				return err
			},
			"ListPipelineExecutions on resource: " + arn: func() error {
				_, err := c.ListPipelineExecutions(t.Context(), &api.ListPipelineExecutionsInput{PipelineName: "demo"})
				return err
			},
			"ListActionExecutions on resource: " + arn: func() error {
				_, err := c.ListActionExecutions(t.Context(), &api.ListActionExecutionsInput{PipelineName: "demo"})
				return err
			},
			"TagResource on resource: " + arn: func() error {
				_, err := c.TagResource(t.Context(), &api.TagResourceInput{ResourceArn: arn, Tags: []api.Tag{{Key: "a"}}})
				return err
			},
			"UntagResource on resource: " + arn: func() error {
				_, err := c.UntagResource(t.Context(), &api.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a"}})
				return err
			},
			"ListTagsForResource on resource: " + arn: func() error {
				_, err := c.ListTagsForResource(t.Context(), &api.ListTagsForResourceInput{ResourceArn: arn})
				return err
			},
		} {
			wantError(t, try(), "AccessDeniedException", "codepipeline:"+operation)
		}
		f.Grant(bob, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"codepipeline:*","Resource":"*"},
			{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"lambda.amazonaws.com"}}}]}`)
		_, err := c.UpdatePipeline(t.Context(), &api.UpdatePipelineInput{Pipeline: demo()})
		wantError(t, err, "AccessDeniedException", "iam:PassRole on resource: "+serviceRole)
		_, err = c.CreatePipeline(t.Context(), &api.CreatePipelineInput{Pipeline: demo()})
		wantError(t, err, "AccessDeniedException", "iam:PassRole on resource: "+serviceRole)

		// Tags at creation are a permission of their own.
		f.Forget(bob)
		f.Grant(bob, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["codepipeline:CreatePipeline","iam:PassRole"],"Resource":"*"}]}`)
		_, err = c.CreatePipeline(t.Context(), &api.CreatePipelineInput{Pipeline: demo(), Tags: []api.Tag{{Key: "a", Value: "b"}}})
		wantError(t, err, "AccessDeniedException", "codepipeline:TagResource on resource: "+arn)
	})
}

func TestApproval(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo(func(d *api.PipelineDeclaration) {
			d.Stages = append(d.Stages[:1:1], approvalStage(0), d.Stages[1])
		}))
		answer := func(token, status string) error {
			_, err := f.client(dev).PutApprovalResult(t.Context(), &api.PutApprovalResultInput{
				PipelineName: "demo", StageName: "Gate", ActionName: "Approve", Token: token, Result: &api.ApprovalResult{Status: status, Summary: "fine by me"},
			})
			return err
		}
		token := func() (token string) {
			until(t, "approval waits", func() bool {
				l := f.state(t).StageStates[1].ActionStates[0].LatestExecution
				if l != nil && l.Status == "InProgress" {
					token = l.Token
				}
				return token != ""
			})
			return token
		}
		first := token()
		if got := f.actions(t, "")[0].Input.ResolvedConfiguration["CustomData"]; got != "commit c0ffee" {
			t.Errorf("CustomData = %q", got)
		}
		wantError(t, answer("wrong", "Approved"), "InvalidApprovalTokenException")
		if err := answer(first, "Approved"); err != nil {
			t.Fatal(err)
		}
		f.wait(t, "", "Succeeded")
		wantError(t, answer(first, "Approved"), "ApprovalAlreadyCompletedException")
		if l := f.state(t).StageStates[1].ActionStates[0].LatestExecution; l.LastUpdatedBy != "arn:aws:iam::222222222222:user/dev" || l.Summary != "fine by me" || l.Token != "" {
			t.Errorf("approved: %+v", l)
		}
		id := f.start(t)
		if err := answer(token(), "Rejected"); err != nil {
			t.Fatal(err)
		}
		f.wait(t, id, "Failed")

		// Retry asks again, with another token.
		retry := &api.RetryStageExecutionInput{PipelineName: "demo", StageName: "Gate", PipelineExecutionId: id, RetryMode: "FAILED_ACTIONS"}
		if _, err := f.client(dev).RetryStageExecution(t.Context(), retry); err != nil {
			t.Fatal(err)
		}
		if err := answer(token(), "Approved"); err != nil {
			t.Fatal(err)
		}
		f.wait(t, id, "Succeeded")
		if _, err := f.client(dev).RetryStageExecution(t.Context(), retry); err == nil {
			t.Error("a stage that succeeded was retried")
		}
	})
}

func TestStopAndRetry(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo())
		f.wait(t, "", "Succeeded")
		stop := func(id string, abandon bool) error {
			_, err := f.client(dev).StopPipelineExecution(t.Context(), &api.StopPipelineExecutionInput{PipelineName: "demo", PipelineExecutionId: id, Abandon: &abandon, Reason: "enough"})
			return err
		}
		f.mu.Lock()
		f.gate, f.at = make(chan bool), make(chan bool, 10)
		f.mu.Unlock()
		id := f.start(t)
		<-f.at
		if err := stop(id, false); err != nil {
			t.Fatal(err)
		}
		wantError(t, stop(id, false), "DuplicatedStopRequestException")
		if s := f.latest(t); s.Status != "Stopping" || s.StopTrigger.Reason != "enough" {
			t.Errorf("stopping: %+v", s)
		}
		f.gate <- true
		f.wait(t, id, "Stopped")
		wantError(t, stop(id, false), "PipelineExecutionNotStoppableException")

		id = f.start(t)
		<-f.at
		if err := stop(id, false); err != nil {
			t.Fatal(err)
		}
		if err := stop(id, true); err != nil {
			t.Fatal(err)
		}
		f.wait(t, id, "Stopped")
		if a := f.actions(t, id)[0]; a.Status != "Abandoned" {
			t.Errorf("action is %s", a.Status)
		}
		f.gate <- true // the abandoned work ends, and changes nothing
		retry := func(mode string) error {
			_, err := f.client(dev).RetryStageExecution(t.Context(), &api.RetryStageExecutionInput{PipelineName: "demo", StageName: "Source", PipelineExecutionId: id, RetryMode: mode})
			return err
		}
		if err := retry("FAILED_ACTIONS"); err != nil {
			t.Fatal(err)
		}
		f.gate <- true
		f.wait(t, id, "Succeeded")
		wantError(t, retry("ALL_ACTIONS"), "StageNotRetryableException")
		var attempts []string
		for _, e := range f.events(t) {
			if strings.Contains(string(e.Detail), id) && strings.Contains(string(e.Detail), `"RESUMED"`) {
				attempts = append(attempts, e.DetailType)
				if !strings.Contains(string(e.Detail), `"pipeline-execution-attempt":2.0`) {
					t.Errorf("%s", e.Detail)
				}
			}
		}
		if len(attempts) != 2 {
			t.Errorf("resumed: %v", attempts)
		}

		// A newer execution in the stage makes an older one final.
		f.mu.Lock()
		f.heads = map[string]string{}
		f.mu.Unlock()
		close(f.gate)
		id = f.start(t)
		f.wait(t, id, "Failed")
		f.wait(t, f.start(t), "Failed")
		wantError(t, retry("FAILED_ACTIONS"), "NotLatestPipelineExecutionException")
	})
}

// An execution that failed in a stage may be retried there while the next one
// waits in front of it; then it is that one's turn.
func TestRetryBeforeTheNext(t *testing.T) {
	for _, mode := range []string{"SUPERSEDED", "QUEUED"} {
		t.Run(mode, func(t *testing.T) {
			each(t, func(t *testing.T, f *fakes) {
				f.create(t, demo(func(d *api.PipelineDeclaration) { d.ExecutionMode = mode }))
				f.wait(t, "", "Succeeded")
				f.mu.Lock()
				f.answer["PutObject target"] = aws.Errorf("NoSuchBucket", "The specified bucket does not exist").WithStatus(404)
				f.mu.Unlock()
				first := f.start(t)
				f.wait(t, first, "Failed")
				c := f.client(dev)
				if _, err := c.DisableStageTransition(t.Context(), &api.DisableStageTransitionInput{PipelineName: "demo", StageName: "Deploy", TransitionType: "Inbound", Reason: "hold"}); err != nil {
					t.Fatal(err)
				}
				f.mu.Lock()
				delete(f.answer, "PutObject target")
				f.mu.Unlock()
				next := f.start(t)
				waits := func() bool {
					in := f.state(t).StageStates[1].InboundExecution
					return in != nil && in.PipelineExecutionId == next
				}
				until(t, "the next one waits", waits)
				if _, err := c.RetryStageExecution(t.Context(), &api.RetryStageExecutionInput{PipelineName: "demo", StageName: "Deploy", PipelineExecutionId: first, RetryMode: "FAILED_ACTIONS"}); err != nil {
					t.Fatal(err)
				}
				f.wait(t, first, "Succeeded")
				if !waits() {
					t.Error("the next one does not wait any more")
				}
				if _, err := c.EnableStageTransition(t.Context(), &api.EnableStageTransitionInput{PipelineName: "demo", StageName: "Deploy", TransitionType: "Inbound"}); err != nil {
					t.Fatal(err)
				}
				f.wait(t, next, "Succeeded")
				for _, id := range []string{first, next} {
					_, err := c.StopPipelineExecution(t.Context(), &api.StopPipelineExecutionInput{PipelineName: "demo", PipelineExecutionId: id})
					wantError(t, err, "PipelineExecutionNotStoppableException")
				}
			})
		})
	}
}

// Stopped while it waits in front of a stage, an execution ends there, and
// one that waits behind it goes in.
func TestStopInFrontOfAStage(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo(func(d *api.PipelineDeclaration) { d.ExecutionMode = "QUEUED" }))
		f.wait(t, "", "Succeeded")
		c := f.client(dev)
		if _, err := c.DisableStageTransition(t.Context(), &api.DisableStageTransitionInput{PipelineName: "demo", StageName: "Deploy", TransitionType: "Inbound", Reason: "hold"}); err != nil {
			t.Fatal(err)
		}
		ids := []string{f.start(t), f.start(t)}
		until(t, "both wait", func() bool { return len(f.state(t).StageStates[1].InboundExecutions) == 2 })
		if _, err := c.StopPipelineExecution(t.Context(), &api.StopPipelineExecutionInput{PipelineName: "demo", PipelineExecutionId: ids[0]}); err != nil {
			t.Fatal(err)
		}
		f.wait(t, ids[0], "Stopped")
		_, err := c.RetryStageExecution(t.Context(), &api.RetryStageExecutionInput{PipelineName: "demo", StageName: "Deploy", PipelineExecutionId: ids[0], RetryMode: "FAILED_ACTIONS"})
		wantError(t, err, "StageNotRetryableException")
		if _, err := c.EnableStageTransition(t.Context(), &api.EnableStageTransitionInput{PipelineName: "demo", StageName: "Deploy", TransitionType: "Inbound"}); err != nil {
			t.Fatal(err)
		}
		f.wait(t, ids[1], "Succeeded")
	})
}

func TestTransitionsAndModes(t *testing.T) {
	for _, mode := range []string{"SUPERSEDED", "QUEUED"} {
		t.Run(mode, func(t *testing.T) {
			each(t, func(t *testing.T, f *fakes) {
				f.create(t, demo(func(d *api.PipelineDeclaration) { d.ExecutionMode = mode }))
				f.wait(t, "", "Succeeded")
				_, err := f.client(dev).DisableStageTransition(t.Context(), &api.DisableStageTransitionInput{PipelineName: "demo", StageName: "Deploy", TransitionType: "Inbound", Reason: "hold"})
				if err != nil {
					t.Fatal(err)
				}
				var ids []string
				for range 3 {
					ids = append(ids, f.start(t))
					until(t, "it waits", func() bool {
						in := f.state(t).StageStates[1].InboundExecution
						return in != nil && in.PipelineExecutionId == ids[len(ids)-1]
					})
				}
				st := f.state(t).StageStates[1]
				tr := st.InboundTransitionState
				if *tr.Enabled || tr.DisabledReason != "hold" || tr.LastChangedBy != "arn:aws:iam::222222222222:user/dev" {
					t.Errorf("transition = %+v", tr)
				}
				want := map[string]int{"SUPERSEDED": 1, "QUEUED": 3}[mode]
				if len(st.InboundExecutions) != want {
					t.Errorf("%d wait, want %d", len(st.InboundExecutions), want)
				}
				_, err = f.client(dev).EnableStageTransition(t.Context(), &api.EnableStageTransitionInput{PipelineName: "demo", StageName: "Deploy", TransitionType: "Inbound"})
				if err != nil {
					t.Fatal(err)
				}
				for i, id := range ids {
					status := "Succeeded"
					if mode == "SUPERSEDED" && i < 2 {
						status = "Superseded"
					}
					f.wait(t, id, status)
				}
			})
		})
	}
}

func TestVariablesAndOverrides(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo(func(d *api.PipelineDeclaration) {
			d.Variables = []api.PipelineVariableDeclaration{{Name: "to", DefaultValue: "here"}}
			d.Stages[1].Actions[0].Configuration = map[string]string{
				"BucketName": "target", "Extract": "false", "ObjectKey": "#{variables.to}/#{SourceVariables.CommitId}/#{codepipeline.PipelineExecutionId}.zip",
				"CacheControl": "max-age=1", "CannedACL": "private", "KMSEncryptionKeyARN": keyARN,
			}
		}))
		first := f.wait(t, "", "Succeeded")
		o := f.objects["target/here/c0ffee/"+first.PipelineExecutionId+".zip"]
		if o == nil || o.in.ContentType != "application/zip" || o.in.CacheControl != "max-age=1" || o.in.ACL != "private" || o.in.SSEKMSKeyId != keyARN || o.in.ServerSideEncryption != "aws:kms" {
			t.Fatalf("object %+v of %v", o, f.puts)
		}
		in := &api.StartPipelineExecutionInput{Name: "demo", ClientRequestToken: "once", Variables: []api.PipelineVariable{{Name: "to", Value: "there"}},
			SourceRevisions: []api.SourceRevisionOverride{{ActionName: "Checkout", RevisionType: "COMMIT_ID", RevisionValue: "abc123"}}}
		out, err := f.client(dev).StartPipelineExecution(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := f.client(dev).StartPipelineExecution(t.Context(), in)
		if err != nil || again.PipelineExecutionId != out.PipelineExecutionId {
			t.Errorf("the same token started %+v, %v", again, err)
		}
		got := f.wait(t, out.PipelineExecutionId, "Succeeded")
		if f.objects["target/there/abc123/"+got.PipelineExecutionId+".zip"] == nil || got.Variables[0].ResolvedValue != "there" {
			t.Errorf("puts %v, variables %+v", f.puts, got.Variables)
		}
		in.ClientRequestToken, in.Variables[0].Name = "", "nope"
		_, err = f.client(dev).StartPipelineExecution(t.Context(), in)
		wantError(t, err, "ValidationException", "nope")
	})
}

func TestS3SourceAndPolling(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.Grant("pipeline/x@222222222222", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketVersioning","s3:GetObject"],"Resource":["arn:aws:s3:::uploads","arn:aws:s3:::uploads/*","arn:aws:s3:::plain","arn:aws:s3:::plain/*"]}]}`)
		f.Grant("dev@222222222222", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
		upload := func(bucket, text string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.tokens++
			f.objects[bucket+"/site.zip"] = &object{data: zipped(map[string]string{"a.txt": text}), ver: "u" + text}
		}
		source := func(bucket string) func(d *api.PipelineDeclaration) {
			return func(d *api.PipelineDeclaration) {
				d.Stages[0].Actions[0] = api.ActionDeclaration{
					Name: "Fetch", ActionTypeId: &api.ActionTypeId{Category: "Source", Owner: "AWS", Provider: "S3", Version: "1"},
					Configuration: map[string]string{"S3Bucket": bucket, "S3ObjectKey": "site.zip"}, OutputArtifacts: []api.OutputArtifact{{Name: "SourceArtifact"}},
				}
			}
		}
		upload("uploads", "1")
		f.create(t, demo(source("uploads")))
		f.wait(t, "", "Succeeded")
		d := f.actions(t, "")[1]
		if v := d.Output.OutputVariables; v["VersionId"] != "u1" || v["ETag"] != "etag" || d.Output.ExecutionResult.ExternalExecutionSummary != "Amazon S3 version id: u1" {
			t.Errorf("source = %+v", d.Output)
		}
		upload("uploads", "2")
		until(t, "polled", func() bool { return f.latest(t).Trigger.TriggerType == "PollForSourceChanges" })
		f.wait(t, "", "Succeeded")
		f.mu.Lock()
		delivered := string(f.objects["target/release/a.txt"].data)
		f.mu.Unlock()
		if delivered != "2" {
			t.Errorf("delivered %q", delivered)
		}
		time.Sleep(150 * time.Millisecond) // three more polls start nothing
		out, err := f.client(dev).ListPipelineExecutions(t.Context(), &api.ListPipelineExecutionsInput{PipelineName: "demo"})
		if err != nil || len(out.PipelineExecutionSummaries) != 2 {
			t.Errorf("%d executions, %v", len(out.PipelineExecutionSummaries), err)
		}
		upload("plain", "1")
		if _, err := f.client(dev).UpdatePipeline(t.Context(), &api.UpdatePipelineInput{Pipeline: demo(source("plain"))}); err != nil {
			t.Fatal(err)
		}
		id := f.start(t)
		f.wait(t, id, "Failed")
		if e := f.actions(t, id)[0].Output.ExecutionResult.ErrorDetails; e.Code != "ConfigurationError" || !strings.Contains(e.Message, "versioning is not enabled") {
			t.Errorf("unversioned: %+v", e)
		}
	})
}

func TestBadArtifacts(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.Grant("pipeline/x@222222222222", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketVersioning","s3:GetObject"],"Resource":"*"}]}`)
		damaged := zipped(map[string]string{"a.txt": strings.Repeat("text", 100)})
		damaged[40] ^= 0xff
		put := func(b []byte) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.objects["uploads/site.zip"] = &object{data: b, ver: "v"}
		}
		put([]byte("no zip"))
		f.create(t, demo(func(d *api.PipelineDeclaration) {
			d.Stages[0].Actions[0] = api.ActionDeclaration{
				Name: "Fetch", ActionTypeId: &api.ActionTypeId{Category: "Source", Owner: "AWS", Provider: "S3", Version: "1"},
				Configuration:   map[string]string{"S3Bucket": "uploads", "S3ObjectKey": "site.zip", "PollForSourceChanges": "false"},
				OutputArtifacts: []api.OutputArtifact{{Name: "SourceArtifact"}},
			}
		}))
		f.wait(t, "", "Failed")
		for _, bad := range [][]byte{{}, zipped(map[string]string{"ok": "1", "../out": "2"}), zipped(map[string]string{"/abs": "1"}), damaged} {
			put(bad)
			id := f.start(t)
			f.wait(t, id, "Failed")
			if e := f.actions(t, id)[0].Output.ExecutionResult.ErrorDetails; e.Code != "JobFailed" {
				t.Errorf("%+v", e)
			}
		}
		for _, name := range f.puts {
			if strings.HasPrefix(name, "target/") {
				t.Errorf("%s was delivered", name)
			}
		}
	})
}

func TestPipelineLife(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		c := f.client(dev)
		f.create(t, demo())
		f.wait(t, "", "Succeeded")
		_, err := c.CreatePipeline(t.Context(), &api.CreatePipelineInput{Pipeline: demo()})
		wantError(t, err, "PipelineNameInUseException", "A pipeline with the name 'demo' already exists in account '222222222222'")

		// An update while an execution waits at an approval cancels it when the
		// stages changed, and only then.
		gated := func(d *api.PipelineDeclaration) { d.Stages = append(d.Stages[:1:1], approvalStage(0), d.Stages[1]) }
		up, err := c.UpdatePipeline(t.Context(), &api.UpdatePipelineInput{Pipeline: demo(gated)})
		if err != nil || *up.Pipeline.Version != 2 {
			t.Fatalf("update: %+v, %v", up, err)
		}
		id := f.start(t)
		until(t, "approval waits", func() bool {
			l := f.state(t).StageStates[1].ActionStates[0].LatestExecution
			return l != nil && l.Token != ""
		})
		if _, err := c.UpdatePipeline(t.Context(), &api.UpdatePipelineInput{Pipeline: demo(gated)}); err != nil {
			t.Fatal(err)
		}
		if s := f.latest(t).Status; s != "InProgress" {
			t.Errorf("after the same structure: %s", s)
		}
		if _, err := c.UpdatePipeline(t.Context(), &api.UpdatePipelineInput{Pipeline: demo()}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.StopPipelineExecution(t.Context(), &api.StopPipelineExecutionInput{PipelineName: "demo", PipelineExecutionId: id, Abandon: new(true)}); err != nil {
			t.Fatal(err)
		}
		f.wait(t, id, "Stopped")

		got, err := c.GetPipeline(t.Context(), &api.GetPipelineInput{Name: "demo", Version: new(int64(2))})
		if err != nil || len(got.Pipeline.Stages) != 3 || got.Metadata.PipelineArn != "arn:aws:codepipeline:us-east-1:222222222222:demo" {
			t.Errorf("version 2: %+v, %v", got, err)
		}
		_, err = c.GetPipeline(t.Context(), &api.GetPipelineInput{Name: "demo", Version: new(int64(9))})
		wantError(t, err, "PipelineVersionNotFoundException")
		list, err := c.ListPipelines(t.Context(), &api.ListPipelinesInput{})
		if err != nil || len(list.Pipelines) != 1 || *list.Pipelines[0].Version != 4 {
			t.Errorf("list: %+v, %v", list, err)
		}
		_, err = c.ListPipelines(t.Context(), &api.ListPipelinesInput{NextToken: "x"})
		wantError(t, err, "InvalidNextTokenException")

		page, err := c.ListActionExecutions(t.Context(), &api.ListActionExecutionsInput{PipelineName: "demo", MaxResults: new(int64(3))})
		if err != nil || len(page.ActionExecutionDetails) != 3 || page.NextToken == "" {
			t.Fatalf("page: %+v, %v", page, err)
		}
		page, err = c.ListActionExecutions(t.Context(), &api.ListActionExecutionsInput{PipelineName: "demo", NextToken: page.NextToken})
		if err != nil || len(page.ActionExecutionDetails) != 1 || page.NextToken != "" {
			t.Errorf("second page: %+v, %v", page, err)
		}

		arn := got.Metadata.PipelineArn
		if _, err := c.TagResource(t.Context(), &api.TagResourceInput{ResourceArn: arn, Tags: []api.Tag{{Key: "team", Value: "web"}, {Key: "b", Value: "2"}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.UntagResource(t.Context(), &api.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"b"}}); err != nil {
			t.Fatal(err)
		}
		tags, err := c.ListTagsForResource(t.Context(), &api.ListTagsForResourceInput{ResourceArn: arn})
		if diff := cmp.Diff([]api.Tag{{Key: "team", Value: "web"}}, tags.Tags); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
		f.Grant("tagged@222222222222", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"codepipeline:GetPipeline","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"web"}}}]}`)
		if _, err := f.client("tagged@222222222222").GetPipeline(t.Context(), &api.GetPipelineInput{Name: "demo"}); err != nil {
			t.Error(err)
		}
		_, err = c.TagResource(t.Context(), &api.TagResourceInput{ResourceArn: "arn:aws:s3:::x"})
		wantError(t, err, "InvalidArnException")

		for range 2 {
			if _, err := c.DeletePipeline(t.Context(), &api.DeletePipelineInput{Name: "demo"}); err != nil {
				t.Fatal(err)
			}
		}
		_, err = c.GetPipelineState(t.Context(), &api.GetPipelineStateInput{Name: "demo"})
		wantError(t, err, "PipelineNotFoundException", "Account '222222222222' does not have a pipeline with name 'demo'")
	})
}

func TestWithoutEncryptionKey(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo(func(d *api.PipelineDeclaration) { d.ArtifactStore.EncryptionKey = nil; d.PipelineType = "" }))
		f.wait(t, "", "Succeeded")
		for name, o := range f.objects {
			if strings.HasPrefix(name, "artifacts/") && (o.in.ServerSideEncryption != "aws:kms" || o.in.SSEKMSKeyId != "") {
				t.Errorf("%s put with %+v", name, o.in)
			}
		}
	})
}

func TestParallel(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo(func(d *api.PipelineDeclaration) {
			d.ExecutionMode = "PARALLEL"
			d.Stages = append(d.Stages, approvalStage(0))
		}))
		ids := []string{f.latest(t).PipelineExecutionId, f.start(t), f.start(t)}
		until(t, "all wait for approval at once", func() bool {
			n := 0
			for _, id := range ids {
				for _, a := range f.actions(t, id) {
					if a.ActionName == "Approve" && a.Status == "InProgress" && len(a.Input.ResolvedConfiguration) > 0 {
						n++
					}
				}
			}
			return n == 3
		})
		if tok := f.state(t).StageStates[2].ActionStates[0].LatestExecution.Token; tok == "" {
			t.Errorf("token = %q", tok)
		}
	})
}

// An action in another region works there, on an artifact from here.
func TestOtherRegion(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo(func(d *api.PipelineDeclaration) {
			d.ArtifactStores = map[string]api.ArtifactStore{"us-east-1": *d.ArtifactStore, "eu-west-1": {Type: "S3", Location: "elsewhere"}}
			d.ArtifactStore = nil
			d.Stages[1].Actions[0].Region = "eu-west-1"
		}))
		f.wait(t, "", "Succeeded")
		regions := map[string]string{}
		for _, r := range f.Records() {
			if r.Call.Service == "s3" {
				regions[r.Call.Operation+" "+strings.Join(r.Call.Via, "")] = r.Call.Region
			}
		}
		want := map[string]string{"PutObject codecommit.amazonaws.com": "us-east-1", "GetObject ": "us-east-1", "PutObject ": "eu-west-1"}
		if diff := cmp.Diff(want, regions); diff != "" {
			t.Error(diff)
		}
		if a := f.actions(t, "")[0]; a.Input.Region != "eu-west-1" {
			t.Errorf("region = %s", a.Input.Region)
		}
	})
}

func TestApprovalTimesOut(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo(func(d *api.PipelineDeclaration) { d.Stages = append(d.Stages, approvalStage(5)) }))
		until(t, "approval waits", func() bool {
			l := f.state(t).StageStates[2].ActionStates[0].LatestExecution
			return l != nil && l.Token != ""
		})
		// Five minutes pass for the timer.
		err := f.DB.Update(t.Context(), func(tx *state.Tx) error {
			at, err := state.Get[time.Time](t.Context(), tx, `SELECT run_at FROM job_job WHERE kind = 'codepipeline/approval'`)
			if left := time.Until(at); left < 4*time.Minute || left > 5*time.Minute {
				t.Errorf("the approval waits for %v", left)
			}
			if err != nil {
				return err
			}
			_, err = tx.Exec(t.Context(), `UPDATE job_job SET run_at = 1 WHERE kind = 'codepipeline/approval'`)
			tx.Wake("job codepipeline/approval")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		f.wait(t, "", "Failed")
		if e := f.actions(t, "")[0].Output.ExecutionResult.ErrorDetails; e.Code != "JobFailed" {
			t.Errorf("%+v", e)
		}
	})
}

func TestHistoryEnds(t *testing.T) {
	each(t, func(t *testing.T, f *fakes) {
		f.create(t, demo())
		old := f.wait(t, "", "Succeeded").PipelineExecutionId
		id := f.start(t)
		f.wait(t, id, "Succeeded")
		err := f.DB.Update(t.Context(), func(tx *state.Tx) error {
			if _, err := tx.Exec(t.Context(), `UPDATE codepipeline_execution SET updated = 1 WHERE id = $1`, old); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), `UPDATE job_job SET run_at = 1 WHERE kind = 'codepipeline/prune'`)
			tx.Wake("job codepipeline/prune")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the old execution is forgotten", func() bool {
			out, err := f.client(dev).ListPipelineExecutions(t.Context(), &api.ListPipelineExecutionsInput{PipelineName: "demo"})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.PipelineExecutionSummaries) == 1 && out.PipelineExecutionSummaries[0].PipelineExecutionId == id
		})
		out, err := f.client(dev).ListActionExecutions(t.Context(), &api.ListActionExecutionsInput{PipelineName: "demo"})
		if err != nil || len(out.ActionExecutionDetails) != 2 {
			t.Errorf("%d actions are left, %v", len(out.ActionExecutionDetails), err)
		}
	})
}

func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) { newFakes(e) }, codepipeline.Schema())
}
