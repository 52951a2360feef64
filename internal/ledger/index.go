package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// indexChunk is how many rows one transaction writes, wakes or deletes, so
// that nobody waits long behind a large manifest.
const indexChunk = 1000

// Indexer writes the rows of one document version beside those that lookups
// see; Finish makes them visible at once. It is used by one goroutine.
//
// The first rows are held back: most documents have one, and are then written
// as a whole by Finish, in one transaction.
type Indexer struct {
	l        *Ledger
	id, ver  int64
	gen      int64 // the version it began at: no earlier generation has that number
	findable int
	held     []encodedRow
	begun    bool // rows were written before Finish

	// Place is kept with the document by Finish: where the reading of a list
	// that only grows ended. Its rows then stay visible while more settles.
	Place string
}

// encodedRow is a row as it is stored.
type encodedRow struct {
	IndexRow
	content string
	digest  int64
}

// IndexDocument begins a new version of a document that was read at ver.
// Whether it still is at ver is asked by the first write.
func (l *Ledger) IndexDocument(id, ver int64) *Indexer {
	return &Indexer{l: l, id: id, ver: ver, gen: ver}
}

// sweep deletes the rows of generations that lookups do not see.
func (ix *Indexer) sweep(ctx context.Context, check bool) error {
	for {
		var deleted int64
		err := ix.l.w.write(ctx, "delete old document rows", func(t *tx) (err error) {
			if check {
				if _, err := t.documentAt(ix.id, ix.ver); err != nil {
					return err
				}
			}
			deleted, err = t.change(`DELETE FROM document_rows WHERE id IN (SELECT r.id FROM document_rows AS r, documents AS d
				WHERE d.id = ? AND r.document_id = d.id AND r.gen <> d.gen LIMIT ? + 0)`, ix.id, indexChunk)
			return err
		})
		if err != nil || deleted < indexChunk {
			return err
		}
	}
}

// Add takes rows; lookups do not see them before Finish.
func (ix *Indexer) Add(ctx context.Context, rows []IndexRow) error {
	var err error
	if ix.held, err = encodeRows(ix.held, rows, &ix.findable); err != nil {
		return err
	}
	if len(ix.held) <= indexChunk {
		return nil
	}
	return ix.flush(ctx)
}

// encodeRows appends the rows to those that are held and counts what lookups
// can find.
func encodeRows(held []encodedRow, rows []IndexRow, findable *int) ([]encodedRow, error) {
	for i := range rows {
		content, err := encodeMap(rows[i].Content)
		if err != nil {
			return nil, err
		}
		row := encodedRow{rows[i], content, rowDigest(content, rows[i].Reason)}
		row.Content = nil // content holds it
		held = append(held, row)
		if rows[i].Key != "" && rows[i].Reason == "" {
			*findable++
		}
	}
	return held, nil
}

// flush writes what is held back. Rows that an earlier attempt left behind
// are deleted first.
func (ix *Indexer) flush(ctx context.Context) error {
	if !ix.begun {
		if err := ix.sweep(ctx, true); err != nil {
			return err
		}
		ix.begun = true
	}
	if len(ix.held) == 0 {
		return nil
	}
	err := ix.l.w.write(ctx, "index document", func(t *tx) error { return t.insertRows(ix.id, ix.gen, ix.held) })
	if err == nil {
		ix.held = ix.held[:0]
	}
	return err
}

func (t *tx) insertRows(id, gen int64, rows []encodedRow) error {
	for i := range rows {
		r := &rows[i]
		err := t.exec("INSERT INTO document_rows (document_id, gen, sidecar, key, row, content, reason, reason_text, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			id, gen, r.Sidecar, r.Key, r.Row, r.content, r.Reason, r.ReasonText, r.digest)
		if err != nil {
			return err
		}
	}
	return nil
}

// Finish makes the rows visible in place of the former ones and wakes the
// recordings of the source that wait for one of their keys; it returns how
// many. After ErrStale the document changed meanwhile and nothing is visible.
func (ix *Indexer) Finish(ctx context.Context, sha256 string) (woken int, err error) {
	return ix.finish(ctx, DocumentIndexed, "", "", sha256)
}

func (ix *Indexer) finish(ctx context.Context, state DocumentState, reason, text, sha256 string) (int, error) {
	sum, err := digest(sha256)
	if err != nil {
		return 0, err
	}
	if !ix.begun {
		if done, woken, err := ix.whole(ctx, state, reason, text, sum); done || err != nil {
			return woken, err
		}
	}
	if err := ix.show(ctx, state, reason, text, sha256); err != nil {
		return 0, err
	}
	return ix.l.finishDocument(ctx, ix.id)
}

// whole does all for a document that has no rows yet; else it does nothing.
func (ix *Indexer) whole(ctx context.Context, state DocumentState, reason, text string, sum any) (done bool, woken int, err error) {
	err = ix.l.w.write(ctx, "index document", func(t *tx) error {
		done, woken = false, 0
		var old bool
		err := t.row("SELECT EXISTS (SELECT 1 FROM document_rows WHERE document_id = ?)", []any{ix.id}, []any{&old})
		if err != nil || old {
			return err
		}
		done = true
		if err := t.show(ix, state, reason, text, sum, false); err != nil {
			return err
		}
		if err := t.insertRows(ix.id, ix.gen, ix.held); err != nil {
			return err
		}
		wanted, err := t.wanted(ix.held)
		if err != nil || !wanted {
			return err
		}
		_, n, err := t.wake(ix.id, 0)
		woken = int(n)
		return err
	})
	return done, woken, err
}

// wanted tells whether a recording waits for one of the rows' keys, or was
// paired by it.
func (t *tx) wanted(rows []encodedRow) (wanted bool, err error) {
	for i := 0; i < len(rows) && !wanted && err == nil; i++ {
		err = t.row(`SELECT EXISTS (SELECT 1 FROM recording_keys WHERE sidecar = ?1 AND key = ?2)
			OR EXISTS (SELECT 1 FROM recording_documents WHERE sidecar = ?1 AND key = ?2)`, []any{rows[i].Sidecar, rows[i].Key}, []any{&wanted})
	}
	return wanted, err
}

// show makes the rows visible; what follows from that is still to be done.
func (ix *Indexer) show(ctx context.Context, state DocumentState, reason, text, sha256 string) error {
	sum, err := digest(sha256)
	if err != nil {
		return err
	}
	if err := ix.flush(ctx); err != nil {
		return err
	}
	return ix.l.w.write(ctx, "finish document", func(t *tx) error {
		return t.show(ix, state, reason, text, sum, true)
	})
}

func (t *tx) show(ix *Indexer, state DocumentState, reason, text string, sum any, unfinished bool) error {
	t.leadsTo(string(state))
	return t.one(`UPDATE documents SET state = ?, reason = ?, reason_text = ?, sha256 = ?, rows = ?, gen = ?, unfinished = ?, place = ?,
		due_at = NULL, ver = ver + 1, updated = ? WHERE id = ? AND ver = ? AND state = 'settling'`,
		state, reason, text, sum, ix.findable, ix.gen, unfinished, ix.Place, t.at, ix.id, ix.ver)
}

// Abort deletes the rows written so far.
func (ix *Indexer) Abort(ctx context.Context) error {
	ix.held = nil
	if !ix.begun {
		return nil
	}
	return ix.sweep(ctx, false)
}

// finishDocument wakes the recordings that wait for a visible document and
// sweeps its former rows, a chunk at a time. The document stays marked as
// unfinished until then, so that Recover can go on after a crash.
func (l *Ledger) finishDocument(ctx context.Context, id int64) (woken int, err error) {
	for after := int64(0); after >= 0; {
		var next, n int64
		err := l.w.write(ctx, "wake recordings", func(t *tx) (err error) {
			next, n, err = t.wake(id, after)
			return err
		})
		if err != nil {
			return woken, err
		}
		woken += int(n)
		after = next
	}
	ix := Indexer{l: l, id: id}
	if err := ix.sweep(ctx, false); err != nil {
		return woken, err
	}
	return woken, l.w.write(ctx, "finish document", func(t *tx) error {
		return t.one("UPDATE documents SET unfinished = 0 WHERE id = ?", id)
	})
}

// wake makes recordings due that wait for a key of the document's rows behind
// `after`, and marks those that were paired with other content. It returns where to go on, or -1 at the end.
func (t *tx) wake(id, after int64) (next, woken int64, err error) {
	var last sql.NullInt64
	var rows int64
	err = t.row(`SELECT max(id), count(*) FROM (SELECT r.id FROM documents AS d CROSS JOIN document_rows AS r INDEXED BY document_rows_document
		ON r.document_id = d.id AND r.gen = d.gen WHERE d.id = ? AND r.id > ? ORDER BY r.id LIMIT ? + 0)`,
		[]any{id, after, indexChunk}, []any{&last, &rows})
	if err != nil || rows == 0 {
		return -1, 0, err
	}
	woken, err = t.change(`UPDATE recordings SET due_at = ?1, ver = ver + 1, updated = ?1 WHERE state = 'waiting' AND coalesce(due_at, ?1 + 1) > ?1
		AND source = (SELECT source FROM documents WHERE id = ?2) AND id IN (
			SELECT k.recording_id FROM documents AS d CROSS JOIN document_rows AS r INDEXED BY document_rows_document ON r.document_id = d.id AND r.gen = d.gen
			CROSS JOIN recording_keys AS k ON k.sidecar = r.sidecar AND k.key = r.key WHERE d.id = ?2 AND r.id > ?3 AND r.id <= ?4)`,
		t.at, id, after, last.Int64)
	if err != nil {
		return 0, 0, fmt.Errorf("wake recordings: %w", err)
	}
	if err := t.noteChanges(id, after, last.Int64); err != nil {
		return 0, 0, err
	}
	if rows < indexChunk {
		return -1, woken, nil
	}
	return last.Int64, woken, nil
}
