package senders

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// silent dials pipes whose other end reads everything and says nothing.
func silent(t *testing.T) Dial {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		t.Cleanup(func() { server.Close() })
		return client, nil
	}
}

func TestClientTLS(t *testing.T) {
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 1 {
				t.Errorf("%s", r.Proto)
			}
		}))
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		s.Config.ErrorLog = discardLog()
		s.StartTLS()
		pool := x509.NewCertPool()
		pool.AddCert(s.Certificate())
		a := NewClient(Options{RootCAs: pool}).JSON(t.Context(), "POST", s.URL, nil, []byte("{}"))
		if (a.Status == 200) != ok {
			t.Errorf("TLS %x: %+v", version, a)
		}
		unknown := NewClient(Options{}).JSON(t.Context(), "POST", s.URL, nil, []byte("{}"))
		if e := Classify(unknown, time.Now()); e.Class != NotSent {
			t.Errorf("a server with an unknown certificate: %v", e)
		}
		s.Close()
	}
}

func TestClientRefusesOpenHTTP(t *testing.T) {
	dialled := 0
	dial := func(context.Context, string, string) (net.Conn, error) {
		dialled++
		return nil, errors.New("no network here")
	}
	for _, c := range []struct {
		url   string
		allow bool
		want  int
	}{
		{"http://vendor.example/x", false, 0}, {"file:///etc/passwd", true, 0}, {":", true, 0},
		{"http://vendor.example/x", true, 1}, {"http://127.0.0.1/x", false, 1},
	} {
		dialled = 0
		client := NewClient(Options{AllowHTTP: c.allow, Dial: dial})
		m := &memory{Reader: strings.NewReader("a")}
		for _, a := range []Answer{
			client.JSON(t.Context(), "POST", c.url, nil, []byte("{}")),
			client.Media(t.Context(), "POST", c.url, nil, NewBody(m, 1, "", &commits{}, nil)),
		} {
			if e := Classify(a, time.Now()); e.Class != NotSent || dialled > 2*c.want || dialled < c.want || m.closed > 1 {
				t.Errorf("%+v: %v, dialled %d", c, e, dialled)
			}
		}
		if m.closed != 1 {
			t.Errorf("%+v: media closed %d times", c, m.closed)
		}
	}
}

func TestClientSendsNoReplayHeaders(t *testing.T) {
	var got http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer s.Close()
	h := http.Header{"Idempotency-Key": {"1"}, "X-Idempotency-Key": {"2"}, "X-Auth-Token": {"3"}}
	if a := NewClient(Options{}).JSON(t.Context(), "POST", s.URL, h, []byte("{}")); a.Status != 200 {
		t.Fatal(a.Err)
	}
	if got.Get("Idempotency-Key")+got.Get("X-Idempotency-Key") != "" || got.Get("X-Auth-Token") != "3" {
		t.Fatalf("%v", got)
	}
	if h.Get("Idempotency-Key") != "1" || h.Get("User-Agent") != "" {
		t.Fatal("the caller's header was changed")
	}
}

// net/http rewinds bodies in memory and sends them again when GetBody is set.
func TestClientTakesGetBodyAway(t *testing.T) {
	stop := errors.New("stop")
	var passed *http.Request
	tr := &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		passed = r
		return nil, stop
	}}
	req, err := http.NewRequest("POST", "http://127.0.0.1/", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (noReplay{tr}).RoundTrip(req); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if passed.GetBody != nil || req.GetBody == nil {
		t.Fatal("GetBody reached the transport, or the caller's request was changed")
	}
}

// talk dials pipes to a server that reads the request head and then writes
// each piece.
func talk(pieces ...string) Dial {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			buf := make([]byte, 64<<10)
			if _, err := server.Read(buf); err != nil {
				return
			}
			for _, p := range pieces {
				if _, err := server.Write([]byte(p)); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, server)
		}()
		return client, nil
	}
}

func TestClientFloodOfInterimAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, sum := pinned(100_000)
		flood := strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", 1000)
		j := &commits{}
		g := NewBody(&memory{Reader: bytes.NewReader(data)}, 100_000, sum, j, nil)
		client := NewClient(Options{Dial: talk(flood)})
		a := client.Media(t.Context(), "POST", "http://127.0.0.1/", nil, g)
		if e := Classify(a, time.Now()); e.Class != Incomplete || a.Sent == 100_000 {
			t.Fatalf("%v, %d bytes", e, a.Sent)
		}
	})
}

func TestClientBoundsTheHead(t *testing.T) {
	for size, ok := range map[int]bool{60 << 10: true, 70 << 10: false} {
		head := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + strings.Repeat("h", size) + "\r\n\r\n{}"
		a := NewClient(Options{Dial: talk(head)}).JSON(t.Context(), "POST", "http://127.0.0.1/", nil, []byte("{}"))
		if (a.Status == 200) != ok || (a.Err == nil) != ok {
			t.Errorf("a head of %d bytes: status %d, %v", size, a.Status, a.Err)
		}
	}
}

func TestClientBoundsTheDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		a := NewClient(Options{Dial: hang}).JSON(t.Context(), "POST", "http://127.0.0.1/", nil, []byte("{}"))
		if e := Classify(a, time.Now()); e.Class != NotSent || time.Since(start) != dialTimeout {
			t.Fatalf("%v after %v", e, time.Since(start))
		}
	})
}

// A slow but steady upload takes longer than any fixed timeout.
func TestClientAllowsSteadyUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 20 << 20
		data, sum := pinned(size)
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				if _, err := server.Read(make([]byte, 64<<10)); err != nil {
					return
				}
				got := 0
				buf := make([]byte, 2<<20)
				for got < size {
					<-time.After(25 * time.Second)
					n, err := io.ReadFull(server, buf)
					if got += n; err != nil {
						return
					}
				}
				_, _ = io.WriteString(server, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
			}()
			return client, nil
		}
		start := time.Now()
		g := NewBody(&memory{Reader: bytes.NewReader(data)}, size, sum, &commits{}, nil)
		a := NewClient(Options{Dial: dial}).Media(t.Context(), "POST", "http://127.0.0.1/", nil, g)
		if a.Status != 201 || !a.Passed || a.Sent != size || time.Since(start) < 4*time.Minute {
			t.Fatalf("%+v after %v", a, time.Since(start))
		}
	})
}

// An upload without progress ends after a minute, whatever its size allows.
func TestClientEndsStalledUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10 << 20
		data, sum := pinned(size)
		end := make(chan struct{})
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				_, _ = io.ReadFull(server, make([]byte, 1<<20))
				<-end
			}()
			return client, nil
		}
		start := time.Now()
		g := NewBody(&memory{Reader: bytes.NewReader(data)}, size, sum, &commits{}, nil)
		a := NewClient(Options{Dial: dial}).Media(t.Context(), "POST", "http://127.0.0.1/", nil, g)
		took := time.Since(start)
		if !errors.Is(a.Err, errStalled) || a.Passed || took < stallTimeout || took > stallTimeout+5*time.Second {
			t.Errorf("%+v after %v", a, took)
		}
		close(end)
	})
}

func TestClientBoundsTheBody(t *testing.T) {
	for size, ok := range map[int]bool{maxBodyBytes: true, maxBodyBytes + 1: false, 3 * maxBodyBytes: false} {
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{}%s", size, strings.Repeat(" ", size-2))
		a := NewClient(Options{Dial: talk(answer)}).JSON(t.Context(), "POST", "http://127.0.0.1/", nil, []byte("{}"))
		if a.Status != 200 || (a.BodyErr == nil) != ok {
			t.Errorf("a body of %d bytes: %v", size, a.BodyErr)
		}
	}
}

// As a whole an upload has its size divided by 64 KiB/s, plus a minute.
func TestClientEndsCreepingUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10 << 20
		data, sum := pinned(size)
		var wg sync.WaitGroup
		defer wg.Wait()
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			wg.Go(func() {
				defer server.Close()
				buf := make([]byte, 64<<10)
				for {
					<-time.After(10 * time.Second)
					if _, err := io.ReadFull(server, buf); err != nil {
						return
					}
				}
			})
			return client, nil
		}
		start := time.Now()
		g := NewBody(&memory{Reader: bytes.NewReader(data)}, size, sum, &commits{}, nil)
		a := NewClient(Options{Dial: dial}).Media(t.Context(), "POST", "http://127.0.0.1/", nil, g)
		took := time.Since(start)
		if e := Classify(a, time.Now()); e.Class != Incomplete || took < 3*time.Minute || took > 4*time.Minute {
			t.Fatalf("%v after %v", e, took)
		}
	})
}

func TestRedactKeepsOnlyOwnWords(t *testing.T) {
	for _, answer := range []string{
		canary + "\r\n\r\n", "HTTP/1.1 " + canary + "\r\n\r\n", "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n",
	} {
		a := NewClient(Options{Dial: talk(answer)}).JSON(t.Context(), "POST", "http://127.0.0.1/?key="+canary, nil, []byte("{}"))
		for _, err := range []error{a.Err, a.BodyErr} {
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("%q: %v", answer, err)
			}
		}
		if a.Err == nil && a.BodyErr == nil {
			t.Errorf("%q was taken: %+v", answer, a)
		}
	}
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
