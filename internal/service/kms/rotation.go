package kms

import (
	"context"
	"fmt"
	"strconv"
	"time"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// rotate gives a key new material. What the old one encrypted opens as before.
func (s *Service) rotate(ctx context.Context, tx *state.Tx, k key, cause string, at time.Time) error {
	k.Version++
	if err := s.insertMaterial(ctx, tx, k, cause, state.Millis(at)); err != nil {
		return err
	}
	return k.set(ctx, tx, `version = $4`, k.Version)
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
		// A key that waits for its deletion does not rotate.
		out.KeyId, out.KeyRotationEnabled = k.arn(), new(k.Rotates && k.State != pendingDeletion)
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
		if err := k.usable(); err != nil {
			return err
		}
		if k.Rotates && k.Period == days {
			return nil
		}
		next := c.Time.Add(time.Duration(days) * day)
		if err := k.set(ctx, tx, `rotates = 1, period = $4, next_rotation = $5`, days, state.Millis(next)); err != nil {
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
		if err := k.usable(); err != nil {
			return err
		}
		return k.set(ctx, tx, `rotates = 0, next_rotation = 0`)
	})
}

func (s *Service) rotateKeyOnDemandNeeds(ctx context.Context, c *call.Call, in *api.RotateKeyOnDemandInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:RotateKeyOnDemand", in.KeyId, nil)
}

// onDemandLimit is how often a key may be rotated by hand.
const onDemandLimit = 25

func (s *Service) rotateKeyOnDemand(ctx context.Context, c *call.Call, in *api.RotateKeyOnDemandInput) (*api.RotateKeyOnDemandOutput, error) {
	out := &api.RotateKeyOnDemandOutput{}
	err := s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
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
		out.KeyId = k.arn()
		return s.rotate(ctx, tx, k, "ON_DEMAND", c.Time)
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
	type row struct {
		Version int64  `db:"version"`
		ID      string `db:"id"`
		Cause   string `db:"cause"`
		Created int64  `db:"created"`
	}
	out := &api.ListKeyRotationsOutput{Rotations: []api.RotationsListEntry{}}
	err = s.read(ctx, r, func(tx *state.Tx, k key) error {
		list, err := state.List[row](ctx, tx, `
			SELECT version, id, cause, created FROM kms_material
			WHERE account = $1 AND region = $2 AND key_id = $3 AND version > $4 AND (cause <> '' OR $5 = 'ALL_KEY_MATERIAL')
			ORDER BY version LIMIT $6`, k.Account, k.Region, k.ID, after, in.IncludeKeyMaterial, p.limit+1)
		if err != nil {
			return err
		}
		list, out.NextMarker, out.Truncated = cut(p, list, func(m row) string { return strconv.FormatInt(m.Version, 10) })
		out.Rotations = out.Rotations[:0]
		for _, m := range list {
			entry := api.RotationsListEntry{KeyId: k.ID, KeyMaterialId: m.ID, KeyMaterialState: "NON_CURRENT", RotationType: m.Cause}
			if m.Version == k.Version {
				entry.KeyMaterialState = "CURRENT"
			}
			if m.Cause != "" {
				entry.RotationDate = new(state.Time(m.Created))
			}
			out.Rotations = append(out.Rotations, entry)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
