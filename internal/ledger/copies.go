package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// CopyTaken finds another recording of the source that carries the same name
// from the export with other content and was taken: its row is ready or done,
// or a vendor has it or may have it. 0 is none.
func (l *Ledger) CopyTaken(ctx context.Context, source, businessKey string, except int64, sha256 string) (other int64, err error) {
	sum, err := digest(sha256)
	if err != nil {
		return 0, err
	}
	err = l.reader.row(ctx, `SELECT id FROM recordings INDEXED BY recordings_business WHERE named = 1 AND source = ? AND business_key = ? AND id <> ?
		AND sha256 <> ? AND (state IN ('ready', 'done') OR EXISTS (SELECT 1 FROM deliveries AS d
			WHERE d.recording_id = recordings.id AND d.state IN ('sending', 'committing', 'in_doubt', 'accepted', 'confirmed')))
		ORDER BY id LIMIT 1`, []any{source, businessKey, except, sum}, []any{&other})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for a copy: %w", err)
	}
	return other, nil
}

// DocumentNeeded tells whether another recording of the source that is not
// finished yet was paired by the sidecar's key.
func (l *Ledger) DocumentNeeded(ctx context.Context, source, sidecar, key string, except int64) (needed bool, err error) {
	err = l.reader.row(ctx, `SELECT EXISTS (SELECT 1 FROM recording_documents AS u INDEXED BY recording_documents_key CROSS JOIN recordings AS r ON r.id = u.recording_id
		WHERE u.sidecar = ? AND u.key = ? AND r.id <> ? AND r.source = ? AND r.current = 1 AND (r.state = 'settling' OR r.state = 'waiting' OR r.state = 'ready'))`,
		[]any{sidecar, key, except, source}, []any{&needed})
	if err != nil {
		return false, fmt.Errorf("look who needs a document: %w", err)
	}
	return needed, nil
}
