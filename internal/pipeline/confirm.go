package pipeline

import (
	"context"
	"errors"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/senders"
)

// How soon after an acceptance its vendor is asked, and how often then: the
// longer it takes, the less often. Vendors document 30 s as the least.
const (
	confirmFirst = 30 * time.Second
	confirmMost  = time.Hour
)

// acceptance is the step to accepted. Where the vendor tells later what became
// of the recording, it says that nobody has been told yet.
func (pl *pool) acceptance(s ledger.Step) ledger.Step {
	s.To = ledger.Accepted
	if pl.confirms() {
		s.Reason, s.NextAttempt = ledger.Unconfirmed, pl.p.now().Add(confirmFirst)
	}
	return s
}

func (pl *pool) confirms() bool {
	_, can := pl.dest.Sender.(senders.Confirmer)
	return can && pl.dest.Confirm
}

// confirm asks what became of one accepted delivery. It never sends anything.
func (pl *pool) confirm(ctx context.Context, claimed ledger.Delivery) {
	log := pl.p.log.With("delivery", claimed.ID, "recording", claimed.RecordingID, "destination", pl.dest.Name)
	d, rec, err := pl.p.ledger.Job(ctx, claimed.ID)
	if err != nil {
		log.Error("load delivery", "error", err)
		sleepUntil(ctx, nil, pl.p.now(), pl.p.now().Add(recheck)) // it stays due
		return
	}
	if d.Ver != claimed.Ver {
		return
	}
	asker, ok := pl.dest.Sender.(senders.Confirmer)
	if !ok {
		return
	}
	v, err := asker.Confirm(ctx, senders.Attempt{Item: item(d, rec), Number: d.Attempts, Began: began(d), IDs: d.IDs, Own: d.Own})
	if ctx.Err() != nil {
		return // the program ends; it stays due
	}
	step := pl.confirmed(d, v, err)
	step.From = ledger.Accepted
	if _, err := pl.p.ledger.Move(ctx, d.ID, d.Ver, step); err != nil {
		log.Error("record what became of an acceptance", "error", err)
		return
	}
	switch {
	case step.Reason == ledger.ProcessingFailed, step.Reason == ledger.Unconfirmable:
		log.Warn("delivery accepted, but "+step.Reason, "why", step.Text)
	case step.To == ledger.Confirmed:
		log.Info("delivery confirmed")
	}
}

// confirmed decides what an answer means for the delivery.
func (pl *pool) confirmed(d ledger.Delivery, v senders.Verdict, err error) ledger.Step {
	now := pl.p.now()
	s := ledger.Step{To: ledger.Accepted, Class: "asked", Reason: ledger.Unconfirmed, Text: v.Text,
		NextAttempt: now.Add(min(max(now.Sub(d.AcceptedAt)/2, confirmFirst), confirmMost))}
	var e *senders.Error
	switch {
	case errors.As(err, &e):
		s.HTTPStatus, s.Text = e.HTTPStatus, e.Text
		if e.Class == senders.Held {
			s.Class, s.Reason = string(e.Class), ledger.Unconfirmable
			break
		}
		if until := pl.pauseForQuestion(e); until.After(s.NextAttempt) {
			s.NextAttempt = until
		}
	case err != nil:
		s.Text = "the vendor could not be asked"
	default:
		pl.trouble.clear()
		switch v.Outcome {
		case senders.Present:
			s = ledger.Step{To: ledger.Confirmed, Class: "confirmed", Text: v.Text}
		case senders.Void:
			s.Class, s.Reason = ledger.ProcessingFailed, ledger.ProcessingFailed
		}
	}
	return s
}
