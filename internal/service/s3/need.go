package s3

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// target is the bucket an operation is about, as permission sees it: a bucket
// that does not exist still has an ARN.
type target struct {
	name   string
	call   *call.Call
	bucket *bucket // nil when there is none
	policy *policy.Source
	// acl and access are read where access control lists are on.
	acl    []grant
	access publicAccess
}

// target returns the bucket of a request that reached its region. A bucket of
// another region, or one that is not the expected account's, refuses it.
func (s *Service) target(ctx context.Context, c *call.Call, name, expectedOwner string) (*target, error) {
	t, err := s.anywhere(ctx, c, name, expectedOwner)
	if err != nil {
		return nil, err
	}
	if t.bucket != nil && c.Region != "" && c.Principal.Kind != aws.Anonymous && c.Region != t.bucket.Region {
		return nil, errWrongRegion(c.Region, t.bucket.Region)
	}
	return t, nil
}

// anywhere is target for requests that may name a bucket of another region:
// the source of a copy, and GetBucketLocation.
func (s *Service) anywhere(ctx context.Context, c *call.Call, name, expectedOwner string) (*target, error) {
	t := &target{name: name, call: c}
	b, err := s.bucket(ctx, name)
	if e, ok := errors.AsType[*aws.Error](err); ok && e.Code == "NoSuchBucket" {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	if expectedOwner != "" && expectedOwner != b.Account {
		return nil, errAccessDenied()
	}
	return s.targetOf(c, b)
}

// targetOf is the target that a bucket is for a caller.
func (s *Service) targetOf(c *call.Call, b *bucket) (*target, error) {
	source, err := s.policyFor(c, b)
	if err != nil {
		return nil, err
	}
	t := &target{name: b.Name, call: c, bucket: b, policy: source}
	if b.aclsOff() {
		return t, nil
	}
	if t.acl, err = grantsOf(b.ACL, b.Account); err != nil {
		return nil, fmt.Errorf("stored ACL of bucket %s: %w", b.Name, err)
	}
	t.access, err = b.publicAccess()
	return t, err
}

// errWrongRegion is the answer to a request signed for another region than
// the bucket's. SDKs read the right one from it and try again there.
func errWrongRegion(got, want string) error {
	e := aws.Errorf("AuthorizationHeaderMalformed",
		"The authorization header is malformed; the region '%s' is wrong; expecting '%s'", got, want).
		WithStatus(400).With("Region", want)
	return withHeader(e, "x-amz-bucket-region", want)
}

// policyFor returns the policy that a bucket shows to a caller. One that is
// public shows nothing to other accounts while RestrictPublicBuckets is on.
func (s *Service) policyFor(c *call.Call, b *bucket) (*policy.Source, error) {
	if b.Policy == "" {
		return nil, nil
	}
	p := s.policies.get(b.PolicyID)
	if p == nil {
		var err error
		if p, err = parsePolicy(b.Name, b.Policy); err != nil {
			return nil, fmt.Errorf("stored policy of bucket %s: %w", b.Name, err)
		}
		s.policies.put(b.PolicyID, p)
	}
	outsider := c.Account() != b.Account && !isService(c.Principal)
	if p.public && outsider {
		access, err := b.publicAccess()
		if err != nil {
			return nil, err
		}
		if access.RestrictPublicBuckets {
			return nil, nil
		}
	}
	return p.source, nil
}

// on returns the need for an action on the bucket itself.
func (t *target) on(action string, keys policy.Keys) call.Need {
	return t.need(action, bucketARN(t.name), keys)
}

// in returns the need for an action on an object of the bucket.
func (t *target) in(action, key string, keys policy.Keys) call.Need {
	return t.need(action, objectARN(t.name, key), keys)
}

func (t *target) need(action, resource string, keys policy.Keys) call.Need {
	n := call.Need{Action: action, Resource: resource, Keys: keys, Refuse: refuse}
	if t.bucket != nil {
		n.Owner = t.bucket.Account
		n.Policy = t.policy
		n.ACL = t.granted(t.acl, bucketGrants[action])
		if n.Keys == nil {
			n.Keys = policy.Keys{}
		}
		n.Keys["s3:resourceaccount"] = []string{t.bucket.Account}
	}
	return n
}

// refuse words a refusal as S3 does: the resource in quotes, and nothing at
// all for callers of other accounts.
func refuse(c *call.Call, n call.Need, d policy.Decision) *aws.Error {
	if c.Principal.Kind == aws.Anonymous || n.Owner != "" && c.Account() != n.Owner {
		return errAccessDenied()
	}
	message := "User: " + c.Principal.ARN + " is not authorized to perform: " + n.Action
	if n.Resource != allBuckets {
		message += ` on resource: "` + n.Resource + `"`
	}
	if reason := d.Reason(n.Action); reason != "" {
		message += " " + reason
	}
	return &aws.Error{Code: "AccessDenied", Message: message, Status: 403}
}

// onBucket makes the needs of an operation that asks for one action on the
// bucket its input names.
func onBucket[In any](s *Service, action string) func(context.Context, *call.Call, *In) ([]call.Need, error) {
	bucketField := fieldOf[In]("Bucket")
	ownerField := fieldOf[In]("ExpectedBucketOwner")
	return func(ctx context.Context, c *call.Call, in *In) ([]call.Need, error) {
		v := reflect.ValueOf(in).Elem()
		t, err := s.target(ctx, c, v.FieldByIndex(bucketField).String(), v.FieldByIndex(ownerField).String())
		if err != nil {
			return nil, err
		}
		return []call.Need{t.on(action, nil)}, nil
	}
}

// fieldOf finds a string field of an input.
func fieldOf[In any](name string) []int {
	f, ok := reflect.TypeFor[In]().FieldByName(name)
	if !ok || f.Type.Kind() != reflect.String {
		panic(fmt.Sprintf("%s has no text %s", reflect.TypeFor[In](), name)) // found by the first test that makes a Service
	}
	return f.Index
}

// versioned picks between an action and its sibling for versions.
func versioned(version, action, versionAction string) string {
	if version != "" {
		return versionAction
	}
	return action
}

// stored returns the need for an action on an object that may exist, with the
// condition keys that follow from it: its version and its tags.
func (s *Service) stored(ctx context.Context, t *target, action, key, version string) (call.Need, error) {
	n := t.in(action, key, policy.Keys{})
	if version != "" {
		n.Keys["s3:versionid"] = []string{version}
	}
	o, err := s.lookup(ctx, t, key, version)
	if err != nil || o == nil {
		return n, err
	}
	if err := t.about(&n, o); err != nil {
		return n, err
	}
	return n, addTagKeys(n.Keys, "s3:existingobjecttag/", o.Tags)
}

// lookup returns an object that may exist; nil when it does not.
func (s *Service) lookup(ctx context.Context, t *target, key, version string) (*object, error) {
	if t.bucket == nil || !storable(key) || !storable(version) {
		return nil, nil
	}
	var o *object
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		o, err = findObject(ctx, tx, t.name, key, version)
		return err
	})
	if errors.Is(err, state.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("object %s of bucket %s: %w", key, t.name, err)
	}
	return o, nil
}

// addTagKeys sets one condition key per tag.
func addTagKeys(keys policy.Keys, prefix, stored string) error {
	var tags []aws.Tag
	if err := decode(stored, &tags); err != nil {
		return err
	}
	for _, tag := range tags {
		keys[prefix+strings.ToLower(tag.Key)] = []string{tag.Value}
	}
	return nil
}

// missing is the answer to a request for something that is not there: only
// those who may list the bucket learn that.
func (s *Service) missing(ctx context.Context, c *call.Call, b *bucket, absent *aws.Error) error {
	t, err := s.targetOf(c, b)
	if err != nil {
		return err
	}
	if err := c.Allowed(ctx, t.on("s3:ListBucket", nil)); err != nil {
		return err
	}
	return absent
}
