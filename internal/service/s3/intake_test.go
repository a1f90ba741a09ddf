package s3

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sekisho/sekisho/internal/aws"
)

func second[T any](_ T, err error) error { return err }

func wantCode(t *testing.T, err error, code string) *aws.Error {
	t.Helper()
	e, ok := errors.AsType[*aws.Error](err)
	if !ok || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
		return &aws.Error{}
	}
	return e
}

// withTrailers is a body as aws-chunked ones arrive.
type withTrailers struct {
	io.Reader
	trailers map[string]string
	ended    bool
}

func (w *withTrailers) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.ended = w.ended || err == io.EOF
	return n, err
}

func (w *withTrailers) Trailer(name string) string {
	if !w.ended {
		return ""
	}
	return w.trailers[name]
}

func take(t *testing.T, body io.Reader, cl claims) ([]byte, *intake, error) {
	t.Helper()
	in := newIntake(body, 1<<30, cl, true, noAlgorithm)
	b, err := io.ReadAll(in)
	return b, in, err
}

func TestIntakeReadsAndHashes(t *testing.T) {
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 5*blockSize + 7} {
		body := make([]byte, size)
		rand.NewChaCha8([32]byte{1}).Read(body)
		for name, r := range map[string]io.Reader{
			"at once": bytes.NewReader(body), "by halves": iotest.HalfReader(bytes.NewReader(body)),
			"with its end": iotest.DataErrReader(bytes.NewReader(body)),
		} {
			got, in, err := take(t, r, claims{md5: sumOf(sumMD5, body), algorithm: sumSHA256, checksum: sumOf(sumSHA256, body)})
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%d bytes %s: read %d, %v", size, name, len(got), err)
			}
			if in.size != int64(size) || in.sum(sumMD5) != sumOf(sumMD5, body) || in.sum(sumSHA256) != sumOf(sumSHA256, body) {
				t.Errorf("%d bytes %s: wrong digests", size, name)
			}
			in.stop()
		}
	}
}

func TestIntakeBelievesNothing(t *testing.T) {
	long := strings.Repeat("x", 3*blockSize)
	for _, tt := range []struct {
		name, body, code string
		claims           claims
	}{
		{"another MD5", "hello", "BadDigest", claims{md5: sumOf(sumMD5, []byte("other"))}},
		{"another checksum", "hello", "BadDigest", claims{algorithm: sumCRC32, checksum: sumOf(sumCRC32, []byte("other"))}},
		{"another checksum of a long body", long, "BadDigest", claims{algorithm: sumSHA1, checksum: sumOf(sumSHA1, []byte("other"))}},
	} {
		_, in, err := take(t, strings.NewReader(tt.body), tt.claims)
		e := wantCode(t, err, tt.code)
		if tt.claims.algorithm == sumCRC32 && e.Message != "The CRC32 you specified did not match the calculated checksum." {
			t.Errorf("%s: %s", tt.name, e.Message)
		}
		in.stop()
	}
}

func TestIntakeTrailers(t *testing.T) {
	good := map[string]string{"x-amz-checksum-crc32": sumOf(sumCRC32, []byte("hello"))}
	bad := map[string]string{"x-amz-checksum-crc32": sumOf(sumCRC32, []byte("other"))}
	odd := map[string]string{"x-amz-checksum-crc32": "!"}
	for _, tt := range []struct {
		name, sdk string
		trailers  map[string]string
		code      string
	}{
		{"announced and right", "CRC32", good, ""},
		{"announced and wrong", "CRC32", bad, "BadDigest"},
		{"announced and not sent", "CRC32", nil, "InvalidRequest"},
		{"announced and malformed", "CRC32", odd, "InvalidRequest"},
		{"not announced and right", "", good, ""},
		{"not announced and wrong", "", bad, "BadDigest"},
		{"none", "", nil, ""},
		{"SHA512, not announced and wrong", "", map[string]string{"x-amz-checksum-sha512": sumOf(sumSHA512, nil)}, "BadDigest"},
		{"one that cannot be computed", "", map[string]string{"x-amz-checksum-xxhash64": "AAAAAAAAAAA="}, "NotImplemented"},
	} {
		body := &withTrailers{Reader: strings.NewReader("hello"), trailers: tt.trailers}
		cl, err := newClaims(body, "", sums{}, tt.sdk)
		if err != nil {
			t.Fatal(err)
		}
		_, in, err := take(t, body, cl)
		if tt.code != "" {
			wantCode(t, err, tt.code)
		} else if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.code == "" && tt.trailers != nil && in.stored != sumCRC32 {
			t.Errorf("%s: keeps %s", tt.name, in.stored)
		}
		in.stop()
	}
}

func TestIntakeFailures(t *testing.T) {
	broken := errors.New("broken")
	for _, lead := range []int{0, 10, blockSize, 3 * blockSize} {
		r := io.MultiReader(strings.NewReader(strings.Repeat("x", lead)), iotest.ErrReader(broken))
		_, in, err := take(t, r, claims{})
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", lead, err)
		}
		in.stop()
		r = io.MultiReader(strings.NewReader(strings.Repeat("x", lead)), iotest.ErrReader(io.ErrUnexpectedEOF))
		_, in, err = take(t, r, claims{})
		wantCode(t, err, "IncompleteBody")
		in.stop()
	}
	in := newIntake(strings.NewReader("hello"), 4, claims{}, true, noAlgorithm)
	wantCode(t, second(io.ReadAll(in)), "EntityTooLarge")
	in.stop()
	in.stop()
}

func TestNewClaims(t *testing.T) {
	plain, chunked := strings.NewReader(""), &withTrailers{}
	crc := sumOf(sumCRC32, nil)
	for _, tt := range []struct {
		name      string
		body      io.Reader
		md5       string
		sums      sums
		sdk, code string
	}{
		{"nothing", plain, "", sums{}, "", ""},
		{"MD5 that is none", plain, "abc", sums{}, "", "InvalidDigest"},
		{"checksum that is none", plain, "", sums{sumCRC32: "abc"}, "", "InvalidRequest"},
		{"two checksums", plain, "", sums{sumCRC32: crc, sumCRC32C: crc}, "", "InvalidRequest"},
		{"checksum and its name", plain, "", sums{sumCRC32: crc}, "CRC32", ""},
		{"checksum and another name", plain, "", sums{sumCRC32: crc}, "SHA1", "InvalidRequest"},
		{"a name alone", plain, "", sums{}, "CRC32", "InvalidRequest"},
		{"a name and a trailer to come", chunked, "", sums{}, "CRC32", ""},
		{"a name that is none", plain, "", sums{}, "ROT13", "InvalidRequest"},
	} {
		_, err := newClaims(tt.body, tt.md5, tt.sums, tt.sdk)
		if tt.code == "" && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.code != "" {
			wantCode(t, err, tt.code)
		}
	}
}

func TestBodiesByRange(t *testing.T) {
	s := &Service{blobs: newTestBlobs()}
	key := bytes.Repeat([]byte{7}, 32)
	for _, size := range []int64{0, 1, packagePlain - 1, packagePlain, packagePlain + 1, 3*packagePlain + 5} {
		body := make([]byte, size)
		rand.NewChaCha8([32]byte{2}).Read(body)
		name := fmt.Sprintf("s3/body%d", size)
		if err := s.storeBlob(t.Context(), name, key, bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		edges := []int64{0, 1, size / 2, size - 1, size, packagePlain - 1, packagePlain, packagePlain + 1, 2 * packagePlain}
		for _, from := range edges {
			for _, to := range edges {
				if from < 0 || to < from || to > size {
					continue
				}
				r, err := s.openBlob(t.Context(), name, key, size, from, to-from)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				r.Close()
				if err != nil || !bytes.Equal(got, body[from:to]) {
					t.Errorf("size %d, [%d:%d]: %d bytes, %v", size, from, to, len(got), err)
				}
			}
		}
	}
}

func TestBodiesAreAuthentic(t *testing.T) {
	blobs := newTestBlobs()
	s := &Service{blobs: blobs}
	key, size := bytes.Repeat([]byte{7}, 32), int64(2*packagePlain+9)
	body := bytes.Repeat([]byte("secret"), int(size)/6+1)[:size]
	for _, name := range []string{"s3/one0", "s3/two0"} {
		if err := s.storeBlob(t.Context(), name, key, bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string, key []byte, size int64) error {
		r, err := s.openBlob(t.Context(), name, key, size, 0, size)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	if err := read("s3/one0", key, size); err != nil {
		t.Fatal(err)
	}
	if read("s3/one0", bytes.Repeat([]byte{8}, 32), size) == nil {
		t.Error("another key opens it")
	}
	if read("s3/one0", key, size-9) == nil || read("s3/one0", key, size-1) == nil {
		t.Error("a body longer than its object was taken")
	}
	sealed := blobs.bytes(t, "s3/one0")
	if bytes.Contains(sealed, []byte("secretsecret")) {
		t.Error("plaintext at rest")
	}
	other := blobs.bytes(t, "s3/two0")
	for name, forged := range map[string][]byte{
		"a flipped bit":    append(append([]byte{}, sealed[:100]...), append([]byte{sealed[100] ^ 1}, sealed[101:]...)...),
		"cut short":        sealed[:len(sealed)-10],
		"without its end":  sealed[:2*packageSealed],
		"packages swapped": append(append(append([]byte{}, sealed[packageSealed:2*packageSealed]...), sealed[:packageSealed]...), sealed[2*packageSealed:]...),
		"another blob":     other,
		"nothing":          {},
	} {
		blobs.Put(t.Context(), "s3/one0", bytes.NewReader(forged))
		if read("s3/one0", key, size) == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestBase64Length(t *testing.T) {
	for a := sumCRC32; a < algorithmCount; a++ {
		if b, err := base64.StdEncoding.DecodeString(sumOf(a, nil)); err != nil || len(b) != algorithms[a].size {
			t.Errorf("%s: %d bytes, %v", a, len(b), err)
		}
	}
}
