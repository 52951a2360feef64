package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWayOfARecording(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	r, ds := planned(t, l, "2026/x.wav", "x", "rec-1", "alpha", "beta")
	if r.State != Ready || len(ds) != 2 || r.SHA256 != sumOf("x") {
		t.Fatalf("recording = %+v, deliveries = %+v", r, ds)
	}
	if got := r.Look.Identity; got != lookOf(uint64(len("2026/x.wav"))).Identity {
		t.Fatalf("identity came back as %+v", got)
	}
	due := must[[]Delivery](t)(l.DueDeliveries(ctx, "alpha", "s", c.now(), 10))
	if len(due) != 1 || due[0].ID != ds[0].ID {
		t.Fatalf("due = %+v", due)
	}
	d, rec, err := l.Job(ctx, ds[0].ID)
	check(t, err)
	if diff := cmp.Diff([]Job{{d, rec}}, must[[]Job](t)(l.DueJobs(ctx, "alpha", "s", c.now(), 10))); diff != "" {
		t.Fatalf("a due job is not what Job reads (-want +got):\n%s", diff)
	}

	// Two steps, with ids, a cut, and a second attempt through a doubt.
	a := ds[0]
	ver := must[int64](t)(l.Move(ctx, a.ID, a.Ver, Step{From: Planned, To: Declaring, BeginAttempt: true}))
	ver = must[int64](t)(l.Move(ctx, a.ID, ver,
		Step{From: Declaring, To: Declared, IDs: map[string]string{"session_id": "s-1", "_target": "https://secret"}},
		Step{From: Declared, To: Sending}))
	next := c.now().Add(time.Minute)
	must[int64](t)(l.Move(ctx, a.ID, ver, Step{From: Sending, To: Declared, Class: "incomplete", Reason: "cut_short", Text: "cut", Bytes: 500, NextAttempt: next}))
	a = deliveryByID(t, l, a.ID)
	if a.Attempts != 1 || a.Reason != "cut_short" || !a.NextAttempt.Equal(next) || a.Own || !a.FirstAttempt.Equal(epoch) {
		t.Fatalf("after the cut: %+v", a)
	}
	if due := must[[]Delivery](t)(l.DueDeliveries(ctx, "alpha", "s", c.now(), 10)); len(due) != 0 {
		t.Fatalf("due before its time: %+v", due)
	}
	if at, ok, err := l.NextDelivery(ctx, "alpha"); err != nil || !ok || !at.Equal(next) {
		t.Fatalf("next delivery = %v, %v, %v, want %v", at, ok, err, next)
	}
	c.advance(time.Minute)
	ver = must[int64](t)(l.Move(ctx, a.ID, a.Ver, Step{From: Declared, To: Sending, BeginAttempt: true}, Step{From: Sending, To: Committing}))
	must[int64](t)(l.Move(ctx, a.ID, ver, Step{From: Committing, To: InDoubt, Class: "in_doubt", HTTPStatus: 502, Reason: "no_answer", Text: "lost"}))
	a = deliveryByID(t, l, a.ID)
	if !a.Own || a.Attempts != 2 || !a.DoubtSince.Equal(c.now()) {
		t.Fatalf("in doubt: %+v", a)
	}
	doubt := c.now()
	c.advance(time.Minute)
	a = walk(t, l, a, InDoubt)
	if !a.DoubtSince.Equal(doubt) {
		t.Fatalf("another look at a doubt moved its beginning to %v", a.DoubtSince)
	}
	if got := must[[]Delivery](t)(l.DueDoubts(ctx, "alpha", c.now(), 10)); len(got) != 1 {
		t.Fatalf("due doubts = %+v", got)
	}
	if got := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10)); len(got) != 0 {
		t.Fatalf("disposable while in doubt: %+v", got)
	}
	must[int64](t)(l.Move(ctx, a.ID, a.Ver, Step{From: InDoubt, To: Accepted, Class: "present", IDs: map[string]string{"mining_id": "m-1"}}))
	a = walk(t, l, deliveryByID(t, l, a.ID), Confirmed)
	if diff := cmp.Diff(map[string]string{"session_id": "s-1", "mining_id": "m-1"}, a.IDs); diff != "" {
		t.Fatalf("ids (-want +got):\n%s", diff)
	}
	if !a.AcceptedAt.Equal(c.now()) || !a.DoubtSince.IsZero() || a.Reason != "" {
		t.Fatalf("confirmed: %+v", a)
	}
	// One delivery of two is not enough to let the file go.
	if err := l.Done(ctx, r.ID, at(t, l, "s", r.Path).Ver, "", ""); err == nil {
		t.Fatal("a file was disposed of that a delivery still needs")
	}
	walk(t, l, ds[1], Sending, Committing, Accepted)

	rows := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10))
	if len(rows) != 1 || rows[0].Call == nil || rows[0].Call.RecordingID != "rec-1" || rows[0].Audio.Channels != 2 {
		t.Fatalf("disposable = %+v", rows)
	}
	disposeOf(t, l, c, rows[0])
	verified(t, l)
}

// disposeOf defers a disposal once, then completes it.
func disposeOf(t *testing.T, l *Ledger, c *clock, r Recording) {
	t.Helper()
	ctx := t.Context()
	ver := must[int64](t)(l.Disposing(ctx, r.ID, r.Ver, "/archive/x.wav"))
	if got := must[[]Recording](t)(l.PendingMoves(ctx, "s", 10)); len(got) != 1 || got[0].MoveTo != "/archive/x.wav" {
		t.Fatalf("pending moves = %+v", got)
	}
	later := c.now().Add(time.Minute)
	check(t, l.DeferDisposal(ctx, r.ID, ver, later, "disposal_failed", "read-only"))
	if got := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10)); len(got) != 0 {
		t.Fatalf("disposable before its time: %+v", got)
	}
	if at, ok, err := l.NextDue(ctx, "s"); err != nil || !ok || !at.Equal(later) {
		t.Fatalf("next due = %v, %v, %v", at, ok, err)
	}
	c.advance(time.Minute)
	got := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10))
	if len(got) != 1 {
		t.Fatalf("disposable = %+v", got)
	}
	ver = must[int64](t)(l.Disposing(ctx, r.ID, got[0].Ver, "/archive/x.wav"))
	check(t, l.Done(ctx, r.ID, ver, "/archive/x-2.wav", "moved"))
	done := at(t, l, r.Source, r.Path)
	if done.State != Done || done.MovedTo != "/archive/x-2.wav" || done.MoveTo != "" || done.Reason != "" {
		t.Fatalf("done = %+v", done)
	}
}
