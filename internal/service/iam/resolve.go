package iam

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// ResolvePrincipal returns the unique id of a principal that a policy names,
// and whether it exists: a user, role, role session, or account root, or an
// account by its id. In accounts that sekisho does not know everything counts
// as existing, without an id.
func (s *Service) ResolvePrincipal(ctx context.Context, arn string) (id string, ok bool, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		id, ok, err = resolve(ctx, tx, arn)
		return err
	})
	return id, ok, err
}

// PrincipalARN returns the ARN of the user or role that has a unique id now,
// and whether there is one.
func (s *Service) PrincipalARN(ctx context.Context, id string) (arn string, ok bool, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		arn, ok, err = directory{tx}.PrincipalARN(ctx, id)
		return err
	})
	return arn, ok, err
}

// directory is whom policies can name, as a transaction sees it.
type directory struct{ tx *state.Tx }

var (
	_ policy.Directory = directory{}
	_ policy.Directory = (*Service)(nil)
)

// ResolvePrincipal implements policy.Directory.
func (d directory) ResolvePrincipal(ctx context.Context, arn string) (id string, ok bool, err error) {
	return resolve(ctx, d.tx, arn)
}

// PrincipalARN implements policy.Directory.
func (d directory) PrincipalARN(ctx context.Context, id string) (arn string, ok bool, err error) {
	e, err := state.Get[entity](ctx, d.tx, findEntityByID, id)
	if errors.Is(err, state.ErrNotFound) {
		return "", false, nil
	}
	return e.arn(), err == nil && kind(e.Kind) != group, err
}

func resolve(ctx context.Context, tx *state.Tx, arn string) (id string, ok bool, err error) {
	if aws.IsAccountID(arn) {
		arn = aws.RootPrincipal(arn).ARN
	}
	a, ok := aws.ParseARN(arn)
	if !ok || a.Service != "iam" && a.Service != "sts" {
		return "", false, nil
	}
	known, err := has(ctx, tx, `SELECT 1 FROM iam_account WHERE id = $1`, a.Account)
	if err != nil || !known {
		return "", err == nil, err
	}
	sort, rest, _ := strings.Cut(a.Resource, "/")
	switch sort {
	case "root":
		return a.Account, true, nil
	case "federated-user":
		return a.Account + ":" + rest, true, nil
	case "user", "role":
		e, ok, err := named(ctx, tx, a.Account, kind(sort), rest[strings.LastIndexByte(rest, '/')+1:])
		return e.ID, ok && e.arn() == arn, err
	case "assumed-role": // its ARN has no path
		name, session, _ := strings.Cut(rest, "/")
		e, ok, err := named(ctx, tx, a.Account, role, name)
		return e.ID + ":" + session, ok && e.Name == name, err
	}
	return "", false, nil
}

// named finds an entity, and reports whether there is one.
func named(ctx context.Context, tx *state.Tx, account string, k kind, name string) (entity, bool, error) {
	e, err := state.Get[entity](ctx, tx, findEntity, account, string(k), strings.ToLower(name))
	if errors.Is(err, state.ErrNotFound) {
		return e, false, nil
	}
	return e, err == nil, err
}

// Role returns a role by its ARN, and whether there is one.
func (s *Service) Role(ctx context.Context, arn string) (call.Role, bool, error) {
	a, ok := aws.ParseARN(arn)
	name, isRole := strings.CutPrefix(a.Resource, "role/")
	if !ok || !isRole {
		return call.Role{}, false, nil
	}
	var out call.Role
	err := s.db.View(ctx, func(tx *state.Tx) error {
		var e entity
		var err error
		e, ok, err = named(ctx, tx, a.Account, role, name[strings.LastIndexByte(name, '/')+1:])
		if ok = ok && e.arn() == arn; !ok || err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, e.ID)
		if err != nil {
			return err
		}
		trust, err := stored(e.Trust, policy.Trust, "of "+arn)
		out = call.Role{
			ARN: arn, ID: e.ID, MaxSession: time.Duration(e.MaxSession) * time.Second, Tags: principalTags(tags),
			Trust: &policy.Source{Kind: policy.Trust, Name: "trust policy", On: arn, Doc: trust},
		}
		return err
	})
	return out, ok && err == nil, err
}

// HasPolicy reports whether an account may use a managed policy: STS asks for
// session policies.
func (s *Service) HasPolicy(ctx context.Context, account, arn string) (ok bool, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) error {
		_, err := findPolicy(ctx, tx, account, arn)
		ok = err == nil
		if _, answered := errors.AsType[*aws.Error](err); answered {
			return nil
		}
		return err
	})
	return ok, err
}
