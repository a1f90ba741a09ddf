package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
)

// Files is a Store in a directory of the file system.
//
// A blob area/id lies in area/id[:2]/id. It is written to a file in .tmp
// first and renamed when it is whole and synced, so that no reader and no
// crash ever shows a part of one.
type Files struct {
	dir  string
	disk disk
	// made are the shard directories known to exist and to be durable.
	made sync.Map
}

const (
	tempDir = ".tmp"
	// shardLength is how many characters of an id name its directory.
	shardLength = 2
)

// OpenFiles returns the store in a directory, which it creates when there is
// none. The process has the directory to itself: temporary files are what a
// dead one left, and are removed.
func OpenFiles(dir string) (*Files, error) { return openFiles(dir, osDisk{}) }

func openFiles(dir string, disk disk) (*Files, error) {
	f := &Files{dir: dir, disk: disk}
	if err := disk.mkdirAll(filepath.Join(dir, tempDir)); err != nil {
		return nil, err
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := disk.syncDir(d); err != nil {
			return nil, err
		}
	}
	if err := f.removeTemporaries(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *Files) removeTemporaries() error {
	left, err := f.disk.names(filepath.Join(f.dir, tempDir))
	if err != nil {
		return err
	}
	for _, name := range left {
		err := f.disk.remove(filepath.Join(f.dir, tempDir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// shard returns a blob's directory and its path.
func (f *Files) shard(name string) (dir, path string, err error) {
	if err := checkName(name); err != nil {
		return "", "", err
	}
	area, id, _ := strings.Cut(name, "/")
	dir = filepath.Join(f.dir, area, id[:shardLength])
	return dir, filepath.Join(dir, id), nil
}

// Put implements Store.
func (f *Files) Put(ctx context.Context, name string, r io.Reader) (int64, error) {
	dir, path, err := f.shard(name)
	if err != nil {
		return 0, err
	}
	tmp, err := f.disk.createTemp(filepath.Join(f.dir, tempDir))
	if err != nil {
		return 0, err
	}
	n, err := fill(ctx, tmp, r)
	if err != nil {
		f.disk.remove(tmp.Name())
		return 0, err
	}
	if err := f.publish(tmp.Name(), dir, path); err != nil {
		f.disk.remove(tmp.Name())
		return 0, err
	}
	return n, nil
}

// buffers are for copying into files; one is held while a body streams.
var buffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// fill writes all of r to a file, syncs and closes it.
func fill(ctx context.Context, file file, r io.Reader) (int64, error) {
	buf := buffers.Get().(*[128 << 10]byte)
	defer buffers.Put(buf)
	// The plain Writer keeps CopyBuffer from asking the file to read, which
	// would take a buffer of its own; the same goes for WriterTo.
	n, err := io.CopyBuffer(struct{ io.Writer }{file}, patient{ctx, r}, buf[:])
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	return n, err
}

// publish moves a finished file to its place and makes the move durable.
func (f *Files) publish(tmp, dir, path string) error {
	if err := f.makeShard(dir); err != nil {
		return err
	}
	if err := f.disk.rename(tmp, path); err != nil {
		return err
	}
	if err := f.disk.syncDir(dir); err != nil {
		// Whether the name survives is unknown: it must not be taken for stored.
		f.disk.remove(path)
		return err
	}
	return nil
}

// makeShard creates area and shard directory durably.
func (f *Files) makeShard(dir string) error {
	if _, ok := f.made.Load(dir); ok {
		return nil
	}
	if err := f.disk.mkdirAll(dir); err != nil {
		return err
	}
	area := filepath.Dir(dir)
	if err := f.disk.syncDir(area); err != nil {
		return err
	}
	if err := f.disk.syncDir(f.dir); err != nil {
		return err
	}
	f.made.Store(dir, nil)
	return nil
}

// Get implements Store.
func (f *Files) Get(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := checkRange(offset); err != nil {
		return nil, err
	}
	_, path, err := f.shard(name)
	if err != nil {
		return nil, err
	}
	file, err := f.disk.open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	size, err := file.size()
	if err != nil {
		file.Close()
		return nil, err
	}
	from, n := cut(size, offset, length)
	return &section{io.NewSectionReader(file, from, n), file}, nil
}

// section is a part of an open file.
type section struct {
	*io.SectionReader
	file file
}

func (s *section) Close() error { return s.file.Close() }

// Delete implements Store. The removal is not synced: what a crash brings
// back, the owner's sweeper finds again.
func (f *Files) Delete(_ context.Context, name string) error {
	_, path, err := f.shard(name)
	if err != nil {
		return err
	}
	err = f.disk.remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Size implements Store.
func (f *Files) Size(_ context.Context, name string) (int64, error) {
	_, path, err := f.shard(name)
	if err != nil {
		return 0, err
	}
	size, _, err := f.disk.stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNotFound
	}
	return size, err
}

// List implements Store. It reads only the directories that it needs.
func (f *Files) List(ctx context.Context, after string, limit int) ([]Info, error) {
	var found []Info
	areas, err := f.names(f.dir)
	if err != nil {
		return nil, err
	}
	for _, area := range areas {
		if area+"/\xff" <= after {
			continue
		}
		shards, err := f.names(filepath.Join(f.dir, area))
		if err != nil {
			return nil, err
		}
		for _, shard := range shards {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if area+"/"+shard+"\xff" <= after {
				continue
			}
			if found, err = f.listShard(found, area, shard, after, limit); err != nil {
				return nil, err
			}
			if len(found) >= limit {
				return found, nil
			}
		}
	}
	return found, nil
}

func (f *Files) listShard(found []Info, area, shard, after string, limit int) ([]Info, error) {
	dir := filepath.Join(f.dir, area, shard)
	ids, err := f.names(dir)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		name := area + "/" + id
		if name <= after {
			continue
		}
		if len(found) >= limit {
			break
		}
		size, modified, err := f.disk.stat(filepath.Join(dir, id))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("blob %s: %w", name, err)
		}
		found = append(found, Info{name, size, modified})
	}
	return found, nil
}

// names returns what lies in a directory, in bytewise order, without what is
// hidden.
func (f *Files) names(dir string) ([]string, error) {
	all, err := f.disk.names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range all {
		if !strings.HasPrefix(name, ".") {
			out = append(out, name)
		}
	}
	return out, nil
}
