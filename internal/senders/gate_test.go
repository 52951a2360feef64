package senders

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

type memory struct {
	io.Reader
	verify error
	closed int
}

func (m *memory) Verify() error { return m.verify }
func (m *memory) Close() error  { m.closed++; return nil }

// commits is a Journal of which only Committing is used.
type commits struct {
	Journal
	calls int
	hook  func() error
}

func (c *commits) Committing() error {
	c.calls++
	if c.hook != nil {
		return c.hook()
	}
	return nil
}

func pinned(n int) ([]byte, string) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31)
	}
	sum := sha256.Sum256(b)
	return b, hex.EncodeToString(sum[:])
}

func TestGateStreamsEveryByteOnce(t *testing.T) {
	for _, size := range []int{0, 1, TailBytes - 1, TailBytes, TailBytes + 1, 50_000} {
		for _, reader := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
		} {
			data, sum := pinned(size)
			m, j, told := &memory{Reader: reader(bytes.NewReader(data))}, &commits{}, int64(0)
			g := NewBody(m, int64(size), sum, j, func(n int64) { told += n })
			g.Frame([]byte("--head\r\n"), []byte("\r\n--tail--"))
			got, err := io.ReadAll(g)
			if err != nil || string(got) != "--head\r\n"+string(data)+"\r\n--tail--" {
				t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
			}
			if n := int64(len(got)); g.Len() != n || g.Sent() != n || told != n {
				t.Fatalf("length %d, sent %d, told %d, want %d", g.Len(), g.Sent(), told, n)
			}
			if !g.Passed() || j.calls != 1 || g.Err() != nil {
				t.Fatalf("passed %t, %d commits, %v", g.Passed(), j.calls, g.Err())
			}
			g.Close()
			g.Close()
			<-g.Closed()
			if n, err := g.Read(make([]byte, 1)); n != 0 || err == nil || m.closed != 1 {
				t.Fatalf("after Close: %d, %v, media closed %d times", n, err, m.closed)
			}
		}
	}
}

// Nothing that lets net/http take the bytes past Read.
func TestGateHasOnlyReadAndClose(t *testing.T) {
	var g any = NewBody(&memory{}, 1, "", &commits{}, nil)
	if _, ok := g.(io.WriterTo); ok {
		t.Error("WriterTo")
	}
	if _, ok := g.(io.Seeker); ok {
		t.Error("Seeker")
	}
	if _, ok := g.(io.ReaderAt); ok {
		t.Error("ReaderAt")
	}
}

func TestGateWithholdsTheTail(t *testing.T) {
	data, sum := pinned(10_000)
	altered := slices.Clone(data)
	altered[9_999]++
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		media *memory
		hook  func() error
		class Class
		cause error
	}{
		"ledger refuses": {&memory{Reader: bytes.NewReader(data)}, func() error { return broken }, Incomplete, broken},
		"verify":         {&memory{Reader: bytes.NewReader(data), verify: broken}, nil, Changed, broken},
		"short":          {&memory{Reader: bytes.NewReader(data[:9_999])}, nil, Changed, nil},
		"long":           {&memory{Reader: bytes.NewReader(append(slices.Clone(data), 0))}, nil, Changed, nil},
		"altered":        {&memory{Reader: bytes.NewReader(altered)}, nil, Changed, nil},
		"unreadable":     {&memory{Reader: io.MultiReader(bytes.NewReader(data[:9_500]), iotest.ErrReader(broken))}, nil, Incomplete, broken},
	} {
		j := &commits{hook: c.hook}
		g := NewBody(c.media, 10_000, sum, j, nil)
		g.Frame([]byte("head"), []byte("delimiter"))
		got, err := io.ReadAll(g)
		if err == nil || len(got) > 4+10_000-TailBytes {
			t.Fatalf("%s: %d bytes went out, %v", name, len(got), err)
		}
		if g.Passed() {
			t.Fatalf("%s: passed", name)
		}
		if n, again := g.Read(make([]byte, 10)); n != 0 || again == nil {
			t.Fatalf("%s: a second Read gave %d bytes, %v", name, n, again)
		}
		g.Close()
		e := g.Err()
		if e == nil || e.Class != c.class || c.cause != nil && !errors.Is(e, c.cause) {
			t.Fatalf("%s: %v, want class %s", name, e, c.class)
		}
		if c.hook == nil && j.calls != 0 {
			t.Fatalf("%s: COMMITTING before the checks", name)
		}
	}
}

func TestGateOfAnEndedAttempt(t *testing.T) {
	data, sum := pinned(5_000)
	for name, c := range map[string]struct {
		end    func(*Gate, context.CancelFunc)
		passed bool
	}{
		"answered":           {func(g *Gate, _ context.CancelFunc) { g.End() }, false},
		"cancelled":          {func(_ *Gate, cancel context.CancelFunc) { cancel() }, false},
		"answered in commit": {func(g *Gate, _ context.CancelFunc) { g.journal = &commits{hook: func() error { g.End(); return nil }} }, true},
		"cancelled in commit": {func(g *Gate, cancel context.CancelFunc) {
			g.journal = &commits{hook: func() error { cancel(); return nil }}
		}, true},
		"closed in commit": {func(g *Gate, _ context.CancelFunc) { g.journal = &commits{hook: func() error { return g.Close() }} }, true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		g := NewBody(&memory{Reader: bytes.NewReader(data)}, 5_000, sum, &commits{}, nil)
		g.ctx = ctx
		if _, err := io.ReadFull(g, make([]byte, 1_000)); err != nil {
			t.Fatal(err)
		}
		c.end(g, cancel)
		rest, err := io.ReadAll(g)
		if err == nil || len(rest) > 5_000-1_000-TailBytes {
			t.Errorf("%s: %d more bytes went out, %v", name, len(rest), err)
		}
		// Once the row may say committing, only a doubt is honest.
		if g.Passed() != c.passed {
			t.Errorf("%s: passed %t", name, g.Passed())
		}
		g.Close()
		<-g.Closed()
		cancel()
	}
}

func TestGateCloseDoesNotWaitForACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, sum := pinned(100)
		thaw := make(chan struct{})
		m := &memory{Reader: bytes.NewReader(data)}
		g := NewBody(m, 100, sum, &commits{hook: func() error { <-thaw; return nil }}, nil)
		go func() { _, _ = io.ReadAll(g) }()
		synctest.Wait()
		g.Close()
		select {
		case <-g.Closed():
			t.Fatal("closed while a Read runs")
		default:
		}
		if !g.Passed() || g.Err() != nil || m.closed != 0 {
			t.Fatal("a commit that never returned may have happened")
		}
		close(thaw)
		<-g.Closed()
		if g.Sent() != 0 || m.closed != 1 {
			t.Fatalf("%d bytes after Close, media closed %d times", g.Sent(), m.closed)
		}
	})
}

func TestGateHoldsWhileAnAnswerArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, sum := pinned(5_000)
		g := NewBody(&memory{Reader: bytes.NewReader(data)}, 5_000, sum, &commits{}, nil)
		g.answering(true)
		var n int
		var err error
		go func() { n, err = g.Read(make([]byte, 100)) }()
		synctest.Wait()
		if g.Sent() != 0 {
			t.Fatal("bytes went out while an answer arrived")
		}
		g.answering(false) // it was a 100
		synctest.Wait()
		if n != 100 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		g.answering(true)
		go func() { n, err = g.Read(make([]byte, 100)) }()
		synctest.Wait()
		g.End()
		synctest.Wait()
		if n != 0 || !errors.Is(err, errAttemptOver) {
			t.Fatalf("%d, %v", n, err)
		}
		g.Close()
	})
}
