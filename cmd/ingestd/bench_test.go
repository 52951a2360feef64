//go:build bench

package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ingestd/internal/ledger"
)

// benchCase is one row of TestThroughput.
type benchCase struct {
	wire    wire
	name    string
	bytes   int
	files   int
	workers int
	rounds  int // bare and own in turn; the medians are printed
}

// outcome is one run of either side.
type outcome struct {
	span time.Duration // first request to last accepted recording, by the sandbox's clock
	cpu  time.Duration // processor time of the client's process, where it is known
}

// TestThroughput compares the daemon with a bare client that makes the same
// requests and keeps no record, side by side, against a sandbox in a process
// of its own. `make bench` runs it.
//
// "end to end" is one `ingestd once` over new files: looking, reading
// sidecars, hashing, sending, recording. "sending" is the backlog of a vendor
// that was away and comes back: all is planned already.
func TestThroughput(t *testing.T) {
	fmt.Printf("%d CPUs, %s\n", runtime.NumCPU(), runtime.Version())
	fmt.Printf("%-6s %-7s %3s | %9s %9s %6s | %9s %9s %6s %6s | %9s %6s | %s\n", "", "files", "w", "bare/s", "MB/s", "ms CPU",
		"own/s", "MB/s", "ms CPU", "ratio", "sending/s", "ratio", "load average")
	for _, scheme := range []string{"http", "https"} {
		wire := newWire(t, scheme)
		for _, size := range []benchCase{
			{name: "64KiB", bytes: 64 << 10, files: 3000, rounds: 3},
			{name: "64MiB", bytes: 64 << 20, files: 24, rounds: 1},
		} {
			for _, workers := range []int{1, 4, 16} {
				c := size
				c.wire, c.workers = wire, workers
				t.Run(fmt.Sprintf("%s/%s/%d", scheme, c.name, workers), c.run)
			}
		}
	}
}

func (c benchCase) run(t *testing.T) {
	var bare, own, sending []outcome
	for range c.rounds {
		bare = append(bare, c.bareRun(t))
		own = append(own, c.ownRun(t))
		if c.workers > 1 {
			sending = append(sending, c.sendingRun(t))
		}
	}
	b, o := median(bare), median(own)
	fmt.Printf("%-6s %-7s %3d | %9.1f %9.0f %6.2f | %9.1f %9.0f %6.2f %6.2f |", c.wire.scheme, c.name, c.workers,
		c.rate(b), c.mbps(b), c.each(b), c.rate(o), c.mbps(o), c.each(o), b.span.Seconds()/o.span.Seconds())
	if len(sending) > 0 {
		s := median(sending)
		fmt.Printf(" %9.1f %6.2f |", c.rate(s), b.span.Seconds()/s.span.Seconds())
	} else {
		fmt.Printf(" %9s %6s |", "", "")
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf(" %s\n", strings.Join(strings.Fields(string(load))[:1], ""))
}

func median(all []outcome) outcome {
	slices.SortFunc(all, func(a, b outcome) int { return cmp.Compare(a.span, b.span) })
	return all[len(all)/2]
}

func (c benchCase) rate(o outcome) float64 { return float64(c.files) / o.span.Seconds() }
func (c benchCase) mbps(o outcome) float64 { return c.rate(o) * float64(c.bytes) / 1e6 }
func (c benchCase) each(o outcome) float64 {
	return o.cpu.Seconds() * 1000 / float64(c.files)
}

// ownRun lets `ingestd once` deliver new files.
func (c benchCase) ownRun(t *testing.T) outcome {
	t.Helper()
	v := startVendor(t, c.wire, "127.0.0.1:0")
	defer v.stop()
	dir := c.dropDir(t)
	benchConfig(t, dir, v.base, c.workers, "")
	once := startSelf(t, dir, "once")
	if err := once.Wait(); err != nil {
		t.Fatalf("once: %v\n%s", err, once.Stderr)
	}
	os.RemoveAll(filepath.Join(dir, "drop"))
	s := once.ProcessState
	return outcome{v.span(t, c.files), s.UserTime() + s.SystemTime()}
}

// sendingRun lets the daemon plan everything while the vendor is away.
func (c benchCase) sendingRun(t *testing.T) outcome {
	t.Helper()
	addr := freeAddress(t)
	dir := c.dropDir(t)
	benchConfig(t, dir, c.wire.scheme+"://"+addr, c.workers, "  [destination.retry]\n  initial = \"100ms\"\n  max = \"1s\"\n")
	daemon := startSelf(t, dir, "run", "--allow-root")
	defer stopSelf(daemon)
	var r *ledger.Reader
	stand := func(what string, n func(ledger.Status) int64) {
		t.Helper()
		var last string
		ok := poll(5*time.Minute, func() bool {
			var err error
			if r == nil {
				r, err = ledger.OpenReader(t.Context(), filepath.Join(dir, "ledger.db"))
			}
			if err != nil {
				return false // not created yet
			}
			s, err := r.Status(t.Context())
			last = fmt.Sprintln(s.Sources, s.Destinations, err)
			return err == nil && n(s) == int64(c.files)
		})
		if !ok {
			t.Fatalf("never %d recordings %s: %s%s", c.files, what, last, daemon.Stderr)
		}
	}
	stand("ready", func(s ledger.Status) int64 { return s.Sources["drop"]["ready"] })
	v := startVendor(t, c.wire, addr)
	defer v.stop()
	stand("accepted", func(s ledger.Status) int64 { return s.Destinations["callminer"]["accepted"] })
	_ = r.Close()
	os.RemoveAll(filepath.Join(dir, "drop"))
	return outcome{span: v.span(t, c.files)}
}

func stopSelf(c *exec.Cmd) {
	_ = c.Process.Signal(syscall.SIGTERM)
	_ = c.Wait()
}

func (c benchCase) dropDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "drop"), 0o700); err != nil {
		t.Fatal(err)
	}
	benchFiles(t, filepath.Join(dir, "drop"), c.bytes, c.files, true)
	return dir
}

// benchFiles writes distinct recordings, most of each file shared bytes, so
// that making them costs little.
func benchFiles(t *testing.T, dir string, size, n int, sidecars bool) {
	t.Helper()
	wav := makeWAV(size-44, rand.New(rand.NewPCG(1, 2)))
	for i := range n {
		copy(wav[44:], fmt.Sprintf("%016d", i))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("call%06d.wav", i)), wav, 0o600); err != nil {
			t.Fatal(err)
		}
		if !sidecars {
			continue
		}
		meta := fmt.Sprintf(`{"call_id": "call%06d", "started_at": "2026-11-02T14:05:06Z", "direction": "inbound", "agent_name": "Dana Reyes"}`, i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("call%06d.json", i)), []byte(meta), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func benchConfig(t *testing.T, dir, base string, workers int, more string) {
	t.Helper()
	text := fmt.Sprintf(`[ledger]
path = "ledger.db"
[http]
listen = ""
[log]
level = "error"
[[source]]
name = "drop"
path = "drop"
destinations = ["callminer"]
settle = "1s"
[[destination]]
name = "callminer"
type = "callminer"
base_url = "%[1]s/ingestion"
token_url = "%[1]s/connect/token"
client_id = "id"
client_secret = "plain:secret"
source_id = "Recorder"
rate = "unlimited"
workers = %[2]d
%[3]s`, base, workers, more)
	if err := os.WriteFile(filepath.Join(dir, "ingestd.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
