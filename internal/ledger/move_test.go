package ledger

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMoveRefuses(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	_, ds := planned(t, l, "x.wav", "x", "", "alpha")
	d := ds[0]
	for name, c := range map[string]struct {
		id, ver int64
		steps   []Step
		want    error
	}{
		"other version":       {d.ID, d.Ver + 1, []Step{{From: Planned, To: Sending}}, ErrStale},
		"other state":         {d.ID, d.Ver, []Step{{From: Declared, To: Sending}}, ErrStale},
		"not in the table":    {d.ID, d.Ver, []Step{{From: Planned, To: Accepted}}, ErrMove},
		"second not in table": {d.ID, d.Ver, []Step{{From: Planned, To: Sending}, {From: Sending, To: Confirmed}}, ErrMove},
		"broken chain":        {d.ID, d.Ver, []Step{{From: Planned, To: Declaring}, {From: Declared, To: Sending}}, ErrMove},
		"no such delivery":    {d.ID + 100, 1, []Step{{From: Planned, To: Sending}}, ErrNotFound},
	} {
		if _, err := l.Move(ctx, c.id, c.ver, c.steps...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if n := queryInt(t, l, "SELECT count(*) FROM events WHERE delivery_id = ?", d.ID); n != 1 {
		t.Errorf("%d events after refused moves, want the first alone", n)
	}
	if got := deliveryByID(t, l, d.ID); got.Ver != d.Ver || got.State != Planned {
		t.Errorf("refused moves changed the row: %+v", got)
	}
}

func TestMoveCountsAttempts(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	_, ds := planned(t, l, "x.wav", "x", "", "alpha")
	d := walk(t, l, ds[0], Sending)
	ver := must[int64](t)(l.Move(ctx, d.ID, d.Ver, Step{From: Sending, To: Planned, Unburn: true, Reason: "no_network", Text: "no way out", NextAttempt: c.now()}))
	d = deliveryByID(t, l, d.ID)
	if d.Attempts != 0 || d.Ver != ver || d.ReasonText != "no way out" {
		t.Fatalf("an attempt that cost nothing: %+v", d)
	}
	// Noted again without having begun: attempts must not go below zero.
	must[int64](t)(l.Move(ctx, d.ID, d.Ver, Step{From: Planned, To: Planned, Unburn: true}))
	if d = deliveryByID(t, l, d.ID); d.Attempts != 0 || d.Reason != "" {
		t.Fatalf("%+v", d)
	}
}

func TestIDs(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	_, ds := planned(t, l, "x.wav", "x", "", "alpha")
	d := walk(t, l, ds[0], Declaring)
	must[int64](t)(l.Move(ctx, d.ID, d.Ver, Step{From: Declaring, To: Declared, IDs: map[string]string{"a": "1", "b": "2", "_target": "https://presigned"}}))
	d = walk(t, l, deliveryByID(t, l, d.ID), Declared)
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2", "_target": "https://presigned"}, d.IDs); diff != "" {
		t.Fatalf("a restart would not find them (-want +got):\n%s", diff)
	}
	must[int64](t)(l.Move(ctx, d.ID, d.Ver, Step{From: Declared, To: Sending, IDs: map[string]string{"a": "3", "b": ""}}))
	var printed []Row
	check(t, l.Reader().List(ctx, Filter{}, func(r Row) error { printed = append(printed, r); return nil }))
	if diff := cmp.Diff(map[string]string{"a": "3"}, printed[0].IDs); diff != "" {
		t.Fatalf("printed ids (-want +got):\n%s", diff)
	}
	if shown, err := l.Reader().Show(ctx, "https://presigned"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a private id can be searched: %v, %v", shown, err)
	}
	_, others := planned(t, l, "y.wav", "y", "", "alpha")
	h := walk(t, l, others[0], Declaring)
	must[int64](t)(l.Move(ctx, h.ID, h.Ver, Step{From: Declaring, To: Declared, IDs: map[string]string{"a": "1", "_target": "https://presigned"}}))
	h = walk(t, l, deliveryByID(t, l, h.ID), Held)
	if diff := cmp.Diff(map[string]string{"a": "1"}, h.IDs); diff != "" {
		t.Fatalf("while it waits for a person (-want +got):\n%s", diff)
	}
	d = walk(t, l, deliveryByID(t, l, d.ID), Committing, Accepted)
	if diff := cmp.Diff(map[string]string{"a": "3"}, d.IDs); diff != "" {
		t.Fatalf("after acceptance (-want +got):\n%s", diff)
	}
}

func TestEventsAreAppendOnly(t *testing.T) {
	l, _ := openTest(t)
	planned(t, l, "x.wav", "x", "", "alpha")
	for _, statement := range []string{"UPDATE events SET text = 'nothing happened'", "DELETE FROM events"} {
		err := l.w.write(t.Context(), "forge", func(x *tx) error { return x.exec(statement) })
		if err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	verified(t, l)
}

// The schema holds even if the code should not.
func TestSchemaRefuses(t *testing.T) {
	l, _ := openTest(t)
	_, ds := planned(t, l, "x.wav", "x", "", "alpha")
	for name, statement := range map[string]string{
		"a second live delivery of a key": `INSERT INTO deliveries (recording_id, source, destination, idem_key, state, next_attempt, created, updated)
			SELECT recording_id, source, destination, idem_key, 'planned', 0, 0, 0 FROM deliveries`,
		"an unknown state":             "UPDATE deliveries SET state = 'sent'",
		"a duplicate of nothing":       "UPDATE deliveries SET state = 'duplicate'",
		"a second current row":         `INSERT INTO recordings (source, path, state, dev, ino, size, mtime_ns, ctime_ns, quiet_since, looks, first_seen, updated) SELECT source, path, 'settling', 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM recordings`,
		"ready without content":        "UPDATE recordings SET sha256 = NULL",
		"a short hash":                 "UPDATE recordings SET sha256 = x'00'",
		"text for a number":            "UPDATE deliveries SET attempts = 'many'",
		"delivery of a lost recording": "UPDATE deliveries SET recording_id = 99",
	} {
		if err := l.w.write(t.Context(), name, func(x *tx) error { return x.exec(statement) }); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if got := deliveryByID(t, l, ds[0].ID); got.State != Planned || got.Ver != ds[0].Ver {
		t.Errorf("%+v", got)
	}
}
