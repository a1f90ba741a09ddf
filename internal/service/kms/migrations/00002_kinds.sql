-- +goose Up
ALTER TABLE kms_key ADD COLUMN spec TEXT NOT NULL DEFAULT 'SYMMETRIC_DEFAULT';
ALTER TABLE kms_key ADD COLUMN key_usage TEXT NOT NULL DEFAULT 'ENCRYPT_DECRYPT';
ALTER TABLE kms_key ADD COLUMN origin TEXT NOT NULL DEFAULT 'AWS_KMS';
-- PRIMARY or REPLICA, and nothing for a key of one Region.
ALTER TABLE kms_key ADD COLUMN multi_region TEXT NOT NULL DEFAULT '';
-- The waiting period, in days, of a primary key that waits for its replicas.
ALTER TABLE kms_key ADD COLUMN deletion_window BIGINT NOT NULL DEFAULT 0;
CREATE INDEX kms_key_multi_region ON kms_key (account, id) WHERE multi_region <> '';

-- Imported material may be away (nothing is sealed), expire (0 means never)
-- and be described.
ALTER TABLE kms_material ADD COLUMN expires BIGINT NOT NULL DEFAULT 0;
ALTER TABLE kms_material ADD COLUMN description TEXT NOT NULL DEFAULT '';
