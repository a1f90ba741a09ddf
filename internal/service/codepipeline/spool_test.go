package codepipeline

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"testing"
	"testing/iotest"
)

func TestSpool(t *testing.T) {
	for _, size := range []int{0, 1, inMemory - 1, inMemory, inMemory + 1, 3*inMemory + 7} {
		data := make([]byte, size)
		rnd := rand.New(rand.NewSource(int64(size)))
		rnd.Read(data)
		s, err := spool(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if s.size != int64(size) {
			t.Errorf("size = %d, want %d", s.size, size)
		}
		whole, err := io.ReadAll(io.NewSectionReader(s, 0, s.size))
		if err != nil || !bytes.Equal(whole, data) {
			t.Errorf("%d bytes do not come back (%v)", size, err)
		}
		for range 50 {
			if size == 0 {
				break
			}
			off := rnd.Intn(size)
			part := make([]byte, min(rnd.Intn(5000), size-off))
			if n, err := s.ReadAt(part, int64(off)); err != nil && err != io.EOF || n != len(part) || !bytes.Equal(part, data[off:off+n]) {
				t.Fatalf("part %d+%d: %d, %v", off, len(part), n, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := spool(iotest.ErrReader(errors.New("no"))); err == nil {
		t.Error("a broken artifact was spooled")
	}
}

// What lies on disk is not the artifact's text.
func TestSpoolIsEncrypted(t *testing.T) {
	s, err := spool(io.LimitReader(zeros{}, inMemory+100))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	onDisk := make([]byte, 100)
	if _, err := s.ReaderAt.(*ctrReader).r.ReadAt(onDisk, 50); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(onDisk, make([]byte, 20)) {
		t.Error("the file holds the artifact as it is")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestFilesOf(t *testing.T) {
	archive := func(names ...string) *zip.Reader {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for i, n := range names {
			f, err := w.Create(n)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(f, i)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
			t.Fatal(err)
		}
		return r
	}
	files, err := filesOf(archive("b", "a/", "a/x", "b"))
	if err != nil || len(files) != 2 || files[0].Name != "a/x" || files[1].Name != "b" {
		t.Fatalf("%v, %v", files, err)
	}
	r, err := files[1].Open()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "3" {
		t.Errorf("of two files the first one counts: %q, %v", text, err)
	}
	if _, err := filesOf(archive("ok", "../out")); err == nil {
		t.Error("an archive may reach out of its folder")
	}
	large := archive("x")
	large.File[0].UncompressedSize64 = maxExtracted + 1
	if _, err := filesOf(large); err == nil {
		t.Error("an archive may be as large as it says")
	}
}

func TestBudget(t *testing.T) {
	b := &budget{ReaderAt: bytes.NewReader(make([]byte, 100)), left: 60}
	if _, err := b.ReadAt(make([]byte, 50), 0); err != nil {
		t.Error(err)
	}
	if _, err := b.ReadAt(make([]byte, 50), 0); !errors.Is(err, errDirectory) {
		t.Errorf("err = %v", err)
	}
}

func FuzzArchive(f *testing.F) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, n := range []string{"a", "b/c"} {
		if _, err := w.Create(n); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := spool(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r, err := zip.NewReader(&budget{ReaderAt: s, left: maxDirectory}, s.size)
		if err != nil {
			return
		}
		files, err := filesOf(r)
		if err != nil {
			return
		}
		for _, file := range files {
			if body, err := file.Open(); err == nil {
				io.CopyN(io.Discard, body, 1<<20)
			}
		}
	})
}
