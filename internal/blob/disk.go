package blob

import (
	"io"
	"os"
	"time"
)

// disk is what Files asks of a file system: few things, so that a test can
// have each of them fail, or the power with it.
type disk interface {
	mkdirAll(dir string) error
	createTemp(dir string) (file, error)
	open(name string) (file, error)
	rename(from, to string) error
	remove(name string) error
	// names lists a directory in bytewise order.
	names(dir string) ([]string, error)
	stat(name string) (size int64, modified time.Time, err error)
	// syncDir makes the names in a directory outlive a power failure.
	syncDir(dir string) error
}

// file is an open file of a disk.
type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Name() string
	size() (int64, error)
}

// osDisk is the operating system's.
type osDisk struct{}

type osFile struct{ *os.File }

func (f osFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (osDisk) mkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osDisk) createTemp(dir string) (file, error) {
	f, err := os.CreateTemp(dir, "put-*")
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) open(name string) (file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) remove(name string) error { return os.Remove(name) }

func (osDisk) names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osDisk) stat(name string) (int64, time.Time, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, time.Time{}, err
	}
	return info.Size(), info.ModTime(), nil
}

func (osDisk) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
