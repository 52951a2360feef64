package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// showLimit is how many recordings Show returns at most.
const showLimit = 100

var errTooMany = errors.New("more than 100 recordings match; use `ingestd list`")

// Show returns every recording that the argument names, with its deliveries
// and its whole history, the oldest first. The argument is a ledger id, a
// path (relative to its source, absolute, or in the archive), a call or
// recorder's id, a vendor's id or an idempotency key. None is ErrNotFound.
func (r *Reader) Show(ctx context.Context, arg string) ([]Shown, error) {
	ids, err := r.find(ctx, arg)
	if err != nil {
		return nil, fmt.Errorf("show: %w", err)
	}
	if len(ids) == 0 {
		return nil, ErrNotFound
	}
	if len(ids) > showLimit {
		return nil, fmt.Errorf("show: %w", errTooMany)
	}
	out := make([]Shown, 0, len(ids))
	for _, id := range ids {
		s, err := r.show(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("show recording %d: %w", id, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// find returns the ids of the recordings that an argument names, each once.
func (r *Reader) find(ctx context.Context, arg string) ([]int64, error) {
	number, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		number = -1
	}
	ids, err := r.ids(ctx, `SELECT id FROM (
			SELECT id FROM recordings WHERE id = ?1
			UNION SELECT id FROM recordings WHERE call_id = ?2
			UNION SELECT id FROM recordings WHERE recorder_id = ?2
			UNION SELECT id FROM recordings WHERE moved_to = ?3
			UNION SELECT d.recording_id FROM vendor_ids AS v JOIN deliveries AS d ON d.id = v.delivery_id WHERE v.value = ?2 AND substr(v.name, 1, 1) <> '_'
			UNION SELECT d.recording_id FROM (SELECT DISTINCT scope FROM counts WHERE kind = 'delivery') AS c
				CROSS JOIN deliveries AS d INDEXED BY deliveries_key ON d.destination = c.scope AND d.idem_key = ?2 AND d.duplicate_of IS NULL)
		ORDER BY id LIMIT 101`, number, arg, []byte(arg))
	if err != nil || len(ids) > 0 {
		return ids, err
	}
	return r.findPath(ctx, arg)
}

// findPath looks a path up in every source. The ledger does not know where
// the sources lie, so of an absolute path it tries the ends, the longest
// first.
func (r *Reader) findPath(ctx context.Context, arg string) ([]int64, error) {
	rel := arg
	if path.IsAbs(arg) {
		rel = strings.TrimPrefix(path.Clean(arg), "/")
	}
	for {
		ids, err := r.ids(ctx, `SELECT id FROM (SELECT DISTINCT scope FROM counts WHERE kind = 'recording') AS c
			CROSS JOIN recordings AS r INDEXED BY recordings_current ON r.source = c.scope AND r.path = ?1 AND r.current = 1
			UNION SELECT id FROM (SELECT DISTINCT scope FROM counts WHERE kind = 'recording') AS c
			CROSS JOIN recordings AS r INDEXED BY recordings_replaced ON r.source = c.scope AND r.path = ?1 AND r.current = 0
			ORDER BY 1 LIMIT 101`, []byte(rel))
		if err != nil || len(ids) > 0 || !path.IsAbs(arg) {
			return ids, err
		}
		_, rest, deeper := strings.Cut(rel, "/")
		if !deeper {
			return nil, nil
		}
		rel = rest
	}
}

func (r *Reader) ids(ctx context.Context, query string, args ...any) ([]int64, error) {
	var out []int64
	err := r.rows(ctx, query, args, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		out = append(out, id)
		return err
	})
	return out, err
}

func (r *Reader) show(ctx context.Context, id int64) (s Shown, err error) {
	rec, err := scanRecordingRow(ctx, r, id)
	if err != nil {
		return s, err
	}
	s.Recording = ShownRecording{
		ID: rec.ID, Source: rec.Source, Path: rec.Path, State: string(rec.State), Reason: orNull(rec.Reason), ReasonText: orNull(rec.ReasonText),
		Size: rec.Size(), SHA256: orNull(rec.SHA256), Call: rec.Call, Audio: rec.Audio, FirstSeenAt: rec.FirstSeen, MovedTo: orNull(rec.MovedTo),
		Sidecars: []ShownSidecar{},
	}
	err = r.rows(ctx, "SELECT sidecar, path, row FROM recording_documents WHERE recording_id = ? ORDER BY sidecar", []any{id}, func(rows *sql.Rows) error {
		var c ShownSidecar
		var path []byte
		err := rows.Scan(&c.Name, &path, &c.Row)
		c.Path = string(path)
		s.Recording.Sidecars = append(s.Recording.Sidecars, c)
		return err
	})
	if err != nil {
		return s, err
	}
	parts, err := r.partsOf(ctx, id)
	if err != nil {
		return s, err
	}
	for _, p := range parts {
		s.Recording.Parts = append(s.Recording.Parts, ShownPart{Path: p.Path, Size: p.Identity.Size, SHA256: p.SHA256, MovedTo: orNull(p.MovedTo)})
	}
	s.Deliveries = []Row{}
	err = r.rows(ctx, "SELECT "+rowColumns+" FROM deliveries AS d JOIN recordings AS r ON r.id = d.recording_id WHERE d.recording_id = ? ORDER BY d.id", []any{id},
		func(rows *sql.Rows) error {
			row, err := scanRow(rows)
			s.Deliveries = append(s.Deliveries, row)
			return err
		})
	if err != nil {
		return s, err
	}
	s.History, err = r.history(ctx, id)
	return s, err
}

func scanRecordingRow(ctx context.Context, r *Reader, id int64) (Recording, error) {
	stmt, err := r.stmt(ctx, "SELECT "+fullColumns+" FROM recordings WHERE id = ?")
	if err != nil {
		return Recording{}, err
	}
	return scanRecording(stmt.QueryRowContext(ctx, id), true)
}

func (r *Reader) history(ctx context.Context, id int64) ([]Event, error) {
	out := []Event{}
	err := r.rows(ctx, `SELECT e.at, d.destination, e.from_state, e.to_state, e.attempt, e.class, e.http_status, e.reason, e.text
		FROM events AS e LEFT JOIN deliveries AS d ON d.id = e.delivery_id WHERE e.recording_id = ? ORDER BY e.id`, []any{id},
		func(rows *sql.Rows) error {
			var e Event
			var at int64
			var class, reason, words string
			if err := rows.Scan(&at, &e.Destination, &e.From, &e.To, &e.Attempt, &class, &e.HTTPStatus, &reason, &words); err != nil {
				return err
			}
			if words == "" {
				words = reason
			}
			e.At, e.Class, e.Text = instant(sql.NullInt64{Int64: at, Valid: true}), orNull(class), orNull(words)
			out = append(out, e)
			return nil
		})
	return out, err
}

// Carrier finds the delivery that carries an idempotency key at a
// destination: its recording's id and its state. ErrNotFound: there is none.
func (r *Reader) Carrier(ctx context.Context, destination, key string) (recording int64, state State, err error) {
	err = r.row(ctx, "SELECT recording_id, state FROM deliveries WHERE destination = ? AND idem_key = ? AND duplicate_of IS NULL",
		[]any{destination, key}, []any{&recording, &state})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return recording, state, err
}
