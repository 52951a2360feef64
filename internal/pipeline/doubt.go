package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"ingestd/internal/failpoint"
	"ingestd/internal/ledger"
	"ingestd/internal/senders"
)

// settleDoubt takes one delivery whose answer was lost a step further. It
// leaves in_doubt only by the vendor's own word, by a resend that the vendor
// documents as harmless, or by the operator's choice for this destination.
func (pl *pool) settleDoubt(ctx context.Context, claimed ledger.Delivery) {
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
	step, err := pl.decide(ctx, d, rec)
	if err != nil {
		log.Error("settle a doubt", "error", err)
		sleepUntil(ctx, nil, pl.p.now(), pl.p.now().Add(recheck)) // it stays due
		return
	}
	step.From = ledger.InDoubt
	if _, err := pl.p.ledger.Move(ctx, d.ID, d.Ver, step); err != nil {
		log.Error("record the settling of a doubt", "error", err)
		return
	}
	if step.Class == classDuplicate {
		log.Error("the vendor holds this recording more than once", "class", step.Class, "why", step.Text)
	}
	log.Info("doubt: "+string(step.To), append([]any{"class", step.Class}, nextAttempt(step)...)...)
	if step.To == ledger.Accepted {
		pl.p.wakeSources(pl.sources)
	}
}

// decide is doubtStep, and turns a panic of one worker into another doubt about
// one delivery.
func (pl *pool) decide(ctx context.Context, d ledger.Delivery, rec ledger.Recording) (s ledger.Step, err error) {
	defer func() {
		if v := recover(); v != nil {
			pl.p.log.Error("sender panicked", "destination", pl.dest.Name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			s, err = pl.crashed(ledger.Step{To: ledger.InDoubt}, d.Crashes), nil
			if s.To == ledger.InDoubt && d.Reason == ledger.ReasonRestored {
				s.Reason = d.Reason // what the vendor says of it is judged by this
			}
		}
	}()
	if err := failpoint.Hit("doubt.before"); err != nil {
		return s, err
	}
	s = pl.doubtStep(ctx, d, rec)
	return s, failpoint.Hit("doubt.answered")
}

// doubtStep decides. T_settle is the destination's doubt_settle: a vendor may
// still be working on what it took.
func (pl *pool) doubtStep(ctx context.Context, d ledger.Delivery, rec ledger.Recording) ledger.Step {
	now := pl.p.now()
	settled := d.DoubtSince.Add(pl.dest.DoubtSettle)
	if pl.dest.OnDoubt == senders.OnDoubtHold {
		return ledger.Step{To: ledger.Held, Class: "doubt_hold", Reason: "in_doubt",
			Text: whyDoubt(d) + " and on_doubt = \"hold\"; look it up at the vendor: `ingestd resolve --arrived` if it is there, `ingestd retry` sends it again"}
	}
	if p, ok := pl.dest.Sender.(senders.Perishable); ok {
		return pl.resendWhileUsable(p, d, rec)
	}
	traits := pl.dest.Sender.Traits()
	safe := traits.ResendSafe && !now.Before(settled)
	var forget map[string]string
	if asker, ok := pl.dest.Sender.(senders.Reconciler); ok {
		step, hopeless := pl.ask(ctx, asker, d, rec)
		// A vendor whose refusal of a second upload settles the doubt need not
		// be asked for ever.
		resend := hopeless && pl.dest.OnDoubt == senders.OnDoubtResend || safe && (hopeless || step.To == ledger.InDoubt)
		if !resend {
			return step
		}
		forget = step.IDs
	}
	if !traits.ResendSafe && pl.dest.OnDoubt != senders.OnDoubtResend {
		return ledger.Step{To: ledger.Held, Class: "no_way_to_ask", Reason: "in_doubt",
			Text: whyDoubt(d) + " and this vendor cannot be asked; look it up at the vendor: `ingestd resolve --arrived` if it is there, `ingestd retry` sends it again"}
	}
	if now.Before(settled) {
		return ledger.Step{To: ledger.InDoubt, Class: "settling", Reason: d.Reason,
			Text: "waiting for the vendor to settle before the recording is sent again under the same key", NextAttempt: settled}
	}
	if traits.ResendSafe {
		return ledger.Step{To: ledger.Planned, Class: "resend_safe", Reason: "resend", IDs: forget,
			Text: "sent again under the same key: the vendor counts a key once", NextAttempt: now}
	}
	return ledger.Step{To: ledger.Planned, Class: "resend_ordered", Reason: "possible_duplicate", IDs: forget,
		Text: "sent again because on_doubt = \"resend\"; the vendor may now hold it twice", NextAttempt: now}
}

// holdDamaged keeps back a delivery whose key is not that of its recording: a
// damaged ledger, or other content under the old key. To the vendor it would
// be another recording.
func (pl *pool) holdDamaged(ctx context.Context, d ledger.Delivery) {
	_, err := pl.p.ledger.Move(ctx, d.ID, d.Ver, ledger.Step{From: d.State, To: ledger.Held, Class: "held", Reason: "wrong_key",
		Text: "its idempotency key is not that of its recording; run `ingestd ledger verify`, and drop the file again under another name"})
	log := pl.p.log.With("delivery", d.ID, "destination", pl.dest.Name)
	if err != nil {
		log.Error("hold a delivery whose key is not that of its recording", "error", err)
		return
	}
	log.Error("a delivery's key is not that of its recording; it is held")
}

// whyDoubt is the cause of a doubt in words.
func whyDoubt(d ledger.Delivery) string {
	if d.Reason == ledger.ReasonRestored {
		return "the ledger was older than what ran here, so this may have been sent already,"
	}
	return "the answer was lost"
}

const (
	reasonAbsent   = "absent_once"
	classDuplicate = "duplicate_detected"
)

// began is a time before which no request of the delivery was made. A
// person's retry forgets the first attempt: that what was sent before it may
// be there too was that person's decision.
func began(d ledger.Delivery) time.Time {
	if d.FirstAttempt.IsZero() {
		return d.Created
	}
	return d.FirstAttempt
}

// ask puts one question to the vendor. hopeless is true when its answer is that
// it can never be known: then only a person can decide, or the operator did
// with on_doubt.
func (pl *pool) ask(ctx context.Context, asker senders.Reconciler, d ledger.Delivery, rec ledger.Recording) (step ledger.Step, hopeless bool) {
	v, err := asker.Reconcile(ctx, senders.Attempt{Item: item(d, rec), Number: d.Attempts, Began: began(d), IDs: d.IDs, Own: d.Own})
	now := pl.p.now()
	if err != nil {
		return pl.unanswered(d, err)
	}
	pl.trouble.clear()
	switch {
	case v.Outcome == senders.Present && v.Duplicates > 0:
		return pl.acceptance(ledger.Step{Class: classDuplicate, Text: v.Text, IDs: v.IDs}), false
	case v.Outcome == senders.Present:
		return pl.acceptance(ledger.Step{Class: "present", Text: v.Text, IDs: v.IDs}), false
	case v.Outcome == senders.Void && d.Reason == ledger.ReasonRestored:
		// An id that waited still when it was asked about after the restore was
		// not given up before it; of this one nobody knows what followed it.
		return ledger.Step{To: ledger.Held, Class: "void", Reason: ledger.ReasonRestored, IDs: v.IDs,
			Text: "the vendor gave up what this ledger knows of, but the ledger was older than what ran here, so another upload may have followed; look it up at the vendor, then `ingestd retry` sends it again"}, true
	case v.Outcome == senders.Void:
		return ledger.Step{To: ledger.Planned, Class: "void", Reason: "void", Text: v.Text, IDs: v.IDs, NextAttempt: now}, false
	case v.Outcome == senders.Absent && d.Reason == reasonAbsent:
		step = ledger.Step{To: pl.afterAbsent(), Class: "absent", Reason: reasonAbsent, Text: v.Text, IDs: v.IDs, NextAttempt: now}
		if giveUp := time.Duration(pl.dest.Retry.GiveUp); !d.FirstAttempt.IsZero() && now.Sub(d.FirstAttempt) > giveUp {
			step.To, step.Reason = ledger.Held, "gave_up"
			step.Text = fmt.Sprintf("sent for %s, and the vendor says each time that it is not there; `ingestd retry` tries again", giveUp)
		}
		return step, false
	case v.Outcome == senders.Absent:
		// The next question comes when this answer has stood long enough.
		return ledger.Step{To: ledger.InDoubt, Class: "asked", Reason: reasonAbsent, Text: v.Text, IDs: v.IDs, NextAttempt: now.Add(pl.dest.DoubtSettle)}, false
	}
	return ledger.Step{To: ledger.InDoubt, Class: "asked", Reason: d.Reason, Text: v.Text, IDs: v.IDs, NextAttempt: now.Add(askAgain(d, now))}, false
}

// pauseForQuestion is pauseFor after a question. Questions and uploads go to
// one vendor with one credential, so what stops the one stops the other; but
// an account that may not ask may well upload.
func (pl *pool) pauseForQuestion(e *senders.Error) time.Time {
	if e.Code == senders.CodeForbidden {
		return time.Time{}
	}
	return pl.pauseFor(e)
}

// unanswered is a question that got no verdict. What concerns the whole
// destination pauses it, as in any attempt.
func (pl *pool) unanswered(d ledger.Delivery, err error) (step ledger.Step, hopeless bool) {
	now := pl.p.now()
	step = ledger.Step{To: ledger.InDoubt, Class: "asked", Reason: d.Reason, NextAttempt: now.Add(askAgain(d, now))}
	var e *senders.Error
	if !errors.As(err, &e) {
		return step, false
	}
	step.HTTPStatus, step.Text = e.HTTPStatus, e.Text
	if e.Class == senders.Held {
		step.To, step.Class, step.Reason, step.IDs = ledger.Held, string(e.Class), e.Code, e.IDs
		return step, true
	}
	if until := pl.pauseForQuestion(e); until.After(step.NextAttempt) {
		step.NextAttempt = until
	}
	return step, false
}

// resendWhileUsable sends to the same place again for as long as it is there.
func (pl *pool) resendWhileUsable(p senders.Perishable, d ledger.Delivery, rec ledger.Recording) ledger.Step {
	if !p.Usable(senders.Attempt{Item: item(d, rec), Number: d.Attempts, IDs: d.IDs, Own: d.Own}) {
		return ledger.Step{To: ledger.Held, Class: "no_way_to_ask", Reason: "in_doubt",
			Text: "the answer was lost and the time in which a second upload would only replace the first is over; look it up at the vendor: `ingestd resolve --arrived` if it is there, `ingestd retry` begins anew, which may make a second copy"}
	}
	return ledger.Step{To: pl.afterAbsent(), Class: "resend_safe", Reason: "resend",
		Text:        "sent again to the same place: equal bytes replace those that may be there",
		NextAttempt: pl.p.now().Add(pl.dest.Retry.Delay(d.Attempts, pl.p.opt.Random))}
}

func (pl *pool) afterAbsent() ledger.State {
	if pl.dest.Sender.Traits().ReuseDeclared {
		return ledger.Declared
	}
	return ledger.Planned
}

// askAgain is when a vendor that gave no usable answer is asked again: every
// minute for an hour, then ever more rarely up to once an hour, so that a
// vendor that never answers does not fill the history.
func askAgain(d ledger.Delivery, now time.Time) time.Duration {
	lasts := now.Sub(d.DoubtSince)
	if lasts < time.Hour {
		return time.Minute
	}
	return min(lasts/4, time.Hour)
}
