package cloudformation

import (
	"context"

	kmsapi "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/cfn"
)

// replicaKey is AWS::KMS::ReplicaKey. The replica is in the stack's Region, its
// primary key in another.
type replicaKey struct{}

type replicaKeyProperties struct {
	Description         string
	Enabled             *bool
	KeyPolicy           *cfn.Node `cfn:",required"`
	PendingWindowInDays *int64
	PrimaryKeyArn       string `cfn:",required"`
	Tags                []tag
}

// key are the properties that a replica has of its own, as any key.
func (p replicaKeyProperties) key() keyProperties {
	return keyProperties{Description: p.Description, Enabled: p.Enabled, KeyPolicy: p.KeyPolicy, PendingWindowInDays: p.PendingWindowInDays, Tags: p.Tags}
}

func (replicaKey) create(ctx context.Context, q *request) error {
	var p replicaKeyProperties
	if err := q.read(&p); err != nil {
		return err
	}
	k, err := q.replicate(ctx, p)
	if err != nil {
		return err
	}
	q.Attributes["Arn"], q.Attributes["KeyId"] = k.Arn, k.KeyId
	if err := q.exists(ctx, k.KeyId); err != nil {
		return err
	}
	return q.keyState(ctx, keyProperties{}, p.key())
}

// replicate makes the replica, by a call in its primary key's Region. One that
// a step made before it was cut off is there already.
func (q *request) replicate(ctx context.Context, p replicaKeyProperties) (*kmsapi.KeyMetadata, error) {
	a, ok := aws.ParseARN(p.PrimaryKeyArn)
	if !ok || a.Service != "kms" {
		return nil, problemf("Value of property PrimaryKeyArn must be the ARN of a multi-Region primary key")
	}
	if q.Physical == "" {
		there := q.session
		there.Region = a.Region
		out, err := kmsapi.Client{Invoker: q.s.door.As(there)}.ReplicateKey(ctx, &kmsapi.ReplicateKeyInput{
			KeyId: p.PrimaryKeyArn, ReplicaRegion: q.Stack.Region, Policy: document(p.KeyPolicy), Description: p.Description, Tags: kmsTags(p.Tags),
		})
		if err == nil {
			return out.ReplicaKeyMetadata, nil
		}
		if !q.Resumed || !existing(err) {
			return nil, err
		}
		arn := aws.NewARN("kms", q.Stack.Region, a.Account, a.Resource)
		found, e := q.kms().DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: arn})
		if e != nil || !q.ours(found.KeyMetadata.CreationDate) {
			return nil, err
		}
		return found.KeyMetadata, nil
	}
	out, err := q.kms().DescribeKey(ctx, &kmsapi.DescribeKeyInput{KeyId: q.Physical})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}

func (replicaKey) update(ctx context.Context, q *request) error {
	var before, after replicaKeyProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	return q.updateKey(ctx, before.key(), after.key())
}

func (replicaKey) remove(ctx context.Context, q *request) error {
	var p replicaKeyProperties
	_ = decode(q.Properties, &p) // a key of bad properties was never made
	return q.removeKey(ctx, p.PendingWindowInDays)
}
