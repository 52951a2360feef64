//go:build bench

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ingestd/internal/ledger"
)

// TestThroughput compares the daemon with a bare client that makes the same
// requests and keeps no record, side by side, against a sandbox in a process
// of its own. `make bench` runs it.
func TestThroughput(t *testing.T) {
	fmt.Printf("%d CPUs, %s\n", runtime.NumCPU(), runtime.Version())
	fmt.Printf("%-8s %8s  %22s  %22s  %s\n", "size", "workers", "bare client", "ingestd", "ratio")
	for _, c := range []struct {
		name  string
		bytes int
		files int
	}{{"64 KiB", 64 << 10, 3000}, {"64 MiB", 64 << 20, 24}} {
		for _, workers := range []int{1, 4, 16} {
			bare := bareRun(t, c.bytes, c.files, workers)
			own := ownRun(t, c.bytes, c.files, workers)
			fmt.Printf("%-8s %8d  %10.1f/s %6.0f MB/s  %10.1f/s %6.0f MB/s  %.2f\n", c.name, workers,
				rate(c.files, bare), mbps(c, bare), rate(c.files, own), mbps(c, own), bare.Seconds()/own.Seconds())
		}
	}
}

func rate(files int, d time.Duration) float64 { return float64(files) / d.Seconds() }

func mbps(c struct {
	name  string
	bytes int
	files int
}, d time.Duration) float64 {
	return float64(c.bytes) * float64(c.files) / 1e6 / d.Seconds()
}

// benchVendor is a sandbox in its own process.
func benchVendor(t *testing.T) (base string) {
	t.Helper()
	path, err := exec.LookPath("ingestd")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "sandbox", "--listen", "127.0.0.1:0", "--rate", "-1", "--json")
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := regexp.MustCompile(`http://\S+`).FindString(lines.Text()); m != "" {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return m
		}
	}
	t.Fatal("the sandbox did not say where it listens")
	return ""
}

// span is the time from the first request after the token to the last
// accepted recording, as the sandbox saw it: the same clock for both sides.
func span(t *testing.T, base string, files int) time.Duration {
	t.Helper()
	resp, err := http.Get(base + "/_sandbox/contacts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var last time.Time
	n := 0
	for dec := json.NewDecoder(resp.Body); dec.More(); n++ {
		var c struct {
			ReceivedAt time.Time `json:"received_at"`
		}
		if err := dec.Decode(&c); err != nil {
			t.Fatal(err)
		}
		if c.ReceivedAt.After(last) {
			last = c.ReceivedAt
		}
	}
	if n != files {
		t.Fatalf("%d contacts, want %d", n, files)
	}
	resp2, err := http.Get(base + "/_sandbox/requests")
	if err != nil {
		t.Fatal(err)
	}
	defer resp2.Body.Close()
	var first time.Time
	for dec := json.NewDecoder(resp2.Body); dec.More(); {
		var r struct {
			Path      string    `json:"path"`
			StartedAt time.Time `json:"started_at"`
		}
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(r.Path, "/api/") && (first.IsZero() || r.StartedAt.Before(first)) {
			first = r.StartedAt
		}
	}
	return last.Sub(first)
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

func bareRun(t *testing.T, size, files, workers int) time.Duration {
	base := benchVendor(t)
	dir := t.TempDir()
	benchFiles(t, dir, size, files, false)
	token := bareToken(t, base)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	names := make(chan string)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for name := range names {
				if err := bareSend(client, base, token, filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range files {
		names <- fmt.Sprintf("call%06d.wav", i)
	}
	close(names)
	wg.Wait()
	os.RemoveAll(dir)
	return span(t, base, files)
}

func bareToken(t *testing.T, base string) string {
	t.Helper()
	resp, err := http.PostForm(base+"/connect/token", url.Values{
		"client_id": {"id"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"},
		"scope": {"https://callminer.net/auth/platform-ingestion"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var tok struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&tok); err != nil || tok.AccessToken == "" {
		t.Fatalf("no token: %v", err)
	}
	return tok.AccessToken
}

func bareSend(client *http.Client, base, token, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"Metadata":         []map[string]string{{"Key": "Agent", "Value": "Dana Reyes"}},
		"TotalMediaLength": info.Size(), "MediaType": "audio/wav", "ClientCaptureDate": "2026-11-02T14:05:06.000Z",
		"SourceId": "Recorder", "CorrelationId": filepath.Base(path),
	})
	if err != nil {
		return err
	}
	var session struct {
		SessionID string `json:"SessionId"`
	}
	if err := bareDo(client, token, base+"/ingestion/api/session/metadatamedia", "application/json; charset=utf-8", bytes.NewReader(body), int64(len(body)), http.StatusOK, &session); err != nil {
		return err
	}
	// The file is wrapped so that it is copied, not handed to sendfile: the
	// daemon must read every byte, and so does the client it is compared with.
	return bareDo(client, token, base+"/ingestion/api/media/"+session.SessionID, "audio/wav", struct{ io.Reader }{f}, info.Size(), http.StatusCreated, &struct{}{})
}

func bareDo(client *http.Client, token, url, kind string, body io.Reader, length int64, want int, into any) error {
	req, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		return err
	}
	req.ContentLength = length
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", kind)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
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
%[3]s
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
`, base, workers, more)
	if err := os.WriteFile(filepath.Join(dir, "ingestd.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func ownRun(t *testing.T, size, files, workers int) time.Duration {
	base := benchVendor(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "drop"), 0o700); err != nil {
		t.Fatal(err)
	}
	benchFiles(t, filepath.Join(dir, "drop"), size, files, true)
	benchConfig(t, dir, base, workers, "")
	c := startSelf(t, dir, "once")
	if err := c.Wait(); err != nil {
		t.Fatalf("once: %v\n%s", err, c.Stderr)
	}
	os.RemoveAll(filepath.Join(dir, "drop"))
	return span(t, base, files)
}

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
