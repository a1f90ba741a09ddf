-- +goose Up
CREATE TABLE kms_key (
	account       TEXT   NOT NULL,
	region        TEXT   NOT NULL,
	id            TEXT   NOT NULL,
	manager       TEXT   NOT NULL,
	description   TEXT   NOT NULL,
	state         TEXT   NOT NULL,
	policy        TEXT   NOT NULL,
	created       BIGINT NOT NULL,
	deletion      BIGINT NOT NULL,
	version       BIGINT NOT NULL,
	rotates       BIGINT NOT NULL,
	period        BIGINT NOT NULL,
	next_rotation BIGINT NOT NULL,
	PRIMARY KEY (account, region, id)
);
CREATE TABLE kms_material (
	account TEXT   NOT NULL,
	region  TEXT   NOT NULL,
	key_id  TEXT   NOT NULL,
	version BIGINT NOT NULL,
	id      TEXT   NOT NULL,
	cause   TEXT   NOT NULL,
	created BIGINT NOT NULL,
	sealed  BYTEA  NOT NULL,
	PRIMARY KEY (account, region, key_id, version)
);
CREATE TABLE kms_alias (
	account TEXT   NOT NULL,
	region  TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	key_id  TEXT   NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	PRIMARY KEY (account, region, name)
);
CREATE INDEX kms_alias_key ON kms_alias (account, region, key_id, name);
CREATE TABLE kms_tag (
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	key_id  TEXT NOT NULL,
	name    TEXT NOT NULL,
	value   TEXT NOT NULL,
	PRIMARY KEY (account, region, key_id, name)
);
CREATE TABLE kms_grant (
	account    TEXT   NOT NULL,
	region     TEXT   NOT NULL,
	key_id     TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	name       TEXT   NOT NULL,
	grantee    TEXT   NOT NULL,
	retiring   TEXT   NOT NULL,
	issuer     TEXT   NOT NULL,
	operations TEXT   NOT NULL,
	equals     TEXT   NOT NULL,
	subset     TEXT   NOT NULL,
	created    BIGINT NOT NULL,
	PRIMARY KEY (account, region, key_id, id)
);
CREATE INDEX kms_grant_grantee ON kms_grant (account, region, key_id, grantee);
CREATE INDEX kms_grant_retiring ON kms_grant (account, region, retiring, id);
