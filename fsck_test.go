package sekisho

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/fsck"
	"github.com/sekisho/sekisho/internal/seal"
	_ "modernc.org/sqlite"
)

// rootOf is the root user of an account, as a client of the server's own.
func rootOf(s *Server, account string) call.Invoker {
	return s.door.As(call.Session{Principal: aws.RootPrincipal(account), Region: "us-east-1"})
}

var fsckBodies = map[string]int{"small": 100, "large": 300_000}

// filled is a stopped store with objects of every encryption that we can open.
func filled(t *testing.T) Config {
	t.Helper()
	c := config(t.TempDir(), accounts...)
	s, stop := running(t, c)
	buckets := s3.Client{Invoker: rootOf(s, one)}
	key, err := kms.Client{Invoker: rootOf(s, one)}.CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := buckets.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: "kept"}); err != nil {
		t.Fatal(err)
	}
	for _, sse := range []string{"AES256", "aws:kms", "aws:kms:dsse"} {
		for name, size := range fsckBodies {
			in := &s3.PutObjectInput{Bucket: "kept", Key: name + "-" + sse, Body: bytes.NewReader(make([]byte, size)), ServerSideEncryption: sse}
			if sse != "AES256" {
				in.SSEKMSKeyId = key.KeyMetadata.KeyId
			}
			if _, err := buckets.PutObject(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	return c
}

// check is what fsck finds.
func check(t *testing.T, c Config) []fsck.Finding {
	t.Helper()
	var found []fsck.Finding
	if err := Check(t.Context(), c, func(f fsck.Finding) { found = append(found, f) }); err != nil {
		t.Fatal(err)
	}
	return found
}

// wantDamage compares findings with a text that the one of damage has in it.
func wantDamage(t *testing.T, what string, found []fsck.Finding, want string) {
	t.Helper()
	for _, f := range found {
		if !f.Note && strings.Contains(f.String(), want) {
			return
		}
	}
	t.Errorf("%s: found %v, want damage of %q", what, found, want)
}

// readKept reads all objects of a store.
func readKept(t *testing.T, c Config) {
	t.Helper()
	s, stop := running(t, c)
	defer stop()
	buckets := s3.Client{Invoker: rootOf(s, one)}
	for _, sse := range []string{"AES256", "aws:kms", "aws:kms:dsse"} {
		for name, size := range fsckBodies {
			out, err := buckets.GetObject(t.Context(), &s3.GetObjectInput{Bucket: "kept", Key: name + "-" + sse})
			if err != nil {
				t.Fatalf("%s-%s: %v", name, sse, err)
			}
			var b bytes.Buffer
			if _, err := b.ReadFrom(out.Body); err != nil || b.Len() != size {
				t.Errorf("%s-%s: %d bytes, %v", name, sse, b.Len(), err)
			}
			out.Body.Close()
		}
	}
}

func TestCheckFindsDamage(t *testing.T) {
	c := filled(t)
	if found := check(t, c); len(found) > 0 {
		t.Fatalf("a sound store: %v", found)
	}
	for _, tt := range []struct{ sql, want string }{
		{`UPDATE s3_object SET size = size + 1 WHERE key = 'small-AES256'`, "arn:aws:s3:::kept/small-AES256 version null"},
		{`UPDATE s3_object SET sealed_key = zeroblob(LENGTH(sealed_key)) WHERE key = 'large-AES256'`, "s3_object.sealed_key of kept large-AES256 null"},
		{`UPDATE s3_object SET sealed_key = zeroblob(LENGTH(sealed_key)) WHERE key = 'large-aws:kms'`, "its data key does not open"},
		{`UPDATE s3_object SET latest = 0 WHERE key = 'small-AES256'`, "is the newest"},
		{`UPDATE s3_blob SET bytes = zeroblob(LENGTH(bytes)) WHERE bytes IS NOT NULL`, "sealed bytes do not open"},
		{`DELETE FROM s3_blob WHERE bytes IS NOT NULL`, "the list of bodies does not have it"},
		{`UPDATE kms_material SET sealed = zeroblob(LENGTH(sealed))`, "kms_material.sealed"},
		{`UPDATE iam_access_key SET secret = zeroblob(LENGTH(secret))`, "iam_access_key.secret"},
		{`DELETE FROM s3_object`, "no object and no part names it"},
		{`DELETE FROM s3_bucket`, "there is no bucket kept"},
		{`UPDATE s3_blob SET due = 1`, "it is to be removed"},
	} {
		db := filepath.Join(c.Data, databaseFile)
		whole, err := os.ReadFile(db)
		if err != nil {
			t.Fatal(err)
		}
		alter(t, db, tt.sql)
		wantDamage(t, tt.sql, check(t, c), tt.want)
		if err := os.WriteFile(db, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, body := range bodies(t, c) {
		whole, _ := os.ReadFile(body)
		for _, damage := range [][]byte{whole[:len(whole)-1], flipped(whole, len(whole)/2), flipped(whole, 20), nil} {
			os.WriteFile(body, damage, 0o600)
			if wantDamage(t, body, check(t, c), "arn:aws:s3:::kept/large-"); damage == nil {
				os.Remove(body)
				wantDamage(t, body, check(t, c), "arn:aws:s3:::kept/large-")
			}
		}
		os.WriteFile(body, whole, 0o600)
	}
	blobs, err := blob.OpenFiles(filepath.Join(c.Data, blobDir))
	if err != nil {
		t.Fatal(err)
	}
	blobs.Put(t.Context(), "s3/orphan", strings.NewReader("nobody's"))
	if found := check(t, c); len(found) != 1 || !found[0].Note || found[0].Thing != "body s3/orphan" {
		t.Errorf("an orphan: %v", found)
	}
}

func alter(t *testing.T, file, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	done, err := db.Exec(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if n, _ := done.RowsAffected(); n == 0 {
		t.Fatalf("%s: nothing was there", text)
	}
	db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
}

// bodies are the files with bodies of a store.
func bodies(t *testing.T, c Config) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(c.Data, blobDir, "s3", "*", "*"))
	if err != nil || len(list) != 3 {
		t.Fatalf("bodies: %v, %v", list, err)
	}
	return list
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 16
	return b
}

func TestRotateMasterKey(t *testing.T) {
	c := filled(t)
	old := read(t, c.Data, masterFile)
	credentials := read(t, c.Data, credentialsFile)
	sums := map[string]string{}
	for _, body := range bodies(t, c) {
		text, _ := os.ReadFile(body)
		sums[body] = string(text)
	}
	n, err := RotateMasterKey(t.Context(), c, func(f fsck.Finding) { t.Error(f) })
	if err != nil || n < 5 {
		t.Fatalf("%d values, %v", n, err)
	}
	fresh := read(t, c.Data, masterFile)
	if len(strings.Fields(fresh)) != 1 || fresh == old {
		t.Error("the master key did not change, or the old one is still there")
	}
	for body, text := range sums {
		if now, _ := os.ReadFile(body); string(now) != text {
			t.Errorf("%s was touched", body)
		}
	}
	if found := check(t, c); len(found) > 0 {
		t.Errorf("afterwards: %v", found)
	}
	readKept(t, c)
	if read(t, c.Data, credentialsFile) != credentials {
		t.Error("access keys changed")
	}
	os.WriteFile(filepath.Join(c.Data, masterFile), []byte(old), 0o600)
	if found := check(t, c); len(found) < 5 {
		t.Errorf("with the old key: %v", found)
	}
}

// A rotation that was cut off leaves a store that works, and goes on.
func TestRotationGoesOn(t *testing.T) {
	c := filled(t)
	if _, err := seal.BeginRotation(filepath.Join(c.Data, masterFile)); err != nil {
		t.Fatal(err)
	}
	both := read(t, c.Data, masterFile)
	if found := check(t, c); len(found) != 1 || !found[0].Note {
		t.Errorf("between: %v", found)
	}
	readKept(t, c)
	if _, err := RotateMasterKey(t.Context(), c, func(f fsck.Finding) { t.Error(f) }); err != nil {
		t.Fatal(err)
	}
	if now := read(t, c.Data, masterFile); strings.Fields(now)[0] != strings.Fields(both)[0] || len(strings.Fields(now)) != 1 {
		t.Error("a third key was made")
	}
	readKept(t, c)
}

// A value that opens under no key keeps the old one from being forgotten.
func TestRotationKeepsTheKeyOfWhatDoesNotOpen(t *testing.T) {
	c := filled(t)
	alter(t, filepath.Join(c.Data, databaseFile), `UPDATE s3_object SET sealed_key = zeroblob(LENGTH(sealed_key)) WHERE key = 'large-AES256'`)
	var found []fsck.Finding
	_, err := RotateMasterKey(t.Context(), c, func(f fsck.Finding) { found = append(found, f) })
	if err == nil || len(found) != 1 || len(strings.Fields(read(t, c.Data, masterFile))) != 2 {
		t.Errorf("%v, %v", err, found)
	}
}

func TestCheckWantsAStoppedStore(t *testing.T) {
	c := config(t.TempDir(), accounts...)
	if err := Check(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), "no data directory") {
		t.Errorf("an empty directory: %v", err)
	}
	_, stop := running(t, c)
	if err := Check(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("beside a server: %v", err)
	}
	stop()
	os.Remove(filepath.Join(c.Data, masterFile))
	if err := Check(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), "master key is missing") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.Data, masterFile)); err == nil {
		t.Error("a master key was made")
	}
}

// Every column of bytes is in the list of what is sealed, or here because it is
// not: one that is forgotten would be lost with the old master key.
func TestSealedColumnsAreComplete(t *testing.T) {
	plain := map[string]bool{
		"s3_blob.bytes":         true, // under data keys
		"iam_credential.hash":   true,
		"iam_login.salt":        true,
		"iam_login.hash":        true,
		"iam_old_password.hash": true,
	}
	listed := map[string]bool{}
	for _, c := range sealedColumns() {
		listed[c.Table+"."+c.Column] = true
	}
	files, err := filepath.Glob("internal/*/*/migrations/*.sql")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d migrations, %v", len(files), err)
	}
	table := regexp.MustCompile(`(?i)(?:CREATE|ALTER) TABLE (\w+)`)
	column := regexp.MustCompile(`(?i)(\w+)\s+BYTEA`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in := ""
		for line := range strings.Lines(string(text)) {
			if m := table.FindStringSubmatch(line); m != nil {
				in = m[1]
			}
			if m := column.FindStringSubmatch(line); m != nil {
				if name := in + "." + m[1]; !listed[name] && !plain[name] {
					t.Errorf("%s: %s holds bytes and is in no service's Sealed, nor known to be plain", file, name)
				}
			}
		}
	}
}
