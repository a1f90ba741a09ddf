package s3

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/aws"
)

// nullVersion is the version id of objects made without versioning.
const nullVersion = "null"

var (
	bucketForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	versionForm = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// checkBucketName refuses names that no general purpose bucket may have.
func checkBucketName(name string) error {
	_, ip := netip.ParseAddr(name)
	bad := !bucketForm.MatchString(name) || strings.Contains(name, "..") || ip == nil
	for _, prefix := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		bad = bad || strings.HasPrefix(name, prefix)
	}
	for _, suffix := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		bad = bad || strings.HasSuffix(name, suffix)
	}
	if bad {
		return aws.Errorf("InvalidBucketName", "The specified bucket is not valid.").WithStatus(400).With("BucketName", name)
	}
	return nil
}

const maxKeyLength = 1024

// checkKey refuses keys that cannot be stored. A NUL, which AWS would take,
// cannot be written in XML nor be kept by PostgreSQL.
func checkKey(key string) error {
	switch {
	case key == "":
		return errInvalidArgument("key", "", "Object key must not be empty")
	case len(key) > maxKeyLength:
		return aws.Errorf("KeyTooLongError", "Your key is too long").WithStatus(400).
			With("Size", fmt.Sprint(len(key))).With("MaxSizeAllowed", fmt.Sprint(maxKeyLength))
	case !storable(key):
		return aws.Errorf("InvalidURI", "Couldn't parse the specified URI.").WithStatus(400)
	}
	return nil
}

// storable reports whether both databases take a text.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// checkVersion refuses what cannot be a version id; empty is no version.
func checkVersion(version string) error {
	if version != "" && (len(version) > 1024 || !versionForm.MatchString(version)) {
		return errInvalidArgument("versionId", version, "Invalid version id specified")
	}
	return nil
}

func bucketARN(bucket string) string { return "arn:aws:s3:::" + bucket }

func objectARN(bucket, key string) string { return "arn:aws:s3:::" + bucket + "/" + key }

// newBodyID returns a fresh id for the body of an object: the name of its
// blob, and the id of an upload. It begins with the time.
func newBodyID(now time.Time) string {
	return fmt.Sprintf("%012x", now.UnixMilli()) + aws.RandomText(40, "abcdefghijklmnopqrstuvwxyz0123456789")
}

// blobArea is where the bodies lie in the blob store.
const blobArea = "s3/"

// afterText is the smallest text beyond s that a key can be: keys hold no NUL.
func afterText(s string) string { return s + "\x01" }

// afterPrefix is beyond all texts that begin with prefix, but for those that
// go on with the last code point there is.
func afterPrefix(prefix string) string { return prefix + "\U0010FFFF" }
