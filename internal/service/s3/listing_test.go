package s3

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	api "github.com/sekisho/sekisho/internal/api/s3"
)

// unread is a body that must not be asked for.
type unread struct{}

func (unread) Read([]byte) (int, error) { return 0, errors.New("the body was read") }

// TestTooLongBodies refuses bodies by their announced length.
func TestTooLongBodies(t *testing.T) {
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		w.bucket(a, "mine")
		long := int64(maxPut) + 1
		wantCode(t, second(a.PutObject(ctx, &api.PutObjectInput{Bucket: "mine", Key: "k", Body: unread{}, ContentLength: &long})), "EntityTooLarge")
		u := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "k"}))
		wantCode(t, second(a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "k", UploadId: u.UploadId, PartNumber: new(int64(1)),
			Body: unread{}, ContentLength: &long})), "EntityTooLarge")
	})
}

// TestAllParts makes an object of as many parts as there can be.
func TestAllParts(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand uploads")
	}
	each(t, func(w *world) {
		t, ctx, a := w.T, w.T.Context(), w.as(rootA)
		if w.DB.Shared() {
			t.Skip("what counts parts is the same code; one database is slow enough")
		}
		w.s.minPart = 1
		w.bucket(a, "mine")
		u := must[*api.CreateMultipartUploadOutput](t)(a.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: "mine", Key: "k"}))
		parts := make([]api.CompletedPart, maxParts)
		var wg sync.WaitGroup
		for first := range 16 {
			wg.Go(func() {
				for i := first; i < maxParts; i += 16 {
					n := int64(i + 1)
					p, err := a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "k", UploadId: u.UploadId, PartNumber: &n, Body: strings.NewReader("x")})
					if err != nil {
						t.Error(err)
						return
					}
					parts[i] = api.CompletedPart{PartNumber: &n, ETag: p.ETag}
				}
			})
		}
		wg.Wait()
		wantCode(t, second(a.UploadPart(ctx, &api.UploadPartInput{Bucket: "mine", Key: "k", UploadId: u.UploadId, PartNumber: new(int64(maxParts + 1))})), "InvalidArgument")
		listed, marker := 0, new(int64(0))
		for {
			page := must[*api.ListPartsOutput](t)(a.ListParts(ctx, &api.ListPartsInput{Bucket: "mine", Key: "k", UploadId: u.UploadId, PartNumberMarker: marker}))
			listed += len(page.Parts)
			if marker = page.NextPartNumberMarker; !*page.IsTruncated {
				break
			}
		}
		if listed != maxParts {
			t.Errorf("%d parts are listed", listed)
		}
		done := must[*api.CompleteMultipartUploadOutput](t)(a.CompleteMultipartUpload(ctx, &api.CompleteMultipartUploadInput{
			Bucket: "mine", Key: "k", UploadId: u.UploadId, MultipartUpload: &api.CompletedMultipartUpload{Parts: parts},
		}))
		if !strings.HasSuffix(done.ETag, fmt.Sprintf(`-%d"`, maxParts)) {
			t.Errorf("got %s", done.ETag)
		}
		if text, _ := w.get(a, &api.GetObjectInput{Bucket: "mine", Key: "k", Range: "bytes=9990-"}); text != "xxxxxxxxxx" {
			t.Errorf("got %q", text)
		}
	})
}

// modelled is what one listing of keys in order answers: the simplest thing
// that can be right.
func modelled(keys []string, prefix, delimiter string, after func(string) bool) (entries []string) {
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) || !after(key) {
			continue
		}
		shown := key
		if i := strings.Index(key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			shown = "prefix " + key[:len(prefix)+i+len(delimiter)]
		}
		if n := len(entries); n == 0 || entries[n-1] != shown {
			entries = append(entries, shown)
		}
	}
	return entries
}

// beyond is the model of a marker: keys after it, and none of a common prefix
// that it is.
func beyond(marker, prefix, delimiter string) func(string) bool {
	rest, inside := strings.CutPrefix(marker, prefix)
	at := strings.Index(rest, delimiter)
	folded := delimiter != "" && inside && at >= 0 && at+len(delimiter) == len(rest)
	return func(key string) bool { return key > marker && !(folded && strings.HasPrefix(key, marker)) }
}

// TestListingsAgainstModel pages through random buckets in every way and
// compares with the model.
func TestListingsAgainstModel(t *testing.T) {
	each(t, func(w *world) {
		a, buckets := w.as(rootA), 0
		rapid.Check(w.T, func(t *rapid.T) {
			buckets++
			name := fmt.Sprintf("bucket-%d", buckets)
			w.bucket(a, name)
			w.versioned(a, name, versioningEnabled)
			keys := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab/]{1,5}`), 0, 12, rapid.ID[string]).Draw(t, "keys")
			slices.Sort(keys)
			for _, key := range keys {
				w.put(a, name, key, "x")
				must[*api.CreateMultipartUploadOutput](w.T)(a.CreateMultipartUpload(w.T.Context(), &api.CreateMultipartUploadInput{Bucket: name, Key: key}))
			}
			l := lister{w: w, c: a, bucket: name,
				prefix:    rapid.SampledFrom([]string{"", "a", "a/", "/", "b/a"}).Draw(t, "prefix"),
				delimiter: rapid.SampledFrom([]string{"", "/", "a", "/a"}).Draw(t, "delimiter"),
				marker:    rapid.SampledFrom([]string{"", "a", "a/", "/", "b", "b/"}).Draw(t, "marker"),
				size:      rapid.Int64Range(1, 5).Draw(t, "page"),
			}
			want := modelled(keys, l.prefix, l.delimiter, beyond(l.marker, l.prefix, l.delimiter))
			for kind, list := range map[string]func() []string{"V2": l.v2, "V1": l.v1, "versions": l.versions, "uploads": l.uploads} {
				if diff := cmp.Diff(want, list()); diff != "" {
					t.Fatalf("%s of %q, prefix %q, delimiter %q, after %q, %d at a time:\n%s", kind, keys, l.prefix, l.delimiter, l.marker, l.size, diff)
				}
			}
		})
	})
}

// lister pages through a bucket; what it returns is in the model's form.
type lister struct {
	w                         *world
	c                         api.Client
	bucket                    string
	prefix, delimiter, marker string
	size                      int64
}

// pages puts pages together and holds each to its size.
func (l *lister) pages(next func() (entries []string, more bool)) []string {
	l.w.T.Helper()
	var all []string
	for range 100 {
		entries, more := next()
		if int64(len(entries)) > l.size {
			l.w.T.Errorf("a page of %d has %d entries", l.size, len(entries))
		}
		all = append(all, entries...)
		if !more {
			return all
		}
	}
	l.w.T.Fatal("the listing has no end")
	return nil
}

// merged are the keys and common prefixes of a page in their order.
func merged(keys []string, prefixes []api.CommonPrefix) []string {
	type entry struct{ at, shown string }
	var list []entry
	for _, k := range keys {
		list = append(list, entry{k, k})
	}
	for _, p := range prefixes {
		list = append(list, entry{p.Prefix, "prefix " + p.Prefix})
	}
	slices.SortStableFunc(list, func(a, b entry) int { return strings.Compare(a.at, b.at) })
	var out []string
	for _, e := range list {
		out = append(out, e.shown)
	}
	return out
}

func (l *lister) v2() []string {
	in := &api.ListObjectsV2Input{Bucket: l.bucket, Prefix: l.prefix, Delimiter: l.delimiter, StartAfter: l.marker, MaxKeys: &l.size}
	return l.pages(func() ([]string, bool) {
		out := must[*api.ListObjectsV2Output](l.w.T)(l.c.ListObjectsV2(l.w.T.Context(), in))
		in.ContinuationToken = out.NextContinuationToken
		var keys []string
		for _, o := range out.Contents {
			keys = append(keys, o.Key)
		}
		return merged(keys, out.CommonPrefixes), *out.IsTruncated
	})
}

func (l *lister) v1() []string {
	in := &api.ListObjectsInput{Bucket: l.bucket, Prefix: l.prefix, Delimiter: l.delimiter, Marker: l.marker, MaxKeys: &l.size}
	return l.pages(func() ([]string, bool) {
		out := must[*api.ListObjectsOutput](l.w.T)(l.c.ListObjects(l.w.T.Context(), in))
		var keys []string
		for _, o := range out.Contents {
			keys = append(keys, o.Key)
			in.Marker = o.Key
		}
		if out.NextMarker != "" {
			in.Marker = out.NextMarker
		}
		return merged(keys, out.CommonPrefixes), *out.IsTruncated
	})
}

func (l *lister) versions() []string {
	in := &api.ListObjectVersionsInput{Bucket: l.bucket, Prefix: l.prefix, Delimiter: l.delimiter, KeyMarker: l.marker, MaxKeys: &l.size}
	return l.pages(func() ([]string, bool) {
		out := must[*api.ListObjectVersionsOutput](l.w.T)(l.c.ListObjectVersions(l.w.T.Context(), in))
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
		var keys []string
		for _, o := range out.Versions {
			keys = append(keys, o.Key)
		}
		return merged(keys, out.CommonPrefixes), *out.IsTruncated
	})
}

func (l *lister) uploads() []string {
	in := &api.ListMultipartUploadsInput{Bucket: l.bucket, Prefix: l.prefix, Delimiter: l.delimiter, KeyMarker: l.marker, MaxUploads: &l.size}
	return l.pages(func() ([]string, bool) {
		out := must[*api.ListMultipartUploadsOutput](l.w.T)(l.c.ListMultipartUploads(l.w.T.Context(), in))
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		var keys []string
		for _, o := range out.Uploads {
			keys = append(keys, o.Key)
		}
		return merged(keys, out.CommonPrefixes), *out.IsTruncated
	})
}
