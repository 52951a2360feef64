package watcher_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/watcher"
)

// t0 is the instant that the tables count from.
func t0() time.Time { return time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC) }

// file is an identity that was written at second write of the table's clock,
// with a change time of its own.
func file(size int64, write, change time.Duration) watcher.Identity {
	return watcher.Identity{
		Dev: 1, Ino: 2, Size: size,
		MtimeNS: t0().Add(write).UnixNano(), CtimeNS: t0().Add(change).UnixNano(),
	}
}

type look struct {
	at   time.Duration
	id   watcher.Identity
	ev   watcher.Evidence
	want string        // Why
	next time.Duration // Again, counted from t0; not compared when done
	done bool
}

func TestJudge(t *testing.T) {
	const s = time.Second
	const ms = time.Millisecond
	settle := watcher.Rule{Quiet: 10 * s}
	rename := watcher.Rule{Quiet: 10 * s, Complete: watcher.Complete{Kind: watcher.Rename}}
	sidecar := watcher.Rule{Quiet: 10 * s, Complete: watcher.Complete{Kind: watcher.Sidecar}}
	marker := watcher.Rule{Quiet: 10 * s, Complete: watcher.Complete{Kind: watcher.Marker, Suffix: ".done"}}
	zero := watcher.Rule{}
	a, b := file(100, -1*s, -1*s), file(200, 4*s, 4*s)
	old := file(100, -1000*time.Hour, -1000*time.Hour)
	hint := watcher.Evidence{Hint: true}
	busy := watcher.Evidence{Busy: true}
	short := watcher.Evidence{Short: true}

	tests := map[string]struct {
		rule  watcher.Rule
		looks []look
	}{
		"quiet for the settle time": {settle, []look{
			{at: 0, id: a, want: "new", next: 10 * s},
			{at: 9 * s, id: a, want: "settling", next: 10 * s},
			{at: 10 * s, id: a, want: "quiet", done: true},
		}},
		"an old file is not complete at first sight": {settle, []look{
			{at: 0, id: old, want: "new", next: 10 * s},
			{at: 1 * ms, id: old, want: "settling", next: 10 * s},
			{at: 10 * s, id: old, want: "quiet", done: true},
		}},
		"a change starts the quiet time again": {settle, []look{
			{at: 0, id: a, want: "new", next: 10 * s},
			{at: 5 * s, id: b, want: "changed", next: 15 * s},
			{at: 10 * s, id: b, want: "settling", next: 15 * s},
			{at: 15 * s, id: b, want: "quiet", done: true},
		}},
		"a pause longer than the quiet time, seen only by the next look": {settle, []look{
			{at: 0, id: a, want: "new", next: 10 * s},
			{at: 30 * s, id: b, want: "changed", next: 40 * s},
			{at: 40 * s, id: b, want: "quiet", done: true},
		}},
		"rewritten with size and mtime restored": {settle, []look{
			{at: 0, id: a, want: "new", next: 10 * s},
			{at: 10 * s, id: file(100, -1*s, 6*s), want: "changed", next: 20 * s},
			{at: 20 * s, id: file(100, -1*s, 6*s), want: "quiet", done: true},
		}},
		"replaced by another inode": {settle, []look{
			{at: 0, id: a, want: "new", next: 10 * s},
			{at: 10 * s, id: watcher.Identity{Dev: 1, Ino: 3, Size: a.Size, MtimeNS: a.MtimeNS, CtimeNS: a.CtimeNS}, want: "changed", next: 20 * s},
		}},
		"the clock goes back": {settle, []look{
			{at: 0, id: a, want: "new", next: 10 * s},
			{at: -3600 * s, id: old, want: "changed", next: -3590 * s},
			{at: -7200 * s, id: old, want: "clock", next: -7190 * s},
			{at: -7195 * s, id: old, want: "settling", next: -7190 * s},
			{at: -7190 * s, id: old, want: "quiet", done: true},
		}},
		"a writer holds it open however quiet it is": {settle, []look{
			{at: 0, id: a, ev: busy, want: "new", next: 10 * s},
			{at: 10 * s, id: a, ev: busy, want: "busy", next: 12500 * ms},
			{at: 3600 * s, id: a, ev: busy, want: "busy", next: 3602500 * ms},
			{at: 3601 * s, id: a, want: "quiet", done: true},
		}},
		"the header promises more": {settle, []look{
			{at: 0, id: a, ev: short, want: "new", next: 10 * s},
			{at: 10 * s, id: a, ev: short, want: "short", next: 20 * s},
			{at: 100 * s, id: a, ev: short, want: "short", next: 125 * s},
			{at: 86400 * s, id: a, ev: short, want: "short", next: 86460 * s},
			{at: 86460 * s, id: b, want: "changed", next: 86470 * s},
			{at: 86470 * s, id: b, want: "quiet", done: true},
		}},
		"empty: one minute at least": {settle, []look{
			{at: 0, id: file(0, 0, 0), want: "new", next: 10 * s},
			{at: 10 * s, id: file(0, 0, 0), want: "empty", next: 100 * s},
			{at: 99 * s, id: file(0, 0, 0), want: "empty", next: 100 * s},
			{at: 100 * s, id: file(0, 0, 0), want: "empty", done: true},
		}},
		"empty with a short quiet time": {watcher.Rule{Quiet: s}, []look{
			{at: 0, id: file(0, 0, 0), want: "new", next: 1 * s},
			{at: 10 * s, id: file(0, 0, 0), want: "empty", next: 60 * s},
			{at: 60 * s, id: file(0, 0, 0), want: "empty", done: true},
		}},
		"empty by rename waits as well": {rename, []look{
			{at: 0, id: file(0, 0, 0), want: "new", next: 20 * ms},
			{at: 20 * ms, id: file(0, 0, 0), want: "empty", next: 100 * s},
		}},
		"a modification time a little ahead": {settle, []look{
			{at: 0, id: file(9, 30*s, 0), want: "new", next: 10 * s},
			{at: 10 * s, id: file(9, 30*s, 0), want: "future_mtime", next: 30 * s},
			{at: 30 * s, id: file(9, 30*s, 0), want: "quiet", done: true},
		}},
		"a modification time in another century delays five minutes": {settle, []look{
			{at: 0, id: file(9, 700000*time.Hour, 0), want: "new", next: 10 * s},
			{at: 10 * s, id: file(9, 700000*time.Hour, 0), want: "future_mtime", next: 300 * s},
			{at: 299 * s, id: file(9, 700000*time.Hour, 0), want: "future_mtime", next: 300 * s},
			{at: 300 * s, id: file(9, 700000*time.Hour, 0), want: "quiet", done: true},
		}},
		"a negative modification time": {settle, []look{
			{at: 0, id: watcher.Identity{Size: 1, MtimeNS: -1}, want: "new", next: 10 * s},
			{at: 10 * s, id: watcher.Identity{Size: 1, MtimeNS: -1}, want: "quiet", done: true},
		}},
		"rename: two looks, 20 ms apart": {rename, []look{
			{at: 0, id: a, want: "new", next: 20 * ms},
			{at: 19 * ms, id: a, want: "settling", next: 20 * ms},
			{at: 20 * ms, id: a, want: "rename", done: true},
		}},
		"rename, but a writer holds it": {rename, []look{
			{at: 0, id: a, want: "new", next: 20 * ms},
			{at: 20 * ms, id: a, ev: busy, want: "busy", next: 2520 * ms},
		}},
		"no marker, ever": {marker, []look{
			{at: 0, id: a, want: "new", next: 10 * s},
			{at: 10 * s, id: a, want: "no_marker", next: 20 * s},
			{at: 3600 * s, id: a, want: "no_marker", next: 3660 * s},
			{at: 3601 * s, id: a, ev: hint, want: "marker", done: true},
		}},
		"the marker before the data": {marker, []look{
			{at: 0, id: a, ev: hint, want: "new", next: 20 * ms},
			{at: 20 * ms, id: file(200, 0, 0), ev: hint, want: "changed", next: 40 * ms},
			{at: 39 * ms, id: file(200, 0, 0), ev: hint, want: "settling", next: 40 * ms},
			{at: 40 * ms, id: file(200, 0, 0), ev: watcher.Evidence{Hint: true, Busy: true}, want: "busy", next: 2540 * ms},
			{at: 2540 * ms, id: file(200, 0, 0), ev: watcher.Evidence{Hint: true, Short: true}, want: "short", next: 2540*ms + 630*ms},
			{at: 9 * s, id: file(200, 0, 0), ev: hint, want: "marker", done: true},
		}},
		"sidecar": {sidecar, []look{
			{at: 0, id: a, want: "new", next: 10 * s},
			{at: 10 * s, id: a, want: "no_sidecar", next: 20 * s},
			{at: 11 * s, id: a, ev: hint, want: "sidecar", done: true},
		}},
		"no quiet time still means two looks": {zero, []look{
			{at: 0, id: a, want: "new", next: 20 * ms},
			{at: 0, id: a, want: "settling", next: 20 * ms},
			{at: 20 * ms, id: a, want: "quiet", done: true},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var prev watcher.Look
			for i, l := range tt.looks {
				v := tt.rule.Judge(prev, l.id, l.ev, t0().Add(l.at))
				if v.Why != l.want || v.Complete != l.done {
					t.Fatalf("look %d at %v: got %q complete=%v, want %q complete=%v", i, l.at, v.Why, v.Complete, l.want, l.done)
				}
				if !l.done && !v.Again.Equal(t0().Add(l.next)) {
					t.Fatalf("look %d at %v: again at %v, want %v", i, l.at, v.Again.Sub(t0()), l.next)
				}
				if v.Next.Identity != l.id {
					t.Fatalf("look %d: remembers another identity", i)
				}
				prev = v.Next
			}
		})
	}
}

// A look that is done when the verdict asked for it must come to an end:
// nothing waits for ever but for a writer, a marker, or missing bytes.
func TestJudgeEnds(t *testing.T) {
	for _, size := range []int64{0, 1} {
		for _, ahead := range []time.Duration{-1e6 * time.Hour, 0, time.Second, 1e6 * time.Hour} {
			id, now := file(size, ahead, 0), t0()
			rule := watcher.Rule{Quiet: 10 * time.Second}
			v := rule.Judge(watcher.Look{}, id, watcher.Evidence{}, now)
			for looks := 1; !v.Complete; looks++ {
				if !v.Again.After(now) || looks > 10 {
					t.Fatalf("size %d, mtime %v ahead: look %d again at %v, now %v", size, ahead, looks, v.Again, now)
				}
				now = v.Again
				v = rule.Judge(v.Next, id, watcher.Evidence{}, now)
			}
		}
	}
}

func TestParseComplete(t *testing.T) {
	good := map[string]watcher.Complete{
		"settle":       {Kind: watcher.Settle},
		"rename":       {Kind: watcher.Rename},
		"sidecar":      {Kind: watcher.Sidecar},
		"marker:.done": {Kind: watcher.Marker, Suffix: ".done"},
		"marker:_ok":   {Kind: watcher.Marker, Suffix: "_ok"},
	}
	for text, want := range good {
		got, err := watcher.ParseComplete(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: got %+v (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "Settle", "marker", "marker:", "marker:/x", "marker:.tmp", "marker:~", "close"} {
		if _, err := watcher.ParseComplete(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestMarkerPaths(t *testing.T) {
	done := watcher.Complete{Kind: watcher.Marker, Suffix: ".done"}
	tests := map[string][]string{
		"x.wav":       {"x.wav.done", "x.done"},
		"d.1/x.wav":   {"d.1/x.wav.done", "d.1/x.done"},
		"d.1/x":       {"d.1/x.done"},
		"a.b.wav":     {"a.b.wav.done", "a.b.done"},
		"\xff\n.wav":  {"\xff\n.wav.done", "\xff\n.done"},
		"dir/.hidden": {"dir/.hidden.done"},
	}
	for rel, want := range tests {
		if diff := cmp.Diff(want, done.MarkerPaths(rel)); diff != "" {
			t.Errorf("%q: %s", rel, diff)
		}
	}
	if got := (watcher.Complete{Kind: watcher.Settle}).MarkerPaths("x.wav"); got != nil {
		t.Errorf("settle has markers: %q", got)
	}
}

func TestIgnored(t *testing.T) {
	for _, name := range []string{
		".hidden.wav", ".~lock", "~$x.wav", "x.wav~", "x.tmp", "x.wav.TMP", "x.part", "x.partial", "x.filepart",
		"x.crdownload", "x.swp", "x.mcf", "Thumbs.db", "thumbs.DB", "desktop.ini", "@eaDir", "x.wav.ocTransferId4711.part",
		"x.wav.ocTransferId4711", "$RECYCLE.BIN", "lost+found", ".", "",
	} {
		if !watcher.Ignored(name) {
			t.Errorf("%q is looked at", name)
		}
	}
	for _, name := range []string{
		"x.wav", "x", "~x.wav", "-rf", "part", "tmp.wav", "x.tmp.wav", "\xff\xfe.wav", "a\nb.wav", "Thumbs.db.wav",
		"x.", "x.partner", "d", "tmp", "x.done", "x.json", "$(x)",
	} {
		if watcher.Ignored(name) {
			t.Errorf("%q is ignored", name)
		}
	}
}
