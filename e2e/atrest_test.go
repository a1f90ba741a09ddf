package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// offline runs a command on the data of a server that does not run, and
// returns its status and what it printed.
func (s *server) offline(command string) (int, string) {
	s.t.Helper()
	out, err := s.offlineCommand(command).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return 0, string(out)
}

func (s *server) offlineCommand(command string) *exec.Cmd {
	args := []string{command, "--data", s.dir}
	if i := slices.Index(s.args, "--database"); i >= 0 {
		args = append(args, s.args[i:i+2]...)
	}
	return exec.Command(binary, args...)
}

func (s *server) mustBeSound() {
	s.t.Helper()
	if status, out := s.offline("fsck"); status != 0 {
		s.t.Fatalf("fsck ended with %d:\n%s", status, out)
	}
}

// TestKilledRotation kills a change of the master key at any moment, again and
// again: the store is sound in between and serves with both keys, and the
// change comes to its end.
func TestKilledRotation(t *testing.T) {
	databases(t, func(t *testing.T, args ...string) {
		ctx := context.Background()
		s := start(t, args...)
		a := s.account("pipeline")
		bucket(t, a, "rotated")
		const objects = 1200
		var group sync.WaitGroup
		for w := range 16 {
			group.Go(func() {
				for i := w; i < objects; i += 16 {
					in := &s3.PutObjectInput{Bucket: new("rotated"), Key: new(fmt.Sprint(i)), Body: strings.NewReader(fmt.Sprint(i))}
					if i%10 == 0 {
						in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
					}
					if _, err := a.s3.PutObject(ctx, in); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		s.stop()
		key := filepath.Join(s.dir, "master.key")
		old, _ := os.ReadFile(key)
		between := 0
		for range 8 {
			cmd := s.offlineCommand("rotate-master-key")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
			cmd.Process.Kill()
			cmd.Wait()
			if text, _ := os.ReadFile(key); len(bytes.Fields(text)) == 2 {
				between++
			}
			s.mustBeSound()
		}
		t.Logf("%d of 8 were cut off between the keys", between)
		s.again()
		for i := 0; i < objects; i += 97 {
			if got := read(t, a, "rotated", fmt.Sprint(i)); got != fmt.Sprint(i) {
				t.Errorf("object %d is %q", i, got)
			}
		}
		s.stop()
		if status, out := s.offline("rotate-master-key"); status != 0 {
			t.Fatalf("status %d: %s", status, out)
		}
		if text, _ := os.ReadFile(key); len(bytes.Fields(text)) != 1 || bytes.Equal(text, old) {
			t.Error("the old key is still there")
		}
		s.mustBeSound()
		s.again()
		for i := 0; i < objects; i += 97 {
			if got := read(t, a, "rotated", fmt.Sprint(i)); got != fmt.Sprint(i) {
				t.Errorf("object %d is %q", i, got)
			}
		}
	})
}

// TestFlippedBit flips a bit in the middle of a body on disk. Whoever reads it
// learns of it before the body's length is full, and fsck names the object.
func TestFlippedBit(t *testing.T) {
	ctx := context.Background()
	s := start(t)
	a := s.account("pipeline")
	bucket(t, a, "flipped")
	body := make([]byte, 3<<20)
	if _, err := a.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: new("flipped"), Key: new("object"), Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.mustBeSound()
	files, _ := filepath.Glob(filepath.Join(s.dir, "blobs", "s3", "*", "*"))
	if len(files) != 1 {
		t.Fatalf("bodies: %v", files)
	}
	sealed, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	sealed[len(sealed)/2] ^= 1
	if err := os.WriteFile(files[0], sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	s.again()
	out, err := a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: new("flipped"), Key: new("object")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(out.Body)
	out.Body.Close()
	if err == nil || len(got) >= len(body) || !bytes.Equal(got, body[:len(got)]) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(body), err)
	}
	s.stop()
	status, text := s.offline("fsck")
	if status != 1 || !strings.Contains(text, "damage: arn:aws:s3:::flipped/object version null: ") {
		t.Errorf("fsck ended with %d:\n%s", status, text)
	}
	if err := os.Rename(files[0], files[0]+"x"); err != nil {
		t.Fatal(err)
	}
	if status, text := s.offline("fsck"); status != 1 || !strings.Contains(text, "no such blob") {
		t.Errorf("fsck ended with %d:\n%s", status, text)
	}
}

// TestManyUploadsTakeLittleMemory puts 64 large bodies at once.
func TestManyUploadsTakeLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 2 GiB")
	}
	ctx := context.Background()
	s := start(t)
	a := s.account("pipeline")
	bucket(t, a, "many")
	body := make([]byte, 32<<20)
	begin := time.Now()
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			_, err := a.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: new("many"), Key: new(fmt.Sprint(i)), Body: bytes.NewReader(body)})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	peak := s.peakMemory()
	t.Logf("64 bodies of 32 MiB in %v, peak of memory %d MiB", time.Since(begin).Round(time.Millisecond), peak>>20)
	if peak > 300<<20 {
		t.Errorf("the server took %d MiB", peak>>20)
	}
}

// peakMemory is the most that the server has had in memory, in bytes.
func (s *server) peakMemory() int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Skip("no /proc")
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	s.t.Skip("no VmHWM")
	return 0
}
