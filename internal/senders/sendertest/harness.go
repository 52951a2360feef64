// Package sendertest is what every sender must pass: [Run] drives it against
// a scripted vendor on real sockets and looks at the wire, the journal, the
// log and the class of every failure.
//
// It promises that a vendor joins with one [Harness]. It shares no code with
// the senders' HTTP client, so that it cannot repeat its mistakes, and it is
// never linked into the product.
package sendertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// Canaries: a harness puts Secret where its credential goes and Phone and
// Agent into the item, and Target into whatever a step-1 answer says that is
// secret (a signature). None of them may show up in an error or a log.
const (
	Secret      = "canary-secret-5f1c"
	TokenPrefix = "canary-token-"
	Phone       = "+15550199321"
	AgentName   = "Canary Quill"
	Target      = "canary-target-77ab"
)

// Phase of a request on the wire.
type Phase int

const (
	Token   Phase = iota // asks for a credential
	Declare              // step 1 of a two-step vendor
	Ask                  // asks what became of a recording; not part of a delivery that goes well
	Upload               // carries the media
)

// Env is what a sender under test is built from.
type Env struct {
	Base      string // "http://127.0.0.1:port"
	KeepAlive bool
	Log       *slog.Logger
	Now       func() time.Time
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error) // may be nil
}

// Step is one kind of request that the vendor knows.
type Step struct {
	Name  string
	Phase Phase
	// Match recognises the request; the body is not readable.
	Match func(*http.Request) bool
	// OK is the vendor's success for the n-th request of this step, from 1.
	// Ids differ from n to n; a token begins with TokenPrefix.
	OK func(r Request, n int) Reply
	// Status gives classes that differ from the common table of the phase,
	// Early those of a refusal that came before the tail could leave.
	Status, Early map[int]senders.Class
	// NoBody: the success is its status alone, so that an answer without a
	// body, or with an empty object, proves the same.
	NoBody bool
	// Foreign are success answers that name somebody else's or hostile ids:
	// each must end in Held.
	Foreign map[string]func(r Request) Reply
	// Duplicate is the refusal of an upload whose key is in use, if the vendor
	// has one: accepted when an earlier attempt was ours, else held.
	Duplicate func(r Request) Reply
	// Unproven are success answers without the vendor's evidence.
	Unproven map[string]func(r Request) Reply
	// Refusals are answers whose body, not only their status, proves that
	// nothing was taken: each must end in Refused.
	Refusals map[string]func(r Request) Reply
}

// Harness connects one vendor to the suite.
type Harness struct {
	New   func(t *testing.T, e Env) senders.Sender
	Item  call.Item // File.Bytes and File.SHA256 are set by the suite
	Steps []Step    // in the order of the wire; the last one is Upload
	// List is how the vendor lists what it holds; nil: it cannot be asked so.
	List *Listing
	// Questions of a sender that is a Reconciler or a Confirmer.
	Questions []Question
}

// Question is one answer of the Ask step and what it proves.
type Question struct {
	Name    string
	Confirm bool // asked as a Confirmer; else as a Reconciler
	// Reply is what the vendor answers about the ids of an upload.
	Reply func(r Request) Reply
	// Want is the verdict, unless Class says that there is none.
	Want  senders.Outcome
	Class senders.Class
}

func (h Harness) step(p Phase) (Step, bool) {
	for _, s := range h.Steps {
		if s.Phase == p {
			return s, true
		}
	}
	return Step{}, false
}

// Media is a recording in memory with faults. Zero faults: whole and still.
type Media struct {
	data      []byte
	readErr   error // after data, instead of io.EOF
	verifyErr error
	opened    int
	closed    int
}

func (m *Media) Verify() error { return m.verifyErr }
func (m *Media) Close() error  { m.closed++; return nil }

func (m *Media) Read(p []byte) (int, error) {
	if len(m.data) == 0 {
		return 0, m.end()
	}
	n := copy(p, m.data)
	m.data = m.data[n:]
	return n, nil
}

// recording is deterministic and has no period that a buffer size divides.
func recording(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i/251)
	}
	return b
}

// attempt of the harness's item with the given pinned bytes.
func (h Harness) attempt(pinned []byte, m *Media) senders.Attempt {
	item := h.Item
	sum := sha256.Sum256(pinned)
	item.File.Bytes, item.File.SHA256 = int64(len(pinned)), hex.EncodeToString(sum[:])
	return senders.Attempt{Item: item, Number: 1, Open: func() (senders.Media, error) {
		m.opened++
		return m, nil
	}}
}
