package elevateai_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"ingestd/internal/sandbox"
	"ingestd/internal/senders"
	"ingestd/internal/senders/elevateai"
	"ingestd/internal/senders/sendertest"
)

type still struct{ *bytes.Reader }

func (still) Close() error  { return nil }
func (still) Verify() error { return nil }

// clock is moved by hand; vendor and sender share it.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// run is one delivery on its way: what the ledger and the pipeline would keep
// and do.
type run struct {
	t      *testing.T
	s      *elevateai.Client
	vendor *sandbox.ElevateAI
	clock  *clock
	data   []byte

	ids    map[string]string
	own    bool
	lost   int // declares whose answer was lost
	absent int
}

func (r *run) Declaring() error                     { return nil }
func (r *run) Declared(ids map[string]string) error { r.store(ids); return nil }
func (r *run) Sending(ids map[string]string) error  { r.store(ids); return nil }
func (r *run) Committing() error                    { r.own = true; return nil }

func (r *run) store(ids map[string]string) {
	for name, value := range ids {
		if r.ids[name] = value; value == "" {
			delete(r.ids, name)
		}
	}
}

// deliver goes on until the delivery rests, and says where: "accepted" or the
// code that a person sees.
func (r *run) deliver() string {
	r.t.Helper()
	for range 100 {
		e := r.try()
		if e == nil {
			return "accepted"
		}
		r.store(e.IDs)
		if e.Code == senders.CodeOrphanDeclare {
			r.lost++
		}
		switch e.Class {
		case senders.Held, senders.Rejected:
			return e.Code
		case senders.InDoubt:
			if code := r.settle(r.attempt); code != "" {
				return code
			}
		}
		r.clock.advance(time.Minute)
	}
	r.t.Fatal("no rest after 100 attempts")
	return ""
}

func (r *run) attempt() senders.Attempt {
	i := item()
	sum := sha256.Sum256(r.data)
	i.File.Bytes, i.File.SHA256 = int64(len(r.data)), hex.EncodeToString(sum[:])
	return senders.Attempt{Item: i, IDs: r.ids, Own: r.own}
}

// try makes one attempt; nil: accepted.
func (r *run) try() *senders.Error {
	r.t.Helper()
	a := r.attempt()
	a.Open = func() (senders.Media, error) { return still{bytes.NewReader(r.data)}, nil }
	receipt, err := r.s.Send(r.t.Context(), a, r)
	var e *senders.Error
	if err != nil && !errors.As(err, &e) {
		r.t.Fatal(err)
	}
	r.store(receipt.IDs)
	return e
}

// settle asks until a verdict lets the delivery go on ("") or rest.
func (r *run) settle(attempt func() senders.Attempt) string {
	r.absent = 0
	for range 100 {
		v, err := r.s.Reconcile(r.t.Context(), attempt())
		var e *senders.Error
		switch {
		case errors.As(err, &e) && e.Class == senders.Held:
			r.store(e.IDs)
			return e.Code
		case err != nil || v.Outcome == senders.Unknown:
			r.clock.advance(time.Minute)
		case v.Outcome == senders.Present:
			return "accepted"
		case v.Outcome == senders.Void:
			r.store(v.IDs)
			return ""
		case v.Outcome == senders.Absent:
			if r.absent++; r.absent == 2 {
				return ""
			}
			r.clock.advance(10 * time.Minute)
		}
	}
	r.t.Fatal("no verdict after 100 questions")
	return ""
}

func play(t *testing.T, o sandbox.Options) *run {
	t.Helper()
	c := &clock{at: time.Now()}
	o.Now, o.ClientSecret = c.now, sendertest.Secret
	vendor := sandbox.NewElevateAI(o)
	server := httptest.NewServer(vendor)
	t.Cleanup(server.Close)
	t.Cleanup(vendor.Close)
	cfg := config(t, server.URL)
	cfg.SendMetadata = o.ElevateAI.Explore
	s, err := elevateai.New(cfg, senders.Deps{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return &run{t: t, s: s, vendor: vendor, clock: c, data: bytes.Repeat([]byte("ingestd!"), 20_000), ids: map[string]string{}}
}

// TestSandbox drives deliveries through faults as the pipeline would, in every
// reading of the documents: exactly one recording taken in, or none and a
// person who is told why.
func TestSandbox(t *testing.T) {
	readings := map[string]sandbox.ElevateAIOptions{
		"as documented":      {},
		"200, slow, Explore": {Uploaded200: true, UploadedAfter: 3 * time.Minute, ProcessedAfter: 30 * time.Minute, Explore: true},
		"a cut is a failure": {CutFails: true, UploadedAfter: 20 * time.Second},
		"taken in very late": {UploadedAfter: 25 * time.Minute, ProcessedAfter: time.Hour},
		"a second is lost":   {SecondUpload: sandbox.SecondIgnored, UploadedAfter: time.Minute},
		"processing fails":   {ProcessingFails: true, ProcessedAfter: time.Minute},
	}
	for name, c := range map[string]struct {
		fault  sandbox.Fault // met once
		want   string
		orphan int // declares without a file at the end
		lost   int // as the ledger counts them
		stored int // recordings taken in
	}{
		"plain":                     {sandbox.Fault{}, "accepted", 0, 0, 1},
		"declare stored, no answer": {sandbox.Fault{Kind: sandbox.DropStored, Route: sandbox.RouteDeclare}, "accepted", 1, 1, 1},
		"declare stored, then 504":  {sandbox.Fault{Kind: sandbox.StatusStored, Status: 504, Route: sandbox.RouteDeclare}, "accepted", 1, 1, 1},
		"declare, broken JSON":      {sandbox.Fault{Kind: sandbox.BrokenJSON, Route: sandbox.RouteDeclare}, "accepted", 1, 1, 1},
		"declare, half an answer":   {sandbox.Fault{Kind: sandbox.Truncated, Route: sandbox.RouteDeclare}, "accepted", 1, 1, 1},
		"declare lost, no answer":   {sandbox.Fault{Kind: sandbox.DropLost, Route: sandbox.RouteDeclare}, "accepted", 0, 1, 1},
		"declare 401":               {sandbox.Fault{Kind: sandbox.Status, Status: 401, Route: sandbox.RouteDeclare}, "accepted", 0, 0, 1},
		"declare, a hostile id":     {sandbox.Fault{Kind: sandbox.IDPath, Route: sandbox.RouteDeclare}, "bad_remote_id", 1, 0, 0},
		"upload stored, no answer":  {sandbox.Fault{Kind: sandbox.DropStored, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload stored, then 500":   {sandbox.Fault{Kind: sandbox.StatusStored, Status: 500, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload stored, login page": {sandbox.Fault{Kind: sandbox.HTML, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload stored, 409":        {sandbox.Fault{Kind: sandbox.StatusStored, Status: 409, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload lost, no answer":    {sandbox.Fault{Kind: sandbox.DropLost, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload lost, 503":          {sandbox.Fault{Kind: sandbox.Status, Status: 503, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload lost, 409":          {sandbox.Fault{Kind: sandbox.Status, Status: 409, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload refused early, 409": {sandbox.Fault{Kind: sandbox.Early, Status: 409, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload refused early, 429": {sandbox.Fault{Kind: sandbox.Early, Status: 429, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload refused early, 401": {sandbox.Fault{Kind: sandbox.Early, Status: 401, Route: sandbox.RouteMedia}, "accepted", 0, 0, 1},
		"upload refused early, 404": {sandbox.Fault{Kind: sandbox.Early, Status: 404, Route: sandbox.RouteMedia}, "accepted", 1, 0, 1},
		"upload refused, 413":       {sandbox.Fault{Kind: sandbox.Status, Status: 413, Route: sandbox.RouteMedia}, "too_large", 1, 0, 0},
		"upload refused, 400":       {sandbox.Fault{Kind: sandbox.Status, Status: 400, Route: sandbox.RouteMedia}, "vendor_refused", 1, 0, 0},
		"another interaction":       {sandbox.Fault{Kind: sandbox.IDPath, Route: sandbox.RouteMedia}, "foreign_id", 0, 0, 1},
	} {
		for reading, options := range readings {
			t.Run(name+", "+reading, func(t *testing.T) {
				o := sandbox.Options{ElevateAI: options}
				if c.fault.Kind != "" {
					c.fault.First = 1
					o.Faults = []sandbox.Fault{c.fault}
				}
				r := play(t, o)
				if got := r.deliver(); got != c.want {
					t.Fatalf("%s, want %s", got, c.want)
				}
				r.clock.advance(24 * time.Hour)
				all, sum := r.vendor.Stored(), r.vendor.Summary()
				if len(all) != c.stored || sum.Again != 0 || sum.FastPolls != 0 || int(sum.Orphans) != c.orphan || r.lost != c.lost {
					t.Fatalf("%d stored, %d lost declares, %+v", len(all), r.lost, sum)
				}
				for _, one := range all {
					want := sha256.Sum256(r.data)
					if one.SHA256 != hex.EncodeToString(want[:]) || one.Key != item().Delivery.IdemKey {
						t.Errorf("stored %+v", one)
					}
					if c.want == "accepted" && r.ids["interaction_identifier"] != one.ID {
						t.Errorf("ids %v, stored %+v", r.ids, one)
					}
				}
			})
		}
	}
}

// A second upload to one identifier is the vendor's unknown: where it would be
// processed again, the sender must not have made one unless the vendor said
// twice that nothing is there.
func TestSandboxSecondUpload(t *testing.T) {
	r := play(t, sandbox.Options{
		ElevateAI: sandbox.ElevateAIOptions{SecondUpload: sandbox.SecondAgain, UploadedAfter: 5 * time.Minute},
		Faults:    []sandbox.Fault{{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 1}},
	})
	if got := r.deliver(); got != "accepted" || r.vendor.Summary().Again != 0 {
		t.Fatalf("%s, %+v", got, r.vendor.Summary())
	}
}

// What the vendor has forgotten is a new beginning before the recording can
// have gone there, and a person's to decide after that.
func TestSandboxForgotten(t *testing.T) {
	r := play(t, sandbox.Options{Faults: []sandbox.Fault{{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 1}}})
	r.ids["interaction_identifier"] = "11111111-2222-4333-8444-555555555555" // of an age ago
	for _, want := range []senders.Class{senders.Refused, senders.InDoubt} {
		e := r.try()
		if e == nil || e.Class != want {
			t.Fatalf("%v, want %s", e, want)
		}
		r.store(e.IDs)
	}
	second := r.ids["interaction_identifier"]
	r.vendor.Forget()
	if code := r.settle(r.attempt); code != "interaction_gone" {
		t.Fatalf("%q, want interaction_gone", code)
	}
	if r.ids["interaction_identifier"] != "" || r.ids["former_interaction_1"] == "" || r.ids["former_interaction_2"] != second {
		t.Fatalf("ids %v: a person's retry would go to the forgotten interaction", r.ids)
	}
	if got := r.deliver(); got != "accepted" || len(r.vendor.Stored()) != 2 {
		t.Errorf("after a person's retry: %s", got)
	}
}

func TestSandboxCheckAndConfirm(t *testing.T) {
	r := play(t, sandbox.Options{ElevateAI: sandbox.ElevateAIOptions{UploadedAfter: time.Minute, ProcessedAfter: time.Hour}})
	findings, err := r.s.Check(t.Context())
	if err != nil || len(findings) != 1 || !findings[0].OK {
		t.Fatalf("%+v, %v", findings, err)
	}
	if got := r.deliver(); got != "accepted" {
		t.Fatal(got)
	}
	a := senders.Attempt{Item: item(), IDs: r.ids, Own: true}
	for _, c := range []struct {
		wait time.Duration
		want senders.Outcome
	}{{time.Minute, senders.Unknown}, {time.Second, senders.Unknown}, {time.Hour, senders.Present}} {
		r.clock.advance(c.wait)
		if v, err := r.s.Confirm(t.Context(), a); err != nil || v.Outcome != c.want {
			t.Fatalf("after %s: %+v, %v", c.wait, v, err)
		}
	}
	if n := r.vendor.Summary().FastPolls; n != 0 {
		t.Errorf("%d questions came sooner than 30 s after the last", n)
	}
	r.vendor.Forget()
	r.clock.advance(time.Hour)
	if _, err := r.s.Confirm(t.Context(), a); err == nil {
		t.Error("confirmed what is not known any more")
	}

	cfg := config(t, "http://127.0.0.1:1")
	cfg.LanguageTag = "tlh"
	s, err := elevateai.New(cfg, senders.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if findings, err := s.Check(t.Context()); err == nil || len(findings) != 1 || findings[0].OK {
		t.Errorf("%+v, %v from a vendor that is not there", findings, err)
	}
}

func TestCheckTokenRefused(t *testing.T) {
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	t.Cleanup(vendor.Close)
	s, err := elevateai.New(config(t, vendor.URL), senders.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if findings, err := s.Check(t.Context()); err != nil || len(findings) != 1 || !findings[0].Stop {
		t.Errorf("%+v, %v", findings, err)
	}
}
