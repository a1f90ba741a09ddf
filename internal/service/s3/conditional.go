package s3

import (
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

// preconditions are the conditions of a read.
type preconditions struct {
	match, noneMatch     string
	modified, unmodified *time.Time
	// copying words the answers for the source of a copy, where nothing is
	// "not modified".
	copying bool
}

// check applies them as RFC 9110 orders them: If-Match makes
// If-Unmodified-Since void, and If-None-Match does If-Modified-Since.
func (p preconditions) check(o *object) error {
	switch {
	case p.match != "":
		if !matches(p.match, o.ETag) {
			return p.failed("If-Match")
		}
	case p.unmodified != nil && o.Modified.After(*p.unmodified):
		return p.failed("If-Unmodified-Since")
	}
	switch {
	case p.noneMatch != "":
		if matches(p.noneMatch, o.ETag) {
			return p.unchanged(o, "If-None-Match")
		}
	case p.modified != nil && !o.Modified.After(*p.modified):
		return p.unchanged(o, "If-Modified-Since")
	}
	return nil
}

func (p preconditions) failed(condition string) error {
	if p.copying {
		condition = "x-amz-copy-source-" + condition
	}
	return errPreconditionFailed(condition)
}

func (p preconditions) unchanged(o *object, condition string) error {
	if p.copying {
		return p.failed(condition)
	}
	e := withHeader(aws.Errorf("NotModified", "Not Modified").WithStatus(304), "ETag", quoted(o.ETag))
	return withHeader(e, "Last-Modified", httpTime(o.Modified))
}

// matches reports whether a list of entity tags, or "*", has one.
func matches(list, etag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == "*" || unquoted(one) == etag {
			return true
		}
	}
	return false
}

// unquoted is an entity tag without the quotes, which S3 lets callers omit.
func unquoted(etag string) string { return strings.Trim(etag, `"`) }

func httpTime(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }
