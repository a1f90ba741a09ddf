// Package s3 is Amazon S3: buckets, objects and their versions, multipart
// uploads, bucket policies and encryption.
//
// A body is encrypted before it reaches the blob store, under a data key of
// its own that lies in the object's row: sealed under the master key for
// SSE-S3, as the ciphertext that KMS returned for SSE-KMS. Blobs are written
// first and rows after them; a blob that no row names is swept (sweep.go).
//
// The object row that is the newest of its key has latest = 1; seq grows with
// every version of a key. Version ids are "null" where versioning is off.
package s3
