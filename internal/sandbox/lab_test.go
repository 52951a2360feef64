package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/internal/sandbox"
)

// lab is a fake CallMiner on loopback with a plain HTTP client in front.
type lab struct {
	t     *testing.T
	c     *sandbox.CallMiner
	url   string
	http  *http.Client
	token string
}

func newLab(t *testing.T, o sandbox.Options) *lab {
	t.Helper()
	c := sandbox.NewCallMiner(o)
	srv := httptest.NewServer(c)
	t.Cleanup(func() { c.Close(); srv.Close() })
	l := &lab{t: t, c: c, url: srv.URL, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	l.token = l.newToken()
	return l
}

// answer is a reply as far as it could be read.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (a answer) field(t *testing.T, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return fmt.Sprint(m[name])
}

func (l *lab) do(method, path string, header map[string]string, body io.Reader, length int64) answer {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.url+path, body)
	if err != nil {
		l.t.Fatalf("request: %v", err)
	}
	req.ContentLength = length
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := l.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(got), err}
}

func tokenForm() url.Values {
	return url.Values{
		"client_id": {"acme"}, "client_secret": {"s3cret"}, "grant_type": {"client_credentials"},
		"scope": {"https://callminer.net/auth/platform-ingestion"},
	}
}

func (l *lab) form(v url.Values, header map[string]string) answer {
	h := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	maps.Copy(h, header)
	body := v.Encode()
	return l.do("POST", "/connect/token", h, strings.NewReader(body), int64(len(body)))
}

func (l *lab) newToken() string {
	l.t.Helper()
	a := l.form(tokenForm(), nil)
	if a.status != 200 {
		return "" // tests with faults on the token route ask again
	}
	return a.field(l.t, "access_token")
}

func (l *lab) json(path string, body any) answer {
	l.t.Helper()
	raw, isText := body.(string)
	if !isText {
		b, err := json.Marshal(body)
		if err != nil {
			l.t.Fatalf("marshal: %v", err)
		}
		raw = string(b)
	}
	return l.do("POST", "/ingestion/api/"+path, map[string]string{
		"Authorization": "Bearer " + l.token, "Content-Type": "application/json; charset=utf-8",
	}, strings.NewReader(raw), int64(len(raw)))
}

// object is a JSON object of a request.
type object = map[string]any

// session is a correct body to open a session with.
func sessionBody(correlation string, length int) object {
	return object{
		"Metadata":         []object{{"Key": "Agent", "Value": "A. Agent"}},
		"TotalMediaLength": length, "MediaType": "audio/wav",
		"ClientCaptureDate": "2025-11-20T09:15:02.000+02:00", "SourceId": "recorder-a",
		"CorrelationId": correlation,
	}
}

func with(o object, key string, value any) object {
	o = maps.Clone(o)
	o[key] = value
	return o
}

func without(o object, key string) object {
	o = maps.Clone(o)
	delete(o, key)
	return o
}

// open opens a session and returns its id.
func (l *lab) open(correlation string, length int) string {
	l.t.Helper()
	a := l.json("session/metadatamedia", sessionBody(correlation, length))
	if a.status != 200 {
		l.t.Fatalf("open session: %+v", a)
	}
	if got := a.field(l.t, "CorrelationId"); got != correlation {
		l.t.Fatalf("CorrelationId = %q, want %q", got, correlation)
	}
	return a.field(l.t, "SessionId")
}

func (l *lab) media(session string, body []byte) answer {
	l.t.Helper()
	return l.do("POST", "/ingestion/api/media/"+url.PathEscape(session), l.mediaHeader(),
		bytes.NewReader(body), int64(len(body)))
}

func (l *lab) mediaHeader() map[string]string {
	return map[string]string{"Authorization": "Bearer " + l.token, "Content-Type": "audio/wav"}
}

// raw posts media over a bare connection: it promises length bytes and writes
// only these.
func (l *lab) raw(session string, length int, body []byte) *net.TCPConn {
	l.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { conn.Close() })
	head := fmt.Sprintf("POST /ingestion/api/media/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
		"Authorization: Bearer %s\r\nContent-Type: audio/wav\r\nContent-Length: %d\r\n\r\n", session, l.token, length)
	conn.Write(append([]byte(head), body...)) // may be cut by the sandbox: the reply tells
	return conn.(*net.TCPConn)
}

// send makes both steps.
func (l *lab) send(correlation string, body []byte) answer {
	l.t.Helper()
	return l.media(l.open(correlation, len(body)), body)
}

// faults switches faults on.
func (l *lab) faults(f ...sandbox.Fault) {
	l.t.Helper()
	if err := l.c.SetFaults(f...); err != nil {
		l.t.Fatalf("SetFaults: %v", err)
	}
}

// states lists the contacts as "correlation:state".
func (l *lab) states() []string {
	out := []string{}
	for _, c := range l.c.Contacts() {
		out = append(out, c.CorrelationID+":"+string(c.State))
	}
	return out
}

// lastSession is the session that was opened last.
func (l *lab) lastSession() sandbox.Session {
	l.t.Helper()
	s := l.c.Sessions()
	if len(s) == 0 {
		l.t.Fatal("no session")
	}
	return s[len(s)-1]
}

// sound is n bytes that are not all alike.
func sound(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

// quiet waits until no request is being served: the last reply of a request
// can reach its client before the handler has ended.
func (l *lab) quiet() {
	for l.c.Summary().InFlight > 0 {
		runtime.Gosched()
	}
}

// clock is a clock that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(seconds int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Duration(seconds) * time.Second)
}

// syncBuffer is a buffer several goroutines may write to.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
