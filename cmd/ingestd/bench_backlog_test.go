//go:build bench

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"ingestd/internal/ledger"
)

// TestBacklogMemory measures the daemon's memory with 100,000 recordings
// waiting for a vendor that is away.
func TestBacklogMemory(t *testing.T) {
	const n = 100_000
	dir := t.TempDir()
	drop := filepath.Join(dir, "drop")
	for i := range n {
		sub := filepath.Join(drop, fmt.Sprintf("%03d", i%100))
		if i < 100 {
			if err := os.MkdirAll(sub, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		wav := makeWAV(400, rand.New(rand.NewPCG(uint64(i), 3)))
		meta := fmt.Sprintf(`{"call_id": "call%06d", "started_at": "2026-11-02T14:05:06Z", "direction": "inbound", "agent_name": "Dana Reyes"}`, i)
		for ext, content := range map[string][]byte{".wav": wav, ".json": []byte(meta)} {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("call%06d%s", i, ext)), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	benchConfig(t, dir, "http://127.0.0.1:9", 8, "")
	start := time.Now()
	c := startSelf(t, dir, "run", "--allow-root")
	peak := ""
	ok := poll(20*time.Minute, func() bool {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid)); err == nil {
			peak = regexp.MustCompile(`VmHWM:\s*(.*)`).FindString(string(status))
		}
		r, err := ledger.OpenReader(t.Context(), filepath.Join(dir, "ledger.db"))
		if err != nil {
			return false
		}
		defer r.Close()
		s, err := r.Status(t.Context())
		return err == nil && s.Sources["drop"]["ready"] == n
	})
	if !ok {
		t.Fatalf("never %d recordings ready:\n%s", n, c.Stderr)
	}
	took := time.Since(start)
	_ = c.Process.Signal(syscall.SIGTERM)
	_ = c.Wait()
	fmt.Printf("%d recordings waiting: all ready after %s (%.0f/s), peak memory %s\n", n, took.Truncate(time.Second), n/took.Seconds(), peak)
}
