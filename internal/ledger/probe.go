package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// probed is what a read-only look at a ledger found.
type probed struct {
	uid       string
	version   int
	boot      string // of the last opening for writing; "": there was none
	clean     bool   // it was closed in order
	lastEvent int64
}

// probe looks at a ledger without changing it: is it ours, of a version that
// this program knows, and healthy?
func probe(ctx context.Context, path string, newest int) (probed, error) {
	return probeAs(ctx, path, dsnRead, newest, false)
}

// probeAs is probe through a connection of the given kind. Without full it
// checks fully only what was not closed in order.
func probeAs(ctx context.Context, path, params string, newest int, full bool) (p probed, err error) {
	db := connect(path, params, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if p, err = identify(ctx, db, path, newest); err != nil {
		return p, err
	}
	problems, err := integrity(ctx, db, full || !p.clean)
	if err != nil {
		return p, unusable(path, "cannot be checked", err)
	}
	if len(problems) > 0 {
		return p, unusable(path, "is damaged: "+problems[0], nil)
	}
	return p, nil
}

func unusable(path, text string, err error) error {
	return &OpenError{Text: path + " " + text, Hint: "the file is left as it is; restore a backup, or name another path in [ledger]", Err: err}
}

// identify reads what a file says it is: is it a ledger of ours, of a version
// that this program knows?
func identify(ctx context.Context, db *sql.DB, path string, newest int) (p probed, err error) {
	var app int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return p, unusable(path, "cannot be read as a ledger", err)
	}
	if app != applicationID {
		return p, unusable(path, "is not a ledger of ingestd", nil)
	}
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&p.version); err != nil {
		return p, unusable(path, "cannot be read", err)
	}
	if p.version > newest {
		return p, &OpenError{
			Text: fmt.Sprintf("%s was written by a newer ingestd (ledger version %d, this program knows %d)", path, p.version, newest),
			Hint: "run the newer program, or restore a backup of the older version",
		}
	}
	err = db.QueryRowContext(ctx, "SELECT uid, boot, clean, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) FROM meta").
		Scan(&p.uid, &p.boot, &p.clean, &p.lastEvent)
	if err != nil {
		return p, unusable(path, "cannot be read", err)
	}
	return p, nil
}

// integrity runs SQLite's own checks; the full ones find more and take longer.
func integrity(ctx context.Context, db querier, full bool) ([]string, error) {
	checks := []string{"PRAGMA quick_check(20)"}
	if full {
		checks = []string{"PRAGMA integrity_check(20)", `SELECT 'a row of ' || "table" || ' refers to a missing row of ' || parent FROM pragma_foreign_key_check LIMIT 20`}
	}
	var problems []string
	for _, check := range checks {
		rows, err := db.QueryContext(ctx, check)
		if err != nil {
			return nil, err
		}
		err = each(rows, func(rows *sql.Rows) error {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			if text != "ok" {
				problems = append(problems, text)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return problems, nil
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}
