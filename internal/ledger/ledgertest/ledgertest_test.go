package ledgertest

import (
	"testing"

	"ingestd/internal/ledger"
)

// Every state that has a way can be seeded, and what was seeded is sound.
func TestSeed(t *testing.T) {
	l := Open(t)
	states := map[string]ledger.State{}
	for _, s := range ledger.States() {
		if s != ledger.Duplicate {
			states["at-"+string(s)] = s
		}
	}
	ids := Seed(t, l, Recording{Path: "a.wav", States: states}, Recording{Source: "other", Path: "b.wav", Size: 7, States: map[string]ledger.State{"at-held": ledger.Accepted}})
	got := map[string]string{}
	err := l.Reader().List(t.Context(), ledger.Filter{Sources: []string{"source"}}, func(r ledger.Row) error {
		if r.ID != ids[0] {
			t.Errorf("row of recording %d", r.ID)
		}
		got[*r.Destination] = r.State
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for destination, want := range states {
		if got[destination] != string(want) {
			t.Errorf("%s is %q", destination, got[destination])
		}
	}
	shown, err := l.Reader().Show(t.Context(), "b.wav")
	if err != nil || shown[0].Recording.Size != 7 || shown[0].Deliveries[0].State != "accepted" {
		t.Errorf("%+v, %v", shown, err)
	}
}
