package ledger

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestRetryOrder(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	_, held := planned(t, l, "held.wav", "h", "", "alpha", "beta")
	walk(t, l, held[0], Held)
	walk(t, l, held[1], Sending, Committing, Accepted)
	doubt, inDoubt := planned(t, l, "doubt.wav", "d", "", "alpha")
	walk(t, l, inDoubt[0], Sending, Committing, InDoubt)
	waiting := wait(t, l, "waiting.wav", "k")
	gone, lost := planned(t, l, "gone.wav", "g", "", "alpha")
	walk(t, l, lost[0], Held)
	check(t, l.Vanish(ctx, gone.ID, at(t, l, "s", "gone.wav").Ver, "gone"))

	// A command beside the daemon.
	id, n, err := Order(ctx, l.path, NewOrder{Kind: "retry", By: "root", Note: "vendor is back",
		DeliveryIDs: []int64{held[0].ID, held[1].ID, lost[0].ID, 999}, RecordingIDs: []int64{doubt.ID, waiting.ID, 998}})
	check(t, err)
	if n != 7 {
		t.Errorf("%d targets", n)
	}
	if applied, _, err := OrderState(ctx, l.path, id); err != nil || applied {
		t.Fatalf("applied = %v, %v", applied, err)
	}
	if got := must[int](t)(l.ApplyOrders(ctx, running)); got != 1 {
		t.Fatalf("applied %d orders", got)
	}
	applied, result, err := OrderState(ctx, l.path, id)
	if err != nil || !applied || !strings.HasPrefix(result, "applied to 3; not to 4") {
		t.Fatalf("%v, %q, %v", applied, result, err)
	}
	for _, part := range []string{"is accepted", "is gone", "no delivery 999", "no recording 998"} {
		if !strings.Contains(result, part) {
			t.Errorf("result %q does not say %q", result, part)
		}
	}
	for _, d := range []Delivery{held[0], inDoubt[0]} {
		got := deliveryByID(t, l, d.ID)
		if got.State != Planned || got.Reason != "" || got.NextAttempt.After(c.now()) || !got.DoubtSince.IsZero() {
			t.Errorf("%+v", got)
		}
	}
	if got := at(t, l, "s", "waiting.wav"); got.State != Settling || got.DueAt.After(c.now()) || !got.WaitUntil.IsZero() {
		t.Errorf("%+v", got)
	}
	history := must[[]Shown](t)(l.Reader().Show(ctx, "doubt.wav"))[0].History
	if last := history[len(history)-1]; *last.Class != "operator" || *last.Text != "ordered by root: vendor is back" {
		t.Errorf("last event = %+v", last)
	}
	if got := must[int](t)(l.ApplyOrders(ctx, running)); got != 0 {
		t.Errorf("applied again: %d", got)
	}
	again := order{id: id, kind: "retry", deliveries: []byte("[1]"), recordings: []byte("[]")}
	if err := l.w.write(ctx, "apply order", func(x *tx) error { return x.applyOrder(again, running) }); !errors.Is(err, ErrStale) {
		t.Errorf("an order that was read before it was applied: %v", err)
	}
	verified(t, l)
}

func TestRetryOfPoisonStartsAnew(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "a.wav", "x", "", "alpha")
	for range Poison {
		walk(t, l, deliveryByID(t, l, ds[0].ID), Sending)
		must[Recovered](t)(l.Recover(t.Context(), func(string) Recovery { return Recovery{Sending: Planned, Declaring: Planned} }))
	}
	_, _, err := Order(t.Context(), l.path, NewOrder{Kind: "retry", DeliveryIDs: []int64{ds[0].ID}})
	check(t, err)
	must[int](t)(l.ApplyOrders(t.Context(), running))
	if d := deliveryByID(t, l, ds[0].ID); d.State != Planned || d.Crashes != 0 {
		t.Fatalf("%+v", d)
	}
}

func TestRetryRecordings(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	var ids []int64
	for path, d := range map[string]Decision{
		"quarantined": {State: Quarantined, Reason: "not_audio"},
		"skipped":     {State: Skipped},
	} {
		r := see(t, l, "s", path)
		must[Decided](t)(l.Decide(ctx, r.ID, r.Ver, d))
		ids = append(ids, r.ID)
	}
	gone := see(t, l, "s", "gone")
	check(t, l.Vanish(ctx, gone.ID, gone.Ver, ""))
	replaced := see(t, l, "s", "replaced")
	see(t, l, "s", "replaced")
	_, _, err := Order(ctx, l.path, NewOrder{Kind: "retry", RecordingIDs: append(ids, gone.ID, replaced.ID)})
	check(t, err)
	must[int](t)(l.ApplyOrders(ctx, running))
	if n := queryInt(t, l, "SELECT count(*) FROM recordings WHERE state = 'settling'"); n != 4 {
		t.Errorf("%d recordings settle, want three retried and the newest of the replaced path", n)
	}
	verified(t, l)
}

func TestOrderRefuses(t *testing.T) {
	path := made(t)
	for name, o := range map[string]NewOrder{"unknown kind": {Kind: "explode", DeliveryIDs: []int64{1}}, "no target": {Kind: "retry"}} {
		if _, _, err := Order(t.Context(), path, o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	nowhere := filepath.Join(t.TempDir(), "ledger.db")
	if _, _, err := Order(t.Context(), nowhere, NewOrder{Kind: "retry", DeliveryIDs: []int64{1}}); !errors.Is(err, ErrMissing) {
		t.Errorf("%v", err)
	}
	if _, _, err := OrderState(t.Context(), path, 5); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// Without a daemon the command applies its order itself.
func TestOrderWithoutDaemon(t *testing.T) {
	path := made(t)
	c := newClock()
	l := openAt(t, path, c)
	_, ds := planned(t, l, "held.wav", "h", "", "alpha")
	walk(t, l, ds[0], Held)
	closeOnce(t, l)
	_, _, err := Order(t.Context(), path, NewOrder{Kind: "retry", DeliveryIDs: []int64{ds[0].ID}})
	check(t, err)
	l = openAt(t, path, c)
	if n := must[int](t)(l.ApplyOrders(t.Context(), running)); n != 1 {
		t.Fatalf("applied %d", n)
	}
	if d := deliveryByID(t, l, ds[0].ID); d.State != Planned {
		t.Fatalf("%+v", d)
	}
}
