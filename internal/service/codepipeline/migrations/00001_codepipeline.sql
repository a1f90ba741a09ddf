-- +goose Up
CREATE TABLE codepipeline_pipeline (
	account TEXT   NOT NULL,
	region  TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	version BIGINT NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	PRIMARY KEY (account, region, name)
);

-- Every definition a pipeline ever had: executions go on under the one they
-- started with.
CREATE TABLE codepipeline_definition (
	account     TEXT   NOT NULL,
	region      TEXT   NOT NULL,
	pipeline    TEXT   NOT NULL,
	version     BIGINT NOT NULL,
	declaration TEXT   NOT NULL,
	PRIMARY KEY (account, region, pipeline, version)
);

CREATE TABLE codepipeline_tag (
	account  TEXT NOT NULL,
	region   TEXT NOT NULL,
	pipeline TEXT NOT NULL,
	key      TEXT NOT NULL,
	value    TEXT NOT NULL,
	PRIMARY KEY (account, region, pipeline, key)
);

-- Transitions that somebody touched; the others are open.
CREATE TABLE codepipeline_transition (
	account    TEXT   NOT NULL,
	region     TEXT   NOT NULL,
	pipeline   TEXT   NOT NULL,
	stage      TEXT   NOT NULL,
	type       TEXT   NOT NULL, -- Inbound, Outbound
	enabled    BIGINT NOT NULL,
	reason     TEXT   NOT NULL,
	changed_by TEXT   NOT NULL,
	changed    BIGINT NOT NULL,
	PRIMARY KEY (account, region, pipeline, stage, type)
);

CREATE TABLE codepipeline_execution (
	account        TEXT   NOT NULL,
	region         TEXT   NOT NULL,
	pipeline       TEXT   NOT NULL,
	id             TEXT   NOT NULL,
	seq            BIGINT NOT NULL, -- order of starting within the pipeline
	version        BIGINT NOT NULL,
	mode           TEXT   NOT NULL,
	status         TEXT   NOT NULL,
	summary        TEXT   NOT NULL,
	attempt        BIGINT NOT NULL,
	stage          BIGINT NOT NULL, -- index of the stage it is in, or waits for
	inside         BIGINT NOT NULL, -- 1 in the stage, 0 in front of it
	arrived        BIGINT NOT NULL, -- order of arriving in front of the stage
	stop           TEXT   NOT NULL, -- '', wait, abandon, cancel
	stop_reason    TEXT   NOT NULL,
	trigger_type   TEXT   NOT NULL,
	trigger_detail TEXT   NOT NULL,
	token          TEXT   NOT NULL,
	variables      TEXT   NOT NULL,
	overrides      TEXT   NOT NULL,
	trace          TEXT   NOT NULL,
	base_url       TEXT   NOT NULL,
	started        BIGINT NOT NULL,
	updated        BIGINT NOT NULL,
	PRIMARY KEY (account, region, pipeline, id)
);
CREATE UNIQUE INDEX codepipeline_execution_seq ON codepipeline_execution (account, region, pipeline, seq);
CREATE UNIQUE INDEX codepipeline_execution_token ON codepipeline_execution (account, region, pipeline, token) WHERE token <> '';
CREATE INDEX codepipeline_execution_live ON codepipeline_execution (account, region, pipeline) WHERE status IN ('InProgress', 'Stopping');

CREATE TABLE codepipeline_stage (
	account   TEXT   NOT NULL,
	region    TEXT   NOT NULL,
	pipeline  TEXT   NOT NULL,
	execution TEXT   NOT NULL,
	stage     TEXT   NOT NULL,
	seq       BIGINT NOT NULL, -- of the execution
	status    TEXT   NOT NULL,
	attempt   BIGINT NOT NULL,
	started   BIGINT NOT NULL,
	updated   BIGINT NOT NULL,
	PRIMARY KEY (account, region, pipeline, execution, stage)
);
CREATE INDEX codepipeline_stage_latest ON codepipeline_stage (account, region, pipeline, stage, seq);

CREATE TABLE codepipeline_action (
	account    TEXT   NOT NULL,
	region     TEXT   NOT NULL,
	pipeline   TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	seq        BIGINT NOT NULL, -- order of starting within the pipeline
	execution  TEXT   NOT NULL,
	stage      TEXT   NOT NULL,
	action     TEXT   NOT NULL,
	version    BIGINT NOT NULL,
	retried    BIGINT NOT NULL, -- 1: a retry took this one's place
	status     TEXT   NOT NULL,
	updated_by TEXT   NOT NULL,
	input      TEXT   NOT NULL,
	output     TEXT   NOT NULL,
	token      TEXT   NOT NULL, -- of an approval that waits
	started    BIGINT NOT NULL,
	updated    BIGINT NOT NULL,
	PRIMARY KEY (account, region, pipeline, id)
);
CREATE UNIQUE INDEX codepipeline_action_seq ON codepipeline_action (account, region, pipeline, seq);
CREATE INDEX codepipeline_action_execution ON codepipeline_action (account, region, pipeline, execution, seq);
CREATE INDEX codepipeline_action_latest ON codepipeline_action (account, region, pipeline, stage, action, seq);

-- The newest revision that a source action took.
CREATE TABLE codepipeline_revision (
	account  TEXT   NOT NULL,
	region   TEXT   NOT NULL,
	pipeline TEXT   NOT NULL,
	action   TEXT   NOT NULL,
	source   TEXT   NOT NULL, -- what it is a revision of: repository and branch, bucket and key
	revision TEXT   NOT NULL,
	taken    BIGINT NOT NULL,
	PRIMARY KEY (account, region, pipeline, action)
);
