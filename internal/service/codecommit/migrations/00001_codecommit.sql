-- +goose Up
CREATE TABLE codecommit_repository (
	id             TEXT   NOT NULL PRIMARY KEY,
	account        TEXT   NOT NULL,
	region         TEXT   NOT NULL,
	name           TEXT   NOT NULL,
	description    TEXT   NOT NULL,
	default_branch TEXT   NOT NULL, -- empty while there is no branch
	created        BIGINT NOT NULL,
	modified       BIGINT NOT NULL
);
CREATE UNIQUE INDEX codecommit_repository_name ON codecommit_repository (account, name, region);
CREATE INDEX codecommit_repository_modified ON codecommit_repository (account, region, modified, name);

CREATE TABLE codecommit_tag (
	repository TEXT NOT NULL,
	key        TEXT NOT NULL,
	value      TEXT NOT NULL,
	PRIMARY KEY (repository, key)
);

-- The refs as they have been recorded and told to the world. The repository on
-- disk may be ahead of them for a moment; codecommit_push says where to look.
CREATE TABLE codecommit_ref (
	repository TEXT NOT NULL,
	name       TEXT NOT NULL, -- refs/heads/main
	target     TEXT NOT NULL,
	PRIMARY KEY (repository, name)
);

-- What git has been asked to change and what has not been recorded yet: it is
-- written before git is asked, and outlives a crash between the two.
CREATE TABLE codecommit_push (
	id         TEXT   NOT NULL PRIMARY KEY,
	repository TEXT   NOT NULL,
	trace      TEXT   NOT NULL,
	caller     TEXT   NOT NULL,
	created    BIGINT NOT NULL
);
CREATE INDEX codecommit_push_repository ON codecommit_push (repository);
CREATE TABLE codecommit_push_ref (
	push       TEXT NOT NULL,
	repository TEXT NOT NULL,
	ref        TEXT NOT NULL,
	old        TEXT NOT NULL,
	new        TEXT NOT NULL,
	PRIMARY KEY (push, ref)
);
CREATE INDEX codecommit_push_ref_ref ON codecommit_push_ref (repository, ref);

CREATE TABLE codecommit_archive (
	id               TEXT   NOT NULL PRIMARY KEY,
	repository       TEXT   NOT NULL,
	commit_id        TEXT   NOT NULL,
	bucket           TEXT   NOT NULL,
	key              TEXT   NOT NULL,
	kms_key          TEXT   NOT NULL,
	acl              TEXT   NOT NULL,
	session          TEXT   NOT NULL, -- in whose name it is uploaded
	status           TEXT   NOT NULL,
	error_code       TEXT   NOT NULL,
	error_message    TEXT   NOT NULL,
	error_status     BIGINT NOT NULL,
	error_request_id TEXT   NOT NULL,
	version_id       TEXT   NOT NULL,
	etag             TEXT   NOT NULL,
	updated          BIGINT NOT NULL
);
CREATE INDEX codecommit_archive_repository ON codecommit_archive (repository, updated);
