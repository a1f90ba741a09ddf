package codepipeline_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	codecommitapi "github.com/sekisho/sekisho/internal/api/codecommit"
	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
	stsapi "github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/service/codepipeline"
	"github.com/sekisho/sekisho/internal/servicetest"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	repoAccount = "111111111111"
	account     = "222222222222"
	serviceRole = "arn:aws:iam::222222222222:role/pipeline"
	actionRole  = "arn:aws:iam::111111111111:role/source"
	dev         = "dev@222222222222"
	keyARN      = "arn:aws:kms:us-east-1:222222222222:key/k"
)

// fakes are the services around CodePipeline, in memory, behind the real
// checkpoint: what they ask for is judged.
type fakes struct {
	*servicetest.Env
	mu      sync.Mutex
	trust   map[string]string // role to trust policy
	heads   map[string]string // repository/branch to commit
	objects map[string]*object
	tokens  int
	gate    chan bool // if set, GetBranch waits for it
	at      chan bool // tells that it does
	answer  map[string]error
	puts    []string
	dir     string // if set, objects are kept there; see keep
}

type object struct {
	in   s3api.PutObjectInput
	data []byte
	ver  string
	by   string
	via  []string
}

// newFakes serves the fakes and CodePipeline, with roles that may all they
// need.
func newFakes(e *servicetest.Env) *fakes {
	f := &fakes{
		Env: e, heads: map[string]string{"demo/main": "c0ffee"}, objects: map[string]*object{}, answer: map[string]error{},
		trust: map[string]string{
			serviceRole: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
			actionRole:  `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::222222222222:root"},"Action":"sts:AssumeRole"}]}`,
		},
	}
	e.Grant(dev, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["codepipeline:*","iam:PassRole"],"Resource":"*"}]}`)
	e.Grant("source/x@111111111111", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["codecommit:GetBranch","codecommit:GetCommit","codecommit:UploadArchive","codecommit:GetUploadArchiveStatus","codecommit:CancelUploadArchive"],"Resource":"arn:aws:codecommit:us-east-1:111111111111:demo"},
		{"Effect":"Allow","Action":["s3:PutObject","s3:PutObjectAcl"],"Resource":"arn:aws:s3:::artifacts/*"}]}`)
	e.Grant("pipeline/x@222222222222", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::111111111111:role/*"},
		{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::artifacts/*"},
		{"Effect":"Allow","Action":["s3:PutObject"],"Resource":"arn:aws:s3:::target/*"}]}`)
	e.Door.Serve("sts", []call.Operation{call.Op("AssumeRole", f.assumeNeeds, f.assume)})
	e.Door.Serve("s3", []call.Operation{
		call.Op("PutObject", s3Needs(func(in *s3api.PutObjectInput) (string, string, string) { return "s3:PutObject", in.Bucket, in.Key }), f.put),
		call.Op("GetObject", s3Needs(func(in *s3api.GetObjectInput) (string, string, string) { return "s3:GetObject", in.Bucket, in.Key }), f.get),
		call.Op("HeadObject", s3Needs(func(in *s3api.HeadObjectInput) (string, string, string) { return "s3:GetObject", in.Bucket, in.Key }), f.head),
		call.Op("GetBucketVersioning", s3Needs(func(in *s3api.GetBucketVersioningInput) (string, string, string) {
			return "s3:GetBucketVersioning", in.Bucket, ""
		}), f.versioning),
	})
	e.Door.Serve("codecommit", []call.Operation{
		call.Op("GetBranch", repoNeeds(func(in *codecommitapi.GetBranchInput) (string, string) { return "GetBranch", in.RepositoryName }), f.getBranch),
		call.Op("GetCommit", repoNeeds(func(in *codecommitapi.GetCommitInput) (string, string) { return "GetCommit", in.RepositoryName }), f.getCommit),
		call.Op("UploadArchive", repoNeeds(func(in *codecommitapi.UploadArchiveInput) (string, string) { return "UploadArchive", in.RepositoryName }), f.upload),
		call.Op("GetUploadArchiveStatus", repoNeeds(func(in *codecommitapi.GetUploadArchiveStatusInput) (string, string) {
			return "GetUploadArchiveStatus", in.RepositoryName
		}), f.uploadStatus),
	})
	e.Door.Serve("codepipeline", codepipeline.New(e.DB, e.Door, e.Jobs, codepipeline.Options{Poll: 50 * time.Millisecond}).Operations())
	return f
}

func (f *fakes) assumeNeeds(_ context.Context, c *call.Call, in *stsapi.AssumeRoleInput) ([]call.Need, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	doc, err := policy.Parse(f.trust[in.RoleArn], policy.Trust)
	if err != nil {
		return nil, aws.Errorf("AccessDenied", "no such role")
	}
	return []call.Need{{Action: "sts:AssumeRole", Resource: in.RoleArn, Policy: &policy.Source{Kind: policy.Trust, On: in.RoleArn, Doc: doc}}}, nil
}

func (f *fakes) assume(_ context.Context, c *call.Call, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
	role, _ := aws.ParseARN(in.RoleArn)
	return &stsapi.AssumeRoleOutput{Credentials: &stsapi.Credentials{
		AccessKeyId:     strings.TrimPrefix(role.Resource, "role/") + "/" + in.RoleSessionName + "@" + role.Account,
		SecretAccessKey: "secret", SessionToken: "token",
	}}, nil
}

func s3Needs[In any](of func(*In) (action, bucket, key string)) func(context.Context, *call.Call, *In) ([]call.Need, error) {
	return func(_ context.Context, c *call.Call, in *In) ([]call.Need, error) {
		action, bucket, key := of(in)
		arn := "arn:aws:s3:::" + bucket
		if key != "" {
			arn += "/" + key
		}
		allow, err := policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"s3:*","Resource":"*"}]}`, policy.Resource)
		if err != nil {
			return nil, err
		}
		return []call.Need{{Action: action, Resource: arn, Owner: account, Policy: &policy.Source{Kind: policy.Resource, Doc: allow, On: arn}}}, nil
	}
}

func repoNeeds[In any](of func(*In) (action, repo string)) func(context.Context, *call.Call, *In) ([]call.Need, error) {
	return func(_ context.Context, c *call.Call, in *In) ([]call.Need, error) {
		action, repo := of(in)
		return []call.Need{{Action: "codecommit:" + action, Resource: aws.NewARN("codecommit", c.Region, c.Account(), repo)}}, nil
	}
}

func (f *fakes) put(_ context.Context, c *call.Call, in *s3api.PutObjectInput) (*s3api.PutObjectOutput, error) {
	data, err := io.ReadAll(in.Body)
	if err != nil {
		return nil, aws.Errorf("IncompleteBody", "%v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.answer["PutObject "+in.Bucket]; err != nil {
		return nil, err
	}
	if f.dir != "" {
		name := filepath.Join(f.dir, hex.EncodeToString([]byte(in.Bucket+"/"+in.Key)))
		if err := os.WriteFile(name+".new", data, 0o600); err != nil {
			return nil, err
		}
		if err := os.Rename(name+".new", name+".object"); err != nil {
			return nil, err
		}
	}
	f.tokens++
	o := &object{in: *in, data: data, ver: fmt.Sprint("v", f.tokens), by: c.Principal.ARN, via: c.Via}
	f.objects[in.Bucket+"/"+in.Key] = o
	f.puts = append(f.puts, in.Bucket+"/"+in.Key)
	return &s3api.PutObjectOutput{VersionId: o.ver}, nil
}

func (f *fakes) get(_ context.Context, _ *call.Call, in *s3api.GetObjectInput) (*s3api.GetObjectOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objects[in.Bucket+"/"+in.Key]
	if o == nil || (in.VersionId != "" && in.VersionId != o.ver) {
		return nil, aws.Errorf("NoSuchKey", "The specified key does not exist.").WithStatus(404)
	}
	return &s3api.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(o.data)), ContentLength: new(int64(len(o.data))), VersionId: o.ver, ETag: `"etag"`}, nil
}

func (f *fakes) head(ctx context.Context, c *call.Call, in *s3api.HeadObjectInput) (*s3api.HeadObjectOutput, error) {
	out, err := f.get(ctx, c, &s3api.GetObjectInput{Bucket: in.Bucket, Key: in.Key})
	if err != nil {
		return nil, err
	}
	return &s3api.HeadObjectOutput{VersionId: out.VersionId, ETag: out.ETag}, nil
}

func (f *fakes) versioning(_ context.Context, _ *call.Call, in *s3api.GetBucketVersioningInput) (*s3api.GetBucketVersioningOutput, error) {
	if in.Bucket == "plain" {
		return &s3api.GetBucketVersioningOutput{}, nil
	}
	return &s3api.GetBucketVersioningOutput{Status: "Enabled"}, nil
}

func (f *fakes) getBranch(ctx context.Context, _ *call.Call, in *codecommitapi.GetBranchInput) (*codecommitapi.GetBranchOutput, error) {
	f.mu.Lock()
	gate, id := f.gate, f.heads[in.RepositoryName+"/"+in.BranchName]
	f.mu.Unlock()
	if gate != nil {
		f.at <- true
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if id == "" {
		return nil, aws.Errorf("BranchDoesNotExistException", "%s", in.BranchName)
	}
	return &codecommitapi.GetBranchOutput{Branch: &codecommitapi.BranchInfo{BranchName: in.BranchName, CommitId: id}}, nil
}

func (f *fakes) getCommit(_ context.Context, _ *call.Call, in *codecommitapi.GetCommitInput) (*codecommitapi.GetCommitOutput, error) {
	who := &codecommitapi.UserInfo{Name: "Ann", Email: "ann@example.com", Date: "1484167798 -0800"}
	return &codecommitapi.GetCommitOutput{Commit: &codecommitapi.Commit{CommitId: in.CommitId, Message: "Say hello\n", Author: who, Committer: who}}, nil
}

// upload puts a small ZIP with the caller's credentials, as CodeCommit does.
func (f *fakes) upload(ctx context.Context, c *call.Call, in *codecommitapi.UploadArchiveInput) (*codecommitapi.UploadArchiveOutput, error) {
	_, err := s3api.Client{Invoker: f.Door.As(c.Forward("codecommit.amazonaws.com"))}.PutObject(ctx, &s3api.PutObjectInput{
		Bucket: in.S3Bucket, Key: in.S3Key, ServerSideEncryption: "aws:kms", SSEKMSKeyId: in.KmsKeyId, ACL: in.Acl,
		Body: bytes.NewReader(zipped(map[string]string{"index.html": "hello " + in.CommitId, "css/site.css": "body{}", "css/": ""})),
	})
	if err != nil {
		text, _ := json.Marshal(err)
		return &codecommitapi.UploadArchiveOutput{ArchiveId: string(text)}, nil
	}
	return &codecommitapi.UploadArchiveOutput{ArchiveId: "ok"}, nil
}

func (f *fakes) uploadStatus(_ context.Context, _ *call.Call, in *codecommitapi.GetUploadArchiveStatusInput) (*codecommitapi.GetUploadArchiveStatusOutput, error) {
	if in.ArchiveId == "ok" {
		return &codecommitapi.GetUploadArchiveStatusOutput{Status: "COMPLETE"}, nil
	}
	var e aws.Error
	if err := json.Unmarshal([]byte(in.ArchiveId), &e); err != nil {
		return nil, err
	}
	return &codecommitapi.GetUploadArchiveStatusOutput{Status: "ERROR", ErrorCode: e.Code, ErrorMessage: e.Message, ErrorStatus: e.Status, ErrorRequestId: "REQ"}, nil
}

func zipped(files map[string]string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// client makes calls as somebody.
func (f *fakes) client(who string) api.Client { return api.Client{Invoker: f.As(who)} }

// demo is the pipeline of the main job: a repository of another account, a
// bucket of this one.
func demo(change ...func(*api.PipelineDeclaration)) *api.PipelineDeclaration {
	d := &api.PipelineDeclaration{
		Name: "demo", RoleArn: serviceRole, PipelineType: "V2",
		ArtifactStore: &api.ArtifactStore{Type: "S3", Location: "artifacts", EncryptionKey: &api.EncryptionKey{Id: keyARN, Type: "KMS"}},
		Stages: []api.StageDeclaration{
			{Name: "Source", Actions: []api.ActionDeclaration{{
				Name: "Checkout", ActionTypeId: &api.ActionTypeId{Category: "Source", Owner: "AWS", Provider: "CodeCommit", Version: "1"},
				Configuration:   map[string]string{"RepositoryName": "demo", "BranchName": "main", "PollForSourceChanges": "false", "OutputArtifactFormat": "CODE_ZIP"},
				OutputArtifacts: []api.OutputArtifact{{Name: "SourceArtifact"}}, RoleArn: actionRole, Namespace: "SourceVariables", Region: "us-east-1",
			}}},
			{Name: "Deploy", Actions: []api.ActionDeclaration{{
				Name: "Release", ActionTypeId: &api.ActionTypeId{Category: "Deploy", Owner: "AWS", Provider: "S3", Version: "1"},
				Configuration:  map[string]string{"BucketName": "target", "Extract": "true", "ObjectKey": "release"},
				InputArtifacts: []api.InputArtifact{{Name: "SourceArtifact"}},
			}}},
		},
	}
	for _, c := range change {
		c(d)
	}
	return d
}

func approvalStage(timeout int64) api.StageDeclaration {
	a := api.ActionDeclaration{
		Name: "Approve", ActionTypeId: &api.ActionTypeId{Category: "Approval", Owner: "AWS", Provider: "Manual", Version: "1"},
		Configuration: map[string]string{"CustomData": "commit #{SourceVariables.CommitId}"},
	}
	if timeout > 0 {
		a.TimeoutInMinutes = &timeout
	}
	return api.StageDeclaration{Name: "Gate", Actions: []api.ActionDeclaration{a}}
}

func (f *fakes) create(t *testing.T, d *api.PipelineDeclaration) {
	t.Helper()
	if _, err := f.client(dev).CreatePipeline(t.Context(), &api.CreatePipelineInput{Pipeline: d}); err != nil {
		t.Fatal(err)
	}
}

func (f *fakes) start(t *testing.T) string {
	t.Helper()
	out, err := f.client(dev).StartPipelineExecution(t.Context(), &api.StartPipelineExecutionInput{Name: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	return out.PipelineExecutionId
}

// latest is the newest execution.
func (f *fakes) latest(t *testing.T) api.PipelineExecutionSummary {
	t.Helper()
	out, err := f.client(dev).ListPipelineExecutions(t.Context(), &api.ListPipelineExecutionsInput{PipelineName: "demo"})
	if err != nil || len(out.PipelineExecutionSummaries) == 0 {
		t.Fatalf("executions: %+v, %v", out, err)
	}
	return out.PipelineExecutionSummaries[0]
}

// wait waits for an execution's status; "" means the newest one.
func (f *fakes) wait(t *testing.T, id, status string) *api.PipelineExecution {
	t.Helper()
	if id == "" {
		id = f.latest(t).PipelineExecutionId
	}
	var got *api.PipelineExecution
	until(t, "execution is "+status, func() bool {
		out, err := f.client(dev).GetPipelineExecution(t.Context(), &api.GetPipelineExecutionInput{PipelineName: "demo", PipelineExecutionId: id})
		if err != nil {
			t.Fatal(err)
		}
		got = out.PipelineExecution
		if over := got.Status != "InProgress" && got.Status != "Stopping"; over && got.Status != status {
			t.Fatalf("execution is %s, want %s: %+v", got.Status, status, f.actions(t, id))
		}
		return got.Status == status
	})
	return got
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

// actions lists the action executions of an execution, newest first.
func (f *fakes) actions(t *testing.T, id string) []api.ActionExecutionDetail {
	t.Helper()
	out, err := f.client(dev).ListActionExecutions(t.Context(), &api.ListActionExecutionsInput{
		PipelineName: "demo", Filter: &api.ActionExecutionFilter{PipelineExecutionId: id},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.ActionExecutionDetails
}

func (f *fakes) state(t *testing.T) *api.GetPipelineStateOutput {
	t.Helper()
	out, err := f.client(dev).GetPipelineState(t.Context(), &api.GetPipelineStateInput{Name: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// events reads the outbox.
func (f *fakes) events(t *testing.T) []aws.Event {
	t.Helper()
	var list []aws.Event
	err := f.DB.View(t.Context(), func(tx *state.Tx) error {
		rows, err := state.List[string](t.Context(), tx, `SELECT event FROM state_outbox ORDER BY seq`)
		for _, r := range rows {
			var e aws.Event
			if err := json.Unmarshal([]byte(r), &e); err != nil {
				return err
			}
			list = append(list, e)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
