package iam

import (
	"context"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// Kinds of things beside users, groups, roles and policies.
const (
	profile kind = "instance-profile"
)

// object says how things of such a kind are named, found and tagged.
type object struct {
	// parameter is the member of inputs that names one.
	parameter string
	// tagging is the permission to tag one.
	tagging string
	// find returns the ARN of what a name stands for, and the unique id that
	// its tags hang on; or NoSuchEntity.
	find func(ctx context.Context, tx *state.Tx, account, name string) (arn, id string, err error)
}

// objectOf returns the object of a kind, and whether it is one.
func objectOf(k kind) (object, bool) {
	switch k {
	case profile:
		return object{"InstanceProfileName", "iam:TagInstanceProfile", func(ctx context.Context, tx *state.Tx, account, name string) (string, string, error) {
			p, err := findProfile(ctx, tx, account, name)
			return p.arn(), p.ID, err
		}}, true
	}
	return object{}, false
}

// objectTarget is target for an object. One that is named by its ARN is asked
// about by it.
func (s *Service) objectTarget(ctx context.Context, c *call.Call, sub subject, o object) (call.Need, error) {
	n := call.Need{Resource: sub.name, Owner: c.Account(), Keys: sub.keys}
	if !strings.HasPrefix(sub.name, "arn:") {
		n.Resource = aws.NewARN("iam", "", c.Account(), string(sub.kind)+orSlash(sub.path)+sub.name)
	}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		arn, id, err := o.find(ctx, tx, c.Account(), sub.name)
		if isNoSuch(err) {
			return nil
		}
		if err != nil {
			return err
		}
		n.Resource = arn
		n.Keys, err = resourceKeys(ctx, tx, id, sub.keys)
		return err
	})
	return n, err
}

// taggingOf is the permission to tag a thing of a kind.
func taggingOf(k kind) string {
	if o, ok := objectOf(k); ok {
		return o.tagging
	}
	return "iam:Tag" + title(k)
}
