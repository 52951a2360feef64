package watcher

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// CompleteKind is how a source says that a file is whole.
type CompleteKind uint8

// The kinds. Every one of them also needs an identity that did not change
// between two looks.
const (
	Settle  CompleteKind = iota // quiet for the settle time
	Rename                      // written elsewhere or under a temporary name, then renamed
	Sidecar                     // its sidecar is there, which the producer writes last
	Marker                      // an empty file beside it says so
)

// Complete is a source's rule of completeness. Suffix is the marker's.
type Complete struct {
	Kind   CompleteKind
	Suffix string
}

// ParseComplete reads "settle", "rename", "sidecar" or "marker:.done".
func ParseComplete(s string) (Complete, error) {
	switch s {
	case "settle":
		return Complete{Kind: Settle}, nil
	case "rename":
		return Complete{Kind: Rename}, nil
	case "sidecar":
		return Complete{Kind: Sidecar}, nil
	}
	suffix, ok := strings.CutPrefix(s, "marker:")
	switch {
	case !ok:
		return Complete{}, fmt.Errorf(`complete %q: want "settle", "rename", "sidecar" or "marker:.done"`, s)
	case suffix == "":
		return Complete{}, errors.New(`complete "marker:": the marker's suffix is missing, as in "marker:.done"`)
	case strings.ContainsAny(suffix, "/\x00"):
		return Complete{}, fmt.Errorf("complete %q: a marker lies beside its file, its suffix has no slash", s)
	case Ignored("x" + suffix):
		return Complete{}, fmt.Errorf("complete %q: names that end so are temporary and never looked at", s)
	}
	return Complete{Kind: Marker, Suffix: suffix}, nil
}

// String is the form ParseComplete reads.
func (c Complete) String() string {
	switch c.Kind {
	case Rename:
		return "rename"
	case Sidecar:
		return "sidecar"
	case Marker:
		return "marker:" + c.Suffix
	default:
		return "settle"
	}
}

// MarkerPaths names the markers of a file: x.wav.done and x.done for x.wav.
// It is empty for every kind but Marker.
func (c Complete) MarkerPaths(rel string) []string {
	if c.Kind != Marker {
		return nil
	}
	paths := []string{rel + c.Suffix}
	if ext := path.Ext(rel); ext != "" && ext != path.Base(rel) {
		paths = append(paths, strings.TrimSuffix(rel, ext)+c.Suffix)
	}
	return paths
}

// Rule is what a source asks of a file before it is complete. Quiet is the
// source's settle time.
type Rule struct {
	Quiet    time.Duration
	Complete Complete
}

// Look is what is remembered of a file between looks; the zero Look is a file
// never seen. Since is the first look with this identity, Looks their number.
type Look struct {
	Identity Identity
	Since    time.Time
	Looks    int
}

// Evidence is what was found out about a file besides its identity.
type Evidence struct {
	Hint  bool // its marker or sidecar is there
	Busy  bool // a writer has it open
	Short bool // its header promises more bytes than it has
}

// Verdict is the outcome of one look. Next is to be remembered for the next
// look, which is due at Again. Why is one of: new, changed, clock, no_marker,
// no_sidecar, settling, future_mtime, empty, busy, short; and when complete:
// quiet, rename, sidecar, marker, empty.
type Verdict struct {
	Complete bool
	Next     Look
	Again    time.Time
	Why      string
}

const (
	minGap     = 20 * time.Millisecond // between two looks, where a hint replaces the quiet time
	maxFuture  = 5 * time.Minute       // that a modification time in the future may delay
	minEmpty   = time.Minute           // that an empty file is waited for, at least
	maxPending = time.Minute           // between looks at a file that waits for something else
)

// Judge decides whether a file that was last remembered as prev and looks
// like cur now is complete. It has no other input: a file is judged by what
// it did under our eyes, never by its age, because recorders and copy tools
// set modification times as they like.
//
// Where prev.Since and now both carry a monotonic reading, a clock that was
// set cannot shorten the quiet time; where Since comes from the ledger, a
// clock set back starts it again.
func (r Rule) Judge(prev Look, cur Identity, ev Evidence, now time.Time) Verdict {
	quiet := max(r.Quiet, minGap)
	if r.hinted(ev) {
		quiet = minGap
	}
	look := Look{Identity: cur, Since: prev.Since, Looks: prev.Looks + 1}
	again := func(at time.Time, why string) Verdict { return Verdict{Next: look, Again: at, Why: why} }

	switch {
	case prev.Looks == 0:
		look.Since, look.Looks = now, 1
		return again(now.Add(quiet), "new")
	case prev.Identity != cur:
		look.Since, look.Looks = now, 1
		return again(now.Add(quiet), "changed")
	case now.Before(prev.Since):
		look.Since = now
		return again(now.Add(quiet), "clock")
	}
	same := now.Sub(look.Since)
	// What waits for somebody else is looked at less and less often: a change
	// of the file, or of its marker, brings an event or shows in a scan.
	later := now.Add(min(max(same/4, quiet), max(maxPending, quiet)))

	switch {
	case r.Complete.Kind == Marker && !ev.Hint:
		return again(later, "no_marker")
	case r.Complete.Kind == Sidecar && !ev.Hint:
		return again(later, "no_sidecar")
	case same < quiet:
		return again(look.Since.Add(quiet), "settling")
	}
	if until := r.trusted(look); now.Before(until) {
		return again(until, "future_mtime")
	}
	if cur.Size == 0 {
		if grace := max(10*r.Quiet, minEmpty); same < grace {
			return again(look.Since.Add(grace), "empty")
		}
	}
	switch {
	case ev.Busy:
		// The close that ends this makes no event: look often.
		return again(now.Add(min(max(r.Quiet/4, 5*minGap), 5*time.Second)), "busy")
	case ev.Short:
		return again(later, "short")
	}
	return Verdict{Complete: true, Next: look, Again: now, Why: r.proof(cur)}
}

// hinted says that something stronger than silence vouches for the file.
func (r Rule) hinted(ev Evidence) bool {
	switch r.Complete.Kind {
	case Rename:
		return true
	case Sidecar, Marker:
		return ev.Hint
	default:
		return false
	}
}

// trusted is when a modification time in the future no longer matters: when
// it has come, or after five minutes under our eyes.
func (r Rule) trusted(l Look) time.Time {
	mtime, limit := time.Unix(0, l.Identity.MtimeNS), l.Since.Add(maxFuture)
	if mtime.Before(limit) {
		return mtime
	}
	return limit
}

func (r Rule) proof(cur Identity) string {
	if cur.Size == 0 {
		return "empty"
	}
	switch r.Complete.Kind {
	case Rename:
		return "rename"
	case Sidecar:
		return "sidecar"
	case Marker:
		return "marker"
	default:
		return "quiet"
	}
}
