-- +goose Up
-- When somebody last used an action, to the minute: IAM asks. Events are kept
-- for 90 days, this for as long as AWS tracks it.
CREATE TABLE cloudtrail_use (
	principal  TEXT   NOT NULL, -- unique id of the user or role, or the account of a root
	access_key TEXT   NOT NULL, -- a long-term one, or ''
	service    TEXT   NOT NULL,
	action     TEXT   NOT NULL,
	region     TEXT   NOT NULL,
	at         BIGINT NOT NULL,
	PRIMARY KEY (principal, access_key, service, action, region)
);
CREATE INDEX cloudtrail_use_key ON cloudtrail_use (access_key) WHERE access_key <> '';
