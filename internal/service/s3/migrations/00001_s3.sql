-- +goose Up

-- A bucket's name is taken for everybody, whichever account has it.
CREATE TABLE s3_bucket (
	name          TEXT NOT NULL PRIMARY KEY,
	account       TEXT NOT NULL,
	region        TEXT NOT NULL,
	created       BIGINT NOT NULL,
	versioning    TEXT NOT NULL, -- '', Enabled, Suspended
	policy        TEXT NOT NULL, -- '' when there is none
	policy_id     TEXT NOT NULL, -- new with each policy
	ownership     TEXT NOT NULL, -- '' when the controls were deleted
	encryption    TEXT NOT NULL, -- JSON
	public_access TEXT NOT NULL, -- JSON, '' when the configuration was deleted
	tags          TEXT NOT NULL  -- JSON, '' when there are none
);
CREATE UNIQUE INDEX s3_bucket_owner ON s3_bucket (account, name);

-- One row per version of an object. seq grows with the versions of a key.
CREATE TABLE s3_object (
	bucket             TEXT NOT NULL,
	key                TEXT NOT NULL,
	version            TEXT NOT NULL, -- 'null' without versioning
	seq                BIGINT NOT NULL,
	latest             BIGINT NOT NULL,
	marker             BIGINT NOT NULL, -- a delete marker
	modified           BIGINT NOT NULL,
	size               BIGINT NOT NULL,
	etag               TEXT NOT NULL,
	body               TEXT NOT NULL, -- id of the body; '' for markers
	parts              BIGINT NOT NULL, -- 0 unless uploaded in parts
	storage_class      TEXT NOT NULL,
	checksum_algorithm TEXT NOT NULL,
	checksum_type      TEXT NOT NULL,
	checksum           TEXT NOT NULL, -- base64
	detail             TEXT NOT NULL, -- JSON: content headers and metadata
	tags               TEXT NOT NULL, -- JSON, '' when there are none
	sse                TEXT NOT NULL, -- AES256, aws:kms
	kms_key            TEXT NOT NULL, -- ARN
	sealed_key         BYTEA NOT NULL, -- the data key, sealed or as KMS's ciphertext
	sse_context        TEXT NOT NULL, -- JSON: the caller's encryption context
	bucket_key         BIGINT NOT NULL,
	PRIMARY KEY (bucket, key, version)
);
CREATE UNIQUE INDEX s3_object_seq ON s3_object (bucket, key, seq);
CREATE UNIQUE INDEX s3_object_latest ON s3_object (bucket, key) WHERE latest = 1;
CREATE INDEX s3_object_body ON s3_object (body) WHERE parts > 0;

-- A multipart upload under way. Ids begin with the time, so that they sort by
-- it. The id is the body's of the object that it becomes.
CREATE TABLE s3_upload (
	id                 TEXT NOT NULL PRIMARY KEY,
	bucket             TEXT NOT NULL,
	key                TEXT NOT NULL,
	initiated          BIGINT NOT NULL,
	initiator          TEXT NOT NULL, -- ARN
	storage_class      TEXT NOT NULL,
	checksum_algorithm TEXT NOT NULL,
	checksum_type      TEXT NOT NULL,
	detail             TEXT NOT NULL,
	tags               TEXT NOT NULL,
	sse                TEXT NOT NULL,
	kms_key            TEXT NOT NULL,
	sealed_key         BYTEA NOT NULL,
	sse_context        TEXT NOT NULL,
	bucket_key         BIGINT NOT NULL,
	asked_sse          TEXT NOT NULL, -- encryption headers of the request
	asked_kms_key      TEXT NOT NULL
);
CREATE UNIQUE INDEX s3_upload_key ON s3_upload (bucket, key, id);

-- The parts of an upload, and of the object it became.
CREATE TABLE s3_part (
	upload   TEXT NOT NULL,
	number   BIGINT NOT NULL,
	blob     TEXT NOT NULL,
	size     BIGINT NOT NULL,
	etag     TEXT NOT NULL,
	checksum TEXT NOT NULL,
	modified BIGINT NOT NULL,
	PRIMARY KEY (upload, number)
);

-- Every blob that a row names. Once nothing does, due says when to remove it.
CREATE TABLE s3_blob (
	name TEXT NOT NULL PRIMARY KEY,
	due  BIGINT NOT NULL
);
CREATE INDEX s3_blob_due ON s3_blob (due) WHERE due > 0;
