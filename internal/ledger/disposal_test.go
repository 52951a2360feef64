package ledger

import "testing"

// Only what may go is done, all of it at once, and each with its event.
func TestKeep(t *testing.T) {
	l, c := openTest(t)
	ctx := t.Context()
	for _, name := range []string{"a", "b"} {
		_, ds := planned(t, l, name+".wav", name, "", "alpha")
		walk(t, l, ds[0], Sending, Committing, Accepted)
	}
	open, _ := planned(t, l, "c.wav", "c", "", "alpha")
	before := l.w.commits.Load()
	if n := must[int](t)(l.Keep(ctx, "s", c.now(), 10, "kept")); n != 2 {
		t.Fatalf("%d kept, want the two that were accepted", n)
	}
	if n := l.w.commits.Load() - before; n != 1 {
		t.Fatalf("%d commits, want one for all", n)
	}
	for path, want := range map[string]RecordingState{"a.wav": Done, "b.wav": Done, "c.wav": Ready} {
		if got := at(t, l, "s", path); got.State != want || got.MovedTo != "" {
			t.Errorf("%s is %s (moved to %q), want %s", path, got.State, got.MovedTo, want)
		}
	}
	if n := queryInt(t, l, "SELECT count(*) FROM events WHERE to_state = 'done' AND text = 'kept' AND recording_id <> ?", open.ID); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	if n := must[int](t)(l.Keep(ctx, "s", c.now(), 10, "kept")); n != 0 {
		t.Errorf("%d kept again", n)
	}
	verified(t, l)
}
