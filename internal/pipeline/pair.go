package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/sidecar"
)

// pairing is what a recording's lookups gave.
type pairing struct {
	uses    []ledger.DocumentUse
	keys    map[string]string // sidecar -> the key under which it was looked for
	missing map[string]string // required sidecar -> the key it waits for
	problem *ledger.Decision
	last    ledger.DocumentUse // the newest row that the last lookup found: where there is a problem, it is there
}

// pair looks the recording's documents up, one sidecar after the other, so
// that a later one may use a key found in an earlier one (a join).
func (f *feed) pair(ctx context.Context, r ledger.Recording, env *mapping.Env) (pairing, error) {
	p := pairing{keys: map[string]string{}, missing: map[string]string{}}
	for _, s := range f.src.Sidecars {
		key := s.MediaKey(r.Path)
		if s.Pair == sidecar.PairKey {
			var err error
			if key, err = f.src.Mapping.MediaKey(s.Name, *env); err != nil {
				return p, err
			}
		}
		var rows []ledger.DocumentRow
		if key != "" {
			p.keys[s.Name] = key
			var err error
			if rows, err = f.p.ledger.Lookup(ctx, f.src.Name, s.Name, key, mostRows+1); err != nil {
				return p, err
			}
			if len(rows) > mostRows {
				d := quarantine("ambiguous", fmt.Sprintf("more than %d rows pair as %q; make key and media_key tell more, or export shorter lists, then `ingestd retry`", mostRows, s.Name))
				p.problem = &d
				return p, nil
			}
			if rows, err = f.present(ctx, s, rows); err != nil {
				return p, err
			}
			if n := len(rows); n > 0 {
				p.last = ledger.DocumentUse{Sidecar: s.Name, Digest: rows[n-1].Digest, Newest: rows[n-1].RowID}
			}
			rows, err = f.choose(ctx, r, s, key, rows, env)
			var open *undecided
			if errors.As(err, &open) {
				p.problem = &open.Decision
				return p, nil
			}
			if err != nil {
				return p, err
			}
		}
		switch {
		case len(rows) == 0 && s.IsRequired():
			p.missing[s.Name] = key
		case len(rows) == 0:
		case len(rows) > 1:
			d := quarantine("ambiguous", fmt.Sprintf("more than one document or row pairs as %q (%s row %d, %s row %d); remove the wrong one, or say with where or prefer which row counts, then `ingestd retry`",
				s.Name, rows[0].Path, rows[0].Row, rows[1].Path, rows[1].Row))
			p.problem = &d
			return p, nil
		case rows[0].Reason != "":
			d := quarantine(rows[0].Reason, fmt.Sprintf("its document %s: %s", rows[0].Path, rows[0].ReasonText))
			p.problem = &d
			return p, nil
		default:
			env.Docs[s.Name] = rows[0].Content
			p.uses = append(p.uses, ledger.DocumentUse{
				Sidecar: s.Name, DocumentID: rows[0].DocumentID, RowID: rows[0].RowID,
				Path: rows[0].Path, Row: rows[0].Row, Rule: f.pairedBy(s), SHA256: rows[0].SHA256,
				Key: key, Digest: rows[0].Digest, Newest: p.last.Newest,
			})
		}
	}
	return p, nil
}

// pairedBy is the rule as the ledger notes it. Where prefer chooses among rows,
// the others are earlier versions of the chosen one, and nobody misses them.
func (f *feed) pairedBy(s sidecar.Config) string {
	if s.Nearest() > 0 && !f.src.Mapping.Prefers(s.Name) {
		return ledger.RuleTime
	}
	return s.Pair
}

// present leaves out documents of one recording whose file is gone or is
// another by now: names are used again, and a call must not get the metadata
// of an earlier one. A list may go once it was read.
func (f *feed) present(ctx context.Context, s sidecar.Config, rows []ledger.DocumentRow) ([]ledger.DocumentRow, error) {
	root := f.watch.Root()
	if (s.Pair != sidecar.PairStem && s.Pair != sidecar.PairSuffix) || len(rows) == 0 || root == nil {
		return rows, nil
	}
	var there []ledger.DocumentRow
	for _, row := range rows {
		entry, err := root.Stat(row.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && root.Check() == nil:
			if err := f.p.ledger.DocumentGone(ctx, row.DocumentID, row.DocumentVer); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fmt.Errorf("look at a document: %w", pathless(err))
		case sameFile(row.Identity, entry.Identity):
			there = append(there, row)
		}
	}
	return there, nil
}

// missing says what to do while a required sidecar is not there. The timer
// counts from the persisted first sight, so a restart does not extend it.
func (f *feed) missing(r ledger.Recording, p pairing) (d ledger.Decision, wait bool) {
	until := r.FirstSeen.Add(f.src.WaitForSidecar)
	d = ledger.Decision{State: ledger.Waiting, Keys: p.missing, WaitUntil: until, Due: until,
		Reason: "waiting_for_sidecar", ReasonText: "its sidecar has not come yet"}
	if ready := f.documentsKnown(); ready.After(until) {
		d.Due = ready // it may have come while nobody watched
	}
	if f.p.now().Before(d.Due) && !f.p.opt.DryRun {
		return d, true
	}
	d.Due = time.Time{} // only the sidecar itself wakes it from here on
	why := "no sidecar came within " + f.src.WaitForSidecar.String()
	if f.p.opt.DryRun {
		why = "no sidecar is there" // nobody waited
	}
	d.Reason, d.ReasonText = "no_sidecar", why+"; it is taken up when the sidecar comes"
	switch f.src.OnMissing {
	case OnMissingSend:
		return ledger.Decision{}, false
	case OnMissingQuarantine:
		q := quarantine("no_sidecar", why+"; drop it, then `ingestd retry`")
		q.Keys = p.missing
		return q, true
	default:
		return d, true
	}
}
