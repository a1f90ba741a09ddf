-- +goose Up
CREATE TABLE events_bus (
	account     TEXT   NOT NULL,
	region      TEXT   NOT NULL,
	name        TEXT   NOT NULL, -- 'default' has a row only once something was set
	description TEXT   NOT NULL,
	policy      TEXT   NOT NULL, -- '' means none
	created     BIGINT NOT NULL,
	modified    BIGINT NOT NULL,
	PRIMARY KEY (account, region, name)
);

CREATE TABLE events_rule (
	account     TEXT   NOT NULL,
	region      TEXT   NOT NULL,
	bus         TEXT   NOT NULL,
	name        TEXT   NOT NULL,
	pattern     TEXT   NOT NULL,
	state       TEXT   NOT NULL,
	description TEXT   NOT NULL,
	role        TEXT   NOT NULL,
	created_by  TEXT   NOT NULL,
	PRIMARY KEY (account, region, bus, name)
);

CREATE TABLE events_target (
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	bus     TEXT NOT NULL,
	rule    TEXT NOT NULL,
	id      TEXT NOT NULL,
	arn     TEXT NOT NULL,
	target  TEXT NOT NULL, -- JSON
	PRIMARY KEY (account, region, bus, rule, id)
);
CREATE INDEX events_target_arn ON events_target (account, region, bus, arn);

CREATE TABLE events_tag (
	arn   TEXT NOT NULL,
	key   TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (arn, key)
);

-- What became of each event for each target of a rule that it matched.
CREATE TABLE events_delivery (
	id            TEXT   NOT NULL PRIMARY KEY,
	trace         TEXT   NOT NULL,
	event_id      TEXT   NOT NULL,
	source        TEXT   NOT NULL,
	detail_type   TEXT   NOT NULL,
	bus_arn       TEXT   NOT NULL,
	rule_arn      TEXT   NOT NULL,
	target_id     TEXT   NOT NULL, -- '' where the rule has no target
	target_arn    TEXT   NOT NULL,
	role_arn      TEXT   NOT NULL,
	state         TEXT   NOT NULL, -- PENDING, DELIVERED, FAILED, SKIPPED
	attempts      BIGINT NOT NULL, -- that failed
	error_code    TEXT   NOT NULL,
	error_message TEXT   NOT NULL,
	created       BIGINT NOT NULL,
	updated       BIGINT NOT NULL
);
CREATE INDEX events_delivery_trace ON events_delivery (trace, created);
CREATE INDEX events_delivery_age ON events_delivery (created);

CREATE TABLE events_dead_letter (
	id             TEXT   NOT NULL PRIMARY KEY, -- the delivery's
	trace          TEXT   NOT NULL,
	account        TEXT   NOT NULL,
	region         TEXT   NOT NULL,
	rule_arn       TEXT   NOT NULL,
	target_id      TEXT   NOT NULL,
	target_arn     TEXT   NOT NULL,
	error_code     TEXT   NOT NULL,
	error_message  TEXT   NOT NULL,
	exhausted      TEXT   NOT NULL,
	retry_attempts BIGINT NOT NULL,
	body           TEXT   NOT NULL, -- as the target would have received it
	created        BIGINT NOT NULL
);
CREATE INDEX events_dead_letter_trace ON events_dead_letter (trace, created);
CREATE INDEX events_dead_letter_rule ON events_dead_letter (account, rule_arn, created);
CREATE INDEX events_dead_letter_age ON events_dead_letter (created);

-- Deliveries from other buses that were accepted: each counts once.
CREATE TABLE events_accepted (
	delivery TEXT   NOT NULL PRIMARY KEY,
	created  BIGINT NOT NULL
);
CREATE INDEX events_accepted_age ON events_accepted (created);
