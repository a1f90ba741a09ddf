package s3

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/state"
)

// emitted are the events in the outbox, oldest first, and empties it.
func (w *world) emitted() (list []aws.Event) {
	w.T.Helper()
	err := w.DB.Update(w.T.Context(), func(tx *state.Tx) error {
		texts, err := state.List[string](w.T.Context(), tx, `SELECT event FROM state_outbox ORDER BY seq`)
		if err != nil {
			return err
		}
		for _, text := range texts {
			var e aws.Event
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				return err
			}
			list = append(list, e)
		}
		_, err = tx.Exec(w.T.Context(), `DELETE FROM state_outbox`)
		return err
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return list
}

// shown are the details of events without what differs from run to run.
func shown(list []aws.Event) (lines []string) {
	varies := regexp.MustCompile(`"(request-id|sequencer|version-id|etag)":"[^"]+"`)
	for _, e := range list {
		lines = append(lines, e.DetailType+" "+varies.ReplaceAllString(string(e.Detail), `"$1":"…"`))
	}
	return lines
}

func TestEvents(t *testing.T) {
	each(t, func(w *world) {
		a := w.as(rootA)
		w.bucket(a, "mine")
		w.put(a, "mine", "before", "nobody hears")
		must[*api.PutBucketNotificationConfigurationOutput](t)(a.PutBucketNotificationConfiguration(t.Context(), &api.PutBucketNotificationConfigurationInput{
			Bucket: "mine", NotificationConfiguration: &api.NotificationConfiguration{EventBridgeConfiguration: &api.EventBridgeConfiguration{}},
		}))
		if list := w.emitted(); len(list) != 0 {
			t.Fatalf("events before anybody asked for them: %v", shown(list))
		}
		w.put(a, "mine", "k", "hello")
		w.versioned(a, "mine", "Enabled")
		must[*api.CopyObjectOutput](t)(a.CopyObject(t.Context(), &api.CopyObjectInput{Bucket: "mine", Key: "copy", CopySource: "mine/k"}))
		must[*api.PutObjectTaggingOutput](t)(a.PutObjectTagging(t.Context(), &api.PutObjectTaggingInput{Bucket: "mine", Key: "copy", Tagging: &api.Tagging{TagSet: []api.Tag{{Key: "a", Value: "b"}}}}))
		must[*api.DeleteObjectTaggingOutput](t)(a.DeleteObjectTagging(t.Context(), &api.DeleteObjectTaggingInput{Bucket: "mine", Key: "copy"}))
		must[*api.DeleteObjectOutput](t)(a.DeleteObject(t.Context(), &api.DeleteObjectInput{Bucket: "mine", Key: "copy"}))
		must[*api.DeleteObjectsOutput](t)(a.DeleteObjects(t.Context(), &api.DeleteObjectsInput{Bucket: "mine", Delete: &api.Delete{Objects: []api.ObjectIdentifier{
			{Key: "k", VersionId: "null"}, {Key: "k", VersionId: "gone"},
		}}}))
		list := w.emitted()
		got := strings.Join(shown(list), "\n")
		who := `,"request-id":"…","requester":"111111111111","source-ip-address":"127.0.0.1"`
		ip := regexp.MustCompile(`"source-ip-address":"[^"]*"`)
		got = ip.ReplaceAllString(got, `"source-ip-address":"127.0.0.1"`)
		want := strings.Join([]string{
			`Object Created {"version":"0","bucket":{"name":"mine"},"object":{"key":"k","size":5,"etag":"…","sequencer":"…"}` + who + `,"reason":"PutObject"}`,
			`Object Created {"version":"0","bucket":{"name":"mine"},"object":{"key":"copy","size":5,"etag":"…","version-id":"…","sequencer":"…"}` + who + `,"reason":"CopyObject"}`,
			`Object Tags Added {"version":"0","bucket":{"name":"mine"},"object":{"key":"copy","etag":"…","version-id":"…"}` + who + `}`,
			`Object Tags Deleted {"version":"0","bucket":{"name":"mine"},"object":{"key":"copy","etag":"…","version-id":"…"}` + who + `}`,
			`Object Deleted {"version":"0","bucket":{"name":"mine"},"object":{"key":"copy","version-id":"…","sequencer":"…"}` + who + `,"reason":"DeleteObject","deletion-type":"Delete Marker Created"}`,
			`Object Deleted {"version":"0","bucket":{"name":"mine"},"object":{"key":"k","etag":"…","version-id":"…","sequencer":"…"}` + who + `,"reason":"DeleteObject","deletion-type":"Permanently Deleted"}`,
		}, "\n")
		if got != want {
			t.Errorf("events\n%s\nwant\n%s", got, want)
		}
		if e := list[0]; e.Source != "aws.s3" || e.Account != "111111111111" || e.Region != "us-east-1" || e.Resources[0] != "arn:aws:s3:::mine" || e.Trace == "" {
			t.Errorf("envelope %+v", e)
		}
	})
}

func TestUploadIsAnEventAndKeepsItsLock(t *testing.T) {
	each(t, func(w *world) {
		a := w.as(rootA)
		must[*api.CreateBucketOutput](t)(a.CreateBucket(t.Context(), &api.CreateBucketInput{Bucket: "mine", ObjectLockEnabledForBucket: new(true)}))
		must[*api.PutBucketNotificationConfigurationOutput](t)(a.PutBucketNotificationConfiguration(t.Context(), &api.PutBucketNotificationConfigurationInput{
			Bucket: "mine", NotificationConfiguration: &api.NotificationConfiguration{EventBridgeConfiguration: &api.EventBridgeConfiguration{}},
		}))
		up := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(t.Context(), &api.CreateMultipartUploadInput{
			Bucket: "mine", Key: "k", ObjectLockLegalHoldStatus: "ON",
		}))
		part := must[*api.UploadPartOutput](t)(a.UploadPart(t.Context(), &api.UploadPartInput{Bucket: "mine", Key: "k", UploadId: up.UploadId, PartNumber: new(int64(1)), Body: strings.NewReader("body")}))
		must[*api.CompleteMultipartUploadOutput](t)(a.CompleteMultipartUpload(t.Context(), &api.CompleteMultipartUploadInput{
			Bucket: "mine", Key: "k", UploadId: up.UploadId,
			MultipartUpload: &api.CompletedMultipartUpload{Parts: []api.CompletedPart{{PartNumber: new(int64(1)), ETag: part.ETag}}},
		}))
		if list := w.emitted(); len(list) != 1 || !strings.Contains(string(list[0].Detail), `"reason":"CompleteMultipartUpload"`) {
			t.Errorf("events %v", shown(list))
		}
		if head := must[*api.HeadObjectOutput](t)(a.HeadObject(t.Context(), &api.HeadObjectInput{Bucket: "mine", Key: "k"})); head.ObjectLockLegalHoldStatus != "ON" {
			t.Errorf("legal hold %q of what was uploaded in parts", head.ObjectLockLegalHoldStatus)
		}
		other := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(t.Context(), &api.CreateMultipartUploadInput{
			Bucket: "mine", Key: "k", ObjectLockLegalHoldStatus: "ON",
		}))
		must[*api.AbortMultipartUploadOutput](t)(a.AbortMultipartUpload(t.Context(), &api.AbortMultipartUploadInput{Bucket: "mine", Key: "k", UploadId: other.UploadId}))
		err := w.DB.View(t.Context(), func(tx *state.Tx) error {
			n, err := state.Get[int64](t.Context(), tx, `SELECT COUNT(*) FROM s3_lock`)
			if n != 1 {
				t.Errorf("%d locks, want the object's alone", n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestSequencersRise(t *testing.T) {
	now := time.Now()
	last := ""
	for range 1000 {
		if next := sequencer(now); next <= last {
			t.Fatalf("%s follows %s", next, last)
		} else {
			last = next
		}
	}
}
