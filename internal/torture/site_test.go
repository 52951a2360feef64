package torture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/sandbox"
)

// recording is one file that a producer dropped, with its sidecar.
type recording struct {
	name, sha256 string
	correlation  string    // the id it must have at the vendor, for ever
	was          []string  // hashes of what it was before it was written anew
	durable      time.Time // when file, sidecar and directory were fsynced; zero: not yet
}

// dropped is how many recordings the scenario of a run has.
const dropped = 3

// site is one installation: a directory with the state, the drop directory
// and the archive, and a strict vendor outside of it.
type site struct {
	dir    string
	fake   sandbox.Vendor     // the vendor
	vendor *sandbox.CallMiner // the same where it is CallMiner
	addr   string             // of the vendor
	all    []*recording
}

// settings are what a test wants otherwise than newSite. Keys of the maps are
// those of the configuration, values are TOML; "" leaves a key out.
type settings struct {
	source, destination map[string]string
	more                string // further tables
	vendor              func(*sandbox.Options)
}

// newSite makes the directories and the configuration in dir.
func newSite(t *testing.T, dir string, rnd *rand.Rand) *site {
	t.Helper()
	s := newSiteWith(t, dir, settings{})
	// Some body bytes apart from the answer make the moment of doubt longer.
	s.misbehave(t, sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteMedia, Delay: sandbox.Duration(rnd.Int64N(int64(8 * time.Millisecond)))})
	return s
}

func newSiteWith(t *testing.T, dir string, set settings) *site {
	t.Helper()
	options := sandbox.Options{ClientID: "id", ClientSecret: "secret", RatePerMinute: -1}
	if set.vendor != nil {
		set.vendor(&options)
	}
	s := siteOf(t, dir, sandbox.NewCallMiner(options))
	s.configure(t, set)
	return s
}

// siteOf makes the directories and serves the vendor.
func siteOf(t *testing.T, dir string, fake sandbox.Vendor) *site {
	t.Helper()
	s := &site{dir: dir, fake: fake, addr: serve(t, fake, nil)}
	s.vendor, _ = fake.(*sandbox.CallMiner)
	for _, name := range []string{"state", "drop", "archive"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// configure writes the configuration.
func (s *site) configure(t *testing.T, set settings) {
	t.Helper()
	source := map[string]string{
		"name": `"drop"`, "path": `"drop"`, "destinations": `["callminer"]`, "settle": `"20ms"`, "after": `"move"`, "archive": `"archive"`,
	}
	destination := map[string]string{
		"name": `"callminer"`, "type": `"callminer"`, "client_id": `"id"`, "client_secret": `"plain:secret"`, "source_id": `"Recorder"`,
		"base_url": `"http://` + s.addr + `/ingestion"`, "token_url": `"http://` + s.addr + `/connect/token"`,
		"rate": `"unlimited"`, "doubt_settle": `"50ms"`,
	}
	maps.Copy(source, set.source)
	maps.Copy(destination, set.destination)
	text := "[ledger]\npath = \"state/ledger.db\"\n[http]\nlisten = \"\"\n" + table("source", source) + table("destination", destination) + set.more
	if err := os.WriteFile(s.path("ingestd.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func table(name string, keys map[string]string) string {
	text := "[[" + name + "]]\n"
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if keys[key] != "" {
			text += key + " = " + keys[key] + "\n"
		}
	}
	return text
}

// serve answers on a loopback address until the test ends, with TLS if there
// is a configuration for it.
func serve(t *testing.T, h http.Handler, secure *tls.Config) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sandbox.Serve(ctx, ln, h) }()
	t.Cleanup(func() { cancel(); <-served })
	return ln.Addr().String()
}

// misbehave switches the vendor's faults; without any it is healed.
func (s *site) misbehave(t *testing.T, faults ...sandbox.Fault) {
	t.Helper()
	if err := s.fake.SetFaults(faults...); err != nil {
		t.Fatal(err)
	}
}

func (s *site) path(elem ...string) string { return filepath.Join(append([]string{s.dir}, elem...)...) }

// drop makes a new recording durably: sidecar and media under temporary
// names, fsynced, renamed, directory fsynced.
func (s *site) drop(rnd *rand.Rand) error {
	wav := makeWAV(2000+rnd.IntN(30000), rnd)
	r := s.expect(wav)
	if err := writeDurably(s.path("drop", r.name+".json"), []byte(sidecarOf(r.name))); err != nil {
		return err
	}
	if err := writeDurably(s.path("drop", r.name+".wav"), wav); err != nil {
		return err
	}
	r.durable = time.Now()
	return nil
}

// expect notes that a recording of a new name must arrive.
func (s *site) expect(wav []byte) *recording {
	r := &recording{name: fmt.Sprintf("call%04d", len(s.all))}
	r.becomes(wav)
	s.all = append(s.all, r)
	return r
}

// becomes sets the content that must arrive. The vendor's id follows from
// destination, call and content alone.
func (r *recording) becomes(wav []byte) {
	sum := sha256.Sum256(wav)
	if r.sha256 != "" {
		r.was = append(r.was, r.sha256)
	}
	r.sha256 = hex.EncodeToString(sum[:])
	r.correlation = call.NewDelivery("callminer", "call:"+r.name+"/0/", sum).UUID
}

func sidecarOf(name string) string {
	return fmt.Sprintf(`{"call_id": %q, "started_at": "2026-11-02T14:05:06Z", "direction": "inbound", "agent_name": "Dana Reyes"}`, name)
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

// serveAt serves the vendor at an address of choice as well.
func (c *trial) serveAt(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sandbox.Serve(ctx, ln, c.fake) }()
	c.Cleanup(func() { cancel(); <-served })
	return nil
}
