package main

import (
	"context"
	"fmt"
	"time"

	"ingestd/internal/ledger"
)

// waitLook is how often once asks what it is waiting for.
const waitLook = 2 * time.Second

// waitNote tells a terminal what a run of once that sends nothing waits for.
type waitNote struct {
	led          *ledger.Ledger
	destinations []string
	now          func() time.Time
	began        time.Time
	asked        time.Time
	text         string
}

// look asks anew after a while; what cannot be asked is not told.
func (w *waitNote) look(ctx context.Context) string {
	now := w.now()
	if now.Sub(w.asked) < waitLook {
		return w.text
	}
	w.asked, w.text = now, ""
	s, err := w.led.Reader().Status(ctx)
	if err != nil {
		return ""
	}
	next := map[string]time.Time{}
	for _, name := range w.destinations {
		if at, ok, err := w.led.NextDelivery(ctx, name); err == nil && ok {
			next[name] = at
		}
	}
	w.text = waitText(now, w.began, s, next)
	return w.text
}

// waitText names the destination that comes first of those that have something
// to send or to ask, and until when nothing of it is due; where something has
// been due for a while and does not go, the newest error since began. It is "" while a request
// is under way.
func waitText(now, began time.Time, s ledger.Status, next map[string]time.Time) string {
	for name := range next {
		for _, busy := range []ledger.State{ledger.Declaring, ledger.Sending, ledger.Committing} {
			if s.Destinations[name][string(busy)] > 0 {
				return ""
			}
		}
	}
	first := ""
	for _, name := range sortedKeys(next) {
		if first == "" || next[name].Before(next[first]) {
			first = name
		}
	}
	if first == "" {
		return ""
	}
	if left := next[first].Sub(now); left < time.Second {
		for _, e := range s.LastErrors {
			if e.Destination == first && e.At.After(began) && left < -2*waitLook {
				return fmt.Sprintf("%s: %s", first, e.Text)
			}
		}
		return ""
	}
	doubts := s.Destinations[first][string(ledger.InDoubt)]
	again := s.Destinations[first][string(ledger.Planned)] + s.Destinations[first][string(ledger.Declared)]
	what := fmt.Sprintf("%d in doubt", doubts)
	switch {
	case doubts == 0:
		what = fmt.Sprintf("%d to be tried again", again)
	case again > 0:
		what += fmt.Sprintf(", %d to be tried again", again)
	}
	return fmt.Sprintf("waits until %s for %s (%s)", next[first].Local().Format(time.TimeOnly), first, what)
}
