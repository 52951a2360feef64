package pipeline_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/media"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/sidecar"
)

// listener is a vendor behind the real gate that keeps what it got. meddle
// runs in mid-send of the n-th attempt.
type listener struct {
	vendor
	got    [][]byte
	items  []senders.Attempt
	meddle func(n int)
	late   bool // meddle only shortly before the gate
	refuse func(n int) error
}

func newListener() *listener {
	l := &listener{}
	l.traits = twoStep()
	l.script = func(n int, a senders.Attempt, j senders.Journal) (r senders.Receipt, err error) {
		if l.refuse != nil {
			if err := l.refuse(n); err != nil {
				return r, err
			}
		}
		if err := j.Declaring(); err != nil {
			return r, err
		}
		m, err := a.Open()
		if err != nil {
			return r, err
		}
		body := senders.NewBody(m, a.File.Bytes, a.File.SHA256, j, nil)
		defer body.Close()
		if err := j.Sending(nil); err != nil {
			return r, err
		}
		first := int64(1000)
		if l.late {
			first = a.File.Bytes - 2*senders.TailBytes
		}
		head := make([]byte, first)
		if _, err := io.ReadFull(body, head); err != nil {
			return r, err
		}
		if l.meddle != nil {
			l.meddle(n)
		}
		rest, err := io.ReadAll(body)
		if err != nil {
			return r, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got, l.items = append(l.got, slices.Concat(head, rest)), append(l.items, a)
		return senders.Receipt{HTTPStatus: 201}, nil
	}
	return l
}

// uploads are the bodies that arrived whole, in order.
func (l *listener) uploads() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

const legMapping = `file.stem == doc.agent ? "agent" : "customer"`

// legsRig watches calls of two legs: FOLDER/call.json, a.wav (agent), b.wav.
func legsRig(t *testing.T, l *listener, change func(*pipeline.Source)) *rig {
	t.Helper()
	r := newRig(t, &l.vendor, nil)
	m, err := mapping.CompileSource(mapping.SourceConfig{
		Sidecars: []mapping.SidecarExprs{{Name: "doc"}}, Parts: "list(doc.parts)",
		Call: map[string]string{"call_id": "doc.id", "started_at": `time("2026-11-02T14:05:06Z")`, "direction": `"inbound"`, "leg": legMapping},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &r.opt.Sources[0]
	s.Mapping, s.Merge = m, pipeline.MergeAgentRight
	s.Sidecars = []sidecar.Config{{Name: "doc", Files: []string{"**/call.json"}, Pair: sidecar.PairFolder}}
	if change != nil {
		change(s)
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "drop", "c"), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

const twoParts = `{"id": "77", "agent": "a", "parts": ["a", "b"]}`

// legFile is a mono file of 16-bit PCM: n samples of one value.
func legFile(rate, n int, value int16) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00")
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(2*rate))
	b = binary.LittleEndian.AppendUint32(append(b, "\x02\x00\x10\x00data"...), uint32(2*n))
	for range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(value))
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

func (r *rig) put(name string, content []byte) { r.write(filepath.Join("drop", "c", name), content) }

// together is what the vendor must get: the customer left, the agent right.
func together(t *testing.T, customer, agent []byte) []byte {
	t.Helper()
	m, err := media.Merge(media.Leg{R: bytes.NewReader(customer), Size: int64(len(customer))}, media.Leg{R: bytes.NewReader(agent), Size: int64(len(agent))})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(m.NewReader())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *rig) wantStates(want map[string]string) {
	r.t.Helper()
	for name, state := range want {
		if got := r.state("c/" + name); got != state {
			r.t.Errorf("%s is %s, want %s", name, got, state)
		}
	}
}

func (r *rig) order(kind string, recordings ...int64) {
	r.t.Helper()
	if _, _, err := ledger.Order(r.t.Context(), filepath.Join(r.dir, "ledger.db"), ledger.NewOrder{Kind: kind, RecordingIDs: recordings, By: "test"}); err != nil {
		r.t.Fatal(err)
	}
}
