package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/sandbox"
	"ingestd/internal/sandbox/pipenet"

	"github.com/google/go-cmp/cmp"
)

// studio is a fake Behavioral Signals with a plain HTTP client in front.
type studio struct {
	t     *testing.T
	v     *sandbox.BehavioralSignals
	url   string
	token string
}

func newStudio(t *testing.T, legacy bool, o sandbox.Options) *studio {
	t.Helper()
	o.ClientID, o.ClientSecret = "4711", "t0ken"
	v := sandbox.NewBehavioralSignals
	if legacy {
		v = sandbox.NewBehavioralSignalsLegacy
	}
	s := &studio{t: t, v: v(o), token: "t0ken"}
	srv := httptest.NewServer(s.v)
	t.Cleanup(func() { s.v.Close(); srv.Close() })
	s.url = srv.URL
	return s
}

func (s *studio) do(method, path string, header map[string]string, body []byte) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", s.token)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(got), err}
}

// fieldForm is a form of fields in their order and a file last; "file" is its content.
func fieldForm(fields ...string) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "file" {
			f, _ := w.CreateFormFile("file", "a.wav")
			f.Write([]byte(fields[i+1]))
			continue
		}
		w.WriteField(fields[i], fields[i+1])
	}
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

const v5Audio = "/v5/clients/4711/processes/audio"

func (s *studio) post(path string, fields ...string) answer {
	s.t.Helper()
	contentType, body := fieldForm(fields...)
	return s.do("POST", path, map[string]string{"Content-Type": contentType}, body)
}

func (s *studio) list(query string) []map[string]any {
	s.t.Helper()
	a := s.do("GET", "/v5/clients/4711/processes?"+query, nil, nil)
	var out []map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); a.status != 200 || err != nil || out == nil {
		s.t.Fatalf("%s: %+v", query, a)
	}
	return out
}

func TestBehavioralUpload(t *testing.T) {
	var told []sandbox.Stored
	s := newStudio(t, false, sandbox.Options{KeepDir: t.TempDir(), OnStored: func(p sandbox.Stored) { told = append(told, p) }})
	meta := `{ "ingestd_key" : "k" }`
	a := s.post(v5Audio+"?name=ignored&meta={", "name", "n", "embeddings", "False", "meta", meta, "unheard", "x", "file", "bytes")
	if a.status != 200 || a.field(t, "name") != "n" || a.field(t, "status") != "0" || a.field(t, "meta") != meta {
		t.Fatalf("%+v", a)
	}
	all := s.v.Processes()
	if len(all) != 1 || a.field(t, "pid") != fmt.Sprint(float64(all[0].PID)) || all[0].Bytes != 5 || *all[0].Meta != meta {
		t.Fatalf("%+v %+v", all, a)
	}
	if kept, err := os.ReadFile(all[0].File); err != nil || string(kept) != "bytes" {
		t.Errorf("kept %q, %v", kept, err)
	}
	if d := cmp.Diff(s.v.Stored(), told); d != "" || told[0].Key != "n" || !told[0].Effect {
		t.Errorf("told %+v: %s", told, d)
	}
	// Nothing is compared: the same again is another process and a charge.
	if b := s.post(v5Audio, "name", "n", "meta", meta, "file", "bytes"); b.status != 200 || b.field(t, "pid") == a.field(t, "pid") {
		t.Errorf("%+v", b)
	}
	if c := s.post(v5Audio, "file", "bytes"); c.status != 200 || c.field(t, "name") != "<nil>" || c.field(t, "meta") != "<nil>" {
		t.Errorf("without anything else: %+v", c)
	}
	if sum := s.v.Summary(); sum.Credits != 3 || sum.Processes != 3 {
		t.Errorf("%+v", sum)
	}
}

func TestBehavioralRefusals(t *testing.T) {
	s := newStudio(t, false, sandbox.Options{})
	for name, c := range map[string]struct {
		do   func() answer
		want int
	}{
		"no token":         {func() answer { return s.do("GET", "/v5/auth", map[string]string{"X-Auth-Token": ""}, nil) }, 401},
		"another token":    {func() answer { return s.do("GET", "/v5/auth", map[string]string{"X-Auth-Token": "x"}, nil) }, 401},
		"auth without cid": {func() answer { return s.do("GET", "/v5/auth", nil, nil) }, 401},
		"auth":             {func() answer { return s.do("GET", "/v5/auth", map[string]string{"X-Auth-Client": "4711"}, nil) }, 200},
		"another project":  {func() answer { return s.post("/v5/clients/4712/processes/audio", "file", "x") }, 401},
		"the singular":     {func() answer { return s.post("/v5/client/4711/process/audio", "file", "x") }, 404},
		"no version":       {func() answer { return s.post("/clients/4711/processes/audio", "file", "x") }, 404},
		"another branch":   {func() answer { return s.post("/v5/detection/clients/4711/processes/audio", "file", "x") }, 404},
		"another method":   {func() answer { return s.do("GET", v5Audio, nil, nil) }, 405},
		"no form": {func() answer {
			return s.do("POST", v5Audio, map[string]string{"Content-Type": "audio/wav"}, []byte("x"))
		}, 415},
		"no file":            {func() answer { return s.post(v5Audio, "name", "n") }, 400},
		"an empty file":      {func() answer { return s.post(v5Audio, "file", "") }, 400},
		"two files":          {func() answer { return s.post(v5Audio, "file", "x", "file", "y") }, 400},
		"a field twice":      {func() answer { return s.post(v5Audio, "name", "x", "name", "y", "file", "y") }, 400},
		"meta no JSON":       {func() answer { return s.post(v5Audio, "meta", "{", "file", "x") }, 400},
		"embeddings":         {func() answer { return s.post(v5Audio, "embeddings", "yes", "file", "x") }, 400},
		"page":               {func() answer { return s.do("GET", "/v5/clients/4711/processes?page=-1", nil, nil) }, 400},
		"page size":          {func() answer { return s.do("GET", "/v5/clients/4711/processes?pageSize=1001", nil, nil) }, 400},
		"order":              {func() answer { return s.do("GET", "/v5/clients/4711/processes?sort=up", nil, nil) }, 400},
		"day":                {func() answer { return s.do("GET", "/v5/clients/4711/processes?startDate=1.2.2026", nil, nil) }, 400},
		"an unknown process": {func() answer { return s.do("GET", "/v5/clients/4711/processes/7", nil, nil) }, 404},
	} {
		a := c.do()
		if a.status != c.want || a.status != 200 && a.field(t, "code") != strconv.Itoa(a.status) {
			t.Errorf("%s: %+v, want %d", name, a, c.want)
		}
	}
	if n := len(s.v.Processes()); n != 0 {
		t.Errorf("%d processes of refused uploads", n)
	}
}

func TestBehavioralList(t *testing.T) {
	at := newClock()
	s := newStudio(t, false, sandbox.Options{Now: at.Now, BehavioralSignals: sandbox.BehavioralUnknowns{ListingDelay: 10 * time.Second, Zone: time.FixedZone("", 13*3600)}})
	s.v.Busy("4711", 5)
	s.v.Busy("9999", 5)
	s.post(v5Audio, "name", "mine", "file", "x")
	if n := len(s.list("")); n != 5 {
		t.Errorf("%d processes at once, want 5: ours is listed later", n)
	}
	at.Add(10)
	if got := s.list(""); len(got) != 6 || got[5]["name"] != "mine" {
		t.Fatalf("%v", got)
	}
	if got := s.list("sort=desc&pageSize=2"); len(got) != 2 || got[0]["name"] != "mine" {
		t.Errorf("%v", got)
	}
	if got := s.list("page=2&pageSize=2"); len(got) != 2 || got[1]["name"] != "mine" {
		t.Errorf("%v", got)
	}
	if got := s.list("page=3&pageSize=2"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	// 2026-01-05 12:00 UTC is the 6th where the days are counted.
	if got := s.list("startDate=2026-01-06&endDate=2026-01-06"); len(got) != 6 {
		t.Errorf("%d on that day", len(got))
	}
	if got := s.list("endDate=2026-01-05"); len(got) != 0 {
		t.Errorf("%d until the day before", len(got))
	}
	var metas []string
	for _, p := range s.list("")[:3] {
		metas = append(metas, fmt.Sprint(p["meta"]))
	}
	slices.Sort(metas)
	if d := cmp.Diff([]string{"", "<nil>", `{"batch": 7}`}, metas); d != "" {
		t.Errorf("meta as the samples show it: %s", d)
	}
	s.v.Forget(4)
	if got := s.list(""); len(got) != 2 {
		t.Errorf("%d after a cleaning", len(got))
	}
}

func TestBehavioralTexts(t *testing.T) {
	at := newClock()
	s := newStudio(t, false, sandbox.Options{Now: at.Now, BehavioralSignals: sandbox.BehavioralUnknowns{
		MetaRewritten: true, CIDText: true, PlainTimes: true, ListingMost: 1, ProcessFor: 20 * time.Second, FailAs: -2}})
	for range 2 {
		s.post(v5Audio, "meta", `{ "b" : 1, "a" : 2 }`, "file", "x")
	}
	got := s.list("pageSize=1000")
	if len(got) != 1 || got[0]["meta"] != `{"a":2,"b":1}` || got[0]["cid"] != "4711" || got[0]["datetime"] != "2026-01-05T12:00:00.000000000" {
		t.Fatalf("%v", got)
	}
	var states []string
	for range 3 {
		a := s.do("GET", "/v5/clients/4711/processes/"+strconv.FormatInt(s.v.Processes()[0].PID, 10), nil, nil)
		states = append(states, a.field(t, "status"))
		at.Add(10)
	}
	if d := cmp.Diff([]string{"0", "1", "-2"}, states); d != "" {
		t.Error(d)
	}
}

func TestBehavioralLegacy(t *testing.T) {
	const audio = "/client/4711/process/audio"
	good := url.Values{"channels": {"2"}, "calldirection": {"1"}, "name": {"k"}, "calltime": {"11/20/2025 09:15:02"}, "timezone": {"2"}}
	with := func(key, value string) string {
		q := url.Values{}
		for k, v := range good {
			q[k] = v
		}
		q.Set(key, value)
		return "?" + q.Encode()
	}
	for _, id := range []bool{false, true} {
		s := newStudio(t, true, sandbox.Options{BehavioralSignals: sandbox.BehavioralUnknowns{IDForPID: id}})
		a := s.post(audio+"?"+good.Encode(), "name", "ignored", "file", "x")
		pid, none := "pid", "id"
		if id {
			pid, none = none, pid
		}
		if a.status != 200 || a.field(t, pid) == "<nil>" || a.field(t, none) != "<nil>" || a.field(t, "name") != "k" || a.field(t, "source") != "a.wav" {
			t.Errorf("%+v", a)
		}
		if got := s.v.Stored(); len(got) != 1 || got[0].Key != "k" {
			t.Errorf("%+v", got)
		}
	}
	s := newStudio(t, true, sandbox.Options{})
	for path, want := range map[string]int{
		"":                                400, // the parameters travel in the query only
		with("channels", "3"):             400,
		with("calldirection", "in"):       400,
		with("calltime", "2025-11-20"):    400,
		with("timezone", "+02:00"):        400,
		with("meta", "{"):                 400,
		"?" + good.Encode() + "&name=two": 400,
	} {
		if a := s.post(audio+path, "channels", "2", "calldirection", "1", "file", "x"); a.status != want {
			t.Errorf("%s: %+v", path, a)
		}
	}
	for path, want := range map[string]int{"/client/4711": 200, "/client/4711/process": 404, "/client/4711/processes": 404, "/clients/4711/processes": 404, "/v5/auth": 404} {
		if a := s.do("GET", path, nil, nil); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
	if n := len(s.v.Processes()); n != 0 {
		t.Errorf("%d processes of refused uploads", n)
	}
}

// What was told and what is there, fault by fault.
func TestBehavioralFaults(t *testing.T) {
	for _, c := range []struct {
		fault  sandbox.Fault
		status int    // 0: no answer
		body   string // in the answer
		held   int
	}{
		{sandbox.Fault{Kind: sandbox.DropLost}, 0, "", 0},
		{sandbox.Fault{Kind: sandbox.DropStored}, 0, "", 1},
		{sandbox.Fault{Kind: sandbox.Refuse}, 0, "", 0},
		{sandbox.Fault{Kind: sandbox.DropMid, AfterBytes: 9}, 0, "", 0},
		{sandbox.Fault{Kind: sandbox.Status, Status: 503}, 503, `"code":503`, 0},
		{sandbox.Fault{Kind: sandbox.Early, Status: 429}, 429, `"code":429`, 0},
		{sandbox.Fault{Kind: sandbox.StatusStored, Status: 503}, 503, `"Message"`, 1},
		{sandbox.Fault{Kind: sandbox.HTML}, 200, "<!DOCTYPE", 1},
		{sandbox.Fault{Kind: sandbox.OtherJSON}, 200, `"ok"`, 1},
		{sandbox.Fault{Kind: sandbox.IDPath}, 200, `"pid":"../`, 1},
		{sandbox.Fault{Kind: sandbox.IDCRLF}, 200, `\r\nX-Injected`, 1},
		{sandbox.Fault{Kind: sandbox.IDOther}, 200, `"pid":`, 1},
	} {
		c.fault.Route = sandbox.RouteMedia
		s := newStudio(t, false, sandbox.Options{Faults: []sandbox.Fault{c.fault}})
		a := s.post(v5Audio, "name", "n", "file", strings.Repeat("x", 100_000))
		if a.status != c.status || (a.err != nil) != (c.status == 0) || !strings.Contains(a.body, c.body) || len(s.v.Stored()) != c.held {
			t.Errorf("%s: %d %.80s %v, %d held", c.fault.Kind, a.status, a.body, a.err, len(s.v.Stored()))
		}
		if c.fault.Kind == sandbox.IDOther && a.field(t, "pid") == fmt.Sprint(float64(s.v.Processes()[0].PID)) {
			t.Error("id_other gave its own number")
		}
	}
	s := newStudio(t, true, sandbox.Options{})
	if err := s.v.SetFaults(sandbox.Fault{Kind: sandbox.Status, Route: sandbox.RouteList, Status: 500}); err == nil {
		t.Error("the older API has no list to fail")
	}
}

func TestBehavioralRate(t *testing.T) {
	s := newStudio(t, false, sandbox.Options{RatePerMinute: 1, RetryAfter: "7"})
	s.post(v5Audio, "file", "x")
	if a := s.post(v5Audio, "file", "x"); a.status != 429 || a.header.Get("Retry-After") != "7" || len(s.v.Stored()) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestBehavioralStoredLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := pipenet.Listen()
		ctx, cancel := context.WithCancel(t.Context())
		v := sandbox.NewBehavioralSignals(sandbox.Options{Faults: []sandbox.Fault{
			{Kind: sandbox.StatusLate, Route: sandbox.RouteMedia, Status: 504, Delay: sandbox.Duration(time.Minute)}}})
		served := make(chan error)
		go func() { served <- sandbox.Serve(ctx, ln, v) }()
		transport := &http.Transport{DialContext: ln.DialContext, DisableKeepAlives: true}
		contentType, body := fieldForm("name", "n", "file", "x")
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://x/v5/clients/1/processes/audio", bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("X-Auth-Token", "any")
		res, err := transport.RoundTrip(req)
		if err != nil || res.StatusCode != 504 || len(v.Stored()) != 0 {
			t.Errorf("%+v %v", res, err)
		}
		res.Body.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(v.Stored()) != 1 {
			t.Error("not stored after the delay")
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// The lines that a fake prints are a destination that reaches it.
func TestBehavioralSettings(t *testing.T) {
	s := newStudio(t, false, sandbox.Options{})
	if got := strings.Join(s.v.Settings("http://h:1", "plain:x"), "\n"); !strings.Contains(got, `base_url = "http://h:1/v5"`) || !strings.Contains(got, `client = "4711"`) {
		t.Error(got)
	}
	if a := s.do("GET", "/_sandbox/processes", nil, nil); a.status != 200 {
		t.Errorf("%+v", a)
	}
}
