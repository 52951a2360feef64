package status_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/ledger/ledgertest"
	"ingestd/internal/status"
)

func emptyReader(t *testing.T) *ledger.Reader {
	t.Helper()
	return ledgertest.Open(t).Reader()
}

// serve runs Serve until the returned function ends it and tells its error.
func serve(t *testing.T, ln net.Listener, h http.Handler) (end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- status.Serve(ctx, ln, h) }()
	t.Cleanup(cancel)
	return sync.OnceValue(func() error { cancel(); return <-ended })
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// The end lets a request finish, refuses new ones, and gives the port back.
func TestServeEndsGracefully(t *testing.T) {
	ln := listen(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	end := serve(t, ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		if r.Context().Err() != nil {
			t.Error("the request was cut")
		}
		io.WriteString(w, "whole")
	}))
	got := make(chan answer, 1)
	go func() {
		a, err := fetch(context.Background(), "GET", "http://"+ln.Addr().String()+"/")
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	// The port is free while the request goes on.
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	again, err := net.Listen("tcp", ln.Addr().String())
	for ; err != nil; again, err = net.Listen("tcp", ln.Addr().String()) {
		if soon.Err() != nil {
			t.Fatal(err)
		}
	}
	again.Close()
	close(goOn)
	if a := <-got; a.body != "whole" {
		t.Errorf("%+v", a)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeTellsALostListener(t *testing.T) {
	ln := listen(t)
	ln.Close()
	if err := status.Serve(t.Context(), ln, http.NotFoundHandler()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// The 65th connection is closed; a place that becomes free is used again.
func TestServeBoundsConnections(t *testing.T) {
	ln := listen(t)
	end := serve(t, ln, http.NotFoundHandler())
	var conns []net.Conn
	for range 65 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	if _, err := conns[64].Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection too many: %v", err)
	}
	if _, err := io.WriteString(conns[0], "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conns[0]); err != nil || len(b) == 0 {
		t.Errorf("the first connection: %q, %v", b, err)
	}
	// It has ended, and so its place is free as soon as the server knows.
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		a, err := fetch(soon, "GET", "http://"+ln.Addr().String()+"/")
		if err == nil && a.code == 404 {
			break
		}
		if soon.Err() != nil {
			t.Fatal(err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	for _, c := range conns {
		c.Close()
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// pipes is a listener in memory, so that a bubble's clock rules it.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// Whoever is slow is cut: to send a header, to take an answer, to finish at
// the end.
func TestServeCutsTheSlow(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: localhost\r\n"
	for name, c := range map[string]struct {
		send string
		stop bool // end the server while the request runs
		want time.Duration
	}{
		"header":  {request, false, 5 * time.Second},
		"nothing": {"", false, 5 * time.Second},
		"answer":  {request + "\r\n", false, time.Minute},
		"the end": {request + "\r\n", true, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := pipes{make(chan net.Conn), make(chan struct{})}
				cut := make(chan error, 1)
				end := serve(t, ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					for {
						if _, err := w.Write(make([]byte, 1<<16)); err != nil {
							cut <- err
							return
						}
					}
				}))
				client, server := net.Pipe()
				ln.conns <- server
				begun := time.Now()
				io.WriteString(client, c.send)
				synctest.Wait() // a request has reached the handler
				if c.stop {
					if err := end(); err != nil {
						t.Error(err)
					}
				}
				if c.send == request+"\r\n" {
					<-cut
				} else if _, err := io.ReadAll(client); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took != c.want {
					t.Errorf("cut after %s, want %s", took, c.want)
				}
				client.Close()
				end()
			})
		})
	}
}
