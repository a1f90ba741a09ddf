package events_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/service/events"
	"github.com/sekisho/sekisho/internal/servicetest"

	codepipelineapi "github.com/sekisho/sekisho/internal/api/codepipeline"
	stsapi "github.com/sekisho/sekisho/internal/api/sts"
)

// roles is a small STS: roles whose name begins with "missing" are not there,
// the others trust what trust says, EventBridge by default.
type roles struct {
	mu    sync.Mutex
	trust map[string]string // by role ARN
	fail  int               // how many further calls fail inside
}

const trustsEvents = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func (r *roles) needs(_ context.Context, _ *call.Call, in *stsapi.AssumeRoleInput) ([]call.Need, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := trustsEvents
	if t, ok := r.trust[in.RoleArn]; ok {
		text = t
	}
	n := call.Need{Action: "sts:AssumeRole", Resource: in.RoleArn}
	if strings.HasSuffix(in.RoleArn, "/missing") {
		return []call.Need{n}, nil
	}
	doc, err := policy.Parse(text, policy.Trust)
	n.Policy = &policy.Source{Kind: policy.Trust, On: in.RoleArn, Doc: doc}
	return []call.Need{n}, err
}

func (r *roles) assume(_ context.Context, _ *call.Call, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 {
		r.fail--
		return nil, aws.Errorf("ServiceUnavailable", "Later.").WithStatus(503)
	}
	a, _ := aws.ParseARN(in.RoleArn)
	who := strings.TrimPrefix(a.Resource, "role/") + "/" + in.RoleSessionName + "@" + a.Account
	return &stsapi.AssumeRoleOutput{Credentials: &stsapi.Credentials{AccessKeyId: who, SecretAccessKey: "secret", SessionToken: "token"}}, nil
}

// pipelines is a small CodePipeline that notes what was started.
type pipelines struct {
	mu      sync.Mutex
	started chan started
	answer  error
}

type started struct {
	Call *call.Call
	In   *codepipelineapi.StartPipelineExecutionInput
}

func (p *pipelines) needs(_ context.Context, c *call.Call, in *codepipelineapi.StartPipelineExecutionInput) ([]call.Need, error) {
	return []call.Need{{Action: "codepipeline:StartPipelineExecution", Resource: aws.NewARN("codepipeline", c.Region, c.Account(), in.Name)}}, nil
}

func (p *pipelines) start(_ context.Context, c *call.Call, in *codepipelineapi.StartPipelineExecutionInput) (*codepipelineapi.StartPipelineExecutionOutput, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer != nil {
		return nil, p.answer
	}
	p.started <- started{c, in}
	return &codepipelineapi.StartPipelineExecutionOutput{PipelineExecutionId: c.NewID()}, nil
}

// world is EventBridge between a small STS and a small CodePipeline.
type world struct {
	*servicetest.Env
	events    *events.Service
	roles     *roles
	pipelines *pipelines
}

func newWorld(e *servicetest.Env) *world {
	w := &world{Env: e, roles: &roles{trust: map[string]string{}}, pipelines: &pipelines{started: make(chan started, 100)}}
	w.events = events.New(e.DB, e.Door, e.Jobs, e, events.Options{Now: e.Now})
	e.Door.Serve("events", w.events.Operations())
	e.Door.Serve("sts", []call.Operation{call.Op("AssumeRole", w.roles.needs, w.roles.assume)})
	e.Door.Serve("codepipeline", []call.Operation{call.Op("StartPipelineExecution", w.pipelines.needs, w.pipelines.start)})
	return w
}

func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) { newWorld(e) }, events.Schema())
}
