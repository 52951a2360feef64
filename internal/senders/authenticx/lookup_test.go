package authenticx_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/sandbox/pipenet"
	"ingestd/internal/senders"
	"ingestd/internal/senders/sendertest"
)

// tenant is an organisation whose answers a test writes.
type tenant struct {
	url    string
	refuse string               // the text of a 400 to uploads; "": they are stored
	list   func(url.Values) any // GET /Metadata: a value for JSON, or an int status
	tree   any                  // GET /Hierarchy/All: the same
	token  int                  // status of token requests; 0: 200

	mu      sync.Mutex
	names   []string
	queries []url.Values
	asked   int // for hierarchies
}

func newTenant(t *testing.T) *tenant {
	v := &tenant{}
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	v.url = s.URL
	return v
}

func (v *tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answer := func(a any) {
		if status, ok := a.(int); ok {
			w.WriteHeader(status)
			fmt.Fprint(w, sendertest.Phone)
			return
		}
		_ = json.NewEncoder(w).Encode(a)
	}
	switch r.URL.Path {
	case "/connect/token":
		if v.token != 0 {
			w.WriteHeader(v.token)
		}
		answer(map[string]any{"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
	case "/Media/Upload":
		body, _ := io.ReadAll(r.Body)
		name := nameIn(sendertest.Request{Header: r.Header, Body: body})
		v.names = append(v.names, name)
		if v.refuse != "" {
			w.WriteHeader(400)
			fmt.Fprint(w, v.refuse)
			return
		}
		answer(map[string]any{"id": interactionID(len(v.names)), "fileName": "/extmedia/" + name + ".acxMedia", "fileSizeKb": 1})
	case "/Metadata":
		v.queries = append(v.queries, r.URL.Query())
		answer(v.list(r.URL.Query()))
	case "/Hierarchy/All":
		v.asked++
		answer(v.tree)
	default:
		w.WriteHeader(404)
	}
}

var content = []byte("a recording")

func (v *tenant) item() call.Item {
	i := item()
	sum := sha256.Sum256(content)
	i.File.Bytes, i.File.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
	return i
}

type still struct{ *bytes.Reader }

func (still) Close() error  { return nil }
func (still) Verify() error { return nil }

// notes is a journal that keeps the ids.
type notes struct{ ids map[string]string }

func (n *notes) Declaring() error                    { return errors.New("there is no step 1") }
func (n *notes) Declared(map[string]string) error    { return errors.New("there is no step 1") }
func (n *notes) Sending(ids map[string]string) error { n.ids = ids; return nil }
func (n *notes) Committing() error                   { return nil }

func (v *tenant) send(t *testing.T, s senders.Sender, a senders.Attempt) (senders.Receipt, error) {
	t.Helper()
	a.Open = func() (senders.Media, error) { return still{bytes.NewReader(content)}, nil }
	if v.list == nil {
		v.list = func(url.Values) any { return []any{} }
	}
	return s.Send(t.Context(), a, &notes{})
}

func entry(id, name string) map[string]any {
	return map[string]any{"id": id, "origFileName": name, "fileName": name + ".acxMedia", "fileSizeKiloBytes": 4032}
}

// Our own second upload is accepted, with the id if the vendor tells it.
func TestDuplicateOfOurOwn(t *testing.T) {
	for name, c := range map[string]struct {
		list func(url.Values) any
		id   string
		code string // held
	}{
		"listed":        {func(url.Values) any { return []any{entry(anID, key+".wav")} }, anID, ""},
		"with a folder": {func(url.Values) any { return []any{entry(anID, `\\x\`+key+".wav")} }, anID, ""},
		"not listed":    {func(url.Values) any { return []any{} }, "", "duplicate_unlisted"},
		"another's":     {func(q url.Values) any { return lastPage(q, entry(anID, "other.wav")) }, "", "duplicate_unlisted"},
		"broken":        {func(url.Values) any { return map[string]string{"error": "x"} }, "", ""},
		"fault":         {func(url.Values) any { return 500 }, "", ""},
		"forbidden":     {func(url.Values) any { return 403 }, "", ""},
		"bad id":        {func(url.Values) any { return []any{entry("../x", key+".wav")} }, "", ""},
	} {
		v := newTenant(t)
		v.refuse, v.list = "An interaction with this file name already exists.", c.list
		receipt, err := v.send(t, sender(t, config(t, v.url), senders.Deps{}), senders.Attempt{Item: v.item(), Own: true, Number: 2})
		if c.code != "" {
			if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Held || e.Code != c.code {
				t.Errorf("%s: %v, want %s", name, err, c.code)
			}
			continue
		}
		if err != nil || !receipt.Duplicate || receipt.IDs["authenticx_id"] != c.id || receipt.IDs["file_name"] != key+".wav" || receipt.IDs["client_call_id"] != key {
			t.Errorf("%s: %+v, %v", name, receipt, err)
		}
	}
}

// A name that this ledger never sent is held, with what the vendor counts.
func TestDuplicateOfSomebodyElse(t *testing.T) {
	v := newTenant(t)
	v.refuse, v.list = `"An interaction with this file name already exists."`, func(url.Values) any { return []any{entry(anID, key+".wav")} }
	_, err := v.send(t, sender(t, config(t, v.url), senders.Deps{}), senders.Attempt{Item: v.item(), Number: 1})
	e := new(senders.Error)
	if !errors.As(err, &e) || e.Class != senders.Held || e.Code != "duplicate_foreign" || !strings.Contains(e.Text, "4032 KB") {
		t.Fatalf("%v", err)
	}
}

// Only under the name that was sent does the vendor notice a second upload:
// a configuration that changed meanwhile does not change it.
func TestFileNameOfAnEarlierAttemptStays(t *testing.T) {
	v := newTenant(t)
	c := config(t, v.url)
	c.FileNamePrefix = "new/folder"
	a := senders.Attempt{Item: v.item(), Number: 2, IDs: map[string]string{"file_name": "old/" + key + ".wav"}}
	receipt, err := v.send(t, sender(t, c, senders.Deps{}), a)
	if err != nil || len(v.names) != 1 || v.names[0] != "old/"+key+".wav" || receipt.IDs["file_name"] != v.names[0] {
		t.Fatalf("%v, %+v, %v", v.names, receipt, err)
	}
}

func TestReconcile(t *testing.T) {
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	ids := map[string]string{"file_name": "acme/" + key + ".wav", "client_call_id": "call 7"}
	page := func(n int) []any { // full pages of others' uploads
		var out []any
		for i := range 3 {
			out = append(out, entry(fmt.Sprintf("%08d-0000-4000-8000-%012d", n, i), "other.wav"))
		}
		return out
	}
	for name, c := range map[string]struct {
		ids  map[string]string
		list func(url.Values) any
		want senders.Outcome
		err  senders.Class // instead of a verdict
	}{
		"present": {ids, func(url.Values) any { return []any{entry(anID, "acme/"+key+".wav")} }, senders.Present, ""},
		"present, stored name": {ids, func(url.Values) any {
			return []any{map[string]any{"Id": anID, "FileName": "/x/" + key + ".wav.acxMedia"}}
		}, senders.Present, ""},
		"absent": {ids, func(url.Values) any { return []any{} }, senders.Absent, ""},
		"others only": {ids, func(q url.Values) any {
			if q.Has("LastId") {
				return []any{}
			}
			return page(1)
		}, senders.Absent, ""},
		"on the second page": {ids, func(q url.Values) any {
			if q.Get("LastId") == "00000001-0000-4000-8000-000000000002" {
				return []any{entry(anID, key+".wav")}
			}
			return page(1)
		}, senders.Present, ""},
		"the same page for ever": {ids, func(url.Values) any { return page(1) }, senders.Unknown, ""},
		"no end": {ids, func(q url.Values) any {
			n := 0
			fmt.Sscanf(q.Get("LastId"), "%d", &n)
			return page(n + 1)
		}, senders.Unknown, ""},
		"longer name":        {ids, func(q url.Values) any { return lastPage(q, entry(anID, key+".wav.wav")) }, senders.Absent, ""},
		"hostile id":         {ids, func(url.Values) any { return []any{entry("a\r\nb", key+".wav")} }, senders.Unknown, ""},
		"null":               {ids, func(url.Values) any { return nil }, senders.Unknown, ""},
		"object":             {ids, func(url.Values) any { return map[string]any{} }, senders.Unknown, ""},
		"401":                {ids, func(url.Values) any { return 401 }, senders.Unknown, senders.Auth},
		"403":                {ids, func(url.Values) any { return 403 }, senders.Unknown, ""},
		"404":                {ids, func(url.Values) any { return 404 }, senders.Unknown, ""},
		"429":                {ids, func(url.Values) any { return 429 }, senders.Unknown, senders.RateLimited},
		"500":                {ids, func(url.Values) any { return 500 }, senders.Unknown, senders.Refused},
		"no call id":         {map[string]string{"file_name": "x"}, nil, senders.Unknown, ""},
		"nothing journalled": {nil, nil, senders.Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := newTenant(t)
			v.list = c.list
			s := sender(t, config(t, v.url), senders.Deps{Now: func() time.Time { return now }})
			verdict, err := s.Reconcile(t.Context(), senders.Attempt{Item: v.item(), IDs: c.ids, Began: now.Add(-2 * time.Hour)})
			if c.err != "" {
				e := new(senders.Error)
				if !errors.As(err, &e) || e.Class != c.err || strings.Contains(e.Error(), "5550199") {
					t.Fatalf("%+v, %v, want %s", verdict, err, c.err)
				}
				return
			}
			if err != nil || verdict.Outcome != c.want || verdict.Text == "" {
				t.Fatalf("%+v, %v", verdict, err)
			}
			if (verdict.IDs["authenticx_id"] == anID) != (c.want == senders.Present) {
				t.Fatalf("%+v", verdict)
			}
			if name == "the same page for ever" && len(v.queries) != 2 {
				t.Fatalf("asked %d times", len(v.queries))
			}
			for _, q := range v.queries {
				if q.Get("ClientCallId") != "call 7" || q.Get("StartDate") != "2026-11-13T08:00:00Z" || q.Get("EndDate") != "2026-11-20T11:00:00Z" {
					t.Fatalf("asked for %v", q)
				}
			}
		})
	}
}

func lastPage(q url.Values, e any) []any {
	if q.Has("LastId") {
		return []any{}
	}
	return []any{e}
}

func tree() any {
	return []any{map[string]any{
		"id": anID, "code": "Root", "hierarchyCodes": []string{"AD1"},
		"children": []any{map[string]any{"id": "11111111-2222-4333-8444-555555555555", "code": "Leaf"}},
	}}
}

// A hierarchy that the organisation does not have is refused before a byte is
// sent; a list that cannot be had refuses nothing.
func TestHierarchy(t *testing.T) {
	for name, c := range map[string]struct {
		tree   any
		fields map[string]string
		ok     bool
		asked  int
	}{
		"none named":   {tree(), nil, true, 0},
		"root":         {tree(), map[string]string{"HierarchyCode": "Root"}, true, 1},
		"other case":   {tree(), map[string]string{"HierarchyCode": "root"}, true, 1},
		"further code": {tree(), map[string]string{"HierarchyCode": "AD1"}, true, 1},
		"child":        {tree(), map[string]string{"HierarchyCode": "Leaf"}, true, 1},
		"id":           {tree(), map[string]string{"HierarchyId": strings.ToUpper(anID)}, true, 1},
		"unknown code": {tree(), map[string]string{"HierarchyCode": "Nope"}, false, 1},
		"unknown id":   {tree(), map[string]string{"HierarchyId": "99999999-2222-4333-8444-555555555555"}, false, 1},
		"no list":      {500, map[string]string{"HierarchyCode": "Nope"}, true, 1},
		"forbidden":    {403, map[string]string{"HierarchyCode": "Nope"}, true, 1},
		"404":          {404, map[string]string{"HierarchyCode": "Nope"}, true, 1},
	} {
		v := newTenant(t)
		v.tree = c.tree
		_, err := v.send(t, sender(t, config(t, v.url), senders.Deps{Fields: constant(c.fields)}), senders.Attempt{Item: v.item()})
		e := new(senders.Error)
		if (err == nil) != c.ok || v.asked != c.asked || (len(v.names) == 1) != c.ok {
			t.Errorf("%s: %v, %d uploads, asked %d times", name, err, len(v.names), v.asked)
		}
		if !c.ok && (!errors.As(err, &e) || e.Class != senders.Rejected || e.Code != "unknown_hierarchy") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The list is asked for once an hour, and once a minute for a name that it
// does not have: a hierarchy that was created meanwhile is found.
func TestHierarchyIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &tenant{url: "http://127.0.0.1:1", tree: tree()}
		ln := pipenet.Listen()
		server := &http.Server{Handler: v}
		go func() { _ = server.Serve(ln) }()
		defer server.Close()
		code := "Leaf"
		s := sender(t, config(t, v.url), senders.Deps{Dial: ln.DialContext, Fields: func(call.Item) (map[string]string, error) {
			return map[string]string{"HierarchyCode": code}, nil
		}})
		attempt := func(ok bool, asked int) {
			t.Helper()
			if _, err := v.send(t, s, senders.Attempt{Item: v.item()}); (err == nil) != ok || v.asked != asked {
				t.Fatalf("%v, asked %d times, want %d", err, v.asked, asked)
			}
		}
		attempt(true, 1)
		time.Sleep(30 * time.Second)
		attempt(true, 1)
		code = "New"
		attempt(false, 1) // not a minute ago
		time.Sleep(31 * time.Second)
		attempt(false, 2)
		v.tree = []any{map[string]any{"id": anID, "code": "New"}}
		time.Sleep(61 * time.Second)
		attempt(true, 3)
		time.Sleep(time.Hour + time.Second)
		attempt(true, 4)

		// Many workers ask once, and one that is stopped does not wait.
		time.Sleep(time.Hour + time.Second)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { attempt(true, 5) })
		}
		wg.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Send(ctx, senders.Attempt{Item: v.item()}, &notes{}); err == nil || v.asked != 5 {
			t.Fatalf("%v", err)
		}
	})
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		token     int
		tree      any
		fields    map[string]string
		good, bad int
		fail      bool
	}{
		"good":                {0, tree(), nil, 2, 0, false},
		"constant":            {0, tree(), map[string]string{"HierarchyCode": "Leaf", "LocaleId": "2058"}, 2, 0, false},
		"unknown constant":    {0, tree(), map[string]string{"HierarchyCode": "Nope"}, 2, 1, false},
		"bad locale":          {0, tree(), map[string]string{"LocaleId": "7"}, 2, 1, false},
		"no hierarchies":      {0, 404, nil, 2, 0, false},
		"none, but one named": {0, 404, map[string]string{"HierarchyCode": "Leaf"}, 2, 1, false},
		"credentials":         {401, tree(), nil, 0, 1, false},
		"token route fails":   {500, tree(), nil, 0, 0, true},
		"forbidden":           {0, 403, nil, 1, 1, false},
		"fault":               {0, 500, nil, 1, 0, true},
		"html":                {0, "<html>", nil, 1, 0, true},
	} {
		v := newTenant(t)
		v.token, v.tree = c.token, c.tree
		findings, err := sender(t, config(t, v.url), senders.Deps{Fields: constant(c.fields)}).Check(t.Context())
		good, bad := 0, 0
		for _, f := range findings {
			if f.OK {
				good++
			} else {
				bad++
			}
			if stop := name == "credentials" || strings.Contains(f.Text, "no such Hierarchy"); f.Stop != stop {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if good != c.good || bad != c.bad || (err != nil) != c.fail {
			t.Errorf("%s: %+v, %v", name, findings, err)
		}
	}
}

// A 429 holds every worker: as long as the vendor says, or half a minute.
func TestTooManyRequestsPauseTheLane(t *testing.T) {
	now := time.Date(2026, 11, 20, 10, 0, 45, 0, time.UTC)
	for header, want := range map[string]time.Duration{"": 30 * time.Second, "7": 7 * time.Second} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/connect/token" {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{"access_token":"t","expires_in":3600,"token_type":"Bearer"}`)
				return
			}
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(429)
		}))
		t.Cleanup(s.Close)
		clock := func() time.Time { return now }
		lane := senders.NewLane(senders.Rate{Unlimited: true}, clock)
		v := &tenant{}
		_, err := v.send(t, sender(t, config(t, s.URL), senders.Deps{Lane: lane, Now: clock}), senders.Attempt{Item: v.item()})
		e := new(senders.Error)
		until, why := lane.Paused()
		if !errors.As(err, &e) || e.RetryAfter != want || until.Sub(now) != want || why != "rate_limited" {
			t.Errorf("Retry-After %q: %v, paused for %v, want %v", header, err, until.Sub(now), want)
		}
	}
}
