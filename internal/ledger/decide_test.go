package ledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
)

func TestDuplicateAndConflict(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	_, first := planned(t, l, "a.wav", "x", "rec-1", "alpha", "beta")

	r := see(t, l, "s", "b.wav")
	got := must[Decided](t)(l.Decide(ctx, r.ID, r.Ver, ready("x", "rec-1", "alpha", "beta", "new")))
	if got != (Decided{Duplicates: 2}) {
		t.Fatalf("same content and key: %+v", got)
	}
	twins := deliveriesOf(t, l, r.ID)
	if d := twins[2]; d.State != Planned {
		t.Errorf("a destination that has not seen it: %+v", d)
	}
	for i, d := range twins[:2] {
		if of := queryInt(t, l, "SELECT duplicate_of FROM deliveries WHERE id = ?", d.ID); d.State != Duplicate || of != first[i].ID {
			t.Errorf("%+v is a duplicate of %d, want %d", d, of, first[i].ID)
		}
	}

	r = see(t, l, "s", "c.wav")
	got = must[Decided](t)(l.Decide(ctx, r.ID, r.Ver, ready("other", "rec-1", "alpha")))
	ds := deliveriesOf(t, l, r.ID)
	if got != (Decided{Conflicts: 1}) || ds[0].State != Held || ds[0].Reason != "conflict" {
		t.Fatalf("same key, other content: %+v, %+v", got, ds)
	}

	// Without a name from the export two silent calls are two recordings.
	_, one := planned(t, l, "d.wav", "silence", "", "alpha")
	d := ready("silence", "", "alpha")
	d.BusinessKey = "path:s/e.wav"
	var sum [32]byte
	must32(d.SHA256, &sum)
	d.Deliveries[0].IdemKey = call.NewDelivery("alpha", d.BusinessKey, sum).IdemKey
	r = see(t, l, "s", "e.wav")
	if got = must[Decided](t)(l.Decide(ctx, r.ID, r.Ver, d)); got != (Decided{}) || one[0].State != Planned {
		t.Fatalf("same content, no name: %+v", got)
	}
	verified(t, l)
}

// A recording that was refused or went away is no rival.
// Of copies the better one takes the place of those that were not sent, and of
// no other; a copy that was taken meanwhile is no conflict.
func TestCopies(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	lesser, ds := planned(t, l, "a.mp3", "x", "rec-1", "alpha")
	better := see(t, l, "s", "a.wav")
	d := ready("y", "rec-1", "alpha")
	d.Copies = true
	taken := func(sent bool) {
		t.Helper()
		copies := must[[]Copy](t)(l.CopiesTaken(ctx, "s", d.BusinessKey, better.ID, d.SHA256))
		if diff := cmp.Diff([]Copy{{ID: lesser.ID, Path: "a.mp3", Sent: sent}}, copies); diff != "" {
			t.Errorf("copies (-want +got):\n%s", diff)
		}
	}
	stale := func(why string) {
		t.Helper()
		if _, err := l.Decide(ctx, better.ID, better.Ver, d); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", why, err)
		}
		if n := queryInt(t, l, "SELECT count(*) FROM deliveries"); n != 1 {
			t.Errorf("%s: %d deliveries", why, n)
		}
	}
	taken(false)
	stale("a copy that it was not told of")
	d.Instead = []int64{lesser.ID}
	under := walk(t, l, ds[0], Sending)
	taken(true)
	stale("a copy that is being sent")
	walk(t, l, under, Planned)
	taken(true)
	stale("a copy that was begun")

	other, _ := planned(t, l, "b.mp3", "x2", "rec-2", "alpha")
	d = ready("y2", "rec-2", "alpha")
	d.Copies, d.Instead = true, []int64{other.ID}
	must[Decided](t)(l.Decide(ctx, better.ID, better.Ver, d))
	if got := deliveriesOf(t, l, better.ID)[0]; got.State != Planned {
		t.Errorf("the better one: %+v", got)
	}
	if got := deliveriesOf(t, l, other.ID)[0]; got.State != Cancelled || got.Reason != "copy" {
		t.Errorf("the lesser one: %+v", got)
	}
	if got := at(t, l, "s", "b.mp3"); got.State != Settling || got.DueAt.IsZero() {
		t.Errorf("the lesser one is not decided again: %+v", got)
	}
	verified(t, l)
}

func TestNoConflictWithWhatIsGone(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	r, _ := planned(t, l, "a.wav", "cut off", "rec-1", "alpha")
	check(t, l.Vanish(ctx, r.ID, r.Ver, "gone"))
	_, ds := planned(t, l, "b.wav", "whole", "rec-1", "alpha")
	if ds[0].State != Planned {
		t.Fatalf("%+v", ds[0])
	}
}

func TestDecideRefuses(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	r := see(t, l, "s", "a.wav")
	bad := ready("x", "", "alpha")
	bad.Deliveries[0].State = Accepted
	notReady := ready("x", "", "alpha")
	notReady.State = Skipped
	noHash := ready("x", "", "alpha")
	noHash.SHA256 = "abc"
	for name, c := range map[string]struct {
		id, ver int64
		d       Decision
		want    error
	}{
		"stale":                        {r.ID, r.Ver + 1, ready("x", ""), ErrStale},
		"missing":                      {r.ID + 9, 1, ready("x", ""), ErrNotFound},
		"to done":                      {r.ID, r.Ver, Decision{State: Done}, ErrMove},
		"delivery begins accepted":     {r.ID, r.Ver, bad, ErrMove},
		"deliveries of a skipped file": {r.ID, r.Ver, notReady, ErrMove},
		"no hash":                      {r.ID, r.Ver, noHash, nil},
	} {
		_, err := l.Decide(ctx, c.id, c.ver, c.d)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if got := at(t, l, "s", "a.wav"); got.State != Settling || got.Ver != r.Ver {
		t.Errorf("a refused decision left traces: %+v", got)
	}
	if n := queryInt(t, l, "SELECT count(*) FROM deliveries"); n != 0 {
		t.Errorf("%d deliveries", n)
	}
}

func TestVanishedFileComesAgain(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	r, ds := planned(t, l, "a.wav", "x", "rec-1", "alpha", "beta", "gamma")
	walk(t, l, ds[1], Sending, Committing, Accepted)
	walk(t, l, ds[2], Declaring, Declared)
	check(t, l.Vanish(ctx, r.ID, r.Ver, "gone"))
	for i, want := range []State{Cancelled, Accepted, Cancelled} {
		if got := deliveryByID(t, l, ds[i].ID); got.State != want {
			t.Fatalf("%s is %s, want %s", got.Destination, got.State, want)
		}
	}
	again := see(t, l, "s", "later/a.wav")
	got := must[Decided](t)(l.Decide(ctx, again.ID, again.Ver, ready("x", "rec-1", "alpha", "beta", "gamma")))
	if got != (Decided{Duplicates: 1}) {
		t.Fatalf("%+v", got)
	}
	for i, want := range []State{Planned, Accepted, Planned} {
		d := deliveryByID(t, l, ds[i].ID)
		if d.State != want || (want == Planned) != (d.RecordingID == again.ID) {
			t.Errorf("%s: %+v", d.Destination, d)
		}
	}
	for _, id := range []int64{r.ID, again.ID} {
		if n := len(deliveriesOf(t, l, id)); n != 3 {
			t.Errorf("recording %d counts %d times, want once for each destination", id, n)
		}
	}
	verified(t, l)
}

// The file of a duplicate is sent when the file of its original goes away.
func TestDuplicateInheritsDelivery(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	r, ds := planned(t, l, "a.wav", "x", "rec-1", "alpha")
	twin, _ := planned(t, l, "b.wav", "x", "rec-1", "alpha")
	check(t, l.Vanish(ctx, r.ID, at(t, l, "s", "a.wav").Ver, "gone"))
	d := deliveryByID(t, l, ds[0].ID)
	if d.State != Planned || d.RecordingID != twin.ID {
		t.Fatalf("%+v, want it planned for recording %d", d, twin.ID)
	}
	if former := deliveriesOf(t, l, r.ID); len(former) != 1 || former[0].State != Duplicate {
		t.Fatalf("the vanished recording's delivery: %+v", former)
	}
	walk(t, l, d, Sending, Committing, Accepted)
	if got := must[[]Recording](t)(l.Disposable(ctx, "s", epoch.Add(time.Hour), 10)); len(got) != 1 || got[0].ID != twin.ID {
		t.Fatalf("disposable = %+v", got)
	}
	verified(t, l)
}

func TestDisposableWithDuplicate(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	_, ds := planned(t, l, "a.wav", "x", "rec-1", "alpha")
	twin, _ := planned(t, l, "b.wav", "x", "rec-1", "alpha")
	if got := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10)); len(got) != 0 {
		t.Fatalf("the duplicate of something unsent may go: %+v", got)
	}
	walk(t, l, ds[0], Sending, Committing, Accepted)
	got := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10))
	if len(got) != 2 || got[1].ID != twin.ID {
		t.Fatalf("disposable = %+v", got)
	}
	// And one that comes when the original is accepted already.
	planned(t, l, "c.wav", "x", "rec-1", "alpha")
	if got := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10)); len(got) != 3 {
		t.Fatalf("disposable = %+v", got)
	}
	// All cancelled is not accepted.
	r, ds := planned(t, l, "d.wav", "y", "rec-2", "alpha")
	walk(t, l, ds[0], Cancelled)
	if err := l.Done(ctx, r.ID, at(t, l, "s", "d.wav").Ver, "", ""); !errors.Is(err, ErrStale) {
		t.Fatalf("a file nobody accepted was disposed of: %v", err)
	}
}

func TestRequeue(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	r, ds := planned(t, l, "a.wav", "x", "rec-1", "alpha")
	check(t, l.Requeue(ctx, r.ID, "file_changed", "changed at the gate"))
	if d := deliveryByID(t, l, ds[0].ID); d.State != Cancelled || d.Reason != "file_changed" {
		t.Fatalf("%+v", d)
	}
	fresh := at(t, l, "s", "a.wav")
	if fresh.ID == r.ID || fresh.State != Settling || fresh.DueAt.After(c.now()) {
		t.Fatalf("%+v", fresh)
	}
	check(t, l.Requeue(ctx, r.ID, "file_changed", "found by another destination too"))
	if again := at(t, l, "s", "a.wav"); again.ID != fresh.ID {
		t.Fatalf("requeued twice: %+v", again)
	}
	// The changed file is the old one after all: the delivery goes on.
	must[Decided](t)(l.Decide(ctx, fresh.ID, fresh.Ver, ready("x", "rec-1", "alpha")))
	if d := deliveryByID(t, l, ds[0].ID); d.State != Planned || d.RecordingID != fresh.ID {
		t.Fatalf("%+v", d)
	}
	verified(t, l)
}

func TestSeeReplaces(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	see(t, l, "s", "settling.wav")
	planned(t, l, "ready.wav", "x", "", "alpha")
	skipped := see(t, l, "s", "skipped.wav")
	must[Decided](t)(l.Decide(ctx, skipped.ID, skipped.Ver, Decision{State: Skipped, Reason: "not_accepted"}))
	for path, want := range map[string]RecordingState{"settling.wav": Vanished, "ready.wav": Vanished, "skipped.wav": Skipped} {
		old := at(t, l, "s", path)
		if fresh := see(t, l, "s", path); fresh.ID == old.ID {
			t.Fatalf("%s: still row %d", path, old.ID)
		}
		var state RecordingState
		check(t, l.reader.db.QueryRow("SELECT state FROM recordings WHERE id = ? AND current = 0", old.ID).Scan(&state))
		if state != want {
			t.Errorf("%s: the former row is %s, want %s", path, state, want)
		}
	}
	if n := queryInt(t, l, "SELECT count(*) FROM deliveries WHERE state = 'cancelled'"); n != 1 {
		t.Errorf("%d cancelled deliveries, want that of the replaced file", n)
	}
	verified(t, l)
}

func TestRelook(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	r := see(t, l, "s", "a.wav")
	look := lookOf(7)
	look.Looks = 2
	due := c.now().Add(1500 * time.Microsecond)
	check(t, l.RelookRecordings(ctx, []Relook{{ID: r.ID, Ver: r.Ver, Look: look, Due: due, Why: "busy"}, {ID: r.ID, Ver: r.Ver, Look: lookOf(8)}}))
	got := at(t, l, "s", "a.wav")
	if diff := cmp.Diff(look, got.Look); diff != "" || got.Reason != "busy" || got.Ver != r.Ver+1 {
		t.Fatalf("%+v (-want +got):\n%s", got, diff)
	}
	if got.DueAt.Before(due) {
		t.Fatalf("due at %v, before %v", got.DueAt, due)
	}
	must[Decided](t)(l.Decide(ctx, got.ID, got.Ver, Decision{State: Waiting, Keys: map[string]string{"sidecar": "a"}, WaitUntil: c.now().Add(time.Hour)}))
	if due := must[[]Recording](t)(l.DueRecordings(ctx, "s", c.now().Add(24*time.Hour), 10)); len(due) != 0 {
		t.Fatalf("waiting without a due time, yet due: %+v", due)
	}
	got = at(t, l, "s", "a.wav")
	check(t, l.RelookRecordings(ctx, []Relook{{ID: got.ID, Ver: got.Ver, Look: lookOf(9)}}))
	got = at(t, l, "s", "a.wav")
	if got.State != Settling || !got.WaitUntil.IsZero() || queryInt(t, l, "SELECT count(*) FROM recording_keys") != 0 {
		t.Fatalf("%+v", got)
	}
	must[Decided](t)(l.Decide(ctx, got.ID, got.Ver, ready("x", "")))
	ready := at(t, l, "s", "a.wav")
	if err := l.RelookRecordings(ctx, []Relook{{ID: ready.ID, Ver: ready.Ver, Look: lookOf(9)}}); !errors.Is(err, ErrMove) {
		t.Fatalf("a ready recording settles again: %v", err)
	}
}

// Paths are bytes, and the lists of paths come in every length.
func TestRecordingsAt(t *testing.T) {
	l, _ := openTest(t)
	var seen []Seen
	var paths []string
	for i := range 600 {
		paths = append(paths, fmt.Sprintf("d/\xff\x00%d.wav", i))
		seen = append(seen, Seen{Source: "s", Path: paths[i], Look: lookOf(uint64(i))})
	}
	check(t, l.SeeRecordings(t.Context(), seen))
	for _, n := range []int{0, 1, 3, 256, 257, 600} {
		got := must[map[string]Recording](t)(l.RecordingsAt(t.Context(), "s", paths[:n]))
		if len(got) != n {
			t.Fatalf("%d of %d paths", len(got), n)
		}
		for i := range n {
			if got[paths[i]].Look.Identity.Ino != uint64(i) {
				t.Fatalf("%q: %+v", paths[i], got[paths[i]])
			}
		}
	}
	if got := must[map[string]Recording](t)(l.RecordingsAt(t.Context(), "other", paths)); len(got) != 0 {
		t.Fatalf("another source has %d of them", len(got))
	}
}

// After `ledger init --force` files that were there before are in doubt.
func TestRestoreEpoch(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "ledger.db")
	check(t, Init(t.Context(), path, false, c.now))
	check(t, Init(t.Context(), path, true, c.now))
	l := openAt(t, path, c)
	_, ds := planned(t, l, "old.wav", "x", "", "alpha")
	if ds[0].State != InDoubt || ds[0].DoubtSince.IsZero() {
		t.Fatalf("a file from before: %+v", ds[0])
	}
	look := lookOf(1)
	look.Identity.CtimeNS += int64(time.Second)
	look.Identity.MtimeNS = look.Identity.CtimeNS
	check(t, l.SeeRecordings(t.Context(), []Seen{{Source: "s", Path: "new.wav", Look: look}}))
	r := at(t, l, "s", "new.wav")
	must[Decided](t)(l.Decide(t.Context(), r.ID, r.Ver, ready("y", "", "alpha")))
	if ds := deliveriesOf(t, l, r.ID); ds[0].State != Planned {
		t.Fatalf("a file from after: %+v", ds[0])
	}
	verified(t, l)
}

// Everything of a call record comes back as it was written.
func TestCallRoundTrip(t *testing.T) {
	l, _ := openTest(t)
	d := ready("x", "rec-1", "alpha")
	seven := 7.0
	d.Call.MetadataDurationSeconds = &seven
	d.Call.Custom = map[string]any{"text": "7", "whole": 7.0, "half": 0.5, "number": int64(1<<62 + 1), "yes": true, "at": epoch, "big": 1e300,
		"list": []any{int64(1), 2.0, map[string]any{"deep": nil}}}
	r := see(t, l, "s", "a.wav")
	must[Decided](t)(l.Decide(t.Context(), r.ID, r.Ver, d))
	_, got, err := l.Job(t.Context(), deliveriesOf(t, l, r.ID)[0].ID)
	check(t, err)
	if diff := cmp.Diff(d.Call, got.Call); diff != "" {
		t.Errorf("call (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(d.Audio, got.Audio); diff != "" {
		t.Errorf("audio (-want +got):\n%s", diff)
	}
}

// A recording that got another identity has nothing to do with what becomes of
// the former one: its file may go, and went, by the new one alone.
func TestFormerIdentityTakenOver(t *testing.T) {
	for name, early := range map[string]bool{"before the file goes": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			l, c := openTest(t)
			ctx := t.Context()
			r, ds := planned(t, l, "a.wav", "x", "rec-1", "alpha")
			check(t, l.w.write(ctx, "changed", func(t *tx) error {
				row, err := t.recording(r.ID)
				if err != nil {
					return err
				}
				return t.decideAgain(row, MetadataChanged, "its row changed")
			}))
			r = at(t, l, "s", "a.wav")
			must[Decided](t)(l.Decide(ctx, r.ID, r.Ver, ready("x", "rec-2", "alpha")))
			walk(t, l, deliveriesOf(t, l, r.ID)[1], Sending, Committing, Accepted)
			dispose := func() {
				got := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10))
				if len(got) != 1 || got[0].ID != r.ID {
					t.Fatalf("disposable = %+v", got)
				}
				check(t, l.Done(ctx, got[0].ID, got[0].Ver, "", ""))
			}
			if early {
				dispose()
			}
			twin, _ := planned(t, l, "b.wav", "x", "rec-1", "alpha")
			if d := deliveryByID(t, l, ds[0].ID); d.State != Planned || d.RecordingID != twin.ID {
				t.Fatalf("%+v, want it planned for recording %d", d, twin.ID)
			}
			if !early {
				dispose()
			}
			verified(t, l)
		})
	}
}
