// Package blob keeps object bodies: bytes under a name, whole or not at all.
//
// A name is an area and an id, as in "s3/5f0c…": the area belongs to one
// service, which names, lists and sweeps only what is its own. Bodies arrive
// here encrypted; the package knows nothing of what they mean.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"
)

// ErrNotFound means that no blob has the name.
var ErrNotFound = errors.New("no such blob")

// Info describes one blob.
type Info struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Store keeps blobs. Its methods may be called at the same time.
type Store interface {
	// Put stores what r yields until EOF and returns its size. It is whole
	// and durable when Put returns nil, and does not exist otherwise; a blob
	// that had the name is replaced. An error of r is returned as it is.
	Put(ctx context.Context, name string, r io.Reader) (int64, error)
	// Get returns length bytes from offset on, or all the rest where length is
	// negative. What lies beyond the end is cut off. The blob stays readable
	// until the reader is closed, also when it is deleted meanwhile.
	Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// Delete removes a blob. It is no error when there is none.
	Delete(ctx context.Context, name string) error
	// Size returns a blob's length in bytes.
	Size(ctx context.Context, name string) (int64, error)
	// List returns at most limit blobs whose names come after a text, in the
	// order of their names, bytewise. To list one area begin after "area/".
	List(ctx context.Context, after string, limit int) ([]Info, error)
}

var nameForm = regexp.MustCompile(`^[a-z0-9]{1,32}/[a-z0-9][a-z0-9._-]{3,127}$`)

// checkName refuses names that are not an area and an id.
func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("blob name %q is not of the form area/id in lower case", name)
	}
	return nil
}

func checkRange(offset int64) error {
	if offset < 0 {
		return fmt.Errorf("read from offset %d", offset)
	}
	return nil
}

// cut returns the part of a blob of size bytes that Get was asked for.
func cut(size, offset, length int64) (from, n int64) {
	from = min(offset, size)
	n = size - from
	if length >= 0 {
		n = min(n, length)
	}
	return from, n
}

// patient is a reader that stops when its context ends.
type patient struct {
	ctx context.Context
	r   io.Reader
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}
