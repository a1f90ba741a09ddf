package cloudformation

import (
	"cmp"
	"context"
	"strings"

	kmsapi "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/cfn"
)

func (q *request) kms() kmsapi.Client { return kmsapi.Client{Invoker: q.Invoker} }

func kmsTags(tags []tag) []kmsapi.Tag {
	return convert(tags, func(t tag) kmsapi.Tag { return kmsapi.Tag{TagKey: t.Key, TagValue: t.Value} })
}

// key is AWS::KMS::Key.
type key struct{}

type keyProperties struct {
	BypassPolicyLockoutSafetyCheck *bool
	Description                    string
	Enabled                        *bool
	EnableKeyRotation              *bool
	KeyPolicy                      *cfn.Node
	KeySpec                        string
	KeyUsage                       string
	MultiRegion                    *bool
	Origin                         string
	PendingWindowInDays            *int64
	RotationPeriodInDays           *int64
	Tags                           []tag
}

func (key) create(ctx context.Context, q *request) error {
	var p keyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	k, err := q.createKey(ctx, p)
	if err != nil {
		return err
	}
	q.Attributes["Arn"], q.Attributes["KeyId"] = k.Arn, k.KeyId
	if err := q.exists(ctx, k.KeyId); err != nil {
		return err
	}
	return q.keyState(ctx, keyProperties{}, p)
}

// createKey makes the key. KMS knows no client tokens and names keys itself,
// so that a step that was cut off has to look for what it may have made.
func (q *request) createKey(ctx context.Context, p keyProperties) (*kmsapi.KeyMetadata, error) {
	if q.Physical != "" {
		out, err := q.kms().DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: q.Physical})
		if err != nil {
			return nil, err
		}
		return out.KeyMetadata, nil
	}
	if q.Resumed {
		k, err := q.lostKey(ctx, p)
		if k != nil || err != nil {
			return k, err
		}
	}
	out, err := q.kms().CreateKey(ctx, &kmsapi.CreateKeyInput{
		Policy: document(p.KeyPolicy), Description: p.Description, KeyUsage: p.KeyUsage, KeySpec: p.KeySpec, Origin: p.Origin,
		MultiRegion: p.MultiRegion, BypassPolicyLockoutSafetyCheck: p.BypassPolicyLockoutSafetyCheck, Tags: kmsTags(p.Tags),
	})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}

// lostKey finds the key that a step made whose process died before it was
// recorded: younger than the step, of the same description and policy, in
// nobody's stack. Of several resources that look for theirs, one gets it.
func (q *request) lostKey(ctx context.Context, p keyProperties) (*kmsapi.KeyMetadata, error) {
	in := &kmsapi.ListKeysInput{}
	for {
		page, err := q.kms().ListKeys(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, entry := range page.Keys {
			out, err := q.kms().DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: entry.KeyId})
			if err != nil || out.KeyMetadata == nil {
				continue // not ours to see, then not ours
			}
			k := out.KeyMetadata
			if !q.ours(k.CreationDate) || k.Description != p.Description || k.KeyManager == "AWS" || k.DeletionDate != nil {
				continue
			}
			if !q.hasPolicy(ctx, k.KeyId, p.KeyPolicy) {
				continue
			}
			claimed, err := q.s.claim(ctx, k.KeyId, q.Stack.ID, q.LogicalID)
			if err != nil {
				return nil, err
			}
			if claimed {
				return k, nil
			}
		}
		if page.NextMarker == "" {
			return nil, nil
		}
		in.Marker = page.NextMarker
	}
}

// hasPolicy reports whether a key has a policy; nil is the default one, which
// KMS writes itself.
func (q *request) hasPolicy(ctx context.Context, id string, want *cfn.Node) bool {
	if want == nil {
		return true
	}
	out, err := q.kms().GetKeyPolicy(ctx, &kmsapi.GetKeyPolicyInput{KeyId: id, PolicyName: "default"})
	if err != nil {
		return false
	}
	got, err := cfn.ParseValue(out.Policy)
	if err != nil {
		return false
	}
	asked, err := cfn.ParseValue(document(want))
	return err == nil && got.Equal(asked)
}

// keyState brings rotation and the key's being enabled from one state to
// another.
func (q *request) keyState(ctx context.Context, before, after keyProperties) error {
	is := func(b *bool, otherwise bool) bool {
		if b == nil {
			return otherwise
		}
		return *b
	}
	id := q.Physical
	wasOn, on := is(before.Enabled, true), is(after.Enabled, true)
	if !wasOn && on {
		if _, err := q.kms().EnableKey(ctx, &kmsapi.EnableKeyInput{KeyId: id}); err != nil {
			return err
		}
	}
	rotated, rotate := is(before.EnableKeyRotation, false), is(after.EnableKeyRotation, false)
	period := func(n *int64) int64 {
		if n == nil {
			return 0
		}
		return *n
	}
	switch {
	case rotate && (!rotated || period(before.RotationPeriodInDays) != period(after.RotationPeriodInDays)):
		in := &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: after.RotationPeriodInDays}
		if _, err := q.kms().EnableKeyRotation(ctx, in); err != nil {
			return err
		}
	case rotated && !rotate:
		if _, err := q.kms().DisableKeyRotation(ctx, &kmsapi.DisableKeyRotationInput{KeyId: id}); err != nil {
			return err
		}
	}
	if wasOn && !on {
		_, err := q.kms().DisableKey(ctx, &kmsapi.DisableKeyInput{KeyId: id})
		return err
	}
	return nil
}

func (key) update(ctx context.Context, q *request) error {
	var before, after keyProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	if err := q.sameKind(ctx, after); err != nil {
		return err
	}
	return q.updateKey(ctx, before, after)
}

// sameKind refuses to make another kind of key of a key. AWS does not replace
// it either, whatever the template says, so that no key is lost by it.
func (q *request) sameKind(ctx context.Context, p keyProperties) error {
	if !q.changed("KeySpec") && !q.changed("KeyUsage") && !q.changed("Origin") && !q.changed("MultiRegion") {
		return nil
	}
	out, err := q.kms().DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: q.Physical})
	if err != nil {
		return err
	}
	k := out.KeyMetadata
	for _, property := range []struct {
		name    string
		changed bool
	}{
		{"KeySpec", cmp.Or(p.KeySpec, "SYMMETRIC_DEFAULT") != k.KeySpec},
		{"KeyUsage", cmp.Or(p.KeyUsage, "ENCRYPT_DECRYPT") != k.KeyUsage},
		{"Origin", cmp.Or(p.Origin, "AWS_KMS") != k.Origin},
		{"MultiRegion", (p.MultiRegion != nil && *p.MultiRegion) != (k.MultiRegion != nil && *k.MultiRegion)},
	} {
		if property.changed {
			return problemf("Invalid request provided: You cannot change the %s of an existing KMS key.", property.name)
		}
	}
	return nil
}

// updateKey brings a key from one state to another.
func (q *request) updateKey(ctx context.Context, before, after keyProperties) error {
	if q.changed("KeyPolicy") && after.KeyPolicy != nil {
		if _, err := q.kms().PutKeyPolicy(ctx, &kmsapi.PutKeyPolicyInput{
			KeyId: q.Physical, PolicyName: "default", Policy: document(after.KeyPolicy),
			BypassPolicyLockoutSafetyCheck: after.BypassPolicyLockoutSafetyCheck,
		}); err != nil {
			return err
		}
	}
	if q.changed("Description") {
		in := &kmsapi.UpdateKeyDescriptionInput{KeyId: q.Physical, Description: after.Description}
		if _, err := q.kms().UpdateKeyDescription(ctx, in); err != nil {
			return err
		}
	}
	set, unset := tagChanges(before.Tags, after.Tags)
	if unset != nil {
		if _, err := q.kms().UntagResource(ctx, &kmsapi.UntagResourceInput{KeyId: q.Physical, TagKeys: unset}); err != nil {
			return err
		}
	}
	if set != nil {
		if _, err := q.kms().TagResource(ctx, &kmsapi.TagResourceInput{KeyId: q.Physical, Tags: kmsTags(set)}); err != nil {
			return err
		}
	}
	return q.keyState(ctx, before, after)
}

// remove schedules the key's deletion, which is all that AWS does.
func (key) remove(ctx context.Context, q *request) error {
	var p keyProperties
	_ = decode(q.Properties, &p) // a key of bad properties was never made
	return q.removeKey(ctx, p.PendingWindowInDays)
}

// removeKey schedules the deletion of a key that is there and is not to be
// deleted yet.
func (q *request) removeKey(ctx context.Context, window *int64) error {
	_, err := q.kms().ScheduleKeyDeletion(ctx, &kmsapi.ScheduleKeyDeletionInput{
		KeyId: q.Physical, PendingWindowInDays: window,
	})
	if errorCode(err) == "KMSInvalidStateException" && strings.Contains(err.Error(), "deletion") {
		return nil
	}
	return unlessMissing(err)
}

// alias is AWS::KMS::Alias.
type alias struct{}

type aliasProperties struct {
	AliasName   string `cfn:",required"`
	TargetKeyId string `cfn:",required"`
}

func (alias) create(ctx context.Context, q *request) error {
	var p aliasProperties
	if err := q.read(&p); err != nil {
		return err
	}
	_, err := q.kms().CreateAlias(ctx, &kmsapi.CreateAliasInput{AliasName: p.AliasName, TargetKeyId: p.TargetKeyId})
	if err != nil && q.Resumed && existing(err) {
		if out, e := q.kms().ListAliases(ctx, &kmsapi.ListAliasesInput{KeyId: p.TargetKeyId}); e == nil {
			for _, a := range out.Aliases {
				if a.AliasName == p.AliasName && q.ours(a.CreationDate) {
					return q.exists(ctx, p.AliasName)
				}
			}
		}
	}
	if err != nil {
		return err
	}
	return q.exists(ctx, p.AliasName)
}

func (alias) update(ctx context.Context, q *request) error {
	var p aliasProperties
	if err := q.read(&p); err != nil {
		return err
	}
	_, err := q.kms().UpdateAlias(ctx, &kmsapi.UpdateAliasInput{AliasName: p.AliasName, TargetKeyId: p.TargetKeyId})
	return err
}

func (alias) remove(ctx context.Context, q *request) error {
	_, err := q.kms().DeleteAlias(ctx, &kmsapi.DeleteAliasInput{AliasName: q.Physical})
	return unlessMissing(err)
}
