package s3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/state"
)

// TestSurvivesKill has a process put objects until it is killed. Each object
// that was acknowledged must be there, each that is there whole, and what the
// dead process left in the blob store is swept.
func TestSurvivesKill(t *testing.T) {
	if dir := os.Getenv("S3_CRASH_DIR"); dir != "" {
		putForever(t, dir)
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSurvivesKill$")
	cmd.Env = append(os.Environ(), "S3_CRASH_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[string]bool{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if acknowledged[lines.Text()] = true; len(acknowledged) == 60 {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if len(acknowledged) < 60 {
		t.Fatalf("only %d objects were put", len(acknowledged))
	}
	s, c := onDisk(t, dir)
	stored := readAll(t, c)
	for key := range acknowledged {
		if !stored[key] {
			t.Errorf("%s was acknowledged and is gone", key)
		}
	}
	s.orphanAge = -time.Hour
	if err := s.sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	blobs, err := s.blobs.List(t.Context(), "", 10_000)
	if named := namedBlobs(t, s); err != nil || len(blobs) != named {
		t.Errorf("%d blobs are left by the sweep, and rows name %d, %v", len(blobs), named, err)
	}
	readAll(t, c)
}

// namedBlobs counts the bodies that lie in the blob store, as rows have it.
func namedBlobs(t *testing.T, s *Service) int {
	t.Helper()
	var n int64
	err := s.db.View(t.Context(), func(tx *state.Tx) (err error) {
		n, err = state.Get[int64](t.Context(), tx, `SELECT COUNT(*) FROM s3_blob WHERE bytes IS NULL`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// readAll reads every object and compares it with its key, the hash of it.
func readAll(t *testing.T, c api.Client) map[string]bool {
	t.Helper()
	list := must[*api.ListObjectsV2Output](t)(c.ListObjectsV2(t.Context(), &api.ListObjectsV2Input{Bucket: "crash"}))
	stored := map[string]bool{}
	for _, o := range list.Contents {
		stored[o.Key] = true
		out := must[*api.GetObjectOutput](t)(c.GetObject(t.Context(), &api.GetObjectInput{Bucket: "crash", Key: o.Key}))
		hash := sha256.New()
		if _, err := io.Copy(hash, out.Body); err != nil {
			t.Errorf("%s: %v", o.Key, err)
		}
		out.Body.Close()
		if hex.EncodeToString(hash.Sum(nil)) != strings.TrimPrefix(o.Key, "k/") {
			t.Errorf("%s is not whole", o.Key)
		}
	}
	return stored
}

// putForever puts bodies of many sizes under their hashes, and says so.
func putForever(t *testing.T, dir string) {
	_, c := onDisk(t, dir)
	ctx := context.Background()
	must[*api.CreateBucketOutput](t)(c.CreateBucket(ctx, &api.CreateBucketInput{Bucket: "crash"}))
	keys := make(chan string)
	for i := range 4 {
		go func() {
			random := rand.NewChaCha8([32]byte{byte(i)})
			for size := 1; ; size = (size*7 + 13) % (1 << 19) {
				body := make([]byte, size)
				random.Read(body)
				sum := sha256.Sum256(body)
				key := "k/" + hex.EncodeToString(sum[:])
				_, err := c.PutObject(ctx, &api.PutObjectInput{Bucket: "crash", Key: key, Body: bytes.NewReader(body), ServerSideEncryption: []string{sseS3, sseKMS}[i%2]})
				if err != nil {
					panic(err)
				}
				keys <- key
			}
		}()
	}
	for key := range keys {
		fmt.Println(key)
	}
}
