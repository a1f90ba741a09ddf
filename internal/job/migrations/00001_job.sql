-- +goose Up
CREATE TABLE job_job (
	id           TEXT   NOT NULL PRIMARY KEY,
	kind         TEXT   NOT NULL,
	key          TEXT   NOT NULL, -- '' means none
	payload      TEXT   NOT NULL,
	state        TEXT   NOT NULL, -- waiting, running, dead
	run_at       BIGINT NOT NULL,
	seq          BIGINT NOT NULL, -- order of enqueueing
	attempt      BIGINT NOT NULL, -- that counts, from 1 while the first runs
	max_attempts BIGINT NOT NULL,
	claims       BIGINT NOT NULL, -- every start, also after a lost process: with owner, the fence
	lost         BIGINT NOT NULL, -- starts whose process was lost
	owner        TEXT   NOT NULL,
	lease        BIGINT NOT NULL, -- until when the owner may be believed to live
	created      BIGINT NOT NULL,
	error        TEXT   NOT NULL
);
CREATE INDEX job_due ON job_job (run_at, seq) WHERE state = 'waiting';
CREATE INDEX job_leased ON job_job (lease) WHERE state = 'running';
CREATE UNIQUE INDEX job_waits ON job_job (kind, key) WHERE state = 'waiting' AND key <> '';
CREATE UNIQUE INDEX job_runs ON job_job (kind, key) WHERE state = 'running' AND key <> '';
