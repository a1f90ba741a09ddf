package s3

import (
	"context"
	"errors"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// lifecycleJob carries out the lifecycle rules of all buckets that have not
// been through since the last midnight.
const lifecycleJob = "s3.lifecycle"

// expireBatch is how many keys one transaction looks at.
const expireBatch = 200

// expire goes through the buckets with lifecycle rules. It may be cut off
// anywhere: what it has not done is still due.
func (s *Service) expire(ctx context.Context, _ *job.Job) error {
	for after := ""; ; {
		var page []bucket
		err := s.db.View(ctx, func(tx *state.Tx) (err error) {
			page, err = state.List[bucket](ctx, tx, `SELECT `+bucketColumns+` FROM s3_bucket
				WHERE config <> '' AND name > $1 ORDER BY name LIMIT $2`, after, expireBatch)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			if err := s.expireBucket(ctx, &page[i]); err != nil {
				return err
			}
		}
		after = page[len(page)-1].Name
	}
}

// expireBucket carries out a bucket's rules as of the last midnight.
func (s *Service) expireBucket(ctx context.Context, b *bucket) error {
	cfg, err := b.config()
	if err != nil || cfg.Lifecycle == nil {
		return err
	}
	now := s.now()
	if !cfg.Lifecycle.Done.Before(midnight(now)) {
		return nil
	}
	w := newWarden(cfg.Lifecycle.Rules, now)
	for after := ""; len(w.rules) > 0; {
		keys, err := s.keysAfter(ctx, b, after)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		after = keys[len(keys)-1]
		if err := s.expireKeys(ctx, b, w, keys); err != nil {
			return gone(err)
		}
	}
	if err := s.expireUploads(ctx, b, w); err != nil {
		return gone(err)
	}
	return gone(s.configure(ctx, b.Name, func(_ *bucket, cfg *config) error {
		if cfg.Lifecycle != nil && encode(cfg.Lifecycle.Rules) == w.text {
			cfg.Lifecycle.Done = midnight(now)
		}
		return nil
	}))
}

// gone passes over a bucket that was deleted meanwhile.
func gone(err error) error {
	if e, ok := errors.AsType[*aws.Error](err); ok && e.Code == "NoSuchBucket" {
		return nil
	}
	return err
}

func (s *Service) keysAfter(ctx context.Context, b *bucket, after string) (keys []string, err error) {
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		keys, err = state.List[string](ctx, tx, `SELECT key FROM s3_object WHERE bucket = $1 AND latest = 1 AND key > $2 ORDER BY key LIMIT $3`,
			b.Name, after, expireBatch)
		return err
	})
	return keys, err
}

// expireKeys looks at the versions of some keys, and at those with something
// to do once more in the transaction that does it.
func (s *Service) expireKeys(ctx context.Context, b *bucket, w *warden, keys []string) error {
	var due []string
	err := s.db.View(ctx, func(tx *state.Tx) error {
		due = nil
		for _, key := range keys {
			list, err := versionsOf(ctx, tx, b.Name, key)
			if err != nil {
				return err
			}
			if len(w.decide(list)) > 0 {
				due = append(due, key)
			}
		}
		return nil
	})
	if err != nil || len(due) == 0 {
		return err
	}
	return s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		for _, key := range due {
			list, err := versionsOf(ctx, tx, now.Name, key)
			if err != nil {
				return err
			}
			for _, version := range w.decide(list) {
				if err := s.expireVersion(ctx, tx, now, w.now, key, version); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// expireVersion does what a rule says about a version, or about the key where
// version is empty. What a lock keeps stays.
func (s *Service) expireVersion(ctx context.Context, tx *state.Tx, b *bucket, now time.Time, key, version string) error {
	d := deletion{key: key, version: version, marker: aws.RandomText(32, aws.Alnum), now: now}
	done, err := d.do(ctx, tx, b, now.UTC().Truncate(time.Second))
	if _, kept := errors.AsType[*aws.Error](err); kept {
		return nil
	}
	if err != nil {
		return err
	}
	id := aws.RandomText(16, aws.UpperAlnum)
	return s.deleted(ctx, tx, b, cause{id: id, requester: lifecycleRequester, reason: lifecycleReason, trace: id, at: now}, key, done)
}

// aged is what the age of a version is told by.
type aged struct {
	Key      string    `db:"key"`
	Version  string    `db:"version"`
	Marker   bool      `db:"marker"`
	Modified time.Time `db:"modified"`
	Size     int64     `db:"size"`
	Tags     string    `db:"tags"`
}

func versionsOf(ctx context.Context, tx *state.Tx, bucket, key string) ([]aged, error) {
	return state.List[aged](ctx, tx, `SELECT key, version, marker, modified, size, tags FROM s3_object
		WHERE bucket = $1 AND key = $2 ORDER BY seq DESC`, bucket, key)
}

// warden decides by rules what has to go at a time.
type warden struct {
	now   time.Time
	rules []wardenRule
	text  string // of the rules as they are stored
}

type wardenRule struct {
	filter
	*api.LifecycleRule
}

func newWarden(rules []api.LifecycleRule, now time.Time) *warden {
	w := &warden{now: now, text: encode(rules)}
	for i := range rules {
		f, err := filterOf(&rules[i])
		if err == nil && rules[i].Status == lifecycleStatusOn {
			w.rules = append(w.rules, wardenRule{f, &rules[i]})
		}
	}
	return w
}

// decide returns the versions of a key that have to go, of all there are,
// newest first. The empty version stands for the object itself, which in a
// bucket with versions gets a delete marker.
func (w *warden) decide(versions []aged) (due []string) {
	for i, v := range versions {
		for _, r := range w.rules {
			if !r.matches(v.Key, v.Marker, v.Size, v.Tags) {
				continue
			}
			switch {
			case i > 0 && w.outlived(r.NoncurrentVersionExpiration, versions[i-1].Modified, int64(i-1)):
				due = append(due, v.Version)
			case i == 0 && v.Marker && len(versions) == 1 && w.idle(r.Expiration, v.Modified):
				due = append(due, v.Version)
			case i == 0 && !v.Marker && w.past(r.Expiration, v.Modified):
				due = append(due, "")
			default:
				continue
			}
			break
		}
	}
	return due
}

func (w *warden) past(e *api.LifecycleExpiration, made time.Time) bool {
	due, ok := expirationDue(e, made)
	return ok && !w.now.Before(due)
}

// idle reports whether a delete marker under which nothing is left has to go:
// by a rule for them, or by one that would have taken an object of its age.
func (w *warden) idle(e *api.LifecycleExpiration, made time.Time) bool {
	return e != nil && isTrue(e.ExpiredObjectDeleteMarker) || w.past(e, made)
}

// outlived reports whether a version has been replaced for long enough, by
// enough newer ones that are not current either.
func (w *warden) outlived(n *api.NoncurrentVersionExpiration, since time.Time, newer int64) bool {
	if n == nil || n.NewerNoncurrentVersions != nil && newer < *n.NewerNoncurrentVersions {
		return false
	}
	return !w.now.Before(dueAfter(since, *n.NoncurrentDays))
}

// expireUploads gives up uploads that were not completed in time.
func (s *Service) expireUploads(ctx context.Context, b *bucket, w *warden) error {
	type begun struct {
		ID        string    `db:"id"`
		Key       string    `db:"key"`
		Initiated time.Time `db:"initiated"`
	}
	var list []begun
	err := s.db.View(ctx, func(tx *state.Tx) (err error) {
		list, err = state.List[begun](ctx, tx, `SELECT id, key, initiated FROM s3_upload WHERE bucket = $1`, b.Name)
		return err
	})
	if err != nil {
		return err
	}
	for _, u := range list {
		for _, r := range w.rules {
			a := r.AbortIncompleteMultipartUpload
			if a == nil || !r.matches(u.Key, false, 0, "") || w.now.Before(dueAfter(u.Initiated, *a.DaysAfterInitiation)) {
				continue
			}
			err := s.change(ctx, b, func(tx *state.Tx, _ *bucket) error { return dropUpload(ctx, tx, u.ID, w.now) })
			if err != nil {
				return err
			}
			break
		}
	}
	return nil
}
