// Package pipeline is the corridor between the rooms: intake (watcher,
// sidecar, media, mapping, ledger) and pool (ledger, senders, ledger), with
// the settling of doubts and the disposal of files behind them.
//
// It promises that every file a scan sees is a row before anything is decided
// about it, that every network effect has its durable row first, and that a
// crash at any point leaves a ledger from which the next start goes on. Work
// is claimed from the ledger in small batches, so memory does not grow with
// the backlog. It never names a vendor, never parses a document itself and
// never keeps a queue that the ledger does not know.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ingestd/internal/failpoint"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/senders"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

// Source is one watched drop directory, ready to run.
type Source struct {
	Name           string
	Path           string
	Destinations   []string
	Include        []string // doublestar globs over the relative path, compared without case
	Exclude        []string
	Rule           watcher.Rule
	ScanEvery      time.Duration
	Sidecars       []sidecar.Config
	Mapping        *mapping.Source
	WaitForSidecar time.Duration
	OnMissing      string // OnMissingHold, OnMissingSend, OnMissingQuarantine
	After          string // AfterKeep, AfterMove, AfterDelete
	Archive        string // template with {source} {year} {month} {day} {hour}
	Zone           *time.Location
	// Copies are globs over the path, best first, by which one of several
	// copies of a recording is chosen; WaitForCopy is how long each place in
	// the list waits for the one before it.
	Copies      []string
	WaitForCopy time.Duration
	// DurationTolerance is how far the measured length may be from the stated
	// one; 0: never compared.
	DurationTolerance  time.Duration
	OnDurationMismatch string // OnMismatchWarn, OnMismatchHold
	// Merge is whether two mono legs are sent as one stereo file; which files
	// are the legs of a call is said by Mapping.Parts.
	Merge string // MergeNone, MergeAgentLeft, MergeAgentRight
	// NumberSegments numbers the recordings of a call by their start, where
	// the mapping gives no segment_index.
	NumberSegments bool
	OnLateChange   string // OnLateIgnore, OnLateHold; "" is OnLateIgnore
}

// What happens to a recording whose sidecar has not come in time.
const (
	OnMissingHold       = "hold"
	OnMissingSend       = "send"
	OnMissingQuarantine = "quarantine"
)

// What happens to a file once every delivery is accepted.
const (
	AfterKeep   = "keep"
	AfterMove   = "move"
	AfterDelete = "delete"
)

// Destination is one vendor account, ready to send.
type Destination struct {
	Name        string
	Sender      senders.Sender
	Lane        *senders.Lane
	Workers     int
	OnDoubt     string // senders.OnDoubtAuto, OnDoubtHold, OnDoubtResend
	DoubtSettle time.Duration
	Retry       senders.RetryConfig
	Confirm     bool // ask a vendor that is a Confirmer until it has processed what it accepted
}

// Options of a pipeline. Ledger, Log and at least one source are required.
type Options struct {
	Ledger       *ledger.Ledger
	Sources      []Source
	Destinations []Destination
	Now          func() time.Time // nil: time.Now
	Random       func() float64   // jitter in [0, 1); nil: math/rand
	Log          *slog.Logger
	// DryRun decides about every file but sends and disposes of nothing
	// (`ingestd plan`): it does not wait for files to settle, nor for
	// sidecars.
	DryRun bool
	// Only limits the recordings that are looked at; nil: all. Documents are
	// always read.
	Only func(source, rel string) bool
	// OneScan scans each source once and does not watch (`ingestd once`).
	OneScan bool
	// Poll finds files by scans alone, without the file system's
	// notifications.
	Poll bool
	// Progress is told about bytes that left for a vendor. May be nil.
	Progress func(bytes int64)
}

// Pipeline runs the intake of all sources and the pools of all destinations.
type Pipeline struct {
	opt    Options
	ledger *ledger.Ledger
	log    *slog.Logger
	now    func() time.Time
	feeds  map[string]*feed
	pools  map[string]*pool
	beat   atomic.Int64 // unix nanoseconds of the last sign of progress
}

// New builds a pipeline; nothing runs yet.
func New(o Options) (*Pipeline, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	p := &Pipeline{
		opt: o, ledger: o.Ledger, log: o.Log, now: o.Now,
		feeds: make(map[string]*feed, len(o.Sources)), pools: make(map[string]*pool, len(o.Destinations)),
	}
	for _, d := range o.Destinations {
		p.pools[d.Name] = newPool(p, d)
	}
	for _, s := range o.Sources {
		for _, name := range s.Destinations {
			pool, ok := p.pools[name]
			if !ok {
				return nil, fmt.Errorf("source %q names destination %q, which does not exist", s.Name, name)
			}
			pool.sources = append(pool.sources, s.Name)
		}
		p.feeds[s.Name] = newFeed(p, s)
	}
	return p, nil
}

// Run works until ctx ends, then drains: no new file is looked at and no new
// delivery begins, but attempts under way may finish until hard ends too.
// It returns nil after a clean stop, and the reason when the ledger fenced.
func (p *Pipeline) Run(ctx, hard context.Context) error {
	p.Beat()
	if err := p.recover(hard); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// A fenced ledger can record nothing more: stop everything at once, so
	// that bodies in flight break off before the gate.
	hard, cut := context.WithCancelCause(hard)
	defer cut(nil)
	go func() {
		select {
		case <-p.ledger.Fenced():
			stop(ledger.ErrFenced)
			cut(ledger.ErrFenced)
		case <-hard.Done():
		}
	}()

	group, gctx := errgroup.WithContext(ctx)
	for _, f := range p.feeds {
		group.Go(func() error { return f.run(gctx, hard) })
	}
	if !p.opt.DryRun {
		for _, pl := range p.pools {
			group.Go(func() error { return pl.run(gctx, hard) })
		}
		group.Go(func() error { return p.orders(gctx) })
	}
	err := group.Wait()
	if fence := p.ledger.FenceErr(); fence != nil {
		return fmt.Errorf("ledger fenced: %w", fence)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// recover deals with rows that a crash left in mid-way, before any worker
// starts, and finishes moves whose intent was recorded.
func (p *Pipeline) recover(ctx context.Context) error {
	if p.opt.DryRun {
		return nil
	}
	if err := failpoint.Hit("recover.before"); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	done, err := p.ledger.Recover(ctx, func(destination string) ledger.Recovery {
		pl, ok := p.pools[destination]
		if !ok {
			return ledger.Recovery{} // its vendor is not known now: it waits for it
		}
		r := ledger.Recovery{Declaring: ledger.Planned, Sending: ledger.Planned}
		traits := pl.dest.Sender.Traits()
		if traits.ReuseDeclared {
			r.Sending = ledger.Declared
		}
		if traits.DeclareOnce {
			r.Declaring = ledger.Held
		}
		return r
	})
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := failpoint.Hit("recover.after"); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if done.Total() > 0 {
		p.log.Warn("recovered deliveries that the last stop left in mid-way", "resent", done.Requeued, "in_doubt", done.InDoubt, "held", done.Held)
	}
	return nil
}

// orders applies what a person ordered through a command while we run.
func (p *Pipeline) orders(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		n, err := p.ledger.ApplyOrders(context.WithoutCancel(ctx), func(destination string) bool { return p.pools[destination] != nil })
		if err != nil {
			p.log.Error("apply orders", "error", err)
		}
		if n > 0 {
			p.wakeAll()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (p *Pipeline) wakeAll() {
	for _, f := range p.feeds {
		f.wake()
	}
	for _, pl := range p.pools {
		pl.wake()
	}
}

// await waits until the ledger takes new work, and is false when ctx has
// ended. What is under way goes on meanwhile: its results are recorded as soon
// as the ledger can.
func (p *Pipeline) await(ctx context.Context) bool {
	for !p.opt.DryRun && p.ledger.Trouble() != nil && ctx.Err() == nil {
		p.Beat()
		sleepUntil(ctx, nil, p.now(), p.now().Add(time.Second))
	}
	return ctx.Err() == nil
}

// Beat notes a sign of progress; LastBeat is when the last one was. The
// watchdog of the service is fed only while beats come.
func (p *Pipeline) Beat() { p.beat.Store(p.now().UnixNano()) }

// LastBeat returns the time of the last sign of progress.
func (p *Pipeline) LastBeat() time.Time { return time.Unix(0, p.beat.Load()) }

// Health tells how each source is being watched.
func (p *Pipeline) Health() map[string]watcher.Health {
	h := make(map[string]watcher.Health, len(p.feeds))
	for name, f := range p.feeds {
		h[name] = f.watch.Health()
	}
	return h
}

// signal is a wake-up that is never lost and never queues: one pending token.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// sleepUntil waits for the time, the signal or the end of ctx, whichever
// comes first. A zero time means: no time.
func sleepUntil(ctx context.Context, s signal, now, until time.Time) {
	var timer <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(until.Sub(now))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-s:
	case <-timer:
	}
}

// inFlight is the set of deliveries that workers hold.
type inFlight struct {
	mu  sync.Mutex
	ids map[int64]struct{}
}

func (f *inFlight) add(id int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.ids[id]; taken {
		return false
	}
	f.ids[id] = struct{}{}
	return true
}

// copy is the set as it is now.
func (f *inFlight) copy() map[int64]struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.ids)
}

func (f *inFlight) remove(id int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, id)
}

func (f *inFlight) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

// Idle tells whether anything can still move without a person, a file that
// is not there, or more time for a sidecar, and what is left to do.
func (p *Pipeline) Idle(ctx context.Context) (ledger.Pending, bool, error) {
	scanned := true // before the counts are read: what a scan finds is counted then
	routes := make(map[string][]string, len(p.feeds))
	for name, f := range p.feeds {
		routes[name] = f.src.Destinations
		scanned = scanned && f.first.Load() != 0
	}
	pending, err := p.ledger.Pending(ctx, routes)
	if err != nil {
		return pending, false, err
	}
	return pending, scanned && pending.Settling == 0 && pending.Documents == 0 && pending.Deliveries == 0 && pending.Disposable == 0, nil
}

// Request shows what would be sent for one delivery of the ledger.
func (p *Pipeline) Request(ctx context.Context, deliveryID int64) (senders.Plan, error) {
	d, rec, err := p.ledger.Job(ctx, deliveryID)
	if err != nil {
		return senders.Plan{}, err
	}
	return p.pools[d.Destination].dest.Sender.Plan(item(d, rec))
}
