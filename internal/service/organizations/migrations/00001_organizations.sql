-- +goose Up

-- One row: counts every change to what binds accounts. What is cached of the
-- organizations goes by it.
CREATE TABLE organizations_version (
	id      BIGINT NOT NULL PRIMARY KEY,
	version BIGINT NOT NULL
);
INSERT INTO organizations_version (id, version) VALUES (1, 1);

CREATE TABLE organizations_organization (
	id         TEXT   NOT NULL PRIMARY KEY,
	management TEXT   NOT NULL UNIQUE, -- the account that made it
	features   TEXT   NOT NULL, -- ALL or CONSOLIDATED_BILLING
	root       TEXT   NOT NULL UNIQUE,
	scps       BIGINT NOT NULL, -- 1 while the policy type is enabled in the root
	rcps       BIGINT NOT NULL,
	created    BIGINT NOT NULL
);

-- The tree: root, organizational units, accounts. An account is in one
-- organization at most, so its id is enough.
CREATE TABLE organizations_node (
	id      TEXT   NOT NULL PRIMARY KEY,
	org     TEXT   NOT NULL,
	parent  TEXT   NOT NULL, -- '' for a root
	kind    TEXT   NOT NULL, -- ROOT, ORGANIZATIONAL_UNIT, ACCOUNT
	name    TEXT   NOT NULL,
	created BIGINT NOT NULL
);
CREATE INDEX organizations_node_parent ON organizations_node (org, parent, kind, id);
CREATE INDEX organizations_node_kind ON organizations_node (org, kind, id);
CREATE UNIQUE INDEX organizations_node_unit ON organizations_node (parent, name) WHERE kind = 'ORGANIZATIONAL_UNIT';

-- What an account's node has beyond the others.
CREATE TABLE organizations_account (
	id     TEXT   NOT NULL PRIMARY KEY,
	method TEXT   NOT NULL, -- INVITED or CREATED
	joined BIGINT NOT NULL,
	closed BIGINT NOT NULL  -- 0 while it is open
);

-- Addresses of accounts, also of those in no organization. An account without
-- a row has the one that its id gives it.
CREATE TABLE organizations_email (
	account TEXT NOT NULL PRIMARY KEY,
	folded  TEXT NOT NULL UNIQUE,
	email   TEXT NOT NULL
);

-- Requests to create an account.
CREATE TABLE organizations_request (
	id        TEXT   NOT NULL PRIMARY KEY,
	org       TEXT   NOT NULL,
	name      TEXT   NOT NULL,
	email     TEXT   NOT NULL,
	role      TEXT   NOT NULL,
	account   TEXT   NOT NULL,
	tags      TEXT   NOT NULL, -- JSON
	state     TEXT   NOT NULL, -- IN_PROGRESS, SUCCEEDED, FAILED
	failure   TEXT   NOT NULL,
	requested BIGINT NOT NULL,
	completed BIGINT NOT NULL
);
CREATE INDEX organizations_request_org ON organizations_request (org, id);

CREATE TABLE organizations_handshake (
	id        TEXT   NOT NULL PRIMARY KEY,
	org       TEXT   NOT NULL,
	owner     TEXT   NOT NULL, -- the management account, for the ARN
	account   TEXT   NOT NULL, -- who is invited
	party     TEXT   NOT NULL, -- ACCOUNT or EMAIL: how the account was named
	notes     TEXT   NOT NULL,
	tags      TEXT   NOT NULL, -- JSON
	resources TEXT   NOT NULL, -- JSON: the organization as it was
	state     TEXT   NOT NULL, -- OPEN, ACCEPTED, DECLINED, CANCELED; OPEN shows as EXPIRED after its time
	requested BIGINT NOT NULL,
	expires   BIGINT NOT NULL
);
CREATE INDEX organizations_handshake_org ON organizations_handshake (org, id);
CREATE INDEX organizations_handshake_account ON organizations_handshake (account, id);

-- Policies that customers made.
CREATE TABLE organizations_policy (
	id          TEXT   NOT NULL PRIMARY KEY,
	org         TEXT   NOT NULL,
	type        TEXT   NOT NULL, -- SERVICE_CONTROL_POLICY or RESOURCE_CONTROL_POLICY
	name        TEXT   NOT NULL,
	description TEXT   NOT NULL,
	content     TEXT   NOT NULL,
	created     BIGINT NOT NULL
);
CREATE UNIQUE INDEX organizations_policy_name ON organizations_policy (org, type, name);

-- Which policies stand on which nodes; AWS's own policies too.
CREATE TABLE organizations_attachment (
	org    TEXT NOT NULL,
	target TEXT NOT NULL,
	type   TEXT NOT NULL,
	policy TEXT NOT NULL,
	PRIMARY KEY (target, policy)
);
CREATE INDEX organizations_attachment_policy ON organizations_attachment (org, policy, target);

-- Tags of nodes and policies.
CREATE TABLE organizations_tag (
	org      TEXT NOT NULL,
	resource TEXT NOT NULL,
	key      TEXT NOT NULL,
	value    TEXT NOT NULL,
	PRIMARY KEY (resource, key)
);
