package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReaderBesideWriter(t *testing.T) {
	l, _ := openTest(t)
	planned(t, l, "a.wav", "x", "", "alpha")
	r := must[*Reader](t)(OpenReader(t.Context(), l.path))
	defer r.Close()
	if _, err := r.db.Exec("DELETE FROM deliveries"); err == nil {
		t.Fatal("a reader wrote")
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 50 {
			planned(t, l, strings.Repeat("b", i+1)+".wav", strings.Repeat("y", i+1), "", "alpha")
		}
	})
	last := 0
	for range 50 {
		n := len(listed(t, r, Filter{}))
		if n < last {
			t.Fatalf("%d rows after %d", n, last)
		}
		last = n
	}
	wg.Wait()
	if n := len(listed(t, r, Filter{})); n != 51 {
		t.Fatalf("%d rows", n)
	}
}

func listed(t testing.TB, r *Reader, f Filter) []Row {
	t.Helper()
	var out []Row
	check(t, r.List(t.Context(), f, func(row Row) error { out = append(out, row); return nil }))
	return out
}

func TestOpenReader(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "ledger.db")
	if _, err := OpenReader(t.Context(), missing); !errors.Is(err, ErrMissing) {
		t.Fatalf("%v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(missing)); len(entries) != 0 {
		t.Fatalf("a reader created %v", entries)
	}
	path := made(t)
	r := must[*Reader](t)(OpenReader(t.Context(), path))
	if n := len(listed(t, r, Filter{})); n != 1 {
		t.Fatalf("%d rows of a stopped ledger", n)
	}
	check(t, r.Close())
	if !immutable(path) {
		t.Error("a stopped ledger without WAL may be read as it is")
	}
	check(t, os.WriteFile(path+"-wal", []byte("frames"), 0o600))
	if immutable(path) {
		t.Error("a WAL with frames would be missed")
	}
	check(t, os.Remove(path+"-wal"))
	l := openAt(t, path, newClock())
	db := connect(path, dsnWrite, 1)
	_, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	check(t, errors.Join(err, db.Close()))
	if immutable(l.path) {
		t.Error("a running daemon changes the file")
	}
}

// scene is a ledger with one of everything.
func scene(t *testing.T) (*Ledger, *clock) {
	l, c := openTest(t)
	ctx := t.Context()
	d := seeDocument(t, l, "list.csv")
	index(t, l, d, row(1, "a"), row(2, "unused"))
	found := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", "a", 1))[0]
	decision := ready("x", "rec-1", "alpha", "beta")
	decision.Documents = []DocumentUse{{Sidecar: "m", DocumentID: d.ID, RowID: found.RowID, Path: found.Path, Row: found.Row, Rule: "key", SHA256: found.SHA256}}
	r := see(t, l, "s", "2026/a.wav")
	c.advance(time.Second)
	must[Decided](t)(l.Decide(ctx, r.ID, r.Ver, decision))
	ds := deliveriesOf(t, l, r.ID)
	c.advance(time.Second)
	a := walk(t, l, ds[0], Declaring)
	ver := must[int64](t)(l.Move(ctx, a.ID, a.Ver, Step{From: Declaring, To: Declared, IDs: map[string]string{"session_id": "s-1"}}, Step{From: Declared, To: Sending}, Step{From: Sending, To: Committing}))
	c.advance(time.Second)
	must[int64](t)(l.Move(ctx, a.ID, ver, Step{From: Committing, To: Accepted, Class: "accepted", HTTPStatus: 201, Text: "taken", IDs: map[string]string{"mining_id": "m-1"}}))
	must[int64](t)(l.Move(ctx, ds[1].ID, ds[1].Ver, Step{From: Planned, To: Planned, Class: "not_sent", Reason: "no_network", Text: "no way out", NextAttempt: c.now().Add(time.Minute)}))
	waiting := wait(t, l, "waiting.wav", "nowhere")
	q := see(t, l, "s", "text.wav")
	must[Decided](t)(l.Decide(ctx, q.ID, q.Ver, Decision{State: Quarantined, Reason: "not_audio", ReasonText: "it is text"}))
	_ = waiting
	return l, c
}

const goldenList = `
{"id":1,"delivery_id":1,"source":"s","path":"2026/a.wav","size":1000,"sha256":"SUM","call_id":"call-x","recording_id":"rec-1","started_at":"2026-11-20T10:00:00Z","destination":"alpha","state":"accepted","reason":null,"reason_text":null,"attempts":1,"idempotency_key":"KEY1","ids":{"mining_id":"m-1","session_id":"s-1"},"first_seen_at":"2026-11-20T10:00:00Z","accepted_at":"2026-11-20T10:00:03Z","next_attempt_at":null,"updated_at":"2026-11-20T10:00:03Z"}
{"id":1,"delivery_id":2,"source":"s","path":"2026/a.wav","size":1000,"sha256":"SUM","call_id":"call-x","recording_id":"rec-1","started_at":"2026-11-20T10:00:00Z","destination":"beta","state":"planned","reason":"no_network","reason_text":"no way out","attempts":0,"idempotency_key":"KEY2","ids":{},"first_seen_at":"2026-11-20T10:00:00Z","accepted_at":null,"next_attempt_at":"2026-11-20T10:01:03Z","updated_at":"2026-11-20T10:00:03Z"}
{"id":2,"delivery_id":null,"source":"s","path":"waiting.wav","size":1000,"sha256":null,"call_id":null,"recording_id":null,"started_at":null,"destination":null,"state":"waiting","reason":"waiting_for_sidecar","reason_text":null,"attempts":0,"idempotency_key":null,"ids":{},"first_seen_at":"2026-11-20T10:00:03Z","accepted_at":null,"next_attempt_at":null,"updated_at":"2026-11-20T10:00:03Z"}
{"id":3,"delivery_id":null,"source":"s","path":"text.wav","size":1000,"sha256":null,"call_id":null,"recording_id":null,"started_at":null,"destination":null,"state":"quarantined","reason":"not_audio","reason_text":"it is text","attempts":0,"idempotency_key":null,"ids":{},"first_seen_at":"2026-11-20T10:00:03Z","accepted_at":null,"next_attempt_at":null,"updated_at":"2026-11-20T10:00:03Z"}
`

// filled puts the values that are derived from content into a golden text.
func filled(t *testing.T, l *Ledger, golden string) string {
	t.Helper()
	ds := deliveriesOf(t, l, 1)
	return strings.NewReplacer("SUM", sumOf("x"), "KEY1", ds[0].IdemKey, "KEY2", ds[1].IdemKey).Replace(golden)
}

func TestListContract(t *testing.T) {
	l, _ := scene(t)
	got := "\n"
	for _, row := range listed(t, l.Reader(), Filter{}) {
		got += string(must[[]byte](t)(json.Marshal(row))) + "\n"
	}
	if diff := cmp.Diff(filled(t, l, goldenList), got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestListFilters(t *testing.T) {
	l, c := scene(t)
	planned(t, l, "b.wav", "b", "", "alpha")
	held, ds := planned(t, l, "held.wav", "h", "", "alpha")
	walk(t, l, ds[0], Held)
	c.advance(time.Hour)
	planned(t, l, "late.wav", "l", "", "alpha")
	for name, f := range map[string]struct {
		filter Filter
		want   []string // path/destination
	}{
		"all":               {Filter{}, []string{"2026/a.wav alpha", "2026/a.wav beta", "waiting.wav ", "text.wav ", "b.wav alpha", "held.wav alpha", "late.wav alpha"}},
		"open state":        {Filter{States: []string{"held"}}, []string{"held.wav alpha"}},
		"open states":       {Filter{States: []string{"held", "planned"}, Destinations: []string{"alpha"}}, []string{"b.wav alpha", "held.wav alpha", "late.wav alpha"}},
		"done state":        {Filter{States: []string{"accepted"}}, []string{"2026/a.wav alpha"}},
		"recording's state": {Filter{States: []string{"waiting", "quarantined"}}, []string{"waiting.wav ", "text.wav "}},
		"both kinds":        {Filter{States: []string{"waiting", "held"}}, []string{"waiting.wav ", "held.wav alpha"}},
		"source":            {Filter{Sources: []string{"other"}}, nil},
		"destination":       {Filter{Destinations: []string{"beta"}}, []string{"2026/a.wav beta"}},
		"reason":            {Filter{Reason: "not_audio"}, []string{"text.wav "}},
		"call":              {Filter{CallID: "call-h"}, []string{"held.wav alpha"}},
		"recorder's id":     {Filter{CallID: "rec-1", Destinations: []string{"alpha"}}, []string{"2026/a.wav alpha"}},
		"since":             {Filter{Since: c.now()}, []string{"late.wav alpha"}},
		"until":             {Filter{Until: epoch.Add(time.Second)}, []string{"2026/a.wav alpha", "2026/a.wav beta"}},
		"limit":             {Filter{Limit: 2}, []string{"2026/a.wav alpha", "2026/a.wav beta"}},
	} {
		var got []string
		for _, row := range listed(t, l.Reader(), f.filter) {
			destination := ""
			if row.Destination != nil {
				destination = *row.Destination
			}
			got = append(got, row.Path+" "+destination)
		}
		if diff := cmp.Diff(f.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	stop := errors.New("enough")
	if err := l.Reader().List(t.Context(), Filter{}, func(Row) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("list went on: %v", err)
	}
	_ = held
}

func TestListPages(t *testing.T) {
	l, _ := openTest(t)
	var seen []Seen
	for i := range 2*listPage + 1 {
		seen = append(seen, Seen{Source: "s", Path: strings.Repeat("p", i+1), Look: lookOf(1)})
	}
	check(t, l.SeeRecordings(t.Context(), seen))
	for _, limit := range []int{0, 1, listPage, listPage + 1} {
		want := limit
		if limit == 0 {
			want = len(seen)
		}
		rows := listed(t, l.Reader(), Filter{Limit: limit})
		if len(rows) != want {
			t.Errorf("limit %d: %d rows", limit, len(rows))
		}
		for i, r := range rows {
			if r.ID != int64(i+1) {
				t.Fatalf("row %d is recording %d", i, r.ID)
			}
		}
	}
}

const goldenShow = `{
 "recording": {
  "id": 1,
  "source": "s",
  "path": "2026/a.wav",
  "state": "ready",
  "reason": null,
  "reason_text": null,
  "size": 1000,
  "sha256": "SUM",
  "sidecars": [
   {
    "name": "m",
    "path": "list.csv",
    "row": 1
   }
  ],
  "call": {
   "call_id": "call-x",
   "recording_id": "rec-1",
   "started_at": "2026-11-20T10:00:00Z"
  },
  "audio": {
   "container": "wav",
   "codec": "pcm_s16le",
   "sample_rate": 8000,
   "channels": 2,
   "duration_seconds": 1.5,
   "ext": "wav"
  },
  "first_seen_at": "2026-11-20T10:00:00Z",
  "moved_to": null
 },
 "deliveries": DELIVERIES,
 "history": [
  {"at":"2026-11-20T10:00:00Z","destination":null,"from":null,"to":"settling","attempt":null,"class":null,"http_status":null,"text":null},
  {"at":"2026-11-20T10:00:01Z","destination":null,"from":"settling","to":"ready","attempt":null,"class":null,"http_status":null,"text":null},
  {"at":"2026-11-20T10:00:01Z","destination":"alpha","from":null,"to":"planned","attempt":0,"class":null,"http_status":null,"text":null},
  {"at":"2026-11-20T10:00:01Z","destination":"beta","from":null,"to":"planned","attempt":0,"class":null,"http_status":null,"text":null},
  {"at":"2026-11-20T10:00:02Z","destination":"alpha","from":"planned","to":"declaring","attempt":1,"class":null,"http_status":null,"text":null},
  {"at":"2026-11-20T10:00:02Z","destination":"alpha","from":"declaring","to":"declared","attempt":1,"class":null,"http_status":null,"text":null},
  {"at":"2026-11-20T10:00:02Z","destination":"alpha","from":"declared","to":"sending","attempt":1,"class":null,"http_status":null,"text":null},
  {"at":"2026-11-20T10:00:02Z","destination":"alpha","from":"sending","to":"committing","attempt":1,"class":null,"http_status":null,"text":null},
  {"at":"2026-11-20T10:00:03Z","destination":"alpha","from":"committing","to":"accepted","attempt":1,"class":"accepted","http_status":201,"text":"taken"},
  {"at":"2026-11-20T10:00:03Z","destination":"beta","from":"planned","to":"planned","attempt":0,"class":"not_sent","http_status":null,"text":"no way out"}
 ]
}`

// compact removes the white space of a JSON text.
func compact(t *testing.T, s string) string {
	t.Helper()
	var v any
	check(t, json.Unmarshal([]byte(s), &v))
	return string(must[[]byte](t)(json.MarshalIndent(v, "", " ")))
}

func TestShowContract(t *testing.T) {
	l, _ := scene(t)
	shown := must[[]Shown](t)(l.Reader().Show(t.Context(), "rec-1"))
	if len(shown) != 1 {
		t.Fatalf("%d recordings", len(shown))
	}
	rows := strings.Split(strings.TrimSpace(goldenList), "\n")
	want := strings.Replace(goldenShow, "DELIVERIES", "["+rows[0]+","+rows[1]+"]", 1)
	got := string(must[[]byte](t)(json.Marshal(shown[0])))
	if diff := cmp.Diff(compact(t, filled(t, l, want)), compact(t, got)); diff != "" {
		t.Errorf("show (-want +got):\n%s", diff)
	}
}

func TestShowFinds(t *testing.T) {
	l, c := scene(t)
	ctx := t.Context()
	r, ds := planned(t, l, "deep/er/b.wav", "b", "rec-b", "alpha")
	walk(t, l, ds[0], Sending, Committing, Accepted)
	done := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 1))[0]
	check(t, l.Done(ctx, done.ID, done.Ver, "/archive/b.wav", "moved"))
	fresh := see(t, l, "s", "deep/er/b.wav")
	for arg, want := range map[string][]int64{
		"1":                              {1},
		"2026/a.wav":                     {1},
		"/srv/drop/2026/a.wav":           {1},
		"/srv/drop/../drop/2026/a.wav":   {1},
		"call-x":                         {1},
		"rec-1":                          {1},
		"s-1":                            {1},
		"m-1":                            {1},
		deliveriesOf(t, l, 1)[0].IdemKey: {1},
		"deep/er/b.wav":                  {r.ID, fresh.ID},
		"/archive/b.wav":                 {r.ID},
		"rec-b":                          {r.ID},
		"b.wav":                          nil,
		"99":                             nil,
		"":                               nil,
		"/":                              nil,
	} {
		shown, err := l.Reader().Show(ctx, arg)
		if want == nil {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %+v, %v", arg, shown, err)
			}
			continue
		}
		var got []int64
		for _, s := range shown {
			got = append(got, s.Recording.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", arg, err, diff)
		}
	}
}

const goldenStatus = `{
 "sources": {"s": {"settling": 0, "waiting": 1, "ready": 1, "done": 0, "skipped": 0, "quarantined": 1, "vanished": 0}},
 "destinations": {"alpha": {"accepted": 1}, "beta": {"planned": 1}},
 "oldest_pending_at": "2026-11-20T10:00:00Z",
 "daemon": {"running": true, "pid": PID, "since": "2026-11-20T10:00:00Z", "trouble": null},
 "needs_person": {"not_audio": 1, "no_sidecar": 1},
 "last_errors": [{"destination": "beta", "recording_id": 1, "delivery_id": 2, "at": "2026-11-20T10:00:03Z", "class": "not_sent", "reason": "no_network", "http_status": null, "text": "no way out"}],
 "processing_failed": {},
 "orphan_declares": {}
}`

func TestStatusContract(t *testing.T) {
	l, c := scene(t)
	c.advance(2 * time.Hour) // past the wait of waiting.wav
	got := must[Status](t)(l.Reader().Status(t.Context()))
	pid := must[[]byte](t)(json.Marshal(os.Getpid()))
	want := strings.Replace(goldenStatus, "PID", string(pid), 1)
	if diff := cmp.Diff(compact(t, want), compact(t, string(must[[]byte](t)(json.Marshal(got))))); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	closeOnce(t, l)
	r := must[*Reader](t)(OpenReader(context.Background(), l.path))
	defer r.Close()
	if got := must[Status](t)(r.Status(t.Context())); got.Daemon != (Daemon{}) {
		t.Errorf("after the stop: %+v", got.Daemon)
	}
}

func TestOrphans(t *testing.T) {
	l, _ := scene(t)
	index(t, l, seeDocument(t, l, "alone.json"), row(1, "alone"))
	bad := seeDocument(t, l, "bad.json")
	check(t, l.FailDocument(t.Context(), bad.ID, bad.Ver, "encoding", "not UTF-8", map[string]string{"m": "bad"}))
	// The same manifest again: its used row stays used.
	index(t, l, seeDocument(t, l, "list.csv"), row(1, "a"), row(2, "unused"))
	var got []string
	check(t, l.Reader().Orphans(t.Context(), func(o Orphan) error {
		key := "-"
		if o.Key != nil {
			key = *o.Key
		}
		got = append(got, o.Kind+" "+o.Path+" "+key)
		return nil
	}))
	want := []string{
		"recording_without_sidecar waiting.wav m=nowhere",
		"bad_document bad.json -",
		"document_without_recording alone.json alone",
		"row_without_recording list.csv unused",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("orphans (-want +got):\n%s", diff)
	}
}

// More workers than connections must not wait for each other for ever.
func TestManyJobsAtOnce(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 20 {
				if d, r, err := l.Job(context.Background(), ds[0].ID); err != nil || d.ID != ds[0].ID || r.Call == nil {
					t.Error(d, r, err)
				}
			}
		})
	}
	wg.Wait()
	if _, _, err := l.Job(t.Context(), 99); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}
