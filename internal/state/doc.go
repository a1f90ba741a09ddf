// Package state is sekisho's database: one SQL text on two engines, SQLite in
// a file and PostgreSQL, behind transactions that are serializable and, once
// acknowledged, on disk.
//
// # Writing SQL that means the same on both
//
//   - Parameters are $1, $2, …; bool arguments and fields are BIGINT 0 and 1,
//     time.Time ones BIGINT milliseconds.
//   - Text compares and sorts by its bytes on both engines: Open gives every
//     text column of a PostgreSQL database the collation "C". No query and no
//     migration names a collation.
//   - ON CONFLICT … DO UPDATE or DO NOTHING … RETURNING, row values, partial
//     and expression indexes, and ->> work on both. ANY($1), SERIAL, JSONB and
//     DML inside WITH do not.
//   - A statement that fails ends its transaction: what is left of it is
//     refused, and Update returns an error, also when fn swallowed it. Use ON
//     CONFLICT where a duplicate is an answer, or ask IsUnique about the error
//     of Update.
//
// # Rules for callers
//
// Update may run its function more than once; the function changes nothing
// outside the transaction but variables it sets anew. Neither Update nor View
// is a place for anything slow, or for another call to Update or View: on
// SQLite one writer serves everybody.
package state
