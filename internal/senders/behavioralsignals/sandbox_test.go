package behavioralsignals_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/sandbox"
	"ingestd/internal/senders"
	"ingestd/internal/senders/behavioralsignals"
	"ingestd/internal/senders/sendertest"
)

type still struct{ *bytes.Reader }

func (still) Close() error  { return nil }
func (still) Verify() error { return nil }

// quiet is a journal that takes everything down.
type quiet struct{}

func (quiet) Declaring() error                 { return nil }
func (quiet) Declared(map[string]string) error { return nil }
func (quiet) Sending(map[string]string) error  { return nil }
func (quiet) Committing() error                { return nil }

// clock only moves when told; vendor and sender share it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// tenant is a fake project and a sender for it.
type tenant struct {
	t      *testing.T
	vendor *sandbox.BehavioralSignals
	sender senders.Sender
	clock  *clock
	item   call.Item
	data   []byte
	began  time.Time
}

func newTenant(t *testing.T, api string, u sandbox.BehavioralUnknowns, faults ...sandbox.Fault) *tenant {
	t.Helper()
	n := &tenant{t: t, clock: &clock{now: time.Now()}, item: item(), data: bytes.Repeat([]byte("ingestd!"), 20_000)}
	o := sandbox.Options{
		ClientID: "4711", ClientSecret: sendertest.Secret, RatePerMinute: -1, Faults: faults,
		Now: n.clock.Now, BehavioralSignals: u, KeepDir: t.TempDir(),
	}
	if n.vendor = sandbox.NewBehavioralSignals(o); api == "legacy" {
		n.vendor = sandbox.NewBehavioralSignalsLegacy(o)
	}
	server := httptest.NewServer(n.vendor)
	t.Cleanup(server.Close)
	t.Cleanup(n.vendor.Close)
	n.sender = sender(t, config(t, api, server.URL), senders.Deps{Now: n.clock.Now})
	sum := sha256.Sum256(n.data)
	n.item.File.Bytes, n.item.File.SHA256 = int64(len(n.data)), hex.EncodeToString(sum[:])
	n.began = n.clock.Now()
	return n
}

func sender(t *testing.T, c behavioralsignals.Config, d senders.Deps) senders.Sender {
	t.Helper()
	s, err := behavioralsignals.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (n *tenant) send() (senders.Receipt, error) {
	return n.sender.Send(n.t.Context(), senders.Attempt{Item: n.item, Number: 1, Open: func() (senders.Media, error) {
		return still{bytes.NewReader(n.data)}, nil
	}}, quiet{})
}

func (n *tenant) ask() senders.Verdict {
	n.t.Helper()
	v, err := n.sender.(senders.Reconciler).Reconcile(n.t.Context(), senders.Attempt{Item: n.item, Number: 1, Began: n.began})
	if err != nil && v.Outcome != senders.Unknown {
		n.t.Fatalf("%+v, %v", v, err)
	}
	return v
}

// settle is what the pipeline does with a doubt: absent must be said twice,
// ten minutes apart, before the recording is sent again. It returns the
// attempts that were needed and the vendor's number for it.
func (n *tenant) settle() (attempts int, pid string) {
	n.t.Helper()
	for attempts = 1; attempts < 5; attempts++ {
		receipt, err := n.send()
		if err == nil {
			return attempts, receipt.IDs["pid"]
		}
		e := new(senders.Error)
		if !errors.As(err, &e) || e.Class == senders.Held || e.Class == senders.Rejected {
			n.t.Fatal(err)
		}
		absent := 0
		for step := 0; e.Class == senders.InDoubt && absent < 2; step++ {
			v := n.ask()
			if v.Outcome == senders.Present {
				return attempts, v.IDs["pid"]
			}
			if absent++; v.Outcome != senders.Absent {
				absent = 0
			}
			if step > 20 {
				n.t.Fatalf("never settled: %+v", v)
			}
			n.clock.Add(10 * time.Minute)
		}
	}
	n.t.Fatal("never delivered")
	return 0, ""
}

// Under every unknown and every fault: one process, with the source's bytes,
// and the number that the sender reports is that of the process.
func TestSandboxExactlyOneProcess(t *testing.T) {
	media := func(k sandbox.Kind) sandbox.Fault {
		return sandbox.Fault{Kind: k, Route: sandbox.RouteMedia, First: 1}
	}
	status := func(k sandbox.Kind, code int) sandbox.Fault {
		f := media(k)
		f.Status = code
		return f
	}
	list := func(k sandbox.Kind) sandbox.Fault {
		f := sandbox.Fault{Kind: k, Route: sandbox.RouteList, First: 2}
		if k == sandbox.Status {
			f.Status = 500
		}
		return f
	}
	faults := map[string]struct {
		faults   []sandbox.Fault
		attempts int
	}{
		"none":                         {nil, 1},
		"stored, no answer":            {[]sandbox.Fault{media(sandbox.DropStored)}, 1},
		"lost, no answer":              {[]sandbox.Fault{media(sandbox.DropLost)}, 2},
		"stored, 500":                  {[]sandbox.Fault{status(sandbox.StatusStored, 500)}, 1},
		"stored, 503 of a gateway":     {[]sandbox.Fault{status(sandbox.StatusStored, 503)}, 1},
		"stored, 504":                  {[]sandbox.Fault{status(sandbox.StatusStored, 504)}, 1},
		"not stored, 503 of the API":   {[]sandbox.Fault{status(sandbox.Status, 503)}, 2},
		"not stored, 502":              {[]sandbox.Fault{status(sandbox.Status, 502)}, 2},
		"429 before the body":          {[]sandbox.Fault{status(sandbox.Early, 429)}, 2},
		"half a body":                  {[]sandbox.Fault{{Kind: sandbox.DropMid, Route: sandbox.RouteMedia, First: 1, AfterBytes: 5000}}, 2},
		"a number of a megabyte":       {[]sandbox.Fault{media(sandbox.IDHuge)}, 1},
		"a login page":                 {[]sandbox.Fault{media(sandbox.HTML)}, 1},
		"half an answer":               {[]sandbox.Fault{media(sandbox.Truncated)}, 1},
		"no answer and no list twice":  {[]sandbox.Fault{media(sandbox.DropStored), list(sandbox.Status)}, 1},
		"no answer and half a list":    {[]sandbox.Fault{media(sandbox.DropStored), list(sandbox.Truncated)}, 1},
		"no answer and a page of HTML": {[]sandbox.Fault{media(sandbox.DropStored), list(sandbox.HTML)}, 1},
	}
	unknowns := map[string]sandbox.BehavioralUnknowns{
		"plain":        {},
		"listed late":  {ListingDelay: 9 * time.Minute},
		"short pages":  {ListingMost: 100, Busy: 3},
		"other texts":  {MetaRewritten: true, CIDText: true, PlainTimes: true},
		"days of Guam": {Zone: time.FixedZone("ChST", 10*3600)},
		"days of Niue": {Zone: time.FixedZone("NUT", -11*3600)},
	}
	for name, u := range unknowns {
		for fault, c := range faults {
			t.Run(name+", "+fault, func(t *testing.T) {
				n := newTenant(t, "v5", u, c.faults...)
				n.vendor.Busy("4711", 510)
				attempts, pid := n.settle()
				n.vendor.Busy("4711", 10)
				all := n.vendor.Stored()
				if len(all) != 1 || attempts != c.attempts {
					t.Fatalf("%d processes after %d attempts, want 1 and %d", len(all), attempts, c.attempts)
				}
				if got := all[0]; got.ID != pid || got.Key != key || got.SHA256 != n.item.File.SHA256 || got.Bytes != n.item.File.Bytes {
					t.Errorf("%+v, reported as %s", got, pid)
				}
				if s := n.vendor.Summary(); s.Credits != 1 {
					t.Errorf("%d credits", s.Credits)
				}
			})
		}
	}
}

// A list that lags longer than the settle time is beyond what can be known:
// the copy is then found and said.
func TestSandboxLagBeyondSettleIsTold(t *testing.T) {
	n := newTenant(t, "v5", sandbox.BehavioralUnknowns{ListingDelay: time.Hour},
		sandbox.Fault{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 2})
	if _, err := n.send(); err == nil {
		t.Fatal("the answer was to be lost")
	}
	if v := n.ask(); v.Outcome != senders.Absent {
		t.Fatalf("%+v", v)
	}
	if _, err := n.send(); err == nil {
		t.Fatal("the answer was to be lost")
	}
	n.clock.Add(2 * time.Hour)
	v := n.ask()
	if v.Outcome != senders.Present || v.Duplicates != 1 || v.IDs["duplicate_pids"] == "" {
		t.Fatalf("%+v", v)
	}
	first, _ := strconv.Atoi(v.IDs["pid"])
	second, _ := strconv.Atoi(v.IDs["duplicate_pids"])
	if first >= second {
		t.Errorf("kept %d, reported %d: the first is the one to keep", first, second)
	}
}

// Processes that go away between two pages pull ours onto one that was read.
func TestSandboxShiftingPages(t *testing.T) {
	for _, cleaned := range []int{1, 49, 50, 60, 100, 300} {
		n := newTenant(t, "v5", sandbox.BehavioralUnknowns{ListingMost: 50, Cleaned: cleaned},
			sandbox.Fault{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 1})
		n.vendor.Busy("4711", 800)
		if _, err := n.send(); err == nil {
			t.Fatal("the answer was to be lost")
		}
		v := n.ask()
		for asked := 0; v.Outcome == senders.Unknown && asked < 10; asked++ {
			v = n.ask()
		}
		if v.Outcome != senders.Present || v.Duplicates != 0 {
			t.Errorf("%d cleaned after each answer: %+v, but the vendor holds it once", cleaned, v)
		}
	}
}

// Legacy has nothing to ask: a doubt stays one, a promise of "not queued" is
// believed, and there is never a second process without an order.
func TestSandboxLegacy(t *testing.T) {
	for name, c := range map[string]struct {
		fault sandbox.Fault
		want  senders.Class // "": accepted
		held  int
	}{
		"none":              {sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteMedia}, "", 1},
		"stored, no answer": {sandbox.Fault{Kind: sandbox.DropStored, Route: sandbox.RouteMedia}, senders.InDoubt, 1},
		"lost, no answer":   {sandbox.Fault{Kind: sandbox.DropLost, Route: sandbox.RouteMedia}, senders.InDoubt, 0},
		"not queued":        {sandbox.Fault{Kind: sandbox.Status, Route: sandbox.RouteMedia, Status: 503}, senders.Refused, 0},
		"a gateway's 503":   {sandbox.Fault{Kind: sandbox.StatusStored, Route: sandbox.RouteMedia, Status: 503}, senders.InDoubt, 1},
		"429":               {sandbox.Fault{Kind: sandbox.Status, Route: sandbox.RouteMedia, Status: 429}, senders.RateLimited, 0},
		"id of a path":      {sandbox.Fault{Kind: sandbox.IDPath, Route: sandbox.RouteMedia}, senders.Held, 1},
	} {
		for _, id := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				n := newTenant(t, "legacy", sandbox.BehavioralUnknowns{IDForPID: id}, c.fault)
				receipt, err := n.send()
				e := new(senders.Error)
				if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &e) || e.Class != c.want) {
					t.Fatalf("%v, want %q", err, c.want)
				}
				all := n.vendor.Stored()
				if len(all) != c.held {
					t.Fatalf("%d processes, want %d", len(all), c.held)
				}
				if c.want == "" && (all[0].ID != receipt.IDs["pid"] || all[0].Key != key) {
					t.Errorf("%+v, %v", all[0], receipt)
				}
				if _, ok := n.sender.(senders.Reconciler); ok {
					t.Error("the legacy API cannot be asked, but the sender says it can")
				}
			})
		}
	}
}

func TestSandboxCheck(t *testing.T) {
	for _, api := range []string{"v5", "legacy"} {
		n := newTenant(t, api, sandbox.BehavioralUnknowns{})
		findings, err := n.sender.(senders.Checker).Check(t.Context())
		if err != nil || len(findings) != 1 || !findings[0].OK {
			t.Errorf("%s: %+v, %v", api, findings, err)
		}
		if err := n.vendor.SetFaults(sandbox.Fault{Kind: sandbox.Early, Route: sandbox.RouteConfig, Status: 401}); err != nil {
			t.Fatal(err)
		}
		findings, err = n.sender.(senders.Checker).Check(t.Context())
		if err != nil || len(findings) != 1 || findings[0].OK || !findings[0].Stop {
			t.Errorf("%s, refused: %+v, %v", api, findings, err)
		}
		if err := n.vendor.SetFaults(sandbox.Fault{Kind: sandbox.Early, Route: sandbox.RouteConfig, Status: 500}); err != nil {
			t.Fatal(err)
		}
		if _, err = n.sender.(senders.Checker).Check(t.Context()); err == nil {
			t.Errorf("%s: a fault of the vendor is no finding", api)
		}
	}
}

func TestSandboxConfirm(t *testing.T) {
	for name, c := range map[string]struct {
		u    sandbox.BehavioralUnknowns
		want senders.Outcome
	}{
		"complete":   {sandbox.BehavioralUnknowns{}, senders.Present},
		"pending":    {sandbox.BehavioralUnknowns{ProcessFor: time.Hour}, senders.Unknown},
		"no credits": {sandbox.BehavioralUnknowns{FailAs: -2}, senders.Void},
		"failed":     {sandbox.BehavioralUnknowns{FailAs: -3}, senders.Void},
	} {
		n := newTenant(t, "v5", c.u)
		receipt, err := n.send()
		if err != nil {
			t.Fatal(err)
		}
		confirm := func(ids map[string]string) (senders.Verdict, error) {
			return n.sender.(senders.Confirmer).Confirm(t.Context(), senders.Attempt{Item: n.item, IDs: ids})
		}
		v, err := confirm(receipt.IDs)
		if v.Outcome != c.want || v.Text == "" || err != nil {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		if v, err := confirm(nil); v.Outcome != senders.Unknown || err == nil {
			t.Errorf("%s: without a number: %+v, %v", name, v, err)
		}
		if v, err := confirm(map[string]string{"pid": "999"}); v.Outcome != senders.Unknown || err == nil {
			t.Errorf("%s: an unknown number: %+v, %v", name, v, err)
		}
	}
}
