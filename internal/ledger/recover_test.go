package ledger

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func vendor(string) Recovery { return Recovery{Sending: Declared, Declaring: Planned} }

// After a crash every row that was in mid-way goes where the table says, and
// a second recovery (a crash during the first) changes nothing.
func TestRecover(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openAt(t, path, c)
	_, ds := planned(t, l, "a.wav", "x", "", "declaring", "declared", "sending", "committing", "accepted", "planned")
	walk(t, l, ds[0], Declaring)
	walk(t, l, ds[1], Declaring, Declared)
	walk(t, l, ds[2], Declaring, Declared, Sending)
	walk(t, l, ds[3], Declaring, Declared, Sending, Committing)
	walk(t, l, ds[4], Sending, Committing, Accepted)
	crash(t, l)

	l = openAt(t, path, c)
	c.advance(time.Second)
	got := must[Recovered](t)(l.Recover(t.Context(), vendor))
	if diff := cmp.Diff(Recovered{Requeued: 2, InDoubt: 1}, got); diff != "" || got.Total() != 3 {
		t.Fatalf("recovered (-want +got):\n%s", diff)
	}
	for i, want := range []State{Planned, Declared, Declared, InDoubt, Accepted, Planned} {
		d := deliveryByID(t, l, ds[i].ID)
		if d.State != want {
			t.Errorf("%s: %s, want %s", d.Destination, d.State, want)
		}
		if crashed := i == 0 || i == 2 || i == 3; crashed != (d.Crashes == 1) {
			t.Errorf("%s: %d crashes", d.Destination, d.Crashes)
		}
	}
	if d := deliveryByID(t, l, ds[3].ID); !d.Own || !d.DoubtSince.Equal(c.now()) {
		t.Errorf("%+v", d)
	}
	before := queryInt(t, l, "SELECT max(id) FROM events")
	crash(t, l)
	l = openAt(t, path, c)
	if got := must[Recovered](t)(l.Recover(t.Context(), vendor)); got.Total() != 0 {
		t.Fatalf("recovered again: %+v", got)
	}
	if after := queryInt(t, l, "SELECT max(id) FROM events"); after != before {
		t.Fatalf("%d events after the second recovery, %d before", after, before)
	}
	verified(t, l)
}

// Where a declare must not be repeated a person has to look.
func TestRecoverHolds(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	walk(t, l, ds[0], Declaring)
	got := must[Recovered](t)(l.Recover(t.Context(), func(string) Recovery { return Recovery{Sending: Declared, Declaring: Held} }))
	if d := deliveryByID(t, l, ds[0].ID); got != (Recovered{Held: 1}) || d.State != Held || d.Reason != "declare_in_doubt" {
		t.Fatalf("%+v, %+v", got, d)
	}
}

func TestPoison(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	for n := 1; n <= 3; n++ {
		d := walk(t, l, deliveryByID(t, l, ds[0].ID), Sending)
		must[Recovered](t)(l.Recover(t.Context(), func(string) Recovery { return Recovery{Sending: Planned, Declaring: Planned} }))
		d = deliveryByID(t, l, d.ID)
		if want := map[bool]State{true: Held, false: Planned}[n == 3]; d.State != want || d.Crashes != n {
			t.Fatalf("after crash %d: %+v", n, d)
		}
	}
	if d := deliveryByID(t, l, ds[0].ID); d.Reason != "poison" {
		t.Fatalf("%+v", d)
	}
}

func TestRecoverRefusesAWayThatIsNone(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	walk(t, l, ds[0], Sending)
	if _, err := l.Recover(t.Context(), func(string) Recovery { return Recovery{Sending: Confirmed} }); err == nil {
		t.Fatal("sending was recovered to confirmed")
	}
	if d := deliveryByID(t, l, ds[0].ID); d.State != Sending || d.Crashes != 0 {
		t.Fatalf("%+v", d)
	}
}

// A crash after a document became visible and before its recordings were
// woken must not leave them waiting for ever.
func TestRecoverFinishesDocuments(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	wait(t, l, "a.wav", "a")
	d := seeDocument(t, l, "list.csv")
	ix := l.IndexDocument(d.ID, d.Ver)
	check(t, ix.Add(ctx, []IndexRow{row(1, "a")}))
	check(t, ix.show(ctx, DocumentIndexed, "", "", sumOf("list"))) // and here the crash
	must[Recovered](t)(l.Recover(ctx, vendor))
	if due := must[[]Recording](t)(l.DueRecordings(ctx, "s", c.now(), 10)); len(due) != 1 {
		t.Fatalf("due = %+v", due)
	}
	if n := queryInt(t, l, "SELECT count(*) FROM documents WHERE unfinished = 1"); n != 0 {
		t.Fatal("the document is still unfinished")
	}
}
