package gateway

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/sigv4"
)

// digests are the checksums of x-amz-checksum-* for bodies that are read
// whole. Those that stream are checked by the service, while they are stored.
var digests = map[string]func() hash.Hash{
	"CRC32":     func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"CRC64NVME": func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) },
	"SHA1":      sha1.New,
	"SHA256":    sha256.New,
	"SHA512":    sha512.New,
	"MD5":       md5.New,
}

const checksumHeader = "X-Amz-Checksum-"

// checkDigests compares what the headers and trailers of a request claim of
// its body with the body. Of CompleteMultipartUpload the checksum headers are
// about the object, not about the body.
func checkDigests(operation string, h http.Header, trailers *sigv4.Body, body []byte) error {
	given := h.Get("Content-Md5")
	if err := checkMD5(given, body); err != nil {
		return err
	}
	if operation == "CompleteMultipartUpload" {
		return nil
	}
	claims := map[string]string{}
	for name := range digests {
		if value := claimed(h, trailers, name); value != "" {
			claims[name] = value
		}
	}
	if len(claims) > 1 {
		return aws.Errorf("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	}
	for name, value := range claims {
		return checkSum(name, value, body)
	}
	return checkUnclaimed(operation, h, trailers, given != "")
}

// claimed is the checksum of an algorithm that a header or trailer gives.
func claimed(h http.Header, trailers *sigv4.Body, name string) string {
	if value := h.Get(checksumHeader + name); value != "" {
		return value
	}
	return trailers.Trailer(checksumHeader + name)
}

// checkMD5 holds the body against Content-MD5.
func checkMD5(given string, body []byte) error {
	if given == "" {
		return nil
	}
	want, err := base64.StdEncoding.DecodeString(given)
	if err != nil || len(want) != md5.Size {
		return aws.Errorf("InvalidDigest", "The Content-MD5 you specified was invalid.").With("Content-MD5", given)
	}
	if got := md5.Sum(body); got != [md5.Size]byte(want) {
		return aws.Errorf("BadDigest", "The Content-MD5 you specified did not match what we received.").
			With("ExpectedDigest", given).With("CalculatedDigest", base64.StdEncoding.EncodeToString(got[:]))
	}
	return nil
}

func checkSum(name, given string, body []byte) error {
	h := digests[name]()
	want, err := base64.StdEncoding.DecodeString(given)
	if err != nil || len(want) != h.Size() {
		return aws.Errorf("InvalidRequest", "Value for %s header is invalid.", strings.ToLower(checksumHeader+name))
	}
	h.Write(body)
	if string(h.Sum(nil)) != string(want) {
		return aws.Errorf("BadDigest", "The %s you specified did not match the calculated checksum.", name)
	}
	return nil
}

// checkUnclaimed refuses a request that announces a checksum and brings none,
// or has to bring one: S3 deletes many objects only on a request that it can
// be sure of. Algorithms that cannot be computed here are refused by name.
func checkUnclaimed(operation string, h http.Header, trailers *sigv4.Body, hasMD5 bool) error {
	announced := strings.ToUpper(h.Get("X-Amz-Sdk-Checksum-Algorithm"))
	for _, name := range []string{"XXHASH64", "XXHASH3", "XXHASH128"} {
		if announced == name || claimed(h, trailers, name) != "" {
			return aws.Errorf("NotImplemented", "The checksum algorithm %s is not implemented", name).WithStatus(http.StatusNotImplemented)
		}
	}
	switch {
	case announced != "" && digests[announced] == nil:
		return aws.Errorf("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	case announced != "":
		return aws.Errorf("InvalidRequest", "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case operation == "DeleteObjects" && !hasMD5:
		return aws.Errorf("InvalidRequest", "Missing required header for this request: Content-MD5")
	}
	return nil
}
