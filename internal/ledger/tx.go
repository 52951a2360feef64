package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"
)

// tx is the transaction that a write runs in. It is valid only inside the
// write, and fn may run again after a rollback: it must set its results anew.
type tx struct {
	w    *writer
	at   int64 // the transaction's one time
	last int64 // id of the last event written in it; 0: none

	states []string // what it leads to; empty without failpoints
}

// statement is what the driver's statements can do. The writer calls them
// without database/sql: that costs as much as a small statement itself, and
// all it gives (pooling, cancelling, retrying) the writer must not have.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// stmt prepares a query once. Only constant texts may be passed.
//
// A bare `LIMIT ?` must not stand in a query that runs often: SQLite's planner
// looks at the value, and prepares the statement anew at every execution.
// `LIMIT ? + 0` hides it.
func (w *writer) stmt(query string) (statement, error) {
	if s, ok := w.stmts[query]; ok {
		return s, nil
	}
	prepared, err := w.raw.Prepare(query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	s := prepared.(statement)
	w.stmts[query] = s
	return s, nil
}

// bind turns arguments into the driver's; it reuses one buffer, because the
// driver copies what it binds.
func (w *writer) bind(args []any) ([]driver.NamedValue, error) {
	w.args = w.args[:0]
	for i, a := range args {
		switch v := a.(type) {
		case nil, int64, string, []byte, bool:
		case int:
			a = int64(v)
		default:
			var err error
			if a, err = driver.DefaultParameterConverter.ConvertValue(v); err != nil {
				return nil, err
			}
		}
		w.args = append(w.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return w.args, nil
}

// do executes a statement on the writing connection. The context never ends:
// cancelling would interrupt the whole connection.
func (w *writer) do(query string, args []any) (driver.Result, error) {
	s, err := w.stmt(query)
	if err != nil {
		return nil, err
	}
	values, err := w.bind(args)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.Background(), values)
}

func (w *writer) exec(query string, args ...any) error {
	_, err := w.do(query, args)
	return err
}

func (t *tx) exec(query string, args ...any) error { return t.w.exec(query, args...) }

// change runs an UPDATE or DELETE and returns the number of rows it met.
func (t *tx) change(query string, args ...any) (int64, error) {
	r, err := t.w.do(query, args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// one is change for exactly one row; none means that a compare-and-set lost.
func (t *tx) one(query string, args ...any) error {
	n, err := t.change(query, args...)
	if err == nil && n != 1 {
		return ErrStale
	}
	return err
}

// insert returns the id of the new row.
func (t *tx) insert(query string, args ...any) (int64, error) {
	r, err := t.w.do(query, args)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// row reads one row into dest; none is sql.ErrNoRows.
func (t *tx) row(query string, args, dest []any) error {
	found := false
	err := t.query(query, args, func(r scanner) (more bool, err error) {
		found = true
		return false, r.Scan(dest...)
	})
	if err == nil && !found {
		return sql.ErrNoRows
	}
	return err
}

// rows calls fn for every row. fn must not use the transaction: it has one
// connection.
func (t *tx) rows(query string, args []any, fn func(scanner) error) error {
	return t.query(query, args, func(r scanner) (bool, error) { return true, fn(r) })
}

func (t *tx) query(query string, args []any, fn func(scanner) (more bool, err error)) (err error) {
	s, err := t.w.stmt(query)
	if err != nil {
		return err
	}
	values, err := t.w.bind(args)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(context.Background(), values)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	line := make(rawRow, len(rows.Columns()))
	for {
		if err := rows.Next(line); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if more, err := fn(line); err != nil || !more {
			return err
		}
	}
}

// each calls fn for every row and closes them.
func each(rows *sql.Rows, fn func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// drop deletes rows if there are any. To look first is cheaper: for a DELETE
// SQLite may build a temporary table before it finds that there are none.
func (t *tx) drop(which string, id int64) error {
	var some bool
	if err := t.row("SELECT EXISTS (SELECT 1 FROM "+which+")", []any{id}, []any{&some}); err != nil || !some {
		return err
	}
	return t.exec("DELETE FROM "+which, id)
}

// ms is a time as the ledger stores it; the zero time is NULL.
func ms(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// dueMS is ms for times at which something may happen: rounded up, so that it
// never happens early.
func dueMS(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

// instant is a stored time; NULL is the zero time.
func instant(v sql.NullInt64) time.Time {
	if !v.Valid {
		return time.Time{}
	}
	return time.UnixMilli(v.Int64).UTC()
}

// text is a string as a nullable column stores it.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}
