// Package statetest runs tests on every kind of database: SQLite always, and
// PostgreSQL when SEKISHO_TEST_POSTGRES names one.
package statetest

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/state"
)

// PostgresEnv is the environment variable with the URL of a PostgreSQL
// database to test on.
const PostgresEnv = "SEKISHO_TEST_POSTGRES"

// Each runs test as a subtest on a fresh database of each kind.
func Each(t *testing.T, test func(t *testing.T, db *state.DB), schemas ...state.Schema) {
	t.Helper()
	EachURL(t, func(t *testing.T, url string) { test(t, Open(t, url, schemas...)) })
}

// EachURL runs test as a subtest with the URL of a fresh database of each
// kind, for tests that open it themselves, or several times.
func EachURL(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) {
		url := Postgres(t)
		if url == "" {
			t.Skip(PostgresEnv + " is not set")
		}
		test(t, url)
	})
}

// Open opens a database and closes it when the test ends.
func Open(t testing.TB, url string, schemas ...state.Schema) *state.DB {
	t.Helper()
	db, err := state.Open(context.Background(), url, schemas...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// SQLite returns the path of a database that does not exist yet.
func SQLite(t testing.TB) string { return filepath.Join(t.TempDir(), "sekisho.db") }

// Postgres returns the URL of an empty schema of its own in the test
// database, dropped when the test ends, or "" when there is no test database.
func Postgres(t testing.TB) string {
	t.Helper()
	base := os.Getenv(PostgresEnv)
	if base == "" {
		return ""
	}
	schema := "test_" + aws.RandomText(12, "abcdefghijklmnopqrstuvwxyz")
	run := func(sql string) {
		c, err := pgx.Connect(context.Background(), base)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		if _, err := c.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE SCHEMA " + schema)
	t.Cleanup(func() { run("DROP SCHEMA " + schema + " CASCADE") })
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}
