package s3

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/state"
)

// lifecycle is a bucket's lifecycle configuration.
type lifecycle struct {
	Rules []api.LifecycleRule
	// MinimumSize is kept and shown: nothing is moved between storage classes.
	MinimumSize string
	// Done is the midnight up to which the rules have been carried out.
	Done time.Time
}

const (
	maxLifecycleRules    = 1000
	maxRuleID            = 255
	maxNewerVersions     = 100
	defaultMinimumSize   = "all_storage_classes_128K"
	variableMinimumSize  = "varies_by_storage_class"
	lifecycleStatusOn    = "Enabled"
	lifecycleStatusOff   = "Disabled"
	lifecycleRequester   = "s3.amazonaws.com"
	lifecycleReason      = "Lifecycle Expiration"
	lifecycleActionError = "At least one action needs to be specified in a rule"
)

func (s *Service) getBucketLifecycle(ctx context.Context, c *call.Call, in *api.GetBucketLifecycleConfigurationInput) (*api.GetBucketLifecycleConfigurationOutput, error) {
	b, cfg, err := s.configuration(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if cfg.Lifecycle == nil {
		return nil, aws.Errorf("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist").
			WithStatus(404).With("BucketName", b.Name)
	}
	return &api.GetBucketLifecycleConfigurationOutput{
		Rules: cfg.Lifecycle.Rules, TransitionDefaultMinimumObjectSize: cfg.Lifecycle.MinimumSize,
	}, nil
}

// putBucketLifecycle replaces all rules of a bucket. What they already say
// about old objects is carried out soon, on the job queue.
func (s *Service) putBucketLifecycle(ctx context.Context, c *call.Call, in *api.PutBucketLifecycleConfigurationInput) (*api.PutBucketLifecycleConfigurationOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	size := in.TransitionDefaultMinimumObjectSize
	switch size {
	case "":
		size = defaultMinimumSize
	case defaultMinimumSize, variableMinimumSize:
	default:
		return nil, errInvalidArgument("x-amz-transition-default-minimum-object-size", size, "Invalid value for x-amz-transition-default-minimum-object-size")
	}
	if in.LifecycleConfiguration == nil {
		return nil, errMalformedXML()
	}
	rules, err := checkRules(in.LifecycleConfiguration.Rules)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(tx *state.Tx, now *bucket) error {
		cfg, err := now.config()
		if err != nil {
			return err
		}
		cfg.Lifecycle = &lifecycle{Rules: rules, MinimumSize: size}
		if _, err := tx.Exec(ctx, `UPDATE s3_bucket SET config = $1 WHERE name = $2`, cfg.stored(), now.Name); err != nil {
			return err
		}
		return job.Enqueue(ctx, tx, job.New{Kind: lifecycleJob, Key: "all"})
	})
	if err != nil {
		return nil, err
	}
	return &api.PutBucketLifecycleConfigurationOutput{TransitionDefaultMinimumObjectSize: size}, nil
}

func (s *Service) deleteBucketLifecycle(ctx context.Context, c *call.Call, in *api.DeleteBucketLifecycleInput) (*api.DeleteBucketLifecycleOutput, error) {
	err := s.configure(ctx, in.Bucket, func(_ *bucket, cfg *config) error {
		cfg.Lifecycle = nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteBucketLifecycleOutput{}, nil
}

// checkRules refuses rules that AWS refuses, and gives a name to those
// without one.
func checkRules(rules []api.LifecycleRule) ([]api.LifecycleRule, error) {
	if len(rules) == 0 {
		return nil, errMalformedXML()
	}
	if len(rules) > maxLifecycleRules {
		return nil, errInvalidRequest("The number of lifecycle rules must not exceed the allowed limit of %d rules", maxLifecycleRules)
	}
	seen := map[string]bool{}
	kept := make([]api.LifecycleRule, 0, len(rules))
	for _, r := range rules {
		if err := checkRule(&r); err != nil {
			return nil, err
		}
		if r.ID == "" {
			r.ID = aws.RandomText(48, aws.Alnum)
		}
		if seen[r.ID] {
			return nil, errInvalidArgument("ID", r.ID, "Rule ID must be unique. Found same ID for more than one rule")
		}
		seen[r.ID] = true
		kept = append(kept, r)
	}
	return kept, nil
}

func checkRule(r *api.LifecycleRule) error {
	switch {
	case utf8.RuneCountInString(r.ID) > maxRuleID:
		return errInvalidArgument("ID", r.ID, "ID length should not exceed allowed limit of %d", maxRuleID)
	case r.Status != lifecycleStatusOn && r.Status != lifecycleStatusOff, !storable(r.ID):
		return errMalformedXML()
	case len(r.Transitions)+len(r.NoncurrentVersionTransitions) > 0:
		return errNotImplemented("Transitions between storage classes are not implemented: every object lies in one place, whatever its storage class is called")
	case r.Expiration == nil && r.NoncurrentVersionExpiration == nil && r.AbortIncompleteMultipartUpload == nil:
		return errInvalidRequest(lifecycleActionError)
	}
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	if err := checkExpiration(r.Expiration, f); err != nil {
		return err
	}
	if n := r.NoncurrentVersionExpiration; n != nil {
		switch {
		case n.NoncurrentDays == nil:
			return errMalformedXML()
		case *n.NoncurrentDays < 1:
			return errPositive("NoncurrentDays", "NoncurrentVersionExpiration", *n.NoncurrentDays)
		case n.NewerNoncurrentVersions != nil && *n.NewerNoncurrentVersions < 1:
			return errPositive("NewerNoncurrentVersions", "NoncurrentVersionExpiration", *n.NewerNoncurrentVersions)
		case n.NewerNoncurrentVersions != nil && *n.NewerNoncurrentVersions > maxNewerVersions:
			return errInvalidArgument("NewerNoncurrentVersions", fmt.Sprint(*n.NewerNoncurrentVersions),
				"'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must not exceed %d", maxNewerVersions)
		}
	}
	return checkAbort(r.AbortIncompleteMultipartUpload, f)
}

func errPositive(member, action string, given int64) error {
	return errInvalidArgument(member, fmt.Sprint(given), "'%s' for %s action must be a positive integer", member, action)
}

func checkExpiration(e *api.LifecycleExpiration, f filter) error {
	if e == nil {
		return nil
	}
	given := 0
	for _, has := range []bool{e.Days != nil, e.Date != nil, e.ExpiredObjectDeleteMarker != nil} {
		if has {
			given++
		}
	}
	switch {
	case given != 1:
		return errMalformedXML()
	case e.Days != nil && *e.Days < 1:
		return errPositive("Days", "Expiration", *e.Days)
	case e.Date != nil && !e.Date.Equal(midnight(*e.Date)):
		return errInvalidArgument("Date", isoTime(*e.Date), "'Date' must be at midnight GMT")
	case e.ExpiredObjectDeleteMarker != nil && len(f.tags) > 0:
		return errInvalidRequest("ExpiredObjectDeleteMarker cannot be specified with Tags.")
	case e.ExpiredObjectDeleteMarker != nil && f.sized():
		return errInvalidRequest("ExpiredObjectDeleteMarker cannot be specified with Object Size.")
	}
	return nil
}

func checkAbort(a *api.AbortIncompleteMultipartUpload, f filter) error {
	switch {
	case a == nil:
		return nil
	case a.DaysAfterInitiation == nil:
		return errMalformedXML()
	case *a.DaysAfterInitiation < 1:
		return errPositive("DaysAfterInitiation", "AbortIncompleteMultipartUpload", *a.DaysAfterInitiation)
	case len(f.tags) > 0:
		return errInvalidRequest("AbortIncompleteMultipartUpload cannot be specified with Tags.")
	case f.sized():
		return errInvalidRequest("AbortIncompleteMultipartUpload cannot be specified with Object Size.")
	}
	return nil
}

// filter is which objects a rule is about.
type filter struct {
	prefix       string
	tags         []api.Tag
	above, below *int64
}

// filterOf reads a rule's filter, however it is written. AWS refuses a rule
// with neither Filter nor Prefix; an empty Prefix cannot be told from none
// here, and so a rule without either is about all objects.
func filterOf(r *api.LifecycleRule) (filter, error) {
	if r.Filter == nil {
		return filter{prefix: r.Prefix}, nil
	}
	f := r.Filter
	members := 0
	for _, has := range []bool{f.Prefix != "", f.Tag != nil, f.ObjectSizeGreaterThan != nil, f.ObjectSizeLessThan != nil, f.And != nil} {
		if has {
			members++
		}
	}
	if members > 1 || r.Prefix != "" {
		return filter{}, errMalformedXML()
	}
	if f.And != nil {
		return filterOfAnd(f.And)
	}
	out := filter{prefix: f.Prefix, above: f.ObjectSizeGreaterThan, below: f.ObjectSizeLessThan}
	if f.Tag != nil {
		out.tags = []api.Tag{*f.Tag}
	}
	return out, out.check()
}

func filterOfAnd(a *api.LifecycleRuleAndOperator) (filter, error) {
	out := filter{prefix: a.Prefix, tags: a.Tags, above: a.ObjectSizeGreaterThan, below: a.ObjectSizeLessThan}
	members := len(a.Tags)
	for _, has := range []bool{a.Prefix != "", a.ObjectSizeGreaterThan != nil, a.ObjectSizeLessThan != nil} {
		if has {
			members++
		}
	}
	if members == 0 {
		return filter{}, errMalformedXML()
	}
	return out, out.check()
}

func (f filter) sized() bool { return f.above != nil || f.below != nil }

func (f filter) check() error {
	if _, err := storeTags(f.tags); err != nil {
		return err
	}
	switch {
	case f.above != nil && *f.above < 0:
		return errInvalidRequest("'ObjectSizeGreaterThan' should be a non-negative integer value")
	case f.below != nil && *f.below < 1:
		return errInvalidRequest("'ObjectSizeLessThan' should be a positive integer value")
	case f.above != nil && f.below != nil && *f.below <= *f.above:
		return errInvalidRequest("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")
	}
	return nil
}

// matches reports whether a version is one of the rule's. A delete marker has
// neither tags nor a size.
func (f filter) matches(key string, marker bool, size int64, stored string) bool {
	if !strings.HasPrefix(key, f.prefix) || marker && (len(f.tags) > 0 || f.sized()) {
		return false
	}
	if f.above != nil && size <= *f.above || f.below != nil && size >= *f.below {
		return false
	}
	if len(f.tags) == 0 {
		return true
	}
	tags, err := loadTags(stored)
	if err != nil {
		return false
	}
	has := map[string]string{}
	for _, t := range tags {
		has[t.Key] = t.Value
	}
	for _, t := range f.tags {
		if v, ok := has[t.Key]; !ok || v != t.Value {
			return false
		}
	}
	return true
}

// midnight is the one, in UTC, that a time's day begins with.
func midnight(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// dueAfter is when something of a time is so many days old, in S3's way: at
// the midnight that follows.
func dueAfter(t time.Time, days int64) time.Time {
	due := t.UTC().AddDate(0, 0, int(days))
	if m := midnight(due); m.Before(due) {
		return m.AddDate(0, 0, 1)
	}
	return due
}

// due is when a rule's expiration reaches an object that was made at a time;
// false when it never does.
func expirationDue(e *api.LifecycleExpiration, made time.Time) (time.Time, bool) {
	switch {
	case e == nil:
		return time.Time{}, false
	case e.Days != nil:
		return dueAfter(made, *e.Days), true
	case e.Date != nil:
		return *e.Date, true
	}
	return time.Time{}, false
}

// expiry is the x-amz-expiration header of an object: when the first rule
// takes it, and which one.
func (b *bucket) expiry(o *object) (string, error) {
	if b.Config == "" || !o.Latest {
		return "", nil
	}
	cfg, err := b.config()
	if err != nil || cfg.Lifecycle == nil {
		return "", err
	}
	var first time.Time
	id := ""
	for _, r := range cfg.Lifecycle.Rules {
		f, err := filterOf(&r)
		if err != nil || r.Status != lifecycleStatusOn || !f.matches(o.Key, o.Marker, o.Size, o.Tags) {
			continue
		}
		if due, ok := expirationDue(r.Expiration, o.Modified); ok && (id == "" || due.Before(first)) {
			first, id = due, r.ID
		}
	}
	if id == "" {
		return "", nil
	}
	return fmt.Sprintf(`expiry-date="%s", rule-id="%s"`, httpTime(first), urlCoded(id)), nil
}
