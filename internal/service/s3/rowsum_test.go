package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/state"
)

func (w *world) exec(sql string, args ...any) {
	w.T.Helper()
	err := w.DB.Update(w.T.Context(), func(tx *state.Tx) error {
		n, err := tx.Exec(w.T.Context(), sql, args...)
		if err == nil && n == 0 {
			err = errors.New("nothing was changed by " + sql)
		}
		return err
	})
	if err != nil {
		w.T.Fatal(err)
	}
}

// read is what a client gets of an object, or why not.
func (w *world) read(c api.Client, bucket, key string) (string, error) {
	out, err := c.GetObject(w.T.Context(), &api.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	text, err := io.ReadAll(out.Body)
	return string(text), err
}

// A row of which anything was altered is not served, by reading it or in a
// listing that shows it; its object can be replaced and deleted.
func TestAlteredRows(t *testing.T) {
	each(t, func(w *world) {
		t := w.T
		c, ctx := w.as(rootA), t.Context()
		w.bucket(c, "altered")
		for _, set := range []string{
			`size = size + 1`, `etag = 'x' || etag`, `modified = modified + 1000`, `detail = '{"ContentType":"text/evil"}'`,
			`tags = '[]'`, `storage_class = 'STANDARD_IA'`, `checksum = 'AAAAAA=='`, `body = 'other'`, `parts = 1`, `sse = ''`,
		} {
			w.put(c, "altered", "key", "text")
			w.exec(`UPDATE s3_object SET ` + set + ` WHERE bucket = 'altered' AND key = 'key'`)
			if text, err := w.read(c, "altered", "key"); err == nil {
				t.Errorf("%s: read %q", set, text)
			}
			_, err := c.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: "altered"})
			if shown := strings.Contains("size etag modified storage_class", strings.Fields(set)[0]); shown != (err != nil) {
				t.Errorf("%s: listed: %v", set, err)
			}
			if _, err := c.PutObject(ctx, &api.PutObjectInput{Bucket: "altered", Key: "key", IfMatch: "*"}); err == nil {
				t.Errorf("%s: compared with", set)
			}
			w.put(c, "altered", "key", "healed")
			if text, err := w.read(c, "altered", "key"); text != "healed" || err != nil {
				t.Errorf("%s, replaced: %q, %v", set, text, err)
			}
			w.exec(`UPDATE s3_object SET ` + set + ` WHERE bucket = 'altered' AND key = 'key'`)
			must[*api.DeleteObjectOutput](t)(c.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "altered", Key: "key"}))
		}
		w.versioned(c, "altered", versioningEnabled)
		old := w.put(c, "altered", "versions", "one")
		w.put(c, "altered", "versions", "two")
		w.exec(`UPDATE s3_object SET size = size + 1 WHERE version = $1`, old.VersionId)
		must[*api.DeleteObjectOutput](t)(c.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: "altered", Key: "versions", VersionId: old.VersionId}))
		w.put(c, "altered", "moved", "text")
		w.exec(`UPDATE s3_object SET key = 'elsewhere' WHERE key = 'moved'`)
		if text, err := w.read(c, "altered", "elsewhere"); err == nil {
			t.Errorf("read under another key: %q", text)
		}
	})
}

func TestTaggedRowsAddUp(t *testing.T) {
	each(t, func(w *world) {
		t := w.T
		c := w.as(rootA)
		w.bucket(c, "tagged")
		w.put(c, "tagged", "key", "text")
		must[*api.PutObjectTaggingOutput](t)(c.PutObjectTagging(t.Context(), &api.PutObjectTaggingInput{
			Bucket: "tagged", Key: "key", Tagging: &api.Tagging{TagSet: []api.Tag{{Key: "a", Value: "b"}}},
		}))
		if text := w.text(c, "tagged", "key"); text != "text" {
			t.Errorf("read %q", text)
		}
	})
}

// Bodies on both sides of the size up to which they are kept in rows come back
// whole and by range, and a flipped bit in them ends in an error.
func TestSmallBodies(t *testing.T) {
	each(t, func(w *world) {
		t := w.T
		c, ctx := w.as(rootA), t.Context()
		w.bucket(c, "small")
		for _, size := range []int{0, 1, 100, maxSmall - 1, maxSmall, maxSmall + 1, packagePlain, 5 * packagePlain} {
			for _, sse := range []string{sseS3, sseKMS} {
				key, body := fmt.Sprintf("%s-%d", sse, size), bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
				must[*api.PutObjectOutput](t)(c.PutObject(ctx, &api.PutObjectInput{Bucket: "small", Key: key, Body: bytes.NewReader(body), ServerSideEncryption: sse}))
				if text := w.text(c, "small", key); text != string(body) {
					t.Errorf("%s: read %d bytes", key, len(text))
				}
				if size > 50 {
					text, _ := w.get(c, &api.GetObjectInput{Bucket: "small", Key: key, Range: "bytes=7-41"})
					if text != string(body[7:42]) {
						t.Errorf("%s: a range is %q", key, text)
					}
				}
			}
		}
		for _, name := range w.blobs.names(t) {
			sealed := w.blobs.bytes(t, name)
			sealed[len(sealed)/2] ^= 4
			w.blobs.Put(ctx, name, bytes.NewReader(sealed))
		}
		w.flipRows()
		list := must[*api.ListObjectsV2Output](t)(c.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: "small"}))
		for _, o := range list.Contents {
			if text, err := w.read(c, "small", o.Key); err == nil && len(text) > 0 {
				t.Errorf("%s: a flipped bit was served", o.Key)
			}
		}
	})
}

// flipRows flips a bit in each body that is kept in a row.
func (w *world) flipRows() {
	w.T.Helper()
	ctx := w.T.Context()
	err := w.DB.Update(ctx, func(tx *state.Tx) error {
		names, err := state.List[string](ctx, tx, `SELECT name FROM s3_blob WHERE bytes IS NOT NULL`)
		if err == nil && len(names) == 0 {
			err = errors.New("no body is kept in a row")
		}
		for _, name := range names {
			sealed, err := state.Get[[]byte](ctx, tx, `SELECT bytes FROM s3_blob WHERE name = $1`, name)
			if err != nil {
				return err
			}
			sealed[len(sealed)/2] ^= 4
			if _, err := tx.Exec(ctx, `UPDATE s3_blob SET bytes = $1 WHERE name = $2`, sealed, name); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		w.T.Fatal(err)
	}
}
