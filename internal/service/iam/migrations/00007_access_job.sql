-- +goose Up
-- Reports of what an entity or the users of a policy last accessed.
CREATE TABLE iam_access_job (
	id          TEXT   NOT NULL PRIMARY KEY,
	account     TEXT   NOT NULL,
	granularity TEXT   NOT NULL, -- SERVICE_LEVEL or ACTION_LEVEL
	created     BIGINT NOT NULL,
	entities    TEXT   NOT NULL, -- JSON
	uses        TEXT   NOT NULL  -- JSON
);
CREATE INDEX iam_access_job_created ON iam_access_job (created);
