package torture

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/pipeline"
	"ingestd/internal/sandbox"
	"ingestd/internal/sandbox/pipenet"
	"ingestd/internal/senders"
	"ingestd/internal/senders/callminer"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

// bubble is the daemon's inside in fake time, over real files and a real
// ledger, joined to the vendor by pipes: for the cells whose faults take
// minutes to hours.
type bubble struct {
	*trial
	second  *sandbox.CallMiner // another destination, always well; nil: none
	dial    func(context.Context) error
	mu      sync.Mutex
	jump    time.Duration // of the wall clock, away from what timers count
	led     *ledger.Ledger
	stop    context.CancelFunc
	done    chan error
	serving sync.WaitGroup
}

// inFakeTime runs a cell in a bubble; destinations beside the first are all
// well.
func inFakeTime(two bool, run func(*bubble)) func(*trial) {
	return func(c *trial) {
		synctest.Test(c.T, func(t *testing.T) {
			inner := &trial{T: t, rnd: c.rnd}
			b := &bubble{trial: inner, dial: func(context.Context) error { return nil }}
			vendor := sandbox.NewCallMiner(sandbox.Options{RatePerMinute: -1})
			b.site = &site{dir: t.TempDir(), fake: vendor, vendor: vendor}
			for _, name := range []string{"state", "drop", "archive"} {
				inner.must(os.Mkdir(b.path(name), 0o700))
			}
			if two {
				b.second = sandbox.NewCallMiner(sandbox.Options{RatePerMinute: -1})
			}
			run(b)
			b.end()
		})
	}
}

// now is the wall clock.
func (b *bubble) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Add(b.jump)
}

func (b *bubble) jumps(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jump += by
}

// start begins a life of the pipeline.
func (b *bubble) start() {
	b.Helper()
	log := slog.New(slog.NewTextHandler(b.Output(), nil))
	source, err := mapping.CompileSource(mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "sidecar"}}})
	b.must(err)
	o := pipeline.Options{
		Now: b.now, Poll: true, Log: log, Random: func() float64 { return 0 },
		Sources: []pipeline.Source{{
			Name: "drop", Path: b.path("drop"), Include: []string{"**/*.wav"}, ScanEvery: time.Minute, Rule: watcher.Rule{Quiet: 10 * time.Second},
			Sidecars: []sidecar.Config{{Name: "sidecar", Files: []string{"**/*.json"}, Pair: sidecar.PairStem}},
			Mapping:  source, WaitForSidecar: 15 * time.Minute, OnMissing: pipeline.OnMissingHold,
			After: pipeline.AfterMove, Archive: b.path("archive"), Zone: time.UTC,
		}},
	}
	b.led, err = ledger.Open(b.Context(), ledger.Options{Path: b.path("state", "ledger.db"), Now: b.now, Log: log})
	b.must(err)
	o.Ledger = b.led
	ctx, stop := context.WithCancel(b.Context())
	b.stop = stop
	b.destination(ctx, &o, "callminer", b.vendor, func(ctx context.Context) error { return b.dial(ctx) })
	if b.second != nil {
		b.destination(ctx, &o, "second", b.second, func(context.Context) error { return nil })
	}
	p, err := pipeline.New(o)
	b.must(err)
	b.done = make(chan error, 1)
	go func() { b.done <- p.Run(ctx, b.Context()) }()
}

func (b *bubble) destination(ctx context.Context, o *pipeline.Options, name string, vendor *sandbox.CallMiner, dial func(context.Context) error) {
	b.Helper()
	ln := pipenet.Listen()
	b.serving.Go(func() {
		if err := sandbox.Serve(ctx, ln, vendor); err != nil {
			b.Error(err)
		}
	})
	config := callminer.DefaultConfig()
	config.Name, config.Type, config.Rate = name, "callminer", senders.Rate{Unlimited: true}
	config.BaseURL, config.TokenURL = "http://127.0.0.1/ingestion", "http://127.0.0.1/connect/token"
	config.ClientID, config.SourceID = "id", "Recorder"
	b.must(config.ClientSecret.UnmarshalText([]byte("plain:secret")))
	lane := senders.NewLane(config.Rate, b.now)
	sender, err := callminer.New(config, senders.Deps{
		Lane: lane, Now: b.now, Log: o.Log,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if err := dial(ctx); err != nil {
				return nil, err
			}
			return ln.Dial(ctx)
		},
	})
	b.must(err)
	o.Sources[0].Destinations = append(o.Sources[0].Destinations, name)
	o.Destinations = append(o.Destinations, pipeline.Destination{
		Name: name, Sender: sender, Lane: lane, Workers: 4, OnDoubt: config.OnDoubt,
		DoubtSettle: time.Duration(config.DoubtSettle), Retry: config.Retry,
	})
}

// brings drops a recording whose times are those of the bubble.
func (b *bubble) brings(bytes int) {
	b.Helper()
	r := b.droppedOf(bytes)
	for _, ending := range []string{".wav", ".json"} {
		b.must(os.Chtimes(b.path("drop", r.name+ending), b.now(), b.now()))
	}
}

// after lets time pass.
func (b *bubble) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// published counts what the first vendor published.
func (b *bubble) published() int {
	return int(b.vendor.Summary().Contacts[sandbox.Published])
}

// end stops the pipeline and checks everything.
func (b *bubble) end() {
	b.Helper()
	b.stop()
	b.vendor.Close()
	b.serving.Wait() // time stands still in a bubble whose test has ended
	if err := errors.Join(<-b.done, b.led.Close()); err != nil {
		b.Error(err)
	}
	if b.second != nil {
		return // the checker knows one vendor; the cell has looked at both
	}
	b.ended(exempt{}, len(b.all), "")
}
