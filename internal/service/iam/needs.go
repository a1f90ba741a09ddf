package iam

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// subject is what an operation is about.
type subject struct {
	kind kind   // or managed
	name string // of a managed policy its ARN
	path string // for what does not exist yet
	// keys are condition keys of the request.
	keys policy.Keys
	// tagged asks for the permission to tag besides: it is made with tags.
	tagged bool
	// bounded shows the permissions boundary that it has as a condition key.
	bounded bool
	// newName and newPath are what it is to be called, where it is renamed.
	newName, newPath string
}

// managed is the kind of a managed policy.
const managed kind = "policy"

// on declares an operation about one thing: the caller needs iam:NAME on it,
// and to make something with tags the permission to tag it besides.
func on[In, Out any](s *Service, name string, about func(*In) subject, handle func(context.Context, *call.Call, *In) (*Out, error)) call.Operation {
	needs := func(ctx context.Context, c *call.Call, in *In) ([]call.Need, error) {
		if err := barred(c); err != nil {
			return nil, err
		}
		sub := about(in)
		sub.bounded = slices.Contains(aboutBounded, name)
		target, err := s.target(ctx, c, sub)
		if err != nil {
			return nil, err
		}
		target.Action = "iam:" + name
		list := []call.Need{target}
		if will := sub.renamed(target.Resource); will != target.Resource {
			target.Resource = will
			list = append(list, target)
		}
		if sub.tagged {
			target.Action = taggingOf(sub.kind)
			list = append(list, target)
		}
		return list, nil
	}
	return call.Op(name, needs, handle)
}

// aboutBounded are the operations on a user or role for which AWS knows the
// condition key iam:PermissionsBoundary. To others it is absent.
var aboutBounded = []string{
	"AttachRolePolicy", "AttachUserPolicy", "DeleteRolePermissionsBoundary", "DeleteRolePolicy", "DeleteUserPermissionsBoundary",
	"DeleteUserPolicy", "DetachRolePolicy", "DetachUserPolicy", "PutRolePolicy", "PutUserPolicy",
}

// renamed is the ARN of what a renaming leaves of an ARN: it takes the
// permission on both.
func (sub subject) renamed(arn string) string {
	start := strings.IndexByte(arn, '/')
	if start < 0 {
		return arn
	}
	end := strings.LastIndexByte(arn, '/') + 1
	return arn[:start] + cmp.Or(sub.newPath, arn[start:end]) + cmp.Or(sub.newName, arn[end:])
}

// across declares an operation about all things of a kind: as AWS words it,
// its resource is the kind's path, such as arn:aws:iam::111122223333:role/.
func across[In, Out any](name string, k kind, prefix func(*In) string, handle func(context.Context, *call.Call, *In) (*Out, error)) call.Operation {
	needs := func(_ context.Context, c *call.Call, in *In) ([]call.Need, error) {
		if err := barred(c); err != nil {
			return nil, err
		}
		resource := "*"
		if k != managed && k != "" {
			resource = entityARN(c.Account(), k, prefix(in), "")
		}
		return []call.Need{{Action: "iam:" + name, Resource: resource}}, nil
	}
	return call.Op(name, needs, handle)
}

// barred refuses federated users, and credentials of GetSessionToken without
// MFA: they do not reach IAM.
func barred(c *call.Call) error {
	p := c.Principal
	if p.Kind == aws.Federated || p.Temporary && !p.MFA && (p.Kind == aws.User || p.Kind == aws.Root) {
		return aws.Errorf("InvalidClientTokenId", "The security token included in the request is invalid").WithStatus(403)
	}
	return nil
}

// target finds what a subject is, with its tags as condition keys. What does
// not exist has an ARN all the same.
func (s *Service) target(ctx context.Context, c *call.Call, sub subject) (call.Need, error) {
	if sub.name == "" && sub.kind != user {
		return call.Need{}, missingName(sub.kind)
	}
	if sub.kind == managed {
		return s.policyTarget(ctx, c, sub)
	}
	if o, ok := objectOf(sub.kind); ok {
		return s.objectTarget(ctx, c, sub, o)
	}
	if sub.kind == user && sub.name == "" {
		name, err := self(c)
		if err != nil {
			return call.Need{}, err
		}
		if name == "" { // root asks about itself
			return call.Need{Resource: aws.RootPrincipal(c.Account()).ARN, Keys: sub.keys}, nil
		}
		sub.name = name
	}
	n := call.Need{Resource: entityARN(c.Account(), sub.kind, sub.path, sub.name), Keys: sub.keys}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), sub.kind, sub.name)
		if isNoSuch(err) {
			return nil
		}
		if err != nil {
			return err
		}
		n.Resource = e.arn()
		n.Keys, err = resourceKeys(ctx, tx, e.ID, sub.keys)
		if sub.bounded {
			n.Keys = with(n.Keys, boundaryKey, e.Boundary)
		}
		return err
	})
	return n, err
}

// missingName refuses a call inside the process that names nothing; those from
// the network were checked before.
func missingName(k kind) error {
	parameter := string(k) + "Name"
	if o, ok := objectOf(k); ok {
		parameter = strings.ToLower(o.parameter[:1]) + o.parameter[1:]
	}
	return aws.Errorf("ValidationError", "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", parameter).WithStatus(400)
}

func (s *Service) policyTarget(ctx context.Context, c *call.Call, sub subject) (call.Need, error) {
	n := call.Need{Resource: sub.name, Owner: c.Account(), Keys: sub.keys}
	if _, ok := aws.ParseARN(sub.name); !ok { // a name: it is being made
		n.Resource = entityARN(c.Account(), managed, sub.path, sub.name)
		return n, nil
	}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		p, err := findPolicy(ctx, tx, c.Account(), sub.name)
		if isNoSuch(err) || err == nil && p.Account == awsOwned {
			return nil
		}
		if err != nil {
			return err
		}
		n.Keys, err = resourceKeys(ctx, tx, p.ID, sub.keys)
		return err
	})
	return n, err
}

// resourceKeys adds the tags of a thing to the keys of a request.
func resourceKeys(ctx context.Context, tx *state.Tx, id string, more policy.Keys) (policy.Keys, error) {
	keys := policy.Keys{}
	for k, v := range more {
		keys[k] = v
	}
	tags, err := tagsOf(ctx, tx, id)
	for _, t := range tags {
		name := strings.ToLower(t.Key)
		keys["aws:resourcetag/"+name] = []string{t.Value}
		keys["iam:resourcetag/"+name] = []string{t.Value}
	}
	return keys, err
}

func isNoSuch(err error) bool {
	e, ok := errors.AsType[*aws.Error](err)
	return ok && e.Code == "NoSuchEntity"
}

// self is the name of the caller's own user, where an operation leaves the
// name out; empty means the account's root.
func self(c *call.Call) (string, error) {
	switch c.Principal.Kind {
	case aws.User:
		return c.Principal.Name(), nil
	case aws.Root:
		return "", nil
	}
	return "", aws.Errorf("ValidationError", "Must specify userName when calling with non-User credentials")
}

// nameOr is a user's name, or the caller's own when none is given.
func nameOr(c *call.Call, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	return self(c)
}

// tagKeys are the condition keys of tags in a request.
func tagKeys(tags []api.Tag) policy.Keys {
	if len(tags) == 0 {
		return nil
	}
	keys := policy.Keys{}
	for _, t := range tags {
		keys.AddRequestTag(t.Key, t.Value)
	}
	return keys
}

// with adds a key of one value, if it has one.
func with(keys policy.Keys, name, value string) policy.Keys {
	if value == "" {
		return keys
	}
	if keys == nil {
		keys = policy.Keys{}
	}
	keys[name] = []string{value}
	return keys
}
