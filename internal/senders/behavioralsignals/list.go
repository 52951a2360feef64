package behavioralsignals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ingestd/internal/senders"
)

// How the list of processes is read. An answer of the HTTP client has at most
// 1 MiB, so pages are smaller than the 1000 that the vendor allows, and become
// smaller still when they do not fit.
const (
	firstPageSize = 500
	maxPages      = 20_000
	maxPasses     = 4
	clockMargin   = 15 * time.Minute
)

var errList = errors.New("the list of processes could not be understood")

// Reconcile implements senders.Reconciler: it looks for the delivery's key in
// the list of processes, from the first attempt to now. Absent needs a list
// that was read to its end and did not move meanwhile; whatever else happens
// is Unknown. Questions that wait at the same time share one reading.
func (c *V5) Reconcile(ctx context.Context, a senders.Attempt) (senders.Verdict, error) {
	q := &question{key: a.Delivery.IdemKey, began: a.Began}
	if err := c.readings.share(ctx, q, c.answer); err != nil {
		return senders.Verdict{Text: "stopped before the list of processes was read"}, err
	}
	return q.verdict, q.err
}

// answer reads the list for some questions, from the earliest beginning.
func (c *V5) answer(ctx context.Context, questions []*question) {
	began := questions[0].began
	found := map[string][]string{}
	for _, q := range questions {
		found[q.key] = nil
		if q.began.Before(began) {
			began = q.began // zero, not known, is before everything
		}
	}
	still, err := c.settle(ctx, began, found)
	for _, q := range questions {
		switch pids := found[q.key]; {
		case err != nil:
			q.verdict, q.err = senders.Verdict{Text: "the list of processes could not be read; the doubt stays"}, err
		case len(pids) > 0:
			q.verdict = present(pids)
		case still:
			q.verdict = senders.Verdict{Outcome: senders.Absent, Text: "no process of this project carries the recording's key"}
		default:
			q.verdict = senders.Verdict{Text: "the list of processes changed each time it was read; the doubt stays"}
		}
	}
}

// settle reads the list until every key is found, or until two readings agree:
// still is then true, and what was not found is not there.
func (c *V5) settle(ctx context.Context, began time.Time, found map[string][]string) (still bool, err error) {
	var before digest
	for range maxPasses {
		p := pass{found: found, before: before}
		if err := c.read(ctx, began, &p); err != nil {
			return false, err
		}
		if p.seen.count == 0 || p.agrees {
			return true, nil
		}
		missing := false
		for _, pids := range found {
			missing = missing || len(pids) == 0
		}
		if !missing {
			return true, nil
		}
		before = p.seen
	}
	return false, nil
}

// present names the first process of the key, which is the one to keep.
func present(pids []string) senders.Verdict {
	slices.SortFunc(pids, byNumber)
	v := senders.Verdict{
		Outcome: senders.Present, IDs: map[string]string{"pid": pids[0]},
		Text: "Behavioral Signals lists a process with the recording's key", Duplicates: len(pids) - 1,
	}
	if v.Duplicates > 0 {
		v.IDs["duplicate_pids"] = strings.Join(pids[1:], ",")
		v.Text = fmt.Sprintf("Behavioral Signals lists %d processes with the recording's key; each was charged", len(pids))
	}
	return v
}

// byNumber orders decimal numbers without leading zeros.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// pass is one reading of the list from its first page to an empty one.
//
// Pages shift when a process appears or goes between two requests. In
// ascending order a new one comes last and moves nothing, so a pass that
// begins with exactly the processes of the pass before proves that none was
// jumped over in that one. One page is no exception: the vendor may give fewer
// than it was asked for.
type pass struct {
	before digest
	agrees bool

	found map[string][]string // key that is looked for -> pids that carry it
	seen  digest
}

// digest stands for the processes of a pass in their order, in constant
// memory.
type digest struct {
	count int
	hash  maphash.Hash
}

func (d *digest) add(pid string) {
	if d.count == 0 {
		d.hash.SetSeed(listSeed)
	}
	d.count++
	_, _ = d.hash.WriteString(pid)
	_ = d.hash.WriteByte(' ')
}

var listSeed = maphash.MakeSeed()

func (p *pass) take(list []process) error {
	for _, proc := range list {
		if proc.PID == nil || !processNumber.MatchString(string(*proc.PID)) {
			return errList
		}
		pid := string(*proc.PID)
		p.seen.add(pid)
		if p.seen.count == p.before.count && p.seen.hash.Sum64() == p.before.hash.Sum64() {
			p.agrees = true
		}
		key := proc.key()
		if pids, asked := p.found[key]; asked && !slices.Contains(pids, pid) {
			p.found[key] = append(pids, pid)
		}
	}
	return nil
}

// read fills one pass. It begins again when the window grew with what an
// answer said about the vendor's clock, or when a page was too large.
func (c *V5) read(ctx context.Context, began time.Time, p *pass) error {
	clean, last := *p, ""
	window, size := c.window(began), c.pages.get()
	for page := 0; page < maxPages; page++ {
		list, err := c.page(ctx, window, page, size)
		if errors.Is(err, senders.ErrLongAnswer) && size > 1 {
			size = c.pages.shrink(size)
			*p, last, page = clean, "", -1
			continue
		}
		if err != nil {
			return err
		}
		if wider := window.and(c.window(began)); wider != window {
			window = wider
			*p, last, page = clean, "", -1
			continue
		}
		if len(list) == 0 {
			return nil
		}
		if err := p.take(list); err != nil {
			return err
		}
		first := string(*list[0].PID)
		if first == last {
			return errList // it gives one page for every number
		}
		last = first
	}
	return errList
}

// page is one request of the list: ascending, by insertion.
func (c *V5) page(ctx context.Context, w window, page, size int) ([]process, error) {
	query := url.Values{"page": {strconv.Itoa(page)}, "pageSize": {strconv.Itoa(size)}, "sort": {"asc"}, "endDate": {w.to}}
	if w.from != "" {
		query.Set("startDate", w.from)
	}
	answer, err := c.get(ctx, c.processesURL()+"?"+query.Encode(), nil)
	switch {
	case err != nil:
		return nil, err
	case answer.Status != http.StatusOK:
		e := c.failed(answer)
		if e.Class == senders.Held {
			e.Class = senders.Refused // a redirect may go away: no reason to give up asking
		}
		if e.Class == senders.RateLimited { // of an upload the pipeline sees it, of a question only we do
			c.deps.Lane.Pause(c.deps.Now().Add(e.RetryAfter), e.Code)
		}
		return nil, e
	case answer.BodyErr != nil:
		e := c.failed(answer)
		e.Err = answer.BodyErr
		return nil, e
	}
	var list []process
	if json.Unmarshal(answer.Body, &list) != nil || list == nil {
		return nil, errList
	}
	return list, nil
}

// window is the range of days that is asked for; both are inclusive.
type window struct{ from, to string }

// window reaches from 15 minutes before the first attempt to 15 minutes after
// now, on the vendor's clock as its answers show it. The filter takes whole
// days of a zone that is not documented, so it is one day wider on each side.
// A first attempt that is yet to come shows that our clock was set back: then
// the whole list is asked for.
func (c *V5) window(began time.Time) window {
	skew := c.clock.skew()
	now := c.deps.Now()
	w := window{to: day(now.Add(clockMargin+max(skew, 0)), 1)}
	if !began.IsZero() && !began.After(now) {
		w.from = day(began.Add(min(skew, 0)-clockMargin), -1)
	}
	return w
}

// and is the range that covers both, so that it only ever grows.
func (w window) and(o window) window {
	return window{from: min(w.from, o.from), to: max(w.to, o.to)}
}

func day(t time.Time, more int) string { return t.UTC().AddDate(0, 0, more).Format(time.DateOnly) }

// vendorClock is how far the vendor's clock is ahead of ours, from the Date of
// its latest answer. The zero value knows nothing.
type vendorClock struct{ ahead atomic.Int64 }

func (v *vendorClock) note(a senders.Answer, now time.Time) {
	if at, err := http.ParseTime(a.Header.Get("Date")); err == nil {
		v.ahead.Store(int64(at.Sub(now)))
	}
}

func (v *vendorClock) skew() time.Duration { return time.Duration(v.ahead.Load()) }

// pageSize is how many processes fit into an answer, as far as it is known.
type pageSize struct{ smaller atomic.Int64 }

func (s *pageSize) get() int {
	if n := s.smaller.Load(); n > 0 {
		return int(n)
	}
	return firstPageSize
}

// shrink halves a size that was too large, unless another reader did already.
func (s *pageSize) shrink(from int) int {
	if now := s.get(); now < from {
		return now
	}
	s.smaller.Store(int64(from / 2))
	return from / 2
}
