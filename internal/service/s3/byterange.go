package s3

import (
	"fmt"
	"strconv"
	"strings"
)

// byteRange is a part of an object: length bytes from offset on.
type byteRange struct{ offset, length int64 }

func (r byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.offset, r.offset+r.length-1, size)
}

// parseRange reads a Range header for an object of size bytes. ok is false for
// headers that S3 passes over and answers with the whole object: other units,
// several ranges, and what is not a range.
func parseRange(header string, size int64) (r byteRange, ok bool, err error) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	from, to, isRange := strings.Cut(strings.TrimSpace(spec), "-")
	if !isBytes || !isRange {
		return r, false, nil
	}
	if from == "" {
		return suffixRange(header, to, size)
	}
	first, ok := decimal(from)
	if !ok {
		return r, false, nil
	}
	last := size - 1
	if to != "" {
		end, ok := decimal(to)
		if !ok || end < first {
			return r, false, nil
		}
		last = min(last, end)
	}
	if first >= size {
		return r, false, errInvalidRange(header, size)
	}
	return byteRange{first, last - first + 1}, true, nil
}

// suffixRange is the last bytes of an object.
func suffixRange(header, count string, size int64) (byteRange, bool, error) {
	n, ok := decimal(count)
	if !ok {
		return byteRange{}, false, nil
	}
	if n == 0 || size == 0 {
		return byteRange{}, false, errInvalidRange(header, size)
	}
	n = min(n, size)
	return byteRange{size - n, n}, true, nil
}

// decimal reads digits and nothing else.
func decimal(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// parseCopyRange reads x-amz-copy-source-range, which has one form only and
// has to lie inside the source.
func parseCopyRange(header string, size int64) (byteRange, error) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	from, to, isRange := strings.Cut(spec, "-")
	first, ok := decimal(from)
	last, ok2 := decimal(to)
	if !isBytes || !isRange || !ok || !ok2 || last < first {
		return byteRange{}, errInvalidArgument("x-amz-copy-source-range", header, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	if last >= size {
		return byteRange{}, errInvalidArgument("x-amz-copy-source-range", header, "Range specified is not valid for source object of size: %d", size)
	}
	return byteRange{first, last - first + 1}, nil
}
