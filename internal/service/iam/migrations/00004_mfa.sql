-- +goose Up
CREATE TABLE iam_mfa (
	serial    TEXT   NOT NULL PRIMARY KEY, -- the ARN
	account   TEXT   NOT NULL,
	id        TEXT   NOT NULL UNIQUE, -- tags hang on it
	seed      BYTEA  NOT NULL, -- sealed
	created   BIGINT NOT NULL,
	user_id   TEXT   NOT NULL, -- '' while nobody has it
	enabled   BIGINT NOT NULL,
	skew      BIGINT NOT NULL, -- how many steps its clock is ahead of ours
	last_step BIGINT NOT NULL  -- the newest code that was taken: no older one will be
);
CREATE INDEX iam_mfa_account ON iam_mfa (account, serial);
CREATE INDEX iam_mfa_user ON iam_mfa (user_id) WHERE user_id <> '';
