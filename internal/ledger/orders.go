package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Order appends a person's order through a write connection of its own: it
// needs no lock and works beside the daemon, which applies it within a
// second. Without a daemon the command opens the ledger and calls ApplyOrders
// itself. It returns the order's id and the number of its targets.
func Order(ctx context.Context, path string, o NewOrder) (id int64, n int, err error) {
	switch {
	case o.Kind != OrderRetry && o.Kind != OrderAccept && o.Kind != OrderCancel:
		return 0, 0, fmt.Errorf("order %q: no such kind", o.Kind)
	case o.Kind != OrderRetry && len(o.RecordingIDs) > 0:
		return 0, 0, fmt.Errorf("order %q: it is about deliveries", o.Kind)
	}
	targets, err := o.targets()
	if err != nil {
		return 0, 0, err
	}
	if n = len(o.DeliveryIDs) + len(o.RecordingIDs); n == 0 {
		return 0, 0, errors.New("order: nothing to apply it to")
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return 0, 0, err
	}
	// The reader refuses a file that is missing, not ours or of another
	// version, so that the write connection never touches one.
	r, err := OpenReader(ctx, path)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	deliveries, err1 := json.Marshal(targets)
	recordings, err2 := json.Marshal(o.RecordingIDs)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, fmt.Errorf("order: %w", err)
	}
	db := connect(path, dsnWrite, 1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := assertSettings(ctx, db); err != nil {
		return 0, 0, fmt.Errorf("order: %w", err)
	}
	res, err := db.ExecContext(context.WithoutCancel(ctx), "INSERT INTO orders (at, kind, delivery_ids, recording_ids, ordered_by, note) VALUES (?, ?, ?, ?, ?, ?)",
		time.Now().UnixMilli(), o.Kind, string(deliveries), string(recordings), o.By, o.Note)
	if err != nil {
		return 0, 0, fmt.Errorf("append order: %w", err)
	}
	id, err = res.LastInsertId()
	return id, n, err
}

// OrderState tells whether an order was applied and with what result.
func OrderState(ctx context.Context, path string, id int64) (applied bool, result string, err error) {
	r, err := OpenReader(ctx, path)
	if err != nil {
		return false, "", err
	}
	defer r.Close()
	err = r.row(ctx, "SELECT applied_at IS NOT NULL, result FROM orders WHERE id = ?", []any{id}, []any{&applied, &result})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return false, "", fmt.Errorf("read order %d: %w", id, err)
	}
	return applied, result, nil
}

// order is an order as it was appended.
type order struct {
	id                     int64
	kind, by, note         string
	deliveries, recordings []byte
}

// ApplyOrders applies what was ordered and not yet applied, each order in one
// transaction, and returns how many orders that were.
//
// OrderRetry sends held, rejected and doubtful deliveries again, and those
// that a person cancelled, and lets quarantined, waiting, skipped and vanished
// recordings settle anew. For a ready recording it means its deliveries.
// OrderAccept ends held and doubtful deliveries, OrderCancel all that is
// neither under way nor ended. runs tells whether an attempt for a destination
// may run now.
func (l *Ledger) ApplyOrders(ctx context.Context, runs func(destination string) bool) (applied int, err error) {
	var open []order
	err = l.reader.rows(ctx, `SELECT id, kind, ordered_by, note, delivery_ids, recording_ids FROM orders INDEXED BY orders_open
		WHERE applied_at IS NULL ORDER BY id LIMIT 100`, nil, func(rows *sql.Rows) error {
		var o order
		err := rows.Scan(&o.id, &o.kind, &o.by, &o.note, &o.deliveries, &o.recordings)
		open = append(open, o)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read orders: %w", err)
	}
	for _, o := range open {
		if err := l.w.write(ctx, "apply order", func(t *tx) error { return t.applyOrder(o, runs) }); err != nil && !errors.Is(err, ErrStale) {
			return applied, err
		}
		applied++
	}
	return applied, nil
}

// applyOrder applies one order, unless that was done meanwhile (ErrStale).
func (t *tx) applyOrder(o order, runs func(string) bool) error {
	var deliveries []target
	var recordings []int64
	err := errors.Join(json.Unmarshal(o.deliveries, &deliveries), json.Unmarshal(o.recordings, &recordings))
	var result outcome
	why := "ordered by " + o.by
	if o.note != "" {
		why += ": " + o.note
	}
	apply := func(g target) error { return t.retryDelivery(g.ID, why, &result) }
	switch {
	case err == nil && o.kind == OrderRetry:
	case err == nil && o.kind == OrderAccept:
		apply = func(g target) error { return t.acceptDelivery(g, why, &result) }
	case err == nil && o.kind == OrderCancel:
		apply = func(g target) error { return t.cancelDelivery(g.ID, why, runs, &result) }
	default:
		result.refuse("this program does not know the order")
		deliveries, recordings = nil, nil
	}
	for _, id := range recordings {
		if err := t.retryRecording(id, why, &result); err != nil {
			return err
		}
	}
	for _, g := range deliveries {
		if err := apply(g); err != nil {
			return err
		}
	}
	return t.one("UPDATE orders SET applied_at = ?, result = ? WHERE id = ? AND applied_at IS NULL", t.at, result.String(), o.id)
}

// outcome collects what an order did, for the person who gave it.
type outcome struct {
	done    int
	refused []string
}

func (o *outcome) refuse(format string, args ...any) {
	o.refused = append(o.refused, fmt.Sprintf(format, args...))
}

func (o *outcome) String() string {
	s := fmt.Sprintf("applied to %d", o.done)
	if n := len(o.refused); n > 5 {
		return s + fmt.Sprintf("; not to %d: %s, ...", n, strings.Join(o.refused[:5], ", "))
	} else if n > 0 {
		return s + fmt.Sprintf("; not to %d: %s", n, strings.Join(o.refused, ", "))
	}
	return s
}

func (t *tx) retryDelivery(id int64, why string, result *outcome) error {
	d, err := t.ordered(id, result)
	if err != nil || d.ID == 0 {
		return err
	}
	r, err := t.recording(d.RecordingID)
	if err != nil {
		return err
	}
	switch {
	case d.State == Cancelled && d.Reason == ByPerson:
		return t.uncancel(d, r, why, result)
	case d.State != Held && d.State != Rejected && d.State != InDoubt:
		result.refuse("delivery %d is %s", id, d.State)
		return nil
	case r.State == Vanished:
		// Another file of the same content may be there, as a duplicate.
		handed, err := t.handOver(d)
		if err != nil {
			return err
		}
		if !handed {
			result.refuse("the file of delivery %d is gone", id)
			return nil
		}
		if d, err = t.delivery(id); err != nil {
			return err
		}
	}
	result.done++
	if anew, err := t.mapAnew(d, r, why); anew || err != nil {
		return err
	}
	return t.sendAgain(d, why)
}

// mapAnew lets a recording be decided again of which nothing was ever begun:
// what a person mended may be the mapping, or the metadata. Its deliveries are
// cancelled and go on under their keys when it is decided.
func (t *tx) mapAnew(d shortDelivery, r shortRecording, why string) (anew bool, err error) {
	if r.State != Ready || !r.Current || d.Reason == "identity_changed" || d.Reason == "conflict" {
		return false, nil
	}
	busy, begun, err := t.sent(r.ID)
	if err != nil || busy || begun {
		return false, err
	}
	return true, t.decideAgain(r, MetadataChanged, why)
}

func (t *tx) retryRecording(id int64, why string, result *outcome) error {
	r, err := t.recording(id)
	if errors.Is(err, ErrNotFound) {
		result.refuse("there is no recording %d", id)
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case r.Reason == MetadataChanged && (r.State == Ready || r.State == Done):
		result.done++
		return t.changeSeen(r, why)
	case r.State == Ready:
		return t.retryDeliveriesOf(id, why, result)
	case !r.Current:
		result.refuse("another file has taken the name of recording %d", id)
		return nil
	case r.State == Settling || r.State == Done:
		result.refuse("recording %d is %s", id, r.State)
		return nil
	}
	err = t.one(`UPDATE recordings SET state = 'settling', reason = '', reason_text = '', wait_until = NULL, due_at = ?1, looks = 0,
		ver = ver + 1, updated = ?1 WHERE id = ?2`, t.at, id)
	if err != nil {
		return err
	}
	if err := t.forgetKeys(id); err != nil {
		return err
	}
	result.done++
	return t.event(event{recording: id, from: string(r.State), to: string(Settling), class: "operator", text: why})
}

func (t *tx) retryDeliveriesOf(recording int64, why string, result *outcome) error {
	var ids []int64
	err := t.rows("SELECT id FROM deliveries WHERE recording_id = ? AND state IN ('held', 'rejected', 'in_doubt')", []any{recording},
		func(row scanner) error {
			var id int64
			err := row.Scan(&id)
			ids = append(ids, id)
			return err
		})
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		result.refuse("recording %d has nothing to send again", recording)
	}
	for _, id := range ids {
		if err := t.retryDelivery(id, why, result); err != nil {
			return err
		}
	}
	return nil
}
