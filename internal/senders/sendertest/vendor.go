package sendertest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// Request is what the vendor got.
type Request struct {
	Step             string
	Method, Path     string
	Query            string // as on the wire
	Header           http.Header
	ContentLength    int64
	TransferEncoding []string
	Body             []byte
	Whole            bool // the body has its declared length
}

// Reply is an answer as it goes on the wire.
type Reply struct {
	Status int
	Header map[string]string // Content-Length is added unless it is here
	Body   []byte
	Raw    []byte // sent instead of all of the above
}

// Fault changes what the vendor does with one request.
type Fault struct {
	Early   bool // reply before the body is asked for
	Read    int  // read this many body bytes, then reply if there is a Reply, else reset; 0: all
	Drop    bool // close with a reset instead of a reply
	Stored  bool // an upload that arrived whole is kept, whatever is answered
	Reply   func(r Request) Reply
	Replied func()          // runs after the reply was written
	Hang    <-chan struct{} // blocks before the body is read
	Mute    <-chan struct{} // blocks before the reply
	Drip    bool            // one byte of the reply's body each 10 s, for ever
}

// Vendor is a scripted server. It reads HTTP/1.1 by hand, so that replies can
// be cut anywhere and nothing is answered that the script did not say.
type Vendor struct {
	t     *testing.T
	steps []Step
	trace *Trace
	base  string
	wg    sync.WaitGroup

	mu       sync.Mutex
	held     []Held
	script   map[string]map[int]Fault // step -> n-th request (0: every) -> fault
	requests []Request
	conns    []net.Conn
	open     int        // requests that are being handled
	idle     *sync.Cond // on mu: open fell to zero
}

func newVendor(t *testing.T, h Harness, trace *Trace) *Vendor {
	v := &Vendor{t: t, steps: slices.Clone(h.Steps), trace: trace, script: map[string]map[int]Fault{}}
	if h.List != nil {
		v.steps = append(v.steps, v.listing(h.List))
	}
	v.idle = sync.NewCond(&v.mu)
	return v
}

// listen starts a vendor on a loopback socket.
func (v *Vendor) listen() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		v.t.Fatal(err)
	}
	v.base = "http://" + ln.Addr().String()
	v.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			v.wg.Go(func() { v.serve(c) })
		}
	})
	v.t.Cleanup(func() {
		ln.Close()
		v.close()
	})
}

// dialPipe is a Dial without sockets, for tests with a fake clock.
func (v *Vendor) dialPipe(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	v.wg.Go(func() { v.serve(server) })
	return client, nil
}

func (v *Vendor) close() {
	v.mu.Lock()
	for _, c := range v.conns {
		c.Close()
	}
	v.mu.Unlock()
	v.wg.Wait()
}

// on scripts the n-th request of a step (0: every one).
func (v *Vendor) on(step string, n int, f Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.script[step] == nil {
		v.script[step] = map[int]Fault{}
	}
	v.script[step][n] = f
}

func (v *Vendor) seen(step string) []Request {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []Request
	for _, r := range v.requests {
		if r.Step == step || step == "" {
			out = append(out, r)
		}
	}
	return out
}

func (v *Vendor) serve(c net.Conn) {
	defer c.Close()
	v.mu.Lock()
	v.conns = append(v.conns, c)
	v.mu.Unlock()
	br := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(br)
		if err != nil || !v.answer(c, req) {
			return
		}
	}
}

// answer handles one request and reports whether the connection goes on.
func (v *Vendor) answer(c net.Conn, req *http.Request) bool {
	step := v.find(req)
	r := Request{
		Step: step.Name, Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery, Header: req.Header,
		ContentLength: req.ContentLength, TransferEncoding: req.TransferEncoding,
	}
	fault, faulty, at, n := v.arrived(r)
	defer v.done()
	v.trace.add("request " + r.Step)
	if fault.Hang != nil {
		<-fault.Hang
	}
	if !fault.Early {
		if req.Header.Get("Expect") != "" {
			fmt.Fprint(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		r.Body, r.Whole = readBody(req, fault.Read)
		v.update(at, r)
		if step.Phase == Upload && r.Whole && (!faulty || fault.Stored) {
			v.hold(Held{N: n, Upload: r})
		}
	}
	if fault.Mute != nil {
		<-fault.Mute
	}
	if fault.Drop || fault.Read > 0 && fault.Reply == nil {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		return false
	}
	reply := step.OK
	if fault.Reply != nil {
		reply = func(r Request, _ int) Reply { return fault.Reply(r) }
	}
	if reply == nil {
		return false
	}
	out := reply(r, n)
	if fault.Drip {
		return drip(c, out)
	}
	_, err := c.Write(out.bytes())
	if fault.Replied != nil {
		fault.Replied()
	}
	if fault.Read > 0 {
		// What still comes is what the client let go after the answer.
		rest, _ := io.ReadAll(req.Body)
		r.Body = append(r.Body, rest...)
		r.Whole = int64(len(r.Body)) == r.ContentLength
		v.update(at, r)
		return false
	}
	return err == nil && out.Raw == nil && !fault.Early && !req.Close
}

func drip(c net.Conn, out Reply) bool {
	out.Header = map[string]string{"Content-Length": "100000"}
	out.Body = nil
	_, err := c.Write(out.bytes())
	for err == nil {
		<-time.After(10 * time.Second)
		_, err = c.Write([]byte(" "))
	}
	return false
}

func (v *Vendor) find(req *http.Request) Step {
	for _, s := range v.steps {
		if s.Match(req) {
			return s
		}
	}
	return Step{Name: "unknown"}
}

// arrived stores the request before its body and finds its fault.
func (v *Vendor) arrived(r Request) (f Fault, faulty bool, at, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n = 1
	for _, other := range v.requests {
		if other.Step == r.Step {
			n++
		}
	}
	v.requests = append(v.requests, r)
	v.open++
	f, faulty = v.script[r.Step][n]
	if !faulty {
		f, faulty = v.script[r.Step][0]
	}
	return f, faulty, len(v.requests) - 1, n
}

func (v *Vendor) done() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open--; v.open == 0 {
		v.idle.Broadcast()
	}
}

// settle waits until every request that arrived has been read to its end.
func (v *Vendor) settle() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.open > 0 {
		v.idle.Wait()
	}
}

func (v *Vendor) update(at int, r Request) {
	v.mu.Lock()
	v.requests[at] = r
	v.mu.Unlock()
	if r.Whole {
		v.trace.add("whole " + r.Step)
	}
}

func readBody(req *http.Request, limit int) ([]byte, bool) {
	var body io.Reader = req.Body
	if limit > 0 {
		body = io.LimitReader(body, int64(limit))
	}
	b, err := io.ReadAll(body)
	return b, err == nil && int64(len(b)) == max(req.ContentLength, 0)
}

func (r Reply) bytes() []byte {
	if r.Raw != nil {
		return r.Raw
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.Status, http.StatusText(r.Status))
	if _, ok := r.Header["Content-Length"]; !ok {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
	}
	keys := []string{}
	for k := range r.Header {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, "%s: %s\r\n", k, r.Header[k])
	}
	b.WriteString("\r\n")
	b.Write(r.Body)
	return b.Bytes()
}

// JSON is a reply with a JSON body.
func JSON(status int, body string) Reply {
	return Reply{Status: status, Header: map[string]string{"Content-Type": "application/json"}, Body: []byte(body)}
}
