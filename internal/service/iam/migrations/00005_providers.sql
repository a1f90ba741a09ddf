-- +goose Up
CREATE TABLE iam_saml_provider (
	arn             TEXT   NOT NULL PRIMARY KEY,
	account         TEXT   NOT NULL,
	id              TEXT   NOT NULL UNIQUE, -- tags hang on it
	metadata        TEXT   NOT NULL,
	created         BIGINT NOT NULL,
	valid_until     BIGINT NOT NULL,
	encryption_mode TEXT   NOT NULL -- Required, Allowed or ''
);
CREATE INDEX iam_saml_provider_account ON iam_saml_provider (account, arn);

-- Keys with which encrypted assertions are read.
CREATE TABLE iam_saml_key (
	id       TEXT   NOT NULL PRIMARY KEY,
	provider TEXT   NOT NULL, -- its id
	secret   BYTEA  NOT NULL, -- sealed
	added    BIGINT NOT NULL
);
CREATE INDEX iam_saml_key_provider ON iam_saml_key (provider, added);

CREATE TABLE iam_oidc_provider (
	arn         TEXT   NOT NULL PRIMARY KEY,
	account     TEXT   NOT NULL,
	id          TEXT   NOT NULL UNIQUE, -- tags hang on it
	url         TEXT   NOT NULL, -- without https://
	clients     TEXT   NOT NULL, -- JSON array
	thumbprints TEXT   NOT NULL, -- JSON array
	created     BIGINT NOT NULL
);
CREATE INDEX iam_oidc_provider_account ON iam_oidc_provider (account, arn);

CREATE TABLE iam_server_certificate (
	account  TEXT   NOT NULL,
	folded   TEXT   NOT NULL, -- the name in lower case
	name     TEXT   NOT NULL,
	path     TEXT   NOT NULL,
	id       TEXT   NOT NULL UNIQUE,
	body     TEXT   NOT NULL,
	chain    TEXT   NOT NULL,
	secret   BYTEA  NOT NULL, -- the private key, sealed
	uploaded BIGINT NOT NULL,
	expires  BIGINT NOT NULL,
	PRIMARY KEY (account, folded)
);

CREATE TABLE iam_signing_certificate (
	id       TEXT   NOT NULL PRIMARY KEY,
	account  TEXT   NOT NULL,
	user_id  TEXT   NOT NULL, -- the account's id for root
	body     TEXT   NOT NULL,
	print    TEXT   NOT NULL, -- SHA-256 of the certificate
	status   TEXT   NOT NULL,
	uploaded BIGINT NOT NULL,
	UNIQUE (account, print)
);
CREATE INDEX iam_signing_certificate_user ON iam_signing_certificate (user_id);

CREATE TABLE iam_ssh_key (
	id       TEXT   NOT NULL PRIMARY KEY,
	account  TEXT   NOT NULL,
	user_id  TEXT   NOT NULL,
	body     TEXT   NOT NULL, -- as it was uploaded
	print    TEXT   NOT NULL, -- MD5, as ssh-keygen shows it
	status   TEXT   NOT NULL,
	uploaded BIGINT NOT NULL,
	UNIQUE (user_id, print)
);
