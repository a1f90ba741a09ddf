package codecommit

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/policy"

	api "github.com/sekisho/sekisho/internal/api/codecommit"
)

// refusedPush is what git shows beside the name of a ref that the caller may
// not push to.
const refusedPush = "You don't have permission to push changes to this branch"

func (s *Service) gitPullNeeds(ctx context.Context, c *call.Call, in *api.GitPullInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GitPull", in.RepositoryName)
}

func (s *Service) gitPull(ctx context.Context, c *call.Call, in *api.GitPullInput) (*api.GitPullOutput, error) {
	_, repo, err := s.served(ctx, c, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.Advertise {
		return nil, gitError(repo.Advertise(ctx, git.UploadPack, in.Protocol, in.Out))
	}
	return nil, gitError(repo.UploadPack(ctx, in.Protocol, body(in.Body), in.Out))
}

// body stands in for a request without one.
func body(r io.Reader) io.Reader {
	if r == nil {
		return eof{}
	}
	return r
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// served finds a repository and its directory.
func (s *Service) served(ctx context.Context, c *call.Call, name string) (*repository, *git.Repository, error) {
	r, err := s.load(ctx, c, name)
	if err != nil {
		return nil, nil, err
	}
	repo, err := s.repo(r)
	return r, repo, err
}

// gitError words what is the client's fault.
func gitError(err error) error {
	if errors.Is(err, git.ErrProtocol) {
		return aws.Errorf("MalformedGitRequestException", "%s", err).WithStatus(400)
	}
	return err
}

// gitPushNeeds asks for the push as such. No ref is known at this point, so
// the key codecommit:References is absent; each ref is asked about later.
func (s *Service) gitPushNeeds(ctx context.Context, c *call.Call, in *api.GitPushInput) ([]call.Need, error) {
	return s.needs(ctx, c, "GitPush", in.RepositoryName)
}

func (s *Service) gitPush(ctx context.Context, c *call.Call, in *api.GitPushInput) (*api.GitPushOutput, error) {
	r, repo, err := s.served(ctx, c, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.Advertise {
		return nil, gitError(repo.Advertise(ctx, git.ReceivePack, in.Protocol, in.Out))
	}
	needs, err := s.gitPushNeeds(ctx, c, in)
	if err != nil {
		return nil, err
	}
	p := push{s: s, c: c, r: r, need: needs[0]}
	err = repo.ReceivePack(ctx, git.Push{
		Protocol: in.Protocol, In: body(in.Body), Out: in.Out,
		Authorise: p.authorise, Begin: p.begin, Record: p.record,
	})
	if err != nil {
		return nil, gitError(err)
	}
	s.tidy(ctx, r, repo)
	return &p.out, nil
}

// push is one git push on its way.
type push struct {
	s      *Service
	c      *call.Call
	r      *repository
	need   call.Need
	intent *intent
	out    api.GitPushOutput
}

// authorise asks whether the caller may update one ref.
func (p *push) authorise(ctx context.Context, c git.Command) (string, error) {
	n := p.need
	n.Keys = policy.Keys{referenceKey: {c.Ref}}
	for k, v := range p.need.Keys {
		n.Keys[k] = v
	}
	err := p.c.Allowed(ctx, n)
	if e, refused := errors.AsType[*aws.Error](err); refused && e.Status < 500 && e.Code != "InternalFailure" {
		return refusedPush, nil
	}
	if err != nil {
		return "", err
	}
	if name, branch := strings.CutPrefix(c.Ref, heads); branch && c.New != git.Zero && checkBranch(name) != nil {
		return "invalid branch name", nil
	}
	return "", nil
}

func (p *push) begin(ctx context.Context, commands []git.Command) (err error) {
	p.intent, err = p.s.begin(ctx, p.c, p.r, commands)
	return err
}

func (p *push) record(ctx context.Context, changed []git.Command) error {
	for _, c := range changed {
		ref := api.GitReference{Ref: c.Ref}
		if c.New != git.Zero {
			ref.Commit = c.New
		}
		p.out.References = append(p.out.References, ref)
	}
	return p.s.settle(ctx, p.r, p.intent, changed)
}
