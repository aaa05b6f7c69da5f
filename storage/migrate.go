package storage

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
)

// applicationID marks a SQLite file as ours ("Tert").
const applicationID = 0x54657274

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations lead from an empty database to the newest version, one each. What
// was released is never changed.
var migrations = []string{
	mustRead("migrations/0001.sql"),
	mustRead("migrations/0002.sql"),
	mustRead("migrations/0003.sql"),
	mustRead("migrations/0004.sql"),
	mustRead("migrations/0005.sql"),
}

func mustRead(name string) string {
	b, err := migrationFiles.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// migrate brings the database to version len(steps). A step is one transaction.
func migrate(ctx context.Context, conn *sql.Conn, steps []string) error {
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("storage: read version: %w", err)
	}
	for ; version < len(steps); version++ {
		if err := migrateOne(ctx, conn, steps[version], version+1); err != nil {
			return fmt.Errorf("storage: migrate to version %d: %w", version+1, err)
		}
	}
	return nil
}

func migrateOne(ctx context.Context, conn *sql.Conn, step string, version int) error {
	script := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\nCOMMIT;",
		step, applicationID, version)
	if _, err := conn.ExecContext(ctx, script); err != nil {
		_, _ = conn.ExecContext(ctx, "ROLLBACK") // fails where SQLite has done it already
		return err
	}
	return nil
}
