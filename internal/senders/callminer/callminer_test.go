package callminer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/callminer"
)

func sender(t *testing.T, c callminer.Config, d senders.Deps) *callminer.Client {
	t.Helper()
	s, err := callminer.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func constant(fields map[string]string) func(call.Item) (map[string]string, error) {
	return func(call.Item) (map[string]string, error) { return fields, nil }
}

func TestPlanIsTheExactRequest(t *testing.T) {
	c := config(t, "http://127.0.0.1:1")
	c.VoicePrint = true
	s := sender(t, c, senders.Deps{Fields: constant(map[string]string{"Zone": "a<b>&\"c\" 😀", "ANI": "1", "Empty": ""})})
	plan, err := s.Plan(item())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Metadata":[{"Key":"ANI","Value":"1"},{"Key":"Agent","Value":"Canary Quill"},{"Key":"Zone","Value":"a<b>&\"c\" 😀"}],` +
		`"TotalMediaLength":482316,"MediaType":"audio/wav","ClientCaptureDate":"2025-11-20T09:15:02.000+02:00",` +
		`"VoicePrintIdentifier":"Canary Quill","SourceId":"AcmeRecorder","CorrelationId":"` + item().Delivery.UUID + `"}`
	if diff := cmp.Diff(want, string(plan.Requests[0].Body.(json.RawMessage))); diff != "" {
		t.Fatal(diff)
	}
	media := plan.Requests[1]
	media.Body = nil
	if diff := cmp.Diff(senders.PlannedRequest{
		Step: "media", Method: "POST", URL: "http://127.0.0.1:1/ingestion/api/media/{SessionId}",
		Headers: map[string]string{"Content-Type": "audio/wav", "Content-Length": "482316"},
	}, media); diff != "" {
		t.Fatal(diff)
	}
}

// planned returns the session body, or the code of the refusal.
func planned(t *testing.T, s *callminer.Client, i call.Item) (map[string]any, string) {
	t.Helper()
	plan, err := s.Plan(i)
	if err != nil {
		var e *senders.Error
		if !errors.As(err, &e) || e.Class != senders.Rejected || e.Text == "" {
			t.Fatalf("%v is no rejection", err)
		}
		return nil, e.Code
	}
	var body map[string]any
	if err := json.Unmarshal(plan.Requests[0].Body.(json.RawMessage), &body); err != nil {
		t.Fatal(err)
	}
	return body, ""
}

func TestMediaTypes(t *testing.T) {
	s := sender(t, config(t, "http://127.0.0.1:1"), senders.Deps{})
	for _, c := range []struct {
		container string
		video     bool
		want      string
	}{
		{"wav", false, "audio/wav"}, {"mp3", false, "audio/mp3"}, {"ogg", false, "audio/ogg"},
		{"wma", false, "audio/wma"}, {"asf", false, "audio/wma"}, {"m4a", false, "audio/m4a"},
		{"mp4", false, "audio/m4a"}, {"mp4", true, "video/mp4"},
		{"amr", false, ""}, {"flac", false, ""}, {"aac", false, ""}, {"", false, ""},
	} {
		i := item()
		i.Audio.Container, i.Audio.Video = c.container, c.video
		body, code := planned(t, s, i)
		if c.want == "" && code != "unsupported_format" || c.want != "" && body["MediaType"] != c.want {
			t.Errorf("%+v: %v, %q", c, body["MediaType"], code)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*call.Item)
		fields map[string]string
		config func(*callminer.Config)
		want   string
	}{
		{name: "1 GiB", change: func(i *call.Item) { i.File.Bytes = 1 << 30 }},
		{name: "1 GiB and 1", change: func(i *call.Item) { i.File.Bytes = 1<<30 + 1 }, want: "too_large"},
		{name: "no bytes", change: func(i *call.Item) { i.File.Bytes = 0 }, want: "empty"},
		{name: "1 h 45 min", change: func(i *call.Item) { i.Audio.DurationSeconds = 6300 }},
		{name: "and a bit", change: func(i *call.Item) { i.Audio.DurationSeconds = 6300.01 }, want: "too_long"},
		{name: "agent id stands in", change: func(i *call.Item) { i.Call.AgentName, i.Call.AgentID = "", "a7" }},
		{name: "no agent", change: func(i *call.Item) { i.Call.AgentName = "" }, want: "missing_metadata"},
		{name: "agent taken away", fields: map[string]string{"Agent": ""}, want: "missing_metadata"},
		{name: "another column", fields: map[string]string{"Agent": "", "ANI": "1"}},
		{name: "only members", fields: map[string]string{"Agent": "", "SourceId": "x"}, want: "missing_metadata"},
		{name: "no agent to identify", fields: map[string]string{"Agent": "", "ANI": "1"}, config: func(c *callminer.Config) { c.VoicePrint = true }, want: "missing_field"},
		{name: "no start", change: func(i *call.Item) { i.Call.StartedAt = time.Time{} }, want: "missing_field"},
		{name: "odd zone", change: func(i *call.Item) { i.Call.TimeZone = "Mars/Base" }, want: "bad_time_zone"},
		{name: "odd offset", change: func(i *call.Item) { i.Call.TimeZone = "+2" }, want: "bad_time_zone"},
		{name: "no source", fields: map[string]string{"SourceId": ""}, want: "missing_field"},
		{name: "capture date", fields: map[string]string{"ClientCaptureDate": "2025-01-01T00:00:00Z"}},
		{name: "bad capture date", fields: map[string]string{"ClientCaptureDate": "01.01.2025"}, want: "bad_time"},
	} {
		cfg, i := config(t, "http://127.0.0.1:1"), item()
		if c.config != nil {
			c.config(&cfg)
		}
		if c.change != nil {
			c.change(&i)
		}
		s := sender(t, cfg, senders.Deps{Fields: constant(c.fields)})
		if _, code := planned(t, s, i); code != c.want {
			t.Errorf("%s: %q, want %q", c.name, code, c.want)
		}
		if c.want == "" {
			continue
		}
		// Send refuses the same before it touches journal or network: a nil
		// journal would panic, a request would fail otherwise.
		_, err := s.Send(t.Context(), senders.Attempt{Item: i}, nil)
		if e := new(senders.Error); !errors.As(err, &e) || e.Code != c.want {
			t.Errorf("%s: Send says %v", c.name, err)
		}
	}
}

func TestCaptureDate(t *testing.T) {
	s := sender(t, config(t, "http://127.0.0.1:1"), senders.Deps{})
	at := time.Date(2025, 7, 1, 23, 30, 0, 123_999_999, time.UTC)
	for zone, want := range map[string]string{
		"": "2025-07-01T23:30:00.123+00:00", "Europe/Berlin": "2025-07-02T01:30:00.123+02:00",
		"America/Chicago": "2025-07-01T18:30:00.123-05:00", "+05:30": "2025-07-02T05:00:00.123+05:30", "-03:00": "2025-07-01T20:30:00.123-03:00",
	} {
		i := item()
		i.Call.StartedAt, i.Call.TimeZone = at, zone
		if body, code := planned(t, s, i); body["ClientCaptureDate"] != want {
			t.Errorf("%q: %v %s, want %s", zone, body["ClientCaptureDate"], code, want)
		}
	}
}

func TestCorrelationID(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		id   string
		err  error
		want string
	}{
		{"rec/7 ü", nil, ""}, {"", nil, "missing_field"}, {"a\nb", nil, "bad_value"},
		{strings.Repeat("x", 129), nil, "bad_value"}, {"\xff", nil, "bad_value"}, {"", boom, "bad_expression"},
	} {
		s := sender(t, config(t, "http://127.0.0.1:1"), senders.Deps{
			Texts: map[string]func(call.Item) (string, error){"correlation_id": func(call.Item) (string, error) { return c.id, c.err }},
		})
		body, code := planned(t, s, item())
		if code != c.want || code == "" && body["CorrelationId"] != c.id {
			t.Errorf("%+v: %v, %q", c, body["CorrelationId"], code)
		}
	}
	s := sender(t, config(t, "http://127.0.0.1:1"), senders.Deps{
		Fields: func(call.Item) (map[string]string, error) { return nil, boom },
	})
	if _, code := planned(t, s, item()); code != "bad_expression" {
		t.Errorf("%q", code)
	}
}

func TestConfigValidate(t *testing.T) {
	good := config(t, "http://127.0.0.1:1")
	if errs := good.Validate(); len(errs) != 0 {
		t.Fatal(errs)
	}
	region := func(name string) func(*callminer.Config) {
		return func(c *callminer.Config) { c.BaseURL, c.TokenURL, c.Region = "", "", name }
	}
	for _, c := range []struct {
		name   string
		change func(*callminer.Config)
		want   string // "" = fine
	}{
		{"us", region("us"), ""}, {"us-fisma", region("us-fisma"), ""}, {"uk", region("uk"), ""},
		{"au", region("au"), ""}, {"ca", region("ca"), ""}, {"eu", region("eu"), ""},
		{"no region", region(""), "region: missing"},
		{"unknown region", region("mars"), "region: \"mars\""},
		{"region with its own idp", func(c *callminer.Config) { region("eu")(c); c.TokenURL = "https://idp.example/connect/token" }, ""},
		{"both", func(c *callminer.Config) { c.Region = "us" }, "base_url: contradicts"},
		{"base_url alone", func(c *callminer.Config) { c.TokenURL = "" }, "token_url: missing"},
		{"open http", func(c *callminer.Config) { c.BaseURL = "http://vendor.example" }, "base_url: must be https"},
		{"open http allowed", func(c *callminer.Config) { c.BaseURL, c.AllowHTTP = "http://vendor.example", true }, ""},
		{"open token url", func(c *callminer.Config) { c.TokenURL = "http://vendor.example" }, "token_url: must be https"},
		{"client_id", func(c *callminer.Config) { c.ClientID = "" }, "client_id: missing"},
		{"client_secret", func(c *callminer.Config) { c.ClientSecret = senders.Secret{} }, "client_secret: missing"},
		{"source_id", func(c *callminer.Config) { c.SourceID = "" }, "source_id: missing"},
		{"source by expression", func(c *callminer.Config) { c.SourceID, c.Fields = "", map[string]string{"SourceId": "call.queue"} }, ""},
		{"own length", func(c *callminer.Config) { c.Fields = map[string]string{"TotalMediaLength": "1"} }, "fields.TotalMediaLength:"},
		{"decryption key", func(c *callminer.Config) { c.Fields = map[string]string{"AudioDecryptionKey": "1"} }, "fields.AudioDecryptionKey:"},
		{"common", func(c *callminer.Config) { c.Workers = 0 }, "workers:"},
	} {
		cfg := config(t, "http://127.0.0.1:1")
		c.change(&cfg)
		errs := cfg.Validate()
		if got := fmt.Sprint(errs); c.want == "" && len(errs) > 0 || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %q", c.name, got, c.want)
		}
	}
	if n := len((&callminer.Config{}).Validate()); n != 12 {
		t.Errorf("an empty table has %d defects, want all 12 at once: %v", n, (&callminer.Config{}).Validate())
	}
	if _, err := callminer.New(callminer.Config{}, senders.Deps{}); err == nil {
		t.Error("New took an empty table")
	}
}

func TestRegions(t *testing.T) {
	for name, want := range map[string]string{
		"us": "https://api.callminer.net/ingestion/api", "us-fisma": "https://apif.callminer.net/ingestion/api",
		"uk": "https://apiuk.callminer.net/ingestion/api", "au": "https://apiaus.callminer.net/ingestion/api",
		"ca": "https://apica.callminer.net/ingestion/api", "eu": "https://apieuw.callminer.net/ingestion/api",
	} {
		c := config(t, "")
		c.BaseURL, c.TokenURL, c.Region = "", "", name
		plan, err := sender(t, c, senders.Deps{}).Plan(item())
		if err != nil || plan.Requests[0].URL != want+"/session/metadatamedia" {
			t.Errorf("%s: %v, %v", name, plan, err)
		}
	}
}

// tenant answers token and callmetadataconfig.
func tenant(t *testing.T, tokenStatus, status int, body string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/connect/token"):
			w.WriteHeader(tokenStatus)
			fmt.Fprint(w, `{"access_token":"t","expires_in":3600,"token_type":"Bearer"}`)
		case r.Method == "GET" && r.URL.Path == "/ingestion/api/info/callmetadataconfig" && r.Header.Get("Authorization") == "Bearer t":
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		default:
			t.Errorf("unexpected %s %s", r.Method, r.URL.Path)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const columns = `[
 {"ColumnName":"Agent","Max_Char_Length":5,"BaseTypeName":"String","TypeName":"nvarchar"},
 {"ColumnName":"Count","Max_Char_Length":0,"BaseTypeName":"Numeric","TypeName":"int"},
 {"ColumnName":"Share","Max_Char_Length":0,"BaseTypeName":"Numeric","TypeName":"decimal"},
 {"ColumnName":"When","Max_Char_Length":0,"BaseTypeName":"Date","TypeName":"smalldatetime"}]`

func TestCheckComparesColumns(t *testing.T) {
	for _, c := range []struct {
		key, value string
		ok         bool
	}{
		{"Agent", "four", true}, {"Agent", "fifth", false}, {"Agent", "ab😀", true}, {"Agent", "abc😀", false}, {"Agent", "", true},
		{"Count", "12", true}, {"Count", "-3", true}, {"Count", "1.5", false}, {"Count", "one", false},
		{"Share", "1.5", true}, {"Share", "0x1p3", false}, {"Share", "Inf", false},
		{"When", "2025-11-20T09:15:02.000Z", true}, {"When", "2025-11-20", true}, {"When", "20.11.2025", false},
		{"count", "1", false}, {"Unheard", "1", false},
	} {
		cfg := config(t, tenant(t, 200, 200, columns))
		cfg.Fields = map[string]string{c.key: "an expression"}
		findings, err := sender(t, cfg, senders.Deps{Fields: constant(map[string]string{c.key: c.value})}).Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range findings {
			if strings.HasPrefix(f.Text, "fields."+c.key+":") {
				found = true
				if f.OK != c.ok || c.value != "" && len(c.value) > 2 && strings.Contains(f.Text, c.value) {
					t.Errorf("%+v: %+v", c, f)
				}
			}
		}
		if !found {
			t.Errorf("%+v: no finding in %v", c, findings)
		}
	}
}

func TestCheckRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		token, status int
		body          string
		finding, fail bool
	}{
		"credentials refused": {401, 200, columns, true, false},
		"idp has a fault":     {500, 200, columns, false, true},
		"forbidden":           {200, 403, "", true, false},
		"token not accepted":  {200, 401, "", true, false},
		"fault":               {200, 500, "", false, true},
		"html":                {200, 200, "<html>", false, true},
	} {
		findings, err := sender(t, config(t, tenant(t, c.token, c.status, c.body)), senders.Deps{}).Check(t.Context())
		bad := 0
		for _, f := range findings {
			if !f.OK {
				bad++
			}
			if f.Stop != (name == "credentials refused") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if (bad > 0) != c.finding || (err != nil) != c.fail {
			t.Errorf("%s: %+v, %v", name, findings, err)
		}
	}
}

// A misfit is told and nothing else: the vendor decides.
func TestSendWarnsOfMisfits(t *testing.T) {
	var log bytes.Buffer
	s := sender(t, config(t, tenant(t, 200, 200, columns)), senders.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if _, err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("far enough")
	if _, err := s.Send(t.Context(), senders.Attempt{Item: item()}, refusing{stop}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, "column=Agent") || strings.Contains(got, "Quill") {
		t.Fatalf("log: %s", got)
	}
}

type refusing struct{ err error }

func (r refusing) Declaring() error                 { return r.err }
func (r refusing) Declared(map[string]string) error { return r.err }
func (r refusing) Sending(map[string]string) error  { return r.err }
func (r refusing) Committing() error                { return r.err }

// scripted is a tenant whose two routes a test answers.
func scripted(t *testing.T, session, media func(n int, w http.ResponseWriter, correlationID string, size int)) string {
	sessions, uploads := 0, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.HasSuffix(r.URL.Path, "/connect/token"):
			fmt.Fprint(w, `{"access_token":"t","expires_in":3600,"token_type":"Bearer"}`)
		case strings.Contains(r.URL.Path, "/session/"):
			sessions++
			var got struct{ CorrelationID string }
			_ = json.Unmarshal(body, &got)
			session(sessions, w, got.CorrelationID, 0)
		default:
			uploads++
			media(uploads, w, "", len(body))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestIDsGivenOutTwiceAreHeld(t *testing.T) {
	for name, c := range map[string]struct{ session, mining string }{
		"session": {"s", "m%d"}, "mining": {"s%d", "m"},
	} {
		id := func(format string, n int) string { return strings.ReplaceAll(format, "%d", fmt.Sprint(n)) }
		url := scripted(t, func(n int, w http.ResponseWriter, correlationID string, _ int) {
			fmt.Fprintf(w, `{"CorrelationId":%q,"SessionId":%q}`, correlationID, id(c.session, n))
		}, func(n int, w http.ResponseWriter, _ string, size int) {
			w.WriteHeader(201)
			fmt.Fprintf(w, `{"CurrentMediaLength":%d,"TotalMediaLength":%d,"MiningId":%q}`, size, size, id(c.mining, n))
		})
		s := sender(t, config(t, url), senders.Deps{})
		data := []byte("a recording")
		sum := sha256.Sum256(data)
		i := item()
		i.File.Bytes, i.File.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
		if _, err := deliver(t, s, i, data); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		i.Delivery = call.DeliveryOf("another")
		_, err := deliver(t, s, i, data)
		if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Held {
			t.Errorf("%s: %v, want held", name, err)
		}
	}
}

// The session of an earlier attempt is not taken again, also after a restart.
func TestSessionOfAnEarlierAttemptIsHeld(t *testing.T) {
	url := scripted(t, func(_ int, w http.ResponseWriter, correlationID string, _ int) {
		fmt.Fprintf(w, `{"CorrelationId":%q,"SessionId":"s1"}`, correlationID)
	}, nil)
	a := senders.Attempt{Item: item(), Number: 2, IDs: map[string]string{"session_id": "s1"}}
	_, err := sender(t, config(t, url), senders.Deps{}).Send(t.Context(), a, &notes{})
	if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Held || e.Code != "bad_remote_id" {
		t.Fatalf("%v, want held", err)
	}
}

// A 429 holds every worker of the destination: as long as the vendor says, or
// until the next minute, because the guide counts per minute.
func TestTooManyRequestsPauseTheLane(t *testing.T) {
	now := time.Date(2026, 11, 20, 10, 0, 45, 0, time.UTC)
	for header, want := range map[string]time.Duration{"": 15 * time.Second, "40": 40 * time.Second} {
		url := scripted(t, func(_ int, w http.ResponseWriter, _ string, _ int) {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(429)
		}, nil)
		clock := func() time.Time { return now }
		lane := senders.NewLane(senders.Rate{Unlimited: true}, clock)
		_, err := deliver(t, sender(t, config(t, url), senders.Deps{Lane: lane, Now: clock}), item(), nil)
		e := new(senders.Error)
		until, why := lane.Paused()
		if !errors.As(err, &e) || e.RetryAfter != want || until.Sub(now) != want || why != "rate_limited" {
			t.Errorf("Retry-After %q: %v, paused for %v, want %v", header, err, until.Sub(now), want)
		}
	}
}
