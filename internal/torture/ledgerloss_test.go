package torture

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A ledger that is lost, and the same files dropped again: every recording
// goes out under the id it had before (I6), so that the vendor publishes none
// of them twice.
func TestLostLedger(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lose func(t *testing.T, s *site)
	}{
		{"state directory emptied", func(t *testing.T, s *site) {
			if err := os.RemoveAll(s.path("state")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(s.path("state"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"ledger begun anew", func(t *testing.T, s *site) {
			if out := s.run(t, "ledger", "init", "--force"); out.code != 0 {
				t.Fatalf("ledger init --force: exit %d\n%s", out.code, out.output)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(7, 7))
			s := newSite(t, t.TempDir(), rnd)
			for range dropped {
				if err := s.drop(rnd); err != nil {
					t.Fatal(err)
				}
			}
			if out := s.once(t); out.code != 0 {
				t.Fatalf("first life: exit %d\n%s", out.code, out.output)
			}
			if v := s.checkEnd(t.Context(), exempt{}); v.published != dropped || len(v.violations) > 0 {
				t.Fatalf("first life: %+v", v)
			}
			tt.lose(t, s)
			moved, err := filepath.Glob(s.path("archive", "call*"))
			if err != nil || len(moved) != 2*dropped {
				t.Fatalf("the archive holds %v, %v", moved, err)
			}
			for _, path := range moved {
				if err := os.Rename(path, s.path("drop", filepath.Base(path))); err != nil {
					t.Fatal(err)
				}
			}
			if out := s.once(t); out.code != 0 {
				t.Fatalf("second life: exit %d\n%s", out.code, out.output)
			}
			var v verdict
			contacts := s.checkVendor(&v)
			s.checkFiles(&v, counts(contacts), exempt{})
			checkLedger(t.Context(), &v, s.path("state", "ledger.db"))
			if len(v.violations) > 0 || v.published != dropped || v.seconds != dropped {
				t.Errorf("second life: %d published, %d second contacts, want %d and %d; %v", v.published, v.seconds, dropped, dropped, v.violations)
			}
		})
	}
}
