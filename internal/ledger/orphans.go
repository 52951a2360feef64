package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// orphanPage is how many rows Orphans reads at once.
const orphanPage = 500

// Orphans calls fn for every half of a pair whose other half is not there:
// recordings that wait for a sidecar or were refused for the lack of one,
// documents and manifest rows that no recording was paired with, and
// documents that cannot be read.
func (r *Reader) Orphans(ctx context.Context, fn func(Orphan) error) error {
	for _, part := range []struct {
		query string
		scan  func(*sql.Rows) (int64, Orphan, error)
	}{
		{orphanRecordings, scanOrphanRecording},
		{badDocuments, scanBadDocument},
		{unusedRows, scanUnusedRow},
	} {
		if err := r.orphans(ctx, part.query, part.scan, fn); err != nil {
			return fmt.Errorf("orphans: %w", err)
		}
	}
	return nil
}

// orphans pages through a query ordered by the id that scan returns.
func (r *Reader) orphans(ctx context.Context, query string, scan func(*sql.Rows) (int64, Orphan, error), fn func(Orphan) error) error {
	for after := int64(0); ; {
		var page []Orphan
		err := r.rows(ctx, query, []any{after, orphanPage}, func(rows *sql.Rows) error {
			id, o, err := scan(rows)
			after, page = id, append(page, o)
			return err
		})
		if err != nil {
			return err
		}
		for _, o := range page {
			if err := fn(o); err != nil {
				return err
			}
		}
		if len(page) < orphanPage {
			return nil
		}
	}
}

const orphanRecordings = `SELECT r.id, r.source, r.path, r.first_seen, r.reason_text,
		(SELECT group_concat(k.sidecar || '=' || k.key, ', ') FROM recording_keys AS k WHERE k.recording_id = r.id)
	FROM recordings AS r INDEXED BY recordings_open
	WHERE r.id > ? AND (r.state = 'settling' OR r.state = 'waiting' OR r.state = 'quarantined') AND r.current = 1
		AND (r.state = 'waiting' OR r.state = 'quarantined' AND r.reason = 'no_sidecar')
	ORDER BY r.id LIMIT ?`

func scanOrphanRecording(rows *sql.Rows) (id int64, o Orphan, err error) {
	var path []byte
	var since sql.NullInt64
	var key sql.NullString
	err = rows.Scan(&id, &o.Source, &path, &since, &o.Text, &key)
	o.Kind, o.Path, o.Since, o.Key = RecordingWithoutSidecar, string(path), instant(since), orNull(key.String)
	return id, o, err
}

const badDocuments = `SELECT id, source, path, updated, reason_text FROM documents INDEXED BY documents_bad
	WHERE id > ? AND state = 'bad' ORDER BY id LIMIT ?`

func scanBadDocument(rows *sql.Rows) (id int64, o Orphan, err error) {
	var path []byte
	var since sql.NullInt64
	err = rows.Scan(&id, &o.Source, &path, &since, &o.Text)
	o.Kind, o.Path, o.Since = BadDocument, string(path), instant(since)
	return id, o, err
}

// RuleTime is the pairing rule of a row that was the nearest in time of those
// under its key: the others are not used by it.
const RuleTime = "time"

// unusedRows compares keys, not rows: a manifest that was exported again has
// new rows for the calls that were paired already. Only where the rows of a key
// belong to different recordings does it look at what they say. A row stands in
// the index once under each of its keys, one behind the other; it is used when
// one of them is, and listed once.
const unusedRows = `SELECT r.id, d.source, d.path, r.row, r.key, d.first_seen, d.rows, r.reason_text
	FROM document_rows AS r CROSS JOIN documents AS d ON d.id = r.document_id AND d.gen = r.gen AND d.state = 'indexed'
	WHERE r.id > ? AND NOT EXISTS (SELECT 1 FROM document_rows AS s CROSS JOIN recording_documents AS u ON u.sidecar = s.sidecar AND u.key = s.key
			AND (u.rule <> 'time' OR u.digest = s.digest) JOIN recordings AS c ON c.id = u.recording_id
		WHERE s.id > r.id - 16 AND s.id < r.id + 16 AND s.document_id = r.document_id AND s.gen = r.gen AND s.row = r.row AND s.sidecar = r.sidecar
			AND c.source = d.source)
		AND NOT EXISTS (SELECT 1 FROM document_rows AS s WHERE s.id > r.id - 16 AND s.id < r.id
			AND s.document_id = r.document_id AND s.gen = r.gen AND s.row = r.row AND s.sidecar = r.sidecar)
	ORDER BY r.id LIMIT ?`

func scanUnusedRow(rows *sql.Rows) (id int64, o Orphan, err error) {
	var path []byte
	var since sql.NullInt64
	var row, all int
	var key string
	err = rows.Scan(&id, &o.Source, &path, &row, &key, &since, &all, &o.Text)
	o.Kind, o.Path, o.Since, o.Key = DocumentWithoutRecording, string(path), instant(since), orNull(key)
	if all > 1 || row > 1 {
		o.Kind, o.Row = RowWithoutRecording, &row
	}
	if o.Text == "" {
		o.Text = "no recording was paired with it"
	}
	return id, o, err
}
