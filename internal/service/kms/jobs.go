package kms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// deleteKey is the job that deletes a key when its waiting period is over. A
// deletion that was cancelled leaves the job behind, which then does nothing.
func (s *Service) deleteKey(ctx context.Context, j *job.Job) error {
	return s.onKey(ctx, j, func(tx *state.Tx, k key) error {
		if k.State != pendingDeletion {
			return nil
		}
		if at := state.Time(k.Deletion); at.After(s.now()) {
			return job.Again(at)
		}
		rows, err := k.materialRows(ctx, tx)
		if err != nil {
			return err
		}
		for _, m := range rows {
			s.forget(tx, k, m.Version)
		}
		for _, table := range []string{"kms_material", "kms_alias", "kms_tag", "kms_grant"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE account = $1 AND region = $2 AND key_id = $3`, k.Account, k.Region, k.ID); err != nil {
				return fmt.Errorf("delete key %s: %w", k.arn(), err)
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM kms_key WHERE account = $1 AND region = $2 AND id = $3`, k.Account, k.Region, k.ID); err != nil {
			return fmt.Errorf("delete key %s: %w", k.arn(), err)
		}
		return s.replicaGone(ctx, tx, k)
	})
}

// rotateKey is the job that gives a key new material when it is due. A key
// that is not enabled stays as it is, EnableKey enqueues the job again; so does
// a replica, to which its primary key's rotation comes.
func (s *Service) rotateKey(ctx context.Context, j *job.Job) error {
	return s.onKey(ctx, j, func(tx *state.Tx, k key) error {
		if !k.Rotates || k.State != enabled || k.MultiRegion == replica {
			return nil
		}
		due, now := state.Time(k.NextRotate), s.now()
		if due.After(now) {
			return job.Again(due)
		}
		next := now.Add(time.Duration(k.Period) * day)
		if err := s.rotate(ctx, tx, k, automatic, now); err != nil {
			return err
		}
		if err := k.setAll(ctx, tx, `next_rotation = $4`, state.Millis(next)); err != nil {
			return err
		}
		return enqueue(ctx, tx, rotateJob, k, next)
	})
}

// onKey has fn change the key of a job and completes the job in the same
// transaction. A key that is gone needs nothing more.
func (s *Service) onKey(ctx context.Context, j *job.Job, fn func(tx *state.Tx, k key) error) error {
	var name keyName
	if err := json.Unmarshal(j.Payload, &name); err != nil {
		return job.Dead(fmt.Errorf("payload of %s: %w", j.Kind, err))
	}
	return s.db.Update(ctx, func(tx *state.Tx) error {
		k, err := findKey(ctx, tx, name.ref())
		if _, gone := errors.AsType[*aws.Error](err); gone {
			return j.Finish(ctx, tx)
		}
		if err != nil {
			return err
		}
		if err := fn(tx, k); err != nil {
			return err
		}
		return j.Finish(ctx, tx)
	})
}
