package ledger

import (
	"database/sql"
	"strings"
	"testing"
)

// A list of IN in a CHECK or in the WHERE of an index makes SQLite build a
// temporary table for every row that is written.
func TestWritesNeedNoTemporaryTable(t *testing.T) {
	l, _ := openTest(t)
	for _, write := range []string{
		"INSERT INTO recordings (source, path, state, reason) VALUES ('', x'', '', '')",
		"INSERT INTO documents (source, path, state) VALUES ('', x'', '')",
		"INSERT INTO deliveries (source, state, reason) VALUES ('', '', '')",
		"INSERT INTO events (class) VALUES ('')",
		"UPDATE recordings SET state = '', reason = '', due_at = 1 WHERE id = 1",
		"UPDATE documents SET state = '', due_at = 1 WHERE id = 1",
		"UPDATE deliveries SET state = '', reason = '', next_attempt = 1 WHERE id = 1",
	} {
		var n int64
		rows, err := l.reader.db.QueryContext(t.Context(), "EXPLAIN "+write)
		check(t, err)
		check(t, each(rows, func(rows *sql.Rows) error {
			var op string
			var rest [7]any
			err := rows.Scan(&rest[0], &op, &rest[1], &rest[2], &rest[3], &rest[4], &rest[5], &rest[6])
			if op == "OpenEphemeral" {
				n++
			}
			return err
		}))
		if n > 0 {
			t.Errorf("%d temporary tables for %s", n, write)
		}
	}
}

// The list must walk along the recordings' ids: a plan that sorts or scans
// for every page is quadratic over millions of rows.
func TestListPlan(t *testing.T) {
	l, _ := openTest(t)
	from := must[string](t)(l.Reader().listFrom(t.Context(), Filter{}))
	rows, err := l.reader.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN SELECT r.id FROM "+from+" WHERE r.id >= ? AND (r.id > ? OR d.id > ?) ORDER BY r.id, d.id LIMIT ?", 1, 1, 1, 1)
	check(t, err)
	var plan []string
	check(t, each(rows, func(rows *sql.Rows) error {
		var id, parent, unused int
		var detail string
		err := rows.Scan(&id, &parent, &unused, &detail)
		plan = append(plan, detail)
		return err
	}))
	got := strings.Join(plan, "\n")
	if !strings.Contains(got, "SEARCH r USING INTEGER PRIMARY KEY (rowid>?)") || !strings.Contains(got, "SEARCH d USING") || strings.Contains(got, "USE TEMP B-TREE FOR ORDER BY") {
		t.Errorf("plan:\n%s", got)
	}
}
