package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/failpoint"
	"ingestd/internal/ledger"
	"ingestd/internal/senders"
	"ingestd/internal/watcher"
)

// attempt makes one try to send one delivery and records what came of it.
// When soft ends before its first step was recorded, it never begins; later
// only ctx ends it.
//
// What was claimed may be old by now. The first step is recorded only if the
// delivery is still as it was claimed, and comes before the first request.
func (pl *pool) attempt(soft, ctx context.Context, job ledger.Job) {
	d, rec := job.Delivery, job.Recording
	if !ledger.SameIdentity(d, rec) {
		pl.holdDamaged(ctx, d)
		return
	}
	j := &journal{ctx: ctx, ledger: pl.p.ledger, id: d.ID, ver: d.Ver, row: d.State, state: d.State}
	sendCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(soft, func() {
		if j.voidUnlessBegun() {
			cancel()
		}
	})()
	receipt, err := pl.send(sendCtx, senders.Attempt{
		Item: item(d, rec), Number: d.Attempts + 1, Began: began(d), IDs: d.IDs, Own: d.Own,
		Open: func() (senders.Media, error) { return pl.open(ctx, rec) },
	}, j)
	if err == nil {
		pl.accept(ctx, j, receipt)
		return
	}
	if j.void() {
		return // it never began, or the delivery was taken from it
	}
	var failure *senders.Error
	if !errors.As(err, &failure) {
		failure = j.unknown(err)
	} else if j.err != nil && !j.passedGate() {
		failure = pl.unrecorded(j, failure)
	}
	pl.fail(ctx, j, d, failure)
}

var errPanic = errors.New("the program failed")

// crashed is a step that ends with a panic of one worker. It counts as a crash
// of the whole program does: the delivery rests, then goes out alone, and the
// third time a person must look, or it would fail for ever.
func (pl *pool) crashed(s ledger.Step, crashes int) ledger.Step {
	s.Class, s.Crashed = "crash", true
	if s.To == ledger.Held {
		return s
	}
	s.Reason = "crash"
	s.Text = "the program failed while it worked on this delivery; report it"
	s.NextAttempt = pl.p.now().Add(ledger.RestAfterCrash(crashes))
	if crashes+1 >= ledger.Poison {
		s.To, s.Reason = ledger.Held, "poison"
		s.Text = fmt.Sprintf("the program failed %d times while it worked on this delivery; report it, then `ingestd retry`", crashes+1)
	}
	return s
}

// send calls the sender and turns a panic of one worker into the failure of
// one delivery.
func (pl *pool) send(ctx context.Context, a senders.Attempt, j *journal) (r senders.Receipt, err error) {
	defer func() {
		if v := recover(); v != nil {
			pl.p.log.Error("sender panicked", "destination", pl.dest.Name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			failure := j.unknown(errPanic)
			if pl.dest.Sender.Traits().DeclareOnce && j.declaring() {
				failure.Class, failure.Text = senders.InDoubt, "the program failed while it declared the recording; look it up at the vendor, then `ingestd retry` declares it again"
			}
			err = failure
		}
	}()
	if err := pl.refusesArchive(a.Item); err != nil {
		return r, err
	}
	if err := failpoint.Hit("send.before"); err != nil {
		return r, err
	}
	r, err = pl.dest.Sender.Send(ctx, a, j)
	if lost := failpoint.Hit("answer.read"); lost != nil {
		return senders.Receipt{}, lost
	}
	return r, err
}

func item(d ledger.Delivery, rec ledger.Recording) call.Item {
	it := call.Item{Delivery: call.DeliveryOf(d.IdemKey)}
	if rec.Call != nil {
		it.Call = *rec.Call
	}
	if rec.Audio != nil {
		it.Audio = *rec.Audio
	}
	it.File = fileFacts(rec.Path, watcher.Entry{Identity: watcher.Identity(rec.Look.Identity)})
	it.File.SHA256 = rec.SHA256
	if rec.MergedSize > 0 {
		it.File = mergedFacts(it.File, rec.MergedSize, it.Audio)
	}
	return it
}

// open opens the recording anew and compares it with what was pinned: all of
// its parts, if it is sent merged.
func (pl *pool) open(ctx context.Context, rec ledger.Recording) (senders.Media, error) {
	root := pl.p.feeds[rec.Source].watch.Root()
	if root == nil {
		return nil, notNow("source_unavailable", "the drop directory is not there", nil)
	}
	if rec.MergedSize > 0 {
		return pl.openMerged(ctx, root, rec)
	}
	o, err := pl.openFile(root, rec.Path, rec.Look.Identity)
	if err != nil {
		return nil, err // not a nil *openFile in a Media that is not nil
	}
	return o, nil
}

// openFile opens a pinned file. A change of ctime alone is not fatal: the
// streamed hash decides.
func (pl *pool) openFile(root *watcher.Root, rel string, pinned ledger.Identity) (*openFile, error) {
	file, entry, err := root.Open(rel)
	var refused *watcher.Refused
	switch {
	case err == nil:
	case root.Check() != nil:
		return nil, notNow("source_unavailable", "the drop directory is not there", err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, &senders.Error{Class: senders.Changed, Code: "vanished", Text: "the file is no longer in the drop directory", Err: pathless(err)}
	case errors.As(err, &refused):
		return nil, &senders.Error{Class: senders.Changed, Code: refused.Code, Text: refused.Text, Err: err}
	default:
		return nil, notNow("unreadable", "the file could not be opened", pathless(err))
	}
	if !sameFile(pinned, entry.Identity) {
		file.Close()
		return nil, &senders.Error{Class: senders.Changed, Code: "file_changed", Text: "the file changed before it was sent; it is looked at anew"}
	}
	return &openFile{File: file, size: pinned.Size, mtime: pinned.MtimeNS, progress: pl.p.opt.Progress}, nil
}

// notNow is a local reason to try later that says nothing about the vendor.
func notNow(code, text string, err error) error {
	return &senders.Error{Class: senders.Refused, Code: code, Text: text, Err: err}
}

// openFile is a pinned recording; only Read, Close and Verify are promoted to
// the sender through senders.Media.
type openFile struct {
	*os.File
	size, mtime int64
	progress    func(bytes int64)
}

func (o *openFile) Read(b []byte) (int, error) {
	n, err := o.File.Read(b)
	o.progress(int64(n))
	return n, err
}

func (o *openFile) Verify() error {
	info, err := o.Stat()
	if err != nil {
		return fmt.Errorf("stat: %w", pathless(err))
	}
	if info.Size() != o.size || info.ModTime().UnixNano() != o.mtime {
		return errChanged
	}
	return nil
}

func (pl *pool) accept(ctx context.Context, j *journal, r senders.Receipt) {
	pl.trouble.clear()
	class := "accepted"
	if r.Duplicate {
		class = "duplicate_own"
	}
	err := pl.record(ctx, j, pl.acceptance(ledger.Step{Class: class, HTTPStatus: r.HTTPStatus, Text: r.Text, IDs: r.IDs}))
	log := pl.p.log.With("delivery", j.id, "destination", pl.dest.Name)
	if err != nil {
		log.Error("record the acceptance", "error", err)
		return
	}
	log.Info("delivery accepted", "http_status", r.HTTPStatus)
	pl.p.wakeSources(pl.sources)
}

// record writes the end of an attempt, for as long as it takes: what the
// vendor answered is known only here. It gives up when the ledger is fenced,
// when the row is not ours any more, or when the program is cut.
func (pl *pool) record(ctx context.Context, j *journal, steps ...ledger.Step) error {
	for {
		err := j.finish(steps...)
		if err == nil || ctx.Err() != nil || errors.Is(err, ledger.ErrFenced) || errors.Is(err, ledger.ErrStale) || errors.Is(err, ledger.ErrMove) {
			return err
		}
		if pl.p.ledger.Trouble() == nil { // which was told already
			pl.p.log.Error("the end of an attempt could not be recorded; trying again", "delivery", j.id, "error", err)
		}
		sleepUntil(ctx, nil, pl.p.now(), pl.p.now().Add(time.Second))
	}
}

func (p *Pipeline) wakeSources(names []string) {
	for _, n := range names {
		p.feeds[n].wakeSoon()
	}
}

// fail records a failed attempt: the class decides the next state, the
// journal how far the attempt had come.
func (pl *pool) fail(ctx context.Context, j *journal, d ledger.Delivery, e *senders.Error) {
	log := pl.p.log.With("delivery", d.ID, "recording", d.RecordingID, "destination", pl.dest.Name, "class", string(e.Class), "code", e.Code)
	if e.HTTPStatus != 0 {
		log = log.With("http_status", e.HTTPStatus)
	}
	until := pl.pauseFor(e)
	if until.IsZero() && e.HTTPStatus != 0 {
		pl.trouble.clear() // the vendor answers; it is this delivery that fails
	}
	steps := pl.next(j, d, e, until)
	last := len(steps) - 1
	if errors.Is(e.Err, errPanic) {
		steps[last] = pl.crashed(steps[last], d.Crashes)
	}
	step := steps[last]
	err := pl.record(ctx, j, steps...)
	switch {
	case errors.Is(err, ledger.ErrFenced):
		return
	case errors.Is(err, ledger.ErrStale) && !j.begun():
		return // it was taken away between its claim and its first step
	case err != nil:
		log.Error("record the failed attempt", "error", err)
		return
	}
	what := "delivery " + string(step.To)
	if step.To == ledger.Planned || step.To == ledger.Declared {
		what = "delivery put off"
	}
	log.Warn(what, append([]any{"why", e.Text}, nextAttempt(step)...)...)
	if e.Class == senders.Changed {
		if err := pl.p.ledger.Requeue(context.WithoutCancel(ctx), d.RecordingID, e.Code, e.Text); err != nil {
			log.Error("look at the changed recording anew", "error", err)
		}
		pl.p.wakeSources(pl.sources)
	}
}

// unrecorded is an attempt that the ledger, not the vendor, ended: no reason
// to pause the lane. Where step 1 may be made only once, what it answered is
// recorded with the outcome, or nobody knows what it caused.
func (pl *pool) unrecorded(j *journal, e *senders.Error) *senders.Error {
	out := &senders.Error{Class: senders.Refused, Code: "ledger", Text: "the step could not be recorded, so it was not taken", IDs: e.IDs, Err: e}
	if j.declaring() && len(e.IDs) == 0 && pl.dest.Sender.Traits().DeclareOnce {
		out.Class = senders.InDoubt
	}
	return out
}

// next is the table of docs/states.md: class and progress in, state out.
// Giving up is a step of its own, so that the history keeps the last failure.
func (pl *pool) next(j *journal, d ledger.Delivery, e *senders.Error, paused time.Time) []ledger.Step {
	now := pl.p.now()
	s := ledger.Step{Class: string(e.Class), HTTPStatus: e.HTTPStatus, Reason: e.Code, Text: e.Text, Bytes: e.Bytes, IDs: e.IDs}
	switch e.Class {
	case senders.Rejected:
		s.To = ledger.Rejected
		if d.Own { // an earlier upload was whole: what is refused may be the second one
			s.To, s.Text = ledger.Held, e.Text+"; an earlier upload of it may have arrived: look it up at the vendor"
		}
	case senders.Held:
		s.To = ledger.Held
	case senders.InDoubt:
		if j.passedGate() {
			s.To, s.NextAttempt = ledger.InDoubt, now
			break
		}
		s.To, s.Reason = ledger.Held, "declare_in_doubt"
	default:
		s.To = pl.again(j, e.IDs)
		if free := e.Class == senders.NotSent || e.Class == senders.Auth || e.Class == senders.RateLimited; free {
			s.Unburn = j.begun()
			s.NextAttempt = paused
			break
		}
		s.NextAttempt = now.Add(max(pl.dest.Retry.Delay(d.Attempts+1, pl.p.opt.Random), e.RetryAfter))
		if giveUp := time.Duration(pl.dest.Retry.GiveUp); !d.FirstAttempt.IsZero() && now.Sub(d.FirstAttempt) > giveUp {
			return []ledger.Step{s, {To: ledger.Held, Class: s.Class, HTTPStatus: s.HTTPStatus, Reason: "gave_up",
				Text: fmt.Sprintf("tried for %s without success, last: %s; `ingestd retry` tries again", giveUp, e.Text)}}
		}
	}
	return []ledger.Step{s}
}

// again is the state from which a delivery is tried again. Where a step-1 id
// must not be used twice, or was given up, step 1 is repeated under the same
// key.
func (pl *pool) again(j *journal, ids map[string]string) ledger.State {
	for _, value := range ids {
		if value == "" {
			return ledger.Planned
		}
	}
	known := j.declared() || j.declaring() && len(ids) > 0
	if t := pl.dest.Sender.Traits(); t.TwoStep && t.ReuseDeclared && known {
		return ledger.Declared
	}
	return ledger.Planned
}

// nextAttempt is what a log line says of it: nothing where there is none.
func nextAttempt(step ledger.Step) []any {
	if step.NextAttempt.IsZero() {
		return nil
	}
	return []any{"next_attempt", step.NextAttempt}
}
