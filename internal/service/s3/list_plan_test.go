package s3

import (
	"fmt"
	"strings"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/state"
)

// A page of a listing begins where it begins: its query seeks in an index that
// has the rows in order, and neither scans nor sorts.
func TestListingsSeek(t *testing.T) {
	each(t, func(w *world) {
		t := w.T
		if w.DB.Shared() {
			return // PostgreSQL plans by what is in the table
		}
		type step struct {
			ID      int64  `db:"id"`
			Parent  int64  `db:"parent"`
			NotUsed int64  `db:"notused"`
			Detail  string `db:"detail"`
		}
		var plan []string
		err := w.DB.View(t.Context(), func(tx *state.Tx) error {
			steps, err := state.List[step](t.Context(), tx, `EXPLAIN QUERY PLAN `+selectPage, "bucket", "key", 1000)
			for _, s := range steps {
				plan = append(plan, s.Detail)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(plan, "; ")
		if !strings.Contains(text, "SEARCH s3_object USING INDEX s3_object_latest (bucket=? AND key>?)") || strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("plan: %s", text)
		}
	})
}

// Batches that grow and shrink skip no key, whatever the folders are like.
func TestFoldersOfAllSizes(t *testing.T) {
	each(t, func(w *world) {
		t := w.T
		c := w.as(rootA)
		w.bucket(c, "folders")
		want := 0
		err := w.DB.Update(t.Context(), func(tx *state.Tx) error {
			for folder := range 120 {
				size := []int{1, 1, 1, 70, 3, 0, 200}[folder%7]
				want++
				for i := range max(size, 1) {
					key := fmt.Sprintf("f%03d/%03d", folder, i)
					if size == 0 {
						key = fmt.Sprintf("f%03d", folder)
					}
					o := object{Bucket: "folders", Key: key, Version: nullVersion, Seq: 1, Latest: true, Modified: benchTime, StorageClass: standardClass}
					if err := o.insert(t.Context(), tx); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int64{1, 7, 1000} {
			seen, token := 0, ""
			for {
				out := must[*api.ListObjectsV2Output](t)(c.ListObjectsV2(t.Context(), &api.ListObjectsV2Input{
					Bucket: "folders", Delimiter: "/", MaxKeys: &limit, ContinuationToken: token,
				}))
				seen += len(out.Contents) + len(out.CommonPrefixes)
				if token = out.NextContinuationToken; token == "" {
					break
				}
			}
			if seen != want {
				t.Errorf("pages of %d: %d entries, want %d", limit, seen, want)
			}
			out := must[*api.ListObjectVersionsOutput](t)(c.ListObjectVersions(t.Context(), &api.ListObjectVersionsInput{Bucket: "folders", Delimiter: "/"}))
			if n := len(out.Versions) + len(out.CommonPrefixes); n != want {
				t.Errorf("versions: %d entries, want %d", n, want)
			}
		}
	})
}
