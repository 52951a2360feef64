//go:build torture

package torture

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestOrderOfCalls looks at the system calls of one recording's whole way.
// Nothing goes to the vendor while a write of the ledger's log is not on the
// disk, and both directories of a move are on the disk before the ledger goes
// on. A kill cannot find either out, because the kernel outlives it; a power
// cut finds it by luck.
func TestOrderOfCalls(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 3))
	s := newSite(t, t.TempDir(), rnd)
	must(t, s.drop(rnd))
	life := s.traced(t, fault{moment: moment{Call: inOrder}})
	if life.code != 0 {
		t.Fatalf("exit %d\n%s", life.code, life.output)
	}
	for _, p := range disorder(life.trace.Calls) {
		t.Errorf("%s\n%s", p, strings.Join(life.trace.Calls, "\n"))
	}
}

// disorder lists what happened too early, and what did not happen at all.
func disorder(calls []string) (problems []string) {
	const log = "ledger.db-wal"
	unsynced, sockets, moves := false, 0, 0
	waiting := map[string]bool{} // directories of the moves
	for _, c := range calls {
		name, target, _ := strings.Cut(c, " ")
		switch {
		case (name == "write" || name == "sendto") && strings.HasPrefix(target, "socket:"):
			if sockets++; unsynced {
				problems = append(problems, "a request left while the ledger was not on the disk")
			}
		case name == "pwrite64" && target == log:
			unsynced = true
			for dir := range waiting {
				problems = append(problems, "the ledger went on before "+dir+" was on the disk")
				delete(waiting, dir)
			}
		case name == "fsync" && target == log:
			unsynced = false
		case name == "renameat2" && target == "drop>archive":
			moves++
			waiting["drop"], waiting["archive"] = true, true
		case name == "fsync":
			delete(waiting, target)
		}
	}
	if sockets < 3 || moves != 2 {
		problems = append(problems, "the run was not traced")
	}
	return problems
}

// The rule sees what it forbids.
func TestDisorder(t *testing.T) {
	const sound = "pwrite64 ledger.db-wal;fsync ledger.db-wal;write socket:[1];write socket:[2];write socket:[3];" +
		"renameat2 drop>archive;fsync archive;fsync drop;renameat2 drop>archive;fsync archive;fsync drop;pwrite64 ledger.db-wal"
	for _, tt := range []struct{ drop, want string }{
		{"", ""},
		{"fsync ledger.db-wal;", "a request left while"},
		{"fsync archive;fsync drop;pwrite64", "before archive was on the disk"},
		{"write socket:[1];write socket:[2];write socket:[3];", "was not traced"},
	} {
		cut := strings.TrimSuffix(tt.drop, "pwrite64")
		calls := strings.ReplaceAll(sound, cut, "")
		if tt.drop == "" {
			calls = sound
		}
		if got := strings.Join(disorder(strings.Split(calls, ";")), "; "); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("without %q: %q, want %q", tt.drop, got, tt.want)
		}
	}
}
