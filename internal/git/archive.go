package git

import (
	"archive/zip"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"
)

// deflaters are compressors at rest: each holds hundreds of kilobytes.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// deflater gives its compressor back when a file is done.
type deflater struct{ *flate.Writer }

func (d deflater) Close() error {
	err := d.Writer.Close()
	deflaters.Put(d.Writer)
	return err
}

// Archive writes the files of a commit, and only they, as a ZIP to w while it
// reads them. The same commit gives the same bytes: paths are in git's order,
// times are the commit's. Executable bits and symbolic links are kept,
// submodules are left out, and .gitattributes have no say.
func (r *Repository) Archive(ctx context.Context, commit string, w io.Writer) error {
	o, err := r.Reader(ctx)
	if err != nil {
		return err
	}
	defer o.Close()
	c, err := o.Commit(commit)
	if err != nil {
		return err
	}
	zw := zip.NewWriter(w)
	zw.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		d := deflaters.Get().(*flate.Writer)
		d.Reset(out)
		return deflater{d}, nil
	})
	modified := c.Committer.time()
	err = o.Files(c.Tree, func(path string, e Entry) error {
		if e.Mode == Submodule || ctx.Err() != nil {
			return ctx.Err()
		}
		// Names that would lead an unpacker astray cannot come in by a push,
		// and do not go out.
		if !fs.ValidPath(path) || strings.Contains(e.Name, "/") {
			return fmt.Errorf("path %q: %w", path, errCorrupt)
		}
		if err := addFile(zw, o, path, e, modified); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return zw.Close()
}

func addFile(zw *zip.Writer, o *Reader, path string, e Entry, modified time.Time) error {
	h := &zip.FileHeader{Name: path, Method: zip.Deflate, Modified: modified}
	switch e.Mode {
	case Executable:
		h.SetMode(0o755)
	case Symlink:
		h.SetMode(fs.ModeSymlink | 0o777)
		h.Method = zip.Store
	default:
		h.SetMode(0o644)
	}
	w, err := zw.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = o.CopyBlob(e.ID, w)
	return err
}

// time returns when the signature was made; the epoch of ZIP when that makes
// no sense.
func (s Signature) time() time.Time {
	text, _, _ := strings.Cut(s.Date, " ")
	sec, err := strconv.ParseInt(text, 10, 64)
	t := time.Unix(sec, 0).UTC()
	if err != nil || t.Year() < 1980 || t.Year() > 2100 {
		return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return t
}
