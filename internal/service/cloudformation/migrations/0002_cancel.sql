-- +goose Up
-- cancelled is the operation that someone asked to be given up, cancel_token
-- the request that did.
ALTER TABLE cloudformation_stack ADD COLUMN cancelled TEXT NOT NULL DEFAULT '';
ALTER TABLE cloudformation_stack ADD COLUMN cancel_token TEXT NOT NULL DEFAULT '';
