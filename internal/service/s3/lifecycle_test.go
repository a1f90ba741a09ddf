package s3

import (
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
)

func (w *world) rules(c api.Client, bucket string, rules ...api.LifecycleRule) {
	w.T.Helper()
	must[*api.PutBucketLifecycleConfigurationOutput](w.T)(c.PutBucketLifecycleConfiguration(w.T.Context(), &api.PutBucketLifecycleConfigurationInput{
		Bucket: bucket, LifecycleConfiguration: &api.BucketLifecycleConfiguration{Rules: rules},
	}))
}

func (w *world) expire() {
	w.T.Helper()
	if err := w.s.expire(w.T.Context(), nil); err != nil {
		w.T.Fatal(err)
	}
}

// left lists a bucket as "key" and "key (marker)", newest first.
func (w *world) left(c api.Client, bucket string) string {
	w.T.Helper()
	out := must[*api.ListObjectVersionsOutput](w.T)(c.ListObjectVersions(w.T.Context(), &api.ListObjectVersionsInput{Bucket: bucket}))
	var list []string
	for _, v := range out.Versions {
		list = append(list, v.Key)
	}
	for _, m := range out.DeleteMarkers {
		list = append(list, m.Key+" (marker)")
	}
	return strings.Join(list, ",")
}

const day = 24 * time.Hour

func TestObjectsExpire(t *testing.T) {
	each(t, func(w *world) {
		a := w.as(rootA)
		w.bucket(a, "mine")
		w.put(a, "mine", "logs/a", "old")
		w.put(a, "mine", "logs/big", strings.Repeat("x", 100))
		w.put(a, "mine", "kept", "kept")
		must[*api.PutObjectOutput](t)(a.PutObject(t.Context(), &api.PutObjectInput{Bucket: "mine", Key: "tagged", Tagging: "temp=yes"}))
		must[*api.PutBucketNotificationConfigurationOutput](t)(a.PutBucketNotificationConfiguration(t.Context(), &api.PutBucketNotificationConfigurationInput{
			Bucket: "mine", NotificationConfiguration: &api.NotificationConfiguration{EventBridgeConfiguration: &api.EventBridgeConfiguration{}},
		}))
		w.rules(a, "mine",
			api.LifecycleRule{ID: "logs", Status: "Enabled", Expiration: &api.LifecycleExpiration{Days: new(int64(2))}, Filter: &api.LifecycleRuleFilter{
				And: &api.LifecycleRuleAndOperator{Prefix: "logs/", ObjectSizeLessThan: new(int64(50))}}},
			api.LifecycleRule{ID: "temp", Status: "Enabled", Expiration: &api.LifecycleExpiration{Days: new(int64(5))}, Filter: &api.LifecycleRuleFilter{
				Tag: &api.Tag{Key: "temp", Value: "yes"}}},
			api.LifecycleRule{ID: "off", Status: "Disabled", Expiration: &api.LifecycleExpiration{Days: new(int64(1))}, Filter: &api.LifecycleRuleFilter{}})
		head := must[*api.HeadObjectOutput](t)(a.HeadObject(t.Context(), &api.HeadObjectInput{Bucket: "mine", Key: "logs/a"}))
		due := dueAfter(*head.LastModified, 2)
		if want := `expiry-date="` + due.Format("Mon, 02 Jan 2006 15:04:05 GMT") + `", rule-id="logs"`; head.Expiration != want {
			t.Errorf("x-amz-expiration %q, want %q", head.Expiration, want)
		}
		w.Advance(due.Sub(w.Now()) - time.Minute)
		w.expire()
		if got := w.left(a, "mine"); got != "kept,logs/a,logs/big,tagged" {
			t.Errorf("a minute before, %s are left", got)
		}
		w.Advance(2 * time.Minute)
		w.expire()
		if got := w.left(a, "mine"); got != "kept,logs/big,tagged" {
			t.Errorf("after two days, %s are left", got)
		}
		events := strings.Join(shown(w.emitted()), "\n")
		if want := `Object Deleted {"version":"0","bucket":{"name":"mine"},"object":{"key":"logs/a","etag":"…","sequencer":"…"},"request-id":"…","requester":"s3.amazonaws.com","reason":"Lifecycle Expiration","deletion-type":"Permanently Deleted"}`; events != want {
			t.Errorf("events %s, want %s", events, want)
		}
		w.Advance(4 * day)
		w.expire()
		if got := w.left(a, "mine"); got != "kept,logs/big" {
			t.Errorf("after six days, %s are left", got)
		}
	})
}

func TestVersionsExpire(t *testing.T) {
	each(t, func(w *world) {
		a := w.as(rootA)
		w.bucket(a, "mine")
		w.versioned(a, "mine", "Enabled")
		for range 4 {
			w.put(a, "mine", "k", "text")
		}
		w.rules(a, "mine", api.LifecycleRule{Status: "Enabled", Filter: &api.LifecycleRuleFilter{},
			Expiration:                     &api.LifecycleExpiration{Days: new(int64(10))},
			NoncurrentVersionExpiration:    &api.NoncurrentVersionExpiration{NoncurrentDays: new(int64(1)), NewerNoncurrentVersions: new(int64(2))},
			AbortIncompleteMultipartUpload: &api.AbortIncompleteMultipartUpload{DaysAfterInitiation: new(int64(3))}})
		must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(t.Context(), &api.CreateMultipartUploadInput{Bucket: "mine", Key: "up"}))
		uploads := func() int {
			return len(must[*api.ListMultipartUploadsOutput](t)(a.ListMultipartUploads(t.Context(), &api.ListMultipartUploadsInput{Bucket: "mine"})).Uploads)
		}
		w.expire()
		if got := w.left(a, "mine"); got != "k,k,k,k" || uploads() != 1 {
			t.Errorf("at once, %s and %d uploads are left", got, uploads())
		}
		w.Advance(2 * day)
		w.expire()
		if got := w.left(a, "mine"); got != "k,k,k" || uploads() != 1 {
			t.Errorf("after two days, %s and %d uploads are left: two that are not current stay", got, uploads())
		}
		w.Advance(2 * day)
		w.expire()
		if uploads() != 0 {
			t.Error("the upload is still under way after four days")
		}
		w.Advance(7 * day)
		w.expire()
		if got := w.left(a, "mine"); got != "k,k,k,k (marker)" {
			t.Errorf("after eleven days, %s", got)
		}
		w.rules(a, "mine",
			api.LifecycleRule{Status: "Enabled", Filter: &api.LifecycleRuleFilter{}, NoncurrentVersionExpiration: &api.NoncurrentVersionExpiration{NoncurrentDays: new(int64(1))}},
			api.LifecycleRule{Status: "Enabled", Filter: &api.LifecycleRuleFilter{}, Expiration: &api.LifecycleExpiration{ExpiredObjectDeleteMarker: new(true)}})
		w.Advance(2 * day)
		w.expire()
		if got := w.left(a, "mine"); got != "k (marker)" {
			t.Errorf("without a number to keep, %s are left", got)
		}
		w.Advance(day)
		w.expire()
		if got := w.left(a, "mine"); got != "" {
			t.Errorf("a delete marker of nothing stays: %s", got)
		}
	})
}

// A lock outlasts every rule.
func TestLockedVersionsDoNotExpire(t *testing.T) {
	each(t, func(w *world) {
		a := w.as(rootA)
		must[*api.CreateBucketOutput](t)(a.CreateBucket(t.Context(), &api.CreateBucketInput{Bucket: "mine", ObjectLockEnabledForBucket: new(true)}))
		must[*api.PutObjectOutput](t)(a.PutObject(t.Context(), &api.PutObjectInput{Bucket: "mine", Key: "k", ObjectLockLegalHoldStatus: "ON"}))
		w.put(a, "mine", "k", "newer")
		w.rules(a, "mine", api.LifecycleRule{Status: "Enabled", Filter: &api.LifecycleRuleFilter{},
			NoncurrentVersionExpiration: &api.NoncurrentVersionExpiration{NoncurrentDays: new(int64(1))}})
		w.Advance(3 * day)
		w.expire()
		if got := w.left(a, "mine"); got != "k,k" {
			t.Errorf("%s are left", got)
		}
	})
}

func TestDueAfter(t *testing.T) {
	for _, tt := range []struct {
		made string
		days int64
		want string
	}{
		{"2026-01-15T10:30:00Z", 3, "2026-01-19T00:00:00Z"},
		{"2026-01-15T00:00:00Z", 3, "2026-01-18T00:00:00Z"},
		{"2026-02-27T23:59:59Z", 1, "2026-03-01T00:00:00Z"},
	} {
		made, _ := time.Parse(time.RFC3339, tt.made)
		if got := dueAfter(made, tt.days).Format(time.RFC3339); got != tt.want {
			t.Errorf("dueAfter(%s, %d) = %s, want %s", tt.made, tt.days, got, tt.want)
		}
	}
}
