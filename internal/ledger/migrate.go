package ledger

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// schema is a list of migrations and the user_version that the last one sets.
type schema struct {
	files   fs.FS
	version int
}

func programSchema() (schema, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	return schema{files: files, version: 5}, err
}

// migrate brings a ledger to the schema's version. Each migration is one
// transaction that ends with its user_version.
func (s schema) migrate(ctx context.Context, db *sql.DB) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, db, s.files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read user_version: %w", err)
	}
	if version != s.version {
		return fmt.Errorf("migrations ended at version %d, want %d", version, s.version)
	}
	return nil
}

// upgrade migrates an older ledger after a backup beside it.
func (s schema) upgrade(ctx context.Context, db *sql.DB, path string, from int, now time.Time) error {
	if from == s.version {
		return nil
	}
	target := fmt.Sprintf("%s.v%d-%s.backup", path, from, now.UTC().Format("20060102T150405.000Z"))
	if err := Backup(ctx, path, target); err != nil {
		return fmt.Errorf("back up before migrating: %w", err)
	}
	return s.migrate(ctx, db)
}
