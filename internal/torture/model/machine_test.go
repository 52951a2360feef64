package model

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ingestd/internal/ledger"
)

// machine is what a history can do. Every draw is made by its goroutine, in
// a number that does not depend on the program.
type machine struct{ w *world }

func (m *machine) check(rt *rapid.T) {
	synctest.Wait()
	m.w.check()
	m.fail(rt)
}

func (m *machine) fail(rt *rapid.T) {
	if text := m.w.violation(); text != "" {
		rt.Fatalf("%s", text)
	}
}

// put drops a recording and writes the vendors' parts for it.
func (m *machine) put(rt *rapid.T, f *file) {
	for _, s := range m.w.set.Shapes {
		p := drawPart(rt)
		id := f.call
		if f.sidecar != withSidecar {
			id = "" // it may be sent without
		}
		m.w.mu.Lock()
		for _, id := range []string{id, f.call} {
			m.w.parts[identity(s.name, id, f.sum)] = &p
		}
		m.w.mu.Unlock()
	}
	m.w.drop(f, rapid.Bool().Draw(rt, "in place"))
}

func (m *machine) drop(rt *rapid.T) {
	for range rapid.IntRange(1, 6).Draw(rt, "files") {
		content := audio(rapid.IntRange(0, 11).Draw(rt, "content"))
		m.put(rt, &file{
			source:  rapid.SampledFrom(m.w.set.Sources).Draw(rt, "source"),
			stem:    rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(rt, "stem"),
			call:    fmt.Sprintf("c%d", rapid.IntRange(0, 11).Draw(rt, "call")),
			bytes:   content,
			sum:     sum(content),
			sidecar: rapid.SampledFrom([]sidecarKind{withSidecar, withSidecar, withSidecar, withSidecar, lateSidecar, badSidecar}).Draw(rt, "sidecar"),
		})
	}
}

// pick chooses one of the files that are there, or nil.
func (m *machine) pick(rt *rapid.T) *file {
	n := rapid.IntRange(0, 1000).Draw(rt, "file")
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if len(m.w.files) == 0 {
		return nil
	}
	var names []string
	for name := range m.w.files {
		names = append(names, name)
	}
	sort.Strings(names)
	return m.w.files[names[n%len(names)]]
}

// dropAgain drops the content of a file under another name, as the same call
// or as another one.
func (m *machine) dropAgain(rt *rapid.T) {
	stem := rapid.SampledFrom([]string{"a", "b", "c", "x", "y"}).Draw(rt, "stem")
	source := rapid.SampledFrom(m.w.set.Sources).Draw(rt, "source")
	other := rapid.IntRange(0, 3).Draw(rt, "other") == 0
	f := m.pick(rt)
	if f == nil {
		return
	}
	g := *f
	g.source, g.stem, g.modified, g.sidecar = source, stem, time.Time{}, withSidecar
	if other {
		g.call = "other"
	}
	m.w.mu.Lock()
	for _, s := range m.w.set.Shapes {
		id := identity(s.name, g.call, g.sum)
		if m.w.parts[id] == nil {
			m.w.parts[id] = &part{}
		}
	}
	m.w.mu.Unlock()
	m.w.drop(&g, false)
}

// rewrite changes a file in place, at times so that only its ctime tells.
func (m *machine) rewrite(rt *rapid.T) {
	keep := rapid.Bool().Draw(rt, "restore time")
	if f := m.pick(rt); f != nil {
		m.w.rewrite(f.path(), keep)
	}
}

func (m *machine) remove(rt *rapid.T) {
	f := m.pick(rt)
	if f == nil {
		return
	}
	m.w.note("remove %s", f.path())
	m.w.mu.Lock()
	delete(m.w.files, f.path())
	m.w.mu.Unlock()
	os.Remove(m.w.at(f.path()))
}

// sidecar brings what was late, and repairs what was bad.
func (m *machine) sidecar(rt *rapid.T) {
	f := m.pick(rt)
	if f == nil || f.sidecar == withSidecar {
		return
	}
	m.w.note("sidecar of %s", f.path())
	f.sidecar = withSidecar
	m.w.writeSidecar(f)
}

// time lets time pass, and starts the program unless it runs.
func (m *machine) time(rt *rapid.T) {
	kill := rapid.IntRange(-30, 12).Draw(rt, "kill at start")
	d := rapid.SampledFrom([]time.Duration{20 * time.Second, time.Second, 6 * time.Second, 40 * time.Second, 90 * time.Second, 150 * time.Second}).Draw(rt, "time")
	if m.w.run == nil {
		m.w.start(max(kill, -1))
	}
	m.w.wait(d)
}

func (m *machine) kill(rt *rapid.T) {
	n := rapid.IntRange(0, 25).Draw(rt, "commits")
	if m.w.run != nil {
		m.w.note("kill at the next commit but %d", n)
		m.w.run.left.Store(int64(n))
	}
}

func (m *machine) stop(rt *rapid.T) {
	m.w.rest(time.Duration(rapid.SampledFrom([]int{0, 5, 60}).Draw(rt, "limit")) * time.Second)
}

func (m *machine) unmount(rt *rapid.T) {
	source := rapid.SampledFrom(m.w.set.Sources).Draw(rt, "source")
	d := rapid.SampledFrom([]time.Duration{time.Second, 8 * time.Second, 30 * time.Second, 2 * time.Minute}).Draw(rt, "time")
	m.w.unmount(source, d)
}

// order is a person's retry of one delivery or recording that needs it.
func (m *machine) order(rt *rapid.T) {
	n := rapid.IntRange(0, 1000).Draw(rt, "which")
	if m.w.run == nil {
		return
	}
	o := m.w.needy("")
	if all := len(o.DeliveryIDs) + len(o.RecordingIDs); all > 0 {
		if n %= all; n < len(o.DeliveryIDs) {
			m.w.order(ledger.NewOrder{DeliveryIDs: o.DeliveryIDs[n : n+1]})
		} else {
			n -= len(o.DeliveryIDs)
			m.w.order(ledger.NewOrder{RecordingIDs: o.RecordingIDs[n : n+1]})
		}
	}
}

// needy lists what a person could order to be tried again.
func (w *world) needy(but string) ledger.NewOrder {
	return ledger.NewOrder{
		DeliveryIDs:  w.ids("SELECT id FROM deliveries WHERE state IN ('held', 'rejected', 'in_doubt') AND reason <> ? ORDER BY id", but),
		RecordingIDs: w.ids("SELECT id FROM recordings WHERE state IN ('quarantined', 'waiting') AND current = 1 AND reason <> ? ORDER BY id", but),
	}
}

func (w *world) order(o ledger.NewOrder) {
	if len(o.DeliveryIDs)+len(o.RecordingIDs) == 0 {
		return
	}
	o.Kind, o.By = "retry", "the test"
	w.note("order: retry deliveries %v, recordings %v", o.DeliveryIDs, o.RecordingIDs)
	if _, _, err := ledger.Order(context.Background(), filepath.Join(w.state, dbName), o); err != nil {
		w.violate("order: %v", err)
	}
}

func (w *world) ids(query string, args ...any) (out []int64) {
	rows, err := w.run.db.Query(query, args...)
	if err != nil {
		w.violate("%s: %v", query, err)
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			w.violate("%s: %v", query, err)
		}
		out = append(out, id)
	}
	if err := rows.Err(); err != nil {
		w.violate("%s: %v", query, err)
	}
	return out
}
