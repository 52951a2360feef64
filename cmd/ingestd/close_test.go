package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

type closer struct{ err error }

func (c closer) Close() error { return c.err }

// A disk that fails at the very end is told by a command whose work is done,
// and never hides what went wrong before.
func TestCloseLedger(t *testing.T) {
	broken, before := closer{errors.New("disk I/O error")}, errors.New("before")
	var err error
	if closeLedger(closer{}, &err); err != nil {
		t.Error("a sound ledger:", err)
	}
	closeLedger(broken, &err)
	var p *problem
	if !errors.As(err, &p) || p.code != exitTemporary || !strings.Contains(p.what, "close the ledger: disk I/O error") {
		t.Errorf("told as %v", err)
	}
	err = before
	if closeLedger(broken, &err); !errors.Is(err, before) {
		t.Errorf("%v in the place of what went wrong before", err)
	}
}

// The end of a run is asked for twice; one slow answer must not put the second
// question off for long.
func TestPollAfter(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: 100 * time.Millisecond, 10 * time.Millisecond: 300 * time.Millisecond, 4 * time.Second: 2 * time.Second,
	} {
		if got := pollAfter(took); got != want {
			t.Errorf("%v after an answer that took %v; want %v", got, took, want)
		}
	}
}
