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
func own() Schema { return Schema{Name: "state", Migrations: migrations} }

// migrate brings schemas up to date. more are engine-specific options.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, schemas []Schema, more ...goose.ProviderOption) error {
	for _, s := range schemas {
		options := append([]goose.ProviderOption{
			goose.WithTableName("goose_" + s.Name),
			goose.WithDisableGlobalRegistry(true),
		}, more...)
		files, err := fs.Sub(s.Migrations, "migrations")
		if err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
		p, err := goose.NewProvider(dialect, db, files, options...)
		if err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("schema %s: %w", s.Name, err)
		}
	}
	return nil
}
