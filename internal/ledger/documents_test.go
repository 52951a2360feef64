package ledger

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func seeDocument(t *testing.T, l *Ledger, path string) Document {
	t.Helper()
	check(t, l.SeeDocuments(t.Context(), []Seen{{Source: "s", Path: path, Look: lookOf(3)}}))
	return documentAt(t, l, path)
}

func documentAt(t *testing.T, l *Ledger, path string) Document {
	t.Helper()
	d, ok := must[map[string]Document](t)(l.DocumentsAt(t.Context(), "s", []string{path}))[path]
	if !ok {
		t.Fatalf("no document at %s", path)
	}
	return d
}

// index makes a document of rows visible and returns how many it woke.
func index(t *testing.T, l *Ledger, d Document, rows ...IndexRow) int {
	t.Helper()
	ix := l.IndexDocument(d.ID, d.Ver)
	check(t, ix.Add(t.Context(), rows))
	return must[int](t)(ix.Finish(t.Context(), sumOf(d.Path)))
}

func row(n int, key string) IndexRow {
	return IndexRow{Sidecar: "m", Key: key, Row: n, Content: map[string]any{"n": int64(n), "f": 2.0}}
}

func wait(t *testing.T, l *Ledger, path, key string) Recording {
	t.Helper()
	r := see(t, l, "s", path)
	must[Decided](t)(l.Decide(t.Context(), r.ID, r.Ver, Decision{State: Waiting, Keys: map[string]string{"m": key},
		Due: epoch.Add(time.Hour), WaitUntil: epoch.Add(time.Hour), Reason: "waiting_for_sidecar"}))
	return at(t, l, "s", path)
}

func TestDocumentWakesRecordings(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	wait(t, l, "a.wav", "a")
	b := wait(t, l, "b.wav", "b")
	elsewhere := see(t, l, "other", "a.wav")
	must[Decided](t)(l.Decide(ctx, elsewhere.ID, elsewhere.Ver, Decision{State: Waiting, Keys: map[string]string{"m": "a"}}))
	d := seeDocument(t, l, "list.csv")
	if got := must[[]Document](t)(l.DueDocuments(ctx, "s", c.now(), 10)); len(got) != 1 || got[0].ID != d.ID {
		t.Fatalf("due documents = %+v", got)
	}
	ix := l.IndexDocument(d.ID, d.Ver)
	check(t, ix.Add(ctx, []IndexRow{row(1, "a"), row(2, "x"), {Sidecar: "m", Row: 3, Key: "bad", Reason: "fields", ReasonText: "line 4 has 3 fields"}}))
	if got := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", "a", 10)); len(got) != 0 {
		t.Fatalf("seen before Finish: %+v", got)
	}
	if woken := must[int](t)(ix.Finish(ctx, sumOf("list"))); woken != 1 {
		t.Fatalf("woke %d, want the one of its source that waits for its key", woken)
	}
	due := must[[]Recording](t)(l.DueRecordings(ctx, "s", c.now(), 10))
	if len(due) != 1 || due[0].Path != "a.wav" {
		t.Fatalf("due = %+v", due)
	}
	if got := at(t, l, "s", "b.wav"); got.Ver != b.Ver {
		t.Fatalf("the other was touched: %+v", got)
	}
	rows := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", "a", 10))
	now := documentAt(t, l, "list.csv")
	want := []DocumentRow{{DocumentID: d.ID, DocumentVer: now.Ver, RowID: rows[0].RowID, Path: "list.csv", Identity: now.Look.Identity, Row: 1, SHA256: sumOf("list"), Content: map[string]any{"n": int64(1), "f": 2.0},
		Digest: rowDigest(`{"f":2.0,"n":1}`, "")}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Fatalf("lookup (-want +got):\n%s", diff)
	}
	if rows := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", "bad", 10)); len(rows) != 1 || rows[0].Reason != "fields" {
		t.Fatalf("a bad row: %+v", rows)
	}
	for _, elsewhere := range [][2]string{{"other", "m"}, {"s", "other"}} {
		if rows := must[[]DocumentRow](t)(l.Lookup(ctx, elsewhere[0], elsewhere[1], "a", 10)); len(rows) != 0 {
			t.Fatalf("%v finds %+v", elsewhere, rows)
		}
	}
	if got := documentAt(t, l, "list.csv"); got.State != DocumentIndexed || got.Rows != 2 || got.SHA256 != sumOf("list") {
		t.Fatalf("%+v", got)
	}
}

func TestDocumentReplaced(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	index(t, l, seeDocument(t, l, "list.csv"), row(1, "a"), row(2, "b"))
	d := documentAt(t, l, "list.csv")
	check(t, l.RelookDocuments(ctx, []Relook{{ID: d.ID, Ver: d.Ver, Look: lookOf(4)}, {ID: d.ID, Ver: 99, Look: lookOf(5)}}))
	d = documentAt(t, l, "list.csv")
	if d.State != DocumentSettling || d.Look.Identity.Ino != 4 {
		t.Fatalf("%+v", d)
	}
	if rows := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", "a", 10)); len(rows) != 0 {
		t.Fatalf("rows of a changing document are used: %+v", rows)
	}
	// A version that is given up leaves nothing behind.
	ix := l.IndexDocument(d.ID, d.Ver)
	check(t, ix.Add(ctx, []IndexRow{row(1, "given up")}))
	check(t, ix.Abort(ctx))
	// One that a crash cut short is swept by the next.
	ix = l.IndexDocument(d.ID, d.Ver)
	check(t, ix.Add(ctx, []IndexRow{row(1, "cut short")}))
	index(t, l, d, row(1, "b"), row(2, "c"))
	if n := queryInt(t, l, "SELECT count(*) FROM document_rows"); n != 2 {
		t.Fatalf("%d rows are stored, want those of the newest version", n)
	}
	for key, want := range map[string]int{"a": 0, "b": 1, "c": 1, "given up": 0, "cut short": 0} {
		if rows := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", key, 10)); len(rows) != want {
			t.Errorf("%s: %+v", key, rows)
		}
	}
	if _, err := ix.Finish(ctx, sumOf("late")); !errors.Is(err, ErrStale) {
		t.Fatalf("a stale indexer finished: %v", err)
	}
	if _, err := l.IndexDocument(d.ID, d.Ver).Finish(ctx, sumOf("later")); !errors.Is(err, ErrStale) {
		t.Fatalf("a stale document is indexed: %v", err)
	}
}

func TestBadDocument(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	wait(t, l, "a.wav", "a")
	d := seeDocument(t, l, "a.json")
	check(t, l.FailDocument(ctx, d.ID, d.Ver, "trailing", "text after the document", map[string]string{"m": "a"}))
	rows := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", "a", 10))
	if len(rows) != 1 || rows[0].Reason != "trailing" || rows[0].ReasonText == "" {
		t.Fatalf("lookup = %+v", rows)
	}
	if due := must[[]Recording](t)(l.DueRecordings(ctx, "s", epoch, 10)); len(due) != 1 {
		t.Fatalf("its recording was not woken: %+v", due)
	}
	if d = documentAt(t, l, "a.json"); d.State != DocumentBad || d.Reason != "trailing" {
		t.Fatalf("%+v", d)
	}
	check(t, l.DocumentGone(ctx, d.ID, d.Ver))
	if rows := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", "a", 10)); len(rows) != 0 {
		t.Fatalf("a document that is gone is found: %+v", rows)
	}
	if known := must[map[string]Document](t)(l.DocumentsAt(ctx, "s", []string{"a.json"})); len(known) != 0 {
		t.Fatalf("a document that is gone would not be seen again: %+v", known)
	}
	if woken := index(t, l, seeDocument(t, l, "a.json"), row(1, "a")); woken != 0 {
		t.Fatalf("woke %d that were awake", woken)
	}
}

// More rows than one transaction wakes or deletes.
func TestLargeDocument(t *testing.T) {
	l, _ := openTest(t)
	var rows []IndexRow
	for i := range 2*indexChunk + 10 {
		rows = append(rows, row(i+1, fmt.Sprint(i)))
	}
	for _, i := range []int{0, indexChunk, 2*indexChunk + 9} {
		wait(t, l, fmt.Sprintf("%d.wav", i), fmt.Sprint(i))
	}
	if woken := index(t, l, seeDocument(t, l, "list.csv"), rows...); woken != 3 {
		t.Fatalf("woke %d of 3", woken)
	}
	index(t, l, seeDocument(t, l, "list.csv"), row(1, "only"))
	if n := queryInt(t, l, "SELECT count(*) FROM document_rows"); n != 1 {
		t.Fatalf("%d rows are left", n)
	}
}

// Most documents are small and new: each is one write.
func TestSmallDocumentIsOneWrite(t *testing.T) {
	l, _ := openTest(t)
	wait(t, l, "a.wav", "a")
	d := seeDocument(t, l, "a.json")
	before := l.w.commits.Load()
	if woken := index(t, l, d, row(1, "a"), row(2, "b")); woken != 1 {
		t.Fatalf("woke %d of 1", woken)
	}
	if commits := l.w.commits.Load() - before; commits != 1 {
		t.Errorf("%d commits", commits)
	}
	if n := queryInt(t, l, "SELECT count(*) FROM documents WHERE unfinished = 1"); n != 0 {
		t.Error("left unfinished")
	}
}

// Every document of the source that is there, over more than one page.
func TestDocuments(t *testing.T) {
	l, _ := openTest(t)
	var seen []Seen
	var want []string
	for i := range orphanPage + 2 {
		path := fmt.Sprintf("%04d.csv", i)
		seen = append(seen, Seen{Source: "s", Path: path, Look: lookOf(3)}, Seen{Source: "other", Path: path, Look: lookOf(3)})
		want = append(want, path)
	}
	check(t, l.SeeDocuments(t.Context(), seen))
	bad, gone := documentAt(t, l, want[1]), documentAt(t, l, want[2])
	check(t, l.FailDocument(t.Context(), bad.ID, bad.Ver, "header", "bad", nil))
	check(t, l.DocumentGone(t.Context(), gone.ID, gone.Ver))
	var got []string
	check(t, l.Reader().Documents(t.Context(), "s", func(path string) error { got = append(got, path); return nil }))
	if diff := cmp.Diff(slices.Delete(want, 2, 3), got); diff != "" {
		t.Error(diff)
	}
	if err := l.Reader().Documents(t.Context(), "s", func(string) error { return errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

func TestDocumentsOf(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	d := seeDocument(t, l, "list.csv")
	index(t, l, d, row(1, "a"))
	found := must[[]DocumentRow](t)(l.Lookup(ctx, "s", "m", "a", 1))[0]
	decision := ready("x", "", "alpha")
	decision.Documents = []DocumentUse{{Sidecar: "m", DocumentID: d.ID, RowID: found.RowID, Path: found.Path, Row: found.Row, Rule: "key", SHA256: found.SHA256,
		Key: "a", Digest: found.Digest}}
	r := see(t, l, "s", "a.wav")
	must[Decided](t)(l.Decide(ctx, r.ID, r.Ver, decision))
	if diff := cmp.Diff(decision.Documents, must[[]DocumentUse](t)(l.DocumentsOf(ctx, r.ID))); diff != "" {
		t.Fatalf("documents (-want +got):\n%s", diff)
	}
}
