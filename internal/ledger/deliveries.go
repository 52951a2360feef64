package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const deliveryColumns = `d.id, d.ver, d.recording_id, d.source, d.destination, d.idem_key, d.state, d.reason, d.reason_text, d.attempts, d.crashes,
	d.next_attempt, d.first_attempt, d.doubt_since, d.accepted_at, d.created, d.updated,
	(SELECT json_group_object(v.name, v.value) FROM vendor_ids AS v WHERE v.delivery_id = d.id),
	EXISTS (SELECT 1 FROM events AS e INDEXED BY events_committing WHERE e.delivery_id = d.id AND e.to_state = 'committing')
	OR EXISTS (SELECT 1 FROM events AS e INDEXED BY events_restored WHERE e.delivery_id = d.id AND e.reason = 'restored')`

// scannedDelivery takes deliveryColumns.
type scannedDelivery struct {
	d                                              Delivery
	next, first, doubt, accepted, created, updated sql.NullInt64
	ids                                            []byte
}

func (s *scannedDelivery) dest() []any {
	d := &s.d
	return []any{&d.ID, &d.Ver, &d.RecordingID, &d.Source, &d.Destination, &d.IdemKey, &d.State, &d.Reason, &d.ReasonText, &d.Attempts, &d.Crashes,
		&s.next, &s.first, &s.doubt, &s.accepted, &s.created, &s.updated, &s.ids, &d.Own}
}

func (s *scannedDelivery) value() (Delivery, error) {
	d := s.d
	d.NextAttempt, d.FirstAttempt, d.DoubtSince = instant(s.next), instant(s.first), instant(s.doubt)
	d.AcceptedAt, d.Created, d.Updated = instant(s.accepted), instant(s.created), instant(s.updated)
	d.IDs = map[string]string{}
	if string(s.ids) == "{}" {
		return d, nil
	}
	if err := json.Unmarshal(s.ids, &d.IDs); err != nil {
		return d, fmt.Errorf("read vendor ids: %w", err)
	}
	return d, nil
}

func scanDelivery(row interface{ Scan(...any) error }) (Delivery, error) {
	var s scannedDelivery
	if err := row.Scan(s.dest()...); err != nil {
		return s.d, err
	}
	return s.value()
}

func (l *Ledger) deliveries(ctx context.Context, query string, args ...any) ([]Delivery, error) {
	var out []Delivery
	err := l.reader.rows(ctx, query, args, func(rows *sql.Rows) error {
		d, err := scanDelivery(rows)
		out = append(out, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	return out, nil
}

// DueDeliveries returns planned and declared deliveries of one source whose
// next attempt is due, the oldest first. The query fails rather than scan
// should its index ever not fit.
func (l *Ledger) DueDeliveries(ctx context.Context, destination, source string, now time.Time, limit int) ([]Delivery, error) {
	return l.deliveries(ctx, "SELECT "+deliveryColumns+` FROM deliveries AS d INDEXED BY deliveries_due
		WHERE d.destination = ? AND d.source = ? AND d.next_attempt <= ? AND d.state IN ('planned', 'declared') ORDER BY d.next_attempt, d.id LIMIT ? + 0`,
		destination, source, now.UnixMilli(), limit)
}

// Job is a delivery with its recording, Call and Audio loaded, as of one
// moment. A transition of the delivery that succeeds proves that both are
// still so: whatever changes a ready recording takes its unsent deliveries
// away from it, and thereby their version.
type Job struct {
	Delivery
	Recording Recording
}

// DueJobs is DueDeliveries with the recordings.
func (l *Ledger) DueJobs(ctx context.Context, destination, source string, now time.Time, limit int) ([]Job, error) {
	var out []Job
	err := l.reader.rows(ctx, "SELECT "+deliveryColumns+`, r.* FROM deliveries AS d INDEXED BY deliveries_due
		JOIN (SELECT `+fullColumns+` FROM recordings) AS r ON r.id = d.recording_id
		WHERE d.destination = ? AND d.source = ? AND d.next_attempt <= ? AND d.state IN ('planned', 'declared') ORDER BY d.next_attempt, d.id LIMIT ? + 0`,
		[]any{destination, source, now.UnixMilli(), limit}, func(rows *sql.Rows) error {
			var d scannedDelivery
			var r scannedRecording
			err := rows.Scan(append(d.dest(), r.dest(true)...)...)
			if err != nil {
				return err
			}
			var j Job
			var err2 error
			j.Delivery, err = d.value()
			j.Recording, err2 = r.value(true)
			out = append(out, j)
			return errors.Join(err, err2)
		})
	if err != nil {
		return nil, fmt.Errorf("read due deliveries: %w", err)
	}
	return out, nil
}

// DueDoubts returns deliveries in doubt whose next question is due, the
// oldest first.
func (l *Ledger) DueDoubts(ctx context.Context, destination string, now time.Time, limit int) ([]Delivery, error) {
	return l.deliveries(ctx, "SELECT "+deliveryColumns+` FROM deliveries AS d INDEXED BY deliveries_doubt
		WHERE d.destination = ? AND d.next_attempt <= ? AND d.state = 'in_doubt' ORDER BY d.next_attempt, d.id LIMIT ? + 0`,
		destination, now.UnixMilli(), limit)
}

// DueConfirms returns accepted deliveries about whose processing the next
// question is due, the oldest first.
func (l *Ledger) DueConfirms(ctx context.Context, destination string, now time.Time, limit int) ([]Delivery, error) {
	return l.deliveries(ctx, "SELECT "+deliveryColumns+` FROM deliveries AS d INDEXED BY deliveries_unconfirmed
		WHERE d.destination = ? AND d.next_attempt <= ? AND d.state = 'accepted' AND d.reason = 'unconfirmed' ORDER BY d.next_attempt, d.id LIMIT ?`,
		destination, now.UnixMilli(), limit)
}

// NextConfirm returns the time of the next such question, or false if there
// is none.
func (l *Ledger) NextConfirm(ctx context.Context, destination string) (time.Time, bool, error) {
	var next sql.NullInt64
	err := l.reader.row(ctx, `SELECT min(next_attempt) FROM deliveries INDEXED BY deliveries_unconfirmed
		WHERE destination = ? AND state = 'accepted' AND reason = 'unconfirmed'`, []any{destination}, []any{&next})
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read next question: %w", err)
	}
	return instant(next), next.Valid, nil
}

// NextDelivery returns the earliest time at which a planned, declared or
// doubtful delivery of the destination is due, or false if none is. It steps
// from source to source through the due index.
func (l *Ledger) NextDelivery(ctx context.Context, destination string) (time.Time, bool, error) {
	var next sql.NullInt64
	err := l.reader.row(ctx, `WITH RECURSIVE sources (name) AS (
			SELECT min(source) FROM deliveries INDEXED BY deliveries_due WHERE destination = ?1 AND state IN ('planned', 'declared')
			UNION ALL SELECT (SELECT min(source) FROM deliveries INDEXED BY deliveries_due
				WHERE destination = ?1 AND source > name AND state IN ('planned', 'declared')) FROM sources WHERE name IS NOT NULL)
		SELECT min(due) FROM (
			SELECT (SELECT min(next_attempt) FROM deliveries INDEXED BY deliveries_due
				WHERE destination = ?1 AND source = name AND state IN ('planned', 'declared')) AS due FROM sources WHERE name IS NOT NULL
			UNION ALL SELECT min(next_attempt) FROM deliveries INDEXED BY deliveries_doubt WHERE destination = ?1 AND state = 'in_doubt')`,
		[]any{destination}, []any{&next})
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read next attempt: %w", err)
	}
	return instant(next), next.Valid, nil
}

// DeliveryAt returns the state and the version of a delivery.
func (l *Ledger) DeliveryAt(ctx context.Context, id int64) (state State, ver int64, err error) {
	err = l.reader.row(ctx, "SELECT state, ver FROM deliveries WHERE id = ?", []any{id}, []any{&state, &ver})
	if err != nil {
		return "", 0, fmt.Errorf("read delivery %d: %w", id, err)
	}
	return state, ver, nil
}

// Job returns a delivery and its recording with Call and Audio, as of one
// moment.
func (l *Ledger) Job(ctx context.Context, deliveryID int64) (d Delivery, r Recording, err error) {
	ctx, err = begin(ctx)
	if err != nil {
		return d, r, err
	}
	// Prepared before the transaction takes a connection: preparing needs one.
	delivery, err1 := l.reader.stmt(ctx, "SELECT "+deliveryColumns+" FROM deliveries AS d WHERE d.id = ?")
	recording, err2 := l.reader.stmt(ctx, "SELECT "+fullColumns+" FROM recordings WHERE id = ?")
	if err := errors.Join(err1, err2); err != nil {
		return d, r, fmt.Errorf("read delivery %d: %w", deliveryID, err)
	}
	tx, err := l.reader.db.BeginTx(ctx, nil)
	if err != nil {
		return d, r, fmt.Errorf("read delivery %d: %w", deliveryID, err)
	}
	defer tx.Rollback() // it only read
	d, err = scanDelivery(tx.StmtContext(ctx, delivery).QueryRowContext(ctx, deliveryID))
	if err == nil {
		r, err = scanRecording(tx.StmtContext(ctx, recording).QueryRowContext(ctx, d.RecordingID), true)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return d, r, fmt.Errorf("read delivery %d: %w", deliveryID, err)
	}
	return d, r, nil
}
