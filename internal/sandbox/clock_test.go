package sandbox_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/sandbox"
	"ingestd/internal/sandbox/pipenet"

	"github.com/google/go-cmp/cmp"
)

// inBubble runs a test against a fake CallMiner over pipes under a fake clock.
func inBubble(t *testing.T, o sandbox.Options, f func(*testing.T, *lab)) {
	synctest.Test(t, func(t *testing.T) {
		ln := pipenet.Listen()
		ctx, cancel := context.WithCancel(t.Context())
		c := sandbox.NewCallMiner(o)
		served := make(chan error)
		go func() { served <- sandbox.Serve(ctx, ln, c) }()
		transport := &http.Transport{DialContext: ln.DialContext, DisableKeepAlives: true}
		l := &lab{t: t, c: c, url: "http://callminer.test", http: &http.Client{Transport: transport}}
		defer func() { // also when f fails: a bubble must not leave goroutines
			cancel()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
			transport.CloseIdleConnections()
		}()
		l.token = l.newToken()
		f(t, l)
	})
}

func TestTokenExpires(t *testing.T) {
	inBubble(t, sandbox.Options{}, func(t *testing.T, l *lab) {
		s := l.open("c-1", 3)
		time.Sleep(3600*time.Second - time.Since(bubbleStart()) - 1)
		if a := l.json("session/metadatamedia", sessionBody("c-2", 3)); a.status != 200 {
			t.Fatalf("just before the end: %+v", a)
		}
		time.Sleep(1)
		if a := l.media(s, []byte("abc")); a.status != 401 {
			t.Fatalf("at the end: %+v", a)
		}
		l.token = l.newToken()
		if a := l.media(s, []byte("abc")); a.status != 201 {
			t.Fatalf("with a new token: %+v", a)
		}
	})
}

// bubbleStart is when every synctest bubble starts.
func bubbleStart() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestTokenEndsDuringUpload(t *testing.T) {
	for _, atEnd := range []bool{false, true} {
		o := sandbox.Options{TokenLife: time.Minute, Unknowns: sandbox.Unknowns{TokenCheckedAtEnd: atEnd},
			Faults: []sandbox.Fault{{Kind: sandbox.Slow, Route: sandbox.RouteMedia, BytesPerSecond: 10}}}
		inBubble(t, o, func(t *testing.T, l *lab) {
			start := time.Now()
			a := l.send("c-1", sound(1000))
			if took := time.Since(start); took < 100*time.Second || took > 101*time.Second {
				t.Errorf("1000 bytes at 10 a second took %v", took)
			}
			want, state := 201, sandbox.SessionComplete
			if atEnd {
				want, state = 401, sandbox.SessionRefused
			}
			if a.status != want || l.lastSession().State != state {
				t.Errorf("checked at the end %v: %+v, session %s", atEnd, a, l.lastSession().State)
			}
		})
	}
}

func TestSlowAnswer(t *testing.T) {
	o := sandbox.Options{Faults: []sandbox.Fault{{Kind: sandbox.Slow, Route: sandbox.RouteMedia, Delay: sandbox.Duration(90 * time.Second)}}}
	inBubble(t, o, func(t *testing.T, l *lab) {
		l.http.Timeout = time.Minute
		s := l.open("c-1", 3)
		if a := l.media(s, []byte("abc")); a.err == nil {
			t.Fatalf("answered within a minute: %+v", a)
		}
		if d := cmp.Diff([]string{"c-1:published"}, l.states()); d != "" {
			t.Fatalf("stored before the answer (-want +got):\n%s", d)
		}
		synctest.Wait()
		reqs := l.c.Requests()
		if last := reqs[len(reqs)-1]; last.Status != 0 || last.EndedAt.IsZero() {
			t.Fatalf("the client left, the request goes on: %+v", last)
		}
	})
}

func TestStoredLate(t *testing.T) {
	o := sandbox.Options{Faults: []sandbox.Fault{{Kind: sandbox.StatusLate, Route: sandbox.RouteMedia, Status: 504, Delay: sandbox.Duration(90 * time.Second)}}}
	inBubble(t, o, func(t *testing.T, l *lab) {
		start := time.Now()
		a := l.send("c-1", []byte("abc"))
		if a.status != 504 || time.Since(start) > time.Second || len(l.c.Contacts()) != 0 {
			t.Fatalf("%+v after %v", a, time.Since(start))
		}
		time.Sleep(89 * time.Second)
		if len(l.c.Contacts()) != 0 {
			t.Fatal("stored early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if d := cmp.Diff([]string{"c-1:published"}, l.states()); d != "" {
			t.Fatalf("contacts (-want +got):\n%s", d)
		}
	})
}

func TestStallHoldsTheBody(t *testing.T) {
	o := sandbox.Options{Faults: []sandbox.Fault{{Kind: sandbox.Stall, Route: sandbox.RouteMedia, AfterBytes: 5000}}}
	inBubble(t, o, func(t *testing.T, l *lab) {
		l.http.Timeout = 60 * time.Second
		s := l.open("c-1", 1<<20)
		body, start := &zeros{1 << 20}, time.Now()
		a := l.do("POST", "/ingestion/api/media/"+s, l.mediaHeader(), body, 1<<20)
		if a.err == nil || time.Since(start) != time.Minute {
			t.Fatalf("after %v: %+v", time.Since(start), a)
		}
		if got := l.lastSession(); got.State != sandbox.SessionIncomplete || got.Bytes != 5000 {
			t.Fatalf("session = %+v", got)
		}
		if body.n < 1<<20-200<<10 {
			t.Fatalf("the client got rid of %d bytes", 1<<20-body.n)
		}
	})
}

func TestSessionEnds(t *testing.T) {
	o := sandbox.Options{Unknowns: sandbox.Unknowns{SessionLife: 10 * time.Minute}}
	inBubble(t, o, func(t *testing.T, l *lab) {
		kept, lost := l.open("c-1", 3), l.open("c-2", 3)
		time.Sleep(10*time.Minute - 1)
		if a := l.media(kept, []byte("abc")); a.status != 201 {
			t.Fatalf("in time: %+v", a)
		}
		time.Sleep(1)
		if a := l.media(lost, []byte("abc")); a.status != 404 {
			t.Fatalf("too late: %+v", a)
		}
	})
}

func TestServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- sandbox.Serve(ctx, ln, sandbox.NewCallMiner(sandbox.Options{})) }()
	res, err := http.Get("http://" + ln.Addr().String() + "/_sandbox/summary")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !strings.Contains(string(body), `"requests":0`) {
		t.Fatalf("%s %v", body, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatalf("Serve = %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Fatal("still listening")
	}
	if err := sandbox.Serve(t.Context(), ln, nil); err == nil {
		t.Fatal("no error from a closed listener")
	}
}
