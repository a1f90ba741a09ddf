-- +goose Up
CREATE TABLE cloudformation_stack (
	id          TEXT PRIMARY KEY,
	account     TEXT NOT NULL,
	region      TEXT NOT NULL,
	name        TEXT NOT NULL,
	status      TEXT NOT NULL,
	reason      TEXT NOT NULL,
	live        BIGINT NOT NULL,
	protected   BIGINT NOT NULL,
	parent      TEXT NOT NULL,
	root        TEXT NOT NULL,
	description TEXT NOT NULL,
	created     BIGINT NOT NULL,
	updated     BIGINT NOT NULL,
	deleted     BIGINT NOT NULL,
	body        BYTEA NOT NULL
);
CREATE UNIQUE INDEX cloudformation_stack_name ON cloudformation_stack (account, region, name) WHERE live = 1;
CREATE INDEX cloudformation_stack_created ON cloudformation_stack (account, region, created, id);

CREATE TABLE cloudformation_resource (
	stack    TEXT NOT NULL,
	logical  TEXT NOT NULL,
	type     TEXT NOT NULL,
	physical TEXT NOT NULL,
	status   TEXT NOT NULL,
	reason   TEXT NOT NULL,
	updated  BIGINT NOT NULL,
	op       TEXT NOT NULL,
	body     BYTEA NOT NULL,
	PRIMARY KEY (stack, logical)
);
CREATE INDEX cloudformation_resource_physical ON cloudformation_resource (physical);

CREATE TABLE cloudformation_event (
	stack      TEXT NOT NULL,
	seq        BIGINT NOT NULL,
	id         TEXT NOT NULL,
	logical    TEXT NOT NULL,
	physical   TEXT NOT NULL,
	type       TEXT NOT NULL,
	status     TEXT NOT NULL,
	reason     TEXT NOT NULL,
	properties TEXT NOT NULL,
	token      TEXT NOT NULL,
	op         TEXT NOT NULL,
	at         BIGINT NOT NULL,
	PRIMARY KEY (stack, seq)
);

CREATE TABLE cloudformation_export (
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	name    TEXT NOT NULL,
	stack   TEXT NOT NULL,
	value   TEXT NOT NULL,
	PRIMARY KEY (account, region, name)
);
CREATE INDEX cloudformation_export_stack ON cloudformation_export (stack);

CREATE TABLE cloudformation_import (
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	name    TEXT NOT NULL,
	stack   TEXT NOT NULL,
	PRIMARY KEY (account, region, name, stack)
);
CREATE INDEX cloudformation_import_stack ON cloudformation_import (stack);

CREATE TABLE cloudformation_change_set (
	id        TEXT PRIMARY KEY,
	stack     TEXT NOT NULL,
	name      TEXT NOT NULL,
	status    TEXT NOT NULL,
	reason    TEXT NOT NULL,
	execution TEXT NOT NULL,
	created   BIGINT NOT NULL,
	body      BYTEA NOT NULL
);
CREATE UNIQUE INDEX cloudformation_change_set_name ON cloudformation_change_set (stack, name);
