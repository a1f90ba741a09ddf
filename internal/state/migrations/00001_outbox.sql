-- +goose Up
CREATE TABLE state_outbox (
	id       TEXT   NOT NULL PRIMARY KEY,
	seq      BIGINT NOT NULL,
	due      BIGINT NOT NULL,
	attempts BIGINT NOT NULL,
	event    TEXT   NOT NULL,
	error    TEXT   NOT NULL
);
CREATE INDEX state_outbox_due ON state_outbox (due, seq);
