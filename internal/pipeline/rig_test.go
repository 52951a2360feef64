package pipeline_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

// vendor is a scripted sender: every attempt runs its script.
type vendor struct {
	traits senders.Traits
	script func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error)

	mu    sync.Mutex
	calls []sent
}

type sent struct {
	at   time.Time
	path string
	n    int
}

func (v *vendor) Plan(call.Item) (senders.Plan, error) { return senders.Plan{}, nil }
func (v *vendor) Traits() senders.Traits               { return v.traits }

func (v *vendor) Send(_ context.Context, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
	v.mu.Lock()
	v.calls = append(v.calls, sent{time.Now(), a.File.Path, a.Number})
	n := len(v.calls)
	v.mu.Unlock()
	return v.script(n, a, j)
}

func (v *vendor) sent() []sent {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]sent(nil), v.calls...)
}

// deliver is a well-behaved attempt: every step asked for, everything read.
func deliver(a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
	if err := j.Declaring(); err != nil {
		return senders.Receipt{}, err
	}
	m, err := a.Open()
	if err != nil {
		return senders.Receipt{}, err
	}
	defer m.Close()
	if err := j.Sending(map[string]string{"session_id": "s"}); err != nil {
		return senders.Receipt{}, err
	}
	if err := m.Verify(); err != nil {
		return senders.Receipt{}, &senders.Error{Class: senders.Changed, Code: "file_changed", Text: "changed", Err: err}
	}
	if err := j.Committing(); err != nil {
		return senders.Receipt{}, err
	}
	return senders.Receipt{HTTPStatus: 201, IDs: map[string]string{"mining_id": "m-" + a.File.Name}}, nil
}

func twoStep() senders.Traits { return senders.Traits{TwoStep: true, ResendSafe: true} }

// rig is a pipeline over real files and a real ledger, in fake time.
type rig struct {
	t     *testing.T
	dir   string
	opt   pipeline.Options
	led   *ledger.Ledger
	p     *pipeline.Pipeline
	stop  context.CancelFunc
	ended chan error

	ledgerNow func() time.Time // nil: time.Now
}

func newRig(t *testing.T, v *vendor, change func(*pipeline.Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	retry := senders.DefaultRetry()
	r.opt = pipeline.Options{
		Poll: true,
		Log:  slog.New(slog.NewTextHandler(t.Output(), nil)),
		Destinations: []pipeline.Destination{{
			Name: "vendor", Sender: v, Workers: 4, OnDoubt: senders.OnDoubtAuto, DoubtSettle: 10 * time.Minute,
			Lane: senders.NewLane(senders.Rate{Unlimited: true}, time.Now), Retry: retry,
		}},
	}
	r.addSource("drop")
	if change != nil {
		change(&r.opt)
	}
	return r
}

func (r *rig) addSource(name string) {
	r.t.Helper()
	m, err := mapping.CompileSource(mapping.SourceConfig{
		Sidecars: []mapping.SidecarExprs{{Name: "sidecar"}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.dir, name), 0o700); err != nil {
		r.t.Fatal(err)
	}
	r.opt.Sources = append(r.opt.Sources, pipeline.Source{
		Name: name, Path: filepath.Join(r.dir, name), Destinations: []string{"vendor"},
		Include: []string{"**/*.wav"}, ScanEvery: time.Minute, Rule: watcher.Rule{Quiet: 10 * time.Second},
		Sidecars: []sidecar.Config{{Name: "sidecar", Files: []string{"**/*.json"}, Pair: sidecar.PairStem}},
		Mapping:  m, WaitForSidecar: 15 * time.Minute, OnMissing: pipeline.OnMissingHold,
		After: pipeline.AfterKeep, Zone: time.UTC,
	})
}

// drop writes a recording and, unless meta is "", its sidecar.
func (r *rig) drop(source, stem string, seed byte, meta string) {
	r.t.Helper()
	wav := make([]byte, 44+1600)
	copy(wav, "RIFF\x64\x06\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x40\x06\x00\x00")
	for i := 44; i < len(wav); i++ {
		wav[i] = byte(i) * seed
	}
	r.write(filepath.Join(source, stem+".wav"), wav)
	if meta != "" {
		r.write(filepath.Join(source, stem+".json"), []byte(meta))
	}
}

func (r *rig) write(rel string, content []byte) {
	r.t.Helper()
	path := filepath.Join(r.dir, rel)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		r.t.Fatal(err)
	}
}

func meta(id string) string {
	return fmt.Sprintf(`{"call_id": %q, "started_at": "2026-11-02T14:05:06Z", "direction": "inbound"}`, "call-"+id)
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	r.led, err = ledger.Open(r.t.Context(), ledger.Options{Path: filepath.Join(r.dir, "ledger.db"), Now: r.ledgerNow, Log: r.opt.Log})
	if err != nil {
		r.t.Fatal(err)
	}
	r.opt.Ledger = r.led
	if r.p, err = pipeline.New(r.opt); err != nil {
		r.t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(r.t.Context())
	r.ended = make(chan error, 1)
	go func() { r.ended <- r.p.Run(ctx, r.t.Context()) }()
}

func (r *rig) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Fatal(err)
	}
	if err := r.led.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// rows lists the ledger by path.
func (r *rig) rows() map[string]ledger.Row {
	r.t.Helper()
	out := map[string]ledger.Row{}
	err := r.led.Reader().List(r.t.Context(), ledger.Filter{}, func(row ledger.Row) error {
		out[row.Path] = row
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *rig) state(path string) string {
	r.t.Helper()
	row := r.rows()[path]
	if row.Reason != nil {
		return row.State + "(" + *row.Reason + ")"
	}
	return row.State
}
