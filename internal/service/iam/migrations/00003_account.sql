-- +goose Up
CREATE TABLE iam_alias (
	account TEXT NOT NULL PRIMARY KEY,
	alias   TEXT NOT NULL UNIQUE -- across all accounts
);

CREATE TABLE iam_password_policy (
	account      TEXT   NOT NULL PRIMARY KEY,
	min_length   BIGINT NOT NULL,
	symbols      BIGINT NOT NULL,
	numbers      BIGINT NOT NULL,
	uppercase    BIGINT NOT NULL,
	lowercase    BIGINT NOT NULL,
	allow_change BIGINT NOT NULL,
	max_age      BIGINT NOT NULL, -- days; 0: passwords do not expire
	reuse        BIGINT NOT NULL, -- how many old passwords are barred; 0: none
	hard_expiry  BIGINT NOT NULL
);

-- The password of a user.
CREATE TABLE iam_login (
	user_id TEXT   NOT NULL PRIMARY KEY,
	account TEXT   NOT NULL,
	salt    BYTEA  NOT NULL,
	hash    BYTEA  NOT NULL, -- PBKDF2
	reset   BIGINT NOT NULL, -- has to be changed at the next sign-in
	created BIGINT NOT NULL,
	changed BIGINT NOT NULL
);
CREATE INDEX iam_login_account ON iam_login (account);

-- Passwords that a user had before, hashed with the salt of the current one.
CREATE TABLE iam_old_password (
	user_id TEXT   NOT NULL,
	number  BIGINT NOT NULL, -- counts up
	hash    BYTEA  NOT NULL,
	PRIMARY KEY (user_id, number)
);

CREATE TABLE iam_credential_report (
	account   TEXT   NOT NULL PRIMARY KEY,
	content   TEXT   NOT NULL, -- CSV
	generated BIGINT NOT NULL
);
