package main

import (
	"context"
	"fmt"

	"ingestd/internal/ledger"
)

// mostUnmatched is how many unmatched documents and rows of a kind are listed
// for people; --json has all.
const mostUnmatched = 20

// printUnmatched lists the documents and rows that no recording was paired
// with, and those that cannot be read.
func (a *app) printUnmatched(ctx context.Context, pl *planner, sum *planUnmatched) error {
	shown := map[string]int{}
	return pl.led.Reader().Orphans(ctx, func(o ledger.Orphan) error {
		switch o.Kind {
		case ledger.RecordingWithoutSidecar:
			return nil // it stands among the recordings
		case ledger.BadDocument:
			sum.Bad++
		case ledger.RowWithoutRecording:
			sum.Rows++
		default:
			sum.Documents++
		}
		if a.json {
			return a.printJSON(map[string]ledger.Orphan{"unmatched": o})
		}
		if shown[o.Kind]++; shown[o.Kind] > mostUnmatched {
			if shown[o.Kind] == mostUnmatched+1 {
				fmt.Fprintf(a.ui.out, "... and more; --json lists all\n")
			}
			return nil
		}
		where := ""
		if o.Row != nil {
			where = fmt.Sprintf(" row %d", *o.Row)
		}
		fmt.Fprintf(a.ui.out, "%s/%s%s  %s\n", o.Source, escape(o.Path), where, escape(o.Text))
		return nil
	})
}
