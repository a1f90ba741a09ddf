-- +goose Up

-- What a bucket is configured to do beyond what has a column of its own: JSON,
-- '' when there is nothing.
ALTER TABLE s3_bucket ADD COLUMN config TEXT NOT NULL DEFAULT '';

-- The object locks of versions. A lock that an upload asked for waits under
-- the upload's id, which is longer than any version's.
CREATE TABLE s3_lock (
	bucket  TEXT NOT NULL,
	key     TEXT NOT NULL,
	version TEXT NOT NULL,
	mode    TEXT NOT NULL, -- '', GOVERNANCE, COMPLIANCE
	until   BIGINT NOT NULL, -- 0 without a mode
	hold    TEXT NOT NULL, -- '' until a legal hold was ever said, ON, OFF
	PRIMARY KEY (bucket, key, version)
);
