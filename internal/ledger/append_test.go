package ledger

import (
	"errors"
	"testing"
)

// A list that only grows stays visible while what was added settles; what is
// added is durable with its place, and nothing is added to another version.
func TestAppend(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	d := seeDocument(t, l, "log.csv")
	ix := l.IndexDocument(d.ID, d.Ver)
	check(t, ix.Add(ctx, []IndexRow{row(1, "a")}))
	ix.Place = "1"
	must[int](t)(ix.Finish(ctx, ""))
	waiting := wait(t, l, "b.wav", "b")
	found := func(key string) int { return len(must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", key, 10))) }

	d = documentAt(t, l, "log.csv")
	check(t, l.RelookDocuments(ctx, []Relook{{ID: d.ID, Ver: d.Ver, Look: lookOf(4)}}))
	if found("a") != 1 {
		t.Error("its rows cannot be found while it settles")
	}
	stale := l.AppendDocument(d.ID, d.Ver)
	if err := stale.Add(ctx, []IndexRow{row(2, "x")}, "2"); !errors.Is(err, ErrStale) {
		t.Errorf("added to another version: %v", err)
	}
	d = documentAt(t, l, "log.csv")
	more := l.AppendDocument(d.ID, d.Ver)
	check(t, more.Add(ctx, []IndexRow{row(2, "b")}, "2"))
	if now := documentAt(t, l, "log.csv"); now.Place != "2" || now.Rows != 2 || now.State != DocumentSettling || found("b") != 1 || found("x") != 0 {
		t.Errorf("after one chunk: %+v", now)
	}
	if now := at(t, l, "s", "b.wav"); now.Ver == waiting.Ver {
		t.Error("the recording that waits was not woken")
	}
	if woken := must[int](t)(more.Finish(ctx)); woken != 1 {
		t.Errorf("woke %d", woken)
	}

	d = documentAt(t, l, "log.csv")
	check(t, l.DocumentGone(ctx, d.ID, d.Ver))
	if again := seeDocument(t, l, "log.csv"); again.Place != "" || found("a") != 0 {
		t.Errorf("it went and came back, and its old rows are found: %+v", again)
	}
}

// A recording is not decided with a row that changed since it was looked up.
func TestDecideWithOvertakenRow(t *testing.T) {
	for name, test := range map[string]struct {
		rows  []IndexRow
		stale bool
	}{
		"the same, elsewhere": {[]IndexRow{row(5, "x"), row(1, "a")}, false},
		"another content":     {[]IndexRow{row(2, "a")}, true},
		"one more":            {[]IndexRow{row(1, "a"), row(2, "a")}, true},
		"none":                {[]IndexRow{row(1, "x")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := openTest(t)
			d := seeDocument(t, l, "list.csv")
			index(t, l, d, row(1, "a"))
			found := must[[]DocumentRow](t)(l.Lookup(t.Context(), "s", "m", "a", 1))[0]
			seeDocument(t, l, "list.csv")
			index(t, l, documentAt(t, l, "list.csv"), test.rows...)
			decision := ready("x", "", "alpha")
			decision.Documents = []DocumentUse{{Sidecar: "m", DocumentID: d.ID, RowID: found.RowID, Path: found.Path, Row: found.Row, Rule: "key",
				SHA256: found.SHA256, Key: "a", Digest: found.Digest, Newest: found.RowID}}
			r := see(t, l, "s", "a.wav")
			_, err := l.Decide(t.Context(), r.ID, r.Ver, decision)
			if errors.Is(err, ErrStale) != test.stale || err != nil && !test.stale {
				t.Errorf("%v", err)
			}
		})
	}
}

// What an earlier ledger may have sent is not decided again, although this one
// counted no attempt.
func TestChangeOfRestoredIsLate(t *testing.T) {
	for _, reason := range []string{"restored", "conflict"} {
		l, c := openTest(t)
		d := seeDocument(t, l, "list.csv")
		index(t, l, d, row(1, "a"))
		found := must[[]DocumentRow](t)(l.Lookup(t.Context(), "s", "m", "a", 1))[0]
		decision := ready("x", "", "alpha")
		decision.Deliveries[0].State, decision.Deliveries[0].Reason = Held, reason
		decision.Documents = []DocumentUse{{Sidecar: "m", DocumentID: d.ID, RowID: found.RowID, Path: found.Path, Row: found.Row, Rule: "key",
			SHA256: found.SHA256, Key: "a", Digest: found.Digest, Newest: found.RowID}}
		r := see(t, l, "s", "a.wav")
		must[Decided](t)(l.Decide(t.Context(), r.ID, r.Ver, decision))
		seeDocument(t, l, "list.csv")
		index(t, l, documentAt(t, l, "list.csv"), row(2, "a"))
		due := must[[]Change](t)(l.DueChanges(t.Context(), "s", c.now(), 10))
		if len(due) != 1 {
			t.Fatalf("%d changes", len(due))
		}
		want := ChangeNoted
		if reason != "restored" {
			want = ChangeAgain
		}
		if got := must[ChangeOutcome](t)(l.ApplyChange(t.Context(), due[0], nil, false)); got != want {
			t.Errorf("%s: %s, want %s", reason, got, want)
		}
	}
}
