package sendertest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/senders"
)

func runToken(t *testing.T, newHarness func(*testing.T) Harness) {
	step, ok := newHarness(t).step(Token)
	if !ok {
		return // a static credential
	}
	declare, two := newHarness(t).step(Declare)
	if two {
		t.Run("expired at the declare", func(t *testing.T) {
			r := newRig(t, newHarness)
			r.vendor.on(declare.Name, 1, always(Reply{Status: 401}))
			r.delivers()
			asked := r.vendor.seen(declare.Name)
			if len(asked) != 2 || asked[0].Header.Get("Authorization") == asked[1].Header.Get("Authorization") {
				t.Fatalf("%d declares; the second needs another token", len(asked))
			}
		})
		t.Run("refused for good at the declare", func(t *testing.T) {
			r := newRig(t, newHarness)
			r.vendor.on(declare.Name, 0, always(Reply{Status: 401}))
			r.fails(senders.Auth)
			if n, m := len(r.vendor.seen(declare.Name)), len(r.vendor.seen(step.Name)); n != 2 || m != 2 {
				t.Fatalf("%d declares and %d tokens, want 2 and 2: one renewal, no loop", n, m)
			}
		})
	}
	t.Run("expired at the upload", func(t *testing.T) {
		r := newRig(t, newHarness)
		r.vendor.on(r.upload(), 1, Fault{Early: true, Reply: func(Request) Reply { return Reply{Status: 401} }})
		r.fails(senders.Auth)
		r.media = &Media{data: r.pinned}
		r.delivers()
		asked := r.vendor.seen(r.upload())
		if asked[0].Header.Get("Authorization") == asked[1].Header.Get("Authorization") {
			t.Fatal("the refused token was used again")
		}
		if two && asked[0].Path == asked[1].Path && !r.sender.Traits().ReuseDeclared {
			t.Fatal("the second upload went to the first one's address")
		}
	})
	for name, c := range map[string]struct {
		fault Fault
		want  []senders.Class
	}{
		"400":      {always(JSON(400, `{"error":"invalid_client","error_description":"`+Secret+`"}`)), []senders.Class{senders.Auth}},
		"401":      {Fault{Reply: echo(401, nil)}, []senders.Class{senders.Auth}},
		"redirect": {always(Reply{Status: 307, Header: map[string]string{"Location": "/elsewhere"}}), []senders.Class{senders.Auth}},
		"429":      {always(Reply{Status: 429}), []senders.Class{senders.RateLimited}},
		"503":      {Fault{Reply: echo(503, nil)}, []senders.Class{senders.NotSent}},
		"html":     {always(Reply{Status: 200, Body: []byte("<html>" + Phone)}), []senders.Class{senders.NotSent}},
		"control":  {always(JSON(200, `{"access_token":"a\r\nX: b","token_type":"Bearer","expires_in":3600}`)), []senders.Class{senders.NotSent}},
		"lost":     {Fault{Drop: true}, []senders.Class{senders.NotSent}},
	} {
		t.Run("token request: "+name, func(t *testing.T) {
			r := newRig(t, newHarness)
			r.vendor.on(step.Name, 0, c.fault)
			r.fails(c.want...)
			if len(r.vendor.seen("")) != len(r.vendor.seen(step.Name)) || r.trace.has("journal declaring") || r.trace.has("journal sending") {
				t.Fatalf("something else was done without a token: %v", r.trace.all())
			}
		})
	}
}

var errDisk = errors.New("input/output error")

func runSource(t *testing.T, newHarness func(*testing.T) Harness) {
	for _, size := range []int{500, mediaSize} {
		pinned := recording(size)
		altered := bytes.Clone(pinned)
		altered[size/3] ^= 1
		lastAltered := bytes.Clone(pinned)
		lastAltered[size-1] ^= 1
		for name, c := range map[string]struct {
			media *Media
			want  senders.Class
		}{
			"shorter by one":     {&Media{data: pinned[:size-1]}, senders.Changed},
			"shorter by half":    {&Media{data: pinned[:size/2]}, senders.Changed},
			"empty":              {&Media{}, senders.Changed},
			"longer":             {&Media{data: append(bytes.Clone(pinned), 1)}, senders.Changed},
			"one bit":            {&Media{data: altered}, senders.Changed},
			"one bit at the end": {&Media{data: lastAltered}, senders.Changed},
			"other mtime":        {&Media{data: pinned, verifyErr: errors.New("mtime")}, senders.Changed},
			"read error":         {&Media{data: pinned[:size/2], readErr: errDisk}, senders.Incomplete},
			"read error at end":  {&Media{data: pinned, readErr: errDisk}, senders.Incomplete},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, newHarness)
				r.pinned, r.media = pinned, c.media
				r.fails(c.want)
				r.neverWhole()
				if r.trace.has("journal committing") {
					t.Fatal("COMMITTING for a recording that is not the pinned one")
				}
			})
		}
	}
	for name, c := range map[string]struct {
		err  error
		want senders.Class
	}{
		"gone":       {fs.ErrNotExist, senders.Changed},
		"unreadable": {fs.ErrPermission, senders.NotSent},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, newHarness)
			a := r.h.attempt(r.pinned, nil)
			a.Open = func() (senders.Media, error) { return nil, c.err }
			_, err := r.sender.Send(t.Context(), a, r.journal)
			if e := new(senders.Error); !errors.As(err, &e) || e.Class != c.want || len(r.vendor.seen(r.upload())) != 0 {
				t.Fatalf("%v, want class %s and no upload", err, c.want)
			}
		})
	}
}

func runEnding(t *testing.T, newHarness func(*testing.T) Harness) {
	t.Run("already cancelled", func(t *testing.T) {
		r := newRig(t, newHarness)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := r.sendWith(ctx)
		if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.NotSent || len(r.vendor.seen("")) != 0 {
			t.Fatalf("%v, want not_sent and no request", err)
		}
	})
	t.Run("cancelled while the gate commits", func(t *testing.T) {
		r := newRig(t, newHarness)
		ctx, cancel := context.WithCancel(t.Context())
		r.journal.hook["committing"] = cancel
		_, err := r.sendWith(ctx)
		if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.InDoubt {
			t.Fatalf("%v: the row says committing, so only a doubt is honest", err)
		}
		r.neverWhole()
	})
	t.Run("cancelled before the gate", func(t *testing.T) {
		r := newRig(t, newHarness)
		ctx, cancel := context.WithCancel(t.Context())
		a := r.h.attempt(r.pinned, nil)
		a.Open = func() (senders.Media, error) { return &cancelling{Media{data: r.pinned}, cancel}, nil }
		_, err := r.sender.Send(ctx, a, r.journal)
		if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Incomplete {
			t.Fatalf("%v, want incomplete", err)
		}
		r.neverWhole()
	})
	t.Run("nobody listens", func(t *testing.T) {
		r := prepare(t, newHarness(t))
		r.build(Env{Base: "http://127.0.0.1:1"})
		r.fails(senders.NotSent)
	})
	t.Run("reset in the middle of the body", func(t *testing.T) {
		r := newRig(t, newHarness)
		// More than the sockets can hold, so that the reset comes first.
		r.use(bytes.Repeat(recording(1<<16), 512))
		r.vendor.on(r.upload(), 0, Fault{Read: 70_000})
		r.fails(senders.Incomplete)
		r.neverWhole()
	})
}

// cancelling ends the attempt when the first byte is read.
type cancelling struct {
	Media
	cancel func()
}

func (c *cancelling) Read(p []byte) (int, error) {
	c.cancel()
	return c.Media.Read(p)
}

// runClock needs time to pass: pipes instead of sockets, and a fake clock.
func runClock(t *testing.T, newHarness func(*testing.T) Harness) {
	cases := map[string]struct {
		fault func(forever <-chan struct{}) Fault
		want  senders.Class
		limit time.Duration
	}{
		"the vendor stops reading": {func(c <-chan struct{}) Fault { return Fault{Hang: c} }, senders.Incomplete, 65 * time.Second},
		"the vendor never answers": {func(c <-chan struct{}) Fault { return Fault{Mute: c} }, senders.InDoubt, 125 * time.Second},
		"the answer drips":         {func(<-chan struct{}) Fault { return Fault{Drip: true} }, senders.InDoubt, 125 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			synctest.Test(t, func(t *testing.T) {
				r := newPipeRig(t, h)
				forever := make(chan struct{})
				r.vendor.on(r.upload(), 0, c.fault(forever))
				start := time.Now()
				r.fails(c.want)
				if took := time.Since(start); took > c.limit {
					t.Fatalf("took %v, want at most %v", took, c.limit)
				}
				close(forever)
				r.vendor.close()
			})
		})
	}
	t.Run("an answer while the gate commits", func(t *testing.T) {
		h := newHarness(t)
		synctest.Test(t, func(t *testing.T) {
			r := newPipeRig(t, h)
			replied := make(chan struct{})
			r.vendor.on(r.upload(), 0, Fault{
				Read:    mediaSize / 2,
				Reply:   func(Request) Reply { return Reply{Status: 429} },
				Replied: func() { close(replied) },
			})
			// A second, because the transport holds an answer back for 50 ms
			// while the request is still being written.
			r.journal.hook["committing"] = func() { <-replied; <-time.After(time.Second); synctest.Wait() }
			r.fails(senders.RateLimited)
			r.neverWhole()
			r.vendor.close()
		})
	})
	t.Run("the disk freezes while the gate commits", func(t *testing.T) {
		h := newHarness(t)
		synctest.Test(t, func(t *testing.T) {
			r := newPipeRig(t, h)
			r.journal.hook["committing"] = func() { <-time.After(2 * time.Minute) }
			r.fails(senders.InDoubt)
			r.neverWhole()
			r.vendor.close()
		})
	})
}

func newPipeRig(t *testing.T, h Harness) *rig {
	r := prepare(t, h)
	r.t = t
	r.build(Env{Base: "http://127.0.0.1:80", Dial: r.vendor.dialPipe})
	return r
}
