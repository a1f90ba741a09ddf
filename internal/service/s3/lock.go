package s3

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// Object lock. A bucket that has it keeps it for good, and its versioning
// enabled. A version is kept while its retention lasts or its legal hold is
// on; delete markers are never locked, and anybody may put one on top.

const (
	lockGovernance = "GOVERNANCE"
	lockCompliance = "COMPLIANCE"
	holdOn         = "ON"
	holdOff        = "OFF"
)

// lockConfig is a bucket's object lock. Mode is empty without a default
// retention; of Days and Years one is not 0 with it.
type lockConfig struct {
	Mode        string `json:",omitempty"`
	Days, Years int64  `json:",omitempty"`
}

const (
	maxLockDays  = 36500
	maxLockYears = 100
)

// until is when the default retention of an object made at a time ends.
func (l *lockConfig) until(made time.Time) time.Time {
	return made.AddDate(int(l.Years), 0, int(l.Days))
}

// lock is what keeps one version.
type lock struct {
	Mode  string    `db:"mode"`
	Until time.Time `db:"until"`
	Hold  string    `db:"hold"`
}

// askedLock reads the object lock headers of a write.
func askedLock(mode string, until *time.Time, hold string) lock {
	l := lock{Mode: mode, Hold: hold}
	if until != nil {
		l.Until = until.UTC()
	}
	return l
}

// retains reports whether a retention is asked for, or part of one.
func (l lock) retains() bool { return l.Mode != "" || !l.Until.IsZero() }

// held reports whether a version must not go at a time. bypass is leave to
// pass over a retention in governance mode.
func (l lock) held(now time.Time, bypass bool) bool {
	if l.Hold == holdOn {
		return true
	}
	return l.Mode != "" && now.Before(l.Until) && !(bypass && l.Mode == lockGovernance)
}

// check refuses headers that make no lock.
func (l lock) check(now time.Time) error {
	if (l.Mode == "") != l.Until.IsZero() {
		return errInvalidArgument("x-amz-object-lock-mode", l.Mode, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	if l.Hold != "" && l.Hold != holdOn && l.Hold != holdOff {
		return errInvalidArgument("x-amz-object-lock-legal-hold", l.Hold, "Legal Hold must be either of 'ON' or 'OFF'")
	}
	if l.Mode == "" {
		return nil
	}
	if l.Mode != lockGovernance && l.Mode != lockCompliance {
		return errInvalidArgument("x-amz-object-lock-mode", l.Mode, "Unknown wormMode directive.")
	}
	if !l.Until.After(now) {
		return errInvalidArgument("x-amz-object-lock-retain-until-date", isoTime(l.Until), "The retain until date must be in the future!")
	}
	return nil
}

// addKeys sets the condition keys of a lock that is asked for.
func (l lock) addKeys(keys policy.Keys, now time.Time) {
	if l.Mode != "" {
		keys["s3:object-lock-mode"] = []string{l.Mode}
	}
	if !l.Until.IsZero() {
		keys["s3:object-lock-retain-until-date"] = []string{isoTime(l.Until)}
		days := math.Ceil(l.Until.Sub(now).Hours() / 24)
		keys["s3:object-lock-remaining-retention-days"] = []string{fmt.Sprint(int64(days))}
	}
	if l.Hold != "" {
		keys["s3:object-lock-legal-hold"] = []string{l.Hold}
	}
}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func errNoLock() *aws.Error {
	return errInvalidRequest("Bucket is missing Object Lock Configuration")
}

func errLocked() *aws.Error {
	return aws.Errorf("AccessDenied", "Access Denied because object protected by object lock.").WithStatus(403)
}

func errBucketState(format string, args ...any) *aws.Error {
	return aws.Errorf("InvalidBucketState", format, args...).WithStatus(409)
}

// foresee refuses lock headers before a body is read.
func (l lock) foresee(b *bucket, now time.Time) error {
	if l == (lock{}) {
		return nil
	}
	cfg, err := b.config()
	if err != nil {
		return err
	}
	if cfg.Lock == nil {
		return errNoLock()
	}
	return l.check(now)
}

// lockNew locks a version that was just made: as its request asked for, else
// as the bucket does by default.
func lockNew(ctx context.Context, tx *state.Tx, b *bucket, o *object, asked lock) error {
	if b.Config == "" {
		return nil
	}
	cfg, err := b.config()
	if err != nil || cfg.Lock == nil {
		return err
	}
	if asked.Mode == "" && cfg.Lock.Mode != "" {
		asked.Mode, asked.Until = cfg.Lock.Mode, cfg.Lock.until(o.Modified)
	}
	return asked.put(ctx, tx, o.Bucket, o.Key, o.Version)
}

// put replaces the lock of a version.
func (l lock) put(ctx context.Context, tx *state.Tx, bucket, key, version string) error {
	if l == (lock{}) {
		return dropLock(ctx, tx, bucket, key, version)
	}
	_, err := tx.Exec(ctx, `INSERT INTO s3_lock (bucket, key, version, mode, until, hold) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (bucket, key, version) DO UPDATE SET mode = excluded.mode, until = excluded.until, hold = excluded.hold`,
		bucket, key, version, l.Mode, l.Until, l.Hold)
	return err
}

func dropLock(ctx context.Context, tx *state.Tx, bucket, key, version string) error {
	_, err := tx.Exec(ctx, `DELETE FROM s3_lock WHERE bucket = $1 AND key = $2 AND version = $3`, bucket, key, version)
	return err
}

// findLock returns a version's lock; the zero one when nothing keeps it.
func findLock(ctx context.Context, tx *state.Tx, b *bucket, key, version string) (lock, error) {
	if b.Config == "" {
		return lock{}, nil
	}
	l, err := state.Get[lock](ctx, tx, `SELECT mode, until, hold FROM s3_lock WHERE bucket = $1 AND key = $2 AND version = $3`,
		b.Name, key, version)
	if errors.Is(err, state.ErrNotFound) {
		return lock{}, nil
	}
	if l.Mode == "" {
		l.Until = time.Time{}
	}
	return l, err
}

// takeLock moves the lock that waits under an upload's id into what the
// upload became.
func takeLock(ctx context.Context, tx *state.Tx, b *bucket, u *upload) (lock, error) {
	l, err := findLock(ctx, tx, b, u.Key, u.ID)
	if err != nil || l == (lock{}) {
		return lock{}, err
	}
	return l, dropLock(ctx, tx, b.Name, u.Key, u.ID)
}

// mayGo refuses to delete a version for good that is kept, and forgets the
// lock of one that is not.
func (d *deletion) mayGo(ctx context.Context, tx *state.Tx, b *bucket, version string) error {
	l, err := findLock(ctx, tx, b, d.key, version)
	if err != nil || l == (lock{}) {
		return err
	}
	if l.held(d.now, d.bypass) {
		return errLocked()
	}
	return dropLock(ctx, tx, b.Name, d.key, version)
}

// The bucket's configuration.

func (s *Service) getObjectLockConfiguration(ctx context.Context, c *call.Call, in *api.GetObjectLockConfigurationInput) (*api.GetObjectLockConfigurationOutput, error) {
	b, cfg, err := s.configuration(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if cfg.Lock == nil {
		return nil, aws.Errorf("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket").
			WithStatus(404).With("BucketName", b.Name)
	}
	out := &api.ObjectLockConfiguration{ObjectLockEnabled: versioningEnabled}
	if l := cfg.Lock; l.Mode != "" {
		d := &api.DefaultRetention{Mode: l.Mode}
		if l.Days > 0 {
			d.Days = &l.Days
		} else {
			d.Years = &l.Years
		}
		out.Rule = &api.ObjectLockRule{DefaultRetention: d}
	}
	return &api.GetObjectLockConfigurationOutput{ObjectLockConfiguration: out}, nil
}

// putObjectLockConfiguration turns object lock on, for a bucket that has
// versions, and sets its default retention. AWS once wanted a token for
// buckets made without it, and has passed over it since November 2023.
func (s *Service) putObjectLockConfiguration(ctx context.Context, c *call.Call, in *api.PutObjectLockConfigurationInput) (*api.PutObjectLockConfigurationOutput, error) {
	if _, err := s.bucket(ctx, in.Bucket); err != nil {
		return nil, err
	}
	l, err := readLockConfig(in.ObjectLockConfiguration)
	if err != nil {
		return nil, err
	}
	err = s.configure(ctx, in.Bucket, func(now *bucket, cfg *config) error {
		if now.Versioning != versioningEnabled {
			return errBucketState("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
		}
		cfg.Lock = l
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.PutObjectLockConfigurationOutput{}, nil
}

func readLockConfig(cfg *api.ObjectLockConfiguration) (*lockConfig, error) {
	if cfg == nil || cfg.ObjectLockEnabled != versioningEnabled {
		return nil, errMalformedXML()
	}
	if cfg.Rule == nil {
		return &lockConfig{}, nil
	}
	d := cfg.Rule.DefaultRetention
	if d == nil || d.Mode != lockGovernance && d.Mode != lockCompliance || (d.Days == nil) == (d.Years == nil) {
		return nil, errMalformedXML()
	}
	l := &lockConfig{Mode: d.Mode}
	length, limit := &l.Days, int64(maxLockDays)
	given := d.Days
	if given == nil {
		length, limit, given = &l.Years, maxLockYears, d.Years
	}
	switch {
	case *given < 1:
		return nil, errInvalidArgument("DefaultRetention", fmt.Sprint(*given), "Default retention period must be a positive integer value.")
	case *given > limit:
		return nil, errInvalidArgument("DefaultRetention", fmt.Sprint(*given), "Default retention period too long.")
	}
	*length = *given
	return l, nil
}

// Retention and legal hold of one version.

func (s *Service) getObjectRetentionNeeds(ctx context.Context, c *call.Call, in *api.GetObjectRetentionInput) ([]call.Need, error) {
	return s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId, "s3:GetObjectRetention")
}

func (s *Service) getObjectRetention(ctx context.Context, c *call.Call, in *api.GetObjectRetentionInput) (*api.GetObjectRetentionOutput, error) {
	_, l, err := s.locked(ctx, c, "GET", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if l.Mode == "" {
		return nil, errNothingLocked(in.Key)
	}
	return &api.GetObjectRetentionOutput{Retention: &api.ObjectLockRetention{Mode: l.Mode, RetainUntilDate: &l.Until}}, nil
}

func (s *Service) getObjectLegalHoldNeeds(ctx context.Context, c *call.Call, in *api.GetObjectLegalHoldInput) ([]call.Need, error) {
	return s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId, "s3:GetObjectLegalHold")
}

func (s *Service) getObjectLegalHold(ctx context.Context, c *call.Call, in *api.GetObjectLegalHoldInput) (*api.GetObjectLegalHoldOutput, error) {
	_, l, err := s.locked(ctx, c, "GET", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if l.Hold == "" {
		return nil, errNothingLocked(in.Key)
	}
	return &api.GetObjectLegalHoldOutput{LegalHold: &api.ObjectLockLegalHold{Status: l.Hold}}, nil
}

func errNothingLocked(key string) error {
	return aws.Errorf("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration").
		WithStatus(404).With("Key", key)
}

// locked returns a version, which has to be there, and what keeps it.
func (s *Service) locked(ctx context.Context, c *call.Call, method, bucketName, key, version string) (*object, lock, error) {
	_, cfg, err := s.configuration(ctx, bucketName)
	if err != nil {
		return nil, lock{}, err
	}
	if cfg.Lock == nil {
		return nil, lock{}, errNoLock()
	}
	b, o, err := s.existing(ctx, c, method, bucketName, key, version)
	if err != nil {
		return nil, lock{}, err
	}
	l, err := s.lockOf(ctx, b, o)
	return o, l, err
}

func (s *Service) lockOf(ctx context.Context, b *bucket, o *object) (l lock, err error) {
	if b.Config == "" {
		return lock{}, nil
	}
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		l, err = findLock(ctx, tx, b, o.Key, o.Version)
		return err
	})
	return l, err
}

// relock changes a version's lock, in a transaction that sees it as it is.
func (s *Service) relock(ctx context.Context, bucketName string, o *object, change func(*lock) error) error {
	b, err := s.bucket(ctx, bucketName)
	if err != nil {
		return err
	}
	return s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		if _, err := findObject(ctx, tx, now.Name, o.Key, o.Version); errors.Is(err, state.ErrNotFound) {
			return errNoSuchVersion(o.Key, o.Version)
		} else if err != nil {
			return err
		}
		l, err := findLock(ctx, tx, now, o.Key, o.Version)
		if err != nil {
			return err
		}
		if err := change(&l); err != nil {
			return err
		}
		return l.put(ctx, tx, now.Name, o.Key, o.Version)
	})
}

// putObjectRetentionNeeds asks for s3:BypassGovernanceRetention beside where
// the header is sent, whether it turns out to be needed or not.
func (s *Service) putObjectRetentionNeeds(ctx context.Context, c *call.Call, in *api.PutObjectRetentionInput) ([]call.Need, error) {
	actions := []string{"s3:PutObjectRetention"}
	if isTrue(in.BypassGovernanceRetention) {
		actions = append(actions, "s3:BypassGovernanceRetention")
	}
	asked := lock{}
	if r := in.Retention; r != nil {
		asked = askedLock(r.Mode, r.RetainUntilDate, "")
	}
	var needs []call.Need
	for _, action := range actions {
		n, err := s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId, action)
		if err != nil {
			return nil, err
		}
		asked.addKeys(n[0].Keys, c.Time)
		needs = append(needs, n...)
	}
	return needs, nil
}

// putObjectRetention sets, lengthens or takes away a version's retention. An
// empty Retention takes it away.
func (s *Service) putObjectRetention(ctx context.Context, c *call.Call, in *api.PutObjectRetentionInput) (*api.PutObjectRetentionOutput, error) {
	o, _, err := s.locked(ctx, c, "PUT", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if in.Retention == nil {
		return nil, errMalformedXML()
	}
	asked := askedLock(in.Retention.Mode, in.Retention.RetainUntilDate, "")
	if (asked.Mode == "") != asked.Until.IsZero() {
		return nil, errMalformedXML()
	}
	if asked.Mode != "" && asked.Mode != lockGovernance && asked.Mode != lockCompliance {
		return nil, errMalformedXML()
	}
	if err := asked.check(c.Time); err != nil {
		return nil, err
	}
	err = s.relock(ctx, in.Bucket, o, func(l *lock) error {
		loosens := asked.Mode != l.Mode || asked.Until.Before(l.Until)
		retained := lock{Mode: l.Mode, Until: l.Until}
		if loosens && retained.held(c.Time, isTrue(in.BypassGovernanceRetention)) {
			return errLocked()
		}
		l.Mode, l.Until = asked.Mode, asked.Until
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.PutObjectRetentionOutput{}, nil
}

func (s *Service) putObjectLegalHoldNeeds(ctx context.Context, c *call.Call, in *api.PutObjectLegalHoldInput) ([]call.Need, error) {
	needs, err := s.storedNeeds(ctx, c, in.Bucket, in.ExpectedBucketOwner, in.Key, in.VersionId, "s3:PutObjectLegalHold")
	if err == nil && in.LegalHold != nil {
		lock{Hold: in.LegalHold.Status}.addKeys(needs[0].Keys, c.Time)
	}
	return needs, err
}

func (s *Service) putObjectLegalHold(ctx context.Context, c *call.Call, in *api.PutObjectLegalHoldInput) (*api.PutObjectLegalHoldOutput, error) {
	o, _, err := s.locked(ctx, c, "PUT", in.Bucket, in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	if in.LegalHold == nil || in.LegalHold.Status != holdOn && in.LegalHold.Status != holdOff {
		return nil, errMalformedXML()
	}
	err = s.relock(ctx, in.Bucket, o, func(l *lock) error {
		l.Hold = in.LegalHold.Status
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.PutObjectLegalHoldOutput{}, nil
}

// showLock adds a version's lock to what is said of it, as far as the caller
// may know it.
func (s *Service) showLock(ctx context.Context, c *call.Call, b *bucket, o *object, out *api.GetObjectOutput) error {
	l, err := s.lockOf(ctx, b, o)
	if err != nil || l == (lock{}) {
		return err
	}
	source, err := s.policyFor(c, b)
	if err != nil {
		return err
	}
	t := &target{name: b.Name, bucket: b, policy: source}
	may := func(action string) (bool, error) {
		n, err := s.stored(ctx, t, action, o.Key, o.Version)
		if err != nil {
			return false, err
		}
		err = c.Allowed(ctx, n)
		if _, refused := errors.AsType[*aws.Error](err); refused {
			return false, nil
		}
		return err == nil, err
	}
	if l.Mode != "" {
		ok, err := may("s3:GetObjectRetention")
		if err != nil {
			return err
		}
		if ok {
			out.ObjectLockMode, out.ObjectLockRetainUntilDate = l.Mode, &l.Until
		}
	}
	if l.Hold != "" {
		ok, err := may("s3:GetObjectLegalHold")
		if err != nil {
			return err
		}
		if ok {
			out.ObjectLockLegalHoldStatus = l.Hold
		}
	}
	return nil
}
