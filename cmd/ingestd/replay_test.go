package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/sandbox"
	"ingestd/internal/sandbox/pipenet"
)

// expected is EXPECTED.json: what a correctly configured ingestd does with a
// tree of real exports.
type expected struct {
	Defaults struct {
		TimeZone string `json:"time_zone"`
	} `json:"defaults"`
	Tolerances struct {
		Duration float64 `json:"duration_seconds"`
	} `json:"tolerances"`
	Uploads       []upload   `json:"uploads"`
	Merged        []merged   `json:"merged_uploads"`
	Hold          []withheld `json:"hold"`
	MustNotUpload []withheld `json:"must_not_upload"`
	Arrival       []arrival  `json:"arrival"`
}

// arrival is one step of the drop.
type arrival struct {
	At   time.Time `json:"at_utc"`
	Op   string    `json:"op"`
	Path string    `json:"path"`
}

// upload is one recording to send and what its call record must say.
type upload struct {
	Audio       string   `json:"audio"`
	Sidecars    []string `json:"sidecars"`
	CallID      *string  `json:"call_id"`
	RecordingID *string  `json:"recording_id"`
	Segment     *struct {
		Index int `json:"index"`
	} `json:"segment"`
	Leg   *string `json:"leg"`
	Agent struct {
		ID, Name, Extension, Email *string
	} `json:"agent"`
	Direction        string            `json:"direction"`
	Start            time.Time         `json:"start_time_utc"`
	CallStart        *time.Time        `json:"call_start_time_utc"`
	Duration         float64           `json:"duration_seconds"`
	MetadataDuration *float64          `json:"metadata_duration_seconds"`
	Phone            *string           `json:"customer_phone"`
	PhoneE164        *string           `json:"customer_phone_e164"`
	Dialed           *string           `json:"dialed_number"`
	Queue            *string           `json:"queue"`
	Channels         int               `json:"channels"`
	ChannelMap       map[string]string `json:"channel_map"`
	Format           struct {
		Container, Codec string
		SampleRate       int `json:"sample_rate"`
	} `json:"audio_format"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type withheld struct{ Path, Class string }

// states that fit a class of withheld file (exports reference, section 7). An
// empty state means that the file never becomes a recording.
func fittingStates() map[string][]string {
	return map[string][]string{
		"waiting_for_sidecar": {"waiting"},
		"bad_sidecar":         {"quarantined"},
		"screen":              {"skipped", ""},
		"non_audio":           {"skipped", ""},
		"no_manifest_row":     {"waiting"},
		"incomplete_group":    {"waiting"},
		"in_progress":         {"settling", "waiting", ""}, // a writer that is gone looks like a finished file without its row
		"policy":              {"skipped", ""},
		"duplicate":           {"skipped", ""},
		"empty":               {"quarantined"},
		"orphan_metadata":     {""},
		"unsupported_format":  {"quarantined"},
		"encrypted":           {"quarantined"},
	}
}

// otherStates are files that are held for another reason than the class says.
func otherStates() map[string]string {
	return map[string]string{
		"3344556701_1.wma": "quarantined", // a header and zeros: that is seen before its XML is missed
	}
}

// firstCopies are recordings whose record comes again, richer, hours after
// they were sent: in the order of arrival they were sent with the first copy.
func firstCopies() map[string]string {
	return map[string]string{
		"connect/acme-prod/CallRecordings/2026/11/02/dd3ab4e0-524a-56f3-b041-00733add72fd_20261102T15:04_UTC.wav": "ctr/2026/11/02/15/acme-ctr-1-2026-11-02-15-16-31-c71a3d2a-9716-506c-8d80-e97c3a71a997",
	}
}

// vendorTakes are the containers that CallMiner takes: the others are refused
// before a byte is sent.
func vendorTakes(container string) bool {
	return slices.Contains([]string{"wav", "mp3", "ogg", "m4a", "mp4", "wma"}, container)
}

func TestReplayExports(t *testing.T) {
	for _, c := range []replayCase{
		{system: "percall_csv"}, {system: "genesys_cloud"}, {system: "amazon_connect"}, {system: "asterisk_freepbx"}, {system: "freeswitch"},
		{system: "five9"}, {system: "nice_cvs"}, {system: "puzzel"}, {system: "siprec"}, {system: "siprec", config: "siprec_merged"},
	} {
		c.files = unpackExports(t, c.system)
		if err := json.Unmarshal(c.files["EXPECTED.json"], &c.want); err != nil {
			t.Fatal(err)
		}
		if len(c.want.Uploads) == 0 || len(c.want.Arrival) == 0 {
			t.Fatalf("%s: EXPECTED.json lists nothing", c.system)
		}
		if c.config == "" {
			c.config = c.system
		} else {
			c.want.Uploads = mergedUploads(t, c)
		}
		ways := []string{inOrder, inReverse, atOnce, restarted}
		if c.system == "siprec" {
			ways = append(ways, renamed)
		}
		for _, way := range ways {
			c.way = way
			t.Run(c.config+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { replay(t, c) })
			})
		}
	}
}

// replay drops one tree in fake time and compares what arrived, what was held
// and what was refused with EXPECTED.json.
func replay(t *testing.T, c replayCase) {
	r := newReplayRig(t, c.system, c.config)
	// Not a whole minute: a scan would see half of what comes at once.
	time.Sleep(time.Until(c.want.Arrival[0].At.Add(-90 * time.Second)))
	arrived := map[string]time.Time{}
	r.start(t)
	for _, s := range c.steps(t) {
		time.Sleep(time.Until(s.at))
		r.put(t, s)
		if _, growing := arrived[s.path]; !growing || !s.append {
			arrived[s.path] = s.at
		}
		if c.way == restarted {
			r.stop(t)
			r.start(t)
		}
	}
	time.Sleep(time.Hour) // past every settle time
	r.stop(t)
	late := map[string]int{} // recordings whose metadata changed after they were sent
	want := c.want
	if c.way != inReverse && c.way != atOnce {
		want.Uploads = slices.Clone(want.Uploads)
		for i, u := range want.Uploads {
			if first, again := firstCopies()[u.Audio]; again {
				want.Uploads[i].Sidecars = []string{first}
				late[u.Audio] = 1
			}
		}
	}
	r.compare(t, want, arrived)
	r.compareSegments(t, c)
	r.compareParts(t, c)
	for _, u := range want.Uploads {
		if got := lateChanges(r.shown(t)[u.Audio]); got != late[u.Audio] {
			t.Errorf("%s: its history says %d times that its metadata changed after it was sent, want %d", u.Audio, got, late[u.Audio])
		}
	}
}

func lateChanges(s ledger.Shown) (n int) {
	for _, e := range s.History {
		if e.Destination == nil && strings.HasPrefix(deref(e.Text), "its metadata changed after it was sent") {
			n++
		}
	}
	return n
}

// replayRig is a whole daemon in fake time: real files, real ledger, the
// strict sandbox at the other end of in-memory connections.
type replayRig struct {
	app     *app
	cfg     *config.Config
	text    string // of the configuration
	root    string
	sandbox *sandbox.CallMiner
	led     *ledger.Ledger
	halt    context.CancelFunc
	done    chan error
}

func newReplayRig(t *testing.T, system, tailName string) *replayRig {
	dir := t.TempDir()
	r := &replayRig{root: filepath.Join(dir, "drop")}
	if err := os.Mkdir(r.root, 0o700); err != nil {
		t.Fatal(err)
	}
	tail, err := os.ReadFile(filepath.Join("testdata", "exports", tailName+".toml"))
	if err != nil {
		t.Fatal(err)
	}
	r.text = fmt.Sprintf(`[ledger]
path = %q
[[destination]]
name = "callminer"
type = "callminer"
base_url = "http://127.0.0.1:1/ingestion"
token_url = "http://127.0.0.1:1/connect/token"
client_id = "id"
client_secret = "plain:secret"
source_id = "Recorder"
[destination.fields]
Recording = 'file.stem' # CallMiner wants one item at least, and some exports name no agent
[[source]]
name = %q
path = %q
destinations = ["callminer"]
%s`, filepath.Join(dir, "ledger.db"), system, r.root, tail)
	if r.cfg, err = config.Load(strings.NewReader(r.text), filepath.Join(dir, "replay.toml")); err != nil {
		t.Fatal(err)
	}
	r.sandbox = sandbox.NewCallMiner(sandbox.Options{ClientID: "id", ClientSecret: "secret"})
	ln := pipenet.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sandbox.Serve(ctx, ln, r.sandbox) }()
	t.Cleanup(func() { cancel(); <-served })
	r.app = &app{ui: newUI(io.Discard, io.Discard), now: time.Now, hard: t.Context(), dial: ln.DialContext}
	return r
}

func (r *replayRig) start(t *testing.T) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	if r.led, err = ledger.Open(t.Context(), ledger.Options{Path: r.cfg.Ledger.Path, Now: time.Now, Log: log}); err != nil {
		t.Fatal(err)
	}
	p, err := r.app.build(r.cfg, r.led, log, pipeline.Options{Poll: true})
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.halt = context.WithCancel(t.Context())
	r.done = make(chan error, 1)
	go func() { r.done <- p.Run(ctx, t.Context()) }()
}

func (r *replayRig) stop(t *testing.T) {
	t.Helper()
	r.halt()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if err := r.led.Close(); err != nil {
		t.Fatal(err)
	}
}

func (r *replayRig) compare(t *testing.T, want expected, arrived map[string]time.Time) {
	t.Helper()
	shown := r.shown(t)
	contacts := map[string]sandbox.Contact{}
	for _, c := range r.sandbox.Contacts() {
		if c.State != "published" {
			t.Errorf("contact %s is %s", c.CorrelationID, c.State)
		}
		if _, twice := contacts[c.SHA256]; twice {
			t.Errorf("sha256 %s arrived twice", c.SHA256)
		}
		contacts[c.SHA256] = c
	}
	sent := 0
	for _, u := range want.Uploads {
		s, ok := shown[u.Audio]
		if !ok {
			t.Errorf("%s: the ledger does not know it", u.Audio)
			continue
		}
		compareCall(t, u.Audio, callOf(s), wantCall(u))
		if d := math.Abs(s.Recording.Audio.DurationSeconds - u.Duration); d > want.Tolerances.Duration {
			t.Errorf("%s: measured %.3f s, want %.3f s", u.Audio, s.Recording.Audio.DurationSeconds, u.Duration)
		}
		if got, want := sidecarPaths(s), slices.Sorted(slices.Values(u.Sidecars)); !slices.Equal(got, want) {
			t.Errorf("%s: paired with %v, want %v", u.Audio, got, want)
		}
		if len(s.Deliveries) != 1 {
			t.Errorf("%s: %d deliveries", u.Audio, len(s.Deliveries))
			continue
		}
		d := s.Deliveries[0]
		contact, there := contacts[u.SHA256]
		if !vendorTakes(u.Format.Container) {
			if there || d.State != "rejected" || deref(d.Reason) != "unsupported_format" {
				t.Errorf("%s: %s is refused by the vendor, but it is %s (%s), sent %v", u.Audio, u.Format.Container, d.State, deref(d.Reason), there)
			}
			continue
		}
		sent++
		if !there || d.State != "accepted" || contact.Bytes != u.Bytes {
			t.Errorf("%s: %s (%s: %s), at the vendor: %v", u.Audio, d.State, deref(d.Reason), deref(d.ReasonText), there)
			continue
		}
		if d.IDs["correlation_id"] != contact.CorrelationID || d.IDs["mining_id"] != contact.MiningID {
			t.Errorf("%s: ids %v, want those of %+v", u.Audio, d.IDs, contact)
		}
		for _, need := range append([]string{u.Audio}, u.Sidecars...) {
			if contact.ReceivedAt.Before(arrived[need]) {
				t.Errorf("%s: sent at %s, before %s came", u.Audio, contact.ReceivedAt, need)
			}
		}
	}
	if len(contacts) != sent {
		t.Errorf("%d contacts at the vendor, want %d", len(contacts), sent)
	}
	fitting := fittingStates()
	for _, w := range slices.Concat(want.Hold, want.MustNotUpload) {
		states, ok := fitting[w.Class]
		if !ok {
			t.Fatalf("class %q of %s is not known to this test", w.Class, w.Path)
		}
		state := shown[w.Path].Recording.State
		if other := otherStates()[w.Path]; other != "" {
			states = []string{other}
		}
		if !slices.Contains(states, state) {
			t.Errorf("%s (%s): state %q, want one of %q", w.Path, w.Class, state, states)
		}
		if reason := deref(shown[w.Path].Recording.Reason); w.Class == "incomplete_group" && reason != w.Class {
			t.Errorf("%s: held as %q", w.Path, reason)
		}
		if state != "" && deref(shown[w.Path].Recording.Reason) == "" {
			t.Errorf("%s: %s without a reason", w.Path, state)
		}
		if _, err := os.Stat(filepath.Join(r.root, filepath.FromSlash(w.Path))); errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: no longer in the drop directory", w.Path)
		}
	}
}

func (r *replayRig) shown(t *testing.T) map[string]ledger.Shown {
	t.Helper()
	reader, err := ledger.OpenReader(t.Context(), r.cfg.Ledger.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	out := map[string]ledger.Shown{}
	err = reader.List(t.Context(), ledger.Filter{}, func(row ledger.Row) error {
		found, err := reader.Show(t.Context(), fmt.Sprint(row.ID))
		for _, s := range found {
			if s.Recording.ID == row.ID {
				out[row.Path] = s
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// callOf and wantCall bring both sides to one flat form, so that a difference
// names its field.
func callOf(s ledger.Shown) map[string]any {
	c := s.Recording.Call
	if c == nil {
		return nil
	}
	m := map[string]any{
		"call_id": c.CallID, "recording_id": c.RecordingID, "leg": c.Leg, "agent.id": c.AgentID, "agent.name": c.AgentName,
		"agent.extension": c.AgentExtension, "agent.email": c.AgentEmail, "direction": c.Direction,
		"start": c.StartedAt.Format(time.RFC3339Nano), "phone": c.CustomerPhone, "e164": c.CustomerPhoneE164,
		"dialed": c.DNIS, "queue": c.Queue, "channels": s.Recording.Audio.Channels, "container": s.Recording.Audio.Container,
		"codec": s.Recording.Audio.Codec, "rate": s.Recording.Audio.SampleRate, "bytes": s.Recording.Size, "sha256": deref(s.Recording.SHA256),
	}
	if !c.CallStartedAt.IsZero() {
		m["call_start"] = c.CallStartedAt.Format(time.RFC3339Nano)
	}
	if c.MetadataDurationSeconds != nil {
		m["duration"] = *c.MetadataDurationSeconds
	}
	channels := map[string]string{}
	if c.AgentChannel != nil {
		channels[fmt.Sprint(*c.AgentChannel)] = "agent"
	}
	if c.CustomerChannel != nil {
		channels[fmt.Sprint(*c.CustomerChannel)] = "customer"
	}
	if len(channels) > 0 {
		m["channel_map"] = channels
	}
	return m
}

func wantCall(u upload) map[string]any {
	m := map[string]any{
		"call_id": deref(u.CallID), "recording_id": deref(u.RecordingID), "leg": deref(u.Leg), "agent.id": deref(u.Agent.ID), "agent.name": deref(u.Agent.Name),
		"agent.extension": deref(u.Agent.Extension), "agent.email": deref(u.Agent.Email), "direction": u.Direction,
		"start": u.Start.Format(time.RFC3339Nano), "phone": deref(u.Phone), "e164": deref(u.PhoneE164),
		"dialed": deref(u.Dialed), "queue": deref(u.Queue), "channels": u.Channels, "container": u.Format.Container,
		"codec": u.Format.Codec, "rate": u.Format.SampleRate, "bytes": u.Bytes, "sha256": u.SHA256,
	}
	if u.CallStart != nil {
		m["call_start"] = u.CallStart.Format(time.RFC3339Nano)
	}
	if u.MetadataDuration != nil {
		m["duration"] = *u.MetadataDuration
	}
	if u.ChannelMap != nil {
		m["channel_map"] = u.ChannelMap
	}
	return m
}

func compareCall(t *testing.T, name string, got, want map[string]any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: call record (-want +got):\n%s", name, diff)
	}
}

func sidecarPaths(s ledger.Shown) []string {
	seen := map[string]bool{}
	for _, d := range s.Recording.Sidecars {
		seen[d.Path] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// unpackExports reads one tree of the archive of real exports into memory: it
// is small, and its names do not survive every file system.
func unpackExports(t *testing.T, system string) map[string][]byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "exports", "exports.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	gz, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rel, ok := strings.CutPrefix(path.Clean(h.Name), system+"/")
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		if files[rel], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
	if len(files) == 0 {
		t.Fatalf("the archive has no tree %q", system)
	}
	return files
}
