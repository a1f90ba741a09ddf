-- +goose Up
-- One row a call, written once and read seldom: as few indexes as the reads
-- can do with. Ids sort by time, so every index grows at its end.
CREATE TABLE cloudtrail_event (
	id         TEXT   NOT NULL PRIMARY KEY,
	account    TEXT   NOT NULL, -- the caller's; the resource's for services
	owner      TEXT   NOT NULL, -- of the resource, where that is another account
	region     TEXT   NOT NULL,
	source     TEXT   NOT NULL,
	name       TEXT   NOT NULL,
	username   TEXT   NOT NULL,
	access_key TEXT   NOT NULL,
	read_only  BIGINT NOT NULL,
	management BIGINT NOT NULL, -- LookupEvents shows these
	resources  TEXT   NOT NULL, -- ARNs and names, one a line
	trace      TEXT   NOT NULL,
	scope      TEXT   NOT NULL,
	entry      TEXT   NOT NULL  -- JSON
);
CREATE INDEX cloudtrail_event_account ON cloudtrail_event (account, region, id) WHERE management = 1;
CREATE INDEX cloudtrail_event_owner ON cloudtrail_event (owner, region, id) WHERE management = 1 AND owner <> '';
CREATE INDEX cloudtrail_event_trace ON cloudtrail_event (trace, id);
CREATE INDEX cloudtrail_event_scope ON cloudtrail_event (scope, id) WHERE scope <> '';
