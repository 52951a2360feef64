package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Pending counts what is still to be done, and what cannot be done without a
// person or a file that is not there.
type Pending struct {
	Settling    int   // recordings that still settle, or go on by themselves after a time
	Documents   int   // documents that still settle
	Waiting     int   // recordings that wait for a sidecar, a marker or the rest of their bytes
	Deliveries  int   // planned up to in doubt
	Stranded    int   // as many, of a source or to a destination that is no longer configured
	Disposable  int   // files that may go now
	Delivered   int   // accepted or confirmed, since ever
	NeedsPerson int   // held, rejected, quarantined, or waiting past their time
	Bytes       int64 // of Deliveries; beyond the first thousands an estimate
}

// bytesSample bounds the work of estimating Pending.Bytes.
const bytesSample = 5000

// Pending counts for these sources, each with the destinations that it sends
// to; what others left behind cannot move. It costs little whatever the
// backlog: it reads the counters that triggers keep, and short indexes.
func (l *Ledger) Pending(ctx context.Context, routes map[string][]string) (Pending, error) {
	const ours = "(SELECT value FROM json_each(?1))"
	const routed = "(SELECT s.key, d.value FROM json_each(?1) AS s JOIN json_each(s.value) AS d)"
	sources := slices.Sorted(maps.Keys(routes))
	names, err1 := json.Marshal(sources)
	pairs, err2 := json.Marshal(routes)
	if err := errors.Join(err1, err2); err != nil {
		return Pending{}, fmt.Errorf("pending: %w", err)
	}
	var p Pending
	now := l.now().UnixMilli()
	var due, timed int
	// Work moves from documents to recordings to deliveries to files. Counting
	// in this order, what moves on meanwhile is counted twice, never missed.
	for _, q := range []struct {
		sql  string
		args []any
		into []any
	}{
		{`SELECT (SELECT count(*) FROM documents INDEXED BY documents_due WHERE state = 'settling' AND source IN ` + ours + `) +
			(SELECT count(*) FROM documents INDEXED BY documents_unfinished WHERE unfinished = 1 AND source IN ` + ours + `) +
			(SELECT count(*) FROM recording_changes WHERE source IN ` + ours + `)`, []any{string(names)}, []any{&p.Documents}},
		{"SELECT count(*) FROM recordings WHERE source IN " + ours + " AND state = 'waiting' AND due_at <= ?2", []any{string(names), now}, []any{&due}},
		{"SELECT coalesce(sum(n), 0) FROM counts WHERE kind = 'recording' AND scope IN " + ours + " AND state = 'waiting' AND reason IN ('numbering', 'waiting_for_copy')",
			[]any{string(names)}, []any{&timed}},
	} {
		if err := l.reader.row(ctx, q.sql, q.args, q.into); err != nil {
			return Pending{}, fmt.Errorf("pending: %w", err)
		}
	}
	s := Status{Sources: map[string]map[string]int64{}, Destinations: map[string]map[string]int64{}, NeedsPerson: map[string]int64{}, ProcessingFailed: map[string]int64{}}
	if err := l.reader.counts(ctx, &s); err != nil {
		return Pending{}, fmt.Errorf("pending: %w", err)
	}
	waiting := 0
	for _, source := range sources {
		p.Settling += int(s.Sources[source][string(Settling)])
		waiting += int(s.Sources[source][string(Waiting)])
	}
	for _, states := range s.Destinations {
		for _, state := range []State{Planned, Declaring, Declared, Sending, Committing, InDoubt} {
			p.Deliveries += int(states[string(state)])
		}
		p.Delivered += int(states[string(Accepted)] + states[string(Confirmed)])
	}
	for _, n := range s.NeedsPerson {
		p.NeedsPerson += int(n)
	}
	var late, stalled, sampled int
	var sum int64
	for _, q := range []struct {
		sql  string
		args []any
		into []any
	}{
		{"SELECT count(*) FROM recordings INDEXED BY recordings_late WHERE state = 'waiting' AND wait_until <= ?", []any{now}, []any{&late}},
		{`SELECT count(*) FROM recordings INDEXED BY recordings_open WHERE state IN ('settling', 'waiting', 'quarantined')
			AND state = 'settling' AND reason IN ('no_marker', 'no_sidecar', 'short') AND due_at > ?2 AND source IN ` + ours, []any{string(names), now}, []any{&stalled}},
		{`SELECT count(*) FROM deliveries AS d INDEXED BY deliveries_open WHERE (` + inPendingStates + `)
			AND (d.source, d.destination) NOT IN ` + routed, []any{string(pairs)}, []any{&p.Stranded}},
		{`SELECT (SELECT count(*) FROM recordings WHERE source IN ` + ours + ` AND state = 'ready' AND settled = 1 AND move_to IS NULL AND due_at <= ?2) +
			(SELECT count(*) FROM recordings WHERE source IN ` + ours + ` AND state = 'ready' AND move_to IS NOT NULL)`, []any{string(names), now}, []any{&p.Disposable}},
		{`SELECT count(*), coalesce(sum(r.size), 0) FROM (SELECT recording_id FROM deliveries AS d INDEXED BY deliveries_open
			WHERE ` + inPendingStates + ` LIMIT ? + 0) AS d
			JOIN recordings AS r ON r.id = d.recording_id`, []any{bytesSample}, []any{&sampled, &sum}},
	} {
		if err := l.reader.row(ctx, q.sql, q.args, q.into); err != nil {
			return Pending{}, fmt.Errorf("pending: %w", err)
		}
	}
	// A waiting recording past its time that is due is about to be decided; one
	// that waits for others of its call or a better copy goes on when its time
	// is over, whether they come or not.
	p.Settling += due + timed - stalled
	p.Deliveries -= p.Stranded
	p.NeedsPerson += late
	p.Waiting = max(waiting-timed-late, 0) + stalled
	if p.Bytes = sum; sampled > 0 && p.Deliveries > sampled {
		p.Bytes = sum / int64(sampled) * int64(p.Deliveries)
	}
	return p, nil
}
