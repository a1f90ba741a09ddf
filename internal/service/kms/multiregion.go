package kms

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// The roles of the keys of a set, which have one id in several Regions. The
// primary key alone is replicated and rotated, and what is shared is changed
// on it: the others follow in the same transaction.
const (
	primary = "PRIMARY"
	replica = "REPLICA"
)

// multiRegionPrefix begins the ids of multi-Region keys.
const multiRegionPrefix = "mrk-"

// family are all keys of a key's set, by Region; of a key of one Region, the
// key itself.
func (k key) family(ctx context.Context, tx *state.Tx) ([]key, error) {
	if k.MultiRegion == "" {
		return []key{k}, nil
	}
	list, err := state.List[key](ctx, tx, `
		SELECT `+keyColumns+` FROM kms_key WHERE account = $1 AND id = $2 AND multi_region <> '' ORDER BY region`, k.Account, k.ID)
	if err != nil {
		return nil, fmt.Errorf("list the Regions of %s: %w", k.arn(), err)
	}
	return list, nil
}

// others are the keys of a key's set but itself.
func (k key) others(ctx context.Context, tx *state.Tx) ([]key, error) {
	list, err := k.family(ctx, tx)
	if err != nil {
		return nil, err
	}
	others := list[:0]
	for _, o := range list {
		if o.Region != k.Region {
			others = append(others, o)
		}
	}
	return others, nil
}

// describeRegions adds what is told of a key's set.
func (k key) describeRegions(ctx context.Context, tx *state.Tx, out *api.KeyMetadata) error {
	if k.MultiRegion == "" {
		return nil
	}
	list, err := k.family(ctx, tx)
	if err != nil {
		return err
	}
	set := &api.MultiRegionConfiguration{MultiRegionKeyType: k.MultiRegion, ReplicaKeys: []api.MultiRegionKey{}}
	for _, o := range list {
		entry := api.MultiRegionKey{Arn: o.arn(), Region: o.Region}
		if o.MultiRegion == primary {
			set.PrimaryKey = &entry
		} else {
			set.ReplicaKeys = append(set.ReplicaKeys, entry)
		}
	}
	out.MultiRegionConfiguration = set
	return nil
}

// setAll is set for what the keys of a set share.
func (k key) setAll(ctx context.Context, tx *state.Tx, columns string, values ...any) error {
	list, err := k.family(ctx, tx)
	if err != nil {
		return err
	}
	for _, o := range list {
		if err := o.set(ctx, tx, columns, values...); err != nil {
			return err
		}
	}
	return nil
}

func errNotPrimary(arn string) *aws.Error {
	return aws.Errorf("UnsupportedOperationException", "%s is not a multi-Region primary key.", arn)
}

// notReplica refuses to change on a replica what is the primary key's.
func (k key) notReplica() error {
	if k.MultiRegion == replica {
		return errNotPrimary(k.arn())
	}
	return nil
}

// replicateKeyNeeds asks for leave to replicate the key here, and to make a
// key there.
func (s *Service) replicateKeyNeeds(ctx context.Context, c *call.Call, in *api.ReplicateKeyInput) ([]call.Need, error) {
	t, err := s.homeTarget(ctx, c, "kms:ReplicateKey", in.KeyId)
	if err != nil {
		return nil, err
	}
	keys := policy.Keys{"kms:replicaregion": {in.ReplicaRegion}}
	needs := []call.Need{t.need(c, "kms:ReplicateKey", keys)}
	made := policy.Keys{"aws:requestedregion": {in.ReplicaRegion}, "kms:bypasspolicylockoutsafetycheck": boolKey(in.BypassPolicyLockoutSafetyCheck)}
	if t.key != nil {
		for name, values := range kindKeys(t.key.Spec, t.key.Usage, t.key.Origin) {
			made[name] = values
		}
		made["kms:multiregion"], made["kms:multiregionkeytype"] = []string{"true"}, []string{replica}
	}
	addTagKeys(made, in.Tags)
	needs = append(needs, call.Need{Action: "kms:CreateKey", Resource: "*", Keys: made})
	if len(in.Tags) > 0 {
		needs = append(needs, call.Need{Action: "kms:TagResource", Resource: aws.NewARN("kms", in.ReplicaRegion, c.Account(), "key/*"), Keys: made})
	}
	return needs, nil
}

func (s *Service) replicateKey(ctx context.Context, c *call.Call, in *api.ReplicateKeyInput) (*api.ReplicateKeyOutput, error) {
	tags, err := checkTags(in.Tags)
	if err != nil {
		return nil, err
	}
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	made := ref{account: r.account, region: in.ReplicaRegion, id: r.id}
	text := cmp.Or(in.Policy, defaultPolicy(c.Account()))
	kept, err := s.keptPolicy(ctx, c, made.keyARN(), text, isTrue(in.BypassPolicyLockoutSafetyCheck))
	if err != nil {
		return nil, err
	}
	var k key
	err = s.change(ctx, c, in.KeyId, func(tx *state.Tx, of key) error {
		if of.MultiRegion != primary {
			return errNotPrimary(of.arn())
		}
		if err := of.usable(); err != nil {
			return err
		}
		k = of
		k.Region, k.MultiRegion, k.Policy, k.Description, k.Created = in.ReplicaRegion, replica, kept, in.Description, state.Millis(c.Time)
		if k.Origin == originExternal {
			k.State = pendingImport
		}
		if err := s.insertReplica(ctx, tx, of, k); err != nil {
			return err
		}
		return putTags(ctx, tx, k, tags)
	})
	if err != nil {
		return nil, err
	}
	meta, err := s.metadata(ctx, k)
	if err != nil {
		return nil, err
	}
	return &api.ReplicateKeyOutput{ReplicaKeyMetadata: meta, ReplicaPolicy: text, ReplicaTags: in.Tags}, nil
}

// insertReplica stores a replica of a key, with all its material. Material that
// a customer brought is the customer's to bring there, too.
func (s *Service) insertReplica(ctx context.Context, tx *state.Tx, of, k key) error {
	if _, err := findKey(ctx, tx, k.ref()); err == nil {
		return aws.Errorf("AlreadyExistsException", "%s already exists in %s.", k.arn(), k.Region)
	} else if _, absent := errors.AsType[*aws.Error](err); !absent {
		return err
	}
	if err := s.insertKey(ctx, tx, k, nil); err != nil || of.Origin == originExternal {
		return err
	}
	rows, err := of.materialRows(ctx, tx)
	if err != nil {
		return err
	}
	for _, m := range rows {
		secret, _, err := s.openMaterial(ctx, tx, of.ref(), m.Version)
		if err != nil {
			return fmt.Errorf("material %d of %s: %w", m.Version, of.arn(), err)
		}
		if err := s.putMaterial(ctx, tx, k, m, secret); err != nil {
			return err
		}
	}
	return nil
}

// updatePrimaryRegionNeeds asks on both keys, each in its Region.
func (s *Service) updatePrimaryRegionNeeds(ctx context.Context, c *call.Call, in *api.UpdatePrimaryRegionInput) ([]call.Need, error) {
	const action = "kms:UpdatePrimaryRegion"
	from, err := s.homeTarget(ctx, c, action, in.KeyId)
	if err != nil {
		return nil, err
	}
	there := from.ref
	there.region = in.PrimaryRegion
	to, err := s.target(ctx, c, there)
	if err != nil {
		return nil, err
	}
	region := []string{in.PrimaryRegion}
	return []call.Need{
		from.need(c, action, policy.Keys{"kms:primaryregion": region}),
		to.need(c, action, policy.Keys{"kms:primaryregion": region, "aws:requestedregion": region}),
	}, nil
}

func (s *Service) updatePrimaryRegion(ctx context.Context, c *call.Call, in *api.UpdatePrimaryRegionInput) (*api.UpdatePrimaryRegionOutput, error) {
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if k.MultiRegion != primary {
			return errNotPrimary(k.arn())
		}
		if in.PrimaryRegion == k.Region {
			return aws.Errorf("UnsupportedOperationException", "%s is the primary key already.", k.arn())
		}
		r := k.ref()
		r.region = in.PrimaryRegion
		next, err := findKey(ctx, tx, r)
		if err != nil {
			return err
		}
		for _, o := range [...]key{k, next} {
			if err := o.alive(); err != nil {
				return err
			}
		}
		if err := k.set(ctx, tx, `multi_region = $4`, replica); err != nil {
			return err
		}
		if err := next.set(ctx, tx, `multi_region = $4`, primary); err != nil {
			return err
		}
		if next.Rotates {
			return enqueue(ctx, tx, rotateJob, next, state.Time(next.NextRotate))
		}
		return nil
	})
}

// replicaGone has a primary key whose deletion is scheduled begin to wait, when
// its last replica is deleted.
func (s *Service) replicaGone(ctx context.Context, tx *state.Tx, gone key) error {
	if gone.MultiRegion != replica {
		return nil
	}
	left, err := gone.others(ctx, tx)
	if err != nil || len(left) != 1 || left[0].State != pendingReplicaDeletion {
		return err
	}
	last := left[0]
	return last.scheduleDeletion(ctx, tx, s.now().AddDate(0, 0, int(last.Window)))
}
