package state

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// own is the schema of the outbox.
func own() Schema {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is embedded
	}
	return Schema{Name: "state", Migrations: sub}
}

// migrate brings schemas up to date. more are engine-specific options.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, schemas []Schema, more ...goose.ProviderOption) error {
	for _, s := range schemas {
		options := append([]goose.ProviderOption{
			goose.WithTableName("goose_" + s.Name),
			goose.WithDisableGlobalRegistry(true),
		}, more...)
		p, err := goose.NewProvider(dialect, db, s.Migrations, options...)
		if err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
	}
	return nil
}
