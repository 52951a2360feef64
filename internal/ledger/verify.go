package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// problemLimit is how many problems a report lists.
const problemLimit = 100

// Verify checks a ledger beside the running daemon or without one: SQLite's
// own checks, and the counting rule with what it rests on. It changes nothing.
func Verify(ctx context.Context, path string) (rep Report, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return rep, err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return rep, fmt.Errorf("verify %s: %w", path, ErrMissing)
	}
	water, werr := readWater(path) // before the ledger, which a daemon may be writing
	if werr != nil && !errors.Is(werr, errBadWater) {
		return rep, werr
	}
	r, err := OpenReader(ctx, path)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	tx, err := r.db.BeginTx(ctx, nil) // one moment of the ledger for all checks
	if err != nil {
		return rep, fmt.Errorf("verify: %w", err)
	}
	defer tx.Rollback() // it only read
	rep.Problems, err = integrity(ctx, tx, true)
	if err != nil {
		return rep, fmt.Errorf("verify: %w", err)
	}
	err = tx.QueryRowContext(ctx, `SELECT uid, (SELECT count(*) FROM recordings), (SELECT count(*) FROM deliveries), (SELECT count(*) FROM events),
		(SELECT coalesce(max(id), 0) FROM events) FROM meta`).Scan(&rep.UID, &rep.Recordings, &rep.Deliveries, &rep.Events, &rep.LastEvent)
	if err != nil {
		return rep, fmt.Errorf("verify: %w", err)
	}
	for _, rule := range rules {
		if err := rep.check(ctx, tx, rule.text, rule.query); err != nil {
			return rep, fmt.Errorf("verify: %s: %w", rule.text, err)
		}
	}
	for _, part := range []func(context.Context, *sql.Tx) error{rep.keys, rep.chains, rep.account, rep.balance} {
		if err := part(ctx, tx); err != nil {
			return rep, fmt.Errorf("verify: %w", err)
		}
	}
	if rep.behind(water); werr != nil {
		rep.problem("%v; the next start takes the ledger for an older one", werr)
	}
	rep.OK = len(rep.Problems) == 0
	return rep, nil
}

// rules are queries that return one text per violation.
var rules = []struct{ text, query string }{
	{"a row was removed", `SELECT name || ': ' || seq || ' were ever written, ' || n || ' are there' FROM sqlite_sequence JOIN (
		SELECT 'recordings' AS name, count(*) AS n FROM recordings UNION ALL SELECT 'deliveries', count(*) FROM deliveries
		UNION ALL SELECT 'events', count(*) FROM events) USING (name) WHERE seq <> n`},
	{"the counters are wrong", `SELECT kind || ' ' || scope || ' ' || state || ' ' || reason || ': ' || sum(n) || ' too many' FROM (
		SELECT kind, scope, state, reason, n FROM counts
		UNION ALL SELECT 'recording', source, state, reason, -count(*) FROM recordings GROUP BY source, state, reason
		UNION ALL SELECT 'delivery', destination, state, reason, -count(*) FROM deliveries GROUP BY destination, state, reason)
		GROUP BY kind, scope, state, reason HAVING sum(n) <> 0`},
	{"a ready recording has no delivery", `SELECT 'recording ' || id FROM recordings AS r WHERE state IN ('ready', 'done')
		AND NOT EXISTS (SELECT 1 FROM deliveries WHERE recording_id = r.id)`},
	{"a file was disposed of that a delivery still needs", `SELECT 'recording ' || r.id || ', delivery ' || d.id FROM recordings AS r
		JOIN deliveries AS d ON d.recording_id = r.id LEFT JOIN deliveries AS o ON o.id = d.duplicate_of
		WHERE r.state = 'done' AND coalesce(o.state, d.state) NOT IN ('accepted', 'confirmed', 'cancelled')`},
	{"the history does not end at the recording's state", `SELECT 'recording ' || id FROM recordings AS r WHERE state IS NOT
		(SELECT to_state FROM events WHERE recording_id = r.id AND delivery_id IS NULL ORDER BY id DESC LIMIT 1)`},
	{"the history does not end at the delivery's state", `SELECT 'delivery ' || id FROM deliveries AS d WHERE state IS NOT
		(SELECT to_state FROM events INDEXED BY events_recording WHERE recording_id = d.recording_id AND delivery_id = d.id ORDER BY id DESC LIMIT 1)`},
	{"a duplicate's original is a duplicate", `SELECT 'delivery ' || d.id FROM deliveries AS d JOIN deliveries AS o ON o.id = d.duplicate_of
		WHERE o.duplicate_of IS NOT NULL OR o.destination <> d.destination OR o.idem_key <> d.idem_key`},
	{"an accepted delivery has no time of acceptance", `SELECT 'delivery ' || id FROM deliveries WHERE state IN ('accepted', 'confirmed') AND accepted_at IS NULL`},
}

func (rep *Report) check(ctx context.Context, tx *sql.Tx, what, query string) error {
	rows, err := tx.QueryContext(ctx, query+" LIMIT 20")
	if err != nil {
		return err
	}
	return each(rows, func(rows *sql.Rows) error {
		var which string
		if err := rows.Scan(&which); err != nil {
			return err
		}
		rep.problem("%s: %s", what, which)
		return nil
	})
}

// balance fills the counting rule of every destination and checks that its
// parts make up the whole.
func (rep *Report) balance(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT destination, count(*), sum(state IN ('accepted', 'confirmed')), sum(state = 'duplicate'), sum(state = 'rejected'),
		sum(state = 'held'), sum(state = 'cancelled'), sum(state IN ('planned', 'declaring', 'declared', 'sending', 'committing', 'in_doubt'))
		FROM deliveries GROUP BY destination ORDER BY destination`)
	if err != nil {
		return err
	}
	return each(rows, func(rows *sql.Rows) error {
		var b Balance
		if err := rows.Scan(&b.Destination, &b.Seen, &b.Accepted, &b.Duplicate, &b.Rejected, &b.Held, &b.Cancelled, &b.Pending); err != nil {
			return err
		}
		rep.Balances = append(rep.Balances, b)
		if sum := b.Accepted + b.Duplicate + b.Rejected + b.Held + b.Cancelled + b.Pending; sum != b.Seen {
			rep.problem("the counting rule is broken for %s: %d seen, %d accounted for", b.Destination, b.Seen, sum)
		}
		return nil
	})
}
