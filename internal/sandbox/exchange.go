package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// exchange is one request on its way through the stages of a fake vendor:
//
//	refuse         the vendor's own no, any time before the effect
//	meet           a fault is chosen; Refuse and Early end here
//	receive        the body is read; DropMid and Stall end here
//	loses, lose    faults without effect end here
//	(the effect: the vendor stores)
//	answer         the reply, as the fault wants it
//
// A stage that ends the request by closing its connection panics with
// http.ErrAbortHandler, which the HTTP server takes as just that.
type exchange struct {
	b     *bench
	w     http.ResponseWriter
	r     *http.Request
	line  Request
	fault Fault                             // zero Kind: none
	gone  bool                              // the client cut its body
	last  bool                              // the connection ends with the answer
	shape func(status int, text string) any // of the vendor's errors; nil: {"Message": text}
}

// end completes the request's line in the log; it runs deferred, also while
// the connection is being dropped.
func (x *exchange) end() {
	x.line.EndedAt = x.b.now()
	x.b.requests.end(x.line)
}

// refuse answers with the vendor's own error.
func (x *exchange) refuse(status int, text string) {
	x.reject(status, text, map[string]string{"Message": text})
}

// reject answers with an error of any shape; note goes to the logs. Behind a
// body that was not read, the connection ends with the answer.
func (x *exchange) reject(status int, note string, v any) {
	x.rejectAs(status, note, "application/json; charset=utf-8", encode(v))
}

// rejectAs is reject for a vendor whose errors are no JSON objects.
func (x *exchange) rejectAs(status int, note, contentType string, body []byte) {
	x.line.Note = note
	x.last = x.line.Bytes != x.r.ContentLength
	x.write(status, contentType, body)
	x.b.log.Info("request refused", "method", x.line.Method, "route", x.line.Route, "status", status, "why", note)
}

// meet chooses the fault for a request that the vendor would accept. It
// reports false when that fault has answered already.
func (x *exchange) meet(correlationID string) bool {
	return x.choose(correlationID, false)
}

// meetNamed goes on where meet chose without a key, for a vendor that learns it
// only from the body: a fault that names this recording is chosen now.
func (x *exchange) meetNamed(correlationID string) bool {
	if x.fault.Kind != "" {
		x.line.CorrelationID = clip(correlationID, 256)
		return true
	}
	return x.choose(correlationID, true)
}

func (x *exchange) choose(correlationID string, named bool) bool {
	x.line.CorrelationID = clip(correlationID, 256)
	f, ok := x.b.faults.pick(x.line.Route, correlationID, named)
	if !ok {
		return true
	}
	x.fault, x.line.Fault = f, f.Kind
	x.b.log.Info("fault applied", "kind", f.Kind, "route", x.line.Route, "correlation_id", correlationID)
	switch f.Kind {
	case Refuse:
		x.delay()
		x.drop()
	case Early:
		x.last = true
		x.answerStatus()
		return false
	}
	return true
}

// errCut says that a body ended before its promised length.
var errCut = errors.New("body cut short")

// receive streams the request body to dst, at the pace and up to the byte the
// fault allows. After errCut the caller records what it got and calls abandon.
func (x *exchange) receive(dst io.Writer) error {
	left := int64(-1) // no bound
	if x.fault.Kind == DropMid || x.fault.Kind == Stall {
		left = min(x.fault.AfterBytes, max(0, x.r.ContentLength-1))
	}
	buf := make([]byte, 64<<10)
	if pace := x.fault.BytesPerSecond; pace > 0 {
		buf = buf[:min(int64(len(buf)), max(1, pace/10))]
	}
	for left != 0 {
		p := buf
		if left > 0 {
			p = buf[:min(int64(len(buf)), left)]
		}
		n, err := x.r.Body.Read(p)
		x.line.Bytes += int64(n)
		if left > 0 {
			left -= int64(n)
		}
		if n > 0 {
			if _, werr := dst.Write(p[:n]); werr != nil {
				return werr
			}
		}
		there := x.pause(n)
		if err == io.EOF {
			return nil
		}
		if err != nil || !there {
			x.gone = true
			return errCut
		}
	}
	return errCut
}

// pause waits as long as n bytes take at the fault's pace, and reports whether
// the request is still there.
func (x *exchange) pause(n int) bool {
	if pace := x.fault.BytesPerSecond; pace > 0 {
		x.b.wait(x.r.Context(), time.Duration(n)*time.Second/time.Duration(pace))
	}
	return x.r.Context().Err() == nil
}

// abandon ends a request whose body did not arrive whole.
func (x *exchange) abandon() {
	if x.fault.Kind == Stall && !x.gone {
		if x.fault.Delay == 0 {
			x.fault.Delay = Duration(time.Hour)
		}
		x.delay()
	}
	x.drop()
}

// loses reports whether the fault keeps a whole request from having an effect.
func (x *exchange) loses() bool {
	switch x.fault.Kind {
	case DropMid, Stall, DropLost, Status:
		return true
	}
	return false
}

// lose ends such a request.
func (x *exchange) lose() {
	switch x.fault.Kind {
	case Status:
		x.answerStatus()
		return
	case DropLost:
		x.delay()
	}
	x.abandon()
}

// answer replies to a request that had its effect, as the fault wants it.
func (x *exchange) answer(status int, v any) {
	f := x.fault
	if f.Kind == StatusStored {
		x.answerStatus()
		return
	}
	x.delay()
	switch f.Kind {
	case DropStored:
		x.drop()
	case BrokenJSON, Truncated:
		body := encode(v)
		half := body[:len(body)/2]
		if f.Kind == BrokenJSON {
			x.write(status, "application/json; charset=utf-8", half)
			return
		}
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		x.write(status, "application/json; charset=utf-8", half)
		http.NewResponseController(x.w).Flush()
		x.drop()
	case OtherJSON:
		x.reply(status, map[string]bool{"ok": true})
	case HTML:
		x.write(status, "text/html; charset=utf-8", []byte("<!DOCTYPE html><title>Sign in</title><p>Sign in to the network.\n"))
	case Empty:
		x.write(status, "", nil)
	default:
		x.reply(status, v)
	}
}

// answerStatus answers the fault's own status after its delay.
func (x *exchange) answerStatus() {
	if x.fault.Kind != StatusLate { // there the delay belongs to the storing
		x.delay()
	}
	for name, value := range map[string]string{"Retry-After": x.fault.RetryAfter, "Location": x.fault.Location} {
		if value != "" {
			x.w.Header().Set(name, value)
		}
	}
	// What has an effect all the same was answered by a gateway.
	if gateway := x.fault.Kind == StatusStored || x.fault.Kind == StatusLate; x.shape != nil && !gateway {
		x.reply(x.fault.Status, x.shape(x.fault.Status, http.StatusText(x.fault.Status)))
		return
	}
	x.reply(x.fault.Status, map[string]string{"Message": http.StatusText(x.fault.Status)})
}

// delay waits as long as the fault says. A request that ends meanwhile is
// dropped: there is nobody left to answer.
func (x *exchange) delay() {
	if !x.b.wait(x.r.Context(), time.Duration(x.fault.Delay)) && x.r.Context().Err() != nil {
		x.drop()
	}
}

// drop closes the connection without another byte. It hijacks, because the
// server would first read on through a short body.
func (x *exchange) drop() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err == nil {
		below := conn
		if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
			below = secure.NetConn()
		}
		if tcp, ok := below.(interface{ SetLinger(sec int) error }); ok && x.fault.Reset {
			tcp.SetLinger(0)
		}
		conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// reply writes a JSON answer.
func (x *exchange) reply(status int, v any) {
	x.write(status, "application/json; charset=utf-8", encode(v))
}

func (x *exchange) write(status int, contentType string, body []byte) {
	x.line.Status = status
	if contentType != "" {
		x.w.Header().Set("Content-Type", contentType)
	}
	if x.last {
		x.w.Header().Set("Connection", "close")
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.w.WriteHeader(status)
	x.w.Write(body) // a client that is gone shows in its own next request
	if x.last {
		x.linger()
	}
}

// linger ends the connection behind an answer that was given before the body
// was read. Closing at once would reset it, and the reset can overtake the
// answer; reading on would take bytes that the answer made needless.
func (x *exchange) linger() {
	rc := http.NewResponseController(x.w)
	rc.Flush()
	conn, _, err := rc.Hijack()
	if err != nil {
		return // not a connection of ours: its server closes it
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	time.AfterFunc(500*time.Millisecond, func() { conn.Close() })
}

// encode renders an answer; answers are maps and structs of plain values,
// which always marshal.
func encode(v any) []byte {
	body, _ := json.Marshal(v)
	return body
}
