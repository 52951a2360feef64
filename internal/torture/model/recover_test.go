package model

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"

	"ingestd/internal/ledger"
	"ingestd/internal/senders"
)

// checkRecovery recovers a copy of what a kill left twice: I14.
func (w *world) checkRecovery() {
	dir := w.state + "-twice"
	defer os.RemoveAll(dir)
	if err := copyLedger(w.state, dir); err != nil {
		w.t.Error(err)
		return
	}
	// The ballast is only room on the disk.
	ballast := filepath.Join(w.state, "ledger.ballast")
	if err := os.Rename(ballast, filepath.Join(dir, "ledger.ballast")); err == nil {
		defer os.Rename(filepath.Join(dir, "ledger.ballast"), ballast)
	}
	ctx := context.Background()
	led, err := ledger.Open(ctx, ledger.Options{Path: filepath.Join(dir, dbName)})
	if err != nil {
		w.violate("I13: what the kill left does not open: %v", err)
		return
	}
	defer led.Close()
	db := openDB(dir)
	defer db.Close()
	how := func(destination string) ledger.Recovery {
		return recovery(w.vendors[destination].shape.traits)
	}
	var dumps [2]string
	for i := range dumps {
		done, err := led.Recover(ctx, how)
		if err != nil {
			w.violate("I14: recovery %d: %v", i+1, err)
			return
		}
		if i == 1 && done.Total() > 0 {
			w.violate("I14: the second recovery still found %d deliveries in mid-way", done.Total())
		}
		dumps[i] = dump(db)
	}
	if dumps[0] != dumps[1] {
		w.violate("I14: recovery changes its own result:\n%s\n%s", dumps[0], dumps[1])
	}
	if strings.Contains(dumps[0], "declaring") || strings.Contains(dumps[0], "sending") || strings.Contains(dumps[0], "committing") {
		w.violate("I14: recovery left a delivery in mid-way:\n%s", dumps[0])
	}
}

// recovery says what docs/states.md lets a crash make of a shape's rows.
func recovery(t senders.Traits) ledger.Recovery {
	r := ledger.Recovery{Declaring: ledger.Planned, Sending: ledger.Planned}
	if t.ReuseDeclared {
		r.Sending = ledger.Declared
	}
	if t.DeclareOnce {
		r.Declaring = ledger.Held
	}
	return r
}

// dump is every delivery in one text.
func dump(db *sql.DB) string {
	var all sql.NullString
	err := db.QueryRow("SELECT group_concat(id || ' ' || state || ' ' || reason || ' ' || attempts || ' ' || crashes || ' ' || next_attempt, char(10)) FROM deliveries").Scan(&all)
	if err != nil {
		return err.Error()
	}
	return all.String
}
