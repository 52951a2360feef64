package senders

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync/atomic"
	"time"

	"ingestd/internal/failpoint"
)

// Limits of every exchange (reliability, NET6).
const (
	dialTimeout     = 10 * time.Second
	tlsTimeout      = 10 * time.Second
	continueTimeout = 1 * time.Second  // for a 100 before the body goes anyway
	headerTimeout   = 60 * time.Second // from the last request byte to the answer
	stallTimeout    = 60 * time.Second // without progress of the request body
	totalTimeout    = 60 * time.Second // plus size / minRate
	minRate         = 64 << 10         // bytes per second
	closeTimeout    = 30 * time.Second // for the body's Close before classifying
	maxHeaderBytes  = 64 << 10
	maxBodyBytes    = 1 << 20
	maxInterim      = 8 // 1xx answers before the real one
)

// Dial opens connections; the type of net.Dialer.DialContext.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Options of a destination's client.
type Options struct {
	AllowHTTP bool           // plain http to any host, not only to loopback
	KeepAlive bool           // reuse connections
	Dial      Dial           // nil: net.Dialer
	RootCAs   *x509.CertPool // nil: the system's
	// PublicOnly refuses connections to addresses that are not public: for
	// URLs that an answer named. The refusal is an *Error, "ssrf".
	PublicOnly bool
}

// Client is the HTTP client of one destination. It follows no redirect, keeps
// no cookie, decodes no compression, uses no proxy and never sends a request
// twice by itself: bodies cannot be rewound. Requests with media have a
// Transport of their own and speak HTTP/1.1, because the gate's argument is
// the framing by Content-Length.
type Client struct {
	api, media *http.Client
	allowHTTP  bool
}

// NewClient returns the client of one destination.
func NewClient(o Options) *Client {
	api, media := newTransport(o), newTransport(o)
	// So that a 401 or 413 comes before the recording is sent in vain.
	media.ExpectContinueTimeout = continueTimeout
	return &Client{api: plainClient(api), media: plainClient(media), allowHTTP: o.AllowHTTP}
}

func newTransport(o Options) *http.Transport {
	dial := o.Dial
	if o.PublicOnly {
		dial = publicOnly(dial)
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return dial(ctx, network, addr)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		DisableKeepAlives:      !o.KeepAlive,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        60 * time.Second,
		Protocols:              protocols,
	}
}

func plainClient(t *http.Transport) *http.Client {
	return &http.Client{
		Transport:     noReplay{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// noReplay takes away what the Transport would need to send a body again.
// net/http sets GetBody unasked for bodies in memory.
type noReplay struct{ *http.Transport }

func (t noReplay) RoundTrip(r *http.Request) (*http.Response, error) {
	bare := *r
	bare.GetBody = nil
	for _, key := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if _, ok := bare.Header[key]; ok {
			bare.Header = bare.Header.Clone()
			bare.Header.Del(key)
		}
	}
	return t.Transport.RoundTrip(&bare)
}

// CloseIdle closes connections that nobody uses.
func (c *Client) CloseIdle() {
	c.api.CloseIdleConnections()
	c.media.CloseIdleConnections()
}

// JSON makes one request with a JSON body (nil: none).
func (c *Client) JSON(ctx context.Context, method, rawURL string, h http.Header, body []byte) Answer {
	ctx, w := watch(ctx, int64(len(body)))
	defer w.stop()
	req, err := c.request(ctx, method, rawURL, h, nil)
	if err != nil {
		return Answer{Err: err}
	}
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	a := exchange(c.api, req, w, nil)
	a.Sent = int64(len(body))
	return a
}

// Media sends the gate's body with its exact length and returns after the
// body was closed (or 30 s later, when it hangs in a frozen disk). It always
// closes the gate.
func (c *Client) Media(ctx context.Context, method, rawURL string, h http.Header, g *Gate) Answer {
	defer g.Close()
	ctx, w := watch(ctx, g.Len())
	defer w.stop()
	g.ctx, g.alive = ctx, w.progress
	req, err := c.request(ctx, method, rawURL, h, g)
	if err != nil {
		return Answer{Err: err}
	}
	req.ContentLength = g.Len()
	req.Header.Set("Expect", "100-continue")
	a := exchange(c.media, req, w, g)
	if g.Sent() < g.Len() {
		w.stop() // answered or failed early: make the transport let go of the body
	}
	select {
	case <-g.Closed():
	case <-time.After(closeTimeout):
	}
	a.Passed, a.Sent = g.Passed(), g.Sent()
	return a
}

func (c *Client) request(ctx context.Context, method, rawURL string, h http.Header, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, rawURL, body)
	if err != nil || !safeScheme(req.URL, c.allowHTTP) {
		return nil, errors.New("the request URL is not allowed for this destination")
	}
	if h != nil {
		req.Header = h.Clone()
	}
	req.Header.Set("User-Agent", "ingestd")
	return req, nil
}

func exchange(hc *http.Client, req *http.Request, w *watchdog, g *Gate) Answer {
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	if g != nil {
		interim := 0
		trace.GotFirstResponseByte = func() { g.answering(true) }
		trace.Got1xxResponse = func(int, textproto.MIMEHeader) error {
			g.answering(false)
			if interim++; interim > maxInterim {
				return errNotHTTP
			}
			return nil
		}
		if failpoint.Enabled {
			trace.WroteRequest = func(info httptrace.WroteRequestInfo) {
				if info.Err != nil || !g.Passed() {
					return
				}
				if err := failpoint.Hit("gate.after-tail"); err != nil {
					w.cancel(err)
				}
			}
		}
	}
	ctx := httptrace.WithClientTrace(req.Context(), trace)
	resp, err := hc.Do(req.WithContext(ctx))
	if g != nil {
		g.End()
	}
	a := Answer{Connected: connected.Load()}
	if err != nil {
		a.Err = redact(ctx, err)
		return a
	}
	defer resp.Body.Close()
	a.Status, a.Header = resp.StatusCode, resp.Header
	w.progress() // one stall period for the whole answer, however it drips
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes+1))
	switch {
	case err != nil:
		a.BodyErr = redact(ctx, err)
	case len(a.Body) > maxBodyBytes:
		a.Body, a.BodyErr = nil, ErrLongAnswer
	}
	return a
}

// ErrLongAnswer is Answer.BodyErr of an answer beyond 1 MiB.
var ErrLongAnswer = errors.New("the answer is longer than 1 MiB")

var (
	errStalled = errors.New("no progress for 60 s")
	errTooSlow = errors.New("the exchange took longer than its size allows")
	errNotHTTP = errors.New("the connection broke or the answer was not proper HTTP")
)

// watchdog ends an exchange that stalls or takes too long as a whole. There
// is no single overall timeout, because it would have to fit 1 GiB.
type watchdog struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

// Longest is how long an upload of so many bytes may take before it is ended
// as too slow.
func Longest(size int64) time.Duration {
	return totalTimeout + time.Duration(float64(size)/minRate*float64(time.Second))
}

func watch(ctx context.Context, size int64) (context.Context, *watchdog) {
	ctx, release := context.WithTimeoutCause(ctx, Longest(size), errTooSlow)
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{cancel: func(err error) { cancel(err); release() }}
	w.timer = time.AfterFunc(stallTimeout, func() { w.cancel(errStalled) })
	return ctx, w
}

func (w *watchdog) progress() { w.timer.Reset(stallTimeout) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// redact reduces an error of the transport to one that may be shown. Whole
// texts of net/http are not: *url.Error prints the URL, and parse errors quote
// what the server sent, which may echo a credential or a phone number.
func redact(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var (
		own     *Error
		dns     *net.DNSError
		op      *net.OpError
		cert    *tls.CertificateVerificationError
		alert   tls.AlertError
		timeout net.Error
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &cert):
		return fmt.Errorf("the server's certificate was not accepted: %w", cert.Err)
	case errors.As(err, &alert):
		return alert
	case errors.As(err, &op):
		return op
	case errors.Is(err, errAttemptOver):
		return errAttemptOver
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("timed out")
	}
	return errNotHTTP
}

// SameHost reports whether two URLs name one host and port: requests to both
// then count against one quota.
func SameHost(a, b string) bool {
	ua, errA := url.Parse(a)
	ub, errB := url.Parse(b)
	return errA == nil && errB == nil && ua.Host == ub.Host
}
