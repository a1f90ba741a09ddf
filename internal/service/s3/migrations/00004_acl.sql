-- +goose Up

-- Access control lists, and whose an object is. An empty list is the owner's
-- full control; an empty owner is the bucket's. Where the bucket turns lists
-- off they stay as they are, and count for nothing.
ALTER TABLE s3_bucket ADD COLUMN acl TEXT NOT NULL DEFAULT ''; -- JSON
ALTER TABLE s3_object ADD COLUMN owner TEXT NOT NULL DEFAULT ''; -- account id, or anonymous
ALTER TABLE s3_object ADD COLUMN acl TEXT NOT NULL DEFAULT '';
ALTER TABLE s3_upload ADD COLUMN owner TEXT NOT NULL DEFAULT ''; -- of the object to be
ALTER TABLE s3_upload ADD COLUMN acl TEXT NOT NULL DEFAULT '';
