package ledger

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// running is for orders beside a daemon that sends to every destination.
func running(string) bool { return true }

// orderedTo gives an order and returns what became of it.
func orderedTo(t *testing.T, l *Ledger, o NewOrder) string {
	t.Helper()
	id, _, err := Order(t.Context(), l.path, o)
	check(t, err)
	must[int](t)(l.ApplyOrders(t.Context(), running))
	applied, result, err := OrderState(t.Context(), l.path, id)
	check(t, err)
	if !applied {
		t.Fatal("the order was not applied")
	}
	return result
}

// A person's word stands for the vendor's answer: the delivery is accepted
// under the vendor's id, the history says who said it and why, and the file
// may go.
func TestAcceptOrder(t *testing.T) {
	l, c := openTest(t)
	_, ds := planned(t, l, "a.wav", "a", "", "alpha", "beta", "gamma", "delta")
	doubt := walk(t, l, ds[0], Sending, Committing, InDoubt)
	held := walk(t, l, ds[1], Held)
	walk(t, l, ds[2], Sending, Committing, Rejected)
	if got := orderedTo(t, l, NewOrder{Kind: OrderAccept, By: "ann", Note: "seen in the portal", DeliveryIDs: []int64{doubt.ID}, IDs: map[string]string{"mining_id": "m-7"}}); got != "applied to 1" {
		t.Errorf("result %q", got)
	}
	got := orderedTo(t, l, NewOrder{Kind: OrderAccept, By: "ann", Note: "by hand", DeliveryIDs: []int64{held.ID, doubt.ID, ds[2].ID, ds[3].ID, 99}})
	for _, part := range []string{"applied to 1; not to 4", "is accepted", "is rejected", "is planned", "no delivery 99"} {
		if !strings.Contains(got, part) {
			t.Errorf("result %q does not say %q", got, part)
		}
	}
	for _, id := range []int64{doubt.ID, held.ID} {
		if d := deliveryByID(t, l, id); d.State != Accepted || d.Reason != ByPerson || !d.AcceptedAt.Equal(c.now()) || !d.DoubtSince.IsZero() {
			t.Errorf("%+v", d)
		}
	}
	shown := must[[]Shown](t)(l.Reader().Show(t.Context(), "m-7"))
	last := shown[0].History[len(shown[0].History)-2]
	if *last.Class != "operator" || *last.Text != "accepted as ordered by ann: seen in the portal; mining_id m-7" || *last.Destination != "alpha" {
		t.Errorf("event %+v, text %q", last, *last.Text)
	}
	if due := must[[]Recording](t)(l.Disposable(t.Context(), "s", c.now(), 10)); len(due) != 0 {
		t.Error("the file may go although one was rejected and one is planned")
	}
	if got := orderedTo(t, l, NewOrder{Kind: OrderCancel, By: "ann", Note: "not wanted", DeliveryIDs: []int64{ds[2].ID, ds[3].ID}}); got != "applied to 2" {
		t.Errorf("result %q", got)
	}
	if due := must[[]Recording](t)(l.Disposable(t.Context(), "s", c.now(), 10)); len(due) != 1 {
		t.Errorf("%d files may go, want the one of which nothing is open", len(due))
	}
	verified(t, l)
}

// What a person gives up is not sent, nor when the same recording comes again,
// until a person takes that back.
func TestCancelOrder(t *testing.T) {
	l, _ := openTest(t)
	r, ds := planned(t, l, "a.wav", "a", "", "alpha", "beta", "gamma")
	walk(t, l, ds[1], Sending)
	walk(t, l, ds[2], Sending, Committing, InDoubt)
	got := orderedTo(t, l, NewOrder{Kind: OrderCancel, By: "ann", Note: "a test call", DeliveryIDs: []int64{ds[0].ID, ds[1].ID, ds[2].ID}})
	if !strings.HasPrefix(got, "applied to 2; not to 1") || !strings.Contains(got, "under way (sending)") {
		t.Errorf("result %q", got)
	}
	if d := deliveryByID(t, l, ds[0].ID); d.State != Cancelled || d.Reason != ByPerson || d.ReasonText != "given up as ordered by ann: a test call" {
		t.Errorf("%+v", d)
	}
	if due := must[[]Delivery](t)(l.DueDeliveries(t.Context(), "alpha", "s", time.Now().AddDate(9, 0, 0), 10)); len(due) != 0 {
		t.Errorf("%d would be sent", len(due))
	}
	got = orderedTo(t, l, NewOrder{Kind: OrderRetry, By: "bob", DeliveryIDs: []int64{ds[0].ID}})
	if d := deliveryByID(t, l, ds[0].ID); got != "applied to 1" || d.State != Planned || d.IdemKey != ds[0].IdemKey {
		t.Errorf("%s: %+v", got, d)
	}
	orderedTo(t, l, NewOrder{Kind: OrderCancel, DeliveryIDs: []int64{ds[0].ID}})
	check(t, l.Vanish(t.Context(), r.ID, at(t, l, "s", "a.wav").Ver, "gone"))
	if got := orderedTo(t, l, NewOrder{Kind: OrderRetry, DeliveryIDs: []int64{ds[0].ID}}); !strings.Contains(got, "applied to 0") {
		t.Errorf("a file that is gone is sent: %q", got)
	}
	planned(t, l, "again.wav", "a", "", "alpha")
	if d := deliveryByID(t, l, ds[0].ID); d.State != Cancelled || d.RecordingID != r.ID {
		t.Errorf("the same recording came again: %+v", d)
	}
	verified(t, l)
}

func TestOrderOfIDsRefuses(t *testing.T) {
	path := made(t)
	for name, o := range map[string]NewOrder{
		"ids of two":     {Kind: OrderAccept, DeliveryIDs: []int64{1, 2}, IDs: map[string]string{"id": "x"}},
		"ids of a retry": {Kind: OrderRetry, DeliveryIDs: []int64{1}, IDs: map[string]string{"id": "x"}},
		"a private id":   {Kind: OrderAccept, DeliveryIDs: []int64{1}, IDs: map[string]string{"_url": "x"}},
		"a recording":    {Kind: OrderCancel, RecordingIDs: []int64{1}},
	} {
		if _, _, err := Order(t.Context(), path, o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// Orders that a program before this one wrote down are lists of numbers, and
// so are those of this one as long as numbers say it all.
func TestTargets(t *testing.T) {
	var back []target
	for _, written := range []string{`[3,4]`, `[{"id":3,"ids":{"a":"b"}}]`} {
		check(t, json.Unmarshal([]byte(written), &back))
		if again := must[[]byte](t)(json.Marshal(back)); string(again) != written || back[0].ID != 3 {
			t.Errorf("%s became %s", written, again)
		}
	}
	if err := json.Unmarshal([]byte(`["x"]`), &back); err == nil {
		t.Error("a word was taken for a target")
	}
}

// A person takes a cancellation back: the delivery is as new, and goes on with
// whatever file of the recording is there.
func TestCancelTakenBack(t *testing.T) {
	t.Run("as new", func(t *testing.T) {
		l, _ := openTest(t)
		_, ds := planned(t, l, "a.wav", "a", "", "alpha")
		d := ds[0]
		ver := must[int64](t)(l.Move(t.Context(), d.ID, d.Ver, Step{From: Planned, To: Sending, BeginAttempt: true}))
		must[int64](t)(l.Move(t.Context(), d.ID, ver, Step{From: Sending, To: Planned, Crashed: true}, Step{From: Planned, To: Held, Reason: "gave_up"}))
		orderedTo(t, l, NewOrder{Kind: OrderCancel, DeliveryIDs: []int64{d.ID}})
		orderedTo(t, l, NewOrder{Kind: OrderRetry, DeliveryIDs: []int64{d.ID}})
		if d = deliveryByID(t, l, d.ID); d.State != Planned || !d.FirstAttempt.IsZero() || d.Crashes != 0 {
			t.Errorf("it would give up at its first failure: %+v", d)
		}
	})
	t.Run("the recording came again", func(t *testing.T) {
		l, _ := openTest(t)
		r, ds := planned(t, l, "a.wav", "a", "", "alpha", "beta")
		orderedTo(t, l, NewOrder{Kind: OrderCancel, DeliveryIDs: []int64{ds[0].ID}})
		check(t, l.Vanish(t.Context(), r.ID, at(t, l, "s", "a.wav").Ver, "gone"))
		again, _ := planned(t, l, "again.wav", "a", "", "alpha", "beta")
		got := orderedTo(t, l, NewOrder{Kind: OrderRetry, DeliveryIDs: []int64{ds[0].ID}})
		if d := deliveryByID(t, l, ds[0].ID); got != "applied to 1" || d.State != Planned || d.RecordingID != again.ID {
			t.Errorf("%s: %+v", got, d)
		}
		verified(t, l)
	})
	t.Run("its other file is being moved", func(t *testing.T) {
		l, _ := openTest(t)
		r, ds := planned(t, l, "a.wav", "a", "", "alpha", "beta")
		orderedTo(t, l, NewOrder{Kind: OrderCancel, DeliveryIDs: []int64{ds[0].ID}})
		check(t, l.Vanish(t.Context(), r.ID, at(t, l, "s", "a.wav").Ver, "gone"))
		again, both := planned(t, l, "again.wav", "a", "", "alpha", "beta")
		walk(t, l, both[0], Sending, Committing, Accepted)
		must[int64](t)(l.Disposing(t.Context(), again.ID, at(t, l, "s", "again.wav").Ver, "archive/again.wav"))
		if got := orderedTo(t, l, NewOrder{Kind: OrderRetry, DeliveryIDs: []int64{ds[0].ID}}); !strings.Contains(got, "applied to 0") {
			t.Errorf("a file that is being moved is sent: %q", got)
		}
		verified(t, l)
	})
}

// The file of a recording that came twice may go too where one destination has
// it and a person gave it up at the other; not any more when that is taken back.
func TestDuplicateOfGivenUpMayGo(t *testing.T) {
	l, c := openTest(t)
	_, ds := planned(t, l, "a.wav", "a", "", "alpha", "beta")
	walk(t, l, ds[1], Sending, Committing, Accepted)
	planned(t, l, "again.wav", "a", "", "alpha", "beta")
	for _, step := range []struct {
		kind string
		want int
	}{{"", 0}, {OrderCancel, 2}, {OrderRetry, 0}} {
		if step.kind != "" {
			orderedTo(t, l, NewOrder{Kind: step.kind, DeliveryIDs: []int64{ds[0].ID}})
		}
		if due := must[[]Recording](t)(l.Disposable(t.Context(), "s", c.now(), 10)); len(due) != step.want {
			t.Errorf("after %q %d files may go, want %d", step.kind, len(due), step.want)
		}
	}
	verified(t, l)
}

// What a crash left in mid-way to a destination that is no longer configured
// waits for it. A person who knows that it will not come back can give it up.
func TestCancelOfWhatACrashLeft(t *testing.T) {
	for left, way := range map[State][]State{
		Declaring: {Declaring}, Sending: {Sending}, Committing: {Sending, Committing},
	} {
		t.Run(string(left), func(t *testing.T) {
			l, _ := openTest(t)
			_, ds := planned(t, l, "a.wav", "a", "", "alpha")
			walk(t, l, ds[0], way...)
			id, _, err := Order(t.Context(), l.path, NewOrder{Kind: OrderCancel, By: "ann", Note: "over", DeliveryIDs: []int64{ds[0].ID}})
			check(t, err)
			must[int](t)(l.ApplyOrders(t.Context(), func(destination string) bool { return destination != "alpha" }))
			_, got, err := OrderState(t.Context(), l.path, id)
			check(t, err)
			if d := deliveryByID(t, l, ds[0].ID); got != "applied to 1" || d.State != Cancelled || d.Reason != ByPerson {
				t.Errorf("%s: %+v", got, d)
			}
			verified(t, l)
		})
	}
}
