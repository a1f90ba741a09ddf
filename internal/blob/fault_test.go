package blob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faultyDisk is a file system in memory that knows what of it has reached the
// disk. One of its operations fails: once, or as the last thing before the
// power does.
type faultyDisk struct {
	files, lasting map[string]*inode // by path; lasting: whose directory was synced since
	dirs, lastDirs map[string]bool
	step, at       int // operations so far, and the one that fails
	err            error
	power          bool // the operation at ends everything
	off            bool
	temp           int
}

// inode is a file: its bytes, and those of them that were synced.
type inode struct{ data, synced []byte }

var errPower = errors.New("no power")

func newFaultyDisk() *faultyDisk {
	return &faultyDisk{
		files: map[string]*inode{}, lasting: map[string]*inode{},
		dirs: map[string]bool{"/": true}, lastDirs: map[string]bool{"/": true}, at: -1,
	}
}

// do counts an operation; an error is the answer to it.
func (d *faultyDisk) do() error {
	if d.off {
		return errPower
	}
	d.step++
	if d.step-1 != d.at {
		return nil
	}
	if d.power {
		d.off = true
		return errPower
	}
	return d.err
}

// after is what a machine finds that starts after the power failed: of names
// and bytes that were not synced nothing, or, where kept, all names and half of
// the bytes.
func (d *faultyDisk) after(kept bool) *faultyDisk {
	n := newFaultyDisk()
	files, dirs := d.lasting, d.lastDirs
	if kept {
		files, dirs = d.files, d.dirs
	}
	maps.Copy(n.dirs, dirs)
	for path, f := range files {
		if !n.reachable(filepath.Dir(path)) {
			continue
		}
		data := f.synced
		if more := len(f.data) - len(f.synced); kept && more > 0 {
			data = f.data[:len(f.synced)+more/2]
		}
		n.files[path] = &inode{bytes.Clone(data), bytes.Clone(data)}
	}
	maps.Copy(n.lasting, n.files)
	maps.Copy(n.lastDirs, n.dirs)
	return n
}

func (d *faultyDisk) reachable(dir string) bool {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if !d.dirs[dir] {
			return false
		}
	}
	return true
}

func (d *faultyDisk) mkdirAll(dir string) error {
	if err := d.do(); err != nil {
		return err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		d.dirs[dir] = true
	}
	return nil
}

func (d *faultyDisk) createTemp(dir string) (file, error) {
	if err := d.do(); err != nil {
		return nil, err
	}
	d.temp++
	f := &openFile{d, &inode{}, fmt.Sprintf("%s/put-%d", dir, d.temp)}
	d.files[f.path] = f.inode
	return f, nil
}

func (d *faultyDisk) open(name string) (file, error) {
	f, ok := d.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return &openFile{d, f, name}, nil
}

func (d *faultyDisk) rename(from, to string) error {
	if err := d.do(); err != nil {
		return err
	}
	f, ok := d.files[from]
	if !ok || !d.dirs[filepath.Dir(to)] {
		return fs.ErrNotExist
	}
	d.files[to] = f
	delete(d.files, from)
	return nil
}

func (d *faultyDisk) remove(name string) error {
	if err := d.do(); err != nil {
		return err
	}
	if d.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.files, name)
	return nil
}

func (d *faultyDisk) names(dir string) ([]string, error) {
	var names []string
	for path := range d.files {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	for path := range d.dirs {
		if path != "/" && filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (d *faultyDisk) stat(name string) (int64, time.Time, error) {
	f, ok := d.files[name]
	if !ok {
		return 0, time.Time{}, fs.ErrNotExist
	}
	return int64(len(f.data)), time.Time{}, nil
}

func (d *faultyDisk) syncDir(dir string) error {
	if err := d.do(); err != nil {
		return err
	}
	maps.DeleteFunc(d.lasting, func(path string, _ *inode) bool { return filepath.Dir(path) == dir })
	for path, f := range d.files {
		if filepath.Dir(path) == dir {
			d.lasting[path] = f
		}
	}
	for path := range d.dirs {
		if filepath.Dir(path) == dir {
			d.lastDirs[path] = true
		}
	}
	return nil
}

type openFile struct {
	d *faultyDisk
	*inode
	path string
}

// Write is torn where it fails: half of it has happened.
func (f *openFile) Write(p []byte) (int, error) {
	if err := f.d.do(); err != nil {
		f.data = append(f.data, p[:len(p)/2]...)
		return len(p) / 2, err
	}
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *openFile) ReadAt(p []byte, at int64) (int, error) {
	return bytes.NewReader(f.data).ReadAt(p, at)
}
func (f *openFile) Name() string         { return f.path }
func (f *openFile) size() (int64, error) { return int64(len(f.data)), nil }
func (f *openFile) Close() error         { return f.d.do() }

func (f *openFile) Sync() error {
	if err := f.d.do(); err != nil {
		return err
	}
	f.synced = bytes.Clone(f.data)
	return nil
}

const dataDir = "/data"

// stores are the bodies that a test stores, in order. Two share a directory.
var stores = []string{"s3/aa01", "s3/aa02", "s3/bb03"}

func bodyOf(name string) []byte { return bytes.Repeat([]byte(name), 50_000) }

// store puts the bodies until the power fails, and returns those that were
// acknowledged.
func store(t *testing.T, d *faultyDisk) map[string]bool {
	t.Helper()
	acknowledged := map[string]bool{}
	f, err := openFiles(dataDir, d)
	if err != nil {
		return acknowledged
	}
	for _, name := range stores {
		_, err := f.Put(t.Context(), name, bytes.NewReader(bodyOf(name)))
		acknowledged[name] = err == nil
		if err != nil && !d.off && !errors.Is(err, d.err) {
			t.Errorf("%s: %v, want the disk's own error", name, err)
		}
	}
	return acknowledged
}

// checkStore compares what is in a store with what was acknowledged. What was
// not is absent; after a loss of power it may be there, whole.
func checkStore(t *testing.T, what string, f *Files, acknowledged map[string]bool, lost bool) {
	t.Helper()
	for _, name := range stores {
		r, err := f.Get(t.Context(), name, 0, -1)
		switch {
		case errors.Is(err, ErrNotFound):
			if acknowledged[name] {
				t.Errorf("%s: %s was acknowledged and is gone", what, name)
			}
			continue
		case err != nil:
			t.Fatal(err)
		case !acknowledged[name] && !lost:
			t.Errorf("%s: %s was refused and is there", what, name)
		}
		if got, _ := io.ReadAll(r); !bytes.Equal(got, bodyOf(name)) {
			t.Errorf("%s: %s has %d bytes of %d", what, name, len(got), len(bodyOf(name)))
		}
	}
}

func temporaries(d *faultyDisk) (left []string) {
	for path := range d.files {
		if strings.HasPrefix(path, dataDir+"/"+tempDir+"/") {
			left = append(left, path)
		}
	}
	return left
}

// Each operation on the disk fails in turn, with a full disk and a broken one:
// the body under way is refused and leaves nothing, the others are whole.
func TestFaults(t *testing.T) {
	all := newFaultyDisk()
	store(t, all)
	if all.step < 30 {
		t.Fatalf("only %d operations", all.step)
	}
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		for at := range all.step {
			what := fmt.Sprintf("%v at operation %d", fault, at)
			d := newFaultyDisk()
			d.at, d.err = at, fault
			acknowledged := store(t, d)
			f, err := openFiles(dataDir, d)
			if err != nil {
				t.Fatal(err)
			}
			checkStore(t, what, f, acknowledged, false)
			if left := temporaries(d); len(left) > 0 {
				t.Errorf("%s: %v are left", what, left)
			}
			for _, name := range stores { // the fault is over
				if _, err := f.Put(t.Context(), name, bytes.NewReader(bodyOf(name))); err != nil {
					t.Errorf("%s: afterwards: %v", what, err)
				}
			}
		}
	}
}

// The power fails at each operation in turn. What was acknowledged is whole
// afterwards, whether the disk kept nothing that was not synced, or the names
// of files and not their bytes; nothing else is there by half.
func TestPowerFailures(t *testing.T) {
	all := newFaultyDisk()
	store(t, all)
	for at := range all.step + 1 {
		d := newFaultyDisk()
		d.at, d.power = at, true
		acknowledged := store(t, d)
		for _, kept := range []bool{false, true} {
			what := fmt.Sprintf("power failed at operation %d, unsynced names kept: %v", at, kept)
			after := d.after(kept)
			f, err := openFiles(dataDir, after)
			if err != nil {
				t.Fatal(err)
			}
			checkStore(t, what, f, acknowledged, true)
			if left := temporaries(after); len(left) > 0 {
				t.Errorf("%s: %v are left", what, left)
			}
		}
	}
}
