package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/internal/sandbox"
)

// elevate is a fake ElevateAI with a plain HTTP client in front.
type elevate struct {
	t   *testing.T
	c   *sandbox.ElevateAI
	url string
}

func newElevate(t *testing.T, o sandbox.Options) *elevate {
	t.Helper()
	c := sandbox.NewElevateAI(o)
	srv := httptest.NewServer(c)
	t.Cleanup(func() { c.Close(); srv.Close() })
	return &elevate{t, c, srv.URL + "/v1"}
}

func (e *elevate) request(method, path, contentType, body string, header ...string) (int, string) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("x-api-TOKEN", "key")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

const declared = `{"type":"audio","languageTag":"en-us","vertical":"default","externalIdentifier":"k"}`

func (e *elevate) declare() string {
	e.t.Helper()
	status, text := e.request("POST", "/interactions", "application/json", declared)
	var got struct{ InteractionIdentifier string }
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != 201 || got.InteractionIdentifier == "" {
		e.t.Fatalf("%d %s", status, text)
	}
	return got.InteractionIdentifier
}

func (e *elevate) upload(id string, parts ...part) int {
	e.t.Helper()
	if parts == nil {
		parts = []part{{"files", "a.wav", "bytes"}}
	}
	body, contentType := form(parts)
	status, _ := e.request("POST", "/interactions/"+id+"/upload", contentType, body)
	return status
}

func (e *elevate) status(id string) (code int, got map[string]any) {
	e.t.Helper()
	code, text := e.request("GET", "/interactions/"+id+"/status", "", "")
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		e.t.Fatalf("%d %s", code, text)
	}
	return code, got
}

func TestElevateDeclare(t *testing.T) {
	for body, want := range map[string][2]int{ // without and with Explore
		declared: {201, 201},
		`{"TYPE":"audio","languagetag":"en-us","Vertical":"default","originalfilename":"x","unknown":[1]}`: {201, 201},
		strings.Replace(declared, "audio", "chat", 1):                                                      {400, 400},
		strings.Replace(declared, `"languageTag":"en-us",`, "", 1):                                         {400, 400},
		strings.Replace(declared, "default", "other", 1):                                                   {400, 400},
		strings.Replace(declared, "{", `{"metadata":{"agent":{"id":"7"}},`, 1):                             {400, 201},
		strings.Replace(declared, "{", `{"metadata":{"custom":{"integers":{"integer1":7}}},`, 1):           {400, 400},
		strings.Replace(declared, "{", `{"downloadUri":"https://x/y.wav",`, 1):                             {400, 400},
		strings.Replace(declared, "{", `{"includeAiResults":"true",`, 1):                                   {400, 400},
		strings.Replace(declared, "{", `{"model":"x",`, 1):                                                 {400, 400},
		"[]": {400, 400},
	} {
		for i, explore := range []bool{false, true} {
			e := newElevate(t, sandbox.Options{ElevateAI: sandbox.ElevateAIOptions{Explore: explore}})
			status, text := e.request("POST", "/interactions", "application/json; charset=utf-8", body)
			if status != want[i] || status == 400 && !strings.Contains(text, `"errorMessage"`) {
				t.Errorf("%s, Explore %t: %d %s, want %d", body, explore, status, text, want[i])
			}
		}
	}
}

func TestElevateUpload(t *testing.T) {
	two := []part{{"a", "a.wav", "1"}, {"b", "b.wav", "2"}}
	for name, c := range map[string]struct {
		o     sandbox.ElevateAIOptions
		parts []part
		want  []int // of uploads one after the other
		files int
	}{
		"documented":     {sandbox.ElevateAIOptions{}, nil, []int{201, 409}, 1},
		"as one SDK":     {sandbox.ElevateAIOptions{Uploaded200: true}, nil, []int{200, 409}, 1},
		"again":          {sandbox.ElevateAIOptions{SecondUpload: sandbox.SecondAgain}, nil, []int{201, 201}, 2},
		"ignored":        {sandbox.ElevateAIOptions{SecondUpload: sandbox.SecondIgnored}, nil, []int{201, 201}, 1},
		"too large":      {sandbox.ElevateAIOptions{MaxBytes: 10}, nil, []int{413}, 0},
		"no extension":   {sandbox.ElevateAIOptions{}, []part{{"f", "a", "x"}}, []int{400}, 0},
		"a field only":   {sandbox.ElevateAIOptions{}, []part{{"f", "", "x"}}, []int{400}, 0},
		"two files":      {sandbox.ElevateAIOptions{}, two, []int{400}, 0},
		"named any name": {sandbox.ElevateAIOptions{}, []part{{"", "a.mp3", "x"}}, []int{201}, 1},
	} {
		e := newElevate(t, sandbox.Options{ElevateAI: c.o})
		id := e.declare()
		for _, want := range c.want {
			if got := e.upload(id, c.parts...); got != want {
				t.Errorf("%s: %d, want %d", name, got, want)
			}
		}
		if all := e.c.Stored(); len(all) != c.files || c.files > 0 && (all[0].Key != "k" || all[0].ID != id || !all[0].Effect) {
			t.Errorf("%s: %+v", name, all)
		}
	}
	e := newElevate(t, sandbox.Options{ClientSecret: "key"})
	id := e.declare()
	for path, want := range map[string]int{"/interactions/x/upload": 404, "/interactions/x/status": 404, "/interactions": 405, "/list": 404, "/interactions/" + id + "/files": 404} {
		method := "GET"
		if strings.HasSuffix(path, "upload") {
			method = "POST"
		}
		if got, _ := e.request(method, path, "", ""); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
		if got, text := e.request(method, path, "", "", "X-Api-Token", "other"); got != 401 || !strings.Contains(text, "errorMessage") {
			t.Errorf("%s with another token: %d %s", path, got, text)
		}
	}
	if got, _ := e.request("POST", "/interactions/", "application/json", declared); got != 201 {
		t.Errorf("with a slash at the end, as the vendor's SDK has it: %d", got)
	}
	if got, _ := e.request("POST", "/interactions/"+id+"/upload", "application/octet-stream", "x"); got != 415 {
		t.Errorf("raw bytes: %d", got)
	}
}

// A file shows as uploaded and processed later than its 201; an identifier is
// forgotten; questions that come too soon are noticed.
func TestElevateStatus(t *testing.T) {
	var passed atomic.Int64 // since the start, in nanoseconds
	advance := func(d time.Duration) { passed.Add(int64(d)) }
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := sandbox.Options{Now: func() time.Time { return start.Add(time.Duration(passed.Load())) }, ElevateAI: sandbox.ElevateAIOptions{UploadedAfter: time.Minute, ProcessedAfter: time.Hour}}
	for _, fails := range []bool{false, true} {
		o.ElevateAI.ProcessingFails = fails
		e := newElevate(t, o)
		id := e.declare()
		digits := map[int]bool{}
		look := func(after time.Duration, uploaded, processed bool) string {
			t.Helper()
			advance(after)
			code, got := e.status(strings.ToUpper(id))
			if code != 200 || got["identifier"] != id || (got["uploaded"] != nil) != uploaded || (got["processed"] != nil) != processed || got["downloaded"] != nil {
				t.Fatalf("after %s: %d %v", after, code, got)
			}
			_, fraction, _ := strings.Cut(fmt.Sprint(got["declared"]), ".")
			digits[len(fraction)] = true
			return fmt.Sprint(got["status"])
		}
		waiting := look(0, false, false)
		if e.upload(id) != 201 {
			t.Fatal("refused")
		}
		look(30*time.Second, false, false)
		look(31*time.Second, true, false)
		end := look(time.Hour, true, true)
		if want := map[bool]string{false: "processed", true: "processingFailed"}[fails]; end != want || waiting == end || len(digits) < 3 {
			t.Errorf("%s, then %s, want %s; fractions %v", waiting, end, want, digits)
		}
		look(time.Second, true, true)
		if s := e.c.Summary(); s.FastPolls != 1 || s.Orphans != 0 || s.Interactions[end] != 1 {
			t.Errorf("%+v", s)
		}
		if code, _ := e.request("GET", "/interactions/"+id, "", ""); code != 200 {
			t.Errorf("parameters: %d", code)
		}
		advance(45 * 24 * time.Hour)
		if code, _ := e.status(id); code != 404 || e.upload(id) != 404 {
			t.Error("not forgotten")
		}
	}
}

// The pair that the wire cannot tell apart, a cut body, and the quota.
func TestElevateFaults(t *testing.T) {
	for kind, stored := range map[sandbox.Kind]int{sandbox.DropStored: 1, sandbox.DropLost: 0} {
		e := newElevate(t, sandbox.Options{Faults: []sandbox.Fault{{Kind: kind, Route: sandbox.RouteMedia, CorrelationID: "k"}}})
		if got := e.upload(e.declare()); got != 0 || len(e.c.Stored()) != stored {
			t.Errorf("%s: %d, %d stored", kind, got, len(e.c.Stored()))
		}
	}
	for _, fails := range []bool{false, true} {
		e := newElevate(t, sandbox.Options{
			Faults:    []sandbox.Fault{{Kind: sandbox.DropMid, Route: sandbox.RouteMedia, AfterBytes: 20, First: 1}},
			ElevateAI: sandbox.ElevateAIOptions{CutFails: fails},
		})
		id := e.declare()
		first := e.upload(id)
		_, got := e.status(id)
		if second := e.upload(id); first != 0 || (got["status"] == "fileUploadFailed") != fails || second != map[bool]int{false: 201, true: 409}[fails] {
			t.Errorf("%d, %v, %d", first, got, second)
		}
	}
	e := newElevate(t, sandbox.Options{ElevateAI: sandbox.ElevateAIOptions{MonthlyQuota: 1}})
	e.declare()
	if got, _ := e.request("POST", "/interactions", "application/json", declared); got != 429 {
		t.Errorf("beyond the quota: %d", got)
	}
	if s := e.c.Summary(); s.Orphans != 1 {
		t.Errorf("%+v", s)
	}
	lines := strings.Join(e.c.Settings("http://127.0.0.1:1", "plain:any"), "\n")
	if lines != "type = \"elevateai\"\nbase_url = \"http://127.0.0.1:1/v1\"\ntoken = \"plain:any\"" {
		t.Error(lines)
	}
}
