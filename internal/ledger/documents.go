package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

const documentColumns = "id, ver, source, path, state, reason, reason_text, " + lookColumns + ", rows, sha256, place, first_seen, updated"

func scanDocument(rows *sql.Rows) (Document, error) {
	var (
		d                  Document
		look               scannedLook
		path, sum          []byte
		firstSeen, updated sql.NullInt64
	)
	dest := append([]any{&d.ID, &d.Ver, &d.Source, &path, &d.State, &d.Reason, &d.ReasonText}, look.dest()...)
	if err := rows.Scan(append(dest, &d.Rows, &sum, &d.Place, &firstSeen, &updated)...); err != nil {
		return d, err
	}
	d.Path, d.SHA256 = string(path), hex.EncodeToString(sum)
	d.Look, d.DueAt = look.value(), instant(look.due)
	d.FirstSeen, d.Updated = instant(firstSeen), instant(updated)
	return d, nil
}

// DocumentsAt returns the row of every path that has one. Documents that are
// gone are left out: one that comes back is seen anew.
func (l *Ledger) DocumentsAt(ctx context.Context, source string, paths []string) (map[string]Document, error) {
	out := make(map[string]Document, len(paths))
	err := l.reader.atPaths(ctx, "SELECT "+documentColumns+" FROM documents WHERE state <> 'gone' AND source = ? AND path IN (", source, paths,
		func(rows *sql.Rows) error {
			d, err := scanDocument(rows)
			out[d.Path] = d
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("look documents up: %w", err)
	}
	return out, nil
}

// Documents calls fn for the path of every document of a source that is there,
// good or bad, in the order they were first seen.
func (r *Reader) Documents(ctx context.Context, source string, fn func(path string) error) error {
	for after := int64(0); ; {
		var page []string
		err := r.rows(ctx, "SELECT id, path FROM documents WHERE id > ? AND source = ? AND state <> 'gone' ORDER BY id LIMIT ?",
			[]any{after, source, orphanPage}, func(rows *sql.Rows) error {
				var path []byte
				err := rows.Scan(&after, &path)
				page = append(page, string(path))
				return err
			})
		if err != nil {
			return fmt.Errorf("list documents: %w", err)
		}
		for _, path := range page {
			if err := fn(path); err != nil {
				return err
			}
		}
		if len(page) < orphanPage {
			return nil
		}
	}
}

// SeeDocuments inserts a settling row for each document, or lets the row of
// its path settle anew, as one transaction. State and reason are ignored.
func (l *Ledger) SeeDocuments(ctx context.Context, seen []Seen) error {
	if len(seen) == 0 {
		return nil
	}
	return l.w.write(ctx, "remember documents", func(t *tx) error {
		for i := range seen {
			s := &seen[i]
			args := append([]any{s.Source, []byte(s.Path), t.at}, lookArgs(s.Look)...)
			err := t.exec(`INSERT INTO documents (source, path, state, first_seen, updated, dev, ino, size, mtime_ns, ctime_ns, quiet_since, looks, due_at)
				VALUES (?1, ?2, 'settling', ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
				ON CONFLICT DO UPDATE SET state = 'settling', reason = '', reason_text = '', ver = ver + 1, updated = ?3, dev = ?4, ino = ?5,
				size = ?6, mtime_ns = ?7, ctime_ns = ?8, quiet_since = ?9, looks = ?10, due_at = ?11, place = ''`, append(args, t.dueOrNow(s.Due))...)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// RelookDocuments notes another look at known documents, as one transaction;
// each settles anew. Rows that changed meanwhile are left alone.
func (l *Ledger) RelookDocuments(ctx context.Context, again []Relook) error {
	if len(again) == 0 {
		return nil
	}
	return l.w.write(ctx, "look at documents again", func(t *tx) error {
		for i := range again {
			a := &again[i]
			_, err := t.change(`UPDATE documents SET state = 'settling', reason = ?, reason_text = '', ver = ver + 1, updated = ?,
				dev = ?, ino = ?, size = ?, mtime_ns = ?, ctime_ns = ?, quiet_since = ?, looks = ?, due_at = ? WHERE id = ? AND ver = ?`,
				append(append([]any{a.Why, t.at}, lookArgs(a.Look)...), t.dueOrNow(a.Due), a.ID, a.Ver)...)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// DueDocuments returns settling documents whose look is due, oldest first.
func (l *Ledger) DueDocuments(ctx context.Context, source string, now time.Time, limit int) ([]Document, error) {
	var out []Document
	err := l.reader.rows(ctx, "SELECT "+documentColumns+` FROM documents INDEXED BY documents_due
		WHERE source = ? AND due_at <= ? AND state = 'settling' ORDER BY due_at LIMIT ? + 0`, []any{source, now.UnixMilli(), limit},
		func(rows *sql.Rows) error {
			d, err := scanDocument(rows)
			out = append(out, d)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read due documents: %w", err)
	}
	return out, nil
}

// FailDocument records that a document is of no use. Under keys (sidecar ->
// key) lookups find the reason, and recordings that wait there are woken.
func (l *Ledger) FailDocument(ctx context.Context, id, ver int64, reason, text string, keys map[string]string) error {
	ix := l.IndexDocument(id, ver)
	rows := make([]IndexRow, 0, len(keys))
	for sidecar, key := range keys {
		rows = append(rows, IndexRow{Sidecar: sidecar, Key: key, Row: 1, Reason: reason, ReasonText: text})
	}
	if err := ix.Add(ctx, rows); err != nil {
		return err
	}
	_, err := ix.finish(ctx, DocumentBad, reason, text, "")
	return err
}

// DocumentGone records that a document's file is gone: lookups do not find
// its rows any more. Recordings that were paired with it keep what they took.
func (l *Ledger) DocumentGone(ctx context.Context, id, ver int64) error {
	return l.w.write(ctx, "document gone", func(t *tx) error {
		return t.one("UPDATE documents SET state = 'gone', reason = '', reason_text = '', due_at = NULL, place = '', ver = ver + 1, updated = ? WHERE id = ? AND ver = ?", t.at, id, ver)
	})
}

// Lookup returns the rows that documents of the source hold under a sidecar's
// key, in the order they were indexed, at most limit. A row with a Reason is
// bad, or all there is of a bad document.
func (l *Ledger) Lookup(ctx context.Context, source, sidecar, key string, limit int) ([]DocumentRow, error) {
	var out []DocumentRow
	var look scannedLook
	err := l.reader.rows(ctx, `SELECT d.id, d.ver, r.id, d.path, r.row, d.sha256, r.content, coalesce(r.digest, 0), r.reason, r.reason_text, `+lookColumns+`
		FROM document_rows AS r INDEXED BY document_rows_key JOIN documents AS d ON d.id = r.document_id AND d.gen = r.gen
		WHERE r.sidecar = ? AND r.key = ? AND r.key <> '' AND d.source = ? AND `+visible+` ORDER BY r.id LIMIT ? + 0`,
		[]any{sidecar, key, source, limit},
		func(rows *sql.Rows) error {
			var r DocumentRow
			var path, sum, content []byte
			dest := []any{&r.DocumentID, &r.DocumentVer, &r.RowID, &path, &r.Row, &sum, &content, &r.Digest, &r.Reason, &r.ReasonText}
			if err := rows.Scan(append(dest, look.dest()...)...); err != nil {
				return err
			}
			r.Path, r.SHA256, r.Identity = string(path), hex.EncodeToString(sum), look.value().Identity
			var err error
			r.Content, err = decodeMap(content)
			out = append(out, r)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("look a document row up: %w", err)
	}
	return out, nil
}

// DocumentsOf returns the document rows that a recording was paired with.
func (l *Ledger) DocumentsOf(ctx context.Context, recordingID int64) ([]DocumentUse, error) {
	var out []DocumentUse
	err := l.reader.rows(ctx, `SELECT sidecar, document_id, row_id, path, row, key, rule, sha256, coalesce(digest, 0) FROM recording_documents
		WHERE recording_id = ? ORDER BY sidecar`, []any{recordingID}, func(rows *sql.Rows) error {
		var u DocumentUse
		var path, sum []byte
		err := rows.Scan(&u.Sidecar, &u.DocumentID, &u.RowID, &path, &u.Row, &u.Key, &u.Rule, &sum, &u.Digest)
		u.Path, u.SHA256 = string(path), hex.EncodeToString(sum)
		out = append(out, u)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the documents of recording %d: %w", recordingID, err)
	}
	return out, nil
}

func (t *tx) documentAt(id, ver int64) (gen int64, err error) {
	var have int64
	err = t.row("SELECT ver, gen FROM documents WHERE id = ?", []any{id}, []any{&have, &gen})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, fmt.Errorf("document %d: %w", id, ErrNotFound)
	case err == nil && have != ver:
		return 0, fmt.Errorf("document %d: %w", id, ErrStale)
	}
	return gen, err
}

// WakeIncomplete makes recordings due whose path begins with prefix and which
// only their sidecar completes.
func (l *Ledger) WakeIncomplete(ctx context.Context, source, prefix string) error {
	return l.w.write(ctx, "wake incomplete recordings", func(t *tx) error {
		return t.exec(`UPDATE recordings SET due_at = ?, ver = ver + 1 WHERE source = ? AND current = 1 AND path >= ? AND path < ?
			AND state = 'settling' AND reason = 'no_sidecar'`, t.at, source, []byte(prefix), append([]byte(prefix), 0xff))
	})
}
