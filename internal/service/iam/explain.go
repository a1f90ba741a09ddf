package iam

import (
	"context"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// Caller returns whom an ARN stands for, as if they called: a user, a role (by
// any session of it), a session, an account's root, a service, or anonymous. The
// error says what is wrong with the name.
func (s *Service) Caller(ctx context.Context, arn string) (aws.Principal, error) {
	a, ok := aws.ParseARN(arn)
	switch {
	case arn == "anonymous":
		return aws.Principal{}, nil
	case !ok && strings.HasSuffix(arn, ".amazonaws.com"):
		return aws.ServicePrincipal(arn), nil
	case !ok || a.Service != "iam" && a.Service != "sts" || !aws.IsAccountID(a.Account):
		return aws.Principal{}, aws.Errorf("InvalidPrincipal", "%s is no principal: give the ARN of a user, role, session or root, or a service such as events.amazonaws.com", arn)
	case a.Resource == "root":
		return aws.RootPrincipal(a.Account), nil
	}
	sort, rest, _ := strings.Cut(a.Resource, "/")
	session := "explain"
	if sort == "assumed-role" {
		sort = "role"
		rest, session, _ = strings.Cut(rest, "/")
	}
	if kind(sort) != user && kind(sort) != role {
		return aws.Principal{}, aws.Errorf("InvalidPrincipal", "%s is neither a user nor a role nor a session", arn)
	}
	var p aws.Principal
	err := s.db.View(ctx, func(tx *state.Tx) error {
		e, ok, err := named(ctx, tx, a.Account, kind(sort), rest[strings.LastIndexByte(rest, '/')+1:])
		if err != nil {
			return err
		}
		if !ok {
			return aws.Errorf("NoSuchEntity", "there is no %s %s in account %s", sort, rest, a.Account).WithStatus(404)
		}
		tags, err := tagsOf(ctx, tx, e.ID)
		p = wearing(e, session)
		p.Tags = principalTags(tags)
		return err
	})
	return p, err
}

// wearing is a user, or a session of a role.
func wearing(e entity, session string) aws.Principal {
	if kind(e.Kind) == user {
		return aws.Principal{Kind: aws.User, ARN: e.arn(), Account: e.Account, ID: e.ID}
	}
	return aws.Principal{
		Kind: aws.Session, ARN: aws.NewARN("sts", "", e.Account, "assumed-role/"+e.Name+"/"+session), Account: e.Account,
		ID: e.ID + ":" + session, RoleARN: e.arn(), Temporary: true,
	}
}

// NeedOn returns what an action of STS or IAM on a resource would ask for: with
// a role's trust policy for those that assume it.
func (s *Service) NeedOn(ctx context.Context, _ *call.Call, action, resource string) (call.Need, error) {
	n := call.Need{Action: action, Resource: resource, Keys: policy.Keys{}}
	r, ok, err := s.Role(ctx, resource)
	if err != nil {
		return n, err
	}
	for _, t := range r.Tags {
		n.Keys["aws:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
		n.Keys["iam:resourcetag/"+strings.ToLower(t.Key)] = []string{t.Value}
	}
	if strings.HasPrefix(strings.ToLower(action), "sts:") && strings.Contains(resource, ":role/") {
		n.Policy = &policy.Source{Kind: policy.Trust, Name: "trust policy", On: resource}
		if ok {
			n.Policy = r.Trust
		}
	}
	return n, nil
}
