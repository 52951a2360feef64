package ledger

import (
	"context"
	"fmt"
)

// Appender adds rows to a document that only grows, beside those that lookups
// see already. Each Add is durable together with the place that it reached,
// so that a crash loses nothing and repeats nothing. It is used by one
// goroutine.
type Appender struct {
	l       *Ledger
	id, ver int64
	woken   int
}

// AppendDocument goes on with a document whose rows are visible.
func (l *Ledger) AppendDocument(id, ver int64) *Appender {
	return &Appender{l: l, id: id, ver: ver}
}

// Add makes rows visible, notes the place behind them, and wakes the
// recordings of the source that wait for one of their keys. After ErrStale
// the document changed meanwhile and nothing was added.
func (a *Appender) Add(ctx context.Context, rows []IndexRow, place string) error {
	findable := 0
	encoded, err := encodeRows(nil, rows, &findable)
	if err != nil {
		return err
	}
	woken := 0
	err = a.l.w.write(ctx, "append to document", func(t *tx) error {
		woken = 0
		gen, err := t.documentAt(a.id, a.ver)
		if err != nil {
			return err
		}
		var last int64 // of all rows: what is inserted now has greater ids
		if err := t.row("SELECT coalesce(max(id), 0) FROM document_rows", nil, []any{&last}); err != nil {
			return err
		}
		if err := t.insertRows(a.id, gen, encoded); err != nil {
			return err
		}
		err = t.one("UPDATE documents SET rows = rows + ?, place = ?, updated = ? WHERE id = ? AND state = 'settling'", findable, place, t.at, a.id)
		if err != nil {
			return err
		}
		for next := last; next >= 0; {
			var n int64
			if next, n, err = t.wake(a.id, next); err != nil {
				return err
			}
			woken += int(n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.woken += woken
	return nil
}

// Finish ends the settling of the document and returns how many recordings
// were woken.
func (a *Appender) Finish(ctx context.Context) (woken int, err error) {
	err = a.l.w.write(ctx, "finish document", func(t *tx) error {
		t.leadsTo(string(DocumentIndexed))
		return t.one(`UPDATE documents SET state = 'indexed', reason = '', reason_text = '', due_at = NULL, ver = ver + 1, updated = ?
			WHERE id = ? AND ver = ? AND state = 'settling'`, t.at, a.id, a.ver)
	})
	if err != nil {
		return a.woken, fmt.Errorf("document %d: %w", a.id, err)
	}
	return a.woken, nil
}
