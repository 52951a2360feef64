package sendertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"ingestd/internal/senders"
)

func runWire(t *testing.T, newHarness func(*testing.T) Harness) {
	for _, size := range []int{1, senders.TailBytes - 1, senders.TailBytes, senders.TailBytes + 1, mediaSize} {
		for _, keepAlive := range []bool{false, true} {
			t.Run(fmt.Sprintf("bytes=%d,keepalive=%t", size, keepAlive), func(t *testing.T) {
				r := prepare(t, newHarness(t))
				r.vendor.listen()
				r.build(Env{Base: r.vendor.base, KeepAlive: keepAlive})
				r.use(recording(size))
				r.delivers()
				r.checkWire()
			})
		}
	}

	t.Run("plan is what is sent", func(t *testing.T) {
		r := newRig(t, newHarness)
		plan, err := r.sender.Plan(r.h.attempt(r.pinned, r.media).Item)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.vendor.seen(""); len(got) != 0 {
			t.Fatalf("Plan made requests: %v", got)
		}
		r.delivers()
		r.checkPlan(plan)
	})

	// A file is refused by the trait before it is read, by Plan afterwards.
	t.Run("the limit is the one that Plan knows", func(t *testing.T) {
		r := newRig(t, newHarness)
		plan := func(bytes int64) string {
			item := r.h.attempt(r.pinned, r.media).Item
			item.File.Bytes = bytes
			_, err := r.sender.Plan(item)
			var e *senders.Error
			if err != nil && (!errors.As(err, &e) || e.Class != senders.Rejected) {
				t.Fatalf("%d bytes: %v", bytes, err)
			} else if err != nil {
				return e.Code
			}
			return ""
		}
		most := r.sender.Traits().MaxBytes
		if most == 0 {
			if got := plan(1 << 50); got != "" {
				t.Fatalf("no limit is named, and 1 PiB is refused: %s", got)
			}
		} else if at, above := plan(most), plan(most+1); at != "" || above != "too_large" {
			t.Fatalf("at the limit of %d bytes %q, a byte above it %q", most, at, above)
		}
	})

	t.Run("many at once", func(t *testing.T) {
		r := newRig(t, newHarness)
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for range cap(errs) {
			wg.Go(func() {
				j := &Journal{trace: &Trace{}}
				_, err := r.sender.Send(t.Context(), r.h.attempt(r.pinned, &Media{data: r.pinned}), j)
				errs <- err
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		if step, ok := r.h.step(Token); ok && len(r.vendor.seen(step.Name)) != 1 {
			t.Fatalf("%d token requests for 8 concurrent attempts, want 1", len(r.vendor.seen(step.Name)))
		}
	})

	for _, step := range newHarness(t).Steps {
		if step.Phase == Ask {
			continue // a question may be put twice
		}
		t.Run("no hidden replay of "+step.Name, func(t *testing.T) {
			r := newRig(t, newHarness)
			// The first answer closes its connection without saying so: the
			// next request may meet a dead connection.
			r.vendor.on(step.Name, 1, Fault{Reply: func(q Request) Reply { return Reply{Raw: step.OK(q, 1).bytes()} }})
			r.vendor.on(step.Name, 2, Fault{Drop: true})
			_, _ = r.send() // may itself meet the dead connection at the next step
			r.media = &Media{data: r.pinned}
			_, err := r.send()
			r.vendor.settle()
			got := len(r.vendor.seen(step.Name))
			if got > 2 || got == 2 && err == nil && step.Phase != Token {
				t.Fatalf("%d requests %q for two attempts, error %v", got, step.Name, err)
			}
		})
	}
}

// delivers makes one attempt that must succeed.
func (r *rig) delivers() senders.Receipt {
	r.t.Helper()
	receipt, err := r.send()
	if err != nil {
		r.t.Fatalf("attempt failed: %v", err)
	}
	if len(receipt.IDs) == 0 || receipt.Text == "" {
		r.t.Fatalf("receipt without evidence: %+v", receipt)
	}
	for _, want := range []string{"journal sending", "journal committing"} {
		if !r.trace.has(want) {
			r.t.Fatalf("%q is missing in %v", want, r.trace.all())
		}
	}
	return receipt
}

// checkWire looks at the requests of one successful attempt.
func (r *rig) checkWire() {
	r.t.Helper()
	var names []string
	for _, q := range r.vendor.seen("") {
		names = append(names, q.Step)
		for _, h := range []string{"Cookie", "Idempotency-Key", "X-Idempotency-Key", "Accept-Encoding"} {
			if q.Header.Get(h) != "" {
				r.t.Fatalf("%s carries %s", q.Step, h)
			}
		}
		if len(q.TransferEncoding) > 0 || !q.Whole {
			r.t.Fatalf("%s: transfer encoding %v, whole %t", q.Step, q.TransferEncoding, q.Whole)
		}
	}
	var want []string
	for _, s := range r.h.Steps {
		if s.Phase != Ask {
			want = append(want, s.Name)
		}
	}
	if !slices.Equal(names, want) {
		r.t.Fatalf("requests %v, want %v", names, want)
	}
	up := r.vendor.seen(r.upload())[0]
	r.checkMedia(up)
	if up.Header.Get("Expect") != "100-continue" {
		r.t.Fatal("media without Expect: 100-continue: a 401 would come after the whole upload")
	}
}

// checkPlan compares the planned JSON bodies with what went over the wire.
func (r *rig) checkPlan(plan senders.Plan) {
	r.t.Helper()
	for _, p := range plan.Requests {
		var sent []Request
		for _, q := range r.vendor.seen("") {
			if q.Step == p.Step {
				sent = append(sent, q)
			}
		}
		if len(sent) != 1 || !slices.Contains(strings.Split(p.Method, " or "), sent[0].Method) {
			r.t.Fatalf("planned step %q was not sent once: %v", p.Step, sent)
		}
		if auth := p.Headers["Authorization"]; auth != "" {
			r.t.Fatalf("plan shows a credential header")
		}
		r.checkPlanned(p, sent[0])
	}
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return false
	}
	var u, v any
	if json.Unmarshal(x.Bytes(), &u) != nil || json.Unmarshal(y.Bytes(), &v) != nil {
		return false
	}
	ub, errU := json.Marshal(u)
	vb, errV := json.Marshal(v)
	return errU == nil && errV == nil && bytes.Equal(ub, vb)
}

var errLedger = errors.New("ledger is broken")

func runJournal(t *testing.T, newHarness func(*testing.T) Harness) {
	t.Run("declared fails", func(t *testing.T) {
		r := newRig(t, newHarness)
		if _, two := r.h.step(Declare); !two {
			return // one-step vendors never call it
		}
		r.journal.fail["declared"] = errLedger
		_, err := r.send()
		r.vendor.settle()
		switch {
		case err == nil && len(r.journal.ids) > 0: // it stores its ids with Sending
		case !errors.Is(err, errLedger) || len(r.vendor.seen(r.upload())) != 0:
			t.Fatalf("%v and %d uploads after ids that are not durable", err, len(r.vendor.seen(r.upload())))
		}
	})

	for _, call := range []string{"declaring", "sending", "committing"} {
		t.Run(call+" fails", func(t *testing.T) {
			r := newRig(t, newHarness)
			declare, two := r.h.step(Declare)
			if call == "declaring" && !two {
				return // one-step vendors never call it
			}
			r.journal.fail[call] = errLedger
			_, err := r.send()
			if !errors.Is(err, errLedger) {
				t.Fatalf("error %v does not carry the ledger's", err)
			}
			r.vendor.settle()
			switch call {
			case "declaring":
				if n := len(r.vendor.seen(declare.Name)); n != 0 {
					t.Fatalf("%d declares after a failed commit", n)
				}
			case "sending":
				if n := len(r.vendor.seen(r.upload())); n != 0 {
					t.Fatalf("%d uploads after a failed commit", n)
				}
			case "committing":
				r.neverWhole()
				if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Incomplete {
					t.Fatalf("%v, want class incomplete", err)
				}
			}
		})
	}

	t.Run("ids before media", func(t *testing.T) {
		r := newRig(t, newHarness)
		receipt := r.delivers()
		if _, two := r.h.step(Declare); two && len(r.journal.ids) == 0 {
			t.Fatal("no step-1 ids were journalled")
		}
		for k, v := range r.journal.ids {
			// A secret id is not for the receipt: checkPrivate.
			if !strings.HasPrefix(k, "_") && receipt.IDs[k] != v {
				t.Fatalf("receipt says %s = %q, journal %q", k, receipt.IDs[k], v)
			}
		}
	})
}

// statusOf is the vendor's own success status of a step.
func statusOf(s Step) int {
	if status := s.OK(Request{Header: http.Header{}, Body: []byte("{}")}, 1).Status; status != 0 {
		return status
	}
	return http.StatusOK
}
