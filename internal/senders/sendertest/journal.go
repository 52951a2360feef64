package sendertest

import (
	"io"
	"slices"
	"strings"
	"sync"
)

// Trace is the common order of what the journal answered and what the vendor
// saw.
type Trace struct {
	mu     sync.Mutex
	events []string
}

func (t *Trace) add(event string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, event)
}

func (t *Trace) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}

// before reports whether a is in the trace ahead of b, or b is not there.
func (t *Trace) before(a, b string) bool {
	events := t.all()
	at := slices.Index(events, b)
	return at < 0 || slices.Contains(events[:at], a)
}

// count is how many events begin so.
func (t *Trace) count(prefix string) (n int) {
	for _, e := range t.all() {
		if strings.HasPrefix(e, prefix) {
			n++
		}
	}
	return n
}

func (t *Trace) has(event string) bool { return slices.Contains(t.all(), event) }

// Journal records its calls in the trace and can refuse or delay them.
type Journal struct {
	trace *Trace
	fail  map[string]error
	hook  map[string]func() // runs inside the call

	mu   sync.Mutex
	ids  map[string]string // of the last call that had any
	kept map[string]string // of all calls, as the ledger keeps them
}

func (j *Journal) Declaring() error { return j.step("declaring", nil) }

func (j *Journal) Declared(ids map[string]string) error { return j.step("declared", ids) }

func (j *Journal) Sending(ids map[string]string) error { return j.step("sending", ids) }

func (j *Journal) Committing() error { return j.step("committing", nil) }

func (j *Journal) step(name string, ids map[string]string) error {
	if hook := j.hook[name]; hook != nil {
		hook()
	}
	if err := j.fail[name]; err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if ids != nil {
		j.ids = ids
	}
	for name, value := range ids {
		if j.kept == nil {
			j.kept = map[string]string{}
		}
		if j.kept[name] = value; value == "" {
			delete(j.kept, name)
		}
	}
	j.trace.add("journal " + name)
	return nil
}

func (m *Media) end() error {
	if m.readErr != nil {
		return m.readErr
	}
	return io.EOF
}
