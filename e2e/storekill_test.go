package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// TestKilledServerStores kills a server at any moment while objects and parts
// of uploads are put, under a key of KMS. What was acknowledged reads back
// after the next start, what was not is there whole or not at all, uploads go
// on, and no body is left that belongs to nothing.
func TestKilledServerStores(t *testing.T) {
	t.Logf("seed %d", killSeed)
	databases(t, func(t *testing.T, args ...string) {
		rounds := 12
		if len(args) > 0 || testing.Short() {
			rounds = 6
		}
		s := start(t, args...)
		k := &storing{server: s, a: s.account("pipeline"), bucket: new("killed"), chance: rand.New(rand.NewPCG(killSeed, uint64(rounds))), acknowledged: map[string]string{}}
		k.prepare()
		for i := range rounds {
			k.round(i)
			if t.Failed() {
				t.Fatalf("round %d", i)
			}
		}
		k.finish()
	})
}

// storing is a server that is killed while it stores.
type storing struct {
	*server
	a      *account
	bucket *string
	chance *rand.Rand

	mu           sync.Mutex
	acknowledged map[string]string // what was put, by version id
	tried        []string          // what else was sent
	puts         [3]int            // how many each putter began

	upload  *upload
	uploads int
	during  map[string]int // what was cut off, for the log
}

// upload is a multipart upload of three parts, as its client knows it.
type upload struct {
	key        string
	id         *string
	etags      [3]*string // of acknowledged parts
	completing bool
}

// partSizes are the smallest that S3 takes.
var partSizes = [3]int{5 << 20, 5 << 20, 100_000}

func (k *storing) prepare() {
	k.t.Helper()
	ctx := context.Background()
	key, err := k.a.kms.CreateKey(ctx, &kms.CreateKeyInput{})
	if err == nil {
		_, err = k.a.s3.CreateBucket(ctx, createBucket(*k.bucket))
	}
	if err == nil {
		_, err = k.a.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: k.bucket,
			VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	}
	if err == nil {
		_, err = k.a.s3.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: k.bucket,
			ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
				ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: key.KeyMetadata.Arn},
			}}}})
	}
	if err != nil {
		k.t.Fatal(err)
	}
	k.during = map[string]int{}
}

// content is a text of a size that tells what it is on every line.
func content(name string, size int) string {
	line := name + "\n"
	return strings.Repeat(line, size/len(line)+1)[:size]
}

// round has three putters and an uploader work until the server is killed.
func (k *storing) round(n int) {
	k.t.Helper()
	process := k.cmd.Process
	kill := func(after time.Duration) { time.AfterFunc(after, func() { process.Signal(syscall.SIGKILL) }) }
	most := 300 * time.Millisecond
	completion := time.Duration(-1) // a third of the rounds ends inside a completion
	if n%3 == 0 {
		completion, most = time.Duration(k.chance.Int64N(int64(6*time.Millisecond))), 3*time.Second
	}
	kill(20*time.Millisecond + time.Duration(k.chance.Int64N(int64(most))))
	var wait sync.WaitGroup
	for i := range k.puts {
		wait.Go(func() {
			for k.put(i) {
			}
		})
	}
	wait.Go(func() {
		for k.uploaded(func() {
			if completion >= 0 {
				kill(completion)
			}
		}) {
		}
	})
	wait.Wait()
	if err := k.cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		k.t.Fatalf("the server ended by itself: %v", err)
	}
	k.again()
	k.a.forget()
	k.resume()
	k.latest()
}

// gone reports whether a call failed because the server is gone; any other
// failure fails the test.
func (k *storing) gone(what string, err error) bool {
	if err == nil {
		return false
	}
	if _, refused := errors.AsType[smithy.APIError](err); refused {
		k.t.Errorf("%s: %v", what, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.during[what]++
	return true
}

// put puts the next object of a putter.
func (k *storing) put(putter int) bool {
	k.puts[putter]++
	size := []int{200, 20_000, 300_000, 700_000}[(k.puts[putter]+putter)%4]
	text := content(fmt.Sprintf("put %d of %d", k.puts[putter], putter), size)
	k.mu.Lock()
	k.tried = append(k.tried, text)
	k.mu.Unlock()
	out, err := k.a.s3.PutObject(context.Background(), &s3.PutObjectInput{Bucket: k.bucket, Key: new(fmt.Sprint("put/", putter)), Body: strings.NewReader(text)})
	if k.gone("PutObject", err) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.acknowledged[*out.VersionId] = text
	return true
}

func (u *upload) part(i int) string {
	return content(fmt.Sprintf("part %d of %s", i, u.key), partSizes[i])
}

func (u *upload) whole() string { return u.part(0) + u.part(1) + u.part(2) }

// uploaded takes the upload under way to its end, or begins another one.
// before is called before its completion.
func (k *storing) uploaded(before func()) bool {
	ctx := context.Background()
	if k.upload == nil {
		k.uploads++
		u := &upload{key: fmt.Sprint("upload/", k.uploads)}
		out, err := k.a.s3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: k.bucket, Key: &u.key})
		if k.gone("CreateMultipartUpload", err) {
			return false
		}
		u.id = out.UploadId
		k.upload = u
	}
	u := k.upload
	list := &types.CompletedMultipartUpload{}
	for i := range u.etags {
		if u.etags[i] == nil {
			out, err := k.a.s3.UploadPart(ctx, &s3.UploadPartInput{Bucket: k.bucket, Key: &u.key, UploadId: u.id, PartNumber: new(int32(i + 1)), Body: strings.NewReader(u.part(i))})
			if k.gone("UploadPart", err) {
				return false
			}
			u.etags[i] = out.ETag
		}
		list.Parts = append(list.Parts, types.CompletedPart{ETag: u.etags[i], PartNumber: new(int32(i + 1))})
	}
	before()
	u.completing = true
	out, err := k.a.s3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: k.bucket, Key: &u.key, UploadId: u.id, MultipartUpload: list})
	if k.gone("CompleteMultipartUpload", err) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.acknowledged[*out.VersionId] = u.whole()
	k.upload = nil
	return true
}

// resume looks what became of the upload that the kill cut off.
func (k *storing) resume() {
	k.t.Helper()
	u := k.upload
	if u == nil {
		return
	}
	out, err := k.a.s3.ListParts(context.Background(), &s3.ListPartsInput{Bucket: k.bucket, Key: &u.key, UploadId: u.id})
	if err != nil {
		wants(k.t, err, "NoSuchUpload")
		if !u.completing {
			k.t.Fatalf("upload %s is lost", u.key)
		}
		if read(k.t, k.a, *k.bucket, u.key) != u.whole() {
			k.t.Errorf("%s is not what was uploaded", u.key)
		}
		k.tried = append(k.tried, u.whole())
		k.upload = nil
		return
	}
	there := map[int32]types.Part{}
	for _, p := range out.Parts {
		there[*p.PartNumber] = p
		if *p.Size != int64(partSizes[*p.PartNumber-1]) {
			k.t.Errorf("part %d of %s has %d bytes", *p.PartNumber, u.key, *p.Size)
		}
	}
	for i := range u.etags {
		p, ok := there[int32(i+1)]
		if u.etags[i] != nil && (!ok || *p.ETag != *u.etags[i]) {
			k.t.Errorf("part %d of %s was acknowledged and is lost", i+1, u.key)
		}
		u.etags[i] = p.ETag // of one that is there unacknowledged, too
	}
	u.completing = false
}

// latest checks the newest version of each putter's object.
func (k *storing) latest() {
	k.t.Helper()
	for i := range k.puts {
		out, err := k.a.s3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: k.bucket, Key: new(fmt.Sprint("put/", i))})
		if err != nil {
			k.t.Fatal(err)
		}
		k.version(fmt.Sprint("put/", i), *out.VersionId)
	}
}

// version checks that a version is what was put, from its beginning to its end.
func (k *storing) version(key, id string) {
	k.t.Helper()
	out, err := k.a.s3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: k.bucket, Key: &key, VersionId: &id})
	if err != nil {
		k.t.Fatal(err)
	}
	defer out.Body.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(out.Body); err != nil {
		k.t.Fatalf("%s: %v", key, err)
	}
	want, ok := k.acknowledged[id]
	switch {
	case ok && want != got.String():
		k.t.Errorf("%s has other bytes than were acknowledged", key)
	case !ok && !slices.Contains(k.tried, got.String()):
		k.t.Errorf("%s has %d bytes that nobody has sent", key, got.Len())
	case out.ServerSideEncryption != types.ServerSideEncryptionAwsKms:
		k.t.Errorf("%s is encrypted with %s", key, out.ServerSideEncryption)
	}
}

// finish ends the upload under way, reads everything back, and compares the
// blob store with what there is.
func (k *storing) finish() {
	k.t.Helper()
	if k.upload != nil && !k.uploaded(func() {}) {
		k.t.Fatal("the upload did not go on")
	}
	k.stop()
	k.again() // sweeps what the last process left
	k.a.forget()
	missing, blobs := maps.Clone(k.acknowledged), 0
	pages := s3.NewListObjectVersionsPaginator(k.a.s3, &s3.ListObjectVersionsInput{Bucket: k.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			k.t.Fatal(err)
		}
		for _, v := range page.Versions {
			delete(missing, *v.VersionId)
			k.version(*v.Key, *v.VersionId)
			switch {
			case strings.Contains(*v.ETag, "-"):
				blobs += len(partSizes)
			case *v.Size > 16<<10: // smaller bodies lie in the database
				blobs++
			}
		}
	}
	for id, text := range missing {
		k.t.Errorf("%.20q was acknowledged as version %s and is lost", text, id)
	}
	k.t.Logf("%d versions acknowledged, %d blobs, cut off: %v", len(k.acknowledged), blobs, k.during)
	n := 0
	defer func() {
		if k.t.Failed() {
			k.t.Logf("%d files in the blob store, want %d", n, blobs)
		}
	}()
	eventually(k.t, "the blob store holds what there is", 10*time.Second, func() bool { n = k.blobs(); return n == blobs })
	k.stop()
	k.mustBeSound()
}

// blobs counts the files of the blob store, also half ones.
func (s *server) blobs() (n int) {
	filepath.WalkDir(filepath.Join(s.dir, "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}
