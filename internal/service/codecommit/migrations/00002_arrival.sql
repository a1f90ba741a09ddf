-- +goose Up
-- Which call brought a commit to a ref, for explanations that begin with the
-- commit.
CREATE TABLE codecommit_arrival (
	repository TEXT   NOT NULL,
	commit_id  TEXT   NOT NULL,
	ref        TEXT   NOT NULL,
	trace      TEXT   NOT NULL,
	created    BIGINT NOT NULL
);
CREATE INDEX codecommit_arrival_commit ON codecommit_arrival (commit_id, created);
CREATE INDEX codecommit_arrival_repository ON codecommit_arrival (repository, created);
