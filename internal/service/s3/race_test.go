package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
)

// errorCode is the code of an answer; empty for none.
func errorCode(err error) string {
	if e, ok := errors.AsType[*aws.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// Of many conditional writers one wins, also where each would have a version
// of its own, and where they replace what is there.
func TestConditionalRaces(t *testing.T) {
	each(t, func(w *world) {
		t, a := w.T, w.as(rootA)
		w.bucket(a, "mine")
		w.versioned(a, "mine", "Enabled")
		race := func(name string, deed func(i int) error) {
			var group sync.WaitGroup
			codes := make([]string, 6)
			for i := range codes {
				group.Go(func() { codes[i] = errorCode(deed(i)) })
			}
			group.Wait()
			slices.Sort(codes)
			if codes[0] != "" || codes[1] != "PreconditionFailed" || codes[5] != "PreconditionFailed" {
				t.Errorf("%s: %q", name, codes)
			}
		}
		put := func(i int, in api.PutObjectInput) error {
			in.Bucket, in.Key, in.Body = "mine", "k", strings.NewReader(fmt.Sprint(i))
			_, err := a.PutObject(context.Background(), &in)
			return err
		}
		race("first", func(i int) error { return put(i, api.PutObjectInput{IfNoneMatch: "*"}) })
		_, out := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "k"})
		race("replace", func(i int) error { return put(i+10, api.PutObjectInput{IfMatch: out.ETag}) })
		race("copy", func(int) error {
			_, err := a.CopyObject(context.Background(), &api.CopyObjectInput{Bucket: "mine", Key: "copy", CopySource: "mine/k", IfNoneMatch: "*"})
			return err
		})
		if got := w.versions(a, "mine"); len(got) != 3 {
			t.Errorf("versions: %q", got)
		}
	})
}

// Whoever completes an upload at the same time as others hears what they hear;
// an abortion comes before or after, never between.
func TestCompletionRaces(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, context.Background(), w.as(rootA)
		w.bucket(a, "mine")
		w.versioned(a, "mine", "Enabled")
		for round := range 4 {
			key := fmt.Sprint("k", round)
			up := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: key}))
			part := must[*api.UploadPartOutput](t)(a.UploadPart(ctx, &api.UploadPartInput{
				Bucket: "mine", Key: key, UploadId: up.UploadId, PartNumber: new(int64(1)), Body: strings.NewReader("text"),
			}))
			var group sync.WaitGroup
			outs := make([]*api.CompleteMultipartUploadOutput, 4)
			errs := make([]error, 6)
			for i := range outs {
				group.Go(func() {
					outs[i], errs[i] = a.CompleteMultipartUpload(ctx, &api.CompleteMultipartUploadInput{
						Bucket: "mine", Key: key, UploadId: up.UploadId,
						MultipartUpload: &api.CompletedMultipartUpload{Parts: []api.CompletedPart{{PartNumber: new(int64(1)), ETag: part.ETag}}},
					})
				})
			}
			if round%2 == 1 {
				group.Go(func() {
					_, errs[4] = a.AbortMultipartUpload(ctx, &api.AbortMultipartUploadInput{Bucket: "mine", Key: key, UploadId: up.UploadId})
				})
				group.Go(func() {
					_, errs[5] = a.UploadPart(ctx, &api.UploadPartInput{
						Bucket: "mine", Key: key, UploadId: up.UploadId, PartNumber: new(int64(2)), Body: strings.NewReader("late"),
					})
				})
			}
			group.Wait()
			_, err := a.HeadObject(ctx, &api.HeadObjectInput{Bucket: "mine", Key: key})
			switch there := err == nil; {
			case there && w.text(a, "mine", key) != "text":
				t.Errorf("round %d: %q", round, w.text(a, "mine", key))
			case !there && (round%2 == 0 || errs[4] != nil):
				t.Errorf("round %d: no object; %v", round, errs)
			default:
				for i, err := range errs[:4] {
					if there && (err != nil || outs[i] == nil || outs[0] == nil || outs[i].VersionId != outs[0].VersionId || outs[i].ETag != outs[0].ETag) || !there && errorCode(err) != "NoSuchUpload" {
						t.Errorf("round %d: there is an object: %t; answer %d: %v, %v", round, there, i, outs[i], err)
					}
				}
			}
			for _, err := range errs[4:] {
				if code := errorCode(err); code != "" && code != "NoSuchUpload" {
					t.Errorf("round %d: %v", round, err)
				}
			}
		}
		keys := map[string]bool{}
		for _, v := range w.versions(a, "mine") {
			key := strings.Fields(v)[0]
			if keys[key] {
				t.Errorf("versions: %q", w.versions(a, "mine"))
			}
			keys[key] = true
		}
	})
}

// A listing that runs beside writers is in order, has no key twice, and shows
// everything that was there all the time.
func TestListingBesideWriters(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, context.Background(), w.as(rootA)
		w.bucket(a, "mine")
		var kept []string
		for i := range 20 {
			key := fmt.Sprintf("kept/%02d", i)
			kept = append(kept, key)
			w.put(a, "mine", key, "")
		}
		stop := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("kept/%02d-%d", i%20, i%3)
				_, err := a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: key, Body: strings.NewReader("x")})
				if err == nil && i%2 == 0 {
					_, err = a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: key})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		for range 5 {
			var seen []string
			for token := ""; ; {
				out := must[*api.ListObjectsV2Output](t)(a.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: "mine", MaxKeys: new(int64(7)), ContinuationToken: token}))
				for _, o := range out.Contents {
					seen = append(seen, o.Key)
				}
				if token = out.NextContinuationToken; token == "" {
					break
				}
			}
			if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
				t.Errorf("listed %q", seen)
			}
			for _, key := range kept {
				if !slices.Contains(seen, key) {
					t.Errorf("%s is not in %q", key, seen)
				}
			}
		}
		close(stop)
		group.Wait()
	})
}
