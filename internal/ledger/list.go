package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// listPage is how many rows List reads at once: between pages no transaction
// is open.
const listPage = 500

// rowReason is the delivery's reason, or its recording's. Metadata that
// changed after all was sent is a reason of the recording beside deliveries
// that have none.
const rowReason = "CASE WHEN d.reason = '' AND r.reason = 'metadata_changed' THEN r.reason ELSE coalesce(d.reason, r.reason) END"

// rowColumns are those of Row, for recordings r LEFT JOIN deliveries d.
const rowColumns = `r.id, d.id, r.source, r.path, coalesce(r.merged_size, r.size), r.sha256, r.call_id, r.recorder_id, r.started_at, d.destination,
	coalesce(d.state, r.state), ` + rowReason + `, CASE WHEN d.reason = '' AND r.reason = 'metadata_changed' THEN r.reason_text ELSE coalesce(d.reason_text, r.reason_text) END, coalesce(d.attempts, 0), d.idem_key,
	r.first_seen, d.accepted_at, CASE WHEN d.state IN ('planned', 'declared', 'in_doubt') THEN d.next_attempt END, coalesce(d.updated, r.updated),
	(SELECT json_group_object(v.name, v.value) FROM vendor_ids AS v WHERE v.delivery_id = d.id AND substr(v.name, 1, 1) <> '_')`

func scanRow(rows *sql.Rows) (Row, error) {
	var (
		r                                                 Row
		path, sum, ids                                    []byte
		delivery, started, first, accepted, next, updated sql.NullInt64
		callID, recorder, destination, reason, text, key  sql.NullString
	)
	err := rows.Scan(&r.ID, &delivery, &r.Source, &path, &r.Size, &sum, &callID, &recorder, &started, &destination,
		&r.State, &reason, &text, &r.Attempts, &key, &first, &accepted, &next, &updated, &ids)
	if err != nil {
		return r, err
	}
	if delivery.Valid {
		r.DeliveryID = &delivery.Int64
	}
	r.Path, r.SHA256 = string(path), orNull(hex.EncodeToString(sum))
	r.CallID, r.RecordingID, r.Destination, r.IdempotencyKey = orNull(callID.String), orNull(recorder.String), orNull(destination.String), orNull(key.String)
	r.Reason, r.ReasonText = orNull(reason.String), orNull(text.String)
	r.StartedAt, r.AcceptedAt, r.NextAttemptAt = instantOrNull(started), instantOrNull(accepted), instantOrNull(next)
	r.FirstSeenAt, r.UpdatedAt = instant(first), instant(updated)
	if err := json.Unmarshal(ids, &r.IDs); err != nil {
		return r, fmt.Errorf("read vendor ids: %w", err)
	}
	return r, nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func instantOrNull(v sql.NullInt64) *time.Time {
	if !v.Valid {
		return nil
	}
	t := instant(v)
	return &t
}

// List calls fn for every row that the filter selects, ordered by recording
// and delivery. Rows that change meanwhile are seen before or after their
// change. An error of fn ends the list and is returned.
func (r *Reader) List(ctx context.Context, f Filter, fn func(Row) error) error {
	from, err := r.listFrom(ctx, f)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	where, args := f.where()
	query := "SELECT " + rowColumns + " FROM " + from + " WHERE r.id >= ? AND (r.id > ? OR d.id > ?)" + where + " ORDER BY r.id, d.id LIMIT ?"
	recording, delivery := int64(0), int64(0)
	for left := f.Limit; ; {
		page := listPage
		if f.Limit > 0 {
			page = min(page, left)
		}
		batch, err := r.page(ctx, query, slices.Concat([]any{recording, recording, delivery}, args, []any{page}))
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		for _, row := range batch {
			if err := fn(row); err != nil {
				return err
			}
			recording, delivery = row.ID, 0
			if row.DeliveryID != nil {
				delivery = *row.DeliveryID
			}
		}
		if left -= len(batch); len(batch) < page || f.Limit > 0 && left == 0 {
			return nil
		}
	}
}

// page runs a query of rowColumns whose text depends on a filter.
func (r *Reader) page(ctx context.Context, query string, args []any) ([]Row, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	var out []Row
	return out, each(rows, func(rows *sql.Rows) error {
		row, err := scanRow(rows)
		out = append(out, row)
		return err
	})
}

// openStates are the states that the index deliveries_open holds: few of many
// millions of deliveries.
var openStates = []State{Planned, Declaring, Declared, Sending, Committing, InDoubt, Rejected, Held}

// inOpenStates is the condition of deliveries_open as its index spells it:
// SQLite compares the texts. Its first part, up to in_doubt, implies it too.
const (
	inPendingStates = "d.state = 'planned' OR d.state = 'declaring' OR d.state = 'declared' OR d.state = 'sending' OR d.state = 'committing' OR d.state = 'in_doubt'"
	inOpenStates    = inPendingStates + " OR d.state = 'rejected' OR d.state = 'held'"
)

// fewOpen is how many deliveries may be sorted for every page of a list.
const fewOpen = 10_000

// listFrom begins at the open deliveries if only their states are asked for
// and they are few, so that what needs a person is found without reading the
// whole history.
func (r *Reader) listFrom(ctx context.Context, f Filter) (string, error) {
	const all = "recordings AS r LEFT JOIN deliveries AS d ON d.recording_id = r.id"
	if len(f.States) == 0 {
		return all, nil
	}
	few := 0
	for _, s := range f.States {
		if !slices.Contains(openStates, State(s)) {
			return all, nil
		}
		n := 0
		if err := r.row(ctx, "SELECT coalesce(sum(n), 0) FROM counts WHERE kind = 'delivery' AND state = ?", []any{s}, []any{&n}); err != nil {
			return "", err
		}
		few += n
	}
	if few > fewOpen {
		return all, nil
	}
	return `deliveries AS d INDEXED BY deliveries_open JOIN recordings AS r ON r.id = d.recording_id AND d.state IN ('` +
		strings.Join(f.States, "', '") + "') AND (" + inOpenStates + ")", nil
}

func (f Filter) where() (string, []any) {
	var sb strings.Builder
	var args []any
	in := func(column string, values []string) {
		if len(values) == 0 {
			return
		}
		sb.WriteString(" AND " + column + " IN (?" + strings.Repeat(",?", len(values)-1) + ")")
		for _, v := range values {
			args = append(args, v)
		}
	}
	in("coalesce(d.state, r.state)", f.States)
	in("r.source", f.Sources)
	in("d.destination", f.Destinations)
	if !f.Since.IsZero() {
		sb.WriteString(" AND r.first_seen >= ?")
		args = append(args, dueMS(f.Since))
	}
	if !f.Until.IsZero() {
		sb.WriteString(" AND r.first_seen < ?")
		args = append(args, dueMS(f.Until))
	}
	if f.CallID != "" {
		sb.WriteString(" AND r.id IN (SELECT id FROM recordings WHERE call_id = ? UNION SELECT id FROM recordings WHERE recorder_id = ?)")
		args = append(args, f.CallID, f.CallID)
	}
	if f.Reason != "" {
		sb.WriteString(" AND " + rowReason + " = ?")
		args = append(args, f.Reason)
	}
	return sb.String(), args
}
