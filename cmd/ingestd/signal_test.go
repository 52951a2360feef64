package main

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"ingestd/internal/sandbox"
)

// SIGTERM drains: what is under way is finished and recorded, nothing new
// begins, and the program ends well.
func TestTermDrains(t *testing.T) {
	vendor := sandbox.NewCallMiner(sandbox.Options{ClientID: "id", ClientSecret: "secret", RatePerMinute: -1})
	if err := vendor.SetFaults(sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteMedia, Delay: sandbox.Duration(time.Second)}); err != nil {
		t.Fatal(err)
	}
	dir, _ := crashSite(t, vendor, 40, rand.New(rand.NewPCG(1, 1)))
	daemon := startSelf(t, dir, "run", "--allow-root")
	if !poll(30*time.Second, func() bool { return vendor.Summary().Requests >= 12 }) {
		_ = daemon.Process.Kill()
		t.Fatalf("the daemon made no requests:\n%s", daemon.Stderr)
	}
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err != nil {
		t.Fatalf("the daemon ended badly: %v\n%s", err, daemon.Stderr)
	}
	rows, err := listRows(dir + "/ledger.db")
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]int{}
	for _, r := range rows {
		states[r.State]++
	}
	published := len(vendor.Contacts())
	if states["accepted"] != published || published == 0 || published == 40 {
		t.Errorf("%d published, but the ledger says %v", published, states)
	}
	for _, s := range []string{"declaring", "declared", "sending", "committing", "in_doubt"} {
		if states[s] != 0 {
			t.Errorf("%d deliveries were left in %s", states[s], s)
		}
	}
}
