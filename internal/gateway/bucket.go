package gateway

import (
	"net"
	"regexp"
	"strings"
)

// bucketName is what S3 allows as a bucket's name; anything else in front of
// a host is no bucket.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// s3Label is the label that follows a bucket in virtual-hosted names:
// BUCKET.s3.DOMAIN, BUCKET.s3-REGION.DOMAIN.
var s3Label = regexp.MustCompile(`^(.+)\.s3[.-](?:.+\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*$`)

// splitBucket finds bucket and key of an S3 request from its host and its
// escaped path. The host may be BUCKET.localhost or BUCKET.s3.ANYTHING; every
// other host is addressed by path. The parts are still percent-encoded.
func splitBucket(host, path string) (bucket, key string) {
	if b, ok := hostBucket(host); ok {
		return b, strings.TrimPrefix(path, "/")
	}
	bucket, key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return bucket, key
}

func hostBucket(host string) (string, bool) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if net.ParseIP(strings.Trim(host, "[]")) != nil {
		return "", false
	}
	if b, ok := strings.CutSuffix(host, ".localhost"); ok {
		// s3.localhost and BUCKET.s3.localhost are S3's own names.
		if b == "s3" || strings.HasPrefix(b, "s3.") || serviceHost.MatchString(b) {
			return "", false
		}
		if m := s3Label.FindStringSubmatch(host); m != nil {
			b = m[1]
		}
		return b, bucketName.MatchString(b)
	}
	// The leftmost bucket that leaves an s3 label: names may have dots.
	if m := s3Label.FindStringSubmatch(host); m != nil && bucketName.MatchString(m[1]) {
		return m[1], true
	}
	return "", false
}

// serviceHost are first labels under localhost that are services, never
// buckets, so that SERVICE.REGION.localhost can be used as an endpoint.
var serviceHost = regexp.MustCompile(`^(iam|sts|kms|codecommit|git-codecommit|events|codepipeline|cloudformation|cloudtrail|organizations)(\.[a-z]{2}(-[a-z]+)+-[0-9])?$`)
