package kms

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// What brings a rotation about.
const (
	automatic = "AUTOMATIC"
	onDemand  = "ON_DEMAND"
)

// rotate gives a key, and the replicas that it has, new material. What the old
// one encrypted opens as before.
func (s *Service) rotate(ctx context.Context, tx *state.Tx, k key, cause string, at time.Time) error {
	secret, err := specs[k.Spec].generate()
	if err != nil {
		return err
	}
	m := materialRow{Version: k.Version + 1, ID: newMaterialID(), Cause: cause, Created: state.Millis(at)}
	list, err := k.family(ctx, tx)
	if err != nil {
		return err
	}
	for _, o := range list {
		if err := s.putMaterial(ctx, tx, o, m, secret); err != nil {
			return err
		}
	}
	return k.setAll(ctx, tx, `version = $4`, m.Version)
}

// rotateImported has a key go over to the material that was imported for it,
// there and to all its replicas.
func (s *Service) rotateImported(ctx context.Context, tx *state.Tx, k key, at time.Time) error {
	next := k.Version + 1
	list, err := k.family(ctx, tx)
	if err != nil {
		return err
	}
	for _, o := range list {
		n, err := tx.Exec(ctx, `
			UPDATE kms_material SET cause = $5, created = $6
			WHERE account = $1 AND region = $2 AND key_id = $3 AND version = $4 AND LENGTH(sealed) > 0`,
			o.Account, o.Region, o.ID, next, onDemand, state.Millis(at))
		if err != nil {
			return fmt.Errorf("rotate %s: %w", o.arn(), err)
		}
		if n == 0 {
			return aws.Errorf("KMSInvalidStateException", "%s has no imported key material that is pending rotation.", o.arn())
		}
	}
	return k.setAll(ctx, tx, `version = $4`, next)
}

// rotates refuses kinds of keys whose material never changes.
func (k key) rotates() error {
	if k.symmetric() {
		return nil
	}
	return aws.Errorf("UnsupportedOperationException", "%s is of key spec %s, which is not valid for rotation.", k.arn(), k.Spec)
}

// rotatesItself refuses keys that are not rotated on schedule, or not on a
// schedule of their own.
func (k key) rotatesItself() error {
	if err := k.rotates(); err != nil {
		return err
	}
	if k.Origin != originKMS {
		return errOrigin(k)
	}
	return k.notReplica()
}

func errOrigin(k key) *aws.Error {
	return aws.Errorf("UnsupportedOperationException", "%s origin is %s which is not valid for this operation.", k.arn(), k.Origin)
}

func (s *Service) getKeyRotationStatusNeeds(ctx context.Context, c *call.Call, in *api.GetKeyRotationStatusInput) ([]call.Need, error) {
	t, err := s.keyTarget(ctx, c, in.KeyId)
	if err != nil {
		return nil, err
	}
	return []call.Need{t.need(c, "kms:GetKeyRotationStatus", nil)}, nil
}

func (s *Service) getKeyRotationStatus(ctx context.Context, c *call.Call, in *api.GetKeyRotationStatusInput) (*api.GetKeyRotationStatusOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	out := &api.GetKeyRotationStatusOutput{}
	err = s.read(ctx, r, func(_ *state.Tx, k key) error {
		// A key that waits for its deletion does not rotate. Of kinds that never
		// do AWS says just that, too.
		out.KeyId, out.KeyRotationEnabled = k.arn(), new(k.Rotates && k.alive() == nil)
		if *out.KeyRotationEnabled {
			out.RotationPeriodInDays, out.NextRotationDate = &k.Period, new(state.Time(k.NextRotate))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func period(in *api.EnableKeyRotationInput) int64 {
	if in.RotationPeriodInDays == nil {
		return 365
	}
	return *in.RotationPeriodInDays
}

func (s *Service) enableKeyRotationNeeds(ctx context.Context, c *call.Call, in *api.EnableKeyRotationInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:EnableKeyRotation", in.KeyId, policy.Keys{
		"kms:rotationperiodindays": {strconv.FormatInt(period(in), 10)},
	})
}

func (s *Service) enableKeyRotation(ctx context.Context, c *call.Call, in *api.EnableKeyRotationInput) (*api.EnableKeyRotationOutput, error) {
	days := period(in)
	if days < 90 || days > 2560 {
		return nil, aws.Errorf("ValidationException", "RotationPeriodInDays %d is not between 90 and 2560.", days)
	}
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.rotatesItself(); err != nil {
			return err
		}
		if err := k.usable(); err != nil {
			return err
		}
		if k.Rotates && k.Period == days {
			return nil
		}
		next := c.Time.Add(time.Duration(days) * day)
		if err := k.setAll(ctx, tx, `rotates = 1, period = $4, next_rotation = $5`, days, state.Millis(next)); err != nil {
			return err
		}
		return enqueue(ctx, tx, rotateJob, k, next)
	})
}

func (s *Service) disableKeyRotationNeeds(ctx context.Context, c *call.Call, in *api.DisableKeyRotationInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:DisableKeyRotation", in.KeyId, nil)
}

func (s *Service) disableKeyRotation(ctx context.Context, c *call.Call, in *api.DisableKeyRotationInput) (*api.DisableKeyRotationOutput, error) {
	return nil, s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.rotatesItself(); err != nil {
			return err
		}
		if err := k.usable(); err != nil {
			return err
		}
		return k.setAll(ctx, tx, `rotates = 0, next_rotation = 0`)
	})
}

func (s *Service) rotateKeyOnDemandNeeds(ctx context.Context, c *call.Call, in *api.RotateKeyOnDemandInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:RotateKeyOnDemand", in.KeyId, nil)
}

// onDemandLimit is how often a key may be rotated by hand.
const onDemandLimit = 25

// rotationSoon is how long before a scheduled rotation none is made by hand.
const rotationSoon = 20 * time.Minute

func (s *Service) rotateKeyOnDemand(ctx context.Context, c *call.Call, in *api.RotateKeyOnDemandInput) (*api.RotateKeyOnDemandOutput, error) {
	out := &api.RotateKeyOnDemandOutput{}
	err := s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.rotates(); err != nil {
			return err
		}
		if err := k.notReplica(); err != nil {
			return err
		}
		if err := k.usable(); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `
			SELECT COUNT(*) FROM kms_material WHERE account = $1 AND region = $2 AND key_id = $3 AND cause = 'ON_DEMAND'`, k.Account, k.Region, k.ID)
		if err != nil {
			return fmt.Errorf("count rotations of %s: %w", k.arn(), err)
		}
		if n >= onDemandLimit {
			return aws.Errorf("LimitExceededException", "A key can be rotated on demand at most %d times.", onDemandLimit)
		}
		if k.Rotates && state.Time(k.NextRotate).Sub(c.Time) < rotationSoon {
			return aws.Errorf("ConflictException", "%s is about to be rotated automatically.", k.arn())
		}
		out.KeyId = k.arn()
		if k.Origin == originExternal {
			return s.rotateImported(ctx, tx, k, c.Time)
		}
		return s.rotate(ctx, tx, k, onDemand, c.Time)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) listKeyRotationsNeeds(ctx context.Context, c *call.Call, in *api.ListKeyRotationsInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:ListKeyRotations", in.KeyId, nil)
}

func (s *Service) listKeyRotations(ctx context.Context, c *call.Call, in *api.ListKeyRotationsInput) (*api.ListKeyRotationsOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	p, err := newPage(in.Limit, in.Marker, 100, 1000)
	if err != nil {
		return nil, err
	}
	after, err := strconv.ParseInt("0"+p.after, 10, 64)
	if err != nil {
		return nil, aws.Errorf("InvalidMarkerException", "Could not deserialize marker '%s'", in.Marker)
	}
	out := &api.ListKeyRotationsOutput{Rotations: []api.RotationsListEntry{}}
	err = s.read(ctx, r, func(tx *state.Tx, k key) error {
		if err := k.rotates(); err != nil {
			return err
		}
		rows, err := k.materialRows(ctx, tx)
		if err != nil {
			return err
		}
		waiting, err := k.waitingState(ctx, tx)
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(m materialRow) bool {
			return m.Version <= after || m.Cause == "" && in.IncludeKeyMaterial != "ALL_KEY_MATERIAL"
		})
		rows, out.NextMarker, out.Truncated = cut(p, rows, func(m materialRow) string { return strconv.FormatInt(m.Version, 10) })
		out.Rotations = out.Rotations[:0]
		for _, m := range rows {
			out.Rotations = append(out.Rotations, k.rotation(m, waiting))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rotation is a version of a key's material as listings show it. waiting is
// the state of material that waits for its rotation.
func (k key) rotation(m materialRow, waiting string) api.RotationsListEntry {
	entry := api.RotationsListEntry{KeyId: k.ID, KeyMaterialId: m.ID, KeyMaterialDescription: m.Description, KeyMaterialState: "NON_CURRENT"}
	switch {
	case m.Version == k.Version:
		entry.KeyMaterialState = "CURRENT"
	case m.Version > k.Version:
		entry.KeyMaterialState = waiting
	}
	if m.Cause != "" {
		entry.RotationType, entry.RotationDate = m.Cause, new(state.Time(m.Created))
	}
	if k.Origin != originExternal {
		return entry
	}
	if !m.Present {
		entry.ImportState = "PENDING_IMPORT"
		return entry
	}
	entry.ImportState, entry.ExpirationModel = "IMPORTED", neverExpires
	if m.Expires != 0 {
		entry.ExpirationModel, entry.ValidTo = expires, new(state.Time(m.Expires))
	}
	return entry
}
