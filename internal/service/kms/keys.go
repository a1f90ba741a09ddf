package kms

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// What every key is here.
const (
	symmetric      = "SYMMETRIC_DEFAULT"
	encryptDecrypt = "ENCRYPT_DECRYPT"
	originKMS      = "AWS_KMS"

	managerCustomer = "CUSTOMER"
	managerAWS      = "AWS"
)

func (s *Service) createKeyNeeds(_ context.Context, c *call.Call, in *api.CreateKeyInput) ([]call.Need, error) {
	keys := kindKeys(cmp.Or(in.KeySpec, in.CustomerMasterKeySpec, symmetric), cmp.Or(in.KeyUsage, encryptDecrypt), cmp.Or(in.Origin, originKMS))
	keys["kms:multiregion"] = boolKey(in.MultiRegion)
	keys["kms:bypasspolicylockoutsafetycheck"] = boolKey(in.BypassPolicyLockoutSafetyCheck)
	addTagKeys(keys, in.Tags)
	needs := everywhere("kms:CreateKey", keys)
	if len(in.Tags) > 0 {
		// The key has no id yet; AWS asks about any key of the account.
		needs = append(needs, call.Need{Action: "kms:TagResource", Resource: aws.NewARN("kms", c.Region, c.Account(), "key/*"), Keys: keys})
	}
	return needs, nil
}

func (s *Service) createKey(ctx context.Context, c *call.Call, in *api.CreateKeyInput) (*api.CreateKeyOutput, error) {
	if err := refuseOtherKinds(in); err != nil {
		return nil, err
	}
	tags, err := checkTags(in.Tags)
	if err != nil {
		return nil, err
	}
	k := key{
		Account: c.Account(), Region: c.Region, ID: c.NewID(), Manager: managerCustomer,
		Description: in.Description, State: enabled, Policy: in.Policy, Created: state.Millis(c.Time), Version: 1,
	}
	if k.Policy == "" {
		k.Policy = defaultPolicy(k.Account)
	}
	if k.Policy, err = s.keptPolicy(ctx, c, k.arn(), k.Policy, isTrue(in.BypassPolicyLockoutSafetyCheck)); err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		if err := s.insertKey(ctx, tx, k); err != nil {
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
	return &api.CreateKeyOutput{KeyMetadata: meta}, nil
}

// refuseOtherKinds names what AWS has and sekisho has not.
func refuseOtherKinds(in *api.CreateKeyInput) error {
	spec := in.KeySpec
	switch {
	case in.KeySpec != "" && in.CustomerMasterKeySpec != "" && in.KeySpec != in.CustomerMasterKeySpec:
		return aws.Errorf("ValidationException", "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	case spec == "":
		spec = in.CustomerMasterKeySpec
	}
	unsupported := func(what string) error {
		return aws.Errorf("UnsupportedOperationException", "%s is not implemented by sekisho, which makes symmetric encryption keys (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT) with material of its own.", what)
	}
	switch {
	case spec != "" && spec != symmetric:
		return unsupported("KeySpec " + spec)
	case in.KeyUsage != "" && in.KeyUsage != encryptDecrypt:
		return aws.Errorf("ValidationException", "KeyUsage %s is not compatible with KeySpec %s", in.KeyUsage, symmetric)
	case in.Origin != "" && in.Origin != originKMS:
		return unsupported("Origin " + in.Origin)
	case in.CustomKeyStoreId != "" || in.XksKeyId != "":
		return unsupported("A custom key store")
	case isTrue(in.MultiRegion):
		return unsupported("A multi-Region key")
	}
	return nil
}

// insertKey stores a key with fresh material.
func (s *Service) insertKey(ctx context.Context, tx *state.Tx, k key) error {
	_, err := tx.Exec(ctx, `INSERT INTO kms_key (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		k.Account, k.Region, k.ID, k.Manager, k.Description, k.State, k.Policy, k.Created, k.Deletion, k.Version, k.Rotates, k.Period, k.NextRotate)
	if err != nil {
		return fmt.Errorf("store key %s: %w", k.arn(), err)
	}
	return s.insertMaterial(ctx, tx, k, "", k.Created)
}

func (s *Service) describeKeyNeeds(ctx context.Context, c *call.Call, in *api.DescribeKeyInput) ([]call.Need, error) {
	t, err := s.anyTarget(ctx, c, in.KeyId)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.granted(c, "kms:DescribeKey", nil, nil)}, s.checkTokens(in.GrantTokens)
}

func (s *Service) describeKey(ctx context.Context, c *call.Call, in *api.DescribeKeyInput) (*api.DescribeKeyOutput, error) {
	r, err := anyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	var found key
	err = s.read(ctx, r, func(_ *state.Tx, k key) error { found = k; return nil })
	if err != nil {
		return nil, err
	}
	meta, err := s.metadata(ctx, found)
	if err != nil {
		return nil, err
	}
	return &api.DescribeKeyOutput{KeyMetadata: meta}, nil
}

func (s *Service) metadata(ctx context.Context, k key) (*api.KeyMetadata, error) {
	m, err := s.material(ctx, k.ref(), k.Version)
	if err != nil {
		return nil, err
	}
	out := &api.KeyMetadata{
		AWSAccountId: k.Account, KeyId: k.ID, Arn: k.arn(), Description: k.Description,
		CreationDate: new(state.Time(k.Created)), Enabled: new(k.State == enabled), KeyState: k.State,
		KeyUsage: encryptDecrypt, KeySpec: symmetric, CustomerMasterKeySpec: symmetric,
		EncryptionAlgorithms: []string{symmetric}, Origin: originKMS, KeyManager: k.Manager,
		MultiRegion: new(false), CurrentKeyMaterialId: m.id,
	}
	if k.State == pendingDeletion {
		out.DeletionDate = new(state.Time(k.Deletion))
	}
	return out, nil
}

func (s *Service) listKeysNeeds(context.Context, *call.Call, *api.ListKeysInput) ([]call.Need, error) {
	return everywhere("kms:ListKeys", nil), nil
}

func (s *Service) listKeys(ctx context.Context, c *call.Call, in *api.ListKeysInput) (*api.ListKeysOutput, error) {
	p, err := newPage(in.Limit, in.Marker, 100, 1000)
	if err != nil {
		return nil, err
	}
	var ids []string
	err = s.db.View(ctx, func(tx *state.Tx) error {
		ids, err = state.List[string](ctx, tx, `
			SELECT id FROM kms_key WHERE account = $1 AND region = $2 AND id > $3 ORDER BY id LIMIT $4`,
			c.Account(), c.Region, p.after, p.limit+1)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	out := &api.ListKeysOutput{Keys: []api.KeyListEntry{}}
	ids, out.NextMarker, out.Truncated = cut(p, ids, func(id string) string { return id })
	for _, id := range ids {
		out.Keys = append(out.Keys, api.KeyListEntry{KeyId: id, KeyArn: ref{account: c.Account(), region: c.Region, id: id}.keyARN()})
	}
	return out, nil
}

func (s *Service) updateKeyDescriptionNeeds(ctx context.Context, c *call.Call, in *api.UpdateKeyDescriptionInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:UpdateKeyDescription", in.KeyId, nil)
}

func (s *Service) updateKeyDescription(ctx context.Context, c *call.Call, in *api.UpdateKeyDescriptionInput) (*api.UpdateKeyDescriptionOutput, error) {
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		return k.set(ctx, tx, `description = $4`, in.Description)
	})
}

// set changes columns of a key; its values are numbered from $4.
func (k key) set(ctx context.Context, tx *state.Tx, columns string, values ...any) error {
	_, err := tx.Exec(ctx, `UPDATE kms_key SET `+columns+` WHERE account = $1 AND region = $2 AND id = $3`,
		append([]any{k.Account, k.Region, k.ID}, values...)...)
	if err != nil {
		return fmt.Errorf("change key %s: %w", k.arn(), err)
	}
	return nil
}

func (s *Service) enableKeyNeeds(ctx context.Context, c *call.Call, in *api.EnableKeyInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:EnableKey", in.KeyId, nil)
}

func (s *Service) enableKey(ctx context.Context, c *call.Call, in *api.EnableKeyInput) (*api.EnableKeyOutput, error) {
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		if err := k.set(ctx, tx, `state = $4`, enabled); err != nil {
			return err
		}
		// A rotation that fell due while the key was disabled is made up for.
		if k.Rotates {
			return enqueue(ctx, tx, rotateJob, k, state.Time(k.NextRotate))
		}
		return nil
	})
}

func (s *Service) disableKeyNeeds(ctx context.Context, c *call.Call, in *api.DisableKeyInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:DisableKey", in.KeyId, nil)
}

func (s *Service) disableKey(ctx context.Context, c *call.Call, in *api.DisableKeyInput) (*api.DisableKeyOutput, error) {
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		return k.set(ctx, tx, `state = $4`, disabled)
	})
}

const day = 24 * time.Hour

// window is the waiting period of a deletion, in days.
func window(in *api.ScheduleKeyDeletionInput) int64 {
	if in.PendingWindowInDays == nil {
		return 30
	}
	return *in.PendingWindowInDays
}

func (s *Service) scheduleKeyDeletionNeeds(ctx context.Context, c *call.Call, in *api.ScheduleKeyDeletionInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:ScheduleKeyDeletion", in.KeyId, policy.Keys{
		"kms:schedulekeydeletionpendingwindowindays": {strconv.FormatInt(window(in), 10)},
	})
}

func (s *Service) scheduleKeyDeletion(ctx context.Context, c *call.Call, in *api.ScheduleKeyDeletionInput) (*api.ScheduleKeyDeletionOutput, error) {
	days := window(in)
	if days < 7 || days > 30 {
		return nil, aws.Errorf("ValidationException", "%d is not a valid PendingWindowInDays. It must be between 7 and 30.", days)
	}
	out := &api.ScheduleKeyDeletionOutput{KeyState: pendingDeletion, PendingWindowInDays: &days}
	err := s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		at := c.Time.Add(time.Duration(days) * day)
		out.KeyId, out.DeletionDate = k.arn(), &at
		if err := k.set(ctx, tx, `state = $4, deletion = $5`, pendingDeletion, state.Millis(at)); err != nil {
			return err
		}
		return enqueue(ctx, tx, deleteJob, k, at)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) cancelKeyDeletionNeeds(ctx context.Context, c *call.Call, in *api.CancelKeyDeletionInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:CancelKeyDeletion", in.KeyId, nil)
}

func (s *Service) cancelKeyDeletion(ctx context.Context, c *call.Call, in *api.CancelKeyDeletionInput) (*api.CancelKeyDeletionOutput, error) {
	out := &api.CancelKeyDeletionOutput{}
	err := s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if k.State != pendingDeletion {
			return aws.Errorf("KMSInvalidStateException", "%s is not pending deletion.", k.arn())
		}
		out.KeyId = k.arn()
		return k.set(ctx, tx, `state = $4, deletion = 0`, disabled)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// The kinds of jobs.
const (
	deleteJob = "kms/delete"
	rotateJob = "kms/rotate"
)

// keyName is a key in a job's payload.
type keyName struct{ Account, Region, ID string }

func (n keyName) ref() ref { return ref{account: n.Account, region: n.Region, id: n.ID} }

func enqueue(ctx context.Context, tx *state.Tx, kind string, k key, at time.Time) error {
	return job.Enqueue(ctx, tx, job.New{Kind: kind, Key: k.arn(), Payload: keyName{k.Account, k.Region, k.ID}, RunAt: at})
}
