-- +goose Up
-- How many wrong codes came in a row, and in which step the last one did.
ALTER TABLE iam_mfa ADD COLUMN misses BIGINT NOT NULL DEFAULT 0;
ALTER TABLE iam_mfa ADD COLUMN missed BIGINT NOT NULL DEFAULT 0;
