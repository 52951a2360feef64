package voyc_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/internal/sandbox"
	"ingestd/internal/senders"
	"ingestd/internal/senders/sendertest"
	"ingestd/internal/senders/voyc"
)

func fakeVoyc(t *testing.T, o sandbox.Options) (*sandbox.Voyc, string) {
	t.Helper()
	o.ClientSecret = sendertest.Secret
	vendor := sandbox.NewVoyc(o)
	server := httptest.NewServer(vendor)
	t.Cleanup(server.Close)
	t.Cleanup(vendor.Close)
	return vendor, server.URL
}

// newClock is a clock that stands still until time is made to pass.
func newClock() (clock func() time.Time, pass func(time.Duration)) {
	start, passed := time.Now(), new(atomic.Int64)
	return func() time.Time { return start.Add(time.Duration(passed.Load())) }, func(d time.Duration) { passed.Add(int64(d)) }
}

// TestSandbox repeats attempts as the pipeline would, against a fake that
// knows what really arrived: one conversation with audio each time, and none
// without.
func TestSandbox(t *testing.T) {
	data := recording(160_001)
	sum := sha256.Sum256(data)
	media := func(k sandbox.Kind, status int) []sandbox.Fault {
		return []sandbox.Fault{{Kind: k, Route: sandbox.RouteMedia, Status: status, First: 1}}
	}
	for name, c := range map[string]struct {
		faults []sandbox.Fault
		first  senders.Class // of the first attempt; "" succeeds
		writes int
	}{
		"plain":               {nil, "", 1},
		"stored, no answer":   {media(sandbox.DropStored, 0), senders.InDoubt, 2},
		"lost, no answer":     {media(sandbox.DropLost, 0), senders.InDoubt, 1},
		"stored, 500":         {media(sandbox.StatusStored, 500), senders.InDoubt, 2},
		"503 before":          {media(sandbox.Early, 503), senders.Refused, 1},
		"cut":                 {media(sandbox.DropMid, 0), senders.Incomplete, 1},
		"login page":          {media(sandbox.HTML, 0), senders.InDoubt, 2},
		"step 1 asks to wait": {[]sandbox.Fault{{Kind: sandbox.Early, Route: sandbox.RouteDeclare, Status: 429, RetryAfter: "1", First: 1}}, senders.RateLimited, 1},
	} {
		for shape, u := range map[string]sandbox.VoycUnknowns{
			"form":     {},
			"form 201": {Shape: sandbox.VoycFormTop, SuccessStatus: 201},
			"url":      {Shape: sandbox.VoycURL},
		} {
			t.Run(name+"/"+shape, func(t *testing.T) {
				vendor, base := fakeVoyc(t, sandbox.Options{Voyc: u, Faults: c.faults})
				s := sender(t, config(t, base), senders.Deps{})
				j := kept{}
				receipt, e := send(t, s, item(), data, j, false)
				if c.first != "" {
					if e == nil || e.Class != c.first {
						t.Fatalf("first attempt: %v, want %s", e, c.first)
					}
					receipt, e = send(t, s, item(), data, j, c.first == senders.InDoubt)
				}
				if e != nil {
					t.Fatal(e)
				}
				got := vendor.Conversations()
				if len(got) != 1 || got[0].Writes != c.writes || got[0].SHA256 != hex.EncodeToString(sum[:]) || got[0].Key != item().Delivery.IdemKey {
					t.Fatalf("%+v, want one with %d writes", got, c.writes)
				}
				if receipt.IDs["conversation_id"] != got[0].ID || receipt.IDs["etag"] == "" {
					t.Errorf("receipt %v", receipt.IDs)
				}
			})
		}
	}
}

// A lost answer of step 1 is a doubt, or by the operator's choice an orphan.
func TestSandboxStepOneLost(t *testing.T) {
	for onDoubt, want := range map[string]struct {
		class         senders.Class
		code          string
		conversations int
	}{
		senders.OnDoubtAuto:   {senders.InDoubt, "no_answer", 1},
		senders.OnDoubtHold:   {senders.InDoubt, "no_answer", 1},
		senders.OnDoubtResend: {senders.Refused, senders.CodeOrphanDeclare, 2},
	} {
		vendor, base := fakeVoyc(t, sandbox.Options{Faults: []sandbox.Fault{{Kind: sandbox.DropStored, Route: sandbox.RouteDeclare, First: 1}}})
		c := config(t, base)
		c.OnDoubt = onDoubt
		s := sender(t, c, senders.Deps{})
		j := kept{}
		_, e := send(t, s, item(), recording(5000), j, false)
		if e == nil || e.Class != want.class || e.Code != want.code {
			t.Fatalf("%s: %v", onDoubt, e)
		}
		if once := s.Traits().DeclareOnce; once != (want.class == senders.InDoubt) {
			t.Errorf("%s: DeclareOnce is %t", onDoubt, once)
		}
		if want.class == senders.Refused {
			if _, e := send(t, s, item(), recording(5000), j, false); e != nil {
				t.Fatal(e)
			}
		}
		if got := vendor.Summary(); got.Conversations != want.conversations || got.WithAudio != want.conversations-1 {
			t.Errorf("%s: %+v", onDoubt, got)
		}
	}
}

// What is not understood is held, and nothing is uploaded.
func TestSandboxUnknownShapes(t *testing.T) {
	for _, shape := range []sandbox.VoycShape{sandbox.VoycCredentials, sandbox.VoycOther, sandbox.VoycHTML} {
		vendor, base := fakeVoyc(t, sandbox.Options{Voyc: sandbox.VoycUnknowns{Shape: shape}})
		c := config(t, base)
		c.OnDoubt = senders.OnDoubtResend // also then
		_, e := send(t, sender(t, c, senders.Deps{}), item(), recording(5000), kept{}, false)
		if e == nil || e.Class != senders.Held || e.Code != "unknown_answer" || vendor.Summary().WithAudio != 0 {
			t.Errorf("%s: %v", shape, e)
		}
		t.Log(e)
	}
}

// A target that is written only once, whose answer was lost.
func TestSandboxWriteOnce(t *testing.T) {
	vendor, base := fakeVoyc(t, sandbox.Options{
		Voyc:   sandbox.VoycUnknowns{Shape: sandbox.VoycURL, WriteOnce: true},
		Faults: []sandbox.Fault{{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 1}},
	})
	s, j := sender(t, config(t, base), senders.Deps{}), kept{}
	if _, e := send(t, s, item(), recording(5000), j, false); e == nil || e.Class != senders.InDoubt {
		t.Fatal(e)
	}
	r, e := send(t, s, item(), recording(5000), j, true)
	if e != nil || !r.Duplicate || vendor.Conversations()[0].Writes != 1 {
		t.Fatalf("%+v, %v", r, e)
	}
}

// A target ends between two attempts.
func TestSandboxTargetEnds(t *testing.T) {
	for name, c := range map[string]struct {
		own     bool
		onDoubt string
		class   senders.Class
		code    string
	}{
		"unused":           {false, senders.OnDoubtAuto, senders.Refused, senders.CodeOrphanDeclare},
		"unused, hold":     {false, senders.OnDoubtHold, senders.Held, "target_expired"},
		"in doubt":         {true, senders.OnDoubtAuto, senders.Held, "target_expired"},
		"in doubt, resend": {true, senders.OnDoubtResend, senders.Held, "target_expired"},
	} {
		t.Run(name, func(t *testing.T) {
			clock, pass := newClock()
			vendor, base := fakeVoyc(t, sandbox.Options{Now: clock, Faults: []sandbox.Fault{{Kind: sandbox.DropLost, Route: sandbox.RouteMedia, First: 1}}})
			cfg := config(t, base)
			cfg.OnDoubt = c.onDoubt
			s, j := sender(t, cfg, senders.Deps{Now: clock}), kept{}
			if _, e := send(t, s, item(), recording(5000), j, false); e == nil {
				t.Fatal("the first attempt succeeded")
			}
			pass(time.Hour)
			_, e := send(t, s, item(), recording(5000), j, c.own)
			if e == nil || e.Class != c.class || e.Code != c.code {
				t.Fatalf("%v", e)
			}
			if c.class != senders.Refused {
				return
			}
			// The pipeline stores what the outcome says, and begins anew.
			for name, value := range e.IDs {
				if j[name] = value; value == "" {
					delete(j, name)
				}
			}
			first := j["conversation_id"]
			r, e := send(t, s, item(), recording(5000), j, false)
			if got := vendor.Summary(); e != nil || got.WithAudio != 1 || got.Orphans != 1 || r.IDs["orphan_conversation_id"] != first {
				t.Fatalf("%v, %+v, %v", r.IDs, got, e)
			}
		})
	}
}

// Two targets in a row that end unused are no accident: no third one.
func TestSandboxTwoTargetsEnd(t *testing.T) {
	clock, pass := newClock()
	vendor, base := fakeVoyc(t, sandbox.Options{Now: clock, Faults: []sandbox.Fault{{Kind: sandbox.DropMid, Route: sandbox.RouteMedia, AfterBytes: 100}}})
	s, j := sender(t, config(t, base), senders.Deps{Now: clock}), kept{}
	var last *senders.Error
	for range 4 { // cut, ended, cut, ended
		_, e := send(t, s, item(), recording(50_000), j, false)
		if e == nil {
			t.Fatal("an upload that was cut succeeded")
		}
		for name, value := range e.IDs {
			if j[name] = value; value == "" {
				delete(j, name)
			}
		}
		last = e
		pass(time.Hour)
	}
	if last.Class != senders.Held || last.Code != "target_expired" || vendor.Summary().Conversations != 2 {
		t.Fatalf("%v after %d conversations", last, vendor.Summary().Conversations)
	}
}

func TestSandboxCheck(t *testing.T) {
	_, base := fakeVoyc(t, sandbox.Options{})
	for name, change := range map[string]func(*voyc.Config){
		"ok":           func(*voyc.Config) {},
		"token":        func(c *voyc.Config) { c.Token = secret(t, "plain:other") },
		"organisation": func(c *voyc.Config) { c.OrganisationID = "4712" },
	} {
		c := config(t, base)
		change(&c)
		findings, err := sender(t, c, senders.Deps{}).Check(t.Context())
		if err != nil || len(findings) != 1 || findings[0].OK != (name == "ok") || findings[0].Stop == findings[0].OK {
			t.Errorf("%s: %+v, %v", name, findings, err)
		}
	}
}
