package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/sidecar"
)

// mostRows bounds how many rows may share a key, and mostRivals how many
// recordings may ask for it: a choice among more is none.
const (
	mostRows   = 1000
	mostRivals = 1000
)

// choose narrows the rows that share the recording's key to its own: by time,
// then by preference. What is left beyond one row is ambiguous; rows that say
// the same are one.
func (f *feed) choose(ctx context.Context, r ledger.Recording, s sidecar.Config, key string, rows []ledger.DocumentRow, env *mapping.Env) ([]ledger.DocumentRow, error) {
	if len(rows) == 0 || rows[0].Reason != "" {
		return rows, nil
	}
	var err error
	if s.Nearest() > 0 {
		if rows, err = f.nearest(ctx, r, s, key, rows, env); err != nil {
			return nil, err
		}
	}
	if len(rows) > 1 && f.src.Mapping.Prefers(s.Name) {
		if rows, err = f.preferred(s, rows); err != nil {
			return nil, err
		}
	}
	return slices.CompactFunc(rows, func(a, b ledger.DocumentRow) bool {
		return a.Reason == "" && b.Reason == "" && reflect.DeepEqual(a.Content, b.Content)
	}), nil
}

// preferred keeps the rows with the greatest value of the sidecar's prefer.
func (f *feed) preferred(s sidecar.Config, rows []ledger.DocumentRow) ([]ledger.DocumentRow, error) {
	var best []ledger.DocumentRow
	var most mapping.Rank
	for _, row := range rows {
		if row.Reason != "" {
			continue // a bad row is not chosen while a good one is there
		}
		rank, err := f.src.Mapping.Rank(s.Name, row.Path, row.Content)
		if err != nil {
			return nil, err
		}
		order, comparable := rank.Compare(most)
		switch {
		case len(best) == 0 || comparable && order > 0:
			best, most = []ledger.DocumentRow{row}, rank
		case !comparable:
			return rows, nil
		case order == 0:
			best = append(best, row)
		}
	}
	return best, nil
}

// pairInTime is a recording and a row within the window.
type pairInTime struct {
	recording int64
	row       int
	distance  time.Duration
}

// nearest gives the recording the row that is nearest to it in time, every row
// to one recording: of all pairs of the recordings and rows that share the key
// the closest is made first, then the closest of what is left. Two rows that
// are equally close to the recording both come back, and so does a row that
// another recording was paired with already: both are ambiguous.
func (f *feed) nearest(ctx context.Context, r ledger.Recording, s sidecar.Config, key string, rows []ledger.DocumentRow, env *mapping.Env) ([]ledger.DocumentRow, error) {
	if r.State == ledger.Settling {
		// Files that settle together must know of each other first: it waits
		// under its key for one round, and is decided in the next.
		now := f.p.now()
		return nil, &undecided{ledger.Decision{State: ledger.Waiting, Keys: map[string]string{s.Name: key}, Due: now,
			WaitUntil: r.FirstSeen.Add(f.src.WaitForSidecar), Reason: "waiting_for_sidecar", ReasonText: "its row is looked for"}}
	}
	own, err := f.src.Mapping.MediaTime(s.Name, *env)
	if err != nil {
		return nil, err
	}
	if own.IsZero() {
		return nil, nil // it has no time: none is near
	}
	at := make([]time.Time, len(rows))
	for i, row := range rows {
		if at[i], err = f.src.Mapping.RowTime(s.Name, row.Path, row.Content); err != nil {
			return nil, err
		}
	}
	rivals, err := f.p.ledger.Rivals(ctx, f.src.Name, s.Name, key, r.ID, mostRivals)
	if err != nil {
		return nil, err
	}
	if len(rivals) >= mostRivals {
		return nil, &undecided{quarantine("ambiguous", fmt.Sprintf("more than %d recordings ask for the same rows as %q; make key and media_key tell more, then `ingestd retry`", mostRivals, s.Name))}
	}
	pairs := within(nil, r.ID, own, at, s.Nearest())
	for _, rival := range rivals {
		pairs = within(pairs, rival.ID, f.rivalTime(s, rival), at, s.Nearest())
	}
	mine := assign(pairs, r.ID)
	out := make([]ledger.DocumentRow, 0, 2)
	for _, i := range mine {
		out = append(out, rows[i])
	}
	for _, rival := range rivals {
		if len(out) == 1 && rival.DocumentID == out[0].DocumentID && rival.Digest == out[0].Digest {
			d := quarantine("ambiguous", fmt.Sprintf("its nearest row as %q (%s row %d) belongs to recording %d already; compare the two, then `ingestd retry`",
				s.Name, out[0].Path, out[0].Row, rival.ID))
			return nil, &undecided{d}
		}
	}
	return out, nil
}

// rivalTime is the time of another recording, as far as its name tells.
func (f *feed) rivalTime(s sidecar.Config, rival ledger.Rival) time.Time {
	names, err := f.src.Mapping.Names(rival.Path)
	if err != nil {
		return time.Time{}
	}
	base := path.Base(rival.Path)
	ext := path.Ext(base)
	at, err := f.src.Mapping.MediaTime(s.Name, mapping.Env{Names: names, File: call.File{
		Path: rival.Path, Name: base, Stem: strings.TrimSuffix(base, ext), Ext: strings.TrimPrefix(ext, ".")}})
	if err != nil {
		return time.Time{}
	}
	return at
}

func within(pairs []pairInTime, recording int64, own time.Time, at []time.Time, window time.Duration) []pairInTime {
	for i, t := range at {
		if d := t.Sub(own).Abs(); !own.IsZero() && !t.IsZero() && d <= window {
			pairs = append(pairs, pairInTime{recording, i, d})
		}
	}
	return pairs
}

// assign makes the closest pair first, then the closest of what is left, and
// returns the recording's row; two when it cannot tell which.
func assign(pairs []pairInTime, recording int64) []int {
	slices.SortStableFunc(pairs, func(a, b pairInTime) int { return cmp.Compare(a.distance, b.distance) })
	rowTaken, served := map[int]bool{}, map[int64]bool{}
	for n, p := range pairs {
		if rowTaken[p.row] || served[p.recording] {
			continue
		}
		if p.recording == recording {
			mine := []int{p.row}
			for _, q := range pairs[n+1:] {
				if q.distance == p.distance && q.recording == recording && !rowTaken[q.row] {
					return append(mine, q.row)
				}
			}
			return mine
		}
		rowTaken[p.row], served[p.recording] = true, true
	}
	return nil
}

// undecided carries a decision out of the lookups.
type undecided struct{ ledger.Decision }

func (u *undecided) Error() string { return u.Reason }
