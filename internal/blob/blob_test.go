package blob_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/blobtest"
)

func TestMemory(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return blob.NewMemory() })
}

func TestFiles(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return openFiles(t, t.TempDir()) })
}

func openFiles(t testing.TB, dir string) *blob.Files {
	t.Helper()
	f, err := blob.OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFilesLeaveNoTemporaries(t *testing.T) {
	dir := t.TempDir()
	s := openFiles(t, dir)
	s.Put(t.Context(), "a/good", strings.NewReader("x"))
	s.Put(t.Context(), "a/bad0", io.MultiReader(strings.NewReader("x"), failing{}))
	if left, _ := os.ReadDir(filepath.Join(dir, ".tmp")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOpenFilesRemovesTemporaries(t *testing.T) {
	dir := t.TempDir()
	openFiles(t, dir)
	left := filepath.Join(dir, ".tmp", "put-left")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	openFiles(t, dir)
	if _, err := os.Stat(left); err == nil {
		t.Error("what a dead process left is still there")
	}
}

// TestFilesSurviveKill has a process store blobs until it is killed. Each
// blob it reported as stored must be there, and each that is there whole.
func TestFilesSurviveKill(t *testing.T) {
	if dir := os.Getenv("BLOB_CRASH_DIR"); dir != "" {
		storeForever(t, dir)
	}
	dir := t.TempDir()
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFilesSurviveKill$")
		cmd.Env = append(os.Environ(), "BLOB_CRASH_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := map[string]bool{}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			acknowledged[lines.Text()] = true
			if len(acknowledged) == 20+7*round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		checkStored(t, openFiles(t, dir), acknowledged)
	}
}

// storeForever stores bodies from several goroutines under the hash of what
// they hold.
func storeForever(t *testing.T, dir string) {
	s := openFiles(t, dir)
	names := make(chan string)
	for i := range uint64(4) {
		go func() {
			random := rand.NewChaCha8([32]byte{byte(i), byte(os.Getpid()), byte(os.Getpid() >> 8)})
			for size := 1; ; size = (size*7 + 13) % (1 << 20) {
				body := make([]byte, size)
				random.Read(body)
				sum := sha256.Sum256(body)
				name := "crash/" + hex.EncodeToString(sum[:])
				if _, err := s.Put(t.Context(), name, bytes.NewReader(body)); err != nil {
					panic(err)
				}
				names <- name
			}
		}()
	}
	for name := range names {
		fmt.Println(name)
	}
}

func checkStored(t *testing.T, s *blob.Files, acknowledged map[string]bool) {
	t.Helper()
	stored := map[string]bool{}
	for after := ""; ; {
		page, err := s.List(t.Context(), after, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, info := range page {
			after = info.Name
			stored[info.Name] = true
			r, err := s.Get(t.Context(), info.Name, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			hash := sha256.New()
			io.Copy(hash, r)
			r.Close()
			if "crash/"+hex.EncodeToString(hash.Sum(nil)) != info.Name {
				t.Errorf("%s is not whole", info.Name)
			}
		}
	}
	for name := range acknowledged {
		if !stored[name] {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
}

func BenchmarkFilesPut(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := openFiles(b, b.TempDir())
			body := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Put(b.Context(), "bench/blob", bytes.NewReader(body)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
