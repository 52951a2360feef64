package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ingestd/internal/sandbox"
)

// TestKilled kills the real daemon at random moments during 200 uploads, 20
// times. Afterwards every recording must have arrived complete, and the vendor
// must publish it once.
func TestKilled(t *testing.T) {
	const recordings, kills = 200, 20
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)

	vendor := sandbox.NewCallMiner(sandbox.Options{ClientID: "id", ClientSecret: "secret", RatePerMinute: -1})
	// Slow answers keep uploads under way for most of every life.
	if err := vendor.SetFaults(sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteMedia, Delay: sandbox.Duration(60 * time.Millisecond)}); err != nil {
		t.Fatal(err)
	}
	dir, want := crashSite(t, vendor, recordings, rnd)

	inFlight := 0
	for range kills {
		before := vendor.Summary()
		daemon := startSelf(t, dir, "run", "--allow-root")
		begun := poll(30*time.Second, func() bool { return vendor.Summary().Requests > before.Requests })
		if !begun {
			_ = daemon.Process.Kill()
			t.Fatalf("the daemon made no request:\n%s", daemon.Stderr)
		}
		<-time.After(time.Duration(rnd.Int64N(int64(120 * time.Millisecond)))) // the random moment
		if err := daemon.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		if len(vendor.Contacts()) < recordings {
			inFlight++
		}
	}
	if inFlight < kills/2 {
		t.Errorf("only %d of %d kills came while there was work", inFlight, kills)
	}
	finish := startSelf(t, dir, "once", "--timeout", "2m")
	if err := finish.Wait(); err != nil {
		t.Fatalf("once after the kills: %v\n%s", err, finish.Stderr)
	}
	published, refused := map[string]int{}, 0
	for _, c := range vendor.Contacts() {
		switch c.State {
		case "published":
			published[c.SHA256]++
		case "failed_to_publish":
			refused++ // a second contact after a doubt: the vendor's own dedupe
		default:
			t.Errorf("contact %s is %s", c.CorrelationID, c.State)
		}
	}
	for sum, name := range want {
		if published[sum] != 1 {
			t.Errorf("%s was published %d times", name, published[sum])
		}
		delete(published, sum)
	}
	if len(published) > 0 {
		t.Errorf("%d published contacts have bytes that no recording had", len(published))
	}
	t.Logf("%d recordings, %d kills (%d with work under way), %d second contacts that the vendor did not publish", recordings, kills, inFlight, refused)
}

// crashSite makes a drop directory with recordings of distinct content, and a
// configuration. It returns the hash of every recording.
func crashSite(t *testing.T, vendor *sandbox.CallMiner, n int, rnd *rand.Rand) (dir string, want map[string]string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sandbox.Serve(ctx, ln, vendor) }()
	t.Cleanup(func() { cancel(); <-served })

	dir = t.TempDir()
	drop := filepath.Join(dir, "drop")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{}
	for i := range n {
		wav := makeWAV(2000+rnd.IntN(60000), rnd)
		sum := sha256.Sum256(wav)
		name := fmt.Sprintf("call%04d", i)
		want[hex.EncodeToString(sum[:])] = name
		meta := fmt.Sprintf(`{"call_id": %q, "started_at": "2026-11-02T14:05:06Z", "direction": "inbound", "agent_name": "Dana Reyes"}`, name)
		for file, content := range map[string][]byte{name + ".wav": wav, name + ".json": []byte(meta)} {
			if err := os.WriteFile(filepath.Join(drop, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	config := fmt.Sprintf(`[ledger]
path = "ledger.db"
[http]
listen = ""
[[source]]
name = "drop"
path = "drop"
destinations = ["callminer"]
settle = "20ms"
after = "move"
archive = "archive"
[[destination]]
name = "callminer"
type = "callminer"
base_url = "http://%[1]s/ingestion"
token_url = "http://%[1]s/connect/token"
client_id = "id"
client_secret = "plain:secret"
source_id = "Recorder"
rate = "unlimited"
doubt_settle = "100ms"
`, ln.Addr())
	if err := os.WriteFile(filepath.Join(dir, "ingestd.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

// makeWAV is mono 8 kHz 16-bit PCM noise of so many data bytes.
func makeWAV(data int, rnd *rand.Rand) []byte {
	data &^= 1
	var b bytes.Buffer
	b.WriteString("RIFF")
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	put(uint32(36 + data))
	b.WriteString("WAVEfmt ")
	put(uint32(16))
	put([]uint16{1, 1})
	put([]uint32{8000, 16000})
	put([]uint16{2, 16})
	b.WriteString("data")
	put(uint32(data))
	for range data / 2 {
		put(int16(rnd.IntN(1 << 16)))
	}
	return b.Bytes()
}

// startSelf starts this program as ingestd, in dir.
func startSelf(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("ingestd") // put there by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, append(args, "--config", filepath.Join(dir, "ingestd.toml"))...)
	c.Dir = dir
	c.Stderr = &bytes.Buffer{}
	c.Stdout = c.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}
