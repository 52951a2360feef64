package torture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/sandbox"
)

// exempt is a stretch of time in which what the disk acknowledged need not
// survive: from just before a power cut to the end of the daemon.
type exempt struct{ from, to time.Time }

func (e exempt) holds(at time.Time) bool {
	return !e.from.IsZero() && !at.Before(e.from) && !at.After(e.to)
}

// mustSurvive tells whether the recording was durable before the power went.
func (e exempt) mustSurvive(r *recording) bool {
	return !r.durable.IsZero() && (e.from.IsZero() || r.durable.Before(e.from))
}

// verdict is what the checker found. Kept recordings are no violation: a
// person sees them with a reason.
type verdict struct {
	violations []string
	published  int
	kept       []string // name: state (reason)
	seconds    int      // contacts that the vendor took and did not publish again
}

func (v *verdict) bad(format string, args ...any) {
	v.violations = append(v.violations, fmt.Sprintf(format, args...))
}

// checkCrashed compares what a fault left behind, before anything is run
// again: I7, I8, I11, I13. db is a snapshot of the ledger, "" if there is none.
func (s *site) checkCrashed(ctx context.Context, db string, e exempt) verdict {
	var v verdict
	contacts := s.checkVendor(&v)
	s.checkFiles(&v, counts(contacts), e)
	if db != "" {
		checkLedger(ctx, &v, db)
		histories, err := readHistories(ctx, db)
		if err != nil {
			v.bad("the ledger cannot be read: %v", err)
		}
		checkMoved(&v, histories)
	}
	return v
}

// checkEnd compares everything after an ordinary run that came to its end:
// besides the above, every recording is published once or kept with a reason
// (P1, P2), and nothing went to the vendor without a durable intent (I1, I3).
func (s *site) checkEnd(ctx context.Context, e exempt) verdict {
	var v verdict
	contacts := s.checkVendor(&v)
	s.checkFiles(&v, counts(contacts), e)
	db := s.path("state", "ledger.db")
	checkLedger(ctx, &v, db)
	histories, err := readHistories(ctx, db)
	if err != nil {
		v.bad("the ledger cannot be read: %v", err)
		return v
	}
	checkMoved(&v, histories)
	traffics := s.traffics(e)
	for _, r := range s.all {
		s.checkRecording(&v, r, histories[r.name+".wav"], contacts[r.sha256], e)
		checkIntents(&v, r, histories[r.name+".wav"], traffics[r.correlation])
	}
	return v
}

// checkVendor looks at the vendor alone and returns its contacts by hash.
func (s *site) checkVendor(v *verdict) map[string][]sandbox.Contact {
	bySHA, ids := map[string][]sandbox.Contact{}, map[string]string{}
	for _, r := range s.all {
		ids[r.sha256] = r.correlation
	}
	for _, c := range s.vendor.Contacts() {
		bySHA[c.SHA256] = append(bySHA[c.SHA256], c)
		switch c.State {
		case sandbox.Published:
			v.published++
		case sandbox.FailedToPublish:
			v.seconds++
		default:
			v.bad("contact %s is %s: %s", c.CorrelationID, c.State, c.Reason)
		}
		if id, ours := ids[c.SHA256]; !ours {
			v.bad("contact %s has bytes that no recording had", c.CorrelationID)
		} else if c.CorrelationID != id {
			v.bad("a recording went out as %s and must always be %s", c.CorrelationID, id)
		}
	}
	for sum, list := range bySHA {
		n := 0
		for _, c := range list {
			if c.State == sandbox.Published {
				n++
			}
		}
		if n > 1 {
			v.bad("the recording with sha256 %.8s was published %d times", sum, n)
		}
	}
	for _, session := range s.vendor.Sessions() {
		if session.Posts > 1 || session.State == sandbox.SessionCorrupt {
			v.bad("session %s got %d media posts", session.SessionID, session.Posts)
		}
	}
	return bySHA
}

// counts is how often each hash arrived.
func counts(contacts map[string][]sandbox.Contact) map[string]int {
	n := map[string]int{}
	for sum, list := range contacts {
		n[sum] = len(list)
	}
	return n
}

// checkFiles demands that the bytes of every recording are still there, whole,
// and in the archive only when the vendor has them (I7).
func (s *site) checkFiles(v *verdict, arrived map[string]int, e exempt) {
	for _, r := range s.all {
		drop, err1 := hashFile(s.path("drop", r.name+".wav"))
		archived, err2 := hashFile(s.path("archive", r.name+".wav"))
		for _, err := range []error{err1, err2} {
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				v.bad("%s cannot be read: %v", r.name, err)
			}
		}
		switch {
		case err2 == nil && archived != r.sha256:
			v.bad("%s is in the archive with other bytes", r.name)
		case err2 == nil && arrived[r.sha256] == 0:
			v.bad("%s is in the archive and the vendor never got it", r.name)
		case err1 != nil && err2 != nil && e.mustSurvive(r):
			v.bad("%s is gone", r.name)
		case err1 == nil && drop != r.sha256 && e.mustSurvive(r):
			v.bad("%s has other bytes in the drop directory", r.name)
		}
	}
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func checkLedger(ctx context.Context, v *verdict, db string) {
	rep, err := ledger.Verify(ctx, db)
	if err != nil {
		v.bad("verify the ledger: %v", err)
		return
	}
	if !rep.OK {
		v.bad("the ledger is not sound: %s", strings.Join(rep.Problems, "; "))
	}
	for _, b := range rep.Balances {
		if b.Seen != b.Accepted+b.Duplicate+b.Rejected+b.Held+b.Cancelled+b.Pending {
			v.bad("the counting rule does not hold: %+v", b)
		}
	}
}

// readHistories returns all that the ledger knows, by path.
func readHistories(ctx context.Context, db string) (_ map[string][]ledger.Shown, err error) {
	r, err := ledger.OpenReader(ctx, db)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	seen, out := map[int64]bool{}, map[string][]ledger.Shown{}
	err = r.List(ctx, ledger.Filter{}, func(row ledger.Row) error {
		if seen[row.ID] {
			return nil
		}
		seen[row.ID] = true
		list, err := r.Show(ctx, fmt.Sprint(row.ID))
		for _, shown := range list {
			if shown.Recording.ID == row.ID {
				out[row.Path] = append(out[row.Path], shown)
			}
		}
		return err
	})
	return out, err
}

// checkMoved demands that a recording lies where its row says it was moved to.
func checkMoved(v *verdict, histories map[string][]ledger.Shown) {
	for _, rows := range histories {
		for _, row := range rows {
			if to := row.Recording.MovedTo; row.Recording.State == string(ledger.Done) && to != nil && filepath.IsAbs(*to) {
				if _, err := os.Lstat(*to); err != nil {
					v.bad("recording %d is done and not where it was moved to: %v", row.Recording.ID, err)
				}
			}
		}
	}
}

// checkRecording demands one published contact and one accepted delivery, or
// a row that says why not.
func (s *site) checkRecording(v *verdict, r *recording, rows []ledger.Shown, contacts []sandbox.Contact, e exempt) {
	published, accepted, kept := 0, 0, ""
	for _, c := range contacts {
		if c.State == sandbox.Published {
			published++
		}
	}
	for _, row := range rows {
		if sum := row.Recording.SHA256; sum != nil && *sum != r.sha256 && !slices.Contains(r.was, *sum) {
			v.bad("%s: the ledger has another sha256", r.name)
		}
		state, reason := row.Recording.State, row.Recording.Reason
		for _, d := range row.Deliveries {
			switch {
			case d.State == string(ledger.Accepted) || d.State == string(ledger.Confirmed):
				accepted++
			case d.Reason != nil && *d.Reason != "" && final(d.State):
				state, reason = d.State, d.Reason
			}
		}
		if reason != nil && *reason != "" && final(state) {
			kept = state + " (" + *reason + ")"
		}
	}
	switch {
	case accepted == 1 && published == 1:
		if sum, err := hashFile(s.path("archive", r.name+".wav")); err != nil || sum != r.sha256 {
			v.bad("%s is accepted and not in the archive: %v", r.name, err)
		}
	case accepted > 0:
		v.bad("%s: %d accepted deliveries, %d published contacts", r.name, accepted, published)
	case kept != "":
		v.kept = append(v.kept, r.name+": "+kept)
	case e.mustSurvive(r):
		v.bad("%s is neither accepted nor kept with a reason: %d rows, %d published contacts", r.name, len(rows), published)
	}
}

// final tells states in which a recording or delivery rests until a person
// acts or for ever.
func final(state string) bool {
	switch state {
	case string(ledger.Held), string(ledger.Rejected), string(ledger.Cancelled), "quarantined", "vanished", "skipped", "waiting":
		return true
	}
	return false
}

// traffic is what the vendor saw of one recording.
type traffic struct{ sessions, posts, contacts int }

// traffics counts it for all recordings, by correlation id. What reached the
// vendor while a power cut was under way is not counted.
func (s *site) traffics(e exempt) map[string]traffic {
	all := map[string]traffic{}
	for _, session := range s.vendor.Sessions() {
		if !e.holds(session.OpenedAt) {
			seen := all[session.CorrelationID]
			seen.sessions++
			all[session.CorrelationID] = seen
		}
	}
	for _, req := range s.vendor.Requests() {
		if req.Route == sandbox.RouteMedia && req.Bytes > 0 && !e.holds(req.StartedAt) {
			seen := all[req.CorrelationID]
			seen.posts++
			all[req.CorrelationID] = seen
		}
	}
	for _, c := range s.vendor.Contacts() {
		if !e.holds(c.ReceivedAt) {
			seen := all[c.CorrelationID]
			seen.contacts++
			all[c.CorrelationID] = seen
		}
	}
	return all
}

// checkIntents compares counts: as many sessions as declarations, as many
// media posts as sendings and as many contacts as commitments are in the
// history at least.
func checkIntents(v *verdict, r *recording, rows []ledger.Shown, seen traffic) {
	events := map[string]int{}
	for _, row := range rows {
		for _, ev := range row.History {
			if ev.To != nil && (ev.From == nil || *ev.From != *ev.To) {
				events[*ev.To]++
			}
		}
	}
	for _, pair := range []struct {
		what, intent string
		seen         int
	}{
		{"sessions", string(ledger.Declaring), seen.sessions},
		{"media posts", string(ledger.Sending), seen.posts},
		{"contacts", string(ledger.Committing), seen.contacts},
	} {
		if pair.seen > events[pair.intent] {
			v.bad("%s: the vendor saw %d %s, the ledger has %d events %s", r.name, pair.seen, pair.what, events[pair.intent], pair.intent)
		}
	}
}
