package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"time"
)

// Status returns the counts of every source and destination, what needs a
// person, the newest error of each destination and whether a daemon runs. It
// reads the counters that triggers keep, so it costs the same for ten rows
// and ten million.
func (r *Reader) Status(ctx context.Context) (Status, error) {
	s := Status{
		Sources: map[string]map[string]int64{}, Destinations: map[string]map[string]int64{},
		NeedsPerson: map[string]int64{}, LastErrors: []LastError{},
		ProcessingFailed: map[string]int64{}, OrphanDeclares: map[string]int64{},
	}
	for _, part := range []func(context.Context, *Status) error{r.counts, r.late, r.oldest, r.lastErrors, r.orphanDeclares, r.daemon} {
		if err := part(ctx, &s); err != nil {
			return Status{}, fmt.Errorf("status: %w", err)
		}
	}
	return s, nil
}

func (r *Reader) counts(ctx context.Context, s *Status) error {
	return r.rows(ctx, "SELECT kind, scope, state, reason, n FROM counts WHERE n <> 0 OR kind = 'recording'", nil, func(rows *sql.Rows) error {
		var kind, scope, state, reason string
		var n int64
		if err := rows.Scan(&kind, &scope, &state, &reason, &n); err != nil {
			return err
		}
		if kind == "delivery" {
			if s.Destinations[scope] == nil {
				s.Destinations[scope] = map[string]int64{}
			}
			s.Destinations[scope][state] += n
		} else {
			if s.Sources[scope] == nil {
				s.Sources[scope] = map[string]int64{}
				for _, known := range RecordingStates() {
					s.Sources[scope][string(known)] = 0
				}
			}
			s.Sources[scope][state] += n
		}
		if n > 0 && state == string(Accepted) && reason == ProcessingFailed {
			s.ProcessingFailed[scope] += n
		}
		if n > 0 && (state == string(Held) || state == string(Rejected) || state == string(Quarantined) ||
			kind == "recording" && reason == MetadataChanged && (state == string(Ready) || state == string(Done))) {
			s.NeedsPerson[reason] += n
		}
		return nil
	})
}

// late counts recordings that wait for their sidecar past its time.
func (r *Reader) late(ctx context.Context, s *Status) error {
	var n int64
	err := r.row(ctx, "SELECT count(*) FROM recordings INDEXED BY recordings_late WHERE state = 'waiting' AND wait_until <= ?",
		[]any{r.now().UnixMilli()}, []any{&n})
	if n > 0 {
		s.NeedsPerson["no_sidecar"] += n
	}
	return err
}

// oldest finds the first seen of what can still move by itself. Ids grow with
// time, so the smallest id of each state is the oldest.
func (r *Reader) oldest(ctx context.Context, s *Status) error {
	var at sql.NullInt64
	query := `SELECT min(at) FROM (SELECT NULL AS at`
	for _, state := range []State{Planned, Declaring, Declared, Sending, Committing, InDoubt} {
		query += fmt.Sprintf(` UNION ALL SELECT r.first_seen FROM recordings AS r WHERE r.id =
			(SELECT d.recording_id FROM deliveries AS d INDEXED BY deliveries_open WHERE d.state = '%s' ORDER BY d.id LIMIT 1)`, state)
	}
	for _, state := range []RecordingState{Settling, Waiting} {
		query += fmt.Sprintf(` UNION ALL SELECT first_seen FROM recordings WHERE id =
			(SELECT id FROM recordings INDEXED BY recordings_open WHERE state = '%s' ORDER BY id LIMIT 1)`, state)
	}
	err := r.row(ctx, query+")", nil, []any{&at})
	s.OldestPendingAt = instantOrNull(at)
	return err
}

// lastErrors takes the newest failure of each destination among the newest
// few hundred.
func (r *Reader) lastErrors(ctx context.Context, s *Status) error {
	known := map[string]bool{}
	return r.rows(ctx, `SELECT d.destination, d.recording_id, d.id, e.at, e.class, e.reason, e.http_status, e.text FROM (
			SELECT id FROM events INDEXED BY events_trouble
			WHERE class = 'not_sent' OR class = 'incomplete' OR class = 'auth' OR class = 'rate_limited' OR class = 'refused'
				OR class = 'rejected' OR class = 'held' OR class = 'in_doubt' OR class = 'changed' OR class = 'crash'
			ORDER BY id DESC LIMIT 300) AS newest
		CROSS JOIN events AS e ON e.id = newest.id CROSS JOIN deliveries AS d ON d.id = e.delivery_id ORDER BY e.id DESC`, nil,
		func(rows *sql.Rows) error {
			var e LastError
			var at int64
			if err := rows.Scan(&e.Destination, &e.RecordingID, &e.DeliveryID, &at, &e.Class, &e.Reason, &e.HTTPStatus, &e.Text); err != nil {
				return err
			}
			if !known[e.Destination] {
				known[e.Destination] = true
				e.At = time.UnixMilli(at).UTC()
				s.LastErrors = append(s.LastErrors, e)
			}
			return nil
		})
}

func (r *Reader) orphanDeclares(ctx context.Context, s *Status) error {
	return r.rows(ctx, "SELECT destination, n FROM orphan_declares", nil, func(rows *sql.Rows) error {
		var destination string
		var n int64
		err := rows.Scan(&destination, &n)
		s.OrphanDeclares[destination] = n
		return err
	})
}

// daemon probes the lock; pid and time are those of its last taker.
func (r *Reader) daemon(ctx context.Context, s *Status) error {
	held, err := lockHeld(filepath.Dir(r.path))
	if err != nil || !held {
		return err
	}
	var pid int
	var since sql.NullInt64
	if err := r.row(ctx, "SELECT pid, since FROM meta", nil, []any{&pid, &since}); err != nil {
		return err
	}
	s.Daemon = Daemon{Running: true, PID: &pid, Since: instantOrNull(since)}
	if m, err := readWater(r.path); err == nil && m != nil { // the daemon leaves it there
		s.Daemon.Trouble = troubleOf(m.Trouble, filepath.Dir(r.path))
	}
	return nil
}
