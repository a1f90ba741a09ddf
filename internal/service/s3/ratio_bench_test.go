package s3

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/state"
)

// Benchmarks that compare with what the machine can do, measured in the same
// run: their metric "ratio" is a share of it. -big adds bodies of 1 GiB.

var big = flag.Bool("big", false, "benchmark bodies of 1 GiB as well")

// endless yields a body of n bytes without holding it.
type endless struct {
	left int64
	page []byte
}

var endlessPage = bytes.Repeat([]byte("sekisho "), 32<<10)

func newEndless(n int64) *endless { return &endless{n, endlessPage} }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), e.left)], e.page)
	e.left -= int64(n)
	return n, nil
}

// perSecond is how many bytes go through fn in a second; fn takes size bytes.
func perSecond(size int64, fn func()) float64 {
	begin, n := time.Now(), int64(0)
	for time.Since(begin) < 200*time.Millisecond {
		fn()
		n += size
	}
	return float64(n) / time.Since(begin).Seconds()
}

// machine is what this machine does in bytes a second.
type machine struct{ disk, md5, crc64, sha256, gcm float64 }

// measure writes files of one size, synced, and digests pages.
func measure(b *testing.B, size int64) machine {
	b.Helper()
	page := endlessPage
	block, _ := aes.NewCipher(make([]byte, 32))
	gcm, _ := cipher.NewGCM(block)
	sealed := make([]byte, 0, len(page)+16)
	crc := sumCRC64NVME.newHash()
	n := int64(len(page))
	file := filepath.Join(b.TempDir(), "plain")
	return machine{
		disk: perSecond(size, func() {
			f, err := os.Create(file)
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(f, newEndless(size))
			f.Sync()
			f.Close()
		}),
		md5:    perSecond(n, func() { md5.Sum(page) }),
		crc64:  perSecond(n, func() { crc.Write(page) }),
		sha256: perSecond(n, func() { sha256.Sum256(page) }),
		gcm:    perSecond(n, func() { gcm.Seal(sealed, make([]byte, 12), page, nil) }),
	}
}

func (m machine) String() string {
	return fmt.Sprintf("write+fsync %.0f, MD5 %.0f, CRC64NVME %.0f, SHA-256 %.0f, AES-GCM %.0f MB/s",
		m.disk/1e6, m.md5/1e6, m.crc64/1e6, m.sha256/1e6, m.gcm/1e6)
}

// slowest is what a put can at best do: the disk, or the slowest digest that it
// needs, side by side.
func (m machine) slowest(sse string) float64 {
	most := min(m.disk, m.gcm, m.crc64)
	if sse == sseS3 {
		most = min(most, m.md5) // the ETag
	}
	return most
}

var ratioSizes = []struct {
	name string
	size int64
}{{"1KiB", 1 << 10}, {"1MiB", 1 << 20}, {"256MiB", 256 << 20}, {"1GiB", 1 << 30}}

// clients runs fn b.N times from so many goroutines.
func clients(b *testing.B, n int, fn func(i int64) error) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := fn(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func eachRatio(b *testing.B, run func(b *testing.B, sse string, size int64, parallel int)) {
	for _, size := range ratioSizes {
		for _, sse := range []string{sseS3, sseKMS} {
			for _, parallel := range []int{1, 32} {
				if size.size > 1<<20 && parallel > 1 || size.size == 1<<30 && !*big {
					continue
				}
				b.Run(fmt.Sprintf("%s/%s/clients=%d", size.name, sse, parallel), func(b *testing.B) { run(b, sse, size.size, parallel) })
			}
		}
	}
}

func BenchmarkRatioPut(b *testing.B) {
	eachRatio(b, func(b *testing.B, sse string, size int64, parallel int) {
		c, m := benchmarkS3(b), measure(b, size)
		b.SetBytes(size)
		b.ReportAllocs()
		b.ResetTimer()
		clients(b, parallel, func(i int64) error {
			_, err := c.PutObject(b.Context(), &api.PutObjectInput{Bucket: "bench", Key: fmt.Sprint(i % 1000), Body: newEndless(size), ServerSideEncryption: sse})
			return err
		})
		rate := float64(size) * float64(b.N) / b.Elapsed().Seconds()
		b.ReportMetric(rate/m.slowest(sse), "ratio")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		b.Log(m)
	})
}

func BenchmarkRatioGet(b *testing.B) {
	eachRatio(b, func(b *testing.B, sse string, size int64, parallel int) {
		c, m := benchmarkS3(b), measure(b, min(size, 1<<20))
		if _, err := c.PutObject(b.Context(), &api.PutObjectInput{Bucket: "bench", Key: "k", Body: newEndless(size), ServerSideEncryption: sse}); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(size)
		b.ReportAllocs()
		b.ResetTimer()
		clients(b, parallel, func(int64) error {
			out, err := c.GetObject(b.Context(), &api.GetObjectInput{Bucket: "bench", Key: "k"})
			if err != nil {
				return err
			}
			defer out.Body.Close()
			_, err = io.Copy(io.Discard, out.Body)
			return err
		})
		b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds()/m.gcm, "ratio")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "gets/s")
	})
}

// fillBucket writes rows of objects without bodies, by the quick way.
func fillBucket(tb testing.TB, s *Service, bucket string, n int) {
	tb.Helper()
	const batch = 10_000
	for from := 0; from < n; from += batch {
		err := s.db.Update(tb.Context(), func(tx *state.Tx) error {
			for i := from; i < min(from+batch, n); i++ {
				o := object{
					Bucket: bucket, Key: fmt.Sprintf("folder%03d/%07d", i%500, i), Version: nullVersion, Seq: 1, Latest: true,
					Modified: benchTime, ETag: "etag", StorageClass: standardClass,
				}
				o.envelope.SSE = sseS3
				if err := o.insert(tb.Context(), tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// A page costs the same wherever it is: the ratio of the last pages' time to
// that of the first ones is about 1.
func BenchmarkRatioList(b *testing.B) {
	s, c := onDisk(b, b.TempDir())
	must[*api.CreateBucketOutput](b)(c.CreateBucket(b.Context(), &api.CreateBucketInput{Bucket: "bench"}))
	const n = 200_000
	fillBucket(b, s, "bench", n)
	page := func(b *testing.B, in api.ListObjectsV2Input) *api.ListObjectsV2Output {
		in.Bucket = "bench"
		out, err := c.ListObjectsV2(b.Context(), &in)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
	b.Run("last page against first", func(b *testing.B) {
		var first, last time.Duration
		for b.Loop() {
			begin := time.Now()
			page(b, api.ListObjectsV2Input{})
			first += time.Since(begin)
			begin = time.Now()
			if out := page(b, api.ListObjectsV2Input{StartAfter: "folder497/"}); len(out.Contents) != 1000 {
				b.Fatal(len(out.Contents))
			}
			last += time.Since(begin)
		}
		b.ReportMetric(float64(last)/float64(first), "ratio")
		b.ReportMetric(float64(first.Microseconds())/float64(b.N), "µs/page")
	})
	b.Run("500 folders of 400", func(b *testing.B) {
		for b.Loop() {
			if out := page(b, api.ListObjectsV2Input{Delimiter: "/"}); len(out.CommonPrefixes) != 500 {
				b.Fatal(len(out.CommonPrefixes))
			}
		}
	})
}

func BenchmarkDeleteObjects(b *testing.B) {
	s, c := onDisk(b, b.TempDir())
	must[*api.CreateBucketOutput](b)(c.CreateBucket(b.Context(), &api.CreateBucketInput{Bucket: "bench"}))
	var deleted time.Duration
	for range b.N {
		b.StopTimer()
		fillBucket(b, s, "bench", 1000)
		in := &api.DeleteObjectsInput{Bucket: "bench", Delete: &api.Delete{}}
		for i := range 1000 {
			in.Delete.Objects = append(in.Delete.Objects, api.ObjectIdentifier{Key: fmt.Sprintf("folder%03d/%07d", i%500, i)})
		}
		b.StartTimer()
		begin := time.Now()
		if _, err := c.DeleteObjects(context.Background(), in); err != nil {
			b.Fatal(err)
		}
		deleted += time.Since(begin)
	}
	b.ReportMetric(1000*float64(b.N)/deleted.Seconds(), "objects/s")
}
