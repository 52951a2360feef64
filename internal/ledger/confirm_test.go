package ledger

import (
	"testing"
	"time"
)

// Only what is still to be asked about is due, by its own time, and none of
// it keeps a file or a run.
func TestConfirms(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	var ds []Delivery
	for _, name := range []string{"a", "b", "c"} {
		_, d := planned(t, l, name+".wav", name, name, "alpha")
		ds = append(ds, walk(t, l, d[0], Sending, Committing))
	}
	soon, later := c.now().Add(time.Minute), c.now().Add(time.Hour)
	accept := func(d Delivery, s Step) Delivery {
		s.From, s.To = d.State, Accepted
		must[int64](t)(l.Move(ctx, d.ID, d.Ver, s))
		return deliveryByID(t, l, d.ID)
	}
	a := accept(ds[0], Step{Reason: Unconfirmed, NextAttempt: later})
	b := accept(ds[1], Step{Reason: Unconfirmed, NextAttempt: soon})
	accept(ds[2], Step{})

	if at, ok, err := l.NextConfirm(ctx, "alpha"); err != nil || !ok || !at.Equal(soon) {
		t.Fatalf("next question %v, %t, %v, want %v", at, ok, err, soon)
	}
	if _, ok, err := l.NextConfirm(ctx, "beta"); err != nil || ok {
		t.Fatalf("a question at a destination without deliveries: %t, %v", ok, err)
	}
	if due := must[[]Delivery](t)(l.DueConfirms(ctx, "alpha", c.now(), 10)); len(due) != 0 {
		t.Fatalf("due before their time: %+v", due)
	}
	c.advance(2 * time.Hour)
	due := must[[]Delivery](t)(l.DueConfirms(ctx, "alpha", c.now(), 10))
	if len(due) != 2 || due[0].ID != b.ID || due[1].ID != a.ID {
		t.Fatalf("due = %+v", due)
	}
	if rows := must[[]Recording](t)(l.Disposable(ctx, "s", c.now(), 10)); len(rows) != 3 {
		t.Fatalf("%d files may go, want all three", len(rows))
	}
	p := must[Pending](t)(l.Pending(ctx, map[string][]string{"s": {"alpha", "beta"}}))
	if p.Deliveries != 0 || p.NeedsPerson != 0 || p.Delivered != 3 {
		t.Fatalf("pending = %+v", p)
	}

	accepted := a.AcceptedAt
	a = accept(a, Step{Class: ProcessingFailed, Reason: ProcessingFailed, Text: "failed"})
	walk(t, l, b, Confirmed)
	if !a.AcceptedAt.Equal(accepted) {
		t.Errorf("accepted at %v, before that at %v", a.AcceptedAt, accepted)
	}
	if _, ok, err := l.NextConfirm(ctx, "alpha"); err != nil || ok {
		t.Fatalf("still to be asked: %t, %v", ok, err)
	}
	if s := must[Status](t)(l.Reader().Status(ctx)); s.ProcessingFailed["alpha"] != 1 || len(s.NeedsPerson) != 0 {
		t.Errorf("status %+v", s)
	}
	verified(t, l)
}

// Every lost step 1 is counted once, whatever became of its delivery.
func TestOrphanDeclares(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	_, ds := planned(t, l, "a.wav", "a", "a", "alpha", "beta")
	d := walk(t, l, ds[0], Declaring)
	lost := Step{From: Declaring, To: Planned, Class: "refused", Reason: "orphan_declare", Text: "lost"}
	must[int64](t)(l.Move(ctx, d.ID, d.Ver, lost))
	d = walk(t, l, deliveryByID(t, l, d.ID), Declaring)
	must[int64](t)(l.Move(ctx, d.ID, d.Ver, lost, Step{From: Planned, To: Held, Class: "refused", Reason: "gave_up", Text: "gave up"}))
	walk(t, l, ds[1], Declaring)
	for range 2 { // the second finds nothing
		must[Recovered](t)(l.Recover(ctx, func(string) Recovery { return Recovery{Declaring: Planned, Sending: Planned} }))
	}
	_, sent := planned(t, l, "b.wav", "b", "b", "beta")
	walk(t, l, sent[0], Declaring, Declared, Sending) // a crash in the media is no orphan
	must[Recovered](t)(l.Recover(ctx, func(string) Recovery { return Recovery{Declaring: Planned, Sending: Declared} }))
	s := must[Status](t)(l.Reader().Status(ctx))
	if s.OrphanDeclares["alpha"] != 2 || s.OrphanDeclares["beta"] != 1 {
		t.Errorf("orphans %v, want alpha 2 and beta 1", s.OrphanDeclares)
	}
	verified(t, l)
}
