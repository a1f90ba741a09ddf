package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

func TestPutAndGet(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		out := must[*api.PutObjectOutput](t)(a.PutObject(ctx, &api.PutObjectInput{
			Bucket: "mine", Key: "dir/hello", Body: strings.NewReader("hello world"),
			ContentType: "text/plain", CacheControl: "no-cache", ContentEncoding: "aws-chunked,gzip", Tagging: "a=1&b=two%20words",
			Metadata: map[string]string{"Color": "blue"}, StorageClass: "STANDARD_IA",
		}))
		if out.ETag != `"5eb63bbbe01eeed093cb22bb8f5acdc3"` || out.ServerSideEncryption != "AES256" || out.VersionId != "" {
			t.Errorf("put: %+v", out)
		}
		if out.ChecksumCRC64NVME != sumOf(sumCRC64NVME, []byte("hello world")) || out.ChecksumType != "FULL_OBJECT" {
			t.Errorf("checksum: %+v", out)
		}
		text, got := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "dir/hello", ChecksumMode: "ENABLED"})
		if text != "hello world" || *got.ContentLength != 11 || got.ETag != out.ETag || got.ContentType != "text/plain" ||
			got.CacheControl != "no-cache" || got.ContentEncoding != "gzip" || got.Metadata["color"] != "blue" ||
			got.StorageClass != "STANDARD_IA" || *got.TagCount != 2 || got.ChecksumCRC64NVME != out.ChecksumCRC64NVME ||
			got.AcceptRanges != "bytes" || got.ContentRange != "" || got.LastModified == nil {
			t.Errorf("get: %q %+v", text, got)
		}
		head := must[*api.HeadObjectOutput](t)(a.HeadObject(ctx, &api.HeadObjectInput{Bucket: "mine", Key: "dir/hello"}))
		if *head.ContentLength != 11 || head.ETag != out.ETag || head.ChecksumCRC64NVME != "" {
			t.Errorf("head: %+v", head)
		}
		_, shown := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "dir/hello", ResponseContentType: "x/y", ResponseExpires: new(time.Unix(0, 0))})
		if shown.ContentType != "x/y" || shown.Expires != "Thu, 01 Jan 1970 00:00:00 GMT" {
			t.Errorf("overrides: %+v", shown)
		}
		w.put(a, "mine", "plain", "x")
		if _, plain := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "plain"}); plain.ContentType != "binary/octet-stream" || plain.TagCount != nil || plain.StorageClass != "" {
			t.Errorf("plain: %+v", plain)
		}
	})
}

func TestGetRangesAndConditions(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		etag := w.put(a, "mine", "k", "0123456789").ETag
		for _, tt := range []struct{ asked, want, contentRange string }{
			{"bytes=0-3", "0123", "bytes 0-3/10"},
			{"bytes=7-", "789", "bytes 7-9/10"},
			{"bytes=-4", "6789", "bytes 6-9/10"},
			{"bytes=8-99", "89", "bytes 8-9/10"},
			{"bytes=-99", "0123456789", "bytes 0-9/10"},
			{"bytes=0-1,3-4", "0123456789", ""},
			{"bytes=5-2", "0123456789", ""},
			{"lines=1-2", "0123456789", ""},
		} {
			got, out := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "k", Range: tt.asked, ChecksumMode: "ENABLED"})
			if got != tt.want || out.ContentRange != tt.contentRange || *out.ContentLength != int64(len(tt.want)) {
				t.Errorf("%s: %q, %q", tt.asked, got, out.ContentRange)
			}
			if (out.ChecksumCRC64NVME != "") != (tt.contentRange == "") {
				t.Errorf("%s: checksum %q", tt.asked, out.ChecksumCRC64NVME)
			}
		}
		e := wantCode(t, second(a.GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k", Range: "bytes=10-"})), "InvalidRange")
		if e.Status != 416 || e.Fields["ActualObjectSize"] != "10" || e.Fields["RangeRequested"] != "bytes=10-" {
			t.Errorf("%+v", e)
		}
		past, future := new(w.Now().Add(-time.Hour)), new(w.Now().Add(time.Hour))
		for _, tt := range []struct {
			name string
			in   api.GetObjectInput
			code string
		}{
			{"same tag", api.GetObjectInput{IfMatch: etag}, ""},
			{"another tag", api.GetObjectInput{IfMatch: `"x"`}, "PreconditionFailed"},
			{"any tag", api.GetObjectInput{IfMatch: "*"}, ""},
			{"not this tag", api.GetObjectInput{IfNoneMatch: etag}, "NotModified"},
			{"not this tag, unquoted, of several", api.GetObjectInput{IfNoneMatch: `"x", ` + strings.Trim(etag, `"`)}, "NotModified"},
			{"not another tag", api.GetObjectInput{IfNoneMatch: `"x"`}, ""},
			{"changed since then", api.GetObjectInput{IfModifiedSince: past}, ""},
			{"not changed since", api.GetObjectInput{IfModifiedSince: future}, "NotModified"},
			{"unchanged since", api.GetObjectInput{IfUnmodifiedSince: future}, ""},
			{"changed after", api.GetObjectInput{IfUnmodifiedSince: past}, "PreconditionFailed"},
			{"the tag counts more than the date", api.GetObjectInput{IfMatch: etag, IfUnmodifiedSince: past}, ""},
			{"the other tag counts more than the date", api.GetObjectInput{IfNoneMatch: `"x"`, IfModifiedSince: future}, ""},
			{"range and part", api.GetObjectInput{Range: "bytes=0-1", PartNumber: new(int64(1))}, "InvalidRequest"},
			{"first part of a whole object", api.GetObjectInput{PartNumber: new(int64(1))}, ""},
			{"second part of it", api.GetObjectInput{PartNumber: new(int64(2))}, "InvalidPartNumber"},
			{"customer key", api.GetObjectInput{SSECustomerAlgorithm: "AES256"}, "InvalidRequest"},
			{"a version that is none", api.GetObjectInput{VersionId: "a b"}, "InvalidArgument"},
			{"a version that is not there", api.GetObjectInput{VersionId: "abc"}, "NoSuchVersion"},
		} {
			tt.in.Bucket, tt.in.Key = "mine", "k"
			out, err := a.GetObject(ctx, &tt.in)
			if tt.code != "" {
				wantCode(t, err, tt.code)
			} else if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			} else {
				out.Body.Close()
			}
		}
	})
}

func TestPutRefusals(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		body := func() io.Reader { return strings.NewReader("hello") }
		for _, tt := range []struct {
			name string
			in   api.PutObjectInput
			code string
		}{
			{"empty key", api.PutObjectInput{Key: ""}, "InvalidArgument"},
			{"long key", api.PutObjectInput{Key: strings.Repeat("k", 1025)}, "KeyTooLongError"},
			{"key that is no text", api.PutObjectInput{Key: "\xff"}, "InvalidURI"},
			{"key with NUL", api.PutObjectInput{Key: "a\x00b"}, "InvalidURI"},
			{"no such bucket", api.PutObjectInput{Bucket: "nowhere"}, "NoSuchBucket"},
			{"MD5 of something else", api.PutObjectInput{ContentMD5: sumOf(sumMD5, nil)}, "BadDigest"},
			{"MD5 that is none", api.PutObjectInput{ContentMD5: "AAAA"}, "InvalidDigest"},
			{"checksum of something else", api.PutObjectInput{ChecksumSHA256: sumOf(sumSHA256, nil)}, "BadDigest"},
			{"xxhash", api.PutObjectInput{ChecksumXXHASH64: "AAAA"}, "NotImplemented"},
			{"unknown class", api.PutObjectInput{StorageClass: "ATTIC"}, "InvalidStorageClass"},
			{"archive", api.PutObjectInput{StorageClass: "GLACIER"}, "NotImplemented"},
			{"unknown encryption", api.PutObjectInput{ServerSideEncryption: "ROT13"}, "InvalidArgument"},
			{"key without KMS", api.PutObjectInput{SSEKMSKeyId: "k"}, "InvalidArgument"},
			{"key with AES256", api.PutObjectInput{ServerSideEncryption: "AES256", SSEKMSKeyId: "k"}, "InvalidArgument"},
			{"context that is none", api.PutObjectInput{ServerSideEncryption: "aws:kms", SSEKMSEncryptionContext: "e30"}, "InvalidArgument"},
			{"customer key", api.PutObjectInput{SSECustomerKey: "k"}, "InvalidArgument"},
			{"lock", api.PutObjectInput{ObjectLockMode: "GOVERNANCE"}, "InvalidRequest"},
			{"append", api.PutObjectInput{WriteOffsetBytes: new(int64(1))}, "NotImplemented"},
			{"tags that are none", api.PutObjectInput{Tagging: "%zz=1"}, "InvalidArgument"},
			{"a tag twice", api.PutObjectInput{Tagging: "a=1&a=2"}, "InvalidTag"},
			{"too many tags", api.PutObjectInput{Tagging: "a&b&c&d&e&f&g&h&i&j&k"}, "BadRequest"},
			{"too much metadata", api.PutObjectInput{Metadata: map[string]string{"a": strings.Repeat("x", 2048)}}, "MetadataTooLarge"},
			{"redirect", api.PutObjectInput{WebsiteRedirectLocation: "gopher://x"}, "InvalidRedirectLocation"},
			{"none of some tag", api.PutObjectInput{IfNoneMatch: `"x"`}, "NotImplemented"},
		} {
			if tt.in.Bucket == "" {
				tt.in.Bucket = "mine"
			}
			if tt.in.Key == "" && tt.name != "empty key" {
				tt.in.Key = "k"
			}
			tt.in.Body = body()
			if _, err := a.PutObject(ctx, &tt.in); err == nil {
				t.Errorf("%s was taken", tt.name)
			} else {
				wantCode(t, err, tt.code)
			}
		}
		if left := w.blobs.names(t); len(left) != 0 {
			t.Errorf("blobs left: %v", left)
		}
		wantCode(t, second(a.GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k"})), "NoSuchKey")
	})
}

func TestConditionalWrites(t *testing.T) {
	each(t, func(w *world) {
		w.s.small = -1 // all bodies in the blob store
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		put := func(key, text, match, absent string) error {
			_, err := a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: key, Body: strings.NewReader(text), IfMatch: match, IfNoneMatch: absent})
			return err
		}
		if err := put("k", "one", "", "*"); err != nil {
			t.Fatal(err)
		}
		if e := wantCode(t, put("k", "two", "", "*"), "PreconditionFailed"); e.Fields["Condition"] != "If-None-Match" {
			t.Errorf("%+v", e)
		}
		wantCode(t, put("k", "two", `"x"`, ""), "PreconditionFailed")
		wantCode(t, put("other", "two", `"x"`, ""), "NoSuchKey")
		if err := put("k", "two", `"`+md5Hex("one")+`"`, ""); err != nil {
			t.Fatal(err)
		}
		// Of many writers at once that all want to be first, one is.
		var group sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			group.Go(func() { errs[i] = put("race", fmt.Sprint(i), "", "*") })
		}
		group.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				wantCode(t, err, "PreconditionFailed")
			}
		}
		if won != 1 {
			t.Errorf("%d writers won", won)
		}
		if left := w.blobs.names(t); len(left) != 3 { // k twice (the old one goes later), race
			t.Errorf("blobs: %v", left)
		}
	})
}

func md5Hex(text string) string {
	b, _ := base64.StdEncoding.DecodeString(sumOf(sumMD5, []byte(text)))
	return fmt.Sprintf("%x", b)
}

func TestVersioning(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		w.put(a, "mine", "k", "before")
		w.versioned(a, "mine", "Enabled")
		v1 := w.put(a, "mine", "k", "one").VersionId
		v2 := w.put(a, "mine", "k", "two").VersionId
		if len(v1) != 32 || v1 == v2 {
			t.Fatalf("version ids %q, %q", v1, v2)
		}
		for version, want := range map[string]string{"": "two", v1: "one", v2: "two", "null": "before"} {
			if got, _ := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "k", VersionId: version}); got != want {
				t.Errorf("version %q = %q, want %q", version, got, want)
			}
		}
		// A delete marker hides the object.
		gone := must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "k"}))
		if !isTrue(gone.DeleteMarker) || gone.VersionId == "" {
			t.Errorf("delete: %+v", gone)
		}
		e := wantCode(t, second(a.GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k"})), "NoSuchKey")
		if e.Header["x-amz-delete-marker"] != "true" || e.Header["x-amz-version-id"] != gone.VersionId {
			t.Errorf("%+v", e)
		}
		e = wantCode(t, second(a.HeadObject(ctx, &api.HeadObjectInput{Bucket: "mine", Key: "k", VersionId: gone.VersionId})), "MethodNotAllowed")
		if e.Status != 405 || e.Header["Allow"] != "DELETE" || e.Fields["Method"] != "HEAD" {
			t.Errorf("%+v", e)
		}
		if l := w.list(a, &api.ListObjectsV2Input{Bucket: "mine"}); len(l) != 0 {
			t.Errorf("listed %v", l)
		}
		want := []string{"k " + gone.VersionId + " marker latest", "k " + v2, "k " + v1, "k null"}
		if diff := cmp.Diff(want, w.versions(a, "mine")); diff != "" {
			t.Error(diff)
		}
		// Deleting the marker brings the object back; deleting a version removes it.
		back := must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "k", VersionId: gone.VersionId}))
		if !isTrue(back.DeleteMarker) || back.VersionId != gone.VersionId || w.text(a, "mine", "k") != "two" {
			t.Errorf("undelete: %+v", back)
		}
		out := must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "k", VersionId: v2}))
		if out.DeleteMarker != nil || out.VersionId != v2 || w.text(a, "mine", "k") != "one" {
			t.Errorf("delete of a version: %+v", out)
		}
		// Suspended: the null version is replaced, others stay.
		w.versioned(a, "mine", "Suspended")
		if v := w.put(a, "mine", "k", "null again").VersionId; v != "null" {
			t.Errorf("version %q", v)
		}
		if diff := cmp.Diff([]string{"k null latest", "k " + v1}, w.versions(a, "mine")); diff != "" {
			t.Error(diff)
		}
		gone = must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "k"}))
		if !isTrue(gone.DeleteMarker) || gone.VersionId != "null" {
			t.Errorf("delete while suspended: %+v", gone)
		}
		if diff := cmp.Diff([]string{"k null marker latest", "k " + v1}, w.versions(a, "mine")); diff != "" {
			t.Error(diff)
		}
		wantCode(t, second(a.DeleteBucket(ctx, &api.DeleteBucketInput{Bucket: "mine"})), "BucketNotEmpty")
		for _, v := range []string{"null", v1, v1} { // deleting what is gone is no error
			must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "k", VersionId: v}))
		}
		must[*api.DeleteBucketOutput](t)(a.DeleteBucket(ctx, &api.DeleteBucketInput{Bucket: "mine"}))
	})
}

func (w *world) versions(c api.Client, bucket string) []string {
	w.T.Helper()
	out := must[*api.ListObjectVersionsOutput](w.T)(c.ListObjectVersions(w.T.Context(), &api.ListObjectVersionsInput{Bucket: bucket}))
	var markers, list []string
	for _, m := range out.DeleteMarkers {
		markers = append(markers, m.Key+" "+m.VersionId+" marker"+latest(m.IsLatest))
	}
	for _, v := range out.Versions {
		list = append(list, v.Key+" "+v.VersionId+latest(v.IsLatest))
	}
	return append(markers, list...)
}

func latest(b *bool) string {
	if isTrue(b) {
		return " latest"
	}
	return ""
}

func TestUnversionedDelete(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		w.put(a, "mine", "k", "x")
		wantCode(t, second(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "k", IfMatch: `"y"`})), "PreconditionFailed")
		wantCode(t, second(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "none", IfMatch: "*"})), "NoSuchKey")
		out := must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "k", IfMatch: "*"}))
		if out.DeleteMarker != nil || out.VersionId != "" {
			t.Errorf("%+v", out)
		}
		must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "k"}))
		if v := w.versions(a, "mine"); len(v) != 0 {
			t.Errorf("left: %v", v)
		}
	})
}

func TestDeleteObjects(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		for _, k := range []string{"a", "b", "keep"} {
			w.put(a, "mine", k, k)
		}
		w.Grant("dan@111111111111", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"s3:DeleteObject","Resource":"*"},
			{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::mine/keep"}]}`)
		dan := w.as("dan@111111111111")
		del := func(quiet bool, keys ...string) *api.DeleteObjectsOutput {
			in := &api.DeleteObjectsInput{Bucket: "mine", Delete: &api.Delete{Quiet: &quiet}}
			for _, k := range keys {
				in.Delete.Objects = append(in.Delete.Objects, api.ObjectIdentifier{Key: k})
			}
			return must[*api.DeleteObjectsOutput](t)(dan.DeleteObjects(ctx, in))
		}
		out := del(false, "a", "keep", "absent", "")
		if len(out.Deleted) != 2 || out.Deleted[0].Key != "a" || out.Deleted[1].Key != "absent" {
			t.Errorf("deleted: %+v", out.Deleted)
		}
		if len(out.Errors) != 2 || out.Errors[0].Key != "keep" || out.Errors[0].Code != "AccessDenied" || out.Errors[1].Code != "InvalidArgument" {
			t.Errorf("errors: %+v", out.Errors)
		}
		if !strings.Contains(out.Errors[0].Message, `s3:DeleteObject on resource: "arn:aws:s3:::mine/keep" with an explicit deny in an identity-based policy`) {
			t.Errorf("message: %s", out.Errors[0].Message)
		}
		if out := del(true, "b", "keep"); len(out.Deleted) != 0 || len(out.Errors) != 1 {
			t.Errorf("quiet: %+v", out)
		}
		if l := w.list(a, &api.ListObjectsV2Input{Bucket: "mine"}); !slices.Equal(l, []string{"keep"}) {
			t.Errorf("left: %v", l)
		}
		w.versioned(a, "mine", "Enabled")
		both := must[*api.DeleteObjectsOutput](t)(a.DeleteObjects(ctx, &api.DeleteObjectsInput{Bucket: "mine", Delete: &api.Delete{
			Objects: []api.ObjectIdentifier{{Key: "keep"}, {Key: "keep", VersionId: "null"}},
		}}))
		if len(both.Deleted) != 2 || !isTrue(both.Deleted[0].DeleteMarker) || both.Deleted[0].DeleteMarkerVersionId == "" || both.Deleted[1].VersionId != "null" {
			t.Errorf("versioned: %+v", both.Deleted)
		}
		wantCode(t, second(a.DeleteObjects(ctx, &api.DeleteObjectsInput{Bucket: "mine", Delete: &api.Delete{}})), "MalformedXML")
		wantCode(t, second(a.DeleteObjects(ctx, &api.DeleteObjectsInput{Bucket: "mine"})), "MalformedXML")
		wantCode(t, second(a.DeleteObjects(ctx, &api.DeleteObjectsInput{Bucket: "nowhere", Delete: &api.Delete{Objects: []api.ObjectIdentifier{{Key: "x"}}}})), "NoSuchBucket")
		wantCode(t, second(w.as("bob@111111111111").DeleteObjects(ctx, &api.DeleteObjectsInput{Bucket: "nowhere", Delete: &api.Delete{Objects: []api.ObjectIdentifier{{Key: "x"}}}})), "AccessDenied")
	})
}

func (w *world) list(c api.Client, in *api.ListObjectsV2Input) []string {
	w.T.Helper()
	var all []string
	for {
		out := must[*api.ListObjectsV2Output](w.T)(c.ListObjectsV2(w.T.Context(), in))
		for _, o := range out.Contents {
			all = append(all, o.Key)
		}
		for _, p := range out.CommonPrefixes {
			all = append(all, p.Prefix)
		}
		if *out.KeyCount != int64(len(out.Contents)+len(out.CommonPrefixes)) {
			w.T.Errorf("KeyCount %d", *out.KeyCount)
		}
		if !*out.IsTruncated {
			return all
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func TestListing(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		keys := []string{"a", "a/", "a/1", "a/2", "a/b/3", "aa", "b/1", "b/\U0010FFFF", "b/\U0010FFFFz", "c d+e", "Z", "é/x", "日本/語"}
		w.versioned(a, "mine", "Enabled")
		for _, k := range keys {
			w.put(a, "mine", k, "old")
			w.put(a, "mine", k, "new")
		}
		must[*api.DeleteObjectOutput](t)(a.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "mine", Key: "aa"}))
		sorted := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == "aa" })
		slices.Sort(sorted)
		for size := int64(1); size <= 5; size++ {
			if diff := cmp.Diff(sorted, w.list(a, &api.ListObjectsV2Input{Bucket: "mine", MaxKeys: &size})); diff != "" {
				t.Errorf("pages of %d: %s", size, diff)
			}
			for _, tt := range []struct {
				prefix, delimiter string
				want              []string
			}{
				{"", "/", []string{"Z", "a", "a/", "b/", "c d+e", "é/", "日本/"}},
				{"a/", "/", []string{"a/", "a/1", "a/2", "a/b/"}},
				{"a/", "", []string{"a/", "a/1", "a/2", "a/b/3"}},
				{"b/", "/", []string{"b/1", "b/\U0010FFFF", "b/\U0010FFFFz"}},
				{"none", "/", nil},
			} {
				got := w.list(a, &api.ListObjectsV2Input{Bucket: "mine", MaxKeys: &size, Prefix: tt.prefix, Delimiter: tt.delimiter})
				slices.Sort(got)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("pages of %d, prefix %q, delimiter %q: %s", size, tt.prefix, tt.delimiter, diff)
				}
				if got := w.listV1(a, &api.ListObjectsInput{Bucket: "mine", MaxKeys: &size, Prefix: tt.prefix, Delimiter: tt.delimiter}); !slices.Equal(got, tt.want) {
					t.Errorf("v1, pages of %d, prefix %q, delimiter %q: %q", size, tt.prefix, tt.delimiter, got)
				}
			}
			if got := w.allVersions(a, "mine", "", size); len(got) != 2*len(keys)+1 {
				t.Errorf("%d versions in pages of %d: %q", len(got), size, got)
			}
			if got := w.allVersions(a, "mine", "/", size); len(got) != len([]string{"Z", "Z", "a", "a", "a/", "aa", "aa", "aa", "b/", "c d+e", "c d+e", "é/", "日本/"}) {
				t.Errorf("folded versions in pages of %d: %q", size, got)
			}
		}
		if got := w.list(a, &api.ListObjectsV2Input{Bucket: "mine", StartAfter: "b/1"}); got[0] != "b/\U0010FFFF" {
			t.Errorf("after b/1: %q", got)
		}
		coded := must[*api.ListObjectsV2Output](t)(a.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: "mine", EncodingType: "url", Prefix: "c"}))
		if coded.Contents[0].Key != "c+d%2Be" || coded.EncodingType != "url" || coded.Contents[0].Owner != nil {
			t.Errorf("%+v", coded.Contents)
		}
		none := must[*api.ListObjectsV2Output](t)(a.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: "mine", MaxKeys: new(int64(0))}))
		if *none.IsTruncated || *none.KeyCount != 0 {
			t.Errorf("%+v", none)
		}
		wantCode(t, second(a.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: "mine", MaxKeys: new(int64(-1))})), "InvalidArgument")
		wantCode(t, second(a.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: "mine", EncodingType: "rot13"})), "InvalidArgument")
		wantCode(t, second(a.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: "mine", ContinuationToken: "!"})), "InvalidArgument")
		wantCode(t, second(a.ListObjectVersions(ctx, &api.ListObjectVersionsInput{Bucket: "mine", VersionIdMarker: "x"})), "InvalidArgument")
		wantCode(t, second(a.ListObjects(ctx, &api.ListObjectsInput{Bucket: "nowhere"})), "NoSuchBucket")
	})
}

func (w *world) listV1(c api.Client, in *api.ListObjectsInput) []string {
	w.T.Helper()
	var all []string
	for {
		out := must[*api.ListObjectsOutput](w.T)(c.ListObjects(w.T.Context(), in))
		var page []string
		for _, o := range out.Contents {
			page = append(page, o.Key)
		}
		for _, p := range out.CommonPrefixes {
			page = append(page, p.Prefix)
		}
		slices.Sort(page)
		all = append(all, page...)
		if !*out.IsTruncated {
			return all
		}
		if in.Marker = out.NextMarker; in.Marker == "" {
			in.Marker = page[len(page)-1]
		}
	}
}

func (w *world) allVersions(c api.Client, bucket, delimiter string, size int64) []string {
	w.T.Helper()
	in := &api.ListObjectVersionsInput{Bucket: bucket, MaxKeys: &size, Delimiter: delimiter}
	var all []string
	for {
		out := must[*api.ListObjectVersionsOutput](w.T)(c.ListObjectVersions(w.T.Context(), in))
		for _, v := range out.Versions {
			all = append(all, v.Key+" "+v.VersionId)
		}
		for _, m := range out.DeleteMarkers {
			all = append(all, m.Key+" "+m.VersionId)
		}
		for _, p := range out.CommonPrefixes {
			all = append(all, p.Prefix)
		}
		if !*out.IsTruncated {
			slices.Sort(all)
			return slices.Compact(all)
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}

// TestListingManyRows crosses the bounds of what one query reads.
func TestListingManyRows(t *testing.T) {
	each(t, func(w *world) {
		t, a := w.T, w.as(rootA)
		w.bucket(a, "mine")
		var all []string
		err := w.DB.Update(t.Context(), func(tx *state.Tx) error {
			all = nil
			for i := range 2500 {
				o := &object{Bucket: "mine", Key: fmt.Sprintf("d%d/%05d", i/1100, i), Version: "null", Seq: 1, Latest: true, Modified: w.Now(), StorageClass: "STANDARD"}
				all = append(all, o.Key)
				if err := o.insert(t.Context(), tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.list(a, &api.ListObjectsV2Input{Bucket: "mine"}); !slices.Equal(got, all) {
			t.Errorf("listed %d of %d", len(got), len(all))
		}
		if got := w.list(a, &api.ListObjectsV2Input{Bucket: "mine", Delimiter: "/"}); !slices.Equal(got, []string{"d0/", "d1/", "d2/"}) {
			t.Errorf("folded: %q", got)
		}
		if got := w.allVersions(a, "mine", "/", 1000); len(got) != 3 {
			t.Errorf("folded versions: %q", got)
		}
		if got := w.allVersions(a, "mine", "", 1000); len(got) != 2500 {
			t.Errorf("%d versions", len(got))
		}
	})
}

func TestCopy(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		w.bucket(a, "other")
		w.versioned(a, "mine", "Enabled")
		must[*api.PutObjectOutput](t)(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "a b/ü", Body: strings.NewReader("one"),
			ContentType: "text/plain", Metadata: map[string]string{"x": "1"}, Tagging: "t=1", ChecksumAlgorithm: "", ChecksumSHA256: sumOf(sumSHA256, []byte("one"))}))
		old := w.put(a, "mine", "v", "old")
		w.put(a, "mine", "v", "new")
		cp := func(in api.CopyObjectInput) (*api.CopyObjectOutput, error) {
			if in.Bucket == "" {
				in.Bucket, in.Key = "other", "copy"
			}
			return a.CopyObject(ctx, &in)
		}
		out := must[*api.CopyObjectOutput](t)(cp(api.CopyObjectInput{CopySource: "/mine/a%20b/%C3%BC"}))
		if out.CopyObjectResult.ETag != `"`+md5Hex("one")+`"` || out.CopyObjectResult.ChecksumSHA256 != sumOf(sumSHA256, []byte("one")) || out.CopySourceVersionId == "" || out.VersionId != "" {
			t.Errorf("%+v %+v", out, out.CopyObjectResult)
		}
		text, got := w.get(a, &api.GetObjectInput{Bucket: "other", Key: "copy"})
		if text != "one" || got.ContentType != "text/plain" || got.Metadata["x"] != "1" || *got.TagCount != 1 {
			t.Errorf("%q %+v", text, got)
		}
		must[*api.CopyObjectOutput](t)(cp(api.CopyObjectInput{CopySource: "mine/a b/ü", MetadataDirective: "REPLACE", TaggingDirective: "REPLACE", ContentType: "x/y", Tagging: "u=2&v=3", ChecksumAlgorithm: "CRC32"}))
		if _, got := w.get(a, &api.GetObjectInput{Bucket: "other", Key: "copy", ChecksumMode: "ENABLED"}); got.ContentType != "x/y" || got.Metadata != nil || *got.TagCount != 2 || got.ChecksumCRC32 == "" {
			t.Errorf("replaced: %+v", got)
		}
		must[*api.CopyObjectOutput](t)(cp(api.CopyObjectInput{CopySource: "mine/v?versionId=" + old.VersionId}))
		if text := w.text(a, "other", "copy"); text != "old" {
			t.Errorf("old version: %q", text)
		}
		// Onto itself: only to change something, or to bring an old version back.
		self := api.CopyObjectInput{Bucket: "mine", Key: "v", CopySource: "mine/v"}
		wantCode(t, second(cp(self)), "InvalidRequest")
		self.StorageClass = "STANDARD_IA"
		must[*api.CopyObjectOutput](t)(cp(self))
		must[*api.CopyObjectOutput](t)(cp(api.CopyObjectInput{Bucket: "mine", Key: "v", CopySource: "mine/v?versionId=" + old.VersionId}))
		if text := w.text(a, "mine", "v"); text != "old" {
			t.Errorf("restored: %q", text)
		}
		for _, tt := range []struct {
			name string
			in   api.CopyObjectInput
			code string
		}{
			{"no key", api.CopyObjectInput{CopySource: "mine"}, "InvalidArgument"},
			{"nothing", api.CopyObjectInput{}, "InvalidArgument"},
			{"malformed", api.CopyObjectInput{CopySource: "mine/%zz"}, "InvalidArgument"},
			{"access point", api.CopyObjectInput{CopySource: "arn:aws:s3:us-east-1:1:accesspoint/x"}, "NotImplemented"},
			{"no such key", api.CopyObjectInput{CopySource: "mine/none"}, "NoSuchKey"},
			{"no such bucket", api.CopyObjectInput{CopySource: "nowhere/none"}, "NoSuchBucket"},
			{"no such version", api.CopyObjectInput{CopySource: "mine/v?versionId=abc"}, "NoSuchVersion"},
			{"another tag", api.CopyObjectInput{CopySource: "mine/v", CopySourceIfMatch: `"x"`}, "PreconditionFailed"},
			{"not this tag", api.CopyObjectInput{CopySource: "mine/v", CopySourceIfNoneMatch: "*"}, "PreconditionFailed"},
			{"directive", api.CopyObjectInput{CopySource: "mine/v", MetadataDirective: "MERGE"}, "InvalidArgument"},
			{"tagging directive", api.CopyObjectInput{CopySource: "mine/v", TaggingDirective: "MERGE"}, "InvalidArgument"},
			{"first come", api.CopyObjectInput{CopySource: "mine/v", IfNoneMatch: "*"}, "PreconditionFailed"},
			{"another owner", api.CopyObjectInput{CopySource: "mine/v", ExpectedSourceBucketOwner: "222222222222"}, "AccessDenied"},
		} {
			if _, err := cp(tt.in); err == nil {
				t.Errorf("%s was taken", tt.name)
			} else {
				wantCode(t, err, tt.code)
			}
		}
	})
}

func TestTaggingAndAttributes(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		w.versioned(a, "mine", "Enabled")
		v := w.put(a, "mine", "k", "x").VersionId
		w.put(a, "mine", "k", "y")
		must[*api.PutObjectTaggingOutput](t)(a.PutObjectTagging(ctx, &api.PutObjectTaggingInput{Bucket: "mine", Key: "k", VersionId: v,
			Tagging: &api.Tagging{TagSet: []api.Tag{{Key: "Team", Value: "core"}}}}))
		if out := must[*api.GetObjectTaggingOutput](t)(a.GetObjectTagging(ctx, &api.GetObjectTaggingInput{Bucket: "mine", Key: "k", VersionId: v})); len(out.TagSet) != 1 || out.VersionId != v {
			t.Errorf("%+v", out)
		}
		if out := must[*api.GetObjectTaggingOutput](t)(a.GetObjectTagging(ctx, &api.GetObjectTaggingInput{Bucket: "mine", Key: "k"})); len(out.TagSet) != 0 || out.TagSet == nil {
			t.Errorf("%+v", out)
		}
		// The tags decide who may read.
		w.Grant("eve@111111111111", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObjectVersion","s3:GetObject"],"Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/Team":"core"}}},
			{"Effect":"Allow","Action":["s3:PutObject","s3:PutObjectTagging"],"Resource":"*","Condition":{"StringEquals":{"s3:RequestObjectTag/Team":"core"}}}]}`)
		eve := w.as("eve@111111111111")
		if text, _ := w.get(eve, &api.GetObjectInput{Bucket: "mine", Key: "k", VersionId: v}); text != "x" {
			t.Errorf("%q", text)
		}
		wantCode(t, second(eve.GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k"})), "AccessDenied")
		wantCode(t, second(eve.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "e"})), "AccessDenied")
		must[*api.PutObjectOutput](t)(eve.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "e", Tagging: "Team=core"}))
		must[*api.DeleteObjectTaggingOutput](t)(a.DeleteObjectTagging(ctx, &api.DeleteObjectTaggingInput{Bucket: "mine", Key: "k", VersionId: v}))
		wantCode(t, second(eve.GetObject(ctx, &api.GetObjectInput{Bucket: "mine", Key: "k", VersionId: v})), "AccessDenied")

		out := must[*api.GetObjectAttributesOutput](t)(a.GetObjectAttributes(ctx, &api.GetObjectAttributesInput{Bucket: "mine", Key: "k",
			ObjectAttributes: []string{"ETag,Checksum", "ObjectSize", "StorageClass", "ObjectParts"}}))
		if out.ETag != md5Hex("y") || *out.ObjectSize != 1 || out.StorageClass != "STANDARD" || out.ObjectParts != nil || out.Checksum.ChecksumCRC64NVME == "" {
			t.Errorf("%+v", out)
		}
		wantCode(t, second(a.GetObjectAttributes(ctx, &api.GetObjectAttributesInput{Bucket: "mine", Key: "k"})), "InvalidArgument")
		wantCode(t, second(a.GetObjectAttributes(ctx, &api.GetObjectAttributesInput{Bucket: "mine", Key: "k", ObjectAttributes: []string{"Colour"}})), "InvalidArgument")
	})
}

// TestBodiesAtRest looks for plaintext and data keys in the blobs and rows.
func TestBodiesAtRest(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		secret := strings.Repeat("a very secret text ", 100)
		for _, sse := range []string{"AES256", "aws:kms"} {
			must[*api.PutObjectOutput](t)(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: sse, Body: strings.NewReader(secret), ServerSideEncryption: sse}))
			if got := w.text(a, "mine", sse); got != secret {
				t.Errorf("%s: came back as %q", sse, got)
			}
		}
		for _, name := range w.blobs.names(t) {
			if bytes.Contains(w.blobs.bytes(t, name), []byte("secret")) {
				t.Errorf("%s holds plaintext", name)
			}
		}
		var rows []object
		err := w.DB.View(ctx, func(tx *state.Tx) (err error) {
			rows, err = state.List[object](ctx, tx, `SELECT `+objectColumns+` FROM s3_object ORDER BY key`)
			return err
		})
		if err != nil || len(rows) != 2 {
			t.Fatal(rows, err)
		}
		for _, o := range rows {
			c := &call.Call{Principal: aws.RootPrincipal("111111111111"), Secure: true, Region: "us-east-1"}
			key, err := w.s.dataKey(ctx, c, &bucket{Name: "mine", Region: "us-east-1"}, o.Key, o.Body, &o.envelope, nil)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(o.SealedKey, key) || len(o.SealedKey) == 0 {
				t.Errorf("%s: the data key lies in the row", o.Key)
			}
		}
		// A row's key opens no other body.
		one := rows[0]
		if _, err := w.s.dataKey(ctx, &call.Call{}, &bucket{}, one.Key, "other", &one.envelope, nil); err == nil {
			t.Error("a sealed key opens for another body")
		}
	})
}

// TestFailedBlob shows that nothing is acknowledged whose bytes were not
// stored, and no row without them.
func TestFailedBlob(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		broken := io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))
		wantCode(t, second(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", Body: broken})), "IncompleteBody")
		own := errors.New("our own trouble")
		trouble := readerFunc(func([]byte) (int, error) { return 0, own })
		wantCode(t, second(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", Body: trouble})), "InternalError")
		// The bucket goes away while the body arrives.
		gone := readerFunc(func([]byte) (int, error) {
			a.DeleteBucket(ctx, &api.DeleteBucketInput{Bucket: "mine"})
			return 0, io.EOF
		})
		wantCode(t, second(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", Body: gone})), "NoSuchBucket")
		if left := w.blobs.names(t); len(left) != 0 {
			t.Errorf("blobs left: %v", left)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestCollectAndSweep(t *testing.T) {
	each(t, func(w *world) {
		w.s.small = -1 // all bodies in the blob store
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		w.put(a, "mine", "k", "one")
		first := w.blobs.names(t)
		w.put(a, "mine", "k", "two")
		up := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "m"}))
		must[*api.UploadPartOutput](t)(a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "m", UploadId: up.UploadId, PartNumber: new(int64(1)), Body: strings.NewReader("part")}))
		must[*api.AbortMultipartUploadOutput](t)(a.AbortMultipartUpload(ctx, &api.AbortMultipartUploadInput{Bucket: "mine", Key: "m", UploadId: up.UploadId}))
		w.blobs.Put(ctx, "s3/orphan", strings.NewReader("nobody's"))
		w.blobs.Put(ctx, "other/orphan", strings.NewReader("not ours"))
		if n := len(w.blobs.names(t)); n != 5 {
			t.Fatalf("%d blobs", n)
		}
		w.s.collect(ctx, nil)
		if !slices.Contains(w.blobs.names(t), first[0]) {
			t.Error("a body was removed at once: answers under way would break")
		}
		w.Advance(2 * blobGrace)
		if err := w.s.collect(ctx, nil); err == nil {
			t.Error("nobody comes back for the parts")
		}
		if slices.Contains(w.blobs.names(t), first[0]) {
			t.Error("the replaced body is still there")
		}
		w.Advance(2 * partsGrace)
		if err := w.s.collect(ctx, nil); err != nil {
			t.Error(err)
		}
		if n := len(w.blobs.names(t)); n != 3 {
			t.Errorf("%d blobs after collecting: %v", n, w.blobs.names(t))
		}
		if err := w.s.sweep(ctx, nil); err != nil {
			t.Error(err)
		}
		if n := len(w.blobs.names(t)); n != 3 {
			t.Errorf("a young blob was swept: %v", w.blobs.names(t))
		}
		w.Advance(2 * w.s.orphanAge)
		if err := w.s.sweep(ctx, nil); err != nil {
			t.Error(err)
		}
		names := w.blobs.names(t)
		if len(names) != 2 || slices.Contains(names, "s3/orphan") || !slices.Contains(names, "other/orphan") {
			t.Errorf("after the sweep: %v", names)
		}
		if w.text(a, "mine", "k") != "two" {
			t.Error("the object is gone")
		}
	})
}

// TestJobsRun has the jobs found by the queue.
func TestJobsRun(t *testing.T) {
	each(t, func(w *world) {
		t, a := w.T, w.as(rootA)
		w.bucket(a, "mine")
		w.blobs.Put(t.Context(), "s3/orphan", strings.NewReader("nobody's"))
		w.s.orphanAge = -time.Hour
		w.Start(w.s.Run)
		for deadline := time.Now().Add(5 * time.Second); len(w.blobs.names(t)) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the orphan is still there")
			}
		}
	})
}

// TestConcurrentWriters ends with one newest version, and it is whole.
func TestConcurrentWriters(t *testing.T) {
	each(t, func(w *world) {
		t, a := w.T, w.as(rootA)
		w.bucket(a, "mine")
		w.versioned(a, "mine", "Enabled")
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				body := make([]byte, 100_000+i)
				rand.NewChaCha8([32]byte{byte(i)}).Read(body)
				_, err := a.PutObject(context.Background(), &api.PutObjectInput{Bucket: "mine", Key: "k", Body: bytes.NewReader(body)})
				if err != nil {
					t.Error(err)
				}
				if _, err := a.DeleteObject(context.Background(), &api.DeleteObjectInput{Bucket: "mine", Key: "other"}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		newest := 0
		for _, v := range w.versions(a, "mine") {
			if strings.HasSuffix(v, "latest") {
				newest++
			}
		}
		if newest != 2 || len(w.versions(a, "mine")) != 16 {
			t.Errorf("versions: %q", w.versions(a, "mine"))
		}
	})
}
