-- +goose Up
CREATE TABLE iam_account (
	id      TEXT   NOT NULL PRIMARY KEY,
	name    TEXT   NOT NULL UNIQUE,
	created BIGINT NOT NULL,
	version BIGINT NOT NULL -- counts every change in the account: what is cached of it goes by this
);

-- Users, groups and roles.
CREATE TABLE iam_entity (
	account     TEXT   NOT NULL,
	kind        TEXT   NOT NULL, -- user, group, role
	folded      TEXT   NOT NULL, -- the name in lower case: names are unique without regard to case
	name        TEXT   NOT NULL,
	path        TEXT   NOT NULL,
	id          TEXT   NOT NULL UNIQUE,
	created     BIGINT NOT NULL,
	description TEXT   NOT NULL,
	trust       TEXT   NOT NULL, -- of a role
	max_session BIGINT NOT NULL, -- seconds, of a role
	boundary    TEXT   NOT NULL, -- ARN of a managed policy, or ''
	PRIMARY KEY (account, kind, folded)
);
CREATE INDEX iam_entity_boundary ON iam_entity (account, boundary) WHERE boundary <> '';

CREATE TABLE iam_member (
	group_id TEXT NOT NULL,
	user_id  TEXT NOT NULL,
	PRIMARY KEY (group_id, user_id)
);
CREATE INDEX iam_member_user ON iam_member (user_id);

CREATE TABLE iam_inline (
	entity_id TEXT NOT NULL,
	name      TEXT NOT NULL,
	document  TEXT NOT NULL,
	PRIMARY KEY (entity_id, name)
);

CREATE TABLE iam_policy (
	account         TEXT   NOT NULL,
	folded          TEXT   NOT NULL,
	name            TEXT   NOT NULL,
	path            TEXT   NOT NULL,
	arn             TEXT   NOT NULL UNIQUE,
	id              TEXT   NOT NULL UNIQUE,
	description     TEXT   NOT NULL,
	default_version BIGINT NOT NULL,
	last_version    BIGINT NOT NULL, -- numbers are not used again
	created         BIGINT NOT NULL,
	updated         BIGINT NOT NULL,
	PRIMARY KEY (account, folded)
);

CREATE TABLE iam_policy_version (
	arn      TEXT   NOT NULL,
	version  BIGINT NOT NULL,
	document TEXT   NOT NULL,
	created  BIGINT NOT NULL,
	PRIMARY KEY (arn, version)
);

CREATE TABLE iam_attachment (
	entity_id TEXT NOT NULL,
	arn       TEXT NOT NULL,
	account   TEXT NOT NULL, -- of the entity: AWS's own policies belong to no account
	name      TEXT NOT NULL, -- the policy's
	PRIMARY KEY (entity_id, arn)
);
CREATE INDEX iam_attachment_policy ON iam_attachment (account, arn);

-- Tags of users, roles and policies, by their unique ids.
CREATE TABLE iam_tag (
	owner_id TEXT NOT NULL,
	folded   TEXT NOT NULL,
	name     TEXT NOT NULL,
	value    TEXT NOT NULL,
	PRIMARY KEY (owner_id, folded)
);

CREATE TABLE iam_access_key (
	id      TEXT   NOT NULL PRIMARY KEY,
	account TEXT   NOT NULL,
	user_id TEXT   NOT NULL, -- the account's id for root
	secret  BYTEA  NOT NULL, -- sealed
	status  TEXT   NOT NULL,
	created BIGINT NOT NULL
);
CREATE INDEX iam_access_key_user ON iam_access_key (user_id);

CREATE TABLE iam_credential (
	id        TEXT   NOT NULL PRIMARY KEY,
	account   TEXT   NOT NULL,
	user_id   TEXT   NOT NULL,
	service   TEXT   NOT NULL,
	user_name TEXT   NOT NULL UNIQUE, -- the name that git sends
	hash      BYTEA  NOT NULL, -- SHA-256 of a password of 256 random bits
	status    TEXT   NOT NULL,
	created   BIGINT NOT NULL
);
CREATE INDEX iam_credential_user ON iam_credential (user_id);
