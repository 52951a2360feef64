package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// Rival is another recording of a source that asks, or asked, for a row under
// the same key.
type Rival struct {
	ID   int64
	Path string // of the recording, relative to the source
	// DocumentID and Digest (of the row) say what it was paired with; zero
	// while it waits.
	DocumentID int64
	Digest     int64
}

// Rivals returns the current recordings of a source, other than one, that wait
// for a sidecar's key or were paired by it; at most limit of each kind.
func (l *Ledger) Rivals(ctx context.Context, source, sidecar, key string, except int64, limit int) ([]Rival, error) {
	var out []Rival
	err := l.reader.rows(ctx, `SELECT * FROM (SELECT r.id, r.path, 0, 0 FROM recording_keys AS k JOIN recordings AS r ON r.id = k.recording_id
			WHERE k.sidecar = ?1 AND k.key = ?2 AND r.source = ?3 AND r.current = 1 AND r.id <> ?4 LIMIT ?5 + 0)
		UNION ALL SELECT * FROM (SELECT r.id, r.path, u.document_id, coalesce(u.digest, 0) FROM recording_documents AS u JOIN recordings AS r ON r.id = u.recording_id
			WHERE u.sidecar = ?1 AND u.key = ?2 AND r.source = ?3 AND r.current = 1 AND r.id <> ?4 LIMIT ?5 + 0)`,
		[]any{sidecar, key, source, except, limit},
		func(rows *sql.Rows) error {
			var r Rival
			var path []byte
			if err := rows.Scan(&r.ID, &path, &r.DocumentID, &r.Digest); err != nil {
				return err
			}
			r.Path = string(path)
			out = append(out, r)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("look up who else asks for a row: %w", err)
	}
	return out, nil
}
