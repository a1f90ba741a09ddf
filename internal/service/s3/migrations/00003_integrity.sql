-- +goose Up

-- What the other columns of the row add up to (see rowsum.go); 0 in rows from
-- before there was one.
ALTER TABLE s3_object ADD COLUMN sum BIGINT NOT NULL DEFAULT 0;

-- A small body lies here, encrypted, and not in the blob store: it is on disk
-- with the transaction that names it.
ALTER TABLE s3_blob ADD COLUMN bytes BYTEA;
