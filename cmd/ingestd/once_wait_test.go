package main

import (
	"testing"
	"time"

	"ingestd/internal/ledger"
)

func TestWaitText(t *testing.T) {
	now := time.Date(2026, 11, 2, 15, 0, 0, 0, time.Local)
	counts := func(state ledger.State, n int64) map[string]map[string]int64 {
		return map[string]map[string]int64{"one": {string(state): n}, "two": {string(ledger.Planned): 2}}
	}
	failed := []ledger.LastError{{Destination: "two", At: now.Add(-time.Minute), Text: "the line is cut"}}
	for name, c := range map[string]struct {
		s    ledger.Status
		next map[string]time.Time
		want string
	}{
		"nothing to send":        {ledger.Status{}, nil, ""},
		"a doubt":                {ledger.Status{Destinations: counts(ledger.InDoubt, 3)}, map[string]time.Time{"one": now.Add(6 * time.Second)}, "waits until 15:00:06 for one (3 in doubt)"},
		"the first of two":       {ledger.Status{Destinations: counts(ledger.InDoubt, 3)}, map[string]time.Time{"one": now.Add(time.Hour), "two": now.Add(time.Minute)}, "waits until 15:01:00 for two (2 to be tried again)"},
		"a request is under way": {ledger.Status{Destinations: counts(ledger.Sending, 1)}, map[string]time.Time{"one": now.Add(time.Hour)}, ""},
		"due and about to go":    {ledger.Status{Destinations: counts(ledger.Planned, 1), LastErrors: failed}, map[string]time.Time{"two": now}, ""},
		"due and kept back":      {ledger.Status{Destinations: counts(ledger.Planned, 1), LastErrors: failed}, map[string]time.Time{"two": now.Add(-time.Minute)}, "two: the line is cut"},
	} {
		if got := waitText(now, now.Add(-time.Hour), c.s, c.next); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := waitText(now, now, ledger.Status{Destinations: counts(ledger.Planned, 1), LastErrors: failed}, map[string]time.Time{"two": now.Add(-time.Minute)}); got != "" {
		t.Errorf("an error of an earlier run is told: %q", got)
	}
}
