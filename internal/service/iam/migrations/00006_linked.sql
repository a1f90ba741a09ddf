-- +goose Up
-- Deletions of service-linked roles, for those who ask how they went.
CREATE TABLE iam_deletion (
	id      TEXT   NOT NULL PRIMARY KEY, -- task/aws-service-role/SERVICE/ROLE/UUID
	account TEXT   NOT NULL,
	ended   BIGINT NOT NULL
);
