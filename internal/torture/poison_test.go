//go:build torture

package torture

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A recording that kills the program every time is held after the third time,
// and the program lives (cell 88). Meanwhile the other one goes through.
func TestPoison(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"kill", "panic"} {
		for _, point := range []string{"sending.after", "committing.after"} {
			t.Run(point+" "+action, func(t *testing.T) {
				t.Parallel()
				rnd := rand.New(rand.NewPCG(4, 4))
				s := newSite(t, t.TempDir(), rnd)
				must(t, s.drop(rnd))
				for n := range 3 {
					if life := s.failing(t, point+"="+action+"@1+", ""); life.code == 0 || life.code == 3 {
						t.Fatalf("life %d: exit %d\n%s", n+1, life.code, life.output)
					}
				}
				last := s.failing(t, point+"="+action+"@1+", "")
				end := s.checkEnd(t.Context(), exempt{})
				if last.code != 3 || len(end.kept) != 1 || !strings.Contains(end.kept[0], "held (poison)") || len(end.violations) > 0 {
					t.Errorf("exit %d, kept %v, %v\n%s", last.code, end.kept, end.violations, last.output)
				}
			})
		}
	}
}

// A second instance ends before it opens the ledger, whatever the first one
// does (cell 70).
func TestSecondInstance(t *testing.T) {
	t.Parallel()
	s := scenario(t, 4)
	first := startDaemon(t, s)
	waitUntil(t, 20*time.Second, func() bool { return s.vendor.Summary().Requests > 0 })
	second := s.run(t, "once", "--timeout", "20s")
	if second.code == 0 || !strings.Contains(second.output, "another ingestd") {
		t.Errorf("exit %d\n%s", second.code, second.output)
	}
	waitUntil(t, 20*time.Second, func() bool { return len(s.vendor.Contacts()) == dropped })
	first.kill()
	s.once(t)
	if end := s.checkEnd(t.Context(), exempt{}); len(end.violations)+len(end.kept) > 0 || end.published != dropped {
		t.Errorf("%+v", end)
	}
}
