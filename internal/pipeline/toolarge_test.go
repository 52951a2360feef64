package pipeline_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// limited is a vendor that takes no more than its traits say.
type limited struct{ *vendor }

func (l limited) Plan(item call.Item) (senders.Plan, error) {
	if most := l.traits.MaxBytes; most > 0 && item.File.Bytes > most {
		return senders.Plan{}, &senders.Error{Class: senders.Rejected, Code: "too_large", Text: "too large"}
	}
	return senders.Plan{}, nil
}

// twoLimits gives the rig's source a second destination, and both a limit.
func twoLimits(a, b *vendor, mostA, mostB int64) func(*pipeline.Options) {
	a.traits.MaxBytes, b.traits.MaxBytes = mostA, mostB
	return func(o *pipeline.Options) {
		o.Destinations[0].Sender = limited{a}
		other := o.Destinations[0]
		other.Name, other.Sender = "other", limited{b}
		other.Lane = senders.NewLane(senders.Rate{Unlimited: true}, time.Now)
		o.Destinations = append(o.Destinations, other)
		o.Sources[0].Destinations = []string{"vendor", "other"}
	}
}

// What no destination takes is quarantined; what one takes goes there, and is
// refused by the other.
func TestSizeLimits(t *testing.T) {
	const size = 44 + 1600
	for name, c := range map[string]struct {
		a, b         int64
		wantA, wantB string
	}{
		"no limits":          {0, 0, "accepted", "accepted"},
		"a byte below both":  {size + 1, size + 1, "accepted", "accepted"},
		"at both":            {size, size, "accepted", "accepted"},
		"a byte above both":  {size - 1, size - 1, "quarantined(too_large)", "quarantined(too_large)"},
		"above both, apart":  {size - 1, 10, "quarantined(too_large)", "quarantined(too_large)"},
		"above the first":    {size - 1, size, "rejected(too_large)", "accepted"},
		"above the second":   {size, size - 1, "accepted", "rejected(too_large)"},
		"one has no limit":   {size - 1, 0, "rejected(too_large)", "accepted"},
		"other has no limit": {0, size - 1, "accepted", "rejected(too_large)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := wellBehaved(), wellBehaved()
				r := newRig(t, a, twoLimits(a, b, c.a, c.b))
				r.drop("drop", "c", 1, meta("1"))
				r.start()
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				for destination, want := range map[string]string{"vendor": c.wantA, "other": c.wantB} {
					if got := r.at("c.wav", destination); got != want {
						t.Errorf("%s: %s, want %s", destination, got, want)
					}
				}
				r.end()
			})
		})
	}
}

// Two legs fit, the file that they are merged into does not.
func TestMergedSizeLimit(t *testing.T) {
	agent, customer := legFile(8000, 30_000, 1000), legFile(8000, 20_000, -1000)
	whole := int64(len(together(t, customer, agent)))
	for most, want := range map[int64]string{whole: "accepted", whole - 1: "quarantined(too_large)"} {
		synctest.Test(t, func(t *testing.T) {
			l := newListener()
			l.traits.MaxBytes = most
			r := legsRig(t, l, nil)
			r.put("call.json", []byte(twoParts))
			r.put("a.wav", agent)
			r.put("b.wav", customer)
			r.start()
			time.Sleep(5 * time.Minute)
			r.wantStates(map[string]string{"a.wav": want})
			if want != "accepted" && len(l.sent()) > 0 {
				t.Errorf("%d attempts", len(l.sent()))
			}
			r.end()
		})
	}
}

// Row 23: a sparse file of a terabyte behind a good header is refused by its
// size, and not read. It is a dry run, which decides as the daemon does and
// ends by itself; the time is a bound for the failure only.
func TestSparseTerabyte(t *testing.T) {
	const terabyte = 1 << 40
	pcm := legFile(8000, 30_000, 1000)
	for name, c := range map[string]struct {
		rig  func(*listener) *rig
		want map[string]string
	}{
		"alone": {func(l *listener) *rig {
			r := newRig(t, &l.vendor, twoLimits(&l.vendor, wellBehaved(), 1<<30, 2_500_000_000))
			r.drop("drop", "c", 1, meta("1"))
			return r
		}, map[string]string{"c.wav": "quarantined(too_large)"}},
		"a leg": {func(l *listener) *rig {
			l.traits.MaxBytes = 1 << 30
			r := legsRig(t, l, nil)
			r.put("call.json", []byte(twoParts))
			r.put("a.wav", pcm)
			r.put("b.wav", pcm)
			return r
		}, map[string]string{"c/a.wav": "quarantined(too_large)"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newListener()
			r := c.rig(l)
			for path := range c.want {
				if err := os.Truncate(filepath.Join(r.dir, "drop", path), terabyte); err != nil {
					t.Skipf("this file system holds no sparse terabyte: %v", err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			led, err := ledger.Open(ctx, ledger.Options{Path: filepath.Join(r.dir, "ledger.db"), Log: r.opt.Log})
			if err != nil {
				t.Fatal(err)
			}
			defer led.Close()
			r.led, r.opt.Ledger, r.opt.DryRun = led, led, true
			p, err := pipeline.New(r.opt)
			if err != nil {
				t.Fatal(err)
			}
			before, began := bytesRead(t), time.Now()
			if err := p.Run(ctx, ctx); err != nil || ctx.Err() != nil {
				t.Fatalf("%v, %v", err, ctx.Err())
			}
			read := bytesRead(t) - before
			t.Logf("decided in %s, %d bytes read by all that this process did", time.Since(began).Round(time.Millisecond), read)
			if read > 64<<20 {
				t.Errorf("%d bytes were read", read)
			}
			for path, want := range c.want {
				if got := r.state(path); got != want {
					t.Errorf("%s: %s, want %s", path, got, want)
				}
			}
		})
	}
}

// bytesRead is what this process has read so far, from files and elsewhere.
func bytesRead(t *testing.T) int64 {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "rchar: ")
	text, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
