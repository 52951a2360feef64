//go:build bench

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ingestd/internal/ledger"
)

// TestMillionRows measures what a list costs: its first reading, and one more
// row. INGESTD_BENCH_ROWS sets its length.
func TestMillionRows(t *testing.T) {
	n := benchSize(t, "INGESTD_BENCH_ROWS")
	for _, growing := range []bool{true, false} {
		dir := t.TempDir()
		drop := filepath.Join(dir, "drop")
		if err := os.MkdirAll(drop, 0o700); err != nil {
			t.Fatal(err)
		}
		list := filepath.Join(drop, "Master.csv")
		benchList(t, list, n)
		benchCall(t, drop, n/2)
		intakeConfig(t, dir, "http://127.0.0.1:9", "1s", fmt.Sprintf(`scan_every = "2s"
[[source.sidecar]]
name = "log"
files = ["Master.csv"]
pair = "key"
key = 'row.id'
media_key = 'file.stem'
header = false
columns = ["id", "start", "direction", "agent", "src", "dst", "note"]
growing = %t
[source.call]
call_id = 'log.id'
started_at = 'time(log.start)'
direction = 'log.direction'
agent_name = 'log.agent'
`, growing))
		c := startSelf(t, dir, "run", "--allow-root")
		took := readyAfter(t, dir, c.Process.Pid, 1)
		first := costOf(t, c.Process.Pid)
		benchMore(t, list, n)
		benchCall(t, drop, n)
		more := readyAfter(t, dir, c.Process.Pid, 2)
		settled(t, c.Process.Pid)
		last := costOf(t, c.Process.Pid)
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		fmt.Printf("list of %d rows, growing = %-5t: read after %s, %s of CPU; one more row: paired after %s, %s of CPU; peak memory %s; load %s\n", n, growing,
			took.Round(100*time.Millisecond), first.cpu, more.Round(100*time.Millisecond), last.cpu-first.cpu, last.peak, loadAverage())
	}
}

// TestMillionFiles measures what a tree costs: the time to the first upload
// with all of it waiting, the first sight of all, and a scan of known files.
// INGESTD_BENCH_FILES sets their number.
func TestMillionFiles(t *testing.T) {
	n := benchSize(t, "INGESTD_BENCH_FILES")
	dir := t.TempDir()
	made := time.Now()
	wav := makeWAV(400, rand.New(rand.NewPCG(1, 3)))
	for i := range n {
		sub := filepath.Join(dir, "drop", fmt.Sprintf("%04d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(sub, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		copy(wav[44:], fmt.Sprintf("%016d", i))
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("call%07d.wav", i)), wav, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("%d files made in %s; load %s\n", n, time.Since(made).Round(time.Second), loadAverage())
	call := `[[source.sidecar]]
name = "none"
files = ["**/*.json"]
required = false
[source.call]
call_id = 'file.stem'
started_at = 'file.modified_at'
direction = '"inbound"'
agent_name = '"Dana Reyes"'
`
	v := startVendor(t, wire{scheme: "http"}, "127.0.0.1:0")
	defer v.stop()
	intakeConfig(t, dir, v.base, "1s", call)
	start := time.Now()
	c := startSelf(t, dir, "run", "--allow-root")
	poll(5*time.Minute, func() bool {
		arrived := false
		v.look(t, "contacts", func(json.RawMessage) { arrived = true })
		return arrived
	})
	took := time.Since(start)
	_ = c.Process.Kill()
	_ = c.Wait()
	fmt.Printf("first upload with %d files waiting: %s after the start; load %s\n", n, took.Round(10*time.Millisecond), loadAverage())

	removeLedger(t, dir)
	// Seen and not yet settled: what is measured is the looking alone.
	intakeConfig(t, dir, "http://127.0.0.1:9", "24h", "scan_every = \"1h\"\n"+call)
	for _, what := range []string{"first sight", "scan of known files"} {
		start := time.Now()
		c := startSelf(t, dir, "run", "--allow-root")
		poll(8*time.Minute, func() bool { return seen(t, dir, ledger.Settling) == int64(n) })
		took := settled(t, c.Process.Pid).Sub(start)
		cost := costOf(t, c.Process.Pid)
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		fmt.Printf("%s, %d files: %s, %s of CPU, peak memory %s; load %s\n", what, n, took.Round(100*time.Millisecond), cost.cpu, cost.peak, loadAverage())
	}
}

func benchSize(t *testing.T, variable string) int {
	t.Helper()
	text, ok := os.LookupEnv(variable)
	if !ok {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		t.Fatalf("%s=%q: want a number from 1000", variable, text)
	}
	return n
}

// intakeConfig is benchConfig with a settle time and more keys of the source.
func intakeConfig(t *testing.T, dir, base, settle, source string) {
	t.Helper()
	benchConfig(t, dir, base, 8, "")
	path := filepath.Join(dir, "ingestd.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `settle = "1s"`, fmt.Sprintf("settle = %q\n%s", settle, source), 1)
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// benchList writes a list of n calls.
func benchList(t *testing.T, path string, n int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintf(w, "call%07d,2026-11-02T14:05:06Z,inbound,Dana Reyes,+13125550100,+13125550199,\"queue, second line\"\n", i)
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// benchMore appends one call to a list.
func benchMore(t *testing.T, path string, i int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "call%07d,2026-11-02T14:05:06Z,inbound,Dana Reyes,+13125550100,+13125550199,one more\n", i)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func benchCall(t *testing.T, drop string, i int) {
	t.Helper()
	wav := makeWAV(400, rand.New(rand.NewPCG(uint64(i), 5)))
	if err := os.WriteFile(filepath.Join(drop, fmt.Sprintf("call%07d.wav", i)), wav, 0o600); err != nil {
		t.Fatal(err)
	}
}

func removeLedger(t *testing.T, dir string) {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(dir, "ledger*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

// seen counts the recordings of the source in a state, by the counters that
// the ledger keeps.
func seen(t *testing.T, dir string, state ledger.RecordingState) int64 {
	t.Helper()
	r, err := ledger.OpenReader(t.Context(), filepath.Join(dir, "ledger.db"))
	if err != nil {
		return -1
	}
	defer r.Close()
	s, err := r.Status(t.Context())
	if err != nil {
		return -1
	}
	return s.Sources["drop"][string(state)]
}

func readyAfter(t *testing.T, dir string, pid int, n int64) time.Duration {
	t.Helper()
	start := time.Now()
	if !poll(10*time.Minute, func() bool { return seen(t, dir, ledger.Ready) == n }) {
		t.Fatalf("never %d recordings ready", n)
	}
	return time.Since(start)
}

type cost struct {
	cpu  time.Duration // user and system
	peak string        // resident memory
}

func costOf(t *testing.T, pid int) cost {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var hundredths int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		hundredths += n
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return cost{time.Duration(hundredths) * 10 * time.Millisecond, regexp.MustCompile(`VmHWM:\s*(.*)`).FindStringSubmatch(string(status))[1]}
}

// settled waits until the program has done next to nothing for three seconds
// and returns when that began.
func settled(t *testing.T, pid int) time.Time {
	t.Helper()
	const step = 200 * time.Millisecond
	since, at, last := time.Now(), time.Now(), costOf(t, pid).cpu
	poll(10*time.Minute, func() bool {
		if time.Since(at) < step {
			return false
		}
		now := costOf(t, pid).cpu
		if now-last > step/10 {
			since = time.Now()
		}
		at, last = time.Now(), now
		return time.Since(since) > 3*time.Second
	})
	return since
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(text))[0]
}
