// Package blobtest is the suite that every blob.Store must pass.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sekisho/sekisho/internal/blob"
)

// Run holds a store to the contract of blob.Store. open returns an empty one.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, s blob.Store)
	}{
		{"a blob comes back", comesBack},
		{"ranges", ranges},
		{"an absent blob", absent},
		{"names", badNames},
		{"a reader that fails leaves nothing", failingReader},
		{"a context that ends leaves nothing", endedContext},
		{"put replaces", replaces},
		{"an open reader outlives delete and replace", openReader},
		{"list in order, by pages", list},
		{"readers see whole blobs", wholeBlobs},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, name, text string) {
	t.Helper()
	n, err := s.Put(t.Context(), name, strings.NewReader(text))
	if err != nil || n != int64(len(text)) {
		t.Fatalf("Put(%s) = %d, %v", name, n, err)
	}
}

func get(t *testing.T, s blob.Store, name string, offset, length int64) string {
	t.Helper()
	r, err := s.Get(t.Context(), name, offset, length)
	if err != nil {
		t.Fatalf("Get(%s): %v", name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return string(b)
}

func comesBack(t *testing.T, s blob.Store) {
	big := strings.Repeat("0123456789abcdef", 1<<16)
	for name, text := range map[string]string{"a/empty": "", "a/short": "hello", "b/big0": big} {
		put(t, s, name, text)
		if got := get(t, s, name, 0, -1); got != text {
			t.Errorf("%s came back with %d bytes, want %d", name, len(got), len(text))
		}
		if n, err := s.Size(t.Context(), name); err != nil || n != int64(len(text)) {
			t.Errorf("Size(%s) = %d, %v", name, n, err)
		}
	}
}

func ranges(t *testing.T, s blob.Store) {
	put(t, s, "a/text", "0123456789")
	for _, tt := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, "0123456789"}, {0, 0, ""}, {0, 3, "012"}, {7, 3, "789"}, {7, 100, "789"},
		{9, -1, "9"}, {10, -1, ""}, {10, 5, ""}, {99, 5, ""}, {99, -1, ""},
	} {
		if got := get(t, s, "a/text", tt.offset, tt.length); got != tt.want {
			t.Errorf("Get(%d, %d) = %q, want %q", tt.offset, tt.length, got, tt.want)
		}
	}
	if _, err := s.Get(t.Context(), "a/text", -1, 2); err == nil {
		t.Error("a negative offset was taken")
	}
}

func absent(t *testing.T, s blob.Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, "a/none", 0, -1); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Get = %v", err)
	}
	if _, err := s.Size(ctx, "a/none"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Size = %v", err)
	}
	if err := s.Delete(ctx, "a/none"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	put(t, s, "a/some", "x")
	if err := s.Delete(ctx, "a/some"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if _, err := s.Get(ctx, "a/some", 0, -1); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Get after Delete = %v", err)
	}
}

func badNames(t *testing.T, s blob.Store) {
	for _, name := range []string{
		"", "a", "abcd", "a/", "/abcd", "a/abc", "a/../abcd", "a/b/abcd", "A/abcd", "a/ABCD",
		"../abcd", "a/.abcd", "a/ab\x00cd", "a/" + strings.Repeat("x", 200),
	} {
		if _, err := s.Put(t.Context(), name, strings.NewReader("x")); err == nil {
			t.Errorf("Put(%q) was taken", name)
		}
	}
}

func failingReader(t *testing.T, s blob.Store) {
	trouble := errors.New("trouble")
	r := io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<18)), iotest.ErrReader(trouble))
	if _, err := s.Put(t.Context(), "a/half", r); err != trouble {
		t.Errorf("Put = %v, want the reader's own error", err)
	}
	nothing(t, s, "a/half")
}

func endedContext(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(strings.NewReader("x"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }),
		strings.NewReader("y"))
	if _, err := s.Put(ctx, "a/half", r); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v", err)
	}
	nothing(t, s, "a/half")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func nothing(t *testing.T, s blob.Store, name string) {
	t.Helper()
	if _, err := s.Size(t.Context(), name); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Size(%s) = %v", name, err)
	}
	if l, err := s.List(t.Context(), "", 10); err != nil || len(l) != 0 {
		t.Errorf("List = %v, %v", l, err)
	}
}

func replaces(t *testing.T, s blob.Store) {
	put(t, s, "a/text", "one")
	put(t, s, "a/text", "three")
	if got := get(t, s, "a/text", 0, -1); got != "three" {
		t.Errorf("got %q", got)
	}
	if _, err := s.Put(t.Context(), "a/text", iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Fatal("a failing reader was taken")
	}
	if got := get(t, s, "a/text", 0, -1); got != "three" {
		t.Errorf("after a failed replacement: %q", got)
	}
}

func openReader(t *testing.T, s blob.Store) {
	put(t, s, "a/text", "first")
	r, err := s.Get(t.Context(), "a/text", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, s, "a/text", "other")
	if err := s.Delete(t.Context(), "a/text"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "first" {
		t.Errorf("read %q, %v", b, err)
	}
}

func list(t *testing.T, s blob.Store) {
	var want []string
	for _, area := range []string{"a", "b", "b0"} {
		for i := range 7 {
			want = append(want, fmt.Sprintf("%s/%02d-x", area, i*13), fmt.Sprintf("%s/%02d.x", area, i*13))
		}
	}
	slices.Sort(want)
	for _, name := range slices.Backward(want) {
		put(t, s, name, name)
	}
	var got []string
	for after := ""; ; {
		page, err := s.List(t.Context(), after, 4)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, i := range page {
			if i.Size != int64(len(i.Name)) || i.Modified.IsZero() {
				t.Errorf("info %+v", i)
			}
			got = append(got, i.Name)
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	area, err := s.List(t.Context(), "b/", 1)
	if err != nil || len(area) != 1 || area[0].Name != want[14] {
		t.Errorf("List after b/ = %v, %v", area, err)
	}
	if none, err := s.List(t.Context(), "", 0); err != nil || len(none) != 0 {
		t.Errorf("List of none = %v, %v", none, err)
	}
}

// wholeBlobs has writers replace one blob with bodies of one letter each,
// while readers look for a mixture.
func wholeBlobs(t *testing.T, s blob.Store) {
	const size = 1 << 16
	put(t, s, "a/text", strings.Repeat("a", size))
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for _, letter := range "bcd" {
		writers.Go(func() {
			for range 20 {
				s.Put(t.Context(), "a/text", iotest.HalfReader(strings.NewReader(strings.Repeat(string(letter), size))))
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := s.Get(t.Context(), "a/text", 0, -1)
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(r)
				r.Close()
				if err != nil || len(b) != size || bytes.Count(b, b[:1]) != size {
					t.Errorf("read a mixture of %d bytes, %v", len(b), err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}
