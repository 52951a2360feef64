package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/sandbox"
)

// acx is a fake AuthenticX with a plain HTTP client in front.
type acx struct {
	t     *testing.T
	c     *sandbox.AuthenticX
	url   string
	token string
}

func newAcx(t *testing.T, o sandbox.Options) *acx {
	t.Helper()
	c := sandbox.NewAuthenticX(o)
	srv := httptest.NewServer(c)
	t.Cleanup(func() { c.Close(); srv.Close() })
	a := &acx{t: t, c: c, url: srv.URL}
	resp, err := http.PostForm(srv.URL+"/connect/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"a"}, "client_secret": {"b"}, "scope": {"acxapi"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Token string `json:"access_token"`
		Scope string
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Token == "" || got.Scope != "acxapi" {
		t.Fatalf("%d %+v %v", resp.StatusCode, got, err)
	}
	a.token = got.Token
	return a
}

// part of a form; without a file name a plain field.
type part struct{ name, file, content string }

func form(parts []part) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name=%q`, p.name)}}
		if p.file != "" {
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, p.name, p.file))
		}
		pw, _ := w.CreatePart(h)
		io.WriteString(pw, p.content)
	}
	w.Close()
	return b.String(), w.FormDataContentType()
}

func (a *acx) request(method, path, contentType string, body io.Reader) answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text), err}
}

func (a *acx) parts(parts ...part) answer {
	a.t.Helper()
	body, contentType := form(parts)
	return a.request("POST", "/Media/Upload", contentType, strings.NewReader(body))
}

// upload sends metadata and a file under the last element of name.
func (a *acx) upload(metadata, file string) answer {
	a.t.Helper()
	return a.parts(part{"metadata", "", metadata}, part{"file", file, "bytes of " + file})
}

func audio(name string) string {
	return fmt.Sprintf(`{"FileName":%q,"UploadType":"Audio","ClientCallId":%q}`, name, strings.TrimSuffix(name, ".wav"))
}

func TestAcxSentences(t *testing.T) {
	const (
		extension = "You must upload a file with one of the specified allowed extensions."
		noField   = "You must upload metadata in the request form."
		unparsed  = "Unable to properly parse metadata to chat or audio."
		badData   = "You must upload valid data in your metadata request form payload."
		noObject  = "Invalid metadata form object."
		badName   = "You must upload a valid file name with a valid file extension."
		mismatch  = "File extension in metadata file name and upload file must match!"
		locale    = "Unsupported locale id provided."
		hierarchy = "Invalid Hierarchy Id/Code!"
		duplicate = "An interaction with this file name already exists."
	)
	with := func(more string) []part {
		return []part{{"metadata", "", `{"FileName":"d/n.wav","UploadType":"Audio",` + more + `}`}, {"file", "n.wav", "x"}}
	}
	for _, quoted := range []bool{false, true} {
		for _, c := range []struct {
			parts []part
			want  string
		}{
			{[]part{{"file", "a.wav", "x"}}, noField},
			{[]part{{"metadata", "m.json", audio("a.wav")}, {"file", "a.wav", "x"}}, noField},
			{[]part{{"metadata", "", "not json"}, {"file", "a.wav", "x"}}, unparsed},
			{[]part{{"metadata", "", `["FileName"]`}, {"file", "a.wav", "x"}}, unparsed},
			{[]part{{"metadata", "", `{"FileName":"a.wav"}`}, {"file", "a.wav", "x"}}, unparsed},
			{[]part{{"metadata", "", `{"FileName":"a.wav","UploadType":"Video"}`}, {"file", "a.wav", "x"}}, unparsed},
			{[]part{{"metadata", "", "null"}, {"file", "a.wav", "x"}}, noObject},
			{[]part{{"metadata", "", "{}"}, {"file", "a.wav", "x"}}, noObject},
			{[]part{{"metadata", "", `{"UploadType":"Audio"}`}, {"file", "a.wav", "x"}}, badName},
			{[]part{{"metadata", "", audio("a")}, {"file", "a", "x"}}, badName},
			{[]part{{"metadata", "", audio("d/.wav")}, {"file", ".wav", "x"}}, badName},
			{[]part{{"metadata", "", audio("a.wav")}}, extension},
			{[]part{{"metadata", "", audio("a.wma")}, {"file", "a.wma", "x"}}, extension},
			{[]part{{"metadata", "", audio("a.zip")}, {"file", "a.zip", "x"}}, extension},
			{[]part{{"metadata", "", `{"FileName":"a.wav","UploadType":"Chat"}`}, {"file", "a.wav", "x"}}, extension},
			{[]part{{"metadata", "", audio("a.wav")}, {"file", "a.mp3", "x"}}, mismatch},
			{[]part{{"metadata", "", audio("a.wav")}, {"file", "a.WAV", "x"}}, mismatch},
			{[]part{{"metadata", "", audio("a.wav")}, {"file", "b.wav", "x"}}, mismatch},
			{with(`"LocaleId":1031`), locale},
			{with(`"LocaleId":"1033"`), badData},
			{with(`"CallDirection":"inbound"`), badData},
			{with(`"InteractionDate":"20.11.2025"`), badData},
			{with(`"ExtendedMetadataValues":{"a":1}`), badData},
			{with(`"HierarchyCode":"Nope"`), hierarchy},
			{with(`"HierarchyId":"00000000-0000-0000-0000-000000000002"`), hierarchy},
			{with(`"LocaleId":2058,"HierarchyCode":"BIL","ApplyHierarchyToAgent":true,"Unheard":[1],"phone":null`), ""},
			{with(`"LocaleId":1033`), duplicate}, // d/n.wav is there now
			{[]part{{"file", "chat.zip", "x"}, {"metadata", "", `{"filename":"chat.zip","UPLOADTYPE":"Chat"}`}}, ""},
		} {
			a := newAcx(t, sandbox.Options{AuthenticX: sandbox.AuthenticXOptions{QuotedErrors: quoted}})
			if c.want == duplicate {
				a.upload(audio("d/n.wav"), "n.wav")
			}
			got := a.parts(c.parts...)
			want := c.want
			if quoted {
				want = fmt.Sprintf("%q", want)
			}
			if c.want == "" && got.status != 200 || c.want != "" && (got.status != 400 || got.body != want) {
				t.Errorf("%v: %d %s, want %s", c.parts, got.status, got.body, want)
			}
		}
	}
}

func TestAcxCasing(t *testing.T) {
	for camel, want := range map[bool]string{
		false: `{"Id":"1","FileName":"/extmedia/a.wav.acxMedia","FileSizeKb":0}`,
		true:  `{"id":"1","fileName":"/extmedia/a.wav.acxMedia","fileSizeKb":0}`,
	} {
		a := newAcx(t, sandbox.Options{ID: func(string) string { return "1" }, AuthenticX: sandbox.AuthenticXOptions{CamelCase: camel}})
		if got := a.upload(audio("acme/a.wav"), "a.wav"); got.status != 200 || got.body != want {
			t.Errorf("%+v", got)
		}
		if got := a.listed(url.Values{}); len(got) != 1 || got[0]["id"] != "1" || got[0]["origFileName"] != "acme/a.wav" || got[0]["fileName"] != "a.wav.acxMedia" || got[0]["clientCallId"] != "acme/a" {
			t.Errorf("%+v", got)
		}
	}
}

func (a *acx) listed(q url.Values) []map[string]any {
	a.t.Helper()
	if !q.Has("StartDate") {
		q.Set("StartDate", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
		q.Set("EndDate", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}
	got := a.request("GET", "/Metadata?"+q.Encode(), "", nil)
	var list []map[string]any
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.status != 200 {
		a.t.Fatalf("%+v: %v", got, err)
	}
	return list
}

func TestAcxList(t *testing.T) {
	now := time.Now()
	a := newAcx(t, sandbox.Options{Now: func() time.Time { return now }, AuthenticX: sandbox.AuthenticXOptions{ListingDelay: 3 * time.Second}})
	for n := range 25 {
		name := fmt.Sprintf("%02d.wav", n)
		a.upload(audio(name), name)
	}
	if got := a.listed(url.Values{}); len(got) != 0 {
		t.Fatalf("%d are listed at once", len(got))
	}
	now = now.Add(3 * time.Second)
	var names []string
	for q := (url.Values{"PageSize": {"7"}}); ; {
		page := a.listed(q)
		if len(page) == 0 || len(names) > 25 {
			break
		}
		for _, e := range page {
			names = append(names, e["origFileName"].(string))
		}
		q.Set("LastId", page[len(page)-1]["id"].(string))
	}
	if len(names) != 25 || names[0] != "00.wav" || names[24] != "24.wav" {
		t.Fatalf("%v", names)
	}
	if got := a.listed(url.Values{}); len(got) != 10 {
		t.Errorf("a page has %d by default", len(got))
	}
	if got := a.listed(url.Values{"ClientCallId": {"03,19,99"}}); len(got) != 2 || got[1]["origFileName"] != "19.wav" {
		t.Errorf("%v", got)
	}
	if got := a.listed(url.Values{"MediaType": {"Chat"}}); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := a.listed(url.Values{"StartDate": {"2020-01-01"}, "EndDate": {"2020-01-02T10:00:00"}}); len(got) != 0 {
		t.Errorf("%v", got)
	}
	for _, q := range []string{"", "StartDate=2025-01-02&EndDate=2025-01-01", "StartDate=x&EndDate=y", "StartDate=2025-01-01&EndDate=2025-01-02&PageSize=0",
		"StartDate=2025-01-01&EndDate=2025-01-02&ClientCallId=" + strings.Repeat("a,", 100)} {
		if got := a.request("GET", "/Metadata?"+q, "", nil); got.status != 400 {
			t.Errorf("%q: %+v", q, got)
		}
	}
}

// A name belongs to the first whole upload, whatever became of its answer.
func TestAcxNamesUnderFaults(t *testing.T) {
	media := func(kind sandbox.Kind) []sandbox.Fault {
		f := sandbox.Fault{Kind: kind, Route: sandbox.RouteMedia, First: 1}
		if strings.HasPrefix(string(kind), "status") || kind == sandbox.Early {
			f.Status = 503
		}
		return []sandbox.Fault{f}
	}
	for kind, stored := range map[sandbox.Kind]bool{
		sandbox.DropStored: true, sandbox.StatusStored: true, sandbox.HTML: true, sandbox.BrokenJSON: true, sandbox.Truncated: true,
		sandbox.Empty: true, sandbox.OtherJSON: true, sandbox.IDHuge: true, sandbox.IDPath: true, sandbox.IDCRLF: true, sandbox.IDOther: true, sandbox.ShortLength: true,
		sandbox.DropLost: false, sandbox.Status: false, sandbox.DropMid: false, sandbox.Refuse: false, sandbox.Early: false,
	} {
		a := newAcx(t, sandbox.Options{Faults: media(kind)})
		a.upload(audio("a.wav"), "a.wav")
		if got := len(a.c.Interactions()) == 1; got != stored {
			t.Errorf("%s: stored %t, want %t", kind, got, stored)
		}
		second := a.upload(audio("a.wav"), "a.wav")
		if (second.status == 400) != stored || len(a.c.Stored()) != 1 || !a.c.Stored()[0].Effect {
			t.Errorf("%s: %+v, %+v", kind, second, a.c.Stored())
		}
		if s := a.c.Summary(); s.Interactions["Audio"] != 1 || s.Refused > 1 || (s.Refused == 1) != stored {
			t.Errorf("%s: %+v", kind, s)
		}
	}
	// A fault may name one recording, by its file name.
	a := newAcx(t, sandbox.Options{Faults: []sandbox.Fault{
		{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, CorrelationID: "b.wav"},
		{Kind: sandbox.Status, Status: 503, Route: sandbox.RouteMedia, Every: 3},
	}})
	for _, want := range []string{"a.wav 200", "b.wav 0", "c.wav 503", "d.wav 200"} {
		name, _, _ := strings.Cut(want, " ")
		if got := fmt.Sprint(name, " ", a.upload(audio(name), name).status); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := a.c.Stored(); len(got) != 3 || got[1].Key != "b.wav" {
		t.Errorf("%+v", got)
	}
	if err := sandbox.NewAuthenticX(sandbox.Options{}).SetFaults(sandbox.Fault{Kind: sandbox.Slow, Route: sandbox.RouteSession}); err == nil {
		t.Error("a fault for a route that AuthenticX does not have was taken")
	}
}

// When a name is taken is not documented: by default with the whole upload.
func TestAcxCutUpload(t *testing.T) {
	for atStart, want := range map[bool]int{false: 200, true: 400} {
		a := newAcx(t, sandbox.Options{
			AuthenticX: sandbox.AuthenticXOptions{TakenAtStart: atStart},
			Faults:     []sandbox.Fault{{Kind: sandbox.DropMid, Route: sandbox.RouteMedia, AfterBytes: 100_000, First: 1}},
		})
		big := part{"file", "a.wav", strings.Repeat("x", 300_000)}
		if got := a.parts(part{"metadata", "", audio("a.wav")}, big); got.err == nil {
			t.Fatalf("%+v", got)
		}
		if got := a.parts(part{"metadata", "", audio("a.wav")}, big); got.status != want || len(a.c.Interactions()) != map[int]int{200: 1, 400: 0}[want] {
			t.Errorf("taken at start %t: %+v", atStart, got)
		}
		if got := a.parts(part{"metadata", "", audio("b.wav")}, part{"file", "b.wav", "x"}); got.status != 200 {
			t.Errorf("taken at start %t: a whole upload: %+v", atStart, got)
		}
	}
}

func TestAcxRoutes(t *testing.T) {
	a := newAcx(t, sandbox.Options{RatePerMinute: 5, RetryAfter: "9", AuthenticX: sandbox.AuthenticXOptions{LooseNames: true}})
	if got := a.request("GET", "/Hierarchy/All", "", nil); got.status != 200 || !strings.Contains(got.body, `"hierarchyCodes":["BIL"]`) {
		t.Errorf("%+v", got)
	}
	if got := a.upload(audio("a.wav"), "other.wav"); got.status != 200 {
		t.Errorf("loose names: %+v", got)
	}
	if got := a.parts(part{"metadata", "", audio("s.wav")}, part{"signedUrl", "", "https://x"}); got.status != 400 {
		t.Errorf("signedUrl: %+v", got)
	}
	if got := a.request("POST", "/Media/Upload", "application/json", strings.NewReader("{}")); got.status != 415 {
		t.Errorf("no form: %+v", got)
	}
	if got := a.request("POST", "/Media/Upload", "multipart/form-data; boundary=b", strings.NewReader("--x\r\n\r\n")); got.status != 400 {
		t.Errorf("broken form: %+v", got)
	}
	if got := a.request("GET", "/Hierarchy/All", "", nil); got.status != 429 || got.header.Get("Retry-After") != "9" {
		t.Errorf("the sixth request: %+v", got)
	}
	for path, want := range map[string]int{"/": 404, "/TextMedia/Upload": 404, "/Media/Upload": 405} {
		if got := a.request("GET", path, "", nil); got.status != want {
			t.Errorf("%s: %+v", path, got)
		}
	}
	a.c.ExpireTokens()
	if got := a.request("GET", "/Hierarchy/All", "", nil); got.status != 401 {
		t.Errorf("expired: %+v", got)
	}
	none := newAcx(t, sandbox.Options{AuthenticX: sandbox.AuthenticXOptions{Hierarchies: []sandbox.Hierarchy{}}})
	if got := none.request("GET", "/Hierarchy/All", "", nil); got.status != 404 {
		t.Errorf("no hierarchies: %+v", got)
	}
	resp, err := http.PostForm(a.url+"/connect/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"a"}, "client_secret": {"b"}, "scope": {"other"}})
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("another scope: %v, %v", resp, err)
	}
	resp.Body.Close()
}

func TestAcxView(t *testing.T) {
	var told []sandbox.Stored
	a := newAcx(t, sandbox.Options{OnStored: func(s sandbox.Stored) { told = append(told, s) }})
	a.upload(audio("a.wav"), "a.wav")
	if diff := cmp.Diff(a.c.Stored(), told); diff != "" || len(told) != 1 || told[0].Key != "a.wav" || told[0].Bytes != 14 {
		t.Errorf("%+v %s", told, diff)
	}
	for name, want := range map[string]string{"interactions": `"file_name":"a.wav"`, "requests": `"route":"media"`, "summary": `"Audio":1`} {
		if got := a.request("GET", "/_sandbox/"+name, "", nil); !strings.Contains(got.body, want) {
			t.Errorf("%s: %s", name, got.body)
		}
	}
}
