package e2e

import (
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// refused starts a server that cannot start and returns what it says.
func refused(t *testing.T, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, binary, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	c.Env = append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Fatalf("the server started: %v\n%s", err, out)
	}
	return string(out)
}

// TestRefusedStarts: a server that cannot start says why, and what to do.
func TestRefusedStarts(t *testing.T) {
	databases(t, func(t *testing.T, args ...string) {
		s := start(t, args...)
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		address := strings.TrimPrefix(s.url, "https://")
		free := filepath.Join(t.TempDir(), "free")
		for _, tt := range []struct{ name, want, got string }{
			{"directory in use", "in use by another sekisho", refused(t, nil, append(args, "--data", s.dir)...)},
			{"directory is a file", "not a directory", refused(t, nil, "--data", file)},
			{"port in use", "--listen", refused(t, nil, "--data", free, "--listen", address)},
		} {
			if !strings.Contains(tt.got, tt.want) || strings.Contains(tt.got, "panic") {
				t.Errorf("%s: said %q, want %q", tt.name, tt.got, tt.want)
			}
		}
		s.stop()
		key := base64.StdEncoding.EncodeToString(make([]byte, 32))
		if got := refused(t, []string{"SEKISHO_MASTER_KEY=" + key}, append(args, "--data", s.dir)...); !strings.Contains(got, "master key") {
			t.Errorf("another master key: said %q", got)
		}
	})
}

// TestForeignDatabase: a data directory that does not belong to a database is
// refused, with the way out, and leaves nothing behind in it.
func TestForeignDatabase(t *testing.T) {
	base := os.Getenv("SEKISHO_TEST_POSTGRES")
	if base == "" {
		t.Skip("SEKISHO_TEST_POSTGRES is not set")
	}
	s := start(t, "--database", freshDatabase(t, base))
	a := s.account("pipeline")
	bucket(t, a, "foreign")
	s.stop()
	for _, more := range [][]string{nil, {"--account", "third=333333333333"}} {
		dir := filepath.Join(t.TempDir(), "other")
		got := refused(t, nil, append(more, "--data", dir, "--database", s.args[len(s.args)-1])...)
		for _, want := range []string{"belongs to another data directory than " + dir, "another master key", "--data DIR", "--database URL"} {
			if !strings.Contains(got, want) {
				t.Errorf("said %q, want %q", got, want)
			}
		}
	}
	s.again()
	put(t, a, "foreign", "k", "still ours")
	out, err := exec.Command(binary, "account", "list", "--data", s.dir).CombinedOutput()
	if err != nil || strings.Contains(string(out), "third") {
		t.Errorf("a refused start left an account: %s, %v", out, err)
	}
}

// TestUnwritableDirectory: a server that cannot write its data ends at once,
// and says where it could not.
func TestUnwritableDirectory(t *testing.T) {
	fresh := readOnly(t, func(string) {})
	made := readOnly(t, func(dir string) {
		s := startIn(t, filepath.Join(dir, "data"))
		s.stop()
	})
	for name, dir := range map[string]string{"fresh": fresh, "of another run": made} {
		t.Run(name, func(t *testing.T) { refusedIn(t, dir, "") })
	}
}

// TestFullDirectory: neither does one start that has no room.
func TestFullDirectory(t *testing.T) {
	dir := mounted(t, "4m")
	fill := func() {
		f, err := os.Create(filepath.Join(dir, "filler"))
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		f.Close()
	}
	fill()
	refusedIn(t, dir, "no space left on device")
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	s := startIn(t, filepath.Join(dir, "data"))
	s.stop()
	fill()
	refusedIn(t, dir, "no space left on device")
}

// refusedIn fails the test unless a server refuses at once to use a directory,
// by its name.
func refusedIn(t *testing.T, dir, why string) {
	t.Helper()
	began := time.Now()
	got := refused(t, nil, "--data", filepath.Join(dir, "data"))
	if !strings.Contains(got, "data directory") || !strings.Contains(got, dir) || !strings.Contains(got, why) || strings.Contains(got, "panic") {
		t.Errorf("said %q", got)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

// readOnly returns a directory that nobody can write into, after fill has: of
// a file system that is mounted for reading only when root runs the test, of
// which permissions would not keep it.
func readOnly(t *testing.T, fill func(dir string)) string {
	t.Helper()
	if os.Geteuid() == 0 {
		dir := mounted(t, "8m")
		fill(dir)
		writeProtect(t, dir)
		return dir
	}
	dir := t.TempDir()
	fill(dir)
	for _, d := range []string{filepath.Join(dir, "data"), dir} {
		if err := os.Chmod(d, 0o555); err == nil {
			t.Cleanup(func() { os.Chmod(d, 0o755) })
		}
	}
	return dir
}

// slow is a body that calls during when half of it has been read.
type slow struct {
	*strings.Reader
	during func()
}

func (s *slow) Read(p []byte) (int, error) {
	if s.during != nil && s.Len() < int(s.Size())/2 {
		during := s.during
		s.during = nil
		during()
	}
	return s.Reader.Read(p[:min(len(p), 64<<10)])
}

// TestEndsCleanly: SIGTERM lets an upload under way come to its end, a second
// one ends the server at once.
func TestEndsCleanly(t *testing.T) {
	s := start(t)
	a, bucket, key := s.account("pipeline"), "ends-cleanly", "large"
	_, err := a.s3.CreateBucket(context.Background(), &s3.CreateBucketInput{
		Bucket: &bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region},
	})
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("0123456789abcdef", 1<<20)
	_, err = a.s3.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: &slow{strings.NewReader(body), func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond)
	}}})
	if err != nil {
		t.Errorf("an upload under way was cut off: %v", err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the server did not end cleanly: %v", err)
	}
	s.again()
	if read(t, a, bucket, key) != body {
		t.Error("the object is not what was put")
	}
	began := time.Now()
	_, err = a.s3.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: &slow{strings.NewReader(body + "!"), func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond)
		s.cmd.Process.Signal(syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond)
	}}})
	if err == nil {
		t.Error("an upload outlived the server")
	}
	if s.cmd.Wait(); time.Since(began) > 5*time.Second {
		t.Error("a second signal did not end the server at once")
	}
	s.again()
	if read(t, a, bucket, key) != body {
		t.Error("an upload that was cut off changed the object")
	}
	// What the killed upload left is swept at the start.
	eventually(t, "one blob", 5*time.Second, func() bool { return s.blobs() == 1 })
}
