package sandbox_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ingestd/internal/sandbox"
)

const voycUploadData = "/api/v2/workspace/4711/conversation/upload_data/"

type voycLab struct {
	t    *testing.T
	fake *sandbox.Voyc
	base string
	now  time.Time
}

func newVoycLab(t *testing.T, u sandbox.VoycUnknowns) *voycLab {
	t.Helper()
	l := &voycLab{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	l.fake = sandbox.NewVoyc(sandbox.Options{ClientSecret: "good", Voyc: u, Now: func() time.Time { return l.now }})
	server := httptest.NewServer(l.fake)
	t.Cleanup(server.Close)
	t.Cleanup(l.fake.Close)
	l.base = server.URL
	return l
}

func (l *voycLab) do(method, url string, header map[string]string, body io.Reader) (int, http.Header, string) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, url, body)
	if err != nil {
		l.t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b)
}

func voycHead() map[string]string {
	return map[string]string{"Authorization": "Bearer good", "Content-Type": "application/json"}
}

const voycBody = `{"channel_id":12,"call_date":"2025-11-20","call_time":"09:15:02","agent":"Dana","ingestd_key":"k","Branch":"x"}`

func TestVoycStepOne(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, token, body string
		status                    int
		says                      string
	}{
		"good":             {"POST", voycUploadData, "Bearer good", voycBody, 201, `"fields"`},
		"no slash":         {"POST", strings.TrimSuffix(voycUploadData, "/"), "Bearer good", voycBody, 404, `"detail"`},
		"no token":         {"POST", voycUploadData, "", voycBody, 403, "not_authenticated"},
		"wrong token":      {"POST", voycUploadData, "Bearer bad", voycBody, 403, "not_authenticated"},
		"GET":              {"GET", voycUploadData, "Bearer good", "", 405, "method_not_allowed"},
		"GET, no token":    {"GET", voycUploadData, "", "", 403, "not_authenticated"},
		"no channel":       {"POST", voycUploadData, "Bearer good", strings.Replace(voycBody, "channel_id", "channel", 1), 400, `"attr":"channel_id"`},
		"no agent":         {"POST", voycUploadData, "Bearer good", strings.Replace(voycBody, "Dana", "", 1), 400, `"attr":"agent"`},
		"date":             {"POST", voycUploadData, "Bearer good", strings.Replace(voycBody, "2025-11-20", "2025-11-31", 1), 400, `"attr":"call_date"`},
		"time with dashes": {"POST", voycUploadData, "Bearer good", strings.Replace(voycBody, "09:15:02", "09-15-02", 1), 400, `"attr":"call_time"`},
		"direction":        {"POST", voycUploadData, "Bearer good", strings.Replace(voycBody, `"Branch"`, `"direction":"IN","Branch"`, 1), 400, `"attr":"direction"`},
		"speakers":         {"POST", voycUploadData, "Bearer good", strings.Replace(voycBody, `"Branch"`, `"speakers":"2","Branch"`, 1), 400, `"attr":"speakers"`},
		"no JSON":          {"POST", voycUploadData, "Bearer good", "x", 400, "parse_error"},
	} {
		l := newVoycLab(t, sandbox.VoycUnknowns{})
		h := voycHead()
		h["Authorization"] = c.token
		status, _, body := l.do(c.method, l.base+c.path, h, strings.NewReader(c.body))
		if made := len(l.fake.Conversations()); status != c.status || !strings.Contains(body, c.says) || made != map[bool]int{true: 1}[status == 201] {
			t.Errorf("%s: %d %s, %d conversations", name, status, body, made)
		}
	}
	l := newVoycLab(t, sandbox.VoycUnknowns{})
	l.do("POST", l.base+voycUploadData, voycHead(), strings.NewReader(voycBody))
	if c := l.fake.Conversations()[0]; c.Key != "k" || c.Metadata["Branch"] != "x" {
		t.Errorf("extra keys are not kept: %+v", c)
	}
}

// form is an answer of step 1 as a client without knowledge of us reads it.
type voycForm struct {
	URL    string            `json:"url"`
	Upload string            `json:"upload_url"`
	Fields map[string]string `json:"fields"`
}

func (l *voycLab) declare() (f voycForm) {
	l.t.Helper()
	_, _, body := l.do("POST", l.base+voycUploadData, voycHead(), strings.NewReader(voycBody))
	if err := json.Unmarshal([]byte(body), &f); err != nil {
		l.t.Fatal(err, body)
	}
	return f
}

func TestVoycForm(t *testing.T) {
	for name, c := range map[string]struct {
		change func(l *voycLab, f *voycForm)
		after  bool // a field behind the file
		header map[string]string
		status int
		code   string
	}{
		"good":            {status: 204},
		"another policy":  {change: func(_ *voycLab, f *voycForm) { f.Fields["policy"] += "A" }, status: 403, code: "SignatureDoesNotMatch"},
		"a field missing": {change: func(_ *voycLab, f *voycForm) { delete(f.Fields, "x-amz-date") }, status: 403, code: "SignatureDoesNotMatch"},
		"a field more":    {change: func(_ *voycLab, f *voycForm) { f.Fields["acl"] = "public-read" }, status: 403, code: "Extra input fields"},
		"ended":           {change: func(l *voycLab, _ *voycForm) { l.now = l.now.Add(time.Hour + time.Second) }, status: 403, code: "Policy expired"},
		"behind the file": {after: true, status: 400, code: "InvalidArgument"},
		"a bearer token":  {header: map[string]string{"Authorization": "Bearer good"}, status: 400, code: "Only one auth mechanism"},
	} {
		l := newVoycLab(t, sandbox.VoycUnknowns{Shape: sandbox.VoycFormTop})
		f := l.declare()
		if c.change != nil {
			c.change(l, &f)
		}
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for name, value := range f.Fields {
			w.WriteField(name, value)
		}
		part, _ := w.CreateFormFile("file", "x.wav")
		io.WriteString(part, "audio")
		if c.after {
			w.WriteField("x", "y")
		}
		w.Close()
		h := map[string]string{"Content-Type": w.FormDataContentType()}
		for name, value := range c.header {
			h[name] = value
		}
		status, header, body := l.do("POST", f.URL, h, &b)
		stored := len(l.fake.Stored())
		if status != c.status || !strings.Contains(body, c.code) || (stored == 1) != (status == 204) {
			t.Errorf("%s: %d %s, %d stored", name, status, body, stored)
		}
		if status == 204 && len(header.Get("ETag")) != 34 {
			t.Errorf("%s: ETag %s", name, header.Get("ETag"))
		}
	}
}

func TestVoycURL(t *testing.T) {
	l := newVoycLab(t, sandbox.VoycUnknowns{Shape: sandbox.VoycURL})
	at := l.declare().Upload
	if status, _, body := l.do("PUT", strings.Replace(at, "Signature=", "Signature=0", 1), nil, strings.NewReader("audio")); status != 403 || !strings.Contains(body, "SignatureDoesNotMatch") {
		t.Errorf("wrong signature: %d %s", status, body)
	}
	if status, _, body := l.do("PUT", at, nil, io.MultiReader(strings.NewReader("audio"))); status != 411 {
		t.Errorf("chunked: %d %s", status, body)
	}
	for n := 1; n <= 2; n++ { // the second replaces the first
		if status, _, body := l.do("PUT", at, nil, strings.NewReader("audio")); status != 200 || l.fake.Conversations()[0].Writes != n {
			t.Errorf("write %d: %d %s", n, status, body)
		}
	}
	l.now = l.now.Add(2 * time.Hour)
	if status, _, body := l.do("PUT", at, nil, strings.NewReader("audio")); status != 403 || !strings.Contains(body, "Request has expired") {
		t.Errorf("ended: %d %s", status, body)
	}
	if s := l.fake.Summary(); s.Overwrites != 1 || s.Orphans != 0 || s.WithAudio != 1 {
		t.Errorf("%+v", s)
	}
}
