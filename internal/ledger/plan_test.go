package ledger

import (
	"database/sql"
	"strings"
	"testing"
)

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
