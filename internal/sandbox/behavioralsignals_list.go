package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Process is one upload that arrived whole. Each is charged, also the second
// of one recording.
type Process struct {
	PID        int64             `json:"pid"`
	CID        string            `json:"cid"`
	Name       *string           `json:"name"`
	Meta       *string           `json:"meta"`
	Query      map[string]string `json:"query,omitempty"` // legacy
	FileName   string            `json:"file_name"`
	Bytes      int64             `json:"bytes"`
	SHA256     string            `json:"sha256"` // hex
	InsertedAt time.Time         `json:"inserted_at"`
	File       string            `json:"file,omitempty"` // where it is kept
	// Others: of another client of the project, see Busy.
	Others bool `json:"others,omitempty"`
}

// number gives out the next pid.
func (v *BehavioralSignals) number() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last++
	return v.last
}

// insert makes an upload a process.
func (v *BehavioralSignals) insert(p *Process) {
	v.mu.Lock()
	p.InsertedAt = v.now()
	v.processes = append(v.processes, p)
	v.byPID[p.PID] = p
	v.uploads++
	made := *p
	v.mu.Unlock()
	v.log.Info("process", "pid", made.PID, "bytes", made.Bytes)
	if v.o.OnStored != nil {
		v.o.OnStored(v.stored(&made))
	}
}

// Busy adds processes of another client of the same project, as its samples
// show them: with meta, with an empty one, without.
func (v *BehavioralSignals) Busy(cid string, count int) {
	empty, meta := "", `{"batch": 7}`
	for range count {
		p := &Process{PID: v.number(), CID: cid, InsertedAt: v.now(), Others: true}
		name := fmt.Sprintf("batch-%d", p.PID)
		p.Name, p.Meta = &name, [...]*string{nil, &empty, &meta}[p.PID%3]
		v.mu.Lock()
		v.processes = append(v.processes, p)
		v.byPID[p.PID] = p
		v.mu.Unlock()
	}
}

// Forget removes the oldest processes of other clients, as a cleaning would,
// so that the pages of the list shift.
func (v *BehavioralSignals) Forget(count int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.processes = slices.DeleteFunc(v.processes, func(p *Process) bool {
		count--
		return p.Others && count >= 0
	})
}

// list is GET /clients/{cid}/processes: a bare array, without a total.
func (v *BehavioralSignals) list(x *exchange, cid string) {
	ask, bad := listQuery(x.r.URL.Query(), v.u.Zone)
	if bad != nil {
		x.vendorRefuses(bad)
		return
	}
	page := v.page(cid, ask)
	defer func() { // also when the answer is lost
		v.Busy(cid, v.u.Busy)
		v.Forget(v.u.Cleaned)
	}()
	v.tell(x, page)
}

type listAsk struct {
	page, size int
	descending bool
	from, to   time.Time // zero: no bound; to is exclusive
}

func listQuery(q url.Values, zone *time.Location) (listAsk, *refusal) {
	ask := listAsk{size: behavioralMaxPage, descending: q.Get("sort") == "desc"}
	var err error
	if s := q.Get("page"); s != "" {
		if ask.page, err = strconv.Atoi(s); err != nil || ask.page < 0 {
			return ask, badRequest("page must be a number from 0.")
		}
	}
	if s := q.Get("pageSize"); s != "" {
		if ask.size, err = strconv.Atoi(s); err != nil || ask.size < 1 || ask.size > behavioralMaxPage {
			return ask, badRequest("pageSize must be a number from 1 to %d.", behavioralMaxPage)
		}
	}
	if s := q.Get("sort"); s != "" && s != "asc" && s != "desc" {
		return ask, badRequest("sort must be asc or desc.")
	}
	for _, day := range []struct {
		name string
		to   *time.Time
		more int
	}{{"startDate", &ask.from, 0}, {"endDate", &ask.to, 1}} {
		if s := q.Get(day.name); s != "" {
			at, err := time.ParseInLocation(time.DateOnly, s, zone)
			if err != nil {
				return ask, badRequest("%s must be a day, YYYY-MM-DD.", day.name)
			}
			*day.to = at.AddDate(0, 0, day.more)
		}
	}
	return ask, nil
}

// page is one page of what the list shows now.
func (v *BehavioralSignals) page(cid string, ask listAsk) []map[string]any {
	v.mu.Lock()
	defer v.mu.Unlock()
	shown := v.bench.now().Add(-v.u.ListingDelay)
	var all []*Process
	for _, p := range v.processes {
		late := p.InsertedAt.After(shown) && !p.Others
		if p.CID != cid || late || p.InsertedAt.Before(ask.from) || !ask.to.IsZero() && !p.InsertedAt.Before(ask.to) {
			continue
		}
		all = append(all, p)
	}
	if ask.descending {
		slices.Reverse(all)
	}
	size := min(ask.size, v.u.ListingMost)
	out := []map[string]any{}
	for _, p := range all[min(ask.page*size, len(all)):min((ask.page+1)*size, len(all))] {
		out = append(out, v.object(p, false))
	}
	return out
}

// status is GET .../{pid}.
func (v *BehavioralSignals) status(x *exchange, cid, number string) {
	pid, err := strconv.ParseInt(number, 10, 64)
	v.mu.Lock()
	p := v.byPID[pid]
	v.mu.Unlock()
	if err != nil || p == nil || p.CID != cid {
		x.vendorRefuses(&refusal{http.StatusNotFound, "There is no such process."})
		return
	}
	v.tell(x, v.object(p, false))
}

// object is a process as the API shows it.
func (v *BehavioralSignals) object(p *Process, fresh bool) map[string]any {
	status, word := v.state(p, fresh)
	at := p.InsertedAt.UTC().Format("2006-01-02T15:04:05.000Z")
	if v.u.PlainTimes {
		at = p.InsertedAt.UTC().Format("2006-01-02T15:04:05.000000000")
	}
	return map[string]any{
		"pid": p.PID, "cid": v.cid(p.CID), "name": p.Name, "meta": v.meta(p.Meta),
		"status": status, "statusmsg": word, "duration": 0, "datetime": at,
	}
}

// state goes from pending over processing to the end.
func (v *BehavioralSignals) state(p *Process, fresh bool) (int, string) {
	age := v.bench.now().Sub(p.InsertedAt)
	switch {
	case fresh || age < v.u.ProcessFor/2:
		return 0, "pending"
	case age < v.u.ProcessFor:
		return 1, "processing"
	case v.u.FailAs != 0:
		return v.u.FailAs, map[int]string{-2: "insufficient credits"}[v.u.FailAs]
	}
	return 2, "complete"
}

func (v *BehavioralSignals) meta(meta *string) *string {
	var parsed any
	if meta == nil || !v.u.MetaRewritten || json.Unmarshal([]byte(*meta), &parsed) != nil {
		return meta
	}
	again := string(encode(parsed))
	return &again
}

// other is a number that belongs to another upload, or to none.
func (v *BehavioralSignals) other(pid int64) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range slices.Backward(v.processes) {
		if p.PID != pid {
			return p.PID
		}
	}
	return pid + 1_000_000
}
