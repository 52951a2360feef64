package sendertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/internal/senders"
)

// Run checks one vendor. newHarness is called once per case.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, group := range []struct {
		name string
		run  func(*testing.T, func(*testing.T) Harness)
	}{
		{"Wire", runWire},
		{"Journal", runJournal},
		{"Reuse", runReuse},
		{"Status", runStatus},
		{"Answers", runAnswers},
		{"Duplicate", runDuplicate},
		{"Token", runToken},
		{"IDs", runIDs},
		{"Questions", runQuestions},
		{"Source", runSource},
		{"Ending", runEnding},
		{"Clock", runClock},
		{"List", runList},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(t, newHarness) })
	}
}

// rig is one sender facing one vendor.
type rig struct {
	t       *testing.T
	h       Harness
	vendor  *Vendor
	trace   *Trace
	journal *Journal
	sender  senders.Sender
	log     *safeBuffer
	media   *Media
	pinned  []byte
	own     bool // an earlier attempt reached committing
}

const mediaSize = 100_000 // several reads and writes, and a tail

func newRig(t *testing.T, newHarness func(*testing.T) Harness) *rig {
	r := prepare(t, newHarness(t))
	r.vendor.listen()
	r.build(Env{Base: r.vendor.base, KeepAlive: true})
	return r
}

func prepare(t *testing.T, h Harness) *rig {
	trace := &Trace{}
	r := &rig{t: t, h: h, trace: trace, vendor: newVendor(t, h, trace), log: &safeBuffer{}}
	r.journal = &Journal{trace: trace, fail: map[string]error{}, hook: map[string]func(){}}
	r.use(recording(mediaSize))
	return r
}

func (r *rig) build(e Env) {
	e.Log = slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e.Now = time.Now
	r.sender = r.h.New(r.t, e)
}

// use pins the bytes and sends the same.
func (r *rig) use(pinned []byte) {
	r.pinned, r.media = pinned, &Media{data: pinned}
}

func (r *rig) send() (senders.Receipt, error) { return r.sendWith(context.Background()) }

// sendWith makes one attempt and checks what must hold after every attempt.
func (r *rig) sendWith(ctx context.Context) (senders.Receipt, error) {
	r.t.Helper()
	a := r.h.attempt(r.pinned, r.media)
	a.Own = r.own
	receipt, err := r.sender.Send(ctx, a, r.journal)
	if err != nil {
		if e := new(senders.Error); !errors.As(err, &e) || e.Code == "" || e.Text == "" {
			r.t.Fatalf("error is no *senders.Error with code and text: %#v", err)
		}
		noLeak(r.t, "error", err.Error(), fmt.Sprintf("%+v %#v", err, err))
	}
	noLeak(r.t, "log", r.log.String())
	noLeak(r.t, "receipt", fmt.Sprintf("%+v", receipt))
	r.checkPrivate(receipt, err)
	noLeak(r.t, "sender", fmt.Sprintf("%v %+v %#v", r.sender, r.sender, r.sender))
	if r.media.opened != r.media.closed {
		r.t.Fatalf("media opened %d times and closed %d times", r.media.opened, r.media.closed)
	}
	r.checkOrder()
	return receipt, err
}

// checkOrder: invariants I1 and I3, whatever the attempt came to.
func (r *rig) checkOrder() {
	r.t.Helper()
	up := r.upload()
	if step, ok := r.h.step(Declare); ok && !r.trace.before("journal declaring", "request "+step.Name) {
		r.t.Fatalf("declare request without its journal row: %v", r.trace.all())
	}
	if !r.trace.before("journal sending", "request "+up) {
		r.t.Fatalf("media request without its journal row: %v", r.trace.all())
	}
	if !r.trace.before("journal committing", "whole "+up) {
		r.t.Fatalf("whole body without COMMITTING: %v", r.trace.all())
	}
}

// fails makes one attempt that must end in one of the classes.
func (r *rig) fails(want ...senders.Class) *senders.Error {
	r.t.Helper()
	_, err := r.send()
	var e *senders.Error
	if !errors.As(err, &e) {
		r.t.Fatalf("attempt succeeded, want class %v", want)
	}
	for _, class := range want {
		if e.Class == class {
			return e
		}
	}
	r.t.Fatalf("class %q (%v), want %v", e.Class, e, want)
	return nil
}

func (r *rig) upload() string {
	return r.h.Steps[len(r.h.Steps)-1].Name
}

// never asserts that the vendor did not get the whole recording.
func (r *rig) neverWhole() {
	r.t.Helper()
	r.vendor.settle()
	for _, got := range r.vendor.seen(r.upload()) {
		if media := got.Media(); got.Whole || len(media) > max(len(r.pinned)-senders.TailBytes, 0) {
			r.t.Fatalf("vendor got %d of %d bytes, want none of the last %d", len(media), len(r.pinned), senders.TailBytes)
		}
	}
}

// noLeak fails when a canary shows.
func noLeak(t *testing.T, where string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, canary := range []string{Secret, TokenPrefix, Target, Phone, strings.TrimPrefix(Phone, "+"), AgentName} {
			if strings.Contains(text, canary) {
				t.Fatalf("%s shows canary %q: %s", where, canary, text)
			}
		}
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
