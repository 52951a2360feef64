package sendertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/internal/senders"
)

// Listing is a vendor's list of what it holds, by which a sender settles a
// doubt.
type Listing struct {
	// Match recognises a request for one page.
	Match func(*http.Request) bool
	// Page is the vendor's answer when it holds these, oldest first, and gives
	// at most most of them at once (0: as many as the request asks for).
	Page func(r Request, held []Held, most int) Reply
	// Unique: the vendor refuses a second recording under one key, so that it
	// never lists two.
	Unique bool
}

// Held is one recording that the vendor holds.
type Held struct {
	N int // the n that Step.OK was given, or another number of somebody else's
	// Upload is what arrived; its Step is "" for somebody else's, which was
	// uploaded under Key.
	Upload Request
	Key    string
}

const listStep = "list"

func (v *Vendor) listing(l *Listing) Step {
	return Step{Name: listStep, Match: l.Match, OK: func(r Request, _ int) Reply { return l.Page(r, v.holds(), 0) }}
}

func (v *Vendor) hold(h ...Held) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = append(v.held, h...)
}

func (v *Vendor) holds() []Held {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.held)
}

// drop takes away what the vendor held from i to j.
func (v *Vendor) drop(i, j int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = slices.Delete(v.held, min(i, len(v.held)), min(j, len(v.held)))
}

// others are recordings of somebody else.
func others(from, count int) []Held {
	list := make([]Held, count)
	for i := range list {
		list[i] = Held{N: from + i, Key: fmt.Sprintf("somebody-else-%d", from+i)}
	}
	return list
}

// ask reconciles, and checks what must hold after every question.
func (r *rig) ask(ctx context.Context) senders.Verdict {
	r.t.Helper()
	uploads, steps := len(r.vendor.seen(r.upload())), r.trace.count("journal ")
	a := r.h.attempt(r.pinned, nil)
	a.Open, a.Own, a.Began, a.IDs = nil, true, time.Now().Add(-time.Minute), r.journal.stored()
	v, err := r.sender.(senders.Reconciler).Reconcile(ctx, a)
	r.vendor.settle()
	if len(r.vendor.seen(r.upload())) != uploads || r.trace.count("journal ") != steps {
		r.t.Fatalf("a question is not only a question: %v", r.trace.all())
	}
	if n := len(r.vendor.seen(listStep)); n > 1000 {
		r.t.Fatalf("%d requests for a list", n)
	}
	if v.Text == "" {
		r.t.Fatalf("verdict without words: %+v", v)
	}
	if e := new(senders.Error); errors.As(err, &e) && (e.Class == senders.Held || e.Code == "" || e.Text == "") {
		r.t.Fatalf("%v ends the doubt, but the list may be there again later", err)
	}
	if err != nil && v.Outcome != senders.Unknown {
		r.t.Fatalf("verdict %+v beside the error %v", v, err)
	}
	noLeak(r.t, "verdict", v.Text, fmt.Sprintf("%v %+v", err, err))
	noLeak(r.t, "log", r.log.String())
	return v
}

func (r *rig) answers(want senders.Outcome) senders.Verdict {
	r.t.Helper()
	v := r.ask(r.t.Context())
	if v.Outcome != want {
		r.t.Fatalf("verdict %+v, want outcome %d", v, want)
	}
	return v
}

// loses sends once; the answer is lost.
func (r *rig) loses(stored bool) {
	r.t.Helper()
	r.vendor.on(r.upload(), 0, Fault{Drop: true, Stored: stored})
	r.media = &Media{data: r.pinned}
	r.fails(senders.InDoubt)
}

func runList(t *testing.T, newHarness func(*testing.T) Harness) {
	h := newHarness(t)
	if h.List == nil {
		if _, asks := newRig(t, newHarness).sender.(senders.Reconciler); asks && len(h.Questions) == 0 {
			t.Fatal("the sender settles doubts by asking, and its harness has neither List nor Questions to try that with")
		}
		return
	}
	rows := map[string]func(*rig){
		"answered": func(r *rig) {
			receipt := r.delivers()
			r.sameIDs(receipt.IDs, r.answers(senders.Present))
		},
		"lost answer, stored": func(r *rig) {
			r.loses(true)
			if v := r.answers(senders.Present); v.Duplicates != 0 || len(v.IDs) == 0 {
				r.t.Fatalf("%+v", v)
			}
		},
		"lost answer, not stored":       func(r *rig) { r.loses(false); r.answers(senders.Absent) },
		"the list knows it only later":  listedLater,
		"stored twice":                  storedTwice,
		"other recordings":              func(r *rig) { r.loses(false); r.vendor.hold(others(9000, 3)...); r.answers(senders.Absent) },
		"keys that are almost ours":     almostOurs,
		"many pages":                    manyPages,
		"pages shorter than asked for":  shortPages,
		"one page for every number":     onePage,
		"already cancelled":             askedTooLate,
		"pages shift back":              shiftBack,
		"a short page shifts back":      shortShiftBack,
		"pages shift on":                shiftOn,
		"pages grow at the end":         growing,
		"pages shift for ever":          restless,
		"a page that cannot be had":     func(r *rig) { brokenPages(t, newHarness) },
		"a question never hides a copy": secondCopyLater,
	}
	if h.List.Unique {
		delete(rows, "stored twice")
		delete(rows, "a question never hides a copy")
	}
	for name, run := range rows {
		t.Run(name, func(t *testing.T) { run(newRig(t, newHarness)) })
	}
}

func (r *rig) sameIDs(want map[string]string, v senders.Verdict) {
	r.t.Helper()
	for k, id := range v.IDs {
		if want[k] != id {
			r.t.Fatalf("the list says %s = %q, the answer said %q", k, id, want[k])
		}
	}
}

func listedLater(r *rig) {
	r.loses(false)
	r.answers(senders.Absent)
	r.vendor.hold(others(9000, 1)...)
	r.vendor.hold(Held{N: 1, Upload: r.vendor.seen(r.upload())[0]})
	r.answers(senders.Present)
}

func storedTwice(r *rig) {
	r.loses(true)
	first := r.answers(senders.Present)
	r.loses(true)
	v := r.answers(senders.Present)
	if v.Duplicates != 1 {
		r.t.Fatalf("%d duplicates, want 1", v.Duplicates)
	}
	for k, id := range first.IDs {
		if v.IDs[k] != id {
			r.t.Fatalf("with a second copy %s became %q, was %q", k, v.IDs[k], id)
		}
	}
}

// secondCopyLater: the second copy stands on another page than the first.
func secondCopyLater(r *rig) {
	r.loses(true)
	r.vendor.hold(others(9000, 1200)...)
	r.loses(true)
	if v := r.answers(senders.Present); v.Duplicates != 1 {
		r.t.Fatalf("%d duplicates, want 1", v.Duplicates)
	}
}

func almostOurs(r *rig) {
	r.loses(false)
	key := r.h.Item.Delivery.IdemKey
	for i, other := range []string{key + "x", "x" + key, key[:len(key)-1], strings.ToUpper(key), key + " ", "", `"`, key + "-1"} {
		r.vendor.hold(Held{N: 9000 + i, Key: other})
	}
	r.answers(senders.Absent)
}

func manyPages(r *rig) {
	r.vendor.hold(others(9000, 1700)...)
	r.loses(false)
	r.answers(senders.Absent)
	r.loses(true)
	r.vendor.hold(others(20000, 1700)...)
	r.answers(senders.Present)
}

// shortPages: the vendor gives fewer than it was asked for, so that a short
// page is not the last one.
func shortPages(r *rig) {
	r.vendor.hold(others(9000, 170)...)
	r.loses(true)
	r.vendor.hold(others(20000, 170)...)
	r.vendor.on(listStep, 0, Fault{Reply: func(q Request) Reply { return r.h.List.Page(q, r.vendor.holds(), 50) }})
	r.answers(senders.Present)
}

func onePage(r *rig) {
	r.loses(false)
	r.vendor.hold(others(9000, 3)...)
	var firstPage Request
	r.vendor.on(listStep, 0, Fault{Reply: func(q Request) Reply {
		if firstPage.Step == "" {
			firstPage = q
		}
		return r.h.List.Page(firstPage, r.vendor.holds(), 0)
	}})
	r.answers(senders.Unknown)
}

func askedTooLate(r *rig) {
	r.loses(true)
	ctx, cancel := context.WithCancel(r.t.Context())
	cancel()
	if v := r.ask(ctx); v.Outcome != senders.Unknown {
		r.t.Fatalf("%+v", v)
	}
}

// shiftBack: what was deleted on a page that has been read pulls ours onto it.
func shiftBack(r *rig) {
	r.vendor.hold(others(9000, 1200)...)
	r.loses(true)
	r.vendor.hold(others(20000, 1200)...)
	r.vendor.on(listStep, 1, Fault{Replied: func() { r.vendor.drop(0, 900) }})
	if v := r.ask(r.t.Context()); v.Outcome == senders.Absent {
		r.t.Fatalf("%+v, but the vendor holds it", v)
	}
}

// shortShiftBack: the same with one page, which looked like the last one
// because the vendor gives fewer than it was asked for.
func shortShiftBack(r *rig) {
	r.vendor.hold(others(9000, 50)...)
	r.loses(true)
	page := Fault{Reply: func(q Request) Reply { return r.h.List.Page(q, r.vendor.holds(), 50) }}
	r.vendor.on(listStep, 0, page)
	page.Replied = func() { r.vendor.drop(0, 10) }
	r.vendor.on(listStep, 1, page)
	if v := r.ask(r.t.Context()); v.Outcome == senders.Absent {
		r.t.Fatalf("%+v, but the vendor holds it", v)
	}
}

// shiftOn: what appears on a page that has been read shows others twice.
func shiftOn(r *rig) {
	r.vendor.hold(others(9000, 1200)...)
	r.loses(true)
	r.vendor.on(listStep, 1, Fault{Replied: func() {
		r.vendor.mu.Lock()
		defer r.vendor.mu.Unlock()
		r.vendor.held = append(others(20000, 700), r.vendor.held...)
	}})
	if v := r.answers(senders.Present); v.Duplicates != 0 {
		r.t.Fatalf("%+v, but the vendor holds it once", v)
	}
}

// growing: a tenant that is never quiet must not keep a doubt open.
func growing(r *rig) {
	r.vendor.hold(others(9000, 1200)...)
	r.loses(false)
	var mu sync.Mutex // what follows an answer overlaps the next request
	n := 20000
	r.vendor.on(listStep, 0, Fault{Replied: func() {
		mu.Lock()
		defer mu.Unlock()
		n += 10
		r.vendor.hold(others(n, 10)...)
	}})
	r.answers(senders.Absent)
}

func restless(r *rig) {
	r.vendor.hold(others(9000, 5000)...)
	r.loses(false)
	r.vendor.on(listStep, 0, Fault{Replied: func() { r.vendor.drop(0, 7) }})
	r.answers(senders.Unknown)
}

func brokenPages(t *testing.T, newHarness func(*testing.T) Harness) {
	faults := broken()
	for name, f := range unreadable(http.StatusOK) {
		faults[name] = f
	}
	delete(faults, "an array") // an empty list is an answer
	for _, status := range []int{204, 307, 400, 401, 403, 404, 429, 500, 503} {
		faults[fmt.Sprint(status)] = Fault{Reply: echo(status, nil)}
	}
	faults["items without an id"] = always(JSON(200, `[{"meta":"","name":null},null]`))
	for name, f := range faults {
		for _, page := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, page %d", name, page), func(t *testing.T) {
				r := newRig(t, newHarness)
				r.vendor.hold(others(9000, 510)...)
				r.loses(true)
				r.vendor.on(listStep, page, f)
				_, renews := r.h.step(Token)
				if name == "longer than 1 MiB" || name == "401" && renews { // may be asked for again, in smaller pieces or with a new token
					r.vendor.on(listStep, 0, f)
				}
				r.answers(senders.Unknown)
			})
		}
	}
}
