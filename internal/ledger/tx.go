package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// tx is the transaction that a write runs in. It is valid only inside the
// write, and fn may run again after a rollback: it must set its results anew.
type tx struct {
	w  *writer
	at int64 // the transaction's one time
}

// stmt prepares a query once. Only constant texts may be passed.
func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if s, ok := w.stmts[query]; ok {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	w.stmts[query] = s
	return s, nil
}

// exec runs a statement on the writing connection. The context never ends:
// cancelling would interrupt the whole connection.
func (w *writer) exec(query string, args ...any) error {
	s, err := w.stmt(query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background(), args...)
	return err
}

func (t *tx) exec(query string, args ...any) error { return t.w.exec(query, args...) }

// change runs an UPDATE or DELETE and returns the number of rows it met.
func (t *tx) change(query string, args ...any) (int64, error) {
	s, err := t.w.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(context.Background(), args...)
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
	s, err := t.w.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// row reads one row into dest; none is sql.ErrNoRows.
func (t *tx) row(query string, args, dest []any) error {
	s, err := t.w.stmt(query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(context.Background(), args...).Scan(dest...)
}

// rows calls fn for every row. fn must not use the transaction: it has one
// connection.
func (t *tx) rows(query string, args []any, fn func(*sql.Rows) error) error {
	s, err := t.w.stmt(query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	return each(rows, fn)
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
