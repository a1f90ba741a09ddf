package kms

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

const (
	originKMS      = "AWS_KMS"
	originExternal = "EXTERNAL"

	managerCustomer = "CUSTOMER"
	managerAWS      = "AWS"
)

func (s *Service) createKeyNeeds(_ context.Context, c *call.Call, in *api.CreateKeyInput) ([]call.Need, error) {
	keys := kindKeys(cmp.Or(in.KeySpec, in.CustomerMasterKeySpec, symmetric), cmp.Or(in.KeyUsage, encryptDecrypt), cmp.Or(in.Origin, originKMS))
	keys["kms:multiregion"] = boolKey(in.MultiRegion)
	if isTrue(in.MultiRegion) {
		keys["kms:multiregionkeytype"] = []string{primary}
	}
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
	k, err := requestedKey(c, in)
	if err != nil {
		return nil, err
	}
	tags, err := checkTags(in.Tags)
	if err != nil {
		return nil, err
	}
	if k.Policy, err = s.keptPolicy(ctx, c, k.arn(), k.Policy, isTrue(in.BypassPolicyLockoutSafetyCheck)); err != nil {
		return nil, err
	}
	var secret []byte
	if k.Origin == originKMS {
		if secret, err = specs[k.Spec].generate(); err != nil {
			return nil, err
		}
	}
	err = s.db.Update(ctx, func(tx *state.Tx) error {
		if err := s.insertKey(ctx, tx, k, secret); err != nil {
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

// requestedKey is the key that a request asks for. What AWS has and sekisho has not
// is refused by its name.
func requestedKey(c *call.Call, in *api.CreateKeyInput) (key, error) {
	if in.KeySpec != "" && in.CustomerMasterKeySpec != "" && in.KeySpec != in.CustomerMasterKeySpec {
		return key{}, aws.Errorf("ValidationException", "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
	k := key{
		Account: c.Account(), Region: c.Region, ID: c.NewID(), Manager: managerCustomer,
		Description: in.Description, State: enabled, Policy: cmp.Or(in.Policy, defaultPolicy(c.Account())), Created: state.Millis(c.Time), Version: 1,
		Spec: cmp.Or(in.KeySpec, in.CustomerMasterKeySpec, symmetric), Usage: in.KeyUsage, Origin: cmp.Or(in.Origin, originKMS),
	}
	sp, err := findSpec(k.Spec)
	if err != nil {
		return key{}, err
	}
	switch {
	case k.Usage == "" && k.symmetric():
		k.Usage = encryptDecrypt
	case k.Usage == "":
		return key{}, aws.Errorf("ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	case sp.algorithms[k.Usage] == nil:
		return key{}, aws.Errorf("ValidationException", "KeyUsage %s is not compatible with KeySpec %s", k.Usage, k.Spec)
	}
	switch {
	case k.Origin != originKMS && k.Origin != originExternal:
		return key{}, aws.Errorf("UnsupportedOperationException", "Origin %s is not implemented by sekisho.", k.Origin)
	case in.CustomKeyStoreId != "" || in.XksKeyId != "":
		return key{}, aws.Errorf("UnsupportedOperationException", "A custom key store is not implemented by sekisho.")
	}
	if k.Origin == originExternal {
		k.State, k.Version = pendingImport, 0
	}
	if isTrue(in.MultiRegion) {
		k.ID, k.MultiRegion = multiRegionPrefix+strings.ReplaceAll(k.ID, "-", ""), primary
	}
	return k, nil
}

// insertKey stores a key with its first material; nil is none, of a key that
// waits for its import.
func (s *Service) insertKey(ctx context.Context, tx *state.Tx, k key, secret []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO kms_key (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		k.Account, k.Region, k.ID, k.Manager, k.Description, k.State, k.Policy, k.Created, k.Deletion, k.Version, k.Rotates, k.Period, k.NextRotate,
		k.Spec, k.Usage, k.Origin, k.MultiRegion, k.Window)
	if err != nil {
		return fmt.Errorf("store key %s: %w", k.arn(), err)
	}
	if secret == nil {
		return nil
	}
	return s.putMaterial(ctx, tx, k, materialRow{Version: k.Version, ID: newMaterialID(), Created: k.Created}, secret)
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

// metadata is a key as answers show it.
func (s *Service) metadata(ctx context.Context, k key) (*api.KeyMetadata, error) {
	out := &api.KeyMetadata{
		AWSAccountId: k.Account, KeyId: k.ID, Arn: k.arn(), Description: k.Description,
		CreationDate: new(state.Time(k.Created)), Enabled: new(k.State == enabled), KeyState: k.State,
		KeyUsage: k.Usage, KeySpec: k.Spec, CustomerMasterKeySpec: k.Spec, Origin: k.Origin, KeyManager: k.Manager,
		MultiRegion: new(k.MultiRegion != ""),
	}
	algorithms := specs[k.Spec].algorithms[k.Usage]
	switch k.Usage {
	case encryptDecrypt:
		out.EncryptionAlgorithms = algorithms
	case signVerify:
		out.SigningAlgorithms = algorithms
	case generateVerifyMAC:
		out.MacAlgorithms = algorithms
	case keyAgreement:
		out.KeyAgreementAlgorithms = algorithms
	}
	switch k.State {
	case pendingDeletion:
		out.DeletionDate = new(state.Time(k.Deletion))
	case pendingReplicaDeletion:
		out.PendingDeletionWindowInDays = &k.Window
	}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		if err := k.describeMaterial(ctx, tx, out); err != nil {
			return err
		}
		return k.describeRegions(ctx, tx, out)
	})
	return out, err
}

// describeMaterial adds what is told of a key's material.
func (k key) describeMaterial(ctx context.Context, tx *state.Tx, out *api.KeyMetadata) error {
	rows, err := k.materialRows(ctx, tx)
	if err != nil {
		return err
	}
	for _, m := range rows {
		if m.Version == k.Version && k.symmetric() {
			out.CurrentKeyMaterialId = m.ID
		}
		if k.Origin != originExternal || !m.Present || m.Version > k.Version {
			continue
		}
		out.ExpirationModel = cmp.Or(out.ExpirationModel, neverExpires)
		if m.Expires == 0 {
			continue
		}
		out.ExpirationModel = expires
		if at := state.Time(m.Expires); out.ValidTo == nil || at.Before(*out.ValidTo) {
			out.ValidTo = &at
		}
	}
	return nil
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
		if err := k.complete(); err != nil {
			return err
		}
		if err := k.set(ctx, tx, `state = $4`, enabled); err != nil {
			return err
		}
		// A rotation that fell due while the key was disabled is made up for.
		if k.Rotates && k.MultiRegion != replica {
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
		if err := k.complete(); err != nil {
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
	out := &api.ScheduleKeyDeletionOutput{PendingWindowInDays: &days}
	err := s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.alive(); err != nil {
			return err
		}
		out.KeyId, out.KeyState = k.arn(), pendingDeletion
		if k.MultiRegion == primary {
			others, err := k.others(ctx, tx)
			if err != nil {
				return err
			}
			if len(others) > 0 {
				// A primary key goes after its replicas: only then its waiting begins.
				out.KeyState = pendingReplicaDeletion
				return k.set(ctx, tx, `state = $4, deletion_window = $5`, pendingReplicaDeletion, days)
			}
		}
		at := c.Time.Add(time.Duration(days) * day)
		out.DeletionDate = &at
		return k.scheduleDeletion(ctx, tx, at)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (k key) scheduleDeletion(ctx context.Context, tx *state.Tx, at time.Time) error {
	if err := k.set(ctx, tx, `state = $4, deletion = $5, deletion_window = 0`, pendingDeletion, state.Millis(at)); err != nil {
		return err
	}
	return enqueue(ctx, tx, deleteJob, k, at)
}

func (s *Service) cancelKeyDeletionNeeds(ctx context.Context, c *call.Call, in *api.CancelKeyDeletionInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:CancelKeyDeletion", in.KeyId, nil)
}

func (s *Service) cancelKeyDeletion(ctx context.Context, c *call.Call, in *api.CancelKeyDeletionInput) (*api.CancelKeyDeletionOutput, error) {
	out := &api.CancelKeyDeletionOutput{}
	err := s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if k.alive() == nil {
			return aws.Errorf("KMSInvalidStateException", "%s is not pending deletion.", k.arn())
		}
		out.KeyId, k.State = k.arn(), disabled
		if err := k.set(ctx, tx, `state = $4, deletion = 0, deletion_window = 0`, k.State); err != nil {
			return err
		}
		return k.settleImport(ctx, tx)
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
	expireJob = "kms/expire"
)

// keyName is a key in a job's payload.
type keyName struct{ Account, Region, ID string }

func (n keyName) ref() ref { return ref{account: n.Account, region: n.Region, id: n.ID} }

func enqueue(ctx context.Context, tx *state.Tx, kind string, k key, at time.Time) error {
	return job.Enqueue(ctx, tx, job.New{Kind: kind, Key: k.arn(), Payload: keyName{k.Account, k.Region, k.ID}, RunAt: at})
}
