package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/senders"
)

// errGone is what the program sees of a vendor after it was killed, or of one
// that does not answer.
var errGone = errors.New("no answer")

// try is one attempt as the vendor sees it.
type try struct {
	v    *vendor
	r    *run
	ctx  context.Context
	a    senders.Attempt
	j    senders.Journal
	s    script
	key  string
	id   string // declared id
	tail *tail  // nil before the gate
}

// Send plays the script of one attempt.
func (s seat) Send(ctx context.Context, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
	t := &try{v: s.v, r: s.r, ctx: ctx, a: a, j: j, key: a.Delivery.IdemKey}
	t.s = s.v.begin(s.r, a)
	defer s.v.end(t.key)
	if t.s.fault == unreachable {
		return senders.Receipt{}, t.fail(senders.NotSent, 0)
	}
	if t.s.fault == slow && !t.wait(t.s.delay) {
		return senders.Receipt{}, t.fail(senders.NotSent, 0)
	}
	ids, err := t.declare()
	if err != nil {
		return senders.Receipt{}, err
	}
	return t.media(ids)
}

func (t *try) fail(c senders.Class, status int) error {
	return &senders.Error{Class: c, Code: "told_" + string(c), Text: "told by the script", HTTPStatus: status}
}

// dies kills the program here if the script says so: nothing is committed
// from now on.
func (t *try) dies(p point) bool {
	if t.s.die != p {
		return false
	}
	t.r.kill()
	return true
}

func (t *try) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// effect runs fn as an effect of the running program: a dead one has none.
func (t *try) effect(fn func()) error {
	t.v.w.mu.Lock()
	defer t.v.w.mu.Unlock()
	if t.r.dying {
		return errGone
	}
	fn()
	return nil
}

// arrives checks the first byte of a request against the durable row.
func (t *try) arrives(what string, want ledger.State) error {
	row := t.r.row(t.v.shape.name, t.key)
	return t.effect(func() {
		if row.state != want {
			t.v.w.violateLocked("I1: %s: %s of %.6s is on the wire while the durable row is %q", t.v.shape.name, what, t.key, row.state)
		}
	})
}

// declare is step 1. The ids it returns are still to be journalled.
func (t *try) declare() (map[string]string, error) {
	if !t.v.shape.traits.TwoStep {
		return nil, nil
	}
	if id := t.a.IDs["upload_id"]; id != "" && t.v.shape.traits.ReuseDeclared {
		t.id = id
		return nil, nil
	}
	if t.dies(beforeDeclaring) {
		return nil, errGone
	}
	if err := t.j.Declaring(); err != nil {
		return nil, err
	}
	if t.dies(afterDeclaring) {
		return nil, errGone
	}
	if err := t.arrives("declare", ledger.Declaring); err != nil {
		return nil, err
	}
	if err := t.declareRefused(); err != nil {
		return nil, err
	}
	if err := t.effect(func() { t.id = t.v.declare(t.key) }); err != nil {
		return nil, err
	}
	if t.s.fault == declareLost {
		return nil, t.declareUnclear()
	}
	if t.dies(afterDeclare) {
		return nil, errGone
	}
	ids := map[string]string{"upload_id": t.id}
	if !t.s.apart && !t.v.shape.traits.DeclareOnce {
		return ids, nil
	}
	if err := t.j.Declared(ids); err != nil {
		return nil, err
	}
	if t.dies(afterDeclared) {
		return nil, errGone
	}
	return nil, nil
}

func (t *try) declareRefused() error {
	switch t.s.fault {
	case declare429:
		return &senders.Error{Class: senders.RateLimited, Code: "rate_limited", Text: "told by the script", HTTPStatus: 429, RetryAfter: t.s.delay}
	case declare401:
		return t.fail(senders.Auth, 401)
	case declare500:
		return t.fail(senders.Refused, 500)
	case declare400:
		return t.rejected(400)
	case declareGone:
		return t.declareUnclear()
	}
	return nil
}

// declareUnclear is a lost answer of step 1: harmless, unless the vendor's
// declares count.
func (t *try) declareUnclear() error {
	if t.v.shape.traits.DeclareOnce {
		return t.fail(senders.InDoubt, 0)
	}
	return t.fail(senders.Incomplete, 0)
}

func (t *try) rejected(status int) error {
	t.v.w.mu.Lock()
	t.v.refused[t.key] = true
	t.v.w.mu.Unlock()
	return t.fail(senders.Rejected, status)
}

// media is the upload through the real gate.
func (t *try) media(ids map[string]string) (senders.Receipt, error) {
	none := senders.Receipt{}
	m, err := t.a.Open()
	if err != nil {
		return none, err
	}
	body := senders.NewBody(m, t.a.File.Bytes, t.a.File.SHA256, gate{t}, nil)
	defer func() {
		body.Close()
		<-body.Closed()
	}()
	if err := t.j.Sending(ids); err != nil {
		return none, err
	}
	if t.dies(afterSending) {
		return none, errGone
	}
	if err := t.arrives("media", ledger.Sending); err != nil {
		return none, err
	}
	if known := t.r.id(t.v.shape.name, t.key); t.v.shape.traits.TwoStep && known != t.id {
		t.v.w.violate("I1: %s: media of %.6s is on the wire under the id %q, the ledger knows %q", t.v.shape.name, t.key, t.id, known)
	}
	switch t.s.fault {
	case media429:
		return none, &senders.Error{Class: senders.RateLimited, Code: "rate_limited", Text: "told by the script", HTTPStatus: 429, RetryAfter: t.s.delay}
	case media401:
		return none, t.fail(senders.Auth, 401)
	case media500:
		return none, t.fail(senders.Refused, 500)
	case media413:
		return none, t.rejected(413)
	case panicEarly:
		panic("told by the script")
	}
	got, err := t.read(body)
	if err != nil {
		return none, err
	}
	return t.answer(got)
}

// read takes the whole body and returns the hash of what came.
func (t *try) read(body *senders.Gate) (string, error) {
	h, buf, n := sha256.New(), make([]byte, 512), int64(0)
	for first := true; ; first = false {
		k, err := body.Read(buf)
		// The vendor counts for itself: from here on it could hold the whole.
		if t.tail == nil && k > 0 && n+int64(k) > max(t.a.File.Bytes-senders.TailBytes, 0) {
			row := t.r.row(t.v.shape.name, t.key)
			if gone := t.effect(func() { t.tail = t.v.release(t.key, t.id, row) }); gone != nil {
				return "", gone
			}
		}
		h.Write(buf[:k])
		n += int64(k)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if !first || t.tail != nil {
			continue
		}
		switch {
		case t.dies(inMedia):
			return "", errGone
		case t.s.fault == mediaCut:
			return "", t.fail(senders.Incomplete, 0)
		case t.s.fault == rewritten:
			t.v.w.rewrite(t.path(), t.s.apart)
		case t.s.fault == slow && !t.wait(t.s.delay):
			return "", t.fail(senders.Incomplete, 0)
		}
	}
	got := hex.EncodeToString(h.Sum(nil))
	if got != t.a.File.SHA256 || n != t.a.File.Bytes {
		t.v.w.violate("I8: %s: %.6s came as %d bytes %.8s, the ledger says %d bytes %.8s", t.v.shape.name, t.key, n, got, t.a.File.Bytes, t.a.File.SHA256)
	}
	return got, nil
}

// path is the recording's place among the drop directories.
func (t *try) path() string { return t.r.source(t.key) + "/" + t.a.File.Path }

// gate stands at the pipeline's journal where the tail is released.
type gate struct{ *try }

func (g gate) Declaring() error                     { return g.j.Declaring() }
func (g gate) Declared(ids map[string]string) error { return g.j.Declared(ids) }
func (g gate) Sending(ids map[string]string) error  { return g.j.Sending(ids) }

func (g gate) Committing() error {
	if g.dies(atGate) {
		return errGone
	}
	if err := g.j.Committing(); err != nil {
		return err
	}
	if g.dies(afterCommitting) {
		return errGone
	}
	return nil
}
