package e2e

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// uploads is a pipeline that an upload starts: a bucket whose events go to
// EventBridge, a rule for one key, and an S3 source.
const uploads = `
Resources:
  Uploads:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: event-uploads
      VersioningConfiguration: {Status: Enabled}
      NotificationConfiguration: {EventBridgeConfiguration: {EventBridgeEnabled: true}}
  Artifacts: {Type: AWS::S3::Bucket, Properties: {BucketName: event-artifacts}}
  Target: {Type: AWS::S3::Bucket, Properties: {BucketName: event-target}}
  PipelineRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {Service: codepipeline.amazonaws.com}, Action: "sts:AssumeRole"}]}
      Policies: [{PolicyName: p, PolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Action: ["s3:*", "kms:*"], Resource: "*"}]}}]
  RuleRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: "sts:AssumeRole"}]}
      Policies: [{PolicyName: p, PolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Action: "codepipeline:StartPipelineExecution", Resource: "*"}]}}]
  Pipeline:
    Type: AWS::CodePipeline::Pipeline
    Properties:
      Name: event-pipeline
      PipelineType: V2
      RoleArn: !GetAtt PipelineRole.Arn
      ArtifactStore: {Type: S3, Location: !Ref Artifacts}
      Stages:
        - Name: Source
          Actions:
            - Name: Upload
              ActionTypeId: {Category: Source, Owner: AWS, Provider: S3, Version: "1"}
              Configuration: {S3Bucket: !Ref Uploads, S3ObjectKey: release.zip, PollForSourceChanges: "false"}
              OutputArtifacts: [{Name: o}]
        - Name: Deploy
          Actions:
            - Name: Put
              ActionTypeId: {Category: Deploy, Owner: AWS, Provider: S3, Version: "1"}
              Configuration: {BucketName: !Ref Target, Extract: "false", ObjectKey: delivered.zip}
              InputArtifacts: [{Name: o}]
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern:
        source: [aws.s3]
        detail-type: [Object Created]
        detail: {bucket: {name: [!Ref Uploads]}, object: {key: [release.zip]}}
      Targets: [{Id: p, Arn: !Sub "arn:aws:codepipeline:${AWS::Region}:${AWS::AccountId}:${Pipeline}", RoleArn: !GetAtt RuleRole.Arn}]
`

// TestUploadStartsPipeline uploads an object and finds it delivered.
func TestUploadStartsPipeline(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, args ...string) {
		a := start(t, args...).account("pipeline")
		_, err := a.cloudformation.CreateStack(t.Context(), &cloudformation.CreateStackInput{
			StackName: aws.String("uploads"), TemplateBody: aws.String(uploads), Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityIam},
		})
		if err != nil {
			t.Fatal(err)
		}
		waiter := cloudformation.NewStackCreateCompleteWaiter(a.cloudformation, func(o *cloudformation.StackCreateCompleteWaiterOptions) {
			o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
		})
		if err := waiter.Wait(t.Context(), &cloudformation.DescribeStacksInput{StackName: aws.String("uploads")}, time.Minute); err != nil {
			events, _ := a.cloudformation.DescribeStackEvents(t.Context(), &cloudformation.DescribeStackEventsInput{StackName: aws.String("uploads")})
			for _, e := range events.StackEvents {
				t.Log(aws.ToString(e.LogicalResourceId), e.ResourceStatus, aws.ToString(e.ResourceStatusReason))
			}
			t.Fatal(err)
		}
		runs := func() int {
			out, err := a.codepipeline.ListPipelineExecutions(t.Context(), &codepipeline.ListPipelineExecutionsInput{PipelineName: aws.String("event-pipeline")})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.PipelineExecutionSummaries)
		}
		before := runs() // a new pipeline runs once by itself
		put(t, a, "event-uploads", "other.zip", "no rule is about it")
		put(t, a, "event-uploads", "release.zip", "the release")
		eventually(t, "the upload is delivered", 30*time.Second, func() bool {
			out, err := a.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("event-target")})
			return err == nil && len(out.Contents) == 1
		})
		if got := read(t, a, "event-target", "delivered.zip"); got != "the release" {
			t.Errorf("delivered %q", got)
		}
		if n := runs() - before; n != 1 {
			t.Errorf("%d executions for one upload that a rule is about", n)
		}
	})
}
