package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// indexChunk is how many rows one transaction wakes or deletes, so that
// nobody waits long behind a large manifest.
const indexChunk = 1000

// Indexer writes the rows of one document version beside those that lookups
// see; Finish makes them visible at once. It is used by one goroutine.
type Indexer struct {
	l        *Ledger
	id, ver  int64
	gen      int64 // the version it began at: no earlier generation has that number
	findable int
}

// IndexDocument begins a new version of a document. Rows that an earlier
// attempt left behind are deleted first.
func (l *Ledger) IndexDocument(ctx context.Context, id, ver int64) (*Indexer, error) {
	ix := &Indexer{l: l, id: id, ver: ver, gen: ver}
	return ix, ix.sweep(ctx, true)
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
				WHERE d.id = ? AND r.document_id = d.id AND r.gen <> d.gen LIMIT ?)`, ix.id, indexChunk)
			return err
		})
		if err != nil || deleted < indexChunk {
			return err
		}
	}
}

// Add writes rows; lookups do not see them before Finish.
func (ix *Indexer) Add(ctx context.Context, rows []IndexRow) error {
	if len(rows) == 0 {
		return nil
	}
	contents := make([]string, len(rows))
	findable := 0
	for i := range rows {
		var err error
		if contents[i], err = encodeMap(rows[i].Content); err != nil {
			return err
		}
		if rows[i].Key != "" && rows[i].Reason == "" {
			findable++
		}
	}
	err := ix.l.w.write(ctx, "index document", func(t *tx) error {
		for i := range rows {
			r := &rows[i]
			err := t.exec("INSERT INTO document_rows (document_id, gen, sidecar, key, row, content, reason, reason_text) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
				ix.id, ix.gen, r.Sidecar, r.Key, r.Row, contents[i], r.Reason, r.ReasonText)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		ix.findable += findable
	}
	return err
}

// Finish makes the rows visible in place of the former ones and wakes the
// recordings of the source that wait for one of their keys; it returns how
// many. After ErrStale the document changed meanwhile and nothing is visible.
func (ix *Indexer) Finish(ctx context.Context, sha256 string) (woken int, err error) {
	return ix.finish(ctx, DocumentIndexed, "", "", sha256)
}

func (ix *Indexer) finish(ctx context.Context, state DocumentState, reason, text, sha256 string) (int, error) {
	if err := ix.show(ctx, state, reason, text, sha256); err != nil {
		return 0, err
	}
	return ix.l.finishDocument(ctx, ix.id)
}

// show makes the rows visible; what follows from that is still to be done.
func (ix *Indexer) show(ctx context.Context, state DocumentState, reason, text, sha256 string) error {
	sum, err := digest(sha256)
	if err != nil {
		return err
	}
	return ix.l.w.write(ctx, "finish document", func(t *tx) error {
		return t.one(`UPDATE documents SET state = ?, reason = ?, reason_text = ?, sha256 = ?, rows = ?, gen = ?, unfinished = 1,
			due_at = NULL, ver = ver + 1, updated = ? WHERE id = ? AND ver = ? AND state = 'settling'`,
			state, reason, text, sum, ix.findable, ix.gen, t.at, ix.id, ix.ver)
	})
}

// Abort deletes the rows written so far.
func (ix *Indexer) Abort(ctx context.Context) error { return ix.sweep(ctx, false) }

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
// `after`. It returns where to go on, or -1 at the end.
func (t *tx) wake(id, after int64) (next, woken int64, err error) {
	var last sql.NullInt64
	var rows int64
	err = t.row(`SELECT max(id), count(*) FROM (SELECT r.id FROM documents AS d CROSS JOIN document_rows AS r INDEXED BY document_rows_document
		ON r.document_id = d.id AND r.gen = d.gen WHERE d.id = ? AND r.id > ? ORDER BY r.id LIMIT ?)`,
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
	if rows < indexChunk {
		return -1, woken, nil
	}
	return last.Int64, woken, nil
}
