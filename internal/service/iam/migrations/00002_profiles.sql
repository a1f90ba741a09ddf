-- +goose Up
CREATE TABLE iam_profile (
	account TEXT   NOT NULL,
	folded  TEXT   NOT NULL, -- the name in lower case
	name    TEXT   NOT NULL,
	path    TEXT   NOT NULL,
	id      TEXT   NOT NULL UNIQUE,
	created BIGINT NOT NULL,
	role_id TEXT   NOT NULL, -- '' while there is none
	PRIMARY KEY (account, folded)
);
CREATE INDEX iam_profile_role ON iam_profile (role_id) WHERE role_id <> '';
