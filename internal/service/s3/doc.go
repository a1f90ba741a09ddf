// Package s3 is Amazon S3: buckets, objects and their versions, multipart
// uploads, bucket policies and encryption.
//
// A body is encrypted before it reaches the blob store, under a data key of
// its own that lies in the object's row: sealed under the master key for
// SSE-S3, as the ciphertext that KMS returned for SSE-KMS, under the caller's key
// for SSE-C; bodies under aws:kms:dsse have two (layers.go), of which one lies
// under the master key. Blobs are written
// first and rows after them; a blob that no row names is swept (sweep.go).
//
// The object row that is the newest of its key has latest = 1; seq grows with
// every version of a key. Version ids are "null" where versioning is off.
//
// Some members of inputs are read and change nothing, because they change
// nothing on AWS either for what there is here: RequestPayer (every bucket's
// owner pays), OptionalObjectAttributes (nothing is restored from archives),
// ContentLength, Content-MD5 and checksums of requests that are read whole (the
// gateway has compared them). ConfirmRemoveSelfBucketAccess is one of them:
// that AWS takes a policy that locks its author out with or without it is
// observed by many and nowhere documented.
//
// A CanonicalUser in a bucket policy is read as it was put. AWS says that S3
// might change it to the account's ARN, which means the same.
//
// Access control lists stand beside policies (acl.go): what one grants is one
// more Allow of the resource's account. Where lists are on, an object is its
// writer's, and the bucket's policy can only deny. Not confirmed by AWS's
// documentation: the words in which a bucket refuses customers' keys and public
// lists, whether PutBucketEncryption without BlockedEncryptionTypes leaves what
// is blocked, and that a list which grants its owner nothing keeps him out (here
// it does not).
//
// What a bucket does beyond storing is one JSON text in its row (config.go):
// events (notify.go), object lock (lock.go), lifecycle (lifecycle.go, and
// expire.go, which carries it out on the job queue), CORS and website (web.go;
// the gateway answers browsers by them). Locks of versions are a table of
// their own, which buckets without object lock never look into.
//
// Not confirmed: who the requester of an anonymous caller's event is
// ("anonymous" here); whether PutObjectRetention with the retention that there
// is already is refused in governance mode (it is taken here); the texts about
// default retentions that are too long, and about NewerNoncurrentVersions over
// 100.
package s3
