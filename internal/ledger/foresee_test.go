package ledger

import (
	"errors"
	"testing"
)

// What a plan foresees of a file that has the id of another is what Decide
// makes of it, whatever became of the other.
func TestConflictIsForeseen(t *testing.T) {
	for name, c := range map[string]struct {
		id    string // the recorder's, "": the path names it
		path  string // of the second file
		then  []State
		holds bool
	}{
		"accepted":                {"r1", "b.wav", []State{Sending, Committing, Accepted}, true},
		"held":                    {"r1", "b.wav", []State{Held}, true},
		"only planned":            {"r1", "b.wav", nil, true},
		"accepted, same path":     {"r1", "a.wav", []State{Sending, Committing, Accepted}, true},
		"in doubt, same path":     {"r1", "a.wav", []State{Sending, Committing, InDoubt}, true},
		"only planned, same path": {"r1", "a.wav", nil, false},
		"held, same path":         {"r1", "a.wav", []State{Held}, false},
		"no id":                   {"", "b.wav", []State{Sending, Committing, Accepted}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := openTest(t)
			decision := func(content string) Decision {
				d := ready(content, c.id, "alpha")
				if c.id == "" {
					d.Call.CallID = ""
					d.BusinessKey, d.Named = d.Call.BusinessKey("s", content)
				}
				return d
			}
			r := see(t, l, "s", "a.wav")
			must[Decided](t)(l.Decide(t.Context(), r.ID, r.Ver, decision("one")))
			walk(t, l, deliveriesOf(t, l, r.ID)[0], c.then...)
			d := decision("other")
			f := Foreseen{Source: "s", Path: c.path, SHA256: d.SHA256, Call: d.Call}
			other := must[int64](t)(l.Reader().Conflict(t.Context(), f))
			if want := map[bool]int64{true: r.ID}[c.holds]; other != want {
				t.Errorf("foresees a conflict with %d, want %d", other, want)
			}
			second := see(t, l, "s", c.path)
			if got := must[Decided](t)(l.Decide(t.Context(), second.ID, second.Ver, d)); got.Conflicts == 1 != c.holds {
				t.Errorf("decides %+v, foresaw %d", got, other)
			}
		})
	}
}

func TestKnownAt(t *testing.T) {
	l, _ := openTest(t)
	ctx := t.Context()
	r, ds := planned(t, l, "a.wav", "one", "r1", "alpha")
	id := r.Look.Identity
	for name, c := range map[string]struct {
		f       Foreseen
		changed bool
	}{
		"the same":            {Foreseen{SHA256: sumOf("one"), Size: 1, MtimeNS: 1}, false},
		"other content":       {Foreseen{SHA256: sumOf("two"), Size: id.Size, MtimeNS: id.MtimeNS}, true},
		"not read":            {Foreseen{Size: id.Size, MtimeNS: id.MtimeNS}, false},
		"not read, longer":    {Foreseen{Size: id.Size + 1, MtimeNS: id.MtimeNS}, true},
		"not read, rewritten": {Foreseen{Size: id.Size, MtimeNS: id.MtimeNS + 1}, true},
	} {
		c.f.Source, c.f.Path = "s", "a.wav"
		at := must[AtPath](t)(l.Reader().KnownAt(ctx, c.f))
		if at.ID != r.ID || at.State != Ready || at.Changed != c.changed || at.Call == nil {
			t.Errorf("%s: %+v", name, at)
		}
	}
	if _, err := l.Reader().KnownAt(ctx, Foreseen{Source: "s", Path: "b.wav"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing there: %v", err)
	}
	walk(t, l, ds[0], Held)
	if state := must[State](t)(l.Reader().SentUnder(ctx, r.ID, "alpha")); state != Held {
		t.Errorf("%s", state)
	}
	if _, err := l.Reader().SentUnder(ctx, r.ID, "beta"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no delivery there: %v", err)
	}
}
