package behavioralsignals_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/behavioralsignals"
	"ingestd/internal/senders/sendertest"
)

func constant(fields map[string]string) senders.Deps {
	return senders.Deps{Fields: func(call.Item) (map[string]string, error) { return fields, nil }}
}

// planned returns the form fields and the query of the upload, or the class
// and code of the refusal.
func planned(t *testing.T, s senders.Sender, i call.Item) (fields map[string]string, query url.Values, refusal string) {
	t.Helper()
	plan, err := s.Plan(i)
	if err != nil {
		var e *senders.Error
		if !errors.As(err, &e) || e.Text == "" {
			t.Fatalf("%v is no refusal", err)
		}
		return nil, nil, string(e.Class) + " " + e.Code
	}
	text, err := json.Marshal(plan.Requests[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Parts []struct{ Name, Value, Filename string }
	}
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	fields = map[string]string{}
	for _, p := range body.Parts {
		fields[p.Name] = p.Value + p.Filename
	}
	if last := body.Parts[len(body.Parts)-1]; last.Name != "file" {
		t.Errorf("the last part is %q, not the file", last.Name)
	}
	u, err := url.Parse(plan.Requests[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	return fields, u.Query(), ""
}

func full() call.Item {
	i := item()
	zero := 0
	i.Call.RecordingID, i.Call.SegmentIndex, i.Call.AgentTeam, i.Call.Queue = "r9", 2, "blue", "billing"
	i.Call.Campaign, i.Call.CustomerID, i.Call.Language, i.Call.AgentChannel = "spring", "k5", "en-US", &zero
	i.Call.Custom = map[string]any{"Dept": "a<b>&\"c\" 😀", "vip": true}
	return i
}

func TestV5Request(t *testing.T) {
	s := sender(t, config(t, "v5", "http://127.0.0.1:1"), constant(map[string]string{"language": "", "customer_phone": "+15550100", "queue": "other"}))
	got, query, _ := planned(t, s, full())
	meta := `{"ingestd_key":"` + key + `","call_id":"c1","recording_id":"r9","segment_index":2,"started_at":"2025-11-20T07:15:02Z","direction":"inbound",` +
		`"agent_id":"a7","agent_team":"blue","queue":"other","campaign":"spring","customer_id":"k5","channels":2,"agent_channel":0,` +
		`"custom":{"Dept":"a<b>&\"c\" 😀","vip":true},"customer_phone":"+15550100"}`
	want := map[string]string{"name": key, "embeddings": "false", "meta": meta, "file": key + ".wav"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(query) != 0 {
		t.Errorf("query %v", query)
	}
	// Names and numbers of people are there only by order.
	got, _, _ = planned(t, sender(t, config(t, "v5", "http://127.0.0.1:1"), constant(nil)), full())
	for _, canary := range []string{sendertest.Phone, sendertest.AgentName, "x.wav"} {
		if strings.Contains(fmt.Sprint(got), canary) {
			t.Errorf("%q is sent by default: %v", canary, got)
		}
	}
}

func TestLegacyRequest(t *testing.T) {
	for name, c := range map[string]struct {
		fields map[string]string
		change func(*call.Item)
		want   map[string]string // differences from the defaults; "": not sent
	}{
		"defaults":         {want: map[string]string{}},
		"outbound":         {change: func(i *call.Item) { i.Call.Direction = call.Outbound }, want: map[string]string{"calldirection": "2"}},
		"mono":             {change: func(i *call.Item) { i.Audio.Channels = 1 }, want: map[string]string{"channels": "1"}},
		"summer":           {change: func(i *call.Item) { i.Call.TimeZone = "America/Chicago" }, want: map[string]string{"calltime": "11/20/2025 01:15:02", "timezone": "-6"}},
		"half an hour":     {change: func(i *call.Item) { i.Call.TimeZone = "+05:30" }, want: map[string]string{"calltime": "11/20/2025 12:45:02", "timezone": ""}},
		"no start":         {change: func(i *call.Item) { i.Call.StartedAt = time.Time{} }, want: map[string]string{"calltime": "", "timezone": ""}},
		"extension":        {change: func(i *call.Item) { i.Call.AgentID, i.Call.AgentExtension = "", "4101" }, want: map[string]string{"agentId": "4101"}},
		"queue":            {change: func(i *call.Item) { i.Call.Campaign = "" }, want: map[string]string{"campaignId": "billing"}},
		"switched off":     {fields: map[string]string{"ANI": "", "timezone": ""}, want: map[string]string{"ANI": "", "timezone": ""}},
		"label":            {fields: map[string]string{"name": "Shop 7"}, want: map[string]string{"name": "Shop 7 " + key}},
		"own direction":    {fields: map[string]string{"calldirection": "3"}, change: func(i *call.Item) { i.Call.Direction = call.Internal }, want: map[string]string{"calldirection": "3"}},
		"further ones":     {fields: map[string]string{"tag": "a,b", "customerInd": "bank & trust", "meta": `{"a":1}`}, want: map[string]string{"tag": "a,b", "customerInd": "bank & trust", "meta": `{"a":1}`}},
		"a plus is a plus": {change: func(i *call.Item) { i.Call.ANI = "+1 5&5=0" }, want: map[string]string{"ANI": "+1 5&5=0"}},
	} {
		i := full()
		if c.change != nil {
			c.change(&i)
		}
		got, query, refusal := planned(t, sender(t, config(t, "legacy", "http://127.0.0.1:1"), constant(c.fields)), i)
		want := map[string]string{
			"channels": "2", "calldirection": "1", "agentId": "a7", "agentTeam": "blue", "campaignId": "spring", "customerId": "k5",
			"name": key, "ANI": sendertest.Phone, "calltime": "11/20/2025 09:15:02", "timezone": "2",
		}
		for k, v := range c.want {
			if want[k] = v; v == "" {
				delete(want, k)
			}
		}
		flat := map[string]string{}
		for k := range query {
			flat[k] = query.Get(k)
		}
		if diff := cmp.Diff(want, flat); diff != "" || refusal != "" {
			t.Errorf("%s: %s %s", name, refusal, diff)
		}
		if diff := cmp.Diff(map[string]string{"file": key + ".wav"}, got); diff != "" {
			t.Errorf("%s: form %s", name, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		api, name string
		fields    map[string]string
		change    func(*call.Item)
		want      string
	}{
		{api: "v5", name: "no bytes", change: func(i *call.Item) { i.File.Bytes = 0 }, want: "rejected empty"},
		{api: "v5", name: "unknown format", change: func(i *call.Item) { i.Audio.Container = "" }, want: "rejected unsupported_format"},
		{api: "v5", name: "wma", change: func(i *call.Item) { i.Audio.Container = "wma" }, want: "rejected unsupported_format"},
		{api: "v5", name: "video", change: func(i *call.Item) { i.Audio.Video = true }, want: "rejected unsupported_format"},
		{api: "v5", name: "flac", change: func(i *call.Item) { i.Audio.Container, i.Audio.Ext = "flac", "flac" }},
		{api: "v5", name: "four channels", change: func(i *call.Item) { i.Audio.Channels = 4 }},
		{api: "v5", name: "internal", change: func(i *call.Item) { i.Call.Direction = call.Internal }},
		{api: "v5", name: "embeddings", fields: map[string]string{"embeddings": "true"}},
		{api: "v5", name: "bad embeddings", fields: map[string]string{"embeddings": "yes"}, want: "rejected bad_value"},
		{api: "v5", name: "name with a line end", fields: map[string]string{"name": "a\r\nb"}, want: "rejected bad_value"},
		{api: "v5", name: "long name", fields: map[string]string{"name": strings.Repeat("a", 201)}, want: "rejected bad_value"},
		{api: "v5", name: "much meta", fields: map[string]string{"notes": strings.Repeat("a", 17<<10)}, want: "rejected too_large_meta"},
		{api: "legacy", name: "three channels", change: func(i *call.Item) { i.Audio.Channels = 3 }, want: "rejected unsupported_channels"},
		{api: "legacy", name: "channels not measured", change: func(i *call.Item) { i.Audio.Channels = 0 }, want: "rejected missing_field"},
		{api: "legacy", name: "internal", change: func(i *call.Item) { i.Call.Direction = call.Internal }, want: "held unmapped_direction"},
		{api: "legacy", name: "unknown direction", change: func(i *call.Item) { i.Call.Direction = call.DirectionUnknown }, want: "held unmapped_direction"},
		{api: "legacy", name: "direction switched off", fields: map[string]string{"calldirection": ""}, want: "held unmapped_direction"},
		{api: "legacy", name: "odd zone", change: func(i *call.Item) { i.Call.TimeZone = "Mars/Base" }, want: "rejected bad_time_zone"},
		{api: "legacy", name: "meta no JSON", fields: map[string]string{"meta": "{"}, want: "rejected bad_value"},
		{api: "legacy", name: "control character", fields: map[string]string{"tag": "a\nb"}, want: "rejected bad_value"},
	} {
		i := full()
		if c.change != nil {
			c.change(&i)
		}
		s := sender(t, config(t, c.api, "http://127.0.0.1:1"), constant(c.fields))
		if _, _, got := planned(t, s, i); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.api, c.name, got, c.want)
		}
		if c.want == "" {
			continue
		}
		// Send refuses the same before it touches journal or network: a nil
		// journal would panic.
		_, err := s.Send(t.Context(), senders.Attempt{Item: i}, nil)
		if e := new(senders.Error); !errors.As(err, &e) || string(e.Class)+" "+e.Code != c.want {
			t.Errorf("%s %s: Send says %v", c.api, c.name, err)
		}
	}
	s := sender(t, config(t, "v5", "http://127.0.0.1:1"), senders.Deps{
		Fields: func(call.Item) (map[string]string, error) { return nil, errors.New("boom") },
	})
	if _, _, got := planned(t, s, full()); got != "rejected bad_expression" {
		t.Error(got)
	}
}

func TestConfigValidate(t *testing.T) {
	type cfg = behavioralsignals.Config
	for _, c := range []struct {
		name, api string
		change    func(*cfg)
		want      string // "" = fine
	}{
		{"v5", "v5", func(*cfg) {}, ""},
		{"legacy", "legacy", func(*cfg) {}, ""},
		{"v5 at the vendor", "v5", func(c *cfg) { c.BaseURL = "" }, ""},
		{"a slash behind", "v5", func(c *cfg) { c.BaseURL += "/" }, ""},
		{"no api", "v5", func(c *cfg) { c.API = "" }, "api: missing"},
		{"unknown api", "v5", func(c *cfg) { c.API = "v6" }, `api: "v6"`},
		{"no version", "v5", func(c *cfg) { c.BaseURL = "https://api.behavioralsignals.com" }, "base_url: must end in /v5"},
		{"another branch", "v5", func(c *cfg) { c.BaseURL = "https://api.behavioralsignals.com/v5/detection" }, "base_url: must end in /v5"},
		{"legacy without address", "legacy", func(c *cfg) { c.BaseURL = "" }, "base_url: missing"},
		{"open http", "legacy", func(c *cfg) { c.BaseURL = "http://vendor.example" }, "base_url: must be https"},
		{"open http allowed", "legacy", func(c *cfg) { c.BaseURL, c.AllowHTTP = "http://vendor.example", true }, ""},
		{"client", "v5", func(c *cfg) { c.Client = "" }, "client: must be"},
		{"client with a path", "v5", func(c *cfg) { c.Client = "../1" }, "client: must be"},
		{"token", "v5", func(c *cfg) { c.Token = senders.Secret{} }, "token: missing"},
		{"common", "v5", func(c *cfg) { c.Workers = 0 }, "workers:"},
		{"member of meta", "v5", func(c *cfg) { c.Fields = map[string]string{"anything": "1"} }, ""},
		{"the key", "v5", func(c *cfg) { c.Fields = map[string]string{"ingestd_key": "1"} }, "fields.ingestd_key:"},
		{"meta as a whole", "v5", func(c *cfg) { c.Fields = map[string]string{"meta": "1"} }, "fields.meta:"},
		{"file", "legacy", func(c *cfg) { c.Fields = map[string]string{"file": "1"} }, "fields.file:"},
		{"unknown parameter", "legacy", func(c *cfg) { c.Fields = map[string]string{"agentID": "1"} }, "fields.agentID:"},
		{"parameter", "legacy", func(c *cfg) { c.Fields = map[string]string{"customerInd": "1"} }, ""},
	} {
		cfg := config(t, c.api, "http://127.0.0.1:1")
		c.change(&cfg)
		errs := cfg.Validate()
		if got := fmt.Sprint(errs); c.want == "" && len(errs) > 0 || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %q", c.name, got, c.want)
		}
	}
	if _, err := behavioralsignals.New(behavioralsignals.Config{}, senders.Deps{}); err == nil {
		t.Error("New took an empty table")
	}
}

// lister is a vendor's list at a clock of its own; it notes what it is asked.
type lister struct {
	mu    sync.Mutex
	asked []url.Values
	date  time.Time
	page  func(q url.Values) string
}

func (l *lister) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.asked = append(l.asked, r.URL.Query())
	l.mu.Unlock()
	w.Header().Set("Date", l.date.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, l.page(r.URL.Query()))
}

func listed(t *testing.T, l *lister, now, began time.Time) (senders.Verdict, []url.Values) {
	t.Helper()
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	s := sender(t, config(t, "v5", server.URL), senders.Deps{Now: func() time.Time { return now }})
	v, err := s.(senders.Reconciler).Reconcile(t.Context(), senders.Attempt{Item: item(), Began: began})
	if err != nil {
		t.Fatal(err)
	}
	return v, l.asked
}

// The window: 15 minutes on each side, the vendor's clock, whole days of a
// zone that nobody names.
func TestListWindow(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		name, began, now, vendor, from, to string
	}{
		{"midday", "2026-03-10 12:00", "2026-03-10 12:05", "2026-03-10 12:05", "2026-03-09", "2026-03-11"},
		{"just after midnight", "2026-03-10 00:10", "2026-03-10 00:11", "2026-03-10 00:11", "2026-03-08", "2026-03-11"},
		{"just before midnight", "2026-03-10 23:40", "2026-03-10 23:50", "2026-03-10 23:50", "2026-03-09", "2026-03-12"},
		{"vendor is ahead", "2026-03-10 12:00", "2026-03-10 12:05", "2026-03-12 12:05", "2026-03-09", "2026-03-13"},
		{"vendor is behind", "2026-03-10 12:00", "2026-03-10 12:05", "2026-03-08 12:05", "2026-03-07", "2026-03-11"},
		{"our clock was set back", "2026-03-14 12:00", "2026-03-10 12:05", "2026-03-10 12:05", "", "2026-03-11"},
		{"days ago", "2026-03-01 12:00", "2026-03-10 12:05", "2026-03-10 12:05", "2026-02-28", "2026-03-11"},
	} {
		l := &lister{date: at(c.vendor), page: func(url.Values) string { return "[]" }}
		_, asked := listed(t, l, at(c.now), at(c.began))
		last := asked[len(asked)-1]
		if last.Get("startDate") != c.from || last.Get("endDate") != c.to || last.Get("sort") != "asc" || last.Get("page") != "0" {
			t.Errorf("%s: asked %v, want %s to %s", c.name, last, c.from, c.to)
		}
	}
	l := &lister{date: at("2026-03-10 12:05"), page: func(url.Values) string { return "[]" }}
	if _, asked := listed(t, l, at("2026-03-10 12:05"), time.Time{}); asked[0].Has("startDate") {
		t.Errorf("a beginning that is not known bounds the question: %v", asked[0])
	}
}

// Pages that do not fit into an answer are asked for in smaller ones.
func TestListOfLargeProcesses(t *testing.T) {
	now := time.Now()
	padding := strings.Repeat("x", 30_000)
	l := &lister{date: now, page: func(q url.Values) string {
		var page, size int
		fmt.Sscan(q.Get("page"), &page)
		fmt.Sscan(q.Get("pageSize"), &size)
		var list []string
		for i := page * size; i < min((page+1)*size, 100); i++ {
			name := padding
			if i == 77 {
				name = key
			}
			list = append(list, fmt.Sprintf(`{"pid":%d,"name":%q,"meta":null}`, i+1, name))
		}
		return "[" + strings.Join(list, ",") + "]"
	}}
	v, asked := listed(t, l, now, now)
	if v.Outcome != senders.Present || v.IDs["pid"] != "78" {
		t.Fatalf("%+v", v)
	}
	sizes := slices.Compact(func() (out []string) {
		for _, q := range asked {
			out = append(out, q.Get("pageSize"))
		}
		return out
	}())
	if diff := cmp.Diff([]string{"500", "250", "125", "62", "31"}, sizes); diff != "" {
		t.Error(diff)
	}
}

// What comes back of meta and name, and whether it is ours.
func TestListMatch(t *testing.T) {
	now := time.Now()
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	meta := `{"ingestd_key":"` + key + `","a":1}`
	for name, c := range map[string]struct {
		object string
		want   senders.Outcome
	}{
		"meta as sent":           {`"meta":` + quoted(meta), senders.Present},
		"meta rewritten":         {`"meta":` + quoted("{ \"a\" : 1,\n\"ingestd_key\" :  \""+key+"\"}"), senders.Present},
		"meta as an object":      {`"meta":` + meta, senders.Present},
		"meta empty, name":       {`"meta":"","name":"` + key + `"`, senders.Present},
		"meta null, label":       {`"meta":null,"name":"Shop 7 ` + key + `"`, senders.Present},
		"meta cut, name":         {`"meta":` + quoted(meta[:20]) + `,"name":"` + key + `"`, senders.Present},
		"meta of another":        {`"meta":` + quoted(`{"ingestd_key":"other"}`) + `,"name":"` + key + `"`, senders.Absent},
		"key elsewhere in meta":  {`"meta":` + quoted(`{"note":"`+key+`"}`), senders.Absent},
		"key within the name":    {`"name":"` + key + `.wav"`, senders.Absent},
		"name without a key":     {`"name":"` + key[1:] + `"`, senders.Absent},
		"failed for its credits": {`"status":-2,"meta":` + quoted(meta), senders.Present},
	} {
		l := &lister{date: now, page: func(q url.Values) string {
			if q.Get("page") != "0" {
				return "[]"
			}
			return `[{"pid":9007199254740993,"cid":4711,` + c.object + `}]`
		}}
		v, _ := listed(t, l, now, now)
		if v.Outcome != c.want || c.want == senders.Present && v.IDs["pid"] != "9007199254740993" {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// A list that asks for fewer requests holds the uploads too: one quota.
func TestTooManyQuestionsPauseTheLane(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	for header, want := range map[string]time.Duration{"": 10 * time.Second, "40": 40 * time.Second} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		t.Cleanup(server.Close)
		lane := senders.NewLane(senders.Rate{Unlimited: true}, clock)
		s := sender(t, config(t, "v5", server.URL), senders.Deps{Lane: lane, Now: clock})
		v, err := s.(senders.Reconciler).Reconcile(t.Context(), senders.Attempt{Item: item(), Began: now})
		if until, why := lane.Paused(); v.Outcome != senders.Unknown || err == nil || until.Sub(now) != want || why != "rate_limited" {
			t.Errorf("Retry-After %q: %+v, paused for %v (%s), want %v", header, v, until.Sub(now), why, want)
		}
	}
}

// A token that was changed on disk is used by the next attempt.
func TestTokenIsReadAnew(t *testing.T) {
	t.Setenv("BSIG_TOKEN", "old")
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("X-Auth-Token"))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	c := config(t, "v5", server.URL)
	c.Token = secret(t, "env:BSIG_TOKEN")
	s := sender(t, c, senders.Deps{})
	for _, token := range []string{"old", "new", ""} {
		t.Setenv("BSIG_TOKEN", token)
		_, err := s.(senders.Checker).Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"old", "new"}, got); diff != "" {
		t.Error(diff)
	}
}
