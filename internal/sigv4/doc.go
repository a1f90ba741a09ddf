// Package sigv4 is AWS Signature Version 4, both sides of it: it verifies
// signed requests (Authorization header and presigned URL), their bodies
// (declared digests and aws-chunked streams with signatures and trailers), and
// the git passwords of the AWS CLI; and it signs and presigns.
//
// Verifying has two steps, because the secret can only be looked up when the
// access key is known:
//
//	q, err := sigv4.Parse(r)           // *sigv4.Error, to be worded with For
//	secret := lookUp(q.AccessKeyID, q.Token)
//	err = q.Verify(secret, q.Digest(body), now) // services that buffer
//	err = q.Verify(secret, "", now)             // S3, whose digest is declared
//	payload, err := q.Body(r.Body)              // S3: verified as it is read
//
// The package is pure; of net/http it uses the types Request and Header.
package sigv4

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"

	// UnsignedPayload is the x-amz-content-sha256 of a body nobody signed.
	UnsignedPayload = "UNSIGNED-PAYLOAD"
	// EmptyPayload is the digest of no bytes.
	EmptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

	streamSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// The form of X-Amz-Date.
const isoBasic = "20060102T150405Z"
