package gateway

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"hash/crc32"
	"hash/crc64"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/sigv4"
)

// A body that is read whole is what its headers say, or it is refused before
// anybody acts on it.
func TestDigests(t *testing.T) {
	const body = "<Tagging/>"
	base := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	md5Of := func(s string) string { sum := md5.Sum([]byte(s)); return base(sum[:]) }
	shaOf := func(s string) string { sum := sha256.Sum256([]byte(s)); return base(sum[:]) }
	crc := crc32.NewIEEE()
	crc.Write([]byte(body))
	crcOf := base(crc.Sum(nil))
	for _, tt := range []struct {
		name, operation, header string // NAME value|NAME value
		code                    string
	}{
		{"nothing", "PutBucketTagging", "", ""},
		{"MD5", "PutBucketTagging", "Content-MD5 " + md5Of(body), ""},
		{"another MD5", "PutBucketTagging", "Content-MD5 " + md5Of("x"), "BadDigest"},
		{"no MD5", "PutBucketTagging", "Content-MD5 abc", "InvalidDigest"},
		{"too short an MD5", "PutBucketTagging", "Content-MD5 eA==", "InvalidDigest"},
		{"SHA256", "PutBucketTagging", "x-amz-checksum-sha256 " + shaOf(body), ""},
		{"another SHA256", "PutBucketTagging", "x-amz-checksum-sha256 " + shaOf("x"), "BadDigest"},
		{"CRC32, announced", "PutBucketTagging", "x-amz-sdk-checksum-algorithm CRC32|x-amz-checksum-crc32 " + crcOf, ""},
		{"another CRC32", "PutBucketTagging", "x-amz-checksum-crc32 AAAAAA==", "BadDigest"},
		{"no CRC32", "PutBucketTagging", "x-amz-checksum-crc32 !", "InvalidRequest"},
		{"two", "PutBucketTagging", "x-amz-checksum-sha256 " + shaOf(body) + "|x-amz-checksum-crc32 " + crcOf, "InvalidRequest"},
		{"announced only", "PutBucketTagging", "x-amz-sdk-checksum-algorithm SHA256", "InvalidRequest"},
		{"unknown", "PutBucketTagging", "x-amz-sdk-checksum-algorithm CRC7", "InvalidRequest"},
		{"xxHash announced", "PutBucketTagging", "x-amz-sdk-checksum-algorithm XXHASH64", "NotImplemented"},
		{"xxHash", "PutBucketTagging", "x-amz-checksum-xxhash3 x", "NotImplemented"},
		{"deletion of nobody knows what", "DeleteObjects", "", "InvalidRequest"},
		{"deletion with MD5", "DeleteObjects", "Content-MD5 " + md5Of(body), ""},
		{"deletion with a checksum", "DeleteObjects", "x-amz-checksum-crc32 " + crcOf, ""},
		{"checksum of the object", "CompleteMultipartUpload", "x-amz-checksum-crc32 AAAAAA==", ""},
		{"MD5 of the body", "CompleteMultipartUpload", "Content-MD5 " + md5Of("x"), "BadDigest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			for line := range strings.SplitSeq(tt.header, "|") {
				name, value, _ := strings.Cut(line, " ")
				h.Set(name, value)
			}
			err := checkDigests(tt.operation, h, new(sigv4.Body), []byte(body))
			if (err == nil) != (tt.code == "") || err != nil && !strings.Contains(err.Error(), tt.code) {
				t.Errorf("%v, want %q", err, tt.code)
			}
		})
	}
	// The check value of CRC-64/NVME.
	h := digests["CRC64NVME"]()
	h.Write([]byte("123456789"))
	if h.(interface{ Sum64() uint64 }).Sum64() != 0xae8b14860a799888 || h.Size() != crc64.Size {
		t.Errorf("CRC64NVME: %x", h.Sum(nil))
	}
}

// The same over the wire: what is refused does not come through.
func TestDigestsAtTheDoor(t *testing.T) {
	s := newSite(t)
	put := ask{method: "PUT", path: "/bucket?tagging", service: "s3", body: "<Tagging><TagSet></TagSet></Tagging>", header: map[string]string{"Content-MD5": "XrY7u+Ae7tCTyyK7j1rNww=="}}
	if got := s.ask(t, put); got.status != 400 || !strings.Contains(got.body, "<Code>BadDigest</Code>") || s.count() != 0 {
		t.Errorf("%d %s", got.status, got.body)
	}
	deletion := ask{method: "POST", path: "/bucket?delete", service: "s3", body: "<Delete><Object><Key>k</Key></Object></Delete>"}
	if got := s.ask(t, deletion); got.status != 400 || !strings.Contains(got.body, "Missing required header for this request: Content-MD5") || s.count() != 0 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// The page that a browser came from is a condition key of every service.
func TestReferer(t *testing.T) {
	s := newSite(t)
	from := map[string]string{"Referer": "https://example.com/page"}
	for name, a := range map[string]ask{
		"S3":   {method: "GET", path: "/bucket?list-type=2", service: "s3"},
		"JSON": listKeys,
	} {
		for _, sent := range []bool{false, true} {
			if sent {
				a = a.with(func(a *ask) { maps.Copy(a.header, from) })
			}
			if got := s.ask(t, a); got.status != 200 {
				t.Fatalf("%s: %d %s", name, got.status, got.body)
			}
			c, _ := s.last(t)
			if got, ok := c.Keys["aws:referer"]; ok != sent || sent && !slices.Equal(got, []string{"https://example.com/page"}) {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// To list the root by name is to name an empty prefix.
func TestEmptyPrefix(t *testing.T) {
	s := newSite(t)
	for query, want := range map[string][]string{"": nil, "&prefix=": {""}, "&prefix=a": nil} {
		if got := s.ask(t, ask{method: "GET", path: "/bucket?list-type=2" + query, service: "s3"}); got.status != 200 {
			t.Fatalf("%s: %d %s", query, got.status, got.body)
		}
		c, _ := s.last(t)
		if got := c.Keys["s3:prefix"]; !slices.Equal(got, want) {
			t.Errorf("%s: %q", query, got)
		}
	}
}
