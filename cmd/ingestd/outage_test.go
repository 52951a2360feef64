package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/sandbox"
	"ingestd/internal/sandbox/pipenet"
)

// line is a vendor at the end of a line that can be cut.
type line struct {
	vendor sandbox.Vendor
	mu     sync.Mutex
	ln     *pipenet.Listener // nil: cut
	cut    func()
}

func (l *line) up() {
	ln, served := pipenet.Listen(), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- sandbox.Serve(ctx, ln, l.vendor) }()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ln, l.cut = ln, func() { cancel(); <-served }
}

// down ends every connection and refuses new ones.
func (l *line) down() {
	l.mu.Lock()
	l.ln = nil
	l.mu.Unlock()
	l.cut()
}

func (l *line) dial(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	ln := l.ln
	l.mu.Unlock()
	if ln == nil {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
	}
	return ln.Dial(ctx)
}

// effects is what the vendor will analyse.
func (l *line) effects(t *testing.T) int {
	t.Helper()
	seen := map[string]bool{}
	for _, s := range l.vendor.Stored() {
		if !s.Effect || seen[s.SHA256] {
			t.Errorf("%s has an effect: %v; there was one before: %v", s.Key, s.Effect, seen[s.SHA256])
		}
		seen[s.SHA256] = true
	}
	return len(seen)
}

// outageRig is a whole daemon in fake time that sends every recording to two
// vendors.
type outageRig struct {
	*testing.T
	dir   string
	lines map[string]*line // by destination, which is named as its vendor
	names []string
	app   *app
	led   *ledger.Ledger
	stop  func()
	drops int
}

// giveUp is less than the outage takes.
const giveUp, outage = time.Hour, 5 * time.Hour

func newOutageRig(t *testing.T, names ...string) *outageRig {
	r := &outageRig{T: t, dir: t.TempDir(), lines: map[string]*line{}, names: names}
	byAddr, text := map[string]*line{}, ""
	for i, name := range names {
		v, err := sandbox.New(name, sandbox.Options{RatePerMinute: -1})
		if err != nil {
			t.Fatal(err)
		}
		l := &line{vendor: v}
		l.up()
		addr := fmt.Sprintf("127.0.0.1:%d", i+1)
		byAddr[addr], r.lines[name] = l, l
		text += fmt.Sprintf("[[destination]]\nname = %q\nrate = \"unlimited\"\n%s\n[destination.retry]\ngive_up = %q\n", name, strings.Join(v.Settings("http://"+addr, "plain:secret"), "\n"), giveUp)
	}
	for _, name := range []string{"drop", "archive"} {
		if err := os.Mkdir(filepath.Join(r.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(strings.NewReader(fmt.Sprintf("[ledger]\npath = %q\n%s[[source]]\nname = \"drop\"\npath = %q\ndestinations = [%q, %q]\nafter = \"move\"\narchive = %q\n",
		filepath.Join(r.dir, "ledger.db"), text, filepath.Join(r.dir, "drop"), names[0], names[1], filepath.Join(r.dir, "archive"))), filepath.Join(r.dir, "ingestd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	r.app = &app{ui: newUI(io.Discard, io.Discard), now: time.Now, hard: t.Context(), dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return byAddr[addr].dial(ctx)
	}}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if r.led, err = ledger.Open(t.Context(), ledger.Options{Path: cfg.Ledger.Path, Now: time.Now, Log: log}); err != nil {
		t.Fatal(err)
	}
	p, err := r.app.build(cfg, r.led, log, pipeline.Options{Poll: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, halt := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, t.Context()) }()
	r.stop = func() {
		halt()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := r.led.Close(); err != nil {
			t.Error(err)
		}
		for _, l := range r.lines {
			l.down()
		}
	}
	return r
}

func (r *outageRig) drop(n int) {
	r.Helper()
	for range n {
		r.drops++
		stem := filepath.Join(r.dir, "drop", fmt.Sprintf("call%03d", r.drops))
		for name, content := range map[string][]byte{
			stem + ".json": fmt.Appendf(nil, `{"call_id": "c%d", "started_at": "2026-11-02T14:05:06Z", "direction": "inbound", "agent_name": "Dana Reyes"}`, r.drops),
			stem + ".wav":  makeWAV(4000, rand.New(rand.NewPCG(1, uint64(r.drops)))),
		} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				r.Fatal(err)
			}
			if err := os.Chtimes(name, time.Now(), time.Now()); err != nil {
				r.Fatal(err)
			}
		}
	}
}

// has demands how many recordings a vendor has and the ledger calls accepted,
// each after one attempt.
func (r *outageRig) has(when, name string, want int) {
	r.Helper()
	accepted := 0
	err := r.led.Reader().List(r.Context(), ledger.Filter{}, func(row ledger.Row) error {
		if deref(row.Destination) != name {
			return nil
		}
		if row.State == string(ledger.Accepted) || row.State == string(ledger.Confirmed) {
			if accepted++; row.Attempts != 1 {
				r.Errorf("%s: %s: %s took %d attempts", when, name, row.Path, row.Attempts)
			}
		}
		if row.State == string(ledger.Held) || row.State == string(ledger.Rejected) {
			r.Errorf("%s: %s: %s is %s (%s)", when, name, row.Path, row.State, deref(row.ReasonText))
		}
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	if got := r.lines[name].effects(r.T); got != want || accepted != want {
		r.Errorf("%s: %s has %d recordings, the ledger calls %d accepted, want %d", when, name, got, accepted, want)
	}
}

func (r *outageRig) archived(when string, want int) {
	r.Helper()
	list, err := filepath.Glob(filepath.Join(r.dir, "archive", "*.wav"))
	if err != nil || len(list) != want {
		r.Errorf("%s: %d recordings are in the archive, want %d (%v)", when, len(list), want, err)
	}
}

// A vendor that is away for hours, longer than a delivery is tried, loses
// nothing and burns no attempt; the other destination of the same recordings
// is not delayed, no file is disposed of before both have it, and a minute
// after the vendor is back it has all.
func TestVendorOutage(t *testing.T) {
	names := sandbox.Vendors()
	for i, away := range names {
		well := names[(i+1)%len(names)]
		t.Run(away+" away, "+well+" well", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newOutageRig(t, away, well)
				defer r.stop()
				const before, during = 5, 40
				r.drop(before)
				time.Sleep(2 * time.Minute)
				r.has("before the outage", away, before)
				r.lines[away].down()
				r.drop(during)
				time.Sleep(2 * time.Minute)
				r.has("two minutes into the outage", well, before+during)
				time.Sleep(outage - 2*time.Minute)
				r.has("at the end of the outage", away, before)
				r.archived("at the end of the outage", before)
				r.lines[away].up()
				time.Sleep(time.Minute)
				r.has("a minute after the outage", away, before+during)
				r.has("a minute after the outage", well, before+during)
				r.archived("a minute after the outage", before+during)
			})
		})
	}
}
