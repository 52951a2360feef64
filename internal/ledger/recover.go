package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Poison is the number of crashes after which a delivery is held: something
// about it may be what kills the program.
const Poison = 3

// afterCrash is how long a delivery rests after the first crash it was part
// of; each further one multiplies it by four. The others go first, so that
// one delivery that kills the program does not take its neighbours' counts
// up with its own (the pool also sends it alone).
const afterCrash = 5 * time.Second

// RestAfterCrash is how long a delivery with so many crashes rests after
// another one.
func RestAfterCrash(crashes int) time.Duration { return afterCrash << (2 * min(crashes, Poison)) }

// Recover deals with what a crash left in mid-way, before any worker starts:
// deliveries that were being declared or sent go where the destination's
// vendor allows, those past the gate are in doubt, and documents whose
// indexing was cut short are finished. Running it again changes nothing; what
// was left alone may go on in a later one.
func (l *Ledger) Recover(ctx context.Context, how func(destination string) Recovery) (Recovered, error) {
	var out Recovered
	err := l.w.write(ctx, "recover", func(t *tx) error {
		out = Recovered{}
		var left []shortDelivery
		err := t.rows("SELECT "+shortDeliveryColumns+` FROM deliveries AS d INDEXED BY deliveries_open WHERE state IN ('declaring', 'sending', 'committing')
			AND (`+inOpenStates+")", nil,
			func(row scanner) error {
				var d shortDelivery
				err := row.Scan(d.dest()...)
				left = append(left, d)
				return err
			})
		if err != nil {
			return err
		}
		for _, d := range left {
			if err := t.recoverDelivery(d, how(d.Destination), &out); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Recovered{}, err
	}
	return out, l.finishDocuments(ctx)
}

func (t *tx) recoverDelivery(d shortDelivery, how Recovery, out *Recovered) error {
	s := Step{From: d.State, Class: "crash", Reason: "crash", Crashed: true, NextAttempt: time.UnixMilli(t.at).Add(RestAfterCrash(d.Crashes))}
	s.Text = whatStopped(d.State)
	switch d.State {
	case Declaring:
		s.To = how.Declaring
	case Sending:
		s.To = how.Sending
	default:
		s.To = InDoubt
	}
	if s.To == "" {
		return nil
	}
	if s.To == Held {
		s.Reason = "declare_in_doubt"
		s.Text += "; look it up at the vendor, then `ingestd retry` declares it again"
	}
	if d.Crashes+1 >= Poison {
		s.To, s.Reason = Held, "poison"
		s.Text = fmt.Sprintf("found in mid-way (%s) at %d starts; find out why the program stops, then `ingestd retry`", d.State, Poison)
	}
	if !CanMove(s.From, s.To) {
		return fmt.Errorf("delivery %d: %w: %s to %s", d.ID, ErrMove, s.From, s.To)
	}
	switch s.To {
	case InDoubt:
		out.InDoubt++
	case Held:
		out.Held++
	default:
		out.Requeued++
	}
	return t.move(d, s)
}

// whatStopped says what a crash cut short that left a delivery in a state.
func whatStopped(left State) string {
	switch left {
	case Declaring:
		return "the program stopped while it declared the recording"
	case Sending:
		return "the program stopped before the recording was whole at the vendor"
	default:
		return "the program stopped after the whole recording was sent and before the answer came"
	}
}

func (l *Ledger) finishDocuments(ctx context.Context) error {
	var ids []int64
	err := l.reader.rows(ctx, "SELECT id FROM documents INDEXED BY documents_unfinished WHERE unfinished = 1", nil, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("read unfinished documents: %w", err)
	}
	for _, id := range ids {
		if _, err := l.finishDocument(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
