-- +goose Up

-- What the request that brought a part claimed of it, where that is not the
-- checksum the upload keeps: "ALGORITHM value".
ALTER TABLE s3_part ADD COLUMN claimed TEXT NOT NULL DEFAULT '';
