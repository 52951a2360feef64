//go:build torture

package torture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/sandbox"
)

// recording is one file that a producer dropped, with its sidecar.
type recording struct {
	name, sha256 string
	correlation  string    // the id it must have at the vendor, for ever
	durable      time.Time // when file, sidecar and directory were fsynced; zero: not yet
}

// dropped is how many recordings the scenario of a run has.
const dropped = 3

// site is one installation: a directory with the state, the drop directory
// and the archive, and a strict vendor outside of it.
type site struct {
	dir    string
	vendor *sandbox.CallMiner
	all    []*recording
}

// newSite makes the directories and the configuration in dir.
func newSite(t *testing.T, dir string, rnd *rand.Rand) *site {
	t.Helper()
	s := &site{dir: dir}
	s.vendor = sandbox.NewCallMiner(sandbox.Options{ClientID: "id", ClientSecret: "secret", RatePerMinute: -1})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sandbox.Serve(ctx, ln, s.vendor) }()
	t.Cleanup(func() { cancel(); <-served })
	// Some body bytes apart from the answer make the moment of doubt longer.
	if err := s.vendor.SetFaults(sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteMedia, Delay: sandbox.Duration(rnd.Int64N(int64(8 * time.Millisecond)))}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state", "drop", "archive"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(`[ledger]
path = "state/ledger.db"
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
doubt_settle = "50ms"
`, ln.Addr())
	if err := os.WriteFile(s.path("ingestd.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) path(elem ...string) string { return filepath.Join(append([]string{s.dir}, elem...)...) }

// drop makes a new recording durably: sidecar and media under temporary
// names, fsynced, renamed, directory fsynced.
func (s *site) drop(rnd *rand.Rand) error {
	wav := makeWAV(2000+rnd.IntN(30000), rnd)
	name := fmt.Sprintf("call%04d", len(s.all))
	sum := sha256.Sum256(wav)
	// The vendor's id follows from destination, call and content alone.
	id := call.NewDelivery("callminer", "call:"+name+"/0/", sum).UUID
	r := &recording{name: name, sha256: hex.EncodeToString(sum[:]), correlation: id}
	s.all = append(s.all, r)
	meta := fmt.Sprintf(`{"call_id": %q, "started_at": "2026-11-02T14:05:06Z", "direction": "inbound", "agent_name": "Dana Reyes"}`, name)
	if err := writeDurably(s.path("drop", name+".json"), []byte(meta)); err != nil {
		return err
	}
	if err := writeDurably(s.path("drop", name+".wav"), wav); err != nil {
		return err
	}
	r.durable = time.Now()
	return nil
}

func writeDurably(path string, content []byte) (err error) {
	temp := path + ".part"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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

// outcome is how a run of the daemon ended.
type outcome struct {
	code   int // -1: a signal
	output string
	trace  traceReport // of a run under a fault
}

// hang is the longest that any run may take: a sticky ENOSPC is waited for
// about 18 s, and every delivery rests after a crash.
const hang = 90 * time.Second

// once runs `ingestd once` without a fault.
func (s *site) once(t *testing.T) outcome {
	t.Helper()
	return s.run(t, "", "once", "--timeout", "60s")
}

// traced runs `ingestd once` under the fault.
func (s *site) traced(t *testing.T, f fault) outcome {
	t.Helper()
	f.Report = filepath.Join(t.TempDir(), "report")
	order, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	out := s.run(t, string(order), "once", "--timeout", "60s")
	raw, err := os.ReadFile(f.Report)
	if err == nil {
		err = json.Unmarshal(raw, &out.trace)
	}
	if err != nil {
		t.Fatalf("%s: no report: %v\n%s", f, err, out.output)
	}
	out.code = out.trace.Code
	return out
}

func (s *site) run(t *testing.T, order string, args ...string) outcome {
	t.Helper()
	if order == "" {
		return s.runWith(t, daemonPath, nil, args...)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return s.runWith(t, self, []string{traceEnv + "=" + order}, append([]string{daemonPath}, args...)...)
}

// runWith runs a program with the site's configuration and more environment.
func (s *site) runWith(t *testing.T, name string, env []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	c := exec.CommandContext(ctx, name, append(args, "--config", s.path("ingestd.toml"))...)
	c.Dir = s.dir
	c.WaitDelay = time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.Env = append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("the daemon hangs: no end within %s\n%s", hang, out)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run: %v\n%s", err, out)
	}
	return outcome{code: c.ProcessState.ExitCode(), output: string(out)}
}

// snapshot copies the ledger as a crash left it, so that looking at it does
// not change what the next start finds. "" means there is none yet.
func (s *site) snapshot(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(s.path("state", "ledger.id")); errors.Is(err, os.ErrNotExist) {
		return "" // its creation did not come to an end
	}
	dir := t.TempDir()
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		if err := copyFile(s.path("state", name), filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "ledger.db")
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
